//! Lives that nobody thought of: random requests, revocations, faults, lost workflows, jumps of time and sweeps, in any order. After
//! each step no invariant may be broken, and once all is well again everything must have come to its right end. The same lives in
//! every run: the random numbers are fixed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::{collections::BTreeMap, fmt};

use harness::{Bench, GRACE, sue};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;
use sorry_policy::{Grant, SessionId};
use sorry_session::State;
use sorry_testkit::{Fault, Role};

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Request {
        tier: &'static str,
    },
    /// The same request once more.
    Repeat,
    Revoke {
        which: usize,
    },
    /// Asks for credentials that the service hands out.
    Issue {
        which: usize,
    },
    Sweep,
    Wait {
        seconds: i64,
    },
    /// Some call soon fails, and with it perhaps all later ones to its port.
    Fault {
        ahead: usize,
        fault: Fault,
        lasting: bool,
    },
    AllIsWell,
    LoseWorkflow {
        which: usize,
    },
    /// A person deletes the role or user of a session.
    DeleteRole {
        which: usize,
    },
    /// A person makes a role where none should be.
    MakeRole,
}

fn event() -> impl Strategy<Value = Event> {
    let tier = prop::sample::select(vec!["developer", "read-only", "read-only+user", "break-glass"]);
    let fault = prop::sample::select(Fault::ALL.to_vec());
    prop_oneof![
        4 => tier.prop_map(|tier| Event::Request { tier }),
        1 => Just(Event::Repeat),
        3 => (0..4_usize).prop_map(|which| Event::Revoke { which }),
        3 => (0..4_usize).prop_map(|which| Event::Issue { which }),
        3 => Just(Event::Sweep),
        3 => (0..40_i64).prop_map(|seconds| Event::Wait { seconds }),
        2 => (40..400_i64).prop_map(|seconds| Event::Wait { seconds }),
        1 => (3000..4200_i64).prop_map(|seconds| Event::Wait { seconds }),
        6 => (0..24_usize, fault, any::<bool>()).prop_map(|(ahead, fault, lasting)| Event::Fault { ahead, fault, lasting }),
        3 => Just(Event::AllIsWell),
        1 => (0..4_usize).prop_map(|which| Event::LoseWorkflow { which }),
        1 => (0..4_usize).prop_map(|which| Event::DeleteRole { which }),
        1 => Just(Event::MakeRole),
    ]
}

/// A life, and what was promised in it.
struct Life {
    bench: Bench,
    requests: usize,
    strays: usize,
    /// Whether a write is late: what is promised is promised for one at a time.
    late: bool,
    /// Sessions that were accepted, and whether the service said that they are being revoked.
    promised: BTreeMap<SessionId, bool>,
}

impl Life {
    fn new() -> Self {
        let bench = Bench::new();
        bench.world.land_after(GRACE - 60);
        Self { bench, requests: 0, strays: 0, late: false, promised: BTreeMap::new() }
    }

    fn which(&self, which: usize) -> Option<SessionId> {
        let rows = self.bench.world.rows();
        rows.get(which % rows.len().max(1)).map(|row| row.session_id.clone())
    }

    fn ask(&mut self, tier: &str) {
        let response = self.bench.service.request(tier, &format!("request-{}", self.requests));
        let Some(body) = response.filter(|response| response.status == 202).map(|response| response.body)
        else {
            return;
        };
        self.promised.entry(id_in(&body)).or_default();
    }

