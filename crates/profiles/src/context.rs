//! What an operation needs to know of the world: who acts, what time it is, how long to wait, and where a test may
//! step in. It reads neither the environment nor the clock of day.

use std::fmt;
use std::io;
use std::time::Duration;

use jiff::Timestamp;

use crate::lock::Holder;

/// The process that edits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Its effective user: the owner that files and folders must have.
    pub uid: u32,
    /// Its process id, for temporary files and the lock's note.
    pub pid: u32,
    /// The name of this host, for the lock's note.
    pub host: String,
    /// Whether it is root on somebody's behalf. Such a process would leave files that the person cannot read.
    pub through_sudo: bool,
}

impl Actor {
    /// The process that calls this, asked from the kernel alone; only the caller knows about `sudo`.
    pub fn this_process(through_sudo: bool) -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            through_sudo,
        }
    }
}

/// How long to wait for what. [`Default`] is what people should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A file is read as whole once it has stayed the same for this long, and watched for this long after it has
    /// been replaced: the AWS CLI truncates and writes within a millisecond or two.
    pub quiet: Duration,
    /// An *empty* file is probably one that somebody has just truncated: it must stay the same for this long.
    pub empty: Duration,
    /// The pause between two looks.
    pub poll: Duration,
    /// When to give up on one file that never comes to rest.
    pub give_up: Duration,
    /// When to give up on the lock.
    pub lock: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(20),
            empty: Duration::from_secs(1),
            poll: Duration::from_millis(2),
            give_up: Duration::from_secs(10),
            lock: Duration::from_secs(20),
        }
    }
}

/// The points of a write at which a crash or a failure leaves something different behind, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The temporary file exists, empty.
    Created,
    /// It has its mode; nothing is in it yet.
    ModeSet,
    /// All bytes are written.
    Filled,
    /// They are on the disk.
    Synced,
    /// The target was found unchanged; the rename comes next. An error from a probe here counts as the rename's own.
    Renaming,
    /// The new file is in place.
    Renamed,
    /// The folder is on the disk.
    FolderSynced,
    /// In place only: the copy of the old bytes is complete; the target is about to be overwritten.
    BackedUp,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::ModeSet,
        Self::Filled,
        Self::Synced,
        Self::Renaming,
        Self::Renamed,
        Self::FolderSynced,
        Self::BackedUp,
    ];
}

/// Where tests make a step fail, or end the process there.
pub trait Probe {
    /// Called when the step has been reached; an error counts as that of the step's own system call.
    fn reached(&self, step: Step) -> io::Result<()>;
}

/// Lets everything pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProbe;

impl Probe for NoProbe {
    fn reached(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that an operation takes besides its subject.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who acts.
    pub actor: &'a Actor,
    /// The time, for the lock's note.
    pub now: Timestamp,
    /// Whether a file that cannot be replaced (a bind mount) may be overwritten; a 0600 copy is kept.
    pub in_place: bool,
    /// How long to wait.
    pub timing: Timing,
    /// Told, once, who holds the lock when it has to be waited for.
    pub waiting: &'a dyn Fn(&Holder),
    /// The tests' way in.
    pub probe: &'a dyn Probe,
}

impl<'a> Context<'a> {
    /// The usual context: default timing, nothing overwritten in place, silent.
    pub fn new(actor: &'a Actor, now: Timestamp) -> Self {
        Self { actor, now, in_place: false, timing: Timing::default(), waiting: &|_| (), probe: &NoProbe }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Context")
            .field("actor", self.actor)
            .field("now", &self.now)
            .field("in_place", &self.in_place)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
