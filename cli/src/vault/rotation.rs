//! A new AWS key in the place of the old one. The vault holds at every moment a key that works, and what is left to do:
//!
//! ```text
//!  intended ─▶ made ─▶ stored beside the old ─▶ STS knows it ─▶ switched ─▶ old deactivated ─▶ old deleted
//! ```
//!
//! Each step is written before the call that leads to the next, so that a rotation that was interrupted goes on where it stopped.

use aws_config::SdkConfig;
use jiff::Timestamp;
use sorry_profiles::AccessKeyId;
use sorry_vault::{LongLivedKey, Open, Rotation};

use super::{
    bootstrap, crash, credentials,
    iam::{Listed, OwnKeys},
    identity,
};
use crate::{
    app::App,
    args::MfaCode,
    error::{CliError, Exit, Result},
    terminal,
    time::shown,
};

/// How many deleted keys the vault remembers.
const MOST_RETIRED: usize = 8;

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) accept_older: bool,
    pub(crate) code: MfaCode,
    /// A second key that may go: AWS gives a user no third.
    pub(crate) delete_key: Option<AccessKeyId>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Rotated {
    pub(crate) open: Open,
    /// The key that no longer is one.
    pub(crate) old: AccessKeyId,
}

/// Rotates the vault's key, or finishes what an interrupted run began.
pub(crate) async fn rotate(app: &App, sdk: &SdkConfig, open: Open, how: &How) -> Result<Rotated> {
    app.on_interrupt("the vault holds a key that works: `sorry vault rotate` goes on where this stopped");
    let key = credentials(bootstrap(&open)?);
    let keys = OwnKeys::new(app, sdk, key, &how.code);
    let mut work = Work { app, sdk, how, keys, open, old: None };
    if work.open.contents().rotation.is_some() {
        app.ui.say("going on with a rotation that was interrupted");
    }
    loop {
        let rotation = work.open.contents().rotation.clone();
        match rotation {
            None => match work.old {
                Some(old) => return Ok(Rotated { open: work.open, old }),
                None => work.intend().await?,
            },
            Some(Rotation::Creating { since, known }) => work.create(since, &known).await?,
            Some(Rotation::Created { since, new_key }) => work.switch(since, new_key).await?,
            Some(Rotation::Switched { since, old_key_id }) => work.deactivate(since, old_key_id).await?,
            Some(Rotation::Deactivated { old_key_id, .. }) => work.delete(old_key_id).await?,
        }
    }
}

struct Work<'a> {
    app: &'a App,
    sdk: &'a SdkConfig,
    how: &'a How,
    keys: OwnKeys<'a>,
    open: Open,
    old: Option<AccessKeyId>,
}

