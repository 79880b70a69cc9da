//! `AssumeRole`, with a key given and nothing else: no profile, no environment, no default chain.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::{
    config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::assume_role::AssumeRoleError,
};
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::{http::SharedHttpClient, orchestrator::HttpResponse};
use aws_smithy_types::{DateTime, date_time::Format};
use jiff::Timestamp;
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
        .map_err(|error| told(&error, &session.session_id, &way.time_source))?;
    let odd = || Error::Unreachable("it gave an answer without credentials".to_owned());
    let lent = answer.credentials.ok_or_else(odd)?;
    Ok(TemporaryCredentials {
        access_key_id: AccessKeyId::parse(&lent.access_key_id).map_err(|_| odd())?,
        secret_access_key: SecretAccessKey::parse(&lent.secret_access_key).map_err(|_| odd())?,
        session_token: SessionToken::parse(&lent.session_token).map_err(|_| odd())?,
        expires_at: Timestamp::from_second(lent.expiration.secs()).map_err(|_| odd())?,
    })
}

/// Whether an answer says that the request was signed at another time than AWS's; the difference then, as far as it is known.
pub fn clock_is_off<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
    now: Timestamp,
) -> Option<Option<i64>> {
    let refused = error.as_service_error()?;
    let message = refused.message().unwrap_or_default();
    let by_code =
        matches!(refused.code(), Some("RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture"));
    let by_words =
        message.starts_with("Signature expired") || message.starts_with("Signature not yet current");
    if !by_code && !by_words {
        return None;
    }
    let date = error.raw_response().and_then(|response| response.headers().get("date"));
    let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    Some(date.map(|date| date.secs() - now.as_second()))
}

fn told(error: &SdkError<AssumeRoleError, HttpResponse>, id: &str, time: &SharedTimeSource) -> Error {
    let now = Timestamp::try_from(time.now()).unwrap_or_default();
    if let Some(seconds) = clock_is_off(error, now) {
        return Error::Clock { seconds };
    }
    match error.as_service_error() {
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
