//! Every way in which the service says no, by one stable code each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The stable name of an error: the API's `code`, a function's `errorType` (which the state machine's `Retry` and `Catch` match
/// on), an HTTP status and the command line's exit code, all from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The request is not what the API document describes.
    InvalidInput,
    /// There is no such tier.
    UnknownTier,
    /// The tier exists, and this deployment does not lend it.
    TierDisabled,
    /// The caller is not registered for the tier.
    TierNotAllowed,
    /// The window is longer than the tier, or the caller's entry, allows.
    WindowTooLong,
    /// The window is shorter than the deployment allows.
    WindowTooShort,
    /// The window was over before what was asked for could be done.
    WindowOver,
    /// The tier is lent to other addresses than the one that asks.
    AddressNotAllowed,
    /// The tier asks for a device's code, and the caller is a role, which cannot show one.
    MfaImpossible,
    /// Sessions of the tier do not give access in the way that was asked for.
    GrantNotOffered,
    /// The tier asks for a reason.
    ReasonRequired,
    /// The reason says too little, or too much, or holds characters that are not to be read.
    ReasonUnusable,
    /// The caller is not registered for the project.
    ProjectNotAllowed,
    /// The signature is good, and the registry does not know its owner.
    UnknownCaller,
    /// The registry knows the caller, and an administrator has suspended it.
    CallerSuspended,
    /// The caller may not do this.
    NotAllowed,
    /// There is no such session, or none that the caller may see.
    SessionNotFound,
    /// The session gives no credentials: not yet, or no longer.
    SessionNotActive,
    /// Credentials of the session are being made at this moment.
    IssueUnderWay,
    /// There is no such thing.
    NotFound,
    /// The session waits for nobody's word.
    NotAwaiting,
    /// Nobody decides on what they asked for themselves.
    SelfApproval,
    /// The same person has decided otherwise before.
    AlreadyDecided,
    /// The time to decide has run out.
    ApprovalLapsed,
    /// The session is of a kind, or at a point, that is not extended.
    NotExtendable,
    /// Another extension of the session is not settled yet.
    ExtensionPending,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// Something else has it: a name, a namespace.
    Conflict,
    /// Somebody else moved the session on; this step must stop.
    Superseded,
    /// A principal of the planned name exists and is not this session's.
    PrincipalConflict,
    /// IAM does not know the caller that the role would trust: it was made moments ago, or is gone.
    CallerUnknownToIam,
    /// AWS refused a call that the service is meant to be allowed.
    PolicyRefused,
    /// The tiers that were published cannot be read, or are not those of their digest.
    TiersUnusable,
    /// The alert could not be sent, so nothing was granted.
    AlertUndeliverable,
    /// Nobody would have received the alert, so nothing was granted.
    NoSubscriber,
    /// The caller has asked for more in this minute than it may.
    TooManyRequests,
    /// The caller has as many live sessions of the tier as it may.
    TooManySessions,
    /// The deployment lends as much as it may.
    AtCapacity,
    /// AWS asked to slow down.
    Throttled,
    /// AWS could not be reached, or did not answer in time.
    Unavailable,
    /// A fault of this program.
    Internal,
}

impl ErrorCode {
    /// All codes, for the documents and the tests that hold them to each other.
    pub const ALL: [Self; 41] = [
        Self::InvalidInput,
        Self::UnknownTier,
        Self::TierDisabled,
        Self::TierNotAllowed,
        Self::WindowTooLong,
        Self::WindowTooShort,
        Self::WindowOver,
        Self::AddressNotAllowed,
        Self::MfaImpossible,
        Self::GrantNotOffered,
        Self::ReasonRequired,
        Self::ReasonUnusable,
        Self::ProjectNotAllowed,
        Self::UnknownCaller,
        Self::CallerSuspended,
        Self::NotAllowed,
        Self::SessionNotFound,
        Self::SessionNotActive,
        Self::IssueUnderWay,
        Self::NotFound,
        Self::NotAwaiting,
        Self::SelfApproval,
        Self::AlreadyDecided,
        Self::ApprovalLapsed,
        Self::NotExtendable,
        Self::ExtensionPending,
        Self::IdempotencyConflict,
        Self::Conflict,
        Self::Superseded,
        Self::PrincipalConflict,
        Self::CallerUnknownToIam,
        Self::PolicyRefused,
        Self::TiersUnusable,
        Self::AlertUndeliverable,
        Self::NoSubscriber,
        Self::TooManyRequests,
        Self::TooManySessions,
        Self::AtCapacity,
        Self::Throttled,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The code as it is written.
    pub const fn as_str(self) -> &'static str {
        self.parts().0
    }

