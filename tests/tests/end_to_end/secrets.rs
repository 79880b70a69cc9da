//! Invariant 6: no secret in a log, an execution's history, a table or an event of a full run.

use serde_json::{Value, json};
use sorry_tests::{Keys, LocalAws, eventually};

use crate::{PATIENCE, reaches, request};

#[test]
fn a_full_run_leaves_no_secret_behind() {
    let aws = LocalAws::start();
    let events = aws.listen_to_events();
    let security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let (revoked, first) = request(&sue, "developer", "15m");
    let (expired, second) = request(&sue, "read-only", "10s");
    let (alerted, third) = request(&sue, "break-glass", "15m");
    let job = ["request", "--tier", "read-only", "--grant", "user", "--for", "15m", "--profile", "job"];
    sue.sorry(&job).success();
    let fourth = sue.profile("job");
    sue.sorry(&["revoke", &revoked, &alerted]).success();
    reaches(&sue, &expired, "EXPIRED");
    sue.sorry(&["request", "--tier", "wizard", "--hours", "1"]);
    aws.sweep();

    let secrets: Vec<(&str, String)> = [
        ("caller", sue.keys()),
        ("revoked", &first),
        ("expired", &second),
        ("alerted", &third),
        ("job", &fourth),
    ]
    .into_iter()
    .flat_map(|(whose, keys): (&str, &Keys)| {
        [
            Some((whose, keys.secret_access_key.clone())),
            keys.session_token.clone().map(|token| (whose, token)),
        ]
    })
    .flatten()
    .collect();
    assert_eq!(secrets.len(), 9);
    let external_ids: Vec<String> =
        aws.session_rows().iter().map(|row| row["external_id"]["S"].as_str().unwrap().to_owned()).collect();

    let mut places: Vec<(String, String)> = Vec::new();
    for group in pages(&aws, "logs.describe_log_groups", json!({}), "logGroups") {
        let name = group["logGroupName"].as_str().unwrap().to_owned();
        let lines = pages(&aws, "logs.filter_log_events", json!({"logGroupName": name}), "events");
        places.push((format!("log group {name}"), Value::from(lines).to_string()));
    }
    for execution in pages(
        &aws,
        "stepfunctions.list_executions",
        json!({"stateMachineArn": aws.output("StateMachineArn")}),
        "executions",
    ) {
        let arn = execution["executionArn"].clone();
        let described = aws.call("stepfunctions.describe_execution", json!({"executionArn": arn}));
        let history =
            pages(&aws, "stepfunctions.get_execution_history", json!({"executionArn": arn}), "events");
        places.push((format!("execution {arn}"), format!("{described}{}", Value::from(history))));
    }
    let heard = eventually("the events have arrived", PATIENCE, || {
        let arrived = events.arrived();
        (!arrived.is_empty()).then_some(arrived)
    });
    places.push(("events".into(), format!("{heard:?}")));
    places.push(("alerts".into(), format!("{:?}", security.arrived())));
    // The whole deployment wrote something: an empty place would prove nothing.
    let written =
        |name: &str| places.iter().filter(|(place, text)| place.contains(name) && text.len() > 100).count();
    for function in ["api", "issue", "provision", "clean-up", "sweep", "alert"] {
        assert_eq!(written(&format!("/aws/lambda/sorry-{function}")), 1, "{function} has logged");
    }
    assert!(
        written("execution") >= 5 && written("events") == 1 && written("alerts") == 1,
        "{}",
        places.len()
    );
    for (place, text) in &places {
        for id in &external_ids {
            assert!(!text.contains(id), "an external id is in {place}");
        }
    }
    for table in ["sorry-sessions", "sorry-registry", "sorry-audit"] {
        let items = aws.items(table);
        assert!(!items.is_empty(), "{table}");
        places.push((format!("table {table}"), Value::from(items).to_string()));
    }
    places.push((
        "the log of the local AWS".into(),
        std::fs::read_to_string(aws.folder().join("log")).unwrap(),
    ));
    for (place, text) in &places {
        for (whose, secret) in &secrets {
            assert!(!text.contains(secret.as_str()), "the secret of {whose} is in {place}");
        }
    }
}

/// All items of an answer that comes in pages.
fn pages(aws: &LocalAws, call: &str, parameters: Value, items: &str) -> Vec<Value> {
    let (mut all, mut parameters) = (Vec::new(), parameters);
    loop {
        let answer = aws.call(call, parameters.clone());
        all.extend(answer[items].as_array().cloned().unwrap_or_default());
        match answer["nextToken"].as_str() {
            Some(token) if parameters["nextToken"] != token => parameters["nextToken"] = token.into(),
            _ => return all,
        }
    }
}
