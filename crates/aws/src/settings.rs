//! The functions' settings: every environment variable that they read, and the SDK's configuration.

use std::time::Duration;

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use sorry_policy::{AccountId, Partition, Region};
use sorry_session::provision::Place;

/// Table of sessions.
pub const SESSIONS_TABLE: &str = "SORRY_SESSIONS_TABLE";
/// Table of callers.
pub const REGISTRY_TABLE: &str = "SORRY_REGISTRY_TABLE";
/// Table of audit records.
pub const AUDIT_TABLE: &str = "SORRY_AUDIT_TABLE";
/// Bucket of the audit's digests.
pub const AUDIT_BUCKET: &str = "SORRY_AUDIT_BUCKET";
/// Length of the period that one digest of the audit covers, in seconds.
pub const AUDIT_DIGEST_SECONDS: &str = "SORRY_AUDIT_DIGEST_SECONDS";
/// Bus for events.
pub const EVENT_BUS: &str = "SORRY_EVENT_BUS";
/// Topic for alerts.
pub const ALERT_TOPIC_ARN: &str = "SORRY_ALERT_TOPIC_ARN";
/// State machine of sessions.
pub const STATE_MACHINE_ARN: &str = "SORRY_STATE_MACHINE_ARN";
/// Tiers that are lent, separated by commas.
pub const ENABLED_TIERS: &str = "SORRY_ENABLED_TIERS";
/// Shortest window, in seconds.
pub const MINIMUM_WINDOW_SECONDS: &str = "SORRY_MINIMUM_WINDOW_SECONDS";
/// Whether tiers that want MFA get it: `true` or `false`.
pub const MFA_REQUIRED: &str = "SORRY_MFA_REQUIRED";
/// How many requests for sessions and extensions one caller may make in a minute.
pub const REQUESTS_PER_MINUTE: &str = "SORRY_REQUESTS_PER_MINUTE";
/// How many session principals there may be when another session is asked for.
pub const MAXIMUM_SESSION_PRINCIPALS: &str = "SORRY_MAXIMUM_SESSION_PRINCIPALS";
/// ARNs of the deployment's administrators, separated by commas.
pub const ADMINISTRATORS: &str = "SORRY_ADMINISTRATORS";
/// ARNs of roles that people get only after their identity provider asked for MFA, separated by commas.
pub const IDENTITY_PROVIDER_ROLES: &str = "SORRY_IDENTITY_PROVIDER_ROLES";
/// The partition of the account: `aws`, or another one.
pub const PARTITION: &str = "SORRY_PARTITION";
/// The service's account.
pub const ACCOUNT_ID: &str = "SORRY_ACCOUNT_ID";
/// ARN of the boundaries up to the tier's name.
pub const BOUNDARY_ARN_PREFIX: &str = "SORRY_BOUNDARY_ARN_PREFIX";
/// How many roles sessions may have of the account's quota, for the metric.
pub const ROLE_QUOTA: &str = "SORRY_ROLE_QUOTA";
/// The region; Lambda sets it.
const AWS_REGION: &str = "AWS_REGION";

/// A setting that is missing or cannot be used. The function then does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// It is not set.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// It is set to something else than it must be.
    #[error("the environment variable {0} cannot be used: {1}")]
    Unusable(&'static str, String),
}

/// Reads a setting.
///
/// # Errors
/// When it is missing or empty.
pub fn required(name: &'static str) -> Result<String, SettingError> {
    read(name).and_then(|value| if value.is_empty() { Err(SettingError::Missing(name)) } else { Ok(value) })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place where functions read the environment")]
fn read(name: &'static str) -> Result<String, SettingError> {
    std::env::var(name).map_err(|_| SettingError::Missing(name))
}

/// Reads a setting of another type than text.
///
/// # Errors
/// When it is missing, empty or of another form.
pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &'static str) -> Result<T, SettingError> {
    required(name)?.parse().map_err(|error: T::Err| SettingError::Unusable(name, error.to_string()))
}

/// Reads a list that is separated by commas; it may be empty.
///
/// # Errors
/// When it is missing, or one of its items is of another form.
pub fn list<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
) -> Result<Vec<T>, SettingError> {
    read(name)?
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| item.parse().map_err(|error: T::Err| SettingError::Unusable(name, error.to_string())))
        .collect()
}

/// Where the service lives.
///
/// # Errors
/// When a setting is missing or cannot be used.
pub fn place() -> Result<Place, SettingError> {
    Ok(Place {
        account: parsed::<AccountId>(ACCOUNT_ID)?,
        region: parsed::<Region>(AWS_REGION)?,
        partition: parsed::<Partition>(PARTITION)?,
        boundary_arn_prefix: required(BOUNDARY_ARN_PREFIX)?,
    })
}

/// The certificate authorities of Amazon Trust Services. Source: <https://www.amazontrust.com/repository/>.
const AMAZON_TRUST_SERVICES: &[u8] = include_bytes!("amazon-trust-services.pem");

/// Whom a function believes that it talks to AWS. In the partition `aws` every endpoint's certificate comes from Amazon's own
/// authorities; to read those five instead of the system's 140 or so takes most of the time out of a function's start, and leaves
/// nobody else who could vouch for a false endpoint. What other partitions use is not promised: there it is the system's.
fn trust_store(partition: &str) -> TrustStore {
    match partition {
        "aws" => TrustStore::empty().with_pem_certificate(AMAZON_TRUST_SERVICES),
        _ => TrustStore::default(),
    }
}

/// The SDK's configuration: credentials and region from the function's environment, `ring` for TLS, and time-outs that leave a
/// function the time to say what happened.
///
/// # Errors
/// When the partition is not set.
pub async fn sdk() -> Result<SdkConfig, SettingError> {
    let trust_store = trust_store(&required(PARTITION)?);
    let tls = TlsContext::builder()
        .with_trust_store(trust_store)
        .build()
        .map_err(|error| SettingError::Unusable(PARTITION, error.to_string()))?;
    let http_client =
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls).build_https();
    Ok(aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(2))
                .operation_attempt_timeout(Duration::from_secs(4))
                .operation_timeout(Duration::from_secs(8))
                .build(),
        )
        .load()
        .await)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::base64;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// The SHA-256 of each certificate, as browsers and Debian's `ca-certificates` know them.
    const KNOWN: [&str; 5] = [
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ];

    #[test]
    fn the_authorities_are_amazons() {
        let text = std::str::from_utf8(AMAZON_TRUST_SERVICES).expect("text");
        let found: Vec<String> = text
            .split("-----BEGIN CERTIFICATE-----")
            .skip(1)
            .map(|rest| {
                let (body, _) = rest.split_once("-----END CERTIFICATE-----").expect("an end");
                let certificate =
                    base64::decode(body.split_whitespace().collect::<String>()).expect("base64");
                Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect()
            })
            .collect();
        assert_eq!(found, KNOWN);
    }
}
