//! Credentials that the service hands out, of sessions with a user or a standing role. The gateway wants MFA for them.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use secrecy::ExposeSecret;
use serde_json::json;
use sorry_profiles::{AccessKeyId, SecretAccessKey, SessionToken};
use sorry_vault::TemporaryCredentials;
use sorry_wire::{ErrorCode, Grant, IssuedCredentials, SessionView};
use tokio::time::Instant;

use crate::{
    api::Api,
    app::{App, Aws},
    assume::Key,
    error::Result,
    mfa,
};

/// How long credentials with MFA serve the one call.
const MFA_SECONDS: i32 = 900;
/// How long somebody else's turn, and a part of AWS that has not heard of a new key, are waited for: longer than a try that died
/// blocks the next one.
const PATIENCE: Duration = Duration::from_secs(75);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(3);

/// Asks for credentials of an ACTIVE session.
pub(crate) async fn fetch(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    key: Key<'_>,
) -> Result<TemporaryCredentials> {
    let key = match key {
        Key::Given(credentials) => credentials,
        Key::Callers(code) => {
            let own = aws.credentials().await?;
            if session.mfa && own.session_token().is_none() {
                mfa::credentials(&mfa::session(app, &aws.sdk, own, MFA_SECONDS, code).await?)
            } else {
                own
            }
        }
    };
    let signer =
        app.aws_with(Some(SharedCredentialsProvider::new(key)), "the caller's own".to_owned()).await?;
    let lent = ask(app, &signer.api(app)?, session).await?;
    if session.grant == Grant::User {
        app.ui.say(
            "these credentials last as long as the session; they cannot call IAM, and of STS only AssumeRole and GetCallerIdentity",
        );
    }
    Ok(TemporaryCredentials {
        access_key_id: AccessKeyId::parse(&lent.access_key_id)?,
        secret_access_key: SecretAccessKey::parse(lent.secret_access_key.expose_secret())?,
        session_token: SessionToken::parse(lent.session_token.expose_secret())?,
        expires_at: lent.expires_at,
    })
}

async fn ask(app: &App, api: &Api<'_>, session: &SessionView) -> Result<IssuedCredentials> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let path = ["sessions", session.session_id.as_str(), "credentials"];
        let error = match api.post::<IssuedCredentials>(&path, &json!({})).await {
            Ok(lent) => return Ok(lent),
            Err(error) => error,
        };
        let passing = matches!(error.known_code(), Some(ErrorCode::IssueUnderWay | ErrorCode::Unavailable));
        if !passing || Instant::now() >= give_up {
            return Err(error);
        }
        app.ui.progress("waiting until the service can hand out credentials (up to a minute)");
        tokio::time::sleep(PAUSE).await;
    }
}
