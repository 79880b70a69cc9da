//! A thousand sessions of fifty callers, each of whom asks for more at a time than it may have: all come to their right end, none is
//! lost, the limit is met and never passed, and how long it takes.
//!
//! Its figures as they were measured, and what an account's quotas would allow: `docs/scale.md`.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::Value;
use sorry_session::{Session, State};
use sorry_tests::{LocalAws, eventually};

use crate::{
    crowd::{Patience, crew, live, peak, percentile},
    judgement::{judge, rows, states, sweep},
    loan::{Fate, Kind, Loan},
    report,
};

const MEMBERS: usize = 50;
const LOANS: usize = 1000;
/// What one caller asks for at a time: one more than it may have.
const BURST: usize = limits::LIVE_PER_CALLER + 1;
/// Requests under way at a time: more only wait for the two cores that everything runs on.
const WORKERS: usize = 12;

/// The limits that this test holds the service to.
mod limits {
    /// Live sessions of one caller and tier: what a tier has that does not say.
    pub(super) const LIVE_PER_CALLER: usize = 3;
}

#[test]
fn a_thousand_sessions_of_fifty_callers_all_end_as_they_should() {
    let began = Instant::now();
    let aws = LocalAws::start();
    let crew = crew(&aws, aws.output("endpoint_url"), MEMBERS);
    sweep(&aws);
    let ready = Instant::now();
    let fate =
        |number: usize| if number.is_multiple_of(2) { Fate::Expires(15) } else { Fate::IsRevoked(5000) };
    // One caller's burst after the other. What is refused is asked for again when all others have been, and those before it are over.
    let loans =
        (0..LOANS).map(|number| Loan::new(number / BURST % MEMBERS, Kind::Role, fate(number))).collect();
    let loans = live(&crew, loans, WORKERS, Patience::None, |_| {});
    let asked = ready.elapsed();
    let mut rows_now = Vec::new();
    eventually("all sessions are over", Duration::from_secs(120), || {
        rows_now = rows(&aws);
        rows_now.iter().all(|row| row.state.is_over() && row.outbox.is_empty()).then_some(())
    });
    let lived = ready.elapsed();

    let rows = rows_now;
    assert_eq!(rows.len(), LOANS);
    let by_id: BTreeMap<_, _> = rows.iter().map(|row| (row.session_id.as_str(), row)).collect();
    for loan in &loans {
        let row = by_id[loan.session.as_deref().unwrap_or_else(|| panic!("refused: {loan:?}"))];
        let wanted = if loan.revoked.is_some() { State::Revoked } else { State::Expired };
        assert_eq!(row.state, wanted, "{loan:?}: {:?}", row.end);
        assert!(row.activated_at.is_some(), "{loan:?} never was ACTIVE");
    }
    judge(&aws, &crew, &[]);
    let swept = sweep(&aws);
    assert_eq!((&swept["found"], &swept["orphans"]), (&0.into(), &Value::Array(Vec::new())), "{swept}");

    let span = |row: &Session| (row.activated_at.unwrap(), row.ended_at.unwrap());
    let per_caller = crew.members.iter().map(|member| {
        let own = rows.iter().filter(|row| row.person.as_str() == member.name);
        // Inside of what is counted, which begins when the row is written and ends when it says that nothing is left.
        peak(own.map(|row| (row.provisioning_at.unwrap(), row.ended_at.unwrap())))
    });
    let per_caller: Vec<usize> = per_caller.collect();
    let most = per_caller.iter().copied().max().unwrap();
    let at_their_limit = per_caller.iter().filter(|peak| **peak == limits::LIVE_PER_CALLER).count();
    assert_eq!(most, limits::LIVE_PER_CALLER, "met, and not passed: {per_caller:?}");
    let limited: usize = loans.iter().map(|loan| loan.limited).sum();
    let asked_again = loans.iter().filter(|loan| loan.limited > 0).count();
    // Each of them has a session all the same: that was looked at above.
    assert!(asked_again > 0, "nobody was refused for the limit");

    let requests: Vec<Duration> = loans.iter().flat_map(|loan| loan.took.clone()).collect();
    let between =
        |from: fn(&Session) -> Timestamp, to: fn(&Session) -> Timestamp, of: State| -> Vec<Duration> {
            let wanted = rows.iter().filter(|row| row.state == of);
            wanted.map(|row| to(row).duration_since(from(row)).unsigned_abs()).collect()
        };
    let ended = |row: &Session| row.ended_at.unwrap();
    let decided = |row: &Session| row.end.as_ref().unwrap().at;
    let active: Vec<_> = [State::Revoked, State::Expired]
        .into_iter()
        .flat_map(|of| between(|row| row.requested_at, |row| row.activated_at.unwrap(), of))
        .collect();
    let percentiles =
        |values: &[Duration]| format!("{:.1?}, {:.1?}", percentile(values, 0.5), percentile(values, 0.95));
    let calls = calls(&aws);
    let all: usize = calls.values().sum();
    report(
        "scale.txt",
        &[
            ("sessions, callers, requests at a time", format!("{LOANS}, {MEMBERS}, {WORKERS}")),
            ("ends", format!("{:?}", states(&rows))),
            ("time of all requests, until all were over", format!("{asked:.1?}, {lived:.1?}")),
            ("requests to the gateway", requests.len().to_string()),
            ("of those a second", format!("{:.1}", requests.len() as f64 / asked.as_secs_f64())),
            (
                "refused by the limit, and sent again later; of so many sessions",
                format!("{limited}, {asked_again}"),
            ),
            ("failed, and sent again", {
                (loans.iter().map(|loan| loan.failures).sum::<usize>() - limited).to_string()
            }),
            ("a request: p50, p95", percentiles(&requests)),
            ("accepted until ACTIVE: p50, p95", percentiles(&active)),
            ("revoked until gone: p50, p95", percentiles(&between(decided, ended, State::Revoked))),
            (
                "end of the window until gone: p50, p95",
                percentiles(&between(|row| row.expires_at, ended, State::Expired)),
            ),
            ("most live principals at once", peak(rows.iter().map(span)).to_string()),
            (
                "most sessions of one caller at once; callers who had as many",
                format!("{most}, {at_their_limit}"),
            ),
            ("calls of the functions, a session", format!("{all}, {:.1}", all as f64 / LOANS as f64)),
            ("by service", format!("{calls:?}")),
            ("set up, in all", format!("{:.1?}, {:.1?}", ready - began, began.elapsed())),
        ],
    );
}

/// What role sessions, that is the functions, asked AWS for, by service.
fn calls(aws: &LocalAws) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(aws.folder().join("decisions")).unwrap().lines() {
        let decision: Value = serde_json::from_str(line).unwrap();
        let service = decision["action"].as_str().unwrap().split(':').next().unwrap().to_owned();
        *calls.entry(service).or_default() += 1;
    }
    calls
}
