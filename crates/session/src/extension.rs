//! A later end for a session: decided before the end that it has, within what the tier and the caller's entry allow, counted from the
//! beginning of its window; with a fresh approval where the tier asks for one. Pure; [`crate::extend`] carries it out.
//!
//! ```text
//!            ┌─▶ awaiting approval ─┬─▶ denied, lapsed
//!  asked for ┤                      ▼
//!            └────────────────▶ under way ─┬─▶ done: now, and not before, the row's `expires_at` is the new end
//!                                          └─▶ failed
//! ```
//!
//! While it is under way the row names both ends, and IAM may have either date: [`Session::latest_end`] is the one that nothing
//! outlasts, [`Session::due_end_at`] the one from which the session is ended, with some time for what was decided before the old end
//! to be carried out. A session whose end is decided has no extension any more, whatever its row says of one.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{Grant, TierTable};

use crate::{
    Actor, Change, ErrorCode, Failure, Refusal, Session, State,
    approval::{Approval, CastVote, Outcome, Vote},
    caller::Operation,
    decision::{self, Rules, spoken},
    events::ChangedBy,
    expiry::{EXTENSION_GRACE, after},
    lifecycle::TransitionError,
};

/// A later end for a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// The client's own key for it, so that asking twice is asking once.
    pub client_request_id: String,
    /// By how much, in seconds.
    pub duration_seconds: u64,
    /// The new end.
    pub extending_to: Timestamp,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// Whose word it waits for, or waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// When it was decided that it shall be so: by the request itself, or by the last approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Settled>,
}

/// The end of an extension.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// How.
    pub outcome: ExtensionOutcome,
    /// When.
    pub at: Timestamp,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// How an extension ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtensionOutcome {
    /// The session ends later.
    Done,
    /// Others said no.
    Denied,
    /// Not enough others said yes in time.
    Lapsed,
    /// It could not be carried out.
    Failed,
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionRequest {
    /// The client's own key for this request.
    pub client_request_id: String,
    /// By how much, in seconds.
    pub duration_seconds: u64,
}

impl Session {
    fn open_extension(&self) -> Option<&Extension> {
        let open = |extension: &&Extension| extension.settled.is_none();
        self.extension.as_ref().filter(|_| self.state == State::Active).filter(open)
    }

    /// The extension that waits for others' approval.
    pub fn extension_awaiting(&self) -> Option<&Extension> {
        self.open_extension().filter(|extension| extension.decided_at.is_none())
    }

    /// The extension that is decided and to be carried out.
    pub fn extension_under_way(&self) -> Option<&Extension> {
        self.open_extension().filter(|extension| extension.decided_at.is_some())
    }

    /// The end that no access outlasts: IAM may have the date of an extension that was decided before the row says that it is done,
    /// and of one that failed after its last write was lost sight of.
    pub fn latest_end(&self) -> Timestamp {
        let decided = self.extension.as_ref().filter(|extension| extension.decided_at.is_some());
        decided.map_or(self.expires_at, |extension| self.expires_at.max(extension.extending_to))
    }

    /// When an ACTIVE session has to be ended. An extension that was decided before the end is given [`EXTENSION_GRACE`] to be
    /// carried out; access has ended by its date meanwhile, or goes on by the date that was decided.
    pub fn due_end_at(&self) -> Timestamp {
        let Some(extension) = self.extension_under_way() else { return self.expires_at };
        self.expires_at.max(self.extension_gives_up_at(extension).min(extension.extending_to))
    }

    fn extension_gives_up_at(&self, extension: &Extension) -> Timestamp {
        after(extension.decided_at.unwrap_or(self.changed_at), EXTENSION_GRACE)
    }

    /// When the sweep should settle an extension that nobody else has settled by then.
    pub fn extension_due_at(&self) -> Option<Timestamp> {
        let extension = self.open_extension()?;
        Some(match (&extension.decided_at, &extension.approval) {
            (None, Some(approval)) => approval.lapses_at,
            _ => self.extension_gives_up_at(extension),
        })
    }

