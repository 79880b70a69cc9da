//! The credentials of a session for programs, renewed to the session's end.
//!
//! [`SessionCredentials`] is a credentials provider for the AWS SDK: it opens the vault through the ssh-agent, reads the session's
//! credentials from the vault's cache, and renews them with `AssumeRole` by the vault's own key while the session's window allows.
//! `sorry credential-process` is the same for every other SDK.
//!
//! It is not for terminals or settings: it never asks anybody anything, reads nothing from the environment, and never takes the
//! SDK's default chain, which could lead back to itself. What a person has to do first (`sorry setup`, `sorry request --deliver
//! process`) is said by [`Error::remedy`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use aws_config::BehaviorVersion;
//! use aws_smithy_http_client::{
//!     Builder,
//!     tls::{Provider, rustls_provider::CryptoMode},
//! };
//! use sorry_credentials::SessionCredentials;
//!
//! let home = std::path::Path::new("/home/sue");
//! let provider = SessionCredentials::builder("7k3m9q2x4v8n1c5d")
//!     .config_folder(home.join(".config/sorry"))
//!     .state_folder(home.join(".local/state/sorry"))
//!     .agent_socket("/run/user/1000/ssh-agent.socket")
//!     .clock(jiff::Timestamp::now)
//!     .http_client(Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https())
//!     .build()?;
//! let config = aws_config::defaults(BehaviorVersion::latest())
//!     .region(provider.region().await?)
//!     .credentials_provider(provider)
//!     .load()
//!     .await;
//! # let _ = config;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | `freshness` | whether credentials are handed out as they are, renewed, or over; how long to ask for. Pure |
//! | `opening` | the vault, through an agent, without a question |
//! | `claim` | which of many processes renews |
//! | `sts` | the call |
//! | `provider` | these together, within 25 seconds |

mod claim;
mod error;
mod freshness;
mod opening;
mod provider;
mod sts;

pub use error::Error;
pub use freshness::{Freshness, LEAST_SECONDS, RENEW_SECONDS, duration_seconds};
pub use opening::open_with_agent;
pub use provider::{Builder, Cached, Lent, SessionCredentials};
pub use sts::clock_is_off;
