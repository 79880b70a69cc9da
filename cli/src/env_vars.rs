//! Every environment variable that the command line heeds, whoever reads it. Read in `settings.rs` alone.

/// URL of the service's stage, such as `https://abc123.execute-api.eu-west-2.amazonaws.com/v1`.
pub(crate) const SORRY_ENDPOINT: &str = "SORRY_ENDPOINT";
/// Folder of `sorry/config.toml`; `~/.config` without it.
pub(crate) const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Folder of `sorry`'s own state: the cache and what was seen of the vault; `~/.local/state` without it.
pub(crate) const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// Socket of the ssh-agent that opens the vault, unless `config.toml` names one.
pub(crate) const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";
/// Where `~` is.
pub(crate) const HOME: &str = "HOME";
/// The region, before that of the profile.
pub(crate) const AWS_REGION: &str = "AWS_REGION";
/// The region, as the AWS CLI alone knows it; after `AWS_REGION`.
pub(crate) const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// The profile with the bootstrap key, read by the SDK too.
pub(crate) const AWS_PROFILE: &str = "AWS_PROFILE";
/// A key in the environment: it beats `AWS_PROFILE`, which is why commands warn of it. Read by the SDK.
pub(crate) const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// Where `~/.aws/credentials` is instead, read by the SDK too.
pub(crate) const AWS_SHARED_CREDENTIALS_FILE: &str = "AWS_SHARED_CREDENTIALS_FILE";
/// Where `~/.aws/config` is instead, read by the SDK too.
pub(crate) const AWS_CONFIG_FILE: &str = "AWS_CONFIG_FILE";
/// PEM file of the only certificate authorities to trust.
pub(crate) const AWS_CA_BUNDLE: &str = "AWS_CA_BUNDLE";
/// Where STS is, read by the SDK too; `AWS_ENDPOINT_URL` counts for every service.
pub(crate) const AWS_ENDPOINT_URL_STS: &str = "AWS_ENDPOINT_URL_STS";
/// Where every AWS service is, read by the SDK too.
pub(crate) const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
/// Folder for what only lives as long as somebody is signed in: the page of `sorry console --open`.
pub(crate) const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The program that shows a page; `xdg-open` without it.
pub(crate) const BROWSER: &str = "BROWSER";
/// Where programs are found.
pub(crate) const PATH: &str = "PATH";
/// Set by whoever runs `sorry credential-process` in a way that could lead back to it: it then refuses.
pub(crate) const SORRY_CREDENTIAL_PROCESS: &str = "SORRY_CREDENTIAL_PROCESS";
/// Where a link to the console is asked for, instead of AWS: for tests.
pub(crate) const SORRY_SIGN_IN_ENDPOINT: &str = "SORRY_SIGN_IN_ENDPOINT";
/// No colours, whatever its value.
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// Set by `sudo`: credentials are not written on somebody's behalf.
pub(crate) const SUDO_UID: &str = "SUDO_UID";

/// The secret of a key in the environment, which `sorry setup` takes into the vault. Kept apart from the others, and never shown.
pub(crate) const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// Set beside temporary keys, which `sorry setup` refuses.
pub(crate) const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
/// Debug builds alone: the step at which the program kills itself, for tests of what a crash leaves.
#[cfg(debug_assertions)]
pub(crate) const SORRY_CRASH_AT: &str = "SORRY_CRASH_AT";

/// The variables that `settings.rs` reads, beside the secrets.
pub(crate) const READ: &[&str] = &[
    SORRY_ENDPOINT,
    SORRY_CREDENTIAL_PROCESS,
    SORRY_SIGN_IN_ENDPOINT,
    XDG_CONFIG_HOME,
    HOME,
    AWS_REGION,
    AWS_DEFAULT_REGION,
    AWS_PROFILE,
    AWS_ACCESS_KEY_ID,
    AWS_SHARED_CREDENTIALS_FILE,
    AWS_CONFIG_FILE,
    AWS_CA_BUNDLE,
    AWS_ENDPOINT_URL_STS,
    AWS_ENDPOINT_URL,
    SSH_AUTH_SOCK,
    XDG_STATE_HOME,
    XDG_RUNTIME_DIR,
    BROWSER,
    PATH,
    NO_COLOR,
    SUDO_UID,
    #[cfg(debug_assertions)]
    SORRY_CRASH_AT,
];

/// What batch systems set in jobs: whatever begins so.
pub(crate) const BATCH: [&str; 2] = ["SLURM_", "PBS_"];

// Read by libraries alone:
// - whatever else the SDK's credential chain knows
// - AWS_ENDPOINT_URL_IAM: where the SDK's own calls go
// - HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY and their lower-case forms: the HTTP client
// - COLUMNS: the width of help texts
