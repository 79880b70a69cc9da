//! The encrypted vault: where the long-lived secrets lie, and what opens it.
//!
//! Format v1 is described in `docs/vault-format.md`, to the byte. A vault has up to eight *slots*, each of which wraps the same
//! data key: an Ed25519 key, by a signature from an agent or from the key's file, or a passphrase. The data key opens the payload
//! ([`Contents`]) and the cached credentials of sessions ([`Cache`]).
//!
//! It is not for terminals, settings or the network: paths, time and random numbers are arguments, and nothing is read from the
//! environment. It keeps secrets from those who read the file, not from code that runs as the same user.
//!
//! | module | what is in it |
//! |---|---|
//! | `vault` | [`Vault`], locked, and [`Open`]: unlock, change the contents, change the slots |
//! | `format`, `wire` | the bytes of the file and back; SSH's encoding |
//! | `crypto` | the derivations, one function each |
//! | `slots` | wrapping the data key: [`NewSlot`], [`Unlocker`] |
//! | `contents` | what the payload says |
//! | `signer`, `agent`, `key_file` | who signs |
//! | `recovery` | the generated recovery code |
//! | `store`, `cache` | the files |

mod agent;
mod cache;
mod contents;
mod crypto;
mod error;
mod format;
mod ids;
mod key_file;
mod recovery;
mod signer;
mod slots;
mod store;
mod vault;
mod wire;

pub use agent::{
    Agent, AgentError, AgentKey, Forwarding, Identity, PROC, Timeouts, parse_identities, parse_signature,
};
pub use cache::{Cache, CacheError, CachedSession, Renewal};
pub use contents::{Contents, LongLivedKey, Rotation, TemporaryCredentials};
pub use crypto::DataKey;
pub use error::{EnrolError, RekeyError, SealError, SignError, UnlockError, VaultError};
pub use ids::{Label, PublicKey, SlotId, VaultId};
pub use key_file::{KeyFile, KeyFileError, UnlockedKey};
pub use recovery::{RecoveryCode, RecoveryCodeError};
pub use signer::Signer;
pub use slots::{Costs, NewSlot, Slot, SlotKind, Unlocker};
pub use store::{Store, StoreError, StoreWarning, Stored};
pub use vault::{Open, Sealed, Vault};

/// Where random bytes come from: the operating system, or a test.
pub trait Randomness {
    /// Fills the buffer, all of it.
    fn fill(&mut self, buffer: &mut [u8]) -> std::io::Result<()>;
}

impl<F: FnMut(&mut [u8]) -> std::io::Result<()>> Randomness for F {
    fn fill(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        self(buffer)
    }
}
