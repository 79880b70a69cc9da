//! The workflow's states `CleanUp` and `GiveUp`: ends a session that is due, whose end is decided, or that failed. The steps
//! themselves are in [`sorry_session::clean_up`].

use serde::{Deserialize, Serialize};
use sorry_policy::SessionId;
use sorry_session::{Failure, clean_up::CleanUp};

/// What the workflow sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which session.
    pub session_id: SessionId,
    /// What the workflow caught while the session was being granted.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What the workflow caught while the session was being cleaned up, when it has tried for long enough.
    #[serde(default)]
    pub give_up: Option<Failure>,
}

/// What the workflow does next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Output {
    /// Nothing is left: the workflow ends.
    Ended,
    /// The session goes on: the workflow waits until then.
    NotDue {
        /// When the session ends, ISO 8601 in UTC.
        expires_at: String,
    },
    /// Something may still appear: the workflow asks again.
    Pending,
    /// The clean-up is recorded as given up; the sweep goes on.
    GivenUp,
}

impl From<CleanUp> for Output {
    fn from(outcome: CleanUp) -> Self {
        match outcome {
            CleanUp::Ended => Self::Ended,
            CleanUp::NotDue(expires_at) => Self::NotDue { expires_at: expires_at.to_string() },
            CleanUp::Pending => Self::Pending,
        }
    }
}
