//! The workflow's states `Provision`, `Extend` and `NotExtended`: makes the role of a session, and gives it a later end. The steps
//! themselves are [`sorry_session::provision`] and [`sorry_session::extend`].

use serde::{Deserialize, Serialize};
use sorry_policy::SessionId;
use sorry_session::Failure;

/// What the workflow sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which session.
    pub session_id: SessionId,
    /// What to do.
    #[serde(default)]
    pub step: Step,
    /// What the workflow caught while it extended the session: then only that is recorded.
    #[serde(default)]
    pub failure: Option<Failure>,
}

/// What is done with a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Its principal is made.
    #[default]
    Grant,
    /// Its extension is carried out.
    Extend,
}

/// What the workflow waits for then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// When the session ends, ISO 8601 in UTC.
    pub expires_at: String,
}
