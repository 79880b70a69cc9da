//! `GET /tiers` and `GET /tiers/{tier}`.

use sorry_policy::TierName;
use sorry_session::{
    Actor, ErrorCode, Refusal,
    decision::registered,
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::TierList;

use crate::{Api, ApiError, Response, ok, view};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) fn list_tiers(&self, actor: &Actor) -> Result<Response, ApiError> {
        may_look(actor)?;
        let tiers =
            self.tiers.iter().map(|(name, tier)| view::tier(name, tier, actor, &self.rules)).collect();
        ok(200, &TierList { tiers, minimum_seconds: self.rules.minimum_window.as_secs() })
    }

    /// One tier; of one that alerts also how many would hear, for nobody hearing means no session.
    pub(crate) async fn show_tier(&self, actor: &Actor, name: &str) -> Result<Response, ApiError> {
        may_look(actor)?;
        let found =
            name.parse::<TierName>().ok().and_then(|name| self.tiers.tier(&name).map(|tier| (name, tier)));
        let Some((name, tier)) = found else {
            return Err(Refusal::new(
                ErrorCode::UnknownTier,
                format!("there is no tier `{name}`"),
                "`sorry tiers` lists them",
            )
            .into());
        };
        let mut shown = view::tier(&name, tier, actor, &self.rules);
        if tier.alert {
            shown.alert_subscribers = Some(self.alerts.confirmed_subscribers().await?);
        }
        ok(200, &shown)
    }
}

/// Administrators need not be callers to look at what can be lent.
fn may_look(actor: &Actor) -> Result<(), Refusal> {
    if actor.is_administrator() { Ok(()) } else { registered(actor).map(|_| ()) }
}
