//! `POST /sessions/{id}/credentials`: credentials of sessions whose principal the caller cannot assume. The only function through
//! whose memory secrets go. The step itself is [`sorry_session::issue`]; here is who may have them.

use sorry_gateway::{
    ApiError, Named, Request, Response, actor, check_path, note_refusal, ok, parameter, refused,
};
use sorry_session::{
    Actor, ErrorCode, NamedPrincipals, Refusal, Session,
    caller::Operation,
    decision::suspended,
    events::ChangedBy,
    issue::issue,
    ports::{Clock, EventBus, Ports, PrincipalProvisioner, Registry, SessionStore, TokenIssuer},
    provision::Place,
};
use sorry_wire::IssuedCredentials;

/// Everything that issuing works with.
pub struct Issuer<S, P, R, T, E, C> {
    /// Rows, users and standing roles, listeners, time.
    pub ports: Ports<S, P, E, C>,
    /// Callers and tiers.
    pub registry: R,
    /// Who makes credentials.
    pub tokens: T,
    /// Where the service lives.
    pub place: Place,
}

impl<S, P, R, T, E, C> Issuer<S, P, R, T, E, C>
where
    S: SessionStore,
    P: PrincipalProvisioner,
    R: Registry,
    T: TokenIssuer,
    E: EventBus,
    C: Clock,
{
    /// Answers a request.
    pub async fn answer(&self, request: &Request) -> Response {
        match self.route(request).await {
            Ok(response) => response,
            Err(error) => refused(&error, &request.request_id),
        }
    }

    async fn route(&self, request: &Request) -> Result<Response, ApiError> {
        check_path(request)?;
        // Nobody that the deployment names is anybody here: only its caller uses a session.
        let nobody = NamedPrincipals::default();
        let named = Named { administrators: &nobody, identity_provider_roles: &nobody };
        let actor = actor(request, &self.place.account, &self.registry, named).await?;
        let answer = self.of_actor(request, &actor).await;
        // That AWS, or another one who issues, is not ready is no rule that refused; and by then there is little time left.
        if let Err(ApiError::Refusal(refusal)) = &answer
            && !refusal.code.may_pass()
            && ![ErrorCode::IssueUnderWay, ErrorCode::Superseded].contains(&refusal.code)
        {
            note_refusal(&self.registry, &self.ports.clock, request, &actor, refusal).await;
        }
        answer
    }

    async fn of_actor(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        if let Some(entry) = actor.entry.as_ref().filter(|entry| entry.suspended.is_some()) {
            return Err(suspended(entry).into());
        }
        match (request.method.as_str(), request.resource.as_str()) {
            ("POST", "/sessions/{id}/credentials") => self.issue(request, actor).await,
            (method, resource) => Err(Refusal::new(
                ErrorCode::NotFound,
                format!("there is no `{method} {resource}`"),
                "infrastructure/openapi.yaml lists what there is",
            )
            .into()),
        }
    }

    async fn issue(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        let id = parameter(request, "id")?;
        let session = self.ports.store.load(&id.parse()?).await?;
        let session = session.filter(|session| actor.may(Operation::View, session)).ok_or_else(|| {
            Refusal::new(
                ErrorCode::SessionNotFound,
                format!("there is no session `{id}`"),
                "`sorry list` shows yours",
            )
        })?;
        usable(&session, actor, request)?;
        let by = ChangedBy::actor(actor);
        let credentials =
            issue(&self.ports, &self.tokens, &self.registry, &self.place, &session, &by).await?;
        tracing::info!(
            session_id = %session.session_id, grant = %session.grant, access_key_id = credentials.access_key_id,
            "issued"
        );
        let answer = IssuedCredentials {
            session_id: session.session_id,
            grant: session.grant,
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
            expires_at: credentials.expires_at,
            session_ends_at: session.expires_at,
        };
        ok(200, &answer)
    }
}

/// Whether this principal may use the session, with this key. The gateway has asked for MFA before, where the deployment does; a
/// long-term key has none, whatever a policy of the gateway's says.
fn usable(session: &Session, actor: &Actor, request: &Request) -> Result<(), Refusal> {
    let id = &session.session_id;
    if !actor.may(Operation::Use, session) {
        return Err(Refusal::new(
            ErrorCode::NotAllowed,
            format!("session `{id}` is not yours to use"),
            format!("only the key that asked for it can: that of `{}`", session.caller.arn),
        ));
    }
    if session.mfa && !request.access_key_id.starts_with("ASIA") {
        return Err(Refusal::new(
            ErrorCode::NotAllowed,
            format!("session `{id}` asks for MFA, and the request is signed by a long-term key"),
            "sign it with temporary credentials that carry MFA, as `sorry renew` does",
        ));
    }
    Ok(())
}
