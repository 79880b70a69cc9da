//! The reconciler that gives the guarantee: whatever died, failed or was forgotten, after one sweep there is no principal without a
//! live session and no live session without its principal.
//!
//! It deletes principals that no row accounts for, so a lost table would make it delete everything. It therefore **holds** (and
//! alerts) when a table was lost, or when there are more orphans than could be an accident, until an administrator confirms; see
//! [`crate::hold`]. A confirmation lets go what was held, by name, and nothing that is found later. Holding is safe: what it would
//! delete is ended by its own date.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sorry_policy::{RoleName, SessionId};

use crate::{
    ErrorCode, Failure, Session, State, StepError,
    clean_up::{self, CleanUp, clean_up, remove_role},
    events::{ChangedBy, OutboxEntry, SWEEP_HELD_EVENT, sweep_audit},
    hold::{SweepMemory, are_many},
    lifecycle::EndCause,
    outbox,
    ports::{Clock, Committed, EventBus, Ports, Presence, PrincipalProvisioner, Registry, SessionStore},
};

/// How long one sweep works before it leaves the rest to the next. The function's own time-out lies above.
const BUDGET: Duration = Duration::from_secs(180);
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
    pub orphans: Vec<RoleName>,
    /// Principals without a live session that were left alone, because the sweep holds.
    pub held: Vec<RoleName>,
    /// Why it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_because: Option<String>,
    /// What did not succeed; the next sweep tries again.
    pub failed: Vec<String>,
    /// Whether the time was not enough for everything.
    pub unfinished: bool,
}

/// Runs one sweep. One item that fails never stops the rest.
///
/// # Errors
/// When the rows or the roles could not be listed. What is due is ended in the second case all the same.
pub async fn sweep<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    registry: &impl Registry,
) -> Result<SweepReport, StepError> {
    let mut run = Sweep {
        ports,
        by: ChangedBy::service("sweep"),
        started_at: ports.clock.now(),
        report: SweepReport::default(),
    };
    // Roles before rows: a role is made after its row, so one that is listed here has a row that is found below.
    let roles = ports.principals.session_roles().await;
    let sessions = ports.store.unfinished().await?;
    run.due(&sessions).await;
    run.without_caller(&sessions, registry).await;
    let roles = roles?;
    run.without_principal(&sessions, &roles).await;
    run.orphans(&sessions, roles, registry).await?;
    Ok(run.report)
}

struct Sweep<'a, S, P, E, C> {
    ports: &'a Ports<S, P, E, C>,
    by: ChangedBy,
    started_at: Timestamp,
    report: SweepReport,
}

