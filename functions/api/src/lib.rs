//! The API: reads who is asking from the gateway's verified context, lets the domain decide, and answers in JSON.
//!
//! [`http`] is the only part that knows Lambda's types; the rest works on [`Request`] and [`Response`], with the domain's ports.

mod approvals;
mod audit;
mod callers;
mod extension;
pub mod http;
mod limits;
mod published;
mod sessions;
mod suspension;
mod sweep;
mod tiers;
mod view;

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sorry_session::{
    Actor, ErrorCode, Identity, NamedPrincipals, Refusal, StepError,
    decision::Rules,
    ports::{Alerts, Clock, EventBus, PortError, Ports, Registry, SessionStore, Workflow},
    provision::Place,
};
use sorry_wire::{ErrorBody, WhoAmI};

/// A request, as the gateway passed it on.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who signed it.
    pub identity: Identity,
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

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Value,
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

/// Everything that the API works with.
pub struct Api<S, R, W, A, E, C> {
    /// Rows, listeners, time. The API itself makes no principals.
    pub ports: Ports<S, (), E, C>,
    /// Callers.
    pub registry: R,
    /// Workflows.
    pub workflow: W,
    /// Security's ear; the API only asks whether anybody listens.
    pub alerts: A,
    /// What the deployment allows.
    pub rules: Rules,
    /// Whom the deployment names as its administrators.
    pub administrators: NamedPrincipals,
    /// Roles that people get only after their identity provider asked for MFA: the gateway does not ask them again.
    pub identity_provider_roles: NamedPrincipals,
    /// Where the service lives: its account, and what dry runs render with.
    pub place: Place,
    /// Random bytes for ids.
    pub random: fn() -> Result<[u8; 26], StepError>,
}

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    /// Answers a request.
    pub async fn answer(&self, request: &Request) -> Response {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => refused(&error, &request.request_id),
        }
    }

    async fn route(&self, request: &Request) -> Result<Response, ApiError> {
        check_path(request)?;
        let actor = self.actor(request).await?;
        let answer = self.of_actor(request, &actor).await;
        if let Err(ApiError::Refusal(refusal)) = &answer {
            self.note_refusal(request, &actor, refusal).await;
        }
        answer
    }

    async fn of_actor(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        suspension::check(request, actor)?;
        match (request.method.as_str(), request.resource.as_str()) {
            ("POST", "/tiers/{tier}/sessions") => self.request_session(request, actor).await,
            ("GET", "/tiers") => self.list_tiers(actor).await,
            ("GET", "/tiers/{tier}") => self.show_tier(request, actor).await,
            ("GET", "/whoami") => ok(200, &self.who_am_i(actor)),
            ("GET", "/sessions") => self.list_sessions(request, actor).await,
            ("GET", "/sessions/{id}") => self.show_session(parameter(request, "id")?, actor).await,
            ("DELETE", "/sessions/{id}") => self.revoke_session(parameter(request, "id")?, actor).await,
            ("POST", "/sessions/{id}/decision") => {
                self.decide_session(parameter(request, "id")?, request, actor).await
            }
            ("POST", "/sessions/{id}/review") => {
                self.review_session(parameter(request, "id")?, request, actor).await
            }
            ("POST", "/sessions/{id}/extension") => self.extend_session(request, actor).await,
            ("GET", "/audit") => self.list_audit(request, actor).await,
            ("GET", "/audit/digests") => self.list_digests(request, actor).await,
            ("GET", "/admin/callers") => self.list_callers(actor).await,
            ("PUT", "/admin/callers/{id}") => {
                self.put_caller(parameter(request, "id")?, request, actor).await
            }
            ("DELETE", "/admin/callers/{id}") => self.remove_caller(parameter(request, "id")?, actor).await,
            ("PUT", "/admin/callers/{id}/suspension") => {
                self.suspend_caller(parameter(request, "id")?, actor).await
            }
            ("DELETE", "/admin/callers/{id}/suspension") => {
                self.resume_caller(parameter(request, "id")?, actor).await
            }
            ("GET", "/admin/tiers") => self.show_tier_set(actor).await,
            ("PUT", "/admin/tiers") => self.publish_tiers(request, actor).await,
            ("GET", "/admin/sweep") => self.show_sweep(actor).await,
            ("PUT", "/admin/sweep/confirmation") => self.confirm_sweep(request, actor).await,
            (method, resource) => Err(Refusal::new(
                ErrorCode::NotFound,
                format!("there is no `{method} {resource}`"),
                "infrastructure/openapi.yaml lists what there is",
            )
            .into()),
        }
    }

    /// Invariant 1: the gateway's verified signature and the registry say who is asking, and nothing else does.
    async fn actor(&self, request: &Request) -> Result<Actor, ApiError> {
        let identity = request.identity.clone();
        if identity.account != self.place.account {
            return Err(Refusal::new(
                ErrorCode::UnknownCaller,
                format!("account `{}` is not this service's", identity.account),
                "ask with a key of the service's own account",
            )
            .into());
        }
        let mut entry = self.registry.caller(&identity.unique_id).await?;
        // A role's session is somebody by itself, or by its role.
        if let (None, Some(role)) = (&entry, identity.role_id()) {
            entry = self.registry.caller(role).await?;
        }
        let administrator = self.administrators.include(&identity);
        let identity_provider = self.identity_provider_roles.name_role(&identity.account, &identity.arn);
        Ok(Actor { identity, entry, administrator, identity_provider })
    }

    fn who_am_i(&self, actor: &Actor) -> WhoAmI {
        WhoAmI {
            account: actor.identity.account.to_string(),
            unique_id: actor.identity.unique_id.clone(),
            arn: actor.identity.arn.clone(),
            source_address: actor.identity.source_address.clone(),
            administrator: actor.is_administrator(),
            caller: actor.entry.as_ref().map(view::caller),
        }
    }
}

/// The gateway's policies match on the path as it was sent: one that is spelt in another way must not reach a handler.
fn check_path(request: &Request) -> Result<(), Refusal> {
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

fn parameter<'a>(request: &'a Request, name: &str) -> Result<&'a str, Refusal> {
    request.path_parameters.get(name).map(String::as_str).ok_or_else(|| {
        Refusal::new(
            ErrorCode::InvalidInput,
            format!("the path has no `{name}`"),
            "see infrastructure/openapi.yaml",
        )
    })
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    serde_json::from_str(&request.body).map_err(|error| {
        Refusal::new(
            ErrorCode::InvalidInput,
            format!("the body cannot be read: {error}"),
            "send the JSON that infrastructure/openapi.yaml describes, and nothing beside it: who is asking follows from the signature",
        )
    })
}

fn ok(status: u16, value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_value(value)
        .map_err(|error| StepError::new(ErrorCode::Internal, error.to_string()))?;
    Ok(Response { status, body })
}

/// The answer for an error. What went wrong inside is for the log; the caller learns the code and what to do.
pub(crate) fn refused(error: &ApiError, request_id: &str) -> Response {
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
}
