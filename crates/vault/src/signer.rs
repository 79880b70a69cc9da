//! Whoever can sign with an Ed25519 key: an agent, the key's file, or a test.

use crate::{PublicKey, SignError};

/// Signs with one Ed25519 key.
pub trait Signer {
    /// The key.
    fn public_key(&self) -> &PublicKey;

    /// The 64 raw bytes of the signature over `data`. They are as secret as the vault: nobody may store or show them.
    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError>;
}
