//! What the domain needs of the world. `sorry-aws` does it on AWS, `sorry-testkit` in memory with faults on demand.
#![allow(
    async_fn_in_trait,
    reason = "every user of these traits is generic in this workspace, so no auto trait need be named"
)]

use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

use jiff::Timestamp;
use secrecy::SecretString;
use sorry_policy::{PolicyArn, RoleName, SessionId, TierName, TierSet, TierSetDigest};

use crate::{
    CallerEntry, Change, ErrorCode, Refusal, Session, StepError,
    audit::{
        AuditCursor, AuditPage, AuditScope,
        digest::DigestPointer,
        refusal::{RefusalNote, RefusalTally},
        verify::StoredDigest,
    },
    events::{AuditRecord, OutboxEntry},
    hold::SweepMemory,
    limits::RequestCount,
    principal::{Belonging, Principal},
    provision::{PolicyPlan, RolePlan, StandingPlan, UserPlan},
    session::CreatedPrincipal,
    tiers::PublishedTiers,
};

/// A call to the world that did not do what it was meant to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// AWS asked to slow down; nothing happened.
    #[error("throttled: {0}")]
    Throttled(String),
    /// No answer, or one that says to try again; it may have happened all the same.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// AWS refuses it for good; nothing happened.
    #[error("refused: {0}")]
    Refused(String),
    /// A policy names a principal that IAM does not know: it was made moments ago, or is gone. Nothing happened.
    #[error("unknown principal: {0}")]
    UnknownPrincipal(String),
    /// What was read is not what this program writes.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

impl From<PortError> for StepError {
    fn from(error: PortError) -> Self {
        let code = match error {
            PortError::Throttled(_) => ErrorCode::Throttled,
            PortError::Unavailable(_) => ErrorCode::Unavailable,
            PortError::Refused(_) => ErrorCode::PolicyRefused,
            PortError::UnknownPrincipal(_) => ErrorCode::CallerUnknownToIam,
            PortError::Unreadable(_) => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

/// What became of a [`Change`].
#[must_use = "a change that lost its race has not happened"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is written.
    Yes,
    /// The row had changed; nothing is written.
    Superseded,
}

/// What became of a caller's entry.
#[must_use = "an entry that lost its race is not written"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerWritten {
    /// It is written.
    Yes,
    /// Another person has the namespace; nothing is written.
    NamespaceTaken,
    /// Somebody registered, suspended, resumed or removed the caller meanwhile; nothing is written.
    Superseded,
}

/// A client's own key for one request, so that asking twice is asking once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's unique id: keys of different callers never meet.
    pub caller: String,
    /// What the client chose.
    pub client_request_id: String,
    /// Digest of the request, to tell a repeat from another request.
    pub request_digest: String,
    /// Until when it is remembered.
    pub expires_at: Timestamp,
}

/// What became of a new session.
#[must_use = "the session may not be the new one"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is written.
    New,
    /// The same request made this session before.
    Before(SessionId),
    /// The key was used for another request.
    OtherRequest,
    /// The caller was removed from the registry, or suspended, meanwhile.
    CallerGone,
    /// The caller has as many live sessions of the tier as it may have.
    TooManyLive,
}

/// Which sessions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionScope {
    /// Those of a person.
    Person(String),
    /// Those in a namespace.
    Namespace(String),
}

/// Where a page of sessions ends: `<requested_at>_<session id>`. It names a place inside a scope; the scope itself is never taken
/// from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCursor {
    /// When the page's last session was asked for.
    pub requested_at: Timestamp,
    /// The page's last session.
    pub session_id: SessionId,
}

impl fmt::Display for SessionCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.requested_at, self.session_id)
    }
}

impl FromStr for SessionCursor {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parsed = text.split_once('_').and_then(|(requested_at, id)| {
            Some(Self { requested_at: requested_at.parse().ok()?, session_id: id.parse().ok()? })
        });
        // In its own spelling: the store compares text.
        parsed.filter(|cursor| cursor.to_string() == text).ok_or_else(|| {
            let hint = "send the `cursor` of the previous page as it was, or none for the first page";
            Refusal::new(ErrorCode::InvalidInput, "the query parameter `cursor` cannot be used", hint)
        })
    }
}

/// Sessions in the order of their requests, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Where the next page begins.
    pub cursor: Option<SessionCursor>,
}

