//! The form `process`: the credentials lie encrypted in the vault's cache, and `config` names the command that prints them. No
//! secret is on the disk in plain text.

use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use secrecy::SecretString;
use sorry_profiles::{Context, ProcessCommand, ProcessProfile, ProfileName, Region, SessionMark};
use sorry_vault::{Cache, CachedSession, Open, Renewal, TemporaryCredentials};
use sorry_wire::{Grant, SessionView};

use crate::{
    app::{App, Aws},
    args::MfaCode,
    assume::{self, Key},
    env_vars,
    error::{CliError, Exit, Result},
    files::{self, Delivered},
    mfa,
    time::shown,
    vault,
};

/// The longest that STS gives for an MFA session.
const MOST_SECONDS: i64 = 129_600;
/// How long one call may take.
const ONCE_SECONDS: i64 = 60;
/// An MFA session that ends sooner is not worth starting from.
const WORTH_SECONDS: i64 = 900;

/// Opens the vault, before a session is asked for in vain.
pub(crate) async fn open(app: &App) -> Result<Open> {
    let open = app.needed_vault().await?;
    vault::bootstrap(&open)?;
    Ok(open)
}

/// Gets the session's credentials with the vault's own key, keeps what was lent in the cache, and writes the command into `config`.
pub(crate) async fn deliver(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    open: Open,
    profile: ProfileName,
    code: &MfaCode,
    in_place: bool,
) -> Result<Delivered> {
    let command =
        ProcessCommand::of_session(&own_path(app)?, &SessionMark::parse(session.session_id.as_str())?, &[])?;
    let issued = session.grant != Grant::Role;
    let (open, key) = if session.mfa {
        mfa_session(app, aws, session, open, code).await.map_err(|error| assume::goes_on(error, session))?
    } else {
        let key = vault::credentials(vault::bootstrap(&open)?);
        (open, key)
    };
    if let Some(temporary) = open
        .contents()
        .mfa_session
        .as_ref()
        .filter(|temporary| !issued && session.mfa && temporary.expires_at < session.expires_at)
    {
        app.ui.warn(&format!(
            "renewals need MFA and go on until {}: `sorry renew {}` then asks for a code",
            shown(temporary.expires_at),
            session.session_id
        ));
    }
    app.ui.detail(&format!("the session is used with the vault's key `{}`", key.access_key_id()));
    let lent = assume::assume(app, aws, session, Key::Given(key)).await?;
    let region = Region::parse(&aws.region)?;
    let expires_at = lent.expires_at.min(session.expires_at);
    let cached = CachedSession {
        session_id: session.session_id.to_string(),
        credentials: lent,
        session_ends_at: session.expires_at,
        renewal: match &session.access {
            Some(access) => Renewal {
                role_arn: access.role_arn.clone(),
                external_id: SecretString::from(access.external_id.as_str()),
                // Only a role's session carries one of its own, and a vault holds a user's key.
                source_identity: access.source_identity.as_ref().map(ToString::to_string).ok_or_else(
                    || {
                        CliError::new(
                            Exit::Bug,
                            "the session is of a caller that carries a source identity of its own",
                        )
                    },
                )?,
                role_session_name: access.role_session_name.clone(),
                maximum_seconds: access.maximum_seconds,
                region: region.clone(),
                mfa: session.mfa,
                issued: false,
            },
            None if issued => Renewal::by_the_service(region.clone(), session.mfa),
            None => return Err(CliError::new(Exit::Bug, "a role without a way to it")),
        },
    };
    let cache = Cache::new(app.store().state());
    let actor = files::actor(app);
    cache.write(&cached, &open, &mut vault::random(), &Context::new(&actor, (app.clock)())).map_err(
        |error| CliError::failed(format!("the credentials cannot be kept: {}", crate::error::causes(&error))),
    )?;
    let written = ProcessProfile {
        command,
        region,
        session_id: SessionMark::parse(session.session_id.as_str())?,
        expires_at: session.expires_at,
    };
    files::write_process(app, &profile, &written, in_place)?;
    Ok(Delivered { profile, expires_at, renews: true })
}

/// Temporary credentials that carry MFA, out of the vault or made now: one code serves every renewal until they end.
async fn mfa_session(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    open: Open,
    code: &MfaCode,
) -> Result<(Open, Credentials)> {
    let now = (app.clock)();
    let left = |temporary: &TemporaryCredentials| temporary.expires_at.as_second() - now.as_second();
    // What the service hands out lasts by itself; it is only asked for with MFA.
    let wanted = match session.grant {
        Grant::Role => session.expires_at.as_second() - now.as_second(),
        Grant::User | Grant::Standing => ONCE_SECONDS,
    };
    let kept = open.contents().mfa_session.as_ref().filter(|kept| left(kept) >= wanted.min(WORTH_SECONDS));
    if let Some(kept) = kept {
        let key = mfa::credentials(kept);
        return Ok((open, key));
    }
    let long_term = vault::credentials(vault::bootstrap(&open)?);
    let seconds = (wanted + WORTH_SECONDS).clamp(3600, MOST_SECONDS);
    let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
    let kept = mfa::session(app, &aws.sdk, long_term, seconds, code).await?;
    let key = mfa::credentials(&kept);
    let open = app.change_vault(&open, false, |contents| contents.mfa_session = Some(kept))?;
    Ok((open, key))
}

/// Where this program is found again, by a path that an update leaves as it is: the one it was called by, links and all, if that
/// leads to this program; else where it lies.
fn own_path(app: &App) -> Result<PathBuf> {
    let running = std::env::current_exe().ok();
    let real = running.as_deref().and_then(|path| path.canonicalize().ok());
    let called = std::env::args_os().next().map(PathBuf::from);
    let leads_here = |path: &Path| real.is_some() && path.canonicalize().ok() == real;
    let found = match called {
        Some(called) if called.components().count() > 1 => std::path::absolute(called).ok(),
        Some(name) => app
            .settings
            .environment
            .get(env_vars::PATH)
            .into_iter()
            .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&name))
            .find(|path| leads_here(path)),
        None => None,
    };
    found.filter(|path| leads_here(path)).or(real).ok_or_else(|| {
        CliError::failed("where this program lies is not known, so no profile can name it")
            .hint("was it replaced while it ran? try again")
    })
}
