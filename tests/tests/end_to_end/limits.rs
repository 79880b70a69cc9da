//! Limits, suspension and ending other people's sessions, on the whole system.

use std::time::Instant;

use serde_json::json;
use sorry_tests::{LocalAws, Person, eventually};

use crate::{PATIENCE, namespace_call, reaches, request};

fn ask(person: &Person, tier: &str) -> sorry_tests::Finished {
    person.sorry(&["request", "--tier", tier, "--for", "15m", "--deliver", "none", "--output", "json"])
}

#[test]
fn live_sessions_of_a_tier_are_limited_and_a_place_is_free_when_one_is_over() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let ids: Vec<String> = (0..3)
        .map(|_| ask(&sue, "developer").success().json()["session_id"].as_str().unwrap().to_owned())
        .collect();
    let fourth = ask(&sue, "developer");
    assert_eq!(fourth.code, 3, "{fourth:?}");
    assert!(fourth.stderr.contains("3 sessions of tier `developer`"), "{fourth:?}");
    assert!(fourth.stderr.contains("ask again at"), "{fourth:?}");
    assert_eq!(aws.session_rows().len(), 3);
    ask(&sue, "read-only").success();
    sue.sorry(&["revoke", &ids[0]]).success();
    ask(&sue, "developer").success();
}

#[test]
fn requests_a_minute_are_limited_and_the_answer_says_until_when() {
    let aws = LocalAws::start_with(&["RequestsPerMinute=3"]);
    let sue = aws.register("sue-mgr");
    // Refused ones count, too: twelve are more than two minutes allow.
    let refusals: Vec<_> = (0..12)
        .map(|number| {
            let body =
                json!({"client_request_id": format!("request-{number}"), "duration_seconds": 1}).to_string();
            aws.judge.request(Some(sue.keys()), "POST /tiers/developer/sessions", &body)
        })
        .collect();
    let (_, body) = refusals.iter().find(|(status, _)| *status == 429).expect("one of them is too many");
    assert_eq!(body["code"], "TooManyRequests", "{body}");
    assert!((1..=60).contains(&body["retry_after_seconds"].as_u64().unwrap()), "{body}");
    let told = eventually("the command is told", PATIENCE, || {
        Some(ask(&sue, "developer")).filter(|asked| asked.code != 0)
    });
    assert_eq!(told.code, 5, "{told:?}");
    assert!(told.stderr.contains("ask again in"), "{told:?}");
    // Whoever may not ask any more may still look and end.
    sue.sorry(&["list"]).success();
    sue.sorry(&["revoke", "--all"]).success();
}

#[test]
fn no_session_is_lent_beyond_the_deployments_capacity() {
    let aws = LocalAws::start_with(&["MaximumSessionPrincipals=1"]);
    let sue = aws.register("sue-mgr");
    let first = ask(&sue, "developer").success().json();
    aws.sweep();
    let second = ask(&sue, "read-only");
    assert_eq!(second.code, 5, "{second:?}");
    assert!(second.stderr.contains("MaximumSessionPrincipals"), "{second:?}");
    sue.sorry(&["revoke", first["session_id"].as_str().unwrap()]).success();
    aws.sweep();
    ask(&sue, "read-only").success();
}

#[test]
fn a_suspended_caller_loses_its_access_and_gets_no_other_until_it_is_resumed() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let administrator = aws.administrator_person();
    let (session, keys) = request(&sue, "developer", "15m");
    namespace_call(&aws, &keys, "sue").allowed();

    let suspended =
        administrator.sorry(&["admin", "callers", "suspend", "sue-mgr", "--output", "json"]).success().json();
    assert_eq!(suspended["ended"], json!([session]));
    eventually("the credentials are refused", PATIENCE, || {
        namespace_call(&aws, &keys, "sue").is_denied().then_some(())
    });
    reaches(&administrator, &session, "REVOKED");
    let refused = ask(&sue, "developer");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("is suspended"), "{refused:?}");
    sue.sorry(&["whoami"]).success();
    let listed = administrator.sorry(&["admin", "callers", "list", "--output", "json"]).success().json();
    assert!(listed["callers"][0]["suspended_at"].is_string(), "{listed}");

    administrator.sorry(&["admin", "callers", "resume", "sue-mgr"]).success();
    ask(&sue, "developer").success();
}

