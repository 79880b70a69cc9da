//! What is seen from outside, and what is done about it: metrics that the code emits, alarms and a dashboard that name them, and a
//! runbook with a section for each alarm and each state.

use std::collections::BTreeSet;

use serde_json::Value;
use sorry_aws::metrics::{Metric, NAMESPACE, SERVICE};
use sorry_session::State;

use crate::project::{Template, each, found, found_pairs, functions, rendered, source, text, the_only};

const RUNBOOK: &str = "docs/runbook.md";
/// The rule that is no alarm, and is handled as one.
const STRANGE_INVOCATION: &str = "sorry-strange-invocation";

/// A metric of ours that an alarm or the dashboard names, with its dimensions.
type Named = (String, BTreeSet<String>);

fn dimension_names(dimensions: &Value) -> Vec<String> {
    dimensions.as_array().into_iter().flatten().map(|dimension| rendered(&dimension["Name"])).collect()
}

/// Namespace, name and dimensions of each metric that an alarm watches.
fn watched(alarm: &Value) -> Vec<(String, Named)> {
    let one = |metric: &Value| {
        let dimensions = dimension_names(&metric["Dimensions"]).into_iter().collect();
        (rendered(&metric["Namespace"]), (rendered(&metric["MetricName"]), dimensions))
    };
    match alarm["Metrics"].as_array() {
        None => vec![one(alarm)],
        Some(metrics) => {
            metrics.iter().filter_map(|metric| metric["MetricStat"].get("Metric")).map(one).collect()
        }
    }
}

fn alarms() -> Vec<(&'static str, &'static Value)> {
    Template::deployed().of_type("AWS::CloudWatch::Alarm").into_iter().collect()
}

/// The dashboard's body, references left as they are.
fn dashboard() -> Value {
    let body = rendered(&Template::deployed().resource("Dashboard")["DashboardBody"]);
    // `${!` is CloudFormation's way to write `${`.
    serde_json::from_str(&body.replace("${!", "${")).unwrap()
}

/// Each metric that the dashboard shows: namespace, name, dimensions.
fn shown() -> Vec<(String, Named)> {
    let mut shown = Vec::new();
    for widget in dashboard()["widgets"].as_array().unwrap() {
        for metric in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let parts = metric.as_array().unwrap();
            if let Some(expression) = parts[0]["expression"].as_str() {
                let (names, name) = found_pairs(r#"SEARCH\('\{(.*?)\} MetricName="(\w+)"'"#, expression)
                    .pop()
                    .unwrap_or_else(|| panic!("this test does not understand `{expression}`"));
                let mut names = names.split(',').map(str::to_owned);
                let namespace = names.next().unwrap();
                shown.push((namespace, (name, names.collect())));
            } else {
                let words: Vec<_> = parts.iter().filter_map(Value::as_str).collect();
                let dimensions = words[2..].chunks(2).map(|pair| pair[0].to_owned()).collect();
                shown.push((words[0].to_owned(), (words[1].to_owned(), dimensions)));
            }
        }
    }
    assert!(shown.len() > 20, "this test no longer finds the dashboard's metrics");
    shown
}

fn emitted() -> BTreeSet<Named> {
    let dimensions =
        |metric: Metric| [SERVICE].into_iter().chain(metric.dimension()).map(str::to_owned).collect();
    Metric::ALL.into_iter().map(|metric| (metric.name().to_owned(), dimensions(metric))).collect()
}

#[test]
fn what_alarms_and_dashboard_name_is_emitted_and_the_other_way_round() {
    let ours = |(namespace, named): (String, Named)| (namespace == NAMESPACE).then_some(named);
    let emitted = emitted();
    let watched: BTreeSet<Named> =
        alarms().iter().flat_map(|(_, alarm)| watched(alarm)).filter_map(ours).collect();
    let shown: BTreeSet<Named> = shown().into_iter().filter_map(ours).collect();
    let unknown: Vec<_> = watched.union(&shown).filter(|named| !emitted.contains(*named)).collect();
    assert!(
        unknown.is_empty(),
        "no code emits {unknown:?}: crates/aws/src/metrics.rs has other names or dimensions"
    );
    let unseen: Vec<_> = emitted.difference(&shown).collect();
    assert!(unseen.is_empty(), "{unseen:?} cost money, and the dashboard does not show them");
}

#[test]
fn every_metric_is_emitted_by_some_function() {
    let mut code = source("crates/aws/src/metrics.rs");
    let mains: Vec<_> =
        functions().iter().map(|function| source(&format!("functions/{function}/src/main.rs"))).collect();
    for builder in ["answered", "swept"] {
        let used = mains.iter().any(|main| main.contains(&format!("metrics::{builder}(")));
        assert!(used, "no function emits what `{builder}` makes");
    }
    code.push_str(&mains.concat());
    let written: BTreeSet<_> = found(r"\bMetric::(\w+)", &code).into_iter().collect();
    for metric in Metric::ALL {
        assert!(written.contains(&format!("{metric:?}")), "nothing emits {metric:?}");
    }
}

