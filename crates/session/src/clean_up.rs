//! Ending a session: deciding that it is time, taking access away, and removing what was made for it. Safe to run twice, late and
//! beside itself.

use std::time::Duration;

use jiff::Timestamp;
use sorry_policy::{REVOKED_POLICY_NAME, RoleName, SessionId, revoked_policy};

use crate::{
    ErrorCode, Failure, Session, State, StepError,
    events::ChangedBy,
    lifecycle::EndCause,
    outbox,
    ports::{Clock, EventBus, Ports, Presence, PrincipalProvisioner, RoleDeleted, SessionStore},
};

/// How often a race for a row, or for a role that somebody writes to meanwhile, is run again before the step gives the turn back.
const TRIES: usize = 4;

/// What a clean-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanUp {
    /// Nothing is left.
    Ended,
    /// The session goes on until then.
    NotDue(Timestamp),
    /// Nothing is seen, and something may still appear: ask again.
    Pending,
}

/// A clean-up, and how fast it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanUpReport {
    /// What it came to.
    pub outcome: CleanUp,
    /// From the decision of the end until IAM took the policy that denies everything, if that was before the session's date, which
    /// denies by itself. The last time, where the policy was written several times.
    pub time_to_refusal: Option<Duration>,
}

/// Ends a session that is due, whose end is decided, or that failed, and tells how fast.
///
/// `failure` is what kept the session from becoming usable, when the workflow caught something.
///
/// # Errors
/// When a call failed; the next run goes on where this one stopped.
pub async fn clean_up_measured<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    failure: Option<Failure>,
    by: &ChangedBy,
) -> Result<CleanUpReport, StepError> {
    let mut time_to_refusal = None;
    let outcome = run(ports, id, failure, by, &mut time_to_refusal).await?;
    Ok(CleanUpReport { outcome, time_to_refusal })
}

/// Ends a session that is due, whose end is decided, or that failed; see [`clean_up_measured`].
///
/// # Errors
/// When a call failed; the next run goes on where this one stopped.
pub async fn clean_up<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    failure: Option<Failure>,
    by: &ChangedBy,
) -> Result<CleanUp, StepError> {
    run(ports, id, failure, by, &mut None).await
}

