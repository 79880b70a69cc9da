//! The changes that a session can go through. Each takes the row as it was read and gives the row as it shall be, with its audit
//! record and event; the store writes all three in one transaction, or none if the row has changed meanwhile.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sorry_policy::Grant;

use crate::{
    ErrorCode, Session, StepError,
    approval::{CastVote, ClosedReview},
    events::{self, AuditRecord, ChangedBy},
    expiry::{ISSUE_LIFE, PROVISIONING_GRACE, after},
    session::{CreatedPrincipal, End, Issue},
};

/// Where a session stands, in the order of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Decided, if others approve; nothing exists yet.
    PendingApproval,
    /// Decided; nothing exists yet.
    Requested,
    /// IAM is being written.
    Provisioning,
    /// IAM has taken both writes.
    Active,
    /// Ended early; access is being taken away.
    Revoking,
    /// Past its end; what is left is being removed.
    Expiring,
    /// Something went wrong before it was usable; what is left is being removed.
    Failing,
    /// Ended early, and nothing is left.
    Revoked,
    /// Ended at its time, and nothing is left.
    Expired,
    /// Others said no, and nothing is left.
    Denied,
    /// Never usable, and nothing is left.
    Failed,
    /// Something is left that could not be removed; every sweep tries again.
    CleanUpFailed,
}

impl State {
    /// All states, in the order of life.
    pub const ALL: [Self; 12] = [
        Self::PendingApproval,
        Self::Requested,
        Self::Provisioning,
        Self::Active,
        Self::Revoking,
        Self::Expiring,
        Self::Failing,
        Self::Revoked,
        Self::Expired,
        Self::Denied,
        Self::Failed,
        Self::CleanUpFailed,
    ];

    /// The state as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PendingApproval => "PENDING_APPROVAL",
            Self::Requested => "REQUESTED",
            Self::Provisioning => "PROVISIONING",
            Self::Active => "ACTIVE",
            Self::Revoking => "REVOKING",
            Self::Expiring => "EXPIRING",
            Self::Failing => "FAILING",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
            Self::Denied => "DENIED",
            Self::Failed => "FAILED",
            Self::CleanUpFailed => "CLEAN_UP_FAILED",
        }
    }

    /// Whether nothing is left and nothing more will happen.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Revoked | Self::Expired | Self::Denied | Self::Failed)
    }

    /// Whether the end is decided and something may be left.
    pub const fn is_ending(self) -> bool {
        matches!(self, Self::Revoking | Self::Expiring | Self::Failing | Self::CleanUpFailed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// Its time was up.
    Expired,
    /// Somebody ended it.
    Revoked,
    /// Others said no.
    Denied,
    /// A step failed.
    Failed,
}

impl EndCause {
    const fn passing(self) -> State {
        match self {
            Self::Expired => State::Expiring,
            // A denial that comes after an approval takes away what was granted by then.
            Self::Revoked | Self::Denied => State::Revoking,
            Self::Failed => State::Failing,
        }
    }

    const fn over(self) -> State {
        match self {
            Self::Expired => State::Expired,
            Self::Revoked => State::Revoked,
            Self::Denied => State::Denied,
            Self::Failed => State::Failed,
        }
    }
}

/// What went wrong, as the row keeps it and the caller reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable code, an [`ErrorCode`] or the name of a fault of the platform.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// A failure with one of the service's own codes.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.to_string(), message: message.into() }
    }

    /// A failure as Step Functions hands it on, for people: the message of a function's error is JSON with the function's own
    /// message inside.
    #[must_use]
    pub fn readable(self) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Cause {
            error_message: String,
        }
        match serde_json::from_str::<Cause>(&self.message) {
            Ok(cause) => Self { message: cause.error_message, ..self },
            Err(_) => self,
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::new(error.code, error.message)
    }
}

/// A decided change: nothing has happened until the store commits it.
#[must_use = "a change that is not committed has not happened"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row as it shall be.
    pub session: Session,
    /// The fence that the row must still have.
    pub expected_fence: u64,
    /// Its line in the audit.
    pub audit: AuditRecord,
}

/// A change that the session's state does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session `{session}` is {state}, and cannot be {wanted}")]
pub struct TransitionError {
    session: String,
    state: State,
    wanted: State,
}

impl From<TransitionError> for StepError {
    fn from(error: TransitionError) -> Self {
        Self::new(ErrorCode::Superseded, error.to_string())
    }
}

