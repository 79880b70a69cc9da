//! Every call that granting, expiry, revocation and the sweep make, each failing in every way: afterwards nothing is left behind,
//! nothing gives access that should not, and every row says what happened. The calls are not listed here: each test records them
//! in a run without faults, so a new call is covered without anyone remembering.
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
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use harness::{Bench, LONGEST_WORKFLOW, faults};
use sorry_policy::revoked_policy;
use sorry_session::{State, extension::ExtensionOutcome, ports::Clock};
use sorry_testkit::{Call, Fault, Role, moment};

/// A tier for each grant; after a `+` the grant, where it is not the tier's own.
const TIERS: [&str; 3] = ["developer", "break-glass", "read-only+user"];

/// The tiers, and whether they are published ones.
const GRANTS: [(&str, bool); 4] =
    [("developer", false), ("break-glass", false), ("read-only+user", false), ("developer", true)];

fn bench_with(published: bool) -> Bench {
    if published { Bench::published() } else { Bench::new() }
}

/// For how long a fault stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// For the one call.
    Once,
    /// For this and all later calls to the same port, until the session is granted or cleaned up.
    WhileGranting,
    /// For this and all later calls to the same port, until the workflow has ended or waits.
    UntilTheWorkflowEnds,
}

impl Lasting {
    const ALL: [Self; 3] = [Self::Once, Self::WhileGranting, Self::UntilTheWorkflowEnds];
}

/// One way for one call to fail.
struct Case<'a> {
    what: &'a str,
    number: usize,
    call: &'a Call,
    fault: Fault,
    /// For [`Fault::AppliedLate`]: after how many seconds.
    late: i64,
    lasting: Lasting,
    /// Whether whoever asked asks again when the answer was no.
    insisting: bool,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, number, call, fault, late, lasting, insisting } = self;
        write!(
            formatter,
            "{what}, call {number} `{} {}`: {fault:?} (late by {late} s), {lasting:?}, insisting: {insisting}",
            call.port, call.about
        )
    }
}

impl Case<'_> {
    fn set(&self, bench: &mut Bench) {
        bench.world.land_after(self.late);
        match self.lasting {
            Lasting::Once => bench.world.fail_call(self.number, self.fault),
            Lasting::WhileGranting | Lasting::UntilTheWorkflowEnds => {
                bench.world.fail_from_call(self.number, self.fault);
            }
        }
        if self.lasting == Lasting::WhileGranting {
            bench.workflows.watch(|world, execution| {
                if ["CleanUp", "WaitUntilExpiry"].contains(&execution.state.as_str()) {
                    world.clear_faults();
                }
            });
        }
    }

    /// A fault that passes, and whose call could be repeated.
    fn is_passing(&self) -> bool {
        self.lasting == Lasting::Once && self.fault != Fault::Refused
    }
}

