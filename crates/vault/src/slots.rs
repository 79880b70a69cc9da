//! Slots: the data key, wrapped once for each who may open the vault.

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::crypto::{self, DataKey, Salt, Secret32, Wrapped};
use crate::recovery::RecoveryCode;
use crate::{
    EnrolError, Label, PublicKey, Randomness, SealError, Signer, SlotId, UnlockError, VaultError, VaultId,
};

/// What argon2id costs whoever opens a passphrase slot, and whoever guesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    m_kib: u32,
    t: u32,
    p: u32,
}

impl Costs {
    /// Memory in KiB (19456 to 1048576), passes (1 to 10) and lanes (1 to 4). Checked before anything is computed: a forged file
    /// cannot make its reader work for an hour.
    pub fn new(m_kib: u32, t: u32, p: u32) -> Result<Self, VaultError> {
        let within = (19_456..=1_048_576).contains(&m_kib) && (1..=10).contains(&t) && (1..=4).contains(&p);
        within.then_some(Self { m_kib, t, p }).ok_or(VaultError::Costs)
    }

    /// Memory in KiB.
    pub const fn m_kib(self) -> u32 {
        self.m_kib
    }

    /// Passes over the memory.
    pub const fn t(self) -> u32 {
        self.t
    }

    /// Lanes.
    pub const fn p(self) -> u32 {
        self.p
    }
}

impl Default for Costs {
    /// 64 MiB, 3 passes, 4 lanes: 0.16 s.
    fn default() -> Self {
        Self { m_kib: 65_536, t: 3, p: 4 }
    }
}

/// What opens a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A signature of this key.
    SshEd25519 {
        /// The key.
        public_key: PublicKey,
    },
    /// A passphrase or a recovery code.
    Passphrase {
        /// What each try costs.
        costs: Costs,
    },
}

/// A slot, as everyone can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub(crate) id: SlotId,
    pub(crate) label: Label,
    pub(crate) kind: SlotKind,
    pub(crate) salt: Salt,
    pub(crate) wrapped: Wrapped,
}

impl Slot {
    /// Its number.
    pub fn id(&self) -> SlotId {
        self.id
    }

    /// What the person called it.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// What opens it.
    pub fn kind(&self) -> &SlotKind {
        &self.kind
    }

    /// The key, if it is one that a key opens; its `fingerprint()` is what people compare.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.kind {
            SlotKind::SshEd25519 { public_key } => Some(public_key),
            SlotKind::Passphrase { .. } => None,
        }
    }

    /// The costs, if it is one that a passphrase opens.
    pub fn costs(&self) -> Option<Costs> {
        match self.kind {
            SlotKind::SshEd25519 { .. } => None,
            SlotKind::Passphrase { costs } => Some(costs),
        }
    }
}

/// Who answers for an existing slot.
#[derive(Clone, Copy)]
pub enum Unlocker<'a> {
    /// Signs for an SSH slot.
    Signer(&'a dyn Signer),
    /// The bytes as typed, or a recovery code in whatever spelling.
    Passphrase(&'a SecretSlice<u8>),
}

/// A slot to be made.
#[derive(Clone, Copy)]
pub enum NewSlot<'a> {
    /// For a key. It signs twice, and both signatures must be the same.
    Signer {
        /// What to call it.
        label: &'a Label,
        /// The key.
        signer: &'a dyn Signer,
    },
    /// For a passphrase, or a recovery code as [`RecoveryCode::to_passphrase`] gives it.
    Passphrase {
        /// What to call it.
        label: &'a Label,
        /// The bytes as typed.
        passphrase: &'a SecretSlice<u8>,
        /// What each try shall cost.
        costs: Costs,
    },
}

/// The data key out of an SSH slot.
pub(crate) fn unwrap_with_signer(
    vault: VaultId,
    slot: &Slot,
    signer: &dyn Signer,
) -> Result<DataKey, UnlockError> {
    let key = signer.public_key();
    let fingerprint = || key.fingerprint();
    if slot.public_key() != Some(key) {
        return Err(UnlockError::NoSlotForKey { fingerprint: fingerprint() });
    }
    let message = crypto::ssh_message(vault, slot.id, key, &slot.salt);
    let data = crypto::signed_data(&message);
    let signature = Zeroizing::new(signer.sign(&data)?);
    if !crypto::verifies(key, &data, &signature) {
        return Err(UnlockError::DoesNotVerify { fingerprint: fingerprint() });
    }
    crypto::unwrap(&crypto::ssh_slot_key(&signature, &slot.salt), &message, &slot.wrapped)
        .ok_or_else(|| UnlockError::DoesNotUnwrap { fingerprint: fingerprint() })
}

