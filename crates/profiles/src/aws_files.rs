//! The two files together: putting a session into a profile, taking it out, listing what is there.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::form::{self, EXPIRES_AT, Form, MARK, ProcessProfile, REGION, SessionCredentials};
use crate::ini::Document;
use crate::lock::{self, Lock};
use crate::write::{self, Outcome, Privacy, Target, Warning};
use crate::{Context, Error, FileKind, ProfileName, Result, SessionMark};

/// Where the two files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsFiles {
    /// `~/.aws/credentials`, or what `AWS_SHARED_CREDENTIALS_FILE` says.
    pub credentials: PathBuf,
    /// `~/.aws/config`, or what `AWS_CONFIG_FILE` says.
    pub config: PathBuf,
}

/// What [`AwsFiles::write_session_profile`] did.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whether the credentials file changed.
    pub credentials: bool,
    /// Whether the config file changed.
    pub config: bool,
    /// What the person should know.
    pub warnings: Vec<Warning>,
}

/// What [`AwsFiles::remove_session_profile`] did. Nothing at all is no error: somebody else was faster.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whether keys were taken out of the credentials file.
    pub credentials: bool,
    /// Whether the config file changed.
    pub config: bool,
    /// What the person should know.
    pub warnings: Vec<Warning>,
}

/// One profile, as far as the two files tell.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: ProfileName,
    /// How it comes by its credentials; the credentials file goes before the config file, as in botocore.
    pub form: Form,
    /// The session whose credentials it holds; `None` where it is not ours.
    pub session: Option<SessionMark>,
    /// When that session ends.
    pub expires_at: Option<Timestamp>,
    /// Its region.
    pub region: Option<String>,
    /// Whether the credentials file has a section for it.
    pub in_credentials: bool,
    /// Whether the config file has.
    pub in_config: bool,
    /// Why `sorry` would not edit it, file by file; what is above may then be incomplete.
    pub problems: Vec<Error>,
}

impl AwsFiles {
    /// Writes a session into a profile, in the form of keys in a file. Either both files end up right, or an error says
    /// what did not; repeating the call completes it. The config file is written only when the profile is new to it or
    /// its region differs.
    ///
    /// Refused are `default`, profiles that hold anything else than a session of `sorry`, and whatever cannot be edited
    /// without risk to other profiles.
    pub fn write_session_profile(
        &self,
        context: &Context<'_>,
        name: &ProfileName,
        session: &SessionCredentials,
    ) -> Result<Written> {
        if name.is_default() {
            return Err(Error::DefaultProfile);
        }
        let both = self.prepare(context)?;
        // Both are asked before either is written.
        form::write_credentials(&write::read_target(&both.credentials, context)?, name, session)?;
        // The config file first: a region without keys does no harm, keys without a region are used.
        let config = write::update_target(&both.config, Privacy::AsItWas, context, &|bytes| {
            form::write_config(bytes, name, session)
        })?;
        let credentials = write::update_target(&both.credentials, Privacy::Secret, context, &|bytes| {
            form::write_credentials(bytes, name, session)
        })?;
        let (credentials, config, warnings) = summary(credentials, config);
        Ok(Written { credentials, config, warnings })
    }

    /// Writes a session into a profile, in the form of a command that prints its credentials. The keys of the other
    /// form go first, so that no moment has both; after a crash in between the profile has a region and no credentials,
    /// and repeating the call completes it. Refused is what [`AwsFiles::write_session_profile`] refuses.
    pub fn write_process_profile(
        &self,
        context: &Context<'_>,
        name: &ProfileName,
        profile: &ProcessProfile,
    ) -> Result<Written> {
        if name.is_default() {
            return Err(Error::DefaultProfile);
        }
        let both = self.prepare(context)?;
        form::write_process(&write::read_target(&both.config, context)?, name, profile)?;
        let credentials = if both.credentials.path.exists() {
            write::update_target(&both.credentials, Privacy::Secret, context, &|bytes| {
                form::clear_credentials(bytes, name)
            })?
        } else {
            Outcome::default()
        };
        let config = write::update_target(&both.config, Privacy::AsItWas, context, &|bytes| {
            form::write_process(bytes, name, profile)
        })?;
        let (credentials, config, warnings) = summary(credentials, config);
        Ok(Written { credentials, config, warnings })
    }

    /// Whether the two files could be written now: their folders are there or can be made, belong to the person, and take the lock. For
    /// finding out before something is done that only makes sense with a profile.
    ///
    /// # Errors
    /// What writing would refuse, whatever the profile.
    pub fn check_writable(&self, context: &Context<'_>) -> Result<()> {
        self.prepare(context).map(drop)
    }

    /// Takes the keys of ours out of a profile whose command is ours too: a profile that tools read in two ways has one
    /// form again, the one that renews itself.
    pub(crate) fn remove_duplicate_keys(&self, context: &Context<'_>, name: &ProfileName) -> Result<Removed> {
        let both = self.prepare(context)?;
        let config = write::read_target(&both.config, context)?;
        let section = Document::parse(FileKind::Config, &config).section(name)?;
        let ours = section
            .is_some_and(|section| section.value(MARK).is_some() && section.value(form::PROCESS).is_some());
        if !ours {
            return Ok(Removed::default());
        }
        let outcome = write::update_target(&both.credentials, Privacy::Secret, context, &|bytes| {
            form::clear_credentials(bytes, name)
        })?;
        Ok(Removed { credentials: outcome.changed, config: false, warnings: outcome.warnings })
    }

