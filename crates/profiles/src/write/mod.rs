//! The atomic writer for credential files.
//!
//! The AWS CLI takes no lock and truncates in place, so a lock cannot protect its profiles; comparing can:
//!
//! ```text
//!  take ──▶ edit ──▶ temporary file ──▶ compare ──▶ rename ──▶ watch ──▶ done
//!   ▲  the file, at     beside the        │ changed             │ somebody wrote to the old file,
//!   │  rest for 20 ms   target, 0600      ▼                     ▼ or over the new one
//!   └──────────────────────────────────── ◀─────────────────────┘
//! ```
//!
//! Whoever opened the old file before the rename writes to a file without a name; whoever read it before and writes
//! after puts back what they read. Both are seen for as long as the file is watched, and both sides' work is put
//! together. What is left is a writer that pauses for longer than that between reading and writing.
//!
//! It knows nothing of profiles: the edit is a function of bytes, called again for every new state of the file, and
//! must find nothing to do in what it made itself.

mod install;
mod snapshot;
mod target;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use zeroize::Zeroizing;

pub(crate) use install::remove_leftovers;
pub(crate) use target::{Target, make_folder};

use crate::ini::merge;
use crate::{Context, Error, Result};
use install::{Installed, install};
use snapshot::Snapshot;

/// An edit: the new bytes for these, or `None` if there is nothing to do.
pub type Edit<'a> = dyn Fn(&[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> + 'a;

/// What mode a file gets. A new one is always 0600.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// At most 0600; a stricter mode stays.
    Secret,
    /// As it was.
    AsItWas,
}

impl Privacy {
    fn mode(self, before: Option<u32>) -> u32 {
        match (self, before) {
            (_, None) => 0o600,
            (Self::Secret, Some(mode)) => mode & 0o600,
            (Self::AsItWas, Some(mode)) => mode & 0o777,
        }
    }
}

/// Something the person should know although all went well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Secrets in a folder that may be pushed.
    #[error("`{}` is inside a git work tree", .0.display())]
    InWorkTree(PathBuf),
    /// A new file does not inherit the old one's list.
    #[error("the access control list of `{}` is gone", .0.display())]
    AclLost(PathBuf),
    /// The other names still lead to the old content.
    #[error("`{}` had other names (hard links), which keep the old content", .0.display())]
    HardLinksBroken(PathBuf),
    /// The writer was told to overwrite, and did.
    #[error("`{}` was overwritten in place; the former content is in `{}`", .path.display(), .copy.display())]
    Overwritten {
        /// The file.
        path: PathBuf,
        /// The copy, 0600.
        copy: PathBuf,
    },
    /// botocore and the Rust SDK refuse the whole file.
    #[error("`{}` is not UTF-8, or begins with a byte order mark: AWS tools do not read it", .0.display())]
    NotRead(PathBuf),
}

/// What [`update`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything was written.
    pub changed: bool,
    /// What to say about it.
    pub warnings: Vec<Warning>,
}

/// What another writer made of the file that was just replaced.
struct Foreign {
    base: Zeroizing<Vec<u8>>,
    theirs: Zeroizing<Vec<u8>>,
    ours: Zeroizing<Vec<u8>>,
}

impl Foreign {
    fn onto(&self, current: &[u8]) -> Zeroizing<Vec<u8>> {
        if current == self.ours.as_slice() {
            // The usual case, and byte for byte theirs: the edit is simply made again.
            self.theirs.clone()
        } else {
            merge(&self.base, &self.theirs, current)
        }
    }
}

/// Edits the file behind `path` so that neither this nor another program's work on it is lost. A file that does not
/// exist counts as empty. The folder must exist.
pub fn update(path: &Path, privacy: Privacy, context: &Context<'_>, edit: &Edit<'_>) -> Result<Outcome> {
    update_target(&Target::resolve(path, context.actor)?, privacy, context, edit)
}

pub(crate) fn update_target(
    target: &Target,
    privacy: Privacy,
    context: &Context<'_>,
    edit: &Edit<'_>,
) -> Result<Outcome> {
    let deadline = Instant::now() + context.timing.give_up;
    let mut outcome = Outcome::default();
    let mut foreign: Option<Foreign> = None;
    loop {
        let mut before = snapshot::take(&target.path, context, deadline)?;
        let bytes = before.as_ref().map_or(&[][..], |before| &before.content.bytes);
        let merged =
            foreign.as_ref().map(|foreign| foreign.onto(bytes)).filter(|merged| merged.as_slice() != bytes);
        let (new, refusal) = match (edit(merged.as_deref().map_or(bytes, Vec::as_slice)), merged) {
            (Ok(Some(new)), _) => (new, None),
            (Ok(None), Some(merged)) => (merged, None),
            (Ok(None), None) => return Ok(outcome),
            // A refusal must not cost the other writer its work.
            (Err(error), Some(merged)) => (merged, Some(error)),
            (Err(error), None) => return Err(error),
        };
        let warnings = warnings(target, before.as_ref(), &new);
        match install(target, before.as_mut(), &new, privacy, context)? {
            Installed::Overtaken => {}
            Installed::InPlace(copy) => {
                let path = target.path.clone();
                outcome = Outcome { changed: true, warnings: vec![Warning::Overwritten { path, copy }] };
                foreign = None;
                if refusal.is_none() && is_still(target, &new, context)? {
                    return Ok(outcome);
                }
            }
            Installed::Renamed => {
                outcome = Outcome { changed: true, warnings };
                foreign = watch(target, before, new.clone(), context, deadline)?;
                if foreign.is_none() && refusal.is_none() && is_still(target, &new, context)? {
                    return Ok(outcome);
                }
            }
        }
        if let (None, Some(refusal)) = (&foreign, refusal) {
            return Err(refusal);
        }
        if Instant::now() >= deadline {
            return Err(Error::Busy { path: target.path.clone() });
        }
    }
}

