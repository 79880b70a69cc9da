//! The person's SSH keys: which there are, where their files lie, and who signs with them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use sorry_vault::{
    Agent, Forwarding, KeyFile, KeyFileError, PROC, PublicKey, SignError, Signer, Timeouts, UnlockedKey,
};

use crate::{
    app::App,
    error::{CliError, Exit, Result},
    settings::Settings,
    terminal,
};

/// How often a passphrase may be mistyped.
pub(crate) const TRIES: usize = 3;
/// What OpenSSH's own `-a` makes of one guess: 0.6 s instead of 0.1 s.
pub(crate) const ADVISED_ROUNDS: u32 = 100;

/// An Ed25519 key, wherever it was found.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) public_key: PublicKey,
    /// What the agent calls it.
    pub(crate) comment: Option<String>,
    pub(crate) file: Option<PathBuf>,
    pub(crate) in_agent: bool,
}

impl Key {
    /// The path of its file, else its comment, else its fingerprint.
    pub(crate) fn name(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        file.or_else(|| self.comment.clone()).unwrap_or_else(|| self.public_key.fingerprint())
    }
}

/// Somebody who signs with one key.
pub(crate) enum OwnedSigner {
    Agent { agent: Agent, public_key: PublicKey },
    File(UnlockedKey),
}

impl Signer for OwnedSigner {
    fn public_key(&self) -> &PublicKey {
        match self {
            Self::Agent { public_key, .. } => public_key,
            Self::File(key) => key.public_key(),
        }
    }

    fn sign(&self, data: &[u8]) -> std::result::Result<[u8; 64], SignError> {
        match self {
            Self::Agent { agent, public_key } => agent.key(public_key)?.sign(data),
            Self::File(key) => key.sign(data),
        }
    }
}

/// The agent, if one is named.
pub(crate) fn agent(settings: &Settings) -> Option<Result<Agent>> {
    let socket = settings.ssh_auth_sock.as_ref()?;
    Some(Agent::connect(socket, Timeouts::default()).map_err(CliError::from))
}

/// All Ed25519 keys that the agent lists or `~/.ssh` has.
pub(crate) fn all(settings: &Settings, agent: Option<&Agent>) -> Result<Vec<Key>> {
    let mut keys: Vec<Key> = Vec::new();
    for identity in agent.map(Agent::list).transpose()?.unwrap_or_default() {
        let Some(public_key) = identity.public_key() else { continue };
        let comment = String::from_utf8_lossy(&identity.comment).into_owned();
        let comment = Some(comment).filter(|comment| !comment.is_empty());
        keys.push(Key { public_key, comment, file: None, in_agent: true });
    }
    for (path, file) in files(settings) {
        match keys.iter_mut().find(|key| key.public_key == *file.public_key()) {
            Some(key) => key.file = key.file.take().or(Some(path)),
            None => keys.push(Key {
                public_key: *file.public_key(),
                comment: None,
                file: Some(path),
                in_agent: false,
            }),
        }
    }
    Ok(keys)
}

/// The file of a key, if it lies where OpenSSH looks for it.
pub(crate) fn file_of(settings: &Settings, key: &PublicKey) -> Option<(PathBuf, KeyFile)> {
    files(settings).into_iter().find(|(_, file)| file.public_key() == key)
}

/// The Ed25519 key files in `~/.ssh`, and those that its `config` and the setting `ssh_key` name.
fn files(settings: &Settings) -> Vec<(PathBuf, KeyFile)> {
    let folder = settings.expand("~/.ssh");
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        paths.insert(entry.path());
    }
    let config = fs::read_to_string(folder.join("config")).unwrap_or_default();
    paths.extend(identity_files(&config).iter().map(|path| settings.expand(path)));
    paths.extend(settings.ssh_key.as_ref().map(|path| settings.expand(path)));
    // What is no such key is of no interest: a socket, a list of hosts, an RSA key.
    paths.into_iter().filter_map(|path| KeyFile::read(&path).ok().map(|file| (path, file))).collect()
}

/// The paths behind `IdentityFile`. Source: ssh_config(5); tokens other than `%d` occur in practice for other people's keys alone.
fn identity_files(config: &str) -> Vec<String> {
    let value = |line: &str| {
        let (keyword, rest) = line.trim().split_once([' ', '\t', '='])?;
        let is_file = keyword.eq_ignore_ascii_case("identityfile");
        let path = rest.trim().trim_start_matches('=').trim().trim_matches('"');
        is_file.then(|| path.replace("%d/", "~/"))
    };
    config.lines().filter_map(value).collect()
}

/// The Ed25519 key that the agent has a certificate for, but does not list itself.
pub(crate) fn certified(agent: Option<&Agent>) -> Result<Option<PublicKey>> {
    let identities = agent.map(Agent::list).transpose()?.unwrap_or_default();
    let listed =
        |key: &PublicKey| identities.iter().any(|identity| identity.public_key().as_ref() == Some(key));
    Ok(identities.iter().filter_map(|identity| identity.certified_key()).find(|key| !listed(key)))
}

