//! The whole system on a local AWS: the real template, state machine and function binaries, the real `sorry`.
//!
//! What is looked at is the effect: what credentials can do, what a file holds, what security received.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

mod addresses;
mod approvals;
mod audit;
mod break_glass;
mod callers;
mod calls;
mod delivery;
#[path = "../../../crates/credentials/tests/desk/mod.rs"]
mod desk;
mod extension;
mod gateway;
mod limits;
mod main_job;
mod mfa;
mod operations;
mod permissions;
mod refusals;
mod secrets;
mod stores;
mod sweep;
mod thirty_six_hours;
mod tiers;
mod user;
mod vault;

use std::time::Duration;

use serde_json::{Value, json};
use sorry_tests::{Keys, LocalAws, Person, eventually};

/// Longest that anything here may take to come about on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// The state of a session, as its owner is told it.
#[track_caller]
fn state(person: &Person, session: &str) -> String {
    let view = person.sorry(&["status", session, "--output", "json"]).success().json();
    view["state"].as_str().expect("a state").to_owned()
}

/// Waits until a session is in a state.
#[track_caller]
fn reaches(person: &Person, session: &str, wanted: &str) {
    eventually(&format!("session {session} is {wanted}"), PATIENCE, || {
        (state(person, session) == wanted).then_some(())
    });
}

/// Requests a session of a tier; its id and the credentials in its profile.
#[track_caller]
fn request(person: &Person, tier: &str, window: &str) -> (String, Keys) {
    let reason = ["--reason", "an end-to-end test"];
    let arguments = [&["request", "--tier", tier, "--for", window, "--output", "json"][..], &reason].concat();
    let view = person.sorry(&arguments).success().json();
    let profile = view["profile"].as_str().expect("a profile");
    (view["session_id"].as_str().expect("an id").to_owned(), person.profile(profile))
}

/// A call that the tiers developer and above allow in `namespace`, and that changes nothing when repeated.
fn namespace_call(aws: &LocalAws, keys: &Keys, namespace: &str) -> sorry_tests::Verdict {
    aws.judge.call(keys, "sns.create_topic", json!({"Name": format!("{namespace}-notes")}))
}

/// Gives a session's user, and its policy, all that IAM wants gone before it deletes them, as a person might have.
fn burden_user(aws: &LocalAws, user: &str) {
    let of_user = |more: Value| {
        let mut parameters = json!({"UserName": user});
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        parameters
    };
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}]});
    aws.call("iam.create_access_key", of_user(json!({})));
    aws.call("iam.create_login_profile", of_user(json!({"Password": "Pa55word-of-a-test"})));
    aws.call("iam.upload_ssh_public_key", of_user(json!({"SSHPublicKeyBody": "ssh-rsa AAAA"})));
    aws.call(
        "iam.upload_signing_certificate",
        of_user(json!({"CertificateBody": "-----BEGIN CERTIFICATE-----"})),
    );
    let service = json!({"ServiceName": "codecommit.amazonaws.com"});
    aws.call("iam.create_service_specific_credential", of_user(service));
    aws.call(
        "iam.put_user_policy",
        of_user(json!({"PolicyName": "more", "PolicyDocument": deny.to_string()})),
    );
    aws.call("iam.attach_user_policy", of_user(json!({"PolicyArn": aws.output("CallerPolicyArn")})));
    aws.call("iam.create_group", json!({"GroupName": format!("of-{user}")}));
    aws.call("iam.add_user_to_group", of_user(json!({"GroupName": format!("of-{user}")})));
    aws.enable_mfa_device(user);
    let attached = aws.call("iam.list_attached_user_policies", of_user(json!({})));
    let own =
        attached["AttachedPolicies"].as_array().unwrap().iter().find(|policy| policy["PolicyName"] == user);
    let arn = own.expect("its own policy")["PolicyArn"].clone();
    aws.call("iam.create_policy_version", json!({"PolicyArn": arn, "PolicyDocument": deny.to_string()}));
}

/// The row of a session.
#[track_caller]
fn row(aws: &LocalAws, session: &str) -> Value {
    let rows = aws.session_rows();
    rows.into_iter()
        .find(|row| row["session_id"]["S"] == session)
        .unwrap_or_else(|| panic!("no row of {session}"))
}
