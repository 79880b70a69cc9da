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

use harness::{Bench, administrator, edited_tiers, sue};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_policy::{SessionId, TierSet};
use sorry_session::{
    Identity, State,
    ports::Clock,
    preview::{EXTERNAL_ID_PLACEHOLDER, SESSION_PLACEHOLDER, SHORT_SESSION_PLACEHOLDER},
};

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
fn a_dry_run_shows_a_user_and_a_standing_role_as_they_are_then_given() {
    let mut user = body("request-1", true);
    user["grant"] = json!("user");
    for (tier, body, path) in [
        ("read-only", user, "/sorry/session/sue/"),
        ("break-glass", body("request-1", true), "/sorry/standing/"),
    ] {
        let bench = Bench::new();
        let shown = ask(&bench, tier, &body);
        assert_eq!(shown.status, 200, "{}", shown.body);
        let planned = &shown.body["role"];
        assert_eq!((planned["path"].as_str(), planned.get("trust_policy")), (Some(path), None), "{planned}");
        let statements = planned["access_policy"]["Statement"].as_array().unwrap();
        assert_eq!(statements.last().unwrap()["Sid"], "SorryExpiry", "{planned}");
        assert!(statements.iter().any(|statement| statement["Effect"] == "Allow"));
        assert_eq!(planned["tags"]["sorry:session"], "<session>");
    }
}

#[test]
fn a_dry_run_shows_what_the_request_then_makes() {
    for tier in ["read-only", "developer"] {
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
            ("decision", json!(if row.approval.is_some() { "await-approval" } else { "grant" })),
            ("approvals", json!(row.approval.as_ref().map_or(0, |approval| approval.needed))),
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
    assert_eq!(called, BTreeSet::from(["caller", "confirmed_subscribers", "published_tiers"]));
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
    let stranger = Identity { unique_id: "AIDASTRANGER".into(), ..sue() };
    let answer = bench.service.send(&stranger, "POST", ASK, "developer", &body("request-1", true)).unwrap();
    assert_eq!((answer.status, &answer.body["code"]), (403, &json!("UnknownCaller")));
}

/// The tiers of the deployment are asked for as its administrator.
fn publish(bench: &Bench, set: &TierSet) -> Response {
    bench.service.publish(set).unwrap()
}

fn without(tier: &str) -> TierSet {
    let mut set = TierSet::built_in();
    let (before, rest) = set.tiers.split_once(&format!("[tiers.{tier}]")).unwrap();
    let after = rest.find("[tiers.").map_or("", |next| &rest[next..]);
    set.tiers = format!("{before}{after}");
    set.templates.remove(&format!("{tier}.json"));
    set
}

fn access_policy(bench: &Bench, id: &SessionId) -> String {
    let row = bench.world.row(id).unwrap();
    let role = bench.world.roles().into_iter().find(|role| role.name == row.role_name.as_str()).unwrap();
    role.inline["access"].clone()
}

#[test]
fn what_is_published_is_what_is_lent_from_then_on() {
    let mut bench = Bench::new();
    let before = bench.granted("developer", "request-0");
    let set = edited_tiers();
    let answer = publish(&bench, &set);
    assert_eq!((answer.status, &answer.body["digest"]), (200, &json!(set.digest())), "{}", answer.body);
    assert_eq!(answer.body["published_by"], administrator().arn);

    // Its record and its event.
    let audit = bench.world.audit("tiers");
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0].details["digest"], json!(set.digest()));
    assert_eq!(audit[0].details["replaces"], json!(TierSet::built_in().digest()));
    assert_eq!(audit[0].details["changed"], json!(["developer"]));
    let published = bench.world.published();
    let event = published.iter().find(|event| event.detail_type == "Tiers Published").unwrap();
    assert_eq!(event.detail["alert"], true, "security is told what can be lent from now on");

    // What is listed, shown, planned and made is the published set.
    let list = bench.service.send(&sue(), "GET", "/tiers", "", &Value::Null).unwrap();
    assert!(list.body.to_string().contains("as published"), "{}", list.body);
    let planned = ask(&bench, "developer", &body("request-1", true)).body;
    let id = bench.granted("developer", "request-1");
    let row = bench.world.row(&id).unwrap();
    assert_eq!(row.tiers_digest, Some(set.digest()));
    assert_eq!(planned["policy_digest"], json!(row.policy_digest));
    let made = access_policy(&bench, &id);
    assert!(made.contains("Published") && made.contains(id.as_str()), "{made}");
    assert_eq!(
        planned["role"]["access_policy"],
        with_placeholders(&made, id.as_str(), row.external_id.as_str())
    );
    // What was there before is as it was.
    assert!(!access_policy(&bench, &before).contains("Published"));
    assert_eq!(bench.world.row(&before).unwrap().tiers_digest, None);
    bench.settle();
    bench.assert_settled(&"published tiers");
}

