//! Which of many processes on this machine renews a session.
//!
//! ```text
//!  <state>/renewals/<session>.<host>         who renews since when; or what came of the last try
//!  <state>/renewals/<session>.<host>.lock    held for as long as the file above is looked at, never across the network
//! ```
//!
//! A claim saves calls and nothing else: what is renewed twice is good twice. So whoever cannot claim (no room, a read-only folder)
//! renews all the same. A home folder may be shared by many machines, where a process id means nothing: each has its own claims.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sorry_profiles::{Actor, Context, lock};

use crate::Error;

/// A claim older than this is of somebody who hangs, or of another boot.
const STALE_SECONDS: i64 = 20;
/// For so long what came of the last try is the answer for those who waited for it.
const ECHO_SECONDS: i64 = 5;
/// For so long nobody tries again whose credentials are still good: an outage must not slow down every call of a program.
const PAUSE_SECONDS: i64 = 30;
/// The longest note that is read.
const NOTE: u64 = 2048;
/// How long to wait for a lock that is held for a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// The system's lock call: `Ok(false)` says that somebody else has it.
pub(crate) type TryLock = dyn Fn(&File) -> io::Result<bool> + Send + Sync;

/// What a claim came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Go ahead.
    Ours(Claim),
    /// Somebody else is at it.
    Theirs,
    /// Somebody else tried a moment ago, in vain.
    Failed(Error),
}

/// Where the claims of a session lie, and who claims.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    folder: PathBuf,
    name: String,
    actor: &'a Actor,
}

/// The right to renew. Dropping it lets the next one go ahead.
#[derive(Debug)]
pub(crate) struct Claim {
    note: Option<(PathBuf, String)>,
}

impl Claim {
    /// Says to those who wait that it did not work.
    pub(crate) fn failed(mut self, error: &Error, now: Timestamp) {
        if let Some((path, ours)) = self.note.take()
            && read(&path).is_ok_and(|found| found == ours)
        {
            let one_line = |text: String| text.replace(['\n', '\r', '\t'], " ");
            let (message, remedy) = (one_line(error.to_string()), one_line(error.remedy()));
            // Whoever waits finds out for themselves otherwise.
            let _ = write(&path, &format!("failed\t{now}\t{remedy}\t{message}\n"));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some((path, ours)) = &self.note
            && read(path).is_ok_and(|found| found == *ours)
        {
            // What stays is taken over when this process has ended.
            let _ = fs::remove_file(path);
        }
    }
}

impl<'a> Claims<'a> {
    pub(crate) fn new(state: &Path, session_id: &str, actor: &'a Actor) -> Self {
        let plain = |character: &char| character.is_ascii_alphanumeric() || *character == '-';
        let host: String = actor.host.chars().filter(plain).take(64).collect();
        Self { folder: state.join("renewals"), name: format!("{session_id}.{host}"), actor }
    }

    /// Asks for the right to renew. `waiting_since` is when a caller without good credentials began: of failures, those that came
    /// later count. For one whose credentials are good (`None`) the last one counts for a while.
    pub(crate) fn claim(
        &self,
        now: Timestamp,
        waiting_since: Option<Timestamp>,
        try_lock: &TryLock,
    ) -> Outcome {
        let path = self.folder.join(&self.name);
        let unclaimed = || Outcome::Ours(Claim { note: None });
        if DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).is_err() {
            return unclaimed();
        }
        let mut context = Context::new(self.actor, now);
        context.timing.lock = LOCK_PATIENCE;
        let lock_path = self.folder.join(format!("{}.lock", self.name));
        let _lock = match lock::acquire_with(&lock_path, &context, try_lock) {
            Ok(lock) => lock,
            Err(sorry_profiles::Error::Locked { .. }) => return Outcome::Theirs,
            Err(_) => return unclaimed(),
        };
        match read(&path).ok().as_deref().and_then(Note::parse) {
            Some(Note::Claimed { pid, at }) if self.is_alive(pid) && age(now, at) <= STALE_SECONDS => {
                return Outcome::Theirs;
            }
            Some(Note::Failed { at, message, remedy })
                if waiting_since.map_or(age(now, at) <= PAUSE_SECONDS, |since| {
                    at >= since && age(now, at) <= ECHO_SECONDS
                }) =>
            {
                return Outcome::Failed(Error::Elsewhere { message, remedy });
            }
            _ => (),
        }
        let note = format!("claimed\t{now}\t{}\n", self.actor.pid);
        match write(&path, &note) {
            Ok(()) => Outcome::Ours(Claim { note: Some((path, note)) }),
            Err(_) => unclaimed(),
        }
    }

