//! The sweep: what it settles, what it removes, what it leaves alone, and when it holds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::{collections::BTreeSet, future::Future, pin::Pin};

use harness::{Bench, GRACE, SWEEP_EVERY, after};
use serde_json::Value;
use sorry_policy::{SessionId, revoked_policy};
use sorry_session::{
    ErrorCode, Failure, State, StepError,
    events::{self, ChangedBy, SWEEP_HELD_EVENT},
    hold::{HoldCause, MOST_NAMED},
    lifecycle::EndCause,
    ports::{Clock, Registry, SessionStore},
    sweep::{SweepReport, sweep},
};
use sorry_testkit::{Fault, Role, World, block_on, interleave};

const PATH: &str = "/sorry/session/sue/";
const ALLOWS: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

fn plant_orphans(world: &World, count: usize) {
    for number in 0..count {
        world.plant_role(Role::new(PATH, &format!("sorry-sue-developer-orphan{number}")));
    }
}

fn grant(bench: &mut Bench, count: usize) -> Vec<SessionId> {
    bench.world.lift_limits();
    (0..count).map(|number| bench.granted("developer", &format!("request-{number}"))).collect()
}

fn held_events(world: &World) -> usize {
    let held = |detail_type: &str, alert: bool| detail_type == SWEEP_HELD_EVENT && alert;
    world.published().iter().filter(|event| held(&event.detail_type, event.detail["alert"] == true)).count()
}

// When it holds.

#[test]
fn a_fresh_deployment_with_sessions_does_not_hold() {
    let mut bench = Bench::fresh();
    let live = grant(&mut bench, 20);
    let report = bench.sweep();
    assert_eq!(report, SweepReport::default());
    assert!(bench.world.has_canary());
    assert!(live.iter().all(|id| bench.world.usable(id, bench.world.now())));
}

#[test]
fn a_lost_canary_holds_and_is_told_once() {
    let mut bench = Bench::new();
    let live = grant(&mut bench, 2);
    plant_orphans(&bench.world, 1);
    bench.world.lose_canary();
    for _ in 0..3 {
        let report = bench.sweep();
        assert!(report.held_because.unwrap().contains("canary"));
        assert_eq!((report.held.len(), report.orphans.len()), (1, 0));
        bench.run_for(SWEEP_EVERY);
    }
    assert_eq!(held_events(&bench.world), 1);
    assert_eq!(bench.world.session_role_names().len(), 3);
    assert!(!bench.world.has_canary(), "holding says nothing about the table");
    // Holding keeps nobody's session alive: what is due is settled, and access ends by its date.
    bench.workflows.stop_all();
    bench.run_for(3600);
    assert_eq!(bench.sweep().ended, 2);
    assert!(live.iter().all(|id| bench.world.row(id).unwrap().state == State::Expired));
}

#[test]
fn it_holds_with_more_orphans_than_five_or_a_tenth() {
    for (live, orphans, holds) in [
        (0, 5, false),
        (0, 6, true),
        (44, 5, false),
        (44, 6, true),
        (63, 7, false),
        (62, 7, true),
        (70, 8, true),
    ] {
        let mut bench = Bench::new();
        grant(&mut bench, live);
        plant_orphans(&bench.world, orphans);
        let report = bench.sweep();
        assert_eq!(report.held_because.is_some(), holds, "{live} live, {orphans} orphans: {report:?}");
        let (removed, held) = if holds { (0, orphans) } else { (orphans, 0) };
        assert_eq!(
            (report.orphans.len(), report.held.len()),
            (removed, held),
            "{live} live, {orphans} orphans"
        );
        assert_eq!(bench.world.session_role_names().len(), live + orphans - removed);
        assert_eq!(held_events(&bench.world), usize::from(holds));
    }
}

#[test]
fn a_lost_sessions_table_deletes_nothing_until_confirmed_and_then_what_was_held() {
    let mut bench = Bench::new();
    grant(&mut bench, 8);
    bench.world.lose_sessions_table();
    bench.workflows.stop_all();
    for _ in 0..2 {
        let report = bench.sweep();
        assert_eq!((report.orphans.len(), report.held.len()), (0, 8));
        bench.run_for(SWEEP_EVERY);
    }
    assert_eq!(held_events(&bench.world), 1);
    let hold = bench.world.remembered().hold.unwrap();
    assert_eq!((hold.cause, hold.count, hold.roles.len()), (HoldCause::CanaryLost, 8, 8));

    assert_eq!(bench.service.confirm_sweep().unwrap().status, 200);
    let report = bench.sweep();
    assert_eq!((report.orphans.len(), report.held_because), (8, None));
    assert!(bench.world.has_canary());
    let memory = bench.world.remembered();
    assert_eq!((memory.hold, memory.confirmation), (None, None), "done, and used up");

    plant_orphans(&bench.world, 6);
    assert_eq!(bench.sweep().held.len(), 6, "a confirmation is for what was held");
    assert_eq!(held_events(&bench.world), 2);
}

