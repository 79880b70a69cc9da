//! Wires the steps of the clean-up to AWS.

use sorry_aws::{DynamoSessions, EventBridgeBus, IamPrincipals, SystemClock, function, settings};
use sorry_clean_up::{Input, Output};
use sorry_session::{
    Failure,
    clean_up::{clean_up, give_up},
    events::ChangedBy,
    ports::Ports,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await;
    let ports = Ports {
        store: DynamoSessions::new(
            &sdk,
            settings::required(settings::SESSIONS_TABLE)?,
            settings::required(settings::AUDIT_TABLE)?,
            Some(settings::required(settings::REGISTRY_TABLE)?),
        ),
        principals: IamPrincipals::new(&sdk),
        events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
        clock: SystemClock,
    };
    let by = ChangedBy::service("clean-up");
    function::serve(async |input: Input| match input.give_up {
        Some(failure) => {
            give_up(&ports, &input.session_id, failure.readable(), &by).await?;
            Ok(Output::GivenUp)
        }
        None => {
            let outcome =
                clean_up(&ports, &input.session_id, input.failure.map(Failure::readable), &by).await?;
            Ok(Output::from(outcome))
        }
    })
    .await
}