/// An administrator who makes somebody an approver takes nothing away by it, and who has no role `caller` any more is told so.
#[test]
fn what_is_not_named_stays_in_the_registry_until_it_is_replaced() {
    let aws = LocalAws::start();
    let ann = aws.register("ann-mgr");
    let administrator = aws.administrator_person();
    let add = |flags: &[&str]| {
        administrator.sorry(&[&["admin", "callers", "add", "ann-mgr"], flags].concat()).success()
    };
    let entry = || ann.sorry(&["whoami", "--output", "json"]).success().json()["caller"].clone();
    let before = entry();
    let said = add(&["--role", "approver", "--tier", "developer=4"]);
    assert!(
        said.stderr.contains("Added: role approver. Changed: tier developer from 8h to 4h. Kept: "),
        "{said:?}"
    );
    let mut expected = before["tiers"].clone();
    expected["developer"] = 4.into();
    assert_eq!(
        (&entry()["tiers"], &entry()["roles"]),
        (&expected, &serde_json::json!(["caller", "approver"]))
    );

    let said = add(&["--replace", "--role", "approver"]);
    assert!(said.stderr.contains("Taken away: role caller, tier admin 8h"), "{said:?}");
    let refused = ask(&ann, "developer");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("is registered, but not with the role `caller`"), "{refused:?}");
}

#[test]
fn security_ends_other_peoples_sessions_and_a_colleague_does_not() {
    let aws = LocalAws::start();
    let (sue, ann, bob) = (aws.register("sue-mgr"), aws.register("ann-mgr"), aws.register("bob-mgr"));
    aws.administrator_person().sorry(&["admin", "callers", "add", "ann-mgr", "--role", "security"]).success();
    let (session, keys) = request(&sue, "developer", "15m");

    assert_eq!(bob.sorry(&["revoke", &session]).code, 4);
    namespace_call(&aws, &keys, "sue").allowed();
    let revoked = ann.sorry(&["revoke", &session]).success();
    assert!(namespace_call(&aws, &keys, "sue").is_denied());
    // Ann holds none of Sue's credentials, and claims nothing about them.
    assert!(revoked.stderr.contains("were not tried"), "{revoked:?}");
    assert_eq!(crate::state(&sue, &session), "REVOKED");
}

/// For each grant, and with credentials that were issued before: by what the command says, and by what others see meanwhile.
#[test]
fn a_revocation_says_after_how_long_the_credentials_were_refused_having_tried_them() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    for (grant, tier) in
        [("role", "developer"), ("role", "read-only"), ("user", "read-only"), ("standing", "break-glass")]
    {
        let mut words = vec!["request", "--tier", tier, "--for", "15m", "--reason", "an end-to-end test"];
        if grant == "user" {
            words.extend(["--grant", grant]);
        }
        let view = sue.sorry(&[&words[..], &["--output", "json"]].concat()).success().json();
        assert_eq!(view["grant"], grant);
        let session = view["session_id"].as_str().unwrap();
        let keys = sue.profile(view["profile"].as_str().unwrap());
        let refused = || aws.judge.call(&keys, "sns.list_topics", json!({})).is_denied();
        assert!(!refused(), "{grant}");

        let began = Instant::now();
        let (revoked, took, seen) = std::thread::scope(|scope| {
            let command = scope.spawn(|| {
                let revoked = sue.sorry(&["revoke", session, "--output", "json"]).success().json();
                (revoked, began.elapsed().as_secs_f64())
            });
            let seen =
                eventually("the credentials are refused", PATIENCE, || refused().then(|| began.elapsed()));
            let (revoked, took) = command.join().unwrap();
            (revoked, took, seen.as_secs_f64())
        });
        let tried = &revoked["sessions"][0]["credentials"];
        assert_eq!((&tried["tried"], &tried["refused"]), (&json!(true), &json!(true)), "{revoked}");
        let said = tried["refused_after_seconds"].as_f64().unwrap();
        // Rounded to a tenth; and no more than the whole command took.
        assert!((0.0..60.0).contains(&said) && said <= took + 0.05, "{took} s: {revoked}");
        assert!(seen < 60.0, "{seen} s");
        println!("{grant} of {tier}: refused after {said} s by the command, {seen:.2} s by another's look");
        assert!(refused(), "{grant}: and it stays so");
    }
}
