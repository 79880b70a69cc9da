//! `sorry doctor`: one line for each thing that must be right on this side, with what to do where it is not.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use serde::Serialize;
use sorry_wire::{TierList, TierView, WhoAmI};

use crate::{
    api::{self, Api, TOLERATED_SKEW_SECONDS},
    app::{App, Aws},
    args::{Doctor, TextFormat},
    env_vars,
    error::{CliError, Exit, Result},
    files,
    time::{rough, shown},
};

#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    ok: bool,
    detail: String,
    hints: Vec<String>,
}

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    ok: bool,
    checks: &'a [Check],
}

impl Check {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, ok: true, detail: detail.into(), hints: Vec::new() }
    }

    fn fail(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, ok: false, detail: detail.into(), hints: vec![hint.into()] }
    }

    fn of(check: &'static str, error: CliError) -> Self {
        let hints = match error.code.as_deref() {
            Some("InvalidClientTokenId" | "UnrecognizedClientException" | "SignatureDoesNotMatch") => {
                vec![DEAD_KEY.to_owned()]
            }
            _ => error.hints().filter_map(without_itself).collect(),
        };
        Self { check, ok: false, detail: error.message, hints }
    }
}

const DEAD_KEY: &str = "the key is deleted, mistyped or very new: try again in a minute, or get another one from your administrator; \
                        `sorry vault import --replace` takes it into the vault";

/// A hint, but for the advice to run what runs already.
fn without_itself(hint: &str) -> Option<String> {
    let advice = match hint.split_once("`sorry doctor`") {
        Some((before, _)) => before.trim_end_matches(", or see ").trim_end_matches([' ', ':', ';', ',']),
        None => hint,
    };
    (!advice.is_empty()).then(|| advice.to_owned())
}

pub(crate) async fn run(app: &App, arguments: &Doctor) -> Result<u8> {
    let mut checks = Vec::new();
    service(app, &mut checks).await;
    match app.aws().await {
        Ok(aws) => identity(app, &aws, &mut checks).await,
        Err(error) => checks.push(Check::of("key", error)),
    }
    checks.push(vault(app));
    checks.push(environment(app));
    checks.push(file(&app.settings.aws_files.credentials, "credentials file", 0o077));
    // The config file holds no keys of ours, but whoever can write it can name a program to run.
    checks.push(file(&app.settings.aws_files.config, "config file", 0o022));
    checks.push(profiles(app));
    let ok = checks.iter().all(|check| check.ok);
    match arguments.output.format {
        TextFormat::Json => app.ui.json(&Verdict { ok, checks: &checks })?,
        TextFormat::Text => {
            let width = checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
            for check in &checks {
                let verdict = if check.ok { "ok  " } else { "fail" };
                app.ui.data(&format!("{verdict}  {:width$}  {}", check.check, check.detail))?;
                for hint in &check.hints {
                    app.ui.data(&format!("      {:width$}  hint: {hint}", ""))?;
                }
            }
        }
    }
    Ok(if ok { 0 } else { Exit::Failed as u8 })
}

/// The endpoint, whether anybody answers there, and the clock.
async fn service(app: &App, checks: &mut Vec<Check>) {
    let endpoint = match app.settings.endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => return checks.push(Check::of("endpoint", error)),
    };
    checks.push(Check::ok("endpoint", endpoint.url()));
    let connector = match api::connector(&app.settings) {
        Ok(connector) => connector,
        Err(error) => return checks.push(Check::of("network", error)),
    };
    let answer = match api::knock(&connector, endpoint).await {
        Ok(answer) => answer,
        Err(unreached) => return checks.push(Check::of("network", unreached.told(endpoint.url()).0)),
    };
    checks.push(Check::ok("network", "the endpoint answers"));
    checks.push(match answer.skew((app.clock)()) {
        Some(skew) if skew.abs() > TOLERATED_SKEW_SECONDS => {
            let by = rough(skew.unsigned_abs());
            let way = if skew > 0 { "behind" } else { "ahead" };
            Check::fail(
                "clock",
                format!("this machine is {by} {way}"),
                "set it (`timedatectl`, `chronyc makestep`)",
            )
        }
        Some(skew) => Check::ok("clock", format!("{} from the service's", rough(skew.unsigned_abs()))),
        None => Check::ok("clock", "the endpoint does not say what time it is"),
    });
}

/// The key: whether there is one, whose it is to AWS, and whose to the service.
async fn identity(app: &App, aws: &Aws, checks: &mut Vec<Check>) {
    match aws.credentials().await {
        Ok(key) => {
            let kind = if key.session_token().is_some() { "temporary credentials" } else { "long-term key" };
            checks.push(Check::ok("key", format!("{kind} `{}`, region {}", key.access_key_id(), aws.region)));
        }
        Err(error) => return checks.push(Check::of("key", error)),
    }
    let sts = aws_sdk_sts::Client::new(&aws.sdk);
    let arn = match sts.get_caller_identity().send().await {
        Ok(identity) => identity.arn.unwrap_or_default(),
        Err(error) => {
            return checks.push(Check::of("identity", CliError::from_sdk("ask AWS whose key it is", &error)));
        }
    };
    checks.push(match files::caller_is_session(app) {
        Some(profile) => Check::fail(
            "identity",
            format!("`{arn}`: the credentials of a session (profile `{profile}`)"),
            "choose the bootstrap key's profile with `AWS_PROFILE` or `--caller-profile`",
        ),
        None => Check::ok("identity", arn.clone()),
    });
    if app.settings.endpoint().is_err() {
        return;
    }
    let api = match aws.api(app) {
        Ok(api) => api,
        Err(error) => return checks.push(Check::of("registry", error)),
    };
    let me: Result<WhoAmI> = api.get(&["whoami"], &[]).await;
    let suspended = me.as_ref().ok().and_then(|me| me.caller.as_ref()?.suspended_at);
    // Who is suspended is answered nothing else.
    let known = suspended.is_none() && me.as_ref().is_ok_and(|me| me.administrator || me.caller.is_some());
    checks.push(match me {
        Err(error) => Check::of("registry", error),
        Ok(me) if me.arn != arn => Check::fail(
            "registry",
            format!("the service sees `{}`, AWS sees `{arn}`", me.arn),
            "do `AWS_ENDPOINT_URL` and the endpoint belong together?",
        ),
        Ok(WhoAmI { caller: Some(_), .. }) if let Some(since) = suspended => Check::fail(
            "registry",
            format!("suspended since {}", shown(since)),
            "an administrator can lift that: `sorry admin callers resume`",
        ),
        Ok(WhoAmI { caller: Some(caller), .. }) => Check::ok(
            "registry",
            format!("{} in namespace {}: {}", caller.person, caller.namespace, super::whoami::tiers(&caller)),
        ),
        Ok(WhoAmI { administrator: true, .. }) => Check::ok("registry", "an administrator, and not a caller"),
        Ok(_) => {
            Check::fail("registry", "not registered", "an administrator adds you: `sorry admin callers add`")
        }
    });
    if known {
        checks.extend(subscribers(&api).await);
    }
}

