//! MFA codes: where they come from, and the sessions that are made with them.
//!
//! A code is good once, so each is spent by one call: `AssumeRole` for one long credential, or `GetSessionToken` for temporary
//! credentials of the person's own user that carry MFA and serve many calls. STS takes the codes of TOTP devices alone.

use std::process::{Command, Stdio};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sts::{error::ProvideErrorMetadata, types};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sorry_profiles::{AccessKeyId, SecretAccessKey, SessionToken};
use sorry_vault::TemporaryCredentials;

use crate::{
    app::App,
    args::MfaCode,
    error::{CliError, Exit, Result},
    terminal,
};

/// How many codes one call asks for, and how often a question for one is put where what is typed is none.
const CODES: u32 = 3;

const NO_CODE: &str = "an MFA code has six digits";

/// The codes of one command, one after the other.
pub(crate) struct Codes<'a> {
    app: &'a App,
    from: &'a MfaCode,
    asked: u32,
}

impl<'a> Codes<'a> {
    pub(crate) fn new(app: &'a App, from: &'a MfaCode) -> Self {
        Self { app, from, asked: 0 }
    }

    /// A code that was not given before: from `--mfa-code`, standard input, the program `mfa_process`, or the terminal.
    pub(crate) async fn next(&mut self) -> Result<SecretString> {
        self.asked += 1;
        let code = if let Some(code) = &self.from.mfa_code {
            Some(code.clone())
        } else if self.from.mfa_stdin {
            self.app.ui.standard_input().await
        } else if let Some(command) = &self.app.settings.mfa_process {
            Some(from_process(command.clone(), self.app.settings.mfa_process_place()).await?)
        } else {
            self.at_terminal().await
        };
        let code = code.ok_or_else(|| {
            if self.asked > 1 {
                let refused = "AWS did not take the MFA code, and no other was given";
                return CliError::new(Exit::Refused, refused).hint(SPENT);
            }
            CliError::usage("AWS asks for an MFA code, and none was given").hint(
                "without a terminal: `--mfa-code`, `--mfa-stdin`, or `mfa_process` in the file of settings",
            )
        })?;
        if is_code(code.expose_secret()) { Ok(code) } else { Err(CliError::usage(NO_CODE)) }
    }

    /// What is typed, once it is a code: a slip of the finger spends none.
    async fn at_terminal(&self) -> Option<SecretString> {
        self.app.ui.done();
        let mut typed = terminal::ask("MFA code").await?;
        for _ in 1..CODES {
            if is_code(&typed) {
                break;
            }
            self.app.ui.say(NO_CODE);
            typed = terminal::ask("MFA code").await?;
        }
        Some(SecretString::from(typed))
    }

    /// Whether there is anybody or anything to give one.
    pub(crate) fn can_be_given(&self) -> bool {
        let MfaCode { mfa_code, mfa_stdin } = self.from;
        mfa_code.is_some() || *mfa_stdin || self.app.settings.mfa_process.is_some() || terminal::can_ask()
    }

    /// Whether another code may be tried after AWS has refused one; says so.
    pub(crate) fn may_go_on(&self) -> bool {
        let another = self.asked < CODES && self.from.mfa_code.is_none();
        if another {
            self.app.ui.say("AWS did not take the code, or it was used already: each is good once");
        }
        another
    }
}

/// Six digits.
pub(crate) fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the program that the person has named prints. It may ask its own questions on the terminal.
async fn from_process(command: String, place: String) -> Result<SecretString> {
    let failed = |why: String| {
        CliError::failed(format!("the command for MFA codes gave none: {why}"))
            .hint(format!("it is run by `sh -c` and prints six digits; it stands in {place}"))
    };
    let ran = tokio::task::spawn_blocking(move || {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit()).output()
    });
    let output = ran.await.map_err(|error| failed(error.to_string()))?;
    let output = output.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    let text = String::from_utf8(output.stdout).map_err(|_| failed("its output is no text".to_owned()))?;
    Ok(SecretString::from(text.trim()))
}

/// What helps against it.
pub(crate) const SPENT: &str = "the code is wrong, or was used already: wait for the next one; is the clock of the device that makes it right, \
                                and is it this user's device?";

/// What AWS answers to a code that is wrong or used.
pub(crate) fn is_spent(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("AccessDenied")
        && error.message().unwrap_or_default().contains("MultiFactorAuthentication failed")
}

/// The device of the key's owner that makes codes: as configured, else the first that IAM lists.
pub(crate) async fn serial(app: &App, sdk: &SdkConfig) -> Result<String> {
    if let Some(serial) = &app.settings.mfa_serial {
        return Ok(serial.clone());
    }
    let listed = aws_sdk_iam::Client::new(sdk).list_mfa_devices().send().await;
    let listed = listed.map_err(|error| CliError::from_sdk("look for your MFA device", &error))?;
    let serials: Vec<String> = listed.mfa_devices.into_iter().map(|device| device.serial_number).collect();
    let has_key = !serials.is_empty();
    // Security keys (`…:u2f/…`) have no codes that STS could check.
    let totp = |serial: &String| serial.contains(":mfa/") || !serial.starts_with("arn:");
    serials.into_iter().find(totp).ok_or_else(|| {
        let error = CliError::new(
            Exit::Refused,
            "AWS asks for an MFA code, and your user has no device that makes one",
        );
        if has_key {
            error.hint("yours is a security key, which STS cannot ask; your administrator enrols an app (TOTP) beside it")
        } else {
            error.hint("your administrator enrols one: `sorry admin callers add … --mfa`")
        }
    })
}

/// Temporary credentials of the key's owner that carry MFA.
pub(crate) async fn session(
    app: &App,
    sdk: &SdkConfig,
    key: Credentials,
    seconds: i32,
    from: &MfaCode,
) -> Result<TemporaryCredentials> {
    let sdk = sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(key)).build();
    let serial = serial(app, &sdk).await?;
    let sts = aws_sdk_sts::Client::new(&sdk);
    let mut codes = Codes::new(app, from);
    loop {
        let code = codes.next().await?;
        let call = sts
            .get_session_token()
            .duration_seconds(seconds)
            .serial_number(&serial)
            .token_code(code.expose_secret());
        let error = match call.send().await {
            Ok(answer) => return lent(answer.credentials),
            Err(error) => error,
        };
        if !(error.as_service_error().is_some_and(is_spent) && codes.may_go_on()) {
            return Err(CliError::from_sdk("start an MFA session", &error));
        }
    }
}

/// Temporary credentials as the SDK takes them.
pub(crate) fn credentials(temporary: &TemporaryCredentials) -> Credentials {
    Credentials::new(
        temporary.access_key_id.as_str(),
        temporary.secret_access_key.expose(),
        Some(temporary.session_token.expose().to_owned()),
        None,
        "MFA session",
    )
}

/// What STS lent, checked before it is written anywhere.
pub(crate) fn lent(credentials: Option<types::Credentials>) -> Result<TemporaryCredentials> {
    let odd = || CliError::failed("AWS gave no credentials");
    let credentials = credentials.ok_or_else(odd)?;
    Ok(TemporaryCredentials {
        access_key_id: AccessKeyId::parse(&credentials.access_key_id)?,
        secret_access_key: SecretAccessKey::parse(&credentials.secret_access_key)?,
        session_token: SessionToken::parse(&credentials.session_token)?,
        expires_at: Timestamp::from_second(credentials.expiration.secs()).map_err(|_| odd())?,
    })
}
