//! The private key's file, in OpenSSH's format: for when there is no agent.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signer as _, SigningKey};
use rustix::fs::{Mode, OFlags};
use secrecy::{ExposeSecret, SecretSlice};
use ssh_key::PrivateKey;
use zeroize::Zeroizing;

use crate::wire::Reader;
use crate::{PublicKey, SignError, Signer};

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
/// An Ed25519 key takes half a kilobyte.
const LONGEST_FILE: usize = 64 * 1024;
/// What the crate behind this decrypts. OpenSSH's default is `aes256-ctr`.
const CIPHERS: [&str; 9] = [
    "none",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];

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
    /// PKCS#8, which OpenSSH writes for RSA and ECDSA keys alone.
    #[error("the key is in PKCS#8 format, which is not read\nhint: make a key with `ssh-keygen -t ed25519`")]
    Pkcs8,
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
#[derive(Clone)]
pub struct KeyFile {
    /// The file: with a passphrase it is no secret, and without one it is wiped.
    text: Zeroizing<Vec<u8>>,
    public_key: PublicKey,
    bcrypt_rounds: Option<u32>,
    is_encrypted: bool,
}

impl KeyFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let unreadable = |source: io::Error| KeyFileError::Unreadable { path: path.to_owned(), source };
        // Not blocking: a named pipe would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened =
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| unreadable(errno.into()))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_FILE));
        let limit = u64::try_from(LONGEST_FILE).unwrap_or(u64::MAX);
        File::from(opened).take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse(&bytes)
    }

    /// Reads its bytes. A key without a passphrase is read, too, so that it can be told: [`Self::is_encrypted`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyFileError::NotAKey)?.trim();
        let body = text
            .strip_prefix(BEGIN)
            .and_then(|text| text.strip_suffix(END))
            .ok_or_else(|| other_form(text))?;
        let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let decoded = Zeroizing::new(Base64::decode_vec(&base64).map_err(|_| KeyFileError::NotAKey)?);
        let outer = Outer::read(&decoded).ok_or(KeyFileError::NotAKey)?;
        let mut blob = Reader(outer.public_key);
        match blob.string().unwrap_or_default() {
            b"ssh-ed25519" => {}
            b"ssh-rsa" => return Err(KeyFileError::Rsa),
            kind if kind.starts_with(b"sk-") => return Err(KeyFileError::SecurityKey),
            kind if kind.starts_with(b"ecdsa-") => return Err(KeyFileError::Ecdsa),
            _ => return Err(KeyFileError::OtherAlgorithm),
        }
        let cipher = String::from_utf8_lossy(outer.cipher).into_owned();
        if !CIPHERS.contains(&cipher.as_str()) {
            return Err(KeyFileError::Cipher {
                cipher: cipher.chars().filter(char::is_ascii_graphic).take(40).collect(),
            });
        }
        let public_key = PublicKey::from_blob(outer.public_key).ok_or(KeyFileError::NotAKey)?;
        let bcrypt_rounds = outer.bcrypt_rounds();
        let is_encrypted = cipher != "none";
        if is_encrypted != bcrypt_rounds.is_some() {
            return Err(KeyFileError::NotAKey);
        }
        Ok(Self { text: Zeroizing::new(text.as_bytes().to_vec()), public_key, bcrypt_rounds, is_encrypted })
    }

    /// The key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether it has a passphrase.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// How many rounds of bcrypt one guess at the passphrase costs; 16 by default, 0.1 s.
    pub fn bcrypt_rounds(&self) -> Option<u32> {
        self.bcrypt_rounds
    }

    /// Decrypts it. One without a passphrase is refused.
    pub fn unlock(&self, passphrase: &SecretSlice<u8>) -> Result<UnlockedKey, KeyFileError> {
        if !self.is_encrypted {
            return Err(KeyFileError::Unencrypted);
        }
        let encrypted = PrivateKey::from_openssh(&*self.text).map_err(|_| KeyFileError::NotAKey)?;
        let key = encrypted.decrypt(passphrase.expose_secret()).map_err(|_| KeyFileError::WrongPassphrase)?;
        let pair = key.key_data().ed25519().ok_or(KeyFileError::NotAKey)?;
        let seed = Zeroizing::new(pair.private.to_bytes());
        let signing_key = SigningKey::from_bytes(&seed);
        // The public half stands outside of what the passphrase protects.
        if PublicKey::from_raw(signing_key.verifying_key().as_bytes()) != self.public_key {
            return Err(KeyFileError::NotAKey);
        }
        Ok(UnlockedKey { public_key: self.public_key, signing_key })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyFile({:?})", self.public_key)
    }
}

/// What stands around the encrypted part. Source: OpenSSH, `PROTOCOL.key`.
struct Outer<'a> {
    cipher: &'a [u8],
    kdf: &'a [u8],
    kdf_options: &'a [u8],
    public_key: &'a [u8],
}

impl<'a> Outer<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(bytes.strip_prefix(b"openssh-key-v1\0")?);
        let (cipher, kdf, kdf_options) = (rest.string()?, rest.string()?, rest.string()?);
        rest.number().filter(|count| *count == 1)?;
        Some(Self { cipher, kdf, kdf_options, public_key: rest.string()? })
    }

    fn bcrypt_rounds(&self) -> Option<u32> {
        let mut options = Reader(self.kdf_options);
        let _salt = (self.kdf == b"bcrypt").then(|| options.string())?;
        options.number()
    }
}

/// What it is instead of a private key in OpenSSH's format.
fn other_form(text: &str) -> KeyFileError {
    let first = text.lines().next().unwrap_or_default();
    let is_public = ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| first.starts_with(prefix));
    match first {
        _ if is_public => KeyFileError::PublicHalf,
        "-----BEGIN RSA PRIVATE KEY-----" => KeyFileError::Rsa,
        "-----BEGIN EC PRIVATE KEY-----" => KeyFileError::Ecdsa,
        "-----BEGIN PRIVATE KEY-----" | "-----BEGIN ENCRYPTED PRIVATE KEY-----" => KeyFileError::Pkcs8,
        "-----BEGIN DSA PRIVATE KEY-----" => KeyFileError::OtherAlgorithm,
        _ if first.starts_with("PuTTY-User-Key-File-") => KeyFileError::Putty,
        _ => KeyFileError::NotAKey,
    }
}

/// A key out of its file, wiped when dropped.
pub struct UnlockedKey {
    public_key: PublicKey,
    signing_key: SigningKey,
}

impl fmt::Debug for UnlockedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UnlockedKey({:?})", self.public_key)
    }
}

impl Signer for UnlockedKey {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.signing_key.sign(data).to_bytes())
    }
}
