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
    assume,
    error::{CliError, Exit, Result},
    terminal,
};

/// The least that STS gives; a rotation takes seconds.
const SESSION_SECONDS: i32 = 900;
/// How many codes one command asks for.
const CODES: u32 = 3;
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
    mfa_stdin: bool,
    key: Credentials,
    /// Made from the key, or from the one before it, with a code.
    session: Option<Credentials>,
    codes: u32,
}

impl<'a> OwnKeys<'a> {
    pub(super) fn new(app: &'a App, sdk: &'a SdkConfig, key: Credentials, mfa_stdin: bool) -> Self {
        Self { app, sdk, mfa_stdin, key, session: None, codes: 0 }
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
            .call("make a new access key", |iam| async move { iam.create_access_key().send().await })
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
                (Some("AccessDenied"), _) if self.codes == 0 => self.begin_session(what).await?,
                // A session that was made from the old key may end with that.
                (Some("InvalidClientTokenId"), true) if self.codes < CODES => {
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
        let sts = aws_sdk_sts::config::Builder::from(self.sdk)
            .credentials_provider(SharedCredentialsProvider::new(self.key.clone()))
            .build();
        let sts = aws_sdk_sts::Client::from_conf(sts);
        let sdk = self
            .sdk
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(self.key.clone()))
            .build();
        let serial = assume::mfa_serial(&sdk).await.map_err(|error| {
            CliError::new(Exit::Refused, format!("cannot {what}: AWS does not let this key do it without MFA"))
                .hint(error.message)
                .also("`sorry admin callers add … --mfa` gives your user a device; without one, an administrator makes a new key")
        })?;
        loop {
            self.codes += 1;
            let code = self.code().await?;
            let answer = sts
                .get_session_token()
                .serial_number(&serial)
                .token_code(code.expose_secret())
                .duration_seconds(SESSION_SECONDS)
                .send()
                .await;
            let error = match answer {
                Ok(answer) => {
                    let lent = answer.credentials.ok_or_else(|| CliError::failed("AWS gave no session"))?;
                    self.session = Some(Credentials::new(
                        lent.access_key_id,
                        lent.secret_access_key,
                        Some(lent.session_token),
                        None,
                        "MFA session",
                    ));
                    return Ok(());
                }
                Err(error) => error,
            };
            let said = error.as_service_error().and_then(ProvideErrorMetadata::message).unwrap_or_default();
            if !said.contains("MultiFactorAuthentication failed") || self.codes >= CODES {
                return Err(CliError::from_sdk("get a session with MFA", &error));
            }
            self.app.ui.say("AWS did not take the code, or it was used already: each is good once");
        }
    }

    async fn code(&self) -> Result<SecretString> {
        let code = if self.mfa_stdin {
            self.app.ui.standard_input().await
        } else {
            terminal::ask("MFA code").await.map(SecretString::from)
        };
        let is_code = |code: &SecretString| {
            code.expose_secret().len() == 6 && code.expose_secret().bytes().all(|byte| byte.is_ascii_digit())
        };
        match code {
            Some(code) if is_code(&code) => Ok(code),
            Some(_) => Err(CliError::usage("an MFA code has six digits")),
            None => Err(CliError::usage(
                "this deployment asks for an MFA code before keys change, and none was given",
            )
            .hint("without a terminal, `--mfa-stdin` reads it from standard input")),
        }
    }
}

fn gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if error.exit == Exit::NotFound as u8 => Ok(()),
        done => done,
    }
}
