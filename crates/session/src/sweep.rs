//! The reconciler that gives the guarantee: whatever died, failed or was forgotten, after one sweep there is no principal without a
//! live session and no live session without its principal.
//!
//! It deletes principals that no row accounts for, so a lost table would make it delete everything. It therefore **holds** (and
//! alerts) when a table was lost, or when there are more orphans than could be an accident, until an administrator confirms; see
//! [`crate::hold`]. A confirmation lets go what was held, by name, and nothing that is found later. Holding is safe: what it would
//! delete is ended by its own date.
//!
//! It works within a budget of time and of items, and slows down when AWS asks it to ([`crate::back_off`]): what it leaves, the next one
//! finds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sorry_policy::{SessionId, TierName};

use crate::{
    ErrorCode, Failure, Principal, Session, State, StepError,
    audit::digest::DigestsWritten,
    back_off::{BackOff, Pace},
    clean_up::{self, CleanUp, clean_up, remove},
    events::{ChangedBy, OutboxEntry, SWEEP_HELD_EVENT, sweep_audit},
    extend::not_extended,
    hold::{SweepMemory, are_many},
    lifecycle::EndCause,
    outbox,
    ports::{
        Clock, Committed, EventBus, LiveSessions, PortError, Ports, Presence, PrincipalProvisioner, Registry,
        SessionStore,
    },
};

/// How long one sweep works before it leaves the rest to the next. The function's own time-out lies above.
const BUDGET: Duration = Duration::from_secs(180);
/// How many sessions and principals one sweep takes up. Each is some ten calls, and twenty more for a user with all that one can have.
const MOST_ITEMS: usize = 2_000;
/// How often a list is asked for while AWS asks to slow down.
const LISTINGS: usize = 3;
/// Principals that the event about a hold names: it becomes an e-mail. Source of its own limit, 256 KB: EventBridge quotas.
const MOST_TOLD: usize = 100;

/// What one sweep found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Sessions that were due.
    pub found: usize,
    /// Of those, ended now.
    pub ended: usize,
    /// Sessions whose unpublished events were sent.
    pub published: usize,
    /// Live sessions that had lost their principal or their caller, and were ended.
    pub repaired: usize,
    /// Principals without a live session that were removed.
    pub orphans: Vec<Principal>,
    /// Principals without a live session that were left alone, because the sweep holds.
    pub held: Vec<Principal>,
    /// Why it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_because: Option<String>,
    /// Sessions that were over and still counted as live.
    #[serde(default)]
    pub forgotten: usize,
    /// Digests of the audit that were written.
    #[serde(default)]
    pub digests: usize,
    /// What did not succeed; the next sweep tries again.
    pub failed: Vec<String>,
    /// Clean-ups that were given up now.
    #[serde(default)]
    pub given_up: usize,
    /// How often AWS asked to slow down, beside what the SDK tried again by itself.
    #[serde(default)]
    pub throttled: usize,
    /// Whether time, items or AWS's patience were not enough for everything.
    pub unfinished: bool,
}

/// What a sweep saw when it began; lists lag by seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Sessions that are ACTIVE, by tier.
    pub live: BTreeMap<TierName, usize>,
    /// Sessions that are CLEAN_UP_FAILED.
    pub clean_up_failed: Vec<SessionId>,
    /// Principals under `/sorry/session/`.
    pub principals: usize,
}

impl Seen {
    fn of(sessions: &[Session], principals: usize) -> Self {
        let mut seen = Self { principals, ..Self::default() };
        for session in sessions {
            match session.state {
                State::Active => *seen.live.entry(session.tier.clone()).or_default() += 1,
                State::CleanUpFailed => seen.clean_up_failed.push(session.session_id.clone()),
                _ => {}
            }
        }
        seen
    }
}

impl SweepReport {
    /// The report with what became of the digests.
    #[must_use]
    pub fn with_digests(mut self, written: Result<DigestsWritten, StepError>) -> Self {
        match written {
            Ok(written) => {
                self.digests = written.count;
                self.unfinished |= written.unfinished;
            }
            Err(error) => self.failed.push(format!("digests of the audit: {}: {error}", error.code)),
        }
        self
    }
}

/// Runs one sweep. One item that fails never stops the rest.
///
/// # Errors
/// When the rows or the principals could not be listed. What is due is ended in the second case all the same.
pub async fn sweep<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    registry: &impl Registry,
) -> Result<SweepReport, StepError> {
    sweep_measured(ports, registry).await.map(|(report, _)| report)
}

