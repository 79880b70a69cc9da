//! The JSON of the API, as `infrastructure/openapi.yaml` describes it: shared by the command line and the functions, so that
//! neither can mean something else. Not for: anything that is stored.

mod approval;
mod credentials;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use approval::{ApprovalView, ClosedReviewView, DecideSession, ReviewSession, ReviewView, VoteView};
pub use credentials::IssuedCredentials;
pub use sorry_policy::{
    AddressRange, ExternalId, Grant, NameError, Namespace, PersonName, PolicyDigest, ProjectName, RoleName,
    SessionId, SourceIdentity, TierName, TierSet,
};
pub use sorry_session::{
    CallerRole, EndCause, ErrorCode, Failure, MfaBy, Principal, State,
    approval::Vote,
    audit::{
        AuditHash, AuditRecord,
        digest::Digest,
        verify::{Fault, Finding, StoredDigest, Verification, verify},
    },
    decision::spoken,
    events::ChangedBy,
    sweep::SweepReport,
};

/// Body of `POST /tiers/{tier}/sessions`. There is no field for who is asking: the signature says that.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestSession {
    /// The client's own key for this request, 8 to 64 letters, digits and hyphens; sent again within 24 hours it gives the same
    /// session.
    pub client_request_id: String,
    /// Length of the window, in seconds.
    pub duration_seconds: u64,
    /// What for, 10 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What for, where work is accounted by project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// How the session is to give access, if not as the tier does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Grant>,
    /// Only say what the request would come to: the answer is a [`DryRun`], and nothing is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Body of `POST /sessions/{id}/extension`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendSession {
    /// The client's own key for this request, 8 to 64 letters, digits and hyphens; sent again it gives the same extension.
    pub client_request_id: String,
    /// By how much, in seconds.
    pub duration_seconds: u64,
}

/// Answer of `POST /tiers/{tier}/sessions` to a dry run of a request that would be granted; others are refused as ever. The session's
/// id and the external id are drawn when a session is made: placeholders in `<…>` stand for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DryRun {
    /// What would be decided.
    pub decision: Verdict,
    /// What that rests on.
    pub rule: String,
    /// The tier.
    pub tier: TierName,
    /// How the session would give access.
    pub grant: Grant,
    /// Whose corner of the account.
    pub namespace: Namespace,
    /// Whose loan.
    pub person: PersonName,
    /// Project, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// Reason, if one was given, as it would be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// ARN of the principal that asked, and alone could use the session.
    pub caller: String,
    /// Length of the window, in seconds.
    pub duration_seconds: u64,
    /// When the session would end, if it were asked for now.
    pub expires_at: Timestamp,
    /// Whether using it would take an MFA code.
    pub mfa: bool,
    /// From where alone the tier is lent; from anywhere if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressRange>,
    /// How many others would have to approve.
    pub approvals: u32,
    /// Whether security would be told before the grant and at its end.
    pub alert: bool,
    /// How many would be told, for a tier that alerts. Without any, nothing would be granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_subscribers: Option<u64>,
    /// What exactly would be granted: the tier's definition and template, as a digest.
    pub policy_digest: PolicyDigest,
    /// The role or user that would be made, or the standing role as it would be given.
    pub role: PlannedRole,
}

/// What is decided on a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is granted.
    Grant,
    /// It is granted if enough others approve.
    AwaitApproval,
}

/// A role or user that would be made for a session, or a standing role as it would be given to one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRole {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// ARN of its permissions boundary: what it could never exceed.
    pub boundary: String,
    /// The longest that one set of credentials could be good for, in seconds.
    pub maximum_seconds: u32,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its trust policy: who could assume it, and until when. A user has none, and a standing role's is the service's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_policy: Option<Value>,
    /// What it could do, and until when.
    pub access_policy: Value,
}

/// A session as its owner, or somebody who may see it, is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its name.
    pub session_id: SessionId,
    /// Where it stands.
    pub state: State,
    /// Its tier.
    pub tier: TierName,
    /// How it gives access.
    pub grant: Grant,
    /// Whose corner of the account.
    pub namespace: Namespace,
    /// Whose loan.
    pub person: PersonName,
    /// Project, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// Reason, if one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// ARN of the principal that asked.
    pub caller: String,
    /// Whether using it takes an MFA code.
    pub mfa: bool,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Whose word it waits for, or waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalView>,
    /// Whether somebody else has to look at it afterwards, and did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewView>,
    /// When it became usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When AWS stops honouring it. While it waits for an approval: when it would, had the window begun with the request; it begins
    /// with the approval.
    pub expires_at: Timestamp,
    /// The last extension that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<ExtensionView>,
    /// Why, by whom and when its end was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndView>,
    /// When nothing of it was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The role or user made for it, or the standing role that it is given.
    pub role_name: RoleName,
    /// How to assume the role: only for the principal that asked, and only while the session is ACTIVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// The arguments of `AssumeRole`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The role.
    pub role_arn: String,
    /// What the trust policy asks for.
    pub external_id: ExternalId,
    /// Must be the session id. Nothing where the caller carries a source identity already, which stays: none is set then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<SessionId>,
    /// Must be this: the caller's name, or the session id where there is no `source_identity`.
    pub role_session_name: String,
    /// The longest that the role can be assumed for, in seconds.
    pub maximum_seconds: u32,
}

