//! `~/.aws` as the commands use it: where a session's profile is written, found and removed. The editing itself is
//! `sorry-profiles`.

use sorry_profiles::{
    Actor, Context, Form, ProcessProfile, Profile, ProfileName, Region, SessionCredentials, SessionKeys,
    SessionMark, Warning, lock::Holder,
};
use sorry_vault::{Cache, Open, TemporaryCredentials};
use sorry_wire::{Grant, SessionId, SessionView, TierName, WhoAmI};

use crate::{
    api::Api,
    app::{App, Aws},
    args::{Deliver, Delivery},
    assume::{self, Key},
    delivery::{
        environment::{Lines, Shell},
        process,
        source::Source,
    },
    env_vars,
    error::{CliError, Result},
    mfa,
    time::shown,
};

/// The longest that temporary credentials get a role for ("role chaining").
const CHAINED_SECONDS: i64 = 3_600;
/// An MFA session that ends sooner could end under way.
const SPARE_SECONDS: i64 = 60;

/// A profile that holds a session's credentials now.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) profile: ProfileName,
    /// When AWS stops accepting them: at the session's end, or before.
    pub(crate) expires_at: jiff::Timestamp,
    /// Whether SDKs renew them by themselves.
    pub(crate) renews: bool,
}

/// Where credentials will go: decided, and tried as far as it can be, before a session is asked for.
pub(crate) enum Way {
    File,
    /// With the vault, opened.
    Process(Box<Open>),
    Env,
    Nowhere,
}

impl Way {
    /// Whether a profile is written.
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::File | Self::Process(_))
    }

    /// Tries whether the files can be written, before a session or a code is spent on credentials that would have no place. Makes the
    /// folder, where there is none.
    pub(crate) fn try_out(&self, app: &App) -> Result<()> {
        if !self.writes() {
            return Ok(());
        }
        in_context(app, false, |context| app.settings.aws_files.check_writable(context))
    }

    /// As asked for; else in the form of the profile that holds the session already; else into the file.
    pub(crate) async fn new(app: &App, how: &Delivery, found: Option<Form>) -> Result<Self> {
        let kept = if found == Some(Form::Process) { Deliver::Process } else { Deliver::File };
        let deliver = how.deliver.unwrap_or(kept);
        if let Some(profile) =
            how.profile.as_ref().filter(|_| matches!(deliver, Deliver::File | Deliver::Process))
        {
            refuse_taken(app, profile)?;
        }
        let caller = app.settings.caller_profile.as_deref().filter(|_| deliver == Deliver::Process);
        if let Some(profile) = caller {
            return Err(CliError::usage(format!(
                "`--deliver process` renews with the vault's key, and the session would be of profile `{profile}`"
            ))
            .hint("leave out `--caller-profile`, or use `--deliver file`"));
        }
        if deliver == Deliver::Env && app.ui.shows_data_to_people() {
            return Err(CliError::usage("credentials are not shown on a terminal")
                .hint("`eval \"$(sorry request … --deliver env)\"`; `--deliver file` writes a profile"));
        }
        Ok(match deliver {
            Deliver::File => Self::File,
            Deliver::Process => Self::Process(Box::new(process::open(app).await?)),
            Deliver::Env => Self::Env,
            Deliver::Nowhere => Self::Nowhere,
        })
    }
}

/// Assumes the role of an ACTIVE session and delivers what STS lent. `holder` is the profile that holds the session already.
/// Nothing is given back where no profile was written.
pub(crate) async fn deliver(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    how: &Delivery,
    way: Way,
    holder: Option<ProfileName>,
) -> Result<Option<Delivered>> {
    let profile = match how.profile.clone().or(holder) {
        Some(profile) => profile,
        None => ProfileName::parse(&format!("{}-{}", session.namespace, session.tier))?,
    };
    let id = &session.session_id;
    let replaced = replaced(app, &profile, session);
    let delivered = match way {
        Way::Nowhere => return Ok(None),
        Way::Env => {
            let lent = assume::assume(app, aws, session, key(app, session, how)).await?;
            let source = Source {
                expires_at: lent.expires_at.min(session.expires_at),
                access_key_id: lent.access_key_id,
                secret_access_key: lent.secret_access_key,
                session_token: lent.session_token,
                region: Some(Region::parse(&aws.region)?),
            };
            warn_of_batch(app);
            app.ui.secret(&Lines::new(Shell::Sh).keys(&source).into_secret())?;
            return Ok(None);
        }
        Way::File => {
            let lent = assume::assume(app, aws, session, key(app, session, how)).await?;
            let expires_at = lent.expires_at.min(session.expires_at);
            write(app, aws, session, &profile, lent, how.in_place).map(|()| Delivered {
                profile,
                expires_at,
                renews: false,
            })
        }
        Way::Process(open) => {
            process::deliver(app, aws, session, *open, profile, &how.code, how.in_place).await
        }
    };
    let delivered = delivered.map_err(|error| {
        // Said already, and better, by whoever assumed the role.
        let hint = format!(
            "the session is ACTIVE: `sorry renew {id} --profile NAME` writes it elsewhere, `sorry revoke {id}` ends it"
        );
        error.also_about(id.as_str(), hint)
    })?;
    if let Some(replaced) = replaced {
        app.ui.warn(&format!(
            "profile `{}` held session `{replaced}`, which goes on without a profile: `sorry renew {replaced} --profile NAME` \
             writes it elsewhere, `sorry revoke {replaced}` ends it",
            delivered.profile
        ));
    }
    Ok(Some(delivered))
}

