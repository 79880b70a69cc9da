//! The sweep's budgets, and AWS asking it to slow down: it pauses, longer each time, within its time, and stops when that does not
//! help. What it leaves, the next one does. (The clean-up of the workflow waits by the state machine's `Retry`, which `unwind` runs.)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use harness::{Bench, SWEEP_EVERY};
use sorry_policy::SessionId;
use sorry_session::{
    State,
    ports::{Clock, PrincipalProvisioner},
};
use sorry_testkit::{Fault, Role, World, block_on};

/// What one sweep may take, by `BUDGET` in crates/session/src/sweep.rs.
const BUDGET: i64 = 180;

/// Sessions that are due, and whose workflows are lost.
fn due(count: usize) -> (Bench, Vec<SessionId>) {
    let mut bench = Bench::new();
    bench.world.lift_limits();
    let ids = (0..count).map(|number| bench.granted("developer", &format!("request-{number}"))).collect();
    bench.workflows.stop_all();
    bench.run_for(3600 + 60);
    (bench, ids)
}

fn role(bench: &Bench, id: &SessionId) -> String {
    bench.world.row(id).unwrap().role_name.to_string()
}

fn plant_orphans(world: &World, count: usize) {
    for number in 0..count {
        world.plant_role(Role::new("/sorry/session/sue/", &format!("sorry-sue-developer-orphan{number}")));
    }
}

fn pauses(bench: &Bench) -> Vec<u64> {
    bench.world.pauses().iter().map(std::time::Duration::as_secs).collect()
}

fn in_state(bench: &Bench, state: State) -> usize {
    bench.world.rows().iter().filter(|row| row.state == state).count()
}

#[test]
fn it_pauses_longer_each_time_and_then_leaves_the_rest_to_the_next() {
    let (mut bench, ids) = due(12);
    bench.world.fail_port("role", Fault::Throttled);
    let begun = bench.world.calls().len();
    let report = bench.sweep();
    assert_eq!((report.throttled, report.failed.len(), report.found), (5, 5, 5), "{report:?}");
    assert!(report.unfinished && report.given_up == 0, "{report:?}");
    assert_eq!(pauses(&bench), [2, 4, 8, 16]);
    let asked = bench.world.calls().iter().skip(begun).filter(|call| call.port == "role").count();
    assert_eq!(asked, 5, "nobody goes on asking");
    assert_eq!(in_state(&bench, State::Active), ids.len() - 5);
    // AWS has recovered.
    bench.world.clear_faults();
    bench.run_for(SWEEP_EVERY);
    let report = bench.sweep();
    assert_eq!((report.ended, report.throttled, report.unfinished), (12, 0, false), "{report:?}");
    assert_eq!(pauses(&bench).len(), 4, "no pause without a reason");
    bench.assert_settled(&"after a throttled sweep");
}

#[test]
fn one_throttling_costs_one_pause_and_nobody_elses_turn() {
    let (mut bench, ids) = due(8);
    let throttled = role(&bench, &ids[2]);
    bench.world.fail_about("delete_role", &throttled, Fault::Throttled);
    // What is refused says nothing about the pace.
    bench.world.fail_about("delete_role", &role(&bench, &ids[5]), Fault::Refused);
    let report = bench.sweep();
    assert_eq!((report.ended, report.throttled, report.unfinished), (6, 1, false), "{report:?}");
    assert_eq!(pauses(&bench), [2]);
    bench.world.clear_faults();
    bench.run_for(SWEEP_EVERY);
    assert_eq!(bench.sweep().ended, 2);
    bench.assert_settled(&"one throttling");
}

#[test]
fn a_list_is_asked_for_again_and_not_for_ever() {
    for port in ["session_principals", "unfinished"] {
        let (bench, _) = due(2);
        plant_orphans(&bench.world, 1);
        let lists = bench.world.calls().len() + usize::from(port == "unfinished");
        bench.world.fail_call(lists, Fault::Throttled);
        let report = bench.sweep();
        assert_eq!((report.ended, report.orphans.len(), report.throttled), (2, 1, 1), "{port}: {report:?}");
        assert_eq!(pauses(&bench), [2], "{port}");
        bench.assert_settled(&port);
    }
    let (bench, _) = due(2);
    bench.world.fail_port("session_principals", Fault::Throttled);
    let begun = bench.world.calls().len();
    assert!(bench.service.sweep().unwrap().is_err());
    let asked = bench.world.calls().into_iter().skip(begun).filter(|call| call.port == "session_principals");
    assert_eq!(asked.count(), 3);
    assert_eq!(in_state(&bench, State::Expired), 2, "what is due needs no list");
    assert_eq!(pauses(&bench), [2, 4, 2], "and waits its turn");
}

#[test]
fn pauses_are_within_the_budget() {
    for spent in [0, 100, 177, 179, 200] {
        let (bench, _) = due(12);
        bench.world.fail_port("role", Fault::Throttled);
        let begun = bench.world.calls().len();
        // The two lists took that long.
        bench.world.before_call(begun + 1, move |world| world.advance(spent));
        let began = bench.world.now();
        let report = bench.sweep();
        assert!(report.unfinished, "{spent} s: {report:?}");
        let took = bench.world.now().duration_since(began).as_secs();
        assert!(took < BUDGET.max(spent + 1), "{spent} s: took {took} s");
        let expected: &[u64] = match spent {
            0 | 100 => &[2, 4, 8, 16],
            177 => &[2],
            _ => &[],
        };
        assert_eq!(pauses(&bench), expected, "{spent} s");
    }
}

#[test]
fn a_sweep_takes_up_so_many_and_leaves_the_rest() {
    let bench = Bench::new();
    plant_orphans(&bench.world, 2_001);
    let begun = bench.world.calls().len();
    let report = bench.sweep();
    let asked = bench.world.calls().iter().skip(begun).filter(|call| call.port == "role").count();
    assert_eq!((asked, report.held.len(), report.unfinished), (2_000, 2_000, true));
}

/// More orphans than can be an accident are held, also when AWS does not show them all.
#[test]
fn orphans_that_aws_did_not_show_count_as_if_they_were() {
    for (orphans, removed) in [(6, 0), (5, 4)] {
        let mut bench = Bench::new();
        plant_orphans(&bench.world, orphans);
        bench.world.fail_about("role", "sorry-sue-developer-orphan3", Fault::Throttled);
        let report = bench.sweep();
        assert_eq!((report.orphans.len(), report.held.len()), (removed, 0), "{orphans}: {report:?}");
        assert_eq!(report.unfinished, removed == 0, "{orphans}: {report:?}");
        bench.world.clear_faults();
        bench.run_for(SWEEP_EVERY);
        let report = bench.sweep();
        let (left, held) = (if removed == 0 { 0 } else { 1 }, if removed == 0 { orphans } else { 0 });
        assert_eq!((report.orphans.len(), report.held.len()), (left, held), "{orphans}: {report:?}");
        let there = block_on(bench.world.session_principals()).unwrap().len();
        assert_eq!(there, held, "{orphans}");
    }
}
