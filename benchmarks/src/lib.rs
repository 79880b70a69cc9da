//! What users feel and what operators pay, measured: `make bench`.
//!
//! The parts measure and give numbers ([`results::Results`]), which are kept in `benchmarks/results.json`; [`document::render`] makes
//! `docs/benchmarks.md` of them and of nothing else, so that the document can be checked against the numbers. Nothing here asserts a
//! time: a noisy machine must not fail a test. What must not grow is counted, in calls (`tests/tests/end_to_end/calls.rs`) and in
//! instructions ([`instructions`]).
//!
//! | module | what it measures |
//! |---|---|
//! | [`command_line`] | `sorry` as whole processes, beside what people use instead |
//! | [`functions`] | a function's start and its overhead, against the [`runtime_api`] in here |
//! | [`path`] | from a request to credentials that work, and from a revocation to their end; the calls of each operation |
//! | [`scale`] | lists, sweeps and clean-ups with many rows and principals |
//! | [`instructions`] | the pure hot paths, without a clock |
//! | [`paper`] | what follows for real AWS, from published numbers |

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a measurement that cannot be made ends the run, and says why; clocks and the environment are its business"
)]

pub mod budgets;
pub mod command_line;
pub mod document;
pub mod functions;
pub mod instructions;
pub mod machine;
pub mod measured;
pub mod paper;
pub mod path;
pub mod results;
pub mod runtime_api;
pub mod scale;
pub mod statistics;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Enough for numbers that mean something.
    Full,
    /// Enough to see that everything runs.
    Quick,
}

impl Depth {
    /// One of two numbers.
    pub fn choose<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
