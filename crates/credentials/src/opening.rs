//! The vault, opened without asking anybody: through an ssh-agent.

use std::path::Path;
use std::time::{Duration, Instant};

use sorry_profiles::Actor;
use sorry_vault::{Agent, Open, Store, Timeouts, UnlockError};

use crate::Error;

/// An agent on this machine answers in a millisecond. One that asks a person first is given a moment.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), answer: Duration::from_secs(6) };
/// After which no further slot is tried.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens the vault by the first of its SSH keys that the agent has. Asks nobody, though an agent may; blocks for 16 seconds at most,
/// and for some milliseconds as a rule.
///
/// # Errors
/// Which of the many things that can be missing is.
pub fn open_with_agent(store: &Store, socket: Option<&Path>, actor: &Actor) -> Result<Open, Error> {
    let began = Instant::now();
    let stored = store.read(actor).map_err(|error| Error::Store(Box::new(error)))?;
    let vault = stored.ok_or_else(|| Error::NoVault(store.path()))?.vault;
    let mut keys = vault.slots().iter().filter_map(|slot| slot.public_key()).peekable();
    keys.peek().ok_or(Error::NoKeySlot)?;
    let agent = Agent::connect(socket.ok_or(Error::NoAgent)?, TIMEOUTS).map_err(Error::Agent)?;
    let mut refused = Error::NoKeySlot;
    for key in keys {
        if began.elapsed() >= PATIENCE {
            break;
        }
        let opened =
            agent.key(key).map_err(UnlockError::from).and_then(|signer| vault.unlock_with_signer(&signer));
        match opened {
            Ok(open) => return Ok(open),
            // The first word about a key that the agent has is worth more than that it lacks another.
            Err(error) => {
                let absent = matches!(error, UnlockError::Sign(sorry_vault::SignError::NotHeld { .. }));
                if !absent || matches!(refused, Error::NoKeySlot) {
                    refused = Error::Shut(error);
                }
            }
        }
    }
    Err(refused)
}
