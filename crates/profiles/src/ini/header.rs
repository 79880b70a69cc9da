//! Section headers: which profile a line names, and whether in the one spelling that every parser reads alike.

use super::FileKind;
use super::line::{Line, Shape, after_bracket, trim};
use crate::ProfileName;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Canonical,
    Odd,
}

/// The canonical header of a profile, without a line ending.
pub(super) fn header(kind: FileKind, name: &ProfileName) -> String {
    match kind {
        FileKind::Config if !name.is_default() => format!("[profile {name}]"),
        FileKind::Credentials | FileKind::Config => format!("[{name}]"),
    }
}

/// Whether the line names the profile for any parser, and how. Deliberately wide: `[profile x]` in the credentials
/// file, `[x]` in the config file, quotes, more blanks, a byte order mark before it all count as odd spellings of `x`.
pub(super) fn spelling(line: &Line<'_>, kind: FileKind, name: &ProfileName) -> Option<Spelling> {
    let rest = after_bracket(line.text)?;
    if is_canonical(line, kind, name) {
        return Some(Spelling::Canonical);
    }
    // Parsers differ in whether the first or the last bracket closes, and in whether one is needed.
    let first = rest.split(']').next().unwrap_or_default();
    let last = rest.rsplit_once(']').map_or(rest.as_str(), |(inner, _)| inner);
    [first, last, rest.as_str()].into_iter().any(|inner| names(inner, name.as_str())).then_some(Spelling::Odd)
}

/// The profile that a canonically spelled header names; `None` for other sections and other spellings.
pub(super) fn profile(line: &Line<'_>, kind: FileKind) -> Option<ProfileName> {
    let text = std::str::from_utf8(line.text).ok()?;
    let (inner, _) = text.strip_prefix('[')?.split_once(']')?;
    let inner = inner.strip_prefix("profile ").unwrap_or(inner);
    let name = ProfileName::parse(inner).ok()?;
    is_canonical(line, kind, &name).then_some(name)
}

fn is_canonical(line: &Line<'_>, kind: FileKind, name: &ProfileName) -> bool {
    let Some(rest) = line.text.strip_prefix(header(kind, name).as_bytes()) else { return false };
    let comment = trim(rest);
    let apart = rest.len() > comment.len();
    line.shape() == Shape::Header
        && match comment {
            [] => true,
            // botocore closes a header at the last bracket of the line.
            [b'#' | b';', text @ ..] => apart && rest.starts_with(b" ") && !text.contains(&b']'),
            _ => false,
        }
}

/// Compares after undoing what some parser would undo: quotes, escapes, surplus blanks, the word `profile`.
fn names(inner: &str, name: &str) -> bool {
    let bare: String = inner
        .chars()
        .filter(|character| !matches!(character, '"' | '\'' | '\\'))
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let mut words = bare.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(only), None, _) => only == name,
        (Some(first), Some(second), None) => first.eq_ignore_ascii_case("profile") && second == name,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(kind: FileKind, text: &str) -> Option<Spelling> {
        let name = ProfileName::parse("x").unwrap();
        spelling(&Line { text: text.as_bytes(), end: b"\n" }, kind, &name)
    }

    #[test]
    fn one_spelling_is_canonical_in_each_file() {
        for text in ["[x]", "[x]  ", "[x] # mine", "[x] ; mine"] {
            assert_eq!(in_file(FileKind::Credentials, text), Some(Spelling::Canonical), "{text}");
        }
        for text in ["[profile x]", "[profile x]\t", "[profile x] # mine"] {
            assert_eq!(in_file(FileKind::Config, text), Some(Spelling::Canonical), "{text}");
        }
        let default = ProfileName::parse("default").unwrap();
        assert_eq!(header(FileKind::Config, &default), "[default]");
    }

    #[test]
    fn every_other_spelling_is_odd_and_never_overlooked() {
        let both = [
            "[ x ]",
            "[\"x\"]",
            "['x']",
            "[profile  x]",
            "[profile \"x\"]",
            "[profile\tx]",
            "[Profile x]",
            " [x]",
            "\u{feff}[x]",
            "\u{a0}[x]",
            "\u{b}[x]",
            "[x",
            "[x] y",
            "[x]# see [y]",
            "[x]#",
            "[\\x]",
            "[x\u{a0}]",
            "[profile 'x' ]",
        ];
        for kind in [FileKind::Credentials, FileKind::Config] {
            for text in both {
                assert_eq!(in_file(kind, text), Some(Spelling::Odd), "{kind} {text:?}");
            }
        }
        assert_eq!(in_file(FileKind::Credentials, "[profile x]"), Some(Spelling::Odd));
        assert_eq!(in_file(FileKind::Config, "[x]"), Some(Spelling::Odd));
    }

    #[test]
    fn other_names_are_other_names() {
        for text in
            ["[xy]", "[X]", "[profile xy]", "[sso-session x]", "# [x]", "x", "k = [x]", "[services x]"]
        {
            assert_eq!(in_file(FileKind::Config, text), None, "{text}");
        }
    }
}