impl Work<'_> {
    fn write(&mut self, rotation: Option<Rotation>) -> Result<()> {
        self.open = self
            .app
            .change_vault(&self.open, self.how.accept_older, |contents| contents.rotation = rotation)?;
        Ok(())
    }

    async fn intend(&mut self) -> Result<()> {
        let current = bootstrap(&self.open)?.access_key_id.clone();
        for other in self.keys.list().await?.into_iter().filter(|key| key.id != current) {
            self.make_room(&other, "is not the vault's, and AWS gives a user two keys at most").await?;
        }
        let since = (self.app.clock)();
        self.write(Some(Rotation::Creating { since, known: vec![current] }))?;
        crash::point(self.app, "rotate-intended");
        Ok(())
    }

    /// Makes the new key, once those are gone that an interrupted run made and could not keep.
    async fn create(&mut self, since: Timestamp, known: &[AccessKeyId]) -> Result<()> {
        for lost in self.keys.list().await?.into_iter().filter(|key| !known.contains(&key.id)) {
            self.make_room(&lost, "was made during a rotation that was interrupted, and its secret is lost")
                .await?;
        }
        self.app.ui.progress("making a new key");
        let (access_key_id, secret_access_key, created_at) = self.keys.create().await?;
        crash::point(self.app, "rotate-created");
        let old = bootstrap(&self.open)?;
        let (arn, account) = (old.arn.clone(), old.account.clone());
        let id = access_key_id.clone();
        let new_key = LongLivedKey { access_key_id, secret_access_key, arn, account, created_at };
        if let Err(error) = self.write(Some(Rotation::Created { since, new_key })) {
            // A key whose secret nobody keeps is only a risk.
            return Err(match self.keys.delete(&id).await {
                Ok(()) => error.also("the new key was deleted again, and the old one is as it was"),
                Err(_) => error
                    .also(format!("the new key `{id}` is not in the vault: `sorry vault rotate` finds it")),
            });
        }
        crash::point(self.app, "rotate-stored");
        Ok(())
    }

    async fn switch(&mut self, since: Timestamp, new_key: LongLivedKey) -> Result<()> {
        let id = new_key.access_key_id.clone();
        let identity = identity::of(self.app, self.sdk, credentials(&new_key), identity::NEW_KEY).await?;
        let Some(identity) = identity else {
            if self.keys.list().await?.iter().all(|key| key.id != id) {
                self.app.ui.warn(&format!("the new key `{id}` was deleted meanwhile: making another"));
                return self.write(None);
            }
            return Err(CliError::failed(format!("AWS does not know the new key `{id}` yet")).hint(
                "the vault holds both keys and uses the old one: run `sorry vault rotate` again in a minute",
            ));
        };
        if identity.arn != new_key.arn {
            return Err(CliError::failed(format!(
                "the new key `{id}` is that of `{}`, not of `{}`",
                identity.arn, new_key.arn
            )));
        }
        crash::point(self.app, "rotate-verified");
        let old_key_id = bootstrap(&self.open)?.access_key_id.clone();
        self.keys.use_key(credentials(&new_key));
        self.open = self.app.change_vault(&self.open, self.how.accept_older, |contents| {
            contents.bootstrap = Some(new_key);
            contents.rotation = Some(Rotation::Switched { since, old_key_id });
            // Made from the old key.
            contents.mfa_session = None;
        })?;
        crash::point(self.app, "rotate-switched");
        Ok(())
    }

    async fn deactivate(&mut self, since: Timestamp, old_key_id: AccessKeyId) -> Result<()> {
        self.app.ui.progress("deactivating the old key");
        self.keys.deactivate(&old_key_id).await?;
        crash::point(self.app, "rotate-deactivating");
        self.write(Some(Rotation::Deactivated { since, old_key_id }))?;
        crash::point(self.app, "rotate-deactivated");
        Ok(())
    }

    async fn delete(&mut self, old_key_id: AccessKeyId) -> Result<()> {
        self.app.ui.progress("deleting the old key");
        self.keys.delete(&old_key_id).await?;
        crash::point(self.app, "rotate-deleted");
        self.open = self.app.change_vault(&self.open, self.how.accept_older, |contents| {
            contents.rotation = None;
            contents.retired.push(old_key_id.clone());
            let many = contents.retired.len().saturating_sub(MOST_RETIRED);
            contents.retired.drain(..many);
        })?;
        self.old = Some(old_key_id);
        Ok(())
    }

    /// Deletes a key that stands in the way, if the person agrees.
    async fn make_room(&mut self, key: &Listed, why: &str) -> Result<()> {
        let id = &key.id;
        let made = key.created_at.map(|at| format!(", made {}", shown(at))).unwrap_or_default();
        let state = if key.is_active { "active" } else { "inactive" };
        let named = self.how.delete_key.as_ref() == Some(id);
        self.app.ui.done();
        if !named {
            let question = format!("The key `{id}` ({state}{made}) {why}. Delete it?");
            if terminal::confirm(&question).await != Some(true) {
                return Err(CliError::new(Exit::Refused, format!("the key `{id}` ({state}{made}) {why}"))
                    .hint(format!("if nothing uses it, `--delete-key {id}` deletes it first; the vault's own key works as before")));
            }
        }
        self.keys.delete(id).await?;
        self.app.ui.say(&format!("deleted the key `{id}`"));
        Ok(())
    }
}
