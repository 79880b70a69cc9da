//! Whatever is done to the audit is found: every record of generated chains, with every kind of damage.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test: what should not happen ends it"
)]

use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::json;
use sorry_session::{
    audit::{
        AuditHash, AuditRecord,
        digest::{Digest, digest_name},
        verify::{Fault, StoredDigest, verify},
    },
    events::ChangedBy,
};

/// The first moment of what is digested.
const BEGINNING: i64 = 1_767_225_600;
/// Hours that are digested; the one after them is not yet.
const HOURS: i64 = 3;
const SUBJECTS: [&str; 5] = ["0123456789abcdef", "fedcba9876543210", "tiers", "sweep", "caller#AIDAEXAMPLE"];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(BEGINNING + seconds).unwrap()
}

/// When somebody verifies: within the hour that is not digested yet.
fn now() -> Timestamp {
    at((HOURS + 1) * 3600)
}

fn record(subject: &str, sequence: u64, seconds: i64) -> AuditRecord {
    AuditRecord {
        subject: subject.to_owned(),
        sequence,
        at: at(seconds),
        what: format!("change.{sequence}"),
        by: ChangedBy::service("test"),
        details: json!({"person": "sue", "number": sequence}),
        previous: None,
        hash: None,
    }
}

/// Seals the records of a subject one after the other.
fn sealed(records: Vec<AuditRecord>) -> Vec<AuditRecord> {
    let mut head = None;
    let seal = |record: AuditRecord| {
        let record = record.sealed(head.clone());
        head.clone_from(&record.hash);
        record
    };
    records.into_iter().map(seal).collect()
}

fn digests(records: &[AuditRecord]) -> Vec<StoredDigest> {
    let mut previous = None;
    let digest = |hour: i64| {
        let (begins, ends) = (at(hour * 3600), at((hour + 1) * 3600));
        let of_hour: Vec<_> =
            records.iter().filter(|record| (begins..ends).contains(&record.at)).cloned().collect();
        let text = Digest::new(begins, ends, previous.clone(), &of_hour).text();
        previous = Some(AuditHash::of(text.as_bytes()));
        StoredDigest { name: digest_name(begins), text, overwritten: false }
    };
    (0..HOURS).map(digest).collect()
}

/// Histories: of each subject some records, at times that go up, in the digested hours and the one after.
fn histories() -> impl Strategy<Value = Vec<AuditRecord>> {
    let steps = prop::collection::vec(0..5000_i64, 0..6);
    prop::collection::vec(steps, SUBJECTS.len()).prop_map(|subjects| {
        let mut all = Vec::new();
        for (subject, steps) in SUBJECTS.into_iter().zip(subjects) {
            let (mut seconds, mut records) = (0, Vec::new());
            for (index, step) in steps.into_iter().enumerate() {
                seconds = (seconds + step).min((HOURS + 1) * 3600 - 1);
                records.push(record(subject, index as u64 + 1, seconds));
            }
            all.extend(sealed(records));
        }
        all
    })
}

/// What somebody does to one record, with the power to write to the table.
#[derive(Clone, Copy, Debug)]
enum Damage {
    AlterWhat,
    AlterDetails,
    AlterTime,
    AlterWho,
    Move,
    Rename,
    Remove,
    /// The record and all that come after it in its subject.
    Truncate,
    /// The record and all that come before it.
    Behead,
    /// Changes places with the one after it.
    Swap,
    /// The same, but for the sequences.
    SwapContents,
    TakeHashOff,
    TakeSealOff,
    /// Altered, with a hash that fits.
    Reseal,
    /// Altered, with everything after it sealed anew.
    Rewrite,
    /// Taken out, with everything after it sealed anew.
    RewriteWithout,
    /// Followed by a record that never was, well sealed.
    PutIn,
}

