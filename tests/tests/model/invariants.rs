//! What must be true after each step, whatever happened: the numbers are those of the design's invariants.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use sorry_session::{
    Session, State,
    approval::{Approval, Vote},
    audit::verify::verify,
    ports::Clock,
};
use sorry_testkit::{Role, World, moment};

use crate::{
    events::{APPROVED, HOURS, STANDING, Who},
    figures,
    loan::{Cause, Loan, Stands},
    reference::{Entry, Reference},
    system::{System, stands},
};

/// All of it.
pub(crate) fn hold(system: &System, state: &Reference) {
    let world = system.world();
    assert_eq!(world.now(), moment(state.now));
    // The world looks at itself after each call: invariants 2, 3, 4, 5 and 7 at every moment.
    let violations = world.violations();
    assert!(violations.is_empty(), "{violations:#?}");
    figures(|figures| figures.steps += 1);
    let sessions = system.sessions();
    for (index, loan) in state.loans.iter().enumerate() {
        let row = sessions.get(&index);
        let stands = stands(row);
        assert!(loan.may_be.contains(&stands), "loan {index} is {stands:?}, and may be {:?}", loan.may_be);
        figures(|figures| match loan.may_be.len() {
            1 => *figures.exact.entry(stands).or_default() += 1,
            several => *figures.open.entry(several).or_default() += 1,
        });
        let Some(row) = row else { continue };
        is_what_was_asked_for(system, loan, row);
        gives_access_while_it_should(system, state, loan, row);
        is_approved_by_others(loan, row);
        is_reviewed_by_others(loan, row);
        is_written_down(world, row);
        // Invariant 5: nothing undoes a revocation.
        if system.promised.contains(&row.session_id) {
            let revoked = matches!(stands, Stands::Ending(Cause::Revoked) | Stands::Over(Cause::Revoked));
            assert!(revoked, "{stands:?}");
        }
        system.seen.borrow_mut().insert(row.session_id.clone(), row.clone());
    }
    who_is_shut_out_has_nothing(world, state, &sessions);
}

/// Invariants 1 and 8: it is the signer's, whatever a body says, and what was granted stays what it was; only its end moves, later and
/// never past what its caller may have.
fn is_what_was_asked_for(system: &System, loan: &Loan, row: &Session) {
    let id = &row.session_id;
    assert_eq!(row.caller.unique_id, loan.by.identity().unique_id);
    assert_eq!((row.tier.as_str(), row.grant), (loan.tier, loan.grant));
    let most = HOURS.iter().find(|(tier, _)| *tier == loan.tier).unwrap().1;
    assert!(row.window().as_secs() <= u64::try_from(most * 3600).unwrap(), "{id} is longer than allowed");
    if row.state == State::Active {
        let end = row.expires_at.as_second() - moment(0).as_second();
        assert!(loan.ends().contains(&end), "{id} ends at {end}, and may at {:?}", loan.ends());
        let extended = usize::from(row.first_expires_at.is_some());
        figures(|figures| match loan.tier {
            APPROVED => figures.extended_with_approval += extended,
            _ => figures.extended += extended,
        });
    }
    let seen = system.seen.borrow();
    let Some(before) = seen.get(id) else { return };
    let fixed = |row: &Session| {
        let Session { policy_digest, tiers_digest, person, namespace, role_name, external_id, .. } =
            row.clone();
        (policy_digest, tiers_digest, person, namespace, role_name, external_id)
    };
    assert_eq!(fixed(before), fixed(row));
    assert!(before.expires_at <= row.expires_at, "the window of {id} was made shorter");
    assert!(before.fence <= row.fence);
}

/// Invariants 2 and 10: no access past the end, now and for all later moments; and up to the end while it says ACTIVE, whatever became
/// of other sessions, unless a person has deleted its principal.
fn gives_access_while_it_should(system: &System, state: &Reference, loan: &Loan, row: &Session) {
    let (world, now, id) = (system.world(), moment(state.now), &row.session_id);
    assert!(!world.access(id, row.latest_end().max(now)), "access past the end of {id}");
    if !loan.is_surely(Stands::Active) || now >= row.expires_at {
        return;
    }
    let named = |role: &Role| role.name == row.role_name.as_str();
    let there = world.roles().iter().chain(&world.users()).chain(&world.standing_roles()).any(named);
    let others_end = loan.tier == STANDING && world.standing_roles().iter().any(|role| role.inline.len() > 1);
    figures(|figures| figures.beside_revoked += usize::from(others_end));
    let last = row.expires_at.checked_sub(1.second()).unwrap();
    for at in [now, last] {
        assert_eq!(world.usable(id, at), there, "{id} at {at}");
        // What was handed out works as long.
        assert!(!there || !system.issued.contains(id) || world.access(id, at), "{id} at {at}");
    }
}

