//! Granting a session, from the request until it is ACTIVE.

use std::collections::BTreeSet;

use sorry_session::State;
use sorry_testkit::{Call, moment};

use crate::{
    cases::{Lasting, Recorded, ask, bench_with, request},
    harness::{self, Bench, LONGEST_WORKFLOW, faults},
};

/// The tiers, and whether they are published ones.
const GRANTS: [(&str, bool); 4] =
    [("developer", false), ("break-glass", false), ("read-only+user", false), ("developer", true)];

/// The calls of a grant without faults, request included.
pub(crate) fn calls_of_granting(tier: &str, published: bool) -> Vec<Call> {
    let mut bench = bench_with(published);
    bench.granted(tier, "request-1");
    bench.world.calls()
}

pub(crate) fn recorded() -> [Recorded; 4] {
    GRANTS.map(|(tier, published)| Recorded {
        operation: "granting",
        about: format!("{tier}{}", if published { ", published" } else { "" }),
        first: 0,
        calls: calls_of_granting(tier, published),
        lasting: Lasting::ALL,
        insisting: &[false, true],
        faults: faults(),
    })
}

#[test]
fn invariant_4_granting_unwinds_whatever_fails() {
    let mut visited = BTreeSet::new();
    for ((tier, published), recorded) in GRANTS.into_iter().zip(recorded()) {
        let calls = &recorded.calls;
        assert_eq!(
            calls.iter().filter(|call| call.port == "tier_set").count(),
            if published { 2 } else { 0 }
        );
        let prepared = bench_with(published);
        recorded.for_each_case(|case| {
            let mut bench = prepared.fork();
            case.set(&mut bench);
            let accepted = ask(&mut bench, case.insisting, |bench| request(bench, tier));
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(case);
            let state = bench.session().map(|session| session.state);
            match state {
                Some(State::Active | State::Failed) => {}
                None => assert!(!accepted, "{case}: accepted, and there is no row"),
                Some(state) => panic!("{case}: {state}"),
            }
            let in_provision = provision_began(calls).is_some_and(|began| case.number >= began);
            if case.is_passing() && in_provision {
                assert_eq!(state, Some(State::Active), "{case}: one passing fault is no reason to fail");
            }
            bench.run_until(moment(3600 + 3 * LONGEST_WORKFLOW));
            bench.settle();
            bench.assert_settled(case);
            let end = bench.session().map(|session| session.state);
            assert_eq!(
                end,
                state.map(|state| if state == State::Active { State::Expired } else { state }),
                "{case}"
            );
            visited.extend(bench.workflows.visited().iter().cloned());
        });
    }
    println!("states of the machine that were run: {visited:?}");
    for state in
        ["Alert", "Provision", "WaitUntilExpiry", "CleanUp", "Pending", "GiveUp", "LeftToTheSweep", "NotDue"]
    {
        assert!(visited.contains(state), "no case leads to `{state}`");
    }
}

/// The number of the first call that the function `provision` makes.
fn provision_began(calls: &[Call]) -> Option<usize> {
    let commit = calls.iter().position(|call| call.port == "commit" && call.about == "PROVISIONING")?;
    commit.checked_sub(1)
}

/// A person who is registered the moment their user was made, and asks: IAM takes up to half a minute to know them.
#[test]
fn a_caller_that_iam_learns_of_late_is_granted_and_one_that_it_never_does_is_named() {
    for (known_after, granted) in [(1, true), (30, true), (44, true), (100, false)] {
        let mut bench = Bench::new();
        bench.world.know_principals_from(moment(known_after));
        assert_eq!(bench.service.request("developer", "request-1").unwrap().status, 202);
        bench.run_for(60);
        let row = bench.session().unwrap();
        let label = format!("known after {known_after} s: {:?}", row.end);
        if granted {
            assert_eq!(row.state, State::Active, "{label}");
            continue;
        }
        let failure = row.end.as_ref().unwrap().failure.clone().unwrap();
        assert_eq!(failure.code, "CallerUnknownToIam", "{label}");
        let caller = harness::sue();
        assert!(
            failure.message.contains(&caller.arn) && failure.message.contains(&caller.unique_id),
            "{label}"
        );
        bench.settle();
        assert_eq!(bench.session().unwrap().state, State::Failed, "{label}");
        bench.assert_settled(&label);
    }
}

#[test]
fn a_window_that_is_over_is_not_tried_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.service.request("developer", "request-1").unwrap().status, 202);
    let tries = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = tries.clone();
    bench.workflows.watch(move |world, execution| {
        if execution.state == "Provision" {
            if counted.get() == 0 {
                world.advance(3600);
            }
            counted.set(counted.get() + 1);
        }
    });
    bench.run_for(3660);
    let row = bench.session().unwrap();
    assert_eq!((row.state, tries.get()), (State::Failed, 1));
    assert_eq!(row.end.clone().unwrap().failure.unwrap().code, "WindowOver");
    bench.assert_settled(&"a window that is over");
}
