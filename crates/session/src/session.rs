//! The row of one session: everything that is known of a loan, and the truth that every step reads again.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{
    ExternalId, Grant, Namespace, PersonName, PolicyArn, PolicyDigest, ProjectName, RoleName, SessionId,
    SourceIdentity, TierName, TierSetDigest,
};

use crate::{
    Identity, State,
    approval::{Approval, Review},
    audit::AuditHash,
    events::OutboxEntry,
    extension::Extension,
    lifecycle::{EndCause, Failure},
    provision::SESSION_PATH,
};

/// The layout of a row that this program writes. It reads this and all before it, back to 1: what a session made by an earlier
/// program does not say has a default that is true of it. A row of a later version is refused, never guessed at.
///
/// 1: the first. 2: approvals, reviews, grants that are not roles, extensions.
pub const ROW_VERSION: u32 = 2;

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
    /// Key of the registry's entry that it rests on, where that is not the caller's own: a whole role's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_as: Option<String>,
    /// The source identity that the caller carries, and the session's credentials with it: it cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_identity: Option<SourceIdentity>,
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
    /// Whose word it waits for, or waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// When the last of them approved: then the window begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// Whether somebody else has to look at it afterwards, and did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    /// When AWS stops honouring it. While it waits for an approval: when it would, had the window begun with the request.
    pub expires_at: Timestamp,
    /// When it would have been over if it had never been extended; nothing if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_expires_at: Option<Timestamp>,
    /// The last extension that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Extension>,
    /// The role or user that is, or would be, made for it; or the standing role that it is given.
    pub role_name: RoleName,
    /// What its owner must present to assume the role.
    pub external_id: ExternalId,
    /// The role or user, once it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<CreatedPrincipal>,
    /// When IAM was first about to be called for it, last time that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning_at: Option<Timestamp>,
    /// When it became usable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// What was handed out of it, where the service does that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    /// When the policy that ended it on a standing role can go: its credentials are surely dead by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune_at: Option<Timestamp>,
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

impl Session {
    /// When its window began, or would have.
    pub fn begins_at(&self) -> Timestamp {
        self.approved_at.unwrap_or(self.requested_at)
    }

    /// The managed policy that is, or would be, made for its user: same name, same path, and in the caller's account, which is the
    /// service's own.
    pub fn policy_arn(&self) -> Option<PolicyArn> {
        let partition = self.caller.arn.split(':').nth(1)?;
        let (account, path) = (&self.caller.account, session_path(&self.namespace));
        format!("arn:{partition}:iam::{account}:policy{path}{}", self.role_name).parse().ok()
    }

    /// The review of it, once there is something to look at: a session that never was usable has none, nor has one of a role that stands
    /// ready whose credentials nobody was given. Those take MFA, and a session does not: else a stolen key could open reviews without end.
    pub fn open_or_closed_review(&self) -> Option<&Review> {
        let usable = match self.grant {
            Grant::Standing => self.issue.is_some(),
            Grant::Role | Grant::User => self.activated_at.is_some(),
        };
        self.review.as_ref().filter(|_| usable)
    }

    /// The length of its window.
    pub fn window(&self) -> Duration {
        self.expires_at.duration_since(self.begins_at()).unsigned_abs()
    }

    /// The length that its window had when its principal was made.
    pub fn first_window(&self) -> Duration {
        let end = self.first_expires_at.unwrap_or(self.expires_at);
        end.duration_since(self.begins_at()).unsigned_abs()
    }

    /// Key of the registry's entry that it rests on: when that goes, so does the session.
    pub fn registration(&self) -> &str {
        self.registered_as.as_deref().unwrap_or(&self.caller.unique_id)
    }

    /// What its owner must call the role's session: the caller's name, for whoever reads CloudTrail. Where the source identity is taken,
    /// the session's id, which joins CloudTrail to this row.
    pub fn role_session_name(&self) -> &str {
        if self.carried_identity.is_some() { self.session_id.as_str() } else { self.caller.name() }
    }
}

/// Path of what is made for sessions in a namespace.
pub fn session_path(namespace: &Namespace) -> String {
    format!("{SESSION_PATH}{namespace}/")
}

/// Credentials that the service makes and hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// How often that was done.
    pub count: u32,
    /// Since when it is being done now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<Timestamp>,
    /// Until then an access key of a try that went wrong may be there, or appear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure_until: Option<Timestamp>,
    /// The last end of all credentials that may be out.
    pub until: Timestamp,
}

/// A role or user as AWS made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedPrincipal {
    /// Its ARN.
    pub arn: String,
    /// Its unique id, `AROA…` or `AIDA…`.
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
