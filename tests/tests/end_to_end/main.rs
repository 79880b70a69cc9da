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

mod approvals;
mod break_glass;
mod calls;
mod delivery;
#[path = "../../../crates/credentials/tests/desk/mod.rs"]
mod desk;
mod gateway;
mod main_job;
mod mfa;
mod permissions;
mod refusals;
mod secrets;
mod sweep;
mod tiers;
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

/// The row of a session.
#[track_caller]
fn row(aws: &LocalAws, session: &str) -> Value {
    let rows = aws.session_rows();
    rows.into_iter()
        .find(|row| row["session_id"]["S"] == session)
        .unwrap_or_else(|| panic!("no row of {session}"))
}
