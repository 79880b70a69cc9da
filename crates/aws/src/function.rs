//! What every function of the workflow shares: logging, and errors that the state machine can match on.

use std::future::Future;

use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sorry_session::{ErrorCode, StepError};
use tracing::Instrument;
use tracing_subscriber::{
    Layer, fmt::MakeWriter, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

/// Starts logging: one JSON object per line on standard output, filtered by `RUST_LOG`.
pub fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::registry().with(lines(std::io::stdout).with_filter(filter)).init();
}

fn lines<W, S>(writer: W) -> impl Layer<S>
where
    W: for<'w> MakeWriter<'w> + 'static,
    S: tracing::Subscriber + for<'s> LookupSpan<'s>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        // CloudWatch has the time of each line.
        .without_time()
        .with_writer(writer)
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
    let handler = service_fn(async |event: LambdaEvent<Value>| {
        let span = span(&event.context.request_id, &event.payload);
        async {
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
                    tracing::info!(output, "done");
                }
                Err(error) => tracing::error!(code = %error.code, %error, "failed"),
            }
            result.map_err(diagnostic)
        }
        .instrument(span)
        .await
    });
    lambda_runtime::run(handler).await
}

/// What every line of a step carries: the function's request, and the session, which the workflow names and an event has in its
/// detail.
fn span(request_id: &str, payload: &Value) -> tracing::Span {
    let session_id = payload.get("session_id").or_else(|| payload.get("detail")?.get("session_id"));
    tracing::info_span!("step", request_id, session_id = session_id.and_then(|id| id.as_str()))
}

fn diagnostic(error: StepError) -> Diagnostic {
    Diagnostic { error_type: error.code.to_string(), error_message: error.message }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::json;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_of_a_step_says_which_request_and_which_session() {
        for (payload, session) in [
            (json!({"session_id": "0123456789abcdef", "moment": "granting"}), json!("0123456789abcdef")),
            (
                json!({"detail-type": "Session State Change", "detail": {"session_id": "0123456789abcdef"}}),
                json!("0123456789abcdef"),
            ),
            (json!({"detail-type": "Sweep Held", "detail": {}}), Value::Null),
            (json!("nothing"), Value::Null),
        ] {
            let log = Log::default();
            let writer = log.clone();
            let subscriber = tracing_subscriber::registry().with(lines(move || writer.clone()));
            tracing::subscriber::with_default(subscriber, || {
                span("r-1", &payload).in_scope(|| tracing::info!(iam_request_id = "i-1", "somewhere inside"));
            });
            let line: Value = serde_json::from_slice(&log.0.lock().unwrap()).unwrap();
            assert_eq!(line["span"]["request_id"], "r-1", "{line}");
            assert_eq!(line["span"]["session_id"], session, "{line}");
            assert!(line.get("request_id").is_none(), "{line}");
        }
    }
}
