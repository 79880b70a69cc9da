//! Every operation of the API that changes something, for every tier it can be about: each call that it makes, its workflow included,
//! fails in each way. Whatever was answered, afterwards all is settled; what was accepted is done, and what was not can be asked for
//! again, and then is. The calls are recorded, the tiers are those that are built in, and the table is held to the API document: a new
//! call, a new tier with its grant, and a new operation are covered, or missed, without anyone remembering.
//!
//! `unwind` looks closer at granting, ending and extending: faults that last, exact ends, interleavings.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use harness::{Bench, LONGEST_WORKFLOW, administrator, edited_tiers, faults, sue};
use serde_json::{Value, json};
use sorry_api::Response;
use sorry_policy::{SessionId, Tier, TierName, TierSet, TierTable};
use sorry_session::{Identity, Session, State, ports::Clock};
use sorry_testkit::Role;

/// What there is before an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// No session.
    Nothing,
    /// A session that was asked for: ACTIVE, or waiting for its approval.
    Asked,
    /// A session that is ACTIVE.
    Granted,
    /// A session that is over, of which credentials were given where the service gives them.
    Over,
    /// A caller who is suspended.
    Suspended,
    /// More roles than could be an accident that no session owns: the sweep holds.
    Held,
}

/// One operation.
struct Scenario {
    /// As the API document names it.
    operation: &'static str,
    what: &'static str,
    before: Before,
    send: fn(&Bench, &str) -> Option<Response>,
    /// What must be true when it was accepted and all has settled.
    done: fn(&Bench) -> bool,
}

/// A tier for what is about none.
const ANY_TIER: &str = "developer";

const SCENARIOS: [Scenario; 13] = [
    Scenario {
        operation: "POST /tiers/{tier}/sessions",
        what: "request",
        before: Before::Nothing,
        send: |bench, tier| bench.service.request(tier, "request-1"),
        done: |bench| bench.session().is_some(),
    },
    Scenario {
        operation: "DELETE /sessions/{id}",
        what: "revoke",
        before: Before::Asked,
        send: |bench, _| bench.service.revoke(&id(bench)),
        done: |bench| session(bench).state == State::Revoked,
    },
    Scenario {
        operation: "POST /sessions/{id}/decision",
        what: "approve",
        before: Before::Asked,
        send: |bench, _| decide(bench, "approve"),
        // One whose workflow could not be started fails, and says so.
        done: |bench| [State::Active, State::Failed].contains(&session(bench).state),
    },
    Scenario {
        operation: "POST /sessions/{id}/decision",
        what: "deny",
        before: Before::Asked,
        send: |bench, _| decide(bench, "deny"),
        done: |bench| session(bench).state == State::Denied,
    },
    Scenario {
        operation: "POST /sessions/{id}/review",
        what: "review",
        before: Before::Over,
        send: |bench, _| {
            let comment = json!({"comment": "it was an emergency indeed"});
            bench.service.send(&other(), "POST", "/sessions/{id}/review", id(bench).as_str(), &comment)
        },
        done: |bench| session(bench).review.is_some_and(|review| review.closed.is_some()),
    },
    Scenario {
        operation: "POST /sessions/{id}/extension",
        what: "extend",
        before: Before::Granted,
        send: |bench, _| bench.service.extend(&id(bench), 1800),
        // What comes of one is looked at in `unwind`.
        done: |bench| session(bench).state == State::Active,
    },
    Scenario {
        operation: "POST /sessions/{id}/credentials",
        what: "issue",
        before: Before::Granted,
        send: |bench, _| bench.service.issue(&sue(), &id(bench)),
        done: |bench| {
            let session = session(bench);
            let handed_out = session.issue.as_ref().is_some_and(|issue| issue.count > 0);
            handed_out && bench.world.access(&session.session_id, bench.world.now())
        },
    },
    Scenario {
        operation: "PUT /admin/callers/{id}",
        what: "register",
        before: Before::Nothing,
        send: |bench, _| {
            let entry = json!({
                "arn": "arn:aws:iam::123456789012:user/sorry/caller/bob", "person": "bob", "namespace": "bob",
                "tiers": {"developer": 8},
            });
            bench.service.send(&administrator(), "PUT", "/admin/callers/{id}", BOB, &entry)
        },
        done: |bench| caller(bench, BOB).is_some(),
    },
    Scenario {
        operation: "DELETE /admin/callers/{id}",
        what: "remove",
        before: Before::Granted,
        send: |bench, _| administer(bench, "DELETE", "/admin/callers/{id}"),
        done: |bench| caller(bench, &sue().unique_id).is_none() && session(bench).state == State::Revoked,
    },
    Scenario {
        operation: "PUT /admin/callers/{id}/suspension",
        what: "suspend",
        before: Before::Granted,
        send: |bench, _| administer(bench, "PUT", "/admin/callers/{id}/suspension"),
        done: |bench| is_suspended(bench) && session(bench).state == State::Revoked,
    },
    Scenario {
        operation: "DELETE /admin/callers/{id}/suspension",
        what: "take back",
        before: Before::Suspended,
        send: |bench, _| administer(bench, "DELETE", "/admin/callers/{id}/suspension"),
        done: |bench| !is_suspended(bench),
    },
    Scenario {
        operation: "PUT /admin/tiers",
        what: "publish",
        before: Before::Nothing,
        send: |bench, _| bench.service.publish(&edited_tiers()),
        done: |bench| bench.world.tiers_in_force().is_some(),
    },
    Scenario {
        operation: "PUT /admin/sweep/confirmation",
        what: "confirm",
        before: Before::Held,
        send: |bench, _| bench.service.confirm_sweep(),
        done: |bench| bench.world.session_role_names().is_empty(),
    },
];

