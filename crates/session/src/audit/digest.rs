//! Digests of the audit: for every hour one text with the hashes of that hour's records and the hash of the digest before. They go
//! into a bucket that lets nobody overwrite or delete them, so that they testify against the table.
//!
//! An hour is digested once it is over and has settled, each one once, in order; what was missed is made up. A digest of an hour without
//! records is written too, so that a missing one is found.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    StepError,
    audit::{AuditHash, AuditRecord, AuditScope},
    ports::{AuditLog, Clock, Committed, DigestStore, PutOnce},
};

/// How long after its end a period is left to settle, as a share of its length: a quarter of an hour after an hour. Records are written
/// within seconds of their time (no function lives longer than 4 minutes), and the index by which they are found lags.
const SETTLING: u32 = 4;
/// How long one sweep writes digests, beside all else that it does, before it leaves the rest to the next.
const DIGEST_BUDGET: Duration = Duration::from_secs(30);
/// Version of the form of a digest.
const VERSION: u32 = 1;

/// The hashes of all records of one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The form: 1.
    pub version: u32,
    /// The first moment of the period.
    pub begins: Timestamp,
    /// The first moment after it, at which the next one begins.
    pub ends: Timestamp,
    /// SHA-256 of the text of the digest before, byte by byte; nothing in the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<AuditHash>,
    /// The records, by subject and sequence.
    pub records: Vec<DigestEntry>,
}

/// One record in a digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DigestEntry {
    /// Its subject.
    pub subject: String,
    /// Its place in the subject.
    pub sequence: u64,
    /// Its hash.
    pub hash: AuditHash,
}

impl Digest {
    /// The digest of a period. Records without a hash are from before there were chains, and in no digest.
    pub fn new(
        begins: Timestamp,
        ends: Timestamp,
        previous: Option<AuditHash>,
        records: &[AuditRecord],
    ) -> Self {
        let entry = |record: &AuditRecord| {
            let AuditRecord { subject, sequence, hash, .. } = record.clone();
            hash.map(|hash| DigestEntry { subject, sequence, hash })
        };
        let mut records: Vec<_> = records.iter().filter_map(entry).collect();
        records.sort();
        Self { version: VERSION, begins, ends, previous, records }
    }

    /// The text that is stored: JSON, one line.
    pub fn text(&self) -> String {
        // Text and numbers cannot fail to become JSON.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Reads a stored text.
    ///
    /// # Errors
    /// When it is not a digest, or one of a later version.
    pub fn read(text: &str) -> Result<Self, String> {
        let digest: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if digest.version == VERSION && digest.begins < digest.ends {
            Ok(digest)
        } else {
            Err(format!("version {} from {} to {} cannot be", digest.version, digest.begins, digest.ends))
        }
    }
}

/// The name of the digest of the period that begins then, such as `20260131T170000Z.json`: in the order of names they are in order.
pub fn digest_name(begins: Timestamp) -> String {
    begins.strftime("%Y%m%dT%H%M%SZ.json").to_string()
}

/// How far the digests have come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestPointer {
    /// The end of the last period that is digested; at first the beginning of the first one.
    pub ends: Timestamp,
    /// SHA-256 of the last digest's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<AuditHash>,
}

impl DigestPointer {
    /// Where digests begin that nobody has written yet: with the period before the one that is under way, as a new deployment can have
    /// records that are older than its first sweep. The first digest holds both periods.
    fn beginning(period: Duration, now: Timestamp) -> Self {
        let this_one = beginning_of_period(period, now);
        Self { ends: this_one.checked_sub(period).unwrap_or(this_one), hash: None }
    }

    /// The next period, if it is over and has settled.
    fn next(&self, period: Duration, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let begins = self.ends;
        let length = period.checked_mul(if self.hash.is_none() { 2 } else { 1 })?;
        let ends = beginning_of_period(period, begins).checked_add(length).ok()?;
        let settled = ends.checked_add(period.checked_div(SETTLING)?).ok()?;
        (settled <= now).then_some((begins, ends))
    }
}

fn beginning_of_period(period: Duration, at: Timestamp) -> Timestamp {
    let length = i64::try_from(period.as_secs()).unwrap_or(3600).max(1);
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(length)).unwrap_or(at)
}

/// How long after the end of the last digest another one must be there, with room for a sweep that is late.
pub(crate) fn overdue_after(last: &Digest) -> Option<Timestamp> {
    let period = last.ends.duration_since(last.begins).unsigned_abs();
    last.ends.checked_add(period.saturating_mul(2).saturating_add(Duration::from_secs(1800))).ok()
}

