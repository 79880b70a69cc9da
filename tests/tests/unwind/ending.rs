//! The end of a session, at its time and before it, by the workflow.

use sorry_session::State;

use crate::{
    cases::{Lasting, Past, Recorded, TIERS, ask},
    harness::{Bench, LONGEST_WORKFLOW, after, faults},
};

/// What ends: of each grant all that it can have by then.
const LIVING: [(&str, Past); 6] = [
    ("developer", Past::Granted),
    ("developer", Past::Extended),
    ("break-glass", Past::Granted),
    ("break-glass", Past::Issued),
    ("read-only+user", Past::KeyLeft),
    ("read-only+user", Past::Extended),
];

fn revoked() -> impl Iterator<Item = (&'static str, Past)> {
    LIVING.into_iter().chain(TIERS.map(|tier| (tier, Past::Requested)))
}

fn revoke(bench: &Bench) -> Option<u16> {
    let session = bench.session()?;
    bench.service.revoke(&session.session_id).map(|response| response.status)
}

fn run_past_the_end(bench: &mut Bench) {
    let end = bench.session().unwrap().latest_end();
    bench.run_until(after(end, LONGEST_WORKFLOW));
}

pub(crate) fn recorded_expiries() -> Vec<Recorded> {
    let recorded = LIVING.into_iter().map(|(tier, past)| {
        let (mut bench, _) = past.of(tier);
        let first = bench.world.calls().len();
        bench.workflows.run_to_the_end();
        bench.assert_settled(&"expiry without faults");
        Recorded {
            operation: "expiry",
            about: format!("{tier}, {past:?}"),
            first,
            calls: bench.world.calls(),
            lasting: Lasting::ONCE_OR_LONGER,
            insisting: &[false],
            faults: faults(),
        }
    });
    recorded.collect()
}

pub(crate) fn recorded_revocations() -> Vec<Recorded> {
    let recorded = revoked().map(|(tier, past)| {
        let (mut bench, _) = past.of(tier);
        let first = bench.world.calls().len();
        assert_eq!(revoke(&bench), Some(202));
        bench.run_for(0);
        bench.assert_settled(&"revocation without faults");
        Recorded {
            operation: "revocation",
            about: format!("{tier}, {past:?}"),
            first,
            calls: bench.world.calls(),
            lasting: Lasting::ONCE_OR_LONGER,
            insisting: &[false, true],
            faults: faults(),
        }
    });
    recorded.collect()
}

#[test]
fn expiry_unwinds_whatever_fails() {
    for ((tier, past), recorded) in LIVING.into_iter().zip(recorded_expiries()) {
        let (living, _) = past.of(tier);
        recorded.for_each_case(|case| {
            let mut bench = living.fork();
            case.set(&mut bench);
            run_past_the_end(&mut bench);
            bench.settle();
            bench.assert_settled(case);
            assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
        });
    }
}

#[test]
fn invariant_5_revocation_unwinds_whatever_fails() {
    for ((tier, past), recorded) in revoked().zip(recorded_revocations()) {
        // Credentials that are out are refused by a write of their own.
        if (tier, past) == ("break-glass", Past::Issued) {
            let denied = |about: &str| about.starts_with("revoked-");
            assert!(
                recorded.calls.iter().any(|call| call.port == "put_inline_policy" && denied(&call.about))
            );
        }
        let before = if past == Past::Requested { State::Requested } else { State::Active };
        let (living, id) = past.of(tier);
        recorded.for_each_case(|case| {
            let mut bench = living.fork();
            case.set(&mut bench);
            let accepted = ask(&mut bench, case.insisting, revoke);
            bench.run_for(LONGEST_WORKFLOW);
            let decided = bench.session().unwrap().state != before;
            assert!(decided || !accepted, "{case}: accepted, and not decided");
            bench.settle();
            bench.assert_settled(case);
            let expected = match (decided, before) {
                (true, _) => State::Revoked,
                (false, State::Requested) => State::Failed,
                (false, state) => state,
            };
            assert_eq!(bench.session().unwrap().state, expected, "{case}");
            run_past_the_end(&mut bench);
            bench.settle();
            bench.assert_settled(case);
            assert!(bench.world.row(&id).unwrap().state.is_over(), "{case}");
        });
    }
}
