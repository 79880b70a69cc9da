//! `tests/local/vault_independent.py`, which shares nothing with this crate, opens what this makes, and the other way round. OpenSSH
//! makes the same signature.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sorry_vault::{Cache, KeyFile, NewSlot, RecoveryCode, Signer, Vault};

use crate::common::{
    Key, PASSPHRASE, SECRET, SEED, VECTOR, cheap, contents, hexadecimal, independent, label, now, parse,
    project, random, secret, vault,
};
use crate::key_files::generate;

/// RFC 8032, 7.1, test 1.
const VECTOR_SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const VECTOR_S: &str = "9dbd57269738a74e22cf04de9f12eec628b525469c82f5ff1efbe83a4e533c6cde683a87df42c92ae580dca7478e16e639540e5d89967207c34801b6693bbb05";
const VECTOR_KEK_SSH: &str = "c723d88f7a0bc4359d949b36561cc2efd23129b494329652e7fbe867d7e270f8";
const VECTOR_ARGON2: &str = "11bacb5bacf7c692cf033ec4a9d1347c8f42f3560def37ade5d4f0160c18271a";
const VECTOR_KEK_PASS: &str = "6270421e7d3a0fe70782fbaa57cc0e34b01317a881f03b8ebc42a986de1ec05e";
const VECTOR_PK: &str = "0d196accbd30ad3e318f3edf66c9013ce21f01243020a815ceccf5607d2a80ee";

#[test]
fn it_opens_what_this_makes() {
    let mut sealed = vault();
    for generation in 1..=3 {
        let file = String::from_utf8(sealed.bytes().to_vec()).unwrap();
        for by in [
            json!({"file": file, "seed": hexadecimal(&SEED)}),
            json!({"file": file, "passphrase": PASSPHRASE}),
        ] {
            let body = independent("open", &by).unwrap();
            let expected = serde_json::to_vec(&contents()).unwrap();
            assert_eq!(body["body"], hexadecimal(&expected), "generation {generation}");
        }
        sealed = sealed.into_open().replace(contents(), now(), &mut random(generation)).unwrap();
    }
}