/// Whether anybody would hear of the sessions that are granted only if somebody does.
async fn subscribers(api: &Api<'_>) -> Option<Check> {
    let list: TierList = match api.get(&["tiers"], &[]).await {
        Ok(list) => list,
        Err(error) => return Some(Check::of("subscribers", error)),
    };
    let alerting = list.tiers.iter().find(|tier| tier.alert && tier.enabled)?;
    let shown: Result<TierView> = api.get(&["tiers", alerting.name.as_str()], &[]).await;
    Some(match shown {
        Err(error) => Check::of("subscribers", error),
        Ok(TierView { alert_subscribers: None | Some(0), name, .. }) => Check::fail(
            "subscribers",
            format!("nobody would be told of a `{name}` session, so none is granted"),
            "security subscribes to the stack's alert topic, and confirms",
        ),
        Ok(TierView { alert_subscribers: Some(count), .. }) => {
            Check::ok("subscribers", format!("{count} would be told of a `{}` session", alerting.name))
        }
    })
}

/// The vault, and long-lived keys beside it.
fn vault(app: &App) -> Check {
    match super::vault::status::verdict(app) {
        Ok(Ok(detail)) => Check::ok("vault", detail),
        Ok(Err((detail, hint))) => Check::fail("vault", detail, hint),
        Err(error) => Check::of("vault", error),
    }
}

/// A key in the environment beats `AWS_PROFILE`, also the profiles that `sorry` writes.
fn environment(app: &App) -> Check {
    let set = |name| app.settings.environment.get(name);
    match (set(env_vars::AWS_ACCESS_KEY_ID), set(env_vars::AWS_PROFILE)) {
        (Some(_), Some(profile)) => Check::fail(
            "environment",
            format!("`AWS_ACCESS_KEY_ID` is set and beats `AWS_PROFILE={profile}`"),
            "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN",
        ),
        (Some(_), None) => {
            Check::ok("environment", "`AWS_ACCESS_KEY_ID` is set: it beats profiles that `AWS_PROFILE` names")
        }
        (None, Some(profile)) => Check::ok("environment", format!("AWS_PROFILE={profile}")),
        (None, None) => Check::ok("environment", "nothing shadows a profile"),
    }
}

fn file(path: &Path, check: &'static str, forbidden: u32) -> Check {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & forbidden == 0 {
                Check::ok(check, format!("{} ({mode:04o})", path.display()))
            } else {
                let hint = format!("chmod {:o} {}", mode & !forbidden, path.display());
                Check::fail(check, format!("{} is open to others ({mode:04o})", path.display()), hint)
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(check, format!("{} does not exist yet", path.display()))
        }
        Err(error) => Check::fail(check, format!("{}: {error}", path.display()), "can you read it?"),
    }
}

/// Whether the profiles of sessions can be edited.
fn profiles(app: &App) -> Check {
    let profiles = match files::profiles(app) {
        Ok(profiles) => profiles,
        Err(error) => return Check::of("profiles", error),
    };
    let ours: Vec<_> = profiles.iter().filter(|profile| profile.session.is_some()).collect();
    match ours.iter().flat_map(|profile| &profile.problems).next() {
        Some(problem) => Check::fail("profiles", problem.to_string(), problem.hint().unwrap_or_default()),
        None => Check::ok("profiles", format!("{} of {} hold a session", ours.len(), profiles.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_is_one_of_a_list_and_none_advises_what_runs_already() {
        let of = |error: CliError| Check::of("key", error).hints;
        assert_eq!(of(CliError::failed("no").also("look there").also("go on")), ["look there", "go on"]);
        for (hint, left) in [
            ("is it the endpoint of `sorry`? `sorry doctor` looks closer", "is it the endpoint of `sorry`?"),
            ("it is seconds old: wait a little, or see `sorry doctor`", "it is seconds old: wait a little"),
            ("the endpoint ends with `…/v1`; `sorry doctor` shows it", "the endpoint ends with `…/v1`"),
        ] {
            assert_eq!(of(CliError::failed("no").hint(hint)), [left]);
        }
        assert!(of(CliError::failed("no").hint("`sorry doctor` looks for what is missing")).is_empty());
        let dead = CliError::failed("no").code("InvalidClientTokenId").hint("`sorry doctor` looks closer");
        assert_eq!(of(dead), [DEAD_KEY]);
    }
}