const BOB: &str = "AIDA0000000000000BOB";

fn session(bench: &Bench) -> Session {
    bench.session().unwrap()
}

fn id(bench: &Bench) -> SessionId {
    session(bench).session_id
}

/// Somebody else, whose word counts.
fn other() -> Identity {
    Identity {
        unique_id: "AIDAANN".into(),
        arn: "arn:aws:iam::123456789012:user/sorry/caller/ann-mgr".into(),
        ..sue()
    }
}

/// The built-in tiers, but that `read-only` needs an approval, too: so there is one with a user to decide on.
fn approving_tiers() -> TierSet {
    let mut set = TierSet::built_in();
    let approvals = "approvals = { count = 1, approvers = [\"approver\"], within_minutes = 240 }\n";
    set.tiers = set.tiers.replacen("maximum_hours = 36\n", &format!("maximum_hours = 36\n{approvals}"), 1);
    assert!(set.tiers.contains(approvals));
    set
}

fn decide(bench: &Bench, decision: &str) -> Option<Response> {
    let word = json!({ "decision": decision });
    bench.service.send(&other(), "POST", "/sessions/{id}/decision", id(bench).as_str(), &word)
}

fn administer(bench: &Bench, method: &str, resource: &str) -> Option<Response> {
    let body = json!({"reason": "the key was seen in a public place"});
    bench.service.send(&administrator(), method, resource, &sue().unique_id, &body)
}

fn caller(bench: &Bench, unique_id: &str) -> Option<Value> {
    let shown = bench
        .world
        .aside(|_| bench.service.send(&administrator(), "GET", "/admin/callers", "", &Value::Null));
    let shown = shown.unwrap().body;
    shown["callers"].as_array().unwrap().iter().find(|caller| caller["unique_id"] == unique_id).cloned()
}

fn is_suspended(bench: &Bench) -> bool {
    caller(bench, &sue().unique_id).is_some_and(|caller| !caller["suspended_at"].is_null())
}

impl Scenario {
    /// The world before the operation; nothing if it cannot be about that tier.
    fn prepared(&self, tier: &str) -> Bench {
        let mut bench = Bench::new();
        if self.operation.ends_with("/decision") {
            let published = bench.world.aside(|_| bench.service.publish(&approving_tiers()));
            assert_eq!(published.map(|answer| answer.status), Some(200));
        }
        assert_eq!(bench.approver("ann").unique_id, other().unique_id);
        match self.before {
            Before::Nothing => {}
            Before::Asked => {
                bench.service.request(tier, "request-0").unwrap();
                bench.run_for(0);
            }
            Before::Granted => {
                bench.granted(tier, "request-0");
            }
            Before::Over => {
                let id = bench.granted(tier, "request-0");
                // What nobody was given needs no review.
                bench.service.issue(&sue(), &id);
                bench.service.revoke(&id);
                bench.run_for(400);
            }
            Before::Suspended => {
                administer(&bench, "PUT", "/admin/callers/{id}/suspension").unwrap();
                assert!(is_suspended(&bench));
            }
            Before::Held => {
                for number in 0..6 {
                    let name = format!("sorry-sue-developer-stray{number}");
                    bench.world.plant_role(Role::new("/sorry/session/sue/", &name));
                }
                bench.sweep();
            }
        }
        bench
    }

