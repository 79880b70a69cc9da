//! `sorry vault add-key|add-passphrase|remove-key|rekey`: who may open the vault.

use std::{io::BufRead, path::Path};

use secrecy::{ExposeSecret, SecretSlice};
use sorry_vault::{
    Agent, Costs, KeyFile, Label, NewSlot, Open, RecoveryCode, SignError, Slot, SlotId, SlotKind, Unlocker,
    Vault,
};
use zeroize::Zeroizing;

use crate::{
    app::App,
    args::{AddKey, AddPassphrase, Answers, RekeyVault, RemoveKey, SshKeyChoice},
    commands::setup,
    error::{CliError, Exit, Result},
    terminal,
    vault::{
        self, crash,
        keys::{self, Key, OwnedSigner, TRIES},
    },
};

const ROTATE: &str =
    "whoever could open the old file still has what was in it: `sorry vault rotate` makes that worthless";

/// The fewest characters of a new passphrase, which alone opens the vault. Source: NIST SP 800-63B-4, section 3.1.1.2, for passwords that
/// are the only factor.
const FEWEST_CHARACTERS: usize = 15;

/// A key, and the agent that may hold it.
pub(crate) struct Chosen {
    pub(crate) key: Key,
    agent: Option<Agent>,
}

impl Chosen {
    /// Somebody who signs with it, for a slot.
    pub(crate) async fn signer(&self, app: &App, allow_forwarded: bool) -> Result<OwnedSigner> {
        let agent = match &self.agent {
            Some(_) => keys::agent(&app.settings).transpose()?,
            None => None,
        };
        keys::enrol(app, agent, &self.key, allow_forwarded).await
    }
}

/// The SSH key that is meant: the one that is named, or the only one; else the person is asked.
pub(crate) async fn choose(app: &App, choice: &SshKeyChoice) -> Result<Chosen> {
    let agent = match keys::agent(&app.settings) {
        Some(Ok(agent)) => Some(agent),
        Some(Err(error)) => {
            app.ui.say(&error.message);
            None
        }
        None => None,
    };
    let wanted = choice.key.as_deref().or(app.settings.ssh_key.as_deref());
    if let Some(wanted) = wanted {
        let key = keys::find(&app.settings, agent.as_ref(), wanted)?;
        return Ok(Chosen { key, agent });
    }
    let all = keys::all(&app.settings, agent.as_ref())?;
    let key = match all.as_slice() {
        [] => {
            if let Some(key) = keys::certified(agent.as_ref())? {
                return Err(SignError::CertificateOnly { fingerprint: key.fingerprint() }.into());
            }
            return Err(CliError::new(
                Exit::NotFound,
                "no Ed25519 SSH key was found, in no agent and not in `~/.ssh`",
            )
            .hint(
                "make one with `ssh-keygen -t ed25519 -a 100`, then `ssh-add`; or name its file with `--key`",
            ));
        }
        [key] => key.clone(),
        several => pick(app, several).await?,
    };
    Ok(Chosen { key, agent })
}

async fn pick(app: &App, keys: &[Key]) -> Result<Key> {
    let lines: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| format!("{}  {}  {}", index + 1, key.public_key.fingerprint(), key.name()))
        .collect();
    app.ui.say(&lines.join("\n"));
    let several = || {
        CliError::usage("there are several SSH keys")
            .hint("name one with `--key`: its file, or its fingerprint")
    };
    let number = terminal::ask("Which key shall open the vault (its number)").await.ok_or_else(several)?;
    let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    index.and_then(|index| keys.get(index)).cloned().ok_or_else(several)
}

/// What to call a key's slot: as its file is called.
pub(crate) fn label_of(key: &Key) -> Label {
    let file = key.file.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let named = file.or(key.comment.as_deref()).and_then(|name| Label::parse(name).ok());
    named.unwrap_or_else(|| fallback("ssh key"))
}

fn fallback(text: &str) -> Label {
    // Such texts are labels; the alternative is never used.
    Label::parse(text).unwrap_or_else(|_| unreachable!("`{text}` is a label"))
}

/// What is weak about a key file.
pub(crate) fn weakness(path: &Path) -> Option<String> {
    keys::weakness(path, &KeyFile::read(path).ok()?)
}

pub(super) async fn add_key(app: &App, arguments: AddKey) -> Result<u8> {
    let open = app.needed_vault().await?;
    let chosen = choose(app, &arguments.key).await?;
    let signer = chosen.signer(app, arguments.key.allow_forwarded).await?;
    let label = arguments.label.unwrap_or_else(|| label_of(&chosen.key));
    unused(open.vault(), &label)?;
    let new = NewSlot::Signer { label: &label, signer: &signer };
    let sealed = open.add(&new, (app.clock)(), &mut vault::random())?;
    app.write_vault(sealed, arguments.write.accept_older)?;
    app.ui.say(&format!("`{label}` (`{}`) opens the vault, too", chosen.key.public_key.fingerprint()));
    Ok(0)
}

