//! Editing one section: every other line goes through untouched.

use zeroize::Zeroizing;

use super::line::Shape;
use super::{Document, Section, header};
use crate::values::Value;
use crate::{Error, ProfileName, Result};

/// What a section shall hold afterwards, and what not. Keys not named stay.
#[derive(Clone, Debug, Default)]
pub struct SectionEdit {
    set: Vec<(&'static str, Value)>,
    remove: Vec<&'static str>,
}

impl SectionEdit {
    /// The key gets this value: in its place, or after the section's last key.
    #[must_use]
    pub fn set(mut self, key: &'static str, value: Value) -> Self {
        self.set.push((key, value));
        self
    }

    /// The key goes, if it is there.
    #[must_use]
    pub fn remove(mut self, key: &'static str) -> Self {
        self.remove.push(key);
        self
    }

    fn length(&self) -> usize {
        self.set.iter().map(|(key, value)| key.len() + value.expose().len() + 8).sum()
    }
}

impl Document<'_> {
    /// The file with the section edited, or added at the end; `None` where it holds all that already.
    pub fn apply(&self, name: &ProfileName, edit: &SectionEdit) -> Result<Option<Zeroizing<Vec<u8>>>> {
        match self.section(name)? {
            Some(section) => self.change(&section, edit),
            None if edit.set.is_empty() => Ok(None),
            None => Ok(Some(self.append(name, edit))),
        }
    }

    /// The file without these keys of the section. If nothing else is in it the header goes too, with one blank line
    /// that set it off; comments stay. `None` where there is nothing to remove.
    pub fn remove(&self, name: &ProfileName, ours: &[&'static str]) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(section) = self.section(name)? else { return Ok(None) };
        if section.keys().any(|key| !ours.contains(&key)) {
            let edit = ours.iter().fold(SectionEdit::default(), |edit, key| edit.remove(key));
            return self.change(&section, &edit);
        }
        let mut dropped = vec![section.header];
        for key in &section.keys {
            dropped.push(self.only_line(&section, &key.name)?);
        }
        if let Some(above) = self.separator(section.header, &dropped) {
            dropped.push(above);
        }
        let mut output = self.output(0);
        for (_, line) in self.lines.iter().enumerate().filter(|(index, _)| !dropped.contains(index)) {
            output.extend_from_slice(line.text);
            output.extend_from_slice(line.end);
        }
        if output.is_empty() {
            // An empty file looks like one that somebody has just truncated.
            output.extend_from_slice(self.line_ending(section.header));
        }
        Ok(Some(output))
    }

    fn change(&self, section: &Section<'_>, edit: &SectionEdit) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let mut replaced = Vec::new();
        let mut added = Vec::new();
        let mut dropped = Vec::new();
        for (key, value) in &edit.set {
            match section.value(key) {
                None => added.push((key, value)),
                Some(old) => {
                    let index = self.only_line(section, key)?;
                    if old != value.expose().as_bytes() {
                        replaced.push((index, key, value));
                    }
                }
            }
        }
        for key in edit.remove.iter().filter(|key| section.value(key).is_some()) {
            dropped.push(self.only_line(section, key)?);
        }
        if replaced.is_empty() && added.is_empty() && dropped.is_empty() {
            return Ok(None);
        }

        let ending = self.line_ending(section.header);
        let last = section.keys.iter().map(|key| key.last).max().unwrap_or(section.header);
        let mut output = self.output(edit.length());
        for (index, line) in self.lines.iter().enumerate() {
            if let Some((_, key, value)) = replaced.iter().find(|(at, _, _)| *at == index) {
                push_key(&mut output, key, value, line.end);
            } else if !dropped.contains(&index) {
                output.extend_from_slice(line.text);
                output.extend_from_slice(line.end);
            }
            if index == last && !added.is_empty() {
                if line.end.is_empty() {
                    output.extend_from_slice(ending);
                }
                for (key, value) in &added {
                    push_key(&mut output, key, value, ending);
                }
            }
        }
        Ok(Some(output))
    }

    fn append(&self, name: &ProfileName, edit: &SectionEdit) -> Zeroizing<Vec<u8>> {
        let header = header::header(self.kind, name);
        let ending = self.line_ending(0);
        let mut output = self.output(edit.length() + header.len() + 8);
        for line in &self.lines {
            output.extend_from_slice(line.text);
            output.extend_from_slice(line.end);
        }
        if let Some(last) = self.lines.last() {
            if !last.end.ends_with(b"\n") {
                output.extend_from_slice(ending);
            }
            // A file of one blank line is what `remove` leaves of a file that was ours alone.
            if self.lines.len() > 1 || !last.text.is_empty() || !last.end.ends_with(b"\n") {
                output.extend_from_slice(ending);
            }
        }
        output.extend_from_slice(header.as_bytes());
        output.extend_from_slice(ending);
        for (key, value) in &edit.set {
            push_key(&mut output, key, value, ending);
        }
        output
    }

    /// The line of a key of ours. Nested lines under it are nothing that any `sorry` wrote.
    fn only_line(&self, section: &Section<'_>, key: &str) -> Result<usize> {
        match section.find(key) {
            Some(lines) if lines.first == lines.last => Ok(lines.first),
            Some(lines) => Err(self.ambiguous(lines.last)),
            None => Err(Error::AmbiguousLine { file: self.kind, line: section.header + 1 }),
        }
    }

    /// The blank line above a header, if another blank line or the end of the file takes its place.
    fn separator(&self, header: usize, dropped: &[usize]) -> Option<usize> {
        let above = header.checked_sub(1)?;
        let blank = |line: &super::Line<'_>| line.shape() == Shape::Blank;
        let mut below =
            self.lines.iter().enumerate().skip(header).filter(|(index, _)| !dropped.contains(index));
        let closed = below.next().is_none_or(|(_, line)| blank(line));
        (closed && self.lines.get(above).is_some_and(blank)).then_some(above)
    }

    /// How lines end around here: as this one does, or else as the file's first does, or else in `\n`.
    fn line_ending(&self, index: usize) -> &'static [u8] {
        let near = self.lines.get(index).into_iter().chain(self.lines.first());
        match near.map(|line| line.end).find(|end| end.ends_with(b"\n")) {
            Some(b"\r\n") => b"\r\n",
            _ => b"\n",
        }
    }

    /// An empty buffer that need not grow: growing would leave copies of secrets behind.
    fn output(&self, more: usize) -> Zeroizing<Vec<u8>> {
        let length: usize = self.lines.iter().map(|line| line.text.len() + line.end.len()).sum();
        Zeroizing::new(Vec::with_capacity(length + more + 8))
    }
}

fn push_key(output: &mut Vec<u8>, key: &str, value: &Value, ending: &[u8]) {
    for part in [key.as_bytes(), b" = ", value.expose().as_bytes(), ending] {
        output.extend_from_slice(part);
    }
}
