//! Credentials of sessions, kept between commands: `<state>/cache/<session id>.json`, encrypted under the vault's data key.
//!
//! A cache is never worth an error to its reader: what cannot be read counts as absent and is asked for again.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sorry_profiles::{Context, Region};

use crate::contents::{TemporaryCredentials, text};
use crate::{Open, Randomness, SealError};

/// Why a session was not cached.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Its id cannot be a file's name.
    #[error("`{0}` is not a session id")]
    SessionId(String),
    /// It could not be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The system refused, or the folder is not safe.
    #[error(transparent)]
    File(#[from] sorry_profiles::Error),
}

/// What is needed to get new credentials without asking the service again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// The session's role.
    pub role_arn: String,
    /// What its trust policy asks for.
    #[serde(serialize_with = "exposed")]
    pub external_id: SecretString,
    /// What its trust policy asks for.
    pub source_identity: String,
    /// How CloudTrail is to show it.
    pub role_session_name: String,
    /// The longest that STS gives for this role.
    pub maximum_seconds: u32,
    /// Where to ask STS, and what SDKs use.
    #[serde(with = "text")]
    pub region: Region,
    /// Whether the trust policy asks for MFA.
    pub mfa: bool,
}

fn exposed<S: serde::Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secrecy::ExposeSecret::expose_secret(secret))
}

/// A session as it is cached.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CachedSession {
    /// The session's id.
    pub session_id: String,
    /// Its credentials.
    pub credentials: TemporaryCredentials,
    /// When the session ends, and with it every renewal.
    pub session_ends_at: Timestamp,
    /// How to get the next ones.
    pub renewal: Renewal,
}

/// Where sessions are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Beneath the state folder; nothing needs to exist.
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join("cache") }
    }

    /// The session's file, if the id can be one.
    pub fn path(&self, session_id: &str) -> Option<PathBuf> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=64).contains(&session_id.len()) && session_id.bytes().all(allowed);
        fits.then(|| self.folder.join(format!("{session_id}.json")))
    }

    /// The session's credentials; `None` if there are none that this vault can read, expired ones included in what is there.
    pub fn read(&self, session_id: &str, open: &Open) -> Option<CachedSession> {
        let _ = (session_id, open);
        todo!()
    }

    /// Keeps a session's credentials in the place of older ones.
    pub fn write(
        &self,
        session: &CachedSession,
        open: &Open,
        random: &mut dyn Randomness,
        context: &Context<'_>,
    ) -> Result<(), CacheError> {
        let _ = (session, open, random, context);
        todo!()
    }

    /// Forgets a session; that it was not there is no error.
    pub fn remove(&self, session_id: &str) -> std::io::Result<()> {
        let _ = session_id;
        todo!()
    }

    /// Forgets all sessions, as after a new data key.
    pub fn clear(&self) -> std::io::Result<()> {
        todo!()
    }

    /// The ids of the sessions that have a file, with the end of their credentials as it stands there, for whoever cannot open the
    /// vault. Nothing may be decided by it: only [`Self::read`] has checked it.
    pub fn sessions(&self) -> Vec<(String, Timestamp)> {
        todo!()
    }
}
