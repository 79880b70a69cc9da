//! How much a caller (an entry of the registry), and everybody together, may have at once. Pure; the counters are in the registry
//! ([`crate::ports::Counters`]).
//!
//! - **Requests a minute.** What is counted asks for something to be made or kept: a session and an extension. Looking, dry runs
//!   included, makes nothing and is left to the gateway's throttle; ending a session is never counted, for nobody shall be kept from it. A
//!   counter is a set of names of requests, so that a request that is sent again counts once.
//! - **Live sessions** of a caller and tier (`concurrent_sessions` of the tier): all that are not over, those that wait for approval
//!   included. Also a set, of their ids: the transaction that writes the session puts it in, the one that writes that it is over takes
//!   it out, and the sweep takes out what is over all the same.
//! - **Session principals** in all, as the sweep counted them last: the account's quota of roles is for others, too. Between two sweeps
//!   nothing is counted, so that no request waits for another; the distance to the quota has to bear what five minutes bring.

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sorry_policy::TierName;

use crate::{
    ErrorCode, Refusal, Session, State,
    expiry::{WORKFLOW_MARGIN, after},
};

const MINUTE: i64 = 60;

/// What a deployment allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests for sessions and extensions that one caller may make in a minute.
    pub requests_per_minute: u32,
    /// Session principals that there may be when another session is asked for.
    pub session_principals: u64,
}

impl Default for Limits {
    /// As the template's parameters are by default. Source of the role quota, 1000: IAM and STS quotas.
    fn default() -> Self {
        Self { requests_per_minute: 100, session_principals: 800 }
    }
}

/// A request, as it is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// The caller's unique id.
    pub caller: String,
    /// The beginning of its minute.
    pub minute: Timestamp,
    /// What tells it from the caller's other requests.
    pub name: String,
    /// From when on nobody needs the counter.
    pub forget_at: Timestamp,
}

impl RequestCount {
    /// A request of `now`. Its name is short, whatever the client chose: 64 bits tell a caller's requests of one minute apart.
    pub fn new(caller: &str, client_request_id: &str, now: Timestamp) -> Self {
        let second = now.as_second();
        let minute = second - second.rem_euclid(MINUTE);
        let at = |second| Timestamp::from_second(second).unwrap_or(now);
        let name = Sha256::digest(client_request_id.as_bytes());
        Self {
            caller: caller.to_owned(),
            minute: at(minute),
            name: name.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
            forget_at: at(minute + 2 * MINUTE),
        }
    }

    /// The answer to a request beyond the most that are answered in a minute.
    pub fn too_many(&self, most: u32, now: Timestamp) -> Refusal {
        let left = (self.minute.as_second() + MINUTE).saturating_sub(now.as_second()).max(1).unsigned_abs();
        Refusal::new(
            ErrorCode::TooManyRequests,
            format!(
                "you have asked for sessions and extensions {most} times in this minute, as often as you may"
            ),
            format!("ask again in {left} seconds"),
        )
        .retry_after(left)
    }
}

/// The answer to who has as many sessions of a tier as it may have; it says from when on there is a place ([`place_free_at`]), where
/// that is known.
pub fn too_many_sessions(tier: &TierName, most: u32, free_at: Option<Timestamp>, now: Timestamp) -> Refusal {
    let sessions = if most == 1 { "one session".to_owned() } else { format!("{most} sessions") };
    let refusal = |hint: String| {
        let message = format!("you have {sessions} of tier `{tier}` that are not over, as many as you may");
        Refusal::new(ErrorCode::TooManySessions, message, hint)
    };
    let hint = "end one that you need no more (`sorry list --status live`, `sorry revoke`), or extend one (`sorry extend`)";
    let Some(free_at) = free_at else { return refusal(hint.to_owned()) };
    let left = free_at.as_second().saturating_sub(now.as_second()).max(1).unsigned_abs();
    refusal(format!("{hint}; or ask again at {free_at}, when the first of them is over")).retry_after(left)
}

/// When the first of the sessions that keep `asked` from being made gives its place back, to the second, if nobody ends one before; with
/// the time that its workflow is left to remove what was made for it. Nothing where none of `sessions` keeps it, or nobody knows
/// when: what could not be cleaned up stays until somebody has seen to it.
pub fn place_free_at(sessions: &[Session], asked: &Session, now: Timestamp) -> Option<Timestamp> {
    let same =
        |session: &&Session| session.registration() == asked.registration() && session.tier == asked.tier;
    let ends = sessions.iter().filter(same).filter_map(|session| match session.state {
        State::PendingApproval => session.approval.as_ref().map(|approval| approval.lapses_at),
        State::Requested | State::Provisioning | State::Active => Some(session.due_end_at()),
        State::Revoking | State::Expiring | State::Failing => Some(now),
        State::CleanUpFailed | State::Revoked | State::Expired | State::Denied | State::Failed => None,
    });
    let free_at = after(ends.min()?.max(now), WORKFLOW_MARGIN);
    Timestamp::from_second(free_at.as_second()).ok()
}

