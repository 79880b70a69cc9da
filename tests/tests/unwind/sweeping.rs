//! The sweep itself: the workflows are lost, it does their work, and its own calls fail. One sweep later, without faults, all is well.

use std::collections::BTreeMap;

use serde_json::json;
use sorry_policy::SessionId;
use sorry_session::{State, events::SWEEP_HELD_EVENT, ports::Clock};
use sorry_testkit::{Fault, Role, moment};

use crate::{
    cases::{Case, Lasting, Past, Recorded, TIERS, issue, key_left},
    harness::{Bench, GRACE, LONGEST_WORKFLOW, sue},
};

/// What there is for the sweep to do.
struct Mess {
    what: &'static str,
    made: fn(&str) -> Bench,
    /// The tiers that it can be made of.
    tiers: &'static [&'static str],
    /// What must be true besides, one sweep without faults later. It may go on from there.
    mended: fn(&mut Bench, &str),
}

const MESSES: [Mess; 10] = [
    Mess {
        what: "sessions in every passing state",
        made: passing,
        tiers: &TIERS,
        mended: |bench, label| {
            let mut ends = BTreeMap::new();
            bench.world.rows().iter().for_each(|row| *ends.entry(row.state).or_insert(0) += 1);
            let due = (State::Expired, 1);
            assert_eq!(ends, [(State::Revoked, 3), due, (State::Failed, 2)].into(), "{label}");
            assert_eq!(bench.world.session_role_names(), [""; 0], "{label}");
        },
    },
    Mess {
        what: "ends that are to be pruned",
        made: to_prune,
        tiers: &["break-glass"],
        mended: |bench, label| {
            assert!(bench.world.rows().iter().all(|row| row.prune_at.is_none()), "{label}");
            let left = bench.world.standing_roles().iter().map(|role| role.inline.len()).sum::<usize>();
            assert_eq!(left, 1, "{label}: `access` alone");
        },
    },
    Mess {
        what: "keys of tries that died",
        made: doubtful_keys,
        tiers: &["read-only+user"],
        mended: |bench, label| {
            assert!(bench.world.rows().iter().all(|row| row.state == State::Active), "{label}");
            assert!(bench.world.rows()[0].issue.clone().unwrap().unsure_until.is_none(), "{label}");
        },
    },
    Mess {
        what: "extensions whose workflow was lost",
        made: extension_lost,
        tiers: &["developer", "read-only+user"],
        mended: |bench, label| {
            assert!(bench.world.rows().iter().all(|row| row.state == State::Active), "{label}");
        },
    },
    Mess {
        what: "an extension that nobody approved",
        made: extension_lapsed,
        tiers: &["admin"],
        mended: |bench, label| assert_eq!(bench.session().unwrap().state, State::Active, "{label}"),
    },
    Mess {
        what: "requests that nobody approved",
        made: |tier| {
            let mut bench = Bench::new();
            for number in 0..2 {
                bench.service.request(tier, &format!("request-{number}")).unwrap();
            }
            bench.run_for(4 * 3600 + 1);
            bench
        },
        tiers: &["admin"],
        mended: |bench, label| {
            assert!(bench.world.rows().iter().all(|row| row.state == State::Expired), "{label}");
        },
    },
    Mess {
        what: "a principal that somebody deleted",
        made: principal_lost,
        tiers: &["developer", "read-only+user"],
        mended: |bench, label| {
            assert!(bench.world.rows().iter().all(|row| row.state == State::Failed), "{label}");
        },
    },
    Mess {
        what: "a caller who was removed",
        made: |tier| {
            let (mut bench, _) = Past::Granted.of(tier);
            let id = bench.granted(tier, "request-2");
            if tier != "developer" {
                assert_eq!(issue(&bench, &id), Some(200));
            }
            bench.world.remove_planted_caller(&sue().unique_id);
            // Counted as live although it never was.
            let session = bench.world.row(&id).unwrap();
            bench.world.plant_live(&sue().unique_id, &session.tier, &SessionId::from_random([9; 10]));
            bench.run_for(GRACE);
            bench
        },
        tiers: &TIERS,
        mended: |bench, label| {
            let rows = bench.world.rows();
            assert!(rows.iter().all(|row| row.state == State::Revoked), "{label}");
            let counted = bench.world.counted_live(&sue().unique_id, &rows[0].tier);
            assert!(counted.is_empty(), "{label}: {counted:?}");
        },
    },
    Mess {
        what: "a first sweep",
        made: |tier| {
            let mut bench = Bench::fresh();
            bench.granted(tier, "request-1");
            bench
        },
        tiers: &["developer"],
        mended: |bench, label| assert!(bench.world.has_canary(), "{label}"),
    },
    Mess {
        what: "more orphans than can be an accident",
        made: |tier| {
            let mut bench = Bench::new();
            bench.granted(tier, "request-1");
            (0..6).for_each(|number| plant_orphan(&bench, tier, number));
            bench
        },
        tiers: &["developer", "read-only+user"],
        mended: |bench, label| {
            // Held and told, and nothing is removed before somebody says so.
            let held = bench.world.remembered().hold.unwrap_or_else(|| panic!("{label}: not held"));
            let told = bench.world.published().iter().any(|event| event.detail_type == SWEEP_HELD_EVENT);
            assert!(told && held.count >= 6, "{label}: {held:?}");
            assert_eq!(bench.world.session_role_names().len() + bench.world.users().len(), 7, "{label}");
            assert_eq!(bench.service.confirm(&held.digest).unwrap().status, 200, "{label}");
            bench.sweep();
        },
    },
];

