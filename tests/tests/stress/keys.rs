//! Keys and secrets that one answer alone tells: whatever becomes of that answer, none is left that nobody knows.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_session::State;
use sorry_tests::{ChaosProxy, Disturbance, LocalAws, Weather, eventually};

use crate::{
    crowd::{Patience, crew, live},
    judgement::{access_keys, age, rows, sweep, take},
    loan::{Fate, Kind, Loan},
};

const CREATE_KEY: &str = "iam CreateAccessKey";
const CREATE_DEVICE: &str = "iam CreateVirtualMFADevice";
/// Ways for a request to be lost, or its answer.
const UNANSWERED: [Disturbance; 5] = [
    Disturbance::Throttled,
    Disturbance::Broken,
    Disturbance::CutBefore,
    Disturbance::CutAfter,
    Disturbance::Late,
];
/// More than the time in which a key may still appear.
const AGES: i64 = 600;

#[test]
fn invariant_4_issuing_leaves_no_key_whatever_becomes_of_the_answer_that_names_it() {
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    let crew = crew(&aws, aws.output("endpoint_url"), 1);
    let loans = live(&crew, vec![Loan::new(0, Kind::User, Fate::Stays)], 1, Patience::None, |_| {});
    let session = loans[0].session.clone().expect("accepted");
    let row = eventually("it is ACTIVE", Duration::from_secs(60), || {
        rows(&aws).into_iter().find(|row| row.state == State::Active)
    });
    let keys = || access_keys(&aws, row.role_name.as_str());

    for disturbance in UNANSWERED {
        proxy.set(Weather::STILL);
        proxy.disturb_next(CREATE_KEY, disturbance);
        let taken = take(&aws, &crew.members[0], Kind::User, &session);
        taken.unwrap_or_else(|| panic!("{disturbance:?}: no credentials")).verdict(&aws).allowed();
        proxy.calm();
        assert_eq!(keys().len(), usize::from(disturbance == Disturbance::Late), "{disturbance:?}");
        age(&aws, AGES);
        sweep(&aws);
        assert_eq!(keys(), [""; 0], "{disturbance:?}, and a sweep after it");
        // Nothing is in doubt any more.
        let row = rows(&aws).into_iter().find(|row| row.session_id.as_str() == session).unwrap();
        assert_eq!(row.issue.and_then(|issue| issue.unsure_until), None, "{disturbance:?}");
    }
    let (sent, disturbed) = proxy.operations()[CREATE_KEY];
    let cases = UNANSWERED.len() as u64;
    assert_eq!((sent, disturbed), (2 * cases, cases), "each was sent again once");
}

#[test]
fn a_caller_is_given_one_key_and_one_device_whatever_becomes_of_the_answers_that_tell_them() {
    let proxy = ChaosProxy::start();
    let aws = LocalAws::start_behind(&proxy, &[]);
    let administrator = aws.administrator_person();
    let add = |name: &str| {
        let words = format!("admin callers add {name} --tier read-only=1 --mfa --new-key --output json");
        let words: Vec<_> = words.split(' ').collect();
        administrator.command(&words).env("AWS_ENDPOINT_URL_IAM", proxy.url()).output().expect("`sorry` runs")
    };
    for (number, disturbance) in UNANSWERED.into_iter().enumerate() {
        for (operation, kind) in [(CREATE_KEY, "key"), (CREATE_DEVICE, "device")] {
            let name = format!("{kind}{number}");
            proxy.set(Weather::STILL);
            proxy.disturb_next(operation, disturbance);
            let failed = add(&name);
            let said = String::from_utf8_lossy(&failed.stderr);
            assert!(
                !failed.status.success() && failed.stdout.is_empty(),
                "{operation} {disturbance:?}: {said}"
            );
            // What comes late cannot be waited for, but is spoken of.
            if disturbance == Disturbance::Late && operation == CREATE_KEY {
                assert!(said.contains("should there be a key in a minute"), "{said}");
            } else {
                assert_eq!(access_keys(&aws, &name), [""; 0], "{operation} {disturbance:?}: {said}");
            }
            proxy.calm();
            let told = aws.register_with(&name, &["--mfa", "--new-key"]);
            let id = told.keys().access_key_id.clone();
            let keys = access_keys(&aws, &name);
            assert!(keys.contains(&id), "{operation} {disturbance:?}: {keys:?}");
            let late = usize::from(operation == CREATE_KEY && disturbance == Disturbance::Late);
            assert_eq!(keys.len(), 1 + late, "{operation} {disturbance:?}: {keys:?}");
        }
    }
    // Switching a device on says nothing that could get lost: it is seen whether it is on.
    for (number, disturbance) in UNANSWERED.into_iter().enumerate() {
        let name = format!("enabled{number}");
        // The codes are those of a half minute, which must not end while the call is sent again.
        eventually("a half minute has begun", Duration::from_secs(30), || {
            (Timestamp::now().as_second() % 30 < 15).then_some(())
        });
        proxy.set(Weather::STILL);
        proxy.disturb_next("iam EnableMFADevice", disturbance);
        let done = add(&name);
        assert!(done.status.success(), "{disturbance:?}: {}", String::from_utf8_lossy(&done.stderr));
        proxy.calm();
        let devices = aws.call("iam.list_mfa_devices", json!({"UserName": name}));
        let told: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(devices["MFADevices"].as_array().unwrap().len(), 1, "{disturbance:?}");
        assert_eq!(
            devices["MFADevices"][0]["SerialNumber"], told["mfa_device"]["serial_number"],
            "{disturbance:?}"
        );
    }
}