/// What AWS reports itself, by the dimension that names a resource of this stack.
#[test]
fn what_aws_reports_is_asked_for_by_what_the_stack_has() {
    for (id, alarm) in alarms() {
        for (namespace, (metric, dimensions)) in watched(alarm) {
            let expected: &[&str] = match namespace.as_str() {
                NAMESPACE => continue,
                "AWS/Lambda" => &["FunctionName"],
                "AWS/SQS" => &["QueueName"],
                "AWS/SNS" => &["TopicName"],
                "AWS/States" => &["StateMachineArn"],
                "AWS/ApiGateway" => &["ApiName", "Stage"],
                other => panic!("{id}: is `{other}` a namespace? Say so in this test"),
            };
            let expected: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(dimensions, expected, "{id}: {namespace} {metric}");
        }
    }
    // The gateway's metrics go by the name of the API.
    assert_eq!(Template::deployed().resource("Api")["Name"], "sorry");
}

#[test]
fn every_function_has_alarms_for_errors_and_throttles() {
    let template = Template::deployed();
    for function in functions() {
        let (id, _) = template.function(&function);
        for (metric, kind) in [("Errors", "errors"), ("Throttles", "throttles")] {
            let has = alarms().iter().any(|(_, alarm)| {
                alarm["MetricName"] == metric
                    && rendered(&alarm["Dimensions"][0]["Value"]) == format!("${{{id}}}")
                    && alarm["AlarmName"] == format!("sorry-{function}-{kind}")
            });
            assert!(has, "`{function}` has no alarm `sorry-{function}-{kind}`");
        }
    }
}

#[test]
fn every_alarm_reaches_security_and_names_its_section() {
    for (id, alarm) in alarms() {
        assert_eq!(each(&alarm["AlarmActions"]), ["${AlertTopic}"], "{id} tells nobody");
        // The topic's policy lets alarms of these names speak.
        let name = rendered(&alarm["AlarmName"]);
        assert!(name.starts_with("sorry-"), "{id}");
        let description = rendered(&alarm["AlarmDescription"]);
        assert!(description.ends_with(&format!(". {RUNBOOK}#{name}")), "{id}: {description}");
        assert!(alarm["TreatMissingData"].is_string(), "{id}: say what missing data means");
        assert!(alarm["EvaluationPeriods"].is_number(), "{id}");
    }
    let all: BTreeSet<_> = alarms().iter().map(|(id, _)| format!("${{{id}.Arn}}")).collect();
    let first = &dashboard()["widgets"][0];
    assert_eq!(first["type"], "alarm");
    assert_eq!(
        all,
        each(&first["properties"]["alarms"]).into_iter().collect(),
        "left: alarms; right: those on the dashboard"
    );
}

/// Whoever can write a log in the account can add values to a metric of ours, and must not be able to silence an alarm by it.
#[test]
fn no_alarm_is_silenced_by_values_that_somebody_adds() {
    for (id, alarm) in alarms() {
        if alarm["Namespace"] == NAMESPACE {
            assert_eq!(alarm["Statistic"], "Maximum", "{id}");
            let comparison = rendered(&alarm["ComparisonOperator"]);
            assert!(comparison.starts_with("GreaterThan"), "{id}: {comparison}");
        }
    }
}

fn sections() -> BTreeSet<String> {
    let found = found(r"(?m)^### (\S+)$", &text(RUNBOOK));
    let sections: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(found.len(), sections.len(), "two sections of {RUNBOOK} have the same name");
    sections
}

#[test]
fn every_alarm_and_every_state_has_its_section_and_there_are_no_others() {
    let (about_alarms, about_states): (BTreeSet<_>, BTreeSet<_>) =
        sections().into_iter().partition(|section| section.starts_with("sorry-"));
    let mut names: BTreeSet<_> = alarms().iter().map(|(_, alarm)| rendered(&alarm["AlarmName"])).collect();
    let rule = Template::deployed().resource("StrangeInvocationRule");
    assert_eq!(rule["Name"], STRANGE_INVOCATION);
    names.insert(STRANGE_INVOCATION.to_owned());
    assert_eq!(names, about_alarms, "left: alarms; right: sections of {RUNBOOK}");
    let states: BTreeSet<_> = State::ALL.iter().map(|state| state.as_str().to_owned()).collect();
    // One word in capitals is a state; other headings have several words.
    let about_states: BTreeSet<_> = about_states
        .into_iter()
        .filter(|section| section.chars().all(|c| c == '_' || c.is_uppercase()))
        .collect();
    assert_eq!(states, about_states, "left: states; right: sections of {RUNBOOK}");
}

