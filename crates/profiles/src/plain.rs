//! Keys that lie in a profile in plain text: read, so that they can go to a safer place, and taken out once they are there.

use crate::aws_files::Removed;
use crate::form::STATIC_KEYS;
use crate::ini::Document;
use crate::write::{self, Privacy};
use crate::{AccessKeyId, AwsFiles, Context, FileKind, ProfileName, Result, SecretAccessKey};

/// A key as it stands in a profile.
#[derive(Clone, Debug)]
pub struct PlainKey {
    /// Its id.
    pub access_key_id: AccessKeyId,
    /// Its secret.
    pub secret_access_key: SecretAccessKey,
    /// Whether a session token stands beside it: then it is no long-lived one.
    pub is_temporary: bool,
}

impl AwsFiles {
    /// The key that a profile holds, the credentials file before the config file, as the SDKs read it. Takes no lock.
    pub fn plain_key(&self, context: &Context<'_>, name: &ProfileName) -> Result<Option<PlainKey>> {
        for (file, path) in [(FileKind::Credentials, &self.credentials), (FileKind::Config, &self.config)] {
            let bytes = write::read(path, context)?;
            let Some(section) = Document::parse(file, &bytes).section(name)? else { continue };
            let text = |key| section.value(key).and_then(|value| std::str::from_utf8(value).ok());
            let [id, secret, token] = STATIC_KEYS;
            if let (Some(id), Some(secret)) = (text(id), text(secret)) {
                return Ok(Some(PlainKey {
                    access_key_id: AccessKeyId::parse(id)?,
                    secret_access_key: SecretAccessKey::parse(secret)?,
                    is_temporary: text(token).is_some(),
                }));
            }
        }
        Ok(None)
    }

    /// Takes this key out of a profile, wherever it stands there; everything else stays, and so does another key.
    pub fn remove_plain_key(
        &self,
        context: &Context<'_>,
        name: &ProfileName,
        key: &AccessKeyId,
    ) -> Result<Removed> {
        if !self.credentials.exists() && !self.config.exists() {
            return Ok(Removed::default());
        }
        let both = self.prepare(context)?;
        let [id, ..] = STATIC_KEYS;
        let remove = |file: FileKind, bytes: &[u8]| {
            let document = Document::parse(file, bytes);
            let Some(section) = document.section(name)? else { return Ok(None) };
            match section.value(id) {
                Some(found) if found == key.as_str().as_bytes() => document.remove(name, &STATIC_KEYS),
                _ => Ok(None),
            }
        };
        let credentials = write::update_target(&both.credentials, Privacy::Secret, context, &|bytes| {
            remove(FileKind::Credentials, bytes)
        })?;
        let config = write::update_target(&both.config, Privacy::AsItWas, context, &|bytes| {
            remove(FileKind::Config, bytes)
        })?;
        let warnings = credentials.warnings.into_iter().chain(config.warnings).collect();
        Ok(Removed { credentials: credentials.changed, config: config.changed, warnings })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use jiff::Timestamp;

    use super::*;
    use crate::Actor;

    #[test]
    fn a_key_is_taken_out_and_everything_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let files =
            AwsFiles { credentials: folder.path().join("credentials"), config: folder.path().join("config") };
        let secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY000";
        let before = format!(
            "# mine\n[a]\naws_access_key_id = AKIAEXAMPLEEXAMPLE12\naws_secret_access_key = {secret}\n[b]\nregion = x\n"
        );
        #[expect(clippy::disallowed_methods, reason = "a test prepares the file")]
        fs::write(&files.credentials, &before).unwrap();
        let actor = Actor::this_process(false);
        let context = Context::new(&actor, Timestamp::UNIX_EPOCH);
        let name = ProfileName::parse("a").unwrap();
        let key = files.plain_key(&context, &name).unwrap().unwrap();
        assert_eq!((key.secret_access_key.expose(), key.is_temporary), (secret, false));
        let other = AccessKeyId::parse("AKIAEXAMPLEEXAMPLE99").unwrap();
        assert!(!files.remove_plain_key(&context, &name, &other).unwrap().credentials);
        assert_eq!(fs::read_to_string(&files.credentials).unwrap(), before);
        assert!(files.remove_plain_key(&context, &name, &key.access_key_id).unwrap().credentials);
        let after = fs::read_to_string(&files.credentials).unwrap();
        assert!(after.starts_with("# mine\n") && after.ends_with("[b]\nregion = x\n"), "{after}");
        assert!(!after.contains("aws_"), "{after}");
        assert!(files.plain_key(&context, &name).unwrap().is_none());
    }
}
