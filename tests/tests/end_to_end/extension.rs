//! A later end, on the whole system: the credentials that were issued work past the old end and stop at the new one.

use std::thread;

use jiff::Timestamp;
use serde_json::Value;
use sorry_tests::{Finished, LocalAws, Person, eventually};

use crate::{PATIENCE, namespace_call, reaches, request};

#[track_caller]
fn extend(person: &Person, session: &str, more: &str) -> Finished {
    person.sorry(&["extend", session, "--for", more, "--output", "json"])
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("a time")
}

#[test]
fn the_same_credentials_work_past_the_old_end_and_stop_at_the_new_one() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys) = request(&sue, "developer", "30s");
    let old_end = time(&sue.sorry(&["status", &session, "--output", "json"]).success().json()["expires_at"]);

    let extended = extend(&sue, &session, "30s").success();
    let view = extended.json();
    let new_end = time(&view["expires_at"]);
    assert_eq!(
        (new_end.duration_since(old_end).as_secs(), view["extension"]["status"].as_str()),
        (30, Some("done"))
    );
    assert_eq!(
        view["renewed_profiles"][0], "sue-developer",
        "the profile has credentials for the longer time"
    );
    let renewed = sue.profile("sue-developer");
    assert!(renewed != keys, "{view}");

    eventually("the old end is past", PATIENCE, || (Timestamp::now() > old_end).then_some(()));
    namespace_call(&aws, &keys, "sue").allowed();
    namespace_call(&aws, &renewed, "sue").allowed();
    assert_eq!(crate::state(&sue, &session), "ACTIVE", "the workflow that waited for the old end waits on");
    assert!(Timestamp::now() < new_end, "this machine was too slow to see anything between the two ends");

    eventually("the new end is past", PATIENCE, || (Timestamp::now() > new_end).then_some(()));
    assert!(
        namespace_call(&aws, &keys, "sue").is_denied() && namespace_call(&aws, &renewed, "sue").is_denied()
    );
    reaches(&sue, &session, "EXPIRED");
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);

    // After the end nothing is extended.
    let late = extend(&sue, &session, "30s");
    assert_eq!(late.code, 4, "{late:?}");
}

#[test]
fn no_extension_goes_beyond_the_maximum_or_is_anybody_elses() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let bob = aws.register("bob-mgr");
    let (session, keys) = request(&sue, "developer", "7h");
    let beyond = extend(&sue, &session, "61m");
    assert_eq!(beyond.code, 3, "{beyond:?}");
    assert!(beyond.stderr.contains("1h or less") && beyond.stderr.contains("8h in all"), "{beyond:?}");
    assert_eq!(extend(&bob, &session, "1m").code, 4, "a session that one may not see is none");
    let whole = extend(&sue, &session, "1h").success().json();
    assert_eq!(whole["extension"]["status"], "done");
    namespace_call(&aws, &keys, "sue").allowed();
    sue.sorry(&["revoke", &session]).success();
}

/// Both at once, several times: whichever is first, nothing is left that gives access.
#[test]
fn invariant_5_a_revocation_wins_against_an_extension() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    for _ in 0..3 {
        let (session, keys) = request(&sue, "developer", "15m");
        thread::scope(|scope| {
            let extending = scope.spawn(|| extend(&sue, &session, "15m"));
            sue.sorry(&["revoke", &session]).success();
            let extended = extending.join().expect("it ends");
            assert!([0, 1, 4].contains(&extended.code), "{extended:?}");
        });
        assert_eq!(crate::state(&sue, &session), "REVOKED");
        assert!(namespace_call(&aws, &keys, "sue").is_denied());
        assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
    }
    aws.sweep();
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}

/// Where MFA is asked for, an extension takes it, and the session's own credentials are no way round that.
#[test]
fn an_extension_takes_mfa_where_it_is_required() {
    let aws = LocalAws::start_with(&["RequireMfa=true"]);
    let sue = aws.register_with_mfa("sue-mgr");
    let (session, keys) = request(&sue, "developer", "15m");
    let body = r#"{"client_request_id": "without-mfa-1", "duration_seconds": 60}"#;
    let path = format!("POST /sessions/{session}/extension");
    for without in [sue.keys(), &keys] {
        assert_eq!(aws.judge.request(Some(without), &path, body).0, 403);
    }
    let extended = extend(&sue, &session, "15m").success().json();
    assert_eq!(extended["extension"]["status"], "done", "{extended}");
}
