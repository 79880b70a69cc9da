//! What the sweep remembers between its runs, why it holds, and how far an administrator's word goes. Pure; [`crate::sweep`] carries
//! it out.
//!
//! Two tables vouch for each other: the sessions table has a canary row, and the registry remembers that it was placed. It remembers
//! that it is *about* to be placed, too, so that a sweep that dies half way leaves neither a loss that is none, nor trust that is none:
//!
//! ```text
//!  canary │ registry      │ means
//! ────────┼───────────────┼──────────────────────────────────────────────────────────────────────
//!  no     │ nothing       │ a new deployment, or both tables lost: placed, unless there are orphans
//!  no     │ begun         │ the first placing died half way: the same
//!  yes    │ begun         │ the first placing died after the row was written: finished
//!  yes    │ placed        │ as always
//!  no     │ placed        │ the sessions table was lost: hold
//!  yes    │ nothing       │ the registry was lost: hold, and believe nothing that it says of callers
//! ```

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Principal;

/// Principals that one hold names, and one confirmation covers: what is beyond is held again. A row holds 400 KB, a name or an ARN 64 to 150 bytes.
pub const MOST_NAMED: usize = 1000;
/// How long a confirmation is good for, done or not: longer than removing [`MOST_NAMED`] roles takes at IAM's pace.
const CONFIRMATION_HOLDS: Duration = Duration::from_secs(6 * 3600);
/// Orphans that may be an accident, however few principals there are.
const FEW_ORPHANS: usize = 5;

/// What the sweep remembers between its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepMemory {
    /// Counts the writes. A write is on condition of the version that was read, so that a sweep and a confirmation that meet do not
    /// lose one another.
    #[serde(default)]
    pub version: u64,
    /// When the sweep was about to put the canary into the sessions table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_begun_at: Option<Timestamp>,
    /// When the canary was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_placed_at: Option<Timestamp>,
    /// What is held, while the sweep holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// What an administrator let go, until it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

/// Why the sweep holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// The sessions table is not the one that the sweep knows.
    CanaryLost,
    /// The registry is not the one that the sweep wrote to.
    RegistryLost,
    /// Nothing was ever swept here: in a new deployment every principal has its row.
    OlderThanTheTables,
    /// More principals without a session than could be an accident.
    ManyOrphans,
}

/// What is held, as an administrator is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when, for this cause.
    pub since: Timestamp,
    /// Why.
    pub cause: HoldCause,
    /// Why, for people.
    pub because: String,
    /// The first [`MOST_NAMED`] principals without a session, in order of their names.
    pub roles: Vec<Principal>,
    /// How many there are in all.
    pub count: usize,
    /// Digest of the cause and of all names: what a confirmation must repeat.
    pub digest: String,
}

/// Whether so many orphans among so many principals cannot be an accident.
pub(crate) fn are_many(orphans: usize, listed: usize) -> bool {
    orphans > FEW_ORPHANS.max(listed / 10)
}

/// What an administrator let go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// When.
    pub at: Timestamp,
    /// The cause that was confirmed; used up when the sweep has acted on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<HoldCause>,
    /// The principals that may go: these and no others.
    pub roles: Vec<Principal>,
}

impl Hold {
    fn new(since: Timestamp, cause: HoldCause, listed: usize, orphans: &[Principal]) -> Self {
        let names: BTreeSet<_> = orphans.iter().collect();
        let count = names.len();
        let because = match cause {
            HoldCause::CanaryLost => "the sessions table has lost its canary row".to_owned(),
            HoldCause::RegistryLost => {
                "the registry has lost what the sweep remembers; restore it, or register its callers and publish its \
                 tiers again, before you confirm: then the sessions of callers that it does not know are ended"
                    .to_owned()
            }
            HoldCause::OlderThanTheTables => {
                format!("{count} principals are older than this deployment's tables")
            }
            HoldCause::ManyOrphans => format!("{count} of {listed} principals have no session"),
        };
        let mut hash = Sha256::new();
        hash.update(format!("{cause:?}"));
        for name in &names {
            // Names hold no line ends.
            hash.update("\n");
            hash.update(name.to_string());
        }
        let digest = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let roles = names.into_iter().take(MOST_NAMED).cloned().collect();
        Self { since, cause, because, roles, count, digest }
    }

    /// Whether this is to be told although `before` was told already.
    pub(crate) fn is_news_after(&self, before: Option<&Self>) -> bool {
        before.is_none_or(|before| {
            before.cause != self.cause || self.roles.iter().any(|role| !before.roles.contains(role))
        })
    }
}

/// How the sweep may go about its work, given what it remembers and whether the canary is there.
#[derive(Debug)]
pub(crate) struct Trust {
    /// A table that is not the one the sweep knows, if one is not.
    lost: Option<HoldCause>,
    /// Whether an administrator has accepted that.
    accepted: bool,
    confirmed: BTreeSet<Principal>,
}

impl Trust {
    /// Whether the tables may be believed.
    pub(crate) fn is_whole(&self) -> bool {
        self.lost.is_none() || self.accepted
    }

    /// Whether an administrator has let this principal go.
    pub(crate) fn lets_go(&self, role: &Principal) -> bool {
        self.confirmed.contains(role)
    }
}

impl SweepMemory {
    /// Whether this registry is the one that the sweep wrote to. One that has forgotten the sweep was lost, and says nothing of
    /// callers.
    pub(crate) fn knows_the_sweep(&self) -> bool {
        self.canary_begun_at.is_some() || self.canary_placed_at.is_some()
    }

