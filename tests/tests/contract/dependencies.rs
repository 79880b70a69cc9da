//! What `deny.toml` says of crates, as far as it can be told without `cargo deny`: licences, crates that must not come in, second versions,
//! where crates come from. Known vulnerabilities and yanked versions need its database.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

use crate::project::{each, found, found_pairs, text, toml};

/// All packages that are built here, as cargo sees them. Those for other platforms need not be downloaded, and `Cargo.lock` has them.
fn packages() -> Vec<Value> {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let host = found(r"(?m)^host: (.+)$", &String::from_utf8_lossy(&version.stdout));
    let done = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &host[0]])
        .current_dir(sorry_tests::project())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether a licence expression can be met with licences of that list. Source: SPDX 2.3, annex D; `/` is crates.io's old `OR`.
fn can_be_met(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    any(&mut words.as_slice(), allowed)
}

/// Alternatives; `AND` binds closer than `OR`.
fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while let Some(("OR", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) {
        *words = rest;
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while let Some(("AND", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    let (first, rest) = words.split_first().expect("a licence");
    *words = rest;
    if *first == "(" {
        let met = any(words, allowed);
        assert_eq!(words.first(), Some(&")"), "a parenthesis is not closed");
        *words = &words[1..];
        return met;
    }
    let mut licence = (*first).to_owned();
    if let Some(("WITH", rest)) = words.split_first().map(|(first, rest)| (*first, rest)) {
        licence = format!("{licence} WITH {}", rest[0]);
        *words = &rest[1..];
    }
    allowed.contains(&licence)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(GPL-3.0 OR MIT) AND ISC",
        "GPL-3.0 AND ISC OR MIT",
        "Apache-2.0 WITH LLVM-exception AND MIT",
    ] {
        assert!(can_be_met(expression, &allowed), "{expression}");
    }
    for expression in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "Apache-2.0",
        "MIT AND (GPL-3.0 OR BSL-1.0)",
    ] {
        assert!(!can_be_met(expression, &allowed), "{expression}");
    }
}

#[test]
fn every_crate_has_a_licence_that_may_be_linked() {
    let allowed = each(&toml("deny.toml")["licenses"]["allow"]);
    for package in packages() {
        let expression = package["license"].as_str().unwrap_or_default();
        assert!(
            !expression.is_empty() && can_be_met(expression, &allowed),
            "{} has the licence `{expression}`, which deny.toml does not allow",
            package["id"]
        );
    }
}

#[test]
fn no_crate_that_is_banned_comes_in_on_any_platform() {
    let banned = each(&Value::Array(
        toml("deny.toml")["bans"]["deny"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ban| ban["crate"].clone())
            .collect(),
    ));
    let locked = found(r#"(?m)^name = "([^"]+)""#, &text("Cargo.lock"));
    assert!(!banned.is_empty() && locked.len() > 100, "{banned:?} of {} crates", locked.len());
    for name in banned {
        assert!(
            !locked.contains(&name),
            "deny.toml bans `{name}`: `cargo tree --invert {name}` says who brings it"
        );
    }
}

/// As numbers, so that 0.10 is newer than 0.9. What follows a hyphen or a plus does not matter here.
fn version(text: &str) -> Vec<u64> {
    let release = text.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|part| part.parse().expect("a number")).collect()
}

#[test]
fn second_versions_are_those_that_have_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version) in found_pairs(r#"(?m)^name = "([^"]+)"\nversion = "([^"]+)""#, &text("Cargo.lock")) {
        versions.entry(name).or_default().push(version);
    }
    let mut second = BTreeSet::new();
    for (name, mut all) in versions {
        all.sort_by_key(|text| version(text));
        all.pop();
        second.extend(all.into_iter().map(|version| format!("{name}@{version}")));
    }
    let mut listed = BTreeSet::new();
    for skip in toml("deny.toml")["bans"]["skip"].as_array().unwrap() {
        assert!(!skip["reason"].as_str().unwrap_or_default().is_empty(), "{skip} has no reason");
        listed.insert(skip["crate"].as_str().unwrap().to_owned());
    }
    assert_eq!(second, listed, "left: older second versions in Cargo.lock; right: `skip` in deny.toml");
}

#[test]
fn every_crate_comes_from_the_registry_at_a_version() {
    for source in found(r#"(?m)^source = "([^"]+)""#, &text("Cargo.lock")) {
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index");
    }
    for package in packages().iter().filter(|package| package["source"].is_null()) {
        for wanted in
            package["dependencies"].as_array().unwrap().iter().filter(|wanted| wanted["path"].is_null())
        {
            assert_ne!(wanted["req"], "*", "{} takes any version of {}", package["name"], wanted["name"]);
        }
    }
}
