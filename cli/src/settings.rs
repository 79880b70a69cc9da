//! Arguments → settings: flag, else environment, else the file of settings. The one place that reads the environment.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use aws_config::{
    BehaviorVersion, ConfigLoader, SdkConfig,
    profile::{ProfileFileCredentialsProvider, region},
    provider_config::ProviderConfig,
    retry::RetryConfig,
    timeout::TimeoutConfig,
};
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError,
};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use http::Uri;
use secrecy::SecretString;
use serde::Deserialize;
use sorry_profiles::AwsFiles;
use sorry_vault::Store;

use crate::{
    args::Global,
    env_vars,
    error::{CliError, Exit, Result, causes},
};

/// The variables of [`env_vars::READ`] that are set to something, and a key that stands beside them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
    batch: Option<String>,
    secret_access_key: Option<SecretString>,
    is_temporary: bool,
}

impl Environment {
    /// That of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the one place where settings are read")]
    pub(crate) fn of_process() -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = |name: &&str| read(name).map(|value| ((*name).to_owned(), value));
        let is_batch = |name: &String| env_vars::BATCH.iter().any(|beginning| name.starts_with(beginning));
        Self {
            variables: env_vars::READ.iter().filter_map(named).collect(),
            secret_access_key: read(env_vars::AWS_SECRET_ACCESS_KEY).map(SecretString::from),
            is_temporary: read(env_vars::AWS_SESSION_TOKEN).is_some(),
            batch: names_of_process().find(is_batch),
        }
    }

    /// A variable that says that this is, or belongs to, a batch job.
    pub(crate) fn batch(&self) -> Option<&str> {
        self.batch.as_deref()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The key that the environment holds: its id, its secret, and whether it is a temporary one.
    pub(crate) fn key(&self) -> Option<(&str, &SecretString, bool)> {
        Some((self.get(env_vars::AWS_ACCESS_KEY_ID)?, self.secret_access_key.as_ref()?, self.is_temporary))
    }
}

/// The names of all variables of this process, for whoever hands its environment on.
pub(crate) fn names_of_process() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

/// URL of the service's stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    url: String,
    host: String,
}

impl Endpoint {
    /// The URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The region that stands in the host names of API Gateway; a domain of one's own has none.
    pub(crate) fn region(&self) -> Option<&str> {
        let mut labels = self.host.split('.').skip_while(|label| *label != "execute-api").skip(1);
        let region = labels.next()?;
        self.host.contains(".amazonaws.com").then_some(region)
    }

    fn parse(text: &str, from: &str) -> Result<Self> {
        let refused = |why: &str| {
            CliError::usage(format!("the endpoint `{text}` ({from}) {why}"))
                .hint("it looks like `https://abc123.execute-api.eu-west-2.amazonaws.com/v1`: the stack's output `Endpoint`")
        };
        let uri: Uri = text.parse().map_err(|_| refused("is not a URL"))?;
        let host = uri.host().ok_or_else(|| refused("names no host"))?.to_owned();
        if uri.query().is_some() || uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(refused("has more than a host and a path"));
        }
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => (),
            Some("http") if loopback => (),
            _ => return Err(refused("does not begin with `https://`")),
        }
        Ok(Self { url: text.trim_end_matches('/').to_owned(), host })
    }
}

/// What the commands work with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Of this process; for what only warns.
    pub(crate) environment: Environment,
    /// Where `aws` looks for its files.
    pub(crate) aws_files: AwsFiles,
    /// The profile named by a flag.
    pub(crate) caller_profile: Option<String>,
    /// Set once: at the start, or by `setup`.
    endpoint: OnceLock<Endpoint>,
    /// As `endpoint`.
    region: OnceLock<String>,
    /// Folder of the file of settings and of the vault.
    pub(crate) config_folder: PathBuf,
    /// Folder of what is cached.
    pub(crate) state_folder: PathBuf,
    config_file: PathBuf,
    home: PathBuf,
    /// The agent that opens the vault.
    pub(crate) ssh_auth_sock: Option<PathBuf>,
    /// The SSH key that `setup` takes without asking: a path, or a fingerprint.
    pub(crate) ssh_key: Option<String>,
    /// A command that prints an MFA code, run by `sh -c`.
    pub(crate) mfa_process: Option<String>,
    /// The device that makes them, where IAM is not to be asked.
    pub(crate) mfa_serial: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    endpoint: Option<String>,
    region: Option<String>,
    ssh_auth_sock: Option<String>,
    ssh_key: Option<String>,
    mfa_process: Option<String>,
    mfa_serial: Option<String>,
}