const DAMAGES: [Damage; 17] = [
    Damage::AlterWhat,
    Damage::AlterDetails,
    Damage::AlterTime,
    Damage::AlterWho,
    Damage::Move,
    Damage::Rename,
    Damage::Remove,
    Damage::Truncate,
    Damage::Behead,
    Damage::Swap,
    Damage::SwapContents,
    Damage::TakeHashOff,
    Damage::TakeSealOff,
    Damage::Reseal,
    Damage::Rewrite,
    Damage::RewriteWithout,
    Damage::PutIn,
];

impl Damage {
    /// Whether the chain alone shows it, for a record that no digest holds.
    fn breaks_the_chain(self, is_last: bool) -> bool {
        match self {
            Self::Truncate | Self::Rewrite | Self::RewriteWithout | Self::PutIn => false,
            Self::Remove | Self::Reseal | Self::Behead => !is_last,
            _ => true,
        }
    }

    /// The records afterwards; nothing if it cannot be done to this one.
    fn done_to(self, records: &[AuditRecord], index: usize) -> Option<Vec<AuditRecord>> {
        let mut records = records.to_vec();
        let victim = records[index].clone();
        let same = |record: &AuditRecord| record.subject == victim.subject;
        let next = records.get(index + 1).filter(|record| same(record)).map(|_| index + 1);
        match self {
            Self::AlterWhat => records[index].what.push('x'),
            Self::AlterDetails => records[index].details["person"] = json!("bob"),
            Self::AlterTime => records[index].at = victim.at.checked_add(1.second()).unwrap(),
            Self::AlterWho => records[index].by = ChangedBy::service("nobody"),
            Self::Move => records[index].sequence += 1000,
            Self::Rename => records[index].subject = "elsewhere".to_owned(),
            Self::Remove => drop(records.remove(index)),
            Self::Truncate => records.retain(|record| !same(record) || record.sequence < victim.sequence),
            Self::Behead => records.retain(|record| !same(record) || record.sequence > victim.sequence),
            Self::Swap => {
                let next = next?;
                records[index].sequence = records[next].sequence;
                records[next].sequence = victim.sequence;
            }
            Self::SwapContents => {
                let next = next?;
                records.swap(index, next);
                records[next].sequence = records[index].sequence;
                records[index].sequence = victim.sequence;
            }
            Self::TakeHashOff => records[index].hash = None,
            Self::TakeSealOff => (records[index].hash, records[index].previous) = (None, None),
            Self::Reseal => {
                let altered = AuditRecord { what: "another".to_owned(), ..victim.clone() };
                records[index] = altered.sealed(victim.previous);
            }
            Self::Rewrite | Self::RewriteWithout => {
                if matches!(self, Self::Rewrite) {
                    records[index].what = "another".to_owned();
                } else {
                    records.remove(index);
                    for record in records.iter_mut().skip(index).filter(|record| same(record)) {
                        record.sequence -= 1;
                    }
                }
                let (of_subject, mut others): (Vec<_>, Vec<_>) = records.into_iter().partition(same);
                others.extend(sealed(of_subject));
                records = others;
            }
            Self::PutIn => {
                if next.is_some() {
                    return None;
                }
                let forged = AuditRecord { sequence: victim.sequence + 1, ..victim.clone() };
                records.push(forged.sealed(victim.hash));
            }
        }
        Some(records)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_verifies(records in histories()) {
        let found = verify(&records, &digests(&records), now());
        prop_assert_eq!(&found.findings, &[]);
        prop_assert_eq!(found.sealed, records.len());
        prop_assert_eq!(found.digested, records.iter().filter(|record| record.at < at(HOURS * 3600)).count());
    }

    #[test]
    fn every_damage_to_every_record_is_found(records in histories()) {
        let digests = digests(&records);
        for (index, victim) in records.iter().enumerate() {
            let is_last = records.get(index + 1).is_none_or(|next| next.subject != victim.subject);
            let is_digested = victim.at < at(HOURS * 3600);
            for damage in DAMAGES {
                let Some(damaged) = damage.done_to(&records, index) else { continue };
                let findings = verify(&damaged, &digests, now()).findings;
                if is_digested || damage.breaks_the_chain(is_last) {
                    prop_assert!(!findings.is_empty(), "{damage:?} of {victim:?} is not found");
                }
                let about_it = findings.iter().all(|finding| {
                    let other = ["elsewhere"].contains(&finding.subject.as_str());
                    other || finding.subject == victim.subject
                });
                prop_assert!(about_it, "{damage:?} of {victim:?} is blamed on others: {findings:?}");
            }
        }
    }

    #[test]
    fn every_damage_to_the_digests_is_found(records in histories(), which in 0..HOURS as usize) {
        let good = digests(&records);
        let mut gone = good.clone();
        gone.remove(which);
        // One that is missing at the end is found when it is overdue.
        let late = now().checked_add(2.hours()).unwrap();
        prop_assert!(!verify(&records, &gone, late).findings.is_empty(), "digest {which} is gone");

        let mut unreadable = good.clone();
        unreadable[which].text.insert(0, 'x');
        prop_assert!(!verify(&records, &unreadable, now()).findings.is_empty(), "digest {which} is garbage");

        let mut overwritten = good.clone();
        overwritten[which].overwritten = true;
        prop_assert_eq!(&verify(&records, &overwritten, now()).findings[0].fault, &Fault::DigestOverwritten);

        let mut digest = Digest::read(&good[which].text).unwrap();
        if let Some(entry) = digest.records.pop() {
            let mut shortened = good.clone();
            shortened[which].text = digest.text();
            let findings = verify(&records, &shortened, now()).findings;
            prop_assert!(findings.iter().any(|finding| finding.fault == Fault::NotDigested), "{entry:?}: {findings:?}");
        }
        let swapped: Vec<_> = good.iter().rev().cloned().collect();
        prop_assert!(!verify(&records, &swapped, now()).findings.is_empty());
    }
}

/// Rows that an earlier version wrote have records without hashes; the next change begins their chain.
#[test]
fn what_is_older_than_the_chains_is_accepted_and_nothing_else() {
    let session = SUBJECTS[0];
    let older = [record(session, 1, -7200), record(session, 2, 100)];
    let first = record(session, 3, 200).sealed(None);
    let second = record(session, 4, 4000).sealed(first.hash.clone());
    let good = [older.to_vec(), vec![first, second]].concat();
    let digests = digests(&good);
    let found = verify(&good, &digests, now());
    assert_eq!((found.findings, found.unsealed, found.sealed), (vec![], 2, 2));

    // In the time of chains nothing is written without a hash.
    let faults = |records: &[AuditRecord]| -> Vec<Fault> {
        verify(records, &digests, now()).findings.into_iter().map(|finding| finding.fault).collect()
    };
    let late = record("sweep", 9, 3 * 3600 + 10);
    assert_eq!(faults(&[&good[..], &[late]].concat()), [Fault::Unsealed]);
    // What a digest holds cannot be made to look older than it is.
    let mut stripped = good.clone();
    stripped[2] = AuditRecord { hash: None, ..stripped[2].clone() };
    assert!(faults(&stripped).contains(&Fault::NotAsDigested));
    assert!(faults(&stripped).contains(&Fault::Unsealed));
    // Nor can a later chain pretend to begin.
    let cut = AuditRecord { previous: None, hash: None, ..good[3].clone() }.sealed(None);
    assert!(!faults(&[good[0].clone(), good[1].clone(), cut]).is_empty());
    // What is missing among the old ones is seen by its place.
    assert_eq!(faults(&[&good[..1], &good[2..]].concat()), [Fault::Gap]);
}

#[test]
fn digests_that_end_too_early_are_found() {
    let digests = digests(&[]);
    assert_eq!(verify(&[], &digests, now()).findings, []);
    let late = now().checked_add(90.minutes()).unwrap();
    let findings = verify(&[], &digests, late).findings;
    assert_eq!(findings[0].fault, Fault::DigestsEnd);
    assert_eq!(findings[0].subject, "20260101T020000Z.json");
}
