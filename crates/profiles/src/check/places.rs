//! Whether others can read a file, write it, or put another in its place; and whether it may be pushed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Code, Finding};
use crate::Actor;

const OTHERS: u32 = 0o077;
const OTHERS_MAY_WRITE: u32 = 0o022;

/// A file that may be there.
pub(super) struct Place {
    path: PathBuf,
    secret: bool,
}

impl Place {
    pub(super) fn of(path: &Path, secret: bool) -> Self {
        Self { path: path.to_owned(), secret }
    }
}

impl Code {
    /// The bits of a mode that this finding is about.
    pub(crate) fn surplus(self, secret: bool) -> u32 {
        // The config file holds no secret of ours and may be shared for reading; nobody else shall write anything.
        if self == Self::FileMode && secret { OTHERS } else { OTHERS_MAY_WRITE }
    }
}

pub(super) fn check(places: &[Place], actor: &Actor) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut report = |code, path: &Path, fixable| {
        let finding = Finding { code, path: path.to_owned(), line: None, profile: None, fixable };
        // Both files usually lie in one folder.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    };
    for place in places {
        // What a link leads to is what counts.
        let Ok(path) = fs::canonicalize(&place.path) else { continue };
        let Ok(file) = fs::metadata(&path) else { continue };
        let Some(folder) = path.parent() else { continue };
        if file.uid() != actor.uid {
            report(Code::OtherOwner, &path, false);
        } else if file.mode() & Code::FileMode.surplus(place.secret) != 0 {
            report(Code::FileMode, &path, true);
        }
        if let Ok(metadata) = fs::metadata(folder) {
            if metadata.uid() != actor.uid && metadata.uid() != 0 {
                report(Code::OtherOwner, folder, false);
            } else if metadata.mode() & Code::FolderMode.surplus(false) != 0 {
                report(Code::FolderMode, folder, metadata.uid() == actor.uid);
            }
        }
        if folder.ancestors().any(|folder| folder.join(".git").exists()) {
            report(Code::InWorkTree, &path, false);
        }
    }
    findings
}
