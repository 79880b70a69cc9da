//! What others say of a session: approvals before it, a review after it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sorry_policy::{CallerRole, PersonName};
use sorry_session::approval::Vote;

use crate::Timestamp;

/// Body of `POST /sessions/{id}/decision`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideSession {
    /// Yes or no.
    pub decision: Vote,
    /// The end that the session's extension asks for, as it was shown: then the word is on that extension, and on nothing else that the
    /// session may ask for by now. Left out, an approval is of the session itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extending_to: Option<Timestamp>,
    /// Why, 10 to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Body of `POST /sessions/{id}/review`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewSession {
    /// What was found, 10 to 500 characters.
    pub comment: String,
}

/// Whose word a session waits for, or waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalView {
    /// How many others must approve.
    pub needed: u32,
    /// The registry roles of which an approver has one.
    pub approvers: BTreeSet<CallerRole>,
    /// From this moment nobody can decide any more.
    pub lapses_at: Timestamp,
    /// What was said, in order.
    pub votes: Vec<VoteView>,
}

/// What one person said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    /// Yes or no.
    pub decision: Vote,
    /// Who.
    pub person: PersonName,
    /// ARN of the principal.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Whether somebody else has looked at a session afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewView {
    /// Since when somebody should.
    pub opened_at: Timestamp,
    /// Who did; nobody yet, if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<ClosedReviewView>,
}

/// The end of a review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedReviewView {
    /// Who looked.
    pub person: PersonName,
    /// ARN of the principal.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they found.
    pub comment: String,
}
