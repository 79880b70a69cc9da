//! Asking for sessions, looking at them, and ending them.

use sorry_policy::{ExternalId, SessionId, TierTable};
use sorry_session::{
    Actor, CallerEntry, ErrorCode, Refusal, Session, State, StepError,
    approval::Outcome,
    caller::Operation,
    clean_up::revoke,
    decision::{Decision, NewSession, SessionRequest, Terms, decide, registered, suspended, unregistered},
    events::ChangedBy,
    outbox,
    ports::{Alerts, Clock, Created, EventBus, Registry, SessionPage, SessionScope, SessionStore, Workflow},
    preview::preview,
    tiers::in_force,
};
use sorry_wire::{RequestSession, SessionList};

use crate::{Api, ApiError, Request, Response, body, ok, parameter, view};

/// How often a race for a row is run again before the turn is given back.
const TRIES: usize = 4;

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn request_session(
        &self,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        // First of all, so that nobody learns about bodies or tiers whom the registry does not know.
        registered(actor)?;
        let asked: RequestSession = body(request)?;
        let dry_run = asked.dry_run;
        if !dry_run {
            self.count_request(&asked.client_request_id, actor).await?;
        }
        let wanted = SessionRequest {
            client_request_id: asked.client_request_id,
            tier: parameter(request, "tier")?.to_owned(),
            duration_seconds: asked.duration_seconds,
            reason: asked.reason,
            project: asked.project,
            grant: asked.grant,
        };
        let tiers = in_force(&self.registry).await?;
        let terms = match decide(&wanted, actor, &tiers, &self.rules) {
            Decision::Grant(terms) => terms,
            Decision::Refuse(refusal) => return Err(refusal.into()),
        };
        if dry_run {
            return self.dry_run(*terms, &tiers).await;
        }
        if let Some(refusal) = self.at_capacity().await? {
            return Err(refusal.into());
        }
        let (session_id, external_id) = self.new_ids()?;
        let NewSession { session, audit, key, most_live } =
            terms.session(session_id, external_id, self.ports.clock.now());
        let session = match self.ports.store.create(&session, &audit, &key, most_live).await? {
            // Approvers are told at once; what fails here the sweep makes up for.
            Created::New if session.state == State::PendingApproval => {
                outbox::flush(&self.ports, &session).await.unwrap_or(session)
            }
            Created::New => session,
            Created::Before(id) => self.load(&id).await?,
            Created::CallerGone => {
                let entry = self.registry.caller(&actor.identity.unique_id).await?;
                let refusal = entry.map_or_else(|| unregistered(actor), |entry| suspended(&entry));
                return Err(refusal.into());
            }
            Created::TooManyLive => return Err(self.too_many_sessions(&session, most_live).await.into()),
            Created::OtherRequest => {
                return Err(Refusal::new(
                    ErrorCode::IdempotencyConflict,
                    format!("`client_request_id` `{}` was used for another request", key.client_request_id),
                    "use a new one for each request",
                )
                .into());
            }
        };
        // The row is there; the timer comes before the grant. Asked again, it is started again, by the same name.
        if session.state == State::Requested {
            self.workflow.start_grant(&session).await?;
        }
        tracing::info!(session_id = %session.session_id, tier = %session.tier, "requested");
        ok(202, &view::session(&session, actor))
    }

    /// What the request would come to; nothing is written, and no workflow is started.
    async fn dry_run(&self, terms: Terms, tiers: &TierTable) -> Result<Response, ApiError> {
        let (session_id, external_id) = self.new_ids()?;
        let now = self.ports.clock.now();
        let preview = preview(terms, session_id, external_id, now, tiers, &self.place)?;
        let tier = tiers.tier(&preview.session.tier);
        let addresses = tier.map(|tier| tier.addresses.clone()).unwrap_or_default();
        let subscribers = match preview.session.alert {
            true => Some(self.alerts.confirmed_subscribers().await?),
            false => None,
        };
        ok(200, &view::dry_run(preview, addresses, subscribers))
    }

    pub(crate) fn new_ids(&self) -> Result<(SessionId, ExternalId), StepError> {
        let random = (self.random)()?;
        let (id, external_id) = random.split_at(10);
        match (id.try_into(), external_id.try_into()) {
            (Ok(id), Ok(external_id)) => {
                Ok((SessionId::from_random(id), ExternalId::from_random(external_id)))
            }
            _ => Err(StepError::new(ErrorCode::Internal, "too few random bytes")),
        }
    }

    pub(crate) async fn list_sessions(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        // Approvers and security look, too, and need not ask for sessions themselves.
        let entry = actor.entry.as_ref();
        if entry.is_none() && !actor.oversees() {
            return Err(unregistered(actor).into());
        }
        let query = |name: &str| request.query.get(name).map(String::as_str);
        if let Some(unknown) = request
            .query
            .keys()
            .find(|name| !["scope", "status", "project", "cursor"].contains(&name.as_str()))
        {
            return Err(unusable(unknown, "`scope`, `status`, `project` and `cursor` are known").into());
        }
        let own = |scope: fn(&CallerEntry) -> SessionScope| {
            entry.map(|entry| Listed::Page(scope(entry))).ok_or_else(|| unregistered(actor))
        };
        let scope = match query("scope") {
            None | Some("mine") => own(|entry| SessionScope::Person(entry.person.to_string()))?,
            Some("namespace") => own(|entry| SessionScope::Namespace(entry.namespace.to_string()))?,
            Some("awaiting-me") => Listed::AwaitingMe,
            Some("everybody") if actor.oversees() => Listed::Everybody,
            Some("everybody") => {
                return Err(Refusal::new(
                    ErrorCode::NotAllowed,
                    format!("`{}` does not oversee the sessions of others", actor.identity.arn),
                    "overseers have one of the registry's roles `security`, `admin`, or are administrators of the deployment",
                )
                .into());
            }
            Some(_) => {
                let known = "`mine`, `namespace`, `awaiting-me` or `everybody`";
                return Err(unusable("scope", known).into());
            }
        };
        let status = match query("status") {
            None => None,
            Some(wanted) => {
                let known = State::ALL.into_iter().find(|state| state.as_str() == wanted);
                let names = State::ALL.map(State::as_str).join(", ");
                Some(known.ok_or_else(|| unusable("status", &format!("one of {names}")))?)
            }
        };
        let cursor = query("cursor").map(str::parse).transpose()?;
        let page = match scope {
            Listed::Page(scope) => self.ports.store.list(&scope, cursor.as_ref()).await?,
            Listed::AwaitingMe => SessionPage { sessions: self.awaiting(actor).await?, cursor: None },
            Listed::Everybody => SessionPage { sessions: self.not_over().await?, cursor: None },
        };
        let sessions = page
            .sessions
            .iter()
            .filter(|session| status.is_none_or(|status| session.state == status))
            .filter(|session| {
                query("project")
                    .is_none_or(|wanted| session.project.as_ref().is_some_and(|name| name.as_str() == wanted))
            })
            .filter(|session| actor.may(Operation::View, session))
            .map(|session| view::session(session, actor))
            .collect();
        ok(200, &SessionList { sessions, cursor: page.cursor.map(|cursor| cursor.to_string()) })
    }

    pub(crate) async fn show_session(&self, id: &str, actor: &Actor) -> Result<Response, ApiError> {
        ok(200, &view::session(&self.visible(id, actor).await?, actor))
    }

    pub(crate) async fn revoke_session(&self, id: &str, actor: &Actor) -> Result<Response, ApiError> {
        let session = self.visible(id, actor).await?;
        if !actor.may(Operation::Revoke, &session) {
            return Err(Refusal::new(
                ErrorCode::NotAllowed,
                format!("session `{id}` is {}'s, and not yours to end", session.person),
                "its owner can end it, and so can security and administrators",
            )
            .into());
        }
        let session = self.end(session, actor).await?;
        ok(if session.state.is_over() { 200 } else { 202 }, &view::session(&session, actor))
    }

    /// Decides the end of a session, if nobody has, and starts what carries it out.
    pub(crate) async fn end(&self, session: Session, actor: &Actor) -> Result<Session, ApiError> {
        let session = revoke(&self.ports, session, &ChangedBy::actor(actor)).await?;
        if session.state.is_ending() {
            self.workflow.start_end(&session).await?;
            tracing::info!(session_id = %session.session_id, "ending");
        }
        Ok(session)
    }

    /// Everybody's sessions that are not over, those that could not be cleaned up among them. The index may lag.
    async fn not_over(&self) -> Result<Vec<Session>, ApiError> {
        let mut sessions = self.ports.store.unfinished().await?;
        sessions.retain(|session| !session.state.is_over());
        sessions.sort_by_key(|session| std::cmp::Reverse(session.requested_at));
        Ok(sessions)
    }

    /// Decides on a session as it stands, and again if somebody else has changed it meanwhile.
    pub(crate) async fn change_session(
        &self,
        id: &str,
        actor: &Actor,
        decide: impl Fn(&Session) -> Result<Outcome, Refusal>,
    ) -> Result<Session, ApiError> {
        for _ in 0..TRIES {
            let session = self.visible(id, actor).await?;
            match decide(&session)? {
                Outcome::Before => return Ok(session),
                Outcome::Changed(change) => {
                    if let Some(session) = outbox::commit(&self.ports, *change).await? {
                        return Ok(session);
                    }
                }
            }
        }
        Err(StepError::new(ErrorCode::Unavailable, format!("session `{id}` keeps changing")).into())
    }

    async fn load(&self, id: &SessionId) -> Result<Session, ApiError> {
        self.ports.store.load(id).await?.ok_or_else(|| unknown_session(id.as_str()).into())
    }

    /// A session that the actor may see. One that may not be seen is answered like one that does not exist.
    pub(crate) async fn visible(&self, id: &str, actor: &Actor) -> Result<Session, ApiError> {
        let session = self.load(&id.parse()?).await?;
        if actor.may(Operation::View, &session) { Ok(session) } else { Err(unknown_session(id).into()) }
    }
}

/// What a list is of.
enum Listed {
    /// One page of those of a person or in a namespace.
    Page(SessionScope),
    /// Those that wait for the actor's word.
    AwaitingMe,
    /// All that are not over.
    Everybody,
}

fn unknown_session(id: &str) -> Refusal {
    Refusal::new(
        ErrorCode::SessionNotFound,
        format!("there is no session `{id}`"),
        "`sorry list` shows yours",
    )
}

pub(crate) fn unusable(name: &str, hint: &str) -> Refusal {
    let shown: String = name.chars().filter(|character| !character.is_control()).take(64).collect();
    Refusal::new(ErrorCode::InvalidInput, format!("the query parameter `{shown}` cannot be used"), hint)
}
