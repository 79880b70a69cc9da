//! The service over an in-memory world: the real API, the real steps of the real functions, the real state machine, and what must
//! be true of them all in the end.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{cell::Cell, rc::Rc, time::Duration};

use jiff::{Timestamp, ToSpan};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sorry_api::{Api, Request, Response};
use sorry_issue::Issuer;
use sorry_policy::{Grant, SessionId, TierSet};
use sorry_session::{
    CallerEntry, CallerRole, ErrorCode, Failure, Identity, MfaBy, NamedPrincipals, Session, State, StepError,
    audit::verify::verify,
    clean_up::{clean_up, give_up},
    decision::Rules,
    events::ChangedBy,
    extend::{extend, not_extended},
    limits::Limits,
    ports::{Clock, Ports},
    provision::{Place, provision},
    sweep::{SweepReport, sweep},
};
use sorry_testkit::{Fault, FunctionError, Functions, Simulation, StateMachine, World, block_on};

/// The workflow that is deployed.
pub(crate) const DEFINITION: &str = include_str!("../../../infrastructure/session.asl.json");

/// Longest that a workflow takes to grant or to give up, whatever fails.
pub(crate) const LONGEST_WORKFLOW: i64 = 900;

/// More than the grace after which nothing late can appear.
pub(crate) const GRACE: i64 = 301;

/// How the schedule of the sweep is spaced.
pub(crate) const SWEEP_EVERY: i64 = 300;

thread_local! {
    static DRAWN: Cell<u64> = const { Cell::new(0) };
}

/// Ids that are the same in every run of a test, and differ in the part that names show.
#[expect(clippy::unnecessary_wraps, reason = "the API wants a source that can fail")]
fn random() -> Result<[u8; 26], StepError> {
    let drawn = DRAWN.get() + 1;
    DRAWN.set(drawn);
    let mut bytes = [7; 26];
    bytes[2..10].copy_from_slice(&drawn.to_be_bytes());
    Ok(bytes)
}

/// The functions without Lambda. A clone is the same.
#[derive(Clone)]
pub(crate) struct Service {
    world: World,
    api: Rc<Api<World, World, World, World, World, World>>,
    issuer: Rc<Issuer<World, World, World, World, World, World>>,
}

impl Service {
    fn new(world: &World) -> Self {
        let ports =
            Ports { store: world.clone(), principals: (), events: world.clone(), clock: world.clone() };
        let place = Place {
            account: "123456789012".parse().unwrap(),
            region: "eu-west-2".parse().unwrap(),
            partition: "aws".parse().unwrap(),
            boundary_arn_prefix: "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-".into(),
        };
        let api = Api {
            ports,
            registry: world.clone(),
            workflow: world.clone(),
            alerts: world.clone(),
            rules: Rules {
                enabled_tiers: ["read-only", "developer", "admin", "break-glass"]
                    .map(|tier| tier.parse().unwrap())
                    .into(),
                minimum_window: Duration::from_secs(10),
                mfa_required: false,
                limits: Limits::default(),
            },
            administrators: NamedPrincipals::new([administrator().arn]),
            identity_provider_roles: NamedPrincipals::default(),
            place: place.clone(),
            random,
        };
        let issuer = Issuer { ports: world.ports(), registry: world.clone(), tokens: world.clone(), place };
        Self { world: world.clone(), api: Rc::new(api), issuer: Rc::new(issuer) }
    }

    /// Sends a request; `None` when the function died before it could answer.
    pub(crate) fn send(
        &self,
        who: &Identity,
        method: &str,
        resource: &str,
        parameter: &str,
        body: &Value,
    ) -> Option<Response> {
        self.send_with_query(who, method, resource, parameter, &[], body)
    }

    /// Sue's sessions.
    pub(crate) fn list(&self, query: &[(&str, &str)]) -> Option<Response> {
        self.send_with_query(&sue(), "GET", "/sessions", "", query, &Value::Null)
    }