#[test]
fn this_opens_what_it_makes() {
    let body = serde_json::to_vec(&contents()).unwrap();
    let request = json!({
        "fixed": {
            "id": hexadecimal(&[3; 16]), "data_key": hexadecimal(&[4; 32]), "salt": hexadecimal(&[5; 32]),
            "generation": 77, "written": "2026-11-21T12:00:00Z",
            "slots": [
                {"id": hexadecimal(&[6; 8]), "salt": hexadecimal(&[7; 32]), "label": "a key", "seed": hexadecimal(&SEED)},
                {"id": hexadecimal(&[8; 8]), "salt": hexadecimal(&[9; 32]), "label": "a phrase", "passphrase": PASSPHRASE,
                 "m_kib": 19456, "t": 2, "p": 1},
            ],
        },
        "body": hexadecimal(&body),
    });
    let made = independent("make", &request).unwrap();
    let vault = Vault::parse(made["file"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!((vault.generation(), vault.slots().len()), (77, 2));
    for open in [
        vault.unlock_with_signer(&Key::new(SEED)).unwrap(),
        vault.unlock_with_passphrase(&secret(PASSPHRASE)).unwrap(),
    ] {
        assert_eq!(open.contents().bootstrap.as_ref().unwrap().secret_access_key.expose(), SECRET);
    }
}

#[test]
fn recovery_codes_are_spelled_the_same_and_open() {
    for seed in 0..20 {
        let mut bits = [0; 16];
        random(seed)(&mut bits).unwrap();
        let code = RecoveryCode::generate(&mut |buffer: &mut [u8]| {
            buffer.copy_from_slice(&bits);
            Ok(())
        })
        .unwrap();
        let theirs = independent("code", &json!({"bits": hexadecimal(&bits)})).unwrap();
        assert_eq!(theirs["code"], *code.shown());
        assert_eq!(RecoveryCode::parse(&code.shown()).unwrap(), code);
    }

    let code = RecoveryCode::generate(&mut random(5)).unwrap();
    let passphrase = code.to_passphrase();
    let slot = NewSlot::Passphrase { label: &label("recovery"), passphrase: &passphrase, costs: cheap() };
    let sealed = Vault::create(&[slot], contents(), now(), &mut random(6)).unwrap();
    let file = String::from_utf8(sealed.bytes().to_vec()).unwrap();
    independent("open", &json!({"file": file, "passphrase": *code.shown()})).unwrap();
    // From paper, in any spelling.
    let loose = code.shown().to_uppercase().replace('-', " ").replace('0', "O").replace('1', "l");
    parse(&sealed).unlock_with_passphrase(&secret(&loose)).unwrap();
    assert_eq!(passphrase.expose_secret(), code.shown().as_bytes());
}

#[test]
fn it_opens_a_cached_session() {
    let state = tempfile::tempdir().unwrap();
    let (sealed, cache) = (vault(), Cache::new(state.path()));
    let session = crate::cache::session("abcd");
    cache.write(&session, &sealed.clone().into_open(), &mut random(3), &crate::store::context()).unwrap();
    let request = json!({
        "file": String::from_utf8(sealed.bytes().to_vec()).unwrap(),
        "cache": fs::read_to_string(cache.path("abcd").unwrap()).unwrap(),
        "seed": hexadecimal(&SEED),
    });
    let body = independent("cache", &request).unwrap();
    assert_eq!(body["body"], hexadecimal(&serde_json::to_vec(&session).unwrap()));
}

/// The raw signature that `ssh-keygen -Y sign` makes over a message with the key in a file whose passphrase is `phrase`.
fn signed_by_openssh(folder: &Path, key: &Path, message: &[u8]) -> String {
    let path = folder.join("message");
    File::create(&path).unwrap().write_all(message).unwrap();
    let ask = folder.join("ask");
    File::create(&ask).unwrap().write_all(b"#!/bin/sh\necho phrase\n").unwrap();
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
    let done = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", "vault@sorry.invalid", "-O", "hashalg=sha512", "-f"])
        .args([key, &path])
        .env("SSH_ASKPASS", &ask)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // The last 64 bytes of the armoured form are the signature.
    let armour = fs::read_to_string(path.with_extension("sig")).unwrap();
    let body: String = armour.lines().filter(|line| !line.starts_with("-----")).collect();
    let python = project().join(".local/venv/bin/python");
    let script = "import base64,sys; print(base64.b64decode(sys.argv[1])[-64:].hex())";
    let output = Command::new(python).args(["-c", script, &body]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The bytes that are signed are those that `ssh-keygen -Y sign` signs, too: what opens a vault can be made by hand.
#[test]
fn ssh_keygen_makes_the_same_signature() {
    let folder = tempfile::tempdir().unwrap();
    let path = generate(folder.path(), "id", &["-t", "ed25519"], "");
    let key = KeyFile::read(&path).unwrap();
    assert!(!key.is_encrypted());
    // The key without a passphrase is for `ssh-keygen` alone; this one signs with the same key, encrypted.
    let status = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "phrase", "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    let key = KeyFile::read(&path).unwrap().unlock(&secret("phrase")).unwrap();

    let theirs = signed_by_openssh(folder.path(), &path, b"M");
    let digest = <sha2::Sha512 as sha2::Digest>::digest(b"M");
    let mut data = b"SSHSIG".to_vec();
    for part in [&b"vault@sorry.invalid"[..], b"", b"sha512", &digest] {
        data.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        data.extend_from_slice(part);
    }
    assert_eq!(hexadecimal(&key.sign(&data).unwrap()), theirs);
}

/// The published file and every published value, by an implementation that has seen neither this crate nor its constants, and the
/// signature by OpenSSH with the published key.
#[test]
fn the_vector_is_made_opened_and_signed_by_others() {
    let file = std::str::from_utf8(VECTOR).unwrap();
    let vector: Value = serde_json::from_str(file).unwrap();
    let slots = &vector["slots"];
    let run = |from: u8, length: u8| hexadecimal(&(from..from + length).collect::<Vec<_>>());
    let mut body = None;
    for (by, steps) in [
        (json!({"seed": VECTOR_SEED}), &[("S", VECTOR_S), ("KEK ssh", VECTOR_KEK_SSH)]),
        (
            json!({"passphrase": "correct horse battery staple"}),
            &[("argon2id", VECTOR_ARGON2), ("KEK pass", VECTOR_KEK_PASS)],
        ),
    ] {
        let mut request = by.as_object().unwrap().clone();
        request.insert("file".to_owned(), json!(file));
        let opened = independent("open", &Value::Object(request)).unwrap();
        for (name, value) in steps.iter().chain(&[("PK", VECTOR_PK), ("DEK", &run(0xa0, 32))]) {
            assert_eq!(opened["steps"][name], *value, "{name}");
        }
        assert_eq!(*body.get_or_insert_with(|| opened["body"].clone()), opened["body"]);
    }

    let fixed = json!({
        "id": run(0x10, 16), "data_key": run(0xa0, 32), "salt": run(0x80, 32), "generation": 1,
        "written": vector["written"],
        "slots": [
            {"id": run(0x20, 8), "salt": run(0x40, 32), "label": slots[0]["label"], "seed": VECTOR_SEED},
            {"id": run(0x28, 8), "salt": run(0x60, 32), "label": slots[1]["label"],
             "passphrase": "correct horse battery staple", "m_kib": 65536, "t": 3, "p": 4},
        ],
    });
    let made = independent("make", &json!({"fixed": fixed, "body": body})).unwrap();
    assert_eq!(made["file"], file);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let python = project().join(".local/venv/bin/python");
    let script = "import sys\n\
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Key\n\
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat\n\
        key = Key.from_private_bytes(bytes.fromhex(sys.argv[1]))\n\
        form = (Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())\n\
        sys.stdout.buffer.write(key.private_bytes(*form))";
    let key = Command::new(python).args(["-c", script, VECTOR_SEED]).output().unwrap();
    assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
    let mut key_file = File::create(&path).unwrap();
    key_file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    key_file.write_all(&key.stdout).unwrap();
    drop(key_file);
    let mut message = Vec::new();
    let public_key = Vault::parse(VECTOR).unwrap().slots()[0].public_key().unwrap().blob().to_vec();
    let numbers = |from: u8, length: u8| (from..from + length).collect::<Vec<_>>();
    for part in [
        b"sorry vault v1 ssh slot".to_vec(),
        numbers(0x10, 16),
        numbers(0x20, 8),
        public_key,
        numbers(0x40, 32),
    ] {
        message.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        message.extend(part);
    }
    assert_eq!(signed_by_openssh(folder.path(), &path, &message), VECTOR_S);
}
