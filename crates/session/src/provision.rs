//! Making what a session's grant needs: everything about it is fixed by [`plan_grant`], then [`provision`] carries it out.

use jiff::Timestamp;
use sorry_policy::{
    ACCESS_POLICY_NAME, AccountId, DocumentError, EXPIRY_POLICY_NAME, Grant, Partition, PolicyArn, Region,
    RoleName, SessionId, Tier, TierTable, TrustTerms, Variables, access_policy, expiry_policy,
    managed_policy, render, session_policy, trust_policy,
};

use crate::{
    ErrorCode, Session, State, StepError,
    events::ChangedBy,
    outbox,
    ports::{
        Clock, EventBus, PortError, Ports, Presence, PrincipalCreated, PrincipalProvisioner, SessionStore,
        TierStore,
    },
    principal::Principal,
    session::{CreatedPrincipal, session_path},
    tiers::of_session,
};

/// Where the service lives.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its account.
    pub account: AccountId,
    /// Its region.
    pub region: Region,
    /// Its partition.
    pub partition: Partition,
    /// ARN of the boundaries up to the tier's name.
    pub boundary_arn_prefix: String,
}

impl Place {
    /// ARN of a tier's boundary.
    pub fn boundary_arn(&self, tier: &Tier) -> String {
        format!("{}{}", self.boundary_arn_prefix, tier.boundary)
    }
}

/// All of CreateRole's arguments: name, path, boundary and tags travel in one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolePlan {
    /// Name.
    pub name: RoleName,
    /// Path, `/sorry/session/<namespace>/`.
    pub path: String,
    /// Who may assume it, and until when.
    pub trust_policy: String,
    /// What it can never exceed.
    pub boundary_arn: String,
    /// In seconds; AWS takes 3600 to 43200.
    pub max_session_seconds: i32,
    /// Key and value.
    pub tags: Vec<(&'static str, String)>,
    /// For people who find it in the console.
    pub description: String,
}

/// All of CreateUser's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPlan {
    /// Name.
    pub name: RoleName,
    /// Path, `/sorry/session/<namespace>/`.
    pub path: String,
    /// What it can never exceed.
    pub boundary_arn: String,
    /// Key and value.
    pub tags: Vec<(&'static str, String)>,
}

/// All of CreatePolicy's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlan {
    /// Its ARN, which path and name follow from.
    pub arn: PolicyArn,
    /// Name, that of its user.
    pub name: RoleName,
    /// Path, that of its user.
    pub path: String,
    /// What the tier allows.
    pub document: String,
    /// Key and value.
    pub tags: Vec<(&'static str, String)>,
}

/// A standing role as one session is given it: the arguments of AssumeRole. Nothing is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingPlan {
    /// Name.
    pub name: RoleName,
    /// ARN.
    pub arn: String,
    /// What it can never exceed, whoever is given it.
    pub boundary_arn: String,
    /// What CloudTrail shows as the session name.
    pub role_session_name: String,
    /// Becomes the source identity: revocation goes by it.
    pub source_identity: SessionId,
    /// Key and value of the session's tags.
    pub tags: Vec<(&'static str, String)>,
    /// What the tier allows, and the date that ends it: these travel with the credentials.
    pub session_policy: String,
}

/// Everything that is written to IAM for a session with a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvisionPlan {
    /// The first write.
    pub role: RolePlan,
    /// The second write: what the tier allows, and the date that ends it.
    pub access_policy: String,
}

/// Everything that is written to IAM for a session with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserProvisionPlan {
    /// The first write.
    pub user: UserPlan,
    /// The second: the date that ends whatever is allowed.
    pub expiry_policy: String,
    /// The third, and by a fourth it is attached: only then anything is allowed.
    pub policy: PolicyPlan,
}

/// What is made for a session, by its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantPlan {
    /// A role.
    Role(Box<ProvisionPlan>),
    /// A user and its policy.
    User(Box<UserProvisionPlan>),
    /// Nothing: the role stands.
    Standing(Box<StandingPlan>),
}

/// Name of the tag that says whose principal it is.
pub const SESSION_TAG: &str = "sorry:session";

/// Path of everything that is made for sessions, and the only one that is ever deleted from.
pub const SESSION_PATH: &str = "/sorry/session/";

/// Path of the roles that stand ready.
pub const STANDING_PATH: &str = "/sorry/standing/";