/// The data key out of a passphrase slot; with the bytes as they opened it, for making it anew.
pub(crate) fn unwrap_with_passphrase(
    vault: VaultId,
    slot: &Slot,
    passphrase: &SecretSlice<u8>,
) -> Result<(DataKey, SecretSlice<u8>), UnlockError> {
    let costs = slot.costs().ok_or(UnlockError::NoPassphraseSlot)?;
    let message = crypto::passphrase_message(vault, slot.id, costs, &slot.salt);
    // A code is read from paper: its dashes and capitals do not matter. A passphrase is taken as it is, also one that looks like
    // a code, which by its check digits happens once in four thousand of those.
    let code =
        std::str::from_utf8(passphrase.expose_secret()).ok().and_then(|text| RecoveryCode::parse(text).ok());
    let code = code.map(|code| code.to_passphrase());
    let other = code.filter(|code| code.expose_secret() != passphrase.expose_secret());
    for candidate in [Some(passphrase.clone()), other].into_iter().flatten() {
        let stretched = crypto::stretch(candidate.expose_secret(), costs, &slot.salt);
        let slot_key = stretched.map(|stretched| crypto::passphrase_slot_key(&stretched, &slot.salt));
        if let Some(key) = slot_key.and_then(|slot_key| crypto::unwrap(&slot_key, &message, &slot.wrapped)) {
            return Ok((key, candidate));
        }
    }
    Err(UnlockError::WrongPassphrase)
}

/// Wraps the data key in a new slot, with a salt of its own.
pub(crate) fn wrap(
    vault: VaultId,
    id: SlotId,
    new: &NewSlot<'_>,
    data_key: &DataKey,
    random: &mut dyn Randomness,
) -> Result<Slot, EnrolError> {
    let mut salt = Salt::default();
    random.fill(&mut salt).map_err(SealError::from)?;
    let (label, kind, slot_key, message) = match *new {
        NewSlot::Signer { label, signer } => {
            let public_key = *signer.public_key();
            let message = crypto::ssh_message(vault, id, &public_key, &salt);
            let signature = sign_twice(signer, &crypto::signed_data(&message))?;
            let slot_key = crypto::ssh_slot_key(&signature, &salt);
            (label, SlotKind::SshEd25519 { public_key }, slot_key, message)
        }
        NewSlot::Passphrase { label, passphrase, costs } => {
            if passphrase.expose_secret().is_empty() {
                return Err(EnrolError::EmptyPassphrase);
            }
            let stretched =
                crypto::stretch(passphrase.expose_secret(), costs, &salt).ok_or(EnrolError::NoMemory)?;
            let message = crypto::passphrase_message(vault, id, costs, &salt);
            (label, SlotKind::Passphrase { costs }, crypto::passphrase_slot_key(&stretched, &salt), message)
        }
    };
    let wrapped = wrap_key(&slot_key, &message, data_key).ok_or(EnrolError::NoMemory)?;
    Ok(Slot { id, label: label.clone(), kind, salt, wrapped })
}

fn wrap_key(slot_key: &Secret32, message: &[u8], data_key: &DataKey) -> Option<Wrapped> {
    crypto::seal(slot_key, message, data_key.0.as_ref())?.try_into().ok()
}

fn sign_twice(signer: &dyn Signer, data: &[u8]) -> Result<Zeroizing<[u8; 64]>, EnrolError> {
    let fingerprint = || signer.public_key().fingerprint();
    let (first, second) = (Zeroizing::new(signer.sign(data)?), Zeroizing::new(signer.sign(data)?));
    if !crypto::verifies(signer.public_key(), data, &first)
        || !crypto::verifies(signer.public_key(), data, &second)
    {
        return Err(EnrolError::DoesNotVerify { fingerprint: fingerprint() });
    }
    if *first != *second {
        return Err(EnrolError::NotDeterministic { fingerprint: fingerprint() });
    }
    Ok(first)
}
