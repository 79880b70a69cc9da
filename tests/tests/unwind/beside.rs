//! What meets what: a revocation between any two calls of a grant, people who write to a role meanwhile, steps beside each other, an
//! IAM that shows things late.

use sorry_policy::revoked_policy;
use sorry_session::State;
use sorry_testkit::{Call, Fault, Role, moment};

use crate::{
    cases::{TIERS, request},
    granting::calls_of_granting,
    harness::{self, Bench, LONGEST_WORKFLOW},
};

/// What of a revocation happens at once when it meets a grant under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// The row is written, the workflow of the end comes later.
    Decided,
    /// The clean-up runs as well, before a later call of the grant.
    CleanedUp,
}

#[test]
fn invariant_5_a_revocation_between_any_two_calls_of_granting_wins() {
    let mut count = 0;
    for tier in TIERS {
        let calls = calls_of_granting(tier, false);
        for first in 0..=calls.len() {
            for second in first..=calls.len() {
                for meeting in [Meeting::Decided, Meeting::CleanedUp] {
                    if meeting == Meeting::Decided && second > first {
                        continue;
                    }
                    let label = format!(
                        "{tier}: revoked before call {first}, {meeting:?} before call {second} of {}",
                        calls.len()
                    );
                    revoked_while_granting(tier, first, second, meeting, &label);
                    count += 1;
                }
            }
        }
        let calls = calls.len() + 1;
        assert!(count >= calls + calls * (calls + 1) / 2);
    }
    println!("revocation while granting: {count} cases");
}

fn revoked_while_granting(tier: &str, first: usize, second: usize, meeting: Meeting, label: &str) {
    let mut bench = Bench::new();
    bench.world.before_call(first, hooks::revoke);
    if meeting == Meeting::CleanedUp {
        bench.world.before_call(second, hooks::clean_up);
    }
    request(&bench, tier);
    bench.run_for(30);
    if bench.world.calls().len() == first {
        // After the last call.
        hooks::revoke(&bench.world);
    }
    let decided = bench.world.was(&bench.session().unwrap().session_id, State::Revoking);
    // The row is read again before each write to IAM: only the write that was under way already can still be made.
    let grants = |call: &Call| {
        ["create_role", "create_user", "create_policy", "attach_policy"].contains(&call.port)
            || (call.port, call.about.as_str()) == ("put_inline_policy", "access")
    };
    let later = bench.world.calls().iter().skip(first + 1).filter(|call| grants(call)).count();
    assert!(!decided || later == 0, "{label}: {later} more writes of a grant that was ended");
    bench.run_for(LONGEST_WORKFLOW);
    bench.settle();
    bench.assert_settled(&label);
    let state = bench.session().unwrap().state;
    let expected = if decided { State::Revoked } else { State::Active };
    assert_eq!(state, expected, "{label}");
    bench.run_until(moment(3600 + LONGEST_WORKFLOW));
    bench.settle();
    bench.assert_settled(&label);
}

#[test]
fn a_caller_removed_before_the_row_is_written_gets_no_session() {
    let mut bench = Bench::new();
    bench.world.before_call(1, |world| world.remove_planted_caller(&harness::sue().unique_id));
    assert_eq!(request(&bench, "developer"), Some(403));
    bench.run_for(LONGEST_WORKFLOW);
    assert!(bench.session().is_none() && bench.world.starts().is_empty());
}

#[test]
fn a_role_of_somebody_else_is_a_conflict_and_stays() {
    for tag in [None, Some("zzzzzzzzzzzzzzzz")] {
        let mut bench = Bench::new();
        request(&bench, "developer");
        let name = bench.session().unwrap().role_name.to_string();
        let mut role = Role::new("/sorry/namespace/sue/", &name).with_policy("own", &revoked_policy());
        if let Some(tag) = tag {
            role = role.tagged("sorry:session", tag);
        }
        bench.world.plant_role(role);
        bench.run_for(LONGEST_WORKFLOW);
        bench.settle();
        bench.assert_settled(&"somebody else's role");
        let failure = bench.session().unwrap().end.unwrap().failure.unwrap();
        assert_eq!(failure.code, "PrincipalConflict");
        assert!(failure.message.contains(&name));
        let kept = bench.world.roles();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].inline.keys().collect::<Vec<_>>(), ["own"]);
    }
}

#[test]
fn what_a_person_adds_to_a_role_while_it_is_removed_goes_too() {
    let (first, calls) = {
        let mut bench = Bench::new();
        bench.granted("developer", "request-1");
        let first = bench.world.calls().len();
        bench.workflows.run_to_the_end();
        (first, bench.world.calls().len())
    };
    for number in first..calls {
        let mut bench = Bench::new();
        bench.granted("developer", "request-1");
        bench.world.before_call(number, |world| {
            for role in world.roles() {
                world.attach(&role.name, "arn:aws:iam::aws:policy/AdministratorAccess");
                let role = world.roles().into_iter().find(|other| other.name == role.name).unwrap();
                world.plant_role(role.with_policy(
                    "more",
                    r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
                ));
            }
        });
        bench.run_until(moment(3600));
        let label = format!("call {number}");
        assert_eq!(bench.session().unwrap().state, State::Expired, "{label}");
        // What somebody allowed beside the date is no fault of the service; that nothing of it is left is its duty.
        assert!(bench.world.roles().is_empty(), "{label}");
    }
}

