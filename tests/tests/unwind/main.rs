//! Every call that granting, issuing, extending, expiry, revocation and the sweep make, each going wrong in every way: afterwards nothing
//! is left behind, nothing gives access that should not, and every row says what happened. The calls are not listed here: each test
//! records them in a run without faults, so a new call is covered without anyone remembering.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod beside;
mod cases;
mod ending;
mod extending;
mod granting;
mod issuing;
mod sweeping;

use std::collections::BTreeMap;

use cases::Recorded;

/// Every operation of a session's life, for every grant that has it.
fn recorded() -> Vec<Recorded> {
    let mut all = Vec::from(granting::recorded());
    all.extend(issuing::recorded());
    all.extend(extending::recorded());
    all.extend(extending::recorded_late());
    all.extend(ending::recorded_expiries());
    all.extend(ending::recorded_revocations());
    all.extend(sweeping::recorded());
    all
}

/// Which operations there are for which grant, and how many cases that makes: each is run by the test of its operation, which goes by
/// the same recordings.
#[test]
fn every_operation_has_cases_for_every_grant_that_has_it() {
    let mut cases: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for recorded in recorded() {
        let grant = match &recorded.about {
            about if about.contains("+user") => "user",
            about if about.starts_with("break-glass") => "standing",
            _ => "role",
        };
        *cases.entry((recorded.operation, grant)).or_default() += recorded.cases().len();
    }
    for ((operation, grant), count) in &cases {
        println!("{operation}, {grant}: {count} cases");
    }
    let all: usize = cases.values().sum();
    println!("in all: {all} cases");
    assert!(all > 24_000, "ARCHITECTURE.md says so, and {all} are fewer");
    for operation in
        ["granting", "issuing", "extending", "extending in the last moment", "expiry", "revocation", "sweep"]
    {
        for grant in ["role", "user", "standing"] {
            let count = cases.remove(&(operation, grant)).unwrap_or_default();
            // A role is assumed by its owner, and a standing role's session is asked for again: tests of their own.
            let none = operation.starts_with("issuing") && grant == "role"
                || operation.starts_with("extending") && grant == "standing";
            assert_eq!(count == 0, none, "{operation}, {grant}: {count} cases");
        }
    }
    assert!(cases.is_empty(), "{cases:?}");
}