#[test]
fn a_session_is_made_from_the_set_that_its_row_names() {
    let mut bench = Bench::published();
    // Asked for, and not made yet, when the tier goes; another was there before.
    let there = bench.granted("developer", "request-1");
    let asked = ask(&bench, "developer", &body("request-2", false));
    let id: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();
    assert_eq!(publish(&bench, &without("developer")).status, 200);
    bench.run_for(0);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Active);
    assert!(access_policy(&bench, &id).contains("Published"));
    // The removal of a tier ends no session, and nobody gets another.
    assert!(bench.world.usable(&there, bench.world.now()));
    let refused = ask(&bench, "developer", &body("request-3", false));
    assert_eq!((refused.status, &refused.body["code"]), (404, &json!("UnknownTier")));
    // The same for one that was asked for by the built-in tiers.
    let mut bench = Bench::new();
    let asked = ask(&bench, "developer", &body("request-1", false));
    let id: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();
    assert_eq!(publish(&bench, &without("developer")).status, 200);
    bench.run_for(0);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Active);
}

#[test]
fn a_set_that_is_damaged_or_gone_refuses_requests_until_it_is_published_again() {
    type Damage = fn(&str) -> Option<String>;
    let damages: [(&str, Damage); 3] = [
        ("a wider statement", |stored| Some(stored.replace("sqs:ListQueues", "*"))),
        ("no set", |_| Some("{}".to_owned())),
        ("gone", |_| None),
    ];
    for (what, damage) in damages {
        let mut bench = Bench::published();
        let there = bench.granted("developer", "request-1");
        let asked = ask(&bench, "developer", &body("request-2", false));
        let waiting: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();
        bench.world.damage_tier_sets(damage);

        // Nothing that depends on the tiers is answered, and nothing falls back to the built-in ones.
        for (who, method, resource, parameter, sent) in [
            (sue(), "POST", ASK, "developer", body("request-3", false)),
            (sue(), "POST", ASK, "developer", body("request-3", true)),
            (sue(), "POST", ASK, "read-only", body("request-3", false)),
            (sue(), "GET", "/tiers", "", Value::Null),
            (sue(), "GET", "/tiers/{tier}", "developer", Value::Null),
        ] {
            let answer = bench.service.send(&who, method, resource, parameter, &sent).unwrap();
            let found = (answer.status, &answer.body["code"]);
            assert_eq!(found, (503, &json!("TiersUnusable")), "{what}: {method} {resource}");
        }
        assert_eq!(bench.world.rows().len(), 2);
        // What was asked for before fails, and says why; what is there goes on, and can be ended.
        bench.run_for(harness::LONGEST_WORKFLOW);
        let failed = bench.world.row(&waiting).unwrap();
        assert_eq!(failed.state, State::Failed, "{what}");
        assert_eq!(failed.end.unwrap().failure.unwrap().code, "TiersUnusable");
        assert!(bench.world.usable(&there, bench.world.now()));
        assert_eq!(bench.service.revoke(&there).unwrap().status, 202);
        bench.run_for(harness::LONGEST_WORKFLOW);
        bench.settle();
        bench.assert_settled(&what);

        // An administrator sees what is wrong, and publishes the same set again.
        let shown = bench.service.send(&administrator(), "GET", "/admin/tiers", "", &Value::Null).unwrap();
        assert_eq!(shown.status, 200);
        assert!(shown.body["unusable"].is_string() && shown.body.get("tiers").is_none(), "{}", shown.body);
        assert_eq!(publish(&bench, &edited_tiers()).status, 200);
        bench.granted("developer", "request-4");
    }
}

#[test]
fn only_what_was_shown_is_replaced() {
    let bench = Bench::new();
    let body = |set: &TierSet, replaces: &str| json!({"tiers": set.tiers, "templates": set.templates, "replaces": replaces});
    let put = |body: &Value| bench.service.send(&administrator(), "PUT", "/admin/tiers", "", body).unwrap();
    let built_in = TierSet::built_in().digest();
    let stale = put(&body(&edited_tiers(), "0123"));
    assert_eq!((stale.status, &stale.body["code"]), (409, &json!("Conflict")));
    assert_eq!(bench.world.tiers_in_force(), None);
    // Two administrators who saw the same: the second is told, and nothing of theirs is in force.
    assert_eq!(put(&body(&edited_tiers(), built_in.as_str())).status, 200);
    let second = put(&body(&without("admin"), built_in.as_str()));
    assert_eq!((second.status, &second.body["code"]), (409, &json!("Conflict")));
    assert_eq!(bench.world.tiers_in_force().unwrap().digest, edited_tiers().digest());
    assert_eq!(bench.world.audit("tiers").len(), 1);
}