    /// Takes a session out of a profile: what `sorry` wrote goes, what anybody added stays. With a session given, a
    /// profile that meanwhile holds another one is left alone.
    pub fn remove_session_profile(
        &self,
        context: &Context<'_>,
        name: &ProfileName,
        session: Option<&SessionMark>,
    ) -> Result<Removed> {
        if !self.credentials.exists() && !self.config.exists() {
            return Ok(Removed::default());
        }
        let both = self.prepare(context)?;
        let remove = |file: FileKind, bytes: &[u8]| form::remove(file, bytes, name, session);
        remove(FileKind::Config, &write::read_target(&both.config, context)?)?;
        // The secrets first.
        let credentials = write::update_target(&both.credentials, Privacy::Secret, context, &|bytes| {
            remove(FileKind::Credentials, bytes)
        })?;
        let left = write::read_target(&both.credentials, context)?;
        let still_used = Document::parse(FileKind::Credentials, &left).section(name)?.is_some();
        let config = if still_used {
            Outcome::default()
        } else {
            write::update_target(&both.config, Privacy::AsItWas, context, &|bytes| {
                remove(FileKind::Config, bytes)
            })?
        };
        let (credentials, config, warnings) = summary(credentials, config);
        Ok(Removed { credentials, config, warnings })
    }

    /// Every profile whose header is spelled canonically in either file: those of the config file first, each in the
    /// order of its file. Takes no lock and judges nobody's permissions.
    pub fn profiles(&self, context: &Context<'_>) -> Result<Vec<Profile>> {
        let config = write::read(&self.config, context)?;
        let credentials = write::read(&self.credentials, context)?;
        let config = Document::parse(FileKind::Config, &config);
        let credentials = Document::parse(FileKind::Credentials, &credentials);
        let mut profiles: Vec<Profile> = Vec::new();
        for name in config.profiles().into_iter().chain(credentials.profiles()) {
            if !profiles.iter().any(|profile| profile.name == name) {
                profiles.push(Profile::read(name, &config, &credentials));
            }
        }
        Ok(profiles)
    }

    /// Checks who acts and where, takes the lock and clears up after the dead.
    pub(crate) fn prepare(&self, context: &Context<'_>) -> Result<Both> {
        write::make_folder(&self.credentials, context.actor)?;
        write::make_folder(&self.config, context.actor)?;
        let credentials = Target::resolve(&self.credentials, context.actor)?;
        let config = Target::resolve(&self.config, context.actor)?;
        if credentials == config {
            return Err(Error::SameFile { path: credentials.path });
        }
        let lock = lock::acquire(&lock_path(&credentials), context)?;
        write::remove_leftovers(&credentials, context)?;
        write::remove_leftovers(&config, context)?;
        Ok(Both { credentials, config, _lock: lock })
    }
}

/// Both files, found and locked.
pub(crate) struct Both {
    pub(crate) credentials: Target,
    pub(crate) config: Target,
    _lock: Lock,
}

/// One lock for both files, beside the credentials as they really lie: whoever comes by another link finds it too.
fn lock_path(credentials: &Target) -> PathBuf {
    Path::join(&credentials.folder, format!(".{}.sorry-lock", credentials.name))
}

fn summary(credentials: Outcome, config: Outcome) -> (bool, bool, Vec<Warning>) {
    let warnings = credentials.warnings.into_iter().chain(config.warnings).collect();
    (credentials.changed, config.changed, warnings)
}

impl Profile {
    fn read(name: ProfileName, config: &Document<'_>, credentials: &Document<'_>) -> Self {
        let mut problems = Vec::new();
        let mut section = |document: &Document<'_>| match document.section(&name) {
            Ok(section) => (section.is_some(), section.as_ref().map(Facts::of)),
            Err(error) => {
                problems.push(error);
                (true, None)
            }
        };
        let (in_credentials, secret) = section(credentials);
        let (in_config, plain) = section(config);
        let forms = secret.iter().chain(&plain).map(|facts| facts.form);
        let form = forms.into_iter().find(|form| *form != Form::Settings).unwrap_or(Form::Settings);
        // The credentials' mark is the session's; the config file's may be that of an earlier one.
        let command = plain.as_ref().filter(|facts| facts.form == Form::Process);
        let marked = secret.as_ref().filter(|facts| facts.session.is_some() || form == Form::Keys);
        let (session, expires_at) = match marked.or(command) {
            Some(facts) => (facts.session.clone(), facts.expires_at),
            None => (None, None),
        };
        let region = secret.iter().chain(&plain).find_map(|facts| facts.region.clone());
        Self { name, form, session, expires_at, region, in_credentials, in_config, problems }
    }
}

/// What one section says.
struct Facts {
    form: Form,
    session: Option<SessionMark>,
    expires_at: Option<Timestamp>,
    region: Option<String>,
}

impl Facts {
    fn of(section: &crate::ini::Section<'_>) -> Self {
        let text = |key| section.value(key).and_then(|value| std::str::from_utf8(value).ok());
        Self {
            form: Form::of(section),
            session: text(MARK).and_then(|mark| SessionMark::parse(mark).ok()),
            expires_at: text(EXPIRES_AT).and_then(|time| time.parse().ok()),
            region: text(REGION).map(str::to_owned),
        }
    }
}
