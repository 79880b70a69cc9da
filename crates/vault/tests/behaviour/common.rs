//! What most tests here need: keys, contents, random numbers that can be repeated, and the independent implementation.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use ed25519_dalek::{Signer as _, SigningKey};
use jiff::Timestamp;
use secrecy::SecretSlice;
use serde_json::Value;
use sorry_profiles::{AccessKeyId, SecretAccessKey};
use sorry_vault::{
    Contents, Costs, Label, LongLivedKey, NewSlot, PublicKey, Sealed, SignError, Signer, UnlockError, Vault,
};

pub(crate) const VECTOR: &[u8] = include_bytes!("../vault-v1.json");
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// RFC 8032, section 7.1, test 1.
pub(crate) const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];

/// The cheapest that is allowed.
pub(crate) fn cheap() -> Costs {
    Costs::new(19_456, 1, 1).unwrap()
}

/// A key in memory.
pub(crate) struct Key {
    pub(crate) signing: SigningKey,
    pub(crate) public: PublicKey,
}

impl Key {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&seed);
        let public = PublicKey::from_raw(signing.verifying_key().as_bytes());
        Self { signing, public }
    }
}

impl Signer for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.signing.sign(data).to_bytes())
    }
}

pub(crate) fn secret(text: &str) -> SecretSlice<u8> {
    SecretSlice::from(text.as_bytes().to_vec())
}

pub(crate) fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00.5Z".parse().unwrap()
}

/// Random numbers that are the same in each run, and never the same twice in one.
pub(crate) fn random(seed: u64) -> impl FnMut(&mut [u8]) -> std::io::Result<()> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    move |buffer| {
        for byte in buffer {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            *byte = (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8;
        }
        Ok(())
    }
}

pub(crate) fn contents() -> Contents {
    Contents {
        bootstrap: Some(LongLivedKey {
            access_key_id: AccessKeyId::parse("AKIAIOSFODNN7EXAMPLE").unwrap(),
            secret_access_key: SecretAccessKey::parse(SECRET).unwrap(),
            arn: "arn:aws:iam::123456789012:user/sue-mgr".to_owned(),
            account: "123456789012".to_owned(),
            created_at: None,
        }),
        ..Contents::default()
    }
}

/// A vault with a slot for [`SEED`] and one for [`PASSPHRASE`].
pub(crate) fn vault() -> Sealed {
    let (key, passphrase) = (Key::new(SEED), secret(PASSPHRASE));
    let slots = [
        NewSlot::Signer { label: &label("laptop"), signer: &key },
        NewSlot::Passphrase { label: &label("recovery"), passphrase: &passphrase, costs: cheap() },
    ];
    Vault::create(&slots, contents(), now(), &mut random(1)).unwrap()
}

pub(crate) fn parse(sealed: &Sealed) -> Vault {
    Vault::parse(sealed.bytes()).unwrap()
}

/// What `result` was refused with.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, UnlockError>) -> UnlockError {
    result.expect_err("it opened")
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Asks the independent implementation; `Err` is what it complained of.
pub(crate) fn independent(command: &str, request: &Value) -> Result<Value, String> {
    let python = project().join(".local/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make tools` first", python.display());
    let mut child = Command::new(python)
        .arg(project().join("tests/local/vault_independent.py"))
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
