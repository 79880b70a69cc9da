//! `GET /tiers` and `GET /tiers/{tier}`.

use sorry_policy::{TierName, TierTable};
use sorry_session::{
    Actor, ErrorCode, Refusal, StepError,
    decision::{project, registered},
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
    preview::rendered_tier,
    tiers::in_force,
};
use sorry_wire::{RenderedTier, TierList};

use crate::{Api, ApiError, Request, Response, ok, parameter, sessions::unusable, view};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn list_tiers(&self, actor: &Actor) -> Result<Response, ApiError> {
        may_look(actor)?;
        let known = in_force(&self.registry).await?;
        let tiers = known.iter().map(|(name, tier)| view::tier(name, tier, actor, &self.rules)).collect();
        ok(200, &TierList { tiers, minimum_seconds: self.rules.minimum_window.as_secs() })
    }

    /// One tier; of one that alerts also how many would hear, for nobody hearing means no session.
    pub(crate) async fn show_tier(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        may_look(actor)?;
        let name = parameter(request, "tier")?;
        let query = |name: &str| request.query.get(name).map(String::as_str);
        let tiers = in_force(&self.registry).await?;
        let found = name.parse::<TierName>().ok().and_then(|name| tiers.tier(&name).map(|tier| (name, tier)));
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
        shown.rendered = match query("rendered") {
            None | Some("false") => None,
            Some("true") => Some(self.rendered(actor, &tiers, &name, query("project"))?),
            Some(_) => return Err(unusable("rendered", "`true` or `false`").into()),
        };
        ok(200, &shown)
    }

    /// What a session would be allowed in the caller's own namespace.
    fn rendered(
        &self,
        actor: &Actor,
        tiers: &TierTable,
        name: &TierName,
        wanted: Option<&str>,
    ) -> Result<RenderedTier, ApiError> {
        let entry = registered(actor)?;
        let project = project(wanted, entry)?;
        let (Some(tier), Some(template), Some(digest)) =
            (tiers.tier(name), tiers.template(name), tiers.digest(name))
        else {
            return Err(StepError::new(ErrorCode::Internal, "a tier without its template").into());
        };
        let (session_id, _) = self.new_ids()?;
        Ok(RenderedTier {
            namespace: entry.namespace.clone(),
            policy: rendered_tier(template, entry, project.as_ref(), &session_id, &self.place)?,
            project,
            boundary: self.place.boundary_arn(tier),
            policy_digest: digest.clone(),
        })
    }
}

/// Administrators need not be callers to look at what can be lent.
fn may_look(actor: &Actor) -> Result<(), Refusal> {
    if actor.is_administrator() { Ok(()) } else { registered(actor).map(|_| ()) }
}
