//! Where MFA is required: what a code is good for, and what a key without one is worth.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sorry_tests::{Keys, LocalAws, Person};

use crate::{namespace_call, reaches};

const EIGHT_HOURS: [&str; 9] =
    ["request", "--tier", "developer", "--hours", "8", "--no-wait", "--output", "json", "--quiet"];

fn start() -> LocalAws {
    LocalAws::start_with(&["RequireMfa=true"])
}

/// A session that nobody has assumed yet.
fn ask(person: &Person) -> String {
    let view = person.sorry(&EIGHT_HOURS).success().json();
    let session = view["session_id"].as_str().expect("an id").to_owned();
    reaches(person, &session, "ACTIVE");
    session
}

fn has_profile(person: &Person) -> bool {
    std::fs::read_to_string(person.aws_file("credentials")).is_ok_and(|text| text.contains("[sue-developer]"))
}

#[test]
fn the_right_code_gives_eight_hours_in_one_call_and_no_other_gives_anything() {
    let aws = start();
    let sue = aws.register_with_mfa("sue-mgr");
    let code = sue.mfa_code();
    let sue = sue.without_mfa_process();
    let session = ask(&sue);

    let none = sue.sorry(&["renew", &session]);
    assert_eq!((none.code, has_profile(&sue)), (2, false), "{none:?}");
    assert!(none.stderr.contains("MFA code") && none.stderr.contains("--mfa-stdin"), "{none:?}");
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    let refused = sue.sorry(&["renew", &session, "--mfa-code", &wrong]);
    assert_eq!((refused.code, has_profile(&sue)), (3, false), "{refused:?}");
    assert!(refused.stderr.contains("the code is wrong, or was used already"), "{refused:?}");
    let malformed = sue.sorry(&["renew", &session, "--mfa-code", "12345"]);
    assert_eq!(malformed.code, 2, "{malformed:?}");

    let good = sue.sorry(&["renew", &session, "--mfa-code", &code, "--output", "json"]).success().json();
    let expires: jiff::Timestamp = good["credentials_expire_at"].as_str().unwrap().parse().unwrap();
    let hours = expires.duration_since(jiff::Timestamp::now()).as_secs_f64() / 3600.0;
    assert!((7.9..=8.0).contains(&hours), "{hours} hours in one call");
    namespace_call(&aws, &sue.profile("sue-developer"), "sue").allowed();

    let again = sue.sorry(&["renew", &session, "--mfa-code", &code, "--profile", "other"]);
    assert_eq!(again.code, 3, "a code is good once: {again:?}");
}

/// The credentials of somebody who has stolen a key, and not the device: the key itself, and what STS makes of it.
fn stolen(aws: &LocalAws, person: &Person) -> [Keys; 2] {
    let answer = aws.judge.call(person.keys(), "sts.get_session_token", json!({})).allowed();
    let made = &answer["Credentials"];
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    let token = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    };
    [person.keys().clone(), token]
}

/// What the API lets a key do that nobody has shown a device for.
const OPEN: [&str; 7] = [
    "GET /tiers",
    "GET /tiers/{tier}",
    "POST /tiers/{tier}/sessions",
    "GET /sessions",
    "GET /sessions/{id}",
    "DELETE /sessions/{id}",
    "GET /whoami",
];

/// Every operation of the API's document.
fn operations() -> BTreeSet<String> {
    let document =
        std::fs::read_to_string(sorry_tests::project().join("infrastructure/openapi.yaml")).unwrap();
    let (_, paths) = document.split_once("\npaths:\n").expect("paths");
    let (paths, _) = paths.split_once("\ncomponents:\n").expect("an end of the paths");
    let (mut path, mut found) = (String::new(), BTreeSet::new());
    for line in paths.lines() {
        let word = line.trim().trim_end_matches(':');
        match line.len() - line.trim_start().len() {
            2 if word.starts_with('/') => path = word.to_owned(),
            4 if ["delete", "get", "patch", "post", "put"].contains(&word) => {
                found.insert(format!("{} {path}", word.to_uppercase()));
            }
            _ => {}
        }
    }
    assert!(OPEN.iter().all(|open| found.contains(*open)), "{found:?}");
    found
}

#[test]
fn a_stolen_key_without_its_device_can_look_ask_and_end_and_nothing_else() {
    let aws = start();
    let sue = aws.register_with_mfa("sue-mgr");
    let session = ask(&sue);
    let user = json!({"UserName": "sue-mgr"});
    for (number, keys) in stolen(&aws, &sue).iter().enumerate() {
        let ask = |request: &str, body: &str| aws.judge.request(Some(keys), request, body);
        for open in ["GET /tiers", "GET /tiers/developer", "GET /sessions", "GET /whoami"] {
            assert_eq!(ask(open, "").0, 200, "{open} is not open");
        }
        let body = json!({"client_request_id": format!("stolen-key-{number}"), "duration_seconds": 3600});
        let (status, made) = ask("POST /tiers/developer/sessions", &body.to_string());
        assert_eq!(status, 202, "{made}");
        let (status, seen) = ask(&format!("GET /sessions/{session}"), "");
        assert_eq!(status, 200, "{seen}");
        // All that is needed to assume the role, short of a code.
        let access = &seen["access"];
        let assume = json!({
            "RoleArn": access["role_arn"], "RoleSessionName": access["role_session_name"],
            "ExternalId": access["external_id"], "SourceIdentity": access["source_identity"],
        });
        assert!(aws.judge.call(keys, "sts.assume_role", assume).is_denied(), "{access}");

        for closed in operations().difference(&OPEN.map(str::to_owned).into()) {
            let asked = closed.replace("{id}", "AIDAEXAMPLEEXAMPLE").replace("{tier}", "developer");
            assert_eq!(ask(&asked, "{}").0, 403, "{closed} is open");
        }
        for call in ["iam.create_access_key", "iam.list_access_keys", "iam.list_attached_user_policies"] {
            assert!(aws.judge.call(keys, call, user.clone()).is_denied(), "{call} is open");
        }
        assert!(namespace_call(&aws, keys, "sue").is_denied());
        let id = made["session_id"].as_str().expect("an id");
        assert_eq!(ask(&format!("DELETE /sessions/{id}"), "").0, 202, "its owner's sessions can be ended");
    }
}

#[test]
fn administrators_change_nothing_without_a_code() {
    let aws = LocalAws::start_with(&["RequireMfa=true", "IdentityProviderRoleArns="]);
    let administrator = aws.administrator_person();
    let add = ["admin", "callers", "add", "sue-mgr", "--tier", "developer=8"];
    let refused = administrator.sorry(&add);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("MFA"), "{refused:?}");
    let users: Value = aws.call("iam.list_users", json!({"PathPrefix": "/sorry/caller/"}));
    assert_eq!(users["Users"], json!([]), "the user that was made for nothing is gone again");
    administrator.sorry(&["admin", "callers", "list"]).success();

    let administrator = aws.administrator_with_mfa();
    administrator.sorry(&add).success();
}
