//! Whether a request is granted. Pure: everything that the answer depends on is an argument.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sorry_policy::{
    ExternalId, Grant, PolicyDigest, ProjectName, RoleName, SessionId, Tier, TierName, TierSetDigest,
    TierTable,
};

use crate::{
    Actor, CallerEntry, ErrorCode, Identity, Refusal, Session, State,
    approval::{Approval, Review},
    caller::CallerRole,
    events::{self, AuditRecord, ChangedBy, Changer},
    expiry::IDEMPOTENCY_MEMORY,
    limits::Limits,
    ports::IdempotencyKey,
    session::ROW_VERSION,
};

/// Shortest reason that says something, in characters.
const SHORTEST_REASON: usize = 10;
/// Longest reason that is kept, in characters.
const LONGEST_REASON: usize = 500;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The client's own key for this request.
    pub client_request_id: String,
    /// Name of the tier.
    pub tier: String,
    /// Length of the window, in seconds.
    pub duration_seconds: u64,
    /// What for.
    pub reason: Option<String>,
    /// What for, where work is accounted by project.
    pub project: Option<String>,
    /// How it is to give access, if not as the tier does.
    pub grant: Option<Grant>,
}

/// What the deployment allows.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The tiers that it lends.
    pub enabled_tiers: BTreeSet<TierName>,
    /// The shortest window.
    pub minimum_window: Duration,
    /// Whether tiers that want MFA get it.
    pub mfa_required: bool,
    /// How much it lends.
    pub limits: Limits,
}

/// The answer to a request.
#[must_use = "a decision is the only way to a session"]
#[derive(Debug)]
pub enum Decision {
    /// Yes, on these terms.
    Grant(Box<Terms>),
    /// No, by this rule.
    Refuse(Refusal),
}

/// What was granted. Only [`decide`] makes them, and only they make a session.
#[derive(Debug)]
pub struct Terms {
    entry: CallerEntry,
    caller: Identity,
    tier_name: TierName,
    tier: Tier,
    digest: PolicyDigest,
    tiers_digest: Option<TierSetDigest>,
    window: Duration,
    reason: Option<String>,
    project: Option<ProjectName>,
    mfa: bool,
    grant: Grant,
    asked_grant: Option<Grant>,
    client_request_id: String,
    rule: String,
}

/// A new session, decided and not yet written.
#[must_use = "a session that is not written does not exist"]
#[derive(Debug)]
pub struct NewSession {
    /// The row.
    pub session: Session,
    /// Its first audit record.
    pub audit: AuditRecord,
    /// What makes asking twice asking once.
    pub key: IdempotencyKey,
    /// How many live sessions of the tier the caller may have, this one included.
    pub most_live: u32,
}

