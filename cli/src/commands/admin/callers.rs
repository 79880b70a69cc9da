//! `sorry admin callers add|list|remove`.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::error::ProvideErrorMetadata;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sorry_wire::{CallerList, CallerRemoved, CallerView, ErrorCode, Namespace, PersonName, PutCaller};
use tokio::time::Instant;

use super::principal::{CallerUser, Iam, Principal, user_name};
use crate::{
    api::Api,
    app::{App, Aws},
    args::{AddCaller, ListCallers, RemoveCaller, TableFormat, TextFormat},
    commands::whoami::{roles, tiers},
    error::{CliError, Exit, Result},
};

/// How long a new key may stay unknown to parts of AWS.
const NEW_KEY: Duration = Duration::from_secs(20);

pub(super) async fn add(app: &App, arguments: AddCaller) -> Result<u8> {
    let namespace = match &arguments.namespace {
        Some(namespace) => namespace.clone(),
        None => Namespace::of_user(user_name(&arguments.name)).map_err(|error| {
            CliError::usage(format!("no namespace follows from the name `{}`", arguments.name))
                .hint(format!("name one with `--namespace`: {}", error.hint()))
        })?,
    };
    let person = match &arguments.person {
        Some(person) => person.clone(),
        None => namespace.as_str().parse::<PersonName>()?,
    };
    if !arguments.existing && !is_user_name(&arguments.name) {
        return Err(CliError::usage(format!("`{}` is not a name for an IAM user", arguments.name)).hint(
            "letters, digits and `+ = , . @ _ -`, 64 at most; for a principal that exists, add `--existing`",
        ));
    }
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let iam = Iam::new(&aws).await?;
    if arguments.existing {
        let principal = iam.existing(&arguments.name).await?;
        let caller = register(&api, &arguments, &principal, namespace, person).await?;
        print(app, &aws, &caller, None, arguments.output.format)?;
        app.ui.say(&format!(
            "registered `{}`. What it may do in IAM stays its owner's matter: it needs what the policy `sorry-caller` allows, and \
             the tag `sorry:namespace` that the policy asks for",
            caller.arn
        ));
        return Ok(0);
    }

    let name = arguments.name.as_str();
    app.on_interrupt("running the same command again goes on where this one stopped; a key that was not shown must be deleted first");
    app.ui.progress(&format!("making user `{name}` ready"));
    let user = iam.user(name, &namespace, &person).await?;
    app.ui.progress("writing the registry's entry");
    let caller = match register(&api, &arguments, &user.principal, namespace, person).await {
        Ok(caller) => caller,
        Err(error) => return Err(unregistered(&iam, &user, error).await),
    };
    if !user.made && !arguments.new_key && iam.has_key(name).await? {
        print(app, &aws, &caller, None, arguments.output.format)?;
        app.ui.say(&format!("user `{name}` has a key already; `--new-key` makes another"));
        return Ok(0);
    }
    app.ui.progress("making the access key");
    let (id, secret) = iam.make_key(name).await.map_err(|error| {
        error.also(format!(
            "`{name}` is registered and has no new key: run `sorry admin callers add {name} … --new-key` again"
        ))
    })?;
    if let Err(error) = print(app, &aws, &caller, Some((&id, &secret)), arguments.output.format) {
        // A key that nobody has read is only a risk.
        let gone = iam.delete_key(name, &id).await.is_ok();
        let hint = if gone {
            "the key was deleted again; run this again with `--new-key`".to_owned()
        } else {
            format!(
                "nobody has seen the key `{id}`: delete it with `aws iam delete-access-key --user-name {name} --access-key-id {id}`"
            )
        };
        return Err(error.hint(hint));
    }
    app.on_interrupt(format!("`{name}` is registered, and its key is the one shown above"));
    let usable = match key_works(app, &aws, &id, &secret).await {
        Ok(true) => "It works already".to_owned(),
        Ok(false) => "AWS needs some more seconds until it works".to_owned(),
        Err(error) => format!("Whether it works could not be seen: {}", error.message),
    };
    app.ui.say(&format!(
        "registered `{name}`. The key above is shown this once: hand it over safely, for `~/.aws/credentials`. {usable}"
    ));
    Ok(0)
}

