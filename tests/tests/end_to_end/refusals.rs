//! Bad input: a clear error with its code and hint, the right status and exit code, and nothing written.

use serde_json::json;
use sorry_tests::LocalAws;

use crate::request;

#[test]
fn bad_input_is_refused_clearly_and_writes_nothing() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let ask = ["request", "--tier", "developer"];
    // What the service refuses has its code; what `sorry` refuses by itself has none.
    for (arguments, exit, said, code) in [
        (vec!["request", "--tier", "wizard", "--hours", "1"], 4, "no tier `wizard`", "UnknownTier"),
        ([&ask[..], &["--hours", "0"]].concat(), 2, "shorter than", "WindowTooShort"),
        ([&ask[..], &["--hours", "9"]].concat(), 3, "longer than tier `developer` allows", "WindowTooLong"),
        ([&ask[..], &["--for", "5s"]].concat(), 2, "shorter than", "WindowTooShort"),
        (
            [&ask[..], &["--hours", "1", "--reason", "short"]].concat(),
            2,
            "the reason or comment has 5 characters",
            "ReasonUnusable",
        ),
        (vec!["request", "--tier", "break-glass", "--hours", "1"], 2, "asks for a reason", "ReasonRequired"),
        (
            [&ask[..], &["--hours", "1", "--project", "zeus"]].concat(),
            3,
            "not registered for project `zeus`",
            "ProjectNotAllowed",
        ),
        (vec!["status", "0123456789abcdef"], 4, "no session `0123456789abcdef`", "SessionNotFound"),
        (vec!["revoke", "zzzz"], 4, "zzzz", "SessionNotFound"),
        ([&ask[..], &["--for", "soon"]].concat(), 2, "soon", ""),
        (ask.to_vec(), 2, "--hours", ""),
    ] {
        let refused = sue.sorry(&arguments);
        assert_eq!(refused.code, exit, "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(said), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.starts_with("error: "), "{arguments:?}: {refused:?}");
        assert!(refused.stdout.is_empty(), "{refused:?}");
        if !code.is_empty() {
            assert!(refused.stderr.contains(&format!("code: {code}")), "{arguments:?}: {refused:?}");
            assert!(refused.stderr.contains("hint: "), "{arguments:?}: {refused:?}");
        }
    }
    for (sent, code) in
        [("{", "InvalidInput"), ("", "InvalidInput"), ("[]", "InvalidInput"), ("\u{0}", "InvalidInput")]
    {
        let (status, answer) = aws.judge.request(Some(sue.keys()), "POST /tiers/developer/sessions", sent);
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{sent:?}: {answer}");
        assert!(
            !answer["hint"].as_str().unwrap().is_empty()
                && !answer["request_id"].as_str().unwrap().is_empty()
        );
    }
    assert!(aws.session_rows().is_empty());
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}

#[test]
fn a_prefix_that_fits_two_sessions_is_refused_with_both() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (one, _) = request(&sue, "read-only", "15m");
    // Ids are random: another that begins alike is written beside it.
    let other =
        format!("{}{}", &one[..1], if one.ends_with('0') { "111111111111111" } else { "000000000000000" });
    let mut row = crate::row(&aws, &one);
    row["session_id"] = json!({"S": other});
    aws.call("dynamodb.put_item", json!({"TableName": "sorry-sessions", "Item": row}));
    let refused = sue.sorry(&["status", &one[..1]]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(&one) && refused.stderr.contains(&other), "{refused:?}");
}

#[test]
fn a_tier_that_is_not_lent_here_is_refused() {
    let aws = LocalAws::start_with(&["EnabledTiers=read-only", "MinimumWindowSeconds=900"]);
    let sue = aws.register("sue-mgr");
    let refused = sue.sorry(&["request", "--tier", "developer", "--hours", "1"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("not lent by this deployment") && refused.stderr.contains("read-only"),
        "{refused:?}"
    );
    assert_eq!(sue.sorry(&["request", "--tier", "read-only", "--for", "10m"]).code, 2);
    request(&sue, "read-only", "15m");
}

#[test]
fn a_namespace_belongs_to_one_person() {
    let aws = LocalAws::start();
    aws.register("sue-mgr");
    let administrator = aws.administrator_person();
    let refused = administrator.sorry(&[
        "admin",
        "callers",
        "add",
        "sue",
        "--person",
        "susan",
        "--tier",
        "developer=8",
    ]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`sue` belongs to somebody else"), "{refused:?}");
    // Nothing half-made is left: no key that would serve for nothing.
    let keys = aws.try_call("iam.list_access_keys", json!({"UserName": "sue"}));
    let count = match keys {
        sorry_tests::Verdict::Allowed(answer) => answer["AccessKeyMetadata"].as_array().unwrap().len(),
        sorry_tests::Verdict::Refused(..) => 0,
    };
    assert_eq!(count, 0);
}
