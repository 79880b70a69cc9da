//! Whose word a session waits for, and what becomes of it: approvals before the window begins, and the review after an emergency.
//! Pure.
//!
//! An approver is somebody else than the person who asked, however many callers either has. Each person decides once. A denial beats
//! any number of approvals, also one that comes a moment later, as long as the time to decide has not run out: so of an approver and
//! a denier at the same instant it does not matter who is first.
//!
//! An approval is of what was shown, and of nothing else. A session's policy digest, window and grant never change while it waits, so its
//! id says it all; which extension it is, of the several that a session may have asked for one after the other, the new end says, and an
//! approval has to name it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{Approvals, CallerRole, PersonName};

use crate::{
    Actor, CallerEntry, Change, ErrorCode, Identity, Refusal, Session, State, decision::cleaned_text,
    events::ChangedBy,
};

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vote {
    /// Yes.
    Approve,
    /// No.
    Deny,
}

/// What one person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CastVote {
    /// What.
    pub vote: Vote,
    /// Who: persons are compared, not their keys.
    pub person: PersonName,
    /// With which principal.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// Why, in the approver's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The approvals of one request. Bound to the session's policy digest, window and grant, which never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// How many must approve.
    pub needed: u32,
    /// The registry roles of which an approver has one.
    pub approvers: BTreeSet<CallerRole>,
    /// From this moment nobody can decide any more.
    pub lapses_at: Timestamp,
    /// What was said, in order.
    #[serde(default)]
    pub votes: Vec<CastVote>,
}

impl Approval {
    /// What a request of `now` waits for.
    pub fn asked(approvals: &Approvals, now: Timestamp) -> Self {
        Self {
            needed: approvals.count,
            approvers: approvals.approvers.clone(),
            // Bounded by a week; if it overflowed, it would have lapsed.
            lapses_at: now.checked_add(approvals.within()).unwrap_or(now),
            votes: Vec::new(),
        }
    }

    /// Whether enough have approved, and nobody has denied.
    pub fn is_given(&self) -> bool {
        let approved = self.votes.iter().filter(|cast| cast.vote == Vote::Approve).count();
        u32::try_from(approved).is_ok_and(|approved| approved >= self.needed)
            && self.votes.iter().all(|cast| cast.vote == Vote::Approve)
    }
}

/// Who looked at a session afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Since when somebody should.
    pub opened_at: Timestamp,
    /// Who did; nobody yet, if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedReview>,
}

/// The end of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedReview {
    /// Who.
    pub person: PersonName,
    /// ARN of the principal.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they found.
    pub comment: String,
}

/// What a vote or a review comes to.
#[must_use = "a change that is not committed has not happened"]
#[derive(Debug)]
pub enum Outcome {
    /// This changes.
    Changed(Box<Change>),
    /// The same person said the same before.
    Before,
}

/// What others are asked about a session: its extension if that waits, else the session itself.
fn asked_of_others(session: &Session) -> Option<&Approval> {
    let extension = session.extension_awaiting().and_then(|extension| extension.approval.as_ref());
    extension.or(session.approval.as_ref())
}

/// Whether the actor could decide on a session that waits, or on its extension, whatever its state is now.
pub fn is_approver(actor: &Actor, session: &Session) -> bool {
    let Some(approval) = asked_of_others(session) else { return false };
    !is_own(actor, session)
        && actor.entry.as_ref().is_some_and(|entry| !entry.roles.is_disjoint(&approval.approvers))
}

/// Whether a session waits for this actor: for a decision, or for a review.
pub fn awaits(actor: &Actor, session: &Session, now: Timestamp) -> bool {
    let person = actor.entry.as_ref().map(|entry| &entry.person);
    let undecided = (session.state == State::PendingApproval || session.extension_awaiting().is_some())
        && asked_of_others(session).is_some_and(|approval| {
            now < approval.lapses_at && approval.votes.iter().all(|cast| Some(&cast.person) != person)
        });
    let unreviewed = session.state.is_over()
        && session.open_or_closed_review().is_some_and(|review| review.closed.is_none());
    (undecided && is_approver(actor, session)) || (unreviewed && may_review(actor, session).is_ok())
}

