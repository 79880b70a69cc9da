//! Request, use, revoke, expire.

use serde_json::json;
use sorry_tests::{LocalAws, eventually};

use crate::{PATIENCE, namespace_call, reaches, request, row};

#[test]
fn a_session_gives_its_tier_and_no_more_until_it_is_revoked() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (session, keys) = request(&sue, "developer", "15m");

    // What it gives, and to whom CloudTrail says it was given.
    let identity = aws.judge.call(&keys, "sts.get_caller_identity", json!({})).allowed();
    assert!(identity["Arn"].as_str().unwrap().ends_with("/sue-mgr"), "{identity}");
    namespace_call(&aws, &keys, "sue").allowed();
    // Outside the namespace, outside the tier, and the service itself.
    assert!(namespace_call(&aws, &keys, "bob").is_denied());
    assert!(aws.judge.call(&keys, "iam.create_user", json!({"UserName": "sue-extra"})).is_denied());
    assert!(aws.judge.call(&keys, "dynamodb.scan", json!({"TableName": "sorry-sessions"})).is_denied());
    assert!(aws.judge.call(&keys, "lambda.invoke", json!({"FunctionName": "sorry-api"})).is_denied());

    // Invariant 2: boundary and date deny are on the role, and were from its first moment.
    let role = row(&aws, &session)["role_name"]["S"].as_str().unwrap().to_owned();
    let seen = aws.call("iam.get_role", json!({"RoleName": role}))["Role"].clone();
    assert_eq!(seen["Path"], "/sorry/session/sue/");
    let boundary = seen["PermissionsBoundary"]["PermissionsBoundaryArn"].as_str().unwrap();
    assert!(boundary.ends_with(":policy/sorry/service/sorry-boundary-developer"), "{boundary}");

    // Invariant 5: revocation ends credentials that were issued, and the command says so only then.
    let revoked = sue.sorry(&["revoke", &session]).success();
    assert!(namespace_call(&aws, &keys, "sue").is_denied(), "{revoked:?}");
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
    assert_eq!(crate::state(&sue, &session), "REVOKED");
    // The profile that held the credentials is gone, the person's own is not.
    let credentials = std::fs::read_to_string(sue.aws_file("credentials")).unwrap();
    assert!(!credentials.contains("sue-developer") && credentials.contains("[bootstrap]"), "{credentials}");
}

#[test]
fn ids_can_be_shortened_and_all_sessions_ended_at_once() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (first, first_keys) = request(&sue, "developer", "15m");
    let (second, second_keys) = request(&sue, "read-only", "15m");
    assert_eq!(crate::state(&sue, &first[..6]), "ACTIVE");

    // Overlapping sessions are independent: ending one leaves the other.
    sue.sorry(&["revoke", &first[..6]]).success();
    assert!(aws.judge.call(&first_keys, "sns.list_topics", json!({})).is_denied());
    aws.judge.call(&second_keys, "sns.list_topics", json!({})).allowed();

    let listed = sue.sorry(&["list", "--output", "json"]).success().json();
    let states: Vec<_> =
        listed["sessions"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ACTIVE", "REVOKED"], "newest first");
    sue.sorry(&["revoke", "--all"]).success();
    assert_eq!(crate::state(&sue, &second), "REVOKED");
    assert!(aws.judge.call(&second_keys, "sns.list_topics", json!({})).is_denied());
}

#[test]
fn a_session_ends_at_its_end_though_nobody_acts() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    // AWS issues no credentials for less than 15 minutes: these live longer than the session, and must not work longer.
    let (session, keys) = request(&sue, "developer", "15s");
    namespace_call(&aws, &keys, "sue").allowed();
    eventually("the credentials are refused", PATIENCE, || {
        namespace_call(&aws, &keys, "sue").is_denied().then_some(())
    });
    reaches(&sue, &session, "EXPIRED");
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}

#[test]
fn the_credentials_file_is_the_same_outside_the_profile_written() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    // A person's file: comments, odd spacing, CRLF lines, forty other profiles, no newline at the end.
    let mut before = std::fs::read(sue.aws_file("credentials")).unwrap();
    before.extend(b"# work\r\n\r\n[old]  \r\naws_access_key_id=AKIAOLDOLDOLDOLDOLD\r\n   \r\naws_secret_access_key   =   x+/=\r\n; end of old\r\n");
    for number in 0..40 {
        before.extend(format!("\n[profile-{number}]\naws_access_key_id = AKIA{number:016}\naws_secret_access_key = s{number}\n\n# {number}\n").bytes());
    }
    before.extend(b"s3 =\n  max_concurrent_requests = 20");
    sue.write_aws_file("credentials", &before);
    sue.write_aws_file("config", b"[default]\r\nregion=eu-west-2\r\n# mine\r\n");

    let (session, keys) = request(&sue, "developer", "15m");
    namespace_call(&aws, &keys, "sue").allowed();
    let after = std::fs::read(sue.aws_file("credentials")).unwrap();
    let written = String::from_utf8(after.clone()).unwrap();
    let added = written.find("[sue-developer]").expect("the profile is there");
    assert!(after.starts_with(&before), "what was there is still there, byte for byte");
    assert!(added >= before.len());
    assert!(
        std::fs::read_to_string(sue.aws_file("config"))
            .unwrap()
            .starts_with("[default]\r\nregion=eu-west-2\r\n# mine\r\n")
    );
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(sue.aws_file("credentials")).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    // Written again, in place; and taken away again.
    sue.sorry(&["renew", &session]).success();
    assert!(std::fs::read(sue.aws_file("credentials")).unwrap().starts_with(&before));
    sue.sorry(&["revoke", &session]).success();
    let left = std::fs::read(sue.aws_file("credentials")).unwrap();
    assert!(
        left.starts_with(&before) && left[before.len()..].trim_ascii().is_empty(),
        "only the profile is gone"
    );
}
