//! The vault as commands use it: opened once, for a person, and changed only as a whole.
//!
//! | file | what it is for |
//! |---|---|
//! | `opening.rs` | who is asked to open it, in which order |
//! | `keys.rs` | SSH keys: where they are, who signs with them |
//! | `source.rs` | where the bootstrap key is before it is in the vault |
//! | `identity.rs` | whose a key is, by STS |
//! | `rotation.rs`, `iam.rs` | a new AWS key in the place of the old one; what it takes of IAM |
//! | `protect.rs` | what a program can do for the secrets in its memory |
//! | `crash.rs` | where tests end the program |

pub(crate) mod crash;
mod iam;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod opening;
mod protect;
pub(crate) mod rotation;
pub(crate) mod source;

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use sorry_vault::{Cache, Contents, LongLivedKey, Open, Randomness, Sealed, Store, StoreError, Stored};

use crate::{
    app::App,
    error::{CliError, Exit, Result},
    files,
};
use protect::Protection;

/// The vault while one command runs.
#[derive(Default)]
pub(crate) struct Door {
    open: Mutex<Option<Open>>,
    warned: Mutex<bool>,
    protection: Mutex<Option<Protection>>,
}

impl App {
    /// Where it lies.
    pub(crate) fn store(&self) -> Store {
        self.settings.store()
    }

    /// From now on there are secrets in memory.
    pub(crate) fn protect(&self) {
        let mut protection = self.vault.protection.lock().unwrap_or_else(PoisonError::into_inner);
        protection.get_or_insert_with(Protection::new);
    }

    /// Before another program takes the place of this one, which is to have the limits that it would have had.
    pub(crate) fn unprotect(&self) {
        drop(self.vault.protection.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The vault as it lies there, shut. What is odd about it is said once.
    pub(crate) fn stored_vault(&self) -> Result<Option<Stored>> {
        let stored = self.store().read(&files::actor(self))?;
        let mut warned = self.vault.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = &stored
            && !*warned
        {
            *warned = true;
            for warning in &stored.warnings {
                self.ui.warn(&warning.to_string());
            }
        }
        Ok(stored)
    }

    /// The vault, opened at the first call; `None` where there is none.
    pub(crate) async fn vault(&self) -> Result<Option<Open>> {
        if let Some(open) = self.opened_vault() {
            return Ok(Some(open));
        }
        let Some(stored) = self.stored_vault()? else { return Ok(None) };
        let open = opening::open(self, &stored.vault).await?;
        self.ui.detail(&match open.vault().slot(open.opened_by()) {
            Some(slot) => format!("the vault was opened by `{}`", slot.label()),
            None => "the vault is open".to_owned(),
        });
        Ok(Some(self.keep(open)))
    }

    /// The vault, which must be there.
    pub(crate) async fn needed_vault(&self) -> Result<Open> {
        self.vault().await?.ok_or_else(|| {
            CliError::new(Exit::NotFound, format!("there is no vault at `{}`", self.store().path().display()))
                .hint("`sorry setup` makes one")
        })
    }

    /// The vault, if this command has opened it.
    pub(crate) fn opened_vault(&self) -> Option<Open> {
        self.vault.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps an open vault for the rest of the command.
    pub(crate) fn keep(&self, open: Open) -> Open {
        *self.vault.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.clone());
        open
    }

    /// Writes the next generation in the place of the one that it was made from.
    pub(crate) fn write_vault(&self, sealed: Sealed, accept_older: bool) -> Result<Open> {
        let written =
            files::in_context(self, false, |context| Ok(self.store().write(&sealed, accept_older, context)))?;
        match written {
            Ok(()) => {}
            Err(error @ StoreError::NotNoted { .. }) => self.ui.warn(&CliError::from(error).message),
            Err(error) => return Err(error.into()),
        }
        Ok(self.keep(sealed.into_open()))
    }

    /// Changes what the vault holds.
    pub(crate) fn change_vault(
        &self,
        open: &Open,
        accept_older: bool,
        change: impl FnOnce(&mut Contents),
    ) -> Result<Open> {
        let mut contents = open.contents().clone();
        change(&mut contents);
        let sealed = open.replace(contents, (self.clock)(), &mut random())?;
        self.write_vault(sealed, accept_older)
    }

    /// After a new data key nothing can read what was cached under the old one.
    pub(crate) fn forget_cache(&self) {
        if let Err(error) = Cache::new(self.store().state()).clear() {
            self.ui.warn(&format!(
                "cached sessions that nothing can read any more could not be removed: {error}"
            ));
        }
    }
}

/// The vault's key as the SDK takes it.
pub(crate) fn provider(open: &Open) -> Result<SharedCredentialsProvider> {
    Ok(SharedCredentialsProvider::new(credentials(bootstrap(open)?)))
}

/// The vault's key.
pub(crate) fn bootstrap(open: &Open) -> Result<&LongLivedKey> {
    open.contents().bootstrap.as_ref().ok_or_else(|| {
        CliError::new(Exit::NotFound, "the vault holds no AWS key")
            .hint("`sorry vault import` puts one into it")
    })
}

/// A key as the SDK takes it.
pub(crate) fn credentials(key: &LongLivedKey) -> Credentials {
    Credentials::new(key.access_key_id.as_str(), key.secret_access_key.expose(), None, None, "vault")
}

/// The operating system's random numbers.
pub(crate) fn random() -> impl Randomness {
    |buffer: &mut [u8]| getrandom::fill(buffer).map_err(|error| io::Error::other(error.to_string()))
}
