//! What is wrong with a policy document, although it is valid JSON: mistakes with which AWS takes it and does something else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde_json::{Map, Value};

/// What the document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A role's inline policy.
    Inline,
    /// A managed policy, such as a boundary.
    Managed,
    /// A role's trust policy.
    Trust,
}

impl DocumentKind {
    /// Most characters without white space. Source: IAM and STS quotas.
    const fn limit(self) -> usize {
        match self {
            Self::Inline => 10_240,
            Self::Managed => 6_144,
            Self::Trust => 2_048,
        }
    }
}

/// The actions that there are: by service, then by name in lower case, each with the condition keys that it knows (`aws:` keys
/// aside), in lower case; a key that ends in `/` stands for all that begin so.
pub type ActionCatalogue = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    statement: String,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "statement `{}`: {}", self.statement, self.what)
    }
}

/// Everything that is wrong with a rendered document. Without a catalogue, only the form of actions is looked at.
pub fn lint(document: &Value, kind: DocumentKind, known: Option<&ActionCatalogue>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |statement: &str, what: String| {
        findings.push(Finding { statement: statement.to_owned(), what });
    };
    let size = document.to_string().chars().count();
    if size > kind.limit() {
        found("-", format!("the document has {size} characters, and AWS takes {}", kind.limit()));
    }
    if document.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
        found("-", "without version 2012-10-17 variables are plain text".to_owned());
    }
    let mut sids = BTreeSet::new();
    for statement in document.get("Statement").and_then(Value::as_array).into_iter().flatten() {
        let Some(statement) = statement.as_object() else {
            found("-", "it is no object".to_owned());
            continue;
        };
        let sid = statement.get("Sid").and_then(Value::as_str).unwrap_or("without a Sid");
        if !sids.insert(sid.to_owned()) {
            found(sid, "the Sid stands twice".to_owned());
        }
        for what in of_statement(statement, kind, known) {
            found(sid, what);
        }
    }
    if sids.is_empty() {
        found("-", "there is none".to_owned());
    }
    findings
}

fn of_statement(
    statement: &Map<String, Value>,
    kind: DocumentKind,
    known: Option<&ActionCatalogue>,
) -> Vec<String> {
    let allows = statement.get("Effect").and_then(Value::as_str) == Some("Allow");
    let mut findings = Vec::new();
    for member in ["Action", "NotAction", "Resource", "NotResource"] {
        if statement.get(member).is_some_and(|value| texts(value).is_empty()) {
            findings.push(format!("{member} is empty, and the statement matches nothing or everything"));
        }
    }
    let principal = statement.get("Principal");
    if (kind == DocumentKind::Trust) != principal.is_some() {
        findings.push("only a trust policy has a Principal, and it has one in every statement".to_owned());
    }
    if allows && principal.is_some_and(names_everybody) {
        findings.push("everybody is its Principal".to_owned());
    }
    let keys = condition_keys(statement);
    for member in ["Action", "NotAction"] {
        for pattern in statement.get(member).map(texts).unwrap_or_default() {
            let Some(known) = known else {
                if pattern != "*"
                    && !pattern
                        .split_once(':')
                        .is_some_and(|(service, name)| is_word(service) && !name.is_empty())
                {
                    findings.push(format!("`{pattern}` is no action"));
                }
                continue;
            };
            let matching = matching_actions(&pattern, known);
            if matching.is_empty() && pattern != "*" {
                findings.push(format!("no action is called `{pattern}`"));
            }
            // Of a Deny it is enough that one action knows the key; an Allow would silently never match for the others.
            let strangers = keys.iter().filter(|key| !key.starts_with("aws:")).filter(|key| {
                let knows = |keys: &&BTreeSet<String>| knows(keys, key);
                if allows { !matching.iter().all(knows) } else { !matching.iter().any(knows) }
            });
            findings
                .extend(strangers.map(|key| format!("`{pattern}` does not know `{key}`: it never matches")));
        }
    }
    for member in ["Resource", "NotResource"] {
        let patterns = statement.get(member).map(texts).unwrap_or_default();
        findings.extend(patterns.iter().filter_map(|pattern| of_resource(pattern)));
    }
    for text in all_texts(statement) {
        let variables = text.split("${").skip(1);
        let unknown = variables.filter(|rest| !rest.starts_with("aws:") || !rest.contains('}'));
        findings.extend(unknown.map(|rest| format!("`${{{rest}` is no variable of AWS")));
    }
    findings
}

/// AWS takes wildcards in the parts of an ARN, but not in the service and not in the resource type.
/// Source: IAM User Guide, "Amazon Resource Names", incorrect wildcard usage.
fn of_resource(pattern: &str) -> Option<String> {
    if pattern == "*" {
        return None;
    }
    let literal = without_variables(pattern);
    let parts: Vec<_> = literal.splitn(6, ':').collect();
    let [arn, _, service, _, _, resource] = parts.as_slice() else {
        return Some(format!("`{pattern}` is no ARN"));
    };
    if *arn != "arn" {
        return Some(format!("`{pattern}` is no ARN"));
    }
    let wild = |text: &str| text.contains(['*', '?']);
    let kind = resource.split_once([':', '/']).map_or("", |(kind, _)| kind);
    // Buckets have no type: what stands before the first `/` is a name.
    if wild(service) || (wild(kind) && *service != "s3") {
        return Some(format!("`{pattern}` has a wildcard in its service or resource type"));
    }
    None
}

/// As the names of services are written.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn without_variables(text: &str) -> String {
    let mut parts = text.split("${");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "v" + part.split_once('}').map_or(part, |(_, rest)| rest))
}

