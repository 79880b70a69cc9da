//! `sorry admin callers add|list|remove`.

use std::time::Duration;

use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sorry_wire::{CallerList, CallerRemoved, CallerView, ErrorCode, MfaBy, PutCaller};

use super::{
    entry::{self, Wanted},
    mfa::Device,
    principal::{CallerUser, Iam, Principal, user_name},
};
use crate::{
    api::Api,
    app::{App, Aws},
    args::{AddCaller, ListCallers, RemoveCaller, TableFormat, TextFormat},
    commands::whoami::{roles, tiers},
    error::{CliError, Exit, Result},
    time::shown,
    vault::identity,
};

/// How long a new key may stay unknown to parts of AWS.
const NEW_KEY: Duration = Duration::from_secs(20);

pub(super) async fn add(app: &App, arguments: AddCaller) -> Result<u8> {
    if !arguments.existing && !is_user_name(&arguments.name) {
        return Err(CliError::usage(format!("`{}` is not a name for an IAM user", arguments.name)).hint(
            "letters, digits and `+ = , . @ _ -`, 64 at most; for a principal that exists, add `--existing`",
        ));
    }
    let aws = app.aws_with_mfa(&arguments.code).await?;
    let api = aws.api(app)?;
    let iam = Iam::new(&aws).await?;
    let listed: CallerList = api.get(&["admin", "callers"], &[]).await?;
    if arguments.existing {
        let principal = iam.existing(&arguments.name).await?;
        let before = listed.callers.into_iter().find(|caller| caller.unique_id == principal.unique_id);
        let wanted = entry::wanted(&arguments, before.as_ref())?;
        let caller = register(&api, wanted.entry, &principal).await?;
        print(app, &aws, &caller, &Once { key: None, device: None }, arguments.output.format)?;
        tell(app, before.as_ref(), &caller);
        if caller.unique_id.starts_with("AROA") && caller.mfa == MfaBy::Device {
            app.ui.warn("a role's session shows no MFA: tiers that ask for it are closed to this caller, unless `--mfa-by idp` is true of it");
        }
        app.ui.say(&format!(
            "registered `{}`. What it may do in IAM stays its owner's matter: it needs what the policy `sorry-caller` allows, and \
             the tag `sorry:namespace` that the policy asks for",
            caller.arn
        ));
        return Ok(0);
    }

    let before = registered(&iam, listed, &arguments.name).await?;
    let Wanted { entry, namespace, person } = entry::wanted(&arguments, before.as_ref())?;
    let name = arguments.name.as_str();
    app.on_interrupt("running the same command again goes on where this one stopped; a key that was not shown must be deleted first");
    app.ui.progress(&format!("making user `{name}` ready"));
    let user = iam.user(name, &namespace, &person).await?;
    app.ui.progress("writing the registry's entry");
    let caller = match register(&api, entry, &user.principal).await {
        Ok(caller) => caller,
        Err(error) => return Err(unregistered(&iam, &user, error).await),
    };
    let once = Once::make(app, &iam, &arguments, &user).await?;
    if let Err(error) = print(app, &aws, &caller, &once, arguments.output.format) {
        return Err(once.unmade(&iam, name, error).await);
    }
    tell(app, before.as_ref(), &caller);
    if once.key.is_none() && once.device.is_none() {
        return Ok(0);
    }
    app.on_interrupt(format!("`{name}` is registered, and what is its own is shown above"));
    let usable = match &once.key {
        None => "",
        Some((id, secret)) => match key_works(app, &aws, id, secret).await {
            Ok(true) => ". The key works already",
            Ok(false) => ". AWS needs some more seconds until the key works",
            Err(error) => {
                app.ui.warn(&format!("whether the key works could not be seen: {}", error.message));
                ""
            }
        },
    };
    app.ui
        .say(&format!("registered `{name}`. What is above is shown this once: hand it over safely, for `sorry setup`{usable}"));
    Ok(0)
}

