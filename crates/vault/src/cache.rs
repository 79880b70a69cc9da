//! Credentials of sessions, kept between commands: `<state>/cache/<session id>.json`, encrypted under the vault's data key.
//!
//! A cache is never worth an error to its reader: what cannot be read counts as absent and is asked for again.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, de};
use sorry_profiles::{Actor, Context, Region, write};
use zeroize::Zeroizing;

use crate::contents::{TemporaryCredentials, text};
use crate::crypto::{self, Salt};
use crate::{Open, Randomness, SealError, StoreError, VaultId, format, store};

/// Credentials take two kilobytes or so.
const LONGEST_FILE: usize = 64 * 1024;

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
    Store(#[from] StoreError),
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
    /// Whether the service hands the credentials out, for the whole session at once: then there is no role to assume, and of the
    /// rest only `region` and `mfa` say something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub issued: bool,
}

impl Renewal {
    /// Of a session whose credentials the service hands out.
    pub fn by_the_service(region: Region, mfa: bool) -> Self {
        Self {
            role_arn: String::new(),
            external_id: SecretString::default(),
            source_identity: String::new(),
            role_session_name: String::new(),
            maximum_seconds: 0,
            region,
            mfa,
            issued: true,
        }
    }
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

    /// The session's credentials; `None` if there are none that this vault can read. Those that have expired are there, too.
    pub fn read(&self, session_id: &str, open: &Open, actor: &Actor) -> Option<CachedSession> {
        let (members, bytes) = self.members(session_id, actor)?;
        let head = Head {
            vault: open.vault().id(),
            session: session_id,
            expires: members.expires,
            salt: members.salt,
        }
        .bytes();
        let key = crypto::cache_key(open.data_key(), &members.salt);
        if format::finish(head.clone(), &members.payload).0 != bytes {
            return None;
        }
        let body = crypto::open(&key, &head, &members.payload)?;
        let session: CachedSession = serde_json::from_slice(&body).ok()?;
        (session.session_id == session_id).then_some(session)
    }

    /// Keeps a session's credentials in the place of older ones.
    pub fn write(
        &self,
        session: &CachedSession,
        open: &Open,
        random: &mut dyn Randomness,
        context: &Context<'_>,
    ) -> Result<(), CacheError> {
        let id = &session.session_id;
        let path = self.path(id).ok_or_else(|| CacheError::SessionId(id.clone()))?;
        let mut salt = Salt::default();
        random.fill(&mut salt).map_err(SealError::from)?;
        let expires = format::whole_seconds(session.credentials.expires_at);
        let head = Head { vault: open.vault().id(), session: id, expires, salt }.bytes();
        // Room enough that it never grows: growing leaves a copy of the secrets behind.
        let mut body = Zeroizing::new(Vec::with_capacity(LONGEST_FILE));
        serde_json::to_writer(&mut *body, session).map_err(|_| SealError::TooLarge)?;
        let payload = crypto::seal(&crypto::cache_key(open.data_key(), &salt), &head, &body);
        let (bytes, _) = format::finish(head, &payload.ok_or(SealError::TooLarge)?);
        if bytes.len() > LONGEST_FILE {
            return Err(SealError::TooLarge.into());
        }
        store::make_folder(&self.folder)?;
        // Overtaken by another renewal, whose credentials are as good.
        write::replace(&path, &bytes, context, &|_| true).map_err(StoreError::from)?;
        Ok(())
    }

    /// Forgets a session; that it was not there is no error.
    pub fn remove(&self, session_id: &str) -> io::Result<()> {
        let Some(path) = self.path(session_id) else { return Ok(()) };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets all sessions, as after a new data key.
    pub fn clear(&self) -> io::Result<()> {
        self.ids().iter().try_for_each(|id| self.remove(id))
    }

    /// The ids of the sessions that have a file, with the end of their credentials as it stands there, for whoever cannot open the
    /// vault. Nothing may be decided by it: only [`Self::read`] has checked it.
    pub fn sessions(&self, actor: &Actor) -> Vec<(String, Timestamp)> {
        let known = |id: String| self.members(&id, actor).map(|(members, _)| (id, members.expires));
        self.ids().into_iter().filter_map(known).collect()
    }

    fn ids(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let id = |name: OsString| name.to_str()?.strip_suffix(".json").map(str::to_owned);
        let mut ids: Vec<String> = names.filter_map(id).filter(|id| self.path(id).is_some()).collect();
        ids.sort();
        ids
    }

    fn members(&self, session_id: &str, actor: &Actor) -> Option<(Members, Vec<u8>)> {
        let bytes = store::read_bounded(&self.path(session_id)?, actor, LONGEST_FILE).ok()??;
        format::check_sum(&bytes)?;
        Some((serde_json::from_slice(&bytes).ok()?, bytes))
    }
}

/// What stands before the payload, and is bound to it.
struct Head<'a> {
    vault: VaultId,
    session: &'a str,
    expires: Timestamp,
    salt: Salt,
}

impl Head<'_> {
    fn bytes(&self) -> Vec<u8> {
        let Self { vault, session, expires, salt } = self;
        let salt = Base64::encode_string(salt);
        format!(
            "{{\"format\":\"sorry-cache\",\"version\":1,\"vault\":\"{vault}\",\"session\":\"{session}\",\"expires\":\"{expires}\",\
             \"salt\":\"{salt}\",\"payload\":\""
        )
        .into_bytes()
    }
}

/// What is taken from a file; all else must be as it is written anew from this.
#[derive(Deserialize)]
struct Members {
    expires: Timestamp,
    #[serde(deserialize_with = "base64_array")]
    salt: Salt,
    #[serde(deserialize_with = "base64")]
    payload: Vec<u8>,
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    Base64::decode_vec(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn base64_array<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Salt, D::Error> {
    base64(deserializer)?.try_into().map_err(|_| de::Error::custom("another length"))
}