#[test]
fn nothing_held_cannot_be_confirmed_for_later() {
    let mut bench = Bench::new();
    grant(&mut bench, 2);
    for digest in ["", "0123456789abcdef0123456789abcdef"] {
        let refused = bench.service.confirm(digest).unwrap();
        assert_eq!((refused.status, &refused.body["code"]), (409, &Value::from("Conflict")));
    }
    bench.world.lose_sessions_table();
    bench.workflows.stop_all();
    let report = bench.sweep();
    assert_eq!((report.orphans.len(), report.held.len()), (0, 2), "no cheque was signed");
}

#[test]
fn only_what_was_shown_can_be_confirmed() {
    let bench = Bench::new();
    plant_orphans(&bench.world, 6);
    bench.sweep();
    let seen = bench.world.remembered().hold.unwrap().digest;
    plant_orphans(&bench.world, 7);
    bench.sweep();
    assert_eq!(bench.service.confirm(&seen).unwrap().status, 409, "the hold is another one by now");
    assert_eq!(bench.sweep().held.len(), 7);
    assert_eq!(held_events(&bench.world), 2, "what is newly held is told");
    let shown = bench.service.confirm_sweep().unwrap();
    assert_eq!(shown.status, 200);
    assert_eq!(shown.body["hold"]["roles"], shown.body["confirmed"], "{}", shown.body);
    assert_eq!(bench.sweep().orphans.len(), 7);
}

/// For each way to hold: what appears between the confirmation and the sweep was not looked at by anybody.
#[test]
fn a_confirmation_covers_what_was_held_and_holds_the_rest_anew() {
    for lost in [false, true] {
        let mut bench = Bench::new();
        grant(&mut bench, 7);
        let (first, then) = if lost {
            bench.world.lose_sessions_table();
            bench.workflows.stop_all();
            (7, 1)
        } else {
            plant_orphans(&bench.world, 7);
            (7, 6)
        };
        assert_eq!(bench.sweep().held.len(), first);
        bench.service.confirm_sweep().unwrap();
        for number in 0..then {
            bench.world.plant_role(Role::new(PATH, &format!("sorry-sue-developer-later{number}")));
        }
        for sweep in 0..3 {
            let report = bench.sweep();
            let removed = if sweep == 0 { first } else { 0 };
            assert_eq!(
                (report.orphans.len(), report.held.len()),
                (removed, then),
                "lost {lost}: {report:#?}"
            );
            assert!(report.orphans.iter().all(|role| !role.to_string().contains("later")));
            bench.run_for(SWEEP_EVERY);
        }
        assert_eq!(held_events(&bench.world), 2, "lost {lost}");
        bench.service.confirm_sweep().unwrap();
        assert_eq!(bench.sweep().orphans.len(), then, "lost {lost}");
        assert_eq!(bench.sweep(), SweepReport::default(), "lost {lost}");
        assert!(bench.world.has_canary());
    }
}

#[test]
fn a_confirmed_loss_is_confirmed_once() {
    let mut bench = Bench::new();
    grant(&mut bench, 2);
    bench.world.lose_sessions_table();
    bench.workflows.stop_all();
    bench.sweep();
    bench.service.confirm_sweep().unwrap();
    // One of the two cannot be removed, so the confirmation stays for it, and not for the next loss.
    bench.world.fail_about("delete_role", &bench.world.session_role_names()[0], Fault::Throttled);
    assert_eq!(bench.sweep().orphans.len(), 1);
    bench.world.clear_faults();
    assert!(bench.world.remembered().confirmation.is_some());
    bench.world.lose_canary();
    let report = bench.sweep();
    assert_eq!((report.orphans.len(), report.held.len()), (0, 1), "{report:?}");
    assert!(report.held_because.unwrap().contains("canary"));
}

#[test]
fn a_sweep_that_runs_out_of_time_goes_on_with_what_was_confirmed() {
    let bench = Bench::new();
    plant_orphans(&bench.world, 9);
    bench.sweep();
    bench.service.confirm_sweep().unwrap();
    // AWS is slow: three are removed in the time there is.
    let begins = bench.world.calls().len();
    bench.world.before_call(begins + 22, |world| world.advance(200));
    let first = bench.sweep();
    assert!(first.unfinished && (1..9).contains(&first.orphans.len()), "{first:?}");
    assert!(bench.world.remembered().confirmation.is_some(), "it is not done");
    let second = bench.sweep();
    assert_eq!((first.orphans.len() + second.orphans.len(), second.held_because), (9, None));
    assert_eq!(bench.world.remembered().confirmation, None);
}

