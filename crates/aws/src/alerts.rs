//! Alerts through SNS.

use aws_sdk_sns::Client;
use sorry_session::ports::{Alerts, PortError};

use crate::errors::port_error;

/// The attribute that counts who has confirmed. Source: SNS GetTopicAttributes.
const CONFIRMED: &str = "SubscriptionsConfirmed";

/// The alert topic.
#[derive(Clone, Debug)]
pub struct SnsAlerts {
    client: Client,
    topic_arn: String,
}

impl SnsAlerts {
    /// The topic of that ARN.
    pub fn new(config: &aws_config::SdkConfig, topic_arn: String) -> Self {
        Self { client: Client::new(config), topic_arn }
    }
}

impl Alerts for SnsAlerts {
    async fn confirmed_subscribers(&self) -> Result<u64, PortError> {
        let answer = self.client.get_topic_attributes().topic_arn(&self.topic_arn).send().await;
        let answer = answer.map_err(|error| port_error("GetTopicAttributes", &error))?;
        let confirmed = answer.attributes().and_then(|attributes| attributes.get(CONFIRMED));
        // No number is no subscriber: alerts fail closed.
        Ok(confirmed.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    async fn send(&self, subject: &str, message: &str) -> Result<(), PortError> {
        let call = self.client.publish().topic_arn(&self.topic_arn).subject(subject).message(message);
        call.send().await.map(|_| ()).map_err(|error| port_error("Publish", &error))
    }
}
