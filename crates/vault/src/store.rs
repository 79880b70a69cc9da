//! The vault's file, and the highest generation that was seen of it.
//!
//! ```text
//!  <config>/vault.json          0600 in a folder 0700
//!  <config>/.vault.lock         who writes
//!  <state>/vault-generations    one line per vault: its number and the highest generation seen
//! ```

use std::path::{Path, PathBuf};

use sorry_profiles::{Actor, Context};

use crate::{Sealed, Vault, VaultError};

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
    /// Another process was faster, or there is a vault where none was expected.
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

    /// Reads the vault; `None` where there is none.
    pub fn read(&self, actor: &Actor) -> Result<Option<Stored>, StoreError> {
        let _ = actor;
        todo!()
    }

    /// Writes a vault in the place of the one it was made from, all of it or nothing. `accept_older`: also if a higher generation
    /// than that one has been seen.
    pub fn write(
        &self,
        sealed: &Sealed,
        accept_older: bool,
        context: &Context<'_>,
    ) -> Result<(), StoreError> {
        let _ = (sealed, accept_older, context);
        todo!()
    }

    /// Removes the vault, if it is still this one. What was seen of its generations stays.
    pub fn remove(&self, vault: &Vault, context: &Context<'_>) -> Result<(), StoreError> {
        let _ = (vault, context);
        todo!()
    }
}
