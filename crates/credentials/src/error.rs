//! Why there are no credentials, and what a person can do about it.

use std::path::PathBuf;

use jiff::Timestamp;
use sorry_vault::{AgentError, StoreError, UnlockError};

/// Why a session's credentials cannot be had. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The builder was given something that is no session id.
    #[error("`{0}` is not a session id")]
    SessionId(String),
    /// The builder was not given something that it needs.
    #[error("the credentials provider was given no {0}")]
    Incomplete(&'static str),
    /// Nobody has made a vault.
    #[error("there is no vault at `{}`", .0.display())]
    NoVault(PathBuf),
    /// The file is there and cannot be used.
    #[error("the vault cannot be read: {0}")]
    Store(#[source] Box<StoreError>),
    /// No agent was named.
    #[error("no ssh-agent is named (`SSH_AUTH_SOCK` is not set)")]
    NoAgent,
    /// The agent does not answer.
    #[error("{}", first_line(.0))]
    Agent(#[source] AgentError),
    /// Only a passphrase opens it, and nobody is asked for one here.
    #[error("the vault has no slot for an SSH key")]
    NoKeySlot,
    /// The agent answers and the vault stays shut.
    #[error("the vault stays shut: {}", first_line(.0))]
    Shut(#[source] UnlockError),
    /// The session was never delivered through the vault, or the vault has a new data key since.
    #[error("the vault has no credentials of session `{0}`")]
    NotCached(String),
    /// The session has ended.
    #[error("session `{id}` ended at {}", .at.strftime("%Y-%m-%d %H:%M:%S UTC"))]
    Over {
        /// The session.
        id: String,
        /// When.
        at: Timestamp,
    },
    /// The vault holds no key to renew with.
    #[error("the vault holds no bootstrap key")]
    NoKey,
    /// The service hands them out, and gave some that ended before the session did.
    #[error("credentials of session `{0}` are handed out by the service, to a person")]
    HandedOut(String),
    /// The role asks for MFA, and the vault's MFA session has run out.
    #[error("session `{0}` asks for MFA, and the vault's MFA session has run out")]
    MfaOver(String),
    /// AWS takes requests within five minutes of its own time.
    #[error("this machine's clock is wrong{}", off(*.seconds))]
    Clock {
        /// AWS's clock less ours, where AWS told.
        seconds: Option<i64>,
    },
    /// AWS said no.
    #[error("AWS refused new credentials of session `{id}`: {message} ({code})")]
    Refused {
        /// The session.
        id: String,
        /// AWS's code.
        code: String,
        /// AWS's words.
        message: String,
    },
    /// AWS did not answer.
    #[error("AWS cannot be reached: {0}")]
    Unreachable(String),
    /// All of it took longer than it may.
    #[error("no credentials of session `{id}` within {seconds} seconds")]
    TimedOut {
        /// The session.
        id: String,
        /// How long it may take.
        seconds: u64,
    },
    /// Another process tried a moment ago, and this came of it.
    #[error("{message}")]
    Elsewhere {
        /// What it said.
        message: String,
        /// What it advised.
        remedy: String,
    },
}

impl Error {
    /// The command that helps, for one line: "run …".
    pub fn remedy(&self) -> String {
        match self {
            Self::NoVault(_) | Self::NoKey => "sorry setup".to_owned(),
            Self::Store(_) => "sorry vault status".to_owned(),
            Self::NoAgent | Self::Agent(AgentError::Unreachable { .. }) => {
                "eval \"$(ssh-agent)\" && ssh-add".to_owned()
            }
            Self::Agent(_) | Self::Shut(_) => "ssh-add".to_owned(),
            Self::NoKeySlot => "sorry vault add-key".to_owned(),
            Self::NotCached(id) | Self::MfaOver(id) | Self::HandedOut(id) => format!("sorry renew {id}"),
            Self::Over { .. } => "sorry request".to_owned(),
            Self::Clock { .. } => "timedatectl".to_owned(),
            Self::Refused { id, .. } => format!("sorry status {id}"),
            Self::Elsewhere { remedy, .. } => remedy.clone(),
            Self::SessionId(_) => "sorry list".to_owned(),
            Self::Incomplete(_) | Self::Unreachable(_) | Self::TimedOut { .. } => "sorry doctor".to_owned(),
        }
    }
}

/// What stands on the first line: hints of the crates below are for people at a terminal.
fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn off(seconds: Option<i64>) -> String {
    match seconds {
        Some(seconds) => {
            let (by, way) = (seconds.unsigned_abs(), if seconds > 0 { "behind" } else { "ahead" });
            let by = if by < 120 { format!("{by} seconds") } else { format!("{} minutes", by / 60) };
            format!(" by {by}: it is {way}")
        }
        None => String::new(),
    }
}
