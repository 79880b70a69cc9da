//! AWS's INI dialect, losslessly: bytes in, the same bytes out, but for the one section that was edited.
//!
//! There is no grammar that all tools agree on, so this is no parser of values. It finds the lines of one profile's
//! section and refuses whatever two tools would read differently: a section that exists twice or in an odd spelling, a
//! key that exists twice, a line inside the section that only some understand. What stands in *other* sections, be it
//! broken, Latin-1 or nested, is neither judged nor touched. Pure.

mod edit;
mod header;
mod line;
mod merge;

use std::fmt;

pub use edit::SectionEdit;
pub(crate) use merge::merge;

use crate::{Error, ProfileName, Result};
use header::Spelling;
use line::{Line, Shape};

/// The lines of a file as the editor sees them, without their ends.
pub(crate) fn physical_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    line::split(bytes).into_iter().map(|line| line.text)
}

/// Which of the two files: they spell a profile's header differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `~/.aws/credentials`: `[name]`.
    Credentials,
    /// `~/.aws/config`: `[profile name]`, and `[default]`.
    Config,
}

impl fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Credentials => "credentials",
            Self::Config => "config",
        })
    }
}

/// A file as lines.
pub struct Document<'a> {
    kind: FileKind,
    lines: Vec<Line<'a>>,
}

/// The section of one profile, found to be safe to edit.
#[derive(Debug)]
pub struct Section<'a> {
    header: usize,
    keys: Vec<KeyLines<'a>>,
}

/// A key with the lines that belong to it, nested ones included.
struct KeyLines<'a> {
    name: String,
    value: &'a [u8],
    first: usize,
    last: usize,
}

impl<'a> Document<'a> {
    /// Takes any bytes at all.
    pub fn parse(kind: FileKind, bytes: &'a [u8]) -> Self {
        Self { kind, lines: line::split(bytes) }
    }

    /// The same bytes again.
    pub fn emit(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| [line.text, line.end]).flatten().copied().collect()
    }

    /// The profiles whose headers are spelled canonically, in the order of the file.
    pub fn profiles(&self) -> Vec<ProfileName> {
        self.lines.iter().filter_map(|line| header::profile(line, self.kind)).collect()
    }

    /// Finds the section of a profile. `Ok(None)` says that no parser sees one; an error, that it must not be edited.
    pub fn section(&self, name: &ProfileName) -> Result<Option<Section<'a>>> {
        if self.lines.iter().any(|line| line.text.contains(&0)) {
            return Err(Error::NotText { file: self.kind });
        }
        let Some(header) = self.find(name)? else { return Ok(None) };
        let mut keys: Vec<KeyLines<'a>> = Vec::new();
        let from = header.saturating_sub(1);
        for (index, line) in self.lines.iter().enumerate().skip(from) {
            if index > header {
                match line.shape() {
                    Shape::Header => break,
                    Shape::Blank | Shape::Comment => {}
                    Shape::Indented => match keys.last_mut() {
                        Some(key) => key.last = index,
                        None => return Err(self.ambiguous(index)),
                    },
                    Shape::Key { name: key, value } => {
                        let key = String::from_utf8_lossy(key).to_ascii_lowercase();
                        if keys.iter().any(|other| other.name == key) {
                            let (name, line) = (name.clone(), index + 1);
                            return Err(Error::DuplicateKey { file: self.kind, name, key, line });
                        }
                        keys.push(KeyLines { name: key, value, first: index, last: index });
                    }
                    Shape::Odd => return Err(self.ambiguous(index)),
                }
            }
            // Checked from the line above the header on: its end is where the header begins.
            if line.ends_in_lone_return() {
                return Err(self.ambiguous(index));
            }
        }
        Ok(Some(Section { header, keys }))
    }

    fn find(&self, name: &ProfileName) -> Result<Option<usize>> {
        let spelled = |(index, line)| Some((index, header::spelling(line, self.kind, name)?));
        let mut found = self.lines.iter().enumerate().filter_map(spelled);
        let first = found.next();
        match (first, found.next()) {
            (None, _) => Ok(None),
            (Some((first, _)), Some((second, _))) => {
                let (first, second) = (first + 1, second + 1);
                Err(Error::DuplicateSection { file: self.kind, name: name.clone(), first, second })
            }
            (Some((index, Spelling::Odd)), None) => Err(Error::OddSpelling {
                file: self.kind,
                name: name.clone(),
                line: index + 1,
                canonical: header::header(self.kind, name),
            }),
            (Some((index, Spelling::Canonical)), None) => Ok(Some(index)),
        }
    }

    fn ambiguous(&self, index: usize) -> Error {
        Error::AmbiguousLine { file: self.kind, line: index + 1 }
    }
}

impl Section<'_> {
    /// The value of a key, as it stands behind the `=` (comments within the line included); keys know no case.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.find(key).map(|lines| lines.value)
    }

    /// The keys in lower case, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|lines| lines.name.as_str())
    }

    fn find(&self, key: &str) -> Option<&KeyLines<'_>> {
        self.keys.iter().find(|lines| lines.name == key)
    }
}

impl fmt::Debug for KeyLines<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KeyLines").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.len();
        formatter.debug_struct("Document").field("kind", &self.kind).field("lines", &lines).finish()
    }
}

#[cfg(test)]
mod tests;
