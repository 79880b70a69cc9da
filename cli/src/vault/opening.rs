//! Opening the vault for a person: the agent first, which asks nothing; then the key's file with its passphrase; then a passphrase of
//! the vault's own. What is asked, is asked on the terminal.

use secrecy::{ExposeSecret, SecretSlice};
use sorry_vault::{Agent, KeyFileError, Open, SignError, SlotKind, UnlockError, Vault};

use super::keys::{self, TRIES};
use crate::{
    app::App,
    error::{CliError, Result},
    terminal,
};

/// Opens it, or says what would.
pub(crate) async fn open(app: &App, vault: &Vault) -> Result<Open> {
    let mut refusals = Vec::new();
    if let Some(open) = with_agent(app, vault, &mut refusals)? {
        return Ok(open);
    }
    if terminal::can_ask() {
        // What is about to be asked would surprise whoever has an agent.
        if let Some(first) = first(&refusals) {
            app.ui.say(&first.message);
        }
        if let Some(open) = with_key_file(app, vault, &mut refusals).await? {
            return Ok(open);
        }
        if let Some(open) = with_passphrase(vault, &mut refusals).await? {
            return Ok(open);
        }
    }
    Err(shut(app, vault, &refusals))
}

/// Opens it without asking anybody, though an agent may ask.
pub(crate) fn open_silently(app: &App, vault: &Vault) -> Result<Open> {
    let mut refusals = Vec::new();
    let open = with_agent(app, vault, &mut refusals)?;
    open.ok_or_else(|| shut(app, vault, &refusals))
}

/// Why one way did not open it. That an agent lacks a key is the least of reasons: it may have another.
struct Refusal {
    message: String,
    hint: Option<String>,
    is_absence: bool,
}

impl Refusal {
    fn of(error: impl Into<CliError>, is_absence: bool) -> Self {
        let error = error.into();
        Self { message: error.message, hint: error.hint, is_absence }
    }
}

fn first(refusals: &[Refusal]) -> Option<&Refusal> {
    refusals.iter().find(|refusal| !refusal.is_absence).or(refusals.first())
}

/// `Err`: nothing will open this vault.
fn with_agent(app: &App, vault: &Vault, refusals: &mut Vec<Refusal>) -> Result<Option<Open>> {
    let mut slots = vault.slots().iter().filter_map(|slot| slot.public_key()).peekable();
    if slots.peek().is_none() {
        return Ok(None);
    }
    let agent: Agent = match keys::agent(&app.settings) {
        Some(Ok(agent)) => agent,
        Some(Err(error)) => {
            refusals.push(Refusal::of(error, false));
            return Ok(None);
        }
        None => {
            let error = CliError::failed("no ssh-agent is named (`SSH_AUTH_SOCK` is not set)");
            refusals.push(Refusal::of(error, true));
            return Ok(None);
        }
    };
    for key in slots {
        let opened =
            agent.key(key).map_err(UnlockError::from).and_then(|signer| vault.unlock_with_signer(&signer));
        match opened {
            Ok(open) => {
                if let Some((path, file)) = keys::file_of(&app.settings, key)
                    && !file.is_encrypted()
                {
                    app.ui.warn(&told(&keys::about(&path, KeyFileError::Unencrypted)));
                }
                return Ok(Some(open));
            }
            Err(error @ (UnlockError::Damaged | UnlockError::UnknownContents)) => return Err(error.into()),
            Err(error) => {
                let is_absence = matches!(error, UnlockError::Sign(SignError::NotHeld { .. }));
                refusals.push(Refusal::of(error, is_absence));
            }
        }
    }
    Ok(None)
}

fn told(error: &CliError) -> String {
    match &error.hint {
        Some(hint) => format!("{}\nhint: {hint}", error.message),
        None => error.message.clone(),
    }
}

async fn with_key_file(app: &App, vault: &Vault, refusals: &mut Vec<Refusal>) -> Result<Option<Open>> {
    for key in vault.slots().iter().filter_map(|slot| slot.public_key()) {
        let Some((path, file)) = keys::file_of(&app.settings, key) else { continue };
        if !file.is_encrypted() {
            refusals.push(Refusal::of(keys::about(&path, KeyFileError::Unencrypted), false));
            continue;
        }
        match keys::unlock(&path, &file).await {
            Ok(Some(signer)) => return Ok(Some(vault.unlock_with_signer(&signer)?)),
            Ok(None) => {}
            Err(error) => refusals.push(Refusal::of(error, false)),
        }
    }
    Ok(None)
}

async fn with_passphrase(vault: &Vault, refusals: &mut Vec<Refusal>) -> Result<Option<Open>> {
    let mut labels =
        vault.slots().iter().filter(|slot| slot.costs().is_some()).map(|slot| slot.label().as_str());
    let Some(first) = labels.next() else { return Ok(None) };
    let names = labels.fold(format!("`{first}`"), |names, label| format!("{names}, `{label}`"));
    for _ in 0..TRIES {
        let question = format!("Passphrase or recovery code of the vault ({names})");
        let Some(passphrase) = given(terminal::ask_secret(&question).await) else { return Ok(None) };
        match vault.unlock_with_passphrase(&passphrase) {
            Ok(open) => return Ok(Some(open)),
            Err(error @ UnlockError::WrongPassphrase) => refusals.push(Refusal::of(error, false)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn given(typed: Option<SecretSlice<u8>>) -> Option<SecretSlice<u8>> {
    typed.filter(|typed| !typed.expose_secret().is_empty())
}

/// The reason that matters most, and everything that would open it.
fn shut(app: &App, vault: &Vault, refusals: &[Refusal]) -> CliError {
    let reason = first(refusals);
    let message = reason.map_or_else(|| "nobody opened it".to_owned(), |refusal| refusal.message.clone());
    let mut error = CliError::failed(format!("the vault stays shut: {message}"));
    if let Some(hint) = reason.filter(|refusal| !refusal.is_absence).and_then(|refusal| refusal.hint.clone())
    {
        error = error.also(hint);
    }
    for slot in vault.slots() {
        let label = slot.label();
        error = error.also(match slot.kind() {
            SlotKind::SshEd25519 { public_key } => {
                let file = keys::file_of(&app.settings, public_key);
                let file =
                    file.map(|(path, _)| format!(": `ssh-add {}`", path.display())).unwrap_or_default();
                format!("the key `{label}` (`{}`) opens it from an agent{file}", public_key.fingerprint())
            }
            SlotKind::Passphrase { .. } => format!("the passphrase `{label}` opens it at a terminal"),
        });
    }
    error
}
