//! Limits and suspension, over the real API in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::future::Future;

use harness::{Bench, administrator, sue};
use serde_json::Value;
use sorry_api::Response;
use sorry_policy::{SessionId, TierName};
use sorry_session::{State, ports::Clock};
use sorry_testkit::{Fault, block_on, interleave, moment};

fn developer() -> TierName {
    "developer".parse().unwrap()
}

#[track_caller]
fn refused(response: &Response, code: &str) -> Value {
    assert_eq!(response.body["code"], code, "{}", response.body);
    assert!(!response.body["hint"].as_str().unwrap().is_empty(), "invariant 10: {}", response.body);
    response.body.clone()
}

fn request(bench: &Bench, number: usize) -> Response {
    bench.service.request("developer", &format!("request-{number}")).unwrap()
}

#[test]
fn a_caller_has_as_many_live_sessions_of_a_tier_as_it_may_and_a_place_is_free_when_one_is_over() {
    let mut bench = Bench::new();
    let ids: Vec<SessionId> =
        (0..3).map(|number| bench.granted("developer", &format!("request-{number}"))).collect();
    let fourth = request(&bench, 3);
    assert_eq!(fourth.status, 429);
    let body = refused(&fourth, "TooManySessions");
    assert!(body["message"].as_str().unwrap().contains("3 sessions"));
    // The first of them ends in an hour, and its workflow is given its time.
    assert_eq!(body["retry_after_seconds"], 3630, "{body}");
    // Sent again, a request that was granted is no further one; another tier has places of its own.
    assert_eq!(request(&bench, 2).status, 202);
    bench.granted("read-only", "request-other");

    // Ending is decided at once, and the place is free when nothing is left.
    bench.service.revoke(&ids[0]).unwrap();
    assert_eq!(refused(&request(&bench, 3), "TooManySessions")["retry_after_seconds"], 30);
    bench.run_for(0);
    assert_eq!(bench.world.row(&ids[0]).unwrap().state, State::Revoked);
    assert_eq!(request(&bench, 3).status, 202);
    // Those that expire free theirs, too.
    bench.run_until(moment(2 * 3600));
    bench.settle();
    assert!(bench.world.counted_live(&sue().unique_id, &developer()).is_empty());
    bench.assert_settled(&"limits");
}

#[test]
fn who_has_too_many_sessions_and_asks_again_when_the_answer_says_is_granted() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.granted("developer", &format!("request-{number}"));
        bench.run_for(60);
    }
    let seconds = refused(&request(&bench, 3), "TooManySessions")["retry_after_seconds"].as_i64().unwrap();
    assert_eq!(seconds, 3600 - 180 + 30, "the first that ends, and not the last");
    bench.run_for(seconds);
    assert_eq!(request(&bench, 3).status, 202);
    assert_eq!(refused(&request(&bench, 4), "TooManySessions")["retry_after_seconds"], 30 + 30);
    // The list of sessions may fail, or lag: refused all the same, and it is not said when.
    bench.world.fail_port("list", Fault::Refused);
    let untold = request(&bench, 4);
    assert_eq!(untold.status, 429);
    assert!(refused(&untold, "TooManySessions").get("retry_after_seconds").is_none());
}

#[test]
fn the_sweep_takes_out_of_the_count_what_is_over_all_the_same() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    let lost = SessionId::from_random([9; 10]);
    bench.world.plant_live(&sue().unique_id, &developer(), &lost);
    assert_eq!(bench.sweep().forgotten, 1);
    assert_eq!(bench.world.counted_live(&sue().unique_id, &developer()), [id].into());
    assert_eq!(bench.sweep().forgotten, 0);
}

