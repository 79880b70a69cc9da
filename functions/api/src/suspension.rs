//! Suspended callers: the entry stays, and opens nothing until an administrator says otherwise.

use sorry_session::{
    Actor, CallerEntry, ErrorCode, Refusal,
    caller::Suspension,
    decision::suspended,
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::CallerSuspended;

use crate::{Api, ApiError, Request, Response, callers::administrators_only, ok, view};

/// How often a suspension is tried that others got in the way of.
const SUSPENSION_TRIES: usize = 5;

/// A suspended caller may learn that it is one. What the deployment gives to an administrator does not depend on the registry.
pub(crate) fn check(request: &Request, actor: &Actor) -> Result<(), Refusal> {
    let Some(entry) = actor.entry.as_ref().filter(|entry| entry.suspended.is_some()) else { return Ok(()) };
    let administers = actor.is_administrator() && request.resource.starts_with("/admin/");
    if administers || request.resource == "/whoami" { Ok(()) } else { Err(suspended(entry)) }
}

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    /// The entry goes first, so that nothing new can be asked for while what there is is being ended. Asked again, it ends what is left.
    pub(crate) async fn suspend_caller(&self, id: &str, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let mut tries = 0;
        let entry = loop {
            let before = self.registered_caller(id).await?;
            if before.suspended.is_some() {
                break before;
            }
            let suspension = Suspension { at: self.ports.clock.now(), by: actor.identity.arn.clone() };
            let entry = CallerEntry { suspended: Some(suspension), ..before.clone() };
            tries += 1;
            match self.write_caller(&entry, Some(&before), "caller.suspended", actor).await {
                // Whoever registers the caller anew at this moment does not keep it from being suspended.
                Err(ApiError::Refusal(refusal))
                    if refusal.code == ErrorCode::Conflict && tries < SUSPENSION_TRIES => {}
                written => {
                    written?;
                    break entry;
                }
            }
        };
        let ended = self.end_sessions_of(id, actor).await?;
        ok(200, &CallerSuspended { caller: view::caller(&entry), ended })
    }

    /// Lifts a suspension; what was ended stays so.
    pub(crate) async fn resume_caller(&self, id: &str, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let before = self.registered_caller(id).await?;
        let entry = CallerEntry { suspended: None, ..before.clone() };
        if before.suspended.is_some() {
            self.write_caller(&entry, Some(&before), "caller.resumed", actor).await?;
        }
        ok(200, &view::caller(&entry))
    }

    async fn registered_caller(&self, id: &str) -> Result<CallerEntry, ApiError> {
        let hint = "`sorry admin callers list` shows them";
        let unknown = || Refusal::new(ErrorCode::NotFound, format!("there is no caller `{id}`"), hint);
        Ok(self.registry.caller(id).await?.ok_or_else(unknown)?)
    }
}
