//! Two hundred sessions and more at once, behind a proxy that delays, throttles, refuses and cuts by chance, and with a restart of the
//! local AWS in the middle, in which every running execution and function is lost.

use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sorry_session::State;
use sorry_tests::{ChaosProxy, LocalAws, Weather, eventually};

use crate::{
    crowd::{Fate, Loan, Patience, lift_limits, live, members, peak},
    judgement::{age, granted, judge, names, rows, running, states, sweep, take},
    report,
};

const MEMBERS: usize = 12;
const LOANS: usize = 252;
/// Those with short windows.
const SHORT: usize = 40;
/// Requests under way at a time.
const WORKERS: usize = 24;
/// More than the grace in which a principal may still appear, and than any margin of the sweep.
const AGES: i64 = 600;

#[test]
fn invariant_4_two_hundred_sessions_in_a_storm_with_a_restart_leave_nothing_behind() {
    let began = Instant::now();
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    let members = members(&aws, &proxy.url(), MEMBERS);
    lift_limits(&aws, LOANS);
    assert_eq!(sweep(&aws)["held_because"], serde_json::Value::Null, "the first sweep knows the deployment");
    // Those that end by themselves come last, and nobody ends any before all were asked for: so many there are at once.
    let fate = |number: usize| match number {
        number if number >= LOANS - SHORT => Fate::Expires(30 + proxy.draw(30)),
        number if number.is_multiple_of(2) => Fate::Stays,
        _ => Fate::IsRevoked(proxy.draw(20_000)),
    };
    let loans: Vec<_> = (0..LOANS).map(|number| Loan::new(number % MEMBERS, fate(number))).collect();

    let ready = began.elapsed();
    proxy.set(Weather::STORM);
    let asked = AtomicUsize::new(0);
    let (accepted, watched) = mpsc::channel::<(usize, String)>();
    let (loans, taken, lost) = thread::scope(|scope| {
        let (aws, members, asked) = (&aws, &members, &asked);
        let living = scope.spawn(move || {
            live(members, loans, WORKERS, Patience::UntilAllAreAskedFor, |loan| {
                // Every fourth is used.
                if asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(4) {
                    accepted.send((loan.member, loan.session.clone().unwrap())).unwrap();
                }
            })
        });
        let taking = scope.spawn(move || {
            let (mut taken, mut wanted) = (Vec::new(), VecDeque::<(usize, String)>::new());
            loop {
                let news = watched.recv_timeout(Duration::from_millis(200));
                if news == Err(RecvTimeoutError::Disconnected) {
                    return taken;
                }
                wanted.extend(news);
                // A session may fail, or end, before anybody could use it; that is told from the others in the end.
                let Some((member, session)) = wanted.pop_front() else { continue };
                match take(aws, &members[member], &session) {
                    Some(found) => taken.push(found),
                    None => wanted.push_back((member, session)),
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
    let first = sweep(&aws);
    age(&aws, AGES);
    let second = sweep(&aws);

    judge(&aws, &members, &taken);
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
        let ends: &[State] = match loan.fate {
            Fate::Stays => &[State::Active, State::Failed],
            Fate::Expires(_) => &[State::Expired, State::Failed],
            Fate::IsRevoked(_) if loan.revoked.is_some() => &[State::Revoked, State::Failed],
            Fate::IsRevoked(_) => &[State::Active, State::Revoked, State::Failed],
        };
        assert!(ends.contains(&row.state), "{loan:?}: {}, {:?}", row.state, row.end);
    }
    let accepted = loans.iter().filter(|loan| loan.session.is_some()).count();
    let failures: usize = loans.iter().map(|loan| loan.failures).sum();
    let at_once = peak(rows.iter().map(|row| (row.requested_at, row.ended_at.unwrap_or(Timestamp::MAX))));
    report(
        "chaos.txt",
        &[
            ("seed (SORRY_CHAOS_SEED)", proxy.seed().to_string()),
            ("sessions wished for, accepted, rows", format!("{}, {accepted}, {}", LOANS, rows.len())),
            ("most sessions at once", at_once.to_string()),
            ("requests that failed and were sent again", failures.to_string()),
            ("executions lost in the restart", lost.to_string()),
            ("credentials taken and tried in the end", taken.len().to_string()),
            ("ends", format!("{:?}", states(&rows))),
            ("requests by disturbance", format!("{:?}", proxy.happened())),
            ("the sweep after the storm", first.to_string()),
            ("one further sweep", second.to_string()),
            (
                "ready, stormed, rested, due, judged after",
                format!("{ready:.0?}, {lived:.0?}, {rested:.0?}, {due:.0?}, {:.0?}", began.elapsed()),
            ),
        ],
    );
    assert!(at_once >= 200, "only {at_once} at once");
    assert!(lost > 0, "the restart lost nothing");
    let ends = states(&rows);
    for state in [State::Active, State::Revoked, State::Expired] {
        assert!(ends.contains_key(&state), "nothing came to {state}: {ends:?}");
    }
}
