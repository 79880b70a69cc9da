//! What others say of a session: they approve or deny it, and look at it afterwards.

use sorry_session::{
    Actor, CallerRole, ErrorCode, Refusal, Session, State, StepError,
    approval::{self, Outcome, Vote},
    caller::Operation,
    outbox,
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::{DecideSession, ReviewSession};

use crate::{Api, ApiError, Request, Response, body, ok, view};

/// How often a decision that met another change of the row is made again, on the row as it is then.
const TRIES: usize = 5;

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn decide_session(
        &self,
        id: &str,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        let said: DecideSession = body(request)?;
        if said.decision == Vote::Approve {
            self.still_allowed(&self.visible(id, actor).await?).await?;
        }
        let session = self
            .say(id, actor, |session| {
                approval::vote(session, said.decision, said.comment.as_deref(), actor, self.ports.clock.now())
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
            .say(id, actor, |session| approval::review(session, &said.comment, actor, self.ports.clock.now()))
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

    /// What was asked long ago is granted only if its owner's entry still allows it.
    async fn still_allowed(&self, session: &Session) -> Result<(), ApiError> {
        let end = session.extension_awaiting().map_or(session.expires_at, |extension| extension.extending_to);
        let wanted = end.duration_since(session.begins_at()).unsigned_abs().as_secs();
        let entry = self.registry.caller(session.registration()).await?;
        let allows = entry.is_some_and(|entry| {
            entry.suspended.is_none()
                && entry.person == session.person
                && entry.roles.contains(&CallerRole::Caller)
                && entry.tiers.get(&session.tier).is_some_and(|hours| wanted <= u64::from(*hours) * 3600)
        });
        if allows {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::TierNotAllowed,
            format!(
                "`{}` is no longer registered for what session `{}` asks",
                session.person, session.session_id
            ),
            "an administrator has changed the entry since; its owner can ask anew",
        )
        .into())
    }

    async fn say(
        &self,
        id: &str,
        actor: &Actor,
        word: impl Fn(&Session) -> Result<Outcome, Refusal>,
    ) -> Result<Session, ApiError> {
        for _ in 0..TRIES {
            let session = self.visible(id, actor).await?;
            match word(&session)? {
                Outcome::Before => return Ok(session),
                Outcome::Changed(change) => {
                    if let Some(session) = outbox::commit(&self.ports, *change).await? {
                        return Ok(session);
                    }
                }
            }
        }
        Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")).into())
    }
}
