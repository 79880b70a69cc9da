//! A file as it was at a moment when nobody was writing it.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::{Context, Error, Result, Timing};

/// Larger than any credentials file, small enough to hold a few times.
pub(super) const LIMIT: usize = 8 * 1024 * 1024;

/// What changes when a file is replaced or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// The bytes with their stamp. Equal only if both are: a clock tick may hide a second write.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) stamp: Stamp,
    pub(super) bytes: Zeroizing<Vec<u8>>,
}

/// The file at the target, its descriptor kept open: what is written to it later can still be seen.
pub(super) struct Snapshot {
    pub(super) file: File,
    pub(super) metadata: Metadata,
    pub(super) content: Content,
}

/// Opens and reads the file when it has come to rest; `None` where there is none.
pub(super) fn take(path: &Path, context: &Context<'_>, deadline: Instant) -> Result<Option<Snapshot>> {
    loop {
        let Some(mut file) = open(path, context)? else { return Ok(None) };
        let content = settle(&mut file, path, &context.timing, deadline)?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        if stamp_at(path)?.is_some_and(|stamp| stamp == content.stamp) {
            return Ok(Some(Snapshot { file, metadata, content }));
        }
        if Instant::now() >= deadline {
            return Err(Error::Busy { path: path.to_owned() });
        }
    }
}

/// Reads an open file once it has stayed the same for long enough.
pub(super) fn settle(file: &mut File, path: &Path, timing: &Timing, deadline: Instant) -> Result<Content> {
    let mut seen = read(file, path)?;
    let mut since = Instant::now();
    loop {
        let patience = if seen.bytes.is_empty() { timing.empty } else { timing.quiet };
        let rested = since.elapsed() >= patience;
        if rested || stamp(file, path)? != seen.stamp {
            let now = read(file, path)?;
            if rested && now == seen {
                return Ok(seen);
            }
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        if Instant::now() >= deadline {
            return Err(Error::Busy { path: path.to_owned() });
        }
        std::thread::sleep(timing.poll);
    }
}

/// The stamp of whatever is at the path now.
pub(super) fn stamp_at(path: &Path) -> Result<Option<Stamp>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// The bytes as they are at this moment, whole or not.
pub(super) fn read(file: &mut File, path: &Path) -> Result<Content> {
    let stamp = stamp(file, path)?;
    // With room to spare: growing would leave a copy of the secrets behind.
    let expected = usize::try_from(stamp.size).unwrap_or(LIMIT).min(LIMIT);
    let mut bytes = Zeroizing::new(Vec::with_capacity(expected + 4096));
    let limit = u64::try_from(LIMIT).unwrap_or(u64::MAX);
    file.rewind().map_err(Error::io("read", path))?;
    file.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if bytes.len() > LIMIT {
        return Err(Error::TooLarge { path: path.to_owned(), limit: LIMIT });
    }
    Ok(Content { stamp, bytes })
}

fn stamp(file: &File, path: &Path) -> Result<Stamp> {
    file.metadata().map(|metadata| Stamp::of(&metadata)).map_err(Error::io("read", path))
}

pub(super) fn open(path: &Path, context: &Context<'_>) -> Result<Option<File>> {
    // Not blocking: a named pipe would hold us for ever.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(Error::io("open", path)(errno.into())),
    };
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if !metadata.is_file() {
        return Err(Error::NotRegular { path: path.to_owned() });
    }
    if metadata.uid() != context.actor.uid {
        return Err(Error::OtherOwner { path: path.to_owned() });
    }
    Ok(Some(file))
}
