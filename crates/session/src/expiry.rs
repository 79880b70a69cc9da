//! When something is due: the one place for every margin of time.
//!
//! Access ends by the date in the role's policy ([`sorry_policy::access_policy`]); what is timed here is the tidying up.

use std::time::Duration;

use jiff::Timestamp;
use sorry_policy::{Grant, SessionId};

use crate::{EndCause, Session, State};

/// How long after a try at provisioning a principal may still appear, so that "there is none" means nothing yet. Longer than the
/// provisioning function lives (30 s) and than IAM takes to show what it made (seconds); held to the template by a contract test.
pub const PROVISIONING_GRACE: Duration = Duration::from_secs(300);

/// How long an extension that was decided may take, all tries of the workflow included; so much longer a session lives on when its end
/// comes meanwhile. Also how long after a failed one its last write may land. Held to the workflow by a contract test.
pub const EXTENSION_GRACE: Duration = PROVISIONING_GRACE;

/// How long the workflow is left to end a session by itself before the sweep does it.
pub const WORKFLOW_MARGIN: Duration = Duration::from_secs(30);

/// How long a session may stay in a passing state before the sweep takes it up.
pub const STUCK_AFTER: Duration = Duration::from_secs(120);

/// How long an event may stay unpublished before the sweep publishes it.
pub const OUTBOX_MARGIN: Duration = Duration::from_secs(60);

/// How long the function that makes credentials may live at most, so that whoever said longer ago that it was at it is dead.
/// Longer than the function's time-out; held to the template by a contract test.
pub const ISSUE_LIFE: Duration = Duration::from_secs(40);

/// How long the rows of ended sessions are kept.
pub const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);

/// How long a client's idempotency key is remembered.
pub const IDEMPOTENCY_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// The due index is spread over this many keys, so that none of them is hot.
pub const DUE_SHARDS: u8 = 8;

/// The largest clock difference between this service and AWS that AWS itself accepts is 5 minutes; arithmetic here stays far
/// inside of what a timestamp holds, so an overflow could only come from a corrupt row, and then "never" is the safe answer.
pub(crate) fn after(moment: Timestamp, duration: Duration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl Session {
    /// When the sweep should look at this session if nobody else has moved it on by then; `None`: never.
    pub fn due_at(&self) -> Option<Timestamp> {
        let by_state = match self.state {
            State::PendingApproval => {
                Some(self.approval.as_ref().map_or(self.changed_at, |approval| approval.lapses_at))
            }
            State::Requested | State::Provisioning | State::Revoking | State::Expiring | State::Failing => {
                Some(after(self.changed_at, STUCK_AFTER))
            }
            State::Active => {
                let end = after(self.due_end_at(), WORKFLOW_MARGIN);
                let unsure_until = self.issue.as_ref().and_then(|issue| issue.unsure_until);
                self.extension_due_at().into_iter().chain(unsure_until).chain([end]).min()
            }
            State::CleanUpFailed => Some(self.changed_at),
            State::Revoked | State::Expired | State::Denied | State::Failed => self.prune_at,
        };
        let by_outbox = (!self.outbox.is_empty()).then(|| after(self.changed_at, OUTBOX_MARGIN));
        by_state.into_iter().chain(by_outbox).min()
    }

    /// Where the session stands in the due index, which lists all that is not finished: an open review is not, and is due for nobody
    /// but people.
    pub fn listed_at(&self) -> Option<Timestamp> {
        let unreviewed = self.open_or_closed_review().is_some_and(|review| review.closed.is_none());
        self.due_at().or_else(|| unreviewed.then_some(Timestamp::MAX))
    }

    /// The key of the due index that this session stands under.
    pub fn due_shard(&self) -> u8 {
        shard(&self.session_id)
    }

    /// When the table may forget the row: garbage collection only, never a decision.
    pub fn forget_at(&self) -> Option<Timestamp> {
        (self.state.is_over() && self.listed_at().is_none()).then(|| after(self.changed_at, RETENTION))
    }

    /// Whether its end has to be, or was, written on a standing role: credentials may be out that only that can end before their
    /// time. Without any, and past the date that they carry, there is nothing to write.
    pub fn revoked_on_standing_role(&self) -> bool {
        let early = self.end.as_ref().is_some_and(|end| end.cause != EndCause::Expired);
        self.grant == Grant::Standing && early && self.issue.is_some()
    }

    /// From when on no credentials of it can work, whatever else happens. The date that they carry has ended them before.
    pub fn credentials_are_dead_at(&self) -> Timestamp {
        let latest = self.latest_end();
        let until = self.issue.as_ref().map_or(latest, |issue| issue.until.max(latest));
        after(until, PROVISIONING_GRACE)
    }

    /// Whether a principal of this session may still appear although none is seen at `now`: a write may be on its way, or IAM may
    /// not show yet what it has made.
    pub fn may_still_appear(&self, now: Timestamp) -> bool {
        self.provisioning_at.is_some_and(|started| now < after(started, PROVISIONING_GRACE))
    }
}

fn shard(id: &SessionId) -> u8 {
    id.as_str().bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte)) % DUE_SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::ChangedBy,
        lifecycle::tests::{at, requested},
    };

    #[test]
    fn every_state_in_which_something_can_be_left_is_due_one_day() {
        for state in State::ALL {
            let session = Session { state, ..requested() };
            assert_eq!(session.due_at().is_none(), state.is_over(), "{state}");
            assert_eq!(session.forget_at().is_some(), state.is_over(), "{state}");
        }
    }

    #[test]
    fn an_unpublished_event_is_due_before_the_end_of_the_session() {
        let active = Session { state: State::Active, expires_at: at(3600), ..requested() };
        assert_eq!(active.due_at(), Some(at(3630)));
        let change = requested().provisioning(&ChangedBy::service("test"), at(10)).unwrap();
        let unpublished = Session { outbox: change.session.outbox, ..active };
        assert_eq!(unpublished.due_at(), Some(at(60)));
    }

    #[test]
    fn a_principal_may_appear_until_the_grace_is_over() {
        let tried = Session { provisioning_at: Some(at(0)), ..requested() };
        assert!(tried.may_still_appear(at(299)));
        assert!(!tried.may_still_appear(at(300)));
        assert!(Session { activated_at: Some(at(1)), ..tried }.may_still_appear(at(2)));
        assert!(!requested().may_still_appear(at(0)));
    }
}
