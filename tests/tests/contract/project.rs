//! The project's files, in the form in which the tests compare them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
    sync::OnceLock,
};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

const TO_JSON: &str =
    "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1], encoding='utf-8')), sys.stdout)";

/// A file of the project.
#[track_caller]
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(sorry_tests::project().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of Rust without its unit tests.
#[track_caller]
pub(crate) fn source(path: &str) -> String {
    let text = text(path);
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

/// All that a pattern with one group finds.
pub(crate) fn found(pattern: &str, text: &str) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// All that a pattern with two groups finds.
pub(crate) fn found_pairs(pattern: &str, text: &str) -> Vec<(String, String)> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect()
}

/// The only thing that a pattern with one group finds.
#[track_caller]
pub(crate) fn the_only(pattern: &str, text: &str, where_: &str) -> String {
    let mut all = found(pattern, text);
    assert_eq!(
        all.len(),
        1,
        "`{pattern}` finds {all:?} in {where_}: this test reads it there, so change it, too"
    );
    all.remove(0)
}

/// Names of the folders in a folder that hold a `Cargo.toml`.
pub(crate) fn crates(path: &str) -> BTreeSet<String> {
    let folder = fs::read_dir(sorry_tests::project().join(path)).unwrap();
    folder
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// Names of the functions: the folders of `functions/`.
pub(crate) fn functions() -> BTreeSet<String> {
    crates("functions")
}

/// A file of TOML.
#[track_caller]
pub(crate) fn toml(path: &str) -> Value {
    let table: toml::Table = toml::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::to_value(table).unwrap()
}

fn yaml(path: &Path) -> Value {
    let done = Command::new(sorry_tests::python()).args(["-c", TO_JSON]).arg(path).output().unwrap();
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} is no plain YAML:\n{complaint}", path.display());
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The API document.
pub(crate) fn openapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| yaml(&sorry_tests::project().join("infrastructure/openapi.yaml")))
}

/// The workflow.
pub(crate) fn workflow() -> Value {
    serde_json::from_str(&text("infrastructure/session.asl.json")).unwrap()
}

/// A state machine's states by their names.
pub(crate) fn states(definition: &Value) -> BTreeMap<&str, &Value> {
    definition["States"].as_object().unwrap().iter().map(|(name, state)| (name.as_str(), state)).collect()
}

/// The workflow's tasks by their names, each with the substitution that names its function.
pub(crate) fn tasks(definition: &Value) -> BTreeMap<&str, (&Value, &str)> {
    let tasks = states(definition).into_iter().filter(|(_, state)| state["Type"] == "Task");
    tasks
        .map(|(name, task)| {
            let function = task["Parameters"]["FunctionName"].as_str().unwrap_or_default();
            let function = function.strip_prefix("${").and_then(|function| function.strip_suffix('}'));
            (
                name,
                (
                    task,
                    function.unwrap_or_else(|| panic!("task `{name}` names no substitution as its function")),
                ),
            )
        })
        .collect()
}

/// The template as it is deployed.
pub(crate) struct Template(Value);

impl Template {
    /// The project's own.
    pub(crate) fn deployed() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| Self::of(&sorry_tests::project(), ""))
    }

    /// Assembled in a project, or a copy of one.
    #[track_caller]
    pub(crate) fn of(project: &Path, revision: &str) -> Self {
        let folder = TempDir::with_prefix("sorry-contract-").unwrap();
        let output = folder.path().join("template.yaml");
        let done = Command::new(sorry_tests::python())
            .arg(project.join("infrastructure/assemble.py"))
            .arg(&output)
            .args(["--revision", revision])
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "infrastructure/assemble.py failed:\n{complaint}");
        Self(yaml(&output))
    }

    /// All of it.
    pub(crate) fn all(&self) -> &Value {
        &self.0
    }

    /// All resources by their logical ids.
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0["Resources"].as_object().unwrap().iter().map(|(id, resource)| (id.as_str(), resource))
    }

    /// The properties of a resource.
    #[track_caller]
    pub(crate) fn resource(&self, id: &str) -> &Value {
        let resource = self.0["Resources"].get(id);
        &resource.unwrap_or_else(|| panic!("infrastructure/template.yaml has no resource `{id}`"))["Properties"]
    }

    /// The properties of all resources of a type, by their logical ids.
    pub(crate) fn of_type(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let found: BTreeMap<_, _> = self
            .resources()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(id, resource)| (id, &resource["Properties"]))
            .collect();
        assert!(!found.is_empty(), "infrastructure/template.yaml has no `{kind}`");
        found
    }

    /// The logical id and the properties of the Lambda of a function.
    #[track_caller]
    pub(crate) fn function(&self, name: &str) -> (&str, &Value) {
        let wanted = format!("sorry-{name}");
        let mut all = self.of_type("AWS::Lambda::Function").into_iter();
        let found = all.find(|(_, function)| function["FunctionName"] == *wanted);
        found.unwrap_or_else(|| {
            panic!("functions/{name} is not in infrastructure/template.yaml: there is no function called `{wanted}`")
        })
    }

    /// All statements of all policies, each with where it stands.
    pub(crate) fn statements(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        for (id, resource) in self.resources() {
            statements(resource, id, &mut found);
        }
        found
    }
}

fn statements<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(members) => {
            if members.get("Effect").is_some_and(|effect| effect == "Allow" || effect == "Deny") {
                let name = members.get("Sid").and_then(Value::as_str).unwrap_or("a statement");
                found.push((format!("{place}: {name}"), value));
            }
            members.values().for_each(|member| statements(member, place, found));
        }
        Value::Array(items) => items.iter().for_each(|item| statements(item, place, found)),
        _ => {}
    }
}

/// A value of a template as one text: `{"Ref": "X"}` and `{"Fn::GetAtt": ["X", "Arn"]}` as `${X}` and `${X.Arn}`.
pub(crate) fn rendered(value: &Value) -> String {
    if let Value::String(text) = value {
        return text.clone();
    }
    if let Some(id) = value["Ref"].as_str() {
        return format!("${{{id}}}");
    }
    if let Some(text) = value["Fn::Sub"].as_str() {
        return text.to_owned();
    }
    match value["Fn::GetAtt"].as_array().map(Vec::as_slice) {
        Some([id, attribute]) => format!("${{{}.{}}}", rendered(id), rendered(attribute)),
        _ => value.to_string(),
    }
}

/// One value, or each of several, as texts.
pub(crate) fn each(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(rendered).collect(),
        one => vec![rendered(one)],
    }
}

/// The names of an object's members.
pub(crate) fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

/// Whether an IAM pattern, with `*` and `?`, fits a text. Source: IAM JSON policy elements, Resource.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let pattern = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!("^{pattern}$")).unwrap().is_match(text)
}
