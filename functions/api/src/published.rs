//! What administrators do about the tiers: look at the set in force, and publish another.

use std::collections::BTreeSet;

use serde_json::json;
use sorry_policy::{TierName, TierSet, TierSetDigest, TierTable};
use sorry_session::{
    Actor, ErrorCode, Refusal, StepError,
    events::{ChangedBy, tiers_audit, tiers_event},
    ports::{Alerts, Clock, Committed, EventBus, Registry, SessionStore, Workflow},
    tiers::{PublishedTiers, published_set},
};
use sorry_wire::PublishTiers;

use crate::{Api, ApiError, Request, Response, body, callers::administrators_only, ok, view};

/// Most faults that one refusal lists; `sorry admin tiers validate` lists all.
const MOST_FAULTS: usize = 10;

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    /// The set in force. One that cannot be used is said to be so, for here it can be put right.
    pub(crate) async fn show_tier_set(&self, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let Some(published) = self.registry.published_tiers().await? else {
            let set = TierSet::built_in();
            return ok(200, &view::tier_set(&set.digest(), None, Ok(set)));
        };
        let set = self.set_in_force(&published).await?;
        ok(200, &view::tier_set(&published.digest, Some(&published), set))
    }

    /// Puts another set in force: the one that the administrator was shown is replaced, or nothing is.
    pub(crate) async fn publish_tiers(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let PublishTiers { tiers, templates, replaces } = body(request)?;
        let set = TierSet { tiers, templates };
        refuse_faults(&set)?;
        let before = self.registry.published_tiers().await?;
        let in_force =
            before.as_ref().map_or_else(|| TierSet::built_in().digest(), |before| before.digest.clone());
        let changed = || {
            let hint = "look again: `sorry admin tiers diff`";
            Refusal::new(ErrorCode::Conflict, "other tiers are in force than you saw", hint)
        };
        // Asked for once more, as whoever had no answer does: nothing is written, and security is told, should it not have been.
        let is_repeated = in_force.as_str() != replaces && in_force == set.digest();
        if in_force.as_str() != replaces && !is_repeated {
            return Err(changed().into());
        }
        let old = match &before {
            // What it replaced is not in force any more: all of it counts as changed.
            _ if is_repeated => None,
            Some(before) => self.set_in_force(before).await?.ok(),
            None => Some(TierSet::built_in()),
        };
        let published = PublishedTiers {
            digest: set.digest(),
            published_at: self.ports.clock.now(),
            published_by: actor.identity.arn.clone(),
        };
        let (old, new) = (old.as_ref().and_then(|set| set.table().ok()), set.table().ok());
        let details = json!({
            "digest": published.digest, "replaces": replaces,
            "tiers": names(new.as_ref()), "changed": changes(old.as_ref(), new.as_ref()),
            "removed": names(old.as_ref()).difference(&names(new.as_ref())).collect::<Vec<_>>(),
        });
        let audit = tiers_audit(&ChangedBy::actor(actor), &self.ports.clock, details);
        let replaced: Option<&TierSetDigest> = before.as_ref().map(|before| &before.digest);
        if !is_repeated {
            let written = self.registry.publish_tiers(&set, &published, replaced, &audit).await?;
            if written == Committed::Superseded {
                return Err(changed().into());
            }
            tracing::warn!(by = actor.identity.arn, digest = %published.digest, "other tiers are in force");
        }
        // An error has the administrator ask once more.
        self.ports.events.publish(&[tiers_event(&audit)]).await?;
        ok(200, &view::tier_set(&published.digest, Some(&published), Ok(set)))
    }

    /// The published set, or why it cannot be used.
    async fn set_in_force(&self, published: &PublishedTiers) -> Result<Result<TierSet, String>, StepError> {
        match published_set(&self.registry, &published.digest).await {
            Ok(set) => Ok(Ok(set)),
            Err(error) if error.code == ErrorCode::TiersUnusable => Ok(Err(error.message)),
            Err(error) => Err(error),
        }
    }
}

fn refuse_faults(set: &TierSet) -> Result<(), Refusal> {
    let faults = set.faults();
    if faults.is_empty() {
        return Ok(());
    }
    let listed: Vec<_> = faults.iter().take(MOST_FAULTS).cloned().collect();
    Err(Refusal::new(
        ErrorCode::InvalidInput,
        format!("the tiers cannot be published: {}", listed.join("; ")),
        "`sorry admin tiers validate` lists all that is wrong, and needs no service for it",
    ))
}

fn names(table: Option<&TierTable>) -> BTreeSet<TierName> {
    table.into_iter().flat_map(TierTable::iter).map(|(name, _)| name.clone()).collect()
}

/// Tiers that are new, or not what they were.
fn changes(old: Option<&TierTable>, new: Option<&TierTable>) -> Vec<TierName> {
    let mut changed = names(new);
    changed
        .retain(|name| old.and_then(|table| table.digest(name)) != new.and_then(|table| table.digest(name)));
    changed.into_iter().collect()
}