#[test]
fn many_orphans_are_held_also_when_there_is_no_time_to_look_at_all_of_them() {
    let bench = Bench::new();
    bench.sweep();
    plant_orphans(&bench.world, 40);
    // AWS is slow: the time is over after some of them.
    let begins = bench.world.calls().len();
    bench.world.before_call(begins + 20, |world| world.advance(200));
    let report = bench.sweep();
    assert!(report.unfinished && report.orphans.is_empty(), "{report:?}");
    assert!((6..40).contains(&report.held.len()) && report.held_because.is_some(), "{report:?}");
    assert_eq!(held_events(&bench.world), 1, "security hears of it");
}

#[test]
fn what_a_hold_names_is_bounded_and_the_rest_is_held_again() {
    let bench = Bench::new();
    plant_orphans(&bench.world, MOST_NAMED + 7);
    let report = bench.sweep();
    assert_eq!(report.held.len(), MOST_NAMED + 7);
    let hold = bench.world.remembered().hold.unwrap();
    assert_eq!((hold.roles.len(), hold.count), (MOST_NAMED, MOST_NAMED + 7));
    let event = bench.world.published().pop().unwrap();
    assert!(event.detail.to_string().len() < 100_000, "it becomes an e-mail");
    bench.service.confirm_sweep().unwrap();
    let report = bench.sweep();
    assert_eq!((report.orphans.len(), report.held.len()), (MOST_NAMED, 7));
}

/// A sweep that has read what is remembered must not undo what an administrator writes then.
#[test]
fn a_confirmation_that_comes_while_the_sweep_works_is_not_lost() {
    let held = || {
        let bench = Bench::new();
        plant_orphans(&bench.world, 6);
        bench.sweep();
        // Something to write down for the next sweep.
        plant_orphans(&bench.world, 7);
        (bench.world.calls().len(), bench)
    };
    let (first, last) = {
        let (first, bench) = held();
        bench.sweep();
        (first, bench.world.calls().len())
    };
    for number in first..last {
        let (_, bench) = held();
        bench.world.before_call(number, |world| {
            let now = world.now();
            world.remember(|memory| *memory = memory.confirmed(now).unwrap());
        });
        let report = bench.sweep();
        let then = bench.sweep();
        assert_eq!(report.orphans.len() + then.orphans.len(), 7, "call {number}: {report:?} {then:?}");
        assert_eq!(then.held_because, None, "call {number}");
    }
    println!("a confirmation beside a sweep: {} cases", last - first);
}

/// The other way round: the sweep writes between the administrator's reading and writing.
#[test]
fn a_confirmation_does_not_undo_what_a_sweep_wrote_meanwhile() {
    let bench = Bench::new();
    plant_orphans(&bench.world, 6);
    bench.sweep();
    let digest = bench.world.remembered().hold.unwrap().digest;
    // One call for who asks, one to read what is remembered, one to write it.
    let writes = bench.world.calls().len() + 2;
    bench.world.before_call(writes, |world| {
        plant_orphans(world, 7);
        block_on(sweep(&world.ports(), world)).unwrap();
    });
    let refused = bench.service.confirm(&digest).unwrap();
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(bench.world.remembered().hold.unwrap().count, 7);
    assert_eq!(bench.sweep().held.len(), 7);
}

#[test]
fn both_tables_lost_is_not_a_fresh_deployment() {
    let mut bench = Bench::new();
    grant(&mut bench, 1);
    bench.world.lose_sessions_table();
    bench.world.lose_registry_table();
    let report = bench.sweep();
    assert_eq!((report.orphans.len(), report.held.len()), (0, 1));
    assert!(!bench.world.has_canary());
    assert_eq!(held_events(&bench.world), 1);
}

#[test]
fn a_lost_registry_alone_changes_nothing_for_sessions_with_rows() {
    let mut bench = Bench::new();
    let live = grant(&mut bench, 8);
    plant_orphans(&bench.world, 1);
    bench.world.lose_registry_table();
    for _ in 0..3 {
        let report = bench.sweep();
        assert!(report.held_because.unwrap().contains("registry"));
        assert_eq!((report.repaired, report.orphans.len(), report.held.len()), (0, 0, 1));
        assert!(
            bench.world.remembered().canary_placed_at.is_none(),
            "holding says nothing about the registry"
        );
        assert!(live.iter().all(|id| bench.world.usable(id, bench.world.now())));
        bench.run_for(SWEEP_EVERY);
    }
    assert_eq!(held_events(&bench.world), 1);
}