/// Of one kind all that a sweep finds when the workflows are lost.
fn passing(tier: &str) -> Bench {
    let mut bench = Bench::new();
    bench.world.lift_limits();
    bench.world.set_key_lag(3);
    let issued = |bench: &mut Bench, request: &str| {
        let id = bench.granted(tier, request);
        if tier != "developer" {
            assert_eq!(issue(bench, &id), Some(200));
        }
        id
    };
    // Past its end.
    issued(&mut bench, "request-due");
    bench.workflows.stop_all();
    bench.run_until(moment(3000));
    // Its clean-up was given up.
    let given_up = issued(&mut bench, "request-given-up");
    for port in ["delete_role", "delete_user"] {
        bench.world.fail_port(port, Fault::Refused);
    }
    bench.world.fail_about("put_inline_policy", &format!("revoked-{given_up}"), Fault::Refused);
    bench.service.revoke(&given_up).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    bench.world.clear_faults();
    assert_eq!(bench.world.row(&given_up).unwrap().state, State::CleanUpFailed);
    // Its end was decided, and nobody carried it out.
    for request in ["request-ended", "request-with-a-key"] {
        let ended = issued(&mut bench, request);
        if tier.ends_with("+user") && request != "request-ended" {
            bench.world.burden_user(bench.world.row(&ended).unwrap().role_name.as_str());
        }
        bench.service.revoke(&ended).unwrap();
        bench.workflows.stop_all();
        assert_eq!(bench.world.row(&ended).unwrap().state, State::Revoking);
    }
    // Never made, and made without anybody to say so.
    bench.service.request(tier, "request-never-made").unwrap();
    bench.workflows.stop_all();
    bench.service.request(tier, "request-half-made").unwrap();
    bench.world.fail_about("commit", "ACTIVE", Fault::CrashBefore);
    bench.run_for(0);
    bench.workflows.stop_all();
    bench.world.clear_faults();
    assert!(bench.world.rows().iter().any(|row| row.state == State::Provisioning));
    plant_orphan(&bench, tier, 0);
    // What is stuck is so after two minutes; that nothing of a grant can come any more is sure after five.
    bench.run_for(GRACE);
    bench
}

/// A principal that no session owns, with all that it can have.
fn plant_orphan(bench: &Bench, tier: &str, number: usize) {
    let name = format!("sorry-sue-{}-orphan{number}", tier.split('+').next().unwrap());
    let orphan = Role::new("/sorry/session/sue/", &name);
    if tier.ends_with("+user") {
        let policy = format!("arn:aws:iam::123456789012:policy/sorry/session/sue/{name}");
        bench.world.plant_policy(&policy);
        let mut user = orphan;
        user.attached.insert(policy);
        bench.world.plant_user(user);
        bench.world.burden_user(&name);
    } else {
        bench.world.plant_role(orphan);
        bench.world.attach(&name, "arn:aws:iam::aws:policy/AdministratorAccess");
    }
}

fn to_prune(tier: &str) -> Bench {
    let mut bench = Bench::new();
    for request in ["request-one", "request-other"] {
        let id = bench.granted(tier, request);
        assert_eq!(issue(&bench, &id), Some(200));
        bench.service.revoke(&id).unwrap();
        bench.run_for(30);
        assert_eq!(bench.world.row(&id).unwrap().state, State::Revoked);
    }
    let last = bench.world.rows().iter().filter_map(|row| row.prune_at).max().unwrap();
    bench.run_until(last);
    bench
}

