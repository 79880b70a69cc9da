//! `sorry console`: the browser, signed in with a session's credentials.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    app::App,
    args::Console,
    delivery::{federation, source},
    error::{CliError, Result},
    time::shown,
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
        federation::link(app, &credentials, arguments.destination.as_deref(), arguments.duration).await?;
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
