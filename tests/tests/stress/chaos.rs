//! Two hundred sessions and more at once, of every grant, some to be approved, some extended, behind a proxy that delays, throttles,
//! refuses and cuts by chance, and with a restart of the local AWS in the middle, in which every running execution and function is lost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sorry_session::{Session, State, extension::ExtensionOutcome};
use sorry_tests::{ChaosProxy, LocalAws, Weather, eventually};

use crate::{
    crowd::{Patience, crew, lift_limits, live, peak},
    judgement::{age, ended, granted, judge, names, rows, running, states, sweep, take},
    loan::{Deed, Fate, HOUR, Kind, Loan},
    report,
};

const MEMBERS: usize = 12;
const LOANS: usize = 252;
/// Those with short windows.
const SHORT: usize = 40;
/// Requests under way at a time.
const WORKERS: usize = 24;
/// What is asked for, one after the other.
const KINDS: [Kind; 6] = [Kind::Role, Kind::User, Kind::Role, Kind::Standing, Kind::Role, Kind::Approved];
/// More than the grace in which a principal may still appear, and than any margin of the sweep.
const AGES: i64 = 600;

/// What becomes of the loan of that number. Those that end by themselves come last, and nobody ends any before all were asked for: so
/// many there are at once.
fn fate(number: usize, kind: Kind, draw: impl Fn(u64) -> u64) -> Fate {
    if number >= LOANS - SHORT {
        return Fate::Expires(30 + draw(30));
    }
    match (kind, number / KINDS.len() % 4) {
        (Kind::Approved, 1) => Fate::IsDenied,
        (_, 1 | 3) => Fate::IsRevoked(draw(20_000)),
        (Kind::Role | Kind::User | Kind::Approved, 2) => Fate::IsExtended,
        _ => Fate::Stays,
    }
}

