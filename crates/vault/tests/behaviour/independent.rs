//! `tests/local/vault_independent.py`, which shares nothing with this crate, opens what this makes, and the other way round. OpenSSH
//! makes the same signature.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use secrecy::ExposeSecret;
use serde_json::json;
use sorry_vault::{Cache, KeyFile, NewSlot, RecoveryCode, Signer, Vault};

use crate::common::{
    Key, PASSPHRASE, SECRET, SEED, cheap, contents, hexadecimal, independent, label, now, parse, project,
    random, secret, vault,
};
use crate::key_files::generate;

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

    let message = folder.path().join("message");
    File::create(&message).unwrap().write_all(b"M").unwrap();
    let ask = folder.path().join("ask");
    File::create(&ask).unwrap().write_all(b"#!/bin/sh\necho phrase\n").unwrap();
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
    let done = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", "vault@sorry.invalid", "-O", "hashalg=sha512", "-f"])
        .args([&path, &message])
        .env("SSH_ASKPASS", &ask)
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env_remove("SSH_AUTH_SOCK")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    // The last 64 bytes of the armoured form are the signature.
    let armour = fs::read_to_string(message.with_extension("sig")).unwrap();
    let body: String = armour.lines().filter(|line| !line.starts_with("-----")).collect();
    let python = project().join(".local/venv/bin/python");
    let script = "import base64,sys; print(base64.b64decode(sys.argv[1])[-64:].hex())";
    let output = Command::new(python).args(["-c", script, &body]).output().unwrap();
    let theirs = String::from_utf8(output.stdout).unwrap();

    let digest = <sha2::Sha512 as sha2::Digest>::digest(b"M");
    let mut data = b"SSHSIG".to_vec();
    for part in [&b"vault@sorry.invalid"[..], b"", b"sha512", &digest] {
        data.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        data.extend_from_slice(part);
    }
    assert_eq!(hexadecimal(&key.sign(&data).unwrap()), theirs.trim());
}