/// Finds the key that a person means: a path, with or without `.pub`, or a fingerprint.
pub(crate) fn find(settings: &Settings, agent: Option<&Agent>, wanted: &str) -> Result<Key> {
    let known = all(settings, agent)?;
    if wanted.starts_with("SHA256:") {
        let fits = |key: &Key| key.public_key.fingerprint() == wanted;
        if let Some(key) = known.into_iter().find(fits) {
            return Ok(key);
        }
        if let Some(key) = certified(agent)?.filter(|key| key.fingerprint() == wanted) {
            return Err(SignError::CertificateOnly { fingerprint: key.fingerprint() }.into());
        }
        return Err({
            CliError::new(Exit::NotFound, format!("no Ed25519 key has the fingerprint `{wanted}`"))
                .hint("`ssh-add -l` and `ssh-keygen -l -f <file>` show fingerprints; or name the key's file")
        });
    }
    let path = settings.expand(wanted);
    let path = path.to_str().and_then(|path| path.strip_suffix(".pub")).map_or(path.clone(), PathBuf::from);
    let public_key = match KeyFile::read(&path) {
        Ok(file) => *file.public_key(),
        // The private half may be in the agent alone.
        Err(KeyFileError::Unreadable { path, source }) => public_half(&path)
            .ok_or_else(|| CliError::from(KeyFileError::Unreadable { path: path.clone(), source }))?,
        Err(error) => return Err(about(&path, error)),
    };
    let found = known.into_iter().find(|key| key.public_key == public_key);
    let file = path.exists().then_some(path);
    Ok(match found {
        Some(key) => Key { file: file.or(key.file), ..key },
        None => Key { public_key, comment: None, file, in_agent: false },
    })
}

fn public_half(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PublicKey::from_openssh(&fs::read_to_string(name).ok()?)
}

/// What is wrong with a key file, with its name.
pub(crate) fn about(path: &Path, error: KeyFileError) -> CliError {
    let mut told = CliError::from(error);
    told.hint = told.hint.map(|hint| hint.replace("<file>", &path.display().to_string()));
    told.message = format!("`{}`: {}", path.display(), told.message);
    told
}

/// Somebody who signs with the key, for a slot that is to be made: the agent, or the file with its passphrase. A key without a
/// passphrase is refused also where the agent has it, and so is an agent of another machine.
pub(crate) async fn enrol(
    app: &App,
    agent: Option<Agent>,
    key: &Key,
    allow_forwarded: bool,
) -> Result<OwnedSigner> {
    let file = match &key.file {
        Some(path) => Some((path.clone(), KeyFile::read(path).map_err(|error| about(path, error))?)),
        None => file_of(&app.settings, &key.public_key),
    };
    if let Some((path, file)) = &file
        && !file.is_encrypted()
    {
        return Err(CliError { exit: Exit::Refused as u8, ..about(path, KeyFileError::Unencrypted) });
    }
    let mut forwarded = None;
    if let Some(agent) = agent.filter(|_| key.in_agent) {
        if allow_forwarded || agent.forwarding(Path::new(PROC)) != Forwarding::Forwarded {
            if file.is_none() {
                app.ui.say(&format!(
                    "the file of `{}` is not on this machine: whether it has a passphrase cannot be seen",
                    key.name()
                ));
            }
            return Ok(OwnedSigner::Agent { agent, public_key: key.public_key });
        }
        forwarded = Some(
            CliError::new(
                Exit::Refused,
                "the ssh-agent is forwarded: whoever is root on this machine could open the vault with it",
            )
            .hint("use an agent of this machine, or its socket as `ssh_auth_sock` in `config.toml`; `--allow-forwarded` takes it all the same"),
        );
    }
    let Some((path, file)) = file else {
        return Err(forwarded.unwrap_or_else(|| absent(key)));
    };
    match unlock(&path, &file).await? {
        Some(key) => Ok(OwnedSigner::File(key)),
        None => Err(forwarded.unwrap_or_else(|| absent(key))),
    }
}

/// Asks for a key file's passphrase. `None`: nobody is there, or nothing was typed.
pub(crate) async fn unlock(path: &Path, file: &KeyFile) -> Result<Option<UnlockedKey>> {
    for _ in 0..TRIES {
        let Some(passphrase) =
            terminal::ask_secret(&format!("Passphrase of the key `{}`", path.display())).await
        else {
            return Ok(None);
        };
        if secrecy::ExposeSecret::expose_secret(&passphrase).is_empty() {
            return Ok(None);
        }
        match file.unlock(&passphrase) {
            Ok(key) => return Ok(Some(key)),
            Err(KeyFileError::WrongPassphrase) => {}
            Err(error) => return Err(about(path, error)),
        }
    }
    Err(about(path, KeyFileError::WrongPassphrase))
}

fn absent(key: &Key) -> CliError {
    let name = key.name();
    CliError::failed(format!("nobody can sign with the key `{name}`: no agent holds it, and there is no terminal to ask for its passphrase"))
        .hint(format!("`ssh-add {name}`, or run this at a terminal"))
}

/// What `status` says of a key file that a guesser would find easy.
pub(crate) fn weakness(path: &Path, file: &KeyFile) -> Option<String> {
    let path = path.display();
    match file.bcrypt_rounds() {
        None => Some(format!("`{path}` has no passphrase: `ssh-keygen -p -a {ADVISED_ROUNDS} -f {path}`")),
        Some(rounds) if rounds < ADVISED_ROUNDS => Some(format!(
            "a guess at the passphrase of `{path}` costs {rounds} rounds: `ssh-keygen -p -a {ADVISED_ROUNDS} -f {path}` makes it dearer"
        )),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_files_are_found_in_every_spelling() {
        let config = "Host a\n  IdentityFile ~/.ssh/one\n\tidentityfile=\"%d/.ssh/two\"\nIdentityFile = /three\n# IdentityFile four\nIdentitiesOnly yes\n";
        assert_eq!(identity_files(config), ["~/.ssh/one", "~/.ssh/two", "/three"]);
    }
}
