//! Extensions against what ends sessions: between any two calls of the one all of the other, and both call by call in drawn orders. An
//! end that is decided always wins: afterwards nothing gives access, and nothing is left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::{collections::BTreeMap, future::Future, pin::Pin};

use harness::{Bench, LONGEST_WORKFLOW, sue};
use sorry_policy::SessionId;
use sorry_session::{
    State, clean_up,
    events::ChangedBy,
    ports::{Clock, Workflow},
};
use sorry_testkit::{World, block_on, interleave, moment};

/// The end before the extension, in seconds after the beginning.
const OLD_END: i64 = 3600;
/// From when an extension that was asked for in the last second is not waited for any more.
const GIVEN_UP: i64 = OLD_END + 300;

/// What happens between two calls of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    /// Somebody ends the session; nothing is carried out yet.
    Decided,
    /// Somebody ends the session, and the clean-up runs to its end.
    Revoked,
    /// The old end comes, and with it the clean-up.
    OldEnd,
    /// So much time passes that nobody waits for the extension any more, and the clean-up comes.
    TooLate,
    /// The same, and it is the sweep that comes.
    SweptTooLate,
}

impl Other {
    const ALL: [Self; 5] = [Self::Decided, Self::Revoked, Self::OldEnd, Self::TooLate, Self::SweptTooLate];

    fn happen(self, world: &World) {
        match self {
            Self::Decided => drop(revoke(world)),
            Self::Revoked => {
                if let Some(id) = revoke(world) {
                    clean_up(world, &id);
                }
            }
            Self::OldEnd | Self::TooLate => {
                let at = moment(if self == Self::OldEnd { OLD_END } else { GIVEN_UP });
                world.set_clock(at.max(world.now()));
                if let Some(row) = world.rows().first() {
                    clean_up(world, &row.session_id);
                }
            }
            Self::SweptTooLate => {
                world.set_clock(moment(GIVEN_UP + 30).max(world.now()));
                block_on(sorry_session::sweep::sweep(&world.ports(), world)).unwrap();
            }
        }
    }
}

/// Decides the end of the only session, as the API does.
fn revoke(world: &World) -> Option<SessionId> {
    let session = world.rows().into_iter().next()?;
    let session =
        block_on(clean_up::revoke(&world.ports(), session, &ChangedBy::Caller(sue().into()))).unwrap();
    if session.state.is_ending() {
        block_on(world.start_end(&session)).unwrap();
    }
    Some(session.session_id)
}

fn clean_up(world: &World, id: &SessionId) {
    block_on(clean_up::clean_up(&world.ports(), id, None, &ChangedBy::service("clean-up"))).unwrap();
}

/// A session with a role, and one with a user: each keeps its end elsewhere.
const TIERS: [&str; 2] = ["developer", "read-only+user"];

/// A session a second before its end.
fn about_to_end(tier: &str) -> (Bench, SessionId) {
    let mut bench = Bench::new();
    let id = bench.granted(tier, "request-1");
    bench.run_until(moment(OLD_END - 1));
    (bench, id)
}

/// Asks for an hour more and runs what that starts.
fn extend(bench: &mut Bench, id: &SessionId) {
    bench.service.extend(id, 3600).unwrap();
    bench.run_for(0);
}

#[test]
fn invariant_5_whatever_ends_a_session_between_any_two_calls_of_an_extension_wins() {
    for tier in TIERS {
        whatever_ends_it_wins(tier);
    }
}

