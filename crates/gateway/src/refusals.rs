//! The record that a refusal leaves.

use sorry_session::{
    Actor, Refusal, StepError,
    audit::refusal::{Attempt, note, tally_key},
    ports::{AuditLog, Clock, Committed},
};

use crate::Request;

/// How often a tally of refusals is read again that somebody else has written to.
const TALLY_TRIES: usize = 3;

/// Leaves a record of a refusal of a registered caller, or counts it. The refusal stands whatever becomes of that.
pub async fn note_refusal(
    log: &impl AuditLog,
    clock: &impl Clock,
    request: &Request,
    actor: &Actor,
    refusal: &Refusal,
) {
    if actor.entry.is_none() {
        return;
    }
    let operation = format!("{} {}", request.method, request.resource);
    let attempt = Attempt { operation: &operation, path: &request.path, request_id: &request.request_id };
    for _ in 0..TALLY_TRIES {
        match try_to_note(log, clock, actor, refusal, attempt).await {
            Ok(Committed::Yes) => return,
            Ok(Committed::Superseded) => {}
            Err(error) => {
                tracing::error!(%error, caller = actor.identity.unique_id, "a refusal was not recorded");
                return;
            }
        }
    }
    tracing::warn!(caller = actor.identity.unique_id, "a refusal was not counted: too many at once");
}

async fn try_to_note(
    log: &impl AuditLog,
    clock: &impl Clock,
    actor: &Actor,
    refusal: &Refusal,
    attempt: Attempt<'_>,
) -> Result<Committed, StepError> {
    let before = log.refusal_tally(&tally_key(actor, refusal)).await?;
    match note(actor, refusal, attempt, before.as_ref(), clock) {
        Some(note) => Ok(log.record_refusal(&note, before.as_ref()).await?),
        None => Ok(Committed::Yes),
    }
}
