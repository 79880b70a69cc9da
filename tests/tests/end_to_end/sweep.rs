//! What nobody else cleans up.

use serde_json::json;
use sorry_tests::{LocalAws, eventually};

use crate::{PATIENCE, namespace_call, request, row};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

fn make_role(aws: &LocalAws, path: &str, name: &str) {
    let boundary = aws.output("CallerPolicyArn").replace("sorry-caller", "sorry-boundary-developer");
    let role = json!({"RoleName": name, "Path": path, "AssumeRolePolicyDocument": TRUST, "PermissionsBoundary": boundary});
    aws.call("iam.create_role", role);
}

#[test]
fn a_session_whose_workflow_was_killed_ends_all_the_same() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys) = request(&sue, "developer", "12s");
    let execution = aws.output("StateMachineArn").replace(":stateMachine:", ":execution:");
    aws.call("stepfunctions.stop_execution", json!({"executionArn": format!("{execution}:{session}")}));
    namespace_call(&aws, &keys, "sue").allowed();

    // Invariant 2: the date ends it, with the role still there and nobody at work.
    eventually("the credentials are refused", PATIENCE, || {
        namespace_call(&aws, &keys, "sue").is_denied().then_some(())
    });
    assert_eq!(aws.roles("/sorry/session/").len(), 1);
    assert_eq!(row(&aws, &session)["state"]["S"], "ACTIVE");
    // It cannot be assumed any more, either.
    assert_ne!(sue.sorry(&["renew", &session]).code, 0);

    // The sweep leaves the workflow a margin, then does its work.
    eventually("the sweep ends it", 2 * PATIENCE, || {
        aws.sweep();
        (row(&aws, &session)["state"]["S"] == "EXPIRED").then_some(())
    });
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}

#[test]
fn strays_are_removed_from_the_session_path_and_from_nowhere_else() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys) = request(&sue, "developer", "15m");
    assert_eq!(aws.sweep()["orphans"], json!([]), "the first sweep knows the deployment");

    make_role(&aws, "/sorry/session/sue/", "sorry-sue-developer-stray");
    let policy =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
            .to_string();
    let inline =
        json!({"RoleName": "sorry-sue-developer-stray", "PolicyName": "extra", "PolicyDocument": policy});
    aws.call("iam.put_role_policy", inline);
    let attached =
        json!({"RoleName": "sorry-sue-developer-stray", "PolicyArn": aws.output("CallerPolicyArn")});
    aws.call("iam.attach_role_policy", attached);
    make_role(&aws, "/sorry/namespace/sue/", "sue-worker");
    make_role(&aws, "/elsewhere/", "sorry-sue-developer-elsewhere");

    let report = aws.sweep();
    assert_eq!(report["orphans"], json!(["sorry-sue-developer-stray"]), "{report}");
    assert_eq!(report["failed"], json!([]), "{report}");
    assert_eq!(aws.roles("/sorry/session/").len(), 1, "the live session's");
    assert_eq!(aws.roles("/sorry/namespace/"), ["sue-worker"]);
    assert_eq!(aws.roles("/elsewhere/").len(), 1);
    namespace_call(&aws, &keys, "sue").allowed();
    assert_eq!(row(&aws, &session)["state"]["S"], "ACTIVE");
}

#[test]
fn an_emptied_table_makes_the_sweep_hold_and_alert_until_somebody_confirms() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let security = aws.subscribe_to_alerts();
    let (_, keys) = request(&sue, "developer", "15m");
    aws.sweep();
    for item in aws.items("sorry-sessions") {
        let key = json!({"session_id": item["session_id"]});
        aws.call("dynamodb.delete_item", json!({"TableName": "sorry-sessions", "Key": key}));
    }

    let report = aws.sweep();
    assert_eq!(report["orphans"], json!([]), "{report}");
    assert_eq!(report["held"].as_array().unwrap().len(), 1, "{report}");
    assert!(report["held_because"].as_str().unwrap().contains("canary"), "{report}");
    namespace_call(&aws, &keys, "sue").allowed();
    eventually("security hears", PATIENCE, || {
        security.arrived().iter().any(|(_, text)| text.contains("the sweep holds")).then_some(())
    });
    // It goes on holding, and does not repeat itself.
    assert_eq!(aws.sweep()["held"].as_array().unwrap().len(), 1);

    assert_ne!(sue.sorry(&["admin", "sweep", "--confirm"]).code, 0, "not hers to say");
    aws.administrator_person().sorry(&["admin", "sweep", "--confirm"]).success();
    let report = aws.sweep();
    assert_eq!((report["orphans"].as_array().unwrap().len(), &report["held"]), (1, &json!([])), "{report}");
    assert!(namespace_call(&aws, &keys, "sue").is_denied());
    assert_eq!(aws.sweep()["held_because"], json!(null), "and from now on as before");
}

#[test]
fn the_schedule_runs_the_sweep() {
    let aws = LocalAws::start();
    make_role(&aws, "/elsewhere/", "somebody");
    // Nobody calls it: the rule does, once a minute.
    eventually("the sweep has placed its canary", 3 * PATIENCE, || {
        aws.items("sorry-sessions").iter().any(|item| item["session_id"]["S"] == "canary").then_some(())
    });
}
