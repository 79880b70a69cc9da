//! Key files as `ssh-keygen` makes them: which will do, and what is said of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sorry_vault::{KeyFile, KeyFileError, NewSlot, PublicKey, UnlockError, Vault};

use crate::common::{contents, label, now, parse, random, refusal, secret};

/// Makes a key; returns its file.
pub(crate) fn generate(folder: &Path, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
    let path = folder.join(name);
    let done = Command::new("ssh-keygen")
        .args(["-q", "-a", "4", "-C", "", "-N", passphrase, "-f"])
        .arg(&path)
        .args(kind)
        .output()
        .expect("there is no `ssh-keygen`: install openssh-client");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    path
}

#[test]
fn a_key_with_a_passphrase_opens_a_vault_also_when_the_passphrase_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = generate(folder.path(), "id", &["-t", "ed25519"], "first");
    let file = KeyFile::read(&path).unwrap();
    assert!(file.is_encrypted());
    assert_eq!(file.bcrypt_rounds(), Some(4));
    let line = fs::read_to_string(path.with_extension("pub")).unwrap();
    assert_eq!(PublicKey::from_openssh(&line).as_ref(), Some(file.public_key()));
    assert!(matches!(file.unlock(&secret("other")), Err(KeyFileError::WrongPassphrase)));

    let key = file.unlock(&secret("first")).unwrap();
    let slot = NewSlot::Signer { label: &label("file"), signer: &key };
    let sealed = Vault::create(&[slot], contents(), now(), &mut random(1)).unwrap();
    for (old, new, more) in
        [("first", "second", &["-a", "7"][..]), ("second", "third", &["-Z", "aes256-gcm@openssh.com"])]
    {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-p", "-P", old, "-N", new, "-f"])
            .arg(&path)
            .args(more)
            .status()
            .unwrap();
        assert!(status.success());
        let changed = KeyFile::read(&path).unwrap();
        assert!(matches!(changed.unlock(&secret(old)), Err(KeyFileError::WrongPassphrase)));
        let key = changed.unlock(&secret(new)).unwrap();
        parse(&sealed).unlock_with_signer(&key).unwrap();
    }
}

#[test]
fn a_key_without_a_passphrase_is_seen_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::read(&generate(folder.path(), "id", &["-t", "ed25519"], "")).unwrap();
    assert_eq!((file.is_encrypted(), file.bcrypt_rounds()), (false, None));
    let error = file.unlock(&secret("")).unwrap_err();
    assert!(matches!(error, KeyFileError::Unencrypted));
    assert!(error.to_string().contains("ssh-keygen -p"), "{error}");
}

#[test]
fn other_keys_are_refused_each_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let refused = |path: PathBuf| KeyFile::read(&path).unwrap_err();
    let rsa = || generate(folder, "rsa", &["-t", "rsa", "-b", "2048"], "x");
    assert!(matches!(refused(rsa()), KeyFileError::Rsa));
    assert!(matches!(refused(folder.join("rsa.pub")), KeyFileError::PublicHalf));
    assert!(matches!(refused(generate(folder, "ecdsa", &["-t", "ecdsa"], "x")), KeyFileError::Ecdsa));
    let pem = generate(folder, "pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"], "");
    assert!(matches!(refused(pem), KeyFileError::Rsa));
    let pkcs8 = generate(folder, "pkcs8", &["-t", "ecdsa", "-m", "PKCS8"], "phrase");
    assert!(matches!(refused(pkcs8), KeyFileError::Pkcs8));
    let triple = generate(folder, "triple", &["-t", "ed25519", "-Z", "3des-cbc"], "x");
    let error = refused(triple);
    assert!(matches!(&error, KeyFileError::Cipher { cipher } if cipher == "3des-cbc"), "{error:?}");
    assert!(matches!(refused(folder.join("none")), KeyFileError::Unreadable { .. }));

    // Nothing here has a security key: the form is OpenSSH's, with its own public half.
    let outer = |kind: &[u8]| {
        let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let public = string(&string(kind));
        [&b"openssh-key-v1\0"[..], &string(b"none"), &string(b"none"), &string(b""), &[0, 0, 0, 1], &public]
            .concat()
    };
    for (kind, expected) in [
        (&b"sk-ssh-ed25519@openssh.com"[..], "security key"),
        (b"ssh-dss", "only Ed25519"),
        (b"sk-ecdsa-sha2-nistp256@openssh.com", "security key"),
    ] {
        let body = <base64ct::Base64 as base64ct::Encoding>::encode_string(&outer(kind));
        let text =
            format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n");
        let error = KeyFile::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(matches!(KeyFile::parse(b"PuTTY-User-Key-File-3: ssh-ed25519\n"), Err(KeyFileError::Putty)));
    assert!(matches!(KeyFile::parse(b"hello"), Err(KeyFileError::NotAKey)));
}

/// What the earlier tool fell to: everything that its key was made from can be read by whoever reads the files.
#[test]
fn nothing_that_can_be_read_without_the_passphrase_opens_a_vault() {
    let folder = tempfile::tempdir().unwrap();
    let path = generate(folder.path(), "id", &["-t", "ed25519"], "phrase");
    let file = KeyFile::read(&path).unwrap();
    let key = file.unlock(&secret("phrase")).unwrap();
    let signer = NewSlot::Signer { label: &label("key"), signer: &key };
    let passphrase = secret("phrase of the vault");
    let costs = crate::common::cheap();
    let phrase = NewSlot::Passphrase { label: &label("phrase"), passphrase: &passphrase, costs };
    let vault = parse(&Vault::create(&[signer, phrase], contents(), now(), &mut random(1)).unwrap());

    let bytes = fs::read(&path).unwrap();
    let line = fs::read(path.with_extension("pub")).unwrap();
    let public = file.public_key();
    let digest = |bytes: &[u8]| <sha2::Sha256 as sha2::Digest>::digest(bytes).to_vec();
    let readable = [
        bytes.clone(),
        line.clone(),
        public.blob().to_vec(),
        public.raw().to_vec(),
        public.fingerprint().into_bytes(),
        digest(&bytes),
        digest(&line),
        digest(public.blob()),
    ];
    for known in readable {
        let passphrase = secrecy::SecretSlice::from(known.clone());
        assert!(matches!(refusal(vault.unlock_with_passphrase(&passphrase)), UnlockError::WrongPassphrase));
        // As the seed of a key, and as the signature itself.
        let mut seed = [0; 32];
        seed.iter_mut().zip(&known).for_each(|(byte, known)| *byte = *known);
        let forged = Forged { public: *public, seed };
        assert!(matches!(refusal(vault.unlock_with_signer(&forged)), UnlockError::DoesNotVerify { .. }));
    }
}

struct Forged {
    public: PublicKey,
    seed: [u8; 32],
}

impl sorry_vault::Signer for Forged {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], sorry_vault::SignError> {
        crate::common::Key::new(self.seed).sign(data)
    }
}
