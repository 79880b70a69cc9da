//! Break-glass: security hears of it before it works, or it does not work.

use serde_json::json;
use sorry_tests::{LocalAws, Person, eventually};

use crate::{PATIENCE, reaches, request, row};

/// What `sorry doctor` says of the alert topic.
fn subscribers_are_well(person: &Person) -> bool {
    let verdict = person.sorry(&["doctor", "--output", "json"]).json();
    let check =
        verdict["checks"].as_array().unwrap().iter().find(|check| check["check"] == "subscribers").cloned();
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
    // The credentials were made when the message was on its way. CloudTrail's seconds are the audit's here.
    let audit = aws.items("sorry-audit");
    let of = |what: &str| {
        let record = audit
            .iter()
            .find(|record| record["subject"]["S"] == session.as_str() && record["what"]["S"] == what);
        record.unwrap_or_else(|| panic!("no {what}"))["at"]["S"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    assert!(i64::try_from(*sent_at / 1000).unwrap() <= of("session.issued").as_second(), "sent {sent_at}");
    // No role was made, and nothing was written to the one that stands.
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
    assert_eq!(standing_policies(&aws), ["access"]);

    sue.sorry(&["revoke", &session]).success();
    eventually("security hears of the end", PATIENCE, || {
        security
            .arrived()
            .iter()
            .any(|(_, text)| text.contains("REVOKED") && text.contains(&session))
            .then_some(())
    });
    // What was handed out is refused at once, by a policy that names this session alone.
    assert!(aws.judge.call(&keys, "iam.list_users", json!({})).is_denied());
    assert_eq!(standing_policies(&aws), ["access".to_owned(), format!("revoked-{session}")]);
}

fn standing_policies(aws: &LocalAws) -> Vec<String> {
    let listed = aws.call("iam.list_role_policies", json!({"RoleName": "sorry-standing-break-glass"}));
    let mut names: Vec<_> = listed["PolicyNames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// Nothing may be written to IAM by anybody of the service, as when IAM's control plane is down.
#[test]
fn it_works_when_iam_refuses_every_write_and_ends_one_session_alone() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let bob = aws.register("bob-mgr");
    let _security = aws.subscribe_to_alerts();
    let writes =
        ["Add", "Attach", "Create", "Deactivate", "Delete", "Detach", "Put", "Remove", "Tag", "Update"];
    let writes: Vec<_> = writes.iter().map(|word| format!("iam:{word}*")).collect();
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": writes, "Resource": "*"}]});
    for function in ["api", "issue", "provision", "clean-up", "sweep", "alert"] {
        let broken = json!({"RoleName": format!("sorry-function-{function}"), "PolicyName": "broken", "PolicyDocument": deny.to_string()});
        aws.call("iam.put_role_policy", broken);
    }
    let (session, keys) = request(&sue, "break-glass", "15m");
    aws.judge.call(&keys, "iam.list_users", json!({})).allowed();
    let (_, of_bob) = request(&bob, "break-glass", "15m");

    // IAM is back: one session's end is no other's.
    for function in ["api", "issue", "provision", "clean-up", "sweep", "alert"] {
        let broken = json!({"RoleName": format!("sorry-function-{function}"), "PolicyName": "broken"});
        aws.call("iam.delete_role_policy", broken);
    }
    let said = sue.sorry(&["revoke", &session]).success();
    assert!(said.stderr.contains("credentials were refused"), "{said:?}");
    assert!(aws.judge.call(&keys, "iam.list_users", json!({})).is_denied());
    aws.judge.call(&of_bob, "iam.list_users", json!({})).allowed();
    // Not even with MFA out of the way does somebody else's key get anything.
    let refused = bob.sorry(&["renew", &session]);
    assert_ne!(refused.code, 0, "{refused:?}");
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
