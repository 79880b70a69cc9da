//! One line of an AWS file, and what it is taken for.
//!
//! botocore (Python's `configparser`) and the Rust SDK read many lines differently. A shape is named here only where
//! both agree; everything else is [`Shape::Odd`], which inside the edited section is refused and outside it ignored.

/// A line with its terminator (`\n`, `\r\n`, a lone `\r`, or nothing at the end of the file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    pub(super) end: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    Blank,
    /// `#` or `;` at column 0: elsewhere one parser or another takes it for part of a value.
    Comment,
    /// `[…]` at column 0.
    Header,
    /// Begins with a blank: belongs to the key above it.
    Indented,
    Key {
        name: &'a [u8],
        value: &'a [u8],
    },
    Odd,
}

/// Splits without losing a byte. A lone `\r` ends a line for Python and does not for the Rust SDK: it ends one here,
/// so that no section header can hide behind it.
pub(super) fn split(bytes: &[u8]) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let text = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(text);
        let end = match tail {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        let (end, tail) = tail.split_at(end);
        lines.push(Line { text, end });
        rest = tail;
    }
    lines
}

impl<'a> Line<'a> {
    pub(super) fn shape(&self) -> Shape<'a> {
        let inner = trim(self.text);
        match self.text {
            _ if inner.is_empty() => Shape::Blank,
            [b'#' | b';', ..] => Shape::Comment,
            [b'[', rest @ ..] if rest.contains(&b']') => Shape::Header,
            _ if after_bracket(self.text).is_some() => Shape::Odd,
            // Python counts more characters as blanks than the Rust SDK does.
            [b' ' | b'\t', ..] if inner.first().is_some_and(u8::is_ascii_graphic) => Shape::Indented,
            _ => self.key(),
        }
    }

    fn key(&self) -> Shape<'a> {
        let Some(delimiter) = self.text.iter().position(|byte| matches!(byte, b'=' | b':')) else {
            return Shape::Odd;
        };
        let (name, rest) = self.text.split_at(delimiter);
        let name = trim(name);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        match rest {
            [b'=', value @ ..] if !name.is_empty() && name.iter().all(plain) => {
                Shape::Key { name, value: trim(value) }
            }
            _ => Shape::Odd,
        }
    }

    /// Whether Python and the Rust SDK disagree on where this line ends.
    pub(super) fn ends_in_lone_return(&self) -> bool {
        self.end == b"\r"
    }
}

/// Without the blanks that every parser takes for blanks, at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

/// What follows the `[` with which a line begins in the eyes of *some* parser: after blanks of any kind, control
/// characters or a byte order mark.
pub(super) fn after_bracket(text: &[u8]) -> Option<String> {
    if !text.contains(&b'[') {
        return None;
    }
    let text = String::from_utf8_lossy(text);
    text.trim_start_matches(|character: char| {
        character.is_whitespace() || character.is_control() || character == '\u{feff}'
    })
    .strip_prefix('[')
    .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape<'_> {
        Line { text: text.as_bytes(), end: b"\n" }.shape()
    }

    #[test]
    fn lines_end_in_any_style() {
        let ends: Vec<_> =
            split(b"a\nb\r\nc\rd\r\r\ne").into_iter().map(|line| (line.text, line.end)).collect();
        let expected: [(&[u8], &[u8]); 6] =
            [(b"a", b"\n"), (b"b", b"\r\n"), (b"c", b"\r"), (b"d", b"\r"), (b"", b"\r\n"), (b"e", b"")];
        assert_eq!(ends, expected);
        assert!(split(b"").is_empty());
    }

    #[test]
    fn only_what_all_parsers_agree_on_has_a_shape() {
        assert_eq!(shape(" \t "), Shape::Blank);
        assert_eq!(shape("# x"), Shape::Comment);
        assert_eq!(shape("[x] # y"), Shape::Header);
        assert_eq!(shape("  max = 3"), Shape::Indented);
        assert_eq!(shape("Key_1 =  v = w "), Shape::Key { name: b"Key_1", value: b"v = w" });
        assert_eq!(shape("k ="), Shape::Key { name: b"k", value: b"" });
        for odd in
            ["k: v", "k:a = v", "text", "= v", "[x", " [x]", "\u{feff}[x]", "\u{a0}k = v", "\u{b}", "a b = c"]
        {
            assert_eq!(shape(odd), Shape::Odd, "{odd:?}");
        }
    }
}