#[test]
fn a_lost_registry_that_an_administrator_accepts_is_believed_from_then_on() {
    let mut bench = Bench::new();
    let kept = grant(&mut bench, 2);
    let entry = block_on(bench.world.caller("AIDASUE")).unwrap().unwrap();
    bench.world.lose_registry_table();
    bench.sweep();
    // The administrator registers the callers again, and says so.
    bench.world.plant_caller(entry);
    assert_eq!(bench.service.confirm_sweep().unwrap().status, 200);
    for _ in 0..3 {
        assert_eq!(bench.sweep(), SweepReport::default());
        bench.run_for(SWEEP_EVERY);
    }
    assert!(kept.iter().all(|id| bench.world.usable(id, bench.world.now())));
    assert!(bench.world.remembered().canary_placed_at.is_some());
    bench.world.remove_planted_caller("AIDASUE");
    assert_eq!(bench.sweep().repaired, 2, "what is missing now was removed");
}

/// The first placing of the canary dies before, or after, each of its calls, or one of them lands late: neither a hold nor a deletion
/// comes of it, and the next sweeps finish it.
#[test]
fn a_first_placing_that_died_anywhere_is_finished() {
    let calls = {
        let mut bench = Bench::fresh();
        grant(&mut bench, 1);
        let first = bench.world.calls().len();
        bench.sweep();
        first..bench.world.calls().len()
    };
    for number in calls {
        for fault in Fault::ALL {
            let mut bench = Bench::fresh();
            let live = grant(&mut bench, 1).remove(0);
            bench.world.fail_call(number, fault);
            let _ = bench.service.sweep();
            bench.world.clear_faults();
            for sweep in 0..3 {
                let label = format!("call {number}, {fault:?}, sweep {sweep}");
                assert_eq!(bench.sweep(), SweepReport::default(), "{label}");
                bench.world.land_late_writes();
                bench.run_for(SWEEP_EVERY);
            }
            assert!(bench.world.has_canary() && bench.world.remembered().canary_placed_at.is_some());
            assert_eq!(held_events(&bench.world), 0, "call {number}, {fault:?}");
            assert!(bench.world.usable(&live, bench.world.now()));
        }
    }
}

#[test]
fn a_confirmation_is_forgotten_after_some_hours_and_none_comes_from_the_future() {
    const HOURS: i64 = 6 * 3600;
    for (seconds, holds) in [(-HOURS - 1, true), (1 - HOURS, false), (60, true)] {
        let bench = Bench::new();
        bench.world.advance(2 * HOURS);
        plant_orphans(&bench.world, 6);
        bench.sweep();
        let confirmed_at = after(bench.world.now(), seconds);
        bench.world.remember(|memory| *memory = memory.confirmed(confirmed_at).unwrap());
        assert_eq!(bench.sweep().held_because.is_some(), holds, "{seconds}");
    }
}

// What it removes, and what it leaves alone.

#[test]
fn orphans_of_every_kind_are_removed_deny_first() {
    let mut bench = Bench::new();
    let live = grant(&mut bench, 1).remove(0);
    let over = bench.granted("read-only", "request-over");
    bench.service.revoke(&over).unwrap();
    bench.run_for(0);
    let (tag, unknown) = ("sorry:session", SessionId::from_random([99; 10]));
    let orphans = [
        Role::new(PATH, "sorry-sue-developer-untagged").with_policy("own", ALLOWS),
        Role::new(PATH, "sorry-sue-developer-garbage").tagged(tag, "../../x").with_policy("access", ALLOWS),
        Role::new(PATH, "sorry-sue-developer-unknown").tagged(tag, unknown.as_str()),
        Role::new(PATH, "sorry-sue-developer-impostor").tagged(tag, live.as_str()),
        Role::new("/sorry/session/ann/", "sorry-ann-admin-late")
            .tagged(tag, over.as_str())
            .with_policy("revoked", &revoked_policy()),
    ];
    let mut names: BTreeSet<_> = orphans.iter().map(|role| role.name.clone()).collect();
    for role in orphans {
        bench.world.plant_role(role);
    }
    bench.world.attach("sorry-sue-developer-untagged", "arn:aws:iam::aws:policy/AdministratorAccess");
    let first = bench.world.calls().len();
    let report = bench.sweep();
    assert_eq!(report.orphans.iter().map(ToString::to_string).collect::<BTreeSet<_>>(), names);
    let writes = ["put_inline_policy", "delete_inline_policy", "detach_all", "delete_role"];
    let calls = bench.world.calls().split_off(first);
    let mut denied = false;
    for call in calls.iter().filter(|call| writes.contains(&call.port)) {
        denied |= (call.port, call.about.as_str()) == ("put_inline_policy", "revoked");
        assert!(denied, "{call:?} before the deny");
        // The next role begins with its own deny.
        denied &= call.port != "delete_role";
    }
    names.clear();
    names.insert(bench.world.row(&live).unwrap().role_name.to_string());
    assert_eq!(bench.world.session_role_names().into_iter().collect::<BTreeSet<_>>(), names);
    assert!(bench.world.usable(&live, bench.world.now()));
    bench.assert_settled(&"orphans");
}