#[test]
fn a_caller_asks_so_often_in_a_minute_and_no_more_and_the_same_request_counts_once() {
    let mut bench = Bench::new();
    bench.world.lift_limits();
    for number in 0..100 {
        assert_eq!(request(&bench, number).status, 202, "{number}");
        assert_eq!(request(&bench, number).status, 202, "{number}, sent again");
    }
    let beyond = request(&bench, 100);
    assert_eq!(beyond.status, 429);
    let body = refused(&beyond, "TooManyRequests");
    let seconds = body["retry_after_seconds"].as_i64().unwrap();
    assert!((1..=60).contains(&seconds));
    // What was accepted is still answered, looking and ending are never counted, an extension is.
    assert_eq!(request(&bench, 7).status, 202);
    bench.run_for(0);
    let id = bench.world.rows()[0].session_id.clone();
    refused(&bench.service.extend(&id, 60).unwrap(), "TooManyRequests");
    assert_eq!(bench.service.list(&[]).unwrap().status, 200);
    assert_eq!(bench.service.revoke(&id).unwrap().status, 202);
    // When the answer says, the next minute has begun.
    bench.run_for(seconds);
    assert_eq!(request(&bench, 100).status, 202);
}

#[test]
fn nothing_is_lent_while_the_sweep_counts_too_many_principals() {
    let mut bench = Bench::new();
    bench.granted("developer", "request-1");
    assert_eq!(bench.world.counted_principals(), Some(0), "as the last sweep found");
    bench.sweep();
    assert_eq!(bench.world.counted_principals(), Some(1));
    bench.world.plant_principals(800);
    let refusal = request(&bench, 2);
    assert_eq!(refusal.status, 429);
    assert_eq!(refused(&refusal, "AtCapacity")["retry_after_seconds"], 300);
    bench.sweep();
    assert_eq!(request(&bench, 2).status, 202);
}

fn suspension(bench: &Bench, method: &str) -> Response {
    let id = sue().unique_id;
    bench.service.send(&administrator(), method, "/admin/callers/{id}/suspension", &id, &Value::Null).unwrap()
}

#[test]
fn a_suspended_caller_loses_its_sessions_and_is_answered_nothing_until_it_is_resumed() {
    let mut bench = Bench::new();
    let active = bench.granted("developer", "request-1");
    let asked = request(&bench, 2);
    let asked: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();

    let suspended = suspension(&bench, "PUT");
    assert_eq!(suspended.status, 200, "{}", suspended.body);
    assert_eq!(suspended.body["ended"].as_array().unwrap().len(), 2);
    assert!(suspended.body["caller"]["suspended_at"].is_string());
    bench.run_for(600);
    for id in [&active, &asked] {
        assert_eq!(bench.world.row(id).unwrap().state, State::Revoked);
        assert!(!bench.world.access(id, bench.world.now()));
    }
    for refusal in [
        request(&bench, 3),
        bench.service.list(&[]).unwrap(),
        bench.service.extend(&active, 60).unwrap(),
        bench.service.send(&sue(), "GET", "/tiers", "", &Value::Null).unwrap(),
    ] {
        assert_eq!(refusal.status, 403);
        refused(&refusal, "CallerSuspended");
    }
    let seen = bench.service.send(&sue(), "GET", "/whoami", "", &Value::Null).unwrap();
    assert!(seen.body["caller"]["suspended_at"].is_string(), "{}", seen.body);
    assert_eq!(suspension(&bench, "DELETE").status, 200);
    assert_eq!(request(&bench, 3).status, 202);
    let told: Vec<String> = bench
        .world
        .audit(&format!("caller#{}", sue().unique_id))
        .iter()
        .map(|record| record.what.clone())
        .collect();
    assert_eq!(told, ["caller.suspended", "caller.resumed"]);
    assert!(bench.world.violations().is_empty(), "{:?}", bench.world.violations());
}

/// Another caller's unique id, and what an administrator registers it with.
const BOB: &str = "AIDAEXAMPLEEXAMPLE";

fn bob() -> Value {
    serde_json::json!({
        "arn": "arn:aws:iam::123456789012:user/sorry/caller/bob-mgr", "person": "bob", "namespace": "bob",
        "tiers": {"developer": 4},
    })
}