impl Session {
    pub(crate) fn change(
        &self,
        to: State,
        by: &ChangedBy,
        now: Timestamp,
        edit: impl FnOnce(&mut Self),
    ) -> Change {
        let mut session = self.clone();
        session.state = to;
        session.fence = self.fence.saturating_add(1);
        session.changed_at = now;
        edit(&mut session);
        let audit =
            events::session_audit(&session, by, session.end.as_ref().and_then(|end| end.failure.as_ref()));
        let audit = audit.sealed(self.audit_head.clone());
        session.audit_head.clone_from(&audit.hash);
        // Approvers listen where security listens.
        let asks = session.extension_awaiting().is_some() && self.extension_awaiting().is_none();
        let extends =
            session.alert && session.extension_under_way().is_some() && self.extension_under_way().is_none();
        let ends = session.alert && to.is_over() && !self.state.is_over();
        let alert = to == State::CleanUpFailed || asks || extends || ends;
        session.outbox.push(events::session_event(&session, alert));
        Change { session, expected_fence: self.fence, audit }
    }

    /// A change that is none of state: its audit record says `what`, and listeners hear of it if `told`.
    fn note(
        &self,
        what: &str,
        told: Option<serde_json::Value>,
        by: &ChangedBy,
        now: Timestamp,
        edit: impl FnOnce(&mut Self),
    ) -> Change {
        let mut session = self.clone();
        session.fence = self.fence.saturating_add(1);
        session.changed_at = now;
        edit(&mut session);
        let audit = events::session_note(&session, what, told.clone(), by).sealed(self.audit_head.clone());
        session.audit_head.clone_from(&audit.hash);
        if let Some(details) = told {
            session.outbox.push(events::credentials_event(&session, details));
        }
        Change { session, expected_fence: self.fence, audit }
    }

    pub(crate) fn refuse(&self, wanted: State) -> TransitionError {
        TransitionError { session: self.session_id.to_string(), state: self.state, wanted }
    }

    /// REQUESTED → PROVISIONING, or PROVISIONING again for another try: the fence stops whoever tried before.
    ///
    /// # Errors
    /// When the session is beyond that.
    pub fn provisioning(&self, by: &ChangedBy, now: Timestamp) -> Result<Change, TransitionError> {
        match self.state {
            State::Requested | State::Provisioning => {
                Ok(self.change(State::Provisioning, by, now, |session| session.provisioning_at = Some(now)))
            }
            _ => Err(self.refuse(State::Provisioning)),
        }
    }

    /// PROVISIONING → ACTIVE.
    ///
    /// # Errors
    /// When the session is not being provisioned.
    pub fn active(
        &self,
        made: Option<CreatedPrincipal>,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        match self.state {
            State::Provisioning => Ok(self.change(State::Active, by, now, |session| {
                session.role = made;
                session.activated_at = Some(now);
                if let Some(review) = &mut session.review {
                    review.opened_at = now;
                }
            })),
            _ => Err(self.refuse(State::Active)),
        }
    }

    /// Credentials that end `until` are about to be made for an ACTIVE session, by one alone at a time.
    ///
    /// # Errors
    /// When the session is not ACTIVE, or somebody else may still be at it.
    pub fn issuing(
        &self,
        until: Timestamp,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        let others = self.issue.as_ref().and_then(|issue| issue.under_way);
        if self.state != State::Active || others.is_some_and(|since| now < after(since, ISSUE_LIFE)) {
            return Err(self.refuse(State::Active));
        }
        let unsure_until = (self.grant == Grant::User).then(|| after(now, PROVISIONING_GRACE));
        Ok(self.note("session.issuing", None, by, now, |session| {
            let before = session.issue.take();
            session.issue = Some(Issue {
                count: before.as_ref().map_or(0, |before| before.count),
                under_way: Some(now),
                unsure_until,
                until: before.map_or(until, |before| before.until.max(until)),
            });
        }))
    }

    /// They are made, and are handed out once this is written. `settled`: no access key can be left.
    ///
    /// # Errors
    /// When the session is not ACTIVE.
    pub fn issued(
        &self,
        access_key_id: &str,
        expires_at: Timestamp,
        settled: bool,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        if self.state != State::Active {
            return Err(self.refuse(State::Active));
        }
        let told = json!({"access_key_id": access_key_id, "expires_at": expires_at});
        Ok(self.note("session.issued", Some(told), by, now, |session| {
            if let Some(issue) = &mut session.issue {
                issue.count = issue.count.saturating_add(1);
                issue.under_way = None;
                issue.until = issue.until.max(expires_at);
                issue.unsure_until = issue.unsure_until.filter(|_| !settled);
            }
        }))
    }

