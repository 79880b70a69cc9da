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
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_policy::{SessionId, TierSet};
use sorry_session::{
    Identity, Session, State,
    ports::{Clock, Registry},
};
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

/// The built-in tiers, with another policy for `admin`, less of it, and more approvals.
fn narrowed() -> TierSet {
    let mut set = TierSet::built_in();
    let (before, admin) = set.tiers.split_once("[tiers.admin]").unwrap();
    let admin =
        admin.replacen("maximum_hours = 8", "maximum_hours = 1", 1).replacen("count = 1", "count = 2", 1);
    set.tiers = format!("{before}[tiers.admin]{admin}");
    let template = set.templates.get_mut("admin.json").unwrap();
    let mut document: Value = serde_json::from_str(template).unwrap();
    let statement = json!({"Sid": "Published", "Effect": "Deny", "Action": "sqs:*", "Resource": "*"});
    document["Statement"].as_array_mut().unwrap().push(statement);
    *template = document.to_string();
    set
}

/// What an approval is bound to.
fn bound(session: &Session) -> (String, String, std::time::Duration) {
    (json!(session.policy_digest).to_string(), session.grant.to_string(), session.window())
}

fn access_policy(bench: &Bench, id: &SessionId) -> String {
    let row = bench.world.row(id).unwrap();
    let role = bench.world.roles().into_iter().find(|role| role.name == row.role_name.as_str()).unwrap();
    role.inline["access"].clone()
}

fn word(bench: &Bench, who: &Identity, id: &SessionId, body: &Value) -> Response {
    bench.service.send(who, "POST", "/sessions/{id}/decision", id.as_str(), body).unwrap()
}

/// Whatever is published between a request and its approval, or between the approval and the making: what is granted is what was asked
/// for and approved, to the digest, the hours and the grant; or nothing.
#[test]
fn an_approval_grants_what_was_asked_for_whatever_is_published_meanwhile() {
    for before_the_approval in [true, false] {
        let mut bench = Bench::new();
        let ann = bench.approver("ann");
        let id = pending(&bench);
        let asked = bound(&bench.session().unwrap());
        let publish = |bench: &Bench| assert_eq!(bench.service.publish(&narrowed()).unwrap().status, 200);
        if before_the_approval {
            publish(&bench);
        }
        bench.run_for(600);
        assert_eq!(word(&bench, &ann, &id, &json!({"decision": "approve"})).body["state"], "REQUESTED");
        if !before_the_approval {
            publish(&bench);
        }
        bench.run_for(0);
        let row = bench.session().unwrap();
        assert_eq!((row.state, bound(&row)), (State::Active, asked.clone()));
        assert_eq!(row.expires_at.duration_since(row.approved_at.unwrap()).as_secs(), 3600);
        assert!(!access_policy(&bench, &id).contains("Published"));

        // Who asks now is decided on, and given, what is in force now; nobody's earlier word counts for that.
        let response = bench.service.request("admin", "request-2").unwrap();
        let next: SessionId = serde_json::from_value(response.body["session_id"].clone()).unwrap();
        assert_ne!(bound(&bench.world.row(&next).unwrap()).0, asked.0);
        assert_eq!(
            word(&bench, &ann, &next, &json!({"decision": "approve"})).body["state"],
            "PENDING_APPROVAL"
        );
        let bob = bench.approver("bob");
        word(&bench, &bob, &next, &json!({"decision": "approve"}));
        bench.run_for(0);
        assert!(access_policy(&bench, &next).contains("Published"));
        bench.settle();
        bench.assert_settled(&"tiers were published meanwhile");
    }
}

