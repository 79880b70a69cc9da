//! The form `credential_process`: no secret in a file, and a command in the config file that every SDK runs when it
//! needs credentials. The credentials file then holds nothing of the profile. Pure.

use std::path::Path;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{EXPIRES_AT, KEPT, MARK, PROCESS, REGION, STATIC_KEYS, refuse_sources, taken};
use crate::ini::{Document, SectionEdit};
use crate::values::{ProfileName, Region, SessionMark, Value};
use crate::{Error, FileKind, Result};

/// The command line of a `credential_process`, which botocore splits with `shlex` and the Rust SDK hands to `sh -c`:
/// made of parts that mean the same to both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessCommand(String);

impl ProcessCommand {
    /// The program by its absolute path, and its words. Parts with blanks or characters that a shell expands are put
    /// in double quotes; refused is what these do not protect (`$`, a backtick, `\`, quotes, anything that is not
    /// printable ASCII), and ` #` and ` ;`, which begin a comment for the Rust SDK.
    pub fn new(program: &Path, words: &[&str]) -> Result<Self> {
        let program = program.to_str().filter(|text| text.starts_with('/'));
        let Some(program) = program else { return Err(Error::value("absolute path in ASCII", None)) };
        let mut line = quoted(program)?;
        for word in words {
            line.push(' ');
            line.push_str(&quoted(word)?);
        }
        // A comment may also begin where one part meets the next.
        Value::parse(&line).map_err(|_| refused(&line))?;
        Ok(Self(line))
    }

    /// The usual one: `<program> credential-process --session <id>`, and further words.
    pub fn of_session(program: &Path, session: &SessionMark, more: &[&str]) -> Result<Self> {
        Self::new(program, &[&["credential-process", "--session", session.as_str()], more].concat())
    }

    /// The line as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn quoted(word: &str) -> Result<String> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if word.is_empty() || !word.bytes().all(|byte| printable(byte) && !b"$`\\\"'".contains(&byte)) {
        return Err(refused(word));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+@%:=,-".contains(&byte);
    Ok(if word.bytes().all(plain) { word.to_owned() } else { format!("\"{word}\"") })
}

fn refused(text: &str) -> Error {
    Error::value("part of a command line that every AWS tool reads alike", Some(text))
}

/// What goes into a profile of this form.
#[derive(Clone, Debug)]
pub struct ProcessProfile {
    /// What prints the credentials.
    pub command: ProcessCommand,
    /// Where calls go unless they say otherwise.
    pub region: Region,
    /// The session that they belong to.
    pub session_id: SessionMark,
    /// When the *session* ends, not one of its credentials: a renewal leaves the file alone.
    pub expires_at: Timestamp,
}

/// The config file with the command in the profile; `None` where it stands there already.
pub(crate) fn write_config(
    bytes: &[u8],
    name: &ProfileName,
    profile: &ProcessProfile,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let document = Document::parse(FileKind::Config, bytes);
    let mut edit = SectionEdit::default()
        .set(PROCESS, Value::parse(profile.command.as_str())?)
        .set(REGION, Value::parse(profile.region.as_str())?)
        .set(MARK, Value::parse(profile.session_id.as_str())?)
        .set(EXPIRES_AT, Value::time(profile.expires_at)?);
    if let Some(section) = document.section(name)? {
        let file = FileKind::Config;
        refuse_sources(&section, name, file, &STATIC_KEYS)?;
        let is_foreign = section.value(MARK).is_none() || section.value(KEPT).is_some();
        match section.value(REGION) {
            Some(region) if is_foreign && region != profile.region.as_str().as_bytes() => {
                return Err(taken(name, file, REGION));
            }
            // Somebody's own region: it must outlive our command.
            Some(_) if is_foreign => edit = edit.set(KEPT, Value::parse(REGION)?),
            _ => {}
        }
    }
    document.apply(name, &edit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_quoted_where_a_shell_would_take_them_apart() {
        let line = |path: &str, words: &[&str]| {
            ProcessCommand::new(Path::new(path), words).map(|command| command.0).map_err(|_| ())
        };
        assert_eq!(line("/usr/bin/sorry", &["a", "--b=c"]), Ok("/usr/bin/sorry a --b=c".to_owned()));
        assert_eq!(line("/home/a b/sorry", &["*"]), Ok("\"/home/a b/sorry\" \"*\"".to_owned()));
        assert_eq!(line("/x/a;b/(c)#d", &[]), Ok("\"/x/a;b/(c)#d\"".to_owned()));
        for bad in [
            "sorry", "./sorry", "", "/a$b", "/a`b", "/a\"b", "/a'b", "/a\\b", "/a\nb", "/a\tb", "/a #b",
            "/a ;b", "/\u{e4}",
        ] {
            assert_eq!(line(bad, &[]), Err(()), "{bad:?}");
        }
        for bad in ["", "$HOME", "a\nb", "x #y", "'"] {
            assert_eq!(line("/x", &[bad]), Err(()), "{bad:?}");
        }
        // In quotes no comment for a shell, and no blank before it for the SDK.
        assert_eq!(line("/x", &["#y"]), Ok("/x \"#y\"".to_owned()));
    }
}
