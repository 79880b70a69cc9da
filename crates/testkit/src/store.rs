//! The tables.

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan};
use sorry_policy::{Grant, SessionId, TierName};
use sorry_session::{
    CallerEntry, Change, Session,
    events::AuditRecord,
    hold::SweepMemory,
    limits::RequestCount,
    ports::{
        CallerWritten, Committed, Counters, Created, IdempotencyKey, LiveSessions, PortError, Registry,
        SessionCursor, SessionPage, SessionScope, SessionStore,
    },
    session::ROW_VERSION,
};

use crate::{World, world::Inner};

/// Sessions that one page of a list holds.
const PAGE: usize = 50;

/// What is remembered of a request.
#[derive(Clone, Debug)]
pub(crate) struct StoredKey {
    session_id: SessionId,
    request_digest: String,
    expires_at: Timestamp,
}

impl Inner {
    /// A row goes through its JSON, as it would through a table.
    fn put_row(&mut self, session: &Session) {
        let text = serde_json::to_string(session).unwrap();
        let read: Session = serde_json::from_str(&text).unwrap();
        assert_eq!(read, *session, "a row is not what was written");
        assert!((1..=ROW_VERSION).contains(&read.version));
        let now = self.now;
        self.rows.entry(read.session_id.clone()).or_default().push((now, read));
    }

    /// A change of a session brings its audit record, its fence and its event along.
    fn judge_change(&mut self, session: &Session, audit: &AuditRecord) {
        let event = format!("{}-{}", session.session_id, session.fence);
        let told = session.outbox.iter().any(|entry| entry.id == event);
        let before = self.row(&session.session_id).map(|before| before.state);
        // What leaves the state as it is has a record of its own, and an event where somebody should hear of it.
        let of_state = before != Some(session.state) || audit.what == format!("session.{}", session.state);
        let said = match audit.what.as_str() {
            _ if of_state => audit.what == format!("session.{}", session.state) && told,
            "session.issued" => told,
            _ => audit.what.starts_with("session."),
        };
        let belongs = audit.subject == session.session_id.as_str()
            && audit.sequence == session.fence
            && session.audit_head == audit.hash
            && said;
        if !belongs {
            self.violation(format!("invariant 7: change {event} lacks its audit record or its event"));
        }
    }

    /// A row says that it is over when nothing is left, and not before.
    fn judge_end(&mut self, session: &Session) {
        let left = |role: &&crate::Role| {
            let tagged = role.session() == Some(session.session_id.as_str());
            let made = session.role.as_ref().is_some_and(|made| made.unique_id == role.unique_id);
            role.name == session.role_name.as_str() && (tagged || made)
        };
        let policy = session
            .policy_arn()
            .is_some_and(|arn| session.grant == Grant::User && self.policies.contains_key(arn.as_str()));
        let principal = self.roles.values().chain(self.users.values()).find(left).is_some();
        if session.state.is_over() && (principal || policy) {
            self.violation(format!(
                "invariants 4 and 5: {} is said while `{}` is there",
                session.state, session.role_name
            ));
        }
    }

    fn create(
        &mut self,
        session: &Session,
        audit: &AuditRecord,
        key: &IdempotencyKey,
        most_live: u32,
    ) -> Result<Created, PortError> {
        let name = (key.caller.clone(), key.client_request_id.clone());
        if let Some(before) = self.keys.get(&name).filter(|before| before.expires_at > session.requested_at) {
            return Ok(if before.request_digest == key.request_digest {
                Created::Before(before.session_id.clone())
            } else {
                Created::OtherRequest
            });
        }
        if self.callers.get(session.registration()).is_none_or(|entry| entry.suspended.is_some()) {
            return Ok(Created::CallerGone);
        }
        if self.rows.contains_key(&session.session_id) {
            return Err(PortError::Unavailable("the session id is taken".to_owned()));
        }
        let live = self.live.entry((session.registration().to_owned(), session.tier.clone())).or_default();
        if live.len() >= usize::try_from(most_live).unwrap() && !self.limits_lifted {
            return Ok(Created::TooManyLive);
        }
        live.insert(session.session_id.clone());
        self.keys.insert(
            name,
            StoredKey {
                session_id: session.session_id.clone(),
                request_digest: key.request_digest.clone(),
                expires_at: key.expires_at,
            },
        );
        self.judge_change(session, audit);
        self.put_audit(audit);
        self.put_row(session);
        Ok(Created::New)
    }

