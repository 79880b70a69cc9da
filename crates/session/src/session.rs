//! The row of one session: everything that is known of a loan, and the truth that every step reads again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{
    ExternalId, Grant, Namespace, PersonName, PolicyDigest, ProjectName, RoleName, SessionId, TierName,
    TierSetDigest,
};

use crate::{
    Identity, State,
    audit::AuditHash,
    events::OutboxEntry,
    lifecycle::{EndCause, Failure},
};

/// The layout of a row that this program writes. A row of another version is refused, never guessed at.
pub const ROW_VERSION: u32 = 1;

/// One loan. All fields are plain data: [`crate::lifecycle`] alone changes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Layout of the row, [`ROW_VERSION`].
    pub version: u32,
    /// Its name, also the name of its workflow and the source identity of its credentials.
    pub session_id: SessionId,
    /// Goes up with every change; a step that read an older one must stop.
    pub fence: u64,
    /// Where it stands.
    pub state: State,
    /// What was asked for.
    pub tier: TierName,
    /// How it gives access.
    pub grant: Grant,
    /// Whose corner of the account.
    pub namespace: Namespace,
    /// Whose loan.
    pub person: PersonName,
    /// What for, where work is accounted by project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    /// What for, in the caller's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The principal that asked, and that alone can use it.
    pub caller: Identity,
    /// What exactly was granted.
    pub policy_digest: PolicyDigest,
    /// The published set of tiers that it was decided by; nothing if that was the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers_digest: Option<TierSetDigest>,
    /// Whether using it takes an MFA code.
    pub mfa: bool,
    /// Whether security is told before the grant and at its end.
    pub alert: bool,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When AWS stops honouring it.
    pub expires_at: Timestamp,
    /// The role that is, or would be, made for it.
    pub role_name: RoleName,
    /// What its owner must present to assume the role.
    pub external_id: ExternalId,
    /// The role, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<CreatedRole>,
    /// When IAM was first about to be called for it, last time that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_at: Option<Timestamp>,
    /// When it became usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// Why and by whom it is being, or was, ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// When nothing of it was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When the row last changed.
    pub changed_at: Timestamp,
    /// Events that are decided and not yet published.
    #[serde(default)]
    pub outbox: Vec<OutboxEntry>,
    /// Hash of the last audit record; nothing in rows that were written before records had one, whose chain begins with their next
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<AuditHash>,
}

/// A role as AWS made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedRole {
    /// Its ARN.
    pub arn: String,
    /// Its unique id, `AROA…`.
    pub unique_id: String,
}

/// The end of a session, from the moment it is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub cause: EndCause,
    /// ARN of the person who ended it, or the part of the service that did.
    pub by: String,
    /// When that was decided.
    pub at: Timestamp,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}
