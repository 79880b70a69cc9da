//! The world in memory: every port of the domain over one shared state, with faults on demand, and a small interpreter of the
//! deployed state machine. With it a test can fail, lose, delay or interrupt any single call of a whole life of a session, and look
//! at what is left.
//!
//! - [`World`] is AWS as the domain sees it: the tables, IAM, the bus, the topic, the clock. It judges while it works: whatever
//!   breaks an invariant of the design at any moment is kept in [`World::violations`].
//! - [`Fault`] is what can go wrong with a call.
//! - [`StateMachine`] reads `infrastructure/session.asl.json`, [`Simulation`] runs its executions against the world's clock; what
//!   the functions do comes from whoever uses it, as [`Functions`].
//!
//! Not for: how AWS itself behaves in detail (the end-to-end tests look at that) and anything that is deployed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test harness: a panic in here is a test that fails, and says why"
)]

mod audit;
mod executor;
mod fault;
mod iam;
mod outside;
mod simulation;
mod state_machine;
mod store;
mod tiers;
mod tokens;
mod users;
mod world;

pub use executor::{block_on, interleave};
pub use fault::{Call, Fault};
pub use iam::Role;
pub use outside::Start;
pub use simulation::{Execution, Outcome, Simulation};
pub use state_machine::{FunctionError, Functions, StateMachine};
pub use world::{World, moment};