impl<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock> Sweep<'_, S, P, E, C> {
    fn out_of_time(&mut self) -> bool {
        let over = self.ports.clock.now().duration_since(self.started_at).unsigned_abs() >= BUDGET;
        self.report.unfinished |= over;
        over
    }

    fn note(&mut self, about: &dyn std::fmt::Display, error: &StepError) {
        self.report.failed.push(format!("{about}: {}: {error}", error.code));
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
            if self.out_of_time() {
                return;
            }
            self.report.found += 1;
            if let Err(error) = self.settle(&session.session_id).await {
                self.note(&session.session_id, &error);
            }
        }
    }

    /// Brings one session to where it should be; reads it again, for the list may be old.
    async fn settle(&mut self, id: &SessionId) -> Result<(), StepError> {
        let Some(session) = self.ports.store.load(id).await? else { return Ok(()) };
        let now = self.ports.clock.now();
        let past_its_end = session.state == State::Active && session.expires_at <= now;
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
                    return Err(error);
                }
            }
        } else if !session.outbox.is_empty() {
            outbox::flush(self.ports, &session).await?;
            self.report.published += 1;
        }
        Ok(())
    }

    /// Ends what a removed caller still has: a session that was written while the removal looked for sessions.
    async fn without_caller(&mut self, sessions: &[Session], registry: &impl Registry) {
        let mut known = BTreeMap::new();
        let live = sessions.iter().filter(|session| !session.state.is_over() && !session.state.is_ending());
        for session in live {
            if self.out_of_time() {
                return;
            }
            let caller = session.caller.unique_id.as_str();
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
                    Ok(()) => self.report.repaired += 1,
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

    /// Ends sessions that say ACTIVE while their role is gone.
    async fn without_principal(&mut self, sessions: &[Session], roles: &[RoleName]) {
        let there: BTreeSet<&RoleName> = roles.iter().collect();
        let lost = sessions
            .iter()
            .filter(|session| session.state == State::Active && !there.contains(&session.role_name));
        for session in lost {
            if self.out_of_time() {
                return;
            }
            match self.end_without_principal(session).await {
                Ok(ended) => self.report.repaired += usize::from(ended),
                Err(error) => self.note(&session.session_id, &error),
            }
        }
    }

    async fn end_without_principal(&self, session: &Session) -> Result<bool, StepError> {
        let grace = crate::expiry::PROVISIONING_GRACE;
        // Lists and a fresh role's visibility lag: only a role that should long be there is missed.
        let settled = session.activated_at.is_some_and(|at| {
            self.started_at.duration_since(at).unsigned_abs() >= grace && at <= self.started_at
        });
        if !settled || self.ports.principals.role(&session.role_name).await?.is_some() {
            return Ok(false);
        }
        let failure = Failure::new(
            ErrorCode::NotFound,
            format!("role `{}` was deleted by somebody else", session.role_name),
        );
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

    /// Removes principals under `/sorry/session/` that no live session owns, as far as the tables can be trusted.
    async fn orphans(
        &mut self,
        sessions: &[Session],
        roles: Vec<RoleName>,
        registry: &impl Registry,
    ) -> Result<(), StepError> {
        let owned: BTreeSet<&RoleName> = sessions
            .iter()
            .filter(|session| !session.state.is_over())
            .map(|session| &session.role_name)
            .collect();
        let listed = roles.len();
        let memory = registry.sweep_memory().await?;
        let canary = self.ports.store.canary().await?;
        let trust = memory.trust(canary, self.started_at);
        let mut unowned: Vec<_> = roles.into_iter().filter(|role| !owned.contains(role)).collect();
        // What was confirmed goes first, so that each sweep gets on with it however much else there is.
        unowned.sort_by_key(|role| !trust.lets_go(role));
        let (mut orphans, mut left, removed_before) = (Vec::new(), false, self.report.orphans.len());
        for role in unowned {
            if self.out_of_time() {
                if trust.is_whole() && !are_many(orphans.len(), listed) {
                    // Half a look decides nothing, and what was confirmed stays so.
                    return Ok(());
                }
                // What is held may be said before all of it was seen.
                left = true;
                break;
            }
            let confirmed = trust.lets_go(&role);
            match self.is_orphan(&role).await {
                Ok(false) => {}
                Ok(true) if confirmed => left |= !self.remove(role).await,
                Ok(true) => orphans.push(role),
                Err(error) => {
                    left |= confirmed;
                    self.note(&role, &error);
                }
            }
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
            if self.out_of_time() {
                return Ok(());
            }
            self.remove(role).await;
        }
        Ok(())
    }

    /// Removes a principal that nobody owns. Answers whether it is gone.
    async fn remove(&mut self, role: RoleName) -> bool {
        match remove_role(self.ports, &role, None).await {
            Ok(Presence::There) => self.report.orphans.push(role),
            Ok(Presence::Gone) => {}
            Err(error) => {
                self.note(&role, &error);
                return false;
            }
        }
        true
    }

    /// The list of sessions is not consistent: ask the role whose it is, and that row consistently.
    async fn is_orphan(&self, role: &RoleName) -> Result<bool, StepError> {
        let Some(seen) = self.ports.principals.role(role).await? else { return Ok(false) };
        let Some(id) = seen.session.and_then(|id| id.parse::<SessionId>().ok()) else { return Ok(true) };
        let session = self.ports.store.load(&id).await?;
        Ok(session.is_none_or(|session| session.state.is_over() || session.role_name != *role))
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

/// Whether the registry knows a caller. A registry that has forgotten the sweep itself was lost, and says nothing of callers.
async fn is_registered(registry: &impl Registry, caller: &str) -> Result<bool, StepError> {
    if registry.caller(caller).await?.is_some() {
        return Ok(true);
    }
    Ok(!registry.sweep_memory().await?.knows_the_sweep())
}
