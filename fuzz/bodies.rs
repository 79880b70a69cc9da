//! What is tried with hostile input, one function for each fuzz target. Panics are findings.

#![allow(dead_code, reason = "each target runs one of them")]

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};
use sorry_profiles::ini::{Document, SectionEdit};
use sorry_profiles::values::Value;
use sorry_profiles::{FileKind, ProfileName};
use sorry_vault::{KeyFile, PublicKey, SignError, Signer, Vault, parse_identities, parse_signature};

/// The whole vault that inputs are made from; its first slot is for [`SEED`].
pub(crate) const VAULT: &[u8] = include_bytes!("../crates/vault/tests/vault-v1.json");

/// RFC 8032, section 7.1, test 1.
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

struct Key(SigningKey, PublicKey);

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.1
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.0.sign(data).to_bytes())
    }
}

/// A file that is no longer as it was does not open, also with a sum that fits.
pub(crate) fn vault_parser(bytes: &[u8]) {
    let tail = ",\"sum\":\"\"}\n".len() + 44;
    let covered =
        bytes.split_at_checked(bytes.len().saturating_sub(tail)).map_or(bytes, |(covered, _)| covered);
    let sum = Base64::encode_string(&Sha256::digest(covered));
    let repaired = [covered, format!(",\"sum\":\"{sum}\"}}\n").as_bytes()].concat();
    let signing = SigningKey::from_bytes(&SEED);
    let public = PublicKey::from_raw(signing.verifying_key().as_bytes());
    let key = Key(signing, public);
    for file in [bytes, &repaired] {
        let Ok(vault) = Vault::parse(file) else { continue };
        assert!((1..=8).contains(&vault.slots().len()));
        let _ = format!("{vault:?}");
        let Ok((data_key, _)) = vault.data_key_with_signer(&key) else { continue };
        assert!(vault.body(&data_key).is_err() || file == VAULT, "a changed file was opened");
    }
}

/// What an agent answers takes no more memory than it has bytes, and is read whole or not at all.
pub(crate) fn agent_answers(bytes: &[u8]) {
    if let Some(identities) = parse_identities(bytes) {
        let told: usize =
            identities.iter().map(|identity| 8 + identity.blob.len() + identity.comment.len()).sum();
        assert_eq!(told + 5, bytes.len());
        for identity in identities {
            let key = identity.public_key();
            assert!(key.is_none_or(|key| key.blob().as_slice() == identity.blob));
            let _ = identity.certified_key().map(|key| key.fingerprint());
        }
    }
    if let Some(signature) = parse_signature(bytes) {
        assert!(bytes.ends_with(&signature));
    }
}

/// A key file is read or refused.
pub(crate) fn key_file(bytes: &[u8]) {
    if let Ok(file) = KeyFile::parse(bytes) {
        assert_eq!(file.is_encrypted(), file.bcrypt_rounds().is_some());
    }
}

/// Any file comes out as it went in; an edited one has the edit in it, once.
pub(crate) fn ini_editor(bytes: &[u8]) {
    let (Ok(name), Ok(region)) = (ProfileName::parse("x"), Value::parse("eu-west-1")) else { return };
    for kind in [FileKind::Config, FileKind::Credentials] {
        let document = Document::parse(kind, bytes);
        assert_eq!(document.emit(), bytes);
        let _ = document.profiles();
        let edit = SectionEdit::default().set("region", region.clone()).remove("old");
        if let Ok(Some(edited)) = document.apply(&name, &edit) {
            let again = Document::parse(kind, &edited);
            let section = again.section(&name).ok().flatten();
            assert_eq!(section.as_ref().and_then(|section| section.value("region")), Some(&b"eu-west-1"[..]));
            assert!(section.is_some_and(|section| section.value("old").is_none()));
            assert!(matches!(again.apply(&name, &edit), Ok(None)));
        }
        let _ = document.remove(&name, &["region"]);
    }
}