    fn commit(&mut self, change: &Change) -> Committed {
        if self.row(&change.session.session_id).is_none_or(|row| row.fence != change.expected_fence) {
            return Committed::Superseded;
        }
        if change.session.fence != change.expected_fence + 1 {
            self.violation(format!("the fence of `{}` does not go up by one", change.session.session_id));
        }
        self.judge_change(&change.session, &change.audit);
        self.judge_end(&change.session);
        self.put_audit(&change.audit);
        self.put_row(&change.session);
        if change.session.state.is_over() {
            let key = (change.session.registration().to_owned(), change.session.tier.clone());
            self.live.entry(key).or_default().remove(&change.session.session_id);
        }
        Committed::Yes
    }

    fn acknowledge(&mut self, session: &Session) -> Committed {
        match self.row(&session.session_id) {
            Some(row) if row.fence == session.fence => {
                if (Session { outbox: Vec::new(), ..row.clone() })
                    != (Session { outbox: Vec::new(), ..session.clone() })
                {
                    self.violation(format!("`{}` was changed by an acknowledgement", session.session_id));
                }
                self.put_row(session);
                Committed::Yes
            }
            _ => Committed::Superseded,
        }
    }

    /// The rows as the indexes show them.
    fn indexed(&self) -> Vec<Session> {
        let shown = self.now.checked_sub(self.index_lag_seconds.seconds()).unwrap();
        let version = |versions: &Vec<(Timestamp, Session)>| {
            versions.iter().rev().find(|(written, _)| *written <= shown).map(|(_, session)| session.clone())
        };
        self.rows.values().filter_map(version).collect()
    }

    fn list(&self, scope: &SessionScope, cursor: Option<&SessionCursor>) -> SessionPage {
        let mut sessions: Vec<_> = self
            .indexed()
            .into_iter()
            .filter(|session| match scope {
                SessionScope::Person(person) => session.person.as_str() == person,
                SessionScope::Namespace(namespace) => session.namespace.as_str() == namespace,
            })
            .collect();
        sessions.sort_by(|one, other| {
            (other.requested_at, &other.session_id).cmp(&(one.requested_at, &one.session_id))
        });
        let place = |session: &Session| SessionCursor {
            requested_at: session.requested_at,
            session_id: session.session_id.clone(),
        };
        let mut sessions: Vec<_> = sessions
            .into_iter()
            .filter(|session| {
                cursor.is_none_or(|cursor| {
                    (session.requested_at, &session.session_id) < (cursor.requested_at, &cursor.session_id)
                })
            })
            .collect();
        let more = sessions.len() > PAGE;
        sessions.truncate(PAGE);
        SessionPage { cursor: sessions.last().filter(|_| more).map(place), sessions }
    }

    fn put_caller(
        &mut self,
        entry: &CallerEntry,
        before: Option<&CallerEntry>,
        audit: &AuditRecord,
    ) -> CallerWritten {
        if self.callers.get(&entry.unique_id) != before {
            return CallerWritten::Superseded;
        }
        if self.namespaces.get(&entry.namespace).is_some_and(|person| *person != entry.person) {
            return CallerWritten::NamespaceTaken;
        }
        self.namespaces.insert(entry.namespace.clone(), entry.person.clone());
        self.callers.insert(entry.unique_id.clone(), entry.clone());
        self.append_audit(audit);
        CallerWritten::Yes
    }
}

impl SessionStore for World {
    async fn load(&self, id: &SessionId) -> Result<Option<Session>, PortError> {
        let id = id.clone();
        self.call("load", id.to_string(), move |inner| Ok(inner.row(&id).cloned())).await
    }

    async fn create(
        &self,
        session: &Session,
        audit: &AuditRecord,
        key: &IdempotencyKey,
        most_live: u32,
    ) -> Result<Created, PortError> {
        let (session, audit, key) = (session.clone(), audit.clone(), key.clone());
        self.call("create", session.state.to_string(), move |inner| {
            inner.create(&session, &audit, &key, most_live)
        })
        .await
    }

    async fn commit(&self, change: &Change) -> Result<Committed, PortError> {
        let change = change.clone();
        self.call("commit", change.session.state.to_string(), move |inner| Ok(inner.commit(&change))).await
    }

