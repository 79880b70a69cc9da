//! Mending what [`AwsFiles::check`] found: first a plan that can be shown, then the deed.
//!
//! Removed is only what `sorry` wrote. Before the first byte changes, each file is copied beside itself, 0600; the copy
//! holds the same secrets and is the person's to delete.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::check::{Code, KnownSessions};
use crate::write::{self, Target, Warning};
use crate::{AwsFiles, Context, Error, ProfileName, Result, SessionMark};

/// One thing that will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A file or folder is closed to others.
    Mode {
        /// Which.
        path: PathBuf,
        /// Its mode afterwards.
        mode: u32,
    },
    /// Our keys go, our command stays.
    RemoveKeys {
        /// Whose.
        profile: ProfileName,
    },
    /// What `sorry` wrote into the profile goes, if it still holds this session.
    RemoveProfile {
        /// Which.
        profile: ProfileName,
        /// What it held when the plan was made.
        session: SessionMark,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode { path, mode } => {
                write!(formatter, "set the mode of `{}` to {mode:04o}", path.display())
            }
            Self::RemoveKeys { profile } => {
                write!(formatter, "remove the keys of profile `{profile}`, keep its command")
            }
            Self::RemoveProfile { profile, session } => {
                write!(formatter, "remove profile `{profile}` (session `{session}`)")
            }
        }
    }
}

/// What [`AwsFiles::apply`] did.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The copies of the files as they were.
    pub backups: Vec<PathBuf>,
    /// What the person should know.
    pub warnings: Vec<Warning>,
}

impl AwsFiles {
    /// What would mend the findings that can be mended. Changes nothing.
    pub fn plan_fix(&self, context: &Context<'_>, sessions: Option<&KnownSessions>) -> Result<Vec<Change>> {
        let config = fs::canonicalize(&self.config).ok();
        let profiles = self.profiles(context)?;
        let mut changes: Vec<Change> = Vec::new();
        for finding in self.check(context, sessions)?.into_iter().filter(|finding| finding.fixable) {
            let named =
                profiles.iter().find(|profile| Some(profile.name.as_str()) == finding.profile.as_deref());
            let change = match (finding.code, named) {
                (code @ (Code::FileMode | Code::FolderMode), _) => {
                    let before =
                        fs::metadata(&finding.path).map_err(Error::io("read", &finding.path))?.mode();
                    let secret = config.as_ref() != Some(&finding.path);
                    let mode = before & 0o7777 & !code.surplus(secret);
                    Some(Change::Mode { path: finding.path, mode })
                }
                (Code::TwoForms, Some(profile)) => Some(Change::RemoveKeys { profile: profile.name.clone() }),
                (_, Some(profile)) => profile
                    .session
                    .clone()
                    .map(|session| Change::RemoveProfile { profile: profile.name.clone(), session }),
                (_, None) => None,
            };
            changes.extend(change.filter(|change| !changes.contains(change)));
        }
        Ok(changes)
    }

    /// What would remove every profile that `sorry` wrote. Changes nothing.
    pub fn plan_reset(&self, context: &Context<'_>) -> Result<Vec<Change>> {
        let ours = self.profiles(context)?.into_iter().filter_map(|profile| {
            profile.session.map(|session| Change::RemoveProfile { profile: profile.name, session })
        });
        Ok(ours.collect())
    }

    /// Does what was planned, modes first: in a folder that others may write to nothing else is done. Each change looks
    /// at the files anew; a profile that holds another session by now is left alone.
    pub fn apply(&self, context: &Context<'_>, changes: &[Change]) -> Result<Fixed> {
        let mut fixed = Fixed::default();
        for change in changes {
            if let Change::Mode { path, mode } = change {
                set_mode(path, *mode, context)?;
            }
        }
        let edits: Vec<&Change> =
            changes.iter().filter(|change| !matches!(change, Change::Mode { .. })).collect();
        if edits.is_empty() {
            return Ok(fixed);
        }
        fixed.backups = self.back_up(context)?;
        for change in edits {
            let removed = match change {
                Change::Mode { .. } => continue,
                Change::RemoveKeys { profile } => self.remove_duplicate_keys(context, profile)?,
                Change::RemoveProfile { profile, session } => {
                    self.remove_session_profile(context, profile, Some(session))?
                }
            };
            fixed.warnings.extend(removed.warnings);
        }
        fixed.warnings.dedup();
        Ok(fixed)
    }

    /// Copies both files beside themselves.
    fn back_up(&self, context: &Context<'_>) -> Result<Vec<PathBuf>> {
        let both = self.prepare(context)?;
        let mut copies = Vec::new();
        for target in [&both.credentials, &both.config] {
            if target.path.exists() {
                copies.push(copy_beside(target, &write::read_target(target, context)?, context)?);
            }
        }
        Ok(copies)
    }
}

fn copy_beside(target: &Target, bytes: &[u8], context: &Context<'_>) -> Result<PathBuf> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let time = context.now.strftime("%Y%m%dT%H%M%SZ");
    let mut serial = 0_u32;
    loop {
        let more = if serial == 0 { String::new() } else { format!("-{serial}") };
        let path = target.folder.join(format!("{}.sorry-backup-{time}{more}", target.name));
        match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => {
                let mut file = File::from(descriptor);
                file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", &path))?;
                return Ok(path);
            }
            Err(Errno::EXIST) => serial += 1,
            Err(errno) => return Err(Error::io("create", &path)(errno.into())),
        }
    }
}

/// By descriptor, so that what was checked is what is changed.
fn set_mode(path: &Path, mode: u32, context: &Context<'_>) -> Result<()> {
    if context.actor.through_sudo {
        return Err(Error::ThroughSudo);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(descriptor.map_err(|errno| Error::io("open", path)(errno.into()))?);
    let owner = file.metadata().map_err(Error::io("read", path))?.uid();
    if owner != context.actor.uid {
        return Err(Error::OtherOwner { path: path.to_owned() });
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))
        .map_err(|errno| Error::io("set the mode of", path)(errno.into()))
}
