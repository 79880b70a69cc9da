//! Keeping to the limits; what they are says [`sorry_session::limits`].

use sorry_session::{
    Actor, Refusal, Session,
    decision::registered,
    limits::{RequestCount, at_capacity, place_free_at, too_many_sessions},
    ports::{Alerts, Clock, EventBus, Registry, SessionScope, SessionStore, Workflow},
};

use crate::{Api, ApiError};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    /// Counts a request for something to be made or kept, unless the caller has made too many in this minute.
    pub(crate) async fn count_request(&self, client_request_id: &str, actor: &Actor) -> Result<(), ApiError> {
        let now = self.ports.clock.now();
        let most = self.rules.limits.requests_per_minute;
        // By the entry: of a role that is registered as a whole everybody could choose another name for each session.
        let entry = registered(actor)?;
        let count = RequestCount::new(&entry.unique_id, client_request_id, now);
        if self.registry.count_request(&count, most).await? {
            return Ok(());
        }
        Err(count.too_many(most, now).into())
    }

    /// The answer to who asked for a session and has the `most` of its tier that it may have.
    pub(crate) async fn too_many_sessions(&self, asked: &Session, most: u32) -> Refusal {
        let scope = SessionScope::Person(asked.person.to_string());
        // The newest of the person. The list may lag, and fail: then it is not said when, and refused all the same.
        let sessions = match self.ports.store.list(&scope, None).await {
            Ok(page) => page.sessions,
            Err(error) => {
                tracing::warn!(%error, "it is not known when a place is free");
                Vec::new()
            }
        };
        let now = self.ports.clock.now();
        too_many_sessions(&asked.tier, most, place_free_at(&sessions, asked, now), now)
    }

    /// Why no further session can be lent to anybody now, if so.
    pub(crate) async fn at_capacity(&self) -> Result<Option<Refusal>, ApiError> {
        let counted = self.registry.session_principals().await?;
        Ok(counted.and_then(|counted| at_capacity(counted, &self.rules.limits)))
    }
}
