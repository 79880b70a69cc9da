//! What the payload says. A member that this version does not know is refused, so that an older `sorry` never drops what a newer
//! one has stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_profiles::{AccessKeyId, SecretAccessKey, SessionToken};

/// All that the vault keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// The person's own key, with which sessions are asked for and roles assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<LongLivedKey>,
    /// How far a rotation of that key has come, if one is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Keys that were rotated away and deleted at AWS, newest last: what of them lies about in a file is worth nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "texts")]
    pub retired: Vec<AccessKeyId>,
    /// Temporary credentials that carry MFA, made from that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_session: Option<TemporaryCredentials>,
    /// The ARN or serial number of the MFA device that codes are asked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_device: Option<String>,
}

/// An access key of an IAM user.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongLivedKey {
    /// Its id; not a secret.
    #[serde(with = "text")]
    pub access_key_id: AccessKeyId,
    /// The secret.
    #[serde(with = "text")]
    pub secret_access_key: SecretAccessKey,
    /// Whose it is, as STS says: `arn:aws:iam::<account>:user/<name>`.
    pub arn: String,
    /// The account, twelve digits.
    pub account: String,
    /// When IAM made it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
}

/// The stages of a rotation, in order. Each is written before the call that leads to the next, so that whatever interrupts it, the
/// vault holds a key that works and says what is left to do.
///
/// ```text
///  (none) ─▶ Creating ─CreateAccessKey─▶ Created ─STS agrees─▶ Switched ─UpdateAccessKey─▶ Deactivated ─DeleteAccessKey─▶ (none)
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rotation {
    /// A key is about to be made. Interrupted here, AWS may have one that is not among `known`, whose secret nobody has.
    Creating {
        /// When it began.
        since: Timestamp,
        /// The keys that the user had before.
        #[serde(with = "texts")]
        known: Vec<AccessKeyId>,
    },
    /// The new key is here, beside the old one, which is still `bootstrap`.
    Created {
        /// When it began.
        since: Timestamp,
        /// The new key.
        new_key: LongLivedKey,
    },
    /// The new key works and is `bootstrap`; the old one is still active at AWS.
    Switched {
        /// When it began.
        since: Timestamp,
        /// The old key.
        #[serde(with = "text")]
        old_key_id: AccessKeyId,
    },
    /// The old key is inactive at AWS and is to be deleted.
    Deactivated {
        /// When it began.
        since: Timestamp,
        /// The old key.
        #[serde(with = "text")]
        old_key_id: AccessKeyId,
    },
}

/// Credentials of STS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemporaryCredentials {
    /// The id; not a secret.
    #[serde(with = "text")]
    pub access_key_id: AccessKeyId,
    /// The secret.
    #[serde(with = "text")]
    pub secret_access_key: SecretAccessKey,
    /// The token.
    #[serde(with = "text")]
    pub session_token: SessionToken,
    /// When they end.
    pub expires_at: Timestamp,
}

/// A validated value that is written as its text.
pub(crate) trait Text: Sized {
    fn from_text(text: &str) -> Option<Self>;
    fn text(&self) -> &str;
}

macro_rules! text {
    ($($name:ty, $text:ident);+) => {
        $(impl Text for $name {
            fn from_text(text: &str) -> Option<Self> {
                Self::parse(text).ok()
            }

            fn text(&self) -> &str {
                self.$text()
            }
        })+
    };
}

text!(AccessKeyId, as_str; SecretAccessKey, expose; SessionToken, expose; sorry_profiles::Region, as_str);

/// Serde for one [`Text`].
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use zeroize::Zeroizing;

    use super::Text;

    pub(crate) fn serialize<T: Text, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.text())
    }

    pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // Not the value: it may be a secret.
        T::from_text(&text).ok_or_else(|| de::Error::custom("a value is not of its form"))
    }
}

/// Serde for several [`Text`]s.
mod texts {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Text;

    pub(super) fn serialize<T: Text, S: Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(Text::text))
    }

    pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        let values = texts.iter().map(|text| T::from_text(text)).collect::<Option<_>>();
        values.ok_or_else(|| de::Error::custom("a value is not of its form"))
    }
}