async fn run<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    failure: Option<Failure>,
    by: &ChangedBy,
    time_to_refusal: &mut Option<Duration>,
) -> Result<CleanUp, StepError> {
    for _ in 0..TRIES {
        let Some(session) = ports.store.load(id).await? else {
            // Rows are forgotten long after nothing is left; if the table was lost, the sweep holds and says so.
            return Ok(CleanUp::Ended);
        };
        if session.state.is_over() {
            return Ok(CleanUp::Ended);
        }
        let ending = if session.state.is_ending() {
            session
        } else {
            let now = ports.clock.now();
            let Some((cause, failure)) = due_end(&session, failure.as_ref(), now) else {
                return Ok(CleanUp::NotDue(session.due_end_at()));
            };
            match outbox::commit(ports, session.ending(cause, failure, by, now)?).await? {
                // It still waited for an approval: nothing was made.
                Some(ended) if ended.state.is_over() => return Ok(CleanUp::Ended),
                Some(ending) => ending,
                None => continue,
            }
        };
        let refused = |at| *time_to_refusal = refused_after(&ending, at);
        let removed = remove_role_of(ports, &ending.role_name, Some(&ending), refused).await?;
        let gone = removed == Presence::Gone;
        // A session that never was ACTIVE may have a write of an earlier try under way, whatever was found and removed.
        if (gone || ending.activated_at.is_none()) && ending.may_still_appear(ports.clock.now()) {
            return Ok(CleanUp::Pending);
        }
        if outbox::commit(ports, ending.over(by, ports.clock.now())?).await?.is_some() {
            return Ok(CleanUp::Ended);
        }
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")))
}

/// How long after the decision of its end a session was refused everything; nothing if its date had come by then.
fn refused_after(ending: &Session, at: Timestamp) -> Option<Duration> {
    let end = ending.end.as_ref().filter(|_| at < ending.expires_at)?;
    Some(at.duration_since(end.at).unsigned_abs())
}

/// How a session whose end is not decided yet has to end at `now`, if it has to. `failure` is what was caught on the way.
fn due_end(
    session: &Session,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<(EndCause, Option<Failure>)> {
    match session.state {
        // Also when something was caught: all that failed then was the answer to the last write.
        State::Active if now < session.due_end_at() => None,
        State::Active => Some((EndCause::Expired, None)),
        State::PendingApproval => {
            let lapsed = session.approval.as_ref().is_none_or(|approval| approval.lapses_at <= now);
            let failure = || Failure::new(ErrorCode::ApprovalLapsed, "it was not approved in time");
            lapsed.then(|| (EndCause::Expired, Some(failure())))
        }
        _ => {
            let unknown = || Failure::new(ErrorCode::Unavailable, "provisioning did not finish");
            Some((EndCause::Failed, Some(failure.cloned().unwrap_or_else(unknown))))
        }
    }
}

/// Records that a clean-up was given up. The row stays visible and the sweep goes on trying.
///
/// # Errors
/// When the row could not be written.
pub async fn give_up<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    failure: Failure,
    by: &ChangedBy,
) -> Result<(), StepError> {
    for _ in 0..TRIES {
        let Some(session) = ports.store.load(id).await? else { return Ok(()) };
        let session = if session.state.is_ending() || session.state.is_over() {
            session
        } else {
            // The clean-up could not even write that it began.
            let now = ports.clock.now();
            let Some((cause, failure)) = due_end(&session, Some(&failure), now) else { return Ok(()) };
            match outbox::commit(ports, session.ending(cause, failure, by, now)?).await? {
                Some(ending) => ending,
                None => continue,
            }
        };
        match session.clean_up_failed(failure.clone(), by, ports.clock.now()) {
            // It ended meanwhile, or is recorded already.
            Err(_) => return Ok(()),
            Ok(change) => {
                if outbox::commit(ports, change).await?.is_some() {
                    return Ok(());
                }
            }
        }
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")))
}

/// Removes a role under `/sorry/session/`, deny first. With an owner given, a role of another owner is left alone: the owner's has
/// its tag, or, should somebody have taken that away, the unique id that IAM gave it when it was made.
/// Answers whether there was one.
///
/// # Errors
/// When a call failed, or somebody keeps adding to the role.
pub async fn remove_role<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    name: &RoleName,
    owner: Option<&Session>,
) -> Result<Presence, StepError> {
    remove_role_of(ports, name, owner, |_| {}).await
}

async fn remove_role_of<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    name: &RoleName,
    owner: Option<&Session>,
    mut refused: impl FnMut(Timestamp),
) -> Result<Presence, StepError> {
    let principals = &ports.principals;
    if let Some(owner) = owner {
        match principals.role(name).await? {
            Some(seen)
                if seen.session.as_deref() == Some(owner.session_id.as_str())
                    || owner.role.as_ref().is_some_and(|role| role.unique_id == seen.role.unique_id) => {}
            _ => return Ok(Presence::Gone),
        }
    }
    for _ in 0..TRIES {
        // First of all, and not overwritten by anything that runs late: whoever holds credentials can do nothing from here on.
        if principals.put_inline_policy(name, REVOKED_POLICY_NAME, &revoked_policy()).await? == Presence::Gone
        {
            return Ok(Presence::Gone);
        }
        refused(ports.clock.now());
        let (revoked, others): (Vec<_>, Vec<_>) = principals
            .inline_policies(name)
            .await?
            .into_iter()
            .partition(|policy| policy == REVOKED_POLICY_NAME);
        for policy in &others {
            principals.delete_inline_policy(name, policy).await?;
        }
        principals.detach_all(name).await?;
        // IAM deletes only empty roles; by now there is nothing that the deny would hold back.
        for policy in &revoked {
            principals.delete_inline_policy(name, policy).await?;
        }
        if principals.delete_role(name).await? == RoleDeleted::Gone {
            return Ok(Presence::There);
        }
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("something keeps being added to role `{name}`")))
}

/// Ends a session because somebody asked; the workflow then takes access away. A session whose end was decided before stays as
/// it is.
///
/// # Errors
/// When it is not known whether the row was written, or it keeps changing.
pub async fn revoke<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    session: Session,
    by: &ChangedBy,
) -> Result<Session, StepError> {
    let id = session.session_id.clone();
    let mut current = session;
    for _ in 0..TRIES {
        let Ok(change) = current.ending(EndCause::Revoked, None, by, ports.clock.now()) else {
            return Ok(current);
        };
        if let Some(revoking) = outbox::commit(ports, change).await? {
            return Ok(revoking);
        }
        current = match ports.store.load(&id).await? {
            Some(session) => session,
            None => return Err(StepError::new(ErrorCode::NotFound, format!("there is no session `{id}`"))),
        };
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")))
}