/// Whether the actor said the same before of an extension that is decided by now.
fn is_repeat(session: &Session, vote: Vote, extending_to: Option<Timestamp>, actor: &Actor) -> bool {
    let decided = session.extension.as_ref().filter(|_| session.extension_awaiting().is_none());
    let decided = decided.filter(|decided| extending_to.is_none_or(|end| end == decided.extending_to));
    let votes = decided.and_then(|extension| extension.approval.as_ref()).map(|approval| &approval.votes);
    let person = actor.entry.as_ref().map(|entry| &entry.person);
    votes.is_some_and(|votes| votes.iter().any(|cast| cast.vote == vote && Some(&cast.person) == person))
}

/// Casts a vote. With `extending_to` it is on the session's extension to that end; without, on the session itself. An approval that was
/// given of the session, or of an extension that is settled by now, is thus never one of another extension. No is always heard: a denial
/// that names no end is on the extension if one waits.
///
/// A denial of an extension leaves the session as it is, and one that comes after the last approval does not undo it: who may end
/// sessions can end this one.
///
/// # Errors
/// A refusal: by a stranger to the approval, by the person who asked, after the time, of an extension that is not the one that waits, or
/// a second, other word.
pub fn vote(
    session: &Session,
    vote: Vote,
    extending_to: Option<Timestamp>,
    comment: Option<&str>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let id = &session.session_id;
    if is_repeat(session, vote, extending_to, actor) {
        return Ok(Outcome::Before);
    }
    let of_extension = match (extending_to, session.extension_awaiting()) {
        (Some(end), waiting) => match waiting.filter(|waiting| waiting.extending_to == end) {
            None => return Err(not_awaited(session, Some(end))),
            waiting => waiting,
        },
        (None, waiting) => waiting.filter(|_| vote == Vote::Deny),
    };
    let asked = match of_extension {
        Some(extension) => extension.approval.as_ref(),
        None => session.approval.as_ref(),
    };
    let Some(approval) = asked else { return Err(not_awaited(session, None)) };
    let entry = match &actor.entry {
        Some(entry) if !entry.roles.is_disjoint(&approval.approvers) => entry,
        _ => {
            let roles: Vec<_> = approval.approvers.iter().map(|role| format!("`{role}`")).collect();
            return Err(Refusal::new(
                ErrorCode::NotAllowed,
                format!("`{}` is not an approver of tier `{}`", actor.identity.arn, session.tier),
                format!("approvers have one of the registry's roles {}", roles.join(", ")),
            ));
        }
    };
    if is_own(actor, session) {
        return Err(Refusal::new(
            ErrorCode::SelfApproval,
            format!(
                "session `{id}` was asked for by you, `{}`, and is for somebody else to decide",
                entry.person
            ),
            "ask another approver; to withdraw it: `sorry revoke`",
        ));
    }
    if let Some(before) = approval.votes.iter().find(|cast| cast.person == entry.person) {
        if before.vote == vote {
            return Ok(Outcome::Before);
        }
        return Err(Refusal::new(
            ErrorCode::AlreadyDecided,
            format!("`{}` has decided on session `{id}` before, and otherwise", entry.person),
            "a decision stands; who may end sessions can end this one: `sorry revoke`",
        ));
    }
    let cast = CastVote {
        vote,
        person: entry.person.clone(),
        by: actor.identity.clone(),
        at: now,
        comment: comment.map(cleaned_text).transpose()?,
    };
    if of_extension.is_none() && session.extension_awaiting().is_some() {
        return Err(not_awaited(session, None));
    }
    if now >= approval.lapses_at {
        return Err(Refusal::new(
            ErrorCode::ApprovalLapsed,
            format!("the time to decide on session `{id}` ran out at {}", approval.lapses_at),
            "its owner can ask again",
        ));
    }
    let by = ChangedBy::actor(actor);
    let change = match vote {
        _ if of_extension.is_some() => session.extension_voted(cast, &by, now),
        Vote::Approve => session.approved_by(cast, &by, now),
        Vote::Deny => session.denied_by(cast, &by, now),
    };
    change.map(|change| Outcome::Changed(Box::new(change))).map_err(|_| not_awaited(session, None))
}