fn matching_actions<'a>(pattern: &str, known: &'a ActionCatalogue) -> Vec<&'a BTreeSet<String>> {
    let Some((service, name)) = pattern.split_once(':') else { return Vec::new() };
    let actions = known.get(&service.to_lowercase());
    let name = name.to_lowercase();
    actions.into_iter().flatten().filter(|(action, _)| glob(&name, action)).map(|(_, keys)| keys).collect()
}

fn knows(keys: &BTreeSet<String>, key: &str) -> bool {
    keys.iter().any(|known| known == key || (known.ends_with('/') && key.starts_with(known.as_str())))
}

pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    after.is_empty()
        || (0..=rest.len()).any(|skipped| rest.get(skipped..).is_some_and(|rest| glob(after, rest)))
}

/// The keys that must be there for the statement to match. The other operators are met by a key that is missing.
fn condition_keys(statement: &Map<String, Value>) -> BTreeSet<String> {
    let met_without =
        |operator: &str| operator.contains("Not") || operator == "Null" || operator.ends_with("IfExists");
    let operators = statement.get("Condition").and_then(Value::as_object).into_iter().flatten();
    operators
        .filter(|(operator, _)| !met_without(operator) && !operator.starts_with("ForAllValues"))
        .filter_map(|(_, keys)| keys.as_object())
        .flatten()
        .map(|(key, _)| key.to_lowercase())
        .collect()
}

fn names_everybody(principal: &Value) -> bool {
    match principal {
        Value::String(text) => text == "*",
        Value::Array(items) => items.iter().any(names_everybody),
        Value::Object(members) => members.values().any(names_everybody),
        _ => false,
    }
}

pub(crate) fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn all_texts(statement: &Map<String, Value>) -> Vec<String> {
    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            Value::Object(members) => members.values().for_each(|member| collect(member, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut found = Vec::new();
    statement.values().for_each(|value| collect(value, &mut found));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalogue() -> ActionCatalogue {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let iam = [
            ("passrole", keys(&["iam:passedtoservice"])),
            ("createrole", keys(&["iam:permissionsboundary"])),
        ];
        let s3 = [("getobject", keys(&["s3:existingobjecttag/"])), ("putobject", keys(&[]))];
        [("iam", iam), ("s3", s3)]
            .into_iter()
            .map(|(service, actions)| {
                let actions = actions.into_iter().map(|(name, keys)| (name.to_owned(), keys)).collect();
                (service.to_owned(), actions)
            })
            .collect()
    }

    fn findings(kind: DocumentKind, statement: Value) -> String {
        let document = json!({"Version": "2012-10-17", "Statement": [statement]});
        lint(&document, kind, Some(&catalogue()))
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn identity(action: Value, resource: &str, condition: Value) -> String {
        let mut statement = json!({"Sid": "x", "Effect": "Allow", "Action": action, "Resource": resource});
        statement["Condition"] = condition;
        findings(DocumentKind::Inline, statement)
    }

    #[test]
    fn what_is_right_has_no_findings() {
        for (action, resource, condition) in [
            (json!("s3:Get*"), "arn:aws:s3:::${aws:PrincipalTag/sorry:namespace}-*/x", json!({})),
            (json!(["s3:*"]), "*", json!({"Bool": {"aws:SecureTransport": "true"}})),
            (json!("s3:GetObject"), "*", json!({"StringEquals": {"s3:ExistingObjectTag/a": "b"}})),
            (json!("s3:PutObject"), "*", json!({"Null": {"s3:ExistingObjectTag/a": "true"}})),
            (
                json!("iam:PassRole"),
                "arn:aws:iam::*:role/x/*",
                json!({"StringEquals": {"iam:PassedToService": "x"}}),
            ),
        ] {
            assert_eq!(identity(action.clone(), resource, condition), "", "{action}");
        }
    }

    #[test]
    fn each_mistake_is_found() {
        for (action, resource, condition, said) in [
            (json!("s3:GetObjekt"), "*", json!({}), "no action is called `s3:GetObjekt`"),
            (json!("s4:*"), "*", json!({}), "no action is called"),
            (json!([]), "*", json!({}), "Action is empty"),
            (json!("iam:*"), "*", json!({"StringEquals": {"iam:PassedToService": "x"}}), "never matches"),
            (
                json!("iam:PassRole"),
                "arn:aws:iam::*:*/sorry/*",
                json!({}),
                "wildcard in its service or resource type",
            ),
            (json!("s3:*"), "arn:aws:s*:::x", json!({}), "wildcard in its service or resource type"),
            (json!("s3:*"), "x", json!({}), "is no ARN"),
            (json!("s3:*"), "arn:aws:s3:::${namespace}-*", json!({}), "is no variable of AWS"),
        ] {
            let found = identity(action.clone(), resource, condition);
            assert!(found.contains(said), "{action} on {resource}: {found}");
        }
    }

    #[test]
    fn principals_sizes_and_versions_are_looked_at() {
        let trust =
            json!({"Sid": "x", "Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "iam:PassRole"});
        assert!(findings(DocumentKind::Trust, trust.clone()).contains("everybody"));
        assert!(findings(DocumentKind::Inline, trust).contains("only a trust policy"));
        let long = json!({"Sid": "x".repeat(6_144), "Effect": "Deny", "Action": "*", "Resource": "*"});
        assert!(findings(DocumentKind::Managed, long.clone()).contains("AWS takes 6144"));
        assert!(!findings(DocumentKind::Inline, long).contains("AWS takes"));
        assert!(!lint(&json!({"Statement": []}), DocumentKind::Inline, Some(&catalogue())).is_empty());
    }
}
