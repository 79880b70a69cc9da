//! Credentials that the service hands out: a revocation comes between any two calls of making them, and two ask at once. Afterwards no
//! access key is left, nothing works that should not, and no secret was written down. `unwind` lets every one of those calls fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use harness::{Bench, LONGEST_WORKFLOW, SWEEP_EVERY, after, sue};
use serde_json::Value;
use sorry_policy::SessionId;
use sorry_session::{
    Identity, Principal, State,
    ports::{Clock, Presence, PrincipalProvisioner},
};
use sorry_testkit::{Call, Fault, block_on, interleave, moment};

/// A tier for each grant whose credentials the service hands out.
const TIERS: [&str; 2] = ["read-only+user", "break-glass"];

fn granted(tier: &str) -> (Bench, SessionId) {
    let mut bench = Bench::new();
    bench.world.set_key_lag(3);
    let id = bench.granted(tier, "request-1");
    (bench, id)
}

/// Issues, and gives the status.
fn issue(bench: &Bench, id: &SessionId) -> Option<u16> {
    bench.service.issue(&sue(), id).map(|response| response.status)
}

/// The calls of one issue without faults, and the number of the first of them.
fn calls_of_issuing(tier: &str) -> (usize, Vec<Call>) {
    let (bench, id) = granted(tier);
    let first = bench.world.calls().len();
    assert_eq!(issue(&bench, &id), Some(200));
    (first, bench.world.calls())
}

#[test]
fn credentials_work_until_the_end_and_no_key_stays() {
    for tier in TIERS {
        let (mut bench, id) = granted(tier);
        let answer = bench.service.issue(&sue(), &id).unwrap();
        assert_eq!(answer.status, 200, "{tier}: {}", answer.body);
        let body = &answer.body;
        assert!(body["access_key_id"].as_str().unwrap().starts_with("ASIA"), "{body}");
        assert!(body["secret_access_key"].as_str().unwrap().starts_with("secret-of-ASIA"));
        assert_eq!(body["session_ends_at"], "2026-01-01T01:00:00Z");
        assert_eq!(bench.world.access_keys(), [""; 0], "{tier}");
        assert!(bench.world.access(&id, bench.world.now()) && !bench.world.access(&id, moment(3600)));
        // Renewed as often as one likes.
        assert_eq!(issue(&bench, &id), Some(200), "{tier}");
        let row = bench.world.row(&id).unwrap();
        assert_eq!(row.issue.as_ref().map(|issue| issue.count), Some(2), "{tier}");
        let told = bench
            .world
            .published()
            .into_iter()
            .filter(|entry| entry.detail_type == "Session Credentials Issued");
        assert_eq!(told.count(), 2, "{tier}");
        bench.workflows.run_to_the_end();
        bench.settle();
        bench.assert_settled(&tier);
        assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
        assert_eq!(
            bench.world.row(&id).unwrap().prune_at,
            None,
            "{tier}: nothing was written, nothing is pruned"
        );
    }
}

#[test]
fn invariant_5_a_revocation_between_any_two_calls_of_issuing_wins() {
    let mut count = 0;
    for tier in TIERS {
        let (first, calls) = calls_of_issuing(tier);
        for decided in first..=calls.len() {
            for cleaned in decided..=calls.len() {
                let (mut bench, id) = granted(tier);
                bench.world.before_call(decided, revoke);
                bench.world.before_call(cleaned, clean_up);
                let answer = issue(&bench, &id);
                if decided == calls.len() {
                    revoke(&bench.world);
                }
                let label =
                    format!("{tier}: revoked before call {decided}, cleaned up before {cleaned}: {answer:?}");
                // Handed out only what was made and written down before the end was decided.
                assert!(answer != Some(200) || decided + 2 >= calls.len(), "{label}");
                bench.run_for(0);
                assert!(!bench.world.access(&id, bench.world.now()), "{label}");
                bench.run_for(LONGEST_WORKFLOW);
                bench.settle();
                bench.assert_settled(&label);
                assert_eq!(bench.session().unwrap().state, State::Revoked, "{label}");
                count += 1;
            }
        }
    }
    println!("revocation while issuing: {count} cases");
}