/// The rows of sessions, each with its audit.
pub trait SessionStore {
    /// Reads a session, consistently.
    async fn load(&self, id: &SessionId) -> Result<Option<Session>, PortError>;
    /// Writes a new session, its audit record, its idempotency key and its place among the live ones of its caller and tier in one
    /// transaction, if its caller is still registered and not suspended, and there are fewer than `most_live` of them.
    async fn create(
        &self,
        session: &Session,
        audit: &AuditRecord,
        key: &IdempotencyKey,
        most_live: u32,
    ) -> Result<Created, PortError>;
    /// Writes a change and its audit record in one transaction, if the row still has the expected fence. A session that is over by it
    /// gives its place among the live ones back.
    async fn commit(&self, change: &Change) -> Result<Committed, PortError>;
    /// Writes a session whose published events were taken from its outbox, if its fence is still the same.
    async fn acknowledge(&self, session: &Session) -> Result<Committed, PortError>;
    /// Lists sessions; not consistent, so never a base for decisions.
    async fn list(
        &self,
        scope: &SessionScope,
        cursor: Option<&SessionCursor>,
    ) -> Result<SessionPage, PortError>;
    /// All sessions that are not over or have unpublished events; not consistent.
    async fn unfinished(&self) -> Result<Vec<Session>, PortError>;
    /// Whether the table's canary is there, consistently. Without it the table is not the one that was written.
    async fn canary(&self) -> Result<bool, PortError>;
    /// Puts the canary into the table.
    async fn place_canary(&self) -> Result<(), PortError>;
}

/// The tiers that were published.
pub trait TierStore {
    /// Which set is in force, consistently; nothing when none was ever published.
    async fn published_tiers(&self) -> Result<Option<PublishedTiers>, PortError>;
    /// A set as it was stored under its digest, whether or not it is in force.
    async fn tier_set(&self, digest: &TierSetDigest) -> Result<Option<String>, PortError>;
    /// Stores a set, puts it in force, and writes the audit record, in one transaction; `Superseded` when another set than
    /// `replaces` is in force.
    async fn publish_tiers(
        &self,
        set: &TierSet,
        published: &PublishedTiers,
        replaces: Option<&TierSetDigest>,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError>;
}

/// The audit: what is read of it, and what is written beside changes. Records of changes are written by the stores, with the change.
pub trait AuditLog {
    /// Reads records. Of one subject consistently; between two moments not: what was written last may be missing.
    async fn audit_page(
        &self,
        scope: &AuditScope,
        cursor: Option<&AuditCursor>,
    ) -> Result<AuditPage, PortError>;
    /// What is remembered of a caller's refusals by one rule, consistently.
    async fn refusal_tally(&self, key: &str) -> Result<Option<RefusalTally>, PortError>;
    /// Writes the tally, and the record if there is one, in one transaction, if the tally is still what it was `before`.
    async fn record_refusal(
        &self,
        note: &RefusalNote,
        before: Option<&RefusalTally>,
    ) -> Result<Committed, PortError>;
    /// How far the digests have come, consistently; nothing before the first one.
    async fn digest_pointer(&self) -> Result<Option<DigestPointer>, PortError>;
    /// Writes how far they have come, if that is still what it was `before`.
    async fn advance_digests(
        &self,
        before: Option<&DigestPointer>,
        next: &DigestPointer,
    ) -> Result<Committed, PortError>;
}

/// What became of a text that was to be stored once.
#[must_use = "what is stored may be another text"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOnce {
    /// It is stored.
    Written,
    /// Under its name this is stored already.
    Before(String),
}

/// Digests, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DigestPage {
    /// The digests.
    pub digests: Vec<StoredDigest>,
    /// The name after which the next page begins.
    pub cursor: Option<String>,
}

/// Where digests of the audit are kept: nothing is overwritten there, and nothing deleted.
pub trait DigestStore {
    /// Stores a text under a name, once.
    async fn put_once(&self, name: &str, text: &str) -> Result<PutOnce, PortError>;
    /// The digests whose names come after `cursor`; of each what was stored first.
    async fn digests(&self, cursor: Option<&str>) -> Result<DigestPage, PortError>;
}

