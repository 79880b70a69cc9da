//! What the whole-system tests stand on: the real template, state machine and function binaries on a local AWS of their own, the
//! real `sorry`, and an independent judge that tries what credentials can do.
//!
//! Nothing here is a mock. Each [`LocalAws`] is a server of its own, so tests may break what they like.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "this library is part of tests: what should not happen ends the test"
)]

mod calls;
mod chaos;
mod gateway;
mod http;
mod judge;
mod local_aws;
mod person;
mod ssh_agent;
mod tiers;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

pub use calls::{Call, Recorder, counted};
pub use chaos::{ChaosProxy, Disturbance, LATE, Weather};
pub use gateway::Gateway;
pub use judge::{Judge, Keys, Verdict};
pub use local_aws::{LocalAws, keys_of};
pub use person::{Finished, Person};
pub use ssh_agent::SshAgent;
pub use tiers::tiers_with_addresses;

/// The project's folder.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

/// The folder with the binaries that this test, or this program, was built with: `target/<profile>`.
pub fn binaries() -> PathBuf {
    let running = std::env::current_exe().expect("what runs has a path");
    let folder = running.parent().expect("a file lies in a folder");
    // Tests lie one folder further down.
    if folder.ends_with("deps") {
        folder.parent().expect("`deps` lies in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}

/// The Python that `make` has installed what the tests need into.
pub fn python() -> PathBuf {
    let python = project().join(".local/venv/bin/python");
    assert!(python.exists(), "{} is missing: run `make tools` first", python.display());
    python
}

/// Asks until there is an answer; fails the test with `what` after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < limit, "{what}: not within {limit:?}");
        // Between two looks, not instead of one.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Nanoseconds of the clock's second: the same hardly twice.
pub(crate) fn nanoseconds() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::from(now.subsec_nanos()))
}