impl Settings {
    pub(crate) fn new(flags: &Global, environment: Environment) -> Result<Self> {
        let home = environment.get(env_vars::HOME).map(PathBuf::from).unwrap_or_default();
        let folder = |name, standard| {
            environment.get(name).map_or_else(|| home.join(standard), PathBuf::from).join("sorry")
        };
        let config_folder = folder(env_vars::XDG_CONFIG_HOME, ".config");
        let state_folder = folder(env_vars::XDG_STATE_HOME, ".local/state");
        let config_file = config_folder.join("config.toml");
        let file = config(&config_file)?;
        // The file before the environment, which a login over SSH sets to the agent of another machine.
        let ssh_auth_sock = file.ssh_auth_sock.as_deref().or(environment.get(env_vars::SSH_AUTH_SOCK));
        let ssh_auth_sock = ssh_auth_sock.map(|path| expand(path, &home));
        let path = |name, standard| {
            environment.get(name).map_or_else(|| home.join(standard), |path| expand(path, &home))
        };
        let aws_files = AwsFiles {
            credentials: path(env_vars::AWS_SHARED_CREDENTIALS_FILE, ".aws/credentials"),
            config: path(env_vars::AWS_CONFIG_FILE, ".aws/config"),
        };
        let from_file = format!("from `{}`", config_file.display());
        let endpoint = [
            (flags.endpoint.as_deref(), "from `--endpoint`"),
            (environment.get(env_vars::SORRY_ENDPOINT), "from `SORRY_ENDPOINT`"),
            (file.endpoint.as_deref(), from_file.as_str()),
        ]
        .into_iter()
        .find_map(|(value, from)| value.map(|value| Endpoint::parse(value, from)))
        .transpose()?;
        let region = flags
            .region
            .clone()
            .or_else(|| environment.get(env_vars::AWS_REGION).map(str::to_owned))
            .or_else(|| environment.get(env_vars::AWS_DEFAULT_REGION).map(str::to_owned))
            .or(file.region);
        Ok(Self {
            aws_files,
            caller_profile: flags.caller_profile.clone(),
            endpoint: endpoint.map(OnceLock::from).unwrap_or_default(),
            region: region.map(OnceLock::from).unwrap_or_default(),
            config_folder,
            config_file,
            state_folder,
            home,
            ssh_auth_sock,
            ssh_key: file.ssh_key,
            mfa_process: environment.get(env_vars::SORRY_MFA_PROCESS).map(str::to_owned).or(file.mfa_process),
            mfa_serial: file.mfa_serial,
            environment,
        })
    }

    /// The file of settings.
    pub(crate) fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Where the command for MFA codes comes from, in words.
    pub(crate) fn mfa_process_place(&self) -> String {
        match self.environment.get(env_vars::SORRY_MFA_PROCESS) {
            Some(_) => "`SORRY_MFA_PROCESS`".to_owned(),
            None => format!("`mfa_process` of `{}`", self.config_file.display()),
        }
    }

    /// Where the vault lies: beside the file of settings, and in the state folder.
    pub(crate) fn store(&self) -> Store {
        Store::new(self.config_folder.clone(), self.state_folder.clone())
    }

    /// A path as people write it.
    pub(crate) fn expand(&self, path: &str) -> PathBuf {
        expand(path, &self.home)
    }

    /// An endpoint that `setup` found where none was set.
    pub(crate) fn set_endpoint(&self, text: &str, from: &str) -> Result<&Endpoint> {
        let endpoint = Endpoint::parse(text, from)?;
        Ok(self.endpoint.get_or_init(|| endpoint))
    }

    /// A region that `setup` found where none was set.
    pub(crate) fn set_region(&self, region: String) {
        self.region.get_or_init(|| region);
    }