/// The registry of callers, and beside them the tiers, the counters and the audit.
pub trait Registry: TierStore + Counters + AuditLog + DigestStore {
    /// Reads a caller by the principal's unique id, consistently.
    async fn caller(&self, unique_id: &str) -> Result<Option<CallerEntry>, PortError>;
    /// All callers; not consistent.
    async fn callers(&self) -> Result<Vec<CallerEntry>, PortError>;
    /// Writes a caller in the place of what was read of it (nothing, for one that was not there), the claim on its namespace and the
    /// audit record in one transaction.
    async fn put_caller(
        &self,
        entry: &CallerEntry,
        before: Option<&CallerEntry>,
        audit: &AuditRecord,
    ) -> Result<CallerWritten, PortError>;
    /// Removes a caller, with the audit record, in one transaction.
    async fn remove_caller(&self, entry: &CallerEntry, audit: &AuditRecord) -> Result<(), PortError>;
    /// What the sweep remembers, consistently.
    async fn sweep_memory(&self) -> Result<SweepMemory, PortError>;
    /// Remembers it as the next version, with the audit record, in one transaction; `Superseded` when somebody wrote since the
    /// version that `memory` has was read.
    async fn put_sweep_memory(
        &self,
        memory: &SweepMemory,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError>;
}

/// The live sessions of one caller and tier, as they are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSessions {
    /// The caller's unique id.
    pub caller: String,
    /// The tier.
    pub tier: TierName,
    /// The sessions.
    pub sessions: BTreeSet<SessionId>,
}

/// What is counted so that limits can be kept.
pub trait Counters {
    /// Counts a request of a caller in a minute, by its name: asked again, it is counted once. Answers whether it is among the first
    /// `most`.
    async fn count_request(&self, count: &RequestCount, most: u32) -> Result<bool, PortError>;
    /// How many session principals there were when the sweep last looked; nothing if it never did.
    async fn session_principals(&self) -> Result<Option<u64>, PortError>;
    /// Says how many there are.
    async fn put_session_principals(&self, count: u64, now: Timestamp) -> Result<(), PortError>;
    /// The live sessions as they are counted, by caller and tier; not consistent.
    async fn live_sessions(&self) -> Result<Vec<LiveSessions>, PortError>;
    /// Takes sessions out of those that are counted as live.
    async fn forget_live(&self, over: &LiveSessions) -> Result<(), PortError>;
}

/// What became of a principal that was to be made.
#[must_use = "the principal may be somebody else's"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalCreated {
    /// It is made.
    New(CreatedPrincipal),
    /// Something of that kind and name is there.
    NameTaken,
}

/// A principal as IAM shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalSeen {
    /// Name and ids.
    pub made: CreatedPrincipal,
    /// The tag `sorry:session`.
    pub session: Option<String>,
}

/// Whether a principal was there to be written to.
#[must_use = "the principal may be gone"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It was.
    There,
    /// It was not.
    Gone,
}

/// What became of a principal that was to be deleted.
#[must_use = "the principal may still be there"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrincipalDeleted {
    /// It is gone, or was.
    Gone,
    /// Something is still attached to it; or, of a policy, it is attached to something.
    NotEmpty,
}

/// Makes and removes principals under `/sorry/session/`, and writes the ends of sessions on standing roles.
pub trait PrincipalProvisioner {
    /// Makes a role with path, boundary and tags in one write.
    async fn create_role(&self, plan: &RolePlan) -> Result<PrincipalCreated, PortError>;
    /// Makes a user with path, boundary and tags in one write.
    async fn create_user(&self, plan: &UserPlan) -> Result<PrincipalCreated, PortError>;
    /// Makes a managed policy with path and tags in one write.
    async fn create_policy(&self, plan: &PolicyPlan) -> Result<PrincipalCreated, PortError>;
    /// Attaches a managed policy to a user.
    async fn attach_policy(&self, user: &RoleName, policy: &PolicyArn) -> Result<Presence, PortError>;
    /// Looks at a role, a user or a policy.
    async fn principal(&self, principal: &Principal) -> Result<Option<PrincipalSeen>, PortError>;
    /// Writes an inline policy of a role or a user.
    async fn put_inline_policy(
        &self,
        principal: &Principal,
        policy: &str,
        document: &str,
    ) -> Result<Presence, PortError>;
    /// Writes who may assume a role, and until when.
    async fn put_trust_policy(&self, role: &RoleName, document: &str) -> Result<Presence, PortError>;
    /// Names of the inline policies; none if the principal is gone.
    async fn inline_policies(&self, principal: &Principal) -> Result<Vec<String>, PortError>;
    /// Removes an inline policy, if it is there.
    async fn delete_inline_policy(&self, principal: &Principal, policy: &str) -> Result<(), PortError>;
    /// Takes attached policies, and a role's instance profiles, away: of those to a role the service attaches none, a person might
    /// have.
    async fn detach_all(&self, principal: &Principal) -> Result<(), PortError>;
    /// Takes all of a kind from a user that keeps it from being deleted, or opens a door of its own.
    async fn take_away(&self, user: &RoleName, belonging: Belonging) -> Result<(), PortError>;
    /// Deletes a role, a user or a policy.
    async fn delete(&self, principal: &Principal) -> Result<PrincipalDeleted, PortError>;
    /// All that is under `/sorry/session/`.
    async fn session_principals(&self) -> Result<Vec<Principal>, PortError>;
}

