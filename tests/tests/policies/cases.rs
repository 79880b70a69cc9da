//! The cases of `policy_templates/cases`, as they stand in their files.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sorry_tests::project;

/// What must come of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Expect {
    Allow,
    Deny,
}

/// Who asks, where it is not the session itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asker {
    /// The session's owner, with their own key.
    Owner,
    /// Another caller.
    Other,
    /// A principal of the account whom nobody has given anything.
    Stranger,
    /// Another session of the owner's role.
    Colleague,
    /// A session of the same name, of a role of another name.
    Namesake,
    /// The function that hands out credentials.
    Issue,
    /// A role that the session made.
    Made,
    /// The same, with a session tag of another namespace.
    Tagged,
}

/// What the boundary alone need not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HeldBy {
    Tier,
}

/// One `[[case]]`. The README beside the files says what each member means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) stands_for: String,
    pub(crate) tiers: Vec<String>,
    pub(crate) expect: Expect,
    pub(crate) action: String,
    pub(crate) resource: String,
    #[serde(default)]
    pub(crate) context: Map<String, Value>,
    #[serde(default)]
    pub(crate) without: Vec<String>,
    #[serde(default)]
    pub(crate) granted: bool,
    pub(crate) held_by: Option<HeldBy>,
    #[serde(rename = "as")]
    pub(crate) asker: Option<Asker>,
    pub(crate) call: Option<String>,
    #[serde(default)]
    pub(crate) parameters: Map<String, Value>,
    pub(crate) local: Option<String>,
    pub(crate) not_local: Option<String>,
}

/// One `[[case]]` of `resources.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResourceCase {
    pub(crate) name: String,
    pub(crate) stands_for: String,
    pub(crate) expect: Expect,
    pub(crate) who: String,
    pub(crate) of: String,
    pub(crate) index: Option<String>,
    /// What in IAM, for `of = "iam"`.
    pub(crate) resource: Option<String>,
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) context: Map<String, Value>,
}

/// One step of a way up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) action: String,
    pub(crate) resource: String,
    #[serde(default)]
    pub(crate) context: Map<String, Value>,
}

/// A published way up.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Path {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) steps: Vec<Step>,
    #[serde(default)]
    pub(crate) accepted: Vec<String>,
}

fn read<T: DeserializeOwned>(file: &str, member: &str) -> Vec<T> {
    let text = std::fs::read_to_string(project().join("policy_templates/cases").join(file)).unwrap();
    let mut members: BTreeMap<String, Vec<T>> =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let found = members.remove(member).unwrap_or_default();
    assert!(!found.is_empty() && members.is_empty(), "{file} has `[[{member}]]` and nothing else");
    found
}

/// The cases of a file. Those of sessions are for both judges: each is a call, or says why it is none.
pub(crate) fn cases(file: &str) -> Vec<Case> {
    let found: Vec<Case> = read(file, "case");
    let of_sessions = ["allow.toml", "deny.toml", "users.toml"].contains(&file);
    for case in &found {
        let said = u8::from(case.call.is_some()) + u8::from(case.not_local.is_some());
        assert_eq!(said, u8::from(of_sessions), "{file}: {}: `call` or `not_local`", case.name);
        assert!(case.call.is_some() || (case.parameters.is_empty() && case.local.is_none()), "{}", case.name);
    }
    found
}

/// The cases of tables, bucket and key.
pub(crate) fn resource_cases() -> Vec<ResourceCase> {
    read("resources.toml", "case")
}

/// The ways up.
pub(crate) fn paths() -> Vec<Path> {
    read("escalation.toml", "path")
}

/// A value with `${name}` replaced, wherever it stands.
pub(crate) fn filled(value: &Value, variables: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => Value::String(
            variables
                .iter()
                .fold(text.clone(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value)),
        ),
        Value::Array(items) => items.iter().map(|item| filled(item, variables)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), filled(value, variables))).collect()
        }
        other => other.clone(),
    }
}
