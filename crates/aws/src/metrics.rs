//! Metrics in CloudWatch's embedded metric format: one line of JSON on standard output, which CloudWatch Logs makes metrics of. No call,
//! no permission, nothing to wait for. Source: CloudWatch guide, "Specification: Embedded metric format".
//!
//! The published crates for this are back ends of metric registries, with a recorder for the whole process; here a step ends, its
//! values are known, and one line is written.
//!
//! Every metric costs money for each value of its dimension, so those are few and none is a person, a session or anything that a caller
//! can choose. Not for: deciding anything. What is measured, the steps return.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Map, Value, json};
use sorry_session::{
    ErrorCode,
    sweep::{Seen, SweepReport},
};

/// What all metrics stand under.
pub const NAMESPACE: &str = "sorry";

/// The dimension that every metric has, since the format wants one; its value is [`NAMESPACE`].
pub const SERVICE: &str = "Service";

/// All metrics there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Requests to the API that were answered, those for credentials among them.
    Requests,
    /// Of those, refused, by the rule that refused: an [`ErrorCode`].
    Refusals,
    /// Of those, failed inside, by [`ErrorCode`].
    Failures,
    /// Seconds from the request of a session until it was ACTIVE.
    TimeToActive,
    /// Seconds from the decision to end a session before its date until IAM took the policy that denies everything.
    TimeToRefusal,
    /// Sessions that are ACTIVE, by tier.
    LiveSessions,
    /// Roles under `/sorry/session/`.
    SessionPrincipals,
    /// Those, as a share of what the deployment says that sessions may have of the account's quota of roles.
    RoleQuotaUsed,
    /// Sweeps that came to their end.
    Sweeps,
    /// How long one took.
    SweepDuration,
    /// Sessions that were due in it.
    SweepFound,
    /// Of those, ended by it.
    SweepEnded,
    /// Live sessions without principal or caller that it ended.
    SweepRepaired,
    /// Principals without a session that it removed.
    SweepOrphans,
    /// Principals without a session that it holds.
    SweepHeld,
    /// Whether it holds: 1 or 0.
    SweepHolds,
    /// What did not succeed in it.
    SweepFailed,
    /// How often AWS asked it to slow down.
    SweepThrottled,
    /// Sessions that are CLEAN_UP_FAILED.
    CleanUpFailed,
    /// Clean-ups that were given up.
    CleanUpFailures,
}

impl Metric {
    /// All of them, for the tests that hold them to the template.
    pub const ALL: [Self; 20] = [
        Self::Requests,
        Self::Refusals,
        Self::Failures,
        Self::TimeToActive,
        Self::TimeToRefusal,
        Self::LiveSessions,
        Self::SessionPrincipals,
        Self::RoleQuotaUsed,
        Self::Sweeps,
        Self::SweepDuration,
        Self::SweepFound,
        Self::SweepEnded,
        Self::SweepRepaired,
        Self::SweepOrphans,
        Self::SweepHeld,
        Self::SweepHolds,
        Self::SweepFailed,
        Self::SweepThrottled,
        Self::CleanUpFailed,
        Self::CleanUpFailures,
    ];

    /// Its name: the one that alarms and dashboard use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "Requests",
            Self::Refusals => "Refusals",
            Self::Failures => "Failures",
            Self::TimeToActive => "TimeToActive",
            Self::TimeToRefusal => "TimeToRefusal",
            Self::LiveSessions => "LiveSessions",
            Self::SessionPrincipals => "SessionPrincipals",
            Self::RoleQuotaUsed => "RoleQuotaUsed",
            Self::Sweeps => "Sweeps",
            Self::SweepDuration => "SweepDuration",
            Self::SweepFound => "SweepFound",
            Self::SweepEnded => "SweepEnded",
            Self::SweepRepaired => "SweepRepaired",
            Self::SweepOrphans => "SweepOrphans",
            Self::SweepHeld => "SweepHeld",
            Self::SweepHolds => "SweepHolds",
            Self::SweepFailed => "SweepFailed",
            Self::SweepThrottled => "SweepThrottled",
            Self::CleanUpFailed => "CleanUpFailed",
            Self::CleanUpFailures => "CleanUpFailures",
        }
    }

    /// Its unit, one of those that CloudWatch knows.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::TimeToActive | Self::TimeToRefusal => "Seconds",
            Self::SweepDuration => "Milliseconds",
            Self::RoleQuotaUsed => "Percent",
            _ => "Count",
        }
    }

    /// The dimension that it has besides [`SERVICE`].
    pub const fn dimension(self) -> Option<&'static str> {
        match self {
            Self::Refusals | Self::Failures => Some("Code"),
            Self::LiveSessions => Some("Tier"),
            _ => None,
        }
    }
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    metric: Metric,
    value: f64,
    /// The value of its dimension, if it has one.
    of: Option<String>,
}