fn doubtful_keys(tier: &str) -> Bench {
    let mut bench = Bench::new();
    let id = bench.granted(tier, "request-1");
    key_left(&bench, &id);
    bench.run_for(GRACE);
    bench
}

fn extension_lost(tier: &str) -> Bench {
    let mut bench = Bench::new();
    let half_done = bench.granted(tier, "request-half-done");
    let never_begun = bench.granted(tier, "request-never-begun");
    if tier.ends_with("+user") {
        // Two things are due of one session.
        key_left(&bench, &half_done);
    }
    bench.service.extend(&half_done, 3600).unwrap();
    bench.world.fail_port("commit", Fault::CrashBefore);
    bench.run_for(0);
    bench.world.clear_faults();
    bench.workflows.stop_all();
    bench.service.extend(&never_begun, 3600).unwrap();
    bench.workflows.stop_all();
    bench.run_for(GRACE);
    for row in bench.world.rows() {
        assert!(row.extension_under_way().is_some());
        assert!(row.extension_due_at().is_some_and(|at| at <= bench.world.now()));
    }
    bench
}

fn extension_lapsed(tier: &str) -> Bench {
    let mut bench = Bench::new();
    let ann = bench.approver("ann");
    let body = json!({
        "client_request_id": "request-1", "duration_seconds": 5 * 3600, "reason": "to see what happens",
    });
    bench.service.send(&sue(), "POST", "/tiers/{tier}/sessions", tier, &body).unwrap();
    let id = bench.session().unwrap().session_id;
    let word = json!({"decision": "approve"});
    bench.service.send(&ann, "POST", "/sessions/{id}/decision", id.as_str(), &word).unwrap();
    bench.run_for(0);
    assert_eq!(bench.service.extend(&id, 3600).unwrap().status, 202);
    assert!(bench.session().unwrap().extension_awaiting().is_some());
    bench.run_for(4 * 3600 + 1);
    bench
}

/// The user of one, the policy of another; or the roles of both.
fn principal_lost(tier: &str) -> Bench {
    let mut bench = Bench::new();
    let (one, other) = (bench.granted(tier, "request-one"), bench.granted(tier, "request-other"));
    let name = |id: &SessionId| bench.world.row(id).unwrap().role_name.to_string();
    for (id, whole) in [(&one, true), (&other, false)] {
        let row = bench.world.row(id).unwrap();
        if !tier.ends_with("+user") {
            bench.world.remove_role(&name(id));
        } else if whole {
            bench.world.remove_user(&name(id));
        } else {
            bench.world.remove_policy(row.policy_arn().unwrap().as_str());
        }
    }
    bench.run_for(GRACE);
    bench
}

fn all() -> impl Iterator<Item = (&'static Mess, &'static str)> {
    MESSES.iter().flat_map(|mess| mess.tiers.iter().map(move |tier| (mess, *tier)))
}

pub(crate) fn recorded() -> Vec<Recorded> {
    let recorded = all().map(|(mess, tier)| {
        let mut bench = (mess.made)(tier);
        let about = format!("{tier}, {}", mess.what);
        let first = bench.world.calls().len();
        bench.sweep();
        let calls = bench.world.calls();
        // One sweep is enough.
        (mess.mended)(&mut bench, &about);
        bench.assert_settled(&about);
        Recorded {
            operation: "sweep",
            about,
            first,
            calls,
            lasting: Lasting::ONCE_OR_ALWAYS,
            insisting: &[false],
            faults: faults_of_a_sweep(),
        }
    });
    recorded.collect()
}

/// However late, it is before the next sweep.
fn faults_of_a_sweep() -> Vec<(Fault, i64)> {
    Fault::ALL.map(|fault| (fault, if fault.is_late() { 40 } else { 0 })).into()
}

fn unwinds(mess: &Mess, made: &Bench, case: &Case<'_>) {
    let mut bench = made.fork();
    case.set(&mut bench);
    drop(bench.service.sweep());
    bench.world.clear_faults();
    bench.run_for(GRACE);
    bench.sweep();
    (mess.mended)(&mut bench, &case.to_string());
    bench.assert_settled(case);
}

fn all_unwind(of_users: bool) {
    let all = all().zip(recorded());
    for ((mess, tier), recorded) in all.filter(|((_, tier), _)| tier.ends_with("+user") == of_users) {
        let made = (mess.made)(tier);
        recorded.for_each_case(|case| unwinds(mess, &made, case));
    }
}

#[test]
fn invariant_4_the_sweep_unwinds_whatever_fails_of_roles() {
    all_unwind(false);
}

#[test]
fn invariant_4_the_sweep_unwinds_whatever_fails_of_users() {
    all_unwind(true);
}
