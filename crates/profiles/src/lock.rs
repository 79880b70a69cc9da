//! Who goes first among several `sorry` processes.
//!
//! The lock is advisory and only saves work: what keeps profiles from being lost is the comparison in
//! [`write`](mod@crate::write). So it may fall back to something weaker where a file system has no locks, and it is never
//! held across the network.

use std::fmt;
use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::{Actor, Context, Error, Result};

/// A folder lock of another host older than this belongs to nobody any more: a write takes seconds.
const STALE: Duration = Duration::from_secs(120);
/// `ENOTSUPP`, the kernel's own number, which leaks out of some NFS servers' locks.
const ENOTSUPP: i32 = 524;
/// The longest note about a holder that is read.
const NOTE: u64 = 512;

/// Who holds a lock, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} on {}", self.pid, self.host)
    }
}

impl Holder {
    fn of(actor: &Actor, now: Timestamp) -> Self {
        Self { host: actor.host.clone(), pid: actor.pid, since: Some(now) }
    }

    /// `pid host time`, one line.
    fn note(&self) -> String {
        let host: String =
            self.host.chars().filter(|character| character.is_ascii_graphic()).take(255).collect();
        let since = self.since.map(|since| since.to_string()).unwrap_or_default();
        format!("{} {} {since}\n", self.pid, if host.is_empty() { "?" } else { &host })
    }

    fn parse(note: &str) -> Option<Self> {
        let mut words = note.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let host: String = words.next()?.chars().filter(char::is_ascii_graphic).collect();
        Some(Self { host, pid, since: words.next().and_then(|since| since.parse().ok()) })
    }
}

/// A held lock. Dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock(Held);

#[derive(Debug)]
enum Held {
    /// The kernel's, let go with the descriptor, also by a crash.
    File { _file: File },
    /// A folder that only one process can have made.
    Folder { path: PathBuf, note: String },
}

impl Lock {
    /// Whether the file system has no locks and a folder stands in for one.
    pub fn is_fallback(&self) -> bool {
        matches!(self.0, Held::Folder { .. })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Held::Folder { path, note } = &self.0 {
            // Only our own: somebody who took us for dead may have made a new one.
            if read_note(&path.join("holder")).is_ok_and(|found| found == *note) {
                remove_folder(path);
            }
        }
    }
}

/// Takes the lock at `path`, a file that stays there, waiting for at most `context.timing.lock`.
pub fn acquire(path: &Path, context: &Context<'_>) -> Result<Lock> {
    acquire_with(path, context, &|file| match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    })
}

/// As [`acquire`], with the system's lock call as an argument: `Ok(false)` says that somebody else has it.
pub fn acquire_with(
    path: &Path,
    context: &Context<'_>,
    try_lock: &dyn Fn(&File) -> io::Result<bool>,
) -> Result<Lock> {
    let holder = Holder::of(context.actor, context.now);
    // Read and write: over NFS an exclusive lock needs a descriptor that may write.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(descriptor.map_err(|errno| Error::io("open the lock", path)(errno.into()))?);
    let mut waiting = Waiting::new(path, context);
    loop {
        match try_lock(&file) {
            Ok(true) => {
                // A note for those who wait, worth nothing else: that it cannot be written is no reason to stop.
                let _ = write_note(&mut file, &holder.note());
                return Ok(Lock(Held::File { _file: file }));
            }
            Ok(false) => waiting.pause(|| read_note(path).ok())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_unsupported(&error) => break,
            Err(error) => return Err(Error::io("lock", path)(error)),
        }
    }
    acquire_folder(path, context, &holder, waiting)
}

fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|raw| raw == ENOTSUPP || unsupported.contains(&raw))
}

fn acquire_folder(
    path: &Path,
    context: &Context<'_>,
    holder: &Holder,
    mut waiting: Waiting<'_>,
) -> Result<Lock> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let note = holder.note();
    loop {
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {
                write_new(&folder.join("holder"), &note).map_err(Error::io("note the holder in", &folder))?;
                return Ok(Lock(Held::Folder { path: folder, note }));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io("create the lock", &folder)(error)),
        }
        let found = read_note(&folder.join("holder")).ok();
        if is_stale(&folder, found.as_deref(), context, waiting.started.elapsed()) {
            break_lock(&folder, found.as_deref(), context.actor.pid);
        } else {
            waiting.pause(|| found)?;
        }
    }
}

/// Nobody is behind it any more: a dead process of this host, or a time long ago.
fn is_stale(folder: &Path, note: Option<&str>, context: &Context<'_>, waited: Duration) -> bool {
    let now = context.now.checked_add(waited).unwrap_or(context.now);
    let long_ago = |since: Timestamp| now.duration_since(since).unsigned_abs() > STALE && since < now;
    match note.and_then(Holder::parse) {
        Some(holder) if holder.host == context.actor.host => {
            let pid = i32::try_from(holder.pid).ok().and_then(Pid::from_raw);
            pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
        }
        Some(holder) => holder.since.is_none_or(long_ago),
        // Made a moment ago and about to be signed, or left so by a crash.
        None => fs::symlink_metadata(folder)
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| Timestamp::try_from(modified).ok())
            .is_some_and(long_ago),
    }
}

/// Moves the folder away, which only one of several can do, and looks whether it was the one judged.
fn break_lock(folder: &Path, judged: Option<&str>, pid: u32) {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut away = folder.as_os_str().to_owned();
    away.push(format!(".stale-{pid}-{serial}"));
    let away = PathBuf::from(away);
    if fs::rename(folder, &away).is_ok() {
        if read_note(&away.join("holder")).ok().as_deref() == judged {
            remove_folder(&away);
        } else if fs::rename(&away, folder).is_err() {
            // A third one has made its own meanwhile. Two go on at once, which costs work and loses nothing.
            remove_folder(&away);
        }
    }
}

fn remove_folder(folder: &Path) {
    // Whatever cannot be removed is found stale by the next one.
    let _ = fs::remove_file(folder.join("holder"));
    let _ = fs::remove_dir(folder);
}

fn write_note(file: &mut File, note: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(note.as_bytes())
}

fn write_new(path: &Path, note: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(note.as_bytes())
}

fn read_note(path: &Path) -> io::Result<String> {
    let mut note = String::new();
    File::open(path)?.take(NOTE).read_to_string(&mut note)?;
    Ok(note)
}

/// The wait for a lock: bounded, and announced once.
struct Waiting<'a> {
    path: &'a Path,
    context: &'a Context<'a>,
    started: Instant,
    announced: bool,
}

impl<'a> Waiting<'a> {
    fn new(path: &'a Path, context: &'a Context<'a>) -> Self {
        Self { path, context, started: Instant::now(), announced: false }
    }

    fn pause(&mut self, note: impl FnOnce() -> Option<String>) -> Result<()> {
        let waited = self.started.elapsed();
        let timed_out = waited >= self.context.timing.lock;
        // Most waits end within one write: those are not worth a word.
        if timed_out || (!self.announced && waited > self.context.timing.quiet * 10) {
            let holder = note().and_then(|note| Holder::parse(&note));
            if timed_out {
                let path = self.path.to_owned();
                let holder = holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string());
                return Err(Error::Locked { path, holder });
            }
            if let Some(holder) = holder {
                self.announced = true;
                (self.context.waiting)(&holder);
            }
        }
        std::thread::sleep(self.context.timing.poll * 5);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
