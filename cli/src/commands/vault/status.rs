//! `sorry vault status`: where each secret lies, and what opens the vault. It asks nobody anything.

use jiff::Timestamp;
use serde::Serialize;
use sorry_profiles::{AccessKeyId, Form};
use sorry_vault::{Agent, Open, Rotation, Slot, SlotKind, Vault};

use super::contents;
use crate::{
    app::App,
    args::{TextFormat, VaultStatus},
    error::Result,
    files,
    time::shown,
    vault::{keys, opening},
};

/// Everything that is shown.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Status {
    path: String,
    exists: bool,
    id: Option<String>,
    generation: Option<u64>,
    written: Option<Timestamp>,
    slots: Vec<SlotLine>,
    /// Whether the agent opened it.
    opens: bool,
    shut: Option<String>,
    key: Option<KeyLine>,
    rotation: Option<RotationLine>,
    /// Secrets outside the vault, each with the way to change that.
    plain_text: Vec<PlainText>,
}

/// The vault's key, without its secret.
#[derive(Debug, Serialize)]
struct KeyLine {
    access_key_id: String,
    arn: String,
}

/// A rotation that is not finished.
#[derive(Debug, Serialize)]
pub(super) struct RotationLine {
    begun_at: Timestamp,
    stage: &'static str,
    #[serde(skip)]
    told: String,
}

#[derive(Debug, Serialize)]
struct SlotLine {
    id: String,
    label: String,
    kind: &'static str,
    fingerprint: Option<String>,
    in_agent: bool,
    file: Option<String>,
    bcrypt_rounds: Option<u32>,
    advice: Option<String>,
}

#[derive(Debug, Serialize)]
struct PlainText {
    place: String,
    /// How to change that; nothing for another key than the vault's, of which there may be reasons that nobody here knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl PlainText {
    /// `profile a and profile b hold a long-lived key in plain text`.
    fn told<'a>(found: impl Iterator<Item = &'a Self>, key: &str) -> String {
        let places: Vec<&str> = found.map(|plain| plain.place.as_str()).collect();
        let verb = if places.len() == 1 { "holds" } else { "hold" };
        format!("{} {verb} {key} in plain text", places.join(" and "))
    }
}

pub(super) fn run(app: &App, arguments: &VaultStatus) -> Result<u8> {
    let status = status(app)?;
    match arguments.output.format {
        TextFormat::Json => app.ui.json(&status)?,
        TextFormat::Text => print(app, &status)?,
    }
    Ok(0)
}

/// One line for `sorry doctor`: what is well, or what is not and how to change it.
pub(crate) fn verdict(app: &App) -> Result<std::result::Result<String, (String, String)>> {
    let status = status(app)?;
    let (to_fix, others): (Vec<_>, Vec<_>) = status.plain_text.iter().partition(|plain| plain.fix.is_some());
    if !status.exists {
        let place = match status.plain_text.as_slice() {
            [] => String::new(),
            found => format!("; {}", PlainText::told(found.iter(), "a long-lived key")),
        };
        return Ok(Ok(format!("there is none (`sorry setup` makes one){place}")));
    }
    if !to_fix.is_empty() {
        let fixes: Vec<&str> = to_fix.iter().filter_map(|plain| plain.fix.as_deref()).collect();
        return Ok(Err((PlainText::told(to_fix.into_iter(), "a long-lived key"), fixes.join("; "))));
    }
    let beside = match others.as_slice() {
        [] => String::new(),
        found => format!("; {}", PlainText::told(found.iter().copied(), "another long-lived key")),
    };
    if let Some(rotation) = status.rotation {
        return Ok(Err((
            format!("a rotation is not finished, {}", rotation.told),
            "sorry vault rotate".to_owned(),
        )));
    }
    if let Some(advice) =
        status.slots.iter().filter(|slot| slot.bcrypt_rounds.is_none()).find_map(|slot| slot.advice.clone())
    {
        return Ok(Err((advice, "give it a passphrase, or `sorry vault remove-key` it".to_owned())));
    }
    let slots: Vec<String> = status.slots.iter().map(|slot| format!("`{}`", slot.label)).collect();
    let opens = if status.opens { "open through the agent" } else { "shut: it would ask" };
    Ok(Ok(format!(
        "{opens}, generation {}, opened by {}{beside}",
        status.generation.unwrap_or_default(),
        slots.join(", ")
    )))
}

fn status(app: &App) -> Result<Status> {
    let mut status = Status { path: app.store().path().display().to_string(), ..Status::default() };
    let mut held = None;
    if let Some(stored) = app.stored_vault()? {
        let vault = &stored.vault;
        status.exists = true;
        status.id = Some(vault.id().to_string());
        status.generation = Some(vault.generation());
        status.written = Some(vault.written());
        let agent = keys::agent(&app.settings).transpose().unwrap_or_default();
        status.slots = vault.slots().iter().map(|slot| slot_line(app, agent.as_ref(), slot)).collect();
        match opened(app, vault) {
            Ok(open) => {
                held = open.contents().bootstrap.as_ref().map(|key| key.access_key_id.clone());
                status.opens = true;
                status.key = open.contents().bootstrap.as_ref().map(|key| KeyLine {
                    access_key_id: key.access_key_id.to_string(),
                    arn: key.arn.clone(),
                });
                status.rotation = open.contents().rotation.as_ref().map(rotation_line);
            }
            Err(error) => status.shut = Some(error.message),
        }
    }
    status.plain_text = plain_text(app, held.as_ref())?;
    Ok(status)
}

