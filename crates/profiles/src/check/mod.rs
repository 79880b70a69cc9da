//! What is wrong with the two files, and what botocore and the Rust SDK each make of it.
//!
//! It judges and changes nothing; [`Change`](crate::Change) mends what can be mended. What a finding says never holds a
//! value of a file, names alone.
//!
//! | module | what it looks at |
//! |---|---|
//! | [`code`] | the kinds of findings with their words |
//! | [`lines`] | lines and headers that tools read differently; pure |
//! | `sections` | what profiles hold; pure |
//! | `places` | modes, owners, links of files and folders |

pub mod code;
pub mod lines;
mod places;
mod sections;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub use code::Code;
use places::Place;

use crate::{AwsFiles, Context, FileKind, Result, SessionMark, write};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub code: Code,
    /// The file, or the folder.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The profile, as it is spelled.
    pub profile: Option<String>,
    /// Whether [`AwsFiles::plan_fix`] mends it.
    pub fixable: bool,
}

/// What the service knows of sessions; one that is in neither set may be another deployment's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownSessions {
    /// Those that last.
    pub live: BTreeSet<SessionMark>,
    /// Those that are over.
    pub over: BTreeSet<SessionMark>,
}

impl AwsFiles {
    /// Looks at both files and the folders they lie in: places first, then lines, then profiles. Without knowledge of
    /// sessions nothing is said about orphans. Takes no lock.
    pub fn check(&self, context: &Context<'_>, sessions: Option<&KnownSessions>) -> Result<Vec<Finding>> {
        let mut findings = places::check(
            &[Place::of(&self.credentials, true), Place::of(&self.config, false)],
            context.actor,
        );
        let config = write::read(&self.config, context)?;
        let credentials = write::read(&self.credentials, context)?;
        for (kind, path, bytes) in [
            (FileKind::Credentials, &self.credentials, &credentials),
            (FileKind::Config, &self.config, &config),
        ] {
            findings.extend(lines::check(kind, bytes).into_iter().map(|oddity| Finding {
                code: oddity.code,
                path: path.clone(),
                line: Some(oddity.line),
                profile: oddity.profile,
                fixable: false,
            }));
        }
        let found = sections::check(&credentials, &config, sessions, context.now);
        findings.extend(found.into_iter().map(|found| Finding {
            code: found.code,
            path: match found.file {
                FileKind::Credentials => self.credentials.clone(),
                FileKind::Config => self.config.clone(),
            },
            line: None,
            profile: Some(found.profile.to_string()),
            fixable: found.fixable,
        }));
        Ok(findings)
    }
}
