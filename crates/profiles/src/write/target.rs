//! Where a file really is, and whether it is safe to put another in its place.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{Actor, Error, Result};

/// As many links as Linux itself follows.
const MAX_LINKS: usize = 40;
const OTHERS_MAY_WRITE: u32 = 0o022;

/// The file behind a path that may be a symbolic link: a link stays one, and what it leads to is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The file, without links; it need not exist.
    pub(crate) path: PathBuf,
    /// The folder that holds it.
    pub(crate) folder: PathBuf,
    /// Its name there.
    pub(crate) name: String,
}

impl Target {
    /// Follows the links and checks every folder on the way in which somebody could put something else in place of a
    /// link or of the file.
    pub(crate) fn resolve(path: &Path, actor: &Actor) -> Result<Self> {
        if actor.through_sudo {
            return Err(Error::ThroughSudo);
        }
        let mut at = path.to_owned();
        for _ in 0..=MAX_LINKS {
            let folder = parent(&at);
            let folder = fs::canonicalize(folder).map_err(Error::io("find the folder", folder))?;
            check_folder(&folder, actor)?;
            let Some(name) = at.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::NotRegular { path: at });
            };
            let file = folder.join(name);
            match fs::read_link(&file) {
                Ok(link) => at = folder.join(link),
                // EINVAL: it is no link.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) =>
                {
                    let name = name.to_owned();
                    return Ok(Self { path: file, folder, name });
                }
                Err(error) => return Err(Error::io("read", &file)(error)),
            }
        }
        Err(Error::TooManyLinks { path: path.to_owned() })
    }

    /// Whether the folder is part of a git work tree, from where credentials are pushed by mistake.
    pub(crate) fn is_in_work_tree(&self) -> bool {
        self.folder.ancestors().any(|folder| folder.join(".git").exists())
    }
}

/// Makes the folder of a file, 0700, where it is missing; not the folders above it.
pub(crate) fn make_folder(file: &Path, actor: &Actor) -> Result<()> {
    if actor.through_sudo {
        return Err(Error::ThroughSudo);
    }
    let folder = parent(file);
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        // Under a read-only folder, say, it may well be there already.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(Error::io("create the folder", folder)(error)),
    }
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn check_folder(folder: &Path, actor: &Actor) -> Result<()> {
    let metadata = fs::metadata(folder).map_err(Error::io("read", folder))?;
    if metadata.uid() != actor.uid && metadata.uid() != 0 {
        return Err(Error::OtherOwner { path: folder.to_owned() });
    }
    if metadata.mode() & OTHERS_MAY_WRITE != 0 {
        return Err(Error::SharedFolder { path: folder.to_owned() });
    }
    Ok(())
}
