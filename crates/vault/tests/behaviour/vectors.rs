//! The published vault opens, by both slots.

use sorry_vault::{SlotKind, UnlockError, Vault};

use crate::common::{Key, PASSPHRASE, SEED, VECTOR, refusal, secret};

const BODY: &str = r#"{"entries":[{"id":"bootstrap/sue","kind":"aws-key","access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}]}"#;

#[test]
fn it_says_what_is_in_it() {
    let vault = Vault::parse(VECTOR).unwrap();
    assert_eq!(vault.id().to_string(), "101112131415161718191a1b1c1d1e1f");
    assert_eq!((vault.generation(), vault.written().to_string()), (1, "2026-01-02T03:04:05Z".to_owned()));
    let [ssh, passphrase] = vault.slots() else { panic!("two slots") };
    assert_eq!((ssh.id().to_string(), ssh.label().as_str()), ("2021222324252627".to_owned(), "laptop"));
    // As `ssh-keygen -l` says.
    assert_eq!(ssh.public_key().unwrap().fingerprint(), "SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8");
    let SlotKind::Passphrase { costs } = passphrase.kind() else { panic!("a passphrase slot") };
    assert_eq!((costs.m_kib(), costs.t(), costs.p()), (65_536, 3, 4));
}

#[test]
fn both_slots_give_the_same_body() {
    let vault = Vault::parse(VECTOR).unwrap();
    let (by_key, slot) = vault.data_key_with_signer(&Key::new(SEED)).unwrap();
    assert_eq!(slot, vault.slots()[0].id());
    assert_eq!(vault.body(&by_key).unwrap().as_slice(), BODY.as_bytes());
    let (by_passphrase, slot) = vault.data_key_with_passphrase(&secret(PASSPHRASE)).unwrap();
    assert_eq!(slot, vault.slots()[1].id());
    assert_eq!(vault.body(&by_passphrase).unwrap().as_slice(), BODY.as_bytes());
}

#[test]
fn other_keys_and_passphrases_are_told_apart() {
    let vault = Vault::parse(VECTOR).unwrap();
    assert!(matches!(
        refusal(vault.unlock_with_signer(&Key::new([1; 32]))),
        UnlockError::NoSlotForKey { .. }
    ));
    for near in
        ["correct horse battery staple ", "Correct horse battery staple", "correct horse battery stapl"]
    {
        assert!(matches!(refusal(vault.unlock_with_passphrase(&secret(near))), UnlockError::WrongPassphrase));
    }
    // The body is not of this program's form: said as such, and nothing of it is shown.
    let error = refusal(vault.unlock_with_signer(&Key::new(SEED)));
    assert!(matches!(error, UnlockError::UnknownContents), "{error:?}");
}