#[test]
fn nothing_outside_the_sessions_path_is_touched() {
    let bench = Bench::new();
    let unknown = SessionId::from_random([99; 10]);
    let paths = [
        "/",
        "/sorry/",
        "/sorry/service/",
        "/sorry/namespace/sue/",
        "/sorry/standing/",
        "/sorry/sessions/",
        "/sorry/caller/",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let role = Role::new(path, &format!("sorry-sue-developer-elsewhere{number}"))
            .tagged("sorry:session", unknown.as_str());
        bench.world.plant_role(role.with_policy("access", ALLOWS));
    }
    for _ in 0..2 {
        assert_eq!(bench.sweep(), SweepReport::default());
        bench.world.advance(SWEEP_EVERY);
    }
    let roles = [bench.world.roles(), bench.world.standing_roles()].concat();
    assert_eq!(roles.len(), paths.len() + 1, "and the one that stands");
    assert!(roles.iter().all(|role| role.inline.len() == 1));
}

#[test]
fn an_index_that_lags_makes_no_orphans_and_ends_nobody() {
    let mut bench = Bench::new();
    let over = bench.granted("developer", "request-over");
    bench.run_for(GRACE);
    let live = grant(&mut bench, 3);
    bench.service.revoke(&over).unwrap();
    bench.run_for(0);
    // The index shows none of the new ones, and the revoked one as it was.
    bench.world.set_index_lag(200);
    assert_eq!(bench.sweep(), SweepReport::default());
    assert!(live.iter().all(|id| bench.world.usable(id, bench.world.now())));
    assert_eq!(bench.world.row(&over).unwrap().state, State::Revoked);
    bench.assert_settled(&"a lagging index");
}

// What it settles.

/// Brings a granted session's row to a passing state, and lets its workflow be lost.
fn stuck(bench: &mut Bench, cause: EndCause, given_up: bool) -> SessionId {
    let id = bench.granted("developer", "request-1");
    bench.workflows.stop_all();
    let by = ChangedBy::service("test");
    let failure =
        (cause == EndCause::Failed).then(|| Failure::new(ErrorCode::Unavailable, "for the sake of the test"));
    let now = bench.world.now();
    let mut change = bench.world.row(&id).unwrap().ending(cause, failure, &by, now).unwrap();
    let _ = block_on(bench.world.commit(&change)).unwrap();
    if given_up {
        let failure = Failure::new(ErrorCode::Throttled, "for the sake of the test");
        change = change.session.clean_up_failed(failure, &by, now).unwrap();
        let _ = block_on(bench.world.commit(&change)).unwrap();
    }
    id
}

#[test]
fn every_passing_state_is_settled_when_it_is_stuck_and_not_before() {
    let ends = [
        (EndCause::Revoked, State::Revoked),
        (EndCause::Expired, State::Expired),
        (EndCause::Failed, State::Failed),
    ];
    for (cause, end) in ends {
        for given_up in [false, true] {
            let mut bench = Bench::new();
            let id = stuck(&mut bench, cause, given_up);
            let before = bench.world.row(&id).unwrap();
            bench.run_for(119);
            let report = bench.sweep();
            if given_up {
                assert_eq!(report.ended, 1, "what was given up is tried at once: {report:?}");
            } else {
                assert_eq!(report.ended, 0, "{report:?}");
                assert_eq!(bench.world.row(&id).unwrap().state, before.state);
                bench.run_for(1);
                assert_eq!(bench.sweep().ended, 1, "{}", before.state);
            }
            assert_eq!(bench.world.row(&id).unwrap().state, end);
            bench.assert_settled(&format!("{cause:?}, given up: {given_up}"));
        }
    }
}

