//! What others say of a session: they approve or deny it, and look at it afterwards.

use sorry_session::{
    Actor, Session, State,
    approval::{self, Vote},
    caller::Operation,
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::{DecideSession, ReviewSession};

use crate::{Api, ApiError, Request, Response, body, ok, view};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn decide_session(
        &self,
        id: &str,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        let said: DecideSession = body(request)?;
        if said.decision == Vote::Approve {
            let session = self.visible(id, actor).await?;
            let entry = self.registry.caller(session.registration()).await?;
            approval::still_allowed(&session, entry.as_ref())?;
        }
        let session = self
            .change_session(id, actor, |session| {
                let (word, comment) = (said.decision, said.comment.as_deref());
                approval::vote(session, word, said.extending_to, comment, actor, self.ports.clock.now())
            })
            .await?;
        // The row is decided; said again, this is made up for by the same names.
        match session.state {
            State::Requested => self.workflow.start_grant(&session).await?,
            state if state.is_ending() => self.workflow.start_end(&session).await?,
            _ => self.carry_out_extension(&session).await?,
        }
        tracing::info!(session_id = %session.session_id, state = %session.state, decision = ?said.decision, "decided");
        ok(200, &view::session(&session, actor))
    }

    pub(crate) async fn review_session(
        &self,
        id: &str,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        let said: ReviewSession = body(request)?;
        let session = self
            .change_session(id, actor, |session| {
                approval::review(session, &said.comment, actor, self.ports.clock.now())
            })
            .await?;
        ok(200, &view::session(&session, actor))
    }

    /// The sessions that wait for the actor. The index may lag: whoever decides is told by the row.
    pub(crate) async fn awaiting(&self, actor: &Actor) -> Result<Vec<Session>, ApiError> {
        let now = self.ports.clock.now();
        let mut sessions = self.ports.store.unfinished().await?;
        sessions
            .retain(|session| approval::awaits(actor, session, now) && actor.may(Operation::View, session));
        sessions.sort_by_key(|session| std::cmp::Reverse(session.requested_at));
        Ok(sessions)
    }
}