    pub(crate) fn send_with_query(
        &self,
        who: &Identity,
        method: &str,
        resource: &str,
        parameter: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Option<Response> {
        self.world.recover();
        let response = block_on(self.api.answer(&request(who, method, resource, parameter, query, body)));
        let died = self.world.death().is_some();
        self.world.recover();
        (!died).then_some(response)
    }

    /// The answer to a request, for tests that run it beside others.
    pub(crate) async fn answer(
        &self,
        who: &Identity,
        method: &str,
        resource: &str,
        parameter: &str,
        body: &Value,
    ) -> Response {
        self.api.answer(&request(who, method, resource, parameter, &[], body)).await
    }

    /// Asks for credentials of a session; `None` when the function died.
    pub(crate) fn issue(&self, who: &Identity, id: &SessionId) -> Option<Response> {
        let asked = request(who, "POST", "/sessions/{id}/credentials", id.as_str(), &[], &Value::Null);
        self.world.recover();
        let response = block_on(self.issuer.answer(&asked));
        let died = self.world.death().is_some();
        self.world.recover();
        (!died).then_some(response)
    }

    /// As [`Self::issue`], signed with a key of that id.
    pub(crate) fn issue_with_key(&self, access_key_id: &str, id: &SessionId) -> Option<Response> {
        let asked = request(&sue(), "POST", "/sessions/{id}/credentials", id.as_str(), &[], &Value::Null);
        let asked = Request { access_key_id: access_key_id.to_owned(), ..asked };
        self.world.recover();
        Some(block_on(self.issuer.answer(&asked)))
    }

    /// As [`Self::issue`], for tests that run it beside others.
    pub(crate) async fn issuing(&self, id: &SessionId) -> Response {
        let asked = request(&sue(), "POST", "/sessions/{id}/credentials", id.as_str(), &[], &Value::Null);
        self.issuer.answer(&asked).await
    }

    /// Asks for a session of an hour, of a tier and, after a `+`, with another grant than the tier's.
    pub(crate) fn request(&self, tier: &str, client_request_id: &str) -> Option<Response> {
        let mut body = json!({
            "client_request_id": client_request_id, "duration_seconds": 3600, "reason": "to see what happens",
        });
        let (tier, grant) = tier.split_once('+').unwrap_or((tier, ""));
        if !grant.is_empty() {
            body["grant"] = json!(grant);
        }
        self.send(&sue(), "POST", "/tiers/{tier}/sessions", tier, &body)
    }

    /// Asks for a session to end so much later.
    pub(crate) fn extend(&self, id: &SessionId, seconds: u64) -> Option<Response> {
        let body = json!({"client_request_id": format!("extension-{seconds}"), "duration_seconds": seconds});
        self.send(&sue(), "POST", "/sessions/{id}/extension", id.as_str(), &body)
    }

    /// The step of the function that carries an extension out.
    pub(crate) async fn extending(&self, id: &SessionId) -> Result<(), String> {
        let done = extend(&self.world.ports(), id, &self.world, &self.api.place).await;
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Ends a session.
    pub(crate) fn revoke(&self, id: &SessionId) -> Option<Response> {
        self.send(&sue(), "DELETE", "/sessions/{id}", id.as_str(), &Value::Null)
    }

    /// Looks at what the sweep holds, and lets that go.
    pub(crate) fn confirm_sweep(&self) -> Option<Response> {
        let shown = self.send(&administrator(), "GET", "/admin/sweep", "", &Value::Null)?;
        let digest = shown.body["hold"]["digest"].as_str().unwrap_or_default();
        self.confirm(digest)
    }

    /// Lets go what is held, if it has this digest.
    pub(crate) fn confirm(&self, digest: &str) -> Option<Response> {
        self.send(&administrator(), "PUT", "/admin/sweep/confirmation", "", &json!({"digest": digest}))
    }

    /// Publishes a set of tiers, whatever is in force.
    pub(crate) fn publish(&self, set: &TierSet) -> Option<Response> {
        let shown = self.send(&administrator(), "GET", "/admin/tiers", "", &Value::Null)?;
        let body = json!({"tiers": set.tiers, "templates": set.templates, "replaces": shown.body["digest"]});
        self.send(&administrator(), "PUT", "/admin/tiers", "", &body)
    }

    /// Runs one sweep; `None` when the function died.
    pub(crate) fn sweep(&self) -> Option<Result<SweepReport, StepError>> {
        self.world.recover();
        let report = block_on(sweep(&self.world.ports(), &self.world));
        let died = self.world.death().is_some();
        self.world.recover();
        (!died).then_some(report)
    }

    /// The step of the function `provision`, for tests that run it beside others.
    pub(crate) async fn granting(&self, id: &SessionId) -> Result<(), String> {
        let granted = self
            .provision(sorry_provision::Input {
                session_id: id.clone(),
                step: sorry_provision::Step::Grant,
                failure: None,
            })
            .await;
        granted.map(|_| ()).map_err(|error| error.message)
    }

    async fn clean_up(&self, input: sorry_clean_up::Input) -> Result<sorry_clean_up::Output, StepError> {
        let (ports, by) = (self.world.ports(), ChangedBy::service("clean-up"));
        match input.give_up {
            Some(failure) => {
                give_up(&ports, &input.session_id, failure.readable(), &by).await?;
                Ok(sorry_clean_up::Output::GivenUp)
            }
            None => {
                let failure = input.failure.map(Failure::readable);
                Ok(clean_up(&ports, &input.session_id, failure, &by).await?.into())
            }
        }
    }

    async fn provision(&self, input: sorry_provision::Input) -> Result<sorry_provision::Output, StepError> {
        let ports = self.world.ports();
        let (id, place) = (&input.session_id, &self.api.place);
        let expires_at = match (input.step, input.failure) {
            (sorry_provision::Step::Grant, _) => provision(&ports, id, &self.world, place).await?.expires_at,
            (sorry_provision::Step::Extend, None) => extend(&ports, id, &self.world, place).await?,
            (sorry_provision::Step::Extend, Some(failure)) => {
                not_extended(&ports, id, failure.readable(), &ChangedBy::service("provision")).await?
            }
        };
        Ok(sorry_provision::Output { expires_at: expires_at.to_string() })
    }
}

/// A request as the gateway passes it on.
fn request(
    who: &Identity,
    method: &str,
    resource: &str,
    parameter: &str,
    query: &[(&str, &str)],
    body: &Value,
) -> Request {
    let name = resource.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(name, _)| name);
    Request {
        identity: who.clone(),
        access_key_id: "ASIAEXAMPLE".to_owned(),
        method: method.to_owned(),
        resource: resource.to_owned(),
        path: name
            .map_or_else(|| resource.to_owned(), |name| resource.replace(&format!("{{{name}}}"), parameter)),
        path_parameters: name.map(|name| (name.to_owned(), parameter.to_owned())).into_iter().collect(),
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_string(),
        request_id: "request".to_owned(),
    }
}

/// What `sorry_aws::function::serve` does with a step, and the `main.rs` of each function with its ports.
fn served<I: DeserializeOwned, O: Serialize>(
    payload: &Value,
    step: impl AsyncFnOnce(I) -> Result<O, StepError>,
) -> Result<Value, FunctionError> {
    let answer = match serde_json::from_value(payload.clone()) {
        Ok(input) => block_on(step(input)),
        Err(error) => Err(StepError::new(ErrorCode::InvalidInput, error.to_string())),
    };
    match answer {
        Ok(output) => Ok(serde_json::to_value(output).unwrap()),
        Err(error) => Err(FunctionError { error_type: error.code.to_string(), message: error.message }),
    }
}

impl Functions for Service {
    fn invoke(&self, name: &str, payload: &Value) -> Result<Value, FunctionError> {
        match name {
            "AlertFunction" => {
                served(payload, async |input| sorry_alert::alert(&self.world, &self.world, &input).await)
            }
            "ProvisionFunction" => served(payload, async |input| self.provision(input).await),
            "CleanUpFunction" => served(payload, async |input| self.clean_up(input).await),
            other => panic!("the state machine calls `{other}`, which is no function"),
        }
    }
}

/// The person who asks.
pub(crate) fn sue() -> Identity {
    Identity {
        account: "123456789012".parse().unwrap(),
        unique_id: "AIDASUE".into(),
        arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".into(),
        source_address: Some("192.0.2.1".into()),
    }
}

/// The person who runs the service.
pub(crate) fn administrator() -> Identity {
    Identity {
        unique_id: "AIDAADMINISTRATOR".into(),
        arn: "arn:aws:iam::123456789012:user/administrator".into(),
        ..sue()
    }
}

/// A world with the service in it, and one registered caller.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) service: Service,
    pub(crate) workflows: Simulation<Service>,
}

