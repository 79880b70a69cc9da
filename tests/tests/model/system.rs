//! The service in its world: what each event of the model does there.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_policy::{Grant, SessionId, TierSet};
use sorry_session::{EndCause, Identity, Session, State};
use sorry_testkit::{Role, World, moment};

use crate::{
    events::{Event, HOURS, Who},
    figures,
    harness::{Bench, administrator, edited_tiers, sue},
    invariants,
    loan::{Cause, Loan, Stands},
    reference::{LATE, Reference},
};

impl Who {
    pub(crate) fn identity(self) -> Identity {
        let user = |id: &str, name: &str| Identity {
            unique_id: format!("AIDA{id:0>16}"),
            arn: format!("arn:aws:iam::123456789012:user/sorry/caller/{name}"),
            ..sue()
        };
        match self {
            Self::Sue => user("SUE", "sue-mgr"),
            Self::SuesOther => user("SUESOTHER", "sue-other"),
            Self::Bob => user("BOB", "bob"),
            Self::Ann => user("ANN", "ann"),
            Self::Administrator => administrator(),
        }
    }
}

fn tiers(number: usize) -> TierSet {
    match number {
        0 => TierSet::built_in(),
        1 => edited_tiers(),
        _ => {
            let mut set = TierSet::built_in();
            let (before, developer) = set.tiers.split_once("[tiers.developer]").unwrap();
            let shorter = developer.replacen("maximum_hours = 8", "maximum_hours = 1", 1);
            set.tiers = format!("{before}[tiers.developer]{shorter}");
            set
        }
    }
}

/// The service, and what it promised.
pub(crate) struct System {
    pub(crate) bench: Bench,
    strays: usize,
    /// Sessions whose end the service said it had decided.
    pub(crate) promised: BTreeSet<SessionId>,
    /// Sessions that credentials were handed out of.
    pub(crate) issued: BTreeSet<SessionId>,
    /// Each row when it was looked at last.
    pub(crate) seen: RefCell<BTreeMap<SessionId, Session>>,
}

impl System {
    pub(crate) fn world(&self) -> &World {
        &self.bench.world
    }

    /// The sessions, by their loans, which are known by the reason that was given.
    pub(crate) fn sessions(&self) -> BTreeMap<usize, Session> {
        let mut sessions = BTreeMap::new();
        for row in self.bench.world.rows() {
            let loan = row.reason.as_deref().and_then(|reason| reason.strip_prefix(REASON));
            let before = sessions.insert(loan.unwrap().parse().unwrap(), row);
            assert!(before.is_none(), "invariant 9: one request, several sessions: {before:?}");
        }
        sessions
    }

    fn session(&self, loan: usize) -> Option<Session> {
        self.sessions().remove(&loan)
    }

    /// Sends a command about a loan's session, if there is one; the answer must be one that the model allows.
    fn send(
        &self,
        state: &Reference,
        by: Who,
        loan: usize,
        command: (&str, &str),
        body: &Value,
    ) -> Option<(SessionId, Response)> {
        let id = self.session(loan)?.session_id;
        let (method, resource) = command;
        let answer = self.bench.service.send(&by.identity(), method, resource, id.as_str(), body);
        self.expect(state, by, answer.as_ref());
        answer.map(|answer| (id, answer))
    }

    /// Whether the registry says that somebody is a caller, and not suspended.
    fn is_known(&self, who: Who) -> bool {
        let entry = self.bench.world.entry(&who.identity().unique_id);
        entry.is_some_and(|entry| entry.suspended.is_none())
    }

    /// What is answered is what the model allows; and whatever happens, nobody is granted anything whom the registry does not know.
    #[track_caller]
    fn expect(&self, state: &Reference, by: Who, answer: Option<&Response>) {
        expect(state, answer);
        let granted = answer.is_some_and(|answer| answer.status < 300);
        assert!(!granted || by == Who::Administrator || self.is_known(by), "{by:?}: {answer:?}");
    }

    fn decide(&self, state: &Reference, by: Who, loan: usize, approve: bool) {
        let fence = || self.session(loan).map(|row| row.fence);
        let before = fence();
        let mut word = json!({"decision": if approve { "approve" } else { "deny" }});
        // Who says something of an extension names its end.
        let row = self.session(loan);
        if let Some(extension) = row.as_ref().and_then(Session::extension_awaiting) {
            word["extending_to"] = json!(extension.extending_to);
        }
        self.send(state, by, loan, ("POST", "/sessions/{id}/decision"), &word);
        let heard = approve && fence() != before;
        let owner = state.loans[loan].by;
        assert!(!heard || self.is_known(owner), "{owner:?} was approved, and is shut out");
    }

