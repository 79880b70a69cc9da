//! The shared state, the clock, and the one way through which every call to a port goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use sorry_policy::{Namespace, PersonName, SessionId, TierName};
use sorry_session::{
    CallerEntry, Session,
    events::{AuditRecord, OutboxEntry},
    hold::SweepMemory,
    ports::{Clock, PortError, Ports},
    principal::Belonging,
    tiers::PublishedTiers,
};

use crate::{
    Call, Fault, Role, Start,
    audit::AuditExtras,
    executor::Turn,
    fault::{Faults, dead},
    store::StoredKey,
    tokens::{StandingToken, standing_role},
    users::Policy,
};

/// The account of the world.
pub(crate) const ACCOUNT: &str = "123456789012";
/// ARNs of the service's own policies begin so.
pub(crate) const SERVICE_POLICY_PREFIX: &str = "arn:aws:iam::123456789012:policy/sorry/service/";

/// That many seconds after the world begins.
///
/// # Panics
/// When that is beyond all time.
pub fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// AWS in memory, as the domain sees it. A clone is the same world.
#[derive(Clone)]
pub struct World(Arc<Mutex<Inner>>);

type Hook = Box<dyn FnOnce(&World) + Send>;
type LateWrite = Box<dyn FnOnce(&mut Inner) + Send>;

/// What nobody can copy, so that a world is copied only while there is none of it.
struct Uncopied<T>(Vec<T>);

