//! The grant `user`: one set of credentials for a day and a half, and nothing left of it.

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_tests::{Gateway, Keys, LocalAws, Person, eventually};

use crate::{PATIENCE, row};

/// Asks for a session with a user, and gives its id, its keys and when they end.
fn request(person: &Person, window: &str, more: &[&str]) -> (String, Keys, Timestamp) {
    let arguments =
        ["request", "--tier", "read-only", "--grant", "user", "--for", window, "--output", "json"];
    let answer = person.sorry(&[&arguments, more].concat()).success();
    assert!(answer.stderr.contains("cannot call IAM"), "{answer:?}");
    let view = answer.json();
    let keys = person.profile(view["profile"].as_str().expect("a profile"));
    let ends = view["credentials_expire_at"].as_str().expect("an end").parse().expect("a time");
    (view["session_id"].as_str().expect("an id").to_owned(), keys, ends)
}

fn users(aws: &LocalAws) -> Vec<String> {
    let answer = aws.call("iam.list_users", json!({"PathPrefix": "/sorry/session/"}));
    let users = answer["Users"].as_array().cloned().unwrap_or_default();
    users.iter().map(|user| user["UserName"].as_str().expect("a name").to_owned()).collect()
}

fn policies(aws: &LocalAws) -> usize {
    let answer = aws.call("iam.list_policies", json!({"PathPrefix": "/sorry/session/", "Scope": "Local"}));
    answer["Policies"].as_array().map_or(0, Vec::len)
}

#[test]
fn one_credential_lasts_for_36_hours_and_ends_with_the_session() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys, ends) = request(&sue, "36h", &[]);
    let hours = ends.duration_since(Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((35.9..=36.0).contains(&hours), "{hours} hours in one credential");
    assert!(keys.access_key_id.starts_with("ASIA"));

    // What the tier allows, and no more; not even that of IAM.
    aws.judge.call(&keys, "s3.list_buckets", json!({})).allowed();
    assert!(aws.judge.call(&keys, "sqs.create_queue", json!({"QueueName": "x"})).is_denied());
    assert!(aws.judge.call(&keys, "iam.list_users", json!({})).is_denied());
    // The key that they were made with is gone.
    let [user] = users(&aws).try_into().expect("one user");
    let left = aws.call("iam.list_access_keys", json!({"UserName": user}));
    assert_eq!(left["AccessKeyMetadata"].as_array().map(Vec::len), Some(0));
    let seen = aws.call("iam.get_user", json!({"UserName": user}))["User"].clone();
    let boundary = seen["PermissionsBoundary"]["PermissionsBoundaryArn"].as_str().expect("a boundary");
    assert!(boundary.ends_with(":policy/sorry/service/sorry-boundary-read-only"), "{boundary}");

    // Another session of the same person is another user.
    let (other, other_keys, _) = request(&sue, "15m", &["--profile", "other"]);
    assert_eq!(users(&aws).len(), 2);
    let said = sue.sorry(&["revoke", &session]).success();
    assert!(said.stderr.contains("credentials were refused"), "{said:?}");
    assert!(aws.judge.call(&keys, "s3.list_buckets", json!({})).is_denied());
    // What is over gives no others, and that somebody asked stands in the audit.
    let gateway = Gateway::new(aws.output("endpoint"), sue.keys());
    let path = format!("/sessions/{session}/credentials");
    let (status, refused) = gateway.send("POST", &path, &Value::Null).expect("an answer");
    assert_eq!((status, &refused["code"]), (409, &json!("SessionNotActive")), "{refused}");
    let audit = aws.items("sorry-audit");
    let records: Vec<_> =
        audit.iter().filter(|item| item["what"]["S"] == "refused.SessionNotActive").collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].to_string().contains(&path), "{records:?}");
    aws.judge.call(&other_keys, "s3.list_buckets", json!({})).allowed();
    assert_eq!((users(&aws).len(), policies(&aws)), (1, 1));
    sue.sorry(&["revoke", &other]).success();
    assert_eq!((users(&aws).len(), policies(&aws)), (0, 0));
}

#[test]
fn aws_itself_ends_a_user_and_the_service_takes_it_away_whatever_it_has() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys, _) = request(&sue, "25s", &[]);
    aws.judge.call(&keys, "s3.list_buckets", json!({})).allowed();
    crate::burden_user(&aws, &users(&aws)[0]);
    eventually("its date", PATIENCE, || {
        aws.judge.call(&keys, "s3.list_buckets", json!({})).is_denied().then_some(())
    });
    eventually("the end", PATIENCE, || (row(&aws, &session)["state"]["S"] == "EXPIRED").then_some(()));
    assert_eq!((users(&aws).len(), policies(&aws)), (0, 0));
}

#[test]
fn with_mfa_a_code_is_asked_for_and_the_bare_key_gets_nothing() {
    let aws = LocalAws::start_with(&["RequireMfa=true"]);
    let sue = aws.register_with_mfa("sue-mgr");
    let arguments = [
        "request",
        "--tier",
        "read-only",
        "--grant",
        "user",
        "--for",
        "15m",
        "--no-wait",
        "--output",
        "json",
    ];
    let view = sue.sorry(&arguments).success().json();
    let session = view["session_id"].as_str().expect("an id").to_owned();
    crate::reaches(&sue, &session, "ACTIVE");
    let path = format!("POST /sessions/{session}/credentials");
    let bare = aws.judge.request(Some(sue.keys()), &path, "{}");
    assert_eq!(bare.0, 403, "{bare:?}");
    sue.sorry(&["renew", &session]).success();
    let keys = sue.profile("sue-read-only");
    aws.judge.call(&keys, "s3.list_buckets", json!({})).allowed();
}
