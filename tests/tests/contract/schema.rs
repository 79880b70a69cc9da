//! Checks JSON against a schema of the API document. Knows the keywords that the document uses; another one is a panic, never a
//! guess. Source: JSON Schema draft 4, as OpenAPI 3.0 has it.

use regex::Regex;
use serde_json::Value;

use crate::project::names;

const KNOWN: [&str; 13] = [
    "$ref",
    "additionalProperties",
    "description",
    "enum",
    "format",
    "items",
    "maxLength",
    "maximum",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
];

/// A schema of the document, by its name.
#[track_caller]
pub(crate) fn named<'a>(document: &'a Value, name: &str) -> &'a Value {
    let schema = document["components"]["schemas"].get(name);
    schema.unwrap_or_else(|| panic!("infrastructure/openapi.yaml has no schema `{name}`"))
}

/// The schema that a schema stands for.
#[track_caller]
pub(crate) fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            named(document, reference.strip_prefix("#/components/schemas/").expect("a reference to a schema"))
        }
        None => schema,
    }
}

/// What is wrong with `value`; nothing if it is as the schema says.
pub(crate) fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    check(document, schema, value, "$", &mut faults);
    faults
}

fn check(document: &Value, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
    let schema = resolved(document, schema);
    for keyword in names(schema) {
        assert!(
            KNOWN.contains(&keyword),
            "tests/tests/contract/schema.rs does not know `{keyword}`: teach it"
        );
    }
    let mut wrong = |what: String| faults.push(format!("{place}: {value} {what}"));
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong(format!("is none of {}", schema["enum"]));
    }
    match (schema["type"].as_str(), value) {
        (Some("string"), Value::String(text)) => {
            if schema["pattern"].as_str().is_some_and(|pattern| !Regex::new(pattern).unwrap().is_match(text))
            {
                wrong(format!("does not fit {}", schema["pattern"]));
            }
            let length = u64::try_from(text.chars().count()).unwrap();
            if schema["maxLength"].as_u64().is_some_and(|longest| length > longest) {
                wrong(format!("is longer than {}", schema["maxLength"]));
            }
            match schema["format"].as_str() {
                None => {}
                Some("date-time") if text.parse::<jiff::Timestamp>().is_ok() => {}
                Some(format) => wrong(format!("is no {format}")),
            }
        }
        (Some("integer"), Value::Number(number)) if number.is_u64() => {
            if schema["minimum"].as_u64() > number.as_u64() {
                wrong(format!("is less than {}", schema["minimum"]));
            }
            if schema["maximum"].as_u64().is_some_and(|most| number.as_u64() > Some(most)) {
                wrong(format!("is more than {}", schema["maximum"]));
            }
        }
        (Some("boolean"), Value::Bool(_)) => {}
        (Some("array"), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                check(document, &schema["items"], item, &format!("{place}[{index}]"), faults);
            }
        }
        (Some("object"), Value::Object(members)) => {
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !members.contains_key(required) {
                    wrong(format!("lacks `{required}`"));
                }
            }
            for (name, member) in members {
                let place = format!("{place}.{name}");
                match (schema["properties"].get(name), &schema["additionalProperties"]) {
                    (Some(property), _) => check(document, property, member, &place, faults),
                    (None, Value::Object(_)) => {
                        check(document, &schema["additionalProperties"], member, &place, faults)
                    }
                    // A document of somebody else's form, such as an IAM policy.
                    (None, Value::Bool(true)) => {}
                    (None, _) => faults.push(format!("{place}: the schema has no such property")),
                }
            }
        }
        (kind, _) => wrong(format!("is not of type {}", kind.unwrap_or("(none)"))),
    }
}

#[test]
fn what_does_not_fit_is_found() {
    let document = serde_json::json!({"components": {"schemas": {"Name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3}}}});
    let schema = serde_json::json!({
        "type": "object", "additionalProperties": false, "required": ["name"], "properties": {
            "name": {"$ref": "#/components/schemas/Name"},
            "when": {"type": "string", "format": "date-time"},
            "hours": {"type": "integer", "minimum": 1, "maximum": 36},
            "roles": {"type": "array", "items": {"type": "string", "enum": ["a"]}},
            "tiers": {"type": "object", "additionalProperties": {"type": "boolean"}}
        }
    });
    let faults = |text: &str| faults(&document, &schema, &serde_json::from_str(text).unwrap()).len();
    assert_eq!(
        faults(r#"{"name":"sue","when":"2026-01-01T00:00:00Z","hours":36,"roles":["a"],"tiers":{"x":true}}"#),
        0
    );
    for bad in [
        r#"{}"#,
        r#"{"name":1}"#,
        r#"{"name":"SUE"}"#,
        r#"{"name":"susan"}"#,
        r#"{"name":"sue","other":1}"#,
        r#"[]"#,
        r#"{"name":"sue","when":"today"}"#,
        r#"{"name":"sue","hours":0}"#,
        r#"{"name":"sue","hours":37}"#,
        r#"{"name":"sue","hours":1.5}"#,
        r#"{"name":"sue","roles":["b"]}"#,
        r#"{"name":"sue","tiers":{"x":1}}"#,
    ] {
        assert_eq!(faults(bad), 1, "{bad}");
    }
}