/// The bytes of the file when it is at rest; empty if there is none.
pub(crate) fn read_target(target: &Target, context: &Context<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let deadline = Instant::now() + context.timing.give_up;
    let snapshot = snapshot::take(&target.path, context, deadline)?;
    Ok(snapshot.map(|snapshot| snapshot.content.bytes).unwrap_or_default())
}

/// As [`read_target`], for looking only: whoever owns the file, wherever it lies.
pub(crate) fn read(path: &Path, context: &Context<'_>) -> Result<Zeroizing<Vec<u8>>> {
    let deadline = Instant::now() + context.timing.give_up;
    match File::open(path) {
        Ok(mut file) => Ok(snapshot::settle(&mut file, path, &context.timing, deadline)?.bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Zeroizing::default()),
        Err(error) => Err(Error::io("open", path)(error)),
    }
}

/// Gives others the time to be seen, and looks at the old file, which has no name any more, for those who still write
/// to it.
fn watch(
    target: &Target,
    before: Option<Snapshot>,
    ours: Zeroizing<Vec<u8>>,
    context: &Context<'_>,
    deadline: Instant,
) -> Result<Option<Foreign>> {
    let path = &target.path;
    let timing = &context.timing;
    let Some(Snapshot { mut file, content: before, .. }) = before else {
        std::thread::sleep(timing.quiet);
        return Ok(None);
    };
    let since = Instant::now();
    // Whoever has emptied the file is about to write it.
    let patience = if before.bytes.is_empty() { timing.empty } else { timing.quiet };
    loop {
        let over = since.elapsed() >= patience;
        if snapshot::read(&mut file, path)? != before {
            let theirs = snapshot::settle(&mut file, path, timing, deadline)?.bytes;
            // Empty: they died half way, and what they were about to write nobody knows.
            let changed = !theirs.is_empty() && theirs != before.bytes;
            return Ok(changed.then_some(Foreign { base: before.bytes, theirs, ours }));
        }
        if over {
            return Ok(None);
        }
        std::thread::sleep(timing.poll);
    }
}

/// Puts `new` in the place of the file behind `path`, all of it or nothing, at most 0600, if `expected` agrees with what is there
/// (`None`: no file). Says whether it did. For files that only `sorry` writes, under a lock of theirs: it does not watch for others
/// as [`update`] does.
pub fn replace(
    path: &Path,
    new: &[u8],
    context: &Context<'_>,
    expected: &dyn Fn(Option<&[u8]>) -> bool,
) -> Result<bool> {
    let target = Target::resolve(path, context.actor)?;
    remove_leftovers(&target, context)?;
    let mut before = snapshot::take(&target.path, context, Instant::now() + context.timing.give_up)?;
    if !expected(before.as_ref().map(|before| before.content.bytes.as_slice())) {
        return Ok(false);
    }
    let installed = install(&target, before.as_mut(), new, Privacy::Secret, context)?;
    Ok(!matches!(installed, Installed::Overtaken))
}

fn is_still(target: &Target, new: &[u8], context: &Context<'_>) -> Result<bool> {
    match snapshot::open(&target.path, context)? {
        Some(mut file) => Ok(snapshot::read(&mut file, &target.path)?.bytes.as_slice() == new),
        None => Ok(false),
    }
}

fn warnings(target: &Target, before: Option<&Snapshot>, new: &[u8]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |applies: bool, warning: fn(PathBuf) -> Warning| {
        if applies {
            warnings.push(warning(target.path.clone()));
        }
    };
    warn(target.is_in_work_tree(), Warning::InWorkTree);
    warn(before.is_some_and(|before| has_acl(&before.file)), Warning::AclLost);
    warn(before.is_some_and(|before| before.metadata.nlink() > 1), Warning::HardLinksBroken);
    warn(std::str::from_utf8(new).is_err() || new.starts_with("\u{feff}".as_bytes()), Warning::NotRead);
    warnings
}

#[cfg(target_os = "linux")]
fn has_acl(file: &File) -> bool {
    let mut nothing: [u8; 0] = [];
    rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut nothing).is_ok_and(|length| length > 0)
}

#[cfg(not(target_os = "linux"))]
fn has_acl(_file: &File) -> bool {
    false
}

#[cfg(test)]
mod tests;
