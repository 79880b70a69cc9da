//! The scheduled reconciler, wired to AWS. The steps themselves are [`sorry_session::sweep`] and, for the digests of the audit,
//! [`sorry_session::audit::digest`].

use std::time::Duration;

use std::time::Instant;

use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, S3Digests, SystemClock, function, metrics,
    settings,
};
use sorry_session::{StepError, audit::digest::write_due, ports::Ports, sweep::sweep_measured};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await?;
    let audit = settings::required(settings::AUDIT_TABLE)?;
    let registry_table = settings::required(settings::REGISTRY_TABLE)?;
    let registry = DynamoRegistry::new(&sdk, registry_table.clone(), audit.clone())
        .with_digests(S3Digests::new(&sdk, settings::required(settings::AUDIT_BUCKET)?));
    let period = Duration::from_secs(settings::parsed(settings::AUDIT_DIGEST_SECONDS)?);
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
        // Beside each other: neither takes the other's time, and the digests come whatever becomes of the sweep.
        let (swept, digests) = tokio::join!(
            sweep_measured(&ports, &registry),
            write_due(&registry, &registry, &ports.clock, period)
        );
        let (report, seen) = swept?;
        let report = report.with_digests(digests);
        for session_id in &seen.clean_up_failed {
            tracing::warn!(failed_session = %session_id, "CLEAN_UP_FAILED: something of it is left");
        }
        metrics::emit(&metrics::swept(&report, &seen, begun.elapsed().as_secs_f64() * 1000.0, role_quota));
        Ok::<_, StepError>(report)
    })
    .await
}
