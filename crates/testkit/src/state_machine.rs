//! A small interpreter of Amazon States Language (JSONPath), faithful in what `infrastructure/session.asl.json` uses: a field or a
//! function beyond that is a panic, never a guess. Source: <https://states-language.net/spec.html> and the Step Functions guide.

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};

use crate::Execution;

/// A state machine.
#[derive(Clone, Debug)]
pub struct StateMachine {
    definition: Value,
}

/// The error of a Lambda function: its `errorType` and `errorMessage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// What `Retry` and `Catch` match on.
    pub error_type: String,
    /// What happened.
    pub message: String,
}

/// The functions that the state machine calls.
pub trait Functions {
    /// Runs the function that the definition calls `${name}`. A death is the world's to know: see [`crate::World::death`].
    ///
    /// # Errors
    /// When the function answers with an error.
    fn invoke(&self, name: &str, payload: &Value) -> Result<Value, FunctionError>;
}

/// What a state came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// The next state is entered at that moment.
    Next {
        state: String,
        data: Value,
        at: Timestamp,
    },
    /// The same state is run again then; the retrier of that index is used once more.
    Again {
        retrier: usize,
        at: Timestamp,
    },
    Succeeded(Value),
    Failed {
        error: String,
        cause: String,
    },
}

const ANY_STATE: [&str; 2] = ["Type", "Comment"];

/// The fields of each type of state that are understood.
fn known_fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "Task" => &[
            "Resource",
            "Parameters",
            "ResultSelector",
            "ResultPath",
            "TimeoutSeconds",
            "Retry",
            "Catch",
            "Next",
        ],
        "Choice" => &["Choices", "Default"],
        "Wait" => &["TimestampPath", "Seconds", "Next"],
        "Pass" => &["Parameters", "Next"],
        "Succeed" => &[],
        "Fail" => &["Error", "Cause"],
        other => panic!("states of type `{other}` are not understood"),
    }
}

fn assert_known(what: &str, value: &Value, known: &[&[&str]]) {
    for key in object(value).keys() {
        assert!(known.iter().any(|keys| keys.contains(&key.as_str())), "{what}: `{key}` is not understood");
    }
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {value}"))
}

impl StateMachine {
    /// Reads a definition.
    ///
    /// # Panics
    /// When it uses what is not understood, or leads to a state that does not exist.
    pub fn parse(text_of_definition: &str) -> Self {
        let definition: Value = serde_json::from_str(text_of_definition).unwrap();
        assert_known("the machine", &definition, &[&["Comment", "StartAt", "States"]]);
        let states = object(&definition["States"]);
        let exists = |name: &str| assert!(states.contains_key(name), "there is no state `{name}`");
        exists(text(&definition, "StartAt"));
        for (name, state) in states {
            assert_known(name, state, &[&ANY_STATE, known_fields(text(state, "Type"))]);
            for rules in ["Retry", "Catch", "Choices"] {
                for rule in state[rules].as_array().into_iter().flatten() {
                    match rules {
                        "Retry" => assert_known(
                            name,
                            rule,
                            &[&[
                                "Comment",
                                "ErrorEquals",
                                "IntervalSeconds",
                                "BackoffRate",
                                "MaxDelaySeconds",
                                "MaxAttempts",
                                "JitterStrategy",
                            ]],
                        ),
                        "Catch" => {
                            assert_known(name, rule, &[&["Comment", "ErrorEquals", "ResultPath", "Next"]])
                        }
                        _ => {}
                    }
                    if let Some(next) = rule["Next"].as_str() {
                        exists(next);
                    }
                }
            }
            for field in ["Next", "Default"] {
                if let Some(next) = state[field].as_str() {
                    exists(next);
                }
            }
        }
        Self { definition }
    }