impl Bench {
    /// A deployment that has been there for a while: a sweep has been by.
    pub(crate) fn new() -> Self {
        let bench = Self::fresh();
        bench.world.aside(|_| bench.sweep());
        assert!(bench.world.has_canary());
        bench
    }

    /// The same world once more: what happens in one does not happen in the other. Much cheaper than to make it again.
    pub(crate) fn fork(&self) -> Self {
        let world = self.world.fork();
        let service = Service::new(&world);
        let workflows = self.workflows.fork(&world, service.clone());
        Self { world, service, workflows }
    }

    /// The same, whose tiers were published.
    pub(crate) fn published() -> Self {
        let bench = Self::new();
        let published = bench.world.aside(|_| bench.service.publish(&edited_tiers()));
        assert_eq!(published.map(|answer| answer.status), Some(200));
        bench
    }

    /// A deployment of this moment.
    pub(crate) fn fresh() -> Self {
        DRAWN.set(0);
        let world = World::new();
        let tiers = ["read-only", "developer", "admin", "break-glass"].map(|tier| (tier.parse().unwrap(), 8));
        world.plant_caller(CallerEntry {
            unique_id: sue().unique_id,
            account: sue().account,
            arn: sue().arn,
            person: "sue".parse().unwrap(),
            namespace: "sue".parse().unwrap(),
            tiers: tiers.into(),
            projects: [].into(),
            roles: [CallerRole::Caller].into(),
            mfa: MfaBy::Device,
            source_identity: None,
            registered_at: world.now(),
            registered_by: administrator().arn,
            suspended: None,
        });
        let service = Service::new(&world);
        let workflows = Simulation::new(&world, StateMachine::parse(DEFINITION), service.clone());
        Self { world, service, workflows }
    }

