//! The API: reads who is asking from the gateway's verified context, lets the domain decide, and answers in JSON.
//!
//! Lambda's types stop in `sorry-gateway`; this works on [`Request`] and [`Response`], with the domain's ports.

mod approvals;
mod audit;
mod callers;
mod extension;
mod limits;
mod published;
mod sessions;
mod suspension;
mod sweep;
mod tiers;
mod view;

pub use sorry_gateway::{ApiError, Request, Response};
use sorry_gateway::{Named, actor, body, check_path, note_refusal, ok, parameter, refused};
use sorry_session::{
    Actor, ErrorCode, NamedPrincipals, Refusal, StepError,
    decision::Rules,
    ports::{Alerts, Clock, EventBus, Ports, Registry, SessionStore, Workflow},
    provision::Place,
};
use sorry_wire::WhoAmI;

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
        let named = Named {
            administrators: &self.administrators,
            identity_provider_roles: &self.identity_provider_roles,
        };
        let actor = actor(request, &self.place.account, &self.registry, named).await?;
        let answer = self.of_actor(request, &actor).await;
        if let Err(ApiError::Refusal(refusal)) = &answer {
            note_refusal(&self.registry, &self.ports.clock, request, &actor, refusal).await;
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
