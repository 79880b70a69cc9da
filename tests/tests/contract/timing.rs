//! Limits of time that lean on each other: time-outs of functions and tasks, retries, the grace for late principals, the sweep.

use std::time::Duration;

use serde_json::Value;
use sorry_session::{
    expiry::{EXTENSION_GRACE, ISSUE_LIFE, PROVISIONING_GRACE, STUCK_AFTER},
    issue::KEY_PATIENCE,
};

use crate::project::{Template, functions, source, states, tasks, the_only, workflow};

/// The longest that API Gateway waits for a function. Source: Amazon API Gateway quotas, integration time-out.
const GATEWAY_WAITS: Duration = Duration::from_secs(29);

fn timeout_of(function: &Value) -> Duration {
    Duration::from_secs(function["Timeout"].as_u64().expect("a function has a time-out"))
}

fn function(name: &str) -> Duration {
    timeout_of(Template::deployed().function(name).1)
}

fn task(state: &Value) -> Duration {
    Duration::from_secs(state["TimeoutSeconds"].as_u64().expect("a task has a time-out"))
}

/// The waits of all retriers, each at its longest: jitter only makes them shorter. Each retrier counts its own tries, so that a task
/// can be tried as often as all of them say together.
fn waits(state: &Value) -> Vec<Duration> {
    let mut waits = Vec::new();
    for rule in state["Retry"].as_array().unwrap() {
        let number = |name: &str, otherwise: u64| rule[name].as_u64().unwrap_or(otherwise);
        let (first, rate, longest) =
            (number("IntervalSeconds", 1), number("BackoffRate", 2), number("MaxDelaySeconds", u64::MAX));
        let tries = u32::try_from(number("MaxAttempts", 3)).unwrap();
        waits.extend(
            (0..tries).map(|nth| Duration::from_secs(first.saturating_mul(rate.pow(nth)).min(longest))),
        );
    }
    waits
}

/// From the first try to the end of the last, when each takes as long as it may.
fn whole(state: &Value) -> Duration {
    let waits = waits(state);
    task(state) * u32::try_from(waits.len() + 1).unwrap() + waits.iter().sum::<Duration>()
}

fn constant(name: &str, path: &str) -> Duration {
    let pattern = format!(r"const {name}: Duration = Duration::from_secs\((\d+)\);");
    Duration::from_secs(the_only(&pattern, &source(path), path).parse().unwrap())
}

#[test]
fn a_task_waits_longer_than_its_function_lives_and_less_than_the_grace() {
    let definition = workflow();
    for (name, (state, id)) in tasks(&definition) {
        let function = timeout_of(Template::deployed().resource(id));
        assert!(
            function < task(state),
            "task `{name}`: the next try must not begin while `{id}` may still run"
        );
        assert!(
            task(state) < PROVISIONING_GRACE,
            "task `{name}` outlasts `PROVISIONING_GRACE` of crates/session"
        );
    }
}

/// While `may_still_appear` says yes, "there is no role" means nothing. The grace counts from `provisioning_at`, which every try
/// writes before its first call to IAM, and no try writes once the row has moved on. So what can come late is what the last try
/// sent before it was ended, and that must have landed, and be visible, when the grace is over.
#[test]
fn a_clean_up_does_not_call_a_principal_gone_that_may_still_appear() {
    let definition = workflow();
    let provision = states(&definition)["Provision"];
    assert!(
        function("provision") + task(provision) <= PROVISIONING_GRACE,
        "a try that began may write until its function is ended, and IAM takes its time to show it: raise `PROVISIONING_GRACE`"
    );
    // The same without that argument: even counted from the first try, all of them are over within the grace.
    assert!(
        whole(provision) <= PROVISIONING_GRACE,
        "all tries of `Provision` take up to {:?}, and `PROVISIONING_GRACE` is {PROVISIONING_GRACE:?}",
        whole(provision)
    );
    let pending = states(&definition)["Pending"]["Seconds"].as_u64().unwrap();
    assert!(Duration::from_secs(pending) < PROVISIONING_GRACE, "`Pending` asks again within the grace");
}

