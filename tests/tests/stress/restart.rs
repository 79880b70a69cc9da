//! The local AWS ends and comes back with its state: every function and every execution that ran is lost, each at another place of
//! its session's life. Nobody helps but the sweep.

use std::time::Duration;

use serde_json::{Value, json};
use sorry_session::{Session, State, extension::ExtensionOutcome};
use sorry_tests::{ChaosProxy, LocalAws, Weather, eventually};

use crate::{
    crowd::{Crew, Patience, crew, lift_limits, live},
    judgement::{age, judge, names, rows, running, sweep, take},
    loan::{Fate, HOUR, Kind, Loan},
};

/// More than the grace in which a principal may still appear, and than any margin of the sweep.
const AGES: i64 = 600;
const PATIENCE: Duration = Duration::from_secs(60);
/// One session of each grant.
const GRANTS: [Kind; 3] = [Kind::Role, Kind::User, Kind::Standing];
/// Of each that IAM has to be written for.
const WRITTEN: [Kind; 3] = [Kind::Role, Kind::User, Kind::Role];

fn accepted(crew: &Crew, kinds: &[Kind], fate: Fate) -> Vec<(Kind, String)> {
    let loans = kinds.iter().map(|kind| Loan::new(0, *kind, fate)).collect();
    let loans = live(crew, loans, kinds.len(), Patience::None, |_| {});
    loans.into_iter().map(|loan| (loan.kind, loan.session.expect("accepted"))).collect()
}

fn row(aws: &LocalAws, id: &str) -> Option<Session> {
    rows(aws).into_iter().find(|row| row.session_id.as_str() == id)
}

#[track_caller]
fn reach(aws: &LocalAws, sessions: &[(Kind, String)], state: State) {
    eventually(&format!("all are {state}"), PATIENCE, || {
        let rows = rows(aws);
        let of = |id: &String| rows.iter().find(|row| row.session_id.as_str() == id).map(|row| row.state);
        sessions.iter().all(|(_, id)| of(id) == Some(state)).then_some(())
    });
}

#[test]
fn invariant_4_the_sweep_repairs_what_a_restart_lost() {
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    // Callers reach the gateway itself: what is cut off below is the functions' way to IAM.
    let crew = crew(&aws, aws.output("endpoint_url"), 1);
    let owner = &crew.members[0];
    lift_limits(&aws, 20);
    let _security = aws.subscribe_to_alerts();
    sweep(&aws);

    let stay = accepted(&crew, &GRANTS, Fate::Stays);
    let extended = accepted(&crew, &WRITTEN, Fate::Stays);
    let revoked = accepted(&crew, &GRANTS, Fate::Stays);
    let expire = accepted(&crew, &GRANTS, Fate::Expires(30));
    let waits = accepted(&crew, &[Kind::Approved], Fate::Waits);
    let active = [stay.clone(), extended.clone(), revoked.clone(), expire.clone()].concat();
    reach(&aws, &active, State::Active);
    let taken: Vec<_> = active
        .iter()
        .map(|(kind, session)| take(&aws, owner, *kind, session).expect("it is ACTIVE"))
        .collect();
    proxy.set(Weather::without("iam"));
    let never = accepted(&crew, &WRITTEN, Fate::Stays);
    reach(&aws, &never, State::Provisioning);
    for (_, session) in &revoked {
        let answer = owner.gateway.send("DELETE", &format!("/sessions/{session}"), &Value::Null);
        assert_eq!(answer.unwrap().0, 202);
    }
    reach(&aws, &revoked, State::Revoking);
    for (_, session) in &extended {
        let more = json!({"client_request_id": "an-hour-more", "duration_seconds": HOUR});
        let answer = owner.gateway.send("POST", &format!("/sessions/{session}/extension"), &more);
        assert_eq!(answer.unwrap().0, 202);
        assert!(row(&aws, session).unwrap().extension_under_way().is_some(), "IAM is cut off");
    }

    let ran = running(&aws);
    let executions = [&active, &never, &revoked, &extended].map(Vec::len).iter().sum::<usize>();
    assert!(ran.len() >= executions, "the grants, the ends, the extensions and those that wait: {ran:?}");
    aws.restart(&proxy);
    assert!(running(&aws).is_empty() && ran.is_subset(&names(&aws, "FAILED")), "all were lost");
    proxy.calm();

    // Invariant 2: the date ends what nobody is left to end.
    let expiring = |session: &str| expire.iter().any(|(_, id)| id == session);
    for taken in taken.iter().filter(|taken| expiring(&taken.session)) {
        eventually("the credentials are refused", PATIENCE, || taken.verdict(&aws).is_denied().then_some(()));
    }
    let before: Vec<_> = extended.iter().map(|(_, id)| row(&aws, id).unwrap().expires_at).collect();
    age(&aws, AGES);
    sweep(&aws);
    judge(&aws, &crew, &taken);
    for (sessions, state) in [
        (&stay, State::Active),
        (&extended, State::Active),
        (&revoked, State::Revoked),
        (&expire, State::Expired),
        (&never, State::Failed),
        (&waits, State::PendingApproval),
    ] {
        reach(&aws, sessions, state);
    }
    for ((_, session), before) in extended.iter().zip(before) {
        let row = row(&aws, session).unwrap();
        let settled = row.extension.as_ref().and_then(|extension| extension.settled.as_ref());
        assert_eq!(settled.map(|settled| settled.outcome), Some(ExtensionOutcome::Failed), "{session}");
        assert_eq!(row.expires_at, before, "an extension that failed leaves the end");
    }
    // What waited waits on, and is granted by a word that comes now.
    let (_, session) = &waits[0];
    let word = json!({"decision": "approve"});
    let answer = crew.approver.send("POST", &format!("/sessions/{session}/decision"), &word);
    assert_eq!(answer.unwrap().0, 200);
    reach(&aws, &waits, State::Active);
    judge(&aws, &crew, &taken);
}
