//! What every change leaves behind: an audit record (see [`crate::audit`]), and an event for whoever listens on the bus.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use sorry_policy::PersonName;

pub use crate::audit::AuditRecord;
use crate::{Actor, Identity, Session, lifecycle::Failure, ports::Clock};

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedBy {
    /// A person, through the API.
    Caller(Changer),
    /// A part of the service, by its function's name.
    Service(String),
}

/// A principal that made a change, and whose it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changer {
    /// The person whom the registry knew it by; nothing for an administrator who is not registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonName>,
    /// The principal: unique id, ARN and address.
    #[serde(flatten)]
    pub identity: Identity,
}

impl From<Identity> for Changer {
    fn from(identity: Identity) -> Self {
        Self { person: None, identity }
    }
}

impl ChangedBy {
    /// Whoever asks the API.
    pub fn actor(actor: &Actor) -> Self {
        let person = actor.entry.as_ref().map(|entry| entry.person.clone());
        Self::Caller(Changer { person, identity: actor.identity.clone() })
    }

    /// The person, where it is one whom the registry knows.
    pub fn person(&self) -> Option<&PersonName> {
        match self {
            Self::Caller(changer) => changer.person.as_ref(),
            Self::Service(_) => None,
        }
    }

    /// A part of the service.
    pub fn service(function: &str) -> Self {
        Self::Service(function.to_owned())
    }

    /// The ARN or the function, for people to read.
    pub fn name(&self) -> &str {
        match self {
            Self::Caller(changer) => &changer.identity.arn,
            Self::Service(function) => function,
        }
    }
}

/// An event that is decided and waits to be published. Delivery is at least once; `id` lets listeners drop repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Unique: session and fence.
    pub id: String,
    /// The event bus's `detail-type`.
    pub detail_type: String,
    /// When the change was made.
    pub at: Timestamp,
    /// The event bus's `detail`; `alert` in it says whether security is told.
    pub detail: Value,
}

/// `detail-type` of the events about sessions.
pub const SESSION_EVENT: &str = "Session State Change";
/// `detail-type` of the events about credentials that the service handed out.
pub const CREDENTIALS_EVENT: &str = "Session Credentials Issued";
/// `detail-type` of the events about the registry.
pub const CALLER_EVENT: &str = "Caller Change";
/// `detail-type` of the event that says that other tiers are in force.
pub const TIERS_EVENT: &str = "Tiers Published";
/// `detail-type` of the event that says that the sweep deletes nothing until somebody looks.
pub const SWEEP_HELD_EVENT: &str = "Sweep Held";

/// The audit record of the change that made `session` what it is.
pub(crate) fn session_audit(session: &Session, by: &ChangedBy, failure: Option<&Failure>) -> AuditRecord {
    AuditRecord {
        subject: session.session_id.to_string(),
        sequence: session.fence,
        at: session.changed_at,
        what: format!("session.{}", session.state),
        by: by.clone(),
        details: json!({
            "person": session.person,
            "caller": {"unique_id": session.caller.unique_id, "arn": session.caller.arn},
            "namespace": session.namespace,
            "tier": session.tier,
            "grant": session.grant,
            "project": session.project,
            "reason": session.reason,
            "expires_at": session.expires_at,
            "role_name": session.role_name,
            "policy_digest": session.policy_digest,
            "tiers_digest": session.tiers_digest,
            "approval": session.approval,
            "review": session.review,
            "extension": session.extension,
            "carried_identity": session.carried_identity,
            "failure": failure,
        }),
        previous: None,
        hash: None,
    }
}

/// The audit record of a change that left the state as it was, such as `session.issued`.
pub(crate) fn session_note(
    session: &Session,
    what: &str,
    credentials: Option<Value>,
    by: &ChangedBy,
) -> AuditRecord {
    let mut record = session_audit(session, by, None);
    what.clone_into(&mut record.what);
    if let (Some(credentials), Value::Object(details)) = (credentials, &mut record.details) {
        details.insert("credentials".to_owned(), credentials);
    }
    record
}

/// The event of credentials that were handed out: which, and until when; none of them is in it.
pub(crate) fn credentials_event(session: &Session, credentials: Value) -> OutboxEntry {
    let mut entry = session_event(session, false);
    CREDENTIALS_EVENT.clone_into(&mut entry.detail_type);
    if let Value::Object(detail) = &mut entry.detail {
        detail.insert("credentials".to_owned(), credentials);
    }
    entry
}

/// The event of the change that made `session` what it is.
pub(crate) fn session_event(session: &Session, alert: bool) -> OutboxEntry {
    OutboxEntry {
        id: format!("{}-{}", session.session_id, session.fence),
        detail_type: SESSION_EVENT.to_owned(),
        at: session.changed_at,
        detail: json!({
            "event_id": format!("{}-{}", session.session_id, session.fence),
            "session_id": session.session_id,
            "state": session.state,
            "tier": session.tier,
            "namespace": session.namespace,
            "person": session.person,
            "project": session.project,
            "caller": session.caller.arn,
            "role_name": session.role_name,
            "at": session.changed_at,
            "expires_at": session.expires_at,
            "end": session.end,
            "approval": session.approval,
            "review": session.review,
            "extension": session.extension,
            "reason": session.reason,
            "alert": alert,
        }),
    }
}

/// Subject of the audit records about the sweep.
const SWEEP_SUBJECT: &str = "sweep";

/// The audit record of a change in what the sweep remembers, such as `sweep.held`.
pub fn sweep_audit(what: &str, by: &ChangedBy, clock: &impl Clock, details: Value) -> AuditRecord {
    AuditRecord {
        subject: SWEEP_SUBJECT.to_owned(),
        sequence: clock.sequence(),
        at: clock.now(),
        what: what.to_owned(),
        by: by.clone(),
        details,
        previous: None,
        hash: None,
    }
}

/// Subject of the audit records about the tiers.
const TIERS_SUBJECT: &str = "tiers";

/// The audit record of a publication.
pub fn tiers_audit(by: &ChangedBy, clock: &impl Clock, details: Value) -> AuditRecord {
    AuditRecord {
        subject: TIERS_SUBJECT.to_owned(),
        sequence: clock.sequence(),
        at: clock.now(),
        what: "tiers.published".to_owned(),
        by: by.clone(),
        details,
        previous: None,
        hash: None,
    }
}

/// The event of a publication: security is told, for it changes what can be lent.
pub fn tiers_event(audit: &AuditRecord) -> OutboxEntry {
    OutboxEntry {
        id: format!("{}-{}", audit.subject, audit.sequence),
        detail_type: TIERS_EVENT.to_owned(),
        at: audit.at,
        detail: json!({"what": audit.what, "by": audit.by.name(), "at": audit.at, "tiers": audit.details, "alert": true}),
    }
}

/// An event about the registry.
pub fn caller_event(audit: &AuditRecord) -> OutboxEntry {
    OutboxEntry {
        id: format!("{}-{}", audit.subject, audit.sequence),
        detail_type: CALLER_EVENT.to_owned(),
        at: audit.at,
        detail: json!({"what": audit.what, "subject": audit.subject, "by": audit.by.name(), "at": audit.at, "alert": false}),
    }
}
