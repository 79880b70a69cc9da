//! The one error that commands end with: what to tell the person, and how to exit.

use std::{error::Error as StdError, fmt};

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use sorry_wire::{ErrorBody, ErrorCode, NameError};

use crate::mfa;

/// What every fallible function here returns.
pub(crate) type Result<T> = std::result::Result<T, CliError>;

/// How the program ends. Documented in `sorry --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something did not work.
    Failed = 1,
    /// The command line, or a file of settings, is not right.
    Usage = 2,
    /// A rule said no.
    Refused = 3,
    /// There is no such thing, or no longer.
    NotFound = 4,
    /// AWS did not answer.
    Unreachable = 5,
    /// A fault of this program.
    Bug = 70,
    /// Ctrl-C, as shells count it.
    Interrupted = 130,
}

/// Printed as `error: <message>`, `hint: <hint>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    /// Lower case, no full stop.
    pub(crate) message: String,
    /// What would work, or where to look.
    pub(crate) hint: Option<String>,
    /// How the program ends.
    pub(crate) exit: u8,
    /// The service's code, or AWS's.
    pub(crate) code: Option<String>,
    /// To find the request in the service's logs.
    pub(crate) request_id: Option<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: exit as u8, code: None, request_id: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = (!hint.is_empty()).then_some(hint);
        self
    }

    /// One hint more, after those that are there: what caused it comes first, how to go on comes last.
    pub(crate) fn also(mut self, hint: impl Into<String>) -> Self {
        let more = hint.into();
        self.hint = Some(match self.hint {
            Some(first) => format!("{first}\nhint: {more}"),
            None => more,
        });
        self
    }

    /// Each hint, in the order in which they were added.
    pub(crate) fn hints(&self) -> impl Iterator<Item = &str> {
        self.hint.iter().flat_map(|hints| hints.split("\nhint: "))
    }

    pub(crate) fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// With one more hint about something, such as a session by its id, unless what is told speaks of it already.
    pub(crate) fn also_about(self, name: &str, hint: impl Into<String>) -> Self {
        let is_told =
            self.message.contains(name) || self.hint.as_ref().is_some_and(|hint| hint.contains(name));
        if is_told { self } else { self.also(hint) }
    }

    /// The service's code, where it is one of its codes.
    pub(crate) fn known_code(&self) -> Option<ErrorCode> {
        self.code.as_deref().and_then(known)
    }

    /// The service's own refusal.
    pub(crate) fn from_body(body: ErrorBody) -> Self {
        let exit = known(&body.code).map_or(Exit::Failed as u8, ErrorCode::exit_code);
        Self {
            message: body.message,
            hint: (!body.hint.is_empty()).then_some(body.hint),
            exit,
            code: (!body.code.is_empty()).then_some(body.code),
            request_id: (!body.request_id.is_empty()).then_some(body.request_id),
        }
    }

    /// What AWS answered when asked to `what`, such as "create the user".
    pub(crate) fn from_sdk<E, R>(what: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: fmt::Debug,
    {
        let Some(refused) = error.as_service_error() else {
            return match error {
                SdkError::ConstructionFailure(_) => credentials_or_request(what, error),
                _ => Self::new(Exit::Unreachable, format!("cannot {what}: {}", causes(error)))
                    .hint("is there a network, a proxy (`HTTPS_PROXY`), a CA bundle (`AWS_CA_BUNDLE`)?"),
            };
        };
        let message = refused.message().unwrap_or_default();
        if let Some(seconds) = sorry_credentials::clock_is_off(refused.code(), message) {
            return Self::from(sorry_credentials::Error::Clock { seconds });
        }
        let code = refused.code().unwrap_or("Unknown");
        let said = refused.message().unwrap_or("without saying why");
        let made = |exit| Self::new(exit, format!("cannot {what}: AWS says `{said}`")).code(code);
        match code {
            // Whoever's key it is, it is not to blame.
            _ if mfa::is_spent(refused) => made(Exit::Refused).hint(mfa::SPENT),
            "AccessDenied" | "AccessDeniedException" => made(Exit::Refused)
                .hint("the key in use may not do this: `sorry whoami` says whose it is, `--caller-profile` chooses another"),
            "InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch" => {
                made(Exit::Refused).hint("the key is deleted, mistyped or very new: `sorry doctor` looks closer")
            }
            "ExpiredToken" | "ExpiredTokenException" => {
                made(Exit::Refused).hint("the credentials in use are themselves temporary and over: sign in again")
            }
            "Throttling" | "ThrottlingException" | "ServiceUnavailable" | "InternalFailure" => {
                made(Exit::Unreachable).hint("try again in a minute")
            }
            "NoSuchEntity" => made(Exit::NotFound),
            _ => made(Exit::Failed),
        }
    }
}

