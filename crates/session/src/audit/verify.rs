//! Whether the audit is what was written: every chain recomputed, and compared with the digests. Pure; trusts neither the table nor the
//! service that read it, only the digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;

use crate::audit::{
    AuditHash, AuditRecord,
    digest::{Digest, DigestEntry, overdue_after},
};

/// A digest as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDigest {
    /// Its name.
    pub name: String,
    /// Its text, byte by byte.
    pub text: String,
    /// Whether something else was written under its name later, or it was marked as deleted: nobody of the service does either.
    pub overwritten: bool,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A digest cannot be read.
    DigestUnreadable(String),
    /// A digest does not name the one before.
    DigestChainBroken,
    /// Time between two digests is in neither.
    DigestMissing(Timestamp),
    /// Something else was written under a digest's name.
    DigestOverwritten,
    /// There is none, or none any more.
    DigestsEnd,
    /// A digest names a record that is not there.
    Gone,
    /// A digest names a record with another hash.
    NotAsDigested,
    /// A record's hash is not that of what it says.
    Altered,
    /// A record does not name the one before it.
    ChainBroken,
    /// A session's record is missing before this one.
    Gap,
    /// A record stands in time that was digested, and in no digest.
    NotDigested,
    /// A record has no hash although there were chains when it was written.
    Unsealed,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::DigestUnreadable(why) => return write!(formatter, "the digest cannot be read: {why}"),
            Self::DigestMissing(from) => {
                return write!(formatter, "the digest that begins at {from} is missing");
            }
            Self::DigestChainBroken => {
                "the digest does not name the one before it: one of the two is not what was written"
            }
            Self::DigestOverwritten => {
                "something else was written under this digest's name, or it was deleted"
            }
            Self::DigestsEnd => {
                "the digests end here, though later ones must be there: they were removed, or never written, or the copy is old"
            }
            Self::Gone => "the record is gone: its digest names it",
            Self::NotAsDigested => "the record is not the one that its digest names: it was replaced",
            Self::Altered => "the record was altered: it does not have the hash of what it says",
            Self::ChainBroken => {
                "the record does not name the one before it: one was altered, removed, put in or moved"
            }
            Self::Gap => "the record before this one is gone",
            Self::NotDigested => "the record is in no digest: it was put in, or dated back, afterwards",
            Self::Unsealed => "the record has no hash: it was taken away, or the record put in",
        };
        formatter.write_str(text)
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// When that was, as the record or the digest says.
    pub at: Timestamp,
    /// The record's subject, or the digest's name.
    pub subject: String,
    /// The record's place in its subject; nothing for a digest.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Records that have a hash.
    pub sealed: usize,
    /// Of those, the ones that a digest holds.
    pub digested: usize,
    /// Records from before there were chains. Nothing can be said of them.
    pub unsealed: usize,
    /// Digests.
    pub digests: usize,
    /// The end of the last digest: what came later is protected by its chain alone.
    pub digested_until: Option<Timestamp>,
    /// All that is wrong, in order of time.
    pub findings: Vec<Finding>,
}

/// Verifies all records of the audit, in any order, against all digests, in the order of their names. `now` says whether the digests end
/// too early.
pub fn verify(records: &[AuditRecord], digests: &[StoredDigest], now: Timestamp) -> Verification {
    let mut work = Work::default();
    let digests = work.digests(digests, now);
    let mut subjects: BTreeMap<&str, Vec<&AuditRecord>> = BTreeMap::new();
    for record in records {
        subjects.entry(&record.subject).or_default().push(record);
    }
    let listed = work.listed(&digests);
    let there: BTreeMap<_, _> =
        records.iter().map(|record| ((record.subject.as_str(), record.sequence), record)).collect();
    for ((subject, sequence), (period, entry)) in &listed {
        match there.get(&(*subject, *sequence)) {
            None => work.found(period.begins, subject, Some(*sequence), Fault::Gone),
            Some(record) if record.hash.as_ref() != Some(&entry.hash) => {
                work.found(period.begins, subject, Some(*sequence), Fault::NotAsDigested);
            }
            Some(_) => work.verification.digested += 1,
        }
    }
    let periods: BTreeMap<_, _> = digests.iter().map(|digest| (digest.begins, digest.ends)).collect();
    for records in subjects.values_mut() {
        records.sort_by_key(|record| record.sequence);
        work.chain(records, &listed, &periods);
    }
    work.verification.findings.sort();
    work.verification.findings.dedup();
    work.verification
}

type Listed<'a> = BTreeMap<(&'a str, u64), (&'a Digest, &'a DigestEntry)>;

