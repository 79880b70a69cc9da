//! Refusals of registered callers: one record per caller, rule and minute, however often somebody tries. What is not recorded is counted,
//! and the next record says how much that was. Callers that the registry does not know leave no record: anybody in the account could
//! fill the audit; the gateway's access log has them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Actor, Refusal, audit::AuditRecord, events::ChangedBy, ports::Clock};

/// How long a tally is kept after the last refusal that it counts, in seconds.
const TALLY_KEPT: i64 = 90 * 24 * 3600;

/// What is remembered of a caller's refusals by one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalTally {
    /// `refusal#<unique id>#<rule>`.
    pub key: String,
    /// The minute of the last record, in minutes since 1970.
    pub minute: i64,
    /// Refusals since then that have no record.
    pub unrecorded: u64,
    /// Epoch seconds; the table's garbage collection.
    pub ttl: i64,
}

/// What to write about a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalNote {
    /// The tally as it shall be.
    pub tally: RefusalTally,
    /// The record, the first time in a minute; not yet sealed.
    pub record: Option<AuditRecord>,
}

/// Key of the tally of a refusal.
pub fn tally_key(actor: &Actor, refusal: &Refusal) -> String {
    format!("refusal#{}#{}", actor.identity.unique_id, refusal.code)
}

/// What a caller wanted and did not get.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Method and path of the API document, such as `POST /tiers/{tier}/sessions`.
    pub operation: &'a str,
    /// The path as it was sent: the tier, the session.
    pub path: &'a str,
    /// The gateway's id of the request.
    pub request_id: &'a str,
}

/// Decides what to write about a refusal, given what was remembered. Nothing for a principal that is not registered.
pub fn note(
    actor: &Actor,
    refusal: &Refusal,
    attempt: Attempt<'_>,
    before: Option<&RefusalTally>,
    clock: &impl Clock,
) -> Option<RefusalNote> {
    let entry = actor.entry.as_ref()?;
    let now = clock.now();
    let this_minute = minute(now);
    let tally = RefusalTally {
        key: tally_key(actor, refusal),
        minute: this_minute,
        unrecorded: 0,
        ttl: now.as_second().saturating_add(TALLY_KEPT),
    };
    let unrecorded = before.map_or(0, |before| before.unrecorded);
    if before.is_some_and(|before| before.minute >= this_minute) {
        let tally = RefusalTally { unrecorded: unrecorded.saturating_add(1), ..tally };
        return Some(RefusalNote { tally, record: None });
    }
    let record = AuditRecord {
        subject: format!("refusals#{}", actor.identity.unique_id),
        sequence: clock.sequence(),
        at: now,
        what: format!("refused.{}", refusal.code),
        by: ChangedBy::actor(actor),
        details: json!({
            "person": entry.person,
            "namespace": entry.namespace,
            "operation": attempt.operation,
            "path": attempt.path.chars().take(256).collect::<String>(),
            "rule": refusal.code,
            "message": refusal.message,
            "request_id": attempt.request_id,
            "unrecorded_before": unrecorded,
        }),
        previous: None,
        hash: None,
    };
    Some(RefusalNote { tally, record: Some(record) })
}

fn minute(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorCode, decision::tests::actor, lifecycle::tests::at};

    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            at(self.0)
        }

        async fn pause(&self, _: std::time::Duration) {}
    }

    const ATTEMPT: Attempt<'_> = Attempt {
        operation: "POST /tiers/{tier}/sessions",
        path: "/tiers/admin/sessions",
        request_id: "r-1",
    };

    fn refusal(code: ErrorCode) -> Refusal {
        Refusal::new(code, "you are not registered for tier `admin`", "ask")
    }

    #[test]
    fn one_record_a_minute_and_the_next_says_how_many_were_left_out() {
        let refusal = refusal(ErrorCode::TierNotAllowed);
        let mut tally = None;
        let mut records = Vec::new();
        for second in [0, 1, 2, 59, 60, 61, 240] {
            let note = note(&actor(), &refusal, ATTEMPT, tally.as_ref(), &At(second)).unwrap();
            records.extend(note.record.map(|record| record.details["unrecorded_before"].clone()));
            tally = Some(note.tally);
        }
        assert_eq!(records, [0, 3, 1], "three minutes; none of the others is lost");
    }

    #[test]
    fn a_record_says_who_wanted_what_and_which_rule_refused() {
        let note = note(&actor(), &refusal(ErrorCode::TierNotAllowed), ATTEMPT, None, &At(0)).unwrap();
        assert_eq!(note.tally.key, "refusal#AIDAEXAMPLE#TierNotAllowed");
        let record = note.record.unwrap();
        assert_eq!(
            (record.subject.as_str(), record.what.as_str()),
            ("refusals#AIDAEXAMPLE", "refused.TierNotAllowed")
        );
        assert_eq!(record.by.person().unwrap().as_str(), "sue");
        assert_eq!(record.details["path"], "/tiers/admin/sessions");
        assert!(record.concerns("sue"));
    }

    #[test]
    fn whom_the_registry_does_not_know_leaves_nothing() {
        let stranger = Actor { entry: None, ..actor() };
        assert_eq!(note(&stranger, &refusal(ErrorCode::UnknownCaller), ATTEMPT, None, &At(0)), None);
    }

    #[test]
    fn rules_and_callers_do_not_share_their_minute() {
        let keys = [ErrorCode::TierNotAllowed, ErrorCode::WindowTooLong]
            .map(|code| tally_key(&actor(), &refusal(code)));
        assert_ne!(keys[0], keys[1]);
    }
}
