//! The bootstrap key before it is in the vault: in the environment, in a profile, on standard input, or in the person's hands.

use std::io::Read;

use aws_credential_types::Credentials;
use secrecy::ExposeSecret;
use serde_json::Value;
use sorry_profiles::{AccessKeyId, ProfileName, SecretAccessKey};
use zeroize::Zeroizing;

use crate::{
    app::App,
    env_vars,
    error::{CliError, Exit, Result},
    files, terminal,
};

/// More than anybody pipes into it.
const LONGEST_INPUT: u64 = 64 * 1024;
/// How a KeePass database begins.
const KEEPASS: [u8; 4] = [0x03, 0xd9, 0xa2, 0x9a];

/// Where a key was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Environment,
    Profile(ProfileName),
    StandardInput,
    Terminal,
}

/// A key that is to go into the vault.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) access_key_id: AccessKeyId,
    pub(crate) secret_access_key: SecretAccessKey,
    pub(crate) place: Place,
}

impl Found {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(
            self.access_key_id.as_str(),
            self.secret_access_key.expose(),
            None,
            None,
            "bootstrap",
        )
    }
}

/// Looks where it is told to; else in the environment, in the profile that `AWS_PROFILE` names, and asks.
pub(crate) async fn find(app: &App, profile: Option<&ProfileName>, stdin: bool) -> Result<Found> {
    if stdin {
        return from_standard_input();
    }
    if let Some(name) = profile {
        return from_profile(app, name);
    }
    if let Some(found) = from_environment(app)? {
        return Ok(found);
    }
    if let Some(name) = app.settings.environment.get(env_vars::AWS_PROFILE) {
        return from_profile(app, &ProfileName::parse(name)?);
    }
    let Some(found) = from_terminal().await? else {
        return Err(CliError::usage("no bootstrap key was found").hint(
            "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, name a profile with `--from-profile`, or pipe the key in with \
             `--stdin`",
        ));
    };
    Ok(found)
}

fn from_environment(app: &App) -> Result<Option<Found>> {
    let Some((id, secret, is_temporary)) = app.settings.environment.key() else { return Ok(None) };
    found(id, secret.expose_secret(), is_temporary, Place::Environment).map(Some)
}

fn from_profile(app: &App, name: &ProfileName) -> Result<Found> {
    let key = files::in_context(app, false, |context| app.settings.aws_files.plain_key(context, name))?;
    let key = key.ok_or_else(|| {
        let files = &app.settings.aws_files;
        CliError::new(Exit::NotFound, format!("profile `{name}` holds no key")).hint(format!(
            "`{}` and `{}` are where keys are looked for; `--stdin` takes one from elsewhere",
            files.credentials.display(),
            files.config.display()
        ))
    })?;
    let place = Place::Profile(name.clone());
    found(key.access_key_id.as_str(), key.secret_access_key.expose(), key.is_temporary, place)
}

async fn from_terminal() -> Result<Option<Found>> {
    if !terminal::can_ask() {
        return Ok(None);
    }
    let Some(id) = terminal::ask("Access key id").await.filter(|id| !id.is_empty()) else { return Ok(None) };
    let Some(secret) = terminal::ask_secret("Secret access key").await else { return Ok(None) };
    let secret = Zeroizing::new(String::from_utf8_lossy(secret.expose_secret()).into_owned());
    found(&id, secret.trim(), false, Place::Terminal).map(Some)
}

fn from_standard_input() -> Result<Found> {
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::stdin()
        .take(LONGEST_INPUT)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::failed(format!("standard input cannot be read: {error}")))?;
    if bytes.starts_with(&KEEPASS) {
        return Err(CliError::usage("this is a KeePass database, which `sorry` does not read").hint(
            "copy the key id and the secret out of it: without `--stdin` they are asked for at the terminal",
        ));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| CliError::usage("standard input holds no text"))?;
    let (id, secret, is_temporary) = parse(text).ok_or_else(|| {
        CliError::usage("standard input holds no access key").hint(
            "what `sorry admin callers add` or `aws iam create-access-key` print is understood, and two lines: the key id and the \
             secret",
        )
    })?;
    found(&id, &secret, is_temporary, Place::StandardInput)
}

type Parsed = (String, Zeroizing<String>, bool);

/// JSON of `sorry` or of the AWS CLI, a section of a credentials file, or two lines.
fn parse(text: &str) -> Option<Parsed> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        let inner = value.get("AccessKey").unwrap_or(&value);
        let member = |names: [&str; 2]| names.iter().find_map(|name| inner.get(name)?.as_str());
        let id = member(["access_key_id", "AccessKeyId"])?.to_owned();
        let secret = member(["secret_access_key", "SecretAccessKey"])?.to_owned();
        let is_temporary = member(["session_token", "SessionToken"]).is_some();
        return Some((id, Zeroizing::new(secret), is_temporary));
    }
    let pairs: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let value = |name: &str| {
        let fits = |key: &str| key.trim_start_matches("export ").eq_ignore_ascii_case(name);
        pairs.iter().find(|(key, _)| fits(key)).map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
    };
    if let (Some(id), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
        return Some((id, Zeroizing::new(secret), value("aws_session_token").is_some()));
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(id), Some(secret), None) => Some((id.to_owned(), Zeroizing::new(secret.to_owned()), false)),
        _ => None,
    }
}

fn found(id: &str, secret: &str, is_temporary: bool, place: Place) -> Result<Found> {
    if is_temporary || id.starts_with("ASIA") {
        return Err(CliError::new(
            Exit::Refused,
            "these are temporary credentials, and the vault keeps a bootstrap key",
        )
        .hint("take the long-lived key of your IAM user (its id begins with `AKIA`)"));
    }
    Ok(Found {
        access_key_id: AccessKeyId::parse(id)?,
        secret_access_key: SecretAccessKey::parse(secret)?,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIAEXAMPLEEXAMPLE12";
    const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY000";

    #[test]
    fn keys_are_read_as_other_programs_print_them() {
        for text in [
            format!(r#"{{"caller": {{}}, "access_key_id": "{ID}", "secret_access_key": "{SECRET}"}}"#),
            format!(r#"{{"AccessKey": {{"AccessKeyId": "{ID}", "SecretAccessKey": "{SECRET}"}}}}"#),
            format!(
                "# person: sue\n[sue-mgr]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\nregion = x\n"
            ),
            format!("export AWS_ACCESS_KEY_ID=\"{ID}\"\nexport AWS_SECRET_ACCESS_KEY='{SECRET}'\n"),
            format!("{ID}\n{SECRET}\n"),
        ] {
            let (id, secret, is_temporary) = parse(&text).unwrap();
            assert_eq!((id.as_str(), secret.as_str(), is_temporary), (ID, SECRET, false), "{text}");
        }
        assert!(parse("").is_none() && parse(ID).is_none() && parse("{}").is_none());
    }

    #[test]
    fn temporary_keys_are_refused_by_their_id_and_by_their_token() {
        assert!(found(ID, SECRET, false, Place::Terminal).is_ok());
        assert!(found(ID, SECRET, true, Place::Terminal).is_err());
        assert!(found("ASIAEXAMPLEEXAMPLE12", SECRET, false, Place::Terminal).is_err());
        let shown = format!("{:?}", found(ID, SECRET, false, Place::Terminal).unwrap());
        assert!(!shown.contains(SECRET));
    }
}