/// The set that the row names is gone, or another than its digest says, when the role is to be made: nothing else is made instead.
#[test]
fn an_approval_grants_nothing_when_what_it_was_given_for_cannot_be_had() {
    let wider: fn(&str) -> Option<String> = |stored| Some(stored.replace("sqs:*", "sqs:Nothing"));
    for damage in [wider, |_| None] {
        let mut bench = Bench::new();
        let (ann, bob) = (bench.approver("ann"), bench.approver("bob"));
        assert_eq!(bench.service.publish(&narrowed()).unwrap().status, 200);
        let id = pending(&bench);
        for who in [&ann, &bob] {
            assert_eq!(word(&bench, who, &id, &json!({"decision": "approve"})).status, 200);
        }
        bench.world.damage_tier_sets(damage);
        bench.run_for(harness::LONGEST_WORKFLOW);
        let row = bench.session().unwrap();
        assert_eq!(row.state, State::Failed);
        assert_eq!(row.end.as_ref().unwrap().failure.as_ref().unwrap().code, "TiersUnusable");
        assert!(!bench.world.access(&id, bench.world.now()) && bench.world.session_role_names().is_empty());
        bench.assert_settled(&"nothing to grant");
    }
}

/// A session can ask for one extension after the other. What was said of the session, or of one of them, is never said of the next: not
/// by who says it twice since the first answer was lost, and not by who says it late.
#[test]
fn an_approval_of_one_extension_is_never_one_of_another() {
    let mut bench = Bench::new();
    let (ann, bob) = (bench.approver("ann"), bench.approver("bob"));
    let id = pending(&bench);
    let of_session = json!({"decision": "approve"});
    assert_eq!(word(&bench, &ann, &id, &of_session).status, 200);
    bench.run_for(0);
    let (old_end, asked) = {
        let row = bench.session().unwrap();
        (row.expires_at, bound(&row))
    };
    let extend = |bench: &Bench, seconds: u64| {
        let answer = bench.service.extend(&id, seconds).unwrap();
        assert_eq!((answer.status, &answer.body["extension"]["status"]), (202, &json!("awaiting-approval")));
        answer.body["extension"]["extending_to"].clone()
    };
    let unmoved = |bench: &mut Bench, answer: &Response, status: u16| {
        bench.run_for(0);
        let row = bench.session().unwrap();
        assert_eq!((answer.status, row.expires_at), (status, old_end), "{}", answer.body);
        assert!(row.extension_under_way().is_none());
    };

    let first = extend(&bench, 600);
    // Bob has read of the session, and Ann's answer was lost.
    let late = word(&bench, &bob, &id, &of_session);
    unmoved(&mut bench, &late, 409);
    assert_eq!(late.body["code"], "NotAwaiting");
    let again = word(&bench, &ann, &id, &of_session);
    unmoved(&mut bench, &again, 200);
    let denied = word(&bench, &bob, &id, &json!({"decision": "deny", "extending_to": first}));
    unmoved(&mut bench, &denied, 200);

    // Ann has read of the first, and meanwhile it is the second.
    let second = extend(&bench, 7 * 3600);
    let of_first = json!({"decision": "approve", "extending_to": first});
    let late = word(&bench, &ann, &id, &of_first);
    unmoved(&mut bench, &late, 409);
    assert!(late.body["hint"].as_str().unwrap().contains(second.as_str().unwrap()), "{}", late.body);
    // Tiers that are published meanwhile change nothing of it, either.
    assert_eq!(bench.service.publish(&narrowed()).unwrap().status, 200);
    let given = word(&bench, &ann, &id, &json!({"decision": "approve", "extending_to": second}));
    assert_eq!(given.status, 200, "{}", given.body);
    bench.run_for(0);
    let row = bench.session().unwrap();
    assert_eq!(json!(row.expires_at), second);
    assert_eq!((bound(&row).0, bound(&row).1), (asked.0, asked.1));
    assert!(!access_policy(&bench, &id).contains("Published"));
    // Of what is settled, both can be said again, and come to nothing more.
    assert_eq!(word(&bench, &ann, &id, &of_first).status, 409);
    assert_eq!(word(&bench, &ann, &id, &json!({"decision": "approve", "extending_to": second})).status, 200);
    bench.run_until(row.expires_at);
    bench.settle();
    bench.assert_settled(&"one extension after the other");
}