/// A grant, a clean-up after a revocation, a second grant of the same session and a sweep beside each other, call by call.
#[test]
fn invariant_9_steps_beside_each_other_do_no_harm() {
    for (seed, tier) in (0..400).flat_map(|seed| ["developer", "read-only+user"].map(|tier| (seed, tier))) {
        let mut bench = Bench::new();
        request(&bench, tier);
        let id = bench.session().unwrap().session_id;
        hooks::beside_each_other(&bench.service, &bench.world, &id, seed);
        let label = format!("{tier}, seed {seed}");
        bench.run_for(LONGEST_WORKFLOW);
        bench.settle();
        bench.assert_settled(&label);
        // The end was decided in every one of them.
        assert_eq!(bench.session().unwrap().state, State::Revoked, "{label}");
    }
    println!("steps beside each other: 400 schedules for each grant");
}

#[test]
fn iam_that_shows_a_new_role_late_is_no_conflict() {
    for lag in [1, 2, 5, 10] {
        let mut bench = Bench::new();
        bench.world.set_iam_lag(lag);
        bench.service.request("developer", "request-1").unwrap();
        bench.run_for(LONGEST_WORKFLOW);
        bench.settle();
        let label = format!("IAM lags by {lag} s");
        bench.assert_settled(&label);
        let session = bench.session().unwrap();
        assert_eq!(session.state, State::Active, "{label}: {:?}", session.end);
    }
}

#[test]
fn invariant_5_a_stale_look_at_a_role_is_no_revocation() {
    let mut bench = Bench::new();
    let id = bench.granted("developer", "request-1");
    bench.world.set_stale_reads(1);
    bench.service.revoke(&id).unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    bench.settle();
    bench.assert_settled(&"a stale look");
    assert_eq!(bench.session().unwrap().state, State::Revoked);
}

#[test]
fn invariant_4_two_late_writes_restore_nothing() {
    let mut bench = Bench::new();
    bench.world.land_after(60);
    let create =
        calls_of_granting("developer", false).iter().position(|call| call.port == "create_role").unwrap();
    // The first creation is late; the retry makes the role; its permissions are late too, then refused.
    bench.world.fail_call(create, Fault::AppliedLate);
    let mut first = true;
    bench.workflows.watch(move |world, execution| {
        if execution.state == "Provision"
            && world.calls().iter().any(|call| call.fault.is_some())
            && std::mem::take(&mut first)
        {
            world.fail_port("put_inline_policy", Fault::AppliedLate);
        }
        if execution.state == "CleanUp" {
            world.clear_faults();
        }
    });
    bench.service.request("developer", "request-1").unwrap();
    bench.run_for(LONGEST_WORKFLOW);
    bench.settle();
    bench.assert_settled(&"two late writes");
}

/// What happens beside the thing that is tested.
mod hooks {
    use std::{future::Future, pin::Pin};

    use sorry_policy::SessionId;
    use sorry_session::{clean_up, events::ChangedBy, ports::Workflow};
    use sorry_testkit::{World, block_on, interleave};

    use crate::harness::{Service, sue};

    type Step<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + 'a>>;

    /// The end of the only session, as the API decides it.
    pub(crate) fn revoke(world: &World) {
        let Some(session) = world.rows().into_iter().next() else {
            return;
        };
        let by = ChangedBy::Caller(sue().into());
        let session = block_on(clean_up::revoke(&world.ports(), session, &by)).unwrap();
        if session.state.is_ending() {
            block_on(world.start_end(&session)).unwrap();
        }
    }

    /// One run of the clean-up of the only session, if its end is decided.
    pub(crate) fn clean_up(world: &World) {
        let Some(session) = world.rows().into_iter().next().filter(|session| session.state.is_ending())
        else {
            return;
        };
        block_on(clean_up::clean_up(
            &world.ports(),
            &session.session_id,
            None,
            &ChangedBy::service("clean-up"),
        ))
        .unwrap();
    }

    pub(crate) fn beside_each_other(service: &Service, world: &World, id: &SessionId, seed: u64) {
        let ended = async {
            let by = ChangedBy::Caller(sue().into());
            let session = world.row(id).unwrap();
            let session =
                clean_up::revoke(&world.ports(), session, &by).await.map_err(|error| error.to_string())?;
            world.start_end(&session).await.map_err(|error| error.to_string())?;
            let by = ChangedBy::service("clean-up");
            clean_up::clean_up(&world.ports(), id, None, &by)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        let swept = async {
            let report = sorry_session::sweep::sweep(&world.ports(), world).await;
            report.map(|_| ()).map_err(|error| error.to_string())
        };
        let steps: Vec<Step<'_>> = vec![
            Box::pin(service.granting(id)),
            Box::pin(service.granting(id)),
            Box::pin(ended),
            Box::pin(swept),
        ];
        for answer in interleave(world, steps, seed) {
            if let Err(error) = answer {
                // One of them had to stop; none may fail for another reason.
                let expected = [
                    "moved on by somebody else",
                    "and cannot be",
                    "vanished",
                    "keeps changing",
                    "is not this session's",
                ];
                assert!(expected.iter().any(|text| error.contains(text)), "seed {seed}: {error}");
            }
        }
    }
}