    /// Names of all states.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        object(&self.definition["States"]).keys().map(String::as_str)
    }

    /// The state that an execution begins with.
    pub fn start(&self) -> &str {
        text(&self.definition, "StartAt")
    }

    /// Runs the state that an execution is in.
    pub(crate) fn step(
        &self,
        execution: &Execution,
        functions: &impl Functions,
        now: Timestamp,
        death: impl Fn() -> Option<FunctionError>,
    ) -> Step {
        let state = &self.definition["States"][&execution.state];
        let data = &execution.data;
        let go = |data: Value, at: Timestamp| Step::Next { state: text(state, "Next").to_owned(), data, at };
        match text(state, "Type") {
            "Choice" => {
                let rules = state["Choices"].as_array().unwrap();
                let next = rules.iter().find(|rule| holds(rule, data)).map(|rule| text(rule, "Next"));
                match next.or(state["Default"].as_str()) {
                    Some(next) => Step::Next { state: next.to_owned(), data: data.clone(), at: now },
                    None => Step::Failed { error: "States.NoChoiceMatched".to_owned(), cause: String::new() },
                }
            }
            "Wait" => {
                let until = match (state["TimestampPath"].as_str(), state["Seconds"].as_i64()) {
                    (Some(path), None) => {
                        let moment = path_of(path, data, &execution.input);
                        moment
                            .as_str()
                            .unwrap()
                            .parse()
                            .unwrap_or_else(|_| panic!("not a timestamp: {moment}"))
                    }
                    (None, Some(seconds)) => now.checked_add(seconds.seconds()).unwrap(),
                    _ => panic!("`{}` waits for two things, or none", execution.state),
                };
                go(data.clone(), until.max(now))
            }
            "Pass" => go(parameters(state, data, &execution.input), now),
            "Succeed" => Step::Succeeded(data.clone()),
            "Fail" => Step::Failed {
                error: text(state, "Error").to_owned(),
                cause: text(state, "Cause").to_owned(),
            },
            "Task" => {
                let invocation = parameters(state, data, &execution.input);
                let resource = text(state, "Resource");
                let invokes = resource == "${Invoke}" || resource.ends_with(":states:::lambda:invoke");
                assert!(invokes, "`{resource}` is not understood");
                assert_known(&execution.state, &invocation, &[&["FunctionName", "Payload"]]);
                let name = text(&invocation, "FunctionName").trim_start_matches("${").trim_end_matches('}');
                let answer = functions.invoke(name, &invocation["Payload"]);
                match death().map_or(answer, Err) {
                    Ok(answer) => {
                        let result =
                            json!({"ExecutedVersion": "$LATEST", "StatusCode": 200, "Payload": answer});
                        let result = match state.get("ResultSelector") {
                            Some(template) => fill(template, &result, &execution.input),
                            None => result,
                        };
                        go(placed(state.get("ResultPath"), data, result), now)
                    }
                    Err(error) => caught(state, execution, &error, now),
                }
            }
            other => panic!("states of type `{other}` are not understood"),
        }
    }
}

fn parameters(state: &Value, data: &Value, input: &Value) -> Value {
    state.get("Parameters").map_or_else(|| data.clone(), |template| fill(template, data, input))
}

