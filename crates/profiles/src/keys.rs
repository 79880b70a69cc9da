//! The session's keys as they stand in a profile, for commands that hand them to another program.

use crate::form::{ACCESS_KEY_ID, MARK, SECRET_ACCESS_KEY, SESSION_TOKEN};
use crate::ini::Document;
use crate::values::{AccessKeyId, SecretAccessKey, SessionToken};
use crate::{AwsFiles, Context, FileKind, ProfileName, Result, write};

/// What `sorry` wrote into the credentials file.
#[derive(Clone, Debug)]
pub struct SessionKeys {
    /// The temporary key's id.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret_access_key: SecretAccessKey,
    /// Its token.
    pub session_token: SessionToken,
}

impl AwsFiles {
    /// The keys that `sorry` wrote into a profile; `None` where there are none, or somebody else's. Takes no lock.
    pub fn session_keys(&self, context: &Context<'_>, name: &ProfileName) -> Result<Option<SessionKeys>> {
        let bytes = write::read(&self.credentials, context)?;
        let document = Document::parse(FileKind::Credentials, &bytes);
        let Some(section) = document.section(name)?.filter(|section| section.value(MARK).is_some()) else {
            return Ok(None);
        };
        let text = |key| section.value(key).and_then(|value| std::str::from_utf8(value).ok());
        let (Some(id), Some(secret), Some(token)) =
            (text(ACCESS_KEY_ID), text(SECRET_ACCESS_KEY), text(SESSION_TOKEN))
        else {
            return Ok(None);
        };
        Ok(Some(SessionKeys {
            access_key_id: AccessKeyId::parse(id)?,
            secret_access_key: SecretAccessKey::parse(secret)?,
            session_token: SessionToken::parse(token)?,
        }))
    }
}