fn whatever_ends_it_wins(tier: &str) {
    let (first, calls) = {
        let (mut bench, id) = about_to_end(tier);
        let first = bench.world.calls().len();
        extend(&mut bench, &id);
        (first, bench.world.calls().len())
    };
    let mut ends: BTreeMap<(String, State), usize> = BTreeMap::new();
    for other in Other::ALL {
        for number in first..=calls {
            let label = format!("{tier}: {other:?} before call {number} of {first} to {calls}");
            let (mut bench, id) = about_to_end(tier);
            bench.world.before_call(number, move |world| other.happen(world));
            extend(&mut bench, &id);
            if bench.world.calls().len() == number {
                // After the last call.
                bench.world.aside(|world| other.happen(world));
            }
            let decided = bench.world.was(&id, State::Revoking);
            if decided {
                // The row is read again before each write: only the one that was under way already can still be made.
                let extending = ["put_trust_policy", "put_inline_policy access", "put_inline_policy expiry"];
                let made = bench.world.calls();
                let later = made.iter().skip(number + 1).filter(|call| {
                    let call = format!("{} {}", call.port, call.about);
                    extending.iter().any(|write| call.starts_with(write))
                });
                assert_eq!(later.count(), 0, "{label}: it went on writing");
            }
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(&label);
            let row = bench.world.row(&id).unwrap();
            if decided {
                assert_eq!(row.state, State::Revoked, "{label}");
            }
            *ends.entry((format!("{other:?}"), row.state)).or_default() += 1;
            bench.run_until(moment(7200));
            bench.settle();
            bench.assert_settled(&label);
            assert!(bench.world.session_role_names().is_empty(), "{label}");
        }
    }
    println!("{tier}: extension against an end: {} cases: {ends:?}", Other::ALL.len() * (calls - first + 1));
    let count = |other: Other, state| ends.get(&(format!("{other:?}"), state)).copied().unwrap_or_default();
    assert_eq!(count(Other::Revoked, State::Revoked), calls - first + 1, "a revocation always wins");
    assert_eq!(count(Other::Decided, State::Revoked), calls - first + 1, "a revocation always wins");
    assert!(count(Other::OldEnd, State::Active) > 0, "what was decided before the end is waited for");
    assert!(count(Other::TooLate, State::Expired) > 0, "and not for ever");
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

/// The extension twice, a revocation with its clean-up, and a sweep, call by call in any order.
#[test]
fn invariant_5_an_extension_beside_a_revocation_and_a_sweep_restores_nothing() {
    const SCHEDULES: u64 = 400;
    for seed in 0..SCHEDULES {
        let mut bench = Bench::new();
        let id = bench.granted(TIERS[usize::try_from(seed % 2).unwrap()], "request-1");
        bench.service.extend(&id, 3600).unwrap();
        let world = bench.world.clone();
        let ended = async {
            let session = world.row(&id).unwrap();
            let session = clean_up::revoke(&world.ports(), session, &ChangedBy::Caller(sue().into()))
                .await
                .map_err(|error| error.to_string())?;
            world.start_end(&session).await.map_err(|error| error.to_string())?;
            clean_up::clean_up(&world.ports(), &id, None, &ChangedBy::service("clean-up"))
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        let swept = async {
            let report = sorry_session::sweep::sweep(&world.ports(), &world).await;
            report.map(|_| ()).map_err(|error| error.to_string())
        };
        let service = bench.service.clone();
        let steps: Vec<Step<'_>> = vec![
            Box::pin(service.extending(&id)),
            Box::pin(service.extending(&id)),
            Box::pin(ended),
            Box::pin(swept),
        ];
        let label = format!("seed {seed}");
        for answer in interleave(&world, steps, seed) {
            if let Err(error) = answer {
                let expected = [
                    "moved on by somebody else",
                    "and cannot be",
                    "keeps changing",
                    "is gone",
                    "keeps being",
                ];
                assert!(expected.iter().any(|text| error.contains(text)), "{label}: {error}");
            }
        }
        bench.run_for(LONGEST_WORKFLOW);
        bench.settle();
        bench.assert_settled(&label);
        assert_eq!(bench.session().unwrap().state, State::Revoked, "{label}");
        assert!(!bench.world.access(&id, bench.world.now()), "{label}");
    }
    println!("extension beside a revocation and a sweep: {SCHEDULES} schedules");
}

#[test]
fn the_workflow_that_waits_for_the_old_end_waits_on_for_the_new_one() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    bench.run_until(moment(100));
    extend(&mut bench, &id);
    for again in [1800, 600] {
        bench.service.extend(&id, again).unwrap();
        bench.run_for(0);
    }
    let end = OLD_END + 3600 + 1800 + 600;
    assert_eq!(bench.world.row(&id).unwrap().expires_at, moment(end));
    // At the old end nothing happens, and no sweep helps.
    bench.run_until(moment(OLD_END + 600));
    assert!(bench.world.usable(&id, bench.world.now()));
    bench.run_until(moment(end - 1));
    assert!(bench.world.usable(&id, bench.world.now()));
    bench.run_until(moment(end));
    assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
    assert!(bench.workflows.is_idle());
    bench.settle();
    bench.assert_settled(&"extended three times");
}

