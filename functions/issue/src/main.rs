//! Wires the issuing of credentials to AWS.

use lambda_http::{Error, Request, service_fn};
use sorry_aws::{
    DynamoRegistry, DynamoSessions, EventBridgeBus, IamPrincipals, StsTokens, SystemClock, function, metrics,
    settings,
};
use sorry_gateway::http;
use sorry_issue::Issuer;
use sorry_session::ports::Ports;
use tracing::Instrument;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    function::start_logging();
    let sdk = settings::sdk().await?;
    let audit = settings::required(settings::AUDIT_TABLE)?;
    let issuer = Issuer {
        ports: Ports {
            store: DynamoSessions::new(
                &sdk,
                settings::required(settings::SESSIONS_TABLE)?,
                audit.clone(),
                None,
            )
            .connected()
            .await,
            principals: IamPrincipals::new(&sdk),
            events: EventBridgeBus::new(&sdk, settings::required(settings::EVENT_BUS)?),
            clock: SystemClock,
        },
        registry: DynamoRegistry::new(&sdk, settings::required(settings::REGISTRY_TABLE)?, audit),
        tokens: StsTokens::new(&sdk),
        place: settings::place()?,
    };
    let issuer = &issuer;
    lambda_http::run(service_fn(async |event: Request| {
        let span = tracing::info_span!("request", request_id = http::request_id(&event));
        async {
            let response = match http::request(&event) {
                // On the heap: the SDK's nested futures are large.
                Ok(request) => Box::pin(issuer.answer(&request)).await,
                Err(refusal) => http::unreadable(refusal, &http::request_id(&event)),
            };
            // Its code alone: an answer that is a success holds secrets.
            let code = response.body.get("code").and_then(|code| code.as_str());
            metrics::emit(&metrics::answered(response.status, code));
            http::response(&response).map_err(Error::from)
        }
        .instrument(span)
        .await
    }))
    .await
}