pub(super) fn rotation_line(rotation: &Rotation) -> RotationLine {
    let (begun_at, stage) = match rotation {
        Rotation::Creating { since, .. } => (since, "creating"),
        Rotation::Created { since, .. } => (since, "created"),
        Rotation::Switched { since, .. } => (since, "switched"),
        Rotation::Deactivated { since, .. } => (since, "deactivated"),
    };
    RotationLine { begun_at: *begun_at, stage, told: contents::stage(rotation) }
}

fn opened(app: &App, vault: &Vault) -> Result<Open> {
    match app.opened_vault() {
        Some(open) => Ok(open),
        None => opening::open_silently(app, vault),
    }
}

fn slot_line(app: &App, agent: Option<&Agent>, slot: &Slot) -> SlotLine {
    let mut line = SlotLine {
        id: slot.id().to_string(),
        label: slot.label().to_string(),
        kind: "passphrase",
        fingerprint: None,
        in_agent: false,
        file: None,
        bcrypt_rounds: None,
        advice: None,
    };
    if let SlotKind::SshEd25519 { public_key } = slot.kind() {
        line.kind = "ssh-ed25519";
        line.fingerprint = Some(public_key.fingerprint());
        line.in_agent = agent.is_some_and(|agent| agent.key(public_key).is_ok());
        if let Some((path, file)) = keys::file_of(&app.settings, public_key) {
            line.bcrypt_rounds = file.bcrypt_rounds();
            line.advice = keys::weakness(&path, &file);
            line.file = Some(path.display().to_string());
        }
    }
    line
}

/// Long-lived keys that lie open: in the environment, and in profiles that are not a session's. `held` is the vault's, as far as that is
/// known: `setup` takes that one, and no other, out of a profile.
fn plain_text(app: &App, held: Option<&AccessKeyId>) -> Result<Vec<PlainText>> {
    let mut found = Vec::new();
    if app.settings.environment.key().is_some_and(|(_, _, is_temporary)| !is_temporary) {
        let fix = Some("take it out of where it is set (`~/.bashrc`?), after `sorry setup`".to_owned());
        found.push(PlainText { place: "the environment (`AWS_SECRET_ACCESS_KEY`)".to_owned(), fix });
    }
    for profile in files::profiles(app)? {
        if profile.session.is_some() || profile.form != Form::Keys {
            continue;
        }
        let key =
            files::in_context(app, false, |context| app.settings.aws_files.plain_key(context, &profile.name));
        let Some(key) = key.ok().flatten().filter(|key| !key.is_temporary) else { continue };
        let is_anothers = held.is_some_and(|held| *held != key.access_key_id);
        let name = &profile.name;
        found.push(PlainText {
            place: format!("profile `{name}`"),
            fix: (!is_anothers).then(|| format!("sorry setup --from-profile {name} --remove-plain-text")),
        });
    }
    Ok(found)
}

fn print(app: &App, status: &Status) -> Result<()> {
    if !status.exists {
        app.ui.data(&format!("there is no vault at `{}`: `sorry setup` makes one", status.path))?;
    } else {
        let key = status.key.as_ref().map(|key| format!("`{}` of `{}`", key.access_key_id, key.arn));
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        app.ui.pairs(&[
            ("vault", status.path.clone()),
            ("id", text(&status.id)),
            ("generation", status.generation.map(|generation| generation.to_string()).unwrap_or_default()),
            ("written", status.written.map(shown).unwrap_or_default()),
            ("opens", if status.opens { "yes, through the agent".to_owned() } else { text(&status.shut) }),
            ("AWS key", key.unwrap_or_default()),
            ("rotation", status.rotation.as_ref().map(|rotation| rotation.told.clone()).unwrap_or_default()),
        ])?;
        let rows: Vec<Vec<String>> = status
            .slots
            .iter()
            .map(|slot| {
                let agent = if slot.in_agent { "yes" } else { "" };
                let rounds = slot.bcrypt_rounds.map(|rounds| rounds.to_string()).unwrap_or_default();
                vec![
                    slot.label.clone(),
                    slot.id.clone(),
                    slot.kind.to_owned(),
                    agent.to_owned(),
                    rounds,
                    slot.fingerprint.clone().unwrap_or_default(),
                    slot.file.clone().unwrap_or_default(),
                ]
            })
            .collect();
        app.ui.table(&["slot", "id", "kind", "in agent", "rounds", "fingerprint", "file"], &rows)?;
        for advice in status.slots.iter().filter_map(|slot| slot.advice.as_ref()) {
            app.ui.data(&format!("advice: {advice}"))?;
        }
    }
    for PlainText { place, fix } in &status.plain_text {
        let whose = if fix.is_some() { "a long-lived key" } else { "a long-lived key, not the vault's" };
        app.ui.data(&format!("plain text: {place} holds {whose}"))?;
        if let Some(fix) = fix {
            app.ui.data(&format!("       fix: {fix}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_are_told_of_a_rotation_in_fields_and_people_in_words() {
        let since = "2026-11-21T04:00:00Z".parse().unwrap();
        let line = rotation_line(&Rotation::Creating { since, known: Vec::new() });
        assert_eq!(json!(line), json!({"begun_at": "2026-11-21T04:00:00Z", "stage": "creating"}));
        assert_eq!(line.told, "begun 2026-11-21 04:00:00 UTC: a new key is to be made");
    }
}
