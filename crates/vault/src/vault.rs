//! A vault, shut and open.
//!
//! ```text
//!  bytes ─parse─▶ Vault ─unlock─▶ Open ─replace, add, rekey─▶ Sealed ─▶ Store::write, then Sealed::into_open
//! ```
//!
//! Nothing here is changed in place: a change makes new bytes with the next generation, beside what is there.

use jiff::Timestamp;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use crate::crypto::{self, DataKey, Salt};
use crate::format::{self, Header};
use crate::slots::{self, NewSlot, Slot, Unlocker};
use crate::{
    Contents, EnrolError, Randomness, RekeyError, SealError, Signer, SlotId, SlotKind, UnlockError,
    VaultError, VaultId,
};

/// A vault that nobody has opened: what everyone can see who reads the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    header: Header,
    payload: Vec<u8>,
    sum: [u8; 32],
}

impl Vault {
    /// Reads a file. Whatever is damaged is found here, by the sum, before anyone is asked for a key; who repairs the sum, too, is
    /// found out when it is opened.
    pub fn parse(bytes: &[u8]) -> Result<Self, VaultError> {
        let (header, payload, sum) = format::parse(bytes)?;
        Ok(Self { header, payload, sum })
    }

    /// Its number.
    pub fn id(&self) -> VaultId {
        self.header.id
    }

    /// How often it was written: 1 at first.
    pub fn generation(&self) -> u64 {
        self.header.generation
    }

    /// When it was written, by the clock of whoever did.
    pub fn written(&self) -> Timestamp {
        self.header.written
    }

    /// Its slots, one to eight.
    pub fn slots(&self) -> &[Slot] {
        &self.header.slots
    }

    /// The slot of this number.
    pub fn slot(&self, id: SlotId) -> Option<&Slot> {
        self.slots().iter().find(|slot| slot.id == id)
    }

    /// The file's sum: two files with the same one are the same.
    pub(crate) fn sum(&self) -> &[u8; 32] {
        &self.sum
    }