/// Waits until AWS knows a key that was just made, so that what is handed over does not look deleted or mistyped at first.
async fn key_works(app: &App, aws: &Aws, id: &str, secret: &SecretString) -> Result<bool> {
    let key = Credentials::new(id, secret.expose_secret(), None, None, "just made");
    let config = aws_sdk_sts::config::Builder::from(&aws.sdk).credentials_provider(key).build();
    let sts = aws_sdk_sts::Client::from_conf(config);
    let give_up = Instant::now() + NEW_KEY;
    loop {
        let error = match sts.get_caller_identity().send().await {
            Ok(_) => return Ok(true),
            Err(error) => error,
        };
        // Of a key that is older this is the truth, and is told at once; of this one it means "not yet".
        if error.as_service_error().and_then(ProvideErrorMetadata::code) != Some("InvalidClientTokenId") {
            return Err(CliError::from_sdk("try the new key", &error));
        }
        if Instant::now() >= give_up {
            return Ok(false);
        }
        app.ui.progress("waiting until AWS knows the new key (up to 20 seconds)");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn register(
    api: &Api<'_>,
    arguments: &AddCaller,
    principal: &Principal,
    namespace: Namespace,
    person: PersonName,
) -> Result<CallerView> {
    let entry = PutCaller {
        arn: principal.arn.clone(),
        person: person.into(),
        namespace: namespace.into(),
        tiers: arguments.tiers.iter().map(|wanted| (wanted.tier.to_string(), wanted.hours)).collect(),
        projects: arguments.projects.iter().map(ToString::to_string).collect(),
        roles: arguments.roles.iter().copied().map(Into::into).collect(),
    };
    api.put(&["admin", "callers", &principal.unique_id], &entry).await
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

fn print(
    app: &App,
    aws: &Aws,
    caller: &CallerView,
    key: Option<(&str, &SecretString)>,
    format: TextFormat,
) -> Result<()> {
    match (format, key) {
        (TextFormat::Json, None) => app.ui.json(&json!({"caller": caller})),
        (TextFormat::Json, Some((id, secret))) => {
            let object =
                json!({"caller": caller, "access_key_id": id, "secret_access_key": secret.expose_secret()});
            app.ui.secret(&SecretString::from(format!("{object:#}\n")))
        }
        (TextFormat::Text, None) => app.ui.pairs(&pairs(caller)),
        (TextFormat::Text, Some((id, secret))) => {
            let mut block = String::new();
            for (name, value) in pairs(caller) {
                if !value.is_empty() {
                    block.push_str(&format!("# {name}: {value}\n"));
                }
            }
            let name = user_name(&caller.arn);
            block.push_str(&format!(
                "[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {}\n",
                secret.expose_secret()
            ));
            block.push_str(&format!("region = {}\n", aws.region));
            app.ui.secret(&SecretString::from(block))
        }
    }
}

fn pairs(caller: &CallerView) -> Vec<(&'static str, String)> {
    vec![
        ("caller", caller.arn.clone()),
        ("unique id", caller.unique_id.clone()),
        ("person", caller.person.to_string()),
        ("namespace", caller.namespace.to_string()),
        ("tiers", tiers(caller)),
        ("projects", caller.projects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("roles", roles(caller)),
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
            ]
        })
        .collect();
    app.ui.table(&["caller", "unique id", "person", "namespace", "tiers", "roles"], &rows)?;
    Ok(0)
}

pub(super) async fn remove(app: &App, arguments: &RemoveCaller) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let wanted = arguments.caller.as_str();
    let listed: CallerList = api.get(&["admin", "callers"], &[]).await?;
    let fitting: Vec<CallerView> =
        listed.callers.into_iter().filter(|caller| is_called(caller, wanted)).collect();
    if fitting.len() > 1 {
        let ids: Vec<String> = fitting.iter().map(|caller| format!("`{}`", caller.unique_id)).collect();
        return Err(CliError::usage(format!("`{wanted}` fits {} callers", fitting.len()))
            .hint(format!("write the unique id: {}", ids.join(", "))));
    }
    app.on_interrupt("running the same command again goes on where this one stopped");
    // The registry first: from then on the key opens nothing here.
    let entry = fitting.into_iter().next();
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

/// By unique id, ARN, or the name at the ARN's end.
fn is_called(caller: &CallerView, wanted: &str) -> bool {
    caller.unique_id == wanted || caller.arn == wanted || user_name(&caller.arn) == wanted
}

/// What IAM takes for a user's name.
fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
}
