//! Typed names. Each parses once at the edge and cannot hold anything but its alphabet afterwards.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A word that does not fit the rule of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {kind}")]
pub struct NameError {
    kind: &'static str,
    value: String,
    rule: &'static str,
}

impl NameError {
    /// Longest part of the refused word that an error repeats.
    const SHOWN: usize = 64;

    fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        let shown = value.chars().filter(|character| !character.is_control()).take(Self::SHOWN).collect();
        Self { kind, value: shown, rule }
    }

    /// What would have been accepted.
    pub fn hint(&self) -> String {
        format!("a {} is {}", self.kind, self.rule)
    }
}

/// Declares a newtype over `String` that only its own `FromStr` can make.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(value) { Ok(Self(value.to_owned())) } else { Err(NameError::new($kind, value, $rule)) }
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                value.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

/// A lower-case letter, then `rest` for each further byte, `length` bytes in all.
fn word(value: &str, length: std::ops::RangeInclusive<usize>, rest: fn(u8) -> bool) -> bool {
    let mut bytes = value.bytes();
    length.contains(&value.len())
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(rest)
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn lower_digit_or_hyphen(byte: u8) -> bool {
    lower_or_digit(byte) || byte == b'-'
}

/// Crockford's base 32 in lower case: no `i`, `l`, `o` or `u`, so ids survive being read aloud.
const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Resources called `<one of these>-…` belong to this service, to AWS or to its deployment tools.
const RESERVED_NAMESPACES: [&str; 3] = ["sorry", "aws", "cdk"];

name!(
    /// A person's or team's corner of the account. It has no hyphen, so `<namespace>-*` never reaches into another namespace.
    Namespace,
    "namespace",
    "2 to 20 lower-case letters and digits, a letter first, without hyphens, and not `sorry`, `aws` or `cdk`",
    |value| word(value, 2..=20, lower_or_digit) && !RESERVED_NAMESPACES.contains(&value)
);
name!(
    /// A named set of permissions.
    TierName,
    "tier",
    "2 to 20 lower-case letters, digits and hyphens, a letter first",
    |value| word(value, 2..=20, lower_digit_or_hyphen)
);
name!(
    /// What a session is for, where work is accounted by project.
    ProjectName,
    "project",
    "2 to 32 lower-case letters, digits and hyphens, a letter first",
    |value| word(value, 2..=32, lower_digit_or_hyphen)
);
name!(
    /// Whom a caller's keys belong to; rules about "oneself" compare persons.
    PersonName,
    "person",
    "2 to 64 lower-case letters, digits, hyphens, dots, `_` and `@`, a letter first",
    |value| word(value, 2..=64, |byte| lower_digit_or_hyphen(byte) || b"._@".contains(&byte))
);
name!(
    /// An AWS account id.
    AccountId,
    "account id",
    "12 digits",
    |value| value.len() == 12 && value.bytes().all(|byte| byte.is_ascii_digit())
);
name!(
    /// An AWS region.
    Region,
    "region",
    "5 to 32 lower-case letters, digits and hyphens, such as `eu-west-2`",
    |value| word(value, 5..=32, lower_digit_or_hyphen)
);
name!(
    /// An AWS partition: `aws`, `aws-cn`, `aws-us-gov`.
    Partition,
    "partition",
    "`aws` or a name that begins with `aws-`",
    |value| word(value, 3..=32, lower_digit_or_hyphen) && (value == "aws" || value.starts_with("aws-"))
);
name!(
    /// The name of a session: 80 random bits as 16 characters of Crockford's base 32.
    SessionId,
    "session id",
    "16 digits and lower-case letters other than `i`, `l`, `o` and `u`; `sorry list` shows them",
    |value| value.len() == 16 && value.bytes().all(|byte| CROCKFORD.contains(&byte))
);
name!(
    /// The secret handshake between a session's owner and its role's trust policy: 128 random bits in hexadecimal.
    ExternalId,
    "external id",
    "32 hexadecimal digits",
    |value| value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
);
name!(
    /// Who is behind a role's session, as STS carries it on. Source: STS AssumeRole, `SourceIdentity`.
    SourceIdentity,
    "source identity",
    "2 to 64 letters, digits and `+ = , . @ _ -`",
    |value| {
        (2..=64).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte))
    }
);
name!(
    /// The name of a role, or of a session's user and its policy. AWS compares such names without regard to case; these have none.
    RoleName,
    "role name",
    "1 to 64 lower-case letters, digits and hyphens, a letter first",
    |value| word(value, 1..=64, lower_digit_or_hyphen)
);