fn revoke(world: &sorry_testkit::World) {
    use sorry_session::{clean_up, events::ChangedBy, ports::Workflow};
    let session = world.rows().into_iter().next().unwrap();
    let session =
        block_on(clean_up::revoke(&world.ports(), session, &ChangedBy::Caller(sue().into()))).unwrap();
    if session.state.is_ending() {
        block_on(world.start_end(&session)).unwrap();
    }
}

fn clean_up(world: &sorry_testkit::World) {
    let Some(session) = world.rows().into_iter().find(|session| session.state.is_ending()) else { return };
    let by = sorry_session::events::ChangedBy::service("clean-up");
    block_on(sorry_session::clean_up::clean_up(&world.ports(), &session.session_id, None, &by)).unwrap();
}

#[test]
fn one_issue_at_a_time() {
    for tier in TIERS {
        for seed in 0..50 {
            let (mut bench, id) = granted(tier);
            bench.world.set_key_lag(0);
            let (one, other) = (bench.service.issuing(&id), bench.service.issuing(&id));
            let answers = interleave(&bench.world, vec![Box::pin(one), Box::pin(other)], seed);
            let mut codes: Vec<_> = answers
                .iter()
                .map(|answer| answer.body["code"].as_str().unwrap_or("200").to_owned())
                .collect();
            codes.sort();
            let one_had_to_wait = ["IssueUnderWay", "Superseded"].contains(&codes[1].as_str());
            assert!(
                codes[0] == "200" && (one_had_to_wait || codes[1] == "200"),
                "{tier}, seed {seed}: {codes:?}"
            );
            bench.settle();
            bench.assert_settled(&format_args!("{tier}, seed {seed}"));
        }
    }
}

#[test]
fn sts_that_never_knows_the_key_is_not_waited_for_for_ever() {
    let (mut bench, id) = granted("read-only+user");
    bench.world.set_key_lag(600);
    let began = bench.world.now();
    let answer = bench.service.issue(&sue(), &id).unwrap();
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("Unavailable")));
    assert_eq!(answer.body["retry_after_seconds"], 5);
    let took = bench.world.now().duration_since(began).as_secs();
    assert!((22..=25).contains(&took), "{took} s");
    assert_eq!(bench.world.access_keys(), [""; 0]);
    bench.settle();
    bench.assert_settled(&"a slow STS");
}

#[test]
fn nobody_else_gets_credentials_and_nobody_without_mfa() {
    for tier in TIERS {
        let (bench, id) = granted(tier);
        let stranger = Identity { unique_id: "AIDASTRANGER".into(), ..sue() };
        assert_eq!(bench.service.issue(&stranger, &id).unwrap().status, 404, "{tier}");
        bench.world.remove_planted_caller(&sue().unique_id);
        assert_eq!(bench.service.issue(&sue(), &id).unwrap().status, 404, "{tier}: no longer registered");
    }
    let (bench, id) = granted(TIERS[1]);
    let mut row = bench.world.row(&id).unwrap();
    row.mfa = true;
    bench.world.plant_row(&row);
    let refused = bench.service.issue_with_key("AKIAEXAMPLE", &id).unwrap();
    assert_eq!((refused.status, refused.body["code"].as_str()), (403, Some("NotAllowed")));
    // A refusal of somebody who is registered leaves its record, as at the API.
    let recorded = bench.world.audit(&format!("refusals#{}", sue().unique_id));
    let [record] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!((record.what.as_str(), &record.details["rule"]), ("refused.NotAllowed", &"NotAllowed".into()));
    assert_eq!(bench.service.issue_with_key("ASIAEXAMPLE", &id).unwrap().status, 200);
}

