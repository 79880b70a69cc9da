//! What every function of the workflow shares: logging, and errors that the state machine can match on.

use std::future::Future;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::{Serialize, de::DeserializeOwned};
use sorry_session::{ErrorCode, StepError};
use tracing::Instrument;

/// Starts logging: one JSON object per line on standard output, filtered by `RUST_LOG`.
pub fn start_logging() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        // CloudWatch has the time of each line.
        .without_time()
        .init();
}

/// Serves one step: reads its input, runs it, and reports its error by its stable code.
///
/// The input is read as JSON first and as the step's own type second, so that a wrong one is reported as
/// [`ErrorCode::InvalidInput`] like any other error, and not by the name of a Rust type.
///
/// # Errors
/// When the runtime's own connection is lost.
pub async fn serve<I, O, F>(step: impl Fn(I) -> F) -> Result<(), lambda_runtime::Error>
where
    I: DeserializeOwned,
    O: Serialize,
    F: Future<Output = Result<O, StepError>>,
{
    let handler = service_fn(async |event: LambdaEvent<serde_json::Value>| {
        let span = tracing::info_span!("step", request_id = %event.context.request_id);
        let session_id =
            event.payload.get("session_id").and_then(serde_json::Value::as_str).map(str::to_owned);
        async {
            let session_id = session_id.unwrap_or_default();
            let input = serde_json::from_value(event.payload)
                .map_err(|error| StepError::new(ErrorCode::InvalidInput, error.to_string()));
            let result = match input {
                // On the heap: the compiler gives up on the layout of the SDK's nested futures otherwise.
                Ok(input) => Box::pin(step(input)).await,
                Err(error) => Err(error),
            };
            match &result {
                Ok(output) => {
                    let output = serde_json::to_string(output).unwrap_or_default();
                    tracing::info!(session_id, output, "done");
                }
                Err(error) => tracing::error!(session_id, code = %error.code, %error, "failed"),
            }
            result.map_err(diagnostic)
        }
        .instrument(span)
        .await
    });
    lambda_runtime::run(handler).await
}

fn diagnostic(error: StepError) -> Diagnostic {
    Diagnostic { error_type: error.code.to_string(), error_message: error.message }
}