impl Reading {
    /// A value of a metric without a dimension of its own.
    pub const fn new(metric: Metric, value: f64) -> Self {
        Self { metric, value, of: None }
    }

    /// A value of a metric for one value of its dimension, which must be one of few.
    pub fn of(metric: Metric, dimension: impl Into<String>, value: f64) -> Self {
        Self { metric, value, of: Some(dimension.into()) }
    }
}

/// What an answer of the API counts as: `refused` is the code in the body of an answer that is no success.
pub fn answered(status: u16, refused: Option<&str>) -> Vec<Reading> {
    let mut readings = vec![Reading::new(Metric::Requests, 1.0)];
    // By the service's own codes alone: nothing that somebody else chose becomes a dimension.
    let code = ErrorCode::ALL.into_iter().find(|code| Some(code.as_str()) == refused);
    readings.extend(code.map(|code| {
        let metric = if status >= 500 { Metric::Failures } else { Metric::Refusals };
        Reading::of(metric, code.as_str(), 1.0)
    }));
    readings
}

/// What a sweep found and did. `role_quota` is the number of roles that sessions may have.
pub fn swept(report: &SweepReport, seen: &Seen, milliseconds: f64, role_quota: u32) -> Vec<Reading> {
    let mut readings = vec![
        Reading::new(Metric::Sweeps, 1.0),
        Reading::new(Metric::SweepDuration, milliseconds),
        Reading::new(Metric::SweepFound, count(report.found)),
        Reading::new(Metric::SweepEnded, count(report.ended)),
        Reading::new(Metric::SweepRepaired, count(report.repaired)),
        Reading::new(Metric::SweepOrphans, count(report.orphans.len())),
        Reading::new(Metric::SweepHeld, count(report.held.len())),
        Reading::new(Metric::SweepHolds, count(usize::from(report.held_because.is_some()))),
        Reading::new(Metric::SweepFailed, count(report.failed.len())),
        Reading::new(Metric::SweepThrottled, count(report.throttled)),
        Reading::new(Metric::CleanUpFailed, count(seen.clean_up_failed.len())),
        Reading::new(Metric::CleanUpFailures, count(report.given_up)),
        Reading::new(Metric::SessionPrincipals, count(seen.principals)),
        Reading::new(Metric::RoleQuotaUsed, 100.0 * count(seen.principals) / f64::from(role_quota.max(1))),
    ];
    let live = &seen.live;
    readings.extend(
        live.iter().map(|(tier, live)| Reading::of(Metric::LiveSessions, tier.as_str(), count(*live))),
    );
    readings
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Readings as documents of the format, one for each value of a dimension. `at` is in milliseconds since the epoch.
pub fn documents(readings: &[Reading], at: i64) -> Vec<Value> {
    let mut groups: BTreeMap<Option<(&str, &str)>, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        let dimension = reading.metric.dimension().zip(reading.of.as_deref());
        groups.entry(dimension).or_default().push(reading);
    }
    groups.into_iter().map(|(dimension, readings)| document(dimension, &readings, at)).collect()
}