#[test]
fn every_link_of_the_runbook_leads_somewhere() {
    let runbook = text(RUNBOOK);
    let anchor = |heading: &str| {
        let plain: String =
            heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
        plain.replace(' ', "-")
    };
    let headings: BTreeSet<_> =
        found(r"(?m)^##+ (.+)$", &runbook).iter().map(|heading| anchor(heading)).collect();
    for link in found(r"\]\(#([^)]+)\)", &runbook) {
        assert!(headings.contains(&link), "{RUNBOOK} links to #{link}, which is no heading");
    }
}

/// The commands name what there is: functions, rules, tables, options of the scripts.
#[test]
fn the_runbook_names_what_the_stack_has() {
    let runbook = text(RUNBOOK);
    let template = Template::deployed();
    let mut names: BTreeSet<String> =
        functions().iter().map(|function| format!("sorry-{function}")).collect();
    for (kind, property) in [
        ("AWS::DynamoDB::Table", "TableName"),
        ("AWS::Events::Rule", "Name"),
        ("AWS::SNS::Topic", "TopicName"),
        ("AWS::SQS::Queue", "QueueName"),
        ("AWS::CloudWatch::Alarm", "AlarmName"),
    ] {
        names.extend(template.of_type(kind).values().map(|resource| rendered(&resource[property])));
    }
    // The access log of the gateway.
    names.insert("sorry-access".to_owned());
    for name in found(r"\b(sorry-[a-z]+(?:-[a-z]+)*)", &runbook) {
        assert!(names.contains(&name), "{RUNBOOK} names `{name}`, which the stack does not have");
    }
    let destroy = text("infrastructure/destroy.sh");
    for option in found(r"destroy\.sh (--[a-z-]+)", &runbook) {
        assert!(destroy.contains(&format!("{option})")), "destroy.sh has no {option}");
    }
}

#[test]
fn what_ends_sessions_and_tells_security_can_have_concurrency_of_its_own() {
    let reserved =
        r#"{"Fn::If":["ConcurrencyIsReserved",{"Ref":"ReservedConcurrency"},{"Ref":"AWS::NoValue"}]}"#;
    let reserved: Value = serde_json::from_str(reserved).unwrap();
    for function in ["alert", "clean-up", "issue"] {
        if functions().contains(function) {
            let (id, lambda) = Template::deployed().function(function);
            assert_eq!(lambda["ReservedConcurrentExecutions"], reserved, "{id}");
        }
    }
    let parameter = &Template::deployed().all()["Parameters"]["ReservedConcurrency"];
    assert_eq!(parameter["Default"], 0, "an account with a quota of 10 can reserve none");
}

#[test]
fn everything_is_traced() {
    let template = Template::deployed();
    for (id, function) in template.of_type("AWS::Lambda::Function") {
        assert_eq!(function["TracingConfig"]["Mode"], "Active", "{id}");
    }
    assert_eq!(template.resource("StateMachine")["TracingConfiguration"]["Enabled"], true);
    assert_eq!(template.resource("ApiStage")["TracingEnabled"], true);
}

/// Whatever can make a principal, a key or a workflow must not run any more when the sessions are ended.
#[test]
fn destroying_stops_every_function_that_gives_access() {
    let template = Template::deployed();
    let gives = |function: &str| {
        let (id, _) = template.function(function);
        let role = template.resource(&id.replace("Function", "Role"))["Policies"].to_string();
        let actions = found(r#""((?:iam|states|sts):[A-Za-z]+)""#, &role);
        let giving = ["iam:Create", "states:StartExecution", "sts:"];
        actions.iter().any(|action| giving.iter().any(|giving| action.starts_with(giving)))
    };
    let giving: BTreeSet<_> =
        functions().iter().filter(|name| gives(name)).map(|name| format!("sorry-{name}")).collect();
    let destroy = text("infrastructure/destroy.sh");
    let list = the_only(r"(?m)^readonly granting=\(([^)]*)\)", &destroy, "infrastructure/destroy.sh");
    let stopped: BTreeSet<_> = list.split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        stopped, giving,
        "left: stopped by infrastructure/destroy.sh; right: functions that give access"
    );
}

/// CloudFormation takes a template of 51,200 bytes in the request, and one of a megabyte from S3. Source: CloudFormation quotas.
#[test]
fn the_template_goes_by_s3_and_fits() {
    let size = serde_json::to_string(Template::deployed().all()).unwrap().len();
    assert!(size < 1_000_000 / 2, "{size} bytes");
    assert!(
        text("infrastructure/deploy.sh").contains("--s3-bucket"),
        "the template does not fit into a request"
    );
}
