//! Credentials that the service makes: access keys of session users, session tokens by them, and standing roles.
//!
//! Nothing in here is logged: what AWS answers holds secrets.

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_iam::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sts::{
    Client,
    types::{Credentials as Answered, Tag},
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sorry_policy::RoleName;
use sorry_session::{
    ports::{AccessKey, LentCredentials, PortError, TokenIssuer, Tokens},
    provision::StandingPlan,
};

use crate::errors::{code, port_error};

/// IAM and STS, for credentials.
#[derive(Clone, Debug)]
pub struct StsTokens {
    iam: aws_sdk_iam::Client,
    sts: Client,
    sdk: SdkConfig,
}

impl StsTokens {
    /// IAM and STS of the function's own account.
    pub fn new(config: &SdkConfig) -> Self {
        Self { iam: aws_sdk_iam::Client::new(config), sts: Client::new(config), sdk: config.clone() }
    }
}

/// What STS answered, as the domain has it.
fn lent(call: &str, answered: Option<Answered>) -> Result<LentCredentials, PortError> {
    let answered = answered.ok_or_else(|| PortError::Unreadable(format!("{call}: no credentials")))?;
    let expires_at = Timestamp::from_second(answered.expiration.secs())
        .map_err(|_| PortError::Unreadable(format!("{call}: no end")))?;
    Ok(LentCredentials {
        access_key_id: answered.access_key_id,
        secret_access_key: SecretString::from(answered.secret_access_key),
        session_token: SecretString::from(answered.session_token),
        expires_at,
    })
}

impl TokenIssuer for StsTokens {
    async fn create_key(&self, user: &RoleName) -> Result<Option<AccessKey>, PortError> {
        // Once, and not as often as the SDK likes: sent again after an answer that got lost, it makes a second key, and nobody ever
        // hears of the first.
        let once = aws_sdk_iam::config::Builder::new().retry_config(RetryConfig::disabled());
        let call = self.iam.create_access_key().user_name(user.as_str()).customize().config_override(once);
        match call.send().await {
            Ok(answer) => {
                let key = answer
                    .access_key
                    .ok_or_else(|| PortError::Unreadable("CreateAccessKey: no key".to_owned()))?;
                Ok(Some(AccessKey {
                    id: key.access_key_id,
                    secret: SecretString::from(key.secret_access_key),
                }))
            }
            Err(error) if code(&error) == Some("NoSuchEntity") => Ok(None),
            Err(error) => Err(port_error("CreateAccessKey", &error)),
        }
    }

    async fn delete_key(&self, user: &RoleName, id: &str) -> Result<(), PortError> {
        match self.iam.delete_access_key().user_name(user.as_str()).access_key_id(id).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(port_error("DeleteAccessKey", &error)),
        }
    }

    async fn session_token(&self, key: &AccessKey, seconds: i32) -> Result<Tokens, PortError> {
        let secret = key.secret.expose_secret();
        let credentials = Credentials::new(key.id.as_str(), secret, None, None, "sorry");
        let provider = SharedCredentialsProvider::new(credentials);
        let sts = Client::new(&self.sdk.to_builder().credentials_provider(provider).build());
        match sts.get_session_token().duration_seconds(seconds).send().await {
            Ok(answer) => lent("GetSessionToken", answer.credentials).map(Tokens::Lent),
            Err(error) if code(&error) == Some("InvalidClientTokenId") => Ok(Tokens::NotYet),
            Err(error) => Err(port_error("GetSessionToken", &error)),
        }
    }

    async fn assume_standing(&self, plan: &StandingPlan, seconds: i32) -> Result<LentCredentials, PortError> {
        let tags: Result<Vec<_>, _> =
            plan.tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect();
        let tags = tags.map_err(|error| PortError::Refused(format!("AssumeRole: {error}")))?;
        let call = self
            .sts
            .assume_role()
            .role_arn(&plan.arn)
            .role_session_name(&plan.role_session_name)
            .source_identity(plan.source_identity.as_str())
            .policy(&plan.session_policy)
            .set_tags(Some(tags))
            .duration_seconds(seconds);
        match call.send().await {
            Ok(answer) => lent("AssumeRole", answer.credentials),
            Err(error) => Err(port_error("AssumeRole", &error)),
        }
    }
}