#[test]
fn to_register_a_suspended_caller_again_does_not_lift_the_suspension() {
    let bench = Bench::new();
    let entry = bob();
    let send = |method: &str, resource: &str, body: &Value| {
        bench.service.send(&administrator(), method, resource, BOB, body).unwrap()
    };
    assert!(send("PUT", "/admin/callers/{id}", &entry).body.get("suspended_at").is_none());
    assert_eq!(send("PUT", "/admin/callers/{id}/suspension", &Value::Null).status, 200);
    assert!(send("PUT", "/admin/callers/{id}", &entry).body["suspended_at"].is_string());
    assert!(
        send("DELETE", "/admin/callers/{id}/suspension", &Value::Null).body.get("suspended_at").is_none()
    );
}

#[test]
fn of_two_administrators_at_once_none_undoes_what_the_other_did() {
    let entry = bob();
    let mut lost = 0;
    for (seed, other) in (0..100).flat_map(|seed| [(seed, "PUT"), (seed, "DELETE")]) {
        let bench = Bench::new();
        let send = |method: &'static str, resource: &'static str| {
            let (bench, entry) = (&bench, &entry);
            Box::pin(async move {
                bench.service.answer(&administrator(), method, resource, BOB, entry).await.status
            })
        };
        assert_eq!(block_on(send("PUT", "/admin/callers/{id}")), 200);
        let steps: Vec<std::pin::Pin<Box<dyn Future<Output = u16>>>> =
            vec![send("PUT", "/admin/callers/{id}/suspension"), send(other, "/admin/callers/{id}")];
        let answers = interleave(&bench.world, steps, seed);
        let left = bench.world.entry(BOB);
        match (other, answers.as_slice()) {
            ("DELETE", [200 | 404, 200]) => assert_eq!(left, None, "seed {seed}: {answers:?}"),
            ("PUT", [200, 200 | 409]) => {
                assert!(left.unwrap().suspended.is_some(), "seed {seed}: {answers:?}");
            }
            _ => panic!("{other}, seed {seed}: {answers:?}"),
        }
        lost += answers.iter().filter(|status| **status != 200).count();
    }
    assert!(lost > 10, "the two hardly met: {lost}");
}

#[test]
fn suspension_is_for_administrators_and_of_those_who_are_registered() {
    let bench = Bench::new();
    let own =
        bench.service.send(&sue(), "PUT", "/admin/callers/{id}/suspension", &sue().unique_id, &Value::Null);
    refused(&own.unwrap(), "NotAllowed");
    let nobody = bench.service.send(
        &administrator(),
        "PUT",
        "/admin/callers/{id}/suspension",
        "AIDANOBODY",
        &Value::Null,
    );
    refused(&nobody.unwrap(), "NotFound");
}

/// Written while the suspension looked for sessions, in a list that lags.
#[test]
fn what_the_suspension_did_not_see_the_sweep_ends() {
    let mut bench = Bench::new();
    bench.world.set_index_lag(60);
    let id = bench.granted("developer", "request-1");
    assert_eq!(suspension(&bench, "PUT").body["ended"].as_array().unwrap().len(), 0);
    bench.run_for(61);
    assert_eq!(bench.sweep().repaired, 1);
    bench.run_for(600);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Revoked);
}

/// The transaction itself says no: suspended between the look at the registry and the write of the row.
#[test]
fn a_caller_suspended_before_the_row_is_written_gets_no_session() {
    let mut bench = Bench::new();
    let create = {
        let bench = Bench::new();
        let first = bench.world.calls().len();
        request(&bench, 1);
        first + bench.world.calls()[first..].iter().position(|call| call.port == "create").unwrap()
    };
    let service = bench.service.clone();
    let id = sue().unique_id;
    let world = bench.world.clone();
    bench.world.before_call(create, move |_| {
        let mut entry = world.entry(&id).unwrap();
        entry.suspended = Some(sorry_session::caller::Suspension { at: moment(0), by: "test".into() });
        world.plant_caller(entry);
    });
    refused(&service.request("developer", "request-1").unwrap(), "CallerSuspended");
    bench.run_for(600);
    assert!(bench.session().is_none());
}
