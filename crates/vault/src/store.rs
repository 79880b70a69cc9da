//! The vault's file, and the highest generation that was seen of it.
//!
//! ```text
//!  <config>/vault.json          0600 in a folder 0700
//!  <config>/.vault.lock         who writes
//!  <state>/vault-generations    one line per vault: its number and the highest generation seen
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sorry_profiles::{Actor, Context, lock, write};

use crate::{Sealed, Vault, VaultError, VaultId, format};

/// More vaults than anyone has.
const MOST_NOTES: usize = 100;
const LONGEST_NOTES: usize = 64 * 1024;
/// Readers note generations without a lock, and may be in each other's way.
const TRIES: usize = 5;

/// Why the file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is no vault, or a damaged one.
    #[error("`{}` cannot be read", .path.display())]
    Vault {
        /// The file.
        path: PathBuf,
        /// Why.
        source: VaultError,
    },
    /// The system refused, or the folder is not safe.
    #[error(transparent)]
    File(#[from] sorry_profiles::Error),
    /// The system refused.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a vault where none was expected.
    #[error("there is a vault already: `{}`\nhint: `sorry vault status` shows what is in it", .0.display())]
    AlreadyThere(PathBuf),
    /// The vault is safe; a later roll-back may go unnoticed.
    #[error("the vault was written, but its generation could not be noted in `{}`", .path.display())]
    NotNoted {
        /// Where.
        path: PathBuf,
        /// Why.
        source: Box<StoreError>,
    },
    /// Another process was faster.
    #[error("the vault was changed by another process meanwhile\nhint: run the command again")]
    Overtaken,
    /// Older than what was seen: a backup, or somebody put back what was withdrawn.
    #[error(
        "the vault is of generation {found}, and {highest} has been seen: it is not written\nhint: if you put it back yourself, add `--accept-older`"
    )]
    Older {
        /// Of the file.
        found: u64,
        /// Seen before.
        highest: u64,
    },
}

/// Something the person should know although the vault was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreWarning {
    /// An older file than was seen before.
    #[error(
        "the vault is of generation {found}, and {highest} has been seen: it may be an old copy\nhint: if you put it back yourself, the next change to it needs `--accept-older`"
    )]
    Older {
        /// Of the file.
        found: u64,
        /// Seen before.
        highest: u64,
    },
    /// Others can read it.
    #[error("others can read `{}`\nhint: `chmod 600 {}`", .0.display(), .0.display())]
    Readable(PathBuf),
    /// Others can look into the folder.
    #[error("others can look into `{}`\nhint: `chmod 700 {}`", .0.display(), .0.display())]
    OpenFolder(PathBuf),
}

/// A vault as it was found.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The vault, shut.
    pub vault: Vault,
    /// What to say about it.
    pub warnings: Vec<StoreWarning>,
}

/// Where the vault lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    config: PathBuf,
    state: PathBuf,
}

impl Store {
    /// The two folders, `$XDG_CONFIG_HOME/sorry` and `$XDG_STATE_HOME/sorry`. They need not exist.
    pub fn new(config: PathBuf, state: PathBuf) -> Self {
        Self { config, state }
    }

    /// The vault's file.
    pub fn path(&self) -> PathBuf {
        self.config.join("vault.json")
    }

    /// The state folder, where [`Cache`](crate::Cache) has its files.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Reads the vault; `None` where there is none. The generation is noted, if that can be done.
    pub fn read(&self, actor: &Actor) -> Result<Option<Stored>, StoreError> {
        let Some(vault) = self.vault(actor)? else { return Ok(None) };
        let mut warnings = self.warnings_of_modes();
        let (found, highest) = (vault.generation(), self.highest(vault.id(), actor)?);
        if found < highest {
            warnings.push(StoreWarning::Older { found, highest });
        } else if found > highest {
            // Reading must work where nothing can be written.
            let _ = self.note(&vault, &Context::new(actor, vault.written()));
        }
        Ok(Some(Stored { vault, warnings }))
    }

    /// Writes a vault in the place of the one it was made from, all of it or nothing. `accept_older`: also if a higher generation
    /// than that one has been seen.
    pub fn write(
        &self,
        sealed: &Sealed,
        accept_older: bool,
        context: &Context<'_>,
    ) -> Result<(), StoreError> {
        if context.actor.through_sudo {
            return Err(sorry_profiles::Error::ThroughSudo.into());
        }
        make_folder(&self.config)?;
        make_folder(&self.state)?;
        let path = self.path();
        let _lock = lock::acquire(&self.lock(), context)?;
        match (self.vault(context.actor)?, sealed.replaces()) {
            (None, None) => {}
            (Some(_), None) => return Err(StoreError::AlreadyThere(path)),
            (Some(vault), Some(sum)) if vault.sum() == sum => {}
            _ => return Err(StoreError::Overtaken),
        }
        let highest = self.highest(sealed.vault().id(), context.actor)?;
        let found = sealed.vault().generation().saturating_sub(1);
        if found < highest && !accept_older {
            return Err(StoreError::Older { found, highest });
        }
        let expected = |bytes: Option<&[u8]>| match (bytes.map(Vault::parse), sealed.replaces()) {
            (None, None) => true,
            (Some(Ok(vault)), Some(sum)) => vault.sum() == sum,
            _ => false,
        };
        if !write::replace(&path, sealed.bytes(), context, &expected)? {
            return Err(StoreError::Overtaken);
        }
        self.note(sealed.vault(), context)
            .map_err(|error| StoreError::NotNoted { path: self.generations(), source: Box::new(error) })
    }