/// Fixes every name, tag, policy and date of what a session's grant needs.
///
/// # Errors
/// When the tier's template cannot be filled, or AWS would refuse the documents for their size.
pub fn plan_grant(session: &Session, tiers: &TierTable, place: &Place) -> Result<GrantPlan, StepError> {
    Ok(match session.grant {
        Grant::Role => GrantPlan::Role(Box::new(plan(session, tiers, place)?)),
        Grant::User => GrantPlan::User(Box::new(plan_user(session, tiers, place)?)),
        Grant::Standing => GrantPlan::Standing(Box::new(plan_standing(session, tiers, place)?)),
    })
}

/// The tier's statements as they are rendered for a session, and the tier.
fn rendered<'a>(
    session: &Session,
    tiers: &'a TierTable,
    place: &Place,
) -> Result<(Vec<serde_json::Value>, &'a Tier), StepError> {
    let (Some(tier), Some(template), Some(digest)) =
        (tiers.tier(&session.tier), tiers.template(&session.tier), tiers.digest(&session.tier))
    else {
        return Err(StepError::new(ErrorCode::UnknownTier, format!("there is no tier `{}`", session.tier)));
    };
    if *digest != session.policy_digest {
        // What was decided on is not what would be granted: another version of this program decided.
        let message = format!("tier `{}` has changed since the session was requested", session.tier);
        return Err(StepError::new(ErrorCode::PolicyRefused, message));
    }
    let variables = Variables {
        namespace: &session.namespace,
        project: session.project.as_ref(),
        session: &session.session_id,
        account: &place.account,
        region: &place.region,
        partition: &place.partition,
    };
    let statements = render(template, &variables).map_err(|error| internal(&error))?;
    Ok((statements, tier))
}

fn internal(error: &dyn std::error::Error) -> StepError {
    StepError::new(ErrorCode::Internal, error.to_string())
}

/// The tags of everything that is made for a session, and of the credentials of a standing role.
fn tags(session: &Session) -> Vec<(&'static str, String)> {
    let mut tags = vec![
        (SESSION_TAG, session.session_id.to_string()),
        ("sorry:namespace", session.namespace.to_string()),
        ("sorry:person", session.person.to_string()),
        ("sorry:tier", session.tier.to_string()),
    ];
    tags.extend(session.project.iter().map(|project| ("sorry:project", project.to_string())));
    tags
}

/// Fixes every name, tag, policy and date of a session's role.
///
/// # Errors
/// Those of [`plan_grant`].
pub fn plan(session: &Session, tiers: &TierTable, place: &Place) -> Result<ProvisionPlan, StepError> {
    let (statements, tier) = rendered(session, tiers, place)?;
    let boundary_arn = place.boundary_arn(tier);
    let documents = || -> Result<(String, String), DocumentError> {
        let access = access_policy(statements, session.expires_at)?;
        let trust = trust_policy(&TrustTerms {
            caller_arn: &session.caller.arn,
            caller_unique_id: &session.caller.unique_id,
            role_session_name: session.role_session_name(),
            carried: session.carried_identity.as_ref(),
            external_id: &session.external_id,
            session: &session.session_id,
            expires_at: session.expires_at,
            mfa: session.mfa,
            addresses: &tier.addresses,
        })?;
        Ok((access, trust))
    };
    let (access_policy, trust_policy) = documents().map_err(|error| internal(&error))?;
    let role = RolePlan {
        name: session.role_name.clone(),
        path: session_path(&session.namespace),
        trust_policy,
        boundary_arn,
        max_session_seconds: max_session_seconds(session),
        tags: tags(session),
        // Without its end, which can be moved: that stands in the policy `access`.
        description: format!("Lent by sorry to {}", session.person),
    };
    Ok(ProvisionPlan { role, access_policy })
}

/// As [`plan`], of a session's user.
///
/// # Errors
/// Those of [`plan_grant`].
pub fn plan_user(
    session: &Session,
    tiers: &TierTable,
    place: &Place,
) -> Result<UserProvisionPlan, StepError> {
    let (statements, tier) = rendered(session, tiers, place)?;
    let boundary_arn = place.boundary_arn(tier);
    let document = managed_policy(&statements).map_err(|error| internal(&error))?;
    let path = session_path(&session.namespace);
    let arn = session.policy_arn().ok_or_else(|| {
        StepError::new(ErrorCode::Internal, format!("`{}` is no ARN of a caller", session.caller.arn))
    })?;
    let name = session.role_name.clone();
    Ok(UserProvisionPlan {
        user: UserPlan { name: name.clone(), path: path.clone(), boundary_arn, tags: tags(session) },
        expiry_policy: expiry_policy(session.expires_at),
        policy: PolicyPlan { arn, name, path, document, tags: tags(session) },
    })
}

