use std::collections::BTreeMap;

use sorry_policy::{Approvals, TierSet};

use super::*;
use crate::{
    CallerEntry, CallerRole, EndCause, Identity,
    approval::{awaits, vote},
    lifecycle::tests::{at, requested},
    limits::Limits,
};

/// ACTIVE since the beginning, for an hour of the four that its caller may have of `developer`.
fn active() -> Session {
    Session { state: State::Active, activated_at: Some(at(5)), ..requested() }
}

fn actor(person: &str, role: CallerRole) -> Actor {
    let own = person == "sue";
    let identity = Identity {
        unique_id: if own { requested().caller.unique_id } else { format!("AIDA{person}") },
        ..requested().caller
    };
    let entry = CallerEntry {
        unique_id: identity.unique_id.clone(),
        account: identity.account.clone(),
        arn: identity.arn.clone(),
        person: person.parse().unwrap(),
        namespace: person.parse().unwrap(),
        tiers: BTreeMap::from([("developer".parse().unwrap(), 4)]),
        projects: [].into(),
        roles: [CallerRole::Caller, role].into(),
        registered_at: at(0),
        registered_by: String::new(),
        suspended: None,
        mfa: crate::caller::MfaBy::Device,
        source_identity: None,
    };
    Actor { identity, entry: Some(entry), administrator: false, identity_provider: false }
}

fn sue() -> Actor {
    actor("sue", CallerRole::Caller)
}

fn rules() -> Rules {
    Rules {
        enabled_tiers: ["developer".parse().unwrap()].into(),
        minimum_window: Duration::from_secs(900),
        mfa_required: false,
        limits: Limits::default(),
    }
}

/// The built-in tiers; with approvals, those of `developer` need one.
fn tiers(approvals: bool) -> TierTable {
    if !approvals {
        return TierTable::built_in().unwrap();
    }
    let set = TierSet::built_in();
    let text = set.tiers.replace(
        "[tiers.developer]\n",
        "[tiers.developer]\napprovals = {count = 1, approvers = [\"approver\"], within_minutes = 10}\n",
    );
    TierTable::parse(&text, |name| set.templates.get(name).cloned()).unwrap()
}

fn request(seconds: u64) -> ExtensionRequest {
    ExtensionRequest { client_request_id: format!("request-{seconds}"), duration_seconds: seconds }
}

fn asked_by(actor: &Actor, session: &Session, seconds: u64, second: i64) -> Result<Session, ErrorCode> {
    match decide(&request(seconds), session, actor, &tiers(false), &rules(), at(second)) {
        Ok(Outcome::Changed(change)) => {
            assert_eq!(change.expected_fence + 1, change.session.fence);
            Ok(change.session)
        }
        Ok(Outcome::Before) => Ok(session.clone()),
        Err(refusal) => {
            assert!(!refusal.hint.is_empty(), "invariant 10: {refusal:?}");
            Err(refusal.code)
        }
    }
}

fn asked(session: &Session, seconds: u64, second: i64) -> Result<Session, ErrorCode> {
    asked_by(&sue(), session, seconds, second)
}

/// Without the events that are due by themselves.
fn published(session: &Session) -> Session {
    Session { outbox: Vec::new(), ..session.clone() }
}

fn by() -> ChangedBy {
    ChangedBy::service("test")
}

#[test]
fn an_extension_is_decided_first_and_the_end_moves_when_it_is_done() {
    let session = asked(&active(), 1_800, 100).unwrap();
    assert_eq!((session.state, session.expires_at), (State::Active, at(3_600)));
    assert_eq!(session.extension_under_way().unwrap().extending_to, at(5_400));
    assert_eq!((session.latest_end(), session.due_end_at()), (at(5_400), at(3_600)));

    let extended = session.extended(&by(), at(101)).unwrap().session;
    assert_eq!((extended.expires_at, extended.first_expires_at), (at(5_400), Some(at(3_600))));
    assert_eq!((extended.window().as_secs(), extended.first_window().as_secs()), (5_400, 3_600));
    assert!(extended.extension_under_way().is_none() && extended.extended(&by(), at(102)).is_err());

    let again = asked(&extended, 900, 200).unwrap().extended(&by(), at(201)).unwrap().session;
    assert_eq!((again.expires_at, again.first_expires_at), (at(6_300), Some(at(3_600))));
}