/// How long the next count of the sweep may take, in seconds.
const UNTIL_THE_NEXT_COUNT: u64 = 300;

/// The answer while there are as many session principals as there may be.
pub fn at_capacity(counted: u64, limits: &Limits) -> Option<Refusal> {
    let most = limits.session_principals;
    (counted >= most).then(|| {
        Refusal::new(
            ErrorCode::AtCapacity,
            format!("{counted} sessions are lent, and this deployment lends {most} at once"),
            "ask again in 5 minutes: sessions end, and the sweep counts again; whoever runs the service can raise the parameter \
             `MaximumSessionPrincipals`",
        )
        .retry_after(UNTIL_THE_NEXT_COUNT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::{at, requested};

    #[test]
    fn a_request_is_counted_in_its_minute_and_told_when_the_next_begins() {
        // `at(0)` is midnight.
        let count = RequestCount::new("AIDAEXAMPLE", "request-1", at(125));
        assert_eq!((count.minute, count.forget_at), (at(120), at(240)));
        assert_eq!(count.name.len(), 16);
        let refusal = count.too_many(100, at(125));
        assert_eq!((refusal.code, refusal.retry_after_seconds), (ErrorCode::TooManyRequests, Some(55)));
        assert!(refusal.hint.contains("55 seconds"));
        assert_eq!(count.too_many(100, at(179)).retry_after_seconds, Some(1));
        assert_eq!(
            count.too_many(100, at(200)).retry_after_seconds,
            Some(1),
            "never at once, never in the past"
        );
    }

    #[test]
    fn the_same_request_has_the_same_name_and_another_has_another() {
        let name = |id: &str, second| RequestCount::new("AIDAEXAMPLE", id, at(second)).name;
        assert_eq!(name("request-1", 0), name("request-1", 59));
        assert_ne!(name("request-1", 0), name("request-2", 0));
    }

    #[test]
    fn the_first_place_is_free_when_the_first_of_the_same_callers_sessions_of_the_tier_is_over() {
        let of = |state, expires_at| Session { state, expires_at: at(expires_at), ..requested() };
        let free = |sessions: &[Session]| place_free_at(sessions, &requested(), at(100));
        let active = of(State::Active, 900);
        assert_eq!(
            free(&[of(State::Active, 3600), active.clone(), of(State::Requested, 1800)]),
            Some(at(930))
        );
        assert_eq!(free(&[active.clone(), of(State::Revoking, 3600)]), Some(at(130)), "it is being ended");
        assert_eq!(free(&[of(State::Active, 50)]), Some(at(130)), "never in the past");
        // What is over holds no place; of what failed nobody knows; another tier and another caller have places of their own.
        let other_tier = Session { tier: "admin".parse().unwrap(), ..active.clone() };
        let other_caller = Session { registered_as: Some("AROAOTHER".into()), ..active };
        let none = [of(State::Revoked, 900), of(State::CleanUpFailed, 900), other_tier, other_caller];
        assert_eq!(free(&none), None);
    }

    #[test]
    fn who_has_too_many_sessions_is_told_when_to_ask_again_where_that_is_known() {
        let tier = "developer".parse().unwrap();
        let told = too_many_sessions(&tier, 3, Some(at(930)), at(100));
        assert_eq!((told.code, told.retry_after_seconds), (ErrorCode::TooManySessions, Some(830)));
        assert!(told.hint.contains(&format!("ask again at {}", at(930))), "{}", told.hint);
        let untold = too_many_sessions(&tier, 3, None, at(100));
        assert!(
            untold.retry_after_seconds.is_none() && !untold.hint.contains("ask again"),
            "{}",
            untold.hint
        );
    }

    #[test]
    fn capacity_is_refused_from_the_limit_on() {
        let limits = Limits { session_principals: 2, ..Limits::default() };
        assert!(at_capacity(1, &limits).is_none());
        for counted in [2, 3] {
            let refusal = at_capacity(counted, &limits).unwrap();
            assert_eq!((refusal.code, refusal.retry_after_seconds), (ErrorCode::AtCapacity, Some(300)));
        }
    }
}