/// Runs one sweep, and tells what there was when it began.
///
/// # Errors
/// As [`sweep`].
pub async fn sweep_measured<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    registry: &impl Registry,
) -> Result<(SweepReport, Seen), StepError> {
    let mut run = Sweep {
        ports,
        by: ChangedBy::service("sweep"),
        started_at: ports.clock.now(),
        items: 0,
        back_off: BackOff::default(),
        report: SweepReport::default(),
    };
    // Principals before rows: each is made after its row, so one that is listed here has a row that is found below.
    let principals = run.listed(async || ports.principals.session_principals().await).await;
    let sessions = run.listed(async || ports.store.unfinished().await).await?;
    // What is due has the whole patience, whatever the lists have taken of it.
    run.back_off = BackOff::default();
    if matches!(principals, Err(PortError::Throttled(_))) {
        run.back_off.throttled();
    }
    run.due(&sessions).await;
    run.without_caller(&sessions, registry).await;
    let principals = principals?;
    let seen = Seen::of(&sessions, principals.len());
    run.without_principal(&sessions, &principals).await;
    run.counts(&sessions, principals.len(), registry).await;
    run.orphans(&sessions, principals, registry).await?;
    Ok((run.report, seen))
}

struct Sweep<'a, S, P, E, C> {
    ports: &'a Ports<S, P, E, C>,
    by: ChangedBy,
    started_at: Timestamp,
    items: usize,
    back_off: BackOff,
    report: SweepReport,
}