    fn ask(&self, state: &Reference, loan: usize) {
        let asked = &state.loans[loan];
        let mut body = json!({
            "client_request_id": format!("request-{loan}"), "duration_seconds": asked.hours * 3600, "reason": format!("{REASON}{loan}"),
        });
        // What is usual need not be said.
        if asked.grant == Grant::User {
            body["grant"] = json!(asked.grant);
        }
        let who = asked.by.identity();
        let answer = self.bench.service.send(&who, "POST", "/tiers/{tier}/sessions", asked.tier, &body);
        self.expect(state, asked.by, answer.as_ref());
    }

    fn issue(&mut self, state: &Reference, by: Who, loan: usize) {
        let Some(session) = self.session(loan) else { return };
        let id = session.session_id;
        let answer = self.bench.service.issue(&by.identity(), &id);
        self.expect(state, by, answer.as_ref());
        if answer.is_some_and(|answer| answer.status == 200) {
            // Whoever is in doubt of an earlier key removes it first; the key of this time is gone before the answer.
            let keys = self.bench.world.access_keys();
            assert!(!state.is_calm() || state.has_doubts_of_keys() || keys.is_empty(), "left: {keys:?}");
            self.issued.insert(id);
        }
    }

    fn extend(&self, state: &Reference, by: Who, loan: usize, seconds: i64) {
        let number = state.loans[loan].extension.number;
        let body = json!({
            "client_request_id": format!("extension-{loan}-{number}"), "duration_seconds": seconds,
        });
        self.send(state, by, loan, ("POST", "/sessions/{id}/extension"), &body);
    }

    fn revoke(&mut self, state: &Reference, by: Who, loan: usize) {
        let command = ("DELETE", "/sessions/{id}");
        let Some((id, answer)) = self.send(state, by, loan, command, &Value::Null) else { return };
        if answer.status < 300 && ["REVOKING", "REVOKED"].contains(&answer.body["state"].as_str().unwrap()) {
            self.promised.insert(id);
        }
    }

    /// What administrators do about a caller.
    fn administer(&self, state: &Reference, who: Who, method: &str, resource: &str) {
        let id = who.identity().unique_id;
        let records = || self.bench.world.audit(&format!("caller#{id}")).len();
        let before = records();
        let answer = self.bench.service.send(&administrator(), method, resource, &id, &Value::Null);
        expect(state, answer.as_ref());
        let changed = state.registered[&who].len() == 1 && state.answer == [true].into();
        assert!(!state.is_calm() || !changed || records() <= before + 1, "one change, several records");
    }

    fn register(&self, who: Who) -> Option<Response> {
        let Identity { unique_id, arn, .. } = who.identity();
        let roles = match who {
            Who::Ann => vec!["caller", "security", "approver"],
            Who::Bob => vec!["caller", "approver"],
            _ => vec!["caller"],
        };
        let tiers: BTreeMap<_, _> = HOURS.into();
        let body = json!({
            "arn": arn, "person": who.person(), "namespace": who.person(), "tiers": tiers, "roles": roles,
        });
        self.bench.service.send(&administrator(), "PUT", "/admin/callers/{id}", &unique_id, &body)
    }