#[test]
fn the_maximum_counts_from_the_beginning_of_the_window() {
    assert!(asked(&active(), 3 * 3_600, 100).is_ok());
    assert_eq!(asked(&active(), 3 * 3_600 + 1, 100).unwrap_err(), ErrorCode::WindowTooLong);
    assert_eq!(asked(&active(), u64::MAX, 100).unwrap_err(), ErrorCode::WindowTooLong);
    assert_eq!(asked(&active(), 0, 100).unwrap_err(), ErrorCode::WindowTooShort);
    // Approved ten minutes after it was asked for: the window began then.
    let later = Session { approved_at: Some(at(600)), expires_at: at(4_200), ..active() };
    assert!(asked(&later, 3 * 3_600, 700).is_ok());
    let full = Session { expires_at: at(4 * 3_600), ..active() };
    assert_eq!(asked(&full, 1, 100).unwrap_err(), ErrorCode::WindowTooLong);
}

#[test]
fn invariant_10_each_rule_refuses_an_extension_by_its_own_code() {
    use ErrorCode::*;
    assert_eq!(asked(&active(), 60, 3_599).map(|_| ()), Ok(()));
    assert_eq!(asked(&active(), 60, 3_600).unwrap_err(), WindowOver, "before the end only");
    for (state, code) in [
        (State::PendingApproval, NotExtendable),
        (State::Requested, NotExtendable),
        (State::Provisioning, NotExtendable),
        (State::Revoking, WindowOver),
        (State::Expired, WindowOver),
        (State::CleanUpFailed, WindowOver),
    ] {
        assert_eq!(asked(&Session { state, ..active() }, 60, 100).unwrap_err(), code, "{state}");
    }
    let standing = Session { grant: Grant::Standing, ..active() };
    assert_eq!(asked(&standing, 60, 100).unwrap_err(), NotExtendable);
    let changed = Session { policy_digest: serde_json::from_value("other".into()).unwrap(), ..active() };
    assert_eq!(asked(&changed, 60, 100).unwrap_err(), NotExtendable);
    let elsewhere = Session { tier: "admin".parse().unwrap(), ..active() };
    assert_eq!(asked(&elsewhere, 60, 100).unwrap_err(), TierDisabled);

    // Somebody else, even security and the same person with another key: only what the one entry allows is known to be allowed.
    assert_eq!(asked_by(&actor("ann", CallerRole::Security), &active(), 60, 100).unwrap_err(), NotAllowed);
    let mut other_key = sue();
    other_key.identity.unique_id = "AIDAOTHER".into();
    assert_eq!(asked_by(&other_key, &active(), 60, 100).unwrap_err(), NotAllowed);
    let stranger = Actor { entry: None, ..sue() };
    assert_eq!(asked_by(&stranger, &active(), 60, 100).unwrap_err(), UnknownCaller);
}

#[test]
fn invariant_9_the_same_extension_is_one_and_another_waits() {
    let session = asked(&active(), 60, 100).unwrap();
    assert_eq!(asked(&session, 60, 101).unwrap(), session);
    assert_eq!(asked(&session, 61, 101).unwrap_err(), ErrorCode::ExtensionPending);
    let done = session.extended(&by(), at(102)).unwrap().session;
    assert_eq!(asked(&done, 60, 103).unwrap(), done, "also when it is done");
    let other = ExtensionRequest { duration_seconds: 61, ..request(60) };
    let refusal = decide(&other, &done, &sue(), &tiers(false), &rules(), at(103)).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::IdempotencyConflict);
}

