//! Handing out credentials of a session whose principal the caller cannot assume: those of a user, and of a standing role.
//!
//! One at a time per session. The row says that credentials are being made before anything is made, so that whatever dies on the way
//! is found: an access key is there for the seconds that STS takes to know it, and is deleted whatever happens; a standing role's
//! credentials count as handed out from then on. And it is read again before they leave: a session that ended meanwhile gives none.
//!
//! Secrets are in this function's memory and in its answer, and nowhere else.

use std::time::Duration;

use jiff::Timestamp;
use sorry_policy::{ACCESS_POLICY_NAME, Grant, MOST_REVOKED_AT_ONCE, RoleName, revoked_before};

use crate::{
    ErrorCode, Refusal, Session, State, StepError,
    decision::address,
    events::ChangedBy,
    outbox,
    ports::{
        AccessKey, Clock, EventBus, LentCredentials, PortError, Ports, PrincipalProvisioner, SessionStore,
        TierStore, TokenIssuer, Tokens,
    },
    principal::{Belonging, Principal},
    provision::{Place, StandingPlan, plan_standing},
    tiers::of_session,
};

/// How long after a request was taken STS is still asked whether it knows the new access key: it takes 10 to 20 seconds as a rule. The
/// gateway waits 29 seconds for the whole.
pub const KEY_PATIENCE: Duration = Duration::from_secs(22);

/// Seconds after which the same is worth another try.
const RETRY_AFTER: u64 = 5;

/// Between two questions to STS.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a key's deletion is tried before it is left to the sweep.
const TRIES: usize = 3;

/// The longest that STS gives for a session token. Source: STS API Reference, GetSessionToken.
const LONGEST_TOKEN: i64 = 129_600;

/// The longest that STS gives for a role to a role's credentials, which a function has. Source: STS API Reference, AssumeRole.
const LONGEST_CHAINED: i64 = 3_600;

/// The shortest that STS gives.
const SHORTEST: i64 = 900;

/// A "no" to the caller, or a failure.
#[derive(Debug)]
pub enum IssueError {
    /// The caller reads all of it.
    Refusal(Refusal),
    /// The log has all of it.
    Failure(StepError),
}

impl From<Refusal> for IssueError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<StepError> for IssueError {
    fn from(error: StepError) -> Self {
        Self::Failure(error)
    }
}

impl From<PortError> for IssueError {
    fn from(error: PortError) -> Self {
        Self::Failure(error.into())
    }
}

/// Makes credentials for a session of the caller, who may use it: that is decided before.
///
/// # Errors
/// When the session is not ACTIVE, when somebody else is being given credentials of it at this moment, when it ended meanwhile, or
/// when AWS did not do its part. A key that was made is deleted then, too.
pub async fn issue<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    tokens: &impl TokenIssuer,
    tiers: &impl TierStore,
    place: &Place,
    session: &Session,
    by: &ChangedBy,
) -> Result<LentCredentials, IssueError> {
    let now = ports.clock.now();
    let id = &session.session_id;
    if session.state != State::Active || now >= session.expires_at {
        return Err(Refusal::new(
            ErrorCode::SessionNotActive,
            format!("session `{id}` is {}, and gives no credentials", session.state),
            format!("`sorry status {id}` shows where it stands; `sorry request` asks for another"),
        )
        .into());
    }
    let most = match session.grant {
        Grant::Role => return Err(not_issued(session).into()),
        Grant::User => LONGEST_TOKEN,
        Grant::Standing => LONGEST_CHAINED,
    };
    let seconds = session.expires_at.as_second().saturating_sub(now.as_second()).clamp(SHORTEST, most);
    let tiers = of_session(tiers, session).await?;
    // No trust policy asks where the caller is: here is who does.
    if let (Some(tier), ChangedBy::Caller(changer)) = (tiers.tier(&session.tier), by) {
        address(&session.tier, tier, &changer.identity)?;
    }
    let standing = match session.grant {
        Grant::Standing => Some(plan_standing(session, &tiers, place)?),
        Grant::Role | Grant::User => None,
    };
    if let Some(plan) = &standing {
        with_room(ports, plan, session).await?;
    }
    let until = now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(session.expires_at);
    let Ok(change) = session.issuing(until, by, now) else { return Err(under_way(session).into()) };
    let issuing = outbox::commit(ports, change).await?.ok_or_else(|| moved_on(session))?;
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let (made, settled) = match standing {
        Some(plan) => (tokens.assume_standing(&plan, seconds).await.map_err(IssueError::from), true),
        None => of_user(ports, tokens, session, seconds, now).await,
    };
    let now = ports.clock.now();
    match made {
        Ok(credentials) => {
            let change = issuing.issued(&credentials.access_key_id, credentials.expires_at, settled, by, now);
            // Whoever ended the session meanwhile has changed its row: then nobody is given anything.
            outbox::commit(ports, change.map_err(StepError::from)?)
                .await?
                .ok_or_else(|| moved_on(session))?;
            Ok(credentials)
        }
        Err(error) => {
            let change = issuing.not_issued(settled, by, now).map_err(StepError::from)?;
            match outbox::commit(ports, change).await {
                // That it ended meanwhile says more than what its end made of AWS's answer.
                Ok(None) => Err(moved_on(session).into()),
                // If it cannot be written, the next one waits until this one is surely over.
                Ok(Some(_)) | Err(_) => Err(error),
            }
        }
    }
}

