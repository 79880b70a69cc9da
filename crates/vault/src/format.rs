//! The bytes of format v1 and back. A file is what [`file`] makes of its parts, or it is damaged: there is one spelling.

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::crypto::Salt;
use crate::slots::{Costs, Slot, SlotKind};
use crate::{Label, PublicKey, VaultError, VaultId};

/// The largest file.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
/// The most slots.
pub(crate) const MAX_SLOTS: usize = 8;
/// Larger numbers are not the same in every JSON reader.
const MAX_GENERATION: u64 = (1 << 53) - 1;

/// All of a vault but its payload and its sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: VaultId,
    pub(crate) generation: u64,
    /// Whole seconds.
    pub(crate) written: Timestamp,
    pub(crate) slots: Vec<Slot>,
    pub(crate) salt: Salt,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: u64,
    id: String,
    generation: u64,
    written: String,
    slots: Vec<SlotMembers>,
    salt: String,
    payload: String,
    sum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SlotMembers {
    kind: String,
    id: String,
    label: String,
    public_key: Option<String>,
    m_kib: Option<u32>,
    t: Option<u32>,
    p: Option<u32>,
    salt: String,
    wrapped: String,
}

/// What a file says it is, whatever else it says.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u64,
}

/// `H`: the bytes from the first brace to the payload's opening quotation mark, to which the payload is bound.
pub(crate) fn header(header: &Header) -> Vec<u8> {
    let Header { id, generation, written, slots, salt } = header;
    let slots: Vec<_> = slots.iter().map(slot).collect();
    let (slots, salt) = (slots.join(","), Base64::encode_string(salt));
    format!(
        "{{\"format\":\"sorry-vault\",\"version\":1,\"id\":\"{id}\",\"generation\":{generation},\"written\":\"{written}\",\
         \"slots\":[{slots}],\"salt\":\"{salt}\",\"payload\":\""
    )
    .into_bytes()
}

fn slot(slot: &Slot) -> String {
    let (kind, middle) = match &slot.kind {
        SlotKind::SshEd25519 { public_key } => {
            ("ssh-ed25519", format!("\"public_key\":\"{}\"", Base64::encode_string(public_key.blob())))
        }
        SlotKind::Passphrase { costs } => {
            ("passphrase", format!("\"m_kib\":{},\"t\":{},\"p\":{}", costs.m_kib(), costs.t(), costs.p()))
        }
    };
    let (salt, wrapped) = (Base64::encode_string(&slot.salt), Base64::encode_string(&slot.wrapped));
    let (id, label) = (slot.id, &slot.label);
    format!(
        "{{\"kind\":\"{kind}\",\"id\":\"{id}\",\"label\":\"{label}\",{middle},\"salt\":\"{salt}\",\"wrapped\":\"{wrapped}\"}}"
    )
}

/// The whole file, and its sum.
pub(crate) fn file(head: &Header, payload: &[u8]) -> (Vec<u8>, [u8; 32]) {
    finish(header(head), payload)
}

/// A time as files have it.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A header with its payload and sum; vault and cache end alike.
pub(crate) fn finish(mut bytes: Vec<u8>, payload: &[u8]) -> (Vec<u8>, [u8; 32]) {
    bytes.extend_from_slice(Base64::encode_string(payload).as_bytes());
    bytes.push(b'"');
    let sum: [u8; 32] = Sha256::digest(&bytes).into();
    bytes.extend_from_slice(format!(",\"sum\":\"{}\"}}\n", Base64::encode_string(&sum)).as_bytes());
    (bytes, sum)
}

