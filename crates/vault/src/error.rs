//! What goes wrong with a vault, told apart as far as the person can act on it.

use std::io;

use crate::{AgentError, SlotId};

/// A file that is no vault this version can read, or a value that may not stand in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It says of itself that it is something else, or nothing.
    #[error("this is not a vault of `sorry`")]
    NotAVault,
    /// A later format.
    #[error(
        "the vault is of format version {0}, which this version of `sorry` does not know\nhint: update `sorry`"
    )]
    Version(u64),
    /// Larger than a vault may be.
    #[error("the vault is larger than 1 MiB")]
    TooLarge,
    /// Its sum or its form is wrong. Nobody needs to be asked for a key.
    #[error("the vault is damaged: {0}\nhint: put the file back from a backup")]
    Damaged(&'static str),
    /// A label that cannot be written.
    #[error("a label is 1 to 64 printable ASCII characters, without `\"` and `\\`")]
    Label,
    /// Costs outside the bounds.
    #[error("a passphrase slot takes 19456 to 1048576 KiB of memory, 1 to 10 passes and 1 to 4 lanes")]
    Costs,
}

/// A signature that was not made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The agent does not list it: not added, or the agent is locked and lists nothing.
    #[error(
        "the agent does not hold the key `{fingerprint}`, or is locked\nhint: add it with `ssh-add`, or unlock the agent with `ssh-add -X`"
    )]
    NotHeld {
        /// Of the key.
        fingerprint: String,
    },
    /// The agent has a certificate for the key and not the key.
    #[error(
        "the agent holds a certificate for the key `{fingerprint}`, but not the key itself\nhint: add the key itself with `ssh-add`"
    )]
    CertificateOnly {
        /// Of the key.
        fingerprint: String,
    },
    /// The agent lists it and does not sign: the person declined, or the key is restricted.
    #[error(
        "the agent holds the key `{fingerprint}` and refused to sign with it\nhint: it asks before each use (`ssh-add -c`) or limits the key to hosts (`ssh-add -h`): agree, or add the key without that"
    )]
    Refused {
        /// Of the key.
        fingerprint: String,
    },
    /// No answer that could be read.
    #[error(transparent)]
    Agent(#[from] AgentError),
}

/// Why a vault stays shut.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// This key has no slot.
    #[error("no slot of the vault is for the key `{fingerprint}`")]
    NoSlotForKey {
        /// Of the key.
        fingerprint: String,
    },
    /// No slot has a passphrase.
    #[error("the vault has no slot for a passphrase")]
    NoPassphraseSlot,
    /// Nothing was signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What came back is not the key's signature.
    #[error(
        "the signature for the key `{fingerprint}` does not verify\nhint: the agent answered with another key's signature, or is broken"
    )]
    DoesNotVerify {
        /// Of the key.
        fingerprint: String,
    },
    /// It is the key's signature and not the one that the slot was made with.
    #[error(
        "the signature of the key `{fingerprint}` verifies, but does not open its slot\nhint: the agent signs differently each time; use one that signs as RFC 8032 says, or the key's file, or another slot"
    )]
    DoesNotUnwrap {
        /// Of the key.
        fingerprint: String,
    },
    /// No passphrase slot opens with it.
    #[error("the passphrase or recovery code does not open the vault")]
    WrongPassphrase,
    /// A slot opened, and what it guards did not: header or payload were put together from several vaults.
    #[error(
        "the vault is damaged: its payload does not belong to its slots\nhint: put the file back from a backup"
    )]
    Damaged,
    /// Written by a later version, or by something else.
    #[error("the vault holds something that this version of `sorry` does not know\nhint: update `sorry`")]
    UnknownContents,
}

/// Why a vault was not written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system gave none.
    #[error("there are no random numbers")]
    Random(#[from] io::Error),
    /// It would have more than 1 MiB, or the generation has run out.
    #[error("the vault would be larger than 1 MiB")]
    TooLarge,
}

/// Why a slot was not made.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Eight is the limit.
    #[error("the vault has eight slots already\nhint: remove one with `sorry vault remove-key`")]
    TooManySlots,
    /// None at all.
    #[error("a vault needs at least one slot")]
    NoSlot,
    /// The key has one.
    #[error("the key `{fingerprint}` has a slot already")]
    AlreadyThere {
        /// Of the key.
        fingerprint: String,
    },
    /// Nothing was signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// What came back is not the key's signature.
    #[error(
        "the signature for the key `{fingerprint}` does not verify\nhint: the agent answered with another key's signature, or is broken"
    )]
    DoesNotVerify {
        /// Of the key.
        fingerprint: String,
    },
    /// Two signatures over the same bytes differ.
    #[error(
        "the agent signs differently each time, so a signature of the key `{fingerprint}` cannot open a vault\nhint: use OpenSSH's agent, or a key file"
    )]
    NotDeterministic {
        /// Of the key.
        fingerprint: String,
    },
    /// An empty passphrase.
    #[error("a passphrase cannot be empty")]
    EmptyPassphrase,
    /// argon2id needs more than there is.
    #[error("there is not enough memory for the passphrase's costs")]
    NoMemory,
    /// The vault could not be put together.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// Why the data key was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// Every slot must answer or be dropped by its name.
    #[error(
        "slot `{slot}` did not answer\nhint: every slot that stays must answer; drop it by its name if its key is gone"
    )]
    Unanswered {
        /// The slot.
        slot: SlotId,
    },
    /// There is no such slot.
    #[error("the vault has no slot `{slot}`")]
    NoSuchSlot {
        /// As asked for.
        slot: SlotId,
    },
    /// All would be dropped.
    #[error("the last slot cannot be removed: nothing could open the vault any more")]
    LastSlot,
    /// What should answer for a slot is not what opens it.
    #[error("slot `{slot}` does not open")]
    Slot {
        /// The slot.
        slot: SlotId,
        /// Why.
        source: Box<UnlockError>,
    },
    /// A slot could not be made anew.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

impl From<SealError> for RekeyError {
    fn from(error: SealError) -> Self {
        Self::Enrol(EnrolError::Seal(error))
    }
}
