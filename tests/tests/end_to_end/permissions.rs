//! What the functions' roles allow is what the functions call: no more, and no less.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use sorry_tests::{Gateway, LocalAws, Person, eventually};

use crate::{PATIENCE, reaches, request, row};

const FUNCTIONS: [&str; 6] = ["api", "issue", "provision", "clean-up", "sweep", "alert"];

/// Permissions that no run on a local AWS can show in use: statement, and who uses them when.
const USED_ELSEWHERE: [(&str, &str); 9] = [
    ("Log", "Lambda writes the log with the function's role"),
    ("Trace", "Lambda's X-Ray daemon writes traces with the function's role"),
    ("Key", "DynamoDB, S3 and SNS use the key on the function's behalf, and the local AWS checks no key"),
    ("DeadLetters", "Lambda itself puts there what it could not run"),
    (
        "ProvisionRole/Look",
        "looks at a role whose making was answered by `exists`: a try whose answer was lost",
    ),
    ("ProvisionRole/LookAtUsers", "the same of a user"),
    ("ProvisionRole/LookAtPolicies", "the same of a policy"),
    ("DoubtfulKeys", "lists keys that a try has left whose function died"),
    (
        "SweepRole/EndStandingSessions",
        "an hour passes before the end of a standing session is taken off its role",
    ),
];

/// A call of a function, as the local AWS decided on it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    action: String,
    resource: String,
}

/// What a function called; every call must have been allowed.
#[track_caller]
fn calls(aws: &LocalAws, function: &str) -> BTreeSet<Call> {
    let written = fs::read_to_string(aws.folder().join("decisions")).expect("decisions are written down");
    let decisions = written.lines().map(|line| serde_json::from_str::<Value>(line).expect("a decision"));
    let role = format!("sorry-function-{function}");
    decisions
        .filter(|decision| decision["role"] == role.as_str())
        .map(|decision| {
            assert_eq!(decision["allowed"], true, "{function} is not allowed what it calls: {decision}");
            let text = |name: &str| decision[name].as_str().expect("a text").to_owned();
            Call { action: text("action"), resource: text("resource") }
        })
        .collect()
}

/// The permissions of a function: statement, action, resource.
fn permissions(aws: &LocalAws, function: &str) -> Vec<(String, String, String)> {
    let wanted = json!({"RoleName": format!("sorry-function-{function}"), "PolicyName": "calls"});
    let policy = &aws.call("iam.get_role_policy", wanted)["PolicyDocument"];
    let each = |value: &Value| match value {
        Value::Array(values) => values.iter().map(|value| value.as_str().unwrap().to_owned()).collect(),
        value => vec![value.as_str().unwrap().to_owned()],
    };
    let mut permissions = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        for action in each(&statement["Action"]) {
            for resource in each(&statement["Resource"]) {
                permissions.push((statement["Sid"].as_str().unwrap().to_owned(), action.clone(), resource));
            }
        }
    }
    permissions
}

