//! Everything that can be refused or fail here, with what to do about it.
//!
//! No variant holds a byte of a file's values, so no message can show a secret.

use std::io;
use std::path::PathBuf;

use crate::{FileKind, ProfileName};

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a value of its kind. Names and regions are shown, keys and secrets never.
    #[error("{}", invalid_value(.what, .shown.as_deref()))]
    InvalidValue {
        /// The kind of value.
        what: &'static str,
        /// The text, where it may be shown.
        shown: Option<String>,
    },

    /// `default` is what tools use when nobody chose: no place for a session.
    #[error("the profile `default` is not used for sessions")]
    DefaultProfile,
    /// The profile holds something that `sorry` did not write.
    #[error("profile `{name}` in the {file} file holds {holds} that is not from `sorry`")]
    Taken {
        /// The profile.
        name: ProfileName,
        /// Where.
        file: FileKind,
        /// The key that says so.
        holds: String,
    },

    /// The profile's section exists twice.
    #[error("the {file} file has two sections for profile `{name}`: lines {first} and {second}")]
    DuplicateSection {
        /// Which file.
        file: FileKind,
        /// The profile.
        name: ProfileName,
        /// The first header's line.
        first: usize,
        /// The second's.
        second: usize,
    },
    /// The profile's header is one that tools read differently.
    #[error("line {line} of the {file} file spells profile `{name}` in a way that not all tools read")]
    OddSpelling {
        /// Which file.
        file: FileKind,
        /// The profile.
        name: ProfileName,
        /// The header's line.
        line: usize,
        /// The spelling that all read.
        canonical: String,
    },
    /// A key exists twice in the section.
    #[error("line {line} of the {file} file repeats `{key}` of profile `{name}`")]
    DuplicateKey {
        /// Which file.
        file: FileKind,
        /// The profile.
        name: ProfileName,
        /// The key, in lower case.
        key: String,
        /// The repetition's line.
        line: usize,
    },
    /// A line inside the section that tools read differently, or not at all.
    #[error("line {line} of the {file} file is one that tools read differently")]
    AmbiguousLine {
        /// Which file.
        file: FileKind,
        /// The line.
        line: usize,
    },
    /// Zero bytes: UTF-16, or what a crash left.
    #[error("the {file} file is not text")]
    NotText {
        /// Which file.
        file: FileKind,
    },

    /// Both names lead to one file.
    #[error("the credentials file and the config file are the same: `{}`", .path.display())]
    SameFile {
        /// That file.
        path: PathBuf,
    },
    /// Root on somebody's behalf.
    #[error("credentials are not written as root through sudo")]
    ThroughSudo,
    /// A file or folder of somebody else.
    #[error("`{}` belongs to another user", .path.display())]
    OtherOwner {
        /// Which.
        path: PathBuf,
    },
    /// A folder in which others could put another file in this one's place.
    #[error("other users may write to the folder `{}`", .path.display())]
    SharedFolder {
        /// Which.
        path: PathBuf,
    },
    /// A device, a pipe, a folder.
    #[error("`{}` is not a regular file", .path.display())]
    NotRegular {
        /// Which.
        path: PathBuf,
    },
    /// The links go in a circle, or too far.
    #[error("`{}` leads through too many symbolic links", .path.display())]
    TooManyLinks {
        /// Which.
        path: PathBuf,
    },
    /// Larger than any credentials file.
    #[error("`{}` is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A mount point (as in containers): the file cannot be replaced, only overwritten.
    #[error("`{}` is a mount point and cannot be replaced", .path.display())]
    MountPoint {
        /// Which.
        path: PathBuf,
    },
    /// Somebody keeps writing the file.
    #[error("`{}` did not come to rest: another program keeps writing it", .path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// Another `sorry` holds the lock for too long.
    #[error("timed out waiting for `{}`, held by {holder}", .path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// The system refused. The reason is the source.
    #[error("cannot {action} `{}`", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn value(what: &'static str, shown: Option<&str>) -> Self {
        let shown = shown.map(|text| text.chars().take(64).collect::<String>().escape_debug().to_string());
        Self::InvalidValue { what, shown }
    }

    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What the person can do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InvalidValue { what: "profile name", .. } => {
                "use letters, digits and `_ . @ : / + % -`".to_owned()
            }
            Self::InvalidValue { what: "region", .. } => "a region looks like `eu-central-1`".to_owned(),
            Self::InvalidValue { .. } => return None,
            Self::DefaultProfile | Self::Taken { .. } => "choose another name with `--profile`".to_owned(),
            Self::DuplicateSection { first, second, .. } => {
                format!(
                    "join the sections in lines {first} and {second}, or choose another name with `--profile`"
                )
            }
            Self::OddSpelling { line, canonical, .. } => {
                format!("write `{canonical}` in line {line}, or choose another name with `--profile`")
            }
            Self::DuplicateKey { line, .. } => format!("delete line {line} or its twin"),
            Self::AmbiguousLine { line, .. } => format!(
                "make line {line} `key = value` or a comment that begins in the first column, or choose another name \
                 with `--profile`"
            ),
            Self::NotText { .. } => "save it as UTF-8".to_owned(),
            Self::SameFile { .. } => {
                "give `AWS_CONFIG_FILE` and `AWS_SHARED_CREDENTIALS_FILE` a file each".to_owned()
            }
            Self::ThroughSudo => "run it as yourself, without `sudo`".to_owned(),
            Self::OtherOwner { path } => {
                format!("check who owns it: `ls -ld {}`", path.display())
            }
            Self::SharedFolder { path } => format!("`chmod go-w {}`", path.display()),
            Self::MountPoint { .. } => {
                "`--in-place` overwrites it and keeps a copy of the old content beside it".to_owned()
            }
            Self::Busy { .. } | Self::Locked { .. } => "try again when the other program is done".to_owned(),
            Self::NotRegular { .. } | Self::TooManyLinks { .. } | Self::TooLarge { .. } | Self::Io { .. } => {
                return None;
            }
        })
    }
}

fn invalid_value(what: &str, shown: Option<&str>) -> String {
    match shown {
        Some(text) => format!("`{text}` is not a {what}"),
        None => format!("the {what} has a length or a character that AWS does not use"),
    }
}