/// An access key of a session's user, for as long as STS takes to make credentials with it.
#[derive(Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

/// Credentials on their way to the caller.
#[derive(Clone, Debug)]
pub struct LentCredentials {
    /// `ASIA…`; no secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// The token, as secret.
    pub session_token: SecretString,
    /// When AWS stops taking them, whatever the session.
    pub expires_at: Timestamp,
}

/// What STS says to a new key.
#[derive(Debug)]
pub enum Tokens {
    /// These.
    Lent(LentCredentials),
    /// It has not heard of the key.
    NotYet,
}

/// Makes credentials that the caller cannot make.
pub trait TokenIssuer {
    /// Makes an access key of a session's user; nothing if the user is gone. Asked once: after an error there may be a key that
    /// nobody knows.
    async fn create_key(&self, user: &RoleName) -> Result<Option<AccessKey>, PortError>;
    /// Deletes an access key. That IAM does not know it is an error: it may not have heard of it yet.
    async fn delete_key(&self, user: &RoleName, id: &str) -> Result<(), PortError>;
    /// Credentials of the key's user, for so many seconds.
    async fn session_token(&self, key: &AccessKey, seconds: i32) -> Result<Tokens, PortError>;
    /// Credentials of a standing role, for so many seconds.
    async fn assume_standing(&self, plan: &StandingPlan, seconds: i32) -> Result<LentCredentials, PortError>;
}

/// The workflows that wait for the end of sessions.
pub trait Workflow {
    /// Starts the workflow of a session; starting it twice is starting it once.
    async fn start_grant(&self, session: &Session) -> Result<(), PortError>;
    /// Starts the workflow that carries out a session's extension, which is under way; per fence, starting it twice is starting it once.
    async fn start_extension(&self, session: &Session) -> Result<(), PortError>;
    /// Starts the workflow that ends a session whose end is decided; per fence, starting it twice is starting it once.
    async fn start_end(&self, session: &Session) -> Result<(), PortError>;
}

/// Whoever listens to what happens.
pub trait EventBus {
    /// Publishes events; all or an error.
    async fn publish(&self, events: &[OutboxEntry]) -> Result<(), PortError>;
}

/// Security's ear.
pub trait Alerts {
    /// How many subscribers have confirmed that they want to hear.
    async fn confirmed_subscribers(&self) -> Result<u64, PortError>;
    /// Sends a message.
    async fn send(&self, subject: &str, message: &str) -> Result<(), PortError>;
}

/// The time, to the second.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;

    /// A number that grows with time, to order records of the same subject: microseconds where the clock has them.
    fn sequence(&self) -> u64 {
        u64::try_from(self.now().as_microsecond()).unwrap_or_default()
    }

    /// Waits: for another part of AWS to hear of what was made, or because AWS asked to slow down.
    async fn pause(&self, duration: Duration);
}

/// The ports of a step, by name.
#[derive(Clone, Debug)]
pub struct Ports<S, P, E, C> {
    /// Rows.
    pub store: S,
    /// Principals.
    pub principals: P,
    /// Listeners.
    pub events: E,
    /// Time.
    pub clock: C,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_nothing_else_is() {
        let good = "2026-01-01T00:00:00Z_0123456789abcdef";
        assert_eq!(good.parse::<SessionCursor>().unwrap().to_string(), good);
        for garbage in [
            "",
            "_",
            "50",
            "2026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z_",
            "yesterday_0123456789abcdef",
            "2026-01-01T00:00:00Z_../../x",
            "2026-01-01T01:00:00+01:00_0123456789abcdef",
            "2026-01-01T00:00:00Z_0123456789abcdef_",
        ] {
            let refusal = garbage.parse::<SessionCursor>().unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidInput, "{garbage}");
            assert!(!refusal.hint.is_empty());
        }
    }
}
