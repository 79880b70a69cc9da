//! `sorry profiles`: what the AWS files hold, what is wrong with them, and mending it. Never asks the service unless a
//! profile of `sorry` is there whose session it may know.

use serde_json::{Value, json};
use sorry_profiles::{Change, Finding, Form, KnownSessions, Profile, SessionMark};

use crate::{
    api::Scope,
    app::App,
    args::{CheckProfiles, ListProfiles, MendProfiles, Profiles, TableFormat},
    error::{Exit, Result},
    files, terminal,
    time::with_distance,
};

pub(crate) async fn run(app: &App, command: Profiles) -> Result<u8> {
    match command {
        Profiles::List(arguments) => list(app, &arguments),
        Profiles::Check(arguments) => check(app, &arguments).await,
        Profiles::Fix(arguments) => {
            let sessions = known_sessions(app, arguments.offline).await?;
            let plan = files::in_context(app, false, |context| {
                app.settings.aws_files.plan_fix(context, sessions.as_ref())
            })?;
            mend(
                app,
                &plan,
                &arguments.mend,
                "nothing that `sorry` can mend; `sorry profiles check` shows all",
            )
            .await
        }
        Profiles::Reset(arguments) => {
            let plan = files::in_context(app, false, |context| app.settings.aws_files.plan_reset(context))?;
            mend(app, &plan, &arguments, "no profile is from `sorry`").await
        }
    }
}

fn list(app: &App, arguments: &ListProfiles) -> Result<u8> {
    let profiles = files::profiles(app)?;
    let now = (app.clock)();
    if arguments.output.format == TableFormat::Json {
        let rows: Vec<Value> = profiles
            .iter()
            .map(|profile| {
                json!({
                    "profile": profile.name.as_str(), "form": form(profile),
                    "session": profile.session.as_ref().map(SessionMark::as_str),
                    "expires_at": profile.expires_at, "state": state(profile, now),
                    "region": profile.region, "source": sources(app, profile),
                })
            })
            .collect();
        app.ui.json(&json!({ "profiles": rows }))?;
        return Ok(0);
    }
    if profiles.is_empty() {
        app.ui.say("no profiles; `sorry request --tier developer --hours 8` writes one");
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = profiles
        .iter()
        .map(|profile| {
            let expires = profile.expires_at.map(|at| with_distance(at, now)).unwrap_or_default();
            vec![
                profile.name.to_string(),
                form(profile).to_owned(),
                profile.session.as_ref().map(ToString::to_string).unwrap_or_default(),
                state(profile, now).to_owned(),
                expires,
                sources(app, profile).join(", "),
            ]
        })
        .collect();
    app.ui.table(&["profile", "form", "session", "state", "expires", "source"], &rows)?;
    Ok(0)
}

fn form(profile: &Profile) -> &'static str {
    match profile.form {
        Form::Keys => "keys",
        Form::Process => "process",
        Form::Role => "role",
        Form::SignIn => "sign-in",
        Form::Settings => "settings",
    }
}

fn state(profile: &Profile, now: jiff::Timestamp) -> &'static str {
    match (profile.problems.is_empty(), profile.expires_at) {
        (false, _) => "unclear",
        (true, Some(at)) if at <= now => "expired",
        (true, Some(_)) => "valid",
        (true, None) => "",
    }
}

fn sources(app: &App, profile: &Profile) -> Vec<String> {
    let files = &app.settings.aws_files;
    let both = [(profile.in_credentials, &files.credentials), (profile.in_config, &files.config)];
    both.into_iter().filter(|(is_in, _)| *is_in).map(|(_, path)| path.display().to_string()).collect()
}

async fn check(app: &App, arguments: &CheckProfiles) -> Result<u8> {
    let sessions = known_sessions(app, arguments.offline).await?;
    let found =
        files::in_context(app, false, |context| app.settings.aws_files.check(context, sessions.as_ref()))?;
    if arguments.output.format == TableFormat::Json {
        let rows: Vec<Value> = found.iter().map(as_json).collect();
        app.ui.json(&json!({ "findings": rows }))?;
    } else if !found.is_empty() {
        let rows: Vec<Vec<String>> = found.iter().map(as_row).collect();
        app.ui.table(&["code", "where", "profile", "botocore", "rust sdk", "fix"], &rows)?;
        let mut told = Vec::new();
        for code in found.iter().map(|finding| finding.code) {
            if !told.contains(&code) {
                told.push(code);
                app.ui.say(&format!("{}: {}", code.as_str(), code.hint()));
            }
        }
    }
    match found.iter().filter(|finding| finding.fixable).count() {
        0 if found.is_empty() => app.ui.say("nothing is wrong with the profiles"),
        0 => {}
        count => app.ui.say(&format!("`sorry profiles fix` mends {count} of {}", found.len())),
    }
    Ok(if found.is_empty() { 0 } else { Exit::Failed as u8 })
}

fn as_json(finding: &Finding) -> Value {
    json!({
        "code": finding.code.as_str(), "path": finding.path.display().to_string(), "line": finding.line,
        "profile": finding.profile, "botocore": finding.code.botocore(), "rust_sdk": finding.code.rust_sdk(),
        "hint": finding.code.hint(), "fixable": finding.fixable,
    })
}

fn as_row(finding: &Finding) -> Vec<String> {
    let path = finding.path.display();
    vec![
        finding.code.as_str().to_owned(),
        finding.line.map_or_else(|| path.to_string(), |line| format!("{path}:{line}")),
        finding.profile.clone().unwrap_or_default(),
        finding.code.botocore().to_owned(),
        finding.code.rust_sdk().to_owned(),
        if finding.fixable { "yes" } else { "" }.to_owned(),
    ]
}

/// What the service knows of the caller's sessions. Whoever cannot reach it is told and goes on without.
async fn known_sessions(app: &App, offline: bool) -> Result<Option<KnownSessions>> {
    if offline || files::profiles(app)?.iter().all(|profile| profile.session.is_none()) {
        return Ok(None);
    }
    match ask_sessions(app).await {
        Ok(sessions) => Ok(Some(sessions)),
        Err(error) => {
            app.ui
                .warn(&format!("profiles of sessions that were ended are not looked for: {}", error.message));
            Ok(None)
        }
    }
}

async fn ask_sessions(app: &App) -> Result<KnownSessions> {
    let aws = app.aws().await?;
    let mut known = KnownSessions::default();
    for session in aws.api(app)?.sessions(Scope::Mine).await? {
        let mark = SessionMark::parse(session.session_id.as_str())?;
        let ending = session.state.is_over() || session.state.is_ending();
        if ending {
            known.over.insert(mark)
        } else {
            known.live.insert(mark)
        };
    }
    Ok(known)
}

/// Shows the plan, asks, does it.
async fn mend(app: &App, plan: &[Change], arguments: &MendProfiles, nothing: &str) -> Result<u8> {
    if plan.is_empty() {
        app.ui.say(nothing);
        return Ok(0);
    }
    for change in plan {
        app.ui.data(&change.to_string())?;
    }
    if arguments.dry_run {
        return Ok(0);
    }
    if !arguments.yes {
        let only_shows = "`--dry-run` only shows";
        terminal::agreed("do this?", "nothing was changed", only_shows).await?;
    }
    let fixed =
        files::in_context(app, arguments.in_place, |context| app.settings.aws_files.apply(context, plan))?;
    files::warn(app, &fixed.warnings);
    for copy in &fixed.backups {
        app.ui.say(&format!("the file as it was, with its secrets: `{}`", copy.display()));
    }
    app.ui.say("done");
    Ok(0)
}