#[test]
fn an_extension_whose_workflow_is_lost_is_settled_by_the_sweep_and_the_session_ends_at_its_old_end() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    bench.service.extend(&id, 3600).unwrap();
    bench.workflows.stop_all();
    bench.run_until(moment(200));
    assert_eq!(bench.sweep().repaired, 0, "its workflow may still be at it");
    bench.run_until(moment(300));
    assert_eq!(bench.sweep().repaired, 1);
    let row = bench.world.row(&id).unwrap();
    assert_eq!((row.state, row.expires_at), (State::Active, moment(OLD_END)));
    bench.run_until(moment(OLD_END + 60));
    bench.settle();
    bench.assert_settled(&"a lost extension");
    assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
}

/// The tier asks for the word of somebody else, and for a fresh one each time.
#[test]
fn an_extension_of_a_tier_with_approvals_waits_for_a_fresh_one() {
    for approved in [true, false] {
        let mut bench = Bench::new();
        let ann = bench.approver("ann");
        let decide = |bench: &Bench, id: &SessionId, word: &str| {
            let mut body = serde_json::json!({"decision": word, "comment": "as agreed in ticket 4711"});
            let row = bench.world.row(id).unwrap();
            if let Some(extension) = row.extension {
                body["extending_to"] = serde_json::json!(extension.extending_to);
            }
            bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &body).unwrap()
        };
        let asked = bench.service.request("admin", "request-1").unwrap();
        let id: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();
        assert_eq!(decide(&bench, &id, "approve").body["state"], "REQUESTED");
        bench.run_for(0);
        assert!(bench.world.usable(&id, bench.world.now()));

        let asked = bench.service.extend(&id, 3600).unwrap();
        assert_eq!((asked.status, &asked.body["extension"]["status"]), (202, &"awaiting-approval".into()));
        bench.run_for(60);
        assert_eq!(bench.world.row(&id).unwrap().expires_at, moment(OLD_END), "nothing moves without it");
        assert!(!bench.world.starts().iter().any(|start| start.name.contains("-extend-")));

        // Said twice, it is said once.
        for _ in 0..2 {
            let said = decide(&bench, &id, if approved { "approve" } else { "deny" });
            assert_eq!((said.status, &said.body["state"]), (200, &"ACTIVE".into()), "{}", said.body);
        }
        bench.run_for(0);
        let row = bench.world.row(&id).unwrap();
        let end = if approved { OLD_END + 3600 } else { OLD_END };
        assert_eq!((row.state, row.expires_at), (State::Active, moment(end)), "a denial costs nothing");
        bench.run_until(moment(end - 1));
        assert!(bench.world.usable(&id, bench.world.now()));
        bench.run_until(moment(end));
        bench.settle();
        bench.assert_settled(&"an extension with approval");
    }
}

#[test]
fn an_extension_that_nobody_approves_lapses_and_the_session_ends_at_its_old_end() {
    let mut bench = Bench::new();
    let ann = bench.approver("ann");
    let asked = bench.service.request("admin", "request-1").unwrap();
    let id: SessionId = serde_json::from_value(asked.body["session_id"].clone()).unwrap();
    let body = serde_json::json!({"decision": "approve"});
    bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &body).unwrap();
    bench.run_for(0);
    bench.service.extend(&id, 3600).unwrap();
    bench.run_until(moment(OLD_END));
    let row = bench.world.row(&id).unwrap();
    assert_eq!((row.state, row.expires_at), (State::Expired, moment(OLD_END)));
    let body = serde_json::json!({"decision": "approve", "extending_to": moment(2 * OLD_END)});
    let late = bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &body).unwrap();
    assert!(late.status == 409 || late.body["state"] == "EXPIRED", "{}", late.body);
    bench.settle();
    bench.assert_settled(&"a lapsed extension");
}
