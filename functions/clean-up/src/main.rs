//! Wires the steps of the clean-up to AWS.

use sorry_aws::{
    DynamoSessions, EventBridgeBus, IamPrincipals, SystemClock, function,
    metrics::{self, Metric, Reading},
    settings,
};
use sorry_clean_up::{Input, Output};
use sorry_session::{
    Failure,
    clean_up::{clean_up_measured, give_up},
    events::ChangedBy,
    ports::Ports,
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
            Some(settings::required(settings::REGISTRY_TABLE)?),
        )
        .connected()
        .await,
        principals: IamPrincipals::new(&sdk),
        events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
        clock: SystemClock,
    };
    let by = ChangedBy::service("clean-up");
    function::serve(async |input: Input| match input.give_up {
        Some(failure) => {
            give_up(&ports, &input.session_id, failure.readable(), &by).await?;
            metrics::emit(&[Reading::new(Metric::CleanUpFailures, 1.0)]);
            Ok(Output::GivenUp)
        }
        None => {
            let failure = input.failure.map(Failure::readable);
            let report = clean_up_measured(&ports, &input.session_id, failure, &by).await?;
            if let Some(took) = report.time_to_refusal {
                metrics::emit(&[Reading::new(Metric::TimeToRefusal, took.as_secs_f64())]);
            }
            Ok(Output::from(report.outcome))
        }
    })
    .await
}
