//! The audit: what it records, and how nobody can change it afterwards without being found out.
//!
//! The records of a subject form a chain: each holds the hash of the one before, and its own hash over everything else in it. Every
//! hour ([`digest`]) the hashes of all new records go into an object that cannot be overwritten. [`verify`] recomputes the chains and
//! compares them with those objects: the chain finds what was altered, removed, put in or put elsewhere; the digests find the same where
//! somebody has written a whole chain anew, and the removal of its end.
//!
//! What is not protected: records that no digest holds yet (about the last hour) against somebody who writes to the table itself.
//!
//! Pure. The tables are in `sorry-aws` and `sorry-testkit`; the time is an argument.

pub mod digest;
pub mod refusal;
pub mod verify;

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{ErrorCode, Refusal, events::ChangedBy};

/// A SHA-256, in 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct AuditHash(String);

impl AuditHash {
    /// The hash of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuditHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for AuditHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text)) } else { Err("not 64 lower-case hexadecimal digits") }
    }
}

/// One line of the audit: append-only, written in the same transaction as the change it records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// A session id, `caller#<unique id>`, `refusals#<unique id>`, `sweep`, or `tiers`.
    pub subject: String,
    /// Order within the subject. For sessions it is the fence of the row that the change made, so that there are no gaps; for others
    /// microseconds, and always more than the one before.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// What, such as `session.ACTIVE`.
    pub what: String,
    /// Who.
    pub by: ChangedBy,
    /// The rest, by kind of change.
    pub details: Value,
    /// [`AuditRecord::hash`] of the subject's record before; nothing in its first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AuditHash>,
    /// The seal: the hash of everything else in the record. Nothing in records that were written before there were chains, and in one
    /// that its table has yet to seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<AuditHash>,
}

impl AuditRecord {
    /// The record as the one after `previous`, with its hash.
    #[must_use]
    pub fn sealed(self, previous: Option<AuditHash>) -> Self {
        let record = Self { previous, hash: None, ..self };
        Self { hash: Some(record.computed_hash()), ..record }
    }

    /// The record as the next one of a subject whose last one is `head`: it gets a sequence above that one's, whatever the clock of
    /// whoever wrote that.
    #[must_use]
    pub fn sealed_after(self, head: Option<&ChainHead>) -> Self {
        let sequence = head.map_or(self.sequence, |head| self.sequence.max(head.sequence.saturating_add(1)));
        Self { sequence, ..self }.sealed(head.map(|head| head.hash.clone()))
    }

    /// What [`AuditRecord::hash`] must be: SHA-256 over the record in canonical JSON without the member `hash`. Canonical JSON is
    /// UTF-8 without white space, the members of every object sorted by their names' code points, text escaped no more than JSON
    /// demands. The same as Python's `json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`.
    pub fn computed_hash(&self) -> AuditHash {
        let unsealed = Self { hash: None, ..self.clone() };
        // A record is text, numbers and maps with text for keys: none of them can fail to become JSON.
        let value = serde_json::to_value(&unsealed).unwrap_or_default();
        AuditHash::of(canonical(&value).as_bytes())
    }

    /// Where the subject's chain stands after this record, if it is sealed.
    pub fn head(&self) -> Option<ChainHead> {
        self.hash.clone().map(|hash| ChainHead { sequence: self.sequence, hash })
    }

    /// The hour that the record belongs to, as the audit's index names it: `2026-01-31T17`.
    pub fn hour(&self) -> String {
        hour(self.at)
    }

    /// Whether the record is about a session.
    pub fn is_of_a_session(&self) -> bool {
        sorry_policy::SessionId::from_str(&self.subject).is_ok()
    }

    /// Whether the record is by, or about something of, a person.
    pub fn concerns(&self, person: &str) -> bool {
        self.by.person().is_some_and(|by| by.as_str() == person)
            || self.details.get("person").and_then(Value::as_str) == Some(person)
    }
}

/// The hour of a moment, in UTC, as the audit's index names it: `2026-01-31T17`.
pub fn hour(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H").to_string()
}

/// The last record of a subject: what the next one must name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Its place.
    pub sequence: u64,
    /// Its hash.
    pub hash: AuditHash,
}

/// A value in canonical JSON; see [`AuditRecord::computed_hash`].
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            // Sorted here: whether serde_json sorts depends on a feature that any crate can turn on.
            let mut names: Vec<_> = members.keys().collect();
            names.sort();
            let members: Vec<_> = names
                .into_iter()
                .filter_map(|name| members.get(name).map(|value| (name, value)))
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

/// Which records to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditScope {
    /// All of a subject, in their order; those from before there were chains, too.
    Subject(String),
    /// All that were sealed from the first moment up to, and without, the second, in the order of their times.
    Between(Timestamp, Timestamp),
}

