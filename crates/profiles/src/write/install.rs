//! Putting new bytes where old ones are: all of them or none, also if the process or the machine dies half way.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Gid, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::Privacy;
use super::snapshot::{self, Snapshot, Stamp};
use super::target::Target;
use crate::{Context, Error, Result, Step};

/// What became of the attempt.
pub(super) enum Installed {
    /// The new file has taken the old one's place.
    Renamed,
    /// The old file was overwritten; its former bytes are in this copy.
    InPlace(PathBuf),
    /// Somebody else was there first; nothing was changed.
    Overtaken,
}

/// Replaces the file if it is still as it was in `before`.
pub(super) fn install(
    target: &Target,
    before: Option<&mut Snapshot>,
    new: &[u8],
    privacy: Privacy,
    context: &Context<'_>,
) -> Result<Installed> {
    let mut temporary = Temporary::create(target, context)?;
    let installed = temporary.install(target, before, new, privacy, context);
    if !matches!(installed, Ok(Installed::Renamed)) {
        // Gone already where it has become the copy.
        let _ = fs::remove_file(&temporary.path);
    }
    installed
}

/// Deletes what writers of the same file left behind when they were killed. Under the lock nobody else has a
/// temporary file; where there is no lock, one whose file disappears starts again.
pub(crate) fn remove_leftovers(target: &Target, context: &Context<'_>) -> Result<()> {
    let prefix = format!(".{}.sorry-", target.name);
    let is_ours = |name: &str| {
        let middle = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".tmp"));
        middle.is_some_and(|middle| middle.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
    };
    for entry in fs::read_dir(&target.folder).map_err(Error::io("list", &target.folder))?.flatten() {
        let regular = |metadata: &fs::Metadata| metadata.is_file() && metadata.uid() == context.actor.uid;
        // An entry's metadata are those of a link itself.
        if entry.file_name().to_str().is_some_and(is_ours)
            && entry.metadata().is_ok_and(|found| regular(&found))
        {
            // Another process may be clearing up too.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// A file beside the target that does not survive unless it takes the target's name.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(target: &Target, context: &Context<'_>) -> Result<Self> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let name = format!(".{}.sorry-{}-{serial}.tmp", target.name, context.actor.pid);
            let path = target.folder.join(name);
            match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
                Ok(descriptor) => return Ok(Self { path, file: File::from(descriptor) }),
                // Left by a process of the same number, perhaps on another host.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::io("create a file in", &target.folder)(errno.into())),
            }
        }
    }

    fn install(
        &mut self,
        target: &Target,
        mut before: Option<&mut Snapshot>,
        new: &[u8],
        privacy: Privacy,
        context: &Context<'_>,
    ) -> Result<Installed> {
        let path = &target.path;
        let reached = |step| context.probe.reached(step);
        reached(Step::Created).map_err(Error::io("create a file beside", path))?;
        self.set_mode(before.as_deref(), privacy)
            .map_err(Error::io("set the mode of a file beside", path))?;
        reached(Step::ModeSet).map_err(Error::io("set the mode of a file beside", path))?;
        self.file
            .write_all(new)
            .and_then(|()| reached(Step::Filled))
            .map_err(Error::io("write a file beside", path))?;
        // Quotas and full disks may show only here.
        self.file
            .sync_all()
            .and_then(|()| reached(Step::Synced))
            .map_err(Error::io("write a file beside", path))?;
        if !is_unchanged(target, before.as_deref_mut())? {
            return Ok(Installed::Overtaken);
        }
        match reached(Step::Renaming).and_then(|()| self.rename(path, before.is_some())) {
            Ok(()) => {}
            Err(error) => {
                return match (error.raw_os_error().map(Errno::from_raw_os_error), before) {
                    (Some(Errno::EXIST | Errno::NOENT), _) => Ok(Installed::Overtaken),
                    (Some(Errno::BUSY), Some(before)) if context.in_place => {
                        self.overwrite(target, before, new, privacy, context)
                    }
                    (Some(Errno::BUSY), Some(_)) => Err(Error::MountPoint { path: path.clone() }),
                    _ => Err(Error::io("replace", path)(error)),
                };
            }
        }
        reached(Step::Renamed).map_err(Error::io("replace", path))?;
        sync_folder(&target.folder).map_err(Error::io("write the folder", &target.folder))?;
        reached(Step::FolderSynced).map_err(Error::io("write the folder", &target.folder))?;
        Ok(Installed::Renamed)
    }

    /// Before the first byte: no moment exists at which others can read it.
    fn set_mode(&self, before: Option<&Snapshot>, privacy: Privacy) -> io::Result<()> {
        let mut mode = privacy.mode(before.map(|before| before.metadata.mode()));
        if let Some(before) = before.filter(|_| mode & 0o070 != 0) {
            let group = before.metadata.gid();
            let other = self.file.metadata()?.gid() != group;
            if other && rustix::fs::fchown(&self.file, None, Some(Gid::from_raw(group))).is_err() {
                // Another group than the one that was meant gets nothing.
                mode &= !0o070;
            }
        }
        Ok(rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?)
    }

    fn rename(&self, path: &Path, replacing: bool) -> io::Result<()> {
        if !replacing {
            match rustix::fs::renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
                // Not every file system knows how.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                done => return Ok(done?),
            }
        }
        fs::rename(&self.path, path)
    }

    /// Overwrites a file that cannot be replaced. A crash leaves a torn file, and its former bytes in the copy.
    fn overwrite(
        &mut self,
        target: &Target,
        before: &mut Snapshot,
        new: &[u8],
        privacy: Privacy,
        context: &Context<'_>,
    ) -> Result<Installed> {
        let path = &target.path;
        let copy = target.folder.join(format!("{}.sorry-copy", target.name));
        self.keep(&before.content.bytes, &copy).map_err(Error::io("write", &copy))?;
        sync_folder(&target.folder).map_err(Error::io("write the folder", &target.folder))?;
        context.probe.reached(Step::BackedUp).map_err(Error::io("write", &copy))?;

        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty());
        let mut file = File::from(descriptor.map_err(|errno| Error::io("open", path)(errno.into()))?);
        if !is_unchanged(target, Some(before))? {
            return Ok(Installed::Overtaken);
        }
        let mode = Mode::from_raw_mode(privacy.mode(Some(before.metadata.mode())));
        let length = u64::try_from(new.len()).unwrap_or(u64::MAX);
        rustix::fs::fchmod(&file, mode)
            .map_err(io::Error::from)
            .and_then(|()| file.write_all(new))
            .and_then(|()| file.set_len(length))
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", path))?;
        Ok(Installed::InPlace(copy))
    }

    fn keep(&mut self, old: &[u8], copy: &Path) -> io::Result<()> {
        rustix::fs::fchmod(&self.file, Mode::RUSR | Mode::WUSR)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(old)?;
        self.file.sync_all()?;
        fs::rename(&self.path, copy)
    }
}

fn is_unchanged(target: &Target, before: Option<&mut Snapshot>) -> Result<bool> {
    let now: Option<Stamp> = snapshot::stamp_at(&target.path)?;
    match (before, now) {
        (None, None) => Ok(true),
        (Some(before), Some(now)) if now == before.content.stamp => {
            Ok(snapshot::read(&mut before.file, &target.path)? == before.content)
        }
        _ => Ok(false),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such thing.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}
