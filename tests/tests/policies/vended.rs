//! The same cases on the local AWS, with credentials that `sorry` vended.

use std::collections::BTreeMap;

use serde_json::Value;
use sorry_tests::{Keys, LocalAws, Person, eventually};

use crate::{
    PATIENCE, TIERS,
    cases::{Case, Expect, cases, filled},
};

fn request(person: &Person, tier: &str, window: &str) -> Keys {
    let arguments = [
        "request",
        "--tier",
        tier,
        "--for",
        window,
        "--reason",
        "the policies are tried",
        "--output",
        "json",
    ];
    let view = person.sorry(&arguments).success().json();
    person.profile(view["profile"].as_str().expect("a profile"))
}

/// Whether the local AWS lets these keys do it: done, or refused for any other reason than want of permission.
fn lets(aws: &LocalAws, keys: &Keys, case: &Case) -> bool {
    let variables =
        [("account", aws.output("account_id")), ("region", "us-east-1"), ("api", aws.output("ApiId"))];
    let parameters = filled(&Value::Object(case.parameters.clone()), &variables);
    let call = case.call.as_deref().expect("a call");
    !aws.judge.call(keys, call, parameters).is_denied()
}

#[test]
fn invariant_8_the_local_aws_judges_alike_with_vended_credentials() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let keys: BTreeMap<_, _> = TIERS.iter().map(|tier| (*tier, request(&sue, tier, "15m"))).collect();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for case in ["allow.toml", "deny.toml"].into_iter().flat_map(cases).filter(|case| case.call.is_some()) {
        for tier in &case.tiers {
            tried += 1;
            let allowed = lets(&aws, &keys[tier.as_str()], &case);
            let agrees = allowed == (case.expect == Expect::Allow);
            if agrees == case.local.is_some() {
                let said = if agrees { "as expected, and listed as different" } else { "the other way" };
                wrong.push(format!("{tier}: {}: {said}", case.name));
            }
        }
    }
    assert!(tried > 100, "{tried} calls");
    assert!(wrong.is_empty(), "of {tried} calls:\n{}", wrong.join("\n"));
}

#[test]
fn invariant_2_nothing_is_allowed_after_the_end_though_the_credentials_live_on() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let allowed: Vec<_> =
        cases("allow.toml").into_iter().filter(|case| case.call.is_some() && case.local.is_none()).collect();
    for tier in TIERS {
        let of_tier: Vec<_> =
            allowed.iter().filter(|case| case.tiers.iter().any(|one| one == tier)).collect();
        // AWS issues no credentials for less than 15 minutes.
        let keys = request(&sue, tier, "12s");
        let first = of_tier.first().expect("a case");
        assert!(lets(&aws, &keys, first), "{tier}: {}", first.name);
        eventually("the end", PATIENCE, || (!lets(&aws, &keys, first)).then_some(()));
        let still: Vec<_> =
            of_tier.iter().filter(|case| lets(&aws, &keys, case)).map(|case| &case.name).collect();
        assert!(still.is_empty(), "{tier}: after the end: {still:?}");
    }
}
