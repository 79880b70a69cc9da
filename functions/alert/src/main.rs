//! Wires the step `alert` to AWS.

use sorry_alert::{Input, alert};
use sorry_aws::{DynamoSessions, SnsAlerts, function, settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await?;
    let alerts = SnsAlerts::new(&sdk, settings::required(settings::ALERT_TOPIC_ARN)?);
    let store = DynamoSessions::reader(&sdk, settings::required(settings::SESSIONS_TABLE)?);
    function::serve(async |input: Input| alert(&store, &alerts, &input).await).await
}
