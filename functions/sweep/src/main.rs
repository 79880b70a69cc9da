//! The scheduled reconciler, wired to AWS. The steps themselves are [`sorry_session::sweep`] and, for the digests of the audit,
//! [`sorry_session::audit::digest`].

use std::time::Duration;

use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, S3Digests, SystemClock, function, settings,
};
use sorry_session::{StepError, audit::digest::write_due, ports::Ports, sweep::sweep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    function::start_logging();
    let sdk = settings::sdk().await;
    let audit = settings::required(settings::AUDIT_TABLE)?;
    let registry = DynamoRegistry::new(&sdk, settings::required(settings::REGISTRY_TABLE)?, audit.clone())
        .with_digests(S3Digests::new(&sdk, settings::required(settings::AUDIT_BUCKET)?));
    let period = Duration::from_secs(settings::parsed(settings::AUDIT_DIGEST_SECONDS)?);
    let ports = Ports {
        store: DynamoSessions::new(&sdk, settings::required(settings::SESSIONS_TABLE)?, audit, None),
        principals: IamPrincipals::new(&sdk),
        events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
        clock: SystemClock,
    };
    // The schedule sends nothing that matters.
    function::serve(async |_: serde_json::Value| {
        // Beside each other: neither takes the other's time, and the digests come whatever becomes of the sweep.
        let (report, digests) =
            tokio::join!(sweep(&ports, &registry), write_due(&registry, &registry, &ports.clock, period));
        Ok::<_, StepError>(report?.with_digests(digests))
    })
    .await
}
