//! The access keys of the person's own user, as the person may change them: at once where the deployment asks for no MFA, else with
//! a code.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_iam::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::StatusType,
};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sorry_profiles::{AccessKeyId, SecretAccessKey};
use tokio::time::Instant;

use super::identity::NEW_KEY;
use crate::{
    app::App,
    args::MfaCode,
    error::{CliError, Exit, Result},
    mfa,
    settings::sent_once,
};

/// The least that STS gives; a rotation takes seconds.
const SESSION_SECONDS: i32 = 900;
/// How many sessions one rotation starts: from the old key, and from the new one.
const SESSIONS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// A key as IAM lists it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) id: AccessKeyId,
    pub(super) created_at: Option<Timestamp>,
    pub(super) is_active: bool,
}

/// The person's own keys.
pub(super) struct OwnKeys<'a> {
    app: &'a App,
    sdk: &'a SdkConfig,
    code: &'a MfaCode,
    key: Credentials,
    /// Made from the key, or from the one before it, with a code.
    session: Option<Credentials>,
    sessions: u32,
}

impl<'a> OwnKeys<'a> {
    pub(super) fn new(app: &'a App, sdk: &'a SdkConfig, key: Credentials, code: &'a MfaCode) -> Self {
        Self { app, sdk, code, key, session: None, sessions: 0 }
    }

    /// Signs with this key from now on.
    pub(super) fn use_key(&mut self, key: Credentials) {
        self.key = key;
    }

    pub(super) async fn list(&mut self) -> Result<Vec<Listed>> {
        let answer = self
            .call("list your access keys", |iam| async move { iam.list_access_keys().send().await })
            .await?;
        let listed = answer.access_key_metadata.into_iter().filter_map(|key| {
            let created_at = key.create_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
            let is_active = key.status == Some(StatusType::Active);
            Some(Listed { id: AccessKeyId::parse(&key.access_key_id?).ok()?, created_at, is_active })
        });
        Ok(listed.collect())
    }

    pub(super) async fn create(&mut self) -> Result<(AccessKeyId, SecretAccessKey, Option<Timestamp>)> {
        let answer = self
            .call("make a new access key", |iam| async move {
                iam.create_access_key().customize().config_override(sent_once()).send().await
            })
            .await?;
        let key = answer.access_key.ok_or_else(|| CliError::failed("AWS made no access key"))?;
        let secret = SecretString::from(key.secret_access_key);
        let created_at = key.create_date.and_then(|date| Timestamp::from_second(date.secs()).ok());
        Ok((
            AccessKeyId::parse(&key.access_key_id)?,
            SecretAccessKey::parse(secret.expose_secret())?,
            created_at,
        ))
    }

    /// A key that is gone is as good as inactive.
    pub(super) async fn deactivate(&mut self, id: &AccessKeyId) -> Result<()> {
        let id = id.as_str();
        let done = self
            .call("deactivate the old access key", |iam| async move {
                iam.update_access_key().access_key_id(id).status(StatusType::Inactive).send().await
            })
            .await;
        gone(done.map(drop))
    }

    pub(super) async fn delete(&mut self, id: &AccessKeyId) -> Result<()> {
        let id = id.as_str();
        let done = self
            .call("delete an access key", |iam| async move {
                iam.delete_access_key().access_key_id(id).send().await
            })
            .await;
        gone(done.map(drop))
    }

    /// Makes a call, with a code if it is refused without, and again for as long as a new key may be unknown.
    async fn call<T, E, R, Answer>(&mut self, what: &str, call: impl Fn(Client) -> Answer) -> Result<T>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
        Answer: Future<Output = std::result::Result<T, SdkError<E, R>>>,
    {
        let give_up = Instant::now() + NEW_KEY;
        loop {
            let by = self.session.as_ref().unwrap_or(&self.key).clone();
            let config = aws_sdk_iam::config::Builder::from(self.sdk)
                .credentials_provider(SharedCredentialsProvider::new(by))
                .build();
            let error = match call(Client::from_conf(config)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
            match (code, self.session.is_some()) {
                (Some("AccessDenied"), _) if self.sessions == 0 => self.begin_session(what).await?,
                // A session that was made from the old key may end with that.
                (Some("InvalidClientTokenId"), true) if self.sessions < SESSIONS => {
                    self.session = None;
                    self.begin_session(what).await?;
                }
                (Some("InvalidClientTokenId"), false) if Instant::now() < give_up => {
                    self.app.ui.progress("waiting until all of AWS knows the new key (up to a minute)");
                    tokio::time::sleep(PAUSE).await;
                }
                _ => return Err(CliError::from_sdk(what, &error)),
            }
        }
    }

    /// Temporary credentials of the same user that carry MFA.
    async fn begin_session(&mut self, what: &str) -> Result<()> {
        self.sessions += 1;
        let session = mfa::session(self.app, self.sdk, self.key.clone(), SESSION_SECONDS, self.code).await;
        let session = session.map_err(|error| {
            let not_let = format!("cannot {what}: AWS does not let this key do it without MFA");
            CliError { message: not_let, hint: Some(error.message.clone()), ..error.clone() }
                .also(error.hint.unwrap_or_default())
        })?;
        self.session = Some(mfa::credentials(&session));
        Ok(())
    }
}

fn gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.exit == Exit::NotFound as u8 => Ok(()),
        done => done,
    }
}
