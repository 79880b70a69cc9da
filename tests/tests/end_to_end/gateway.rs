//! Who gets past the gateway, and what asking twice does.

use serde_json::{Value, json};
use sorry_tests::{Judge, LocalAws};

const DEVELOPER: &str = "POST /tiers/developer/sessions";

fn body(key: &str) -> String {
    json!({"client_request_id": key, "duration_seconds": 900}).to_string()
}

#[test]
fn only_the_signer_who_is_registered_is_served() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let stranger = stranger(&aws);

    let unsigned = aws.judge.request(None, DEVELOPER, &body("unsigned-1"));
    let tampered = aws.judge.tampered(Some(sue.keys()), DEVELOPER, &body("tampered-1"), Some("body"));
    let wrong_key = aws.judge.tampered(Some(sue.keys()), DEVELOPER, &body("wrong-key-1"), Some("key"));
    let unknown = aws.judge.request(Some(&stranger), DEVELOPER, &body("stranger-1"));
    assert_eq!(
        [unsigned.0, tampered.0, wrong_key.0, unknown.0],
        [403; 4],
        "{unsigned:?} {tampered:?} {wrong_key:?} {unknown:?}"
    );
    assert_eq!(unknown.1["code"], "UnknownCaller");

    // A body that claims to be somebody else: the claim has no place to stand.
    for claim in
        ["user", "caller", "user_id", "person", "namespace", "account", "mfa", "mfa_verified", "tier"]
    {
        let mut lie: Value = serde_json::from_str(&body("liar-0001")).unwrap();
        lie[claim] = "admin".into();
        let (status, answer) = aws.judge.request(Some(sue.keys()), DEVELOPER, &lie.to_string());
        assert_eq!((status, &answer["code"]), (400, &json!("InvalidInput")), "{claim}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(claim), "{answer}");
    }
    assert!(aws.session_rows().is_empty(), "no session was written");

    // Administration is closed at the gateway, not only in the function.
    let (status, answer) = aws.judge.request(Some(sue.keys()), "GET /admin/callers", "");
    assert_eq!(status, 403);
    assert!(answer.to_string().contains("explicit deny"), "{answer}");
    // And what is nowhere described is nowhere answered.
    assert_eq!(aws.judge.request(Some(sue.keys()), "GET /sessions/../admin/callers", "").0, 403);
    assert_eq!(aws.judge.request(Some(&aws.administrator()), "POST /admin/callers", "").0, 403);
}

#[test]
fn somebody_elses_session_is_not_there() {
    let aws = LocalAws::start();
    let (sue, bob) = (aws.register("sue-mgr"), aws.register("bob"));
    let (session, _) = crate::request(&sue, "developer", "15m");
    for request in [format!("GET /sessions/{session}"), format!("DELETE /sessions/{session}")] {
        let (status, answer) = aws.judge.request(Some(bob.keys()), &request, "");
        assert_eq!((status, &answer["code"]), (404, &json!("SessionNotFound")), "{answer}");
    }
    // Even with everything that stands in the trust policy: another principal cannot assume the role, nor the owner without
    // the external id or as another session.
    let view = aws.judge.request(Some(sue.keys()), &format!("GET /sessions/{session}"), "").1;
    let good = json!({
        "RoleArn": view["access"]["role_arn"], "RoleSessionName": "sue-mgr", "ExternalId": view["access"]["external_id"],
        "SourceIdentity": session, "DurationSeconds": 900,
    });
    aws.judge.call(sue.keys(), "sts.assume_role", good.clone()).allowed();
    assert!(aws.judge.call(bob.keys(), "sts.assume_role", good.clone()).is_denied());
    for (name, value) in [
        ("ExternalId", "0".repeat(32)),
        ("RoleSessionName", "bob".into()),
        ("SourceIdentity", "0123456789abcdef".into()),
    ] {
        let mut wrong = good.clone();
        wrong[name] = value.into();
        assert!(aws.judge.call(sue.keys(), "sts.assume_role", wrong).is_denied(), "{name}");
    }
    for missing in ["ExternalId", "SourceIdentity"] {
        let mut wrong = good.clone();
        wrong.as_object_mut().unwrap().remove(missing);
        assert!(aws.judge.call(sue.keys(), "sts.assume_role", wrong).is_denied(), "{missing}");
    }
    // The administrator sees the session, and not how to use it.
    let (status, seen) =
        aws.judge.request(Some(&aws.administrator()), &format!("GET /sessions/{session}"), "");
    assert_eq!((status, &seen["access"]), (200, &Value::Null), "{seen}");
}

#[test]
fn asking_twice_is_asking_once() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let ask = |judge: &Judge, body: &str| judge.request(Some(sue.keys()), DEVELOPER, body);

    let (first, second) = (ask(&aws.judge, &body("twice-0001")), ask(&aws.judge, &body("twice-0001")));
    assert_eq!((first.0, second.0), (202, 202));
    assert_eq!(first.1["session_id"], second.1["session_id"]);

    // Eight at the very same time.
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let judge = Judge::new(aws.output("endpoint_url"), aws.output("endpoint"));
                    let (status, answer) = ask(&judge, &body("at-once-01"));
                    assert_eq!(status, 202, "{answer}");
                    answer["session_id"].as_str().unwrap().to_owned()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(aws.session_rows().len(), 2);

    let other = json!({"client_request_id": "twice-0001", "duration_seconds": 1800}).to_string();
    let (status, answer) = ask(&aws.judge, &other);
    assert_eq!((status, &answer["code"]), (409, &json!("IdempotencyConflict")));
    // Another caller's keys never meet these.
    let bob = aws.register("bob");
    let (status, answer) = aws.judge.request(Some(bob.keys()), DEVELOPER, &body("twice-0001"));
    assert_eq!(status, 202);
    assert_ne!(answer["session_id"], first.1["session_id"]);
}

#[test]
fn a_removed_caller_has_nothing_left() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys) = crate::request(&sue, "developer", "15m");
    aws.administrator_person().sorry(&["admin", "callers", "remove", "sue-mgr"]).success();
    sorry_tests::eventually("her session is over", crate::PATIENCE, || {
        (crate::row(&aws, &session)["state"]["S"] == "REVOKED").then_some(())
    });
    assert!(crate::namespace_call(&aws, &keys, "sue").is_denied());
    assert_eq!(aws.judge.request(Some(sue.keys()), "GET /whoami", "").0, 403, "her key is gone");
    // Made anew under the same name, she is somebody else.
    aws.call("iam.create_user", json!({"UserName": "sue-mgr", "Path": "/sorry/caller/"}));
    let listed =
        aws.administrator_person().sorry(&["admin", "callers", "list", "--output", "json"]).success().json();
    assert_eq!(listed["callers"], json!([]));
}

/// A user of the account who may call the gateway, and whom the registry does not know.
fn stranger(aws: &LocalAws) -> sorry_tests::Keys {
    aws.call("iam.create_user", json!({"UserName": "stranger"}));
    let policy = aws.output("CallerPolicyArn");
    aws.call("iam.attach_user_policy", json!({"UserName": "stranger", "PolicyArn": policy}));
    let key = aws.call("iam.create_access_key", json!({"UserName": "stranger"}));
    let text = |name: &str| key["AccessKey"][name].as_str().unwrap().to_owned();
    sorry_tests::Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: None,
    }
}
