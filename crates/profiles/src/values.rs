//! Validated values: what may be written to a credentials file, or printed by a command, at all.
//!
//! A newline in a session token would let whoever made the token write a `credential_process` line, so nothing
//! reaches a file as a bare string. This module does not judge whether a key works.

use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// The longest secret or token, in bytes. AWS sets no limit; tokens seen in practice stay under 2 KiB.
pub const MAX_SECRET: usize = 8 * 1024;

macro_rules! plain_value {
    ($(#[$doc:meta])* $name:ident, $what:literal, $length:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it; nothing is trimmed.
            pub fn parse(text: &str) -> Result<Self> {
                if $length.contains(&text.len()) && text.bytes().all($allowed) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Error::value($what, Some(text)))
                }
            }

            /// The text as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}

plain_value!(
    /// The name of a profile: `[A-Za-z0-9_.@:/+%-]{1,128}`, what botocore and the Rust SDK both read without quotes.
    ProfileName, "profile name", (1..=128), |byte| byte.is_ascii_alphanumeric() || b"_.@:/+%-".contains(&byte)
);

plain_value!(
    /// An AWS region: `[a-z0-9-]{1,64}`.
    Region, "region", (1..=64), |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);

plain_value!(
    /// The value of `sorry_session`, by which `sorry` knows its own sections: `[a-z0-9]{1,64}`. What a session id
    /// looks like is the business of the domain; here it only must not break a file.
    SessionMark, "session id", (1..=64), |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()
);

impl ProfileName {
    /// Whether this is the profile that tools use when none is named. It is never written to.
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

/// An access key id: `[A-Z0-9]{16,128}`. Not a secret, and yet not repeated in errors: people paste the wrong half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// Checks the text and takes it.
    pub fn parse(text: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if (16..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::value("access key id", None))
        }
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

macro_rules! secret_value {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        /// Wiped when dropped; its `Debug` says nothing.
        #[derive(Clone, Debug)]
        pub struct $name(SecretString);

        impl $name {
            /// Checks the text and copies it; wiping the original is the caller's part.
            pub fn parse(text: &str) -> Result<Self> {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/+=".contains(&byte);
                if (1..=MAX_SECRET).contains(&text.len()) && text.bytes().all(allowed) {
                    Ok(Self(SecretString::from(text)))
                } else {
                    Err(Error::value($what, None))
                }
            }

            /// The secret itself.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }
    };
}

secret_value!(
    /// A secret access key: `[A-Za-z0-9/+=]+`, at most [`MAX_SECRET`] bytes.
    SecretAccessKey, "secret access key"
);
secret_value!(
    /// A session token: `[A-Za-z0-9/+=]+`, at most [`MAX_SECRET`] bytes.
    SessionToken, "session token"
);

/// A value as it may stand behind `key = ` in a file: one line of printable ASCII, without blanks at its ends and
/// without what one parser or another takes for a comment. The last gate: whatever the types above let through, a
/// line break is not among it.
#[derive(Clone)]
pub struct Value(Zeroizing<String>);

impl Value {
    /// Checks the text and copies it.
    pub fn parse(text: &str) -> Result<Self> {
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let comment = text.starts_with(['#', ';']) || text.contains(" #") || text.contains(" ;");
        if !text.is_empty() && printable && !comment && text.trim() == text {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err(Error::value("value", None))
        }
    }

    /// A time as `YYYY-MM-DDTHH:MM:SSZ`; fractions of a second are cut off.
    pub fn time(time: Timestamp) -> Result<Self> {
        Self::parse(&time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    /// The text, perhaps a secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Value(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    #[test]
    fn secrets_are_not_shown() {
        let secret = SecretAccessKey::parse(CANARY).unwrap();
        let token = SessionToken::parse(CANARY).unwrap();
        let value = Value::parse(CANARY).unwrap();
        let refused = SessionToken::parse(&format!("{CANARY}\n")).unwrap_err();
        let shown = format!("{secret:?} {token:?} {value:?} {refused} {refused:?} {:?}", refused.hint());
        assert!(!shown.contains("wJalr"), "{shown}");
        assert_eq!(secret.expose(), CANARY);
    }

    #[test]
    fn nothing_that_breaks_a_line_passes() {
        for bad in ["", "a b", "a\nb", "a\r", "a\0", "ä", "a\u{2028}", "a#", &"a".repeat(MAX_SECRET + 1)] {
            assert!(SecretAccessKey::parse(bad).is_err(), "{bad:?}");
            assert!(SessionToken::parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["", " a", "a ", "a\nb", "a\rb", "a #b", "a ;b", "#a", "ä", "a\tb"] {
            assert!(Value::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_what_both_parsers_read() {
        for good in ["sue-developer", "a", "A_b.c@d:e/f+g%h-1", &"x".repeat(128)] {
            assert!(ProfileName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a]", "[a", "a\n", "\"a\"", "a#b", "ä", &"x".repeat(129)] {
            assert!(ProfileName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Region::parse("eu-central-1").is_ok());
        assert!(Region::parse("EU").is_err());
        assert!(AccessKeyId::parse("ASIAIOSFODNN7EXAMPLE").is_ok());
        assert!(AccessKeyId::parse("ASIAIOSFODNN7EX").is_err());
        assert!(AccessKeyId::parse("asiaiosfodnn7example").is_err());
        assert!(SessionMark::parse("7k3m9q2x4v8n1c5d").is_ok());
        assert!(SessionMark::parse("7k3m-").is_err());
    }

    #[test]
    fn times_have_whole_seconds_and_end_in_z() {
        let time: Timestamp = "2026-11-21T04:05:06.789Z".parse().unwrap();
        assert_eq!(Value::time(time).unwrap().expose(), "2026-11-21T04:05:06Z");
    }
}
