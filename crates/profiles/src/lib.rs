//! The one editor for `~/.aws/credentials` and `~/.aws/config`.
//!
//! It puts the credentials of a session into a profile, takes them out again, and lists what is there, so that every
//! byte outside the edited section stays as it was, whatever stands there, also while other programs write the same
//! files without taking any lock.
//!
//! It is not for terminals, settings or the network: paths, process, time and patience are arguments
//! ([`Context`]), and nothing is read from the environment.
//!
//! | module | what it decides |
//! |---|---|
//! | [`values`] | what a key, token, region or profile name may look like before it is written anywhere |
//! | [`ini`] | where a section begins and ends, and what an edit makes of the bytes; pure |
//! | [`form`] | whether a profile is ours, and what a delivery form keeps in each of the two files; pure |
//! | [`write`](mod@write) | how new bytes take the place of old ones without losing anybody's |
//! | [`lock`] | who goes first among several `sorry` |
//! | [`check`] | what is wrong with the files, and what each tool makes of it |
//! | [`Change`] | what can be mended, said before it is done |
//! | [`AwsFiles`] | the operations made of these |

mod aws_files;
pub mod check;
mod context;
mod error;
mod fix;
pub mod form;
pub mod ini;
mod keys;
pub mod lock;
mod plain;
pub mod values;
pub mod write;

pub use aws_files::{AwsFiles, Profile, Removed, Written};
pub use check::{Code, Finding, KnownSessions};
pub use context::{Actor, Context, NoProbe, Probe, Step, Timing};
pub use error::Error;
pub use fix::{Change, Fixed};
pub use form::{Form, ProcessCommand, ProcessProfile, SessionCredentials};
pub use ini::FileKind;
pub use keys::SessionKeys;
pub use plain::PlainKey;
pub use values::{AccessKeyId, ProfileName, Region, SecretAccessKey, SessionMark, SessionToken};
pub use write::Warning;

/// What every fallible function here returns.
pub type Result<T> = std::result::Result<T, Error>;
