//! The parts of the project, held to each other: template, functions, workflow, API document, error codes, environment variables,
//! limits of time. Nothing runs here but `infrastructure/assemble.py` and the linter of policies; each test reads two places that must
//! say the same, and its message says which one to change.
//!
//! Not for: what `cfn-lint` and the end-to-end tests see. What a local AWS cannot show is in `deployment`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests: a panic in here is a test that fails, and says why"
)]

mod access;
mod api;
mod deployment;
mod environment;
mod errors;
mod functions;
#[path = "../harness/mod.rs"]
mod harness;
mod operations;
mod policies;
mod project;
mod schema;
mod schemas;
mod timing;
mod workflow;
mod workspace;