#[test]
fn after_a_failed_extension_nothing_is_decided_until_its_last_write_must_have_landed() {
    let failed = asked(&active(), 60, 100).unwrap();
    let failed =
        failed.not_extended(Failure::new(ErrorCode::Throttled, "x"), &by(), at(110)).unwrap().session;
    assert_eq!((failed.expires_at, failed.state), (at(3_600), State::Active));
    assert_eq!(failed.latest_end(), at(3_660), "its writes may be there");
    assert_eq!(asked(&failed, 90, 409).unwrap_err(), ErrorCode::ExtensionPending);
    assert!(asked(&failed, 90, 410).is_ok());
}

#[test]
fn what_was_decided_before_the_end_is_given_time_and_no_more() {
    let session = asked(&active(), 7_200, 3_599).unwrap();
    assert_eq!(session.due_end_at(), at(3_599 + 300));
    assert_eq!(published(&session).due_at(), Some(at(3_599 + 300)));
    // Never beyond the end that was decided.
    assert_eq!(asked(&active(), 60, 3_599).unwrap().due_end_at(), at(3_660));
    let early = asked(&active(), 7_200, 100).unwrap();
    assert_eq!((early.due_end_at(), early.extension_due_at()), (at(3_600), Some(at(400))));
    // A decided end leaves no extension.
    let ending = early.ending(EndCause::Revoked, None, &by(), at(101)).unwrap().session;
    assert!(ending.extension_under_way().is_none() && ending.extended(&by(), at(102)).is_err());
    assert_eq!(ending.latest_end(), at(3_600 + 7_200), "IAM may have the later date until the role is gone");
}

/// Waits for an approver, since second 100.
fn awaiting() -> Session {
    let table = tiers(true);
    let session =
        Session { policy_digest: table.digest(&"developer".parse().unwrap()).unwrap().clone(), ..active() };
    match decide(&request(1_800), &session, &sue(), &table, &rules(), at(100)) {
        Ok(Outcome::Changed(change)) => {
            assert_eq!(change.session.outbox.last().unwrap().detail["alert"], true, "approvers hear of it");
            change.session
        }
        other => panic!("{other:?}"),
    }
}

/// A word on the extension that the session has asked for last.
fn voted(session: &Session, word: Vote, by: &Actor, second: i64) -> Result<Session, ErrorCode> {
    let end = session.extension.as_ref().map(|extension| extension.extending_to);
    said(session, word, end, by, second)
}

