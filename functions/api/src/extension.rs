//! Asking for a later end of a session.

use sorry_session::{
    Actor, Session,
    decision::registered,
    extension::{ExtensionRequest, decide},
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
    tiers::in_force,
};
use sorry_wire::ExtendSession;

use crate::{Api, ApiError, Request, Response, body, ok, parameter, view};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn extend_session(
        &self,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        registered(actor)?;
        let asked: ExtendSession = body(request)?;
        self.count_request(&asked.client_request_id, actor).await?;
        let wanted = ExtensionRequest {
            client_request_id: asked.client_request_id,
            duration_seconds: asked.duration_seconds,
        };
        let id = parameter(request, "id")?;
        let tiers = in_force(&self.registry).await?;
        let session = self
            .change_session(id, actor, |session| {
                decide(&wanted, session, actor, &tiers, &self.rules, self.ports.clock.now())
            })
            .await?;
        self.carry_out_extension(&session).await?;
        tracing::info!(session_id = %session.session_id, "an extension was asked for");
        ok(202, &view::session(&session, actor))
    }

    /// Starts what carries an extension out, if one is under way: after the request that needs no approval, and after the last approval.
    pub(crate) async fn carry_out_extension(&self, session: &Session) -> Result<(), ApiError> {
        if session.extension_under_way().is_some() {
            self.workflow.start_extension(session).await?;
        }
        Ok(())
    }
}