/// What was decided before the end is waited for so long; then the session is ended.
#[test]
fn an_extension_is_carried_out_or_given_up_within_its_grace() {
    let definition = workflow();
    let extend = states(&definition)["Extend"];
    assert!(
        whole(extend) <= EXTENSION_GRACE,
        "all tries of `Extend` take up to {:?}, and `EXTENSION_GRACE` is {EXTENSION_GRACE:?}",
        whole(extend)
    );
}

/// A caller may be registered, and ask, the moment after it was made. IAM takes
/// up to some 30 seconds to know it.
#[test]
fn iam_is_left_the_time_to_know_a_new_caller() {
    let definition = workflow();
    let rules = states(&definition)["Provision"]["Retry"].as_array().unwrap();
    let rule =
        rules.iter().find(|rule| rule["ErrorEquals"] == serde_json::json!(["CallerUnknownToIam"])).unwrap();
    assert!(rule.get("JitterStrategy").is_none(), "with jitter it could be any time");
    let waited: Duration = waits(&serde_json::json!({"Retry": [rule]})).iter().sum();
    assert!((40..=60).contains(&waited.as_secs()), "{waited:?}");
}

/// The sweep takes up what has not changed for `STUCK_AFTER`; a workflow that goes on must have changed the row by then.
#[test]
fn the_sweep_does_not_take_a_session_from_a_workflow_that_goes_on() {
    let definition = workflow();
    let alert = states(&definition)["Alert"];
    assert!(
        whole(alert) < STUCK_AFTER,
        "`Alert` takes up to {:?}, then the session is still REQUESTED and the sweep would fail it after {STUCK_AFTER:?}",
        whole(alert)
    );
    let provision = states(&definition)["Provision"];
    let between = task(provision) + waits(provision).into_iter().max().unwrap_or_default();
    assert!(between < STUCK_AFTER, "between two tries of `Provision` up to {between:?} pass");
}

#[test]
fn the_sweep_stops_by_itself_before_it_is_stopped() {
    let budget = constant("BUDGET", "crates/session/src/sweep.rs");
    // Begun within the budget, the last session may take as long as a clean-up is given.
    assert!(
        budget + function("clean-up") <= function("sweep"),
        "`BUDGET` ({budget:?}) and one clean-up ({:?}) must fit into the time-out of the sweep ({:?})",
        function("clean-up"),
        function("sweep")
    );
    let digests = constant("DIGEST_BUDGET", "crates/session/src/audit/digest.rs");
    assert!(digests < budget, "digests are written beside the sweep, and are done before it is");
    let rate = Template::deployed().all()["Parameters"]["SweepRate"]["Default"].as_str().unwrap();
    let minutes: u64 = the_only(r"^rate\((\d+) minutes\)$", rate, "SweepRate").parse().unwrap();
    assert!(function("sweep") < Duration::from_secs(60 * minutes), "one sweep is over when the next begins");
}

#[test]
fn nobody_waits_for_a_function_that_is_gone() {
    assert!(
        function("api") < GATEWAY_WAITS,
        "the gateway answers 504 after {GATEWAY_WAITS:?}, whatever the function says"
    );
    assert!(function("issue") < GATEWAY_WAITS && KEY_PATIENCE < function("issue"));
    assert!(function("issue") < ISSUE_LIFE, "the next issue must not begin while one may still run");
    let settings = source("crates/aws/src/settings.rs");
    let seconds = |name: &str| {
        let pattern = format!(r"\.{name}\(Duration::from_secs\((\d+)\)\)");
        Duration::from_secs(the_only(&pattern, &settings, "crates/aws/src/settings.rs").parse().unwrap())
    };
    let (attempt, call) = (seconds("operation_attempt_timeout"), seconds("operation_timeout"));
    assert!(seconds("connect_timeout") < attempt && attempt < call);
    for name in functions() {
        assert!(
            call < function(&name),
            "`{name}` must outlive a call to AWS, to say by its code that it got no answer"
        );
    }
}
