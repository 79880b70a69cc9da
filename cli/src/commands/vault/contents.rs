//! `sorry vault import|show|export|rotate|remove`: the key in the vault.

use secrecy::SecretString;
use serde_json::{Value, json};
use sorry_vault::{LongLivedKey, Rotation};

use super::status::rotation_line;
use crate::{
    app::App,
    args::{ExportVault, ImportKey, RemoveVault, RotateKey, ShowVault, TextFormat},
    commands::setup,
    error::{CliError, Exit, Result},
    files, terminal,
    time::shown,
    vault::{
        self, identity,
        rotation::{self, How},
        source,
    },
};

const MASKED: &str = "(masked: `--decrypted` shows it)";

pub(super) async fn import(app: &App, arguments: &ImportKey) -> Result<u8> {
    let open = app.needed_vault().await?;
    let found = source::find(app, arguments.source.from_profile.as_ref(), arguments.source.stdin).await?;
    let aws = app.aws_with(None, "the key to be imported".to_owned()).await?;
    let identity = identity::of_user(app, &aws.sdk, found.credentials()).await?;
    let old = open.contents().bootstrap.as_ref();
    let differs = old.filter(|old| old.access_key_id != found.access_key_id);
    if let Some(old) = differs
        && !arguments.replace
    {
        return Err(CliError::new(Exit::Refused, format!("the vault holds the key `{}` of `{}`", old.access_key_id, old.arn))
            .hint("`--replace` puts this one in its place; the other stays valid at AWS, so delete it there or export it first"));
    }
    if open.contents().rotation.is_some() {
        return Err(CliError::new(Exit::Refused, "a rotation of the vault's key is not finished")
            .hint("finish it first: `sorry vault rotate`"));
    }
    let stays = setup::stays(&found.place);
    let key = setup::long_lived(&found, identity);
    let arn = key.arn.clone();
    app.change_vault(&open, arguments.write.accept_older, |contents| {
        contents.bootstrap = Some(key);
        contents.mfa_session = None;
    })?;
    app.ui.say(&format!("the vault holds the key `{}` of `{arn}`", found.access_key_id));
    if let Some(old) = differs {
        app.ui.warn(&format!(
            "the key `{}` is no longer in the vault, and may be valid at AWS still: an administrator deletes it there",
            old.access_key_id
        ));
    }
    if let Some(stays) = stays {
        app.ui.warn(&stays);
    }
    Ok(0)
}

pub(super) async fn show(app: &App, arguments: &ShowVault) -> Result<u8> {
    let open = app.needed_vault().await?;
    let contents = open.contents();
    let secret = |text: &str| if arguments.decrypted { text.to_owned() } else { MASKED.to_owned() };
    let key = |key: &LongLivedKey| {
        json!({
            "access_key_id": key.access_key_id.as_str(), "secret_access_key": secret(key.secret_access_key.expose()),
            "arn": key.arn, "account": key.account, "created_at": key.created_at.map(|at| at.to_string()),
        })
    };
    let second = match &contents.rotation {
        Some(Rotation::Created { new_key, .. }) => Some(key(new_key)),
        _ => None,
    };
    let session = contents.mfa_session.as_ref().map(|session| {
        json!({
            "access_key_id": session.access_key_id.as_str(),
            "secret_access_key": secret(session.secret_access_key.expose()),
            "session_token": secret(session.session_token.expose()), "expires_at": session.expires_at.to_string(),
        })
    });
    let rotation = contents.rotation.as_ref().map(|rotation| match arguments.output.format {
        TextFormat::Json => json!(rotation_line(rotation)),
        TextFormat::Text => json!(stage(rotation)),
    });
    let object = json!({
        "bootstrap": contents.bootstrap.as_ref().map(key), "rotation": rotation, "next": second,
        "mfa_session": session, "mfa_device": contents.mfa_device,
    });
    let text = match arguments.output.format {
        TextFormat::Json => format!("{object:#}\n"),
        TextFormat::Text => lines(&object),
    };
    app.ui.secret(&SecretString::from(text))?;
    Ok(0)
}

/// One line for each value.
fn lines(value: &Value) -> String {
    let mut pairs = Vec::new();
    flattened(value, "", &mut pairs);
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    pairs.iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect()
}

fn flattened(value: &Value, name: &str, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (member, value) in members {
                let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                flattened(value, &name, pairs);
            }
        }
        Value::String(text) => pairs.push((name.to_owned(), text.clone())),
        other => pairs.push((name.to_owned(), other.to_string())),
    }
}

/// How far a rotation has come.
pub(super) fn stage(rotation: &Rotation) -> String {
    let (since, stage) = match rotation {
        Rotation::Creating { since, .. } => (since, "a new key is to be made"),
        Rotation::Created { since, .. } => (since, "the new key is stored and not in use yet"),
        Rotation::Switched { since, .. } => (since, "the new key is in use, the old one is still valid"),
        Rotation::Deactivated { since, .. } => (since, "the old key is inactive and not deleted yet"),
    };
    format!("begun {}: {stage}", shown(*since))
}

pub(super) async fn export(app: &App, arguments: &ExportVault) -> Result<u8> {
    if app.ui.shows_data_to_people() && !arguments.to_terminal {
        return Err(CliError::usage("standard output is a terminal, and the secret would stay on it")
            .hint("pipe it to where it shall go, or add `--to-terminal`"));
    }
    let open = app.needed_vault().await?;
    let key = vault::bootstrap(&open)?;
    let (id, secret) = (key.access_key_id.as_str(), key.secret_access_key.expose());
    let text = match arguments.output.format {
        TextFormat::Json => format!("{:#}\n", json!({"access_key_id": id, "secret_access_key": secret})),
        TextFormat::Text => {
            let name = key.arn.rsplit('/').next().unwrap_or("bootstrap");
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
        }
    };
    app.ui.secret(&SecretString::from(text))?;
    app.ui.warn("the key is in plain text now, wherever this went");
    Ok(0)
}

pub(super) async fn rotate(app: &App, arguments: RotateKey) -> Result<u8> {
    let open = app.needed_vault().await?;
    let key = vault::provider(&open)?;
    let aws = app.aws_with(Some(key), "the vault".to_owned()).await?;
    let RotateKey { code, delete_key, write } = arguments;
    let how = How { accept_older: write.accept_older, code, delete_key };
    let rotated = rotation::rotate(app, &aws.sdk, open, &how).await?;
    let new = vault::bootstrap(&rotated.open)?;
    app.ui.data(&format!("{}  {}", new.access_key_id, new.arn))?;
    app.ui.say(&format!(
        "rotated: the key in use is `{}`, and `{}` is deleted at AWS",
        new.access_key_id, rotated.old
    ));
    Ok(0)
}

pub(super) async fn remove(app: &App, arguments: &RemoveVault) -> Result<u8> {
    let stored = app.stored_vault()?.ok_or_else(|| {
        CliError::new(Exit::NotFound, format!("there is no vault at `{}`", app.store().path().display()))
    })?;
    if !arguments.yes {
        let question =
            "The AWS key in the vault is gone then, unless it lies elsewhere, too. Delete the vault?";
        terminal::agreed(question, "the vault stays", "it cannot be had back").await?;
    }
    files::in_context(app, false, |context| Ok(app.store().remove(&stored.vault, context)))??;
    app.forget_cache();
    app.ui.say(
        "the vault is deleted; its AWS key is valid still: an administrator deletes it, or makes another",
    );
    Ok(0)
}
