//! What is shown before anything exists, and the tiers that are published: over the real API, steps and state machine in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::collections::BTreeSet;

use harness::{Bench, sue};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_session::preview::{EXTERNAL_ID_PLACEHOLDER, SESSION_PLACEHOLDER, SHORT_SESSION_PLACEHOLDER};

const ASK: &str = "/tiers/{tier}/sessions";

fn body(key: &str, dry_run: bool) -> Value {
    let mut body = json!({
        "client_request_id": key, "duration_seconds": 3600, "reason": "to see what happens",
    });
    if dry_run {
        body["dry_run"] = json!(true);
    }
    body
}

fn ask(bench: &Bench, tier: &str, body: &Value) -> Response {
    bench.service.send(&sue(), "POST", ASK, tier, body).unwrap()
}

/// A document of a real role as a dry run shows it: everything but what is drawn with a session is the same.
fn with_placeholders(document: &str, id: &str, external_id: &str) -> Value {
    let text = document.replace(id, SESSION_PLACEHOLDER).replace(external_id, EXTERNAL_ID_PLACEHOLDER);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_dry_run_shows_what_the_request_then_makes() {
    for tier in ["read-only", "developer", "admin", "break-glass"] {
        let mut bench = Bench::new();
        let shown = ask(&bench, tier, &body("request-1", true));
        assert_eq!(shown.status, 200, "{}", shown.body);
        let id = bench.granted(tier, "request-1");
        let row = bench.world.row(&id).unwrap();
        let role = bench.world.roles().into_iter().find(|role| role.name == row.role_name.as_str()).unwrap();

        let planned = &shown.body["role"];
        let external_id = row.external_id.as_str();
        assert_eq!(planned["name"], role.name.replace(id.short(), SHORT_SESSION_PLACEHOLDER));
        assert_eq!(planned["path"], role.path);
        assert_eq!(planned["boundary"], json!(role.boundary_arn));
        assert_eq!(planned["trust_policy"], with_placeholders(&role.trust_policy, id.as_str(), external_id));
        let access = &role.inline["access"];
        assert_eq!(planned["access_policy"], with_placeholders(access, id.as_str(), external_id));
        let tags = serde_json::to_string(&role.tags).unwrap();
        assert_eq!(planned["tags"], with_placeholders(&tags, id.as_str(), external_id));

        for (member, value) in [
            ("decision", json!("grant")),
            ("tier", json!(row.tier)),
            ("namespace", json!(row.namespace)),
            ("person", json!(row.person)),
            ("reason", json!(row.reason)),
            ("caller", json!(row.caller.arn)),
            ("expires_at", json!(row.expires_at)),
            ("mfa", json!(row.mfa)),
            ("alert", json!(row.alert)),
            ("policy_digest", json!(row.policy_digest)),
        ] {
            assert_eq!(shown.body[member], value, "{tier}: {member}");
        }
        assert_eq!(shown.body.get("alert_subscribers").is_some(), row.alert);
        // What would be drawn is neither shown nor guessable from what is.
        let text = shown.body.to_string();
        assert!(!text.contains(id.as_str()) && !text.contains(external_id), "{text}");
    }
}

#[test]
fn a_dry_run_writes_nothing_and_is_not_remembered() {
    let bench = Bench::new();
    let (before, published) = (bench.world.calls().len(), bench.world.published().len());
    for tier in ["developer", "break-glass"] {
        assert_eq!(ask(&bench, tier, &body("request-1", true)).status, 200);
    }
    // Only what reads was called: no row, no key, no audit record, no workflow, no event, no principal.
    let called: BTreeSet<_> = bench.world.calls()[before..].iter().map(|call| call.port).collect();
    assert_eq!(called, BTreeSet::from(["caller", "confirmed_subscribers"]));
    assert!(bench.world.rows().is_empty() && bench.world.starts().is_empty());
    assert!(bench.world.roles().is_empty() && bench.world.published().len() == published);
    // The same key is free for another request.
    let mut other = body("request-1", false);
    other["duration_seconds"] = json!(1800);
    assert_eq!(ask(&bench, "developer", &other).status, 202);
    assert!(bench.world.violations().is_empty());
}

#[test]
fn a_dry_run_is_refused_as_the_request_is() {
    let bench = Bench::new();
    let with = |member: &str, value: Value| {
        let mut body = body("request-1", false);
        body[member] = value;
        body
    };
    let without_reason = {
        let mut body = body("request-1", false);
        body.as_object_mut().unwrap().remove("reason");
        body
    };
    let mut codes = BTreeSet::new();
    for (tier, body) in [
        ("wizard", body("request-1", false)),
        ("developer", with("duration_seconds", json!(1))),
        ("developer", with("duration_seconds", json!(90_000))),
        ("developer", with("reason", json!("short"))),
        ("developer", with("project", json!("zeus"))),
        ("developer", with("client_request_id", json!("x"))),
        ("developer", with("another", json!("member"))),
        ("break-glass", without_reason),
    ] {
        let mut dry = body.clone();
        dry["dry_run"] = json!(true);
        let (refused, dry) = (ask(&bench, tier, &body), ask(&bench, tier, &dry));
        assert!(refused.status >= 400, "{tier} {body}");
        assert_eq!(dry, refused, "{tier} {body}");
        codes.insert(refused.body["code"].as_str().unwrap().to_owned());
    }
    assert_eq!(codes.len(), 7, "{codes:?}");
    let stranger = sorry_session::Identity { unique_id: "AIDASTRANGER".into(), ..sue() };
    let answer = bench.service.send(&stranger, "POST", ASK, "developer", &body("request-1", true)).unwrap();
    assert_eq!((answer.status, &answer.body["code"]), (403, &json!("UnknownCaller")));
}