#[test]
fn what_is_wrong_is_not_published() {
    let bench = Bench::new();
    let mut unknown_boundary = edited_tiers();
    unknown_boundary.tiers =
        unknown_boundary.tiers.replace("boundary = \"developer\"", "boundary = \"none\"");
    let mut unknown_variable = edited_tiers();
    unknown_variable.templates.insert("developer.json".into(), r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${namespce}"}]}"#.into());
    for (set, said) in [(unknown_boundary, "boundary `none`"), (unknown_variable, "${namespce}")] {
        let refused = publish(&bench, &set);
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!("InvalidInput")));
        assert!(refused.body["message"].as_str().unwrap().contains(said), "{}", refused.body);
    }
    let refused = bench.service.send(&sue(), "PUT", "/admin/tiers", "", &json!({})).unwrap();
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("NotAllowed")));
    assert_eq!((bench.world.tiers_in_force(), bench.world.audit("tiers").len()), (None, 0));
}

#[test]
fn invariant_7_a_publication_and_its_record_are_one_whatever_fails() {
    let calls = {
        let bench = Bench::published();
        publish(&bench, &without("admin"));
        bench.world.calls()
    };
    let first = Bench::published().world.calls().len();
    assert!(calls[first..].iter().any(|call| call.port == "publish_tiers"));
    for (number, call) in calls.iter().enumerate().skip(first) {
        for (fault, late) in harness::faults() {
            let label = format!("call {number} `{}`: {fault:?}", call.port);
            let mut bench = Bench::published();
            bench.world.land_after(late);
            bench.world.fail_call(number, fault);
            let said = bench.service.publish(&without("admin")).is_some_and(|answer| answer.status == 200);
            bench.settle();
            let in_force = bench.world.tiers_in_force().unwrap();
            let records = bench.world.audit("tiers");
            assert_eq!(records.last().unwrap().details["digest"], json!(in_force.digest), "{label}");
            assert!(
                !said || in_force.digest == without("admin").digest(),
                "{label}: success, and it is not so"
            );
            assert_eq!(
                records.len(),
                if in_force.digest == edited_tiers().digest() { 1 } else { 2 },
                "{label}"
            );
            // Whichever is in force, it can be used.
            bench.granted("developer", "request-1");
            // Whoever had no answer asks once more: it is so, once, and security was told.
            let wanted = without("admin");
            let again = json!({
                "tiers": wanted.tiers, "templates": wanted.templates, "replaces": edited_tiers().digest(),
            });
            let answer = bench.service.send(&administrator(), "PUT", "/admin/tiers", "", &again).unwrap();
            assert_eq!((answer.status, &answer.body["digest"]), (200, &json!(wanted.digest())), "{label}");
            assert_eq!(bench.world.audit("tiers").len(), 2, "{label}");
            let told = bench.world.published();
            let mut told = told.iter().filter(|event| event.detail_type == "Tiers Published");
            assert!(
                told.any(|event| event.detail["tiers"]["digest"] == json!(wanted.digest())),
                "{label}: nobody was told"
            );
            assert!(bench.world.violations().is_empty(), "{label}: {:?}", bench.world.violations());
        }
    }
}

#[test]
fn a_tier_is_rendered_for_the_caller_alone() {
    let bench = Bench::new();
    let show = |who: &Identity, query: &[(&str, &str)]| {
        bench.service.send_with_query(who, "GET", "/tiers/{tier}", "developer", query, &Value::Null).unwrap()
    };
    assert!(show(&sue(), &[]).body.get("rendered").is_none());
    let shown = show(&sue(), &[("rendered", "true")]).body["rendered"].clone();
    assert_eq!(shown["namespace"], "sue");
    assert!(shown["boundary"].as_str().unwrap().ends_with(":policy/sorry/service/sorry-boundary-developer"));
    // What a session has, but for its end.
    let planned = ask(&bench, "developer", &body("request-1", true)).body["role"]["access_policy"].clone();
    let mut statements = planned["Statement"].as_array().unwrap().clone();
    assert_eq!(statements.pop().unwrap()["Sid"], "SorryExpiry");
    assert_eq!(shown["policy"]["Statement"], json!(statements));
    for (who, query, status) in [
        (sue(), ("rendered", "maybe"), 400),
        (sue(), ("rendered", "false"), 200),
        // Whoever has no namespace has nothing to render it for.
        (administrator(), ("rendered", "true"), 403),
    ] {
        assert_eq!(show(&who, &[query]).status, status, "{query:?}");
    }
    let foreign = show(&sue(), &[("rendered", "true"), ("project", "zeus")]);
    assert_eq!(foreign.body["code"], "ProjectNotAllowed");
}
