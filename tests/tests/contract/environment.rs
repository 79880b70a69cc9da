//! The functions' environment variables: what `infrastructure/template.yaml` sets is what `main.rs` reads, name by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use regex::Regex;
use serde_json::Value;
use sorry_aws::settings;

use crate::project::{Template, found, found_pairs, functions, names, rendered, source, the_only};

const SETTINGS: &str = "crates/aws/src/settings.rs";
/// Read by `sorry_aws::function::start_logging`.
const LOG_FILTER: &str = "RUST_LOG";

/// The constants of settings.rs, by the name in Rust.
fn constants() -> BTreeMap<String, String> {
    let constants = found_pairs(r#"pub const ([A-Z_]+): &str = "([A-Z_]+)";"#, &source(SETTINGS));
    assert!(constants.len() > 5, "this test no longer finds the constants in {SETTINGS}");
    constants.into_iter().collect()
}

/// The variables behind a word after `settings::`: a constant, or a function of settings.rs that reads some itself.
fn variables(word: &str) -> BTreeSet<String> {
    let constants = constants();
    if let Some(variable) = constants.get(word) {
        return [variable.clone()].into();
    }
    let settings = source(SETTINGS);
    let start = Regex::new(&format!(r"pub (async )?fn {word}\b")).unwrap().find(&settings);
    let start = start.unwrap_or_else(|| panic!("{SETTINGS} has no `{word}`")).start();
    let body = settings[start..].split("\n}\n").next().unwrap_or_default();
    let is_named = |constant: &str| Regex::new(&format!(r"\b{constant}\b")).unwrap().is_match(body);
    constants.into_iter().filter(|(constant, _)| is_named(constant)).map(|(_, variable)| variable).collect()
}

fn read_by(function: &str) -> BTreeSet<String> {
    let main = source(&format!("functions/{function}/src/main.rs"));
    let words = found(r"\bsettings::([A-Za-z_]+)", &main);
    words.iter().flat_map(|word| variables(word)).chain([LOG_FILTER.to_owned()]).collect()
}

fn environment(function: &str) -> &'static Value {
    &Template::deployed().function(function).1["Environment"]["Variables"]
}

#[test]
fn every_function_is_given_what_it_reads_and_nothing_else() {
    for function in functions() {
        let given: BTreeSet<_> = names(environment(&function)).into_iter().map(str::to_owned).collect();
        let read = read_by(&function);
        let (missing, unread) = (read.difference(&given), given.difference(&read));
        let (missing, unread): (Vec<_>, Vec<_>) = (missing.collect(), unread.collect());
        assert!(
            missing.is_empty(),
            "set {missing:?} for `{function}` in infrastructure/template.yaml: its main.rs reads them"
        );
        assert!(
            unread.is_empty(),
            "drop {unread:?} of `{function}` from infrastructure/template.yaml: its main.rs reads no such"
        );
    }
}

#[test]
fn every_setting_is_read_by_some_function() {
    let read: BTreeSet<_> = functions().iter().flat_map(|function| read_by(function)).collect();
    for (constant, variable) in constants() {
        assert!(
            read.contains(&variable),
            "{SETTINGS} declares `{constant}`, and no main.rs reads it: remove it"
        );
    }
}

#[test]
fn no_function_reads_its_environment_beside_the_settings() {
    for function in functions() {
        let main = source(&format!("functions/{function}/src/main.rs"));
        assert!(
            !main.contains("env::"),
            "functions/{function}: read it in {SETTINGS}, where this test sees it"
        );
    }
}

/// `SORRY_SESSIONS_TABLE` is the resource `SessionsTable`, everywhere.
#[test]
fn a_variable_that_is_called_like_a_resource_is_that_resource() {
    let template = Template::deployed();
    let mut seen = BTreeSet::new();
    for function in functions() {
        for (variable, value) in environment(&function).as_object().unwrap() {
            let words = variable.trim_start_matches("SORRY_").trim_end_matches("_ARN").split('_');
            let id: String = words.map(|word| word[..1].to_owned() + &word[1..].to_lowercase()).collect();
            if template.resources().any(|(other, _)| other == id) {
                assert_eq!(rendered(value), format!("${{{id}}}"), "{variable} of `{function}`");
                seen.insert(id);
            }
        }
    }
    let known = [
        "AlertTopic",
        "AuditBucket",
        "AuditTable",
        "EventBus",
        "RegistryTable",
        "SessionsTable",
        "StateMachine",
    ];
    assert_eq!(
        seen,
        known.map(str::to_owned).into(),
        "a store that no function, or an unknown one, is told of"
    );
}

/// A parameter without a value is an empty variable; the function must start all the same.
#[test]
fn what_the_template_leaves_empty_is_read_as_a_list() {
    let parameters = Template::deployed().all()["Parameters"].as_object().unwrap();
    let empty = |value: &Value| {
        parameters.iter().any(|(name, parameter)| {
            parameter["Default"] == "" && value.to_string().contains(&format!("\"Ref\":\"{name}\""))
        })
    };
    for function in functions() {
        let main = source(&format!("functions/{function}/src/main.rs"));
        for (variable, _) in
            environment(&function).as_object().unwrap().iter().filter(|(_, value)| empty(value))
        {
            let (constant, _) = constants().into_iter().find(|(_, named)| named == variable).unwrap();
            let reader =
                the_only(&format!(r"settings::(\w+)(?:::<\w+>)?\(settings::{constant}\)"), &main, &function);
            assert_eq!(
                reader, "list",
                "{variable} of `{function}` can be empty, and `settings::{reader}` refuses that"
            );
        }
    }
}

#[test]
fn an_empty_list_is_a_list() {
    // A process cannot change its own environment safely, so this test runs itself in one that has the variable.
    const INSIDE: &str = "SORRY_CONTRACT_INSIDE";
    if std::env::vars().any(|(name, _)| name == INSIDE) {
        assert_eq!(settings::list::<String>(settings::ADMINISTRATORS).unwrap(), Vec::<String>::new());
        return;
    }
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "environment::an_empty_list_is_a_list"])
        .env(INSIDE, "1")
        .env(settings::ADMINISTRATORS, "")
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "`AdministratorArns` is empty by default, and `settings::list` refuses an empty variable: with the template's \
         defaults the API does not start\n{}",
        String::from_utf8_lossy(&done.stdout)
    );
}