pub(super) async fn add_passphrase(app: &App, arguments: AddPassphrase) -> Result<u8> {
    let open = app.needed_vault().await?;
    let standard = if arguments.recovery_code { "recovery" } else { "passphrase" };
    let label = match arguments.label {
        Some(label) => label,
        None => Label::parse(standard)?,
    };
    unused(open.vault(), &label)?;
    let code =
        if arguments.recovery_code { Some(RecoveryCode::generate(&mut vault::random())?) } else { None };
    let passphrase = match &code {
        Some(code) => code.to_passphrase(),
        None if arguments.stdin => {
            let typed = lines(1)?.pop();
            let typed = typed.ok_or_else(|| CliError::usage("standard input holds no passphrase"))?;
            long_enough(&typed)?;
            typed
        }
        None => new_passphrase(app).await?,
    };
    let new = NewSlot::Passphrase { label: &label, passphrase: &passphrase, costs: Costs::default() };
    let sealed = open.add(&new, (app.clock)(), &mut vault::random())?;
    app.write_vault(sealed, arguments.write.accept_older)?;
    if let Some(code) = &code {
        setup::show_recovery_code(app, code)?;
    }
    app.ui.say(&format!("`{label}` opens the vault, too"));
    Ok(0)
}

async fn new_passphrase(app: &App) -> Result<SecretSlice<u8>> {
    let nobody = || {
        CliError::usage("there is no terminal to ask for a passphrase")
            .hint("`--stdin` reads it from standard input, `--recovery-code` makes one")
    };
    let mut refused = CliError::usage("the passphrases differ");
    for _ in 0..TRIES {
        let first = terminal::ask_secret("New passphrase of the vault").await.ok_or_else(nobody)?;
        if let Err(error) = long_enough(&first) {
            refused = error;
            app.ui.say(&refused.message);
            continue;
        }
        let second = terminal::ask_secret("The same again").await.ok_or_else(nobody)?;
        if first.expose_secret() == second.expose_secret() {
            return Ok(first);
        }
        refused = CliError::usage("the passphrases differ");
        app.ui.say(&refused.message);
    }
    Err(refused)
}

/// Whoever has a copy of the file can guess at a passphrase for as long as they like.
fn long_enough(passphrase: &SecretSlice<u8>) -> Result<()> {
    let bytes = passphrase.expose_secret();
    let characters = std::str::from_utf8(bytes).map_or(bytes.len(), |text| text.chars().count());
    if characters >= FEWEST_CHARACTERS {
        return Ok(());
    }
    Err(CliError::usage(format!("the passphrase has fewer than {FEWEST_CHARACTERS} characters"))
        .hint("NIST SP 800-63B asks for as many of one that opens something alone: some words do")
        .also("`--recovery-code` makes one that nobody can guess"))
}

/// Labels are how people name slots.
fn unused(vault: &Vault, label: &Label) -> Result<()> {
    if vault.slots().iter().any(|slot| slot.label() == label) {
        return Err(CliError::usage(format!("the vault has a slot `{label}` already"))
            .hint("name this one with `--label`"));
    }
    Ok(())
}

pub(super) async fn remove_key(app: &App, arguments: &RemoveKey) -> Result<u8> {
    renew(app, "remove-key", &arguments.slots, arguments.answers, arguments.write.accept_older).await
}

pub(super) async fn rekey(app: &App, arguments: &RekeyVault) -> Result<u8> {
    renew(app, "rekey", &arguments.drop, arguments.answers, arguments.write.accept_older).await
}