    /// Makes one, of generation 1.
    pub fn create(
        new_slots: &[NewSlot<'_>],
        contents: Contents,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Sealed, EnrolError> {
        let mut id = [0; 16];
        random.fill(&mut id).map_err(SealError::from)?;
        let id = VaultId::new(id);
        let data_key = draw_data_key(random)?;
        let mut made = Vec::new();
        for new in new_slots {
            add(id, &mut made, new, &data_key, random)?;
        }
        let first = made.first().ok_or(EnrolError::NoSlot)?.id;
        Ok(seal(id, 1, made, data_key, first, contents, None, now, random)?)
    }

    /// Opens it with one signature.
    pub fn unlock_with_signer(&self, signer: &dyn Signer) -> Result<Open, UnlockError> {
        let (key, slot) = self.data_key_with_signer(signer)?;
        self.open(key, slot)
    }

    /// Opens it with a passphrase or a recovery code, whichever slot that is of.
    pub fn unlock_with_passphrase(&self, passphrase: &SecretSlice<u8>) -> Result<Open, UnlockError> {
        let (key, slot) = self.data_key_with_passphrase(passphrase)?;
        self.open(key, slot)
    }

    /// The data key by a signature, and the slot that it came from.
    pub fn data_key_with_signer(&self, signer: &dyn Signer) -> Result<(DataKey, SlotId), UnlockError> {
        let key = signer.public_key();
        let slot = self.slots().iter().find(|slot| slot.public_key() == Some(key));
        let slot = slot.ok_or_else(|| UnlockError::NoSlotForKey { fingerprint: key.fingerprint() })?;
        Ok((slots::unwrap_with_signer(self.id(), slot, signer)?, slot.id))
    }

    /// The data key by a passphrase or a recovery code, and the slot that it came from.
    pub fn data_key_with_passphrase(
        &self,
        passphrase: &SecretSlice<u8>,
    ) -> Result<(DataKey, SlotId), UnlockError> {
        let mut refused = UnlockError::NoPassphraseSlot;
        for slot in self.slots().iter().filter(|slot| slot.costs().is_some()) {
            match slots::unwrap_with_passphrase(self.id(), slot, passphrase) {
                Ok((key, _)) => return Ok((key, slot.id)),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The payload's bytes, whatever they say: to the format they are bytes.
    pub fn body(&self, key: &DataKey) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
        let payload_key = crypto::payload_key(key, &self.header.salt);
        crypto::open(&payload_key, &format::header(&self.header), &self.payload).ok_or(UnlockError::Damaged)
    }

    fn open(&self, data_key: DataKey, opened_by: SlotId) -> Result<Open, UnlockError> {
        let body = self.body(&data_key)?;
        let contents = serde_json::from_slice(&body).map_err(|_| UnlockError::UnknownContents)?;
        Ok(Open { vault: self.clone(), data_key, opened_by, contents })
    }
}

/// A vault that has been opened. Dropping it wipes its secrets.
#[derive(Clone, Debug)]
pub struct Open {
    vault: Vault,
    data_key: DataKey,
    opened_by: SlotId,
    contents: Contents,
}

impl Open {
    /// The vault as everyone sees it.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The slot that opened it.
    pub fn opened_by(&self) -> SlotId {
        self.opened_by
    }

    /// The key under which cached sessions lie, too.
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// What it holds.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The next generation, with other contents and the same slots.
    pub fn replace(
        &self,
        contents: Contents,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Sealed, SealError> {
        self.next(self.vault.slots().to_vec(), self.data_key.clone(), self.opened_by, contents, now, random)
    }

    /// The next generation, with one more slot.
    pub fn add(
        &self,
        new: &NewSlot<'_>,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Sealed, EnrolError> {
        let mut slots = self.vault.slots().to_vec();
        add(self.vault.id(), &mut slots, new, &self.data_key, random)?;
        Ok(self.next(slots, self.data_key.clone(), self.opened_by, self.contents.clone(), now, random)?)
    }

    /// The next generation under a new data key, with new salts. Each slot must be in `answers`, with what opens it, or in
    /// `dropped`. Slots keep their numbers and labels. What was ever opened with the old data key stays readable to whoever has
    /// that and the old file: the AWS key should be rotated, too. Cached sessions become unreadable.
    pub fn rekey(
        &self,
        answers: &[(SlotId, Unlocker<'_>)],
        dropped: &[SlotId],
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Sealed, RekeyError> {
        let vault = self.vault.id();
        let named = answers.iter().map(|(slot, _)| slot).chain(dropped);
        if let Some(unknown) = named.into_iter().find(|slot| self.vault.slot(**slot).is_none()) {
            return Err(RekeyError::NoSuchSlot { slot: *unknown });
        }
        let data_key = draw_data_key(random)?;
        let mut made: Vec<Slot> = Vec::new();
        for slot in self.vault.slots().iter().filter(|slot| !dropped.contains(&slot.id)) {
            let answer = answers.iter().find(|(id, _)| *id == slot.id);
            let (_, unlocker) = answer.ok_or(RekeyError::Unanswered { slot: slot.id })?;
            // The old slot is opened first: a passphrase with a slip in it must not become the new one.
            let failed = |error| RekeyError::Slot { slot: slot.id, source: Box::new(error) };
            let label = &slot.label;
            let new = match (unlocker, &slot.kind) {
                (Unlocker::Signer(signer), SlotKind::SshEd25519 { .. }) => {
                    slots::unwrap_with_signer(vault, slot, *signer).map_err(failed)?;
                    slots::wrap(
                        vault,
                        slot.id,
                        &NewSlot::Signer { label, signer: *signer },
                        &data_key,
                        random,
                    )?
                }
                (Unlocker::Passphrase(passphrase), SlotKind::Passphrase { costs }) => {
                    let (_, passphrase) =
                        slots::unwrap_with_passphrase(vault, slot, passphrase).map_err(failed)?;
                    let new = NewSlot::Passphrase { label, passphrase: &passphrase, costs: *costs };
                    slots::wrap(vault, slot.id, &new, &data_key, random)?
                }
                _ => return Err(RekeyError::Unanswered { slot: slot.id }),
            };
            made.push(new);
        }
        let kept = |id: SlotId| made.iter().any(|slot| slot.id == id).then_some(id);
        let first = made.first().ok_or(RekeyError::LastSlot)?.id;
        let opened_by = kept(self.opened_by).unwrap_or(first);
        Ok(self.next(made, data_key, opened_by, self.contents.clone(), now, random)?)
    }

    fn next(
        &self,
        slots: Vec<Slot>,
        data_key: DataKey,
        opened_by: SlotId,
        contents: Contents,
        now: Timestamp,
        random: &mut dyn Randomness,
    ) -> Result<Sealed, SealError> {
        let generation = self.vault.generation().checked_add(1).ok_or(SealError::TooLarge)?;
        seal(
            self.vault.id(),
            generation,
            slots,
            data_key,
            opened_by,
            contents,
            Some(self.vault.sum),
            now,
            random,
        )
    }
}

/// A vault ready to be written, and what it takes the place of.
#[derive(Clone, Debug)]
pub struct Sealed {
    bytes: Vec<u8>,
    replaces: Option<[u8; 32]>,
    open: Open,
}

impl Sealed {
    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sum of the file that it was made from; `None` for a new vault.
    pub(crate) fn replaces(&self) -> Option<&[u8; 32]> {
        self.replaces.as_ref()
    }

    /// The new vault as everyone sees it.
    pub fn vault(&self) -> &Vault {
        &self.open.vault
    }

    /// The new vault, open, for the next change. Only after it has been written.
    pub fn into_open(self) -> Open {
        self.open
    }
}

fn draw_data_key(random: &mut dyn Randomness) -> Result<DataKey, SealError> {
    let mut key = DataKey(Zeroizing::default());
    random.fill(key.0.as_mut())?;
    Ok(key)
}

fn add(
    vault: VaultId,
    slots: &mut Vec<Slot>,
    new: &NewSlot<'_>,
    data_key: &DataKey,
    random: &mut dyn Randomness,
) -> Result<(), EnrolError> {
    if slots.len() >= format::MAX_SLOTS {
        return Err(EnrolError::TooManySlots);
    }
    if let NewSlot::Signer { signer, .. } = new {
        let key = signer.public_key();
        if slots.iter().any(|slot| slot.public_key() == Some(key)) {
            return Err(EnrolError::AlreadyThere { fingerprint: key.fingerprint() });
        }
    }
    let mut id = [0; 8];
    loop {
        random.fill(&mut id).map_err(SealError::from)?;
        if slots.iter().all(|slot| slot.id != SlotId::new(id)) {
            break;
        }
    }
    slots.push(slots::wrap(vault, SlotId::new(id), new, data_key, random)?);
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "everything that stands in a file, in one place")]
fn seal(
    id: VaultId,
    generation: u64,
    slots: Vec<Slot>,
    data_key: DataKey,
    opened_by: SlotId,
    contents: Contents,
    replaces: Option<[u8; 32]>,
    now: Timestamp,
    random: &mut dyn Randomness,
) -> Result<Sealed, SealError> {
    let mut salt = Salt::default();
    random.fill(&mut salt)?;
    let written = format::whole_seconds(now);
    let header = Header { id, generation, written, slots, salt };
    // Room enough that it never grows: growing leaves a copy of the secrets behind.
    let mut body = Zeroizing::new(Vec::with_capacity(format::MAX_BYTES));
    serde_json::to_writer(&mut *body, &contents).map_err(|_| SealError::TooLarge)?;
    let payload =
        crypto::seal(&crypto::payload_key(&data_key, &header.salt), &format::header(&header), &body);
    let (bytes, sum) = format::file(&header, &payload.ok_or(SealError::TooLarge)?);
    let vault = Vault::parse(&bytes).map_err(|_| SealError::TooLarge)?;
    debug_assert_eq!(vault.sum, sum);
    Ok(Sealed { bytes, replaces, open: Open { vault, data_key, opened_by, contents } })
}
