//! Handing out credentials.

use sorry_session::State;

use crate::{
    cases::{Lasting, Past, Recorded, issue},
    harness::{Bench, LONGEST_WORKFLOW, SWEEP_EVERY, after, faults, sue},
};
use sorry_policy::SessionId;
use sorry_session::ports::Clock;

/// A tier for each grant whose credentials the service hands out, for the first time and again.
const ISSUED: [(&str, Past); 5] = [
    ("read-only+user", Past::Granted),
    ("read-only+user", Past::Issued),
    ("read-only+user", Past::KeyLeft),
    ("break-glass", Past::Granted),
    ("break-glass", Past::Issued),
];

/// The world before, when nobody is at it any more.
fn prepared(tier: &str, past: Past) -> (Bench, SessionId) {
    let (mut bench, id) = past.of(tier);
    bench.run_for(41);
    (bench, id)
}

pub(crate) fn recorded() -> [Recorded; 5] {
    ISSUED.map(|(tier, past)| {
        let (bench, id) = prepared(tier, past);
        let first = bench.world.calls().len();
        assert_eq!(issue(&bench, &id), Some(200));
        Recorded {
            operation: "issuing",
            about: format!("{tier}, {past:?}"),
            first,
            calls: bench.world.calls(),
            lasting: Lasting::ONCE_OR_LONGER,
            insisting: &[false],
            faults: faults(),
        }
    })
}

#[test]
fn a_roles_session_is_given_no_credentials() {
    let (bench, id) = prepared("developer", Past::Granted);
    assert_eq!(issue(&bench, &id), Some(400));
}

#[test]
fn invariant_4_issuing_unwinds_whatever_fails() {
    for ((tier, past), recorded) in ISSUED.into_iter().zip(recorded()) {
        assert!(recorded.calls.len() > recorded.first + 4, "{tier}: few calls");
        let takes_away = recorded.calls.iter().skip(recorded.first).any(|call| call.port == "take_away");
        assert_eq!(takes_away, past == Past::KeyLeft, "{tier}, {past:?}");
        let (before, id) = prepared(tier, past);
        recorded.for_each_case(|case| {
            let mut bench = before.fork();
            case.set(&mut bench);
            if let Some(answer) = bench.service.issue(&sue(), &id) {
                assert!(answer.status == 200 || answer.body["code"].is_string(), "{case}: {}", answer.body);
            }
            bench.world.clear_faults();
            // Whatever died is over by then, and nobody has to wait for a sweep.
            bench.run_for(41);
            assert_eq!(issue(&bench, &id), Some(200), "{case}: the next one is served");
            bench.settle();
            bench.assert_settled(case);
            assert_eq!(bench.session().unwrap().state, State::Active, "{case}");
            bench.service.revoke(&id).unwrap();
            bench.run_for(LONGEST_WORKFLOW);
            assert!(!bench.world.access(&id, bench.world.now()), "{case}: works after the revocation");
            let end = bench.session().unwrap().expires_at;
            bench.run_until(after(end, 3 * SWEEP_EVERY));
            bench.settle();
            bench.assert_settled(case);
            let row = bench.session().unwrap();
            assert_eq!((row.state, row.prune_at), (State::Revoked, None), "{case}");
        });
    }
}
