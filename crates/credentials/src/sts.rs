//! `AssumeRole`, with a key given and nothing else: no profile, no environment, no default chain.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::{
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::assume_role::AssumeRoleError,
};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use jiff::{Timestamp, civil::DateTime};
use secrecy::ExposeSecret;
use sorry_profiles::{AccessKeyId, SecretAccessKey, SessionToken};
use sorry_vault::{CachedSession, TemporaryCredentials};

use crate::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);

/// Over which way STS is asked.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) http_client: Option<SharedHttpClient>,
    pub(crate) time_source: SharedTimeSource,
    pub(crate) endpoint: Option<String>,
}

/// New credentials of a session.
pub(crate) async fn assume(
    way: &Way,
    key: Credentials,
    session: &CachedSession,
    seconds: i32,
) -> Result<TemporaryCredentials, Error> {
    let http_client = way.http_client.clone().ok_or(Error::Incomplete("HTTP client"))?;
    let renewal = &session.renewal;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut config = aws_sdk_sts::Config::builder();
    config.set_endpoint_url(way.endpoint.clone());
    let config = config
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(renewal.region.as_str().to_owned()))
        .credentials_provider(key)
        .http_client(http_client)
        .time_source(way.time_source.clone())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        .build();
    let answer = aws_sdk_sts::Client::from_conf(config)
        .assume_role()
        .role_arn(&renewal.role_arn)
        .role_session_name(&renewal.role_session_name)
        .external_id(renewal.external_id.expose_secret())
        .source_identity(&renewal.source_identity)
        .duration_seconds(seconds)
        .send()
        .await
        .map_err(|error| told(&error, &session.session_id))?;
    let odd = || Error::Unreachable("it gave an answer without credentials".to_owned());
    let lent = answer.credentials.ok_or_else(odd)?;
    Ok(TemporaryCredentials {
        access_key_id: AccessKeyId::parse(&lent.access_key_id).map_err(|_| odd())?,
        secret_access_key: SecretAccessKey::parse(&lent.secret_access_key).map_err(|_| odd())?,
        session_token: SessionToken::parse(&lent.session_token).map_err(|_| odd())?,
        expires_at: Timestamp::from_second(lent.expiration.secs()).map_err(|_| odd())?,
    })
}

/// Whether an error's code and words say that the request was signed at another time than AWS's; AWS's clock less ours, in seconds,
/// as far as they tell. Source: `Signature expired: <ours> is now earlier than <limit> (<AWS's> - 5 min.)` and its like.
pub fn clock_is_off(code: Option<&str>, message: &str) -> Option<Option<i64>> {
    let by_code = matches!(code, Some("RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture"));
    let by_words =
        message.starts_with("Signature expired") || message.starts_with("Signature not yet current");
    (by_code || by_words).then(|| {
        let mut times = message
            .split(|character: char| !character.is_ascii_alphanumeric())
            .filter_map(|word| DateTime::strptime("%Y%m%dT%H%M%SZ", word).ok());
        let ours = times.next()?;
        times.nth(1).map(|theirs| theirs.duration_since(ours).as_secs())
    })
}

fn told(error: &SdkError<AssumeRoleError>, id: &str) -> Error {
    let refused = error.as_service_error();
    let off = refused.and_then(|refused| clock_is_off(refused.code(), refused.message().unwrap_or_default()));
    if let Some(seconds) = off {
        return Error::Clock { seconds };
    }
    match refused {
        Some(refused) => Error::Refused {
            id: id.to_owned(),
            code: refused.code().unwrap_or("Unknown").to_owned(),
            message: said(refused.message().unwrap_or("without saying why")),
        },
        None => Error::Unreachable(causes(error)),
    }
}

/// An error and what lies behind it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    one_line(&text)
}

/// AWS's words without what may follow them: some services repeat the request's headers, token included.
fn said(message: &str) -> String {
    message
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_told_from_a_wrong_key() {
        let behind = "Signature expired: 20261121T040000Z is now earlier than 20261121T041500Z (20261121T042000Z - 5 min.)";
        assert_eq!(clock_is_off(Some("SignatureDoesNotMatch"), behind), Some(Some(1200)));
        let ahead = "Signature not yet current: 20261121T042000Z is still later than 20261121T040500Z (20261121T040000Z + 5 min.)";
        assert_eq!(clock_is_off(Some("SignatureDoesNotMatch"), ahead), Some(Some(-1200)));
        assert_eq!(clock_is_off(Some("RequestExpired"), "Request has expired."), Some(None));
        let key = "The request signature we calculated does not match the signature you provided.";
        assert_eq!(clock_is_off(Some("SignatureDoesNotMatch"), key), None);
        assert_eq!(clock_is_off(Some("AccessDenied"), "no"), None);
    }
}
