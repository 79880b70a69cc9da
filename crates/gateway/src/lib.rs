//! What the functions behind the gateway share: a request as the gateway verified it, who is asking, answers, and the record of a refusal.
//!
//! [`http`] is the only part that knows Lambda's types. Not for: decisions, and what any one path means.

pub mod http;
mod refusals;

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sorry_policy::AccountId;
use sorry_session::{
    Actor, ErrorCode, Identity, NamedPrincipals, Refusal, StepError,
    issue::IssueError,
    ports::{PortError, Registry},
};
use sorry_wire::ErrorBody;

pub use refusals::note_refusal;

/// A request, as the gateway passed it on.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who signed it.
    pub identity: Identity,
    /// With which key: its id, which is no secret. `ASIA…` is a temporary one.
    pub access_key_id: String,
    /// `GET`, `POST` …
    pub method: String,
    /// The path of the API document that it matched, such as `/sessions/{id}`.
    pub resource: String,
    /// The path as it was sent, without the stage.
    pub path: String,
    /// Values of the names in `resource`.
    pub path_parameters: BTreeMap<String, String>,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// The gateway's id of the request.
    pub request_id: String,
}

/// An answer. Its body may hold secrets: it is not shown.
#[derive(Clone, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Value,
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A "no": for the caller, or a failure that the caller learns only the outline of.
#[derive(Debug)]
pub enum ApiError {
    /// The caller reads all of it.
    Refusal(Refusal),
    /// The log has all of it.
    Failure(StepError),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<sorry_policy::NameError> for ApiError {
    fn from(error: sorry_policy::NameError) -> Self {
        Self::Refusal(error.into())
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Refusal(refusal) => Self::Refusal(refusal),
            IssueError::Failure(error) => Self::Failure(error),
        }
    }
}

impl From<StepError> for ApiError {
    fn from(error: StepError) -> Self {
        Self::Failure(error)
    }
}

impl From<PortError> for ApiError {
    fn from(error: PortError) -> Self {
        Self::Failure(error.into())
    }
}

/// Whom the deployment names.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Administrators.
    pub administrators: &'a NamedPrincipals,
    /// Roles whose identity provider asks for MFA.
    pub identity_provider_roles: &'a NamedPrincipals,
}

/// Invariant 1: the gateway's verified signature and the registry say who is asking, and nothing else does.
///
/// # Errors
/// When the signer is of another account than the service's, or the registry cannot be read.
pub async fn actor(
    request: &Request,
    account: &AccountId,
    registry: &impl Registry,
    named: Named<'_>,
) -> Result<Actor, ApiError> {
    let identity = request.identity.clone();
    if identity.account != *account {
        return Err(Refusal::new(
            ErrorCode::UnknownCaller,
            format!("account `{}` is not this service's", identity.account),
            "ask with a key of the service's own account",
        )
        .into());
    }
    let mut entry = registry.caller(&identity.unique_id).await?;
    // A role's session is somebody by itself, or by its role.
    if let (None, Some(role)) = (&entry, identity.role_id()) {
        entry = registry.caller(role).await?;
    }
    let administrator = named.administrators.include(&identity);
    let identity_provider = named.identity_provider_roles.name_role(&identity.account, &identity.arn);
    Ok(Actor { identity, entry, administrator, identity_provider })
}

/// The gateway's policies match on the path as it was sent: one that is spelt in another way must not reach a handler.
///
/// # Errors
/// When it is.
pub fn check_path(request: &Request) -> Result<(), Refusal> {
    let canonical = request
        .path_parameters
        .iter()
        .fold(request.resource.clone(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
    let plain = canonical.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.:@=+,".contains(&byte));
    if plain && canonical == request.path {
        Ok(())
    } else {
        Err(Refusal::new(
            ErrorCode::InvalidInput,
            "the path is not in its canonical form",
            "send it without escapes or repeated `/`",
        ))
    }
}

/// The value of a name in the path.
///
/// # Errors
/// When the path has none of that name.
pub fn parameter<'a>(request: &'a Request, name: &str) -> Result<&'a str, Refusal> {
    request.path_parameters.get(name).map(String::as_str).ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidInput,
            format!("the path has no `{name}`"),
            "see infrastructure/openapi.yaml",
        )
    })
}

