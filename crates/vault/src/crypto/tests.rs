//! Every value on the way from a key to the payload, as `docs/vault-format.md` lists them.

use ed25519_dalek::{Signer, SigningKey};

use super::*;

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

fn bytes<const LENGTH: usize>(hexadecimal: &str) -> [u8; LENGTH] {
    let digits = |at: usize| u8::from_str_radix(&hexadecimal[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(digits)
}

fn counting<const LENGTH: usize>(first: u8) -> [u8; LENGTH] {
    std::array::from_fn(|at| first + u8::try_from(at).unwrap())
}

#[test]
fn the_values_of_the_vector() {
    let (vault, data_key) = (VaultId::new(counting(0x10)), DataKey(Secret32::new(counting(0xa0))));
    let key = SigningKey::from_bytes(&bytes(SEED));
    let public_key = PublicKey::from_raw(key.verifying_key().as_bytes());

    let salt = counting(0x40);
    let data = signed_data(&ssh_message(vault, SlotId::new(counting(0x20)), &public_key, &salt));
    let signature = key.sign(&data).to_bytes();
    assert_eq!(
        signature,
        bytes::<64>(
            "9dbd57269738a74e22cf04de9f12eec628b525469c82f5ff1efbe83a4e533c6c\
             de683a87df42c92ae580dca7478e16e639540e5d89967207c34801b6693bbb05"
        )
    );
    assert!(verifies(&public_key, &data, &signature));
    assert_eq!(
        *ssh_slot_key(&signature, &salt),
        bytes("c723d88f7a0bc4359d949b36561cc2efd23129b494329652e7fbe867d7e270f8")
    );

    let salt = counting(0x60);
    let stretched = stretch(b"correct horse battery staple", Costs::default(), &salt).unwrap();
    assert_eq!(*stretched, bytes("11bacb5bacf7c692cf033ec4a9d1347c8f42f3560def37ade5d4f0160c18271a"));
    assert_eq!(
        *passphrase_slot_key(&stretched, &salt),
        bytes("6270421e7d3a0fe70782fbaa57cc0e34b01317a881f03b8ebc42a986de1ec05e")
    );

    assert_eq!(
        *payload_key(&data_key, &counting(0x80)),
        bytes("0d196accbd30ad3e318f3edf66c9013ce21f01243020a815ceccf5607d2a80ee")
    );
}

#[test]
fn keys_for_different_purposes_differ() {
    let (data_key, salt) = (DataKey(Secret32::new(counting(0xa0))), counting(0x80));
    assert_ne!(*payload_key(&data_key, &salt), *cache_key(&data_key, &salt));
    assert_ne!(*payload_key(&data_key, &salt), *payload_key(&data_key, &counting(0x81)));
}

#[test]
fn a_signature_in_another_form_is_none() {
    let key = SigningKey::from_bytes(&bytes(SEED));
    let public_key = PublicKey::from_raw(key.verifying_key().as_bytes());
    let mut signature = key.sign(b"x").to_bytes();
    assert!(verifies(&public_key, b"x", &signature));
    // s + L, which lax implementations take for s.
    let order = bytes::<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0_u16;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = (carry & 0xff) as u8;
        carry >>= 8;
    }
    assert!(!verifies(&public_key, b"x", &signature));
    // A key of small order verifies everything for whoever is lax.
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut nothing = [0; 64];
    nothing[0] = 1;
    assert!(!verifies(&PublicKey::from_raw(&identity), b"x", &nothing));
}