/// Waits until AWS knows a key that was just made, so that what is handed over does not look deleted or mistyped at first.
async fn key_works(app: &App, aws: &Aws, id: &str, secret: &SecretString) -> Result<bool> {
    let key = Credentials::new(id, secret.expose_secret(), None, None, "just made");
    Ok(identity::of(app, &aws.sdk, key, NEW_KEY).await?.is_some())
}

/// What AWS tells once: a key, the secret of an MFA device. What nobody has read is only a risk, and is taken back.
struct Once {
    key: Option<(String, SecretString)>,
    device: Option<Device>,
}

impl Once {
    async fn make(app: &App, iam: &Iam, arguments: &AddCaller, user: &CallerUser) -> Result<Self> {
        let name = user.name.as_str();
        let mut once = Self { key: None, device: None };
        if arguments.mfa {
            app.ui.progress("making the MFA device");
            once.device = iam.enrol(name, (app.clock)()).await?;
            if once.device.is_none() {
                app.ui.say(&format!("user `{name}` has an MFA device already"));
            }
        }
        if !user.made && !arguments.new_key && iam.has_key(name).await? {
            app.ui.say(&format!("user `{name}` has a key already; `--new-key` makes another"));
            return Ok(once);
        }
        app.ui.progress("making the access key");
        match iam.make_key(name).await {
            Ok(key) => once.key = Some(key),
            Err(error) => return Err(once.unmade(iam, name, error).await),
        }
        Ok(once)
    }

    /// Takes back what was made; `error` is why, and says what became of it.
    async fn unmade(self, iam: &Iam, name: &str, error: CliError) -> CliError {
        let mut left = Vec::new();
        if let Some((id, _)) = &self.key
            && iam.delete_key(name, id).await.is_err()
        {
            left.push(format!("nobody has seen the key `{id}`: delete it with `aws iam delete-access-key --user-name {name} --access-key-id {id}`"));
        }
        if let Some(device) = &self.device
            && !iam.forget(name, device).await
        {
            left.push(device.left_behind(name));
        }
        if left.is_empty() {
            let flag = if self.device.is_some() { " --new-key --mfa" } else { " --new-key" };
            left.push(format!("`{name}` is registered, and nothing new was given to it: run `sorry admin callers add {name} …{flag}` again"));
        }
        left.into_iter().fold(error, CliError::also)
    }
}

/// The entry of the user that has this name now: one that was made anew is not who it was.
async fn registered(iam: &Iam, listed: CallerList, name: &str) -> Result<Option<CallerView>> {
    let named = |caller: &CallerView| caller.arn.contains(":user/") && user_name(&caller.arn) == name;
    if !listed.callers.iter().any(named) {
        return Ok(None);
    }
    let user = iam.made_user(name, None).await?;
    Ok(user.and_then(|user| listed.callers.into_iter().find(|caller| caller.unique_id == user.user_id)))
}

async fn register(api: &Api<'_>, entry: PutCaller, principal: &Principal) -> Result<CallerView> {
    let entry = PutCaller { arn: principal.arn.clone(), ..entry };
    api.put(&["admin", "callers", &principal.unique_id], &entry).await
}

/// Says what became of an entry that was there.
fn tell(app: &App, before: Option<&CallerView>, after: &CallerView) {
    if let Some(before) = before {
        app.ui.say(&entry::difference(before, after));
    }
}

/// What becomes of the user when its entry was not written: a refusal is final, everything else may have been written all the same.
async fn unregistered(iam: &Iam, user: &CallerUser, error: CliError) -> CliError {
    let refused = [Exit::Usage, Exit::Refused, Exit::NotFound].iter().any(|exit| *exit as u8 == error.exit)
        || error.known_code().is_some_and(|code| code.http_status() < 500 && code.http_status() != 429);
    if refused {
        return iam.undone(user, error).await;
    }
    let stays =
        format!("the user `{}` stays, without a new key: running this again goes on with it", user.name);
    error.also(stays)
}

