//! `~/.aws` as the commands use it: where a session's profile is written, found and removed. The editing itself is
//! `sorry-profiles`.

use sorry_profiles::{
    Actor, Context, Form, Profile, ProfileName, Region, SessionCredentials, SessionMark, Warning,
    lock::Holder,
};
use sorry_wire::{SessionId, SessionView, TierName, WhoAmI};

use crate::{
    api::Api,
    app::{App, Aws},
    args::Delivery,
    assume::{self, Lent},
    env_vars,
    error::{CliError, Result},
    time::shown,
};

/// A profile that holds a session's credentials now.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) profile: ProfileName,
    /// When AWS stops accepting them: at the session's end, or before.
    pub(crate) expires_at: jiff::Timestamp,
}

/// Assumes the role of an ACTIVE session and writes what STS lent into the profile.
pub(crate) async fn deliver(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    how: &Delivery,
) -> Result<Delivered> {
    let profile = match &how.profile {
        Some(profile) => profile.clone(),
        None => ProfileName::parse(&format!("{}-{}", session.namespace, session.tier))?,
    };
    let lent = assume::assume(app, aws, session, how.mfa_stdin).await?;
    let expires_at = lent.expires_at.min(session.expires_at);
    let replaced = replaced(app, &profile, session);
    write(app, aws, session, &profile, lent, how.in_place).map_err(|error| {
        let id = &session.session_id;
        let go_on = format!("the session is ACTIVE: `sorry renew {id} --profile NAME` writes it elsewhere, `sorry revoke {id}` ends it");
        error.also(go_on)
    })?;
    if let Some(replaced) = replaced {
        app.ui.warn(&format!(
            "profile `{profile}` held session `{replaced}`, which goes on without a profile: `sorry renew {replaced} --profile NAME` \
             writes it elsewhere, `sorry revoke {replaced}` ends it"
        ));
    }
    Ok(Delivered { profile, expires_at })
}

/// Another session that is not over and whose credentials stand in the profile that is about to be written.
fn replaced(app: &App, name: &ProfileName, session: &SessionView) -> Option<SessionMark> {
    // Writing says what is wrong with the files.
    let profile = profiles(app).ok()?.into_iter().find(|profile| profile.name == *name)?;
    let live = profile.expires_at.is_none_or(|end| end > (app.clock)());
    profile.session.filter(|mark| live && mark.as_str() != session.session_id.as_str())
}

fn write(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    profile: &ProfileName,
    lent: Lent,
    in_place: bool,
) -> Result<()> {
    let credentials = SessionCredentials {
        expires_at: lent.expires_at.min(session.expires_at),
        access_key_id: lent.access_key_id,
        secret_access_key: lent.secret_access_key,
        session_token: lent.session_token,
        region: Region::parse(&aws.region)?,
        session_id: SessionMark::parse(session.session_id.as_str())?,
    };
    let written = in_context(app, in_place, |context| {
        app.settings.aws_files.write_session_profile(context, profile, &credentials)
    })?;
    warn(app, &written.warnings);
    Ok(())
}

/// What the person should know about a profile that was just written.
pub(crate) fn explain(app: &App, session: &SessionView, delivered: &Delivered) {
    let profile = &delivered.profile;
    let file = app.settings.aws_files.credentials.display();
    app.ui.say(&format!("wrote profile `{profile}` to `{file}`, good until {}", shown(delivered.expires_at)));
    app.ui.say(&format!("use it: aws --profile {profile} sts get-caller-identity"));
    if delivered.expires_at < session.expires_at {
        app.ui.warn(&format!(
            "the session lasts until {}, longer than these credentials: `sorry renew {}` fetches new ones (a program that runs \
             does not read them again by itself)",
            shown(session.expires_at),
            session.session_id
        ));
    }
    if app.settings.environment.get(env_vars::AWS_ACCESS_KEY_ID).is_some() {
        app.ui.warn(&format!(
            "`AWS_ACCESS_KEY_ID` is set and beats `AWS_PROFILE={profile}`: unset it, or name the profile with `--profile`"
        ));
    }
}