#[test]
fn a_refusal_of_credentials_leaves_a_record_once_a_minute() {
    let (mut bench, id) = granted(TIERS[0]);
    bench.service.revoke(&id).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    let records = |bench: &Bench| bench.world.audit(&format!("refusals#{}", sue().unique_id));
    for _ in 0..3 {
        assert_eq!(issue(&bench, &id), Some(409));
    }
    let [record] = records(&bench).try_into().expect("one record");
    assert_eq!(record.what, "refused.SessionNotActive");
    assert_eq!(record.details["operation"], "POST /sessions/{id}/credentials");
    assert_eq!(record.details["path"], format!("/sessions/{id}/credentials"));
    bench.run_for(60);
    assert_eq!(issue(&bench, &id), Some(409));
    assert_eq!(records(&bench)[1].details["unrecorded_before"], 2);
    // Whoever the registry does not know leaves none, and what AWS is not ready for is no refusal.
    let stranger = Identity { unique_id: "AIDASTRANGER".into(), ..sue() };
    assert_eq!(bench.service.issue(&stranger, &id).unwrap().status, 404);
    assert!(bench.world.audit("refusals#AIDASTRANGER").is_empty());
    let (bench, id) = granted(TIERS[0]);
    bench.world.set_key_lag(600);
    assert_eq!(issue(&bench, &id), Some(503));
    assert!(records(&bench).is_empty());
}

#[test]
fn a_role_is_assumed_and_what_is_over_gives_nothing() {
    let (bench, id) = granted("developer");
    assert_eq!(bench.service.issue(&sue(), &id).unwrap().body["code"], "InvalidInput");
    for tier in TIERS {
        let (mut bench, id) = granted(tier);
        bench.service.revoke(&id).unwrap();
        bench.run_for(LONGEST_WORKFLOW);
        assert_eq!(bench.service.issue(&sue(), &id).unwrap().body["code"], "SessionNotActive", "{tier}");
    }
}

/// Break-glass is for when nothing else goes: IAM may refuse every write, and every look.
#[test]
fn a_standing_role_needs_no_write_to_iam() {
    let bench = {
        let bench = Bench::new();
        for port in
            ["create_role", "create_user", "create_policy", "put_inline_policy", "inline_policies", "role"]
        {
            bench.world.fail_port(port, Fault::Refused);
        }
        bench
    };
    let mut bench = bench;
    let id = bench.granted("break-glass", "request-1");
    assert_eq!(issue(&bench, &id), Some(200));
    assert!(bench.world.access(&id, bench.world.now()));
    assert!(!bench.world.alerts().is_empty(), "security heard first");
    // The second time it could be one that an administrator has ended with all others.
    assert_eq!(issue(&bench, &id), Some(503));
    // To end it early takes a write. Without one it says so, and its date ends it.
    bench.service.revoke(&id).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    assert_eq!(bench.session().unwrap().state, State::CleanUpFailed);
    bench.run_until(moment(3600 + 3 * SWEEP_EVERY));
    assert!(!bench.world.access(&id, bench.world.now()));
    bench.settle();
    bench.run_for(3 * SWEEP_EVERY);
    bench.settle();
    bench.assert_settled(&"without IAM");
    assert_eq!(bench.session().unwrap().state, State::Revoked);
}

#[test]
fn sessions_of_one_standing_role_end_apart_and_are_pruned_when_they_are_dead() {
    let mut bench = Bench::new();
    let (one, other) = (bench.granted("break-glass", "request-1"), bench.granted("break-glass", "request-2"));
    for id in [&one, &other] {
        assert_eq!(issue(&bench, id), Some(200));
    }
    bench.service.revoke(&one).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    let now = bench.world.now();
    assert!(!bench.world.access(&one, now) && bench.world.access(&other, now));
    assert!(bench.world.usable(&other, now));
    assert_eq!(issue(&bench, &other), Some(200), "the other goes on");
    let row = bench.world.row(&one).unwrap();
    assert_eq!((row.state, row.prune_at.is_some()), (State::Revoked, true));
    bench.settle();
    bench.assert_settled(&"one is ended");
    bench.run_until(after(row.prune_at.unwrap(), 1));
    bench.sweep();
    assert_eq!(bench.world.row(&one).unwrap().prune_at, None);
    bench.settle();
    bench.assert_settled(&"all is over");
}

