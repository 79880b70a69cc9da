//! The audit's table, the heads of its chains, and the bucket of its digests.

use std::collections::BTreeMap;

use sorry_session::{
    audit::{
        AuditCursor, AuditPage, AuditRecord, AuditScope, ChainHead,
        digest::DigestPointer,
        refusal::{RefusalNote, RefusalTally},
        verify::StoredDigest,
    },
    ports::{AuditLog, Committed, DigestPage, DigestStore, PortError, PutOnce},
};

use crate::{World, world::Inner};

/// Records, or digests, that one page holds: few, so that tests see several pages.
const PAGE: usize = 3;

/// What lies beside the records themselves.
#[derive(Clone, Default)]
pub(crate) struct AuditExtras {
    /// Of subjects that are no sessions.
    heads: BTreeMap<String, ChainHead>,
    tallies: BTreeMap<String, RefusalTally>,
    pointer: Option<DigestPointer>,
    /// Every text that was ever stored under a name, the first one first.
    digests: BTreeMap<String, Vec<String>>,
}

impl Inner {
    /// Writes a record that is sealed, and judges whether it is the next of its chain.
    pub(crate) fn put_audit(&mut self, record: &AuditRecord) {
        let key = (record.subject.clone(), record.sequence);
        if self.audit.contains_key(&key) {
            self.violation(format!("invariant 7: audit record {key:?} was written twice"));
        }
        let before = self.of_subject(&record.subject).last().cloned();
        let follows = record.previous == before.and_then(|before| before.hash);
        if record.hash != Some(record.computed_hash()) || !follows {
            self.violation(format!("invariant 7: audit record {key:?} is not the next of its chain"));
        }
        self.audit.insert(key, record.clone());
    }

    /// Seals a record of a subject that is no session, and writes it.
    pub(crate) fn append_audit(&mut self, record: &AuditRecord) {
        let record = record.clone().sealed_after(self.audit_extras.heads.get(&record.subject));
        self.put_audit(&record);
        if let Some(head) = record.head() {
            self.audit_extras.heads.insert(record.subject, head);
        }
    }

    /// The registry is lost, and with it where the chains stood; the table of records is not.
    pub(crate) fn forget_audit_heads(&mut self) {
        self.audit_extras.heads.clear();
        self.audit_extras.tallies.clear();
        self.audit_extras.pointer = None;
    }

    fn of_subject(&self, subject: &str) -> Vec<AuditRecord> {
        self.audit.values().filter(|record| record.subject == subject).cloned().collect()
    }

    fn audit_page(&self, scope: &AuditScope, cursor: Option<&AuditCursor>) -> AuditPage {
        let place = |record: &AuditRecord| AuditCursor {
            at: record.at,
            sequence: record.sequence,
            subject: record.subject.clone(),
        };
        let key = |cursor: &AuditCursor| (cursor.at, cursor.subject.clone(), cursor.sequence);
        let mut records = match scope {
            AuditScope::Subject(subject) => {
                let mut records = self.of_subject(subject);
                records.retain(|record| cursor.is_none_or(|cursor| record.sequence > cursor.sequence));
                records
            }
            AuditScope::Between(from, to) => {
                let within = |record: &&AuditRecord| (*from..*to).contains(&record.at);
                let mut records: Vec<_> = self.audit.values().filter(within).cloned().collect();
                records.sort_by_key(|record| key(&place(record)));
                records.retain(|record| cursor.is_none_or(|cursor| key(&place(record)) > key(cursor)));
                records
            }
        };
        let more = records.len() > PAGE;
        records.truncate(PAGE);
        AuditPage { cursor: records.last().filter(|_| more).map(place), records }
    }
}

impl AuditLog for World {
    async fn audit_page(
        &self,
        scope: &AuditScope,
        cursor: Option<&AuditCursor>,
    ) -> Result<AuditPage, PortError> {
        let (scope, cursor) = (scope.clone(), cursor.cloned());
        self.call("audit_page", format!("{scope:?}"), move |inner| {
            Ok(inner.audit_page(&scope, cursor.as_ref()))
        })
        .await
    }

