//! Carrying an extension out: the principal's dates first, the row's `expires_at` last. Safe to run twice, late and beside itself, and
//! against a revocation it always loses.
//!
//! The order, and what is true if it stops after any step:
//!
//! 1. the row says `extending_to` (the API's transaction): IAM has the old dates;
//! 2. the trust policy has the new date: the role can be assumed for longer than it is of any use;
//! 3. `access` has the new date: access goes on up to the end that was decided, which the row names;
//! 4. the row says `expires_at`.
//!
//! The row is read again before each write, and the last is on condition of its fence. `revoked` is another policy than those that are
//! written here, so that nothing of this can take it away; a run that finds the session ending puts it back.

use jiff::Timestamp;
use sorry_policy::{ACCESS_POLICY_NAME, EXPIRY_POLICY_NAME, REVOKED_POLICY_NAME, SessionId, revoked_policy};

use crate::{
    ErrorCode, Failure, Session, StepError,
    events::ChangedBy,
    extension::ExtensionOutcome,
    outbox,
    ports::{Clock, EventBus, Ports, Presence, PrincipalProvisioner, SessionStore, TierStore},
    principal::Principal,
    provision::{GrantPlan, Place, load, plan_grant, superseded},
    tiers::of_session,
};

/// How often a race for the row is run again before the step gives the turn back.
const TRIES: usize = 4;

/// Carries the extension of a session out, and reports when the session ends.
///
/// # Errors
/// [`ErrorCode::Superseded`] when the session was ended meanwhile, or the extension is settled and was not carried out; anything else
/// means that it cannot be carried out as things are.
pub async fn extend<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    tiers: &impl TierStore,
    place: &Place,
) -> Result<Timestamp, StepError> {
    let by = ChangedBy::service("provision");
    for _ in 0..TRIES {
        let session = load(ports, id).await?;
        let Some(extension) = session.extension_under_way() else { return settled(ports, &session).await };
        let now = ports.clock.now();
        if now >= session.due_end_at() {
            return Err(StepError::new(
                ErrorCode::WindowOver,
                "the window was over before the extension could be carried out",
            ));
        }
        let extended = Session { expires_at: extension.extending_to, ..session.clone() };
        let plan = plan_grant(&extended, &of_session(tiers, &extended).await?, place)?;
        if !write_dates(ports, &extended, &plan).await? {
            continue;
        }
        if let Some(session) = outbox::commit(ports, session.extended(&by, ports.clock.now())?).await? {
            return Ok(session.expires_at);
        }
    }
    // Whoever changed the row so often may have ended the session.
    let session = load(ports, id).await?;
    if session.extension_under_way().is_none() {
        return settled(ports, &session).await;
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")))
}

/// Records that an extension lapsed, or could not be carried out. The session keeps the end that it has.
///
/// # Errors
/// When the row could not be written.
pub async fn not_extended<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    failure: Failure,
    by: &ChangedBy,
) -> Result<Timestamp, StepError> {
    for _ in 0..TRIES {
        let session = load(ports, id).await?;
        let Ok(change) = session.not_extended(failure.clone(), by, ports.clock.now()) else {
            return Ok(session.expires_at);
        };
        if let Some(session) = outbox::commit(ports, change).await? {
            return Ok(session.expires_at);
        }
    }
    Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")))
}

/// What there is to say, and to mend, of a session without an extension that is under way.
async fn settled<S, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
) -> Result<Timestamp, StepError> {
    if session.state.is_ending() || session.state.is_over() {
        reassert_revocation(ports, session).await?;
        return Err(superseded(session));
    }
    match session.extension.as_ref().and_then(|extension| extension.settled.as_ref()) {
        // An earlier run got it done, and its answer was lost.
        Some(settled) if settled.outcome == ExtensionOutcome::Done => Ok(session.expires_at),
        _ => Err(superseded(session)),
    }
}

/// This run may have written `access` anew between the clean-up's steps: the deny goes back to where it stands above that. A role that
/// is gone stays gone, and one that a clean-up is about to delete is not empty then, so that it begins again.
async fn reassert_revocation<S, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
) -> Result<(), StepError> {
    // A policy has no inline policies, and a standing role's sessions are not extended.
    let with_dates = |principal: &Principal| !matches!(principal, Principal::Policy(_));
    for principal in Principal::of(session).iter().filter(|principal| with_dates(principal)) {
        // Whether it was still there makes no difference.
        let (Presence::There | Presence::Gone) =
            ports.principals.put_inline_policy(principal, REVOKED_POLICY_NAME, &revoked_policy()).await?;
    }
    Ok(())
}

/// Writes the dates of a session's principal, as the plan of its later end has them: the one place that knows where a grant keeps
/// them. Answers whether the extension was under way before each write.
async fn write_dates<S: SessionStore, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    plan: &GrantPlan,
) -> Result<bool, StepError> {
    if !still_under_way(ports, session).await? {
        return Ok(false);
    }
    let written = match plan {
        GrantPlan::Role(plan) => {
            let role = &plan.role;
            let written = ports.principals.put_trust_policy(&role.name, &role.trust_policy).await?;
            if written == Presence::There {
                if !still_under_way(ports, session).await? {
                    return Ok(false);
                }
                let principal = Principal::Role(role.name.clone());
                ports
                    .principals
                    .put_inline_policy(&principal, ACCESS_POLICY_NAME, &plan.access_policy)
                    .await?
            } else {
                written
            }
        }
        GrantPlan::User(plan) => {
            let user = Principal::User(plan.user.name.clone());
            ports.principals.put_inline_policy(&user, EXPIRY_POLICY_NAME, &plan.expiry_policy).await?
        }
        GrantPlan::Standing(_) => {
            let message = "sessions of a standing role are not extended".to_owned();
            return Err(StepError::new(ErrorCode::Internal, message));
        }
    };
    if written == Presence::Gone {
        // By a clean-up, or by somebody else: the row says which.
        if !still_under_way(ports, session).await? {
            return Ok(false);
        }
        let message = format!("`{}` is gone", session.role_name);
        return Err(StepError::new(ErrorCode::NotFound, message));
    }
    Ok(true)
}

/// The fence: whoever ended the session, or settled its extension, has changed its row. What else changes, such as its review, does not
/// matter to the dates.
async fn still_under_way<S: SessionStore, P, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
) -> Result<bool, StepError> {
    let current = load(ports, &session.session_id).await?;
    Ok(current.extension_under_way().is_some() && current.extension == session.extension)
}
