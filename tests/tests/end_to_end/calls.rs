//! How many calls to AWS the service makes: what users wait for, and what operators pay and are throttled by.

use serde_json::json;
use sorry_tests::{LocalAws, Recorder, counted};

use crate::{request, row};

/// Whoever sets up and looks on.
const ONLOOKER: &str = "user local-administrator";

#[test]
fn a_role_grant_takes_three_transactions_one_execution_and_two_iam_writes() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let recorder = Recorder::begin(&aws);
    let (session, keys) = request(&sue, "developer", "15m");
    let calls = recorder.when_quiet();
    let counts = counted(&calls, &[ONLOOKER]);
    let count = |name: &str| counts.get(name).copied().unwrap_or_default();
    assert_eq!(count("dynamodb:TransactWriteItems"), 3, "{counts:#?}");
    assert_eq!(count("states:StartExecution"), 1, "{counts:#?}");
    assert_eq!((count("iam:CreateRole"), count("iam:PutRolePolicy")), (1, 1), "{counts:#?}");
    let iam: usize = counts.iter().filter(|(name, _)| name.starts_with("iam:")).map(|(_, count)| count).sum();
    assert_eq!(iam, 2, "IAM is called for nothing else: {counts:#?}");
    assert_eq!(
        (count("sts:AssumeRole"), count("execute-api:POST /tiers/{tier}/sessions")),
        (1, 1),
        "{counts:#?}"
    );

    // The record is of what was really sent: what the session itself calls is in it, and what is refused, too.
    aws.judge.call(&keys, "sns.list_topics", json!({})).allowed();
    assert!(aws.judge.call(&keys, "dynamodb.scan", json!({"TableName": "sorry-sessions"})).is_denied());
    let role = format!("role {}", row(&aws, &session)["role_name"]["S"].as_str().unwrap());
    let of_session: Vec<_> = recorder
        .so_far()
        .into_iter()
        .filter(|call| call.principal == role)
        .map(|call| (call.operation, call.status == 200))
        .collect();
    assert_eq!(of_session, [("ListTopics".to_owned(), true), ("Scan".to_owned(), false)]);
}

#[test]
fn a_revocation_is_one_execution_and_its_deny_is_the_first_write_to_iam() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, _) = request(&sue, "developer", "15m");
    drop(Recorder::begin(&aws).when_quiet());
    let recorder = Recorder::begin(&aws);
    sue.sorry(&["revoke", &session]).success();
    let calls = recorder.when_quiet();
    let counts = counted(&calls, &[ONLOOKER]);
    assert_eq!(counts.get("states:StartExecution"), Some(&1), "{counts:#?}");
    // The row: it is to end, and nothing is left.
    assert_eq!(counts.get("dynamodb:TransactWriteItems"), Some(&2), "{counts:#?}");
    let reads = ["GetRole", "ListRolePolicies", "ListAttachedRolePolicies", "ListInstanceProfilesForRole"];
    let writes: Vec<_> = calls
        .iter()
        .filter(|call| call.service == "iam" && !reads.contains(&call.operation.as_str()))
        .map(|call| call.operation.as_str())
        .collect();
    // Deny first; then what the role had, the deny, the role.
    assert_eq!(writes, ["PutRolePolicy", "DeleteRolePolicy", "DeleteRolePolicy", "DeleteRole"]);
}