impl<T> Clone for Uncopied<T> {
    fn clone(&self) -> Self {
        assert!(self.0.is_empty(), "something is still to happen in the world that is copied");
        Self(Vec::new())
    }
}

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) now: Timestamp,
    /// Every version of every row, the last one being the row.
    pub(crate) rows: BTreeMap<SessionId, Vec<(Timestamp, Session)>>,
    pub(crate) audit: BTreeMap<(String, u64), AuditRecord>,
    pub(crate) audit_extras: AuditExtras,
    pub(crate) keys: BTreeMap<(String, String), StoredKey>,
    /// Names of counted requests, by caller and minute.
    pub(crate) requests: BTreeMap<(String, Timestamp), BTreeSet<String>>,
    pub(crate) live: BTreeMap<(String, TierName), BTreeSet<SessionId>>,
    pub(crate) session_principals: Option<u64>,
    /// Whether callers may have as many sessions as they like.
    pub(crate) limits_lifted: bool,
    pub(crate) canary: bool,
    pub(crate) callers: BTreeMap<String, CallerEntry>,
    pub(crate) namespaces: BTreeMap<Namespace, PersonName>,
    pub(crate) sweep_memory: SweepMemory,
    pub(crate) published_tiers: Option<PublishedTiers>,
    pub(crate) tier_sets: BTreeMap<String, String>,
    pub(crate) index_lag_seconds: i64,
    pub(crate) roles: BTreeMap<String, Role>,
    /// Users of sessions: a user is a role that nobody assumes.
    pub(crate) users: BTreeMap<String, Role>,
    pub(crate) belongings: BTreeMap<String, BTreeSet<Belonging>>,
    /// Whose an access key is, and from when STS knows it.
    pub(crate) keys_of_users: BTreeMap<String, (String, Timestamp)>,
    pub(crate) policies: BTreeMap<String, Policy>,
    pub(crate) standing_tokens: Vec<StandingToken>,
    /// Whether there ever was a secret.
    pub(crate) secrets_made: bool,
    pub(crate) key_lag_seconds: i64,
    pub(crate) principals_made: u64,
    pub(crate) iam_lag_seconds: i64,
    pub(crate) stale_reads: usize,
    pub(crate) principals_known_from: Timestamp,
    pub(crate) published: Vec<OutboxEntry>,
    pub(crate) starts: Vec<Start>,
    pub(crate) subscribers: u64,
    pub(crate) alerts: Vec<(String, String)>,
    calls: Vec<Call>,
    faults: Faults,
    hooks: Uncopied<(usize, Hook)>,
    /// Above 0, what calls is a hook: it is neither counted nor failed.
    hook_depth: usize,
    /// What killed the function that runs.
    death: Option<Fault>,
    late: Uncopied<(Timestamp, LateWrite)>,
    land_after_seconds: Option<i64>,
    taking_turns: bool,
    pub(crate) violations: Vec<String>,
    pauses: Vec<Duration>,
    pauses_are_instant: bool,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty world at [`moment`] 0, with one confirmed subscriber.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            now: moment(0),
            rows: BTreeMap::new(),
            audit: BTreeMap::new(),
            audit_extras: AuditExtras::default(),
            keys: BTreeMap::new(),
            requests: BTreeMap::new(),
            live: BTreeMap::new(),
            session_principals: None,
            limits_lifted: false,
            canary: false,
            callers: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            sweep_memory: SweepMemory::default(),
            published_tiers: None,
            tier_sets: BTreeMap::new(),
            index_lag_seconds: 0,
            roles: [standing_role()].map(|role| (role.name.clone(), role)).into(),
            users: BTreeMap::new(),
            belongings: BTreeMap::new(),
            keys_of_users: BTreeMap::new(),
            policies: BTreeMap::new(),
            standing_tokens: Vec::new(),
            secrets_made: false,
            key_lag_seconds: 0,
            principals_made: 0,
            iam_lag_seconds: 0,
            stale_reads: 0,
            principals_known_from: Timestamp::MIN,
            published: Vec::new(),
            starts: Vec::new(),
            subscribers: 1,
            alerts: Vec::new(),
            calls: Vec::new(),
            faults: Faults::default(),
            hooks: Uncopied(Vec::new()),
            hook_depth: 0,
            death: None,
            late: Uncopied(Vec::new()),
            land_after_seconds: None,
            taking_turns: false,
            violations: Vec::new(),
            pauses: Vec::new(),
            pauses_are_instant: false,
        })))
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Another world that is the same so far: what happens in one does not happen in the other.
    ///
    /// # Panics
    /// When something was set to happen later: a hook, or a late write.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.inner().clone())))
    }

    /// The ports of a step.
    pub fn ports(&self) -> Ports<Self, Self, Self, Self> {
        Ports { store: self.clone(), principals: self.clone(), events: self.clone(), clock: self.clone() }
    }

    /// Every call goes through here: it is counted, may be interrupted, may fail, and what it did is judged.
    pub(crate) async fn call<T>(
        &self,
        port: &'static str,
        about: String,
        effect: impl FnOnce(&mut Inner) -> Result<T, PortError> + Clone + Send + 'static,
    ) -> Result<T, PortError> {
        let turn = self.inner().taking_turns;
        Turn(turn).await;
        if self.inner().death.is_some() {
            return Err(dead());
        }
        self.run_hooks();
        let mut inner = self.inner();
        let mut fault = None;
        if inner.hook_depth == 0 {
            let (number, at) = (inner.calls.len(), inner.now);
            fault = inner.faults.of(number, port, &about);
            inner.calls.push(Call { port, about, at, fault });
        }
        if matches!(fault, Some(Fault::CrashBefore | Fault::CrashAfter)) {
            inner.death = fault;
        }
        if fault.is_some_and(Fault::is_late) {
            let after = inner.land_after_seconds;
            let lands_at =
                after.map_or(Timestamp::MAX, |seconds| inner.now.checked_add(seconds.seconds()).unwrap());
            let effect = effect.clone();
            inner.late.0.push((lands_at, Box::new(move |inner| drop(effect(inner)))));
        }
        let mut answer = Err(dead());
        for _ in 0..fault.map_or(1, Fault::times) {
            answer = effect.clone()(&mut inner);
            inner.judge();
        }
        fault.and_then(|fault| fault.error(port)).map_or(answer, Err)
    }

    fn run_hooks(&self) {
        let hooks: Vec<Hook> = {
            let mut inner = self.inner();
            if inner.hook_depth > 0 {
                return;
            }
            let number = inner.calls.len();
            let due = inner.hooks.0.extract_if(.., |(at, _)| *at == number);
            due.map(|(_, hook)| hook).collect()
        };
        for hook in hooks {
            self.aside(hook);
        }
    }

    /// Does something beside what is tested: its calls are neither counted nor failed.
    pub fn aside<T>(&self, action: impl FnOnce(&Self) -> T) -> T {
        let death = {
            let mut inner = self.inner();
            inner.hook_depth += 1;
            inner.death.take()
        };
        let answer = action(self);
        let mut inner = self.inner();
        inner.hook_depth -= 1;
        inner.death = death;
        answer
    }

    /// The calls so far, but for those of hooks.
    pub fn calls(&self) -> Vec<Call> {
        self.inner().calls.clone()
    }

    /// Lets no time pass while somebody waits, for tests that have the clock to themselves. Who waits for time to pass waits for ever.
    pub fn make_pauses_instant(&self) {
        self.inner().pauses_are_instant = true;
    }

    /// How long somebody waited, each time.
    pub fn pauses(&self) -> Vec<Duration> {
        self.inner().pauses.clone()
    }

    /// Sets a fault for the call of that number, counted from 0 over the whole life of this world.
    pub fn fail_call(&self, number: usize, fault: Fault) {
        self.inner().faults.once.push((number, fault));
    }

    /// Sets a fault for the call of that number and for all later ones to the same port, until [`Self::clear_faults`].
    pub fn fail_from_call(&self, number: usize, fault: Fault) {
        self.inner().faults.from.push((number, fault));
    }

    /// Sets a fault for all calls to a port, until [`Self::clear_faults`].
    pub fn fail_port(&self, port: &'static str, fault: Fault) {
        self.inner().faults.ports.push((port, fault));
    }

    /// Sets a fault for all calls to a port that are about one thing (see [`Call::about`]), until [`Self::clear_faults`].
    pub fn fail_about(&self, port: &'static str, about: &str, fault: Fault) {
        self.inner().faults.about.push((port, about.to_owned(), fault));
    }

    /// Takes all faults back. What is dead stays dead, what is late stays late.
    pub fn clear_faults(&self) {
        self.inner().faults = Faults::default();
    }

    /// Does something just before the call of that number, such as what somebody else does at the same time.
    pub fn before_call(&self, number: usize, action: impl FnOnce(&Self) + Send + 'static) {
        self.inner().hooks.0.push((number, Box::new(action)));
    }

    /// Starts a new function where one may have died.
    pub fn recover(&self) {
        self.inner().death = None;
    }

    /// What killed the function that ran last, if something did.
    pub fn death(&self) -> Option<Fault> {
        self.inner().death
    }

    /// Lets late writes happen by themselves so many seconds after their calls.
    pub fn land_after(&self, seconds: i64) {
        self.inner().land_after_seconds = Some(seconds);
    }

    /// Lets all late writes happen now, in the order of their calls. Answers how many.
    pub fn land_late_writes(&self) -> usize {
        let mut inner = self.inner();
        let late = std::mem::take(&mut inner.late.0);
        let count = late.len();
        for (_, write) in late {
            write(&mut inner);
            inner.judge();
        }
        count
    }

    /// Whether something is still to happen late.
    pub fn has_late_writes(&self) -> bool {
        !self.inner().late.0.is_empty()
    }

    /// Sets the clock. Late writes whose moment is passed happen at their moment.
    ///
    /// # Panics
    /// When that is in the past.
    pub fn set_clock(&self, now: Timestamp) {
        let mut inner = self.inner();
        assert!(now >= inner.now, "time does not go back");
        while let Some(index) = (0..inner.late.0.len())
            .filter(|index| inner.late.0[*index].0 <= now)
            .min_by_key(|index| inner.late.0[*index].0)
        {
            let (at, write) = inner.late.0.remove(index);
            inner.now = inner.now.max(at);
            write(&mut inner);
            inner.judge();
        }
        inner.now = now;
        inner.judge();
    }

    /// Advances the clock.
    ///
    /// # Panics
    /// When that is beyond all time.
    pub fn advance(&self, seconds: i64) {
        self.set_clock(self.now().checked_add(seconds.seconds()).unwrap());
    }

    /// Whether steps take turns; see [`crate::interleave`].
    pub(crate) fn take_turns(&self, taking: bool) {
        self.inner().taking_turns = taking;
    }

    /// Every moment at which an invariant did not hold, since the world began:
    /// - access past a session's end (2), or of one whose row says that it is over (4, 5);
    /// - a row that says so while the role is there (4, 5);
    /// - permissions without a boundary or without a date (2);
    /// - a role before its row or before its workflow (3);
    /// - a change whose audit record and event do not belong to it, or an audit record written twice or outside of its chain (7).
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.inner().now
    }

    fn sequence(&self) -> u64 {
        let inner = self.inner();
        // Grows with every audit record, as a clock with microseconds would.
        inner.now.as_microsecond().unsigned_abs() + inner.audit.len() as u64
    }

    async fn pause(&self, duration: Duration) {
        if self.death().is_none() {
            self.inner().pauses.push(duration);
            if !self.inner().pauses_are_instant {
                self.advance(i64::try_from(duration.as_secs()).unwrap());
            }
        }
    }
}

