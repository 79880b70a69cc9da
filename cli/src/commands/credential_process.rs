//! `sorry credential-process`: for SDKs and not for people. One JSON object or one line, and never a question.

use secrecy::SecretString;
use serde::Serialize;
use sorry_credentials::{Error, Freshness, Lent};
use zeroize::Zeroizing;

use crate::{
    app::App,
    args::CredentialProcess,
    delivery::{environment::timestamp, source},
    env_vars,
    error::{CliError, Exit, Result},
};

/// What SDKs read: version 1 of AWS's form.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: String,
}

/// Runs without a runtime, without TLS and without the network as long as what is cached will do: programs start it often.
pub(crate) fn run(app: &App, arguments: &CredentialProcess) -> Result<u8> {
    if app.settings.environment.get(env_vars::SORRY_CREDENTIAL_PROCESS).is_some() {
        return Err(CliError::usage("`sorry credential-process` was started from itself")
            .hint(format!("unset {}", env_vars::SORRY_CREDENTIAL_PROCESS)));
    }
    let id = arguments.session.as_str();
    let cached = source::provider(app, id, false)?.cached().map_err(one_line)?;
    let lent = match cached.freshness() {
        Freshness::Fresh => cached.lent(),
        _ => {
            let provider = source::provider(app, id, true)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| CliError::failed(format!("cannot start: {error}")))?;
            let renewed = runtime.block_on(provider.renewed(cached)).map_err(one_line);
            runtime.shutdown_background();
            renewed?
        }
    };
    print(app, &lent)?;
    Ok(0)
}

/// An error with the command that helps, in its place for hints.
fn one_line(error: Error) -> CliError {
    let remedy = error.remedy();
    CliError { hint: Some(format!("run `{remedy}`")), ..CliError::from(error) }
}

fn print(app: &App, lent: &Lent) -> Result<()> {
    let credentials = lent.credentials();
    let answer = Answer {
        version: 1,
        access_key_id: credentials.access_key_id.as_str(),
        secret_access_key: credentials.secret_access_key.expose(),
        session_token: credentials.session_token.expose(),
        expiration: timestamp(lent.expires_at()),
    };
    let json = serde_json::to_string(&answer)
        .map_err(|error| CliError::new(Exit::Bug, format!("cannot write JSON: {error}")))?;
    let mut line = Zeroizing::new(json);
    line.push('\n');
    app.ui.secret(&SecretString::from(line.as_str()))
}
