//! What is shown before anything exists is what is made; tiers that are published are what is lent, or nothing is.

use std::fs;

use serde_json::{Value, json};
use sorry_tests::{LocalAws, Person, project};
use tempfile::TempDir;

use crate::{namespace_call, request, row};

/// The tiers of the project, with another policy for developers: one that makes no topics.
pub(crate) fn folder_without_topics() -> TempDir {
    folder_with_a_tier_without_topics("developer")
}

/// The tiers of the project, with another policy for one of them: one that makes no topics.
pub(crate) fn folder_with_a_tier_without_topics(tier: &str) -> TempDir {
    let folder = TempDir::with_prefix("sorry-tiers-").expect("a folder can be made");
    for name in ["tiers.toml", "read-only.json", "developer.json", "admin.json", "break-glass.json"] {
        fs::copy(project().join("policy_templates").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join(format!("{tier}.json"));
    let mut policy: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let deny = json!({"Sid": "NoTopics", "Effect": "Deny", "Action": "sns:CreateTopic", "Resource": "*"});
    policy["Statement"].as_array_mut().unwrap().push(deny);
    fs::write(&path, policy.to_string()).unwrap();
    folder
}

#[track_caller]
fn dry_run(person: &Person) -> Value {
    let words =
        ["request", "--tier", "developer", "--for", "15m", "--reason", "an end-to-end test", "--dry-run"];
    person.sorry(&[&words[..], &["--output", "json"]].concat()).success().json()
}

/// An IAM document as a dry run shows it.
fn with_placeholders(document: &Value, row: &Value) -> Value {
    let text = |name: &str| row[name]["S"].as_str().unwrap().to_owned();
    let document = document
        .to_string()
        .replace(&text("session_id"), "<session>")
        .replace(&text("external_id"), "<external id>")
        .replace(&text("expires_at"), "<end>");
    serde_json::from_str(&document).unwrap()
}

#[test]
fn a_dry_run_shows_the_role_that_is_then_made() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let shown = dry_run(&sue);
    assert!(aws.session_rows().is_empty() && aws.roles("/sorry/session/").is_empty());
    assert!(
        !aws.items("sorry-registry")
            .iter()
            .any(|item| item["key"]["S"].as_str().unwrap().starts_with("request#"))
    );
    let (session, _) = request(&sue, "developer", "15m");
    let row = row(&aws, &session);
    let name = row["role_name"]["S"].as_str().unwrap();
    let role = aws.call("iam.get_role", json!({"RoleName": name}))["Role"].clone();
    let access = aws.call("iam.get_role_policy", json!({"RoleName": name, "PolicyName": "access"}));
    let end = shown["expires_at"].as_str().unwrap();
    let planned: Value = serde_json::from_str(&shown["role"].to_string().replace(end, "<end>")).unwrap();
    assert_eq!(planned["access_policy"], with_placeholders(&access["PolicyDocument"], &row));
    assert_eq!(planned["trust_policy"], with_placeholders(&role["AssumeRolePolicyDocument"], &row));
    assert_eq!(planned["boundary"], role["PermissionsBoundary"]["PermissionsBoundaryArn"]);
    assert_eq!(planned["name"], name.replace(&session[..8], "<first 8 of session>"));
    assert_eq!(planned["path"], role["Path"]);
}

#[test]
fn what_is_published_is_lent_and_what_is_damaged_is_not() {
    let aws = LocalAws::start();
    let (sue, administrator) = (aws.register("sue-mgr"), aws.administrator_person());
    let (_, before) = request(&sue, "developer", "15m");
    namespace_call(&aws, &before, "sue").allowed();

    let folder = folder_without_topics();
    let path = folder.path().to_str().unwrap();
    administrator.sorry(&["admin", "tiers", "validate", path]).success();
    let diff = administrator.sorry(&["admin", "tiers", "diff", path]).success();
    assert!(diff.stdout.contains("NoTopics") && diff.stderr.contains("built in"), "{diff:?}");
    // Callers neither see nor publish.
    for words in [["admin", "tiers", "diff", path], ["admin", "tiers", "publish", path]] {
        assert_eq!(sue.sorry(&words).code, 3);
    }
    let published = administrator
        .sorry(&["admin", "tiers", "publish", path, "--yes", "--output", "json"])
        .success()
        .json();
    let again = administrator.sorry(&["admin", "tiers", "publish", path, "--yes"]).success();
    assert!(again.stderr.contains("in force already"), "{again:?}");

    // Who has a session keeps it; who asks now gets the other policy.
    namespace_call(&aws, &before, "sue").allowed();
    let rendered =
        sue.sorry(&["tiers", "show", "developer", "--rendered", "--output", "json"]).success().json();
    assert!(rendered["rendered"]["policy"].to_string().contains("NoTopics"), "{rendered}");
    let (session, after) = request(&sue, "developer", "15m");
    assert!(namespace_call(&aws, &after, "sue").is_denied());
    assert_eq!(row(&aws, &session)["tiers_digest"]["S"], published["digest"]);

    // A stored set that is wider than what was published gives nothing to anybody.
    let key = json!({"key": {"S": format!("tiers#{}", published["digest"].as_str().unwrap())}});
    let item =
        aws.call("dynamodb.get_item", json!({"TableName": "sorry-registry", "Key": key}))["Item"].clone();
    let mut damaged = item.clone();
    damaged["stored"]["S"] = item["stored"]["S"].as_str().unwrap().replace("NoTopics", "AllTopics").into();
    aws.call("dynamodb.put_item", json!({"TableName": "sorry-registry", "Item": damaged}));
    let refused = sue.sorry(&["request", "--tier", "developer", "--hours", "1"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("TiersUnusable"), "{refused:?}");
    let rows = aws.session_rows().len();
    let (status, answer) = aws.judge.request(
        Some(sue.keys()),
        "POST /tiers/developer/sessions",
        &json!({"client_request_id": "0123-4567", "duration_seconds": 900}).to_string(),
    );
    assert_eq!((status, &answer["code"]), (503, &json!("TiersUnusable")), "{answer}");
    assert_eq!(aws.session_rows().len(), rows);
    administrator.sorry(&["admin", "tiers", "publish", path, "--yes"]).success();
    assert!(namespace_call(&aws, &request(&sue, "developer", "15m").1, "sue").is_denied());
}