    /// The tiers that it is tried with, each with every grant that it offers: all that it can be about.
    fn tiers(&self) -> Vec<String> {
        let about_tiers = self.operation.contains("{tier}")
            || self.operation.starts_with("POST /sessions")
            || self.operation.starts_with("DELETE /sessions")
            || self.before == Before::Granted;
        if !about_tiers {
            return vec![ANY_TIER.to_owned()];
        }
        let table = TierTable::built_in().unwrap();
        let accepts = |tier: &String| {
            let bench = self.prepared(tier);
            (self.send)(&bench, tier).is_some_and(|answer| answer.status < 300)
        };
        let named = |(name, tier): (&TierName, &Tier)| -> Vec<String> {
            let other =
                |grant| if grant == tier.grant { name.to_string() } else { format!("{name}+{grant}") };
            tier.grants().map(other).collect()
        };
        table.iter().flat_map(named).filter(accepts).collect()
    }

    /// Every call × every fault; how many those were.
    fn unwinds(&self, tier: &str) -> usize {
        let prepared = self.prepared(tier);
        let (first, calls) = {
            let mut bench = prepared.fork();
            let first = bench.world.calls().len();
            assert!((self.send)(&bench, tier).is_some_and(|answer| answer.status < 300));
            bench.run_for(0);
            (first, bench.world.calls())
        };
        let (mut count, mut failed) = (0, Vec::new());
        for (number, call) in calls.iter().enumerate().skip(first) {
            for (fault, late) in faults() {
                let label = format!(
                    "{} {tier}, call {number} `{} {}`: {fault:?} (late by {late} s)",
                    self.what, call.port, call.about
                );
                let case = || {
                    let mut bench = prepared.fork();
                    bench.world.land_after(late);
                    bench.world.fail_call(number, fault);
                    let accepted = (self.send)(&bench, tier).is_some_and(|answer| answer.status < 300);
                    bench.run_for(LONGEST_WORKFLOW);
                    bench.settle();
                    if !accepted {
                        // Asked again, when all is well: it is done, or was.
                        let again = (self.send)(&bench, tier).expect("nothing dies when all is well");
                        let was = [403, 404, 409].contains(&again.status);
                        assert!(again.status < 300 || was, "{label}: {}", again.body);
                        bench.run_for(LONGEST_WORKFLOW);
                        bench.settle();
                    }
                    bench.assert_settled(&label);
                    assert!((self.done)(&bench), "{label}: not done, accepted at once: {accepted}");
                };
                count += 1;
                if catch_unwind(AssertUnwindSafe(case)).is_err() {
                    failed.push(label.clone());
                }
            }
        }
        assert!(calls.len() > first, "{}: no calls were recorded", self.what);
        assert!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
        count
    }
}

#[test]
fn every_operation_unwinds_whatever_fails() {
    let mut counts = BTreeMap::new();
    for scenario in &SCENARIOS {
        let tiers = scenario.tiers();
        assert!(!tiers.is_empty(), "{} is accepted for no tier", scenario.what);
        for tier in tiers {
            counts.insert(format!("{} {tier}", scenario.what), scenario.unwinds(&tier));
        }
    }
    // Whoever has a grant of its own asks, approves, extends, is given credentials and ends.
    for (what, tiers) in [
        ("request", &["read-only", "read-only+user", "break-glass"][..]),
        ("approve", &["admin", "read-only+user"]),
        ("deny", &["admin", "read-only+user"]),
        ("revoke", &["read-only", "read-only+user", "break-glass"]),
        ("remove", &["read-only", "read-only+user", "break-glass"]),
        ("suspend", &["read-only", "read-only+user", "break-glass"]),
        ("extend", &["read-only", "read-only+user"]),
        ("issue", &["read-only+user", "break-glass"]),
    ] {
        for tier in tiers {
            assert!(counts.contains_key(&format!("{what} {tier}")), "{what} {tier}: {:?}", counts.keys());
        }
    }
    let sum: usize = counts.values().sum();
    println!("operations: {sum} cases: {counts:?}");
}

#[test]
fn every_operation_that_changes_something_is_in_the_table() {
    let document = include_str!("../../infrastructure/openapi.yaml");
    let mut operations = BTreeSet::new();
    let mut path = "";
    for line in document.lines() {
        if let Some(found) = line.strip_prefix("  /").and_then(|rest| rest.strip_suffix(':')) {
            path = found;
        }
        for method in ["post", "put", "delete", "patch"] {
            if line == format!("    {method}:") {
                operations.insert(format!("{} /{path}", method.to_uppercase()));
            }
        }
    }
    let table: BTreeSet<String> = SCENARIOS.iter().map(|scenario| scenario.operation.to_owned()).collect();
    assert_eq!(operations, table, "left: what the API document has; right: what is tried here");
}
