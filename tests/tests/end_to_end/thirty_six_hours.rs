//! The longest window, with a role: credentials of an hour, renewed by programs that ask nobody, from one MFA session. With a user the
//! same takes one credential: `user.rs`.

use std::{fs, path::Path};

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_tests::{Finished, Keys, LocalAws, Recorder, counted};

use crate::delivery::{AtDesk, finished};

/// The variable that names the program which prints MFA codes.
const MFA_PROCESS: &str = "SORRY_MFA_PROCESS";

/// Runs `sorry`; whoever asks the person's device for a code leaves a line in a file.
#[track_caller]
fn sorry(at: &AtDesk<'_>, asked: &Path, words: &[&str]) -> Finished {
    let mut command = at.command(words);
    let device = command.get_envs().find(|(name, _)| *name == MFA_PROCESS).and_then(|(_, value)| value);
    let device = device.expect("a device").to_str().unwrap().to_owned();
    command.env(MFA_PROCESS, format!("echo asked >>'{}'; {device}", asked.display()));
    finished(command)
}

fn time(value: &Value) -> Timestamp {
    value.as_str().expect("a time").parse().expect("a time")
}

/// What a program is given.
#[track_caller]
fn keys(given: &Value) -> Keys {
    let text = |name: &str| given[name].as_str().expect("a text").to_owned();
    Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    }
}

#[test]
fn one_code_serves_a_day_and_a_half_of_renewals() {
    let aws = LocalAws::start_with(&["RequireMfa=true"]);
    let sue = aws.register_with_mfa("sue-mgr");
    let at = AtDesk::new(&sue);
    let asked = at.desk.home.path().join("asked");
    let codes = || fs::read_to_string(&asked).map_or(0, |lines| lines.lines().count());
    let recorder = Recorder::begin(&aws);

    let words =
        ["request", "--tier", "read-only", "--for", "36h", "--deliver", "process", "--output", "json"];
    let view = sorry(&at, &asked, &words).success().json();
    let session = view["session_id"].as_str().unwrap();
    let end = time(&view["expires_at"]);
    let vault = sorry(&at, &asked, &["vault", "show", "--output", "json"]).success().json();
    let mfa = time(&vault["mfa_session"]["expires_at"]);
    assert!(mfa >= end, "the MFA session ends at {mfa}, and the window at {end}");

    let program = || sorry(&at, &asked, &["credential-process", "--session", session]);
    let works = |keys: &Keys| !aws.judge.call(keys, "s3.list_buckets", json!({})).is_denied();
    let hours = |until: Timestamp| until.duration_since(Timestamp::now()).as_secs_f64() / 3600.0;
    let mut before = program().success().json();
    assert!(works(&keys(&before)));
    assert!((0.9..=1.0).contains(&hours(time(&before["Expiration"]))), "an hour at a time");

    // Hour after hour, as far as this machine can tell: what it has is over, and so much of the window is left.
    let mut renewals = 0;
    for left in (0..36).rev() {
        // The last hour is half a one, and then less than STS gives at all.
        let lefts: &[i64] = if left == 0 { &[1_800, 600] } else { &[left * 3_600] };
        for &left in lefts {
            let window = crate::desk::in_seconds(left);
            at.desk.change_cache(session, |cached| {
                cached.credentials.expires_at = crate::desk::in_seconds(-1);
                cached.session_ends_at = window;
            });
            let after = program().success();
            assert_eq!(after.stderr, "");
            let after = after.json();
            renewals += 1;
            assert_ne!(after["AccessKeyId"], before["AccessKeyId"], "{left} s were left");
            assert!(works(&keys(&after)), "{left} s were left");
            let until = time(&after["Expiration"]);
            assert!(until <= window && hours(until) <= 1.0, "{until}, and the window ends at {window}");
            before = after;
        }
    }
    assert!(renewals > 36, "{renewals}");

    // The window is over, as it seems: nothing is given, whatever STS would give.
    at.desk.change_cache(session, |cached| cached.session_ends_at = crate::desk::in_seconds(-1));
    let over = program();
    assert_eq!((over.code, over.stdout.as_str()), (4, ""), "{over:?}");

    // One code, for one MFA session, which each credential came from; and the session ends when it was to end.
    assert_eq!(codes(), 1);
    let calls = recorder.when_quiet();
    let of_sue = calls.iter().filter(|call| call.principal == "user sue-mgr");
    let counts = counted(of_sue, &[]);
    assert_eq!(counts.get("sts:GetSessionToken"), Some(&1), "{counts:#?}");
    assert_eq!(counts.get("sts:AssumeRole"), Some(&(renewals + 1)), "{counts:#?}");
    let status = sue.sorry(&["status", session, "--output", "json"]).success().json();
    assert_eq!((time(&status["expires_at"]), status["state"].as_str()), (end, Some("ACTIVE")));
}