fn document(dimension: Option<(&str, &str)>, readings: &[&Reading], at: i64) -> Value {
    let mut members = Map::from_iter([(SERVICE.to_owned(), json!(NAMESPACE))]);
    let mut dimensions = vec![SERVICE];
    if let Some((name, value)) = dimension {
        members.insert(name.to_owned(), json!(value));
        dimensions.push(name);
    }
    let mut definitions = Vec::new();
    for reading in readings {
        let name = reading.metric.name();
        if members.insert(name.to_owned(), json!(reading.value)).is_none() {
            definitions.push(json!({"Name": name, "Unit": reading.metric.unit()}));
        }
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": definitions});
    members.insert("_aws".to_owned(), json!({"Timestamp": at, "CloudWatchMetrics": [directive]}));
    Value::Object(members)
}

/// Writes readings where CloudWatch finds them. A metric that cannot be written is no reason to fail a step that has done its work.
pub fn emit(readings: &[Reading]) {
    let lines: String = documents(readings, crate::clock::milliseconds())
        .iter()
        .map(|document| format!("{document}\n"))
        .collect();
    let mut output = std::io::stdout().lock();
    if let Err(error) = output.write_all(lines.as_bytes()).and_then(|()| output.flush()) {
        tracing::warn!(%error, "the metrics could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(document: &Value) -> Vec<&str> {
        let definitions = document["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        definitions.iter().map(|metric| metric["Name"].as_str().unwrap()).collect()
    }

    /// Units that CloudWatch knows, of those that are used here. Source: CloudWatch API reference, MetricDatum.
    const UNITS: [&str; 4] = ["Count", "Milliseconds", "Percent", "Seconds"];

    /// What the specification's JSON schema says of a document, member by member.
    fn assert_is_embedded_metric_format(document: &Value) {
        let metadata = document["_aws"].as_object().unwrap();
        assert_eq!(metadata.keys().collect::<Vec<_>>(), ["CloudWatchMetrics", "Timestamp"], "{document}");
        assert!(metadata["Timestamp"].as_i64().unwrap() > 0, "{document}");
        let directives = metadata["CloudWatchMetrics"].as_array().unwrap();
        assert!(!directives.is_empty());
        for directive in directives {
            let members: Vec<_> = directive.as_object().unwrap().keys().collect();
            assert_eq!(members, ["Dimensions", "Metrics", "Namespace"], "{document}");
            let namespace = directive["Namespace"].as_str().unwrap();
            assert!((1..=1024).contains(&namespace.len()) && !namespace.starts_with("AWS/"));
            let sets = directive["Dimensions"].as_array().unwrap();
            assert!(!sets.is_empty(), "{document}");
            for set in sets {
                let set = set.as_array().unwrap();
                assert!((1..=30).contains(&set.len()), "{document}");
                for dimension in set {
                    let name = dimension.as_str().unwrap();
                    assert!((1..=250).contains(&name.len()));
                    // A target member: text, at most 1024 characters.
                    let value = document[name].as_str().unwrap();
                    assert!((1..=1024).contains(&value.len()), "{document}");
                }
            }
            let metrics = directive["Metrics"].as_array().unwrap();
            assert!((1..=100).contains(&metrics.len()), "{document}");
            for metric in metrics {
                assert_eq!(metric.as_object().unwrap().keys().collect::<Vec<_>>(), ["Name", "Unit"]);
                assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
                let value = &document[metric["Name"].as_str().unwrap()];
                assert!(value.as_f64().is_some_and(f64::is_finite), "{document}");
            }
        }
        let text = document.to_string();
        assert!(!text.contains('\n') && text.len() < 256 * 1024, "one event of a log");
    }

    #[test]
    fn every_metric_is_embedded_metric_format_and_has_its_own_name() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in Metric::ALL {
            let reading = match metric.dimension() {
                Some(_) => Reading::of(metric, "x", 1.5),
                None => Reading::new(metric, 1.5),
            };
            let documents = documents(&[reading], 1_767_225_600_000);
            assert_eq!(documents.len(), 1);
            assert_is_embedded_metric_format(&documents[0]);
            assert_eq!(documents[0][metric.name()], 1.5);
            assert!(seen.insert(metric.name()), "{metric:?}");
        }
    }

    #[test]
    fn a_sweep_is_one_document_and_one_for_each_tier() {
        let live = [("admin", 1), ("developer", 7)].map(|(tier, live)| (tier.parse().unwrap(), live));
        let failed = [3, 4].map(|byte| sorry_policy::SessionId::from_random([byte; 10]));
        let seen = Seen { live: live.into(), principals: 40, clean_up_failed: failed.into() };
        let report = SweepReport { found: 3, given_up: 1, ..SweepReport::default() };
        let documents = documents(&swept(&report, &seen, 12.5, 50), 1_767_225_600_000);
        documents.iter().for_each(assert_is_embedded_metric_format);
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Service"]]));
        assert_eq!(
            (&documents[0]["RoleQuotaUsed"], &documents[0]["CleanUpFailed"]),
            (&json!(80.0), &json!(2.0))
        );
        assert_eq!(
            (&documents[2]["Tier"], &documents[2]["LiveSessions"]),
            (&json!("developer"), &json!(7.0))
        );
    }

    #[test]
    fn refusals_count_by_the_services_own_codes_alone() {
        assert_eq!(documents(&answered(200, None), 1).len(), 1);
        let refused = documents(&answered(403, Some("TierNotAllowed")), 1);
        assert_eq!((names(&refused[1]), &refused[1]["Code"]), (vec!["Refusals"], &json!("TierNotAllowed")));
        let failed = documents(&answered(503, Some("Unavailable")), 1);
        assert_eq!(names(&failed[1]), ["Failures"]);
        assert_eq!(documents(&answered(403, Some("person-or-secret")), 1).len(), 1, "no code of ours");
    }
}
