//! Lifecycle events on EventBridge.

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};
use sorry_session::{
    events::OutboxEntry,
    ports::{EventBus, PortError},
};

use crate::errors::port_error;

/// The `source` of every event of this service.
const SOURCE: &str = "sorry";
/// Most entries that one PutEvents takes.
const BATCH: usize = 10;

/// The service's event bus.
#[derive(Clone, Debug)]
pub struct EventBridgeBus {
    client: Client,
    bus: String,
}

impl EventBridgeBus {
    /// The bus of that name.
    pub fn new(config: &aws_config::SdkConfig, bus: String) -> Self {
        Self { client: Client::new(config), bus }
    }
}

impl EventBus for EventBridgeBus {
    async fn publish(&self, events: &[OutboxEntry]) -> Result<(), PortError> {
        for batch in events.chunks(BATCH) {
            let entries = batch
                .iter()
                .map(|event| {
                    PutEventsRequestEntry::builder()
                        .source(SOURCE)
                        .event_bus_name(&self.bus)
                        .detail_type(&event.detail_type)
                        .detail(event.detail.to_string())
                        .time(DateTime::from_secs(event.at.as_second()))
                        .build()
                })
                .collect();
            let answer = self.client.put_events().set_entries(Some(entries)).send().await;
            let answer = answer.map_err(|error| port_error("PutEvents", &error))?;
            if answer.failed_entry_count() > 0 {
                return Err(PortError::Unavailable(format!(
                    "PutEvents: {} entries failed",
                    answer.failed_entry_count()
                )));
            }
        }
        Ok(())
    }
}
