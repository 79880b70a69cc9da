//! What profiles hold that they should not, or lack. Sections that cannot be read without doubt are left to
//! [`super::lines`]. Pure.

use jiff::Timestamp;

use super::{Code, KnownSessions};
use crate::form::{EXPIRES_AT, Form, MARK, PROCESS, REGION, STATIC_KEYS};
use crate::ini::{Document, Section};
use crate::{FileKind, ProfileName, SessionMark};

/// Something about a profile.
pub(super) struct Found {
    pub(super) code: Code,
    pub(super) file: FileKind,
    pub(super) profile: ProfileName,
    pub(super) fixable: bool,
}

pub(super) fn check(
    credentials: &[u8],
    config: &[u8],
    sessions: Option<&KnownSessions>,
    now: Timestamp,
) -> Vec<Found> {
    let credentials = Document::parse(FileKind::Credentials, credentials);
    let config = Document::parse(FileKind::Config, config);
    let mut names: Vec<ProfileName> = Vec::new();
    for name in config.profiles().into_iter().chain(credentials.profiles()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut found = Vec::new();
    for name in &names {
        let (Ok(secret), Ok(plain)) = (credentials.section(name), config.section(name)) else { continue };
        let profile = Both { secret: secret.as_ref(), plain: plain.as_ref() };
        let mut report = |code, file, fixable| {
            found.push(Found { code, file, profile: name.clone(), fixable });
        };
        if let Some(file) = profile.without_region() {
            report(Code::NoRegion, file, false);
        }
        if let Some((file, source)) = profile.text("source_profile")
            && !names.iter().any(|name| name.as_str() == source)
        {
            report(Code::MissingSourceProfile, file, false);
        }
        if let Some(ours) = profile.two_forms() {
            report(Code::TwoForms, FileKind::Credentials, ours);
        }
        if let Some(file) = profile.long_lived() {
            report(Code::LongLivedSecret, file, false);
        }
        if let Some((file, code, fixable)) = profile.end(sessions, now) {
            report(code, file, fixable);
        }
    }
    found
}

/// The profile's section in each file.
struct Both<'a, 'b> {
    secret: Option<&'a Section<'b>>,
    plain: Option<&'a Section<'b>>,
}

impl<'a> Both<'a, '_> {
    fn sections(&self) -> impl Iterator<Item = (FileKind, &'a Section<'a>)> + use<'a, '_> {
        let kinds = [(FileKind::Credentials, self.secret), (FileKind::Config, self.plain)];
        kinds.into_iter().filter_map(|(kind, section)| section.map(|section| (kind, section)))
    }

    fn text(&self, key: &str) -> Option<(FileKind, &'a str)> {
        self.sections().find_map(|(kind, section)| text(section, key).map(|value| (kind, value)))
    }

    fn without_region(&self) -> Option<FileKind> {
        let usable = self.sections().find(|(_, section)| Form::of(section) != Form::Settings);
        usable.filter(|_| self.text(REGION).is_none()).map(|(kind, _)| kind)
    }

    /// Whether both forms stand there; and whether both are ours.
    fn two_forms(&self) -> Option<bool> {
        let (secret, plain) = (self.secret?, self.plain?);
        let keys = STATIC_KEYS.into_iter().any(|key| secret.value(key).is_some());
        let ours = |section: &Section<'_>| section.value(MARK).is_some();
        (keys && plain.value(PROCESS).is_some()).then(|| ours(secret) && ours(plain))
    }

    /// A secret key without a session token beside it.
    fn long_lived(&self) -> Option<FileKind> {
        let [_, secret, token] = STATIC_KEYS;
        let lasting =
            |section: &Section<'_>| section.value(secret).is_some() && section.value(token).is_none();
        self.sections().find(|(_, section)| lasting(section)).map(|(kind, _)| kind)
    }

    /// Whether the session in it is over, and whether that is sure.
    fn end(&self, sessions: Option<&KnownSessions>, now: Timestamp) -> Option<(FileKind, Code, bool)> {
        // The config file's mark is the session's only where its command is.
        let holds = |(_, section): &(FileKind, &Section<'_>)| Form::of(section) != Form::Settings;
        let (kind, section) =
            self.sections().filter(holds).find(|(_, section)| section.value(MARK).is_some())?;
        let ends = text(section, EXPIRES_AT).and_then(|time| time.parse::<Timestamp>().ok());
        if ends.is_some_and(|ends| ends <= now) {
            return Some((kind, Code::Expired, true));
        }
        let mark = SessionMark::parse(text(section, MARK)?).ok()?;
        let sessions = sessions?;
        if sessions.over.contains(&mark) {
            Some((kind, Code::SessionOver, true))
        } else if sessions.live.contains(&mark) {
            None
        } else {
            Some((kind, Code::UnknownSession, false))
        }
    }
}

fn text<'a>(section: &'a Section<'_>, key: &str) -> Option<&'a str> {
    section.value(key).and_then(|value| std::str::from_utf8(value).ok())
}
