//! Wires the steps `provision` and `extend` to AWS.

use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, SystemClock, function,
    metrics::{self, Metric, Reading},
    settings,
};
use sorry_provision::{Input, Output, Step};
use sorry_session::{
    events::ChangedBy,
    extend::{extend, not_extended},
    ports::Ports,
    provision::provision,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await?;
    let ports = Ports {
        store: DynamoSessions::new(
            &sdk,
            settings::required(settings::SESSIONS_TABLE)?,
            settings::required(settings::AUDIT_TABLE)?,
            None,
        )
        .connected()
        .await,
        principals: IamPrincipals::new(&sdk),
        events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
        clock: SystemClock,
    };
    let tiers = DynamoRegistry::reader(&sdk, settings::required(settings::REGISTRY_TABLE)?);
    let place = settings::place()?;
    function::serve(async |input: Input| {
        let id = &input.session_id;
        let expires_at = match (input.step, input.failure) {
            (Step::Grant, _) => {
                let granted = provision(&ports, id, &tiers, &place).await?;
                if let Some(took) = granted.time_to_active {
                    metrics::emit(&[Reading::new(Metric::TimeToActive, took.as_secs_f64())]);
                }
                granted.expires_at
            }
            (Step::Extend, None) => extend(&ports, id, &tiers, &place).await?,
            (Step::Extend, Some(failure)) => {
                let by = ChangedBy::service("provision");
                not_extended(&ports, id, failure.readable(), &by).await?
            }
        };
        Ok(Output { expires_at: expires_at.to_string() })
    })
    .await
}
