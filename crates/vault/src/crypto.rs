//! The derivations of format v1, one function each. Nothing here chooses a salt or a key.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::slots::Costs;
use crate::{PublicKey, SlotId, VaultId, wire};

/// A key of 32 bytes, wiped when dropped.
pub(crate) type Secret32 = Zeroizing<[u8; 32]>;
pub(crate) type Salt = [u8; 32];
/// The data key under a slot's key, with its tag.
pub(crate) type Wrapped = [u8; 48];

const SIGNATURE_NAMESPACE: &[u8] = b"vault@sorry.invalid";

/// The key that opens the payload and the cached sessions. Whoever has it has them for good: it is never written or shown.
#[derive(Clone)]
pub struct DataKey(pub(crate) Secret32);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("DataKey(..)")
    }
}

/// `str(x)` of each.
fn strings(values: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| wire::push(&mut out, value));
    out
}

/// `M`: what an SSH slot is, and what its data key is bound to.
pub(crate) fn ssh_message(vault: VaultId, slot: SlotId, key: &PublicKey, salt: &Salt) -> Vec<u8> {
    strings(&[b"sorry vault v1 ssh slot", vault.as_bytes(), slot.as_bytes(), key.blob(), salt])
}

/// `D`: what is signed, in the form of `ssh-keygen -Y sign`.
pub(crate) fn signed_data(message: &[u8]) -> Vec<u8> {
    let mut data = b"SSHSIG".to_vec();
    data.extend(strings(&[SIGNATURE_NAMESPACE, b"", b"sha512", &Sha512::digest(message)]));
    data
}

/// Whether `signature` is one of the key over the data, strictly: no key of small order, no second form of a signature.
pub(crate) fn verifies(key: &PublicKey, data: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.raw())
        .is_ok_and(|key| key.verify_strict(data, &Signature::from_bytes(signature)).is_ok())
}

/// The key that wraps in an SSH slot.
pub(crate) fn ssh_slot_key(signature: &[u8; 64], salt: &Salt) -> Secret32 {
    derive(salt, signature, b"sorry vault v1 ssh slot key")
}

/// `M2`: what a passphrase slot is, and what its data key is bound to.
pub(crate) fn passphrase_message(vault: VaultId, slot: SlotId, costs: Costs, salt: &Salt) -> Vec<u8> {
    let numbers = [costs.m_kib(), costs.t(), costs.p()].map(u32::to_be_bytes).concat();
    strings(&[b"sorry vault v1 passphrase slot", vault.as_bytes(), slot.as_bytes(), &numbers, salt])
}

/// `A`: argon2id, version 1.3. `None` if there is not enough memory.
pub(crate) fn stretch(passphrase: &[u8], costs: Costs, salt: &Salt) -> Option<Secret32> {
    let parameters = Params::new(costs.m_kib(), costs.t(), costs.p(), Some(32)).ok()?;
    let mut stretched = Secret32::default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
        .hash_password_into(passphrase, salt, stretched.as_mut())
        .ok()?;
    Some(stretched)
}

/// The key that wraps in a passphrase slot.
pub(crate) fn passphrase_slot_key(stretched: &Secret32, salt: &Salt) -> Secret32 {
    derive(salt, stretched.as_ref(), b"sorry vault v1 passphrase slot key")
}

/// `PK`.
pub(crate) fn payload_key(key: &DataKey, salt: &Salt) -> Secret32 {
    derive(salt, key.0.as_ref(), b"sorry vault v1 payload key")
}

/// `CK`.
pub(crate) fn cache_key(key: &DataKey, salt: &Salt) -> Secret32 {
    derive(salt, key.0.as_ref(), b"sorry vault v1 cache key")
}

fn derive(salt: &Salt, material: &[u8], purpose: &[u8]) -> Secret32 {
    let mut key = Secret32::default();
    // Only a length beyond 255 blocks can be refused, and this is one.
    let _ = Hkdf::<Sha256>::new(Some(salt), material).expand(purpose, key.as_mut());
    key
}

/// Encrypts under a key that is used this once: every wrap and every write has a fresh salt, so the nonce may be zero.
pub(crate) fn seal(key: &Secret32, bound_to: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(**key));
    cipher.encrypt(&Nonce::default(), Payload { msg: plain, aad: bound_to }).ok()
}

/// Decrypts what [`seal`] made under the same key, bound to the same bytes.
pub(crate) fn open(key: &Secret32, bound_to: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(**key));
    cipher.decrypt(&Nonce::default(), Payload { msg: sealed, aad: bound_to }).ok().map(Zeroizing::new)
}

/// The data key out of a slot.
pub(crate) fn unwrap(key: &Secret32, bound_to: &[u8], wrapped: &Wrapped) -> Option<DataKey> {
    let plain = open(key, bound_to, wrapped)?;
    let mut data_key = Secret32::default();
    (plain.len() == data_key.len()).then(|| data_key.copy_from_slice(&plain))?;
    Some(DataKey(data_key))
}

#[cfg(test)]
mod tests;
