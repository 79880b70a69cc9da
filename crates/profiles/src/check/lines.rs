//! Lines that botocore (Python's `configparser`) and the Rust SDK read differently, or not at all. Pure.
//!
//! The editor in [`crate::ini`] only has to know whether a line is safe; here it has to be said which of the known
//! differences it is. `tests/parser_table.json` holds an example of each, which tests show to botocore itself.

use super::Code;
use crate::FileKind;
use crate::ini::physical_lines;

/// A line with one of the known differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oddity {
    /// Which.
    pub code: Code,
    /// The line, counted from 1.
    pub line: usize,
    /// The profile whose section it is in.
    pub profile: Option<String>,
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where the reader is.
#[derive(Default)]
struct Reader {
    headers: Vec<String>,
    keys: Vec<String>,
    /// Whether a key stands above in this section: what is indented belongs to it.
    below_key: bool,
    profile: Option<String>,
    found: Vec<Oddity>,
}

/// Every difference, line by line.
pub fn check(kind: FileKind, bytes: &[u8]) -> Vec<Oddity> {
    let mut reader = Reader::default();
    for (index, text) in physical_lines(bytes).enumerate() {
        let number = index + 1;
        if std::str::from_utf8(text).is_err() {
            reader.report(Code::NotUtf8, number);
        }
        let marked = text.strip_prefix(BYTE_ORDER_MARK).filter(|_| index == 0);
        if marked.is_some() {
            reader.report(Code::ByteOrderMark, number);
        }
        reader.line(kind, &String::from_utf8_lossy(marked.unwrap_or(text)), number);
    }
    reader.found
}

impl Reader {
    fn report(&mut self, code: Code, line: usize) {
        self.found.push(Oddity { code, line, profile: self.profile.clone() });
    }

    fn line(&mut self, kind: FileKind, text: &str, number: usize) {
        let inner = text.trim();
        if inner.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        let indented = text.starts_with([' ', '\t']);
        match inner.chars().next() {
            Some('#' | ';') => self.report(
                if self.below_key { Code::IndentedCommentAfterKey } else { Code::IndentedCommentAfterHeader },
                number,
            ),
            Some('[') if !indented => self.header(kind, text, number),
            _ if self.headers.is_empty() => self.report(Code::TextBeforeSection, number),
            // Nested settings, which both read, below a key.
            _ if indented && self.below_key => {}
            _ => self.key(inner, number),
        }
    }

    fn header(&mut self, kind: FileKind, text: &str, number: usize) {
        let Some((inner, _)) = text.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) else {
            return self.report(Code::NoDelimiter, number);
        };
        (self.keys, self.below_key) = (Vec::new(), false);
        let name = inner.trim();
        let name = name.strip_prefix("profile").filter(|_| kind == FileKind::Config).unwrap_or(name).trim();
        self.profile = Some(name.trim_matches(['"', '\'']).to_owned());
        if self.headers.iter().any(|header| header == inner) {
            self.report(Code::DuplicateSection, number);
        }
        self.headers.push(inner.to_owned());
        if inner.trim() != inner {
            self.report(Code::PaddedHeader, number);
        }
        if inner.contains(['"', '\'']) {
            self.report(Code::QuotedHeader, number);
        }
    }

    fn key(&mut self, inner: &str, number: usize) {
        let Some((key, value)) = inner.split_once(['=', ':']) else {
            return self.report(Code::NoDelimiter, number);
        };
        self.below_key = true;
        if inner.as_bytes().get(key.len()) == Some(&b':') {
            self.report(Code::ColonDelimiter, number);
        }
        let key = key.trim().to_lowercase();
        if self.keys.contains(&key) {
            self.report(Code::DuplicateKey, number);
        }
        self.keys.push(key);
        if [" #", " ;", "\t#", "\t;"].into_iter().any(|comment| value.trim_start().contains(comment)) {
            self.report(Code::InlineComment, number);
        }
    }
}