fn print(app: &App, aws: &Aws, caller: &CallerView, once: &Once, format: TextFormat) -> Result<()> {
    let Once { key, device } = once;
    match format {
        TextFormat::Text if key.is_none() && device.is_none() => app.ui.pairs(&pairs(caller)),
        TextFormat::Text => app.ui.secret(&block(app, aws, caller, once)?),
        TextFormat::Json => {
            let mut object = Map::from_iter([("caller".to_owned(), json!(caller))]);
            if let Some((id, secret)) = key {
                object.insert("access_key_id".to_owned(), json!(id));
                object.insert("secret_access_key".to_owned(), json!(secret.expose_secret()));
            }
            if let Some(device) = device {
                let (secret, link) = (device.secret.expose_secret(), device.link.expose_secret());
                let shown = json!({"serial_number": device.serial, "secret": secret, "link": link});
                object.insert("mfa_device".to_owned(), shown);
            }
            app.ui.secret(&SecretString::from(format!("{:#}\n", Value::from(object))))
        }
    }
}

/// What was made, in the form of a profile: what is not for the file stands in comments.
fn block(app: &App, aws: &Aws, caller: &CallerView, once: &Once) -> Result<SecretString> {
    let mut block = String::new();
    for (name, value) in pairs(caller).into_iter().filter(|(_, value)| !value.is_empty()) {
        block.push_str(&format!("# {name}: {value}\n"));
    }
    if let Some(device) = &once.device {
        block.push_str(&format!("# MFA device: {}\n", device.serial));
        block.push_str(&format!("# its secret, for an app: {}\n", device.secret.expose_secret()));
        block.push_str(&format!("# its link: {}\n", device.link.expose_secret()));
    }
    if let Some((id, secret)) = &once.key {
        let name = user_name(&caller.arn);
        block.push_str(&format!("[{name}]\naws_access_key_id = {id}\n"));
        block.push_str(&format!("aws_secret_access_key = {}\n", secret.expose_secret()));
        block.push_str(&format!("region = {}\n", aws.region));
    }
    if let Some(device) = &once.device
        && app.ui.shows_data_to_people()
    {
        block.push_str(&format!("{}\n", device.picture()?.expose_secret()));
    }
    Ok(SecretString::from(block))
}

