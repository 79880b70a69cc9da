//! Files that were damaged or put together from others: "damaged" or "wrong key", never a wrong secret, never a panic.

use base64ct::{Base64, Encoding};
use sha2::{Digest, Sha256};
use sorry_vault::{NewSlot, UnlockError, Vault, VaultError};

use crate::common::{Key, PASSPHRASE, SEED, contents, label, now, parse, random, refusal, secret, vault};

const TAIL: usize = ",\"sum\":\"\"}\n".len() + 44;

fn text() -> String {
    String::from_utf8(vault().bytes().to_vec()).unwrap()
}

/// With a sum that fits, as whoever does it on purpose would.
fn repaired(bytes: &[u8]) -> Vec<u8> {
    let covered = &bytes[..bytes.len() - TAIL];
    let sum = Base64::encode_string(&Sha256::digest(covered));
    [covered, format!(",\"sum\":\"{sum}\"}}\n").as_bytes()].concat()
}

/// The text between two marks, the first that there is.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    text.split_once(from).unwrap().1.split_once(to).unwrap().0
}

#[track_caller]
fn stays_shut(bytes: &[u8], what: &str) -> UnlockError {
    let vault = Vault::parse(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    refusal(vault.unlock_with_signer(&Key::new(SEED)))
}

#[test]
fn every_flipped_byte_is_found_before_anyone_is_asked() {
    let bytes = text().into_bytes();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x20, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            let found = Vault::parse(&flipped).expect_err("a flipped byte was not seen");
            assert!(
                matches!(found, VaultError::Damaged(_) | VaultError::NotAVault | VaultError::Version(_)),
                "{found:?}"
            );
        }
    }
}

#[test]
fn every_flipped_byte_keeps_it_shut_also_with_the_sum_repaired() {
    let text = text();
    let bytes = text.as_bytes();
    let passphrase_slot = text.find("{\"kind\":\"passphrase\"").unwrap()..text.find("],\"salt\"").unwrap();
    let (mut parsed, mut tried) = (0, 0);
    for at in 0..bytes.len() - TAIL {
        for mask in [0x01, 0x20] {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= mask;
            let Ok(vault) = Vault::parse(&repaired(&flipped)) else { continue };
            parsed += 1;
            let error = refusal(vault.unlock_with_signer(&Key::new(SEED)));
            let known = matches!(
                error,
                UnlockError::Damaged
                    | UnlockError::DoesNotUnwrap { .. }
                    | UnlockError::NoSlotForKey { .. }
                    | UnlockError::DoesNotVerify { .. }
            );
            assert!(known, "byte {at}: {error:?}");
            // Costly, so for the bytes that matter to it; a quarter of them.
            if passphrase_slot.contains(&at)
                && at % 4 == 0
                && vault.slots()[1].costs().unwrap().m_kib() < 70_000
            {
                tried += 1;
                let error = refusal(vault.unlock_with_passphrase(&secret(PASSPHRASE)));
                assert!(
                    matches!(error, UnlockError::Damaged | UnlockError::WrongPassphrase),
                    "byte {at}: {error:?}"
                );
            }
        }
    }
    assert!(parsed > 500 && tried > 20, "{parsed} parsed, {tried} tried: the test has lost its meaning");
}

#[test]
fn every_truncation_and_whatever_is_added_is_found() {
    let bytes = text().into_bytes();
    for length in 0..bytes.len() {
        Vault::parse(&bytes[..length]).unwrap_err();
        if length >= TAIL {
            assert!(Vault::parse(&repaired(&bytes[..length])).is_err(), "cut at {length}");
        }
    }
    for more in [&b"\n"[..], b" ", b"{}", b"\0", &bytes] {
        Vault::parse(&[&bytes, more].concat()).unwrap_err();
    }
    assert_eq!(Vault::parse(&vec![b' '; 1024 * 1024 + 1]), Err(VaultError::TooLarge));
}