/// An approval counts once, for what was asked: by as many others as are needed, each once, none the person who asked, in its time.
fn is_approved_by_others(loan: &Loan, row: &Session) {
    assert_eq!(row.approval.is_some(), loan.tier == APPROVED);
    let given = |approval: &Approval, asked: Timestamp, decided: Option<Timestamp>| {
        let persons: BTreeSet<_> = approval.votes.iter().map(|cast| &cast.person).collect();
        assert_eq!(persons.len(), approval.votes.len(), "somebody was counted twice");
        assert!(!persons.contains(&row.person), "{} has decided on what is theirs", row.person);
        for cast in &approval.votes {
            assert!(asked <= cast.at && cast.at < approval.lapses_at, "{cast:?}");
        }
        let Some(decided) = decided else { return };
        let approved = approval.votes.iter().filter(|cast| cast.vote == Vote::Approve && cast.at <= decided);
        assert!(approved.count() >= approval.needed as usize, "{} was not approved", row.session_id);
    };
    if let Some(approval) = &row.approval {
        given(approval, row.requested_at, row.approved_at);
        assert!(row.approved_at.is_some() || row.provisioning_at.is_none(), "it was made before that");
    }
    if let Some(extension) = &row.extension {
        assert_eq!(extension.approval.is_some(), loan.tier == APPROVED);
        if let Some(approval) = &extension.approval {
            given(approval, extension.requested_at, extension.decided_at);
        }
    }
}

/// A review is open from the first credentials on, until somebody else closes it when the session is over, and then closed for ever.
fn is_reviewed_by_others(loan: &Loan, row: &Session) {
    let id = &row.session_id;
    assert!(loan.issued.contains(&row.issue.is_some()), "{id}: {:?}", row.issue);
    assert_eq!(row.review.is_some(), loan.tier == STANDING);
    let closed = row.review.as_ref().and_then(|review| review.closed.as_ref());
    let by = closed.map(|closed| {
        assert_ne!(closed.person, row.person, "{id} was reviewed by its owner");
        assert!(row.state.is_over(), "{id} was reviewed while it is {}", row.state);
        Who::CALLERS.into_iter().find(|who| who.person() == closed.person.as_str()).unwrap()
    });
    assert!(loan.reviewed.contains(&by), "{id}: reviewed by {by:?}, which may be {:?}", loan.reviewed);
    if loan.tier == STANDING {
        let open = row.open_or_closed_review().is_some_and(|review| review.closed.is_none());
        assert_eq!(open, row.issue.is_some() && by.is_none());
        assert!(!open || row.listed_at().is_some(), "nobody would find the review of {id}");
        figures(|figures| {
            figures.reviews_open += usize::from(open);
            figures.reviews_closed += usize::from(by.is_some());
        });
    }
}

/// Invariant 7: a record for each change, and the row knows the last. The chains are verified when all has settled.
fn is_written_down(world: &World, row: &Session) {
    let audit = world.audit(row.session_id.as_str());
    let sequences = audit.iter().map(|record| record.sequence);
    assert!(sequences.eq(1..=row.fence), "the audit of {} has gaps", row.session_id);
    assert_eq!(audit.last().and_then(|record| record.hash.clone()), row.audit_head);
}

/// Whoever is suspended or removed has no access left, and nothing that waits. What somebody has to come by for first, the sweep
/// settles.
fn who_is_shut_out_has_nothing(world: &World, state: &Reference, sessions: &BTreeMap<usize, Session>) {
    if !state.is_calm() {
        return;
    }
    let shut_out = |loan: &Loan| !loan.unattended && !state.registered[&loan.by].contains(&Entry::Known);
    for (index, loan) in state.loans.iter().enumerate().filter(|(_, loan)| shut_out(loan)) {
        let Some(row) = sessions.get(&index) else { continue };
        assert!(row.state.is_ending() || row.state.is_over(), "{:?} is gone, {} is not", loan.by, row.state);
        assert!(!world.access(&row.session_id, moment(state.now)), "{:?} has access", loan.by);
        figures(|figures| figures.shut_out += 1);
    }
}

/// Once all has settled, whoever has a session is registered, and not suspended.
pub(crate) fn callers_are_known(system: &System) {
    for row in system.world().rows().iter().filter(|row| row.state == State::Active) {
        let entry = system.world().entry(row.registration());
        let known = entry.is_some_and(|entry| entry.suspended.is_none());
        assert!(known, "{} is gone or suspended, {} is not", row.caller.unique_id, row.session_id);
    }
}

/// At the end of all windows there is nothing of any session but its row, its review and its records, which are as they were written.
pub(crate) fn nothing_is_left(system: &System) {
    let world = system.world();
    assert!(world.session_role_names().is_empty() && world.users().is_empty());
    assert!(world.session_policies().is_empty() && world.access_keys().is_empty());
    for role in world.standing_roles() {
        assert_eq!(role.inline.keys().collect::<Vec<_>>(), ["access"], "{}", role.name);
    }
    for row in world.rows() {
        assert!(row.state.is_over() && row.extension_under_way().is_none());
        assert_eq!(row.prune_at, None, "{}", row.session_id);
    }
    let found = verify(&world.whole_audit(), &[], world.now()).findings;
    assert_eq!(found, [], "the audit");
}
