//! Adding and removing slots, and new data keys.

use std::cell::RefCell;
use std::collections::HashSet;

use secrecy::{ExposeSecret, SecretSlice};
use sorry_vault::{
    EnrolError, NewSlot, RecoveryCode, RekeyError, Rotation, SealError, SignError, Signer, SlotId,
    UnlockError, Unlocker, Vault,
};

use crate::common::{
    Key, PASSPHRASE, SECRET, SEED, cheap, contents, label, now, parse, random, refusal, secret, vault,
};

fn ids(vault: &Vault) -> Vec<SlotId> {
    vault.slots().iter().map(sorry_vault::Slot::id).collect()
}

#[test]
fn contents_come_back_whole_and_generations_count() {
    let mut contents = contents();
    contents.mfa_device = Some("arn:aws:iam::123456789012:mfa/sue".to_owned());
    contents.rotation =
        Some(Rotation::Created { since: now(), new_key: contents.bootstrap.clone().unwrap() });
    let first = vault();
    assert_eq!(first.vault().written().to_string(), "2026-11-21T12:00:00Z");
    let second = first.into_open().replace(contents.clone(), now(), &mut random(2)).unwrap();
    let open = parse(&second).unlock_with_signer(&Key::new(SEED)).unwrap();
    assert_eq!((open.vault().generation(), open.opened_by()), (2, open.vault().slots()[0].id()));
    assert_eq!(serde_json::to_string(open.contents()).unwrap(), serde_json::to_string(&contents).unwrap());
    for rotation in [
        Rotation::Creating {
            since: now(),
            known: vec![contents.bootstrap.as_ref().unwrap().access_key_id.clone()],
        },
        Rotation::Switched {
            since: now(),
            old_key_id: contents.bootstrap.as_ref().unwrap().access_key_id.clone(),
        },
        Rotation::Deactivated {
            since: now(),
            old_key_id: contents.bootstrap.as_ref().unwrap().access_key_id.clone(),
        },
    ] {
        let text = serde_json::to_string(&rotation).unwrap();
        let again: Rotation = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
        assert!(
            serde_json::from_str::<Rotation>(&text.replacen("\"since\"", "\"x\":1,\"since\"", 1)).is_err()
        );
    }
}

