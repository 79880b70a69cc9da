//! What is seen from outside: the metrics of a whole life in the functions' logs, alarms that reach security, rows of earlier versions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sorry_aws::metrics::{Metric, NAMESPACE};
use sorry_tests::{LocalAws, eventually};

use crate::{PATIENCE, reaches, request, row};

/// The lines of a function's log that CloudWatch makes metrics of.
fn embedded(aws: &LocalAws, function: &str) -> Vec<Value> {
    let group = format!("/aws/lambda/sorry-{function}");
    let answer = aws.call("logs.filter_log_events", json!({"logGroupName": group, "limit": 10_000}));
    let lines = answer["events"].as_array().cloned().unwrap_or_default();
    let documents = lines.iter().filter_map(|line| serde_json::from_str(line["message"].as_str()?).ok());
    documents.filter(|document: &Value| document.get("_aws").is_some()).collect()
}

/// Takes statements out of the policy of a function's role.
fn refuse(aws: &LocalAws, function: &str, sid: &str) {
    let name = json!({"RoleName": format!("sorry-function-{function}"), "PolicyName": "calls"});
    let mut written = name.clone();
    let mut document = aws.call("iam.get_role_policy", name)["PolicyDocument"].clone();
    document["Statement"].as_array_mut().unwrap().retain(|statement| statement["Sid"] != sid);
    written["PolicyDocument"] = document.to_string().into();
    aws.call("iam.put_role_policy", written);
}

/// A life with everything in it that is counted. What CloudWatch would make of the lines is then reported to the local AWS, and the
/// alarms go off that should.
#[test]
fn a_life_is_seen_in_metrics_and_what_is_wrong_in_alarms() {
    let aws = LocalAws::start_with(&["RoleQuota=2"]);
    let security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let (revoked, _) = request(&sue, "developer", "15m");
    request(&sue, "read-only", "15m");
    // One whose credentials the service hands out.
    request(&sue, "break-glass", "15m");
    sue.sorry(&["request", "--tier", "wizard", "--hours", "1"]);
    aws.sweep();
    sue.sorry(&["revoke", &revoked]).success();
    reaches(&sue, &revoked, "REVOKED");
    // IAM refuses to clean up after another one, and then the API to start any more.
    let (stuck, _) = request(&sue, "developer", "15m");
    refuse(&aws, "clean-up", "TakePrincipalsAway");
    refuse(&aws, "sweep", "TakePrincipalsAway");
    assert_ne!(sue.sorry(&["revoke", &stuck]).code, 0, "it says that something is left");
    eventually("the clean-up is given up", PATIENCE, || {
        (row(&aws, &stuck)["state"]["S"] == "CLEAN_UP_FAILED").then_some(())
    });
    aws.sweep();
    refuse(&aws, "api", "Workflow");
    sue.sorry(&["request", "--tier", "developer", "--hours", "1"]);

    let functions = ["api", "issue", "provision", "clean-up", "sweep"];
    let documents: Vec<(&str, Value)> = functions
        .into_iter()
        .flat_map(|function| embedded(&aws, function).into_iter().map(move |document| (function, document)))
        .collect();
    let mut seen: BTreeMap<String, Vec<(&str, f64)>> = BTreeMap::new();
    for (function, document) in &documents {
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], NAMESPACE);
        for metric in directive["Metrics"].as_array().unwrap() {
            let name = metric["Name"].as_str().unwrap();
            seen.entry(name.to_owned()).or_default().push((function, document[name].as_f64().unwrap()));
        }
        let text = document.to_string();
        for private in ["sue", "wizard", revoked.as_str(), stuck.as_str(), "arn:aws"] {
            assert!(!text.contains(private), "`{private}` is in a metric: {text}");
        }
    }
    for metric in Metric::ALL {
        assert!(seen.contains_key(metric.name()), "{metric:?} was not emitted: {:?}", seen.keys());
    }
    let largest = |metric: Metric| seen[metric.name()].iter().map(|(_, value)| *value).fold(0.0, f64::max);
    for (metric, functions) in [
        (Metric::TimeToActive, &["provision"][..]),
        (Metric::TimeToRefusal, &["clean-up"]),
        (Metric::Requests, &["api", "issue"]),
    ] {
        let from: BTreeSet<_> = seen[metric.name()].iter().map(|(from, _)| *from).collect();
        assert_eq!(from, functions.iter().copied().collect(), "{metric:?}");
    }
    assert_eq!(seen[Metric::TimeToActive.name()].len(), 4, "four were granted");
    assert!(largest(Metric::TimeToActive) < PATIENCE.as_secs_f64());
    assert_eq!((largest(Metric::SessionPrincipals), largest(Metric::RoleQuotaUsed)), (2.0, 100.0));
    assert_eq!((largest(Metric::CleanUpFailed), largest(Metric::LiveSessions)), (1.0, 1.0));
    let has = |name: &str, value: &str| documents.iter().any(|(_, document)| document[name] == value);
    assert!(has("Code", "UnknownTier") && has("Code", "PolicyRefused") && has("Tier", "read-only"));

    for name in [Metric::RoleQuotaUsed, Metric::CleanUpFailed, Metric::SweepHolds, Metric::Sweeps] {
        let dimensions = json!([{"Name": "Service", "Value": "sorry"}]);
        let data = json!([{"MetricName": name.name(), "Dimensions": dimensions, "Value": largest(name)}]);
        aws.call("cloudwatch.put_metric_data", json!({"Namespace": NAMESPACE, "MetricData": data}));
    }
    let mut heard = String::new();
    eventually("security hears of both", PATIENCE, || {
        heard.extend(security.arrived().into_iter().map(|(_, text)| text));
        (heard.contains("sorry-role-quota") && heard.contains("sorry-clean-up-failed")).then_some(())
    });
    assert!(!heard.contains("sorry-sweep-held") && !heard.contains("sorry-no-sweep"), "{heard}");
}

