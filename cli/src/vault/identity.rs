//! Whose a key is: AWS's own word for it.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata;
use tokio::time::Instant;

use crate::{
    app::App,
    error::{CliError, Exit, Result},
};

/// How long AWS may take to know a new key everywhere: some seconds as a rule.
pub(crate) const NEW_KEY: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) arn: String,
    pub(crate) account: String,
}

impl Identity {
    /// Name of the IAM user; a path is no part of it.
    pub(crate) fn user_name(&self) -> Option<&str> {
        let resource = self.arn.splitn(6, ':').nth(5)?;
        resource.strip_prefix("user/")?.rsplit('/').next()
    }
}

/// Asks whose a key is. `None`: AWS does not know it. Of a new key that is waited for, up to `patience`; every other answer is
/// final.
pub(crate) async fn of(
    app: &App,
    sdk: &SdkConfig,
    key: Credentials,
    patience: Duration,
) -> Result<Option<Identity>> {
    let config = aws_sdk_sts::config::Builder::from(sdk)
        .credentials_provider(SharedCredentialsProvider::new(key))
        .build();
    let sts = aws_sdk_sts::Client::from_conf(config);
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match sts.get_caller_identity().send().await {
            Ok(answer) => {
                let odd = || CliError::failed("AWS did not say whose key it is");
                let (arn, account) = (answer.arn.ok_or_else(odd)?, answer.account.ok_or_else(odd)?);
                return Ok(Some(Identity { arn, account }));
            }
            Err(error) => error,
        };
        if error.as_service_error().and_then(ProvideErrorMetadata::code) != Some("InvalidClientTokenId") {
            return Err(CliError::from_sdk("ask AWS whose key it is", &error));
        }
        if Instant::now() >= give_up {
            return Ok(None);
        }
        app.ui
            .progress(&format!("waiting until AWS knows the new key (up to {} seconds)", patience.as_secs()));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The IAM user whose a bootstrap key is. Everything else is refused: it would not be one.
pub(crate) async fn of_user(app: &App, sdk: &SdkConfig, key: Credentials) -> Result<Identity> {
    let id = key.access_key_id().to_owned();
    let identity = of(app, sdk, key, Duration::ZERO).await?.ok_or_else(|| {
        CliError::new(Exit::Refused, format!("AWS does not know the key `{id}`"))
            .hint("it is deleted, inactive, mistyped or very new: try again in a minute, or ask for another")
    })?;
    if identity.user_name().is_none() {
        return Err(CliError::new(Exit::Refused, format!("the key `{id}` is that of `{}`", identity.arn))
            .hint("a bootstrap key is that of an IAM user: an administrator makes one with `sorry admin callers add`"));
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_have_a_user_name() {
        let name = |arn: &str| {
            let identity = Identity { arn: arn.to_owned(), account: String::new() };
            identity.user_name().map(str::to_owned)
        };
        assert_eq!(name("arn:aws:iam::123456789012:user/sorry/caller/sue-mgr").as_deref(), Some("sue-mgr"));
        assert_eq!(name("arn:aws:iam::123456789012:user/sue").as_deref(), Some("sue"));
        assert_eq!(name("arn:aws:iam::123456789012:root"), None);
        assert_eq!(name("arn:aws:sts::123456789012:assumed-role/user/sue"), None);
    }
}