    /// Where the service is.
    pub(crate) fn endpoint(&self) -> Result<&Endpoint> {
        self.endpoint.get().ok_or_else(|| {
            CliError::usage("no endpoint is set").hint(format!(
                "your administrator knows it: set `SORRY_ENDPOINT`, or write `endpoint = \"https://…\"` into `{}`",
                self.config_file.display()
            ))
        })
    }

    /// The region: as set, else the profile's, else that in the endpoint's name.
    pub(crate) async fn region(&self) -> Option<String> {
        if let Some(region) = self.region.get() {
            return Some(region.clone());
        }
        let mut profile = region::Builder::default();
        if let Some(name) = &self.caller_profile {
            profile = profile.profile_name(name);
        }
        let found = aws_config::meta::region::ProvideRegion::region(&profile.build()).await;
        found.map(|region| region.to_string()).or_else(|| self.endpoint.get()?.region().map(str::to_owned))
    }

    /// Where STS is, if not where AWS has it.
    pub(crate) fn sts_endpoint(&self) -> Option<&str> {
        let environment = &self.environment;
        environment
            .get(env_vars::AWS_ENDPOINT_URL_STS)
            .or_else(|| environment.get(env_vars::AWS_ENDPOINT_URL))
    }

    /// Certificate authorities to trust instead of the system's.
    pub(crate) fn ca_bundle(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.environment.get(env_vars::AWS_CA_BUNDLE) else { return Ok(None) };
        let refused = |why: String| CliError::usage(format!("`AWS_CA_BUNDLE` names `{path}`, {why}"));
        let bytes = fs::read(path).map_err(|error| refused(format!("which cannot be read: {error}")))?;
        let has_certificate = bytes.windows(27).any(|window| window == b"-----BEGIN CERTIFICATE-----");
        if has_certificate {
            Ok(Some(bytes))
        } else {
            Err(refused("which holds no PEM certificate".to_owned()))
        }
    }

    /// The AWS SDK's configuration: where the key comes from, over which connection, with which patience. A `key` that is given is
    /// taken before everything else.
    pub(crate) async fn sdk(
        &self,
        http: SharedHttpClient,
        region: Option<&str>,
        key: Option<SharedCredentialsProvider>,
    ) -> SdkConfig {
        let region = region.map(|region| aws_config::Region::new(region.to_owned()));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(crate::api::CONNECT_TIMEOUT)
            .operation_attempt_timeout(crate::api::WHOLE_TIMEOUT)
            .build();
        let loader: ConfigLoader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.clone())
            .region(region.clone())
            .retry_config(RetryConfig::standard())
            .timeout_config(timeouts);
        if let Some(key) = key {
            return loader.credentials_provider(key).load().await;
        }
        // `--caller-profile` is somebody's word: unlike `AWS_PROFILE` it beats a key in the environment.
        match &self.caller_profile {
            Some(name) => {
                let provider = ProviderConfig::without_region().with_http_client(http).with_region(region);
                let profile =
                    ProfileFileCredentialsProvider::builder().configure(&provider).profile_name(name).build();
                loader.profile_name(name).credentials_provider(profile).load().await
            }
            None => loader.load().await,
        }
    }
}

/// The bootstrap key. The one door to it: `App::aws` decides whether the profile that was named, the vault or AWS's own chain stands
/// behind it.
pub(crate) async fn credentials(
    provider: &SharedCredentialsProvider,
) -> Result<aws_credential_types::Credentials> {
    provider.provide_credentials().await.map_err(|error| {
        let failed = |exit, what: &str| CliError::new(exit, format!("{what}: {}", causes(&error)));
        match &error {
            CredentialsError::CredentialsNotLoaded(_) => CliError::failed("no AWS key was found").hint(
                "`sorry setup` takes your bootstrap key into an encrypted vault; a profile that holds it is named with `AWS_PROFILE` or \
                 `--caller-profile`",
            ),
            CredentialsError::ProviderTimedOut(_) => failed(Exit::Unreachable, "the AWS key's source did not answer in time"),
            CredentialsError::InvalidConfiguration(_) => {
                failed(Exit::Usage, "the AWS settings for the key are not right").hint("look at `~/.aws/config`")
            }
            _ => failed(Exit::Failed, "the AWS key could not be fetched")
                .hint("does the profile need a sign-in first, such as `aws sso login`?"),
        }
    })
}

