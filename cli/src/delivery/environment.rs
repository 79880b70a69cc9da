//! The environment of other programs: which variables go, which come, and how shells write it. Pure.

use std::fmt::Write;

use jiff::Timestamp;
use secrecy::SecretString;
use sorry_profiles::ProfileName;
use zeroize::Zeroizing;

use super::source::Source;

/// Where SDKs look for keys before they look into a profile: set, these would hide what a session gives.
const KEYS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
];
/// Other sources of credentials.
const SOURCES: [&str; 8] = [
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Whether a program that is given a session's keys must not see this variable.
pub(crate) fn is_removed(name: &str) -> bool {
    KEYS.contains(&name) || SOURCES.contains(&name) || name.starts_with("AWS_CONTAINER_")
}

/// How a shell sets variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    /// sh, bash, dash, ksh, zsh
    Sh,
    /// fish
    Fish,
    /// csh, tcsh
    Csh,
}

/// Lines for a shell to read. Holds secrets, so it cannot be printed by mistake.
pub(crate) struct Lines {
    shell: Shell,
    text: Zeroizing<String>,
}

impl Lines {
    pub(crate) fn new(shell: Shell) -> Self {
        // Room enough that it never grows: growing leaves a copy of the secrets behind.
        Self { shell, text: Zeroizing::new(String::with_capacity(32 * 1024)) }
    }

    /// All that a session's keys, or a profile, could have been set by.
    pub(crate) fn unset_all(mut self) -> Self {
        for name in KEYS.into_iter().chain(SOURCES).chain(REGIONS) {
            self.unset(name);
        }
        self
    }

    /// The profile's name alone: SDKs then renew by themselves.
    pub(crate) fn profile(mut self, name: &ProfileName) -> Self {
        for gone in KEYS.into_iter().chain(SOURCES).filter(|gone| *gone != "AWS_PROFILE") {
            self.unset(gone);
        }
        self.set("AWS_PROFILE", name.as_str());
        self
    }

    /// The keys themselves.
    pub(crate) fn keys(mut self, source: &Source) -> Self {
        for gone in SOURCES.into_iter().chain(["AWS_SECURITY_TOKEN"]) {
            self.unset(gone);
        }
        for (name, value) in variables(source) {
            self.set(name, &value);
        }
        self
    }

    pub(crate) fn into_secret(self) -> SecretString {
        SecretString::from(self.text.as_str())
    }

    /// Values are of types that hold neither quotes nor anything that a shell would expand within them.
    fn set(&mut self, name: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = match self.shell {
            Shell::Sh => writeln!(self.text, "export {name}='{value}'"),
            Shell::Fish => writeln!(self.text, "set -gx {name} '{value}';"),
            Shell::Csh => writeln!(self.text, "setenv {name} '{value}';"),
        };
    }

    fn unset(&mut self, name: &str) {
        let _ = match self.shell {
            Shell::Sh => writeln!(self.text, "unset {name}"),
            Shell::Fish => writeln!(self.text, "set -e {name};"),
            Shell::Csh => writeln!(self.text, "unsetenv {name};"),
        };
    }
}

/// What a program is given: the keys, both names of the region, and when it is over.
pub(crate) fn variables(source: &Source) -> Vec<(&'static str, Zeroizing<String>)> {
    let text = |text: &str| Zeroizing::new(text.to_owned());
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", text(source.access_key_id.as_str())),
        ("AWS_SECRET_ACCESS_KEY", text(source.secret_access_key.expose())),
        ("AWS_SESSION_TOKEN", text(source.session_token.expose())),
        ("AWS_CREDENTIAL_EXPIRATION", text(&timestamp(source.expires_at))),
    ];
    if let Some(region) = &source.region {
        variables.extend(REGIONS.map(|name| (name, text(region.as_str()))));
    }
    variables
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as AWS's tools read it; fractions of a second are cut off.
pub(crate) fn timestamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use sorry_profiles::{AccessKeyId, Region, SecretAccessKey, SessionToken};

    use super::*;

    fn source() -> Source {
        Source {
            access_key_id: AccessKeyId::parse("ASIAIOSFODNN7EXAMPLE").unwrap(),
            secret_access_key: SecretAccessKey::parse("se/cr+et=").unwrap(),
            session_token: SessionToken::parse("to/ke+n==").unwrap(),
            region: Some(Region::parse("eu-west-2").unwrap()),
            expires_at: "2026-11-21T04:05:06.789Z".parse().unwrap(),
        }
    }

    fn text(lines: Lines) -> String {
        lines.into_secret().expose_secret().to_owned()
    }

    #[test]
    fn shells_are_given_what_they_read() {
        insta::assert_snapshot!(text(Lines::new(Shell::Sh).keys(&source())));
        insta::assert_snapshot!(text(Lines::new(Shell::Fish).keys(&source())));
        insta::assert_snapshot!(text(Lines::new(Shell::Csh).keys(&source())));
        let name = ProfileName::parse("sue-developer").unwrap();
        insta::assert_snapshot!(text(Lines::new(Shell::Sh).profile(&name)));
        insta::assert_snapshot!(text(Lines::new(Shell::Sh).unset_all()));
    }

    #[test]
    fn whatever_could_hide_a_session_is_removed() {
        for gone in [
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_SECURITY_TOKEN",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_ANYTHING",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(is_removed(gone), "{gone}");
        }
        for kept in
            ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "PATH", "AWS_ENDPOINT_URL"]
        {
            assert!(!is_removed(kept), "{kept}");
        }
    }
}