#[derive(Default)]
struct Work {
    verification: Verification,
}

impl Work {
    fn found(&mut self, at: Timestamp, subject: &str, sequence: Option<u64>, fault: Fault) {
        self.verification.findings.push(Finding { at, subject: subject.to_owned(), sequence, fault });
    }

    /// Reads the digests, and follows their chain.
    fn digests(&mut self, stored: &[StoredDigest], now: Timestamp) -> Vec<Digest> {
        let mut digests: Vec<Digest> = Vec::with_capacity(stored.len());
        let mut previous: Option<AuditHash> = None;
        for one in stored {
            let before = digests.last().map(|digest| digest.ends);
            match Digest::read(&one.text) {
                Err(why) => {
                    self.found(before.unwrap_or(now), &one.name, None, Fault::DigestUnreadable(why));
                }
                Ok(digest) => {
                    if digest.previous != previous {
                        self.found(digest.begins, &one.name, None, Fault::DigestChainBroken);
                    }
                    if let Some(before) = before.filter(|before| *before != digest.begins) {
                        self.found(before, &one.name, None, Fault::DigestMissing(before));
                    }
                    if one.overwritten {
                        self.found(digest.begins, &one.name, None, Fault::DigestOverwritten);
                    }
                    digests.push(digest);
                }
            }
            previous = Some(AuditHash::of(one.text.as_bytes()));
        }
        self.verification.digests = stored.len();
        self.verification.digested_until = digests.last().map(|digest| digest.ends);
        if let (Some(digest), Some(last)) = (digests.last(), stored.last())
            && overdue_after(digest).is_none_or(|due| due <= now)
        {
            self.found(digest.ends, &last.name, None, Fault::DigestsEnd);
        }
        digests
    }

    /// All records that the digests name. One that two of them name was never two.
    fn listed<'a>(&mut self, digests: &'a [Digest]) -> Listed<'a> {
        let mut listed: Listed<'a> = BTreeMap::new();
        for digest in digests {
            for entry in &digest.records {
                let place = (entry.subject.as_str(), entry.sequence);
                if listed.insert(place, (digest, entry)).is_some() {
                    self.found(digest.begins, &entry.subject, Some(entry.sequence), Fault::NotAsDigested);
                }
            }
        }
        listed
    }

    /// Follows the chain of one subject, in the order of its sequence.
    fn chain(
        &mut self,
        records: &[&AuditRecord],
        listed: &Listed<'_>,
        periods: &BTreeMap<Timestamp, Timestamp>,
    ) {
        let mut head: Option<&AuditHash> = None;
        let mut before: Option<u64> = None;
        for record in records {
            let gap = record.is_of_a_session()
                && record.sequence != before.map_or(1, |before| before.saturating_add(1));
            let mut faults = BTreeSet::new();
            if gap {
                faults.insert(Fault::Gap);
            }
            match &record.hash {
                None => {
                    self.verification.unsealed += 1;
                    if !may_be_unsealed(record, listed, periods) {
                        faults.insert(Fault::Unsealed);
                    }
                    // What follows begins a chain.
                    head = None;
                }
                Some(hash) => {
                    self.verification.sealed += 1;
                    if record.computed_hash() != *hash {
                        faults.insert(Fault::Altered);
                    }
                    if record.previous.as_ref() != head {
                        faults.insert(Fault::ChainBroken);
                    }
                    if !is_listed(record, listed) && is_digested(record.at, periods) {
                        faults.insert(Fault::NotDigested);
                    }
                    head = Some(hash);
                }
            }
            for fault in faults {
                self.found(record.at, &record.subject, Some(record.sequence), fault);
            }
            before = Some(record.sequence);
        }
    }
}

fn is_listed(record: &AuditRecord, listed: &Listed<'_>) -> bool {
    listed.contains_key(&(record.subject.as_str(), record.sequence))
}

fn is_digested(at: Timestamp, periods: &BTreeMap<Timestamp, Timestamp>) -> bool {
    periods.range(..=at).next_back().is_some_and(|(_, ends)| at < *ends)
}

/// Records without a hash are those of the version before chains: none of them is in a digest, and none is younger than the end of the
/// first one, in whose time that version was replaced. Whoever takes the hash off a later record, or dates one back that a digest names, is
/// found; whoever does either to a record of the last hour could as well write that hour anew.
fn may_be_unsealed(
    record: &AuditRecord,
    listed: &Listed<'_>,
    periods: &BTreeMap<Timestamp, Timestamp>,
) -> bool {
    let early = periods.first_key_value().is_none_or(|(_, ends)| record.at < *ends);
    early && record.previous.is_none() && !is_listed(record, listed)
}