    fn live(&mut self, event: &Event) {
        let world = self.bench.world.clone();
        match event {
            Event::Request { tier } => {
                self.requests += 1;
                self.ask(tier);
            }
            Event::Repeat => self.ask("developer"),
            Event::Revoke { which } => {
                let Some(id) = self.which(*which) else { return };
                let response = self.bench.service.revoke(&id);
                if let Some(response) = response.filter(|response| response.status < 300) {
                    let revoking =
                        ["REVOKING", "REVOKED"].contains(&response.body["state"].as_str().unwrap());
                    *self.promised.entry(id).or_default() |= revoking;
                }
            }
            Event::Issue { which } => {
                let Some(id) = self.which(*which) else { return };
                let promised = self.promised.get(&id).copied().unwrap_or_default();
                let answer = self.bench.service.issue(&sue(), &id);
                let lent = answer.is_some_and(|answer| answer.status == 200);
                assert!(!(lent && promised), "credentials of a session that is revoked");
            }
            Event::Sweep => drop(self.bench.service.sweep()),
            Event::Wait { seconds } => self.bench.run_for(*seconds),
            Event::Fault { ahead, fault, lasting } => {
                let number = world.calls().len() + ahead;
                if *fault == Fault::AppliedLate {
                    if !std::mem::replace(&mut self.late, true) {
                        world.fail_call(number, *fault);
                    }
                } else if *lasting {
                    world.fail_from_call(number, *fault);
                } else {
                    world.fail_call(number, *fault);
                }
            }
            Event::AllIsWell => world.clear_faults(),
            Event::LoseWorkflow { which } => {
                let names: Vec<_> = self
                    .bench
                    .workflows
                    .executions()
                    .iter()
                    .map(|execution| execution.name.clone())
                    .collect();
                if let Some(name) = names.get(which % names.len().max(1)) {
                    self.bench.workflows.stop(name);
                }
            }
            // A creation still on its way would make the role anew, and empty: safe, and not what is meant here.
            Event::DeleteRole { .. } if world.has_late_writes() => {}
            Event::DeleteRole { which } => {
                if let Some(row) = self.which(*which).and_then(|id| world.row(&id)) {
                    match row.grant {
                        Grant::User => world.remove_user(row.role_name.as_str()),
                        Grant::Role => world.remove_role(row.role_name.as_str()),
                        // Nobody deletes what stands: it is the deployment's.
                        Grant::Standing => {}
                    }
                }
            }
            Event::MakeRole => {
                // More than a few at once, and the sweep holds, as it should.
                if self.strays < 3 {
                    self.strays += 1;
                    world.plant_role(Role::new(
                        "/sorry/session/sue/",
                        &format!("sorry-sue-developer-stray{}", self.strays),
                    ));
                }
            }
        }
    }

    fn assert_well(&self, label: &dyn fmt::Display) {
        let violations = self.bench.world.violations();
        assert!(violations.is_empty(), "{label}: {violations:#?}");
    }

    fn end(mut self) -> BTreeMap<State, usize> {
        self.bench.settle();
        self.bench.assert_settled(&"when all was well again");
        let last = self.bench.world.rows().iter().map(|row| row.expires_at).max();
        if let Some(last) = last {
            self.bench.run_until(last);
        }
        self.bench.settle();
        self.bench.assert_settled(&"in the end");
        assert!(self.bench.world.session_role_names().is_empty());
        assert!(self.bench.world.rows().len() <= self.requests + 1);
        let mut ends = BTreeMap::new();
        for (id, revoked) in &self.promised {
            let row = self.bench.world.row(id).expect("an accepted session has a row");
            assert!(row.state.is_over());
            assert!(!revoked || row.state == State::Revoked, "a promised revocation came to {}", row.state);
            *ends.entry(row.state).or_default() += 1;
        }
        ends
    }
}

fn id_in(body: &Value) -> SessionId {
    serde_json::from_value(body["session_id"].clone()).unwrap()
}

#[test]
fn no_life_breaks_an_invariant() {
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let ends = std::cell::RefCell::new(BTreeMap::<State, usize>::new());
    let result = runner.run(&prop::collection::vec(event(), 1..40), |events| {
        let mut life = Life::new();
        for (step, event) in events.iter().enumerate() {
            life.live(event);
            life.assert_well(&format_args!("step {step}, {event:?}"));
        }
        for (state, count) in life.end() {
            *ends.borrow_mut().entry(state).or_default() += count;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let ends = ends.into_inner();
    println!("ends: {ends:?}");
    assert!(
        [State::Revoked, State::Expired, State::Failed].iter().all(|state| ends.contains_key(state)),
        "{ends:?}"
    );
}
