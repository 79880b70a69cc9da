//! Tiers, boundaries, trust and the gateway's policy, as they are deployed, before two independent judges: an IAM simulator, and
//! the local AWS with credentials that `sorry` vended. The cases stand in `policy_templates/cases`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

mod cases;
mod deployed;
mod questions;
mod resources;
mod revoked;
mod simulated;
mod simulator;
mod users;
mod vended;

use std::time::Duration;

/// Longest that anything here may take to come about on two busy cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// All tiers.
const TIERS: [&str; 4] = ["read-only", "developer", "admin", "break-glass"];
