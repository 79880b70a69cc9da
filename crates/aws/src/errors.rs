//! From the SDK's errors to the domain's four kinds. The one place that knows AWS's error codes for trouble; codes that are answers
//! (a name is taken, a row has changed) are read by the adapter that gets them.

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use sorry_session::ports::PortError;

/// Codes that mean "not now": nothing happened, and the same call may succeed later.
const THROTTLED: [&str; 10] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "RequestThrottled",
    "SlowDown",
    // DynamoDB: another transaction holds the item.
    "TransactionConflictException",
    // SNS: the account asks KMS for more than it may.
    "KMSThrottling",
];

/// Codes for one thing alone, so that others can go on: of IAM for a principal that somebody else is writing to, or that was made a
/// moment ago; of DynamoDB for a transaction that the SDK sent again while its first try still ran.
const BUSY: [&str; 3] =
    ["ConcurrentModification", "EntityTemporarilyUnmodifiable", "TransactionInProgressException"];

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
            let message = service.err().message();
            // AWS's messages name principals and resources, which is what an operator needs; none of them repeats a secret.
            let text = format!("{call}: {code}: {}", message.unwrap_or("no message"));
            if THROTTLED.contains(&code) || status == 429 {
                PortError::Throttled(text)
            } else if status >= 500
                || BUSY.contains(&code)
                || code == "RequestTimeout"
                || code == "ServiceFailure"
            {
                PortError::Unavailable(text)
            } else if invalid_principal(code, message) {
                PortError::UnknownPrincipal(text)
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

/// A user or role made seconds ago cannot be named in a trust policy yet, and one that is gone never.
fn invalid_principal(code: &str, message: Option<&str>) -> bool {
    code.starts_with("MalformedPolicyDocument")
        && message.is_some_and(|text| text.contains("Invalid principal"))
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::{error::ErrorMetadata, operation::create_role::CreateRoleError};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn meaning(status: u16, code: &str, message: &str) -> PortError {
        let error = CreateRoleError::generic(ErrorMetadata::builder().code(code).message(message).build());
        let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        port_error("CreateRole", &SdkError::service_error(error, answer))
    }

    #[test]
    fn an_unknown_principal_is_neither_a_throttle_nor_a_bad_policy() {
        let unknown = meaning(
            400,
            "MalformedPolicyDocument",
            "Invalid principal in policy: \"AWS\":\"arn:aws:iam::123456789012:user/x\"",
        );
        assert!(matches!(unknown, PortError::UnknownPrincipal(_)), "{unknown:?}");
        let malformed = meaning(400, "MalformedPolicyDocument", "Syntax errors in policy.");
        assert!(matches!(malformed, PortError::Refused(_)), "{malformed:?}");
    }

    #[test]
    fn what_may_pass_is_told_from_what_may_not() {
        for (status, code, expected) in [
            (400, "Throttling", PortError::Throttled(String::new())),
            (400, "KMSThrottling", PortError::Throttled(String::new())),
            (429, "Other", PortError::Throttled(String::new())),
            (409, "ConcurrentModification", PortError::Unavailable(String::new())),
            (500, "ServiceFailure", PortError::Unavailable(String::new())),
            (403, "AccessDenied", PortError::Refused(String::new())),
            (409, "LimitExceeded", PortError::Refused(String::new())),
        ] {
            let found = meaning(status, code, "no");
            assert_eq!(
                std::mem::discriminant(&found),
                std::mem::discriminant(&expected),
                "{code}: {found:?}"
            );
        }
    }
}