    /// They could not be made.
    ///
    /// # Errors
    /// When the session is not ACTIVE.
    pub fn not_issued(
        &self,
        settled: bool,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        if self.state != State::Active {
            return Err(self.refuse(State::Active));
        }
        Ok(self.note("session.not_issued", None, by, now, |session| {
            if let Some(issue) = &mut session.issue {
                issue.under_way = None;
                issue.unsure_until = issue.unsure_until.filter(|_| !settled);
            }
        }))
    }

    /// No access key is left of a try that went wrong.
    pub(crate) fn keys_settled(&self, by: &ChangedBy, now: Timestamp) -> Change {
        self.note("session.keys_settled", None, by, now, |session| {
            if let Some(issue) = &mut session.issue {
                (issue.under_way, issue.unsure_until) = (None, None);
            }
        })
    }

    /// What ended it on a standing role is gone, and so is the last of it.
    pub(crate) fn pruned(&self, by: &ChangedBy, now: Timestamp) -> Change {
        self.note("session.pruned", None, by, now, |session| session.prune_at = None)
    }

    /// PENDING_APPROVAL → REQUESTED if that is the last approval it needs: its window begins. Else one vote more.
    ///
    /// # Errors
    /// When the session waits for no approval.
    pub fn approved_by(
        &self,
        cast: CastVote,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        let (State::PendingApproval, Some(approval)) = (self.state, &self.approval) else {
            return Err(self.refuse(State::Requested));
        };
        let mut approval = approval.clone();
        approval.votes.push(cast);
        let given = approval.is_given();
        let window = self.window();
        Ok(self.change(if given { State::Requested } else { self.state }, by, now, |session| {
            session.approval = Some(approval);
            if given {
                session.approved_at = Some(now);
                // Bounded like every window; if it overflowed, the session would be over at once.
                session.expires_at = now.checked_add(window).unwrap_or(now);
            }
        }))
    }

    /// A denial: ends the session, whether it still waits or was granted a moment ago.
    ///
    /// # Errors
    /// When it needed no approval, or its end is decided already.
    pub fn denied_by(
        &self,
        cast: CastVote,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        let mut denied = self.clone();
        match &mut denied.approval {
            Some(approval) => approval.votes.push(cast),
            None => return Err(self.refuse(State::Denied)),
        }
        denied.ending(EndCause::Denied, None, by, now)
    }

    /// The review is closed; the session stays where it stands.
    pub(crate) fn reviewed(&self, closed: ClosedReview, by: &ChangedBy, now: Timestamp) -> Change {
        self.change(self.state, by, now, |session| {
            if let Some(review) = &mut session.review {
                review.closed = Some(closed);
            }
        })
    }

    /// Any living state → the passing state of `cause`; from PENDING_APPROVAL, where nothing was made yet, at once to the end. What
    /// comes first stays: an end is decided once.
    ///
    /// # Errors
    /// When its end is decided already.
    pub fn ending(
        &self,
        cause: EndCause,
        failure: Option<Failure>,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        let end = End { cause, by: by.name().to_owned(), at: now, failure };
        match self.state {
            State::PendingApproval => Ok(self.change(cause.over(), by, now, |session| {
                session.end = Some(end);
                session.ended_at = Some(now);
            })),
            State::Requested | State::Provisioning | State::Active => {
                Ok(self.change(cause.passing(), by, now, |session| session.end = Some(end)))
            }
            _ => Err(self.refuse(cause.passing())),
        }
    }

    /// A passing state, or CLEAN_UP_FAILED → the end it was on its way to. Only when nothing is left.
    ///
    /// # Errors
    /// When the session is not ending.
    pub fn over(&self, by: &ChangedBy, now: Timestamp) -> Result<Change, TransitionError> {
        match (&self.end, self.state.is_ending()) {
            (Some(end), true) => {
                let prune_at = self.revoked_on_standing_role().then(|| self.credentials_are_dead_at());
                Ok(self.change(end.cause.over(), by, now, |session| {
                    session.ended_at = Some(now);
                    session.prune_at = prune_at;
                }))
            }
            _ => Err(self.refuse(State::Expired)),
        }
    }