    /// Removes the vault, if it is still this one. What was seen of its generations stays.
    pub fn remove(&self, vault: &Vault, context: &Context<'_>) -> Result<(), StoreError> {
        let path = self.path();
        let _lock = lock::acquire(&self.lock(), context)?;
        if self.vault(context.actor)?.is_none_or(|found| found.sum() != vault.sum()) {
            return Err(StoreError::Overtaken);
        }
        // A link to it stays and leads nowhere.
        let file = fs::canonicalize(&path).map_err(io_error("find", &path))?;
        fs::remove_file(&file).map_err(io_error("remove", &file))
    }

    fn lock(&self) -> PathBuf {
        self.config.join(".vault.lock")
    }

    fn generations(&self) -> PathBuf {
        self.state.join("vault-generations")
    }

    fn vault(&self, actor: &Actor) -> Result<Option<Vault>, StoreError> {
        let path = self.path();
        let bytes = read_bounded(&path, actor, format::MAX_BYTES)?;
        let vault = bytes.map(|bytes| Vault::parse(&bytes)).transpose();
        vault.map_err(|source| StoreError::Vault { path, source })
    }

    fn warnings_of_modes(&self) -> Vec<StoreWarning> {
        let open = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0);
        let file = open(&self.path()).then(|| StoreWarning::Readable(self.path()));
        let folder = open(&self.config).then(|| StoreWarning::OpenFolder(self.config.clone()));
        file.into_iter().chain(folder).collect()
    }

    /// The highest generation seen of a vault; 0 if it has never been seen.
    fn highest(&self, id: VaultId, actor: &Actor) -> Result<u64, StoreError> {
        let notes = read_bounded(&self.generations(), actor, LONGEST_NOTES)?.unwrap_or_default();
        Ok(highest_in(&notes, id))
    }

    /// Notes the generation of a vault as the highest, also where a higher one stood: that was accepted.
    fn note(&self, vault: &Vault, context: &Context<'_>) -> Result<(), StoreError> {
        make_folder(&self.state)?;
        let path = self.generations();
        let line = format!("{} {}", vault.id(), vault.generation());
        for _ in 0..TRIES {
            let old = read_bounded(&path, context.actor, LONGEST_NOTES)?;
            let text = String::from_utf8_lossy(old.as_deref().unwrap_or_default()).into_owned();
            let prefix = format!("{} ", vault.id());
            let others = text.lines().filter(|line| !line.starts_with(&prefix)).take(MOST_NOTES);
            let new: String =
                [line.as_str()].into_iter().chain(others).flat_map(|line| [line, "\n"]).collect();
            if write::replace(&path, new.as_bytes(), context, &|bytes| bytes == old.as_deref())? {
                return Ok(());
            }
        }
        Err(StoreError::Overtaken)
    }
}

fn highest_in(notes: &[u8], id: VaultId) -> u64 {
    let notes = String::from_utf8_lossy(notes);
    let prefix = format!("{id} ");
    let numbers = notes.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok());
    numbers.max().unwrap_or_default()
}

pub(crate) fn io_error<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// A folder that only its owner can look into, with what is missing above it.
pub(crate) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io_error("create the folder", folder))?;
    let mode = fs::metadata(folder).map_err(io_error("read", folder))?.permissions().mode();
    if mode & 0o077 != 0 {
        // From before there was a vault in it.
        fs::set_permissions(folder, Permissions::from_mode(mode & 0o700))
            .map_err(io_error("close the folder", folder))?;
    }
    Ok(())
}

/// A file of this user, of at most `limit` bytes and one more, so that a longer one shows; `None` where there is none.
pub(crate) fn read_bounded(path: &Path, actor: &Actor, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
    // Not blocking: a named pipe would hold us for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(io_error("open", path)(errno.into())),
    };
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(sorry_profiles::Error::NotRegular { path: path.to_owned() }.into());
    }
    if metadata.uid() != actor.uid {
        return Err(sorry_profiles::Error::OtherOwner { path: path.to_owned() }.into());
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(io_error("read", path))?;
    Ok(Some(bytes))
}