/// `Retry` and `Catch`.
fn caught(state: &Value, execution: &Execution, error: &FunctionError, now: Timestamp) -> Step {
    let name = &error.error_type;
    // Step Functions hands a function's error on as the JSON that the function answered with.
    let cause = json!({"errorMessage": error.message, "errorType": name}).to_string();
    let matches = |rule: &Value| {
        rule["ErrorEquals"].as_array().unwrap().iter().any(|wanted| match wanted.as_str().unwrap() {
            "States.ALL" => true,
            "States.TaskFailed" => name != "States.Timeout",
            wanted => wanted == name,
        })
    };
    let retriers = state["Retry"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some((retrier, rule)) = retriers.iter().enumerate().find(|(_, rule)| matches(rule)) {
        let used = execution.retries.get(&retrier).copied().unwrap_or(0);
        if u64::from(used) < rule["MaxAttempts"].as_u64().unwrap_or(3) {
            let first = rule["IntervalSeconds"].as_u64().unwrap_or(1);
            let rate = rule["BackoffRate"].as_u64().unwrap_or(2);
            // With jitter it is at most this long.
            let delay = first
                .saturating_mul(rate.saturating_pow(used))
                .min(rule["MaxDelaySeconds"].as_u64().unwrap_or(u64::MAX));
            let delay = i64::try_from(delay).unwrap();
            return Step::Again { retrier, at: now.checked_add(delay.seconds()).unwrap() };
        }
    }
    match state["Catch"].as_array().into_iter().flatten().find(|rule| matches(rule)) {
        Some(rule) => Step::Next {
            state: text(rule, "Next").to_owned(),
            data: placed(rule.get("ResultPath"), &execution.data, json!({"Error": name, "Cause": cause})),
            at: now,
        },
        None => Step::Failed { error: name.clone(), cause },
    }
}

/// `ResultPath`: nothing said replaces the input, `null` drops the result.
fn placed(path: Option<&Value>, data: &Value, result: Value) -> Value {
    match path {
        None => result,
        Some(Value::Null) => data.clone(),
        Some(Value::String(path)) if path == "$" => result,
        Some(path) => {
            let name = path.as_str().and_then(|path| path.strip_prefix("$.")).unwrap();
            assert!(!name.contains(['.', '[']), "ResultPath `{name}` is not understood");
            let mut data = data.clone();
            data.as_object_mut().unwrap().insert(name.to_owned(), result);
            data
        }
    }
}

/// A payload template: keys that end in `.$` hold a path or an intrinsic function.
fn fill(template: &Value, data: &Value, input: &Value) -> Value {
    match template {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match key.strip_suffix(".$") {
                Some(key) => (key.to_owned(), expression(value.as_str().unwrap(), data, input)),
                None => (key.clone(), fill(value, data, input)),
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(|item| fill(item, data, input)).collect(),
        other => other.clone(),
    }
}

fn expression(source: &str, data: &Value, input: &Value) -> Value {
    let Some((function, rest)) = source.split_once('(').filter(|_| source.starts_with("States.")) else {
        return path_of(source, data, input);
    };
    let arguments = arguments(rest.strip_suffix(')').unwrap());
    let value = |index: usize| {
        let argument = arguments[index].as_str();
        match argument.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
            Some(text) => Value::String(text.replace("\\'", "'")),
            None if argument == "false" => Value::Bool(false),
            None => expression(argument, data, input),
        }
    };
    match (function, arguments.len()) {
        ("States.StringToJson", 1) => serde_json::from_str(value(0).as_str().unwrap()).unwrap(),
        ("States.JsonMerge", 3) => {
            assert_eq!(value(2), Value::Bool(false), "only shallow merges exist");
            let mut merged = object(&value(0)).clone();
            merged.extend(object(&value(1)).clone());
            merged.into()
        }
        _ => panic!("`{source}` is not understood"),
    }
}

/// The arguments of an intrinsic function, split at the commas that are neither in quotes nor in another call.
fn arguments(source: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    let mut arguments = vec![String::new()];
    for character in source.chars() {
        match character {
            '\'' if !escaped => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        escaped = character == '\\' && !escaped;
        arguments.last_mut().unwrap().push(character);
    }
    arguments.into_iter().map(|argument| argument.trim().to_owned()).collect()
}

fn path_of(path: &str, data: &Value, input: &Value) -> Value {
    find(path, data, input).unwrap_or_else(|| panic!("States.Runtime: there is no `{path}` in {data}"))
}

fn find(path: &str, data: &Value, input: &Value) -> Option<Value> {
    let (root, names) = match path.strip_prefix("$$.Execution.Input") {
        Some(names) => (input, names),
        None => (data, path.strip_prefix('$').unwrap_or_else(|| panic!("`{path}` is not a path"))),
    };
    assert!(!names.contains(['[', '*', '@', '$']), "the path `{path}` is not understood");
    names.split('.').filter(|name| !name.is_empty()).try_fold(root, |value, name| value.get(name)).cloned()
}

fn holds(rule: &Value, data: &Value) -> bool {
    if let Some(rules) = rule["And"].as_array() {
        assert_known("a choice", rule, &[&["And", "Next", "Comment"]]);
        return rules.iter().all(|rule| holds(rule, data));
    }
    assert_known("a choice", rule, &[&["Variable", "StringEquals", "BooleanEquals", "Next", "Comment"]]);
    let value = find(text(rule, "Variable"), data, &Value::Null).unwrap_or(Value::Null);
    match (rule.get("StringEquals"), rule.get("BooleanEquals")) {
        (Some(wanted), None) | (None, Some(wanted)) => *wanted == value,
        _ => panic!("a choice compares two things, or none: {rule}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_with_paths_and_the_two_functions() {
        let data = json!({"error": {"Error": "X"}, "session_id": "s"});
        let template = json!({"id.$": "$.session_id", "of.$": "$$.Execution.Input.a", "as": ["is"],
            "error.$": "States.JsonMerge(States.StringToJson('{\"Cause\":\"a, (b\"}'), $.error, false)"});
        assert_eq!(
            fill(&template, &data, &json!({"a": 1})),
            json!({"id": "s", "of": 1, "as": ["is"], "error": {"Cause": "a, (b", "Error": "X"}})
        );
    }

    #[test]
    #[should_panic(expected = "`HeartbeatSeconds` is not understood")]
    fn what_is_not_understood_is_no_guess() {
        StateMachine::parse(
            r#"{"StartAt":"A","States":{"A":{"Type":"Task","HeartbeatSeconds":1,"Next":"A"}}}"#,
        );
    }

    #[test]
    #[should_panic(expected = "there is no state `B`")]
    fn every_way_leads_somewhere() {
        StateMachine::parse(r#"{"StartAt":"A","States":{"A":{"Type":"Pass","Next":"B"}}}"#);
    }
}
