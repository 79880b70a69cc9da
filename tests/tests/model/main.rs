//! The service against an abstract model (`reference.rs`): random commands of several people, faults, late arrivals, lost workflows,
//! jumps of time, sweeps, in any order. The real API, steps and state machine run in `crates/testkit`'s world. After each step every
//! session is where the model says that it may be, and no invariant of the design is broken; in the end all have come to their right
//! end. The same lives in every run: the random numbers are fixed. `SORRY_MODEL_CASES` gives another number of them.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod reference;

use std::{cell::RefCell, collections::BTreeMap};

use harness::{Bench, GRACE, administrator, edited_tiers, sue};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::{Cause, Event, HOURS, LATE, Reference, Stands, Who};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_policy::{SessionId, TierSet};
use sorry_session::{EndCause, Identity, Session, State};
use sorry_testkit::{Fault, Role, moment};

impl Who {
    fn identity(self) -> Identity {
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

/// What was looked at, over all lives.
#[derive(Debug, Default)]
struct Figures {
    steps: usize,
    /// Sessions compared with the model while they could be in one state only.
    exact: BTreeMap<Stands, usize>,
    /// Those that could be in several, by how many.
    open: BTreeMap<usize, usize>,
    /// Commands that the model knew the answer of, by that.
    granted: usize,
    refused: usize,
    ends: BTreeMap<State, usize>,
}

thread_local! {
    static FIGURES: RefCell<Figures> = RefCell::default();
}

fn figures(note: impl FnOnce(&mut Figures)) {
    FIGURES.with_borrow_mut(note);
}

/// The service in its world, and what it promised.
struct System {
    bench: Bench,
    strays: usize,
    /// Sessions whose end the service said it had decided.
    promised: Vec<SessionId>,
}

impl System {
    /// The session of a loan, known by the reason that was given.
    fn session(&self, loan: usize) -> Option<Session> {
        let mut rows = self.bench.world.rows();
        rows.retain(|row| row.reason.as_deref() == Some(reason(loan).as_str()));
        assert!(rows.len() <= 1, "invariant 9: one request, {} sessions", rows.len());
        rows.pop()
    }

    fn stands(&self, loan: usize) -> Stands {
        let Some(row) = self.session(loan) else { return Stands::Absent };
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

    fn ask(&self, state: &Reference, loan: usize) {
        let asked = &state.loans[loan];
        let body = json!({
            "client_request_id": format!("request-{loan}"), "duration_seconds": asked.hours * 3600, "reason": reason(loan),
        });
        let who = asked.by.identity();
        let answer = self.bench.service.send(&who, "POST", "/tiers/{tier}/sessions", asked.tier, &body);
        expect(state, &asked.answer, answer.as_ref());
    }

    fn revoke(&mut self, state: &Reference, by: Who, loan: usize) {
        let Some(session) = self.session(loan) else { return };
        let id = session.session_id;
        let answer =
            self.bench.service.send(&by.identity(), "DELETE", "/sessions/{id}", id.as_str(), &Value::Null);
        expect(state, &state.may_revoke(by, &state.loans[loan]), answer.as_ref());
        if let Some(answer) = answer.filter(|answer| answer.status < 300)
            && ["REVOKING", "REVOKED"].contains(&answer.body["state"].as_str().unwrap())
        {
            self.promised.push(id);
        }
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

    /// Whoever has a session is registered.
    fn assert_registered(&self) {
        let callers =
            self.bench.service.send(&administrator(), "GET", "/admin/callers", "", &Value::Null).unwrap();
        let known = callers.body["callers"].as_array().unwrap();
        for row in self.bench.world.rows().iter().filter(|row| row.state == State::Active) {
            let id = &row.caller.unique_id;
            assert!(
                known.iter().any(|caller| caller["unique_id"] == *id),
                "{id} is gone, {} is not",
                row.session_id
            );
        }
    }

    fn live(&mut self, state: &Reference, event: &Event) {
        let world = self.bench.world.clone();
        match event {
            Event::Request { .. } => self.ask(state, state.loans.len() - 1),
            Event::Repeat { loan } => self.ask(state, *loan),
            Event::Revoke { by, loan } => self.revoke(state, *by, *loan),
            Event::Decide { by, loan, approve } => {
                if let Some(row) = self.session(*loan) {
                    let word = json!({"decision": if *approve { "approve" } else { "deny" }});
                    let id = row.session_id.as_str();
                    let answer =
                        self.bench.service.send(&by.identity(), "POST", "/sessions/{id}/decision", id, &word);
                    let allowed = state.may_decide(*by, &state.loans[*loan]);
                    if !allowed.contains(&true) {
                        expect(state, &allowed, answer.as_ref());
                    }
                }
            }
            Event::Remove(who) => {
                let id = who.identity().unique_id;
                self.bench.service.send(&administrator(), "DELETE", "/admin/callers/{id}", &id, &Value::Null);
            }
            Event::Register(who) => expect(state, &state.may_register(), self.register(*who).as_ref()),
            Event::Publish(set) => {
                let answer = self.bench.service.publish(&tiers(*set));
                expect(state, &[true].into(), answer.as_ref());
            }
            Event::Listen(heard) => world.set_subscribers(u64::from(*heard)),
            Event::Sweep => drop(self.bench.service.sweep()),
            Event::Fault { ahead, fault, lasting } => {
                let number = world.calls().len() + ahead;
                if *lasting && *fault != Fault::AppliedLate {
                    world.fail_from_call(number, *fault);
                } else {
                    world.fail_call(number, *fault);
                }
            }
            Event::AllIsWell => world.clear_faults(),
            Event::Settle => {
                world.clear_faults();
                self.bench.run_for(GRACE);
                self.bench.sweep();
                self.bench.run_until(moment(state.now));
                self.bench.sweep();
                self.bench.assert_settled(&"settled");
                self.assert_registered();
            }
            Event::Wait(_) => {}
            Event::LoseWorkflows => self.bench.workflows.stop_all(),
            Event::DeleteRole { loan } => {
                if let Some(row) = self.session(*loan) {
                    world.remove_role(row.role_name.as_str());
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

fn reason(loan: usize) -> String {
    format!("loan {loan} of the model")
}

/// While all is calm, what the rules say is what is answered.
#[track_caller]
fn expect(state: &Reference, allowed: &std::collections::BTreeSet<bool>, answer: Option<&Response>) {
    if !state.is_calm() || allowed.len() != 1 {
        return;
    }
    let answer = answer.expect("nothing dies while all is calm");
    let granted = answer.status < 300;
    assert_eq!(granted, allowed.contains(&true), "{answer:?}");
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
        let system = Self { bench, strays: 0, promised: Vec::new() };
        system.bench.world.aside(|_| {
            for who in Who::CALLERS {
                let answer = system.register(who).unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
        system
    }

    fn apply(mut system: Self, state: &Reference, event: Event) -> Self {
        system.live(state, &event);
        system
    }

    fn check_invariants(system: &Self, state: &Reference) {
        let world = &system.bench.world;
        assert_eq!(sorry_session::ports::Clock::now(world), moment(state.now));
        // The world looks at itself after each call: invariants 2, 3, 4, 5 and 7 at every moment.
        let violations = world.violations();
        assert!(violations.is_empty(), "{violations:#?}");
        figures(|figures| figures.steps += 1);
        for (index, loan) in state.loans.iter().enumerate() {
            let stands = system.stands(index);
            assert!(
                loan.may_be.contains(&stands),
                "loan {index} is {stands:?}, and may be {:?}",
                loan.may_be
            );
            figures(|figures| match loan.may_be.len() {
                1 => *figures.exact.entry(stands).or_default() += 1,
                several => *figures.open.entry(several).or_default() += 1,
            });
            let Some(row) = system.session(index) else { continue };
            let id = &row.session_id;
            // Invariant 1: it is the signer's, whatever a body says.
            assert_eq!(row.caller.unique_id, loan.by.identity().unique_id);
            // Invariant 2, now and for all later moments.
            assert!(!world.access(id, row.expires_at.max(moment(state.now))), "access past the end of {id}");
            // Invariant 5: nothing undoes a revocation.
            if system.promised.contains(id) {
                assert!(
                    matches!(stands, Stands::Ending(Cause::Revoked) | Stands::Over(Cause::Revoked)),
                    "{stands:?}"
                );
            }
            // Invariant 7: a record for each change.
            let audit = world.audit(id.as_str());
            assert!(
                audit.iter().map(|record| record.sequence).eq(1..=row.fence),
                "the audit of {id} has gaps"
            );
            // Invariant 10: ACTIVE is said when it can be used, unless a person has deleted its role since.
            if loan.may_be == [Stands::Active].into() && moment(state.now) < row.expires_at {
                let named = |role: &Role| role.name == row.role_name.as_str();
                let there = world.roles().iter().chain(&world.standing_roles()).any(named);
                assert_eq!(world.usable(id, moment(state.now)), there);
            }
        }
    }

    fn teardown(mut system: Self, mut state: Reference) {
        // The end of all windows, and all is well.
        for event in [Event::Settle, Event::Wait(5 * 3600), Event::Settle] {
            state = Reference::apply(state, &event);
            system.live(&state, &event);
            Self::check_invariants(&system, &state);
        }
        assert!(system.bench.world.session_role_names().is_empty());
        for row in system.bench.world.rows() {
            assert!(row.state.is_over());
            figures(|figures| *figures.ends.entry(row.state).or_default() += 1);
        }
    }
}

#[test]
fn every_life_is_one_that_the_model_allows() {
    let cases = std::env::var("SORRY_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config.clone(), random);
    let result = runner.run(&Reference::sequential_strategy(1..40), |(state, events, seen)| {
        System::test_sequential(config.clone(), state, events, seen);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let figures = FIGURES.take();
    println!("{cases} lives: {figures:#?}");
    let certain: usize = figures.exact.values().sum();
    let open: usize = figures.open.values().sum();
    assert!(certain > open, "the model knows too little to be worth anything");
    for stands in
        [Stands::Absent, Stands::Awaiting, Stands::Active].into_iter().chain(CAUSES.map(Stands::Over))
    {
        assert!(figures.exact.contains_key(&stands), "no session surely was {stands:?}");
    }
    assert!(figures.granted > 0 && figures.refused > 0);
}

const CAUSES: [Cause; 4] = [Cause::Expired, Cause::Revoked, Cause::Denied, Cause::Failed];
