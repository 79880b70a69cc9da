//! Committing a change and telling the world of it.

use crate::{
    Change, Session,
    ports::{Clock, Committed, EventBus, PortError, Ports, SessionStore},
};

/// Commits `change`, then publishes what waits in the row's outbox and takes it out.
///
/// Publishing may fail without the change failing: the entries stay in the row and the sweep publishes them. The answer is the
/// session as it stands now, or `None` when somebody else had changed it.
///
/// # Errors
/// When it is not known whether the change is written.
pub async fn commit<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    change: Change,
) -> Result<Option<Session>, PortError> {
    match ports.store.commit(&change).await? {
        Committed::Superseded => Ok(None),
        Committed::Yes => Ok(Some(flush_if_last(ports, change.session).await)),
    }
}

/// Most states are followed at once by the next one of the same step, which carries their events along: to publish those then
/// saves a write, and nobody's end waits for those who listen. The last state of a step publishes for all of them.
async fn flush_if_last<S: SessionStore, P, E: EventBus, C: Clock>(
    ports: &Ports<S, P, E, C>,
    session: Session,
) -> Session {
    use crate::State::{Expiring, Failing, Provisioning, Requested, Revoking};
    if matches!(session.state, Requested | Provisioning | Expiring | Failing | Revoking) {
        return session;
    }
    // An error is no loss: the sweep finds what is left in the outbox.
    flush(ports, &session).await.unwrap_or(session)
}

/// Publishes what waits in the outbox and takes it out.
///
/// # Errors
/// When publishing or writing failed; the entries are still in the row then, and may be published twice.
pub async fn flush<S: SessionStore, P, E: EventBus, C>(
    ports: &Ports<S, P, E, C>,
    session: &Session,
) -> Result<Session, PortError> {
    if session.outbox.is_empty() {
        return Ok(session.clone());
    }
    ports.events.publish(&session.outbox).await?;
    let emptied = Session { outbox: Vec::new(), ..session.clone() };
    match ports.store.acknowledge(&emptied).await? {
        Committed::Yes => Ok(emptied),
        // Whoever changed the row carries the entries along; they will be published once more.
        Committed::Superseded => Ok(session.clone()),
    }
}