    async fn acknowledge(&self, session: &Session) -> Result<Committed, PortError> {
        let session = session.clone();
        self.call("acknowledge", session.state.to_string(), move |inner| Ok(inner.acknowledge(&session)))
            .await
    }

    async fn list(
        &self,
        scope: &SessionScope,
        cursor: Option<&SessionCursor>,
    ) -> Result<SessionPage, PortError> {
        let (scope, cursor) = (scope.clone(), cursor.cloned());
        self.call("list", format!("{scope:?}"), move |inner| Ok(inner.list(&scope, cursor.as_ref()))).await
    }

    async fn unfinished(&self) -> Result<Vec<Session>, PortError> {
        let due = |inner: &mut Inner| {
            Ok(inner.indexed().into_iter().filter(|session| session.listed_at().is_some()).collect())
        };
        self.call("unfinished", String::new(), due).await
    }

    async fn canary(&self) -> Result<bool, PortError> {
        self.call("canary", String::new(), |inner| Ok(inner.canary)).await
    }

    async fn place_canary(&self) -> Result<(), PortError> {
        self.call("place_canary", String::new(), |inner| {
            inner.canary = true;
            Ok(())
        })
        .await
    }
}

impl Registry for World {
    async fn caller(&self, unique_id: &str) -> Result<Option<CallerEntry>, PortError> {
        let id = unique_id.to_owned();
        self.call("caller", id.clone(), move |inner| Ok(inner.callers.get(&id).cloned())).await
    }

    async fn callers(&self) -> Result<Vec<CallerEntry>, PortError> {
        self.call("callers", String::new(), |inner| Ok(inner.callers.values().cloned().collect())).await
    }

    async fn put_caller(
        &self,
        entry: &CallerEntry,
        before: Option<&CallerEntry>,
        audit: &AuditRecord,
    ) -> Result<CallerWritten, PortError> {
        let (entry, before, audit) = (entry.clone(), before.cloned(), audit.clone());
        self.call("put_caller", entry.unique_id.clone(), move |inner| {
            Ok(inner.put_caller(&entry, before.as_ref(), &audit))
        })
        .await
    }

    async fn remove_caller(&self, entry: &CallerEntry, audit: &AuditRecord) -> Result<(), PortError> {
        let (id, audit) = (entry.unique_id.clone(), audit.clone());
        self.call("remove_caller", id.clone(), move |inner| {
            inner.callers.remove(&id);
            inner.append_audit(&audit);
            Ok(())
        })
        .await
    }

    async fn sweep_memory(&self) -> Result<SweepMemory, PortError> {
        self.call("sweep_memory", String::new(), |inner| Ok(inner.sweep_memory.clone())).await
    }

    async fn put_sweep_memory(
        &self,
        memory: &SweepMemory,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError> {
        let (memory, audit) = (memory.clone(), audit.clone());
        self.call("put_sweep_memory", audit.what.clone(), move |inner| {
            if inner.sweep_memory.version != memory.version {
                return Ok(Committed::Superseded);
            }
            inner.sweep_memory = SweepMemory { version: memory.version + 1, ..memory };
            inner.append_audit(&audit);
            Ok(Committed::Yes)
        })
        .await
    }
}

impl Counters for World {
    async fn count_request(&self, count: &RequestCount, most: u32) -> Result<bool, PortError> {
        let count = count.clone();
        self.call("count_request", count.caller.clone(), move |inner| {
            let names = inner.requests.entry((count.caller, count.minute)).or_default();
            if !names.contains(&count.name) && names.len() >= usize::try_from(most).unwrap() {
                return Ok(false);
            }
            names.insert(count.name);
            Ok(true)
        })
        .await
    }

    async fn session_principals(&self) -> Result<Option<u64>, PortError> {
        self.call("session_principals", String::new(), |inner| Ok(inner.session_principals)).await
    }

    async fn put_session_principals(&self, count: u64, _: Timestamp) -> Result<(), PortError> {
        self.call("put_session_principals", count.to_string(), move |inner| {
            inner.session_principals = Some(count);
            Ok(())
        })
        .await
    }

    async fn live_sessions(&self) -> Result<Vec<LiveSessions>, PortError> {
        self.call("live_sessions", String::new(), |inner| {
            let counted = inner.live.iter().map(|((caller, tier), sessions)| LiveSessions {
                caller: caller.clone(),
                tier: tier.clone(),
                sessions: sessions.clone(),
            });
            Ok(counted.collect())
        })
        .await
    }