/// That a word is on something that does not wait for it. `end` is the extension that it is on; of what waits instead, if something does,
/// the hint says how it is named.
fn not_awaited(session: &Session, end: Option<Timestamp>) -> Refusal {
    let id = &session.session_id;
    let message = match end {
        Some(end) => format!("session `{id}` does not wait for the approval of an end at {end}"),
        None if session.extension_awaiting().is_some() => {
            format!("session `{id}` waits for the approval of a later end, and which one has to be said")
        }
        None => format!("session `{id}` is {}, and waits for nobody's approval", session.state),
    };
    let hint = match session.extension_awaiting() {
        Some(extension) => format!(
            "what waits is an end at {0}; if that is what you mean: `sorry approve {id} --until {0}`",
            extension.extending_to
        ),
        None => "`sorry list --awaiting-me` shows what waits for you".to_owned(),
    };
    Refusal::new(ErrorCode::NotAwaiting, message, hint)
}

/// Whether the entry that a session was asked by still allows it, or its extension: an approval can come long after the request.
///
/// # Errors
/// A refusal, when an administrator has changed the entry since.
pub fn still_allowed(session: &Session, entry: Option<&CallerEntry>) -> Result<(), Refusal> {
    let end = session.extension_awaiting().map_or(session.expires_at, |extension| extension.extending_to);
    let wanted = end.duration_since(session.begins_at()).unsigned_abs();
    let allows = entry.is_some_and(|entry| {
        entry.suspended.is_none()
            && entry.person == session.person
            && entry.roles.contains(&CallerRole::Caller)
            && entry.tiers.contains_key(&session.tier)
            && wanted <= entry.longest(&session.tier)
    });
    if allows {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::TierNotAllowed,
        format!(
            "`{}` is no longer registered for what session `{}` asks",
            session.person, session.session_id
        ),
        "an administrator has changed the entry since; its owner can ask anew",
    ))
}

/// Whether the actor asked for the session: the person, with whichever principal, or the principal, whosever it is by now.
fn is_own(actor: &Actor, session: &Session) -> bool {
    actor.identity.unique_id == session.caller.unique_id
        || actor.entry.as_ref().is_some_and(|entry| entry.person == session.person)
}

fn may_review(actor: &Actor, session: &Session) -> Result<PersonName, Refusal> {
    const REVIEWERS: [CallerRole; 3] = [CallerRole::Approver, CallerRole::Security, CallerRole::Admin];
    let id = &session.session_id;
    match &actor.entry {
        Some(entry) if is_own(actor, session) => Err(Refusal::new(
            ErrorCode::SelfApproval,
            format!("session `{id}` was yours, `{}`, and is for somebody else to review", entry.person),
            "ask an approver, security or an administrator",
        )),
        Some(entry) if REVIEWERS.iter().any(|role| entry.roles.contains(role)) => Ok(entry.person.clone()),
        _ => Err(Refusal::new(
            ErrorCode::NotAllowed,
            format!("`{}` does not review sessions", actor.identity.arn),
            "reviewers have one of the registry's roles `approver`, `security`, `admin`",
        )),
    }
}

/// Closes the review of a session.
///
/// # Errors
/// A refusal: by its owner or by somebody who does not review, without a review that is open, without words, or before the session is
/// over, as nobody can have seen then what will be done under it.
pub fn review(session: &Session, comment: &str, actor: &Actor, now: Timestamp) -> Result<Outcome, Refusal> {
    let person = may_review(actor, session)?;
    let comment = cleaned_text(comment)?;
    let id = &session.session_id;
    match session.open_or_closed_review() {
        None => Err(Refusal::new(
            ErrorCode::NotAwaiting,
            format!("session `{id}` has no review"),
            "tiers with `review` open one when a session becomes usable",
        )),
        Some(Review { closed: Some(closed), .. }) if closed.person == person && closed.comment == comment => {
            Ok(Outcome::Before)
        }
        Some(Review { closed: Some(closed), .. }) => Err(Refusal::new(
            ErrorCode::AlreadyDecided,
            format!("the review of session `{id}` was closed by `{}` at {}", closed.person, closed.at),
            "nothing is left to do",
        )),
        Some(Review { closed: None, .. }) if !session.state.is_over() => Err(Refusal::new(
            ErrorCode::NotAwaiting,
            format!("session `{id}` is {}, and is reviewed when it is over", session.state),
            format!("`sorry revoke {id}` ends it"),
        )),
        Some(Review { closed: None, .. }) => {
            let closed = ClosedReview { person, by: actor.identity.arn.clone(), at: now, comment };
            let by = ChangedBy::actor(actor);
            Ok(Outcome::Changed(Box::new(session.reviewed(closed, &by, now))))
        }
    }
}

