//! An access key whose id only the answer tells: whatever becomes of that answer, nobody is left with a key that nobody knows.

use std::time::Duration;

use sorry_session::State;
use sorry_tests::{ChaosProxy, Disturbance, LocalAws, eventually};

use crate::{
    crowd::{Patience, crew, live},
    judgement::{access_keys, age, rows, sweep, take},
    loan::{Fate, Kind, Loan},
};

const CREATE: &str = "iam CreateAccessKey";
/// More than the time in which a key may still appear.
const AGES: i64 = 600;

#[test]
fn invariant_4_no_key_is_left_whatever_becomes_of_the_answer_that_names_it() {
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    let crew = crew(&aws, aws.output("endpoint_url"), 1);
    let loans = live(&crew, vec![Loan::new(0, Kind::User, Fate::Stays)], 1, Patience::None, |_| {});
    let session = loans[0].session.clone().expect("accepted");
    let row = eventually("it is ACTIVE", Duration::from_secs(60), || {
        rows(&aws).into_iter().find(|row| row.state == State::Active)
    });
    let keys = || access_keys(&aws, row.role_name.as_str());

    let unanswered = [
        Disturbance::Throttled,
        Disturbance::Broken,
        Disturbance::CutBefore,
        Disturbance::CutAfter,
        Disturbance::Late,
    ];
    for disturbance in unanswered {
        proxy.disturb_next(CREATE, disturbance);
        let taken = take(&aws, &crew.members[0], Kind::User, &session);
        taken.unwrap_or_else(|| panic!("{disturbance:?}: no credentials")).verdict(&aws).allowed();
        if disturbance != Disturbance::Late {
            assert_eq!(keys(), [""; 0], "{disturbance:?}");
        }
        proxy.calm();
        age(&aws, AGES);
        sweep(&aws);
        assert_eq!(keys(), [""; 0], "{disturbance:?}, and a sweep after it");
        // Nothing is in doubt any more.
        let row = rows(&aws).into_iter().find(|row| row.session_id.as_str() == session).unwrap();
        assert_eq!(row.issue.and_then(|issue| issue.unsure_until), None, "{disturbance:?}");
    }
    let (sent, disturbed) = proxy.operations()[CREATE];
    assert_eq!((sent, disturbed), (2 * unanswered.len() as u64, unanswered.len() as u64), "each was sent again once");
}