name!(
    /// ARN of a managed policy that was made for a session.
    PolicyArn,
    "policy of a session",
    "an ARN with the path `/sorry/session/`",
    |value| {
        value.starts_with("arn:")
            && value.contains(":policy/sorry/session/")
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-/:".contains(&byte))
    }
);

impl SessionId {
    /// Makes an id from 80 random bits.
    pub fn from_random(random: [u8; 10]) -> Self {
        let mut bits = random.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let mut characters = Vec::with_capacity(16);
        for _ in 0..16 {
            let digit = usize::try_from(bits % 32).unwrap_or_default();
            characters.push(CROCKFORD.get(digit).copied().map_or('0', char::from));
            bits /= 32;
        }
        Self(characters.into_iter().collect())
    }

    /// The part of the id that stands in the names of principals.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl ExternalId {
    /// Makes an external id from 128 random bits.
    pub fn from_random(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }
}

impl RoleName {
    /// The role made for one session. It follows from the session alone, so that making it twice is one role.
    pub fn for_session(namespace: &Namespace, tier: &TierName, session: &SessionId) -> Self {
        // 6 + 20 + 1 + 20 + 1 + 8 = 56 of the 64 characters that IAM allows.
        Self(format!("sorry-{namespace}-{tier}-{}", session.short()))
    }

    /// The role that stands ready for a tier. Not one of a session: those end in eight characters of its id.
    pub fn standing(tier: &TierName) -> Self {
        Self(format!("sorry-standing-{tier}"))
    }
}

impl Namespace {
    /// The namespace that a bootstrap user's name stands for: `sue` and `sue-mgr` are in `sue`.
    ///
    /// # Errors
    /// When what is left is no namespace.
    pub fn of_user(user_name: &str) -> Result<Self, NameError> {
        user_name.strip_suffix("-mgr").unwrap_or(user_name).parse()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn namespaces_have_no_hyphen_so_that_one_is_never_the_prefix_of_anothers_resources() {
        assert!("sue".parse::<Namespace>().is_ok());
        for refused in [
            "",
            "s",
            "Sue",
            "sue-mgr",
            "1sue",
            "sue*",
            "su e",
            "sué",
            "sorry",
            "aws",
            "a23456789012345678901",
        ] {
            assert!(refused.parse::<Namespace>().is_err(), "{refused}");
        }
    }

    #[test]
    fn managers_are_in_the_namespace_of_their_person() {
        assert_eq!(Namespace::of_user("sue-mgr").unwrap().as_str(), "sue");
        assert_eq!(Namespace::of_user("sue").unwrap().as_str(), "sue");
        assert!(Namespace::of_user("sue-mgr-mgr").is_err());
    }

    #[test]
    fn role_names_fit_iam_at_their_longest() {
        let name = RoleName::for_session(
            &"a".repeat(20).parse().unwrap(),
            &"b".repeat(20).parse().unwrap(),
            &SessionId::from_random([255; 10]),
        );
        assert!(name.as_str().len() <= 64);
        assert!(name.as_str().parse::<RoleName>().is_ok());
    }

    #[test]
    fn errors_repeat_no_control_characters_and_no_essays() {
        let error = format!("\u{1b}[2J{}", "x".repeat(500)).parse::<Namespace>().unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'));
        assert!(error.to_string().len() < 100);
    }

    proptest! {
        #[test]
        fn random_ids_parse_back_and_differ(first: [u8; 10], second: [u8; 10]) {
            let (one, other) = (SessionId::from_random(first), SessionId::from_random(second));
            prop_assert_eq!(one.as_str().parse::<SessionId>().unwrap(), one.clone());
            prop_assert_eq!(one == other, first == second);
        }

        #[test]
        fn no_name_holds_what_has_a_meaning_in_a_policy(value in ".*") {
            let hostile = |text: &str| text.contains(['*', '?', '$', '{', '}', '"', '\\', ':', '/', ',', ' ']);
            if hostile(&value) {
                prop_assert!(value.parse::<Namespace>().is_err());
                prop_assert!(value.parse::<TierName>().is_err());
                prop_assert!(value.parse::<ProjectName>().is_err());
                prop_assert!(value.parse::<PersonName>().is_err());
                prop_assert!(!hostile(&value.replace(',', "")) || value.parse::<SourceIdentity>().is_err());
                prop_assert!(value.parse::<SessionId>().is_err());
                prop_assert!(value.parse::<AccountId>().is_err());
                prop_assert!(value.parse::<Region>().is_err());
                prop_assert!(value.parse::<Partition>().is_err());
            }
        }
    }
}
