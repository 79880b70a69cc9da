//! Cached sessions: read back by the vault that wrote them, absent in every other case.

#![allow(clippy::disallowed_methods, reason = "the test damages files on purpose")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use secrecy::ExposeSecret;
use sorry_profiles::{AccessKeyId, Region, SecretAccessKey, SessionToken};
use sorry_vault::{Cache, CacheError, CachedSession, Renewal, TemporaryCredentials, Unlocker};

use crate::common::{Key, PASSPHRASE, SECRET, SEED, now, random, secret, vault};
use crate::store::{actor, context};

pub(crate) fn session(id: &str) -> CachedSession {
    CachedSession {
        session_id: id.to_owned(),
        credentials: TemporaryCredentials {
            access_key_id: AccessKeyId::parse("ASIAIOSFODNN7EXAMPLE").unwrap(),
            secret_access_key: SecretAccessKey::parse(SECRET).unwrap(),
            session_token: SessionToken::parse("VG9rZW4=").unwrap(),
            expires_at: "2026-11-21T13:00:00Z".parse().unwrap(),
        },
        session_ends_at: "2026-11-21T20:00:00Z".parse().unwrap(),
        renewal: Renewal {
            role_arn: "arn:aws:iam::123456789012:role/sorry/sue/sorry-abcd".to_owned(),
            external_id: "an-external-id".to_owned().into(),
            source_identity: "sue".to_owned(),
            role_session_name: "sue".to_owned(),
            maximum_seconds: 3600,
            region: Region::parse("eu-central-1").unwrap(),
            mfa: true,
            issued: false,
        },
    }
}

#[test]
fn a_session_comes_back_whole_and_for_its_owner_alone() {
    let state = tempfile::tempdir().unwrap();
    let (cache, open) = (Cache::new(&state.path().join("sorry")), vault().into_open());
    assert!(cache.read("abcd", &open, actor()).is_none());
    assert!(cache.sessions(actor()).is_empty());
    cache.write(&session("abcd"), &open, &mut random(2), &context()).unwrap();
    let first = fs::read(cache.path("abcd").unwrap()).unwrap();
    cache.write(&session("abcd"), &open, &mut random(3), &context()).unwrap();
    assert_ne!(fs::read(cache.path("abcd").unwrap()).unwrap(), first, "the salt is a new one");
    let read = cache.read("abcd", &open, actor()).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), serde_json::to_string(&session("abcd")).unwrap());
    assert_eq!(read.renewal.external_id.expose_secret(), "an-external-id");
    assert_eq!(cache.sessions(actor()), [("abcd".to_owned(), session("abcd").credentials.expires_at)]);

    let path = cache.path("abcd").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("ASIA") && !text.contains(SECRET) && !text.contains("role"), "{text}");

    cache.write(&session("efgh"), &open, &mut random(4), &context()).unwrap();
    cache.remove("abcd").unwrap();
    cache.remove("abcd").unwrap();
    assert_eq!(cache.sessions(actor()).len(), 1);
    cache.clear().unwrap();
    assert!(cache.sessions(actor()).is_empty());
}

#[test]
fn whatever_cannot_be_read_counts_as_absent() {
    let state = tempfile::tempdir().unwrap();
    let (cache, open) = (Cache::new(state.path()), vault().into_open());
    cache.write(&session("abcd"), &open, &mut random(2), &context()).unwrap();
    let path = cache.path("abcd").unwrap();
    let good = fs::read(&path).unwrap();

    // Another session's file under this name, and the file of another vault.
    fs::copy(&path, cache.path("efgh").unwrap()).unwrap();
    assert!(cache.read("efgh", &open, actor()).is_none());
    let key = Key::new(SEED);
    let passphrase = secret(PASSPHRASE);
    let [first, second] = open.vault().slots() else { panic!("two slots") };
    let answers = [(first.id(), Unlocker::Signer(&key)), (second.id(), Unlocker::Passphrase(&passphrase))];
    let rekeyed = open.rekey(&answers, &[], now(), &mut random(5)).unwrap().into_open();
    assert!(cache.read("abcd", &rekeyed, actor()).is_none());

    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(cache.read("abcd", &open, actor()).is_none(), "byte {at}");
    }
    // An expiry that somebody moved, with the sum repaired.
    let text = String::from_utf8(good.clone()).unwrap().replacen("13:00:00Z", "19:00:00Z", 1);
    let covered = &text.as_bytes()[..text.len() - ",\"sum\":\"\"}\n".len() - 44];
    let sum = <base64ct::Base64 as base64ct::Encoding>::encode_string(
        &<sha2::Sha256 as sha2::Digest>::digest(covered),
    );
    fs::write(&path, [covered, format!(",\"sum\":\"{sum}\"}}\n").as_bytes()].concat()).unwrap();
    assert!(cache.read("abcd", &open, actor()).is_none());
    fs::write(&path, b"").unwrap();
    assert!(cache.read("abcd", &open, actor()).is_none());
    fs::write(&path, &good).unwrap();
    cache.read("abcd", &open, actor()).unwrap();
}

#[test]
fn a_session_id_is_no_path() {
    let state = tempfile::tempdir().unwrap();
    let (cache, open) = (Cache::new(state.path()), vault().into_open());
    for id in ["", ".", "../x", "a/b", "A", "a.json"] {
        assert!(cache.path(id).is_none(), "{id}");
        let refused = cache.write(&session(id), &open, &mut random(2), &context());
        assert!(matches!(refused, Err(CacheError::SessionId(_))), "{id}");
    }
}
