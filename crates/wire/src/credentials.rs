//! Credentials that the service hands out.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::{Grant, SessionId, Timestamp};

/// Answer of `POST /sessions/{id}/credentials`. Its secrets cannot be shown by accident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssuedCredentials {
    /// Whose they are.
    pub session_id: SessionId,
    /// How the session gives access. Those of `user` can call no IAM operation, and of STS only AssumeRole and GetCallerIdentity.
    pub grant: Grant,
    /// `ASIA…`; no secret.
    pub access_key_id: String,
    /// The secret.
    #[serde(serialize_with = "exposed")]
    pub secret_access_key: SecretString,
    /// The token, as secret.
    #[serde(serialize_with = "exposed")]
    pub session_token: SecretString,
    /// When AWS stops taking them, whatever the session.
    pub expires_at: Timestamp,
    /// When the session ends, and they with it.
    pub session_ends_at: Timestamp,
}

fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

impl PartialEq for IssuedCredentials {
    fn eq(&self, other: &Self) -> bool {
        let plain = |it: &Self| {
            (it.session_id.clone(), it.grant, it.access_key_id.clone(), it.expires_at, it.session_ends_at)
        };
        let secrets =
            |it: &Self| [it.secret_access_key.expose_secret(), it.session_token.expose_secret()].concat();
        plain(self) == plain(other) && secrets(self) == secrets(other)
    }
}
