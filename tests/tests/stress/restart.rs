//! The local AWS ends and comes back with its state: every function and every execution that ran is lost, each at another place of
//! its session's life. Nobody helps but the sweep.

use std::time::Duration;

use serde_json::Value;
use sorry_session::State;
use sorry_tests::{ChaosProxy, LocalAws, Weather, eventually};

use crate::{
    crowd::{Fate, Loan, Member, Patience, lift_limits, live, members},
    judgement::{age, judge, names, rows, running, sweep, take},
};

/// More than the grace in which a principal may still appear, and than any margin of the sweep.
const AGES: i64 = 600;
const PATIENCE: Duration = Duration::from_secs(60);
/// Sessions of each kind.
const EACH: usize = 3;

fn accepted(members: &[Member], fate: Fate) -> Vec<String> {
    let loans = (0..EACH).map(|_| Loan::new(0, fate)).collect();
    let loans = live(members, loans, EACH, Patience::None, |_| {});
    loans.into_iter().map(|loan| loan.session.expect("accepted")).collect()
}

#[track_caller]
fn reach(aws: &LocalAws, sessions: &[String], state: State) {
    eventually(&format!("all are {state}"), PATIENCE, || {
        let rows = rows(aws);
        let of = |id: &String| rows.iter().find(|row| row.session_id.as_str() == id).map(|row| row.state);
        sessions.iter().all(|id| of(id) == Some(state)).then_some(())
    });
}

#[test]
fn invariant_4_the_sweep_repairs_what_a_restart_lost() {
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    // Callers reach the gateway itself: what is cut off below is the functions' way to IAM.
    let members = members(&aws, aws.output("endpoint_url"), 1);
    lift_limits(&aws, 4 * EACH);
    sweep(&aws);

    let stay = accepted(&members, Fate::Stays);
    let revoked = accepted(&members, Fate::Stays);
    let expire = accepted(&members, Fate::Expires(30));
    let active = [stay.clone(), revoked.clone(), expire.clone()].concat();
    reach(&aws, &active, State::Active);
    let taken: Vec<_> =
        active.iter().map(|session| take(&aws, &members[0], session).expect("it is ACTIVE")).collect();
    proxy.set(Weather::without("iam"));
    let never = accepted(&members, Fate::Stays);
    reach(&aws, &never, State::Provisioning);
    for session in &revoked {
        let answer = members[0].gateway.send("DELETE", &format!("/sessions/{session}"), &Value::Null);
        assert_eq!(answer.unwrap().0, 202);
    }
    reach(&aws, &revoked, State::Revoking);

    let ran = running(&aws);
    assert!(ran.len() >= 5 * EACH, "the grants, the ends and those that wait: {ran:?}");
    aws.restart(&proxy);
    assert!(running(&aws).is_empty() && ran.is_subset(&names(&aws, "FAILED")), "all were lost");
    proxy.calm();

    // Invariant 2: the date ends what nobody is left to end.
    let expiring = |session: &str| expire.iter().any(|id| id == session);
    for taken in taken.iter().filter(|taken| expiring(&taken.session)) {
        eventually("the credentials are refused", PATIENCE, || taken.verdict(&aws).is_denied().then_some(()));
    }
    age(&aws, AGES);
    sweep(&aws);
    judge(&aws, &members, &taken);
    for (sessions, state) in
        [(stay, State::Active), (revoked, State::Revoked), (expire, State::Expired), (never, State::Failed)]
    {
        reach(&aws, &sessions, state);
    }
}
