//! Points at which a test ends the program as a crash would: after something was done, and before the next thing is. Debug builds
//! alone know how; a release build has nothing of it.

use crate::app::App;

/// Ends the program with SIGKILL if `SORRY_CRASH_AT` names this point.
#[cfg(debug_assertions)]
pub(crate) fn point(app: &App, name: &str) {
    use rustix::process::{Signal, getpid, kill_process};

    if app.settings.environment.get(crate::env_vars::SORRY_CRASH_AT) == Some(name) {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn point(_app: &App, _name: &str) {}