/// The body as a type of the API's.
///
/// # Errors
/// When it is none.
pub fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_str(&request.body).map_err(|error| {
        Refusal::new(
            ErrorCode::InvalidInput,
            format!("the body cannot be read: {error}"),
            "send the JSON that infrastructure/openapi.yaml describes, and nothing beside it: who is asking follows from the signature",
        )
    })
}

/// An answer.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn ok(status: u16, value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_value(value)
        .map_err(|error| StepError::new(ErrorCode::Internal, error.to_string()))?;
    Ok(Response { status, body })
}

/// The answer for an error. What went wrong inside is for the log; the caller learns the code and what to do.
pub fn refused(error: &ApiError, request_id: &str) -> Response {
    let retry_after_seconds = match error {
        ApiError::Refusal(refusal) => refusal.retry_after_seconds,
        ApiError::Failure(_) => None,
    };
    let (code, message, hint) = match error {
        ApiError::Refusal(refusal) => {
            tracing::info!(code = %refusal.code, message = refusal.message, "refused");
            (refusal.code, refusal.message.clone(), refusal.hint.clone())
        }
        ApiError::Failure(error) => {
            tracing::error!(code = %error.code, %error, "failed");
            let (message, hint) = match error.code {
                ErrorCode::Throttled => ("AWS asks to slow down", "try again in a few seconds"),
                ErrorCode::Unavailable => {
                    ("a part of AWS did not answer in time", "try again: what was asked twice is done once")
                }
                ErrorCode::TiersUnusable => (
                    "the published tiers cannot be used, so nothing is granted",
                    "an administrator publishes them again: `sorry admin tiers publish`",
                ),
                _ => (
                    "the service could not do this",
                    "give the request id to whoever runs the service: its log says why",
                ),
            };
            (error.code, message.to_owned(), hint.to_owned())
        }
    };
    let request_id = request_id.to_owned();
    let body = ErrorBody { code: code.to_string(), message, hint, request_id, retry_after_seconds };
    Response { status: code.http_status(), body: serde_json::to_value(body).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(resource: &str, path: &str, parameters: &[(&str, &str)]) -> Request {
        Request {
            identity: Identity {
                account: "123456789012".parse().unwrap(),
                unique_id: "AIDAEXAMPLE".into(),
                arn: "arn:aws:iam::123456789012:user/x".into(),
                source_address: None,
            },
            access_key_id: "AKIAEXAMPLE".into(),
            method: "GET".into(),
            resource: resource.into(),
            path: path.into(),
            path_parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            query: BTreeMap::new(),
            body: String::new(),
            request_id: "r".into(),
        }
    }

    #[test]
    fn only_the_canonical_form_of_a_path_is_answered() {
        let tier = "/tiers/{tier}/sessions";
        for (resource, path, parameters, good) in [
            (tier, "/tiers/developer/sessions", vec![("tier", "developer")], true),
            ("/admin/callers/{id}", "/admin/callers/AROAX:name", vec![("id", "AROAX:name")], true),
            (tier, "/tiers/%64eveloper/sessions", vec![("tier", "developer")], false),
            (tier, "//tiers/developer/sessions", vec![("tier", "developer")], false),
            (tier, "/tiers/developer/sessions/", vec![("tier", "developer")], false),
            (tier, "/tiers/a%2Fb/sessions", vec![("tier", "a%2Fb")], false),
            ("/tiers", "/TIERS", vec![], false),
        ] {
            assert_eq!(check_path(&request(resource, path, &parameters)).is_ok(), good, "{path}");
        }
    }

    #[test]
    fn failures_keep_their_text_to_the_log() {
        let error = ApiError::Failure(StepError::new(ErrorCode::PolicyRefused, "arn:aws:iam::1:role/inner"));
        let response = refused(&error, "r-1");
        assert_eq!(response.status, 500);
        assert!(!response.body.to_string().contains("inner"));
        assert_eq!(response.body["request_id"], "r-1");
    }

    #[test]
    fn no_answer_shows_its_body() {
        let refusal = Refusal::new(ErrorCode::IssueUnderWay, "at this moment", "again").retry_after(5);
        let response = refused(&ApiError::Refusal(refusal), "r-1");
        assert_eq!((response.status, &response.body["retry_after_seconds"]), (409, &serde_json::json!(5)));
        assert!(!format!("{response:?}").contains("at this moment"));
    }
}
