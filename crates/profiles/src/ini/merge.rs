//! Putting together what two writers made of the same file when neither saw the other's work.
//!
//! By whole sections and bytes, not by keys: a section that only one side changed is taken from that side; one that
//! both changed stays as it is in the newer file.

use zeroize::Zeroizing;

use super::line::{Shape, split, trim};

/// A section as bytes, or what stands before the first (with an empty header).
struct Block<'a> {
    header: &'a [u8],
    /// Which of several with this header: broken files stay as broken as they were.
    nth: usize,
    bytes: &'a [u8],
}

impl Block<'_> {
    /// The same up to blank lines and a missing newline at the end.
    fn says_the_same(&self, other: &Self) -> bool {
        self.bytes.trim_ascii_end() == other.bytes.trim_ascii_end()
    }
}

/// `current` with what `theirs` changed against `base`.
pub(crate) fn merge(base: &[u8], theirs: &[u8], current: &[u8]) -> Zeroizing<Vec<u8>> {
    let (base, theirs, current) = (blocks(base), blocks(theirs), blocks(current));
    let length: usize = theirs.iter().chain(&current).map(|block| block.bytes.len() + 2).sum();
    let mut merged = Zeroizing::new(Vec::with_capacity(length));
    for block in &current {
        let before = find(&base, block).filter(|before| block.says_the_same(before));
        match (before, find(&theirs, block)) {
            (Some(before), Some(changed)) if !changed.says_the_same(before) => {
                push(&mut merged, changed.bytes)
            }
            (Some(_), None) => {}
            _ => push(&mut merged, block.bytes),
        }
    }
    for block in &theirs {
        let known = find(&base, block).is_some_and(|before| block.says_the_same(before));
        if !known && find(&current, block).is_none() {
            push(&mut merged, block.bytes);
        }
    }
    merged
}

fn push(merged: &mut Vec<u8>, bytes: &[u8]) {
    if !merged.is_empty() && !merged.ends_with(b"\n") && !merged.ends_with(b"\r") {
        merged.push(b'\n');
    }
    merged.extend_from_slice(bytes);
}

fn find<'a, 'b>(blocks: &'a [Block<'b>], like: &Block<'_>) -> Option<&'a Block<'b>> {
    blocks.iter().find(|block| block.header == like.header && block.nth == like.nth)
}

fn blocks(bytes: &[u8]) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut add = |header, bytes| {
        let nth = found.iter().filter(|block| block.header == header).count();
        found.push(Block { header, nth, bytes });
    };
    let (mut header, mut start, mut at): (&[u8], usize, usize) = (b"", 0, 0);
    for line in split(bytes) {
        if line.shape() == Shape::Header {
            add(header, bytes.get(start..at).unwrap_or_default());
            (header, start) = (trim(line.text), at);
        }
        at += line.text.len() + line.end.len();
    }
    add(header, bytes.get(start..).unwrap_or_default());
    found.retain(|block| !block.bytes.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, theirs: &str, current: &str) -> String {
        String::from_utf8(merge(base.as_bytes(), theirs.as_bytes(), current.as_bytes()).to_vec()).unwrap()
    }

    #[test]
    fn each_side_keeps_what_it_did() {
        let base = "# top\n[a]\nk = 1\n[b]\nk = 1\n[gone]\nk = 1\n";
        let theirs = "# top\n[a]\nk = 2\n[b]\nk = 1\n[new]\nk = 1";
        let current = "# top\n[a]\nk = 1\n[b]\nk = 3\n[gone]\nk = 1\n[ours]\nk = 1\n";
        assert_eq!(
            merged(base, theirs, current),
            "# top\n[a]\nk = 2\n[b]\nk = 3\n[ours]\nk = 1\n[new]\nk = 1"
        );
    }

    #[test]
    fn the_newer_file_wins_where_both_changed_a_section() {
        assert_eq!(merged("[a]\nk = 1\n", "[a]\nk = 2\n", "[a]\nk = 3\n"), "[a]\nk = 3\n");
        assert_eq!(merged("", "[a]\nk = 2\n", "[a]\nk = 3\n"), "[a]\nk = 3\n");
    }

    #[test]
    fn nothing_changed_means_nothing_changes() {
        let file = "junk\n[a]\r\nk = 1\r\n\r\n[a]\nx\n";
        assert_eq!(merged("[z]\n", "[z]\n", file), file);
    }
}
