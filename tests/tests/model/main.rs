//! The service against an abstract model (`reference.rs`): random commands of several people, faults, late arrivals, lost workflows,
//! jumps of time, sweeps, in any order. The real API, steps and state machine run in `crates/testkit`'s world. After each step every
//! session is where the model says that it may be, and no invariant of the design is broken (`invariants.rs`); in the end all have
//! come to their right end. The same lives in every run: the random numbers are fixed. `SORRY_MODEL_CASES` gives another number of
//! them.
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

mod events;
mod invariants;
mod loan;
mod reference;
mod rules;
mod system;
mod time;

use std::{cell::RefCell, collections::BTreeMap};

use events::Event;
use loan::{Cause, Stands};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};
use reference::Reference;
use sorry_session::State;
use system::System;

/// What was looked at, over all lives.
#[derive(Debug, Default)]
struct Figures {
    steps: usize,
    events: BTreeMap<String, usize>,
    /// Sessions compared with the model while they could be in one state only.
    exact: BTreeMap<Stands, usize>,
    /// Those that could be in several, by how many.
    open: BTreeMap<usize, usize>,
    /// Commands that the model knew the answer of, by that.
    granted: usize,
    refused: usize,
    /// Looks at ACTIVE sessions that were extended, those with an approval apart.
    extended: usize,
    extended_with_approval: usize,
    /// Looks at ACTIVE sessions of the standing role while another of its sessions is ended on it.
    beside_revoked: usize,
    /// Looks at reviews, and at sessions of who is shut out.
    reviews_open: usize,
    reviews_closed: usize,
    shut_out: usize,
    ends: BTreeMap<State, usize>,
}

impl Figures {
    fn note(&mut self, event: &Event) {
        let name: String = format!("{event:?}").chars().take_while(char::is_ascii_alphabetic).collect();
        *self.events.entry(name).or_default() += 1;
    }
}

thread_local! {
    static FIGURES: RefCell<Figures> = RefCell::default();
}

fn figures(note: impl FnOnce(&mut Figures)) {
    FIGURES.with_borrow_mut(note);
}

#[test]
fn every_life_is_one_that_the_model_allows() {
    let cases = std::env::var("SORRY_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config.clone(), random);
    let result = runner.run(&Reference::sequential_strategy(1..50), |(state, events, seen)| {
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
    for looks in [
        figures.granted,
        figures.refused,
        figures.extended,
        figures.extended_with_approval,
        figures.beside_revoked,
        figures.reviews_open,
        figures.reviews_closed,
        figures.shut_out,
    ] {
        assert!(looks > 0, "something was never looked at");
    }
}

const CAUSES: [Cause; 4] = [Cause::Expired, Cause::Revoked, Cause::Denied, Cause::Failed];