/// Where a page of records ends: `<at>_<sequence>_<subject>`. It names a place inside a scope; the scope itself is never taken from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    /// When the page's last record was made.
    pub at: Timestamp,
    /// Its place in its subject; 0, which no record has, at the beginning of an hour.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}_{}", self.at, self.sequence, self.subject)
    }
}

impl FromStr for AuditCursor {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parsed = || {
            let (at, rest) = text.split_once('_')?;
            let (sequence, subject) = rest.split_once('_')?;
            Some(Self { at: at.parse().ok()?, sequence: sequence.parse().ok()?, subject: subject.to_owned() })
        };
        // In its own spelling: the store compares text.
        parsed().filter(|cursor| cursor.to_string() == text && cursor.subject.len() <= 256).ok_or_else(|| {
            let hint = "send the `cursor` of the previous page as it was, or none for the first page";
            Refusal::new(ErrorCode::InvalidInput, "the query parameter `cursor` cannot be used", hint)
        })
    }
}

/// Records of the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The records; a page can be empty and not the last.
    pub records: Vec<AuditRecord>,
    /// Where the next page begins.
    pub cursor: Option<AuditCursor>,
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::tests::{at, requested};

    pub(crate) fn record(subject: &str, sequence: u64, seconds: i64) -> AuditRecord {
        AuditRecord {
            subject: subject.to_owned(),
            sequence,
            at: at(seconds),
            what: "session.ACTIVE".to_owned(),
            by: ChangedBy::service("provision"),
            details: json!({"person": "sue", "hours": 8, "tags": ["b", "a"], "none": null}),
            previous: None,
            hash: None,
        }
    }

    #[test]
    fn canonical_json_is_sorted_and_tight_whatever_the_order_of_members() {
        let value = json!({"b": [1, {"z": null, "a": true}], "a": "é\"\\\n\u{1}\u{7f}"});
        // As Python writes it.
        assert_eq!(
            canonical(&value),
            "{\"a\":\"é\\\"\\\\\\n\\u0001\u{7f}\",\"b\":[1,{\"a\":true,\"z\":null}]}"
        );
    }

    /// Computed by Python's `hashlib` and `json`: records that are written today must verify for ever.
    #[test]
    fn the_hash_of_a_record_never_changes() {
        let sealed = record("0123456789abcdef", 2, 60).sealed(Some(AuditHash::of(b"before")));
        assert_eq!(
            serde_json::to_value(&sealed).unwrap(),
            json!({
                "subject": "0123456789abcdef", "sequence": 2, "at": "2026-01-01T00:01:00Z",
                "what": "session.ACTIVE", "by": {"service": "provision"},
                "details": {"person": "sue", "hours": 8, "tags": ["b", "a"], "none": null},
                "previous": AuditHash::of(b"before"),
                "hash": "e9b140311d79d4c46a48470d15ff32b2761753e11f83c43f57b49c5fcc5ac388",
            })
        );
    }

    #[test]
    fn a_seal_covers_every_member() {
        let good = record("sweep", 7, 0).sealed(None);
        assert_eq!(good.hash, Some(good.computed_hash()));
        let other = AuditHash::of(b"other");
        for altered in [
            AuditRecord { subject: "tiers".into(), ..good.clone() },
            AuditRecord { sequence: 8, ..good.clone() },
            AuditRecord { at: at(1), ..good.clone() },
            AuditRecord { what: "sweep.released".into(), ..good.clone() },
            AuditRecord { by: ChangedBy::Caller(requested().caller.into()), ..good.clone() },
            AuditRecord { details: json!({}), ..good.clone() },
            AuditRecord { previous: Some(other), ..good.clone() },
        ] {
            assert_ne!(altered.computed_hash(), good.computed_hash(), "{altered:?}");
        }
    }

    #[test]
    fn a_sequence_goes_up_even_if_a_clock_goes_back() {
        let first = record("tiers", 500, 0).sealed_after(None);
        let second = record("tiers", 400, 0).sealed_after(first.head().as_ref());
        assert_eq!((second.sequence, &second.previous), (501, &first.hash));
        assert_eq!(record("tiers", 900, 0).sealed_after(second.head().as_ref()).sequence, 900);
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        for good in [
            "2026-01-01T00:00:00Z_12_caller#AROAX:name_with_it",
            "2026-01-01T00:00:00Z_0_",
            "2026-01-01T00:00:00Z_1_0123456789abcdef",
        ] {
            assert_eq!(good.parse::<AuditCursor>().unwrap().to_string(), good);
        }
        for garbage in ["", "_", "__", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z_x_y", "yesterday_1_x"] {
            assert_eq!(
                garbage.parse::<AuditCursor>().unwrap_err().code,
                ErrorCode::InvalidInput,
                "{garbage}"
            );
        }
    }
}