/// The grant dies for good before, or after, each of its calls, and the workflow with it.
#[test]
fn grants_that_died_anywhere_are_settled() {
    let calls = {
        let mut bench = Bench::new();
        bench.granted("developer", "request-1");
        bench.world.calls().len()
    };
    for number in 0..calls {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let mut bench = Bench::new();
            bench.world.fail_call(number, fault);
            bench.workflows.watch(|world, execution| {
                // One try, and then nothing comes any more.
                if execution.state == "Provision"
                    && !world.rows().is_empty()
                    && world.calls().iter().any(|call| call.fault.is_some())
                {
                    world.fail_port("load", Fault::Refused);
                }
            });
            bench.service.request("developer", "request-1");
            bench.run_for(0);
            bench.workflows.stop_all();
            bench.world.clear_faults();
            bench.run_for(GRACE);
            bench.sweep();
            bench.assert_settled(&format!("call {number}, {fault:?}"));
            let state = bench.session().map(|session| session.state);
            assert!(
                matches!(state, None | Some(State::Failed | State::Active)),
                "call {number}, {fault:?}: {state:?}"
            );
        }
    }
}

#[test]
fn a_session_whose_workflow_is_lost_ends_at_its_time() {
    let mut bench = Bench::new();
    let id = bench.granted("break-glass", "request-1");
    bench.workflows.stop_all();
    bench.run_for(3600 + 29);
    assert_eq!(bench.sweep(), SweepReport::default(), "the workflow is left its time");
    assert!(!bench.world.access(&id, bench.world.now()), "the date needs nobody");
    bench.run_for(1);
    let report = bench.sweep();
    assert_eq!((report.found, report.ended), (1, 1));
    assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
    bench.assert_settled(&"a lost workflow");
}

#[test]
fn what_stayed_in_the_outbox_is_published() {
    let mut bench = Bench::new();
    bench.world.fail_port("publish", Fault::Throttled);
    let live = bench.granted("developer", "request-1");
    let over = bench.granted("developer", "request-2");
    bench.service.revoke(&over).unwrap();
    bench.run_for(0);
    bench.world.clear_faults();
    assert!(bench.world.published().is_empty());
    bench.run_for(59);
    assert_eq!(bench.sweep().published, 0);
    bench.run_for(1);
    assert_eq!(bench.sweep().published, 2);
    assert_eq!(bench.world.row(&live).unwrap().state, State::Active);
    assert_eq!(bench.world.row(&over).unwrap().state, State::Revoked);
    bench.assert_settled(&"outbox");
    assert_eq!(bench.sweep().published, 0, "once");
}

#[test]
fn a_session_whose_role_was_deleted_ends_after_the_grace() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    let other = bench.granted("developer", "request-2");
    bench.world.remove_role(bench.world.row(&id).unwrap().role_name.as_str());
    bench.run_for(299);
    assert_eq!(bench.sweep().repaired, 0);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Active);
    bench.run_for(1);
    assert_eq!(bench.sweep().repaired, 1);
    let row = bench.world.row(&id).unwrap();
    assert_eq!(row.state, State::Failed);
    let failure = row.end.unwrap().failure.unwrap();
    assert_eq!(failure.code, "NotFound");
    assert!(failure.message.contains(row.role_name.as_str()));
    assert!(bench.world.usable(&other, bench.world.now()));
    bench.assert_settled(&"a deleted role");
    // Its workflow still wakes, and finds nothing to do.
    bench.workflows.run_to_the_end();
    assert_eq!(bench.world.row(&id).unwrap().state, State::Failed);
    bench.assert_settled(&"a deleted role, at its end");
}

// How it goes on.

#[test]
fn one_bad_item_does_not_stop_the_others() {
    let mut bench = Bench::new();
    let sessions = grant(&mut bench, 6);
    bench.workflows.stop_all();
    bench.run_for(3600);
    plant_orphans(&bench.world, 5);
    let late = bench.granted("developer", "request-late");
    bench.world.remove_role(bench.world.row(&late).unwrap().role_name.as_str());
    bench.run_for(GRACE);
    let role = |id: &SessionId| bench.world.row(id).unwrap().role_name.to_string();
    bench.world.fail_about("load", sessions[0].as_str(), Fault::Refused);
    bench.world.fail_about("load", sessions[1].as_str(), Fault::TimedOutNotApplied);
    bench.world.fail_about("role", &role(&sessions[2]), Fault::Throttled);
    bench.world.fail_about("delete_role", &role(&sessions[3]), Fault::Refused);
    bench.world.fail_about("role", "sorry-sue-developer-orphan0", Fault::Refused);
    bench.world.fail_about("delete_role", "sorry-sue-developer-orphan1", Fault::Throttled);
    let report = bench.sweep();
    assert_eq!(report.found, 6);
    assert_eq!((report.ended, report.repaired, report.orphans.len()), (2, 1, 3), "{report:#?}");
    assert_eq!(report.failed.len(), 6, "{report:#?}");
    for what in [sessions[0].as_str(), sessions[3].as_str(), "orphan0", "orphan1"] {
        assert!(report.failed.iter().any(|text| text.contains(what)), "{what}: {report:#?}");
    }
    bench.world.clear_faults();
    bench.run_for(SWEEP_EVERY);
    assert!(bench.sweep().failed.is_empty());
    bench.assert_settled(&"after bad items");
}