fn config(path: &Path) -> Result<ConfigFile> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| {
            CliError::usage(format!("`{}` is not right: {}", path.display(), error.message()))
                .hint("it knows the keys `endpoint`, `region`, `ssh_auth_sock`, `ssh_key`, `mfa_process` and `mfa_serial`")
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(error) => Err(CliError::usage(format!("`{}` cannot be read: {error}", path.display()))),
    }
}

/// `~/…`, as the SDKs read it in the variables that name files.
fn expand(path: &str, home: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |rest| home.join(rest))
}

/// For what makes something that its answer alone tells, a key or a secret: the SDK would send it again after an answer that got lost,
/// and nobody would know the first.
pub(crate) fn sent_once() -> aws_sdk_iam::config::Builder {
    aws_sdk_iam::config::Builder::new().retry_config(RetryConfig::disabled())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Environment::default() }
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        fs::create_dir(folder.path().join("sorry")).unwrap();
        #[expect(clippy::disallowed_methods, reason = "no credentials: a file of settings for a test")]
        fs::write(
            folder.path().join("sorry/config.toml"),
            "endpoint = \"https://file.example/v1/\"\nregion = \"eu-west-1\"\n",
        )
        .unwrap();
        let url = |flag: Option<&str>, pairs: &[(&str, &str)]| {
            let flags = Global { endpoint: flag.map(str::to_owned), ..Global::default() };
            Settings::new(&flags, environment(pairs)).unwrap().endpoint().unwrap().url().to_owned()
        };
        let file = ("XDG_CONFIG_HOME", root);
        assert_eq!(url(None, &[file]), "https://file.example/v1");
        assert_eq!(
            url(None, &[file, ("SORRY_ENDPOINT", "https://environment.example")]),
            "https://environment.example"
        );
        assert_eq!(
            url(Some("https://flag"), &[file, ("SORRY_ENDPOINT", "https://environment.example")]),
            "https://flag"
        );
    }

    #[test]
    fn endpoints_are_encrypted_unless_they_are_this_machine() {
        for good in [
            "https://a.example/v1",
            "http://127.0.0.1:4566/_aws/execute-api/abc/v1",
            "http://[::1]:1/x",
            "http://localhost:1",
        ] {
            assert!(Endpoint::parse(good, "").is_ok(), "{good}");
        }
        for bad in [
            "",
            "abc",
            "http://a.example/v1",
            "ftp://a",
            "https://a/v1?x=1",
            "https://user@a/v1",
            "http://127.0.0.1.example/",
        ] {
            assert!(Endpoint::parse(bad, "").is_err(), "{bad}");
        }
    }

    #[test]
    fn the_region_stands_in_the_endpoints_name() {
        let region = |url| Endpoint::parse(url, "").unwrap().region().map(str::to_owned);
        assert_eq!(
            region("https://abc123.execute-api.eu-west-2.amazonaws.com/v1").as_deref(),
            Some("eu-west-2")
        );
        assert_eq!(
            region("https://abc123.execute-api.cn-north-1.amazonaws.com.cn/v1").as_deref(),
            Some("cn-north-1")
        );
        assert_eq!(region("https://sorry.example.org/v1"), None);
    }

    #[test]
    fn files_are_where_aws_looks_for_them() {
        let files =
            |pairs: &[(&str, &str)]| Settings::new(&Global::default(), environment(pairs)).unwrap().aws_files;
        let home = ("HOME", "/home/sue");
        assert_eq!(files(&[home]).credentials, Path::new("/home/sue/.aws/credentials"));
        let moved = files(&[home, ("AWS_SHARED_CREDENTIALS_FILE", "~/c"), ("AWS_CONFIG_FILE", "/etc/c")]);
        assert_eq!(
            (moved.credentials, moved.config),
            (PathBuf::from("/home/sue/c"), PathBuf::from("/etc/c"))
        );
    }
}