/// Decides on a request.
pub fn decide(request: &SessionRequest, actor: &Actor, tiers: &TierTable, rules: &Rules) -> Decision {
    match terms(request, actor, tiers, rules) {
        Ok(terms) => Decision::Grant(Box::new(terms)),
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// The entry of an actor that may ask for sessions.
///
/// # Errors
/// When the registry does not know the actor, or knows it without the role `caller`.
pub fn registered(actor: &Actor) -> Result<&CallerEntry, Refusal> {
    match &actor.entry {
        Some(entry)
            if entry.account == actor.identity.account && entry.roles.contains(&CallerRole::Caller) =>
        {
            Ok(entry)
        }
        Some(entry) if entry.account == actor.identity.account => Err(Refusal::new(
            ErrorCode::NotAllowed,
            format!("`{}` is registered, but not with the role `caller`", actor.identity.arn),
            "sessions are for those who have it: an administrator gives it, and tiers, with \
             `sorry admin callers add NAME --role caller --tier TIER=HOURS`",
        )),
        _ => Err(unregistered(actor)),
    }
}

/// The answer to a caller that an administrator has suspended.
pub fn suspended(entry: &CallerEntry) -> Refusal {
    Refusal::new(
        ErrorCode::CallerSuspended,
        format!("`{}` is suspended, and its sessions are ended", entry.arn),
        "an administrator can lift that: `sorry admin callers resume`",
    )
}

/// The answer to somebody whom the registry does not know.
pub fn unregistered(actor: &Actor) -> Refusal {
    Refusal::new(
        ErrorCode::UnknownCaller,
        format!("`{}` is not a registered caller", actor.identity.arn),
        "an administrator registers callers with `sorry admin callers add`",
    )
}

fn terms(
    request: &SessionRequest,
    actor: &Actor,
    tiers: &TierTable,
    rules: &Rules,
) -> Result<Terms, Refusal> {
    let entry = registered(actor)?;
    let client_request_id = client_request_id(&request.client_request_id)?;
    let (tier_name, tier, digest) = tier(&request.tier, entry, tiers, rules)?;
    let window = window(request.duration_seconds, &tier_name, &tier, entry, rules)?;
    let mfa = mfa(&tier_name, &tier, actor, rules)?;
    address(&tier_name, &tier, &actor.identity)?;
    Ok(Terms {
        rule: rule(entry, &tier_name, &tier),
        entry: entry.clone(),
        caller: actor.identity.clone(),
        reason: reason(request.reason.as_deref(), &tier_name, &tier)?,
        project: project(request.project.as_deref(), entry)?,
        mfa,
        grant: grant(request.grant, &tier_name, &tier)?,
        asked_grant: request.grant,
        tier_name,
        tier,
        digest,
        tiers_digest: tiers.published().cloned(),
        window,
        client_request_id,
    })
}

pub(crate) fn client_request_id(value: &str) -> Result<String, Refusal> {
    let fits = (8..=64).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if fits {
        Ok(value.to_owned())
    } else {
        Err(Refusal::new(
            ErrorCode::InvalidInput,
            "`client_request_id` cannot be used",
            "send 8 to 64 letters, digits and hyphens, new for each request, such as a UUID",
        ))
    }
}

/// The tiers that `entry` may have here, for hints.
fn offered(entry: &CallerEntry, rules: &Rules) -> String {
    let names: Vec<_> = entry
        .tiers
        .keys()
        .filter(|name| rules.enabled_tiers.contains(*name))
        .map(|name| format!("`{name}`"))
        .collect();
    if names.is_empty() {
        "no tier is open to you".to_owned()
    } else {
        format!("open to you: {}", names.join(", "))
    }
}

/// A tier that is lent here, and to this caller.
///
/// # Errors
/// When there is none of that name, or it is not for the caller.
pub(crate) fn tier(
    wanted: &str,
    entry: &CallerEntry,
    tiers: &TierTable,
    rules: &Rules,
) -> Result<(TierName, Tier, PolicyDigest), Refusal> {
    let unknown = || {
        let shown: String = wanted.chars().filter(|character| !character.is_control()).take(64).collect();
        Refusal::new(ErrorCode::UnknownTier, format!("there is no tier `{shown}`"), offered(entry, rules))
    };
    let name: TierName = wanted.parse().map_err(|_| unknown())?;
    let (Some(tier), Some(digest)) = (tiers.tier(&name), tiers.digest(&name)) else { return Err(unknown()) };
    if !rules.enabled_tiers.contains(&name) {
        return Err(Refusal::new(
            ErrorCode::TierDisabled,
            format!("tier `{name}` is not lent by this deployment"),
            offered(entry, rules),
        ));
    }
    if !entry.tiers.contains_key(&name) {
        return Err(Refusal::new(
            ErrorCode::TierNotAllowed,
            format!("you are not registered for tier `{name}`"),
            format!("{}; an administrator can add tiers to your entry", offered(entry, rules)),
        ));
    }
    Ok((name, tier.clone(), digest.clone()))
}

fn grant(wanted: Option<Grant>, name: &TierName, tier: &Tier) -> Result<Grant, Refusal> {
    let Some(wanted) = wanted else { return Ok(tier.grant) };
    if tier.grants().any(|grant| grant == wanted) {
        return Ok(wanted);
    }
    let offered: Vec<_> = tier.grants().map(|grant| format!("`{grant}`")).collect();
    Err(Refusal::new(
        ErrorCode::GrantNotOffered,
        format!("tier `{name}` does not give access by `{wanted}`"),
        format!("it does by {}", offered.join(", ")),
    ))
}

/// The longest window of a tier that a caller may have.
pub(crate) fn longest(name: &TierName, tier: &Tier, entry: &CallerEntry) -> Duration {
    tier.maximum().min(entry.longest(name))
}

fn window(
    seconds: u64,
    name: &TierName,
    tier: &Tier,
    entry: &CallerEntry,
    rules: &Rules,
) -> Result<Duration, Refusal> {
    let most = longest(name, tier, entry);
    let window = Duration::from_secs(seconds);
    if window < rules.minimum_window || window.is_zero() {
        return Err(Refusal::new(
            ErrorCode::WindowTooShort,
            format!("`{}` is shorter than this deployment allows", spoken(window)),
            format!("ask for {} or more", spoken(rules.minimum_window)),
        ));
    }
    if window > most {
        return Err(Refusal::new(
            ErrorCode::WindowTooLong,
            format!("`{}` is longer than tier `{name}` allows you", spoken(window)),
            format!("ask for {} or less", spoken(most)),
        ));
    }
    Ok(window)
}

/// Whether a session of `tier` takes a device's code of this actor.
pub fn asks_for_code(tier: &Tier, actor: &Actor, rules: &Rules) -> bool {
    tier.mfa && rules.mfa_required && !actor.has_mfa_by_idp()
}

/// A session that asks for a code which its owner cannot give would only be another role in the account.
fn mfa(name: &TierName, tier: &Tier, actor: &Actor, rules: &Rules) -> Result<bool, Refusal> {
    let asked = asks_for_code(tier, actor, rules);
    if asked && actor.identity.role_id().is_some() {
        return Err(Refusal::new(
            ErrorCode::MfaImpossible,
            format!(
                "tier `{name}` asks for MFA, and `{}` is a role's session, which shows none",
                actor.identity.arn
            ),
            "ask with an IAM user's key that is registered here; or, if your identity provider asked for MFA, an administrator names \
             the role in the deployment's `IdentityProviderRoleArns` and registers it with `--mfa-by idp`",
        ));
    }
    Ok(asked)
}

/// Whether a tier is lent to where the request comes from. The role's trust policy asks again; whoever cannot use a session is not
/// given one.
///
/// # Errors
/// When it is not.
pub(crate) fn address(name: &TierName, tier: &Tier, identity: &Identity) -> Result<(), Refusal> {
    let from = identity.source_address.as_deref();
    let parsed = from.and_then(|address| address.parse().ok());
    if tier.addresses.is_empty()
        || parsed.is_some_and(|address| tier.addresses.iter().any(|range| range.contains(&address)))
    {
        return Ok(());
    }
    let ranges: Vec<_> = tier.addresses.iter().map(|range| format!("`{range}`")).collect();
    Err(Refusal::new(
        ErrorCode::AddressNotAllowed,
        format!("tier `{name}` is not lent to the address `{}`", from.unwrap_or("(unknown)")),
        format!("ask from {}", ranges.join(", ")),
    ))
}

/// What a granted request rests on, for its owner to read.
fn rule(entry: &CallerEntry, name: &TierName, tier: &Tier) -> String {
    let yours = entry.tiers.get(name).copied().unwrap_or(0);
    format!(
        "you are registered for tier `{name}` for up to {yours}h, and the tier allows {}h",
        tier.maximum_hours
    )
}

/// A duration as people write it on the command line: `8h`, `90m`, `20s`.
pub fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds != 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds != 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn reason(value: Option<&str>, name: &TierName, tier: &Tier) -> Result<Option<String>, Refusal> {
    let Some(value) = value else {
        return if tier.reason_required {
            Err(Refusal::new(
                ErrorCode::ReasonRequired,
                format!("tier `{name}` asks for a reason"),
                format!("say in {SHORTEST_REASON} characters or more what it is for: `--reason '…'`"),
            ))
        } else {
            Ok(None)
        };
    };
    cleaned_text(value).map(Some)
}

/// A reason or a comment as it is kept.
///
/// # Errors
/// When it says too little or too much, or could be read as something else.
pub(crate) fn cleaned_text(value: &str) -> Result<String, Refusal> {
    // It is read by people, in alerts and logs: nothing in it may make it look like another one.
    if let Some(character) = value.chars().find(|character| is_unreadable(*character)) {
        return Err(Refusal::new(
            ErrorCode::ReasonUnusable,
            format!("the reason or comment holds the character U+{:04X}", u32::from(character)),
            "write it in one line, without control characters or marks of direction",
        ));
    }
    let cleaned = value.trim();
    if (SHORTEST_REASON..=LONGEST_REASON).contains(&cleaned.chars().count()) {
        Ok(cleaned.to_owned())
    } else {
        Err(Refusal::new(
            ErrorCode::ReasonUnusable,
            format!("the reason or comment has {} characters", cleaned.chars().count()),
            format!("say what it is for, or why, in {SHORTEST_REASON} to {LONGEST_REASON} characters"),
        ))
    }
}

/// Control characters, line ends among them, and the marks that turn the direction of writing. Source: Unicode Standard Annex 9.
fn is_unreadable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// A project that a caller names.
///
/// # Errors
/// When the caller is not registered for it.
pub fn project(value: Option<&str>, entry: &CallerEntry) -> Result<Option<ProjectName>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let project: ProjectName = value.parse()?;
    if entry.projects.contains(&project) {
        return Ok(Some(project));
    }
    let known: Vec<_> = entry.projects.iter().map(|name| format!("`{name}`")).collect();
    let hint = if known.is_empty() {
        "you are registered for none".to_owned()
    } else {
        format!("yours: {}", known.join(", "))
    };
    Err(Refusal::new(
        ErrorCode::ProjectNotAllowed,
        format!("you are not registered for project `{project}`"),
        hint,
    ))
}

impl Terms {
    /// What the decision rests on, for its owner to read.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The session that was granted: its window begins `now`.
    pub fn session(self, session_id: SessionId, external_id: ExternalId, now: Timestamp) -> NewSession {
        let request_digest = self.request_digest();
        let by = ChangedBy::Caller(Changer {
            person: Some(self.entry.person.clone()),
            identity: self.caller.clone(),
        });
        let most_live = self.tier.concurrent_sessions;
        let own_entry = self.entry.unique_id == self.caller.unique_id;
        let mut session = Session {
            version: ROW_VERSION,
            role_name: match self.grant {
                Grant::Role | Grant::User => {
                    RoleName::for_session(&self.entry.namespace, &self.tier_name, &session_id)
                }
                Grant::Standing => RoleName::standing(&self.tier_name),
            },
            session_id,
            fence: 1,
            state: if self.tier.approvals.is_some() { State::PendingApproval } else { State::Requested },
            grant: self.grant,
            tier: self.tier_name,
            namespace: self.entry.namespace,
            person: self.entry.person,
            project: self.project,
            reason: self.reason,
            caller: self.caller,
            registered_as: (!own_entry).then_some(self.entry.unique_id),
            carried_identity: self.entry.source_identity,
            policy_digest: self.digest,
            tiers_digest: self.tiers_digest,
            mfa: self.mfa,
            alert: self.tier.alert,
            approval: self.tier.approvals.as_ref().map(|approvals| Approval::asked(approvals, now)),
            approved_at: None,
            review: self.tier.review.then_some(Review { opened_at: now, closed: None }),
            requested_at: now,
            // Windows are bounded by `window`, so this cannot overflow; if it did, the session would be over at once.
            expires_at: now.checked_add(self.window).unwrap_or(now),
            first_expires_at: None,
            extension: None,
            external_id,
            role: None,
            provisioning_at: None,
            activated_at: None,
            issue: None,
            prune_at: None,
            end: None,
            ended_at: None,
            changed_at: now,
            outbox: Vec::new(),
            audit_head: None,
        };
        // Approvers listen on the bus, and where security listens.
        session.outbox.push(events::session_event(&session, session.approval.is_some()));
        let mut audit = events::session_audit(&session, &by, None);
        if let Some(details) = audit.details.as_object_mut() {
            details.insert("rule".to_owned(), self.rule.into());
        }
        let audit = audit.sealed(None);
        session.audit_head.clone_from(&audit.hash);
        let key = IdempotencyKey {
            caller: session.caller.unique_id.clone(),
            client_request_id: self.client_request_id,
            request_digest,
            expires_at: now.checked_add(IDEMPOTENCY_MEMORY).unwrap_or(now),
        };
        NewSession { session, audit, key, most_live }
    }

    fn request_digest(&self) -> String {
        let mut hash = Sha256::new();
        let window = self.window.as_secs().to_string();
        let parts = [
            Some(self.tier_name.as_str()),
            Some(window.as_str()),
            self.reason.as_deref(),
            self.project.as_ref().map(ProjectName::as_str),
        ];
        for part in parts {
            // Length first, and "none" unlike any length, so that no two requests have one encoding.
            hash.update(
                part.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX)).to_be_bytes(),
            );
            hash.update(part.unwrap_or_default());
        }
        // Only where it was said: digests of before are remembered for a day.
        hash.update(self.asked_grant.map_or("", Grant::as_str));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        MfaBy,
        lifecycle::tests::{at, requested},
    };

    pub(crate) fn actor() -> Actor {
        let identity = requested().caller;
        Actor {
            entry: Some(CallerEntry {
                unique_id: identity.unique_id.clone(),
                account: identity.account.clone(),
                arn: identity.arn.clone(),
                person: "sue".parse().unwrap(),
                namespace: "sue".parse().unwrap(),
                tiers: [("developer", 4), ("read-only", 100), ("break-glass", 1)]
                    .into_iter()
                    .map(|(name, hours)| (name.parse().unwrap(), hours))
                    .collect::<BTreeMap<_, _>>(),
                projects: ["atlas".parse().unwrap()].into(),
                roles: [CallerRole::Caller].into(),
                mfa: MfaBy::Device,
                source_identity: None,
                registered_at: at(0),
                registered_by: "test".into(),
                suspended: None,
            }),
            identity,
            administrator: false,
            identity_provider: false,
        }
    }

    fn rules() -> Rules {
        Rules {
            enabled_tiers: ["developer", "read-only", "admin"]
                .into_iter()
                .map(|name| name.parse().unwrap())
                .collect(),
            minimum_window: Duration::from_secs(900),
            mfa_required: true,
            limits: Limits::default(),
        }
    }

    fn request(tier: &str, seconds: u64) -> SessionRequest {
        SessionRequest {
            client_request_id: "0123-4567".into(),
            tier: tier.into(),
            duration_seconds: seconds,
            reason: None,
            project: None,
            grant: None,
        }
    }

    fn outcome(request: &SessionRequest) -> Result<NewSession, ErrorCode> {
        match decide(request, &actor(), &TierTable::built_in().unwrap(), &rules()) {
            Decision::Grant(terms) => {
                Ok(terms.session(SessionId::from_random([1; 10]), ExternalId::from_random([2; 16]), at(0)))
            }
            Decision::Refuse(refusal) => {
                assert!(!refusal.hint.is_empty(), "invariant 10: {refusal:?}");
                Err(refusal.code)
            }
        }
    }

    #[test]
    fn a_good_request_becomes_a_session_of_the_signer() {
        let new = outcome(&request("developer", 4 * 3600)).unwrap();
        assert_eq!(new.session.caller, actor().identity);
        assert_eq!(new.session.expires_at, at(4 * 3600));
        assert!(new.session.mfa);
        assert_eq!(
            new.session.role_name.as_str(),
            format!("sorry-sue-developer-{}", new.session.session_id.short())
        );
        assert_eq!((new.audit.sequence, new.session.outbox.len()), (1, 1));
    }

    #[test]
    fn invariant_10_each_rule_refuses_by_its_own_code() {
        use ErrorCode::*;
        let with = |edit: fn(&mut SessionRequest)| {
            let mut request = request("developer", 3600);
            edit(&mut request);
            outcome(&request).map(|_| ())
        };
        assert_eq!(with(|_| {}), Ok(()));
        for (edit, code) in [
            ((|request| request.tier = "wizard".into()) as fn(&mut SessionRequest), UnknownTier),
            (|request| request.tier = "../developer".into(), UnknownTier),
            (|request| request.tier = "break-glass".into(), TierDisabled),
            (|request| request.tier = "admin".into(), TierNotAllowed),
            (|request| request.duration_seconds = 0, WindowTooShort),
            (|request| request.duration_seconds = 899, WindowTooShort),
            (|request| request.duration_seconds = 4 * 3600 + 1, WindowTooLong),
            (|request| request.duration_seconds = u64::MAX, WindowTooLong),
            (|request| request.reason = Some("too short".into()), ReasonUnusable),
            (|request| request.reason = Some("\n\t\u{1b}\u{7}\u{8}\u{0}\n\n\n\n\n".into()), ReasonUnusable),
            (|request| request.reason = Some("x".repeat(501)), ReasonUnusable),
            (|request| request.grant = Some(Grant::User), GrantNotOffered),
            (|request| request.grant = Some(Grant::Standing), GrantNotOffered),
            (|request| request.project = Some("zeus".into()), ProjectNotAllowed),
            (|request| request.project = Some("${aws:x}".into()), InvalidInput),
            (|request| request.client_request_id = "short".into(), InvalidInput),
            (|request| request.client_request_id = "with a space".into(), InvalidInput),
        ] {
            assert_eq!(with(edit), Err(code));
        }
    }

    /// A session of a whole role that is registered.
    fn role_session() -> Actor {
        let mut actor = actor();
        actor.identity.unique_id = "AROAEXAMPLE:ci".into();
        actor.identity.arn = "arn:aws:sts::123456789012:assumed-role/build/ci".into();
        actor.entry.as_mut().unwrap().unique_id = "AROAEXAMPLE".into();
        actor
    }

    #[test]
    fn a_whole_roles_session_is_of_the_session_that_asked_and_rests_on_the_roles_entry() {
        let mut actor = role_session();
        (actor.identity_provider, actor.entry.as_mut().unwrap().mfa) = (true, MfaBy::Idp);
        actor.entry.as_mut().unwrap().source_identity = Some("robot".parse().unwrap());
        let table = TierTable::built_in().unwrap();
        let Decision::Grant(terms) = decide(&request("developer", 3600), &actor, &table, &rules()) else {
            panic!("refused")
        };
        let new = terms.session(SessionId::from_random([1; 10]), ExternalId::from_random([2; 16]), at(0));
        assert_eq!(new.session.caller, actor.identity);
        assert_eq!(new.session.registration(), "AROAEXAMPLE");
        assert_eq!(new.key.caller, "AROAEXAMPLE:ci");
        assert_eq!(new.session.carried_identity, Some("robot".parse().unwrap()));
        assert!(!new.session.mfa);
    }

    #[test]
    fn a_role_has_mfa_by_its_entry_and_the_deployment_together_and_never_alone() {
        let table = TierTable::built_in().unwrap();
        let refused = |named: bool, mfa: MfaBy, rules: &Rules| {
            let mut actor = role_session();
            (actor.identity_provider, actor.entry.as_mut().unwrap().mfa) = (named, mfa);
            match decide(&request("developer", 3600), &actor, &table, rules) {
                Decision::Grant(_) => None,
                Decision::Refuse(refusal) => Some(refusal.code),
            }
        };
        for (named, mfa, expected) in [
            (true, MfaBy::Idp, None),
            (false, MfaBy::Idp, Some(ErrorCode::MfaImpossible)),
            (true, MfaBy::Device, Some(ErrorCode::MfaImpossible)),
            (false, MfaBy::Device, Some(ErrorCode::MfaImpossible)),
        ] {
            assert_eq!(refused(named, mfa, &rules()), expected, "{named} {mfa:?}");
        }
        assert_eq!(refused(false, MfaBy::Device, &Rules { mfa_required: false, ..rules() }), None);
        // A user's entry that says so is worth nothing.
        let mut user = actor();
        (user.identity_provider, user.entry.as_mut().unwrap().mfa) = (true, MfaBy::Idp);
        assert!(asks_for_code(table.tier(&"developer".parse().unwrap()).unwrap(), &user, &rules()));
    }

    #[test]
    fn a_tier_is_lent_to_its_addresses_alone() {
        let text = include_str!("../../../policy_templates/tiers.toml").replace(
            "maximum_hours = 8\n",
            "maximum_hours = 8\naddresses = ['192.0.2.0/24', '2001:db8::/32']\n",
        );
        let table = TierTable::parse(&text, |_| Some("{}".to_owned())).unwrap();
        for (address, expected) in [
            (Some("192.0.2.7"), None),
            (Some("2001:db8::7"), None),
            (Some("192.0.3.7"), Some(ErrorCode::AddressNotAllowed)),
            (Some("somewhere"), Some(ErrorCode::AddressNotAllowed)),
            (None, Some(ErrorCode::AddressNotAllowed)),
        ] {
            let mut actor = actor();
            actor.identity.source_address = address.map(str::to_owned);
            let found = match decide(&request("developer", 3600), &actor, &table, &rules()) {
                Decision::Grant(_) => None,
                Decision::Refuse(refusal) => Some(refusal.code),
            };
            assert_eq!(found, expected, "{address:?}");
        }
    }

    #[test]
    fn the_shorter_of_the_tiers_and_the_callers_hours_counts() {
        assert!(outcome(&request("read-only", 36 * 3600)).is_ok());
        assert_eq!(outcome(&request("read-only", 36 * 3600 + 1)).unwrap_err(), ErrorCode::WindowTooLong);
    }

    #[test]
    fn nobody_gets_a_session_by_account_or_role_they_do_not_have() {
        let tiers = TierTable::built_in().unwrap();
        let mut strangers = [
            (actor(), ErrorCode::UnknownCaller),
            (actor(), ErrorCode::UnknownCaller),
            // She is registered, and to say otherwise would have an administrator register her again.
            (actor(), ErrorCode::NotAllowed),
        ];
        strangers[0].0.entry = None;
        strangers[1].0.identity.account = "999999999999".parse().unwrap();
        strangers[2].0.entry.as_mut().unwrap().roles = [CallerRole::Approver].into();
        for (stranger, expected) in strangers {
            let decision = decide(&request("developer", 3600), &stranger, &tiers, &rules());
            let Decision::Refuse(refusal) = decision else { panic!("{decision:?}") };
            assert_eq!(refusal.code, expected, "{refusal:?}");
        }
    }

    #[test]
    fn reasons_keep_their_words_and_are_refused_with_what_is_not_to_be_read() {
        let with = |reason: &str| {
            let request = SessionRequest { reason: Some(reason.into()), ..request("developer", 3600) };
            outcome(&request).map(|new| new.session.reason)
        };
        let (kept, arabic) = ("look at the queue, naïve résumé", "فحص قائمة الانتظار");
        assert_eq!(with(&format!("  {kept} ")), Ok(Some(kept.to_owned())));
        assert_eq!(with(arabic), Ok(Some(arabic.to_owned())));
        for character in [
            '\u{0}', '\t', '\n', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{200f}', '\u{2028}', '\u{202e}',
            '\u{2066}', '\u{2069}',
        ] {
            assert_eq!(
                with(&format!("look at the {character}queue")),
                Err(ErrorCode::ReasonUnusable),
                "{character:?}"
            );
        }
    }

    #[test]
    fn invariant_9_the_digest_tells_requests_apart() {
        let digest = |edit: fn(&mut SessionRequest)| {
            let mut request = request("developer", 3600);
            request.project = Some("atlas".into());
            edit(&mut request);
            outcome(&request).unwrap().key.request_digest
        };
        let same = digest(|_| {});
        assert_eq!(same, digest(|request| request.client_request_id = "another-key".into()));
        assert_ne!(same, digest(|request| request.tier = "read-only".into()));
        assert_ne!(same, digest(|request| request.duration_seconds = 3601));
        assert_ne!(same, digest(|request| request.project = None));
        assert_ne!(same, digest(|request| request.reason = Some("because I asked".into())));
        assert_ne!(same, digest(|request| request.grant = Some(Grant::Role)));
    }

    #[test]
    fn a_tier_gives_access_in_its_own_way_and_in_those_that_it_offers_besides() {
        let grant = |grant| {
            let new = outcome(&SessionRequest { grant, ..request("read-only", 3600) }).unwrap();
            new.session.grant
        };
        assert_eq!(grant(None), Grant::Role);
        assert_eq!(grant(Some(Grant::Role)), Grant::Role);
        assert_eq!(grant(Some(Grant::User)), Grant::User);
        let rules = Rules { enabled_tiers: ["break-glass".parse().unwrap()].into(), ..rules() };
        let asked =
            SessionRequest { reason: Some("the site is down".into()), ..request("break-glass", 3600) };
        let Decision::Grant(terms) = decide(&asked, &actor(), &TierTable::built_in().unwrap(), &rules) else {
            panic!("refused")
        };
        let new = terms.session(SessionId::from_random([1; 10]), ExternalId::from_random([2; 16]), at(0));
        assert_eq!(
            (new.session.grant, new.session.role_name.as_str()),
            (Grant::Standing, "sorry-standing-break-glass")
        );
        assert!(new.session.review.is_some());
    }

    #[test]
    fn durations_are_spoken_as_they_are_typed() {
        let spoken = |seconds| super::spoken(Duration::from_secs(seconds));
        assert_eq!([spoken(0), spoken(20), spoken(5400), spoken(28800)], ["0s", "20s", "90m", "8h"]);
    }
}
