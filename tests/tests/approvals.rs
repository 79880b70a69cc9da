//! Several people's words at the same instant, in every order of their calls: one outcome, and never access that it does not allow.
//! On the world in memory; with real people at real terminals in tests/tests/end_to_end/approvals.rs.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

mod harness;

use std::{future::Future, pin::Pin};

use harness::{Bench, sue};
use serde_json::json;
use sorry_policy::SessionId;
use sorry_session::{Identity, Session, State, ports::Registry};
use sorry_testkit::{Fault, block_on, interleave};

type Step<'a> = Pin<Box<dyn Future<Output = u16> + 'a>>;

fn pending(bench: &Bench) -> SessionId {
    let response = bench.service.request("admin", "request-1").unwrap();
    assert_eq!(response.body["state"], "PENDING_APPROVAL", "{}", response.body);
    serde_json::from_value(response.body["session_id"].clone()).unwrap()
}

fn says<'a>(bench: &'a Bench, who: &'a Identity, word: &'a str, id: &'a SessionId) -> Step<'a> {
    Box::pin(async move {
        let body = json!({"decision": word});
        bench.service.answer(who, "POST", "/sessions/{id}/decision", id.as_str(), &body).await.status
    })
}

fn takes_back<'a>(bench: &'a Bench, id: &'a SessionId) -> Step<'a> {
    Box::pin(async move {
        bench.service.answer(&sue(), "DELETE", "/sessions/{id}", id.as_str(), &json!(null)).await.status
    })
}

/// Runs the words beside each other in a drawn order, then lets everything come to rest.
fn race(words: &[(&str, &str)], revoked: bool, seed: u64) -> (Session, Vec<u16>) {
    let mut bench = Bench::new();
    let people: Vec<Identity> = words.iter().map(|(person, _)| bench.approver(person)).collect();
    let id = pending(&bench);
    let mut steps: Vec<Step<'_>> =
        words.iter().zip(&people).map(|((_, word), who)| says(&bench, who, word, &id)).collect();
    if revoked {
        steps.push(takes_back(&bench, &id));
    }
    let answers = interleave(&bench.world, steps, seed);
    bench.run_for(60);
    if bench.session().unwrap().state != State::Active {
        bench.settle();
    }
    bench.assert_settled(&format!("{words:?}, revoked {revoked}, seed {seed}"));
    (bench.session().unwrap(), answers)
}

const SEEDS: std::ops::Range<u64> = 0..150;

#[test]
fn two_approvers_at_the_same_instant_give_one_session() {
    for seed in SEEDS {
        let (session, answers) = race(&[("ann", "approve"), ("bob", "approve")], false, seed);
        assert_eq!(session.state, State::Active, "seed {seed}");
        // The second one finds it decided, unless both were counted.
        assert!(answers.iter().all(|status| [200, 409].contains(status)), "seed {seed}: {answers:?}");
        assert!(answers.contains(&200), "seed {seed}");
    }
}

#[test]
fn of_an_approver_and_a_denier_the_denier_wins_in_every_order() {
    for seed in SEEDS {
        let (session, answers) = race(&[("ann", "approve"), ("bob", "deny")], false, seed);
        assert_eq!((session.state, answers[1]), (State::Denied, 200), "seed {seed}");
    }
}

#[test]
fn what_its_owner_takes_back_is_not_granted_in_any_order() {
    for seed in SEEDS {
        let (session, _) = race(&[("ann", "approve")], true, seed);
        assert_eq!(session.state, State::Revoked, "seed {seed}");
        let (session, _) = race(&[("ann", "approve"), ("bob", "deny")], true, seed);
        assert!([State::Revoked, State::Denied].contains(&session.state), "seed {seed}");
    }
}

/// Each call of an approval fails in each way: said again, it comes to what it would have come to.
#[test]
fn an_approval_that_failed_half_way_is_made_whole_by_saying_it_again() {
    let mut cases = 0;
    for number in 0.. {
        let mut reached = false;
        for fault in Fault::ALL {
            let mut bench = Bench::new();
            let ann = bench.approver("ann");
            let id = pending(&bench);
            let first = bench.world.calls().len();
            bench.world.fail_call(first + number, fault);
            let body = json!({"decision": "approve"});
            bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &body);
            reached |= bench.world.calls().iter().any(|call| call.fault.is_some());
            bench.world.clear_faults();
            bench.run_for(5);
            bench.world.land_late_writes();
            let again = bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &body);
            assert_eq!(again.map(|answer| answer.status), Some(200), "call {number}, {fault:?}");
            bench.run_for(60);
            assert_eq!(bench.session().unwrap().state, State::Active, "call {number}, {fault:?}");
            bench.sweep();
            bench.assert_settled(&format!("call {number}, {fault:?}"));
            cases += 1;
        }
        if !reached {
            break;
        }
    }
    println!("{cases} cases");
}

#[test]
fn a_request_that_nobody_decides_on_lapses_and_tells() {
    let mut bench = Bench::new();
    let ann = bench.approver("ann");
    let id = pending(&bench);
    assert!(bench.world.published().iter().any(|event| event.detail["alert"] == true), "approvers are told");
    bench.run_for(240 * 60);
    let late = bench.service.send(
        &ann,
        "POST",
        "/sessions/{id}/decision",
        id.as_str(),
        &json!({"decision": "approve"}),
    );
    assert_eq!(late.unwrap().body["code"], "ApprovalLapsed");
    bench.sweep();
    let session = bench.session().unwrap();
    assert_eq!(session.state, State::Expired);
    assert_eq!(session.end.as_ref().unwrap().failure.as_ref().unwrap().code, "ApprovalLapsed");
    bench.assert_settled(&"lapsed");
}

/// Hours pass between a request and its approval: what an administrator has taken away meanwhile is not granted.
#[test]
fn an_approval_grants_nothing_that_the_owners_entry_no_longer_allows() {
    let bench = Bench::new();
    let ann = bench.approver("ann");
    let id = pending(&bench);
    let mut entry = block_on(bench.world.caller(&sue().unique_id)).unwrap().unwrap();
    entry.tiers.remove(&"admin".parse().unwrap());
    bench.world.plant_caller(entry);
    let word = json!({"decision": "approve"});
    let refused = bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &word).unwrap();
    assert_eq!(refused.body["code"], "TierNotAllowed", "{}", refused.body);
    assert_eq!(bench.session().unwrap().state, State::PendingApproval);
    let denied = bench.service.send(
        &ann,
        "POST",
        "/sessions/{id}/decision",
        id.as_str(),
        &json!({"decision": "deny"}),
    );
    assert_eq!(denied.unwrap().status, 200, "no is always heard");
}
