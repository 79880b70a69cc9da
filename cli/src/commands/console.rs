//! `sorry console`: the browser, signed in with a session's credentials.

use std::time::Duration;

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    api,
    app::App,
    args::Console,
    delivery::{
        federation,
        source::{self, Source},
    },
    error::{CliError, Exit, Result},
    time::shown,
    vault::identity,
};

/// What AWS takes for the length of a sign-in.
const SECONDS: std::ops::RangeInclusive<u64> = 900..=43_200;

pub(crate) async fn run(app: &App, arguments: &Console) -> Result<u8> {
    if arguments.duration.is_some_and(|seconds| !SECONDS.contains(&seconds)) {
        return Err(CliError::usage("a sign-in lasts from 15 minutes to 12 hours"));
    }
    let chosen = source::choose(app, arguments.profile.as_ref())?;
    let credentials = chosen.credentials(app).await?;
    let link =
        federation::link(app, &credentials, arguments.destination.as_deref(), arguments.duration).await;
    let link = match link {
        Err(error) if error.exit == Exit::Refused as u8 && is_of_a_user(app, &credentials).await => {
            let message = format!(
                "profile `{}` holds the credentials of a user, and AWS signs in those of roles alone",
                chosen.name
            );
            return Err(CliError::new(Exit::Refused, message)
                .hint("for the console ask for a session without `--grant user`"));
        }
        link => link?,
    };
    if arguments.print {
        app.ui.secret(&SecretString::from(format!("{}\n", link.expose_secret())))?;
        app.ui.warn("whoever has this link is signed in with your session; it works for 15 minutes");
    } else {
        federation::open(app, &link).await?;
        app.ui.say(&format!(
            "opened the console with profile `{}`, good until {} at most",
            chosen.name,
            shown(credentials.expires_at)
        ));
    }
    Ok(0)
}

/// Whether these are of a session with a user: made by GetSessionToken, they are no key to the console. Asked when AWS has refused, to say
/// why; should AWS not answer, its refusal is all there is to say.
/// Source: "Enabling custom identity broker access to the AWS console" in the IAM User Guide, which names AssumeRole and GetFederationToken.
async fn is_of_a_user(app: &App, source: &Source) -> bool {
    let Ok(connector) = api::connector(&app.settings) else { return false };
    let key = Credentials::new(
        source.access_key_id.as_str(),
        source.secret_access_key.expose(),
        Some(source.session_token.expose().to_owned()),
        None,
        "profile",
    );
    let region = source.region.as_ref().map_or("us-east-1", |region| region.as_str());
    let provider = SharedCredentialsProvider::new(key.clone());
    let sdk = app.settings.sdk(api::http_client(connector), Some(region), Some(provider)).await;
    let known = identity::of(app, &sdk, key, Duration::ZERO).await;
    known.is_ok_and(|known| known.is_some_and(|identity| identity.user_name().is_some()))
}