/// Runs `test` for every call of `calls` from number `first` on × fault × how long × whether somebody insists, and says how many
/// those were.
fn for_each_case(
    what: &str,
    first: usize,
    calls: &[Call],
    lasting: &[Lasting],
    insisting: &[bool],
    mut test: impl FnMut(&Case<'_>),
) -> usize {
    let mut count = 0;
    let mut failed = Vec::new();
    for (number, call) in calls.iter().enumerate().skip(first) {
        for (fault, late) in faults() {
            for lasting in lasting.iter().copied() {
                for insisting in insisting.iter().copied() {
                    let case = Case { what, number, call, fault, late, lasting, insisting };
                    if catch_unwind(AssertUnwindSafe(|| test(&case))).is_err() {
                        failed.push(case.to_string());
                    }
                    count += 1;
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} cases failed:\n{}", failed.len(), failed.join("\n"));
    assert!(calls.len() > first, "{what}: no calls were recorded");
    assert_eq!(count, (calls.len() - first) * faults().len() * lasting.len() * insisting.len());
    count
}

/// Asks until the answer is yes, at most three times; only once if not insisting.
fn ask(bench: &mut Bench, insisting: bool, mut ask: impl FnMut(&Bench) -> Option<u16>) -> bool {
    for _ in 0..if insisting { 3 } else { 1 } {
        if ask(bench).is_some_and(|status| status < 300) {
            return true;
        }
        bench.run_for(5);
    }
    false
}

fn request(bench: &Bench, tier: &str) -> Option<u16> {
    bench.service.request(tier, "request-1").map(|response| response.status)
}

fn revoke(bench: &Bench) -> Option<u16> {
    let session = bench.session()?;
    bench.service.revoke(&session.session_id).map(|response| response.status)
}

/// The calls of a grant without faults, request included.
fn calls_of_granting(tier: &str, published: bool) -> Vec<Call> {
    let mut bench = bench_with(published);
    bench.granted(tier, "request-1");
    bench.world.calls()
}

#[test]
fn invariant_4_granting_unwinds_whatever_fails() {
    let mut count = 0;
    let mut visited = BTreeSet::new();
    for (tier, published) in GRANTS {
        let calls = calls_of_granting(tier, published);
        assert_eq!(
            calls.iter().filter(|call| call.port == "tier_set").count(),
            if published { 2 } else { 0 }
        );
        count += for_each_case(tier, 0, &calls, &Lasting::ALL, &[false, true], |case| {
            let mut bench = bench_with(published);
            case.set(&mut bench);
            let accepted = ask(&mut bench, case.insisting, |bench| request(bench, tier));
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(case);
            let state = bench.session().map(|session| session.state);
            match state {
                Some(State::Active | State::Failed) => {}
                None => assert!(!accepted, "{case}: accepted, and there is no row"),
                Some(state) => panic!("{case}: {state}"),
            }
            let in_provision = provision_began(&calls).is_some_and(|began| case.number >= began);
            if case.is_passing() && in_provision {
                assert_eq!(state, Some(State::Active), "{case}: one passing fault is no reason to fail");
            }
            bench.run_until(moment(3600 + 3 * LONGEST_WORKFLOW));
            bench.settle();
            bench.assert_settled(case);
            let end = bench.session().map(|session| session.state);
            assert_eq!(
                end,
                state.map(|state| if state == State::Active { State::Expired } else { state }),
                "{case}"
            );
            visited.extend(bench.workflows.visited().iter().cloned());
        });
    }
    println!("granting: {count} cases");
    println!("states of the machine that were run: {visited:?}");
    for state in
        ["Alert", "Provision", "WaitUntilExpiry", "CleanUp", "Pending", "GiveUp", "LeftToTheSweep", "NotDue"]
    {
        assert!(visited.contains(state), "no case leads to `{state}`");
    }
}

/// The number of the first call that the function `provision` makes.
fn provision_began(calls: &[Call]) -> Option<usize> {
    let commit = calls.iter().position(|call| call.port == "commit" && call.about == "PROVISIONING")?;
    commit.checked_sub(1)
}

#[test]
fn expiry_unwinds_whatever_fails() {
    let mut count = 0;
    for tier in TIERS {
        let (first, calls) = {
            let mut bench = Bench::new();
            bench.granted(tier, "request-1");
            let first = bench.world.calls().len();
            bench.workflows.run_to_the_end();
            bench.assert_settled(&"expiry without faults");
            (first, bench.world.calls())
        };
        count += for_each_case(
            tier,
            first,
            &calls,
            &[Lasting::Once, Lasting::UntilTheWorkflowEnds],
            &[false],
            |case| {
                let mut bench = Bench::new();
                bench.granted(tier, "request-1");
                case.set(&mut bench);
                bench.run_until(moment(3600 + LONGEST_WORKFLOW));
                bench.settle();
                bench.assert_settled(case);
                assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
            },
        );
    }
    println!("expiry: {count} cases");
}

/// The workflow is lost: the sweep does its work, and its own calls fail.
#[test]
fn the_sweep_unwinds_whatever_fails() {
    let mut count = 0;
    // A session that is due, one that was never provisioned, one whose clean-up was given up, and an orphan.
    let prepared = || {
        let mut bench = Bench::new();
        let due = bench.granted("developer", "request-1");
        bench.service.request("developer", "request-2").unwrap();
        let given_up = bench.granted("read-only", "request-3");
        bench.world.fail_port("delete_role", Fault::Refused);
        bench.service.revoke(&given_up).unwrap();
        bench.run_for(LONGEST_WORKFLOW);
        bench.world.clear_faults();
        assert_eq!(bench.world.row(&given_up).unwrap().state, State::CleanUpFailed);
        bench.workflows.stop_all();
        let orphan = sorry_testkit::Role::new("/sorry/session/sue/", "sorry-sue-developer-orphan");
        bench.world.plant_role(orphan);
        bench.run_until(moment(3600 + 60));
        (bench, due)
    };
    let (first, calls) = {
        let (bench, _) = prepared();
        let first = bench.world.calls().len();
        bench.sweep();
        bench.assert_settled(&"sweep without faults");
        (first, bench.world.calls())
    };
    count += for_each_case(
        "sweep",
        first,
        &calls,
        &[Lasting::Once, Lasting::UntilTheWorkflowEnds],
        &[false],
        |case| {
            let (mut bench, due) = prepared();
            case.set(&mut bench);
            drop(bench.service.sweep());
            bench.run_for(harness::SWEEP_EVERY);
            bench.settle();
            bench.assert_settled(case);
            let end = bench.world.row(&due).unwrap();
            assert_eq!(end.state, State::Expired, "{case}: {:?}", end.end);
        },
    );
    println!("sweep: {count} cases");
}

#[test]
fn invariant_5_revocation_unwinds_whatever_fails() {
    let mut count = 0;
    for tier in TIERS {
        for active in [true, false] {
            let prepared = || {
                let mut bench = Bench::new();
                if active {
                    bench.granted(tier, "request-1");
                } else {
                    bench.service.request(tier, "request-1").unwrap();
                    bench.workflows.stop_all();
                }
                bench
            };
            let (first, calls) = {
                let mut bench = prepared();
                let first = bench.world.calls().len();
                assert_eq!(revoke(&bench), Some(202));
                bench.run_for(0);
                bench.assert_settled(&"revocation without faults");
                (first, bench.world.calls())
            };
            let what = format!("{tier}, active: {active}");
            count += for_each_case(
                &what,
                first,
                &calls,
                &[Lasting::Once, Lasting::UntilTheWorkflowEnds],
                &[false, true],
                |case| {
                    let mut bench = prepared();
                    case.set(&mut bench);
                    let accepted = ask(&mut bench, case.insisting, revoke);
                    bench.run_for(LONGEST_WORKFLOW);
                    let decided = bench.session().unwrap().state
                        != if active { State::Active } else { State::Requested };
                    assert!(decided || !accepted, "{case}: accepted, and not decided");
                    bench.settle();
                    bench.assert_settled(case);
                    let expected = match (decided, active) {
                        (true, _) => State::Revoked,
                        (false, true) => State::Active,
                        (false, false) => State::Failed,
                    };
                    assert_eq!(bench.session().unwrap().state, expected, "{case}");
                    bench.run_until(moment(3600 + LONGEST_WORKFLOW));
                    bench.settle();
                    bench.assert_settled(case);
                },
            );
        }
    }
    println!("revocation: {count} cases");
}

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

/// Asks for an hour more.
fn extend(bench: &Bench) -> Option<u16> {
    let session = bench.session()?;
    bench.service.extend(&session.session_id, 3600).map(|response| response.status)
}

#[test]
fn extending_unwinds_whatever_fails() {
    let mut count = 0;
    let mut visited = BTreeSet::new();
    let mut outcomes = BTreeSet::new();
    for (tier, published) in [("developer", false), ("developer", true)] {
        let prepared = || {
            let mut bench = bench_with(published);
            let id = bench.granted(tier, "request-1");
            (bench, id)
        };
        let (first, calls) = {
            let (mut bench, id) = prepared();
            let first = bench.world.calls().len();
            assert_eq!(extend(&bench), Some(202));
            bench.run_for(0);
            assert_eq!(bench.world.row(&id).unwrap().expires_at, moment(7200));
            bench.assert_settled(&"an extension without faults");
            (first, bench.world.calls())
        };
        let writes = |port: &str| calls.iter().skip(first).filter(|call| call.port == port).count();
        assert_eq!(
            (writes("put_trust_policy"), writes("put_inline_policy"), writes("start_extension")),
            (1, 1, 1)
        );
        let began = calls.iter().position(|call| call.port == "start_extension").unwrap();
        count += for_each_case(
            tier,
            first,
            &calls,
            &[Lasting::Once, Lasting::UntilTheWorkflowEnds],
            &[false, true],
            |case| {
                let (mut bench, id) = prepared();
                case.set(&mut bench);
                let accepted = ask(&mut bench, case.insisting, extend);
                bench.run_for(LONGEST_WORKFLOW);
                bench.settle();
                bench.assert_settled(case);
                let row = bench.world.row(&id).unwrap();
                assert_eq!(row.state, State::Active, "{case}: an extension that fails costs nothing");
                let outcome = row.extension.as_ref().and_then(|extension| extension.settled.clone());
                assert!(outcome.is_some() || !accepted, "{case}: accepted, and nobody says what came of it");
                let done = outcome.is_some_and(|settled| settled.outcome == ExtensionOutcome::Done);
                let end = moment(if done { 7200 } else { 3600 });
                assert_eq!(row.expires_at, end, "{case}");
                if case.is_passing() && case.number > began {
                    assert!(done, "{case}: one passing fault is no reason to fail");
                }
                outcomes.insert(done);
                bench.run_until(moment(end.as_second() - moment(0).as_second() - 1));
                assert!(bench.world.usable(&id, bench.world.now()), "{case}: to the end that the row says");
                bench.run_until(moment(7200 + LONGEST_WORKFLOW));
                bench.settle();
                bench.assert_settled(case);
                assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
                visited.extend(bench.workflows.visited().iter().cloned());
            },
        );
    }
    println!("extending: {count} cases");
    assert_eq!(outcomes.len(), 2, "some are done, some are not");
    for state in ["Extend", "NotExtended", "ExtensionLeftToTheSweep", "NotDue"] {
        assert!(visited.contains(state), "no case leads to `{state}`");
    }
}

/// Asked for in the last seconds: whatever fails, the session goes on or ends, and nothing gives access past the end that was decided.
#[test]
fn extending_in_the_last_moment_unwinds_whatever_fails() {
    let prepared = || {
        let mut bench = Bench::new();
        let id = bench.granted("developer", "request-1");
        bench.run_until(moment(3598));
        (bench, id)
    };
    let (first, calls) = {
        let (mut bench, _) = prepared();
        let first = bench.world.calls().len();
        assert_eq!(extend(&bench), Some(202));
        bench.run_for(0);
        (first, bench.world.calls())
    };
    let mut ends = BTreeSet::new();
    let count = for_each_case(
        "the last moment",
        first,
        &calls,
        &[Lasting::Once, Lasting::UntilTheWorkflowEnds],
        &[false],
        |case| {
            let (mut bench, id) = prepared();
            case.set(&mut bench);
            ask(&mut bench, false, extend);
            bench.run_for(LONGEST_WORKFLOW);
            bench.settle();
            bench.assert_settled(case);
            let row = bench.world.row(&id).unwrap();
            match row.state {
                State::Active => assert_eq!(row.expires_at, moment(7200), "{case}"),
                State::Expired => assert_eq!(row.expires_at, moment(3600), "{case}"),
                state => panic!("{case}: {state}"),
            }
            ends.insert(row.state);
            bench.run_until(moment(7200 + LONGEST_WORKFLOW));
            bench.settle();
            bench.assert_settled(case);
            assert_eq!(bench.session().unwrap().state, State::Expired, "{case}");
        },
    );
    println!("extending in the last moment: {count} cases");
    assert_eq!(ends.len(), 2);
}

/// A person who is registered the moment their user was made, and asks: IAM takes up to half a minute to know them.
#[test]
fn a_caller_that_iam_learns_of_late_is_granted_and_one_that_it_never_does_is_named() {
    for (known_after, granted) in [(1, true), (30, true), (44, true), (100, false)] {
        let mut bench = Bench::new();
        bench.world.know_principals_from(moment(known_after));
        assert_eq!(bench.service.request("developer", "request-1").unwrap().status, 202);
        bench.run_for(60);
        let row = bench.session().unwrap();
        let label = format!("known after {known_after} s: {:?}", row.end);
        if granted {
            assert_eq!(row.state, State::Active, "{label}");
            continue;
        }
        let failure = row.end.as_ref().unwrap().failure.clone().unwrap();
        assert_eq!(failure.code, "CallerUnknownToIam", "{label}");
        let caller = harness::sue();
        assert!(
            failure.message.contains(&caller.arn) && failure.message.contains(&caller.unique_id),
            "{label}"
        );
        bench.settle();
        assert_eq!(bench.session().unwrap().state, State::Failed, "{label}");
        bench.assert_settled(&label);
    }
}

#[test]
fn a_window_that_is_over_is_not_tried_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.service.request("developer", "request-1").unwrap().status, 202);
    let tries = std::rc::Rc::new(std::cell::Cell::new(0));
    let counted = tries.clone();
    bench.workflows.watch(move |world, execution| {
        if execution.state == "Provision" {
            if counted.get() == 0 {
                world.advance(3600);
            }
            counted.set(counted.get() + 1);
        }
    });
    bench.run_for(3660);
    let row = bench.session().unwrap();
    assert_eq!((row.state, tries.get()), (State::Failed, 1));
    assert_eq!(row.end.clone().unwrap().failure.unwrap().code, "WindowOver");
    bench.assert_settled(&"a window that is over");
}
