//! Which profile a command hands out, and the credentials in it, whichever form it has.

use jiff::Timestamp;
use sorry_credentials::{Lent, SessionCredentials};
use sorry_profiles::{
    AccessKeyId, Form, Profile, ProfileName, Region, SecretAccessKey, SessionMark, SessionToken,
};

use crate::{
    api,
    app::App,
    env_vars,
    error::{CliError, Exit, Result},
    files,
    time::shown,
};

/// A profile that `sorry` wrote.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) name: ProfileName,
    pub(crate) session: SessionMark,
    pub(crate) form: Form,
    region: Option<String>,
    expires_at: Option<Timestamp>,
}

/// Credentials to hand out.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) access_key_id: AccessKeyId,
    pub(crate) secret_access_key: SecretAccessKey,
    pub(crate) session_token: SessionToken,
    pub(crate) region: Option<Region>,
    /// When AWS stops taking them.
    pub(crate) expires_at: Timestamp,
}

/// The profile named; else `AWS_PROFILE`, where `sorry` wrote it; else the one that is live.
pub(crate) fn choose(app: &App, named: Option<&ProfileName>) -> Result<Chosen> {
    let profiles = files::profiles(app)?;
    let find = |name: &str| profiles.iter().find(|profile| profile.name.as_str() == name);
    let (found, why) = match named {
        Some(name) => {
            let found = find(name.as_str()).ok_or_else(|| {
                CliError::new(Exit::NotFound, format!("there is no profile `{name}`"))
                    .hint("`sorry list` shows the profiles that hold a session")
            })?;
            (found, "as asked for")
        }
        None => {
            let preferred = app.settings.environment.get(env_vars::AWS_PROFILE).and_then(find);
            match preferred.filter(|profile| profile.session.is_some()) {
                Some(profile) => (profile, "from `AWS_PROFILE`"),
                None => (only_live(&profiles, (app.clock)())?, "the only one with a live session"),
            }
        }
    };
    let session = found.session.clone().ok_or_else(|| {
        CliError::usage(format!("profile `{}` holds nothing from `sorry`", found.name))
            .hint("`sorry list` shows the profiles that hold a session")
    })?;
    let form = match found.form {
        Form::Process => "the vault, through `sorry credential-process`",
        _ => "the credentials file",
    };
    app.ui.detail(&format!("profile `{}` ({why}), session `{session}`: credentials from {form}", found.name));
    Ok(Chosen {
        name: found.name.clone(),
        session,
        form: found.form,
        region: found.region.clone(),
        expires_at: found.expires_at,
    })
}

fn only_live(profiles: &[Profile], now: Timestamp) -> Result<&Profile> {
    let is_live = |profile: &&Profile| {
        profile.session.is_some() && profile.expires_at.is_none_or(|expires_at| expires_at > now)
    };
    let live: Vec<&Profile> = profiles.iter().filter(is_live).collect();
    match live.as_slice() {
        [one] => Ok(one),
        [] => Err(CliError::new(Exit::NotFound, "no profile holds a session that is live")
            .hint("`sorry request --tier developer --hours 8` asks for one")),
        several => {
            let names: Vec<String> = several.iter().map(|profile| format!("`{}`", profile.name)).collect();
            Err(CliError::usage(format!("{} profiles hold a live session", several.len()))
                .hint(format!("name one: {}", names.join(", "))))
        }
    }
}

impl Chosen {
    /// The credentials: as they stand in the file, or from the vault, renewed where that is due.
    pub(crate) async fn credentials(&self, app: &App) -> Result<Source> {
        if self.form == Form::Process {
            let provider = provider(app, self.session.as_str(), true)?;
            return Ok(Source::from(provider.lent().await?));
        }
        let expires_at = self.expires_at.unwrap_or(Timestamp::MAX);
        if expires_at <= (app.clock)() {
            let ended = format!("the credentials in profile `{}` ended at {}", self.name, shown(expires_at));
            return Err(CliError::new(Exit::NotFound, ended).hint(format!(
                "`sorry renew {}` fetches new ones, if the session goes on; else ask again",
                self.session
            )));
        }
        let keys = files::session_keys(app, &self.name)?.ok_or_else(|| {
            CliError::failed(format!("profile `{}` holds no keys of `sorry`", self.name))
                .hint(format!("`sorry renew {}` writes them again", self.session))
        })?;
        Ok(Source {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
            session_token: keys.session_token,
            region: self.region.as_deref().and_then(|region| Region::parse(region).ok()),
            expires_at,
        })
    }
}

impl From<Lent> for Source {
    fn from(lent: Lent) -> Self {
        let expires_at = lent.expires_at();
        let credentials = lent.session.credentials;
        Self {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
            region: Some(lent.session.renewal.region),
            expires_at,
        }
    }
}

/// The provider over one session, from the settings. Without `online` it gives what is cached and sets up no TLS.
pub(crate) fn provider(app: &App, session: &str, online: bool) -> Result<SessionCredentials> {
    let settings = &app.settings;
    let mut builder = SessionCredentials::builder(session)
        .config_folder(&settings.config_folder)
        .state_folder(&settings.state_folder)
        .clock(app.clock);
    if let Some(socket) = &settings.ssh_auth_sock {
        builder = builder.agent_socket(socket);
    }
    if let Some(url) = settings.sts_endpoint() {
        builder = builder.sts_endpoint(url);
    }
    if online {
        builder = builder.http_client(api::http_client(api::connector(settings)?));
    }
    Ok(builder.build()?)
}
