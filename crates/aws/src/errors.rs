//! From the SDK's errors to the domain's four kinds. The one place that knows AWS's error codes for trouble; codes that are answers
//! (a name is taken, a row has changed) are read by the adapter that gets them.

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use sorry_session::ports::PortError;

/// Codes that mean "not now": nothing happened, and the same call may succeed later.
const THROTTLED: [&str; 12] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
    "SlowDown",
    // IAM: somebody else is writing to the same principal, or it was made a moment ago.
    "ConcurrentModification",
    "EntityTemporarilyUnmodifiable",
    // DynamoDB: another transaction holds the item.
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// The error code that AWS answered with.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// What an error means to the domain.
pub(crate) fn port_error<E: ProvideErrorMetadata>(
    call: &str,
    error: &SdkError<E, HttpResponse>,
) -> PortError {
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or("Unknown");
            // AWS's messages name principals and resources, which is what an operator needs; none of them repeats a secret.
            let text = format!("{call}: {code}: {}", service.err().message().unwrap_or("no message"));
            if THROTTLED.contains(&code) || status == 429 {
                PortError::Throttled(text)
            } else if status >= 500 || code == "RequestTimeout" || code == "ServiceFailure" {
                PortError::Unavailable(text)
            } else if invalid_principal(code, service.err().message()) {
                // A user made seconds ago cannot be named in a trust policy yet.
                PortError::Throttled(text)
            } else {
                PortError::Refused(text)
            }
        }
        SdkError::ConstructionFailure(_) => {
            PortError::Refused(format!("{call}: the request cannot be built"))
        }
        SdkError::TimeoutError(_) => PortError::Unavailable(format!("{call}: no answer in time")),
        SdkError::DispatchFailure(_) => PortError::Unavailable(format!("{call}: no connection")),
        _ => PortError::Unavailable(format!("{call}: an answer that cannot be read")),
    }
}

fn invalid_principal(code: &str, message: Option<&str>) -> bool {
    code.starts_with("MalformedPolicyDocument")
        && message.is_some_and(|text| text.contains("Invalid principal"))
}