/// A later end that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionView {
    /// The end that was asked for.
    pub extending_to: Timestamp,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Where it stands.
    pub status: ExtensionStatus,
    /// Until when others can decide on it, while it waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapses_at: Option<Timestamp>,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Where an extension stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionStatus {
    /// It waits for others' approval.
    AwaitingApproval,
    /// It is decided, and being carried out.
    UnderWay,
    /// The session has its new end.
    Done,
    /// Others said no.
    Denied,
    /// Not enough others said yes in time.
    Lapsed,
    /// It could not be carried out.
    Failed,
    /// The session was ended before.
    Overtaken,
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndView {
    /// Why.
    pub cause: EndCause,
    /// ARN of the person, or name of the part of the service.
    pub by: String,
    /// When it was decided.
    pub at: Timestamp,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// Answer of `GET /sessions`: newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<SessionView>,
    /// To be sent as `cursor` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A tier as the caller may have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierView {
    /// Its name.
    pub name: TierName,
    /// One line about it.
    pub description: String,
    /// How it gives access.
    pub grant: Grant,
    /// How else, if the request says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_grants: Vec<Grant>,
    /// The most hours that anybody gets.
    pub maximum_hours: u32,
    /// The most hours that the caller gets; nothing if the caller is not registered for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub your_hours: Option<u32>,
    /// Whether this deployment lends it.
    pub enabled: bool,
    /// Whether using it takes an MFA code here, of the one who asks.
    pub mfa: bool,
    /// From where alone it is lent; from anywhere if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressRange>,
    /// Whether a request must say why.
    pub reason_required: bool,
    /// Whether security is told.
    pub alert: bool,
    /// How many others must approve.
    #[serde(default)]
    pub approvals: u32,
    /// Whether somebody else has to look at each session afterwards.
    #[serde(default)]
    pub review: bool,
    /// How many have confirmed that they want to be told; only when one tier is asked for. Without any, none is lent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_subscribers: Option<u64>,
    /// What a session of it is allowed in the caller's own namespace; only when that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<RenderedTier>,
}

/// A tier's policy, filled in for the caller. A real session's also denies everything from its end on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedTier {
    /// The namespace that it is rendered for.
    pub namespace: Namespace,
    /// The project; without one, statements about a project are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// The policy; `<session>` stands for the session's id.
    pub policy: Value,
    /// ARN of the permissions boundary.
    pub boundary: String,
    /// The tier's definition and template, as a digest.
    pub policy_digest: PolicyDigest,
}

/// Answer of `GET /tiers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierList {
    /// The tiers, by name.
    pub tiers: Vec<TierView>,
    /// The shortest window of this deployment, in seconds.
    pub minimum_seconds: u64,
}

/// Answer of `GET /whoami`: the caller as the service sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// Account of the signing principal.
    pub account: String,
    /// Its unique id.
    pub unique_id: String,
    /// Its ARN.
    pub arn: String,
    /// Where the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// Whether the deployment or the registry makes it an administrator.
    pub administrator: bool,
    /// What the registry knows; nothing if it knows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerView>,
}

/// Body of `PUT /admin/callers/{id}`, where `id` is the principal's unique id.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutCaller {
    /// ARN of the user, of the assumed-role session, or of the whole role.
    pub arn: String,
    /// Whose keys they are.
    pub person: String,
    /// The person's corner of the account.
    pub namespace: String,
    /// The tiers the caller may have, with the most hours of each.
    pub tiers: BTreeMap<String, u32>,
    /// The projects the caller may name.
    #[serde(default)]
    pub projects: BTreeSet<String>,
    /// What the caller may do; `caller` if left out.
    #[serde(default = "caller_only")]
    pub roles: BTreeSet<CallerRole>,
    /// Who asks the caller for MFA; `device` if left out. `idp` only of roles that the deployment names (`IdentityProviderRoleArns`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub mfa: MfaBy,
    /// The source identity that the role's sessions carry, if they carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<String>,
}