/// As [`plan`], of a standing role.
///
/// # Errors
/// Those of [`plan_grant`].
pub fn plan_standing(session: &Session, tiers: &TierTable, place: &Place) -> Result<StandingPlan, StepError> {
    let (statements, tier) = rendered(session, tiers, place)?;
    let boundary_arn = place.boundary_arn(tier);
    let name = session.role_name.clone();
    Ok(StandingPlan {
        arn: format!("arn:{}:iam::{}:role{STANDING_PATH}{name}", place.partition, place.account),
        name,
        boundary_arn,
        role_session_name: session.caller.name().to_owned(),
        source_identity: session.session_id.clone(),
        tags: tags(session),
        session_policy: session_policy(statements, session.expires_at).map_err(|error| internal(&error))?,
    })
}

/// The smallest maximum that fits the window. Source: IAM CreateRole, MaxSessionDuration, 1 to 12 hours. A caller that is a role gets an
/// hour at a time ("role chaining"), so that more would be of no use to it. An extension leaves it as it is: it bounds one
/// credential, and there are renewals.
pub fn max_session_seconds(session: &Session) -> i32 {
    if session.caller.role_id().is_some() {
        return 3_600;
    }
    let window = session.first_window().as_secs();
    i32::try_from(window.clamp(3_600, 43_200)).unwrap_or(3_600)
}

/// A session that is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// When it ends.
    pub expires_at: Timestamp,
    /// How long it took from the request until it was ACTIVE; nothing if it was so before.
    pub time_to_active: Option<std::time::Duration>,
}

/// Makes the role of a session and reports when the session ends. Running it twice, late or beside itself does no harm: the row's
/// fence is checked before each write, and nothing it writes can outweigh a revocation.
///
/// # Errors
/// [`ErrorCode::Superseded`] when the session was moved on by somebody else, who then cleans up; anything else means that this
/// session cannot be provisioned as things are.
pub async fn provision<S: SessionStore, P: PrincipalProvisioner, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
    tiers: &impl TierStore,
    place: &Place,
) -> Result<Granted, StepError> {
    let by = ChangedBy::service("provision");
    let session = load(ports, id).await?;
    if session.state == State::Active {
        return Ok(Granted { expires_at: session.expires_at, time_to_active: None });
    }
    let plan = plan_grant(&session, &of_session(tiers, &session).await?, place)?;
    let now = ports.clock.now();
    if now >= session.expires_at {
        return Err(StepError::new(
            ErrorCode::WindowOver,
            "the window was over before the session could be made",
        ));
    }
    let session = commit(ports, session.provisioning(&by, now)?).await?;
    let made = match &plan {
        GrantPlan::Role(plan) => Some(make_role(ports, &session, plan).await?),
        GrantPlan::User(plan) => Some(make_user(ports, &session, plan).await?),
        // Usable without any write to IAM: that is what it is for.
        GrantPlan::Standing(_) => None,
    };
    let session = commit(ports, session.active(made, &by, ports.clock.now())?).await?;
    let took = session.activated_at.map(|at| at.duration_since(session.requested_at).unsigned_abs());
    Ok(Granted { expires_at: session.expires_at, time_to_active: took })
}

async fn make_role<S: SessionStore, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    plan: &ProvisionPlan,
) -> Result<CreatedPrincipal, StepError> {
    let role = Principal::Role(plan.role.name.clone());
    still_current(ports, session).await?;
    let created = ports.principals.create_role(&plan.role).await;
    let created = ours(ports, session, &role, created).await?;
    still_current(ports, session).await?;
    let written = ports.principals.put_inline_policy(&role, ACCESS_POLICY_NAME, &plan.access_policy).await?;
    there(&role, written)?;
    Ok(created)
}