/// What became of the digests in one sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DigestsWritten {
    /// How many were written, or found to be.
    pub count: usize,
    /// Whether the time was not enough for all.
    pub unfinished: bool,
}

/// Writes the digests that are due, oldest first, for [`DIGEST_BUDGET`] at most. Two that run at once, or one that died half way, do no
/// harm: what is stored under a name stays, and is what the next digest names.
///
/// # Errors
/// When the audit could not be read, or a digest not be stored: the next sweep goes on there.
pub async fn write_due(
    log: &impl AuditLog,
    digests: &impl DigestStore,
    clock: &impl Clock,
    period: Duration,
) -> Result<DigestsWritten, StepError> {
    let began = clock.now();
    let mut written = DigestsWritten::default();
    loop {
        let Some(pointer) = log.digest_pointer().await? else {
            // Superseded is as good: another sweep has begun.
            let beginning = DigestPointer::beginning(period, clock.now());
            let _: Committed = log.advance_digests(None, &beginning).await?;
            return Ok(written);
        };
        let Some((begins, ends)) = pointer.next(period, clock.now()) else { return Ok(written) };
        if clock.now().duration_since(began).unsigned_abs() >= DIGEST_BUDGET {
            return Ok(DigestsWritten { unfinished: true, ..written });
        }
        let records = records_between(log, begins, ends).await?;
        let digest = Digest::new(begins, ends, pointer.hash.clone(), &records);
        let (text, ends) = match digests.put_once(&digest_name(begins), &digest.text()).await? {
            PutOnce::Written => (digest.text(), ends),
            // Of a sweep that died before it could say so. It stands, whatever is in the table now.
            PutOnce::Before(text) => {
                let ends = Digest::read(&text).map_or(ends, |digest| digest.ends);
                (text, ends)
            }
        };
        let next = DigestPointer { ends, hash: Some(AuditHash::of(text.as_bytes())) };
        if log.advance_digests(Some(&pointer), &next).await? == Committed::Superseded {
            return Ok(written);
        }
        written.count += 1;
    }
}

async fn records_between(
    log: &impl AuditLog,
    begins: Timestamp,
    ends: Timestamp,
) -> Result<Vec<AuditRecord>, StepError> {
    let scope = AuditScope::Between(begins, ends);
    let (mut records, mut cursor) = (Vec::new(), None);
    loop {
        let page = log.audit_page(&scope, cursor.as_ref()).await?;
        records.extend(page.records);
        if page.cursor.is_none() || page.cursor == cursor {
            return Ok(records);
        }
        cursor = page.cursor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::tests::record, lifecycle::tests::at};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_digest_is_read_as_it_was_written() {
        let records =
            [record("tiers", 3, 5), record("sweep", 2, 4).sealed(None), record("sweep", 1, 9).sealed(None)];
        let digest = Digest::new(at(0), at(3600), Some(AuditHash::of(b"before")), &records);
        let order: Vec<_> =
            digest.records.iter().map(|entry| (entry.subject.as_str(), entry.sequence)).collect();
        assert_eq!(order, [("sweep", 1), ("sweep", 2)], "sorted, and without what has no hash");
        assert_eq!(Digest::read(&digest.text()).unwrap(), digest);
        assert_eq!(digest_name(at(0)), "20260101T000000Z.json");
        for garbage in ["", "{}", &digest.text().replace("\"version\":1", "\"version\":2")] {
            assert!(Digest::read(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn an_hour_is_digested_a_quarter_of_an_hour_after_its_end() {
        let pointer = DigestPointer::beginning(HOUR, at(1800));
        assert_eq!(pointer, DigestPointer { ends: at(-3600), hash: None }, "with the hour before");
        assert_eq!(pointer.next(HOUR, at(3600 + 899)), None);
        assert_eq!(pointer.next(HOUR, at(3600 + 900)), Some((at(-3600), at(3600))), "both in one");
        let next = DigestPointer { ends: at(3600), hash: Some(AuditHash::of(b"first")) };
        assert_eq!(next.next(HOUR, at(7200 + 900)), Some((at(3600), at(7200))));
    }

    #[test]
    fn periods_fit_each_other_when_their_length_changes() {
        let pointer = DigestPointer { ends: at(1200), hash: Some(AuditHash::of(b"before")) };
        assert_eq!(pointer.next(HOUR, at(10_000)), Some((at(1200), at(3600))));
        assert_eq!(pointer.next(Duration::from_secs(20), at(10_000)), Some((at(1200), at(1220))));
    }
}