#[test]
fn without_a_list_nothing_is_deleted() {
    for port in ["unfinished", "session_principals", "sweep_memory", "canary"] {
        for fault in Fault::ALL.into_iter().filter(|fault| !fault.is_silent()) {
            let mut bench = Bench::new();
            grant(&mut bench, 2);
            plant_orphans(&bench.world, 1);
            bench.world.fail_port(port, fault);
            assert!(bench.service.sweep().is_none_or(|report| report.is_err()), "{port}, {fault:?}");
            assert_eq!(bench.world.session_role_names().len(), 3, "{port}, {fault:?}");
        }
    }
}

#[test]
fn without_the_list_of_roles_what_is_due_is_ended_all_the_same() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    bench.workflows.stop_all();
    bench.run_for(3600 + 30);
    bench.world.fail_port("session_principals", Fault::Throttled);
    assert_eq!(bench.service.sweep().unwrap().unwrap_err().code, ErrorCode::Throttled);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
}

#[test]
fn a_sweep_ends_in_time_and_the_next_goes_on_most_overdue_first() {
    let mut bench = Bench::new();
    let first = bench.granted("developer", "request-1");
    bench.run_for(60);
    let second = bench.granted("developer", "request-2");
    plant_orphans(&bench.world, 1);
    bench.workflows.stop_all();
    bench.run_for(3600 + 60);
    // AWS is slow: the first session takes all the time there is.
    let begins = bench.world.calls().len();
    bench.world.before_call(begins + 4, |world| world.advance(200));
    let report = bench.sweep();
    assert!(report.unfinished);
    assert_eq!((report.ended, report.orphans.len()), (1, 0));
    assert_eq!(bench.world.row(&first).unwrap().state, State::Expired);
    assert_eq!(bench.world.row(&second).unwrap().state, State::Active);
    let report = bench.sweep();
    assert_eq!((report.ended, report.orphans.len(), report.unfinished), (1, 1, false));
    bench.assert_settled(&"two sweeps");
}

/// Three due sessions, one that lost its role, one with an unpublished event, an orphan.
fn much_to_do() -> Bench {
    let mut bench = Bench::new();
    grant(&mut bench, 3);
    bench.workflows.stop_all();
    bench.run_for(3600);
    plant_orphans(&bench.world, 1);
    let lost = bench.granted("developer", "request-lost");
    bench.world.remove_role(bench.world.row(&lost).unwrap().role_name.as_str());
    bench.world.fail_port("publish", Fault::Refused);
    bench.granted("developer", "request-silent");
    bench.world.clear_faults();
    bench.run_for(GRACE);
    bench
}

fn assert_done(bench: &Bench, label: &str) {
    bench.assert_settled(&label);
    let mut states: Vec<_> = bench.world.rows().into_iter().map(|row| row.state).collect();
    states.sort();
    assert_eq!(
        states,
        [State::Active, State::Expired, State::Expired, State::Expired, State::Failed],
        "{label}"
    );
}

#[test]
fn a_second_sweep_between_any_two_calls_of_the_first_does_no_harm() {
    let (first, calls) = {
        let bench = much_to_do();
        let first = bench.world.calls().len();
        bench.sweep();
        assert_done(&bench, "one sweep");
        (first, bench.world.calls().len())
    };
    for number in first..calls {
        let bench = much_to_do();
        bench.world.before_call(number, |world| {
            let report = block_on(sweep(&world.ports(), world)).unwrap();
            assert!(report.failed.is_empty(), "{report:?}");
        });
        let report = bench.sweep();
        assert!(report.failed.is_empty(), "call {number}: {report:?}");
        assert_done(&bench, &format!("call {number}"));
    }
    println!("a second sweep: {} cases", calls - first);
}