/// Refuses a profile that somebody else uses, before a session is asked for in vain. Writing checks again, and more.
pub(crate) fn refuse_taken(app: &App, name: &ProfileName) -> Result<()> {
    match profiles(app)?.into_iter().find(|profile| profile.name == *name) {
        Some(Profile { session: None, form, .. }) if form != Form::Settings => {
            Err(CliError::failed(format!("profile `{name}` holds something that is not from `sorry`"))
                .hint("choose another name with `--profile`"))
        }
        _ => Ok(()),
    }
}

/// As [`refuse_taken`], of the profile that is written when none is named. It begins with the caller's namespace, which the service
/// knows and is asked for only if a profile that ends with the tier is somebody else's.
pub(crate) async fn refuse_taken_default(app: &App, api: &Api<'_>, tier: &TierName) -> Result<()> {
    let end = format!("-{tier}");
    let taken = |profile: &Profile| {
        profile.name.as_str().ends_with(&end) && refuse_taken(app, &profile.name).is_err()
    };
    if !profiles(app)?.iter().any(taken) {
        return Ok(());
    }
    let me: WhoAmI = api.get(&["whoami"], &[]).await?;
    // Who is not registered is told so when asking.
    let Some(caller) = me.caller else { return Ok(()) };
    refuse_taken(app, &ProfileName::parse(&format!("{}{end}", caller.namespace))?)
}

/// All profiles.
pub(crate) fn profiles(app: &App) -> Result<Vec<Profile>> {
    in_context(app, false, |context| app.settings.aws_files.profiles(context))
}

/// The profiles that hold a session.
pub(crate) fn of_session<'a>(
    profiles: &'a [Profile],
    id: &SessionId,
) -> impl Iterator<Item = &'a ProfileName> {
    let id = id.as_str().to_owned();
    profiles
        .iter()
        .filter(move |profile| profile.session.as_ref().is_some_and(|mark| mark.as_str() == id))
        .map(|profile| &profile.name)
}

/// Takes a session's credentials out of every profile that holds them.
pub(crate) fn remove(app: &App, id: &SessionId) -> Result<Vec<ProfileName>> {
    let mark = SessionMark::parse(id.as_str())?;
    let names: Vec<ProfileName> = of_session(&profiles(app)?, id).cloned().collect();
    for name in &names {
        let removed = in_context(app, false, |context| {
            app.settings.aws_files.remove_session_profile(context, name, Some(&mark))
        })?;
        warn(app, &removed.warnings);
    }
    Ok(names)
}

/// Whether the profile that AWS's own order takes the key from holds a session, and so is no bootstrap key.
pub(crate) fn caller_is_session(app: &App) -> Option<String> {
    let environment = &app.settings.environment;
    let name = match &app.settings.caller_profile {
        Some(name) => name,
        // The vault holds no session's key.
        None if app.opened_vault().is_some() => return None,
        None if environment.get(env_vars::AWS_ACCESS_KEY_ID).is_some() => return None,
        None => environment.get(env_vars::AWS_PROFILE)?,
    };
    let profiles = profiles(app).ok()?;
    let found = profiles.iter().find(|profile| profile.name.as_str() == name)?;
    found.session.is_some().then(|| name.to_owned())
}

pub(crate) fn warn(app: &App, warnings: &[Warning]) {
    for warning in warnings {
        app.ui.warn(&warning.to_string());
    }
}

/// The process, as the files' editors know it.
pub(crate) fn actor(app: &App) -> Actor {
    let mut actor = Actor::this_process(false);
    actor.through_sudo =
        actor.uid == 0 && app.settings.environment.get(env_vars::SUDO_UID).is_some_and(|uid| uid != "0");
    actor
}

/// Does something to files of the person.
pub(crate) fn in_context<T>(
    app: &App,
    in_place: bool,
    work: impl FnOnce(&Context<'_>) -> sorry_profiles::Result<T>,
) -> Result<T> {
    let actor = actor(app);
    let waiting =
        |holder: &Holder| app.ui.progress(&format!("waiting for the credentials file, held by {holder}"));
    let mut context = Context::new(&actor, (app.clock)());
    context.in_place = in_place;
    context.waiting = &waiting;
    Ok(work(&context)?)
}