#[test]
fn every_alarm_speaks_to_security_and_so_does_a_strange_invocation() {
    let aws = LocalAws::start();
    let security = aws.subscribe_to_alerts();
    let answer = aws.call("cloudwatch.describe_alarms", json!({"AlarmNamePrefix": "sorry-"}));
    let alarms: Vec<_> =
        answer["MetricAlarms"].as_array().unwrap().iter().map(|alarm| alarm["AlarmName"].clone()).collect();
    assert!(alarms.len() > 15, "{alarms:?}");
    for alarm in &alarms {
        let state = json!({"AlarmName": alarm, "StateValue": "ALARM", "StateReason": "a test"});
        aws.call("cloudwatch.set_alarm_state", state);
    }
    // Nobody may send events in the name of a service. So the rule's pattern is asked about them, and its target is given to another
    // rule whose events may be sent.
    let invocation = |function: &str, who: Value| {
        json!({
            "eventSource": "lambda.amazonaws.com", "eventName": "Invoke", "eventTime": "2026-01-01T00:00:00Z",
            "sourceIPAddress": "192.0.2.7", "requestID": "r-1", "userIdentity": who,
            "requestParameters": {"functionName": format!("arn:aws:lambda:us-east-1:123456789012:function:{function}")},
        })
    };
    let mallory = json!({"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/mallory"});
    let workflow =
        json!({"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/sorry-workflow/x"});
    let gateway = json!({"type": "AWSService", "invokedBy": "apigateway.amazonaws.com"});
    let name = json!({"Name": "sorry-strange-invocation"});
    let pattern = aws.call("events.describe_rule", name)["EventPattern"].clone();
    for (function, who, strange) in [
        ("sorry-provision", &workflow, false),
        ("sorry-api", &gateway, false),
        ("sorry-sweep", &gateway, false),
        ("somebody-elses", &mallory, false),
        ("sorry-api", &mallory, true),
        ("sorry-clean-up", &mallory, true),
    ] {
        let event = json!({
            "id": "1", "account": "123456789012", "region": "us-east-1", "time": "2026-01-01T00:00:00Z", "resources": [],
            "source": "aws.lambda", "detail-type": "AWS API Call via CloudTrail", "detail": invocation(function, who.clone()),
        });
        let asked = json!({"EventPattern": pattern, "Event": event.to_string()});
        assert_eq!(aws.call("events.test_event_pattern", asked)["Result"], strange, "{event}");
    }
    let targets =
        aws.call("events.list_targets_by_rule", json!({"Rule": "sorry-strange-invocation"}))["Targets"]
            .clone();
    aws.call("events.put_rule", json!({"Name": "sorry-trial", "EventPattern": r#"{"source":["trial"]}"#}));
    aws.call("events.put_targets", json!({"Rule": "sorry-trial", "Targets": targets}));
    let detail = invocation("sorry-api", mallory).to_string();
    let entry = json!([{"Source": "trial", "DetailType": "a trial", "Detail": detail}]);
    aws.call("events.put_events", json!({"Entries": entry}));

    let mut heard: Vec<String> = Vec::new();
    let mut missing = Vec::new();
    eventually("security hears of everything", PATIENCE, || {
        heard.extend(security.arrived().into_iter().map(|(_, text)| text));
        let said = |name: &str| heard.iter().any(|text| text.contains(name));
        missing = alarms.iter().filter_map(Value::as_str).filter(|name| !said(name)).collect();
        (missing.is_empty() && said("mallory")).then_some(())
    });
    let strange: Vec<_> = heard.iter().filter(|text| text.contains("user/mallory invoked")).collect();
    assert_eq!(strange.len(), 1, "{strange:?}");
    assert!(strange[0].contains("function:sorry-api") && strange[0].contains("192.0.2.7"), "{strange:?}");
    let body =
        aws.call("cloudwatch.get_dashboard", json!({"DashboardName": "sorry"}))["DashboardBody"].clone();
    let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap();
    assert!(!body.to_string().contains("${Sweep"), "references are filled in");
}

/// Rows as version 1 wrote them, in a table of today, with their roles.
#[test]
fn recorded_rows_in_the_table_are_ended_by_the_sweep() {
    let aws = LocalAws::start();
    aws.sweep();
    let rows = std::fs::read_to_string(sorry_tests::project().join("tests/recorded/v1/rows.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    // Of each session the version with each state once: the last of them is what the table holds in the end.
    let mut latest: BTreeMap<String, &Value> = BTreeMap::new();
    for state in [
        "REVOKED",
        "REQUESTED",
        "PROVISIONING",
        "ACTIVE",
        "REVOKING",
        "EXPIRING",
        "FAILING",
        "CLEAN_UP_FAILED",
    ] {
        let mut in_state = rows.iter().filter(|row| row["state"]["S"] == state);
        let free = in_state.find(|row| !latest.contains_key(row["session_id"]["S"].as_str().unwrap()));
        if let Some(row) = free {
            latest.insert(row["session_id"]["S"].as_str().unwrap().to_owned(), row);
        }
    }
    assert!(latest.len() >= 4, "{:?}", latest.keys());
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]});
    for (id, row) in &latest {
        aws.call("dynamodb.put_item", json!({"TableName": "sorry-sessions", "Item": row}));
        if row.get("provisioning_at").is_some() && row.get("ended_at").is_none() {
            let role = json!({
                "RoleName": row["role_name"]["S"], "Path": "/sorry/session/sue/",
                "AssumeRolePolicyDocument": trust.to_string(), "Tags": [{"Key": "sorry:session", "Value": id}],
            });
            aws.call("iam.create_role", role);
        }
    }
    assert!(!aws.roles("/sorry/session/").is_empty());
    eventually("all of them have ended", 2 * PATIENCE, || {
        let report = aws.sweep();
        assert_eq!(report["failed"], json!([]), "{report}");
        let over =
            |row: &Value| ["REVOKED", "EXPIRED", "FAILED"].contains(&row["state"]["S"].as_str().unwrap());
        aws.session_rows().iter().all(over).then_some(())
    });
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
}