    fn live(&mut self, state: &Reference, event: &Event) {
        const CALLER: &str = "/admin/callers/{id}";
        const SUSPENSION: &str = "/admin/callers/{id}/suspension";
        let world = self.bench.world.clone();
        match event {
            Event::Request { .. } => self.ask(state, state.loans.len() - 1),
            Event::Repeat { loan } => self.ask(state, *loan),
            Event::Issue { by, loan } => self.issue(state, *by, *loan),
            Event::Extend { by, loan, hours } => self.extend(state, *by, *loan, hours * 3600),
            Event::ExtendOnceMore { loan } => {
                let Loan { by, extension, .. } = &state.loans[*loan];
                self.extend(state, *by, *loan, extension.more);
            }
            Event::Decide { by, loan, approve } => self.decide(state, *by, *loan, *approve),
            Event::Review { by, loan } => {
                let words = json!({"comment": format!("looked at by {}", by.person())});
                self.send(state, *by, *loan, ("POST", "/sessions/{id}/review"), &words);
            }
            Event::Revoke { by, loan } => self.revoke(state, *by, *loan),
            Event::Remove(who) => self.administer(state, *who, "DELETE", CALLER),
            Event::Suspend(who) => self.administer(state, *who, "PUT", SUSPENSION),
            Event::Resume(who) => self.administer(state, *who, "DELETE", SUSPENSION),
            Event::Register(who) => expect(state, self.register(*who).as_ref()),
            Event::Publish(set) => expect(state, self.bench.service.publish(&tiers(*set)).as_ref()),
            Event::Listen(heard) => world.set_subscribers(u64::from(*heard)),
            Event::Sweep => drop(self.bench.service.sweep()),
            Event::Fault { ahead, fault, lasting } => {
                let number = world.calls().len() + ahead;
                if *lasting && !fault.is_late() {
                    world.fail_from_call(number, *fault);
                } else {
                    world.fail_call(number, *fault);
                }
            }
            Event::AllIsWell => world.clear_faults(),
            Event::Settle => {
                world.clear_faults();
                self.bench.run_until(moment(state.now));
                self.bench.sweep();
                self.bench.assert_settled(&"settled");
                invariants::callers_are_known(self);
            }
            Event::Wait(_) => {}
            Event::LoseWorkflows => self.bench.workflows.stop_all(),
            Event::DeletePrincipal { loan } => {
                if let Some(row) = self.session(*loan) {
                    world.remove_role(row.role_name.as_str());
                    world.remove_user(row.role_name.as_str());
                }
            }
            Event::MakeRole => {
                self.strays += 1;
                let name = format!("sorry-sue-developer-stray{}", self.strays);
                world.plant_role(Role::new("/sorry/session/sue/", &name));
            }
        }
        self.bench.run_until(moment(state.now));
    }
}

/// Where a session stands, as the model says it.
pub(crate) fn stands(row: Option<&Session>) -> Stands {
    let Some(row) = row else { return Stands::Absent };
    let cause = row.end.as_ref().map(|end| match end.cause {
        EndCause::Expired => Cause::Expired,
        EndCause::Revoked => Cause::Revoked,
        EndCause::Denied => Cause::Denied,
        EndCause::Failed => Cause::Failed,
    });
    match (row.state, cause) {
        (State::PendingApproval, None) => Stands::Awaiting,
        (State::Requested | State::Provisioning, None) => Stands::Granting,
        (State::Active, None) => Stands::Active,
        (state, Some(cause)) if state.is_over() => Stands::Over(cause),
        (state, Some(cause)) if state.is_ending() => Stands::Ending(cause),
        (state, cause) => panic!("{state} with {cause:?}"),
    }
}

/// What a loan is asked for, with its number.
const REASON: &str = "the model's loan ";

/// While all is calm, what the rules say is what is answered.
#[track_caller]
fn expect(state: &Reference, answer: Option<&Response>) {
    if !state.is_calm() || state.answer.len() != 1 {
        return;
    }
    let answer = answer.expect("nothing dies while all is calm");
    let granted = answer.status < 300;
    assert_eq!(granted, state.answer.contains(&true), "{answer:?}");
    assert!(granted || (400..500).contains(&answer.status), "{answer:?}");
    figures(|figures| if granted { figures.granted += 1 } else { figures.refused += 1 });
}

impl StateMachineTest for System {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(_: &Reference) -> Self {
        let bench = Bench::new();
        bench.world.land_after(LATE);
        // The reference has the clock: a sweep that AWS throttles takes none of its time.
        bench.world.make_pauses_instant();
        let system = Self {
            bench,
            strays: 0,
            promised: BTreeSet::new(),
            issued: BTreeSet::new(),
            seen: RefCell::default(),
        };
        system.bench.world.aside(|_| {
            for who in Who::CALLERS {
                let answer = system.register(who).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
        system
    }

    fn apply(mut system: Self, state: &Reference, event: Event) -> Self {
        figures(|figures| figures.note(&event));
        system.live(state, &event);
        system
    }

    fn check_invariants(system: &Self, state: &Reference) {
        invariants::hold(system, state);
    }

    fn teardown(mut system: Self, mut state: Reference) {
        // The end of all windows, and all is well.
        for event in [Event::Settle, Event::Wait(9 * 3600), Event::Settle] {
            state = Reference::apply(state, &event);
            system.live(&state, &event);
            Self::check_invariants(&system, &state);
        }
        invariants::nothing_is_left(&system);
        for row in system.bench.world.rows() {
            figures(|figures| *figures.ends.entry(row.state).or_default() += 1);
        }
    }
}