#[test]
fn invariant_4_two_hundred_sessions_in_a_storm_with_a_restart_leave_nothing_behind() {
    let began = Instant::now();
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    let crew = crew(&aws, &proxy.url(), MEMBERS);
    lift_limits(&aws, LOANS);
    // Somebody hears of break-glass.
    let _security = aws.subscribe_to_alerts();
    assert_eq!(sweep(&aws)["held_because"], serde_json::Value::Null, "the first sweep knows the deployment");
    let loan = |number: usize| {
        let kind = KINDS[number % KINDS.len()];
        // Each kind goes round among all members.
        let member = (number + number / MEMBERS) % MEMBERS;
        Loan::new(member, kind, fate(number, kind, |limit| proxy.draw(limit)))
    };
    let loans: Vec<_> = (0..LOANS).map(loan).collect();

    let ready = began.elapsed();
    proxy.set(Weather::STORM);
    let asked = AtomicUsize::new(0);
    let (accepted, watched) = mpsc::channel::<(usize, Kind, String)>();
    let (loans, taken, lost) = thread::scope(|scope| {
        let (aws, crew, asked) = (&aws, &crew, &asked);
        let living = scope.spawn(move || {
            live(crew, loans, WORKERS, Patience::UntilAllAreAskedFor, |loan| {
                // Every fourth is used.
                if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(4) {
                    accepted.send((loan.member, loan.kind, loan.session.clone().unwrap())).unwrap();
                }
            })
        });
        let taking = scope.spawn(move || {
            let (mut taken, mut wanted) = (Vec::new(), VecDeque::<(usize, Kind, String)>::new());
            loop {
                let news = watched.recv_timeout(Duration::from_millis(200));
                if news == Err(RecvTimeoutError::Disconnected) {
                    return taken;
                }
                wanted.extend(news);
                // A session may fail, or end, before anybody could use it; that is told from the others in the end.
                let Some((member, kind, session)) = wanted.pop_front() else { continue };
                match take(aws, &crew.members[member], kind, &session) {
                    Some(found) => taken.push(found),
                    None => wanted.push_back((member, kind, session)),
                }
            }
        });
        eventually("two thirds of all have been accepted", Duration::from_secs(600), || {
            (asked.load(Ordering::SeqCst) >= LOANS * 2 / 3).then_some(())
        });
        let ran = running(aws);
        aws.restart(&proxy);
        let lost = names(aws, "FAILED").intersection(&ran).count();
        (living.join().unwrap(), taking.join().unwrap(), lost)
    });
    let lived = began.elapsed();

    // The weather clears up; nobody helps but the sweep.
    proxy.calm();
    granted(&aws, Duration::from_secs(120));
    let rested = began.elapsed();
    eventually("the short windows are over", Duration::from_secs(120), || {
        let now = Timestamp::now();
        let over = |row: &sorry_session::Session| {
            row.state != State::Active
                || row.expires_at.duration_since(now).as_secs() > 1200
                || row.expires_at <= now
        };
        rows(&aws).iter().all(over).then_some(())
    });
    let due = began.elapsed();
    age(&aws, AGES);
    let swept = sweep(&aws);
    println!("the one sweep after the storm: {swept}");
    ended(&aws);

    judge(&aws, &crew, &taken);
    let rows = rows(&aws);
    for loan in loans.iter() {
        let Some(session) = &loan.session else { continue };
        let row = rows.iter().find(|row| row.session_id.as_str() == session);
        let row = row.unwrap_or_else(|| panic!("{session} was accepted, and has no row"));
        match loan.revoked {
            Some(State::Revoking | State::Revoked) => assert_eq!(row.state, State::Revoked, "{loan:?}"),
            Some(_) => assert!(row.state.is_over(), "{loan:?}: {}", row.state),
            None => {}
        }
        assert_eq!(
            (Kind::of(row), &row.person.as_str()),
            (loan.kind, &crew.members[loan.member].name.as_str())
        );
        let ends = ends(loan, row);
        assert!(ends.contains(&row.state), "{loan:?}: {}, {:?}", row.state, row.end);
    }
    let accepted = loans.iter().filter(|loan| loan.session.is_some()).count();
    let failures: usize = loans.iter().map(|loan| loan.failures).sum();
    let done = |deed: Deed| loans.iter().filter(|loan| loan.done.contains(&deed)).count();
    let wished = loans.iter().filter(|loan| loan.fate == Fate::IsExtended).count();
    let extended = rows.iter().filter(|row| was_extended(row)).count();
    let mut alive = BTreeMap::<Kind, usize>::new();
    for row in rows.iter().filter(|row| row.state == State::Active) {
        *alive.entry(Kind::of(row)).or_default() += 1;
    }
    let mut used = BTreeMap::<Kind, usize>::new();
    for taken in &taken {
        *used.entry(taken.kind).or_default() += 1;
    }
    let at_once = peak(rows.iter().map(|row| (row.requested_at, row.ended_at.unwrap_or(Timestamp::MAX))));
    report(
        "chaos.txt",
        &[
            ("seed (SORRY_CHAOS_SEED)", proxy.seed().to_string()),
            ("sessions wished for, accepted, rows", format!("{}, {accepted}, {}", LOANS, rows.len())),
            ("most sessions at once", at_once.to_string()),
            ("requests that failed and were sent again", failures.to_string()),
            ("executions lost in the restart", lost.to_string()),
            ("credentials taken and tried in the end", format!("{used:?}")),
            ("ends", format!("{:?}", states(&rows))),
            ("live in the end", format!("{alive:?}")),
            (
                "extensions wished for, accepted, done",
                format!("{wished}, {}, {extended}", done(Deed::Extend)),
            ),
            ("approved, denied", format!("{}, {}", done(Deed::Approve), done(Deed::Deny))),
            ("requests by disturbance", format!("{:?}", proxy.happened())),
            ("the one sweep after the storm", swept.to_string()),
            (
                "ready, stormed, rested, due, judged after",
                format!("{ready:.0?}, {lived:.0?}, {rested:.0?}, {due:.0?}, {:.0?}", began.elapsed()),
            ),
        ],
    );
    assert!(at_once >= 200, "only {at_once} at once");
    assert!(lost > 0, "the restart lost nothing");
    let ends = states(&rows);
    for state in [State::Active, State::Revoked, State::Expired, State::Denied] {
        assert!(ends.contains_key(&state), "nothing came to {state}: {ends:?}");
    }
    for kind in Kind::ALL {
        assert!(alive.contains_key(&kind) && used.contains_key(&kind), "no {kind:?}: {alive:?}, {used:?}");
    }
    assert!(extended > 0, "no session was extended");
}

/// Where a loan's session may have come to, by what was accepted and what its row says of its extension.
fn ends(loan: &Loan, row: &Session) -> Vec<State> {
    let decided = loan.kind != Kind::Approved || loan.done.contains(&Deed::Approve);
    let begun = |end: State| vec![end, State::Failed];
    match loan.fate {
        Fate::IsDenied if loan.done.contains(&Deed::Deny) => vec![State::Denied],
        Fate::IsDenied => vec![State::PendingApproval, State::Denied],
        // Nobody's word got through, or its answer did not.
        _ if !decided => vec![State::PendingApproval, State::Active, State::Expired, State::Failed],
        Fate::Stays | Fate::Waits => begun(State::Active),
        Fate::Expires(_) => begun(State::Expired),
        Fate::IsRevoked(_) if loan.revoked.is_some() => begun(State::Revoked),
        Fate::IsRevoked(_) => vec![State::Active, State::Revoked, State::Failed],
        Fate::IsExtended if was_extended(row) => {
            let later = row.expires_at.duration_since(row.first_expires_at.unwrap());
            assert_eq!(later.unsigned_abs().as_secs(), HOUR, "{loan:?}");
            vec![State::Active]
        }
        Fate::IsExtended => begun(State::Expired),
    }
}

fn was_extended(row: &Session) -> bool {
    let settled = row.extension.as_ref().and_then(|extension| extension.settled.as_ref());
    settled.is_some_and(|settled| settled.outcome == ExtensionOutcome::Done)
}
