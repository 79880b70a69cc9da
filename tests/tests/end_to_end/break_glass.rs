//! Break-glass: security hears of it before it works, or it does not work.

use serde_json::json;
use sorry_tests::{LocalAws, Person, eventually};

use crate::{PATIENCE, reaches, request, row};

/// What `sorry doctor` says of the alert topic.
fn subscribers_are_well(person: &Person) -> bool {
    let checks = person.sorry(&["doctor", "--output", "json"]).json();
    let check = checks.as_array().unwrap().iter().find(|check| check["check"] == "subscribers").cloned();
    check.unwrap()["ok"].as_bool().unwrap()
}

#[test]
fn security_hears_before_the_credentials_work_and_when_they_end() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let security = aws.subscribe_to_alerts();

    assert!(subscribers_are_well(&sue));
    let (session, keys) = request(&sue, "break-glass", "15m");
    aws.judge.call(&keys, "iam.list_users", json!({})).allowed();
    // Not even break-glass reaches the service.
    assert!(aws.judge.call(&keys, "dynamodb.scan", json!({"TableName": "sorry-registry"})).is_denied());

    let heard = security.arrived();
    let (sent_at, message) =
        heard.iter().find(|(_, text)| text.contains(&session)).expect("security has heard of it");
    assert!(message.contains("an end-to-end test") && message.contains("sue"), "who and why: {message}");
    // The role did not exist yet when the message was on its way. IAM's clock has seconds, the queue's has milliseconds.
    let role = row(&aws, &session)["role_name"]["S"].as_str().unwrap().to_owned();
    let created = aws.call("iam.get_role", json!({"RoleName": role}))["Role"]["CreateDate"]
        .as_str()
        .unwrap()
        .to_owned();
    let created: jiff::Timestamp = created.replace(' ', "T").parse().unwrap();
    assert!(
        i64::try_from(*sent_at / 1000).unwrap() <= created.as_second(),
        "sent {sent_at}, created {created}"
    );

    sue.sorry(&["revoke", &session]).success();
    eventually("security hears of the end", PATIENCE, || {
        security
            .arrived()
            .iter()
            .any(|(_, text)| text.contains("REVOKED") && text.contains(&session))
            .then_some(())
    });
}

#[test]
fn without_a_subscriber_nothing_is_granted() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    assert!(!subscribers_are_well(&sue));
    let refused =
        sue.sorry(&["request", "--tier", "break-glass", "--hours", "1", "--reason", "nobody listens here"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("subscribed"), "{refused:?}");
    let rows = aws.session_rows();
    let session = rows[0]["session_id"]["S"].as_str().unwrap();
    reaches(&sue, session, "FAILED");
    assert_eq!(row(&aws, session)["end"]["M"]["failure"]["M"]["code"]["S"], "NoSubscriber");
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}

#[test]
fn when_the_topic_refuses_nothing_is_granted() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let _security = aws.subscribe_to_alerts();
    // The function may no longer publish, as when somebody has broken its role or the key's policy.
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sns:Publish", "Resource": "*"}]});
    let broken = json!({"RoleName": "sorry-function-alert", "PolicyName": "broken", "PolicyDocument": deny.to_string()});
    aws.call("iam.put_role_policy", broken);
    let refused =
        sue.sorry(&["request", "--tier", "break-glass", "--hours", "1", "--reason", "the topic is broken"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let rows = aws.session_rows();
    let session = rows[0]["session_id"]["S"].as_str().unwrap();
    reaches(&sue, session, "FAILED");
    assert_eq!(row(&aws, session)["end"]["M"]["failure"]["M"]["code"]["S"], "AlertUndeliverable");
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}
