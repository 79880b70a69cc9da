//! The scheduled reconciler, wired to AWS. The step itself is [`sorry_session::sweep`].

use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, SystemClock, function, settings,
};
use sorry_session::{ports::Ports, sweep::sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await;
    let audit = settings::required(settings::AUDIT_TABLE)?;
    let registry_table = settings::required(settings::REGISTRY_TABLE)?;
    let registry = DynamoRegistry::new(&sdk, registry_table.clone(), audit.clone());
    let ports = Ports {
        store: DynamoSessions::new(
            &sdk,
            settings::required(settings::SESSIONS_TABLE)?,
            audit,
            Some(registry_table),
        ),
        principals: IamPrincipals::new(&sdk),
        events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
        clock: SystemClock,
    };
    // The schedule sends nothing that matters.
    function::serve(async |_: serde_json::Value| sweep(&ports, &registry).await).await
}
