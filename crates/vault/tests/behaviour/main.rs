//! Whole vaults: made and opened by this and by an independent implementation, with real and with scripted agents, damaged in every
//! way, and written by processes that are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod agents;
mod cache;
mod common;
mod damage;
mod fake_agent;
mod independent;
mod key_files;
mod slots;
mod store;
mod vectors;
