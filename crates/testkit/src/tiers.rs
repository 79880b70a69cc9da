//! The tiers that were published.

use sorry_policy::{TierSet, TierSetDigest};
use sorry_session::{
    events::AuditRecord,
    ports::{Committed, PortError, TierStore},
    tiers::PublishedTiers,
};

use crate::World;

impl TierStore for World {
    async fn published_tiers(&self) -> Result<Option<PublishedTiers>, PortError> {
        self.call("published_tiers", String::new(), |inner| Ok(inner.published_tiers.clone())).await
    }

    async fn tier_set(&self, digest: &TierSetDigest) -> Result<Option<String>, PortError> {
        let digest = digest.to_string();
        self.call("tier_set", String::new(), move |inner| Ok(inner.tier_sets.get(&digest).cloned())).await
    }

    async fn publish_tiers(
        &self,
        set: &TierSet,
        published: &PublishedTiers,
        replaces: Option<&TierSetDigest>,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError> {
        let (stored, published) = (set.stored(), published.clone());
        let (replaces, audit) = (replaces.cloned(), audit.clone());
        self.call("publish_tiers", String::new(), move |inner| {
            if inner.published_tiers.as_ref().map(|before| &before.digest) != replaces.as_ref() {
                return Ok(Committed::Superseded);
            }
            if audit.what != "tiers.published" || published.digest != TierSetDigest::of(&stored) {
                inner.violation(
                    "tiers are put in force without their digest or their audit record".to_owned(),
                );
            }
            inner.tier_sets.insert(published.digest.to_string(), stored);
            inner.published_tiers = Some(published);
            inner.append_audit(&audit);
            Ok(Committed::Yes)
        })
        .await
    }
}

/// What a test does to the tiers past the service.
impl World {
    /// Which set is in force.
    pub fn tiers_in_force(&self) -> Option<PublishedTiers> {
        self.inner().published_tiers.clone()
    }

    /// Changes what is stored of the sets; `None` takes it away.
    pub fn damage_tier_sets(&self, damage: impl Fn(&str) -> Option<String>) {
        let sets = &mut self.inner().tier_sets;
        *sets = sets.iter().filter_map(|(digest, stored)| Some((digest.clone(), damage(stored)?))).collect();
    }
}
