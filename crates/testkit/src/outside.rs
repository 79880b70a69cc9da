//! The workflows, the bus and the alert topic.

use serde_json::{Value, json};
use sorry_session::{
    Session,
    events::OutboxEntry,
    ports::{Alerts, EventBus, PortError, Workflow},
};

use crate::{World, world::Inner};

/// An execution of the state machine that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name, unique for ever.
    pub name: String,
    /// Its input.
    pub input: Value,
}

impl Inner {
    fn start(&mut self, name: String, session: &Session, operation: &str) {
        // A name that was used is the execution that was meant: see `sorry-aws`.
        if !self.starts.iter().any(|start| start.name == name) {
            let input = json!({
                "version": 1,
                "session_id": session.session_id,
                "operation": operation,
                "expires_at": session.expires_at,
                "alert_first": session.alert,
            });
            self.starts.push(Start { name, input });
        }
    }
}

impl Workflow for World {
    async fn start_grant(&self, session: &Session) -> Result<(), PortError> {
        let session = session.clone();
        self.call("start_grant", session.session_id.to_string(), move |inner| {
            inner.start(session.session_id.to_string(), &session, "grant");
            Ok(())
        })
        .await
    }

    async fn start_extension(&self, session: &Session) -> Result<(), PortError> {
        let session = session.clone();
        self.call("start_extension", session.session_id.to_string(), move |inner| {
            inner.start(format!("{}-extend-{}", session.session_id, session.fence), &session, "extend");
            Ok(())
        })
        .await
    }

    async fn start_end(&self, session: &Session) -> Result<(), PortError> {
        let session = session.clone();
        self.call("start_end", session.session_id.to_string(), move |inner| {
            inner.start(format!("{}-end-{}", session.session_id, session.fence), &session, "end");
            Ok(())
        })
        .await
    }
}

impl EventBus for World {
    async fn publish(&self, events: &[OutboxEntry]) -> Result<(), PortError> {
        let events = events.to_vec();
        let about = events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>().join(" ");
        self.call("publish", about, move |inner| {
            inner.published.extend(events);
            Ok(())
        })
        .await
    }
}

impl Alerts for World {
    async fn confirmed_subscribers(&self) -> Result<u64, PortError> {
        self.call("confirmed_subscribers", String::new(), |inner| Ok(inner.subscribers)).await
    }

    async fn send(&self, subject: &str, message: &str) -> Result<(), PortError> {
        let (subject, message) = (subject.to_owned(), message.to_owned());
        self.call("send", subject.clone(), move |inner| {
            inner.alerts.push((subject, message));
            Ok(())
        })
        .await
    }
}

/// What a test sees, or sets, of all that.
impl World {
    /// The executions that were started, in order.
    pub fn starts(&self) -> Vec<Start> {
        self.inner().starts.clone()
    }

    /// Says that an execution was started, by whomever.
    pub(crate) fn plant_start(&self, start: Start) {
        self.inner().starts.push(start);
    }

    /// The events that were published, in order, repeats included.
    pub fn published(&self) -> Vec<OutboxEntry> {
        self.inner().published.clone()
    }

    /// The alerts that were sent: subject and message.
    pub fn alerts(&self) -> Vec<(String, String)> {
        self.inner().alerts.clone()
    }

    /// How many people have confirmed that they want to hear of alerts.
    pub fn set_subscribers(&self, count: u64) {
        self.inner().subscribers = count;
    }
}