/// A new data key, wrapped for every slot but those that go, by the command of this name.
async fn renew(
    app: &App,
    command: &str,
    names: &[String],
    answers: Answers,
    accept_older: bool,
) -> Result<u8> {
    app.on_interrupt("the vault is as it was, unless it was said that it is encrypted anew");
    let open = app.needed_vault().await?;
    let dropped: Vec<&Slot> = names.iter().map(|name| named(open.vault(), name)).collect::<Result<_>>()?;
    let gone: Vec<SlotId> = dropped.iter().map(|slot| slot.id()).collect();
    let stay: Vec<&Slot> = open.vault().slots().iter().filter(|slot| !gone.contains(&slot.id())).collect();
    if stay.is_empty() {
        return Err(CliError::usage("nothing could open the vault any more")
            .hint("add another key first, or `sorry vault remove`"));
    }
    let mut typed = match answers.stdin {
        true => lines(stay.iter().filter(|slot| slot.costs().is_some()).count())?.into_iter(),
        false => Vec::new().into_iter(),
    };
    let mut given: Vec<(SlotId, Answer)> = Vec::new();
    for slot in stay {
        let without = without(command, names, slot);
        let answer = match slot.kind() {
            SlotKind::SshEd25519 { .. } => Answer::Signer(Box::new(signer_of(app, slot, &without).await?)),
            SlotKind::Passphrase { .. } if answers.stdin => {
                Answer::Passphrase(typed.next().ok_or_else(|| unanswered(slot, &without))?)
            }
            SlotKind::Passphrase { .. } => Answer::Passphrase(passphrase_of(&open, slot, &without).await?),
        };
        given.push((slot.id(), answer));
    }
    let unlockers: Vec<(SlotId, Unlocker<'_>)> = given
        .iter()
        .map(|(slot, answer)| match answer {
            Answer::Signer(signer) => (*slot, Unlocker::Signer(signer.as_ref())),
            Answer::Passphrase(passphrase) => (*slot, Unlocker::Passphrase(passphrase)),
        })
        .collect();
    let sealed = open.rekey(&unlockers, &gone, (app.clock)(), &mut vault::random())?;
    crash::point(app, "rekey-sealed");
    app.write_vault(sealed, accept_older)?;
    crash::point(app, "rekey-written");
    app.forget_cache();
    for slot in dropped {
        app.ui.say(&format!("`{}` no longer opens the vault", slot.label()));
    }
    app.ui.say("the vault is encrypted anew");
    app.ui.warn(ROTATE);
    Ok(0)
}

enum Answer {
    Signer(Box<OwnedSigner>),
    Passphrase(SecretSlice<u8>),
}

/// The slot that a person means.
fn named<'a>(vault: &'a Vault, name: &str) -> Result<&'a Slot> {
    let fits = |slot: &&Slot| {
        slot.label().as_str() == name
            || slot.id().to_string() == name
            || slot.public_key().is_some_and(|key| key.fingerprint() == name)
    };
    let mut found = vault.slots().iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (Some(_), Some(_)) => Err(CliError::usage(format!("several slots are called `{name}`"))
            .hint("name its id: `sorry vault status`")),
        (None, _) => Err(CliError::new(Exit::NotFound, format!("the vault has no slot `{name}`"))
            .hint("`sorry vault status` shows them")),
    }
}

async fn signer_of(app: &App, slot: &Slot, without: &str) -> Result<OwnedSigner> {
    let Some(public_key) = slot.public_key() else { return Err(unanswered(slot, without)) };
    let agent = keys::agent(&app.settings).transpose().unwrap_or_default();
    if let Some(agent) = agent {
        let holds = match agent.key(public_key) {
            Ok(_) => true,
            Err(SignError::NotHeld { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        if holds {
            return Ok(OwnedSigner::Agent { agent, public_key: *public_key });
        }
    }
    let file = keys::file_of(&app.settings, public_key);
    let Some((path, file)) = file else { return Err(unanswered(slot, without)) };
    let signer = keys::unlock(&path, &file).await?.ok_or_else(|| unanswered(slot, without))?;
    Ok(OwnedSigner::File(signer))
}

async fn passphrase_of(open: &Open, slot: &Slot, without: &str) -> Result<SecretSlice<u8>> {
    for _ in 0..TRIES {
        let question = format!("Passphrase or recovery code `{}`", slot.label());
        let typed = terminal::ask_secret(&question).await.filter(|typed| !typed.expose_secret().is_empty());
        let typed = typed.ok_or_else(|| unanswered(slot, without))?;
        match open.vault().data_key_with_passphrase(&typed) {
            Ok((_, id)) if id == slot.id() => return Ok(typed),
            // The right one for another slot, or for none.
            _ => {}
        }
    }
    Err(CliError::failed(format!("`{}` does not open with it", slot.label())))
}

/// The command that goes on without a slot, beside those that go already.
fn without(command: &str, names: &[String], slot: &Slot) -> String {
    let before = if command == "rekey" { " --drop" } else { "" };
    let label = slot.label().to_string();
    let words: Vec<String> = names
        .iter()
        .chain([&label])
        .map(
            |name| if name.contains(' ') { format!("{before} '{name}'") } else { format!("{before} {name}") },
        )
        .collect();
    format!("sorry vault {command}{}", words.concat())
}

fn unanswered(slot: &Slot, without: &str) -> CliError {
    let label = slot.label();
    let how = match slot.kind() {
        SlotKind::SshEd25519 { .. } => "add its key to the agent (`ssh-add`)",
        SlotKind::Passphrase { .. } => {
            "run this at a terminal, or give `--stdin` its passphrase or recovery code"
        }
    };
    CliError::failed(format!("slot `{label}` did not answer"))
        .hint(format!("every slot that stays must answer: {how}"))
        .also(format!("`{without}` goes on without it, and it no longer opens the vault"))
}

/// The first lines of standard input, without their ends.
fn lines(count: usize) -> Result<Vec<SecretSlice<u8>>> {
    let mut input = std::io::stdin().lock();
    let mut lines = Vec::new();
    for _ in 0..count {
        let mut line = Zeroizing::new(Vec::with_capacity(4096));
        let read = input.read_until(b'\n', &mut line);
        if read.map_err(|error| CliError::failed(format!("standard input cannot be read: {error}")))? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        lines.push(SecretSlice::from(line.to_vec()));
    }
    Ok(lines)
}
