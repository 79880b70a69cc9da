//! What a session's profile holds in each of the two files, and whether a profile is ours to change. Pure.
//!
//! A profile lives in exactly one *form*. Two are written: [`Form::Keys`], keys in the credentials file and region in
//! the config file, here; and [`Form::Process`], a command in the config file and nothing in the credentials file, in
//! [`process`]. Where both stand, botocore takes the keys and the Rust SDK the command, so each form removes in one
//! file what the other one kept there.

mod process;

pub(crate) use process::write_config as write_process;
pub use process::{ProcessCommand, ProcessProfile};

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::ini::{Document, Section, SectionEdit};
use crate::values::{AccessKeyId, ProfileName, Region, SecretAccessKey, SessionMark, SessionToken, Value};
use crate::{Error, FileKind, Result};

/// The key by which our sections are known.
pub const MARK: &str = "sorry_session";
/// When the session ends, for people and shell prompts.
pub const EXPIRES_AT: &str = "sorry_expires_at";
/// The region's key.
pub const REGION: &str = "region";

/// The command that prints credentials.
pub const PROCESS: &str = "credential_process";
/// Says that the profile's region was there before `sorry`, and stays after it.
const KEPT: &str = "sorry_kept";

pub(crate) const ACCESS_KEY_ID: &str = "aws_access_key_id";
pub(crate) const SECRET_ACCESS_KEY: &str = "aws_secret_access_key";
pub(crate) const SESSION_TOKEN: &str = "aws_session_token";

/// The keys of a session in the credentials file, in their order.
const OURS_IN_CREDENTIALS: [&str; 5] = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN, MARK, EXPIRES_AT];
/// Those in the config file.
const OURS_IN_CONFIG: [&str; 5] = [PROCESS, REGION, MARK, EXPIRES_AT, KEPT];
/// Those where the region is somebody else's.
const OURS_BUT_REGION: [&str; 4] = [PROCESS, MARK, EXPIRES_AT, KEPT];

/// The keys that are credentials.
pub(crate) const STATIC_KEYS: [&str; 3] = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];
/// Other ways to come by credentials (beside `sso_…`); of these `sorry` writes the command alone.
const OTHER_SOURCES: [&str; 6] =
    ["role_arn", "source_profile", "credential_source", PROCESS, "web_identity_token_file", "login_session"];

/// What goes into a profile.
#[derive(Clone, Debug)]
pub struct SessionCredentials {
    /// The temporary key's id.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret_access_key: SecretAccessKey,
    /// Its token.
    pub session_token: SessionToken,
    /// Where calls go unless they say otherwise.
    pub region: Region,
    /// The session that they belong to.
    pub session_id: SessionMark,
    /// When they end: the earlier of credential and session.
    pub expires_at: Timestamp,
}

/// How a profile comes by its credentials, as far as its keys tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Keys stand in a file.
    Keys,
    /// `credential_process`.
    Process,
    /// `role_arn`, `source_profile` and their like.
    Role,
    /// `sso_…` or `login_session`.
    SignIn,
    /// None: a region, an output format.
    Settings,
}

impl Form {
    /// Of one section. Where several would apply, the one that tools prefer.
    pub fn of(section: &Section<'_>) -> Self {
        let has = |key: &str| section.value(key).is_some();
        if STATIC_KEYS.into_iter().any(has) {
            Self::Keys
        } else if has(PROCESS) {
            Self::Process
        } else if section.keys().any(|key| key.starts_with("sso_") || key == "login_session") {
            Self::SignIn
        } else if OTHER_SOURCES.into_iter().any(has) {
            Self::Role
        } else {
            Self::Settings
        }
    }
}

/// The credentials file with the session's keys in the profile; `None` where they stand there already.
pub(crate) fn write_credentials(
    bytes: &[u8],
    name: &ProfileName,
    session: &SessionCredentials,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let document = Document::parse(FileKind::Credentials, bytes);
    if let Some(section) = document.section(name)? {
        refuse_sources(&section, name, FileKind::Credentials, &[])?;
        if let (None, Some(key)) = (section.value(MARK), section.keys().next()) {
            return Err(taken(name, FileKind::Credentials, key));
        }
    }
    let edit = SectionEdit::default()
        .set(ACCESS_KEY_ID, Value::parse(session.access_key_id.as_str())?)
        .set(SECRET_ACCESS_KEY, Value::parse(session.secret_access_key.expose())?)
        .set(SESSION_TOKEN, Value::parse(session.session_token.expose())?)
        .set(MARK, Value::parse(session.session_id.as_str())?)
        .set(EXPIRES_AT, Value::time(session.expires_at)?);
    document.apply(name, &edit)
}