impl<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock> Sweep<'_, S, P, E, C> {
    /// Whether one item more may be taken up, after a pause where AWS asked for one.
    async fn goes_on(&mut self) -> bool {
        let left = self.left();
        let goes_on = self.items < MOST_ITEMS
            && !left.is_zero()
            && match self.back_off.next(left) {
                Pace::Go => true,
                Pace::Pause(pause) => {
                    self.ports.clock.pause(pause).await;
                    !self.left().is_zero()
                }
                Pace::Stop => false,
            };
        self.items = self.items.saturating_add(1);
        self.report.unfinished |= !goes_on;
        goes_on
    }

    fn left(&self) -> Duration {
        BUDGET.saturating_sub(self.ports.clock.now().duration_since(self.started_at).unsigned_abs())
    }

    fn note(&mut self, about: &dyn std::fmt::Display, error: &StepError) {
        self.report.failed.push(format!("{about}: {}: {error}", error.code));
        if error.code == ErrorCode::Throttled {
            self.throttled();
        }
    }

    fn throttled(&mut self) {
        self.report.throttled = self.report.throttled.saturating_add(1);
        self.back_off.throttled();
    }

    /// Asks for a list, and again while AWS asks to slow down.
    async fn listed<T>(&mut self, ask: impl AsyncFn() -> Result<T, PortError>) -> Result<T, PortError> {
        for _ in 1..LISTINGS {
            match ask().await {
                Err(PortError::Throttled(text)) => {
                    self.throttled();
                    if !self.goes_on().await {
                        return Err(PortError::Throttled(text));
                    }
                }
                answer => return answer,
            }
        }
        let answer = ask().await;
        if matches!(answer, Err(PortError::Throttled(_))) {
            self.throttled();
        }
        answer
    }

    /// Ends what is past its end or stuck, and publishes what stayed unpublished, most overdue first.
    async fn due(&mut self, sessions: &[Session]) {
        let mut due: Vec<_> = sessions
            .iter()
            .filter_map(|session| session.due_at().map(|at| (at, session)))
            .filter(|(at, _)| *at <= self.started_at)
            .collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, session) in due {
            if !self.goes_on().await {
                return;
            }
            self.report.found += 1;
            match self.settle(&session.session_id).await {
                Ok(()) => self.back_off.succeeded(),
                Err(error) => self.note(&session.session_id, &error),
            }
        }
    }

    /// Brings one session to where it should be; reads it again, for the list may be old.
    async fn settle(&mut self, id: &SessionId) -> Result<(), StepError> {
        let Some(mut session) = self.ports.store.load(id).await? else { return Ok(()) };
        let now = self.ports.clock.now();
        if session.prune_at.is_some_and(|at| at <= now) {
            clean_up::prune(self.ports, &session, &self.by).await?;
            self.report.ended += 1;
            return Ok(());
        }
        let past_its_end = session.state == State::Active && session.due_end_at() <= now;
        if !past_its_end && has_doubtful_keys(&session, now) {
            clean_up::settle_keys(self.ports, &session, &self.by).await?;
            self.report.repaired += 1;
            // An extension can be due beside it.
            match self.ports.store.load(id).await? {
                Some(settled) => session = settled,
                None => return Ok(()),
            }
        }
        let stuck = session.state != State::Active
            && !session.state.is_over()
            && Session { outbox: Vec::new(), ..session.clone() }.due_at().is_some_and(|at| at <= now);
        if past_its_end || stuck {
            let failure = Failure::new(ErrorCode::Unavailable, "its workflow did not go on");
            match clean_up(self.ports, id, Some(failure), &self.by).await {
                Ok(CleanUp::Ended) => self.report.ended += 1,
                Ok(CleanUp::Pending | CleanUp::NotDue(_)) => {}
                // AWS is slow, and nothing is wrong with the session: the next sweep goes on, and nobody need be told.
                Err(error) if error.code.may_pass() => return Err(error),
                Err(error) => {
                    clean_up::give_up(self.ports, id, error.clone().into(), &self.by).await?;
                    self.report.given_up += usize::from(session.state != State::CleanUpFailed);
                    return Err(error);
                }
            }
        } else if session.extension_due_at().is_some_and(|at| at <= now) {
            let failure = match session.extension_under_way() {
                Some(_) => Failure::new(ErrorCode::Unavailable, "the extension's workflow did not go on"),
                None => Failure::new(ErrorCode::ApprovalLapsed, "it was not approved in time"),
            };
            not_extended(self.ports, id, failure, &self.by).await?;
            self.report.repaired += 1;
        } else if !session.outbox.is_empty() {
            outbox::flush(self.ports, &session).await?;
            self.report.published += 1;
        }
        Ok(())
    }

    /// Ends what a removed or suspended caller still has: a session that was written while the removal looked for sessions.
    async fn without_caller(&mut self, sessions: &[Session], registry: &impl Registry) {
        let mut known = BTreeMap::new();
        let live = sessions.iter().filter(|session| !session.state.is_over() && !session.state.is_ending());
        for session in live {
            let caller = session.registration();
            if known.get(caller) == Some(&true) {
                continue;
            }
            if !self.goes_on().await {
                return;
            }
            let registered = match known.get(caller) {
                Some(registered) => *registered,
                None => match is_registered(registry, caller).await {
                    Ok(registered) => *known.entry(caller).or_insert(registered),
                    Err(error) => {
                        self.note(&session.session_id, &error);
                        continue;
                    }
                },
            };
            if !registered {
                match self.end_without_caller(session).await {
                    Ok(()) => {
                        self.report.repaired += 1;
                        self.back_off.succeeded();
                    }
                    Err(error) => self.note(&session.session_id, &error),
                }
            }
        }
    }

    async fn end_without_caller(&self, session: &Session) -> Result<(), StepError> {
        let Some(current) = self.ports.store.load(&session.session_id).await? else { return Ok(()) };
        clean_up::revoke(self.ports, current, &self.by).await?;
        // Pending is as good: the next sweep finds it stuck and goes on.
        clean_up(self.ports, &session.session_id, None, &self.by).await.map(|_| ())
    }

    /// Ends sessions that say ACTIVE while their role or user is gone, or what it may do.
    async fn without_principal(&mut self, sessions: &[Session], listed: &[Principal]) {
        let listed: BTreeSet<_> = listed.iter().collect();
        let lost = sessions.iter().filter(|session| session.state == State::Active).filter_map(|session| {
            let missing = Principal::of(session).into_iter().find(|principal| !listed.contains(principal));
            missing.map(|principal| (session, principal))
        });
        for (session, principal) in lost {
            if !self.goes_on().await {
                return;
            }
            match self.end_without_principal(session, &principal).await {
                Ok(ended) => {
                    self.report.repaired += usize::from(ended);
                    self.back_off.succeeded();
                }
                Err(error) => self.note(&session.session_id, &error),
            }
        }
    }

    async fn end_without_principal(&self, session: &Session, lost: &Principal) -> Result<bool, StepError> {
        let grace = crate::expiry::PROVISIONING_GRACE;
        // Lists and the visibility of what is fresh lag: only what should long be there is missed.
        let settled = session.activated_at.is_some_and(|at| {
            self.started_at.duration_since(at).unsigned_abs() >= grace && at <= self.started_at
        });
        if !settled || self.ports.principals.principal(lost).await?.is_some() {
            return Ok(false);
        }
        let failure =
            Failure::new(ErrorCode::NotFound, format!("{} was deleted by somebody else", told(lost)));
        let now = self.ports.clock.now();
        let Some(current) = self.ports.store.load(&session.session_id).await? else { return Ok(false) };
        let Ok(change) = current.ending(EndCause::Failed, Some(failure), &self.by, now) else {
            return Ok(false);
        };
        if outbox::commit(self.ports, change).await?.is_none() {
            return Ok(false);
        }
        Ok(clean_up(self.ports, &session.session_id, None, &self.by).await? == CleanUp::Ended)
    }

    /// Keeps the counts that limits go by. None of them is worth a sweep that stops: access does not depend on them.
    async fn counts(&mut self, sessions: &[Session], principals: usize, registry: &impl Registry) {
        let principals = u64::try_from(principals).unwrap_or(u64::MAX);
        if let Err(error) = registry.put_session_principals(principals, self.started_at).await {
            self.note(&"the count of session principals", &error.into());
        }
        match registry.live_sessions().await {
            Ok(counted) => {
                let unfinished: BTreeSet<_> = sessions.iter().map(|session| &session.session_id).collect();
                for mut counted in counted {
                    counted.sessions.retain(|id| !unfinished.contains(id));
                    if counted.sessions.is_empty() {
                        continue;
                    }
                    if !self.goes_on().await {
                        return;
                    }
                    if let Err(error) = self.forget_over(counted, registry).await {
                        self.note(&"the count of live sessions", &error);
                    }
                }
            }
            Err(error) => self.note(&"the counts of live sessions", &error.into()),
        }
    }

    /// The list of sessions is not consistent: each row says for itself whether it is over.
    async fn forget_over(
        &mut self,
        counted: LiveSessions,
        registry: &impl Registry,
    ) -> Result<(), StepError> {
        let mut over = BTreeSet::new();
        for id in &counted.sessions {
            if self.ports.store.load(id).await?.is_none_or(|session| session.state.is_over()) {
                over.insert(id.clone());
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        self.report.forgotten += over.len();
        Ok(registry.forget_live(&LiveSessions { sessions: over, ..counted }).await?)
    }

    /// Removes principals under `/sorry/session/` that no live session owns, as far as the tables can be trusted.
    async fn orphans(
        &mut self,
        sessions: &[Session],
        principals: Vec<Principal>,
        registry: &impl Registry,
    ) -> Result<(), StepError> {
        let live = sessions.iter().filter(|session| !session.state.is_over());
        let owned: BTreeSet<Principal> = live.flat_map(Principal::of).collect();
        let listed = principals.len();
        let memory = registry.sweep_memory().await?;
        let canary = self.ports.store.canary().await?;
        let trust = memory.trust(canary, self.started_at);
        let mut unowned: Vec<_> =
            principals.into_iter().filter(|principal| !owned.contains(principal)).collect();
        // What was confirmed goes first, so that each sweep gets on with it however much else there is.
        // Policies come last: IAM deletes none that is still attached to a user.
        unowned
            .sort_by_key(|principal| (!trust.lets_go(principal), matches!(principal, Principal::Policy(_))));
        let (mut orphans, mut left, mut unseen) = (Vec::new(), false, 0_usize);
        let removed_before = self.report.orphans.len();
        for role in unowned {
            if !self.goes_on().await {
                if trust.is_whole() && !are_many(orphans.len(), listed) {
                    // Half a look decides nothing, and what was confirmed or held stays so.
                    self.report.held_because = memory.hold.map(|hold| hold.because);
                    return Ok(());
                }
                // What is held may be said before all of it was seen.
                left = true;
                break;
            }
            let confirmed = trust.lets_go(&role);
            match self.is_orphan(&role).await {
                Ok(true) if confirmed => left |= !self.remove(role).await,
                Ok(is_orphan) => {
                    self.back_off.succeeded();
                    orphans.extend(is_orphan.then_some(role));
                }
                Err(error) => {
                    left |= confirmed;
                    unseen += 1;
                    self.note(&role, &error);
                }
            }
        }
        if trust.is_whole() && !are_many(orphans.len(), listed) && are_many(orphans.len() + unseen, listed) {
            // Those that AWS did not show could make it too many: a few at a time they would all go, and nobody would be asked.
            self.report.unfinished = true;
            self.report.held_because = memory.hold.map(|hold| hold.because);
            return Ok(());
        }
        // A share of those that are there still: what was confirmed must not make room for what was not.
        let listed = listed.saturating_sub(self.report.orphans.len() - removed_before);
        let next = memory.after_look(&trust, canary, listed, &orphans, left, self.started_at);
        if let Some(hold) = &next.hold {
            self.report.held_because = Some(hold.because.clone());
            self.report.held = orphans;
            return self.hold(&memory, next, registry).await;
        }
        // Somebody else wrote meanwhile: what is to be done may be another thing now. The next sweep sees.
        if self.release(&memory, next, canary, registry).await? == Committed::Superseded {
            return Ok(());
        }
        for role in orphans {
            if !self.goes_on().await {
                return Ok(());
            }
            self.remove(role).await;
        }
        Ok(())
    }

    /// Removes a principal that nobody owns. Answers whether it is gone.
    async fn remove(&mut self, role: Principal) -> bool {
        match remove(self.ports, &role, None).await {
            Ok(presence) => {
                self.back_off.succeeded();
                self.report.orphans.extend((presence == Presence::There).then_some(role));
                true
            }
            Err(error) => {
                self.note(&role, &error);
                false
            }
        }
    }

    /// The list of sessions is not consistent: ask the principal whose it is, and that row consistently.
    async fn is_orphan(&self, role: &Principal) -> Result<bool, StepError> {
        let Some(seen) = self.ports.principals.principal(role).await? else { return Ok(false) };
        let Some(id) = seen.session.and_then(|id| id.parse::<SessionId>().ok()) else { return Ok(true) };
        let session = self.ports.store.load(&id).await?;
        Ok(session.is_none_or(|session| session.state.is_over() || !Principal::of(&session).contains(role)))
    }

    async fn hold(
        &self,
        memory: &SweepMemory,
        next: SweepMemory,
        registry: &impl Registry,
    ) -> Result<(), StepError> {
        let Some(hold) = next.hold.as_ref().filter(|_| next != *memory) else { return Ok(()) };
        let details =
            json!({"because": hold.because, "count": hold.count, "digest": hold.digest, "held": hold.roles});
        if hold.is_news_after(memory.hold.as_ref()) {
            // Said first, remembered second: better twice than never.
            let at = self.started_at;
            let told: Vec<_> = hold.roles.iter().take(MOST_TOLD).collect();
            let detail = json!({
                "because": hold.because, "count": hold.count, "held": told, "since": hold.since, "at": at, "alert": true,
            });
            let id = format!("sweep-held-{}-{}", at.as_second(), hold.digest);
            self.ports
                .events
                .publish(&[OutboxEntry { id, detail_type: SWEEP_HELD_EVENT.to_owned(), at, detail }])
                .await?;
        }
        // Superseded: the next sweep finds the same, and says so again.
        self.remember(&next, "sweep.held", details, registry).await.map(|_| ())
    }

    /// Remembers that nothing is held, and places the canary where it is not: remembered before it is done, and after.
    async fn release(
        &self,
        memory: &SweepMemory,
        mut next: SweepMemory,
        canary: bool,
        registry: &impl Registry,
    ) -> Result<Committed, StepError> {
        let place = !canary || next.canary_placed_at.is_none();
        if place && next.canary_begun_at.is_none() {
            next.canary_begun_at = Some(self.started_at);
        }
        if next != *memory {
            let details =
                json!({"canary": canary, "held_before": memory.hold.as_ref().map(|hold| &hold.digest)});
            if self.remember(&next, "sweep.released", details, registry).await? == Committed::Superseded {
                return Ok(Committed::Superseded);
            }
            next.version = next.version.saturating_add(1);
        }
        if place {
            if !canary {
                self.ports.store.place_canary().await?;
            }
            next.canary_placed_at = Some(self.started_at);
            return self.remember(&next, "sweep.canary_placed", json!({}), registry).await;
        }
        Ok(Committed::Yes)
    }

    async fn remember(
        &self,
        memory: &SweepMemory,
        what: &str,
        details: serde_json::Value,
        registry: &impl Registry,
    ) -> Result<Committed, StepError> {
        let audit = sweep_audit(what, &self.by, &self.ports.clock, details);
        Ok(registry.put_sweep_memory(memory, &audit).await?)
    }
}

/// A principal as people call it.
fn told(principal: &Principal) -> String {
    match principal {
        Principal::Role(name) => format!("role `{name}`"),
        Principal::User(name) => format!("user `{name}`"),
        Principal::Policy(arn) => format!("policy `{arn}`"),
    }
}

/// Whether an access key may be left, and nobody is at it.
fn has_doubtful_keys(session: &Session, now: Timestamp) -> bool {
    let unsure = session.issue.as_ref().and_then(|issue| issue.unsure_until);
    session.state == State::Active && unsure.is_some_and(|until| until <= now)
}

/// Whether the registry knows a caller, and does not suspend it. A registry that has forgotten the sweep itself was lost, and says nothing of callers.
async fn is_registered(registry: &impl Registry, caller: &str) -> Result<bool, StepError> {
    if let Some(entry) = registry.caller(caller).await? {
        return Ok(entry.suspended.is_none());
    }
    Ok(!registry.sweep_memory().await?.knows_the_sweep())
}
