//! The private key's file, in OpenSSH's format: for when there is no agent.

use std::path::{Path, PathBuf};

use secrecy::SecretSlice;

use crate::{PublicKey, SignError, Signer};

/// Why a key file will not do.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the key file `{}`", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a private key at all.
    #[error("this is not a private key in OpenSSH's format")]
    NotAKey,
    /// Its public half.
    #[error("this is a public key\nhint: name the file without `.pub`")]
    PublicHalf,
    /// PKCS#8, PKCS#1 or SEC1.
    #[error(
        "the key is in PEM or PKCS#8 format\nhint: if it is an Ed25519 key, convert it with `ssh-keygen -p -f <file>`; otherwise make one with `ssh-keygen -t ed25519`"
    )]
    Pem,
    /// PuTTY's.
    #[error(
        "the key is in PuTTY's format\nhint: convert it with `puttygen <file> -O private-openssh-new -o <new file>`"
    )]
    Putty,
    /// RSA.
    #[error(
        "the key is RSA, and only Ed25519 keys open a vault\nhint: make one with `ssh-keygen -t ed25519`"
    )]
    Rsa,
    /// ECDSA: its signatures are random.
    #[error(
        "the key is ECDSA, whose signatures differ each time; only Ed25519 keys open a vault\nhint: make one with `ssh-keygen -t ed25519`"
    )]
    Ecdsa,
    /// On a security key: its signatures count up.
    #[error(
        "the key is on a security key (sk-), whose signatures differ each time\nhint: use an Ed25519 key without `-sk`, made with `ssh-keygen -t ed25519`"
    )]
    SecurityKey,
    /// DSA or something newer than this.
    #[error("only Ed25519 keys open a vault\nhint: make one with `ssh-keygen -t ed25519`")]
    OtherAlgorithm,
    /// 3des or another cipher that is not built in.
    #[error(
        "the key file is encrypted with `{cipher}`, which is not supported\nhint: encrypt it anew with `ssh-keygen -p -Z aes256-ctr -f <file>`"
    )]
    Cipher {
        /// As the file names it.
        cipher: String,
    },
    /// Anyone who reads it has the key.
    #[error(
        "the key file has no passphrase, so whoever reads it can open the vault\nhint: give it one with `ssh-keygen -p -a 100 -f <file>`"
    )]
    Unencrypted,
    /// It does not open.
    #[error("the passphrase does not open the key file")]
    WrongPassphrase,
}

/// An Ed25519 key file, still encrypted.
#[derive(Clone, Debug)]
pub struct KeyFile {}

impl KeyFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let _ = path;
        todo!()
    }

    /// Reads its bytes. A key without a passphrase is read, too, so that it can be told: [`Self::is_encrypted`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let _ = bytes;
        todo!()
    }

    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        todo!()
    }

    /// Whether it has a passphrase.
    pub fn is_encrypted(&self) -> bool {
        todo!()
    }

    /// How many rounds of bcrypt one guess at the passphrase costs; 16 by default, 0.1 s.
    pub fn bcrypt_rounds(&self) -> Option<u32> {
        todo!()
    }

    /// Decrypts it. One without a passphrase is refused.
    pub fn unlock(&self, passphrase: &SecretSlice<u8>) -> Result<UnlockedKey, KeyFileError> {
        let _ = passphrase;
        todo!()
    }
}

/// A key out of its file, wiped when dropped.
pub struct UnlockedKey {
    public_key: PublicKey,
}

impl std::fmt::Debug for UnlockedKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "UnlockedKey({:?})", self.public_key)
    }
}

impl Signer for UnlockedKey {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        let _ = data;
        todo!()
    }
}
