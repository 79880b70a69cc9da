//! Wires the API to AWS.

use std::time::Duration;

use lambda_http::{Error, Request, service_fn};
use sorry_api::Api;
use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, S3Digests, SnsAlerts, StepFunctionsWorkflow, SystemClock,
    function, metrics, settings,
};
use sorry_gateway::http;
use sorry_session::{NamedPrincipals, decision::Rules, limits::Limits, ports::Ports};
use tracing::Instrument;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::start_logging();
    let sdk = settings::sdk().await?;
    let sessions = settings::required(settings::SESSIONS_TABLE)?;
    let audit = settings::required(settings::AUDIT_TABLE)?;
    let registry = settings::required(settings::REGISTRY_TABLE)?;
    let by_idp: Vec<String> = settings::list(settings::IDENTITY_PROVIDER_ROLES)?;
    let api = Api {
        ports: Ports {
            store: DynamoSessions::new(&sdk, sessions, audit.clone(), Some(registry.clone()))
                .connected()
                .await,
            principals: (),
            events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
            clock: SystemClock,
        },
        registry: DynamoRegistry::new(&sdk, registry, audit)
            .with_digests(S3Digests::new(&sdk, settings::required(settings::AUDIT_BUCKET)?)),
        workflow: StepFunctionsWorkflow::new(&sdk, settings::required(settings::STATE_MACHINE_ARN)?),
        alerts: SnsAlerts::new(&sdk, settings::required(settings::ALERT_TOPIC_ARN)?),
        rules: Rules {
            enabled_tiers: settings::list(settings::ENABLED_TIERS)?.into_iter().collect(),
            minimum_window: Duration::from_secs(settings::parsed(settings::MINIMUM_WINDOW_SECONDS)?),
            mfa_required: settings::parsed(settings::MFA_REQUIRED)?,
            limits: Limits {
                requests_per_minute: settings::parsed(settings::REQUESTS_PER_MINUTE)?,
                session_principals: settings::parsed(settings::MAXIMUM_SESSION_PRINCIPALS)?,
            },
        },
        administrators: NamedPrincipals::new(settings::list::<String>(settings::ADMINISTRATORS)?),
        identity_provider_roles: NamedPrincipals::new(by_idp),
        place: settings::place()?,
        random: sorry_aws::random,
    };
    let api = &api;
    lambda_http::run(service_fn(async |event: Request| {
        let span = tracing::info_span!("request", request_id = http::request_id(&event));
        async {
            let response = match http::request(&event) {
                Ok(request) => api.answer(&request).await,
                Err(refusal) => http::unreadable(refusal, &http::request_id(&event)),
            };
            let code = response.body.get("code").and_then(|code| code.as_str());
            metrics::emit(&metrics::answered(response.status, code));
            http::response(&response).map_err(Error::from)
        }
        .instrument(span)
        .await
    }))
    .await
}