    fn extending(
        &self,
        by: &ChangedBy,
        now: Timestamp,
        edit: impl FnOnce(&mut Extension),
    ) -> Result<Change, TransitionError> {
        let Some(mut extension) = self.open_extension().cloned() else {
            return Err(self.refuse(State::Active));
        };
        edit(&mut extension);
        Ok(self.change(self.state, by, now, |session| session.extension = Some(extension)))
    }

    /// One vote more: with the last approval it is under way, with a denial it is over. The session goes on as it is.
    ///
    /// # Errors
    /// When no extension waits for one.
    pub fn extension_voted(
        &self,
        cast: CastVote,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        if self.extension_awaiting().is_none() {
            return Err(self.refuse(State::Active));
        }
        self.extending(by, now, |extension| {
            let Some(approval) = &mut extension.approval else { return };
            let denied = cast.vote == Vote::Deny;
            approval.votes.push(cast);
            if denied {
                extension.settled =
                    Some(Settled { outcome: ExtensionOutcome::Denied, at: now, failure: None });
            } else if approval.is_given() {
                extension.decided_at = Some(now);
            }
        })
    }

    /// The session ends later from now on: IAM has the new date.
    ///
    /// # Errors
    /// When no extension is under way.
    pub fn extended(&self, by: &ChangedBy, now: Timestamp) -> Result<Change, TransitionError> {
        let Some(extension) = self.extension_under_way() else { return Err(self.refuse(State::Active)) };
        let mut extension = extension.clone();
        extension.settled = Some(Settled { outcome: ExtensionOutcome::Done, at: now, failure: None });
        Ok(self.change(self.state, by, now, |session| {
            session.first_expires_at.get_or_insert(session.expires_at);
            session.expires_at = extension.extending_to;
            session.extension = Some(extension);
        }))
    }

