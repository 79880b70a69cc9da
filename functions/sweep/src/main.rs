//! The scheduled reconciler, wired to AWS. The step itself is [`sorry_session::sweep`].

use std::time::Instant;

use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, SystemClock, function, metrics, settings,
};
use sorry_session::{ports::Ports, sweep::sweep_measured};

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
    let role_quota = settings::parsed(settings::ROLE_QUOTA)?;
    // The schedule sends nothing that matters.
    function::serve(async |_: serde_json::Value| {
        let begun = Instant::now();
        let (report, seen) = sweep_measured(&ports, &registry).await?;
        for session_id in &seen.clean_up_failed {
            tracing::warn!(failed_session = %session_id, "CLEAN_UP_FAILED: something of it is left");
        }
        metrics::emit(&metrics::swept(&report, &seen, begun.elapsed().as_secs_f64() * 1000.0, role_quota));
        Ok(report)
    })
    .await
}
