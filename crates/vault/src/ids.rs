//! Names of things in a vault, validated once.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha256};

use crate::VaultError;

macro_rules! hexadecimal_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// From its bytes.
            pub const fn new(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = VaultError;

            /// Lower-case hexadecimal, no other form.
            fn from_str(text: &str) -> Result<Self, VaultError> {
                let mut bytes = [0; $length];
                let digits = text.as_bytes();
                if digits.len() != 2 * bytes.len() {
                    return Err(VaultError::Damaged("an id has another length"));
                }
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let digit = |digit: u8| match digit {
                        b'0'..=b'9' => Ok(digit - b'0'),
                        b'a'..=b'f' => Ok(digit - b'a' + 10),
                        _ => Err(VaultError::Damaged("an id is not hexadecimal")),
                    };
                    if let [high, low] = pair {
                        *byte = digit(*high)? << 4 | digit(*low)?;
                    }
                }
                Ok(Self(bytes))
            }
        }
    };
}

hexadecimal_id!(
    /// A vault's own number, drawn once; 32 hexadecimal digits.
    VaultId, 16
);
hexadecimal_id!(
    /// A slot's number within its vault; 16 hexadecimal digits.
    SlotId, 8
);

/// What a person calls a slot: 1 to 64 printable ASCII characters without `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// Checks the text and takes it; nothing is trimmed.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(VaultError::Label)
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const ALGORITHM: &[u8] = b"ssh-ed25519";
const BLOB_PREFIX: &[u8; 19] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// An Ed25519 public key, in SSH's form of 51 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 51]);

impl PublicKey {
    /// From the 32 bytes of RFC 8032.
    pub fn from_raw(raw: &[u8; 32]) -> Self {
        let mut blob = [0; 51];
        let (prefix, key) = blob.split_at_mut(BLOB_PREFIX.len());
        prefix.copy_from_slice(BLOB_PREFIX);
        key.copy_from_slice(raw);
        Self(blob)
    }

    /// From SSH's form, if it is that of an Ed25519 key.
    pub fn from_blob(blob: &[u8]) -> Option<Self> {
        let raw: &[u8; 32] = blob.strip_prefix(BLOB_PREFIX)?.try_into().ok()?;
        Some(Self::from_raw(raw))
    }

    /// From a line `ssh-ed25519 AAAA… comment`, as in `id_ed25519.pub`.
    pub fn from_openssh(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let algorithm = words.next().filter(|word| word.as_bytes() == ALGORITHM);
        algorithm
            .and(words.next())
            .and_then(|word| Base64::decode_vec(word).ok())
            .and_then(|blob| Self::from_blob(&blob))
    }

    /// SSH's form.
    pub const fn blob(&self) -> &[u8; 51] {
        &self.0
    }

    /// The 32 bytes of RFC 8032.
    pub fn raw(&self) -> [u8; 32] {
        let mut raw = [0; 32];
        raw.copy_from_slice(self.0.split_at(BLOB_PREFIX.len()).1);
        raw
    }

    /// `SHA256:…`, as `ssh-keygen -l` and `ssh-add -l` show it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", Base64Unpadded::encode_string(&Sha256::digest(self.0)))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.fingerprint())
    }
}
