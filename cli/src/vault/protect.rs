//! What keeps the secrets in memory off the disk and away from other programs of the same user, as far as a program can.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// While it lives, no core is dumped and, on Linux, no other program of the same user can look into this one or at its environment.
/// Dropping it puts the limit back, as programs that are started by this one need it; a program is open to look into again as soon
/// as it is started.
#[derive(Debug)]
pub(crate) struct Protection {
    core: Rlimit,
}

impl Protection {
    pub(crate) fn new() -> Self {
        let core = getrlimit(Resource::Core);
        // Best effort: neither is worth refusing the person's own secrets for.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum });
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{DumpableBehavior, set_dumpable_behavior};
            let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        }
        Self { core }
    }
}

impl Drop for Protection {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Core, self.core);
    }
}