#[test]
fn what_a_newer_version_wrote_is_not_dropped_silently() {
    let newer = br#"{"bootstrap":{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"x","arn":"a","account":"1","more":1}}"#;
    assert!(serde_json::from_slice::<sorry_vault::Contents>(newer).is_err());
    assert!(serde_json::from_slice::<sorry_vault::Contents>(br#"{"more":1}"#).is_err());
    // What could not be delivered later is not taken in.
    let line = br#"{"bootstrap":{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"x\ny","arn":"a","account":"1"}}"#;
    let error = serde_json::from_slice::<sorry_vault::Contents>(line).unwrap_err();
    assert!(!error.to_string().contains("x\n"), "{error}");
}

#[test]
fn no_secret_is_shown_by_debug() {
    let sealed = vault();
    let shown =
        format!("{sealed:?} {:?} {:?}", sealed.clone().into_open(), sealed.clone().into_open().data_key());
    assert!(!shown.contains(SECRET) && !shown.contains(PASSPHRASE), "{shown}");
    let code = RecoveryCode::generate(&mut random(1)).unwrap();
    assert!(!format!("{code:?}").contains(&code.shown()[..4]));
}

/// What makes a nonce of zero safe.
#[test]
fn every_wrap_and_every_write_has_a_salt_of_its_own() {
    let text = |sealed: &sorry_vault::Sealed| String::from_utf8(sealed.bytes().to_vec()).unwrap();
    let salts =
        |text: &str| text.split("\"salt\":\"").skip(1).map(|rest| rest[..44].to_owned()).collect::<Vec<_>>();
    let mut random = random(11);
    let mut sealed = vault();
    let mut seen: HashSet<String> = salts(&text(&sealed)).into_iter().collect();
    assert_eq!(seen.len(), 3);
    for _ in 0..3 {
        sealed = sealed.into_open().replace(contents(), now(), &mut random).unwrap();
        assert!(seen.insert(salts(&text(&sealed)).pop().unwrap()), "a write without a new salt");
    }
    let key = Key::new(SEED);
    let passphrase = secret(PASSPHRASE);
    let [first, second] = ids(sealed.vault())[..] else { panic!("two slots") };
    let answers = [(first, Unlocker::Signer(&key)), (second, Unlocker::Passphrase(&passphrase))];
    let sealed = sealed.into_open().rekey(&answers, &[], now(), &mut random).unwrap();
    for salt in salts(&text(&sealed)) {
        assert!(seen.insert(salt), "a salt of before");
    }
}

#[test]
fn eight_slots_and_no_more() {
    let mut open = vault().into_open();
    for number in 2..8 {
        let key = Key::new([number; 32]);
        let slot = NewSlot::Signer { label: &label("another"), signer: &key };
        open = open.add(&slot, now(), &mut random(number.into())).unwrap().into_open();
        assert!(matches!(
            open.add(&slot, now(), &mut random(1)),
            Err(EnrolError::AlreadyThere { .. }) | Err(EnrolError::TooManySlots)
        ));
    }
    let key = Key::new([100; 32]);
    let refused = open.add(&NewSlot::Signer { label: &label("ninth"), signer: &key }, now(), &mut random(9));
    assert!(matches!(refused, Err(EnrolError::TooManySlots)));
    assert!(matches!(Vault::create(&[], contents(), now(), &mut random(1)), Err(EnrolError::NoSlot)));
    let empty = secret("");
    let slot = NewSlot::Passphrase { label: &label("empty"), passphrase: &empty, costs: cheap() };
    assert!(matches!(
        Vault::create(&[slot], contents(), now(), &mut random(1)),
        Err(EnrolError::EmptyPassphrase)
    ));
}

#[test]
fn a_removed_key_opens_neither_the_new_vault_nor_its_data_key() {
    let (gone, stays) = (Key::new(SEED), Key::new([2; 32]));
    let slot = NewSlot::Signer { label: &label("desk"), signer: &stays };
    let open = vault().into_open().add(&slot, now(), &mut random(2)).unwrap().into_open();
    let old_key = open.data_key().clone();
    let [first, second, third] = ids(open.vault())[..] else { panic!("three slots") };
    let passphrase = secret(PASSPHRASE);

    let answers = [(second, Unlocker::Passphrase(&passphrase)), (third, Unlocker::Signer(&stays))];
    let unanswered = open.rekey(&answers[..1], &[first], now(), &mut random(3)).unwrap_err();
    assert!(matches!(unanswered, RekeyError::Unanswered { slot } if slot == third), "{unanswered}");
    let sealed = open.rekey(&answers, &[first], now(), &mut random(3)).unwrap();
    let vault = parse(&sealed);
    assert_eq!(ids(&vault), [second, third]);
    assert_eq!(vault.slots()[1].label().as_str(), "desk");
    assert!(matches!(refusal(vault.unlock_with_signer(&gone)), UnlockError::NoSlotForKey { .. }));
    assert!(matches!(vault.body(&old_key), Err(UnlockError::Damaged)));
    vault.unlock_with_signer(&stays).unwrap();
    vault.unlock_with_passphrase(&passphrase).unwrap();
    assert_eq!(vault.generation(), 3);
}

#[test]
fn a_new_data_key_needs_right_answers() {
    let open = vault().into_open();
    let [first, second] = ids(open.vault())[..] else { panic!("two slots") };
    let (key, other) = (Key::new(SEED), Key::new([2; 32]));
    let (passphrase, wrong) = (secret(PASSPHRASE), secret("another"));
    let rekey = |answers: &[(SlotId, Unlocker<'_>)], dropped: &[SlotId]| {
        open.rekey(answers, dropped, now(), &mut random(4))
    };
    let unknown = SlotId::new([0; 8]);
    let refused = rekey(&[(first, Unlocker::Signer(&key))], &[second, unknown]).unwrap_err();
    assert!(matches!(refused, RekeyError::NoSuchSlot { slot } if slot == unknown));
    assert!(matches!(rekey(&[], &[first, second]), Err(RekeyError::LastSlot)));
    // A slip in the passphrase must not become the passphrase.
    let slip = [(first, Unlocker::Signer(&key)), (second, Unlocker::Passphrase(&wrong))];
    assert!(matches!(rekey(&slip, &[]), Err(RekeyError::Slot { slot, .. }) if slot == second));
    let stranger = [(first, Unlocker::Signer(&other)), (second, Unlocker::Passphrase(&passphrase))];
    assert!(matches!(rekey(&stranger, &[]), Err(RekeyError::Slot { slot, .. }) if slot == first));
    let crossed = [(first, Unlocker::Passphrase(&passphrase)), (second, Unlocker::Passphrase(&passphrase))];
    assert!(matches!(rekey(&crossed, &[]), Err(RekeyError::Unanswered { slot }) if slot == first));
}

#[test]
fn a_recovery_code_in_another_spelling_stays_the_code_when_rekeyed() {
    let code = RecoveryCode::generate(&mut random(7)).unwrap();
    let passphrase = code.to_passphrase();
    let slot = NewSlot::Passphrase { label: &label("recovery"), passphrase: &passphrase, costs: cheap() };
    let open = Vault::create(&[slot], contents(), now(), &mut random(8)).unwrap().into_open();
    let spoken = SecretSlice::from(code.shown().to_uppercase().into_bytes());
    let answers = [(ids(open.vault())[0], Unlocker::Passphrase(&spoken))];
    let vault = parse(&open.rekey(&answers, &[], now(), &mut random(9)).unwrap());
    vault.unlock_with_passphrase(&code.to_passphrase()).unwrap();
    assert_ne!(spoken.expose_secret(), passphrase.expose_secret());
}

#[test]
fn a_slip_in_a_recovery_code_is_named() {
    let code = RecoveryCode::generate(&mut random(7)).unwrap();
    let shown = code.shown();
    let mut unnoticed = 0;
    for at in (0..shown.len()).filter(|at| !shown[*at..].starts_with('-')) {
        for digit in
            "0123456789abcdefghjkmnpqrstvwxyz".chars().filter(|digit| !shown[at..].starts_with(*digit))
        {
            let slip = format!("{}{digit}{}", &shown[..at], &shown[at + 1..]);
            unnoticed += usize::from(RecoveryCode::parse(&slip).is_ok());
        }
    }
    // One in 4096 on average, of 868.
    assert!(unnoticed <= 2, "{unnoticed} slips were not noticed");
    for form in ["", "abcd", &shown[1..], &format!("{}x", *shown), "u000-0000-0000-0000-0000-0000-0000"] {
        assert_eq!(RecoveryCode::parse(form), Err(sorry_vault::RecoveryCodeError::Form), "{form}");
    }
}

#[test]
fn without_random_numbers_nothing_is_made() {
    let mut none = |_: &mut [u8]| Err(std::io::ErrorKind::Other.into());
    let key = Key::new(SEED);
    let slot = NewSlot::Signer { label: &label("laptop"), signer: &key };
    assert!(matches!(
        Vault::create(&[slot], contents(), now(), &mut none),
        Err(EnrolError::Seal(SealError::Random(_)))
    ));
    assert!(vault().into_open().replace(contents(), now(), &mut none).is_err());
}

/// Counts what it signs.
struct Counting(Key, RefCell<usize>);

impl Signer for Counting {
    fn public_key(&self) -> &sorry_vault::PublicKey {
        self.0.public_key()
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        *self.1.borrow_mut() += 1;
        self.0.sign(data)
    }
}

#[test]
fn opening_takes_one_signature_and_enrolment_two() {
    let key = Counting(Key::new(SEED), RefCell::default());
    let slot = NewSlot::Signer { label: &label("laptop"), signer: &key };
    let sealed = Vault::create(&[slot], contents(), now(), &mut random(1)).unwrap();
    assert_eq!(key.1.replace(0), 2);
    parse(&sealed).unlock_with_signer(&key).unwrap();
    assert_eq!(key.1.take(), 1);
}