/// The config file with the profile's region; `None` where it stands there already, so that a renewal leaves the file
/// alone. A section without our mark is somebody's settings: it gains a region at most, and stays unmarked.
pub(crate) fn write_config(
    bytes: &[u8],
    name: &ProfileName,
    session: &SessionCredentials,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let document = Document::parse(FileKind::Config, bytes);
    let region = session.region.as_str();
    let mut edit = SectionEdit::default().set(REGION, Value::parse(region)?);
    let section = document.section(name)?;
    let mark = Value::parse(session.session_id.as_str())?;
    if let Some(section) = section.as_ref().filter(|section| section.value(PROCESS).is_some()) {
        // From the other form to this one, in one edit of this file.
        refuse_sources(section, name, FileKind::Config, &STATIC_KEYS)?;
        edit = edit.remove(PROCESS).remove(EXPIRES_AT);
        edit = match (section.value(KEPT), section.value(REGION)) {
            (Some(_), Some(old)) if old != region.as_bytes() => {
                return Err(taken(name, FileKind::Config, REGION));
            }
            (Some(_), _) => edit.remove(MARK).remove(KEPT),
            (None, _) => edit.set(MARK, mark),
        };
        return document.apply(name, &edit);
    }
    if let Some(section) = &section {
        refuse_sources(section, name, FileKind::Config, &STATIC_KEYS)?;
        match (section.value(REGION), section.value(MARK)) {
            (Some(old), _) if old == region.as_bytes() => return Ok(None),
            (Some(_), None) => return Err(taken(name, FileKind::Config, REGION)),
            _ => {}
        }
    }
    if section.is_none_or(|section| section.value(MARK).is_some()) {
        edit = edit.set(MARK, mark);
    }
    document.apply(name, &edit)
}

/// The file without what `sorry` wrote into the profile; `None` where that is nothing, or where the credentials are
/// those of another session than the one asked for.
pub(crate) fn remove(
    file: FileKind,
    bytes: &[u8],
    name: &ProfileName,
    session: Option<&SessionMark>,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let document = Document::parse(file, bytes);
    let Some(section) = document.section(name)? else { return Ok(None) };
    let Some(mark) = section.value(MARK) else { return Ok(None) };
    let is_another = session.is_some_and(|session| session.as_str().as_bytes() != mark);
    match file {
        FileKind::Credentials if is_another => Ok(None),
        FileKind::Config if is_another && section.value(PROCESS).is_some() => Ok(None),
        FileKind::Credentials => document.remove(name, &OURS_IN_CREDENTIALS),
        FileKind::Config if section.value(KEPT).is_some() => document.remove(name, &OURS_BUT_REGION),
        // Without a command its mark only says "ours": the file is not rewritten when a profile passes to its next session.
        FileKind::Config => document.remove(name, &OURS_IN_CONFIG),
    }
}

/// The credentials file without the session's keys; refused where they are not ours.
pub(crate) fn clear_credentials(bytes: &[u8], name: &ProfileName) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let document = Document::parse(FileKind::Credentials, bytes);
    let Some(section) = document.section(name)? else { return Ok(None) };
    refuse_sources(&section, name, FileKind::Credentials, &[])?;
    if section.value(MARK).is_some() {
        return document.remove(name, &OURS_IN_CREDENTIALS);
    }
    match section.keys().next() {
        Some(key) => Err(taken(name, FileKind::Credentials, key)),
        None => Ok(None),
    }
}

fn refuse_sources(section: &Section<'_>, name: &ProfileName, file: FileKind, also: &[&str]) -> Result<()> {
    // The command under our mark in the config file is one that we wrote.
    let ours = file == FileKind::Config && section.value(MARK).is_some();
    let source = |key: &&str| {
        let other = OTHER_SOURCES.contains(key) && !(ours && *key == PROCESS);
        other || also.contains(key) || key.starts_with("sso_")
    };
    match section.keys().find(source) {
        Some(key) => Err(taken(name, file, key)),
        None => Ok(()),
    }
}

fn taken(name: &ProfileName, file: FileKind, key: &str) -> Error {
    Error::Taken { name: name.clone(), file, holds: format!("`{key}`") }
}

#[cfg(test)]
mod tests;