/// An error of the vault's crates, whose texts carry their hints on lines of their own.
pub(crate) fn with_hints(error: &(dyn StdError + 'static)) -> CliError {
    let (mut message, mut hints) = (String::new(), Vec::new());
    let mut next = Some(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        let mut parts = text.split("\nhint: ");
        let said = parts.next().unwrap_or_default();
        hints.extend(parts.map(str::to_owned));
        if let Some(profiles) = cause.downcast_ref::<sorry_profiles::Error>() {
            hints.extend(profiles.hint());
        }
        if !message.contains(said) {
            let separator = if message.is_empty() { "" } else { ": " };
            message.push_str(separator);
            message.push_str(said);
        }
        next = cause.source();
    }
    hints.dedup();
    hints.into_iter().fold(CliError::failed(message), CliError::also)
}

macro_rules! from_vault {
    ($($error:ty),+) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                with_hints(&error)
            }
        })+
    };
}

from_vault!(
    sorry_vault::AgentError,
    sorry_vault::EnrolError,
    sorry_vault::KeyFileError,
    sorry_vault::RekeyError,
    sorry_vault::SealError,
    sorry_vault::SignError,
    sorry_vault::UnlockError,
    sorry_vault::VaultError
);

impl From<sorry_vault::StoreError> for CliError {
    fn from(error: sorry_vault::StoreError) -> Self {
        match error {
            sorry_vault::StoreError::File(error) => error.into(),
            error => with_hints(&error),
        }
    }
}

fn credentials_or_request<E, R>(what: &str, error: &SdkError<E, R>) -> CliError
where
    E: StdError + 'static,
    R: fmt::Debug,
{
    CliError::failed(format!("cannot {what}: {}", causes(error)))
        .hint("`sorry doctor` looks for what is missing")
}

fn known(code: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.into_iter().find(|known| known.as_str() == code)
}

/// An error and what lies behind it, on one line. Neither the SDK's nor the system's errors repeat their source.
pub(crate) fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

impl From<NameError> for CliError {
    fn from(error: NameError) -> Self {
        Self::usage(error.to_string()).hint(error.hint()).code(ErrorCode::InvalidInput.as_str())
    }
}

impl From<sorry_credentials::Error> for CliError {
    fn from(error: sorry_credentials::Error) -> Self {
        use sorry_credentials::Error;
        let exit = match &error {
            Error::SessionId(_) | Error::NoAgent | Error::Incomplete(_) => Exit::Usage,
            Error::NoVault(_) | Error::NotCached(_) | Error::Over { .. } => Exit::NotFound,
            Error::Refused { .. } | Error::MfaOver(_) => Exit::Refused,
            Error::Unreachable(_) | Error::TimedOut { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string()).hint(format!("run `{}`", error.remedy()))
    }
}

impl From<sorry_profiles::Error> for CliError {
    fn from(error: sorry_profiles::Error) -> Self {
        let exit = match error {
            sorry_profiles::Error::InvalidValue { .. } | sorry_profiles::Error::DefaultProfile => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, causes(&error)).hint(error.hint().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_service_has_the_exit_code_of_the_service() {
        for code in ErrorCode::ALL {
            let error = CliError::from_body(ErrorBody {
                code: code.as_str().to_owned(),
                message: "no".to_owned(),
                hint: String::new(),
                request_id: String::new(),
                retry_after_seconds: None,
            });
            assert_eq!((error.exit, error.known_code(), error.hint), (code.exit_code(), Some(code), None));
        }
    }

    #[test]
    fn hints_keep_their_order() {
        let one = CliError::failed("no").also("look there");
        assert_eq!(one.hint.as_deref(), Some("look there"));
        assert_eq!(one.also("go on").hint.as_deref(), Some("look there\nhint: go on"));
    }

    #[test]
    fn a_code_of_a_newer_service_is_a_plain_failure() {
        let body: ErrorBody = serde_json::from_str(r#"{"code": "FromTheFuture", "message": "no"}"#).unwrap();
        assert_eq!(CliError::from_body(body).exit, 1);
    }
}
