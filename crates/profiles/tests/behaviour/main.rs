//! What a person's files look like after whole operations, beside other writers, and after a crash.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod common;
mod crash;
mod files;
mod process;
mod writers;