impl Inner {
    pub(crate) fn violation(&mut self, text: String) {
        let text = format!("{}: {text}", self.now);
        if !self.violations.contains(&text) {
            self.violations.push(text);
        }
    }

    pub(crate) fn row(&self, id: &SessionId) -> Option<&Session> {
        self.rows.get(id).and_then(|versions| versions.last()).map(|(_, session)| session)
    }

    fn row_of(&self, role: &Role) -> Option<&Session> {
        role.session().and_then(|id| id.parse().ok()).and_then(|id| self.row(&id))
    }

    pub(crate) fn judge_new_principal(&mut self, role: &Role) {
        let text = match self.row_of(role) {
            None => "was made before its row",
            Some(row) if row.provisioning_at.is_none() || row.role_name.as_str() != role.name => {
                "was made before its row said so"
            }
            Some(row) if !self.starts.iter().any(|start| start.name == row.session_id.as_str()) => {
                "was made before its workflow"
            }
            Some(_) => return,
        };
        self.violation(format!("invariant 3: role `{}` {text}", role.name));
    }

    /// Looks at what is true of every role at this moment, and for ever unless somebody writes.
    fn judge(&mut self) {
        let mut found = Vec::new();
        for role in self.roles.values().chain(self.users.values()) {
            let Some(row) = self.row_of(role) else { continue };
            if role.allows(Timestamp::MAX) {
                found.push(format!("invariant 2: role `{}` allows something and has no end", role.name));
            } else if role.allows(self.now.max(row.latest_end())) {
                found.push(format!(
                    "invariant 2: role `{}` allows something past the latest end that its session was given",
                    role.name
                ));
            }
            if role.allows(Timestamp::MIN) && role.boundary_arn.is_none() {
                found.push(format!("invariant 2: role `{}` allows something and has no boundary", role.name));
            }
            if row.state.is_over() && role.allows(self.now) {
                found.push(format!(
                    "invariants 4 and 5: role `{}` of a session that is {} gives access",
                    role.name, row.state
                ));
            }
        }
        for id in self.sessions_of_tokens() {
            let Some(row) = self.row(&id) else { continue };
            if self.standing_access(&id, self.now.max(row.expires_at)) {
                found.push(format!("invariant 2: credentials of `{id}` work past its end"));
            }
            if row.state.is_over() && self.standing_access(&id, self.now) {
                found
                    .push(format!("invariants 4 and 5: credentials of `{id}`, which is {}, work", row.state));
            }
        }
        for text in found {
            self.violation(text);
        }
    }
}
