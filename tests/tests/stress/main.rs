//! The whole system under more than it likes: everything on the way to AWS going wrong by chance, the local AWS gone and back in the
//! middle, a thousand sessions. What is judged is the local AWS itself.
//!
//! These tests need the machine for themselves; `.config/nextest.toml` sees to it. Their figures are printed, and written to
//! `target/reports`.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests: what should not happen ends the test"
)]

mod chaos;
mod crowd;
mod judgement;
mod keys;
mod loan;
mod restart;
mod scale;

use std::{fmt::Write as _, fs};

/// Prints a report, and keeps it.
fn report(name: &str, lines: &[(&str, String)]) {
    let mut text = String::new();
    for (what, value) in lines {
        writeln!(text, "{what:<44} {value}").unwrap();
    }
    println!("{text}");
    let folder = sorry_tests::project().join("target/reports");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), text).unwrap();
}
