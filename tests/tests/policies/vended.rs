//! The same cases on the local AWS, with credentials that `sorry` vended.

use std::collections::BTreeMap;

use serde_json::Value;
use sorry_tests::{Keys, LocalAws, eventually};

use crate::{
    PATIENCE, TIERS,
    cases::{Case, Expect, cases, filled},
};

/// Whether the local AWS lets these keys do it: done, or refused for any other reason than want of permission.
fn lets(aws: &LocalAws, keys: &Keys, case: &Case) -> bool {
    let variables =
        [("account", aws.output("account_id")), ("region", "us-east-1"), ("api", aws.output("ApiId"))];
    let parameters = filled(&Value::Object(case.parameters.clone()), &variables);
    let call = case.call.as_deref().expect("a call");
    !aws.judge.call(keys, call, parameters).is_denied()
}

#[test]
fn invariants_2_and_8_the_local_aws_judges_alike_with_vended_credentials_until_they_end() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    // Of a bucket that does not exist, S3 says so to anybody.
    for bucket in ["sue-data", "bob-data"] {
        aws.call("s3.create_bucket", serde_json::json!({"Bucket": bucket}));
    }
    let (sue, ann) = (aws.register("sue-mgr"), aws.register_approver("ann-mgr"));
    let request = |tier: &str, window: &str| sue.request_approved(&ann, tier, window).1;
    let tried: Vec<_> = ["allow.toml", "deny.toml"]
        .into_iter()
        .flat_map(cases)
        .filter(|case| case.call.is_some())
        .flat_map(|case| case.tiers.clone().into_iter().map(move |tier| (tier, case.clone())))
        .collect();
    let allowed = |tier: &str| {
        let allowed = tried.iter().filter(move |(of, case)| of == tier && case.expect == Expect::Allow);
        allowed.map(|(_, case)| case.clone()).collect::<Vec<_>>()
    };

    // AWS issues no credentials for less than 15 minutes: these outlive their sessions.
    let short: Vec<_> = TIERS.iter().map(|tier| (*tier, request(tier, "15s"), allowed(tier))).collect();
    let (last, last_keys, of_last) = short.last().expect("tiers");
    assert!(lets(&aws, last_keys, &of_last[0]), "{last}: {}", of_last[0].name);

    let keys: BTreeMap<_, _> = TIERS.iter().map(|tier| (*tier, request(tier, "15m"))).collect();
    let mut wrong = Vec::new();
    let mut different: BTreeMap<&str, bool> = BTreeMap::new();
    for (tier, case) in &tried {
        let agrees = lets(&aws, &keys[tier.as_str()], case) == (case.expect == Expect::Allow);
        if case.local.is_some() {
            *different.entry(&case.name).or_default() |= !agrees;
        } else if !agrees {
            wrong.push(format!("{tier}: {}: the other way", case.name));
        }
    }
    let alike = different.iter().filter(|(_, different)| !**different);
    wrong.extend(alike.map(|(name, _)| format!("{name}: as expected everywhere, and listed as different")));
    assert!(tried.len() > 100, "{} calls", tried.len());
    assert!(wrong.is_empty(), "of {} calls:\n{}", tried.len(), wrong.join("\n"));

    // Another key of hers: as many sessions as she may have, she has.
    let job = aws.register_with("sue-job", &["--namespace", "sue", "--person", "sue"]);
    let with_user = |window: &str| {
        let words =
            ["request", "--tier", "read-only", "--grant", "user", "--for", window, "--profile", "job"];
        job.sorry(&words).success();
        job.profile("job")
    };
    let (ending, keys) = (with_user("20s"), with_user("15m"));
    let of_user = of_user(&tried);
    assert!(lets(&aws, &ending, &of_user[0]), "user: {}", of_user[0].name);
    let wrong = of_user.iter().filter(|case| lets(&aws, &keys, case) != (case.expect == Expect::Allow));
    let wrong: Vec<_> = wrong.map(|case| &case.name).collect();
    assert!(wrong.is_empty(), "user: the other way: {wrong:?}");
    let of_user = of_user.into_iter().filter(|case| case.expect == Expect::Allow).collect();

    for (tier, keys, of_tier) in short.into_iter().chain([("user", ending, of_user)]) {
        eventually(&format!("{tier}: the end"), PATIENCE, || (!lets(&aws, &keys, &of_tier[0])).then_some(()));
        let still: Vec<_> =
            of_tier.iter().filter(|case| lets(&aws, &keys, case)).map(|case| &case.name).collect();
        assert!(still.is_empty(), "{tier}: after the end: {still:?}");
    }
}

/// The cases of read-only for what GetSessionToken made of a user's key: those that such credentials can call at all, what is allowed
/// first. Source: STS API Reference, GetSessionToken: nothing of IAM.
fn of_user(tried: &[(String, Case)]) -> Vec<Case> {
    let mut found: Vec<_> = tried
        .iter()
        .filter(|(tier, case)| tier == "read-only" && case.local.is_none())
        .map(|(_, case)| case.clone())
        .filter(|case| case.expect == Expect::Deny || !case.action.starts_with("iam:"))
        .collect();
    found.sort_by_key(|case| case.expect == Expect::Deny);
    assert!(found.len() > 20, "{} calls", found.len());
    found
}