#[cfg(test)]
mod tests {
    use sorry_policy::Grant;

    use super::*;
    use crate::{
        CallerEntry, EndCause,
        caller::MfaBy,
        lifecycle::tests::{at, requested},
    };

    fn pending(count: u32) -> Session {
        let approvals = Approvals { count, approvers: [CallerRole::Approver].into(), within_minutes: 10 };
        Session {
            state: State::PendingApproval,
            approval: Some(Approval::asked(&approvals, at(0))),
            ..requested()
        }
    }

    fn actor(person: &str, principal: &str, roles: &[CallerRole]) -> Actor {
        let identity = Identity {
            unique_id: format!("AIDA{principal}"),
            arn: format!("arn:aws:iam::123456789012:user/{principal}"),
            ..requested().caller
        };
        let entry = CallerEntry {
            unique_id: identity.unique_id.clone(),
            account: identity.account.clone(),
            arn: identity.arn.clone(),
            person: person.parse().unwrap(),
            namespace: person.parse().unwrap(),
            tiers: [].into(),
            projects: [].into(),
            roles: roles.iter().copied().collect(),
            registered_at: at(0),
            registered_by: String::new(),
            mfa: MfaBy::Device,
            source_identity: None,
            suspended: None,
        };
        Actor { identity, entry: Some(entry), administrator: false, identity_provider: false }
    }

    fn approver(person: &str) -> Actor {
        actor(person, person, &[CallerRole::Approver])
    }

    fn cast(session: &Session, word: Vote, by: &Actor, second: i64) -> Result<Session, ErrorCode> {
        match vote(session, word, None, None, by, at(second)) {
            Ok(Outcome::Changed(change)) => Ok(change.session),
            Ok(Outcome::Before) => Ok(session.clone()),
            Err(refusal) => Err(refusal.code),
        }
    }

    #[test]
    fn the_window_begins_with_the_last_approval_that_is_needed() {
        let one = cast(&pending(2), Vote::Approve, &approver("ann"), 100).unwrap();
        assert_eq!((one.state, one.approved_at, one.expires_at), (State::PendingApproval, None, at(3600)));
        let two = cast(&one, Vote::Approve, &approver("bob"), 200).unwrap();
        assert_eq!(two.state, State::Requested);
        assert_eq!((two.begins_at(), two.expires_at), (at(200), at(3800)));
        assert_eq!(two.window(), pending(2).window());
    }

    #[test]
    fn a_person_counts_once_whatever_principals_they_have() {
        let one = cast(&pending(2), Vote::Approve, &approver("ann"), 1).unwrap();
        let again = actor("ann", "ann-other", &[CallerRole::Approver]);
        assert_eq!(cast(&one, Vote::Approve, &again, 2).unwrap(), one);
        assert_eq!(cast(&one, Vote::Deny, &again, 2).unwrap_err(), ErrorCode::AlreadyDecided);
    }

    #[test]
    fn nobody_decides_on_their_own_request_with_whichever_principal() {
        for word in [Vote::Approve, Vote::Deny] {
            let own = actor("sue", "sue-other", &[CallerRole::Approver]);
            assert_eq!(cast(&pending(1), word, &own, 1).unwrap_err(), ErrorCode::SelfApproval);
        }
    }

    #[test]
    fn only_the_roles_that_the_tier_names_decide() {
        for roles in [&[][..], &[CallerRole::Caller], &[CallerRole::Security, CallerRole::Admin]] {
            let other = actor("ann", "ann", roles);
            assert_eq!(cast(&pending(1), Vote::Approve, &other, 1).unwrap_err(), ErrorCode::NotAllowed);
        }
        let unregistered = Actor { entry: None, administrator: true, ..approver("ann") };
        assert_eq!(cast(&pending(1), Vote::Approve, &unregistered, 1).unwrap_err(), ErrorCode::NotAllowed);
    }

    #[test]
    fn nothing_can_be_decided_once_the_time_has_run_out() {
        assert!(cast(&pending(1), Vote::Approve, &approver("ann"), 599).is_ok());
        for word in [Vote::Approve, Vote::Deny] {
            assert_eq!(
                cast(&pending(1), word, &approver("ann"), 600).unwrap_err(),
                ErrorCode::ApprovalLapsed
            );
        }
    }

