//! What every command is given: settings, words, time; and the way to AWS, made when it is needed.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use tokio::sync::OnceCell;

use crate::{
    api::{self, Api},
    assume, env_vars,
    error::{CliError, Result},
    files,
    settings::{self, Settings},
    time::Clock,
    ui::Ui,
};

/// The program while one command runs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) ui: Ui,
    pub(crate) clock: Clock,
    interrupted: Mutex<Option<String>>,
    over: AtomicBool,
}

/// The way to AWS with the caller's own key.
pub(crate) struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) region: String,
    credentials: SharedCredentialsProvider,
    connector: SharedHttpConnector,
    mfa_serial: OnceCell<String>,
}

impl App {
    pub(crate) fn new(settings: Settings, ui: Ui, clock: Clock) -> Self {
        Self { settings, ui, clock, interrupted: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// What Ctrl-C leaves behind from now on, and what can be done about it.
    pub(crate) fn on_interrupt(&self, hint: impl Into<String>) {
        *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner) = Some(hint.into());
    }

    /// What [`App::on_interrupt`] said last.
    pub(crate) fn interrupted(&self) -> Option<String> {
        self.interrupted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the caller is the first to end the program, and so the one that says why.
    pub(crate) fn ends(&self) -> bool {
        !self.over.swap(true, Ordering::SeqCst)
    }

    /// A name that was typed wrongly is told as that, and not as a key that is missing.
    fn check_caller_profile(&self) -> Result<()> {
        let Some(name) = &self.settings.caller_profile else { return Ok(()) };
        // Files that cannot be read are told by whoever needs what is in them.
        let Ok(profiles) = files::profiles(self) else { return Ok(()) };
        if profiles.iter().any(|profile| profile.name.as_str() == name) {
            return Ok(());
        }
        let files = &self.settings.aws_files;
        Err(CliError::usage(format!("there is no profile `{name}`, which `--caller-profile` names")).hint(
            format!(
                "it is looked for in `{}` and `{}`; `aws configure --profile {name}` makes it",
                files.credentials.display(),
                files.config.display()
            ),
        ))
    }

    /// Opens the way to AWS. Makes no call yet.
    pub(crate) async fn aws(&self) -> Result<Aws> {
        self.check_caller_profile()?;
        let connector = api::connector(&self.settings)?;
        let region = self.settings.region().await.ok_or_else(|| {
            CliError::usage("no region is set")
                .hint("set `AWS_REGION`, or `region` in the profile of your bootstrap key")
        })?;
        let sdk = self.settings.sdk(api::http_client(connector.clone()), Some(&region)).await;
        let credentials =
            sdk.credentials_provider().ok_or_else(|| CliError::failed("no AWS key was found"))?;
        Ok(Aws { sdk, region, credentials, connector, mfa_serial: OnceCell::new() })
    }
}

impl Aws {
    /// The service.
    pub(crate) fn api<'a>(&self, app: &'a App) -> Result<Api<'a>> {
        let source =
            match (&app.settings.caller_profile, app.settings.environment.get(env_vars::AWS_ACCESS_KEY_ID)) {
                (Some(profile), _) => format!("profile `{profile}`"),
                (None, Some(_)) => "the environment (`AWS_ACCESS_KEY_ID`)".to_owned(),
                (None, None) => match app.settings.environment.get(env_vars::AWS_PROFILE) {
                    Some(profile) => format!("profile `{profile}` (`AWS_PROFILE`)"),
                    None => "AWS's own order".to_owned(),
                },
            };
        let endpoint = app.settings.endpoint()?.url();
        app.ui.detail(&format!("endpoint {endpoint}, region {}, key from {source}", self.region));
        Api::new(app, &self.region, self.credentials.clone(), self.connector.clone())
    }

    /// The caller's device for MFA codes, looked for once.
    pub(crate) async fn mfa_serial(&self) -> Result<&str> {
        self.mfa_serial.get_or_try_init(|| assume::mfa_serial(&self.sdk)).await.map(String::as_str)
    }

    /// The caller's own key.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        settings::credentials(&self.credentials).await
    }
}