    fn is_alive(&self, pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
    }
}

/// Seconds between two times, whichever comes first: a clock that was set back must not keep a claim for ever.
fn age(now: Timestamp, at: Timestamp) -> i64 {
    now.as_second().saturating_sub(at.as_second()).saturating_abs()
}

enum Note {
    Claimed { pid: u32, at: Timestamp },
    Failed { at: Timestamp, message: String, remedy: String },
}

impl Note {
    fn parse(note: &str) -> Option<Self> {
        let mut parts = note.strip_suffix('\n')?.splitn(4, '\t');
        let kind = parts.next()?;
        let at = parts.next()?.parse().ok()?;
        let third = parts.next()?;
        match kind {
            "claimed" => Some(Self::Claimed { pid: third.parse().ok()?, at }),
            "failed" => {
                Some(Self::Failed { at, remedy: third.to_owned(), message: parts.next()?.to_owned() })
            }
            _ => None,
        }
    }
}

fn write(path: &Path, note: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?).write_all(note.as_bytes())
}

fn read(path: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut note = String::new();
    File::from(rustix::fs::open(path, flags, Mode::empty())?).take(NOTE).read_to_string(&mut note)?;
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn system(file: &File) -> io::Result<bool> {
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn unsupported(_: &File) -> io::Result<bool> {
        Err(Errno::NOLCK.into())
    }

    #[test]
    fn one_renews_until_it_is_done() {
        for try_lock in [&system as &TryLock, &unsupported] {
            let folder = tempfile::tempdir().unwrap();
            let actor = Actor::this_process(false);
            let claims = Claims::new(folder.path(), "7k3m", &actor);
            let Outcome::Ours(claim) = claims.claim(at(0), Some(at(0)), try_lock) else { panic!() };
            assert!(matches!(claims.claim(at(1), Some(at(1)), try_lock), Outcome::Theirs));
            drop(claim);
            assert!(matches!(claims.claim(at(2), Some(at(2)), try_lock), Outcome::Ours(_)));
        }
    }

    #[test]
    fn a_dead_process_and_one_that_hangs_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut dead = Actor::this_process(false);
        // No process has the largest number that fits.
        dead.pid = i32::MAX.cast_unsigned();
        let Outcome::Ours(left) =
            Claims::new(folder.path(), "7k3m", &dead).claim(at(0), Some(at(0)), &system)
        else {
            panic!()
        };
        let actor = Actor::this_process(false);
        let claims = Claims::new(folder.path(), "7k3m", &actor);
        let Outcome::Ours(claim) = claims.claim(at(1), Some(at(1)), &system) else { panic!() };
        // The dead one's end, late: it must not take ours away.
        drop(left);
        assert!(matches!(claims.claim(at(21), Some(at(21)), &system), Outcome::Theirs));
        assert!(
            matches!(claims.claim(at(22), Some(at(22)), &system), Outcome::Ours(_)),
            "hangs for 21 seconds"
        );
        drop(claim);
    }

    #[test]
    fn who_waited_hears_why_it_failed_and_who_comes_later_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        let actor = Actor::this_process(false);
        let claims = Claims::new(folder.path(), "7k3m", &actor);
        let Outcome::Ours(claim) = claims.claim(at(0), Some(at(0)), &system) else { panic!() };
        let error = Error::Refused {
            id: "7k3m".to_owned(),
            code: "AccessDenied".to_owned(),
            message: "no\tway".to_owned(),
        };
        claim.failed(&error, at(2));
        let Outcome::Failed(echo) = claims.claim(at(3), Some(at(1)), &system) else { panic!() };
        assert_eq!(echo.to_string(), error.to_string().replace('\t', " "));
        assert_eq!(echo.remedy(), "sorry status 7k3m");
        assert!(matches!(claims.claim(at(4), None, &system), Outcome::Failed(_)), "not in a hurry");
        assert!(matches!(claims.claim(at(4), Some(at(3)), &system), Outcome::Ours(_)));
    }

    #[test]
    fn without_a_place_for_claims_everybody_renews() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join("renewals")).unwrap();
        let actor = Actor::this_process(false);
        let claims = Claims::new(folder.path(), "7k3m", &actor);
        assert!(matches!(claims.claim(at(0), Some(at(0)), &system), Outcome::Ours(Claim { note: None })));
    }
}
