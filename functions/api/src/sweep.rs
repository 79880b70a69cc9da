//! What administrators do about a sweep that holds: look at what it holds, and let that go.

use serde_json::json;
use sorry_session::{
    Actor, ErrorCode, Refusal, StepError,
    events::{ChangedBy, sweep_audit},
    ports::{Alerts, Clock, Committed, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::ConfirmSweep;

use crate::{Api, ApiError, Request, Response, body, callers::administrators_only, ok, view};

/// How often a race with a sweep for what it remembers is run again.
const TRIES: usize = 4;

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn show_sweep(&self, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        ok(200, &view::sweep(&self.registry.sweep_memory().await?))
    }

    /// Lets go what the administrator was shown: the hold of that digest, or nothing.
    pub(crate) async fn confirm_sweep(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let wanted: ConfirmSweep = body(request)?;
        let by = ChangedBy::actor(actor);
        for _ in 0..TRIES {
            let memory = self.registry.sweep_memory().await?;
            let now = self.ports.clock.now();
            let (Some(hold), Some(next)) = (&memory.hold, memory.confirmed(now)) else {
                let hint =
                    "there is nothing to confirm; `sorry admin sweep` shows what is held, when something is";
                return Err(Refusal::new(ErrorCode::Conflict, "the sweep holds nothing", hint).into());
            };
            if hold.digest != wanted.digest {
                let hint = "look again, and confirm what you see then: `sorry admin sweep`";
                return Err(Refusal::new(
                    ErrorCode::Conflict,
                    "the sweep holds other things than you saw",
                    hint,
                )
                .into());
            }
            let details = json!({
                "held_since": hold.since, "because": hold.because, "count": hold.count, "digest": hold.digest,
                "confirmed": next.confirmation.as_ref().map(|confirmation| &confirmation.roles),
            });
            let audit = sweep_audit("sweep.confirmed", &by, &self.ports.clock, details);
            if self.registry.put_sweep_memory(&next, &audit).await? == Committed::Yes {
                tracing::warn!(
                    by = actor.identity.arn,
                    digest = hold.digest,
                    "an administrator lets go what is held"
                );
                return ok(200, &view::sweep(&next));
            }
        }
        Err(StepError::new(ErrorCode::Unavailable, "what the sweep remembers keeps changing").into())
    }
}
