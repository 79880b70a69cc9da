//! Callers that are whole roles: what rests on their entry, and what goes with it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use harness::{Bench, SWEEP_EVERY, administrator, sue};
use serde_json::{Value, json};
use sorry_policy::SessionId;
use sorry_session::{
    CallerEntry, Identity, State,
    ports::{Clock, Registry},
    sweep::SweepReport,
};
use sorry_testkit::block_on;

const ROLE: &str = "AROAEXAMPLE";

/// A session of the role `build`.
fn robot(name: &str) -> Identity {
    Identity {
        unique_id: format!("{ROLE}:{name}"),
        arn: format!("arn:aws:sts::123456789012:assumed-role/build/{name}"),
        ..sue()
    }
}

/// A bench on which what `sue` may do the role may, too.
fn bench() -> (Bench, CallerEntry) {
    let bench = Bench::new();
    let sues = block_on(bench.world.caller(&sue().unique_id)).unwrap().unwrap();
    let entry = CallerEntry {
        unique_id: ROLE.into(),
        arn: "arn:aws:iam::123456789012:role/build".into(),
        person: "build".parse().unwrap(),
        namespace: "build".parse().unwrap(),
        ..sues
    };
    bench.world.plant_caller(entry.clone());
    (bench, entry)
}

fn ask(bench: &Bench, who: &Identity, key: &str) -> (u16, Value) {
    let body = json!({"client_request_id": key, "duration_seconds": 3600});
    let answer = bench.service.send(who, "POST", "/tiers/{tier}/sessions", "developer", &body).unwrap();
    (answer.status, answer.body)
}

fn granted(bench: &mut Bench, who: &Identity, key: &str) -> SessionId {
    let (status, body) = ask(bench, who, key);
    assert_eq!(status, 202, "{body}");
    bench.run_for(0);
    let id: SessionId = serde_json::from_value(body["session_id"].clone()).unwrap();
    assert_eq!(bench.world.row(&id).unwrap().state, State::Active);
    id
}

#[test]
fn a_session_of_a_whole_role_lives_as_long_as_the_roles_entry() {
    let (mut bench, _) = bench();
    let id = granted(&mut bench, &robot("ci"), "request-1");
    let row = bench.world.row(&id).unwrap();
    assert_eq!((&row.caller, row.registration()), (&robot("ci"), ROLE));
    for _ in 0..3 {
        bench.run_for(SWEEP_EVERY);
        assert_eq!(bench.sweep(), SweepReport::default(), "the role is registered");
    }
    assert!(bench.world.usable(&id, bench.world.now()));
    // Both name their request alike, and they are two.
    let other = granted(&mut bench, &robot("cd"), "request-1");
    assert_ne!(id, other);
    let view = |who: &Identity| bench.service.send(who, "GET", "/sessions/{id}", id.as_str(), &Value::Null);
    assert!(view(&robot("ci")).unwrap().body["access"].is_object());
    assert!(view(&robot("cd")).unwrap().body.get("access").is_none());

    let removed = bench.service.send(&administrator(), "DELETE", "/admin/callers/{id}", ROLE, &Value::Null);
    let ended = removed.unwrap().body["ended"].clone();
    assert_eq!(ended.as_array().unwrap().len(), 2, "{ended}");
    assert_eq!(ask(&bench, &robot("ci"), "request-2").1["code"], "UnknownCaller");
    bench.settle();
    assert!(bench.world.rows().iter().all(|row| row.state == State::Revoked));
    bench.assert_settled(&"the role is removed");
}

/// An entry of the session's own, written later, does not keep what rests on another: it is another person's.
#[test]
fn what_rests_on_a_role_goes_with_it_whoever_its_session_has_become() {
    let (mut bench, entry) = bench();
    let id = granted(&mut bench, &robot("ci"), "request-1");
    let own = CallerEntry {
        unique_id: robot("ci").unique_id,
        arn: robot("ci").arn,
        person: "ann".parse().unwrap(),
        namespace: "ann".parse().unwrap(),
        ..entry
    };
    bench.world.plant_caller(own);
    bench.run_for(SWEEP_EVERY);
    assert_eq!(bench.sweep(), SweepReport::default());
    bench.world.remove_planted_caller(ROLE);
    assert_eq!(bench.sweep().repaired, 1);
    bench.settle();
    assert_eq!(bench.world.row(&id).unwrap().state, State::Revoked);
    let anns = granted(&mut bench, &robot("ci"), "request-2");
    assert_eq!(bench.world.row(&anns).unwrap().person.as_str(), "ann");
    bench.assert_settled(&"another entry");
}

/// The id is a key of the registry: nobody is found by a part of one but a role's session by its role.
#[test]
fn only_a_session_of_the_role_is_found_by_it() {
    let (bench, _) = bench();
    for stranger in
        ["AROAOTHER:ci", "AROAEXAMPL:ci", "AIDAEXAMPLE", "AROAEXAMPLE2:ci", ":ci", "ci:AROAEXAMPLE"]
    {
        let who = Identity { unique_id: stranger.into(), ..robot("ci") };
        assert_eq!(ask(&bench, &who, "request-1").1["code"], "UnknownCaller", "{stranger}");
    }
}