#[test]
fn sweeps_beside_each_other_do_no_harm() {
    type Sweeping<'a> = Pin<Box<dyn Future<Output = Result<SweepReport, StepError>> + 'a>>;
    for seed in 0..100 {
        let bench = much_to_do();
        let ports = bench.world.ports();
        let sweeps: Vec<Sweeping<'_>> =
            (0..3).map(|_| Box::pin(sweep(&ports, &bench.world)) as Sweeping<'_>).collect();
        for report in interleave(&bench.world, sweeps, seed) {
            let report = report.unwrap();
            assert!(report.failed.is_empty(), "seed {seed}: {report:?}");
        }
        assert_done(&bench, &format!("seed {seed}"));
    }
}

#[test]
fn a_session_written_while_its_caller_was_being_removed_is_ended() {
    let mut bench = Bench::new();
    let (kept, lost) = (grant(&mut bench, 1), bench.granted("developer", "request-late"));
    let entry = block_on(bench.world.callers()).unwrap().remove(0);
    // The entry is gone, and the list of sessions that the removal went through did not show these.
    let audit = events::sweep_audit("caller.removed", &ChangedBy::service("test"), &bench.world, Value::Null);
    block_on(bench.world.remove_caller(&entry, &audit)).unwrap();
    assert_eq!(bench.sweep().repaired, 2);
    for id in [&kept[0], &lost] {
        assert_eq!(bench.world.row(id).unwrap().state, State::Revoked);
        assert!(!bench.world.usable(id, bench.world.now()));
    }
}

#[test]
fn a_lost_registry_ends_nobodys_session() {
    let mut bench = Bench::new();
    let live = grant(&mut bench, 2);
    bench.world.lose_registry_table();
    for _ in 0..3 {
        assert_eq!(bench.sweep().repaired, 0);
        assert!(live.iter().all(|id| bench.world.usable(id, bench.world.now())));
        bench.run_for(SWEEP_EVERY);
    }
}

#[test]
fn a_clean_up_that_is_throttled_is_no_failed_one() {
    for (fault, given_up) in
        [(Fault::Throttled, false), (Fault::TimedOutNotApplied, false), (Fault::Refused, true)]
    {
        let mut bench = Bench::new();
        let id = bench.granted("developer", "request-1");
        bench.workflows.stop_all();
        bench.run_for(3600 + 30);
        bench.world.fail_port("delete_role", fault);
        for _ in 0..2 {
            assert_eq!(bench.sweep().failed.len(), 1, "{fault:?}");
            bench.run_for(SWEEP_EVERY);
        }
        assert_eq!(bench.world.was(&id, State::CleanUpFailed), given_up, "{fault:?}");
        let told = bench.world.published().iter().any(|event| event.detail["alert"] == true);
        assert_eq!(told, given_up, "{fault:?}: security is told of what is wrong, and not of what is slow");
        bench.world.clear_faults();
        assert_eq!(bench.sweep().ended, 1);
        assert_eq!(bench.world.row(&id).unwrap().state, State::Expired);
        bench.assert_settled(&format!("{fault:?}"));
    }
}

/// The tag says whose a role is; where somebody took it away, IAM's own id does.
#[test]
fn a_role_that_lost_its_tag_is_still_its_sessions() {
    for revoked in [true, false] {
        let mut bench = Bench::new();
        let id = bench.granted("developer", "request-1");
        let role = bench.world.row(&id).unwrap().role_name;
        bench.world.untag(role.as_str(), "sorry:session");
        let report = bench.sweep();
        assert_eq!(
            (report.orphans.len(), report.repaired),
            (0, 0),
            "it is no orphan while the session lives"
        );
        if revoked {
            bench.service.revoke(&id).unwrap();
        }
        bench.run_for(3600);
        let row = bench.world.row(&id).unwrap();
        assert_eq!(row.state, if revoked { State::Revoked } else { State::Expired });
        assert!(bench.world.session_role_names().is_empty(), "{} is said when nothing is left", row.state);
        bench.assert_settled(&"a lost tag");
    }
}

#[test]
fn a_role_made_anew_under_the_name_without_the_tag_is_somebody_elses() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    let role = bench.world.row(&id).unwrap().role_name;
    bench.world.remove_role(role.as_str());
    bench.world.plant_role(Role::new(PATH, role.as_str()));
    bench.run_for(GRACE);
    bench.service.revoke(&id).unwrap();
    bench.run_for(0);
    assert_eq!(bench.world.row(&id).unwrap().state, State::Revoked);
    assert_eq!(bench.world.session_role_names().len(), 1, "not the session's to delete");
    assert_eq!(bench.sweep().orphans.len(), 1, "the sweep takes it, as what nobody owns");
}