pub(super) fn pairs(caller: &CallerView) -> Vec<(&'static str, String)> {
    vec![
        ("caller", caller.arn.clone()),
        ("unique id", caller.unique_id.clone()),
        ("person", caller.person.to_string()),
        ("namespace", caller.namespace.to_string()),
        ("tiers", tiers(caller)),
        ("projects", caller.projects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("roles", roles(caller)),
        ("MFA", if caller.mfa == MfaBy::Idp { "by its identity provider" } else { "" }.to_owned()),
        ("source identity", caller.source_identity.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("suspended", caller.suspended_at.map(shown).unwrap_or_default()),
    ]
}

pub(super) async fn list(app: &App, arguments: &ListCallers) -> Result<u8> {
    let aws = app.aws().await?;
    let list: CallerList = aws.api(app)?.get(&["admin", "callers"], &[]).await?;
    if arguments.output.format == TableFormat::Json {
        app.ui.json(&list)?;
        return Ok(0);
    }
    if list.callers.is_empty() {
        app.ui.say("nobody is registered; `sorry admin callers add` registers somebody");
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = list
        .callers
        .iter()
        .map(|caller| {
            vec![
                user_name(&caller.arn).to_owned(),
                caller.unique_id.clone(),
                caller.person.to_string(),
                caller.namespace.to_string(),
                tiers(caller),
                roles(caller),
                caller.suspended_at.map(shown).unwrap_or_default(),
            ]
        })
        .collect();
    app.ui.table(&["caller", "unique id", "person", "namespace", "tiers", "roles", "suspended"], &rows)?;
    Ok(0)
}

pub(super) async fn remove(app: &App, arguments: &RemoveCaller) -> Result<u8> {
    let aws = app.aws_with_mfa(&arguments.code).await?;
    let api = aws.api(app)?;
    let wanted = arguments.caller.as_str();
    let listed: CallerList = api.get(&["admin", "callers"], &[]).await?;
    let whole_roles: Vec<String> = listed.callers.iter().map(|caller| caller.unique_id.clone()).collect();
    let entry = fitting(listed, wanted)?;
    let by_role =
        entry.as_ref().and_then(|entry| entry.unique_id.split_once(':')).map(|(role, _)| role.to_owned());
    let by_role = by_role.filter(|role| whole_roles.contains(role));
    app.on_interrupt("running the same command again goes on where this one stopped");
    // The registry first: from then on the key opens nothing here.
    let name = entry.as_ref().map_or(wanted, |entry| user_name(&entry.arn)).to_owned();
    let removed: Option<CallerRemoved> = match unique_id(&aws, entry.as_ref(), wanted).await? {
        None => None,
        Some(id) => match api.delete(&["admin", "callers", &id]).await {
            Ok(removed) => Some(removed),
            // An earlier try got this far.
            Err(error) if entry.is_none() && error.known_code() == Some(ErrorCode::NotFound) => None,
            Err(error) => return Err(error),
        },
    };
    let user_deleted = remove_user(&aws, entry.as_ref(), &name).await.map_err(|error| match &removed {
        Some(_) => error
            .also(format!("`{name}` is out of the registry already: running this again removes the rest")),
        None => error,
    })?;
    if removed.is_none() && !user_deleted {
        return Err(CliError::new(Exit::NotFound, format!("there is no caller `{wanted}`"))
            .hint("`sorry admin callers list` shows them"));
    }
    if let Some(role) = by_role {
        app.ui.warn(&format!(
            "`{name}` is a caller still, by its role `{role}`, which is registered as a whole"
        ));
    }
    let ended = removed.as_ref().map(|removed| removed.ended.clone()).unwrap_or_default();
    if arguments.output.format == TextFormat::Json {
        let caller = removed.map_or(Value::Null, |removed| json!(removed.caller));
        app.ui.json(&json!({"caller": caller, "ended": ended, "user_deleted": user_deleted}))?;
        return Ok(0);
    }
    for id in &ended {
        app.ui.data(&format!("{id}  ending"))?;
    }
    let user = if user_deleted {
        ", with its user and keys"
    } else {
        "; its IAM principal is not of `sorry` and stays"
    };
    app.ui.say(&format!("removed `{name}`{user}; {} of its sessions are ending", ended.len()));
    Ok(0)
}

/// The id that the service knows the caller by: also when an earlier try has removed the entry and not ended all sessions.
async fn unique_id(aws: &Aws, entry: Option<&CallerView>, wanted: &str) -> Result<Option<String>> {
    if let Some(entry) = entry {
        return Ok(Some(entry.unique_id.clone()));
    }
    if !is_user_name(wanted) {
        return Ok(None);
    }
    let user = Iam::new(aws).await?.made_user(wanted, None).await?;
    Ok(user.map(|user| user.user_id))
}

async fn remove_user(aws: &Aws, entry: Option<&CallerView>, name: &str) -> Result<bool> {
    if entry.is_some_and(|entry| !entry.arn.contains(":user/")) || !is_user_name(name) {
        return Ok(false);
    }
    let iam = Iam::new(aws).await?;
    let Some(user) = iam.made_user(name, entry.map(|entry| entry.unique_id.as_str())).await? else {
        return Ok(false);
    };
    iam.delete_user(&user.user_name).await?;
    Ok(true)
}

/// The one caller that is meant; nothing if none is.
pub(super) fn fitting(listed: CallerList, wanted: &str) -> Result<Option<CallerView>> {
    let fitting: Vec<CallerView> =
        listed.callers.into_iter().filter(|caller| is_called(caller, wanted)).collect();
    if fitting.len() > 1 {
        let ids: Vec<String> = fitting.iter().map(|caller| format!("`{}`", caller.unique_id)).collect();
        return Err(CliError::usage(format!("`{wanted}` fits {} callers", fitting.len()))
            .hint(format!("write the unique id: {}", ids.join(", "))));
    }
    Ok(fitting.into_iter().next())
}

/// By unique id, ARN, or the name at the ARN's end.
fn is_called(caller: &CallerView, wanted: &str) -> bool {
    caller.unique_id == wanted || caller.arn == wanted || user_name(&caller.arn) == wanted
}

/// What IAM takes for a user's name.
fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}
