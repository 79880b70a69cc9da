//! What others say: approvals before a session, the review after it.

use serde_json::{Value, json};
use sorry_tests::{Finished, LocalAws, Person};

use crate::{PATIENCE, namespace_call, reaches, request, row, state};

/// Asks for a session that somebody else must approve, and does not wait.
#[track_caller]
fn pending(person: &Person) -> String {
    let arguments = [
        "request",
        "--tier",
        "admin",
        "--for",
        "15m",
        "--reason",
        "an end-to-end test",
        "--no-wait",
        "--output",
        "json",
    ];
    let view = person.sorry(&arguments).success().json();
    assert_eq!(view["state"], "PENDING_APPROVAL");
    view["session_id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn is_refused(refused: &Finished, exit: i32, code: &str) {
    assert_eq!(refused.code, exit, "{refused:?}");
    assert!(refused.stderr.contains(&format!("code: {code}")), "{refused:?}");
}

fn time(row: &Value, name: &str) -> jiff::Timestamp {
    row[name]["S"].as_str().expect(name).parse().expect("a time")
}

#[test]
fn a_session_begins_when_somebody_else_approves_it_and_not_before() {
    let aws = LocalAws::start();
    let security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let desk = aws.register_with(
        "sue-desk",
        &["--person", "sue", "--namespace", "sue", "--role", "approver", "--role", "caller"],
    );
    let bob = aws.register("bob-mgr");
    let ann = aws.register_approver("ann-mgr");

    let session = pending(&sue);
    assert_eq!(aws.roles("/sorry/session/"), [""; 0], "nothing is made before the word");
    sorry_tests::eventually("approvers hear where security listens", PATIENCE, || {
        security
            .arrived()
            .iter()
            .any(|(_, text)| {
                text.contains("PENDING_APPROVAL") && text.contains(&session) && text.contains("sorry approve")
            })
            .then_some(())
    });

    let guard = aws.register_with("guard", &["--role", "security"]);
    let seen = guard.sorry(&["list", "--everybody", "--output", "json"]).success().json();
    assert_eq!(seen["sessions"][0]["session_id"], session.as_str());
    is_refused(&bob.sorry(&["list", "--everybody"]), 3, "NotAllowed");
    is_refused(&sue.sorry(&["approve", &session]), 3, "NotAllowed");
    is_refused(&desk.sorry(&["approve", &session]), 3, "SelfApproval");
    is_refused(&bob.sorry(&["approve", &session]), 4, "SessionNotFound");
    assert_eq!(state(&sue, &session), "PENDING_APPROVAL");
    let waits = ann.sorry(&["list", "--awaiting-me", "--output", "json"]).success().json();
    assert_eq!(waits["sessions"][0]["session_id"], session.as_str());
    let nothing = desk.sorry(&["list", "--awaiting-me", "--output", "json"]).success().json();
    assert_eq!(nothing["sessions"], json!([]), "nobody's own request waits for them");

    // By the beginning of its id, as it stands in the list.
    ann.sorry(&["approve", &session[..4], "--comment", "as agreed in ticket 4711"]).success();
    reaches(&sue, &session, "ACTIVE");
    let row = row(&aws, &session);
    let window = time(&row, "expires_at").duration_since(time(&row, "approved_at"));
    assert_eq!(window.as_secs(), 900, "the window begins with the approval");
    ann.sorry(&["approve", &session]).success();
    is_refused(&ann.sorry(&["deny", &session]), 3, "AlreadyDecided");
    let renewed = sue.sorry(&["renew", &session, "--output", "json"]).success().json();
    let keys = sue.profile(renewed["profile"].as_str().expect("a profile"));
    aws.judge.call(&keys, "cloudwatch.describe_alarms", json!({})).allowed();
    let view = sue.sorry(&["status", &session, "--output", "json"]).success().json();
    assert_eq!(view["approval"]["votes"][0]["person"], "ann");
    assert_eq!(view["approval"]["votes"][0]["comment"], "as agreed in ticket 4711");
}

#[test]
fn a_request_that_waits_at_the_terminal_goes_on_when_it_is_approved_and_ends_when_it_is_denied() {
    let aws = LocalAws::start();
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    for (word, exit) in [("approve", 0), ("deny", 4)] {
        let arguments = ["request", "--tier", "admin", "--for", "15m", "--reason", "an end-to-end test"];
        let mut waiting = sue.command(&arguments);
        waiting.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let waiting = waiting.spawn().expect("`sorry` runs");
        let session = sorry_tests::eventually("the request is there", PATIENCE, || {
            let list = ann.sorry(&["list", "--awaiting-me", "--output", "json"]).json();
            list["sessions"][0]["session_id"].as_str().map(ToOwned::to_owned)
        });
        ann.sorry(&[word, &session]).success();
        let done = waiting.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(exit), "{said}");
        if word == "deny" {
            assert!(said.contains("denied by"), "{said}");
            assert_eq!(state(&sue, &session), "DENIED");
        }
    }
}