/// Takes a file apart.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Header, Vec<u8>, [u8; 32]), VaultError> {
    if bytes.len() > MAX_BYTES {
        return Err(VaultError::TooLarge);
    }
    let damaged = VaultError::Damaged;
    check_sum(bytes).ok_or_else(|| kind(bytes).err().unwrap_or(damaged("its sum does not fit")))?;
    kind(bytes)?;
    let members: Members =
        serde_json::from_slice(bytes).map_err(|_| damaged("its members are not those of a vault"))?;
    let slots: Vec<_> = members.slots.iter().map(read_slot).collect::<Result<_, _>>()?;
    if !(1..=MAX_SLOTS).contains(&slots.len()) {
        return Err(damaged("it has no slot, or more than eight"));
    }
    for (at, slot) in slots.iter().enumerate() {
        let same = |other: &Slot| {
            other.id == slot.id || other.public_key().is_some_and(|key| slot.public_key() == Some(key))
        };
        if slots.iter().take(at).any(same) {
            return Err(damaged("two slots are the same"));
        }
    }
    if !(1..=MAX_GENERATION).contains(&members.generation) {
        return Err(damaged("its generation is out of range"));
    }
    let written: Timestamp = members.written.parse().map_err(|_| damaged("its date is none"))?;
    if whole_seconds(written) != written {
        return Err(damaged("its date has fractions of a second"));
    }
    let head = Header {
        id: members.id.parse()?,
        generation: members.generation,
        written,
        slots,
        salt: bytes_of(&members.salt)?,
    };
    let payload = Base64::decode_vec(&members.payload).map_err(|_| damaged("its payload is not base64"))?;
    let (canonical, sum) = file(&head, &payload);
    if canonical != bytes || Base64::encode_string(&sum) != members.sum {
        return Err(damaged("it is not written as a vault is"));
    }
    Ok((head, payload, sum))
}

/// Compares the sum with the bytes before it, without reading anything else.
pub(crate) fn check_sum(bytes: &[u8]) -> Option<()> {
    const TAIL: usize = ",\"sum\":\"".len() + 44 + "\"}\n".len();
    let (covered, tail) = bytes.split_at_checked(bytes.len().checked_sub(TAIL)?)?;
    let sum = Base64::encode_string(&Sha256::digest(covered));
    (tail == format!(",\"sum\":\"{sum}\"}}\n").as_bytes()).then_some(())
}

/// Whether it is a vault of this version, by its own word.
fn kind(bytes: &[u8]) -> Result<(), VaultError> {
    match serde_json::from_slice::<Kind>(bytes) {
        Ok(Kind { format, version: 1 }) if format == "sorry-vault" => Ok(()),
        Ok(Kind { format, version }) if format == "sorry-vault" => Err(VaultError::Version(version)),
        Err(_) if bytes.starts_with(b"{\"format\":\"sorry-vault\"") => {
            Err(VaultError::Damaged("its end is missing or it is no JSON"))
        }
        _ => Err(VaultError::NotAVault),
    }
}

fn read_slot(members: &SlotMembers) -> Result<Slot, VaultError> {
    let damaged = VaultError::Damaged;
    let kind = match members {
        SlotMembers { kind, public_key: Some(key), m_kib: None, t: None, p: None, .. }
            if kind == "ssh-ed25519" =>
        {
            let blob: [u8; 51] = bytes_of(key)?;
            let public_key = PublicKey::from_blob(&blob).ok_or(damaged("a public key is not Ed25519"))?;
            SlotKind::SshEd25519 { public_key }
        }
        SlotMembers { kind, public_key: None, m_kib: Some(m), t: Some(t), p: Some(p), .. }
            if kind == "passphrase" =>
        {
            SlotKind::Passphrase { costs: Costs::new(*m, *t, *p)? }
        }
        _ => return Err(damaged("a slot is of no known kind")),
    };
    Ok(Slot {
        id: members.id.parse()?,
        label: Label::parse(&members.label)?,
        kind,
        salt: bytes_of(&members.salt)?,
        wrapped: bytes_of(&members.wrapped)?,
    })
}

pub(crate) fn bytes_of<const LENGTH: usize>(text: &str) -> Result<[u8; LENGTH], VaultError> {
    let bytes = Base64::decode_vec(text).map_err(|_| VaultError::Damaged("a value is not base64"))?;
    bytes.try_into().map_err(|_| VaultError::Damaged("a value has another length"))
}