    #[test]
    fn of_an_approver_and_a_denier_the_denier_wins_whoever_is_first() {
        let denied = cast(&pending(1), Vote::Deny, &approver("bob"), 1).unwrap();
        assert_eq!(denied.state, State::Denied);
        assert_eq!(cast(&denied, Vote::Approve, &approver("ann"), 2).unwrap_err(), ErrorCode::NotAwaiting);

        let approved = cast(&pending(1), Vote::Approve, &approver("ann"), 1).unwrap();
        for state in [State::Requested, State::Provisioning, State::Active] {
            let granted = Session { state, ..approved.clone() };
            let ending = cast(&granted, Vote::Deny, &approver("bob"), 2).unwrap();
            assert_eq!((ending.state, ending.end.unwrap().cause), (State::Revoking, EndCause::Denied));
        }
    }

    #[test]
    fn a_review_is_closed_once_by_somebody_else_with_words() {
        let activated_at = Some(at(0));
        let review_of = Some(Review { opened_at: at(0), closed: None });
        let active = Session { state: State::Active, review: review_of, activated_at, ..requested() };
        let open = Session { state: State::Expired, ..active.clone() };
        let said = "looked at CloudTrail, all in order";
        let closed = |who: &Actor, session: &Session, words: &str| review(session, words, who, at(9));
        let code = |result: Result<Outcome, Refusal>| result.map(|_| ()).unwrap_err().code;
        let own = actor("sue", "sue-other", &[CallerRole::Security]);
        assert_eq!(code(closed(&own, &open, said)), ErrorCode::SelfApproval);
        assert_eq!(
            code(closed(&actor("bob", "bob", &[CallerRole::Caller]), &open, said)),
            ErrorCode::NotAllowed
        );
        assert_eq!(code(closed(&approver("ann"), &open, "ok")), ErrorCode::ReasonUnusable);
        assert_eq!(code(closed(&approver("ann"), &requested(), said)), ErrorCode::NotAwaiting);
        assert_eq!(code(closed(&approver("ann"), &active, said)), ErrorCode::NotAwaiting);
        assert!(awaits(&approver("ann"), &open, at(9)) && !awaits(&approver("ann"), &active, at(9)));
        let Ok(Outcome::Changed(change)) = closed(&approver("ann"), &open, said) else { panic!("refused") };
        assert_eq!(change.session.state, open.state);
        assert!(matches!(closed(&approver("ann"), &change.session, said), Ok(Outcome::Before)));
        assert_eq!(code(closed(&approver("bob"), &change.session, said)), ErrorCode::AlreadyDecided);
    }

    #[test]
    fn a_session_whose_review_is_open_is_listed_and_not_forgotten() {
        let open = Session {
            state: State::Expired,
            activated_at: Some(at(0)),
            review: Some(Review { opened_at: at(0), closed: None }),
            ..requested()
        };
        assert_eq!((open.due_at(), open.forget_at()), (None, None));
        assert!(open.listed_at().is_some());
        let said = "looked at CloudTrail, all in order";
        let Ok(Outcome::Changed(change)) = review(&open, said, &approver("ann"), at(9)) else { panic!() };
        let published = Session { outbox: Vec::new(), ..change.session };
        assert!(published.listed_at().is_none() && published.forget_at().is_some());
    }

    #[test]
    fn the_principal_that_asked_decides_on_nothing_whosever_it_is_by_now() {
        let mut moved = actor("team", "x", &[CallerRole::Approver]);
        moved.identity.unique_id = pending(1).caller.unique_id;
        assert_eq!(cast(&pending(1), Vote::Approve, &moved, 1).unwrap_err(), ErrorCode::SelfApproval);
        assert!(!is_approver(&moved, &pending(1)));
    }

    #[test]
    fn credentials_that_nobody_was_given_need_no_review() {
        let review = Some(Review { opened_at: at(0), closed: None });
        let standing = Session { grant: Grant::Standing, activated_at: Some(at(0)), review, ..requested() };
        assert!(standing.open_or_closed_review().is_none());
        let over = Session { state: State::Revoked, ..standing };
        assert!(over.listed_at().is_none() && over.forget_at().is_some());
    }
}
