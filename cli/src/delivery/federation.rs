//! A link that signs a browser in to the AWS console with a session's credentials. Whoever has the link is signed in, so it is
//! handled like a key.
//!
//! Source: "Enabling custom identity broker access to the AWS console" in the IAM User Guide.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::source::Source;
use crate::{
    api,
    app::App,
    env_vars,
    error::{CliError, Exit, Result},
};

/// How long a browser may take to read the file that sends it on, once it has been started.
const BROWSER: Duration = Duration::from_secs(5);

/// The places of one of AWS's partitions.
struct Partition {
    sign_in: &'static str,
    console: &'static str,
}

fn partition(region: &str) -> Partition {
    if region.starts_with("cn-") {
        Partition {
            sign_in: "https://signin.amazonaws.cn/federation",
            console: "https://console.amazonaws.cn",
        }
    } else if region.starts_with("us-gov-") {
        Partition {
            sign_in: "https://signin.amazonaws-us-gov.com/federation",
            console: "https://console.amazonaws-us-gov.com",
        }
    } else {
        Partition {
            sign_in: "https://signin.aws.amazon.com/federation",
            console: "https://console.aws.amazon.com",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    session_id: &'a str,
    session_key: &'a str,
    session_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Token {
    signin_token: SecretString,
}

/// Asks AWS for a link. `seconds` is how long the browser stays signed in; AWS's own choice without.
pub(crate) async fn link(
    app: &App,
    source: &Source,
    destination: Option<&str>,
    seconds: Option<u64>,
) -> Result<SecretString> {
    let region = source.region.as_ref().map_or("us-east-1", |region| region.as_str());
    let partition = partition(region);
    let destination = destination_url(destination, &partition, region)?;
    let sign_in = app.settings.environment.get(env_vars::SORRY_SIGN_IN_ENDPOINT).unwrap_or(partition.sign_in);
    let session = Session {
        session_id: source.access_key_id.as_str(),
        session_key: source.secret_access_key.expose(),
        session_token: source.session_token.expose(),
    };
    let json = Zeroizing::new(
        serde_json::to_string(&session)
            .map_err(|error| CliError::new(Exit::Bug, format!("cannot write JSON: {error}")))?,
    );
    let mut url = Zeroizing::new(format!("{sign_in}?Action=getSigninToken&Session={}", escaped(&json)));
    if let Some(seconds) = seconds {
        url.push_str(&format!("&SessionDuration={seconds}"));
    }
    let connector = api::connector(&app.settings)?;
    // The URL is a secret: what goes wrong is told with the place alone.
    let answer = api::fetch(&connector, &url).await.map_err(|unreached| unreached.told(sign_in).0)?;
    if !answer.is_success() {
        return Err(CliError::new(Exit::Refused, format!("AWS's sign-in refused with HTTP {}", answer.status()))
            .hint("`--duration` works for credentials that were not themselves made from temporary ones; has the session ended?"));
    }
    let token: Token = serde_json::from_slice(answer.body())
        .map_err(|_| CliError::failed("AWS's sign-in gave an answer without a token"))?;
    Ok(SecretString::from(format!(
        "{sign_in}?Action=login&Issuer=sorry&Destination={}&SigninToken={}",
        escaped(&destination),
        escaped(token.signin_token.expose_secret())
    )))
}

/// A URL as it is, or the page of a service by its name.
fn destination_url(destination: Option<&str>, partition: &Partition, region: &str) -> Result<String> {
    let Some(text) = destination else {
        return Ok(format!("{}/console/home?region={region}", partition.console));
    };
    if text.starts_with("https://")
        && !text.chars().any(|character| character.is_control() || character == ' ')
    {
        return Ok(text.to_owned());
    }
    if !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Ok(format!("{}/{text}/home?region={region}", partition.console));
    }
    Err(CliError::usage(format!("`{text}` is no destination in the console"))
        .hint("name a service (`s3`, `cloudwatch`), or write a URL that begins with `https://`"))
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Shows a link in the browser by way of a file that only its owner can read: arguments of a process are seen by everybody.
pub(crate) async fn open(app: &App, link: &SecretString) -> Result<()> {
    let page = Page::write(app, link)?;
    let environment = &app.settings.environment;
    let opener = environment.get(env_vars::BROWSER).unwrap_or(if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    });
    let failed = |why: String| {
        CliError::failed(format!("cannot start a browser with `{opener}`: {why}"))
            .hint("`--print` shows the link instead; whoever sees it can use it")
    };
    let mut child = Command::new(opener)
        .arg(&page.0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let ended = tokio::task::spawn_blocking(move || child.wait());
    // A browser that stays in the foreground has read its page by then, too.
    let status = tokio::time::timeout(BROWSER, ended).await;
    if let Ok(Ok(Ok(status))) = status {
        if !status.success() {
            return Err(failed(status.to_string()));
        }
        // It has handed the page to a browser that runs already and reads it now.
        tokio::time::sleep(BROWSER).await;
    }
    Ok(())
}

/// The file; it goes with this value.
struct Page(PathBuf);

impl Page {
    fn write(app: &App, link: &SecretString) -> Result<Self> {
        let folder = app
            .settings
            .environment
            .get(env_vars::XDG_RUNTIME_DIR)
            .map_or_else(|| app.settings.state_folder.clone(), |folder| PathBuf::from(folder).join("sorry"));
        let failed = |error: std::io::Error| {
            CliError::failed(format!("cannot write a page into `{}`: {error}", folder.display()))
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| CliError::failed(format!("no random numbers: {error}")))?;
        let path = folder.join(format!("console-{:016x}.html", u64::from_be_bytes(random)));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let page = Self(path);
        let link = link.expose_secret().replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let html = Zeroizing::new(format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
             <meta http-equiv=\"refresh\" content=\"0;url={link}\"><title>AWS console</title>\n"
        ));
        file.write_all(html.as_bytes()).map_err(failed)?;
        Ok(page)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // What cannot be removed is worth nothing after 15 minutes.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_services_or_urls() {
        let url = |text, region: &str| destination_url(text, &partition(region), region);
        assert_eq!(
            url(None, "eu-west-2").unwrap(),
            "https://console.aws.amazon.com/console/home?region=eu-west-2"
        );
        assert_eq!(
            url(Some("s3"), "cn-north-1").unwrap(),
            "https://console.amazonaws.cn/s3/home?region=cn-north-1"
        );
        assert_eq!(
            url(Some("https://eu.console.aws.amazon.com/x?y#z"), "x").unwrap(),
            "https://eu.console.aws.amazon.com/x?y#z"
        );
        for bad in ["", "S3", "http://console.aws.amazon.com/", "javascript:alert(1)", "https://a b", "../x"]
        {
            assert!(url(Some(bad), "eu-west-2").is_err(), "{bad}");
        }
    }
}