    /// The status of the API's answer.
    pub const fn http_status(self) -> u16 {
        self.parts().1
    }

    /// How the command line ends: 1 failed, 2 usage, 3 refused by policy, 4 not found, 5 cannot reach AWS, 70 a bug.
    pub const fn exit_code(self) -> u8 {
        self.parts().2
    }

    /// Whether the same step may succeed a little later, with nothing done about it.
    pub const fn may_pass(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::CallerUnknownToIam)
    }

    const fn parts(self) -> (&'static str, u16, u8) {
        match self {
            Self::InvalidInput => ("InvalidInput", 400, 2),
            Self::UnknownTier => ("UnknownTier", 404, 4),
            Self::TierDisabled => ("TierDisabled", 403, 3),
            Self::TierNotAllowed => ("TierNotAllowed", 403, 3),
            Self::WindowTooLong => ("WindowTooLong", 403, 3),
            Self::WindowTooShort => ("WindowTooShort", 400, 2),
            Self::WindowOver => ("WindowOver", 409, 4),
            Self::AddressNotAllowed => ("AddressNotAllowed", 403, 3),
            Self::MfaImpossible => ("MfaImpossible", 403, 3),
            Self::GrantNotOffered => ("GrantNotOffered", 403, 3),
            Self::ReasonRequired => ("ReasonRequired", 400, 2),
            Self::ReasonUnusable => ("ReasonUnusable", 400, 2),
            Self::ProjectNotAllowed => ("ProjectNotAllowed", 403, 3),
            Self::UnknownCaller => ("UnknownCaller", 403, 3),
            Self::CallerSuspended => ("CallerSuspended", 403, 3),
            Self::NotAllowed => ("NotAllowed", 403, 3),
            Self::SessionNotFound => ("SessionNotFound", 404, 4),
            Self::SessionNotActive => ("SessionNotActive", 409, 4),
            Self::IssueUnderWay => ("IssueUnderWay", 409, 5),
            Self::NotFound => ("NotFound", 404, 4),
            Self::NotAwaiting => ("NotAwaiting", 409, 3),
            Self::SelfApproval => ("SelfApproval", 403, 3),
            Self::AlreadyDecided => ("AlreadyDecided", 409, 3),
            Self::ApprovalLapsed => ("ApprovalLapsed", 409, 3),
            Self::NotExtendable => ("NotExtendable", 409, 3),
            Self::ExtensionPending => ("ExtensionPending", 409, 3),
            Self::IdempotencyConflict => ("IdempotencyConflict", 409, 1),
            Self::Conflict => ("Conflict", 409, 1),
            Self::Superseded => ("Superseded", 409, 1),
            Self::PrincipalConflict => ("PrincipalConflict", 500, 1),
            Self::CallerUnknownToIam => ("CallerUnknownToIam", 503, 1),
            Self::PolicyRefused => ("PolicyRefused", 500, 1),
            Self::TiersUnusable => ("TiersUnusable", 503, 1),
            Self::AlertUndeliverable => ("AlertUndeliverable", 503, 1),
            Self::NoSubscriber => ("NoSubscriber", 503, 1),
            Self::TooManyRequests => ("TooManyRequests", 429, 5),
            Self::TooManySessions => ("TooManySessions", 429, 3),
            Self::AtCapacity => ("AtCapacity", 429, 5),
            Self::Throttled => ("Throttled", 429, 5),
            Self::Unavailable => ("Unavailable", 503, 5),
            Self::Internal => ("Internal", 500, 70),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An answer of "no" that the caller reads: which rule, why, and what would be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The rule that refused.
    pub code: ErrorCode,
    /// Lower case, no full stop, the caller's own words in backticks.
    pub message: String,
    /// What would be allowed, or where to look.
    pub hint: String,
    /// After how many seconds the same request may succeed, where that is known.
    pub retry_after_seconds: Option<u64>,
}

impl Refusal {
    /// A refusal by `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into(), retry_after_seconds: None }
    }

    /// The same, which may be another answer after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after_seconds: Some(seconds), ..self }
    }
}

impl From<sorry_policy::NameError> for Refusal {
    fn from(error: sorry_policy::NameError) -> Self {
        Self::new(ErrorCode::InvalidInput, error.to_string(), error.hint())
    }
}

/// A step of the workflow that did not succeed. The state machine sees `code`; the text goes to the log and, for a session that
/// failed because of it, into its row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What the state machine's `Retry` and `Catch` match on.
    pub code: ErrorCode,
    /// What happened; holds no secret, for none is known to a step.
    pub message: String,
}

impl StepError {
    /// A failure with `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_as_they_are_serialized() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
        let names: std::collections::BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }
}
