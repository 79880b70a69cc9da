//! Extending a session, from the request until its row, and IAM, have the later end.

use std::collections::BTreeSet;

use sorry_session::{State, extension::ExtensionOutcome, ports::Clock};
use sorry_testkit::moment;

use crate::{
    cases::{Lasting, Recorded, ask, bench_with},
    harness::{Bench, LONGEST_WORKFLOW, faults},
};

/// Every grant that can be extended, with a tier, and whether the tiers are published ones. A standing role's session is asked for again.
const EXTENDED: [(&str, bool); 3] = [("developer", false), ("read-only+user", false), ("developer", true)];

/// In the last moment.
const LATE: [&str; 2] = ["developer", "read-only+user"];

/// Asks for an hour more.
fn extend(bench: &Bench) -> Option<u16> {
    let session = bench.session()?;
    bench.service.extend(&session.session_id, 3600).map(|response| response.status)
}

fn prepared(tier: &str, published: bool) -> Bench {
    let mut bench = bench_with(published);
    bench.granted(tier, "request-1");
    bench
}

fn prepared_late(tier: &str) -> Bench {
    let mut bench = prepared(tier, false);
    bench.run_until(moment(3598));
    bench
}

pub(crate) fn recorded() -> [Recorded; 3] {
    EXTENDED.map(|(tier, published)| {
        let mut bench = prepared(tier, published);
        let first = bench.world.calls().len();
        assert_eq!(extend(&bench), Some(202));
        bench.run_for(0);
        assert_eq!(bench.session().unwrap().expires_at, moment(7200));
        bench.assert_settled(&"an extension without faults");
        Recorded {
            operation: "extending",
            about: format!("{tier}{}", if published { ", published" } else { "" }),
            first,
            calls: bench.world.calls(),
            lasting: Lasting::ONCE_OR_LONGER,
            insisting: &[false, true],
            faults: faults(),
        }
    })
}

pub(crate) fn recorded_late() -> [Recorded; 2] {
    LATE.map(|tier| {
        let mut bench = prepared_late(tier);
        let first = bench.world.calls().len();
        assert_eq!(extend(&bench), Some(202));
        bench.run_for(0);
        Recorded {
            operation: "extending in the last moment",
            about: tier.to_owned(),
            first,
            calls: bench.world.calls(),
            lasting: Lasting::ONCE_OR_LONGER,
            insisting: &[false],
            faults: faults(),
        }
    })
}

#[test]
fn a_standing_roles_session_is_not_extended() {
    let bench = prepared("break-glass", false);
    assert_eq!(extend(&bench), Some(409));
}

#[test]
fn extending_unwinds_whatever_fails() {
    let mut visited = BTreeSet::new();
    let mut outcomes = BTreeSet::new();
    for ((tier, published), recorded) in EXTENDED.into_iter().zip(recorded()) {
        let calls = &recorded.calls;
        let writes = |port: &str| calls.iter().skip(recorded.first).filter(|call| call.port == port).count();
        // A user is trusted by nobody.
        let trusts = usize::from(!tier.ends_with("+user"));
        assert_eq!(
            (writes("put_trust_policy"), writes("put_inline_policy"), writes("start_extension")),
            (trusts, 1, 1)
        );
        let began = calls.iter().position(|call| call.port == "start_extension").unwrap();
        let before = prepared(tier, published);
        recorded.for_each_case(|case| {
            let mut bench = before.fork();
            let id = bench.session().unwrap().session_id;
            case.set(&mut bench);
            let accepted = ask(&mut bench, case.insisting, extend);
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(case);
            let row = bench.world.row(&id).unwrap();
            assert_eq!(row.state, State::Active, "{case}: an extension that fails costs nothing");
            let outcome = row.extension.as_ref().and_then(|extension| extension.settled.clone());
            assert!(outcome.is_some() || !accepted, "{case}: accepted, and nobody says what came of it");
            let done = outcome.is_some_and(|settled| settled.outcome == ExtensionOutcome::Done);
            let end = moment(if done { 7200 } else { 3600 });
            assert_eq!(row.expires_at, end, "{case}");
            if case.is_passing() && case.number > began {
                assert!(done, "{case}: one passing fault is no reason to fail");
            }
            outcomes.insert(done);
            bench.run_until(moment(end.as_second() - moment(0).as_second() - 1));
            assert!(bench.world.usable(&id, bench.world.now()), "{case}: to the end that the row says");
            bench.run_until(moment(7200 + LONGEST_WORKFLOW));
            bench.settle();
            bench.assert_settled(case);
            assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
            visited.extend(bench.workflows.visited().iter().cloned());
        });
    }
    assert_eq!(outcomes.len(), 2, "some are done, some are not");
    for state in ["Extend", "NotExtended", "ExtensionLeftToTheSweep", "NotDue"] {
        assert!(visited.contains(state), "no case leads to `{state}`");
    }
}

/// Asked for in the last seconds: whatever fails, the session goes on or ends, and nothing gives access past the end that was decided.
#[test]
fn extending_in_the_last_moment_unwinds_whatever_fails() {
    for (tier, recorded) in LATE.into_iter().zip(recorded_late()) {
        let mut ends = BTreeSet::new();
        let before = prepared_late(tier);
        recorded.for_each_case(|case| {
            let mut bench = before.fork();
            let id = bench.session().unwrap().session_id;
            case.set(&mut bench);
            ask(&mut bench, false, extend);
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(case);
            let row = bench.world.row(&id).unwrap();
            match row.state {
                State::Active => assert_eq!(row.expires_at, moment(7200), "{case}"),
                State::Expired => assert_eq!(row.expires_at, moment(3600), "{case}"),
                state => panic!("{case}: {state}"),
            }
            ends.insert(row.state);
            bench.run_until(moment(7200 + LONGEST_WORKFLOW));
            bench.settle();
            bench.assert_settled(case);
            assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
        });
        assert_eq!(ends.len(), 2, "{tier}");
    }
}