    async fn forget_live(&self, over: &LiveSessions) -> Result<(), PortError> {
        let over = over.clone();
        self.call("forget_live", over.caller.clone(), move |inner| {
            if let Some(live) = inner.live.get_mut(&(over.caller, over.tier)) {
                live.retain(|id| !over.sessions.contains(id));
            }
            Ok(())
        })
        .await
    }
}

/// What a test does to the tables, or sees in them, past the service.
impl World {
    /// A session's row.
    pub fn row(&self, id: &SessionId) -> Option<Session> {
        self.inner().row(id).cloned()
    }

    /// All rows.
    pub fn rows(&self) -> Vec<Session> {
        let inner = self.inner();
        inner.rows.keys().filter_map(|id| inner.row(id).cloned()).collect()
    }

    /// Whether the row of this session ever stood in that state.
    pub fn was(&self, id: &SessionId, state: sorry_session::State) -> bool {
        self.inner()
            .rows
            .get(id)
            .is_some_and(|versions| versions.iter().any(|(_, session)| session.state == state))
    }

    /// Writes a row as it is, without audit.
    pub fn plant_row(&self, session: &Session) {
        self.inner().put_row(session);
    }

    /// The sessions table is lost, canary and all; the registry is not.
    pub fn lose_sessions_table(&self) {
        let mut inner = self.inner();
        inner.rows.clear();
        inner.canary = false;
    }

    /// The registry is lost; the sessions table is not.
    pub fn lose_registry_table(&self) {
        let mut inner = self.inner();
        inner.keys.clear();
        inner.live.clear();
        inner.requests.clear();
        inner.session_principals = None;
        inner.callers.clear();
        inner.namespaces.clear();
        inner.sweep_memory = SweepMemory::default();
        inner.published_tiers = None;
        inner.tier_sets.clear();
        inner.forget_audit_heads();
    }

    /// Takes the canary out of the sessions table.
    pub fn lose_canary(&self) {
        self.inner().canary = false;
    }

    /// Whether the canary is in the sessions table.
    pub fn has_canary(&self) -> bool {
        self.inner().canary
    }

    /// What the sweep remembers.
    pub fn remembered(&self) -> SweepMemory {
        self.inner().sweep_memory.clone()
    }

    /// Changes what the sweep remembers, past its audit.
    pub fn remember(&self, edit: impl FnOnce(&mut SweepMemory)) {
        let memory = &mut self.inner().sweep_memory;
        edit(memory);
        memory.version += 1;
    }

    /// How far the indexes (lists of sessions, the sweep's list) are behind the rows.
    pub fn set_index_lag(&self, seconds: i64) {
        self.inner().index_lag_seconds = seconds;
    }

    /// The sessions of a caller and tier that are counted as live.
    pub fn counted_live(&self, caller: &str, tier: &TierName) -> BTreeSet<SessionId> {
        self.inner().live.get(&(caller.to_owned(), tier.clone())).cloned().unwrap_or_default()
    }

    /// Counts a session as live that is not.
    pub fn plant_live(&self, caller: &str, tier: &TierName, id: &SessionId) {
        self.inner().live.entry((caller.to_owned(), tier.clone())).or_default().insert(id.clone());
    }

    /// How many session principals the sweep counted last.
    pub fn counted_principals(&self) -> Option<u64> {
        self.inner().session_principals
    }

    /// Lets every caller have as many live sessions as it likes, for tests that are about many.
    pub fn lift_limits(&self) {
        self.inner().limits_lifted = true;
    }

    /// Says how many session principals there are, past the sweep.
    pub fn plant_principals(&self, count: u64) {
        self.inner().session_principals = Some(count);
    }

    /// A caller's entry.
    pub fn entry(&self, unique_id: &str) -> Option<CallerEntry> {
        self.inner().callers.get(unique_id).cloned()
    }

    /// Registers a caller, without audit.
    pub fn plant_caller(&self, entry: CallerEntry) {
        let mut inner = self.inner();
        inner.namespaces.insert(entry.namespace.clone(), entry.person.clone());
        inner.callers.insert(entry.unique_id.clone(), entry);
    }

    /// Removes a caller, without audit.
    pub fn remove_planted_caller(&self, unique_id: &str) {
        self.inner().callers.remove(unique_id);
    }
}
