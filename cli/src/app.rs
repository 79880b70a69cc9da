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
    api::{self, Answer, Api},
    args::MfaCode,
    env_vars,
    error::{CliError, Result},
    files,
    mfa::{self, Codes},
    settings::{self, Settings},
    time::Clock,
    ui::Ui,
    vault::{self, Door},
};

/// How long credentials with MFA serve one command.
const MFA_SECONDS: i32 = 900;

/// The program while one command runs.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) ui: Ui,
    pub(crate) clock: Clock,
    pub(crate) vault: Door,
    interrupted: Mutex<Option<String>>,
    over: AtomicBool,
}

/// The way to AWS with the caller's own key.
pub(crate) struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) region: String,
    /// Where the key comes from, in words.
    source: String,
    credentials: SharedCredentialsProvider,
    connector: SharedHttpConnector,
    mfa_serial: OnceCell<String>,
}

impl App {
    pub(crate) fn new(settings: Settings, ui: Ui, clock: Clock) -> Self {
        Self {
            settings,
            ui,
            clock,
            vault: Door::default(),
            interrupted: Mutex::default(),
            over: AtomicBool::new(false),
        }
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
    fn check_profile(&self, name: &str, named_by: &str) -> Result<()> {
        // Files that cannot be read are told by whoever needs what is in them.
        let Ok(profiles) = files::profiles(self) else { return Ok(()) };
        if profiles.iter().any(|profile| profile.name.as_str() == name) {
            return Ok(());
        }
        let files = &self.settings.aws_files;
        Err(CliError::usage(format!("there is no profile `{name}`, which {named_by} names")).hint(format!(
            "it is looked for in `{}` and `{}`; `aws configure --profile {name}` makes it",
            files.credentials.display(),
            files.config.display()
        )))
    }

    /// Opens the way to AWS, and the vault if the key is there. Makes no call yet. Whose key: the profile that `--caller-profile`
    /// names, else the vault's if there is one, else what AWS's own order finds.
    pub(crate) async fn aws(&self) -> Result<Aws> {
        let environment = &self.settings.environment;
        if let Some(profile) = &self.settings.caller_profile {
            self.check_profile(profile, "`--caller-profile`")?;
            return self.aws_with(None, format!("profile `{profile}`")).await;
        }
        if let Some(open) = self.vault().await? {
            let key = vault::provider(&open)?;
            return self.aws_with(Some(key), "the vault".to_owned()).await;
        }
        if environment.get(env_vars::AWS_ACCESS_KEY_ID).is_some() {
            return self.aws_with(None, "the environment (`AWS_ACCESS_KEY_ID`)".to_owned()).await;
        }
        let Some(profile) = environment.get(env_vars::AWS_PROFILE) else {
            return self.aws_with(None, "AWS's own order".to_owned()).await;
        };
        let named = self.check_profile(profile, "`AWS_PROFILE`");
        let aws = self.aws_with(None, format!("profile `{profile}` (`AWS_PROFILE`)")).await?;
        // Behind a profile that is not there, AWS's own order goes on to the machine's own role, which may do.
        match named {
            Err(unnamed) if aws.credentials().await.is_err() => Err(unnamed),
            _ => Ok(aws),
        }
    }

    /// As [`Self::aws`], for what the gateway lets through with MFA alone: a long-term key is exchanged for credentials that carry it.
    /// Where its owner has no device, or nobody can give a code, the key stays as it is: whether that matters, the gateway says.
    pub(crate) async fn aws_with_mfa(&self, code: &MfaCode) -> Result<Aws> {
        let aws = self.aws().await?;
        let key = aws.credentials().await?;
        let can = key.session_token().is_none() && Codes::new(self, code).can_be_given();
        if !can || aws.mfa_serial(self).await.is_err() {
            return Ok(aws);
        }
        let with_mfa = mfa::session(self, &aws.sdk, key, MFA_SECONDS, code).await?;
        let key = SharedCredentialsProvider::new(mfa::credentials(&with_mfa));
        self.aws_with(Some(key), format!("{}, with MFA", aws.source)).await
    }

    /// The way to AWS with this key, or with what AWS's own order finds.
    pub(crate) async fn aws_with(
        &self,
        key: Option<SharedCredentialsProvider>,
        source: String,
    ) -> Result<Aws> {
        let connector = api::connector(&self.settings)?;
        let region = self.settings.region().await.ok_or_else(|| {
            CliError::usage("no region is set")
                .hint("set `AWS_REGION`, or `region` in the profile of your bootstrap key")
        })?;
        let sdk = self.settings.sdk(api::http_client(connector.clone()), Some(&region), key).await;
        let credentials =
            sdk.credentials_provider().ok_or_else(|| CliError::failed("no AWS key was found"))?;
        Ok(Aws { sdk, region, source, credentials, connector, mfa_serial: OnceCell::new() })
    }
}

impl Aws {
    /// The service.
    pub(crate) fn api<'a>(&self, app: &'a App) -> Result<Api<'a>> {
        let endpoint = app.settings.endpoint()?.url();
        app.ui.detail(&format!("endpoint {endpoint}, region {}, key from {}", self.region, self.source));
        Api::new(app, &self.region, self.credentials.clone(), self.connector.clone())
    }

    /// A document of AWS itself, such as an answer of CloudFormation, where the caller may read it.
    pub(crate) async fn document(&self, app: &App, url: &str, service: &str) -> Option<String> {
        let credentials = self.credentials().await.ok()?;
        api::document(&self.connector, url, (&self.region, service), credentials, (app.clock)()).await
    }

    /// Asks AWS itself with other credentials, and takes whatever it says; nothing if it says nothing.
    pub(crate) async fn ask(&self, app: &App, url: &str, service: &str, key: Credentials) -> Option<Answer> {
        api::ask(&self.connector, url, (&self.region, service), key, (app.clock)()).await
    }

    /// The caller's device for MFA codes, looked for once.
    pub(crate) async fn mfa_serial(&self, app: &App) -> Result<&str> {
        self.mfa_serial.get_or_try_init(|| mfa::serial(app, &self.sdk)).await.map(String::as_str)
    }

    /// The caller's own key.
    pub(crate) async fn credentials(&self) -> Result<Credentials> {
        settings::credentials(&self.credentials).await
    }
}