/// What IAM takes on one role is bounded: who was given credentials finds room for the revocation.
#[test]
fn a_standing_role_that_is_full_of_revocations_gives_no_more() {
    let mut bench = Bench::new();
    let most = sorry_policy::MOST_REVOKED_AT_ONCE;
    for number in 0..most {
        let id = bench.granted("break-glass", &format!("request-{number}"));
        assert_eq!(issue(&bench, &id), Some(200));
        bench.service.revoke(&id).unwrap();
        bench.run_for(5);
        assert_eq!(bench.world.row(&id).unwrap().state, State::Revoked, "there was room for it");
    }
    let late = bench.granted("break-glass", "request-late");
    let refused: Value = bench.service.issue(&sue(), &late).unwrap().body;
    assert_eq!(refused["code"], "Throttled", "{refused}");
    bench.run_until(moment(3600 + 900));
    bench.sweep();
    let fresh = bench.granted("break-glass", "request-fresh");
    assert_eq!(issue(&bench, &fresh), Some(200), "they are forgotten when they are dead");
}

/// `infrastructure/destroy.sh` has ended all that was given of the role: who was lent it before gets no more of it, and whoever asks
/// afterwards does, however often that is done.
#[test]
fn what_an_administrator_ended_all_at_once_gives_no_more_and_what_is_asked_for_later_does() {
    let mut bench = Bench::new();
    let (used, unused) =
        (bench.granted("break-glass", "request-1"), bench.granted("break-glass", "request-2"));
    assert_eq!(issue(&bench, &used), Some(200));
    let role = Principal::Role(bench.world.row(&used).unwrap().role_name);
    for _ in 0..=sorry_policy::MOST_REVOKED_AT_ONCE {
        bench.run_for(1);
        let name = format!("revoked-before-{}", bench.world.now().as_second());
        let document = sorry_policy::revoked_session_policy(&used);
        let written = block_on(bench.world.put_inline_policy(&role, &name, &document)).unwrap();
        assert_eq!(written, Presence::There);
    }
    bench.run_for(1);
    let fresh = bench.granted("break-glass", "request-3");
    for id in [&used, &unused] {
        let refused = bench.service.issue(&sue(), id).unwrap();
        assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("SessionNotActive")));
    }
    assert_eq!(issue(&bench, &fresh), Some(200), "these take no room");
}

#[test]
fn a_user_with_everything_on_it_and_its_policy_go_whole() {
    let (mut bench, id) = granted("read-only+user");
    let name = bench.session().unwrap().role_name.to_string();
    bench.world.burden_user(&name);
    assert_eq!(issue(&bench, &id), Some(200), "somebody else's key is not in the way");
    bench.service.revoke(&id).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    bench.settle();
    bench.assert_settled(&"a burdened user");
    assert_eq!(bench.session().unwrap().state, State::Revoked);
}

#[test]
fn orphaned_users_and_policies_go_and_a_session_without_them_ends() {
    let mut bench = Bench::new();
    let orphan = sorry_testkit::Role::new("/sorry/session/sue/", "sorry-sue-read-only-orphan");
    let policy = "arn:aws:iam::123456789012:policy/sorry/session/sue/sorry-sue-read-only-orphan";
    bench.world.plant_policy(policy);
    let mut attached = orphan;
    attached.attached.insert(policy.to_owned());
    bench.world.plant_user(attached);
    bench.world.burden_user("sorry-sue-read-only-orphan");
    let report = bench.sweep();
    assert_eq!(report.orphans.len(), 2, "{report:?}");
    bench.assert_settled(&"orphans");
    let id = bench.granted("read-only+user", "request-1");
    let name = bench.session().unwrap().role_name.to_string();
    bench.run_for(301);
    bench.world.remove_user(&name);
    assert_eq!(bench.sweep().repaired, 1);
    bench.settle();
    bench.assert_settled(&"without its user");
    assert_eq!(bench.world.row(&id).unwrap().state, State::Failed);
}