#[test]
fn there_is_one_spelling() {
    let text = text();
    let salt = between(&text, "],\"salt\":\"", "\"").to_owned();
    let unpadded = salt.trim_end_matches('=').to_owned();
    // The last digit's unused bits.
    let last = unpadded.chars().last().unwrap();
    let other = char::from_u32(u32::from(last) + 1).unwrap();
    let loose = format!("{}{other}=", &unpadded[..unpadded.len() - 1]);
    let id = parse(&vault()).id().to_string();
    for (from, to) in [
        (",\"slots\"", ", \"slots\""),
        ("\"generation\":1", "\"generation\":1.0"),
        ("\"generation\":1", "\"generation\":01"),
        ("\"generation\":1", "\"generation\":0"),
        ("\"generation\":1", "\"generation\":9007199254740992"),
        ("\"generation\":1", "\"generation\":18446744073709551616"),
        ("\"generation\":1", "\"more\":1,\"generation\":1"),
        ("\"generation\":1", "\"generation\":1,\"generation\":1"),
        ("\"label\":\"laptop\"", "\"label\":\"l\\u0061ptop\""),
        ("\"label\":\"laptop\"", "\"label\":\"l\u{e4}ptop\""),
        ("\"label\":\"laptop\"", "\"label\":\"\""),
        ("\"m_kib\":19456", "\"m_kib\":19455"),
        ("\"m_kib\":19456", "\"m_kib\":4294967295"),
        ("\"p\":1", "\"p\":5"),
        ("\"kind\":\"passphrase\"", "\"kind\":\"password\""),
        ("12:00:00Z", "12:00:00.5Z"),
        ("12:00:00Z", "12:00:00+00:00"),
        (&id, &id.to_uppercase()),
        (&salt, &unpadded),
        (&salt, &loose),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "`{from}` is not in it");
        Vault::parse(&repaired(changed.as_bytes())).expect_err(to);
    }
    assert_eq!(
        Vault::parse(&repaired(text.replacen("\"version\":1", "\"version\":2", 1).as_bytes())),
        Err(VaultError::Version(2))
    );
    assert_eq!(Vault::parse(b"{\"format\":\"other\",\"version\":1}"), Err(VaultError::NotAVault));
    assert_eq!(Vault::parse(b""), Err(VaultError::NotAVault));
}

#[test]
fn slots_swapped_removed_or_repeated_keep_it_shut() {
    let text = text();
    let slots = between(&text, "\"slots\":[", "],\"salt\"");
    let (first, second) =
        slots.split_once("},{").map(|(first, second)| (format!("{first}}}"), format!("{{{second}"))).unwrap();
    let with = |slots: &str| {
        repaired(text.replacen(between(&text, "\"slots\":[", "],\"salt\""), slots, 1).as_bytes())
    };
    assert!(matches!(stays_shut(&with(&format!("{second},{first}")), "swapped"), UnlockError::Damaged));
    assert!(matches!(stays_shut(&with(&first), "removed"), UnlockError::Damaged));
    Vault::parse(&with(&format!("{first},{first}"))).expect_err("repeated");
    Vault::parse(&with("")).expect_err("none");
    let vault = Vault::parse(&with(&second)).unwrap();
    assert!(matches!(refusal(vault.unlock_with_passphrase(&secret(PASSPHRASE))), UnlockError::Damaged));
}

#[test]
fn parts_of_another_generation_or_vault_keep_it_shut() {
    let old = vault();
    let new = old.clone().into_open().replace(contents(), now(), &mut random(2)).unwrap();
    let key = Key::new(SEED);
    let slot = NewSlot::Signer { label: &label("laptop"), signer: &key };
    let other = Vault::create(&[slot], contents(), now(), &mut random(3)).unwrap();
    let [old, new, other] =
        [&old, &new, &other].map(|sealed| String::from_utf8(sealed.bytes().to_vec()).unwrap());

    for (from, what) in [(&old, "an older generation"), (&other, "another vault")] {
        let payload = |text: &str| between(text, "\"payload\":\"", "\"").to_owned();
        let mixed = new.replacen(&payload(&new), &payload(from), 1);
        assert_ne!(mixed, new);
        assert!(
            matches!(stays_shut(&repaired(mixed.as_bytes()), what), UnlockError::Damaged),
            "payload of {what}"
        );
        let salted = |text: &str| between(text, "],", ",\"sum\"").to_owned();
        let mixed = new.replacen(&salted(&new), &salted(from), 1);
        assert!(
            matches!(stays_shut(&repaired(mixed.as_bytes()), what), UnlockError::Damaged),
            "salt and payload of {what}"
        );
    }
    // A slot of another vault for the same key, with that vault's data key.
    let first = |text: &str| format!("{}}}", between(text, "\"slots\":[", "}"));
    let mixed = new.replacen(&first(&new), &first(&other), 1);
    assert!(matches!(stays_shut(&repaired(mixed.as_bytes()), "a slot"), UnlockError::DoesNotUnwrap { .. }));
    // The generation put back, so that a roll-back would not show.
    let mixed = old.replacen("\"generation\":1", "\"generation\":3", 1);
    assert!(matches!(stays_shut(&repaired(mixed.as_bytes()), "a generation"), UnlockError::Damaged));
}
