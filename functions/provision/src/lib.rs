//! The workflow's state `Provision`: makes the role of a session. The step itself is [`sorry_session::provision`].

use serde::{Deserialize, Serialize};
use sorry_policy::SessionId;

/// What the workflow sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Which session.
    pub session_id: SessionId,
}

/// What the workflow waits for then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// When the session ends, ISO 8601 in UTC.
    pub expires_at: String,
}