/// Whether an ARN is one of those that a pattern with `*` stands for.
fn fits(pattern: &str, arn: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = arn.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Puts on a session's role what a person might have put there.
fn burden(aws: &LocalAws, role: &str) {
    let policy = aws.output("CallerPolicyArn");
    aws.call("iam.attach_role_policy", json!({"RoleName": role, "PolicyArn": policy}));
    aws.call("iam.create_instance_profile", json!({"InstanceProfileName": role}));
    aws.call("iam.add_role_to_instance_profile", json!({"InstanceProfileName": role, "RoleName": role}));
}

/// Deletes a session's role, as somebody might who should not.
fn delete_role(aws: &LocalAws, session: &str) {
    let role = row(aws, session)["role_name"]["S"].as_str().unwrap().to_owned();
    let policies = aws.call("iam.list_role_policies", json!({"RoleName": role}));
    for policy in policies["PolicyNames"].as_array().unwrap() {
        aws.call("iam.delete_role_policy", json!({"RoleName": role, "PolicyName": policy}));
    }
    aws.call("iam.delete_role", json!({"RoleName": role}));
}

/// Ends the workflow of a session, so that only the sweep can end the session itself.
pub(crate) fn kill_workflow(aws: &LocalAws, session: &str) {
    let execution = aws.output("StateMachineArn").replace(":stateMachine:", ":execution:");
    aws.call("stepfunctions.stop_execution", json!({"executionArn": format!("{execution}:{session}")}));
}

/// Has the audit refused, read, digested and verified; and a sweep find a digest that another one stored and did not say so.
fn the_whole_audit(aws: &LocalAws, sue: &Person, administrator: &Person) {
    assert_eq!(sue.sorry(&["request", "--tier", "developer", "--hours", "9"]).code, 3);
    let bucket = aws.output("AuditBucket");
    let first = eventually("there is a digest", 2 * PATIENCE, || {
        aws.sweep();
        let listed = aws.call("s3.list_objects_v2", json!({"Bucket": bucket, "Prefix": "digests/"}));
        listed["Contents"][0]["Key"].as_str().map(str::to_owned)
    });
    let text = &aws.call("s3.get_object", json!({"Bucket": bucket, "Key": first}))["Body"];
    let digest: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    let pointer = json!({"key": {"S": "digests"}, "ends": {"S": digest["begins"]}});
    aws.call("dynamodb.put_item", json!({"TableName": "sorry-registry", "Item": pointer}));
    assert_eq!(aws.sweep()["failed"], json!([]));
    administrator.sorry(&["admin", "audit", "--subject", "tiers"]).success();
    administrator.sorry(&["admin", "audit", "verify"]).success();
}

/// Asks for a session with a user; its id and the user's name.
fn request_user(aws: &LocalAws, sue: &sorry_tests::Person, window: &str) -> (String, String) {
    let arguments =
        ["request", "--tier", "read-only", "--grant", "user", "--for", window, "--output", "json"];
    let view = sue.sorry(&arguments).success().json();
    let session = view["session_id"].as_str().unwrap().to_owned();
    let user = row(aws, &session)["role_name"]["S"].as_str().unwrap().to_owned();
    (session, user)
}

/// Users with everything on them: ended by the clean-up, by the sweep, and without an owner.
fn users_once(aws: &LocalAws, sue: &sorry_tests::Person) {
    let (session, user) = request_user(aws, sue, "15m");
    crate::burden_user(aws, &user);
    sue.sorry(&["revoke", &session]).success();
    let (session, user) = request_user(aws, sue, "12s");
    kill_workflow(aws, &session);
    crate::burden_user(aws, &user);
    eventually("the sweep ends it", 2 * PATIENCE, || {
        aws.sweep();
        (row(aws, &session)["state"]["S"] == "EXPIRED").then_some(())
    });
    // Users that are gone are looked for: by the clean-up, and by the sweep.
    let stray = "sorry-sue-read-only-stray";
    let (session, user) = request_user(aws, sue, "15m");
    delete_user(aws, &user);
    sue.sorry(&["revoke", "--no-wait", &session]).success();
    let (due, user) = request_user(aws, sue, "10s");
    kill_workflow(aws, &due);
    delete_user(aws, &user);
    eventually("the sweep has taken it up", 2 * PATIENCE, || {
        aws.sweep();
        (row(aws, &due)["state"]["S"] == "EXPIRING").then_some(())
    });
    aws.call("iam.create_user", json!({"UserName": stray, "Path": "/sorry/session/sue/"}));
    let nothing = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]});
    aws.call(
        "iam.create_policy",
        json!({"PolicyName": stray, "Path": "/sorry/session/sue/", "PolicyDocument": nothing.to_string()}),
    );
    aws.sweep();
}

/// Deletes a session's user, as somebody might who should not.
fn delete_user(aws: &LocalAws, user: &str) {
    let attached = aws.call("iam.list_attached_user_policies", json!({"UserName": user}));
    for policy in attached["AttachedPolicies"].as_array().unwrap() {
        aws.call("iam.detach_user_policy", json!({"UserName": user, "PolicyArn": policy["PolicyArn"]}));
    }
    aws.call("iam.delete_user_policy", json!({"UserName": user, "PolicyName": "expiry"}));
    aws.call("iam.delete_user", json!({"UserName": user}));
}