#[test]
fn a_denial_wins_at_the_same_instant_and_takes_back_what_was_granted() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (ann, bob) = (aws.register_approver("ann-mgr"), aws.register_approver("bob-mgr"));
    for _ in 0..3 {
        let session = pending(&sue);
        std::thread::scope(|scope| {
            scope.spawn(|| ann.sorry(&["approve", &session]));
            scope.spawn(|| bob.sorry(&["deny", &session]).success());
        });
        // That no late write can appear any more takes five minutes to be sure of; that nothing is there does not.
        assert!(["REVOKING", "DENIED"].contains(&state(&sue, &session).as_str()));
        let view = sue.sorry(&["status", &session, "--output", "json"]).success().json();
        assert_eq!(view["end"]["cause"], "denied");
    }
    sorry_tests::eventually("no role is left", PATIENCE, || {
        aws.roles("/sorry/session/").is_empty().then_some(())
    });
}

#[test]
fn after_the_time_to_decide_nobody_can_and_the_request_lapses() {
    let aws = LocalAws::start();
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    let session = pending(&sue);
    // Four hours pass: the row says so.
    aws.call(
        "dynamodb.update_item",
        json!({
            "TableName": "sorry-sessions", "Key": {"session_id": {"S": session}},
            "UpdateExpression": "SET approval.lapses_at = :past, due_at = :due",
            "ExpressionAttributeValues": {":past": {"S": "2026-01-01T00:00:00Z"}, ":due": {"N": "1767225600"}},
        }),
    );
    for word in ["approve", "deny"] {
        is_refused(&ann.sorry(&[word, &session]), 3, "ApprovalLapsed");
    }
    aws.sweep();
    assert_eq!(state(&sue, &session), "EXPIRED");
    let status = sue.sorry(&["status", &session]).success();
    assert!(status.stdout.contains("ApprovalLapsed"), "{status:?}");
    // One that its owner takes back is over at once: nothing was made.
    let session = pending(&sue);
    sue.sorry(&["revoke", &session]).success();
    assert_eq!(state(&sue, &session), "REVOKED");
}

/// A word is on what was shown: the session as it was asked for, or the one later end that is named.
#[test]
fn an_approval_is_of_what_was_asked_for_and_of_nothing_that_came_later() {
    let aws = LocalAws::start();
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    let made = |session: &str| {
        reaches(&sue, session, "ACTIVE");
        let renewed = sue.sorry(&["renew", session, "--output", "json"]).success().json();
        !namespace_call(&aws, &sue.profile(renewed["profile"].as_str().unwrap()), "sue").is_denied()
    };
    let session = pending(&sue);
    ann.sorry(&["approve", &session]).success();
    assert!(made(&session));
    let waits = pending(&sue);
    let digest = row(&aws, &waits)["policy_digest"].clone();

    let words = ["extend", &session, "--for", "10m", "--no-wait", "--output", "json"];
    let asked = sue.sorry(&words).success().json();
    let end = asked["extension"]["extending_to"].as_str().unwrap().to_owned();
    // As after an answer that was lost: it was of the session.
    let once_more = ann.sorry(&["approve", &session]).success();
    assert!(once_more.stderr.contains(&format!("--until {end}")), "{once_more:?}");
    let other = ann.sorry(&["approve", &session, "--until", "2026-01-01T00:00:00Z"]);
    is_refused(&other, 3, "NotAwaiting");
    assert!(other.stderr.contains(&format!("--until {end}")), "{other:?}");
    let view = || sue.sorry(&["status", &session, "--output", "json"]).success().json();
    assert_eq!(view()["extension"]["status"], "awaiting-approval");

    let folder = crate::tiers::folder_with_a_tier_without_topics("admin");
    let path = folder.path().to_str().unwrap();
    aws.administrator_person().sorry(&["admin", "tiers", "publish", path, "--yes"]).success();
    ann.sorry(&["approve", &session, "--until", &end]).success();
    sorry_tests::eventually("the later end", PATIENCE, || {
        (view()["expires_at"] == end.as_str()).then_some(())
    });
    ann.sorry(&["approve", &waits]).success();
    assert!(made(&waits), "what was asked for before is what it was");
    assert_eq!(row(&aws, &waits)["policy_digest"], digest);
    // And what is asked for now is what it is now.
    let later = pending(&sue);
    ann.sorry(&["approve", &later]).success();
    assert!(!made(&later));
    assert_ne!(row(&aws, &later)["policy_digest"], digest);
}

#[test]
fn a_break_glass_session_stays_to_be_reviewed_until_somebody_else_has() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    let (session, _) = request(&sue, "break-glass", "15m");
    let said = ["--comment", "read its CloudTrail: in order"];
    is_refused(&ann.sorry(&[&["review", &session][..], &said].concat()), 3, "NotAwaiting");
    sue.sorry(&["revoke", &session]).success();
    let waits = || {
        let list = ann.sorry(&["list", "--awaiting-me", "--output", "json"]).success().json();
        list["sessions"].as_array().expect("a list").len()
    };
    assert_eq!(waits(), 1);
    is_refused(&sue.sorry(&[&["review", &session][..], &said].concat()), 3, "SelfApproval");
    is_refused(&ann.sorry(&["review", &session, "--comment", "ok"]), 2, "ReasonUnusable");
    ann.sorry(&[&["review", &session][..], &said].concat()).success();
    assert_eq!((waits(), state(&sue, &session).as_str()), (0, "REVOKED"));
    let view = sue.sorry(&["status", &session, "--output", "json"]).success().json();
    assert_eq!(view["review"]["closed"]["person"], "ann");
    let records = aws.items("sorry-audit");
    let told = records.iter().any(|record| record.to_string().contains("read its CloudTrail"));
    assert!(told, "the audit has the review");
}
