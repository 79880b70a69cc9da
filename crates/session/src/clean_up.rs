//! Ending a session: deciding that it is time, taking access away, and removing what was made for it. Safe to run twice, late and
//! beside itself.

use std::time::Duration;

use jiff::Timestamp;
use sorry_policy::{
    REVOKED_POLICY_NAME, SessionId, revoked_policy, revoked_policy_name, revoked_session_policy,
};

use crate::{
    ErrorCode, Failure, Session, State, StepError,
    events::ChangedBy,
    lifecycle::EndCause,
    outbox,
    ports::{Clock, EventBus, Ports, Presence, PrincipalDeleted, PrincipalProvisioner, SessionStore},
    principal::{Belonging, Principal},
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
        let gone = take_access(ports, &ending, refused).await? == Presence::Gone;
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

/// Takes all access of a session away. Answers whether all that it may have had was there.
async fn take_access<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    mut refused: impl FnMut(Timestamp),
) -> Result<Presence, StepError> {
    if session.revoked_on_standing_role() && ports.clock.now() < session.credentials_are_dead_at() {
        let (role, id) = (Principal::Role(session.role_name.clone()), &session.session_id);
        // If the role itself is gone, so is everybody's access by it.
        let _ = ports
            .principals
            .put_inline_policy(&role, &revoked_policy_name(id), &revoked_session_policy(id))
            .await?;
        refused(ports.clock.now());
    }
    let mut all = Presence::There;
    for principal in Principal::of(session) {
        if remove_of(ports, &principal, Some(session), &mut refused).await? == Presence::Gone {
            all = Presence::Gone;
        }
    }
    Ok(all)
}

/// Takes the end of a session off its standing role again: by now there is nothing that it would hold back.
///
/// # Errors
/// When a call failed; the next sweep tries again.
pub async fn prune<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    by: &ChangedBy,
) -> Result<(), StepError> {
    let role = Principal::Role(session.role_name.clone());
    ports.principals.delete_inline_policy(&role, &revoked_policy_name(&session.session_id)).await?;
    // Superseded: somebody closed its review; the next sweep goes on.
    outbox::commit(ports, session.pruned(by, ports.clock.now())).await?;
    Ok(())
}

/// Removes what a try at making credentials may have left of keys.
///
/// # Errors
/// When a call failed; the next sweep tries again.
pub async fn settle_keys<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    by: &ChangedBy,
) -> Result<(), StepError> {
    ports.principals.take_away(&session.role_name, Belonging::AccessKeys).await?;
    // Superseded: somebody makes credentials at this moment, and has said so anew; or the session ends.
    outbox::commit(ports, session.keys_settled(by, ports.clock.now())).await?;
    Ok(())
}

/// Removes a principal under `/sorry/session/`, deny first. With an owner given, one of another owner is left alone: the owner's has
/// its tag, or, should somebody have taken that away, the unique id that IAM gave it when it was made.
/// Answers whether there was one.
///
/// # Errors
/// When a call failed, or somebody keeps adding to the principal.
pub async fn remove<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    principal: &Principal,
    owner: Option<&Session>,
) -> Result<Presence, StepError> {
    remove_of(ports, principal, owner, &mut |_| {}).await
}

async fn remove_of<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    principal: &Principal,
    owner: Option<&Session>,
    refused: &mut impl FnMut(Timestamp),
) -> Result<Presence, StepError> {
    let principals = &ports.principals;
    if let Some(owner) = owner {
        match principals.principal(principal).await? {
            Some(seen)
                if seen.session.as_deref() == Some(owner.session_id.as_str())
                    || owner.role.as_ref().is_some_and(|made| made.unique_id == seen.made.unique_id) => {}
            _ => return Ok(Presence::Gone),
        }
    }
    for _ in 0..TRIES {
        if let Principal::Role(_) | Principal::User(_) = principal
            && strip(ports, principal, refused).await? == Presence::Gone
        {
            return Ok(Presence::Gone);
        }
        if principals.delete(principal).await? == PrincipalDeleted::Gone {
            return Ok(Presence::There);
        }
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("something keeps being added to `{principal}`")))
}

/// Takes everything from a role or a user, but for itself.
async fn strip<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    principal: &Principal,
    refused: &mut impl FnMut(Timestamp),
) -> Result<Presence, StepError> {
    let principals = &ports.principals;
    // First of all, and not overwritten by anything that runs late: whoever holds credentials can do nothing from here on.
    let denied = principals.put_inline_policy(principal, REVOKED_POLICY_NAME, &revoked_policy()).await?;
    if denied == Presence::Gone {
        return Ok(Presence::Gone);
    }
    refused(ports.clock.now());
    if let Principal::User(user) = principal {
        for belonging in Belonging::ALL {
            principals.take_away(user, belonging).await?;
        }
    }
    let (revoked, others): (Vec<_>, Vec<_>) = principals
        .inline_policies(principal)
        .await?
        .into_iter()
        .partition(|policy| policy == REVOKED_POLICY_NAME);
    for policy in &others {
        principals.delete_inline_policy(principal, policy).await?;
    }
    principals.detach_all(principal).await?;
    // IAM deletes only empty principals; by now there is nothing that the deny would hold back.
    for policy in &revoked {
        principals.delete_inline_policy(principal, policy).await?;
    }
    Ok(Presence::There)
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