/// The key for one credential that is not renewed: an MFA session that the vault keeps already, where what it gives lasts as long as
/// the session; else the caller's own with a code of its own, which gives up to twelve hours.
fn key<'a>(app: &App, session: &SessionView, how: &'a Delivery) -> Key<'a> {
    let now = (app.clock)();
    // What the service hands out does not end with what it was asked for with.
    let is_short =
        session.grant != Grant::Role || session.expires_at.as_second() - now.as_second() <= CHAINED_SECONDS;
    let open = app.opened_vault().filter(|_| session.mfa && is_short);
    let kept = open.and_then(|open| open.contents().mfa_session.clone());
    match kept.filter(|kept| kept.expires_at.as_second() - now.as_second() > SPARE_SECONDS) {
        Some(kept) => Key::Given(mfa::credentials(&kept)),
        None => Key::Callers(&how.code),
    }
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
    lent: TemporaryCredentials,
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

/// Writes the form `process`.
pub(crate) fn write_process(
    app: &App,
    name: &ProfileName,
    profile: &ProcessProfile,
    in_place: bool,
) -> Result<()> {
    let written = in_context(app, in_place, |context| {
        app.settings.aws_files.write_process_profile(context, name, profile)
    })?;
    warn(app, &written.warnings);
    Ok(())
}

/// The keys in a profile of ours.
pub(crate) fn session_keys(app: &App, name: &ProfileName) -> Result<Option<SessionKeys>> {
    in_context(app, false, |context| app.settings.aws_files.session_keys(context, name))
}

/// Jobs inherit the environment of who submits them, and batch systems keep it.
pub(crate) fn warn_of_batch(app: &App) {
    if let Some(variable) = app.settings.environment.batch() {
        app.ui.warn(&format!(
            "`{variable}` is set: batch systems hand the environment on and store it, keys included; use `--deliver file` there"
        ));
    }
}

/// What the person should know about a profile that was just written.
pub(crate) fn explain(app: &App, session: &SessionView, delivered: &Delivered) {
    let profile = &delivered.profile;
    let files = &app.settings.aws_files;
    if delivered.renews {
        app.ui.say(&format!(
            "wrote profile `{profile}` to `{}`: SDKs get its credentials from the vault, {} until {}",
            files.config.display(),
            if session.grant == Grant::Role { "renewed" } else { "good" },
            shown(session.expires_at)
        ));
    } else {
        app.ui.say(&format!(
            "wrote profile `{profile}` to `{}`, good until {}",
            files.credentials.display(),
            shown(delivered.expires_at)
        ));
    }
    app.ui.say(&format!("use it: aws --profile {profile} sts get-caller-identity"));
    if !delivered.renews && delivered.expires_at < session.expires_at {
        // The vault renews with the long-lived key of a user.
        let process =
            if session.caller.contains(":assumed-role/") { "" } else { "; with `--deliver process` it does" };
        app.ui.warn(&format!(
            "the session lasts until {}, longer than these credentials: `sorry renew {}` fetches new ones, which a program that \
             runs (boto3, for one) does not read again by itself{process}",
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
        // What is there cannot be read without doubt, so nothing can be written into it.
        Some(Profile { problems, .. }) => {
            problems.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
        }
        None => Ok(()),
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

/// The profile that holds a session.
pub(crate) fn holding<'a>(profiles: &'a [Profile], id: &SessionId) -> Option<&'a Profile> {
    profiles.iter().find(|profile| profile.session.as_ref().is_some_and(|mark| mark.as_str() == id.as_str()))
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
    Cache::new(&app.settings.state_folder).remove(id.as_str()).map_err(|error| {
        CliError::failed(format!("the credentials in the vault's cache cannot be removed: {error}"))
    })?;
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

/// Says what went well and may surprise.
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