    async fn refusal_tally(&self, key: &str) -> Result<Option<RefusalTally>, PortError> {
        let key = key.to_owned();
        self.call("refusal_tally", key.clone(), move |inner| {
            Ok(inner.audit_extras.tallies.get(&key).cloned())
        })
        .await
    }

    async fn record_refusal(
        &self,
        note: &RefusalNote,
        before: Option<&RefusalTally>,
    ) -> Result<Committed, PortError> {
        let (note, before) = (note.clone(), before.cloned());
        self.call("record_refusal", note.tally.key.clone(), move |inner| {
            if inner.audit_extras.tallies.get(&note.tally.key) != before.as_ref() {
                return Ok(Committed::Superseded);
            }
            inner.audit_extras.tallies.insert(note.tally.key.clone(), note.tally);
            if let Some(record) = &note.record {
                inner.append_audit(record);
            }
            Ok(Committed::Yes)
        })
        .await
    }

    async fn digest_pointer(&self) -> Result<Option<DigestPointer>, PortError> {
        self.call("digest_pointer", String::new(), |inner| Ok(inner.audit_extras.pointer.clone())).await
    }

    async fn advance_digests(
        &self,
        before: Option<&DigestPointer>,
        next: &DigestPointer,
    ) -> Result<Committed, PortError> {
        let (before, next) = (before.cloned(), next.clone());
        self.call("advance_digests", next.ends.to_string(), move |inner| {
            if inner.audit_extras.pointer != before {
                return Ok(Committed::Superseded);
            }
            inner.audit_extras.pointer = Some(next);
            Ok(Committed::Yes)
        })
        .await
    }
}

impl DigestStore for World {
    async fn put_once(&self, name: &str, text: &str) -> Result<PutOnce, PortError> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.call("put_once", name.clone(), move |inner| {
            match inner.audit_extras.digests.get(&name).and_then(|texts| texts.first()) {
                Some(before) => Ok(PutOnce::Before(before.clone())),
                None => {
                    inner.audit_extras.digests.insert(name, vec![text]);
                    Ok(PutOnce::Written)
                }
            }
        })
        .await
    }

    async fn digests(&self, cursor: Option<&str>) -> Result<DigestPage, PortError> {
        let cursor = cursor.map(str::to_owned);
        self.call("digests", String::new(), move |inner| {
            let after = |name: &String| cursor.as_ref().is_none_or(|cursor| name > cursor);
            let mut digests: Vec<_> =
                inner.audit_extras.digests.iter().filter(|(name, _)| after(name)).collect();
            let more = digests.len() > PAGE;
            digests.truncate(PAGE);
            let stored = |(name, texts): (&String, &Vec<String>)| StoredDigest {
                name: name.clone(),
                text: texts[0].clone(),
                overwritten: texts.len() > 1,
            };
            let digests: Vec<_> = digests.into_iter().map(stored).collect();
            let cursor = digests.last().filter(|_| more).map(|digest| digest.name.clone());
            Ok(DigestPage { digests, cursor })
        })
        .await
    }
}

/// What a test sees of the audit, or does to it, past the service.
impl World {
    /// The audit records of a subject, in order.
    pub fn audit(&self, subject: &str) -> Vec<AuditRecord> {
        self.inner().of_subject(subject)
    }

    /// All audit records.
    pub fn whole_audit(&self) -> Vec<AuditRecord> {
        self.inner().audit.values().cloned().collect()
    }

    /// All digests.
    pub fn stored_digests(&self) -> Vec<StoredDigest> {
        let inner = self.inner();
        let stored = |(name, texts): (&String, &Vec<String>)| StoredDigest {
            name: name.clone(),
            text: texts[0].clone(),
            overwritten: texts.len() > 1,
        };
        inner.audit_extras.digests.iter().map(stored).collect()
    }

    /// What is remembered of refusals.
    pub fn refusal_tallies(&self) -> Vec<RefusalTally> {
        self.inner().audit_extras.tallies.values().cloned().collect()
    }
}
