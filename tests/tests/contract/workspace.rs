//! The workspace itself: every package is a member, under the same lints and the same package data.

use std::collections::BTreeSet;

use crate::project::{crates, each, found, text, toml};

fn members() -> Vec<String> {
    each(&toml("Cargo.toml")["workspace"]["members"])
}

#[test]
fn every_package_is_a_member_and_every_member_a_package() {
    let mut packages: BTreeSet<_> = ["cli", "tests", "benchmarks"].map(str::to_owned).into();
    for folder in ["crates", "functions"] {
        packages.extend(crates(folder).iter().map(|name| format!("{folder}/{name}")));
    }
    assert_eq!(
        BTreeSet::from_iter(members()),
        packages,
        "left: members in Cargo.toml; right: folders with a Cargo.toml"
    );
}

#[test]
fn every_fuzz_target_runs_in_the_tests_too() {
    assert_eq!(each(&toml("Cargo.toml")["workspace"]["exclude"]), ["fuzz"]);
    let manifest = toml("fuzz/Cargo.toml");
    let targets: BTreeSet<_> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| target["name"].as_str().unwrap().to_owned())
        .collect();
    let set = |pattern: &str, path: &str| BTreeSet::from_iter(found(pattern, &text(path)));
    assert_eq!(targets, set(r"pub\(crate\) fn (\w+)\(", "fuzz/bodies.rs"), "left: targets; right: bodies");
    let run = set(r"run\(bodies::(\w+),", "crates/vault/tests/hostile.rs");
    assert_eq!(targets, run, "left: targets; right: run by crates/vault/tests/hostile.rs");
    for target in targets {
        let text = text(&format!("fuzz/fuzz_targets/{target}.rs"));
        assert!(text.contains(&format!("bodies::{target}(bytes)")), "{target} runs another body");
    }
}

#[test]
fn every_member_keeps_the_lints_and_the_package_data_of_all() {
    for member in members() {
        let manifest = toml(&format!("{member}/Cargo.toml"));
        assert_eq!(
            manifest["lints"]["workspace"], true,
            "{member}/Cargo.toml: add `[lints]` with `workspace = true`"
        );
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            let inherited = &manifest["package"][key]["workspace"];
            assert_eq!(*inherited, true, "{member}/Cargo.toml: `{key}.workspace = true`");
        }
        assert!(
            manifest["package"]["description"].is_string(),
            "{member}/Cargo.toml: say in one line what it is"
        );
        let name = manifest["package"]["name"].as_str().unwrap();
        assert!(name.starts_with("sorry-"), "{member} is called `{name}`");
    }
}

#[test]
fn every_member_opens_with_what_it_is_for() {
    for member in members() {
        let folder = sorry_tests::project().join(&member).join("src");
        let roots = ["lib.rs", "main.rs"].into_iter().filter(|root| folder.join(root).exists());
        for root in roots {
            let path = format!("{member}/src/{root}");
            assert!(text(&path).starts_with("//! "), "{path} must open with a `//!` comment");
        }
    }
}

#[test]
fn versions_of_what_several_members_use_are_given_once() {
    for member in members() {
        let manifest = toml(&format!("{member}/Cargo.toml"));
        for table in ["dependencies", "dev-dependencies"] {
            for (name, wanted) in manifest[table].as_object().into_iter().flatten() {
                let shared = toml("Cargo.toml")["workspace"]["dependencies"].get(name).is_some();
                let inherited = wanted["workspace"] == true;
                assert!(
                    !shared || inherited,
                    "{member}/Cargo.toml: `{name}.workspace = true`, its version is in the root"
                );
            }
        }
    }
}

/// Text of all of a member's Rust files below `folders`.
fn rust_of(member: &str, folders: &[&str]) -> String {
    let mut pending: Vec<_> =
        folders.iter().map(|folder| sorry_tests::project().join(member).join(folder)).collect();
    let mut all = String::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            // A file of another member that is taken in with `#[path]`.
            let folder = path.parent().unwrap();
            pending.extend(
                found(r#"#\[path = "([^"]+)"\]"#, &source).into_iter().map(|other| folder.join(other)),
            );
            all.push_str(&source);
        }
    }
    all
}

#[test]
fn nothing_is_depended_on_in_vain() {
    let mut used = BTreeSet::new();
    for member in members() {
        let manifest = toml(&format!("{member}/Cargo.toml"));
        for (table, folders) in [
            ("dependencies", &["src"] as &[&str]),
            ("dev-dependencies", &["src", "tests", "examples", "benches"]),
        ] {
            let source = rust_of(&member, folders);
            for name in manifest[table].as_object().into_iter().flatten().map(|(name, _)| name) {
                let mention = name.replace('-', "_");
                let named = [format!("{mention}::"), format!("use {mention};")];
                assert!(
                    named.iter().any(|text| source.contains(text)),
                    "{member}/Cargo.toml: `{name}` is not used in {folders:?}"
                );
                used.insert(name.clone());
            }
        }
    }
    let shared = toml("Cargo.toml")["workspace"]["dependencies"].as_object().unwrap().clone();
    let unused: Vec<_> = shared.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "Cargo.toml: no member uses {unused:?}");
}