    /// A passing state → CLEAN_UP_FAILED, loudly.
    ///
    /// # Errors
    /// When the session is not ending, or has failed so before.
    pub fn clean_up_failed(
        &self,
        failure: Failure,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        if !self.state.is_ending() || self.state == State::CleanUpFailed {
            return Err(self.refuse(State::CleanUpFailed));
        }
        Ok(self.change(State::CleanUpFailed, by, now, |session| {
            if let Some(end) = &mut session.end {
                end.failure.get_or_insert(failure);
            }
        }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sorry_policy::{ExternalId, RoleName, SessionId, TierTable};

    use super::*;
    use crate::{Identity, session::ROW_VERSION};

    /// A session as it is written first.
    pub(crate) fn requested() -> Session {
        let session_id = SessionId::from_random([3; 10]);
        let namespace = "sue".parse().unwrap();
        let tier = "developer".parse().unwrap();
        Session {
            version: ROW_VERSION,
            role_name: RoleName::for_session(&namespace, &tier, &session_id),
            session_id,
            fence: 1,
            state: State::Requested,
            policy_digest: TierTable::built_in().unwrap().digest(&tier).unwrap().clone(),
            tiers_digest: None,
            tier,
            grant: Grant::Role,
            namespace,
            person: "sue".parse().unwrap(),
            project: None,
            reason: None,
            caller: Identity {
                account: "123456789012".parse().unwrap(),
                unique_id: "AIDAEXAMPLE".into(),
                arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".into(),
                source_address: None,
            },
            registered_as: None,
            carried_identity: None,
            mfa: false,
            alert: false,
            approval: None,
            approved_at: None,
            review: None,
            requested_at: at(0),
            expires_at: at(3600),
            first_expires_at: None,
            extension: None,
            external_id: ExternalId::from_random([4; 16]),
            role: None,
            provisioning_at: None,
            activated_at: None,
            issue: None,
            prune_at: None,
            end: None,
            ended_at: None,
            changed_at: at(0),
            outbox: Vec::new(),
            audit_head: None,
        }
    }

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn role() -> CreatedPrincipal {
        CreatedPrincipal {
            arn: "arn:aws:iam::123456789012:role/sorry/session/sue/x".into(),
            unique_id: "AROAEXAMPLE".into(),
        }
    }

    #[test]
    fn a_functions_error_is_unwrapped_and_anything_else_kept() {
        let failure = |message: &str| Failure { code: "PolicyRefused".into(), message: message.into() };
        let wrapped = failure(r#"{"errorType":"PolicyRefused","errorMessage":"CreateRole: no"}"#);
        assert_eq!(wrapped.readable(), failure("CreateRole: no"));
        assert_eq!(failure("timed out").readable(), failure("timed out"));
        assert_eq!(failure("").readable(), failure(""));
    }

    /// The transition table, whole: what each state allows, and nothing else.
    #[test]
    fn only_the_drawn_transitions_exist() {
        let by = ChangedBy::service("test");
        let failure = Failure::new(ErrorCode::Internal, "x");
        for state in State::ALL {
            let session = Session {
                state,
                end: state.is_ending().then(|| End {
                    cause: EndCause::Revoked,
                    by: String::new(),
                    at: at(1),
                    failure: None,
                }),
                ..requested()
            };
            let reached: Vec<State> = [
                session.provisioning(&by, at(2)),
                session.active(Some(role()), &by, at(2)),
                session.ending(EndCause::Revoked, None, &by, at(2)),
                session.ending(EndCause::Expired, None, &by, at(2)),
                session.ending(EndCause::Failed, None, &by, at(2)),
                session.over(&by, at(2)),
                session.clean_up_failed(failure.clone(), &by, at(2)),
            ]
            .into_iter()
            .filter_map(|change| change.ok().map(|change| change.session.state))
            .collect();
            let ends = [State::Revoking, State::Expiring, State::Failing];
            let expected: Vec<State> = match state {
                State::PendingApproval => vec![State::Revoked, State::Expired, State::Failed],
                State::Requested => [&[State::Provisioning], &ends[..]].concat(),
                State::Provisioning => [&[State::Provisioning, State::Active], &ends[..]].concat(),
                State::Active => ends.to_vec(),
                State::Revoking | State::Expiring | State::Failing => {
                    vec![State::Revoked, State::CleanUpFailed]
                }
                State::CleanUpFailed => vec![State::Revoked],
                State::Revoked | State::Expired | State::Denied | State::Failed => vec![],
            };
            assert_eq!(reached, expected, "{state}");
        }
    }

    #[test]
    fn credentials_are_made_by_one_at_a_time_and_one_that_died_is_not_waited_for() {
        let by = ChangedBy::service("issue");
        let active = Session { state: State::Active, grant: Grant::User, ..requested() };
        let issuing = active.issuing(at(3600), &by, at(10)).unwrap();
        assert_eq!(issuing.audit.what, "session.issuing");
        assert!(issuing.session.outbox.is_empty(), "nobody need hear of a try");
        let issuing = issuing.session;
        assert!(issuing.issuing(at(3600), &by, at(49)).is_err());
        assert!(issuing.issuing(at(3600), &by, at(50)).is_ok());
        // The sweep looks after whatever dies here.
        assert_eq!(issuing.due_at(), Some(at(310)));
        for settled in [true, false] {
            let issued = issuing.issued("ASIAEXAMPLE", at(3000), settled, &by, at(20)).unwrap();
            assert_eq!(issued.audit.details["credentials"]["access_key_id"], "ASIAEXAMPLE");
            let issue = issued.session.issue.clone().unwrap();
            assert_eq!((issue.count, issue.under_way, issue.until), (1, None, at(3600)));
            assert_eq!(issue.unsure_until.is_none(), settled);
            assert!(issued.session.issuing(at(3700), &by, at(21)).is_ok());
        }
        for state in State::ALL.into_iter().filter(|state| *state != State::Active) {
            assert!(Session { state, ..active.clone() }.issuing(at(3600), &by, at(10)).is_err(), "{state}");
            assert!(Session { state, ..issuing.clone() }.issued("x", at(9), true, &by, at(20)).is_err());
        }
    }

    #[test]
    fn what_ended_a_standing_session_goes_when_its_credentials_are_surely_dead() {
        let by = ChangedBy::service("test");
        let issue = Issue { count: 1, under_way: None, unsure_until: None, until: at(4000) };
        let session = |issue, cause| {
            let end = Some(End { cause, by: String::new(), at: at(1), failure: None });
            Session { state: State::Revoking, grant: Grant::Standing, issue, end, ..requested() }
        };
        let over = |session: Session| session.over(&by, at(2)).unwrap().session;
        let revoked = over(session(Some(issue.clone()), EndCause::Revoked));
        assert_eq!((revoked.prune_at, revoked.forget_at()), (Some(at(4300)), None));
        let published = Session { outbox: Vec::new(), ..revoked };
        assert_eq!(published.due_at(), Some(at(4300)));
        assert!(published.pruned(&by, at(4300)).session.forget_at().is_some());
        // Nothing was handed out, or nothing had to be written.
        assert_eq!(over(session(None, EndCause::Revoked)).prune_at, None);
        assert_eq!(over(session(Some(issue), EndCause::Expired)).prune_at, None);
    }

    #[test]
    fn invariant_7_every_change_carries_its_audit_record_and_event() {
        let session = requested();
        let change = session.provisioning(&ChangedBy::service("provision"), at(1)).unwrap();
        assert_eq!((change.expected_fence, change.session.fence), (1, 2));
        assert_eq!((change.audit.sequence, change.audit.what.as_str()), (2, "session.PROVISIONING"));
        assert_eq!(change.session.outbox.len(), 1);
        assert_eq!(change.session.outbox[0].detail["state"], "PROVISIONING");
    }

    #[test]
    fn security_hears_of_the_end_of_an_alerting_session_and_of_every_clean_up_that_failed() {
        let by = ChangedBy::service("test");
        for alert in [false, true] {
            let session = Session { alert, ..requested() };
            let ending = session.ending(EndCause::Revoked, None, &by, at(1)).unwrap().session;
            assert_eq!(ending.outbox[0].detail["alert"], false);
            let over = ending.over(&by, at(2)).unwrap().session;
            assert_eq!(over.outbox[1].detail["alert"], alert);
            let stuck =
                ending.clean_up_failed(Failure::new(ErrorCode::Throttled, "x"), &by, at(2)).unwrap().session;
            assert_eq!(stuck.outbox[1].detail["alert"], true);
        }
    }

    #[test]
    fn no_external_id_in_events_or_audit() {
        let change = requested().provisioning(&ChangedBy::service("provision"), at(1)).unwrap();
        let secret = change.session.external_id.as_str();
        assert!(!serde_json::to_string(&change.session.outbox).unwrap().contains(secret));
        assert!(!serde_json::to_string(&change.audit).unwrap().contains(secret));
    }
}