fn said(
    session: &Session,
    word: Vote,
    end: Option<Timestamp>,
    by: &Actor,
    second: i64,
) -> Result<Session, ErrorCode> {
    match vote(session, word, end, None, by, at(second)) {
        Ok(Outcome::Changed(change)) => Ok(change.session),
        Ok(Outcome::Before) => Ok(session.clone()),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn a_fresh_approval_is_asked_for_where_the_tier_asks_for_one() {
    let session = awaiting();
    assert!(session.extension_awaiting().is_some() && session.extension_under_way().is_none());
    assert_eq!((session.latest_end(), session.due_end_at()), (at(3_600), at(3_600)));
    assert_eq!(published(&session).due_at(), Some(at(700)), "when the time to decide runs out");
    let ann = actor("ann", CallerRole::Approver);
    assert!(awaits(&ann, &session, at(101)) && !awaits(&sue(), &session, at(101)));

    let approved = voted(&session, Vote::Approve, &ann, 200).unwrap();
    assert_eq!(approved.extension_under_way().unwrap().decided_at, Some(at(200)));
    assert_eq!((approved.state, approved.expires_at), (State::Active, at(3_600)));
    assert!(!awaits(&ann, &approved, at(201)));
    // Said again, it is the same; of a third person nobody waits.
    assert_eq!(voted(&approved, Vote::Approve, &ann, 201).unwrap(), approved);
    let bob = actor("bob", CallerRole::Approver);
    assert_eq!(voted(&approved, Vote::Approve, &bob, 201).unwrap_err(), ErrorCode::NotAwaiting);
}

#[test]
fn an_approval_is_of_the_end_that_it_names_and_of_no_other() {
    let ann = actor("ann", CallerRole::Approver);
    let session = awaiting();
    let end = session.extension_awaiting().unwrap().extending_to;
    // One of the session itself, of an earlier extension, or of anything else that was asked for before.
    let others = [None, Some(at(3_600)), Some(end + jiff::SignedDuration::from_secs(1))];
    for other in others {
        assert_eq!(
            said(&session, Vote::Approve, other, &ann, 200).unwrap_err(),
            ErrorCode::NotAwaiting,
            "{other:?}"
        );
    }
    // Who approved the session says so once more, as after an answer that was lost: it stays said, of the session.
    let approvals = Approvals { count: 1, approvers: [CallerRole::Approver].into(), within_minutes: 10 };
    let mut approval = Approval::asked(&approvals, at(0));
    let of_ann = ann.entry.as_ref().unwrap().person.clone();
    approval.votes.push(CastVote {
        vote: Vote::Approve,
        person: of_ann,
        by: ann.identity.clone(),
        at: at(1),
        comment: None,
    });
    let approved = Session { approval: Some(approval), ..session.clone() };
    assert_eq!(said(&approved, Vote::Approve, None, &ann, 200).unwrap(), approved);
    // No is heard however it is said; but who names an end denies that one alone, and not the session.
    let denied = said(&session, Vote::Deny, None, &ann, 200).unwrap();
    assert_eq!(denied, said(&session, Vote::Deny, Some(end), &ann, 200).unwrap());
    let bob = actor("bob", CallerRole::Approver);
    let late = Session { approval: approved.approval, ..denied };
    assert_eq!(said(&late, Vote::Deny, Some(end), &bob, 201).unwrap_err(), ErrorCode::NotAwaiting);
    assert_eq!(said(&late, Vote::Deny, None, &bob, 201).unwrap().state, State::Revoking);
}

#[test]
fn a_denial_of_an_extension_leaves_the_session_as_it_is() {
    let ann = actor("ann", CallerRole::Approver);
    let denied = voted(&awaiting(), Vote::Deny, &ann, 200).unwrap();
    assert_eq!((denied.state, denied.expires_at, &denied.end), (State::Active, at(3_600), &None));
    assert_eq!(
        denied.extension.as_ref().unwrap().settled.as_ref().unwrap().outcome,
        ExtensionOutcome::Denied
    );
    assert_eq!(denied.latest_end(), at(3_600));
    let other = actor("bob", CallerRole::Approver);
    assert_eq!(voted(&denied, Vote::Approve, &other, 201).unwrap_err(), ErrorCode::NotAwaiting);
}

#[test]
fn nobody_approves_their_own_extension_or_one_whose_time_has_run_out() {
    let own = actor("sue", CallerRole::Approver);
    assert_eq!(voted(&awaiting(), Vote::Approve, &own, 200).unwrap_err(), ErrorCode::SelfApproval);
    let ann = actor("ann", CallerRole::Approver);
    assert_eq!(voted(&awaiting(), Vote::Approve, &ann, 700).unwrap_err(), ErrorCode::ApprovalLapsed);
    let lapsed = awaiting()
        .not_extended(Failure::new(ErrorCode::ApprovalLapsed, "x"), &by(), at(700))
        .unwrap()
        .session;
    assert_eq!(
        lapsed.extension.as_ref().unwrap().settled.as_ref().unwrap().outcome,
        ExtensionOutcome::Lapsed
    );
    assert_eq!(lapsed.state, State::Active);
}

#[test]
fn no_approval_of_an_extension_outlives_the_session() {
    let table = tiers(true);
    let digest = table.digest(&"developer".parse().unwrap()).unwrap().clone();
    let session = Session { policy_digest: digest, ..active() };
    let Ok(Outcome::Changed(change)) = decide(&request(60), &session, &sue(), &table, &rules(), at(3_590))
    else {
        panic!("refused")
    };
    let approval = change.session.extension.unwrap().approval.unwrap();
    assert_eq!(approval.lapses_at, at(3_600));
}