/// Left out, so that a service of before takes what it knows.
fn is_default(mfa: &MfaBy) -> bool {
    *mfa == MfaBy::default()
}

fn caller_only() -> BTreeSet<CallerRole> {
    [CallerRole::Caller].into()
}

/// A caller in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerView {
    /// The principal's unique id.
    pub unique_id: String,
    /// Its ARN when it was registered.
    pub arn: String,
    /// Whose keys they are.
    pub person: PersonName,
    /// The person's corner of the account.
    pub namespace: Namespace,
    /// The tiers the caller may have, with the most hours of each.
    pub tiers: BTreeMap<TierName, u32>,
    /// The projects the caller may name.
    pub projects: BTreeSet<ProjectName>,
    /// What the caller may do.
    pub roles: BTreeSet<CallerRole>,
    /// Who asks the caller for MFA.
    #[serde(default)]
    pub mfa: MfaBy,
    /// The source identity that the role's sessions carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<SourceIdentity>,
    /// When the entry was written.
    pub registered_at: Timestamp,
    /// ARN of the administrator who wrote it.
    pub registered_by: String,
    /// Since when it is suspended; nothing if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_at: Option<Timestamp>,
    /// ARN of the administrator who suspended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_by: Option<String>,
}

/// Answer of `GET /admin/callers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerList {
    /// The callers.
    pub callers: Vec<CallerView>,
}

/// Answer of `DELETE /admin/callers/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerRemoved {
    /// The entry that was removed; nothing if an earlier try removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<CallerView>,
    /// The sessions that are ending because of it.
    pub ended: Vec<SessionId>,
}

/// Answer of `PUT /admin/callers/{id}/suspension`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerSuspended {
    /// The entry, which stays.
    pub caller: CallerView,
    /// The sessions that are ending because of it.
    pub ended: Vec<SessionId>,
}

/// Answer of `GET /admin/sweep` and of `PUT /admin/sweep/confirmation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepView {
    /// What the sweep holds; nothing if it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldView>,
    /// When an administrator let something go that is not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// The principals that may go because of it: these and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirmed: Vec<Principal>,
}

/// What the sweep holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldView {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub because: String,
    /// The principals without a session that a confirmation lets go: the first thousand.
    pub roles: Vec<Principal>,
    /// How many there are in all.
    pub count: usize,
    /// What a confirmation must repeat.
    pub digest: String,
}

/// Body of `PUT /admin/sweep/confirmation`: lets go what the hold with this digest names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmSweep {
    /// The hold's own digest, so that nobody confirms what they were not shown.
    pub digest: String,
}

/// Answer of `GET` and `PUT /admin/tiers`: the set of tiers in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierSetView {
    /// What it is known by.
    pub digest: String,
    /// When it was published; nothing if it is the one that the program brings along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_at: Option<Timestamp>,
    /// ARN of the administrator who published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_by: Option<String>,
    /// Why it cannot be used: then it is not shown, and nothing is granted until another is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
    /// The text of `tiers.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<String>,
    /// The texts of the templates, by file name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, String>,
}

/// Body of `PUT /admin/tiers`: the whole set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishTiers {
    /// The text of `tiers.toml`.
    pub tiers: String,
    /// The texts of the templates that it names, by file name.
    pub templates: BTreeMap<String, String>,
    /// Digest of the set in force, so that nobody replaces what they were not shown.
    pub replaces: String,
}

/// Answer of `GET /audit`. A page can be empty and not the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditList {
    /// The records: of a subject in the order of its chain, else in the order of time.
    pub records: Vec<AuditRecord>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Answer of `GET /audit/digests`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestList {
    /// The digests, in the order of their names.
    pub digests: Vec<DigestView>,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A digest of the audit, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestView {
    /// Its name, such as `20260131T170000Z.json`.
    pub name: String,
    /// Its text, byte by byte: the next digest names its SHA-256.
    pub text: String,
    /// Whether something else was written under its name later, or it was marked as deleted.
    pub overwritten: bool,
}

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The rule that refused, an [`ErrorCode`]; the gateway's own refusals have none.
    pub code: String,
    /// Lower case, no full stop.
    pub message: String,
    /// What would be allowed, or where to look.
    #[serde(default)]
    pub hint: String,
    /// To find the request in the logs.
    #[serde(default)]
    pub request_id: String,
    /// After how many seconds the same request may succeed, where that is known; also the header `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}