    /// The session keeps the end that it has: the extension lapsed, or could not be carried out.
    ///
    /// # Errors
    /// When none is open.
    pub fn not_extended(
        &self,
        failure: Failure,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Change, TransitionError> {
        self.extending(by, now, |extension| {
            let outcome = match extension.decided_at {
                Some(_) => ExtensionOutcome::Failed,
                None => ExtensionOutcome::Lapsed,
            };
            extension.settled = Some(Settled { outcome, at: now, failure: Some(failure) });
        })
    }
}

/// Decides on a request for an extension. One that needs nobody's approval is under way at once.
///
/// # Errors
/// A refusal: each rule by its own code.
pub fn decide(
    request: &ExtensionRequest,
    session: &Session,
    actor: &Actor,
    tiers: &TierTable,
    rules: &Rules,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let id = &session.session_id;
    let entry = decision::registered(actor)?;
    if !actor.may(Operation::Extend, session) {
        return Err(Refusal::new(
            ErrorCode::NotAllowed,
            format!("session `{id}` was asked for by `{}`, which alone can extend it", session.caller.arn),
            "ask for a session of your own: `sorry request`",
        ));
    }
    let client_request_id = decision::client_request_id(&request.client_request_id)?;
    if let Some(before) = &session.extension
        && before.client_request_id == client_request_id
    {
        if before.duration_seconds == request.duration_seconds {
            return Ok(Outcome::Before);
        }
        return Err(Refusal::new(
            ErrorCode::IdempotencyConflict,
            format!("`client_request_id` `{client_request_id}` was used for another extension"),
            "use a new one for each request",
        ));
    }
    extendable(session, now)?;
    let (name, tier, digest) = decision::tier(session.tier.as_str(), entry, tiers, rules)?;
    decision::address(&name, &tier, &actor.identity)?;
    if digest != session.policy_digest {
        return Err(Refusal::new(
            ErrorCode::NotExtendable,
            format!("tier `{name}` has changed since session `{id}` was asked for"),
            format!("ask for what it is now: `sorry request --tier {name} --hours N`"),
        ));
    }
    let most = decision::longest(&name, &tier, entry);
    let extending_to = later_end(request.duration_seconds, session, most)?;
    let by = ChangedBy::actor(actor);
    let approval = tier.approvals.as_ref().map(|approvals| {
        let asked = Approval::asked(approvals, now);
        // Who decides after the end has nothing left to decide on.
        Approval { lapses_at: asked.lapses_at.min(session.expires_at), ..asked }
    });
    let extension = Extension {
        client_request_id,
        duration_seconds: request.duration_seconds,
        extending_to,
        requested_at: now,
        decided_at: approval.is_none().then_some(now),
        approval,
        settled: None,
    };
    let change = session.change(session.state, &by, now, |session| session.extension = Some(extension));
    Ok(Outcome::Changed(Box::new(change)))
}

/// Whether a session is one that can be extended at `now`.
fn extendable(session: &Session, now: Timestamp) -> Result<(), Refusal> {
    let id = &session.session_id;
    let again = || format!("ask for another: `sorry request --tier {} --hours N`", session.tier);
    if session.grant == Grant::Standing {
        return Err(Refusal::new(
            ErrorCode::NotExtendable,
            format!(
                "session `{id}` uses what stands ready for tier `{}`, which is not extended",
                session.tier
            ),
            again(),
        ));
    }
    match session.state {
        State::Active if now < session.expires_at => {}
        State::Active => {
            return Err(Refusal::new(
                ErrorCode::WindowOver,
                format!("session `{id}` was over at {}", session.expires_at),
                again(),
            ));
        }
        State::PendingApproval | State::Requested | State::Provisioning => {
            return Err(Refusal::new(
                ErrorCode::NotExtendable,
                format!("session `{id}` is {}, and only one that is ACTIVE is extended", session.state),
                format!("wait for it: `sorry status {id}`"),
            ));
        }
        state => {
            return Err(Refusal::new(ErrorCode::WindowOver, format!("session `{id}` is {state}"), again()));
        }
    }
    let Some(extension) = &session.extension else { return Ok(()) };
    let until = |moment: Timestamp| moment.duration_since(now).unsigned_abs().as_secs().max(1);
    match &extension.settled {
        None => Err(Refusal::new(
            ErrorCode::ExtensionPending,
            format!("session `{id}` is being extended to {} already", extension.extending_to),
            format!("`sorry status {id}` shows how that stands; ask again when it is settled"),
        )),
        // A write of its that was thought lost could still land, and shorten what is decided now.
        Some(Settled { outcome: ExtensionOutcome::Failed, at, .. }) if now < after(*at, EXTENSION_GRACE) => {
            let seconds = until(after(*at, EXTENSION_GRACE));
            Err(Refusal::new(
                ErrorCode::ExtensionPending,
                format!("the last extension of session `{id}` failed a moment ago, and may still write"),
                format!("ask again in {}", spoken(Duration::from_secs(seconds))),
            )
            .retry_after(seconds))
        }
        Some(_) => Ok(()),
    }
}

/// The end of a window that is longer by so much and not longer than `most`, counted from its beginning.
fn later_end(seconds: u64, session: &Session, most: Duration) -> Result<Timestamp, Refusal> {
    if seconds == 0 {
        let hint = "say by how much: `--hours N` or `--for 30m`";
        return Err(Refusal::new(ErrorCode::WindowTooShort, "an extension by nothing", hint));
    }
    let window = session.window();
    let more = Duration::from_secs(seconds);
    let left = most.saturating_sub(window);
    let later = session.expires_at.checked_add(more).ok().filter(|_| more <= left);
    later.ok_or_else(|| {
        let message = format!(
            "session `{}` with `{}` more is longer than tier `{}` allows you",
            session.session_id,
            spoken(more),
            session.tier
        );
        let hint = if left.is_zero() {
            format!(
                "its window has the {} that are allowed; ask for another session when it is over",
                spoken(most)
            )
        } else {
            format!(
                "ask for {} or less: {} in all are allowed from its beginning",
                spoken(left),
                spoken(most)
            )
        };
        Refusal::new(ErrorCode::WindowTooLong, message, hint)
    })
}

#[cfg(test)]
mod tests;
