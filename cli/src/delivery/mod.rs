//! What a session's credentials are handed out from, and how they reach other programs.
//!
//! | file | what it decides |
//! |---|---|
//! | `source.rs` | which profile a command takes, and the credentials in it, whichever form it has |
//! | `environment.rs` | what other programs find in their environment, and what not |
//! | `process.rs` | the form `process`: cache, MFA session, the line in `config` |
//! | `federation.rs` | a link to the console |

pub(crate) mod environment;
pub(crate) mod federation;
pub(crate) mod process;
pub(crate) mod source;