/// Has every function do all that it does.
fn everything_once(aws: &LocalAws) {
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let (bob, ann) = (aws.register("bob-mgr"), aws.register_approver("ann-mgr"));
    let administrator = aws.administrator_person();
    administrator.sorry(&["admin", "callers", "list"]).success();
    sue.sorry(&["doctor"]);
    sue.request_approved(&ann, "admin", "15m");
    // From here on sessions are made from a published set.
    let tiers = crate::tiers::folder_without_topics();
    let folder = tiers.path().to_str().unwrap();
    administrator.sorry(&["admin", "tiers", "publish", folder, "--yes"]).success();
    aws.sweep();
    the_whole_audit(aws, &sue, &administrator);

    // An alert before the grant and one at the end; a burdened role; lists; a caller who is removed while a session lives.
    let (session, _) = request(&sue, "break-glass", "15m");
    sue.sorry(&["revoke", &session]).success();
    // Credentials of what is over are refused, and that is written down. The command would not ask for them.
    let gateway = Gateway::new(aws.output("endpoint"), sue.keys());
    let (status, _) =
        gateway.send("POST", &format!("/sessions/{session}/credentials"), &Value::Null).unwrap();
    assert_eq!(status, 409);
    users_once(aws, &sue);
    let (session, _) = request(&sue, "read-only", "15m");
    sue.sorry(&["list"]).success();
    sue.sorry(&["list", "--namespace"]).success();
    burden(aws, row(aws, &session)["role_name"]["S"].as_str().unwrap());
    sue.sorry(&["revoke", &session]).success();
    let (extended, _) = request(&bob, "developer", "15m");
    bob.sorry(&["extend", &extended, "--for", "5m"]).success();
    administrator.sorry(&["admin", "callers", "remove", "bob-mgr"]).success();

    // A session whose workflow died, and whose role somebody has burdened: the sweep ends it.
    let (session, _) = request(&sue, "developer", "12s");
    kill_workflow(aws, &session);
    burden(aws, row(aws, &session)["role_name"]["S"].as_str().unwrap());
    eventually("the sweep ends it", 2 * PATIENCE, || {
        aws.sweep();
        (row(aws, &session)["state"]["S"] == "EXPIRED").then_some(())
    });
    // Roles that somebody has deleted are looked for: by the clean-up of a revocation, and by the sweep.
    let (session, _) = request(&sue, "developer", "15m");
    delete_role(aws, &session);
    sue.sorry(&["revoke", "--no-wait", &session]).success();
    let (session, _) = request(&sue, "developer", "10s");
    kill_workflow(aws, &session);
    delete_role(aws, &session);
    eventually("the sweep has taken it up", 2 * PATIENCE, || {
        aws.sweep();
        (row(aws, &session)["state"]["S"] == "EXPIRING").then_some(())
    });
    // A session that is counted as live and has no row.
    let live = aws.items("sorry-registry");
    let live = live.iter().find(|item| item["key"]["S"].as_str().unwrap().starts_with("live#")).unwrap();
    aws.call("dynamodb.update_item", json!({
        "TableName": "sorry-registry", "Key": {"key": live["key"]}, "UpdateExpression": "ADD sessions :lost",
        "ExpressionAttributeValues": {":lost": {"SS": ["0000000000000000"]}},
    }));
    assert_eq!(aws.sweep()["forgotten"], 1);
    // A role that nobody owns: the sweep asks it whose it is.
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let stray = json!({"RoleName": "sorry-sue-developer-stray", "Path": "/sorry/session/sue/", "AssumeRolePolicyDocument": trust.to_string()});
    aws.call("iam.create_role", stray);
    aws.sweep();
    // And one that ends by itself.
    let (session, _) = request(&sue, "read-only", "10s");
    reaches(&sue, &session, "EXPIRED");
}

#[test]
fn functions_are_allowed_what_they_call_and_nothing_else() {
    let aws = LocalAws::start_with(&["AuditDigestSeconds=20"]);
    everything_once(&aws);
    let mut excused = BTreeSet::new();
    for function in FUNCTIONS {
        let calls = calls(&aws, function);
        assert!(!calls.is_empty(), "{function} has called nothing");
        let mut unused = Vec::new();
        for (sid, action, resource) in permissions(&aws, function) {
            let used =
                calls.iter().any(|call| fits(&action, &call.action) && fits(&resource, &call.resource));
            let role = format!("{}Role/{sid}", capitalised(function));
            match USED_ELSEWHERE.iter().find(|(statement, _)| *statement == sid || *statement == role) {
                Some((statement, _)) => drop(excused.insert(*statement)),
                None if used => {}
                None => unused.push(format!("{sid}: {action} on {resource}")),
            }
        }
        assert!(unused.is_empty(), "{function} never uses: {unused:#?}\nit called: {calls:#?}");
    }
    let listed: BTreeSet<_> = USED_ELSEWHERE.iter().map(|(statement, _)| *statement).collect();
    assert_eq!(excused, listed, "left: excuses that some statement needs; right: those that are listed");
}

/// `clean-up` as it stands in the template's names: `CleanUp`.
fn capitalised(function: &str) -> String {
    let words = function.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

#[test]
fn patterns_stand_for_what_iam_says_they_do() {
    for (pattern, arn, expected) in [
        ("a:b", "a:b", true),
        ("a:b", "a:bc", false),
        ("role/*", "role/x/y", true),
        ("*:role/*/z", "x:role/y/z", true),
        ("*:role/*/z", "x:role/y/zz", false),
        ("role/ab*b", "role/ab", false),
    ] {
        assert_eq!(fits(pattern, arn), expected, "{pattern} {arn}");
    }
}