    /// What this allows at `now`.
    pub(crate) fn trust(&self, canary: bool, now: Timestamp) -> Trust {
        let lost = match (canary, self.canary_placed_at) {
            (false, Some(_)) => Some(HoldCause::CanaryLost),
            (true, None) if !self.knows_the_sweep() => Some(HoldCause::RegistryLost),
            _ => None,
        };
        let good = self.confirmation.as_ref().filter(|confirmation| {
            confirmation.at <= now && now.duration_since(confirmation.at).unsigned_abs() < CONFIRMATION_HOLDS
        });
        let accepted = lost.is_some() && good.is_some_and(|confirmation| confirmation.cause == lost);
        let confirmed = match good {
            // Another loss than the one that was looked at puts everything in doubt again.
            Some(confirmation) if lost.is_none() || accepted => confirmation.roles.iter().cloned().collect(),
            _ => BTreeSet::new(),
        };
        Trust { lost, accepted, confirmed }
    }

    /// The memory after a sweep has looked at all principals: `orphans` are those that nobody let go, `left` says whether one that
    /// somebody did is still there.
    pub(crate) fn after_look(
        &self,
        trust: &Trust,
        canary: bool,
        listed: usize,
        orphans: &[Principal],
        left: bool,
        now: Timestamp,
    ) -> Self {
        let mut next = self.clone();
        match trust.lost.filter(|_| trust.accepted) {
            // From here on as in a new deployment, so that what was not confirmed does not go either.
            Some(HoldCause::CanaryLost) => (next.canary_begun_at, next.canary_placed_at) = (None, None),
            Some(_) => next.canary_begun_at = Some(now),
            None => {}
        }
        next.confirmation = next
            .confirmation
            .filter(|_| left)
            .map(|confirmation| Confirmation { cause: None, ..confirmation });
        let cause = match trust.lost {
            Some(lost) if !trust.accepted => Some(lost),
            _ if !orphans.is_empty() && !canary && next.canary_placed_at.is_none() => {
                Some(HoldCause::OlderThanTheTables)
            }
            _ if are_many(orphans.len(), listed) => Some(HoldCause::ManyOrphans),
            _ => None,
        };
        let before = next.hold.take();
        next.hold = cause.map(|cause| {
            let since =
                before.as_ref().filter(|before| before.cause == cause).map_or(now, |before| before.since);
            let hold = Hold::new(since, cause, listed, orphans);
            // What is the same is not written again for the sake of how many others there are.
            before.filter(|before| before.digest == hold.digest).unwrap_or(hold)
        });
        next
    }

    /// The memory after an administrator has let go what is held; `None` when nothing is.
    pub fn confirmed(&self, now: Timestamp) -> Option<Self> {
        let hold = self.hold.as_ref()?;
        let mut roles = hold.roles.clone();
        // What was let go before and is not done yet stays so.
        let pending = self.confirmation.iter().flat_map(|before| &before.roles);
        roles.extend(pending.filter(|role| !hold.roles.contains(role)).take(MOST_NAMED).cloned());
        let confirmation = Confirmation { at: now, cause: Some(hold.cause), roles };
        Some(Self { confirmation: Some(confirmation), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::at;

    fn roles(count: usize) -> Vec<Principal> {
        (0..count).map(|number| format!("sorry-sue-developer-{number}").parse().unwrap()).collect()
    }

    #[test]
    fn a_hold_names_a_bounded_number_and_its_digest_covers_all() {
        let all = roles(MOST_NAMED + 2);
        let hold = Hold::new(at(0), HoldCause::ManyOrphans, 2000, &all);
        assert_eq!((hold.roles.len(), hold.count), (MOST_NAMED, MOST_NAMED + 2));
        assert!(serde_json::to_string(&hold).unwrap().len() < 100_000);
        let reversed: Vec<_> = all.iter().rev().cloned().collect();
        assert_eq!(Hold::new(at(0), HoldCause::ManyOrphans, 2000, &reversed).digest, hold.digest);
        assert_ne!(Hold::new(at(0), HoldCause::CanaryLost, 2000, &all).digest, hold.digest);
        let beyond = all.split_last().unwrap().1;
        assert_ne!(Hold::new(at(0), HoldCause::ManyOrphans, 2000, beyond).digest, hold.digest);
    }

    #[test]
    fn nothing_held_is_nothing_to_confirm() {
        assert_eq!(SweepMemory::default().confirmed(at(0)), None);
    }

    #[test]
    fn a_second_confirmation_keeps_what_the_first_has_not_done() {
        let all = roles(3);
        let held = |roles: &[Principal]| Some(Hold::new(at(0), HoldCause::ManyOrphans, 3, roles));
        let first = SweepMemory { hold: held(&all[..2]), ..SweepMemory::default() }.confirmed(at(1)).unwrap();
        let second =
            SweepMemory { hold: held(&all[1..]), ..first }.confirmed(at(2)).unwrap().confirmation.unwrap();
        assert_eq!(second.roles.into_iter().collect::<BTreeSet<_>>(), all.into_iter().collect());
    }

    #[test]
    fn a_memory_of_before_is_read() {
        let memory: SweepMemory = serde_json::from_str(
            r#"{"canary_placed_at": "2026-01-01T00:00:00Z", "held_since": "2026-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        assert!(memory.knows_the_sweep() && memory.version == 0 && memory.hold.is_none());
    }
}