/// Invariant 2: boundary and date are in place before anything is allowed, each write after a look at the row.
async fn make_user<S: SessionStore, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    plan: &UserProvisionPlan,
) -> Result<CreatedPrincipal, StepError> {
    let user = Principal::User(plan.user.name.clone());
    still_current(ports, session).await?;
    let created = ports.principals.create_user(&plan.user).await;
    let created = ours(ports, session, &user, created).await?;
    still_current(ports, session).await?;
    let written = ports.principals.put_inline_policy(&user, EXPIRY_POLICY_NAME, &plan.expiry_policy).await?;
    there(&user, written)?;
    still_current(ports, session).await?;
    let policy = Principal::Policy(plan.policy.arn.clone());
    let made = ports.principals.create_policy(&plan.policy).await;
    ours(ports, session, &policy, made).await?;
    still_current(ports, session).await?;
    there(&user, ports.principals.attach_policy(&plan.user.name, &plan.policy.arn).await?)?;
    Ok(created)
}

fn there(principal: &Principal, presence: Presence) -> Result<(), StepError> {
    match presence {
        Presence::There => Ok(()),
        Presence::Gone => {
            let message = format!("`{principal}` vanished while it was being set up");
            Err(StepError::new(ErrorCode::Unavailable, message))
        }
    }
}

/// What was made, or what an earlier try of the same session had made.
async fn ours<S: SessionStore, P: PrincipalProvisioner, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
    principal: &Principal,
    created: Result<PrincipalCreated, PortError>,
) -> Result<CreatedPrincipal, StepError> {
    match created {
        Ok(PrincipalCreated::New(made)) => return Ok(made),
        Ok(PrincipalCreated::NameTaken) => {}
        // A caller that was registered the moment it was made: the workflow waits for IAM. One that is gone never comes.
        Err(PortError::UnknownPrincipal(error)) => {
            let message = format!(
                "IAM does not know the caller `{}` ({}): it was made moments ago, or is gone: {error}",
                session.caller.arn, session.caller.unique_id
            );
            return Err(StepError::new(ErrorCode::CallerUnknownToIam, message));
        }
        Err(error) => return Err(error.into()),
    }
    // An earlier try made it, if it carries this session's tag: then it is what the plan says, for the plan follows from the row.
    match ports.principals.principal(principal).await? {
        Some(seen) if seen.session.as_deref() == Some(session.session_id.as_str()) => Ok(seen.made),
        Some(_) => {
            let message = format!("`{principal}` exists and is not this session's");
            Err(StepError::new(ErrorCode::PrincipalConflict, message))
        }
        None => {
            let message = format!("IAM does not show `{principal}` yet");
            Err(StepError::new(ErrorCode::Unavailable, message))
        }
    }
}

pub(crate) async fn load<S: SessionStore, P, E, C>(
    ports: &Ports<S, P, E, C>,
    id: &SessionId,
) -> Result<Session, StepError> {
    let session = ports.store.load(id).await?;
    session.ok_or_else(|| StepError::new(ErrorCode::NotFound, format!("there is no session `{id}`")))
}

/// The fence: whoever revoked, failed or took over this session has changed its row.
async fn still_current<S: SessionStore, P, E, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
) -> Result<(), StepError> {
    let current = load(ports, &session.session_id).await?;
    if current.fence == session.fence { Ok(()) } else { Err(superseded(session)) }
}

async fn commit<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    change: crate::Change,
) -> Result<Session, StepError> {
    let session = change.session.clone();
    outbox::commit(ports, change).await?.ok_or_else(|| superseded(&session))
}