    /// Registers somebody whose word counts.
    pub(crate) fn approver(&self, person: &str) -> Identity {
        let identity = Identity {
            unique_id: format!("AIDA{}", person.to_uppercase()),
            arn: format!("arn:aws:iam::123456789012:user/sorry/caller/{person}-mgr"),
            ..sue()
        };
        self.world.plant_caller(CallerEntry {
            unique_id: identity.unique_id.clone(),
            account: identity.account.clone(),
            arn: identity.arn.clone(),
            person: person.parse().unwrap(),
            namespace: person.parse().unwrap(),
            tiers: [].into(),
            projects: [].into(),
            roles: [CallerRole::Approver].into(),
            registered_at: self.world.now(),
            registered_by: administrator().arn,
            suspended: None,
            mfa: MfaBy::Device,
            source_identity: None,
        });
        identity
    }

    /// The only session there is, if there is one.
    pub(crate) fn session(&self) -> Option<Session> {
        let rows = self.world.rows();
        assert!(rows.len() <= 1, "one request, one session");
        rows.into_iter().next()
    }

    /// Asks for a session, which is granted.
    pub(crate) fn granted(&mut self, tier: &str, client_request_id: &str) -> SessionId {
        let response = self.service.request(tier, client_request_id).unwrap();
        assert_eq!(response.status, 202, "{}", response.body);
        let id: SessionId = serde_json::from_value(response.body["session_id"].clone()).unwrap();
        if self.world.row(&id).unwrap().state == State::PendingApproval {
            let ann = self.approver("ann");
            let word = json!({"decision": "approve"});
            self.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &word).unwrap();
        }
        self.run_for(0);
        assert_eq!(self.world.row(&id).unwrap().state, State::Active);
        assert!(self.world.usable(&id, self.world.now()));
        id
    }

    pub(crate) fn run_for(&mut self, seconds: i64) {
        let end = after(self.world.now(), seconds);
        self.workflows.run_until(end);
    }

    pub(crate) fn run_until(&mut self, end: Timestamp) {
        self.workflows.run_until(end.max(self.world.now()));
    }

    /// A sweep that must succeed as a whole.
    pub(crate) fn sweep(&self) -> SweepReport {
        self.service.sweep().expect("the sweep died").expect("the sweep failed")
    }

    /// All is well again: what still runs runs on, the grace passes, and the sweep comes by once. What failed until now has had its
    /// [`LONGEST_WORKFLOW`] before.
    pub(crate) fn settle(&mut self) {
        self.world.clear_faults();
        self.run_for(GRACE);
        self.sweep();
    }

    /// What must be true of everything, once all has settled. Panics with `label` where it is not.
    pub(crate) fn assert_settled(&self, label: &dyn std::fmt::Display) {
        let world = &self.world;
        let now = world.now();
        assert!(world.violations().is_empty(), "{label}: {:#?}", world.violations());
        assert!(!world.has_late_writes(), "{label}: something is still to happen");
        let rows = world.rows();
        for role in world.roles().iter().filter(|role| role.path.starts_with("/sorry/session/")) {
            let owner = rows.iter().find(|row| role.session() == Some(row.session_id.as_str()));
            let live =
                owner.is_some_and(|row| row.state == State::Active && row.role_name.as_str() == role.name);
            assert!(
                live,
                "{label}: role `{}` has no live session: {:?}",
                role.name,
                owner.map(|row| row.state)
            );
        }
        self.assert_nothing_else_left(&rows, label);
        for row in &rows {
            let id = &row.session_id;
            match row.state {
                State::Active => {
                    assert!(now < row.expires_at, "{label}: ACTIVE past its end");
                    assert!(world.usable(id, now), "{label}: ACTIVE, and not usable");
                }
                State::Revoked | State::Expired | State::Denied | State::Failed => {}
                State::PendingApproval => {
                    let lapses_at = row.approval.as_ref().unwrap().lapses_at;
                    assert!(now < lapses_at, "{label}: nobody may decide on it any more");
                }
                state => panic!("{label}: still {state} ({:?})", row.end),
            }
            // The latest end that was decided: an extension that failed may have written its own before.
            assert!(!world.access(id, row.latest_end()), "{label}: access past the end");
            assert!(row.extension_under_way().is_none(), "{label}: an extension that nobody settled");
            if row.state.is_over() {
                assert!(!world.access(id, now), "{label}: access of a session that is {}", row.state);
                assert!(row.ended_at.is_some() && row.end.is_some(), "{label}: an end without its story");
            }
            self.assert_failure_is_told(row, label);
            self.assert_history(row, label);
        }
    }

    /// Users, policies, access keys, and what ended sessions on standing roles: each has its row, or is gone.
    fn assert_nothing_else_left(&self, rows: &[Session], label: &dyn std::fmt::Display) {
        let world = &self.world;
        let live = |session: Option<&str>, name: &str| {
            rows.iter().any(|row| {
                Some(row.session_id.as_str()) == session
                    && row.state == State::Active
                    && row.role_name.as_str() == name
                    && row.grant == Grant::User
            })
        };
        for user in world.users() {
            assert!(live(user.session(), &user.name), "{label}: user `{}` has no live session", user.name);
        }
        for arn in world.session_policies() {
            let session = world.session_of_policy(&arn);
            let name = arn.rsplit('/').next().unwrap();
            assert!(
                live(session.as_ref().map(SessionId::as_str), name),
                "{label}: `{arn}` has no live session"
            );
        }
        assert_eq!(world.access_keys(), [""; 0], "{label}: an access key is left");
        for role in world.standing_roles() {
            for policy in role.inline.keys().filter(|name| *name != "access") {
                let due = rows
                    .iter()
                    .any(|row| row.prune_at.is_some() && *policy == format!("revoked-{}", row.session_id));
                assert!(due, "{label}: `{policy}` stays on `{}`", role.name);
            }
        }
        if world.secrets_were_made() {
            let written = world.everything_written();
            let told = ["secret-of-", "token-of-"].iter().any(|secret| written.contains(secret));
            assert!(!told, "{label}: a secret was written");
        }
    }

    fn assert_failure_is_told(&self, row: &Session, label: &dyn std::fmt::Display) {
        if row.state != State::Failed {
            return;
        }
        let failure = row
            .end
            .as_ref()
            .unwrap()
            .failure
            .as_ref()
            .unwrap_or_else(|| panic!("{label}: FAILED without a reason"));
        let known = ErrorCode::ALL.iter().any(|code| code.as_str() == failure.code)
            || ["Runtime.ExitError", "Sandbox.Timedout"].contains(&failure.code.as_str());
        assert!(known, "{label}: unknown code in {failure:?}");
        let readable = failure.message.len() > 10 && !failure.message.starts_with('{');
        assert!(readable, "{label}: nobody can read {failure:?}");
    }

    /// Every change has its line in the audit and its event.
    fn assert_history(&self, row: &Session, label: &dyn std::fmt::Display) {
        let audit = self.world.audit(row.session_id.as_str());
        let sequences: Vec<_> = audit.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (1..=row.fence).collect::<Vec<_>>(), "{label}: the audit has gaps");
        // Changes of state are told by it; of those that are none, that credentials were handed out.
        let of_state =
            |what: &str| what.strip_prefix("session.").unwrap().chars().all(|c| c.is_uppercase() || c == '_');
        let last = audit.iter().rfind(|record| of_state(&record.what)).unwrap();
        assert_eq!(last.what, format!("session.{}", row.state), "{label}");
        let told = |what: &str| of_state(what) || what == "session.issued";
        assert_eq!(verify(&audit, &[], self.world.now()).findings, [], "{label}: the chain of the audit");
        assert_eq!(row.audit_head, audit.last().unwrap().hash, "{label}");
        assert!(row.outbox.is_empty(), "{label}: {} events wait", row.outbox.len());
        let published = self.world.published();
        for record in audit.iter().filter(|record| told(&record.what)) {
            let event = format!("{}-{}", record.subject, record.sequence);
            let found = published.iter().find(|entry| entry.id == event);
            let state = found.unwrap_or_else(|| panic!("{label}: event {event} was never published")).detail
                ["state"]
                .as_str();
            if !of_state(&record.what) {
                assert_eq!(state, Some("ACTIVE"), "{label}: {}", record.what);
                continue;
            }
            assert_eq!(
                Some(record.what.as_str()),
                state.map(|state| format!("session.{state}")).as_deref(),
                "{label}"
            );
        }
        if row.alert && self.world.was(&row.session_id, State::Active) {
            assert!(!self.world.alerts().is_empty(), "{label}: granted without an alert");
        }
        if row.alert && row.state.is_over() {
            // A review that is closed later is recorded under the same state.
            let ended = audit.iter().find(|record| record.what == last.what).unwrap();
            let end = format!("{}-{}", row.session_id, ended.sequence);
            let told = published.iter().any(|entry| entry.id == end && entry.detail["alert"] == true);
            assert!(told, "{label}: security never heard of the end");
        }
    }
}

/// A set of tiers in which `developer` is another than the built-in one.
pub(crate) fn edited_tiers() -> TierSet {
    let mut set = TierSet::built_in();
    set.tiers = set.tiers.replace("and logs\"", "and logs, as published\"");
    let template = set.templates.get_mut("developer.json").unwrap();
    let mut document: Value = serde_json::from_str(template).unwrap();
    let statement = json!({
        "Sid": "Published", "Effect": "Allow", "Action": "sqs:ListQueues", "Resource": "*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/sorry:session": "${session}"}},
    });
    document["Statement"].as_array_mut().unwrap().push(statement);
    *template = document.to_string();
    set
}

pub(crate) fn after(moment: Timestamp, seconds: i64) -> Timestamp {
    moment.checked_add(seconds.seconds()).unwrap()
}

/// Each kind of fault, and for late writes how late: soon, after the retries, and just inside the grace.
pub(crate) fn faults() -> Vec<(Fault, i64)> {
    let after = |fault: Fault| if fault.is_late() { vec![1, 40, 270] } else { vec![0] };
    Fault::ALL
        .into_iter()
        .flat_map(|fault| after(fault).into_iter().map(move |seconds| (fault, seconds)))
        .collect()
}