/// Credentials of a session's user, and whether no key of it can be left.
async fn of_user<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    tokens: &impl TokenIssuer,
    session: &Session,
    seconds: i32,
    began: Timestamp,
) -> (Result<LentCredentials, IssueError>, bool) {
    let user = &session.role_name;
    let mut doubtful = session.issue.as_ref().is_some_and(|issue| issue.unsure_until.is_some());
    let key = match new_key(ports, tokens, user, &mut doubtful).await {
        Ok(Some(key)) => key,
        Ok(None) => {
            let message = format!("user `{user}` is not there");
            return (Err(StepError::new(ErrorCode::Unavailable, message).into()), !doubtful);
        }
        // It may have been made all the same: the sweep looks.
        Err(error) => return (Err(error.into()), false),
    };
    let made = token(ports, tokens, &key, seconds, began).await;
    let mut deleted = false;
    for _ in 0..TRIES {
        deleted = tokens.delete_key(user, &key.id).await.is_ok();
        if deleted {
            break;
        }
    }
    (made, deleted && !doubtful)
}

/// An access key of the user. An answer that got lost is nothing unusual, so it is asked for twice; the sweep looks for a first one that
/// is made late.
async fn new_key<S, P: PrincipalProvisioner, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    tokens: &impl TokenIssuer,
    user: &RoleName,
    doubtful: &mut bool,
) -> Result<Option<AccessKey>, PortError> {
    let mut is_last = false;
    loop {
        // An earlier try may have left its key; IAM takes two of them.
        if *doubtful {
            ports.principals.take_away(user, Belonging::AccessKeys).await?;
        }
        match tokens.create_key(user).await {
            Err(error @ (PortError::Throttled(_) | PortError::Unavailable(_))) if !is_last => {
                *doubtful |= matches!(error, PortError::Unavailable(_));
                is_last = true;
                ports.clock.pause(PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Asks STS until it knows the key.
async fn token<S, P, E, C: Clock>(
    ports: &Ports<S, P, E, C>,
    tokens: &impl TokenIssuer,
    key: &AccessKey,
    seconds: i32,
    began: Timestamp,
) -> Result<LentCredentials, IssueError> {
    loop {
        match tokens.session_token(key, seconds).await? {
            Tokens::Lent(credentials) => return Ok(credentials),
            Tokens::NotYet => {}
        }
        if waited(began, ports.clock.now()) >= KEY_PATIENCE {
            return Err(Refusal::new(
                ErrorCode::Unavailable,
                "STS does not know the session's new key yet",
                "try again in some seconds: it takes up to half a minute as a rule",
            )
            .retry_after(RETRY_AFTER)
            .into());
        }
        ports.clock.pause(PAUSE).await;
    }
}

fn waited(began: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(began).unsigned_abs()
}

/// Every session that is given credentials must still find room for its revocation, and must not be one of those that an administrator
/// has ended all at once: what denies these goes by when credentials were made, and new ones would pass. IAM that does not answer is no
/// reason to keep somebody out in an emergency, who has just been let in and was given nothing yet: the date ends what is given. Whoever
/// was given credentials before has some, or asks for another session.
async fn with_room<S, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    plan: &StandingPlan,
    session: &Session,
) -> Result<(), Refusal> {
    let role = Principal::Role(plan.name.clone());
    let policies = match ports.principals.inline_policies(&role).await {
        Ok(policies) => policies,
        Err(_) if session.issue.as_ref().is_none_or(|issue| issue.count == 0) => return Ok(()),
        Err(error) => {
            return Err(Refusal::new(
                ErrorCode::Unavailable,
                format!("IAM does not say whether session `{}` was ended: {error}", session.session_id),
                format!(
                    "try again in some seconds, or ask for another: `sorry request --tier {}`",
                    session.tier
                ),
            )
            .retry_after(RETRY_AFTER));
        }
    };
    let all_ended_at = policies.iter().filter_map(|policy| revoked_before(policy)).max();
    if let Some(moment) = all_ended_at.filter(|moment| session.requested_at <= *moment) {
        let id = &session.session_id;
        return Err(Refusal::new(
            ErrorCode::SessionNotActive,
            format!("session `{id}` was ended by an administrator, with all others, at {moment}"),
            format!("ask for another: `sorry request --tier {}`", session.tier),
        ));
    }
    let of_a_session = |policy: &&String| *policy != ACCESS_POLICY_NAME && revoked_before(policy).is_none();
    let revoked = policies.iter().filter(of_a_session).count();
    if revoked < MOST_REVOKED_AT_ONCE {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::Throttled,
        format!("{revoked} sessions of `{}` were ended within the last hour", plan.name),
        "the first of them are forgotten when their credentials are dead: try again in some minutes",
    )
    .retry_after(300))
}

fn not_issued(session: &Session) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidInput,
        format!("session `{}` has a role, whose credentials the service never sees", session.session_id),
        format!("assume it: `sorry renew {}`", session.session_id),
    )
}

fn under_way(session: &Session) -> Refusal {
    Refusal::new(
        ErrorCode::IssueUnderWay,
        format!("credentials of session `{}` are being made at this moment", session.session_id),
        "try again in some seconds",
    )
    .retry_after(RETRY_AFTER)
}

fn moved_on(session: &Session) -> Refusal {
    Refusal::new(
        ErrorCode::Superseded,
        format!("session `{}` changed while its credentials were made", session.session_id),
        format!("`sorry status {}` shows where it stands; if it is ACTIVE, try again", session.session_id),
    )
}