pub(crate) fn superseded(session: &Session) -> StepError {
    StepError::new(
        ErrorCode::Superseded,
        format!("session `{}` was moved on by somebody else", session.session_id),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lifecycle::tests::{at, requested};

    fn place() -> Place {
        Place {
            account: "123456789012".parse().unwrap(),
            region: "eu-west-2".parse().unwrap(),
            partition: "aws".parse().unwrap(),
            boundary_arn_prefix: "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-".into(),
        }
    }

    #[test]
    fn the_plan_follows_from_the_row_alone() {
        let tiers = TierTable::built_in().unwrap();
        let plan = plan(&requested(), &tiers, &place()).unwrap();
        assert_eq!(plan.role.path, "/sorry/session/sue/");
        assert_eq!(plan.role.boundary_arn, format!("{}developer", place().boundary_arn_prefix));
        assert!(plan.role.tags.contains(&(SESSION_TAG, requested().session_id.to_string())));
        assert!(
            plan.access_policy.contains(&format!(r#"{{"aws:CurrentTime":"{}"}}"#, requested().expires_at))
        );
        assert_eq!(plan, super::plan(&requested(), &tiers, &place()).unwrap());
    }

    #[test]
    fn invariant_2_a_users_allows_and_its_end_are_apart_and_a_standing_roles_are_not() {
        let tiers = TierTable::built_in().unwrap();
        let of = |tier: &str, grant| {
            let tier = tier.parse().unwrap();
            let policy_digest = tiers.digest(&tier).unwrap().clone();
            Session { tier, grant, policy_digest, ..requested() }
        };
        let session = of("read-only", Grant::User);
        let plan = plan_user(&session, &tiers, &place()).unwrap();
        assert_eq!(plan.user.path, "/sorry/session/sue/");
        assert_eq!(plan.user.boundary_arn, format!("{}read-only", place().boundary_arn_prefix));
        assert!(plan.expiry_policy.contains(&session.expires_at.to_string()));
        assert!(!plan.expiry_policy.contains("Allow"));
        assert!(plan.policy.document.contains("Allow"));
        assert_eq!(
            plan.policy.arn.as_str(),
            format!("arn:aws:iam::123456789012:policy{}{}", plan.policy.path, plan.policy.name)
        );

        let session = Session {
            role_name: RoleName::standing(&"break-glass".parse().unwrap()),
            ..of("break-glass", Grant::Standing)
        };
        let plan = plan_standing(&session, &tiers, &place()).unwrap();
        assert_eq!(plan.arn, "arn:aws:iam::123456789012:role/sorry/standing/sorry-standing-break-glass");
        assert!(
            plan.session_policy.contains("Allow")
                && plan.session_policy.contains(&session.expires_at.to_string())
        );
        assert!(plan.tags.contains(&(SESSION_TAG, session.session_id.to_string())));
    }

    #[test]
    fn a_carried_source_identity_is_trusted_and_the_sessions_id_is_its_name() {
        let carried = Some("sue@example.org".parse().unwrap());
        let session = Session { carried_identity: carried, ..requested() };
        let plan = plan(&session, &TierTable::built_in().unwrap(), &place()).unwrap();
        let trust: serde_json::Value = serde_json::from_str(&plan.role.trust_policy).unwrap();
        let equals = &trust["Statement"][0]["Condition"]["StringEquals"];
        assert_eq!(equals["sts:RoleSessionName"], session.session_id.as_str());
        assert_eq!(equals["aws:SourceIdentity"], "sue@example.org");
    }

    proptest! {
        #[test]
        fn no_word_of_a_reason_gets_into_what_iam_is_told(reason in prop_oneof![
            ".*", Just("\"}], \"Action\": \"*\"".to_owned()), Just("${aws:username} and arn:aws:iam::*:role/*".to_owned()),
        ]) {
            let tiers = TierTable::built_in().unwrap();
            for (tier, grant) in [("read-only", Grant::Role), ("read-only", Grant::User), ("break-glass", Grant::Standing)] {
                let tier = tier.parse().unwrap();
                let without = Session { policy_digest: tiers.digest(&tier).unwrap().clone(), tier, grant, ..requested() };
                let with = Session { reason: Some(reason.clone()), ..without.clone() };
                prop_assert_eq!(
                    plan_grant(&with, &tiers, &place()).unwrap(), plan_grant(&without, &tiers, &place()).unwrap()
                );
            }
        }
    }

    #[test]
    fn a_session_is_never_given_other_than_what_was_decided() {
        let mut session = requested();
        session.policy_digest = serde_json::from_value("other".into()).unwrap();
        let error = plan(&session, &TierTable::built_in().unwrap(), &place()).unwrap_err();
        assert_eq!(error.code, ErrorCode::PolicyRefused);
    }

    #[test]
    fn the_maximum_session_duration_is_the_smallest_that_fits() {
        for (window, expected) in [(20, 3_600), (3_600, 3_600), (28_800, 28_800), (129_600, 43_200)] {
            let mut session = Session { expires_at: at(window), ..requested() };
            assert_eq!(max_session_seconds(&session), expected);
            // The role keeps the maximum that it was made with.
            let extended = Session {
                expires_at: at(window + 7_200),
                first_expires_at: Some(at(window)),
                ..session.clone()
            };
            assert_eq!(max_session_seconds(&extended), expected);
            session.caller.unique_id = "AROAEXAMPLE:ci".into();
            assert_eq!(max_session_seconds(&session), 3_600, "a role chains");
        }
    }
}
