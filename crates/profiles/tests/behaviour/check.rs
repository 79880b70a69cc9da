//! What is found in files, that botocore does what the findings say, and that mending takes nobody's work.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Home, name, process, project, put, session};
use serde_json::Value;
use sorry_profiles::check::lines;
use sorry_profiles::{Change, Code, FileKind, Finding, KnownSessions, SessionMark};

fn table() -> Vec<Value> {
    serde_json::from_str(include_str!("../parser_table.json")).unwrap()
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row.get(key).and_then(Value::as_str).unwrap()
}

#[test]
fn every_row_of_the_parser_table_is_found_in_its_line() {
    let mut seen = BTreeSet::new();
    for row in table() {
        let kind = if text(&row, "file") == "config" { FileKind::Config } else { FileKind::Credentials };
        let bytes: Vec<u8> =
            text(&row, "text").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let found = lines::check(kind, &bytes);
        let [oddity] = found.as_slice() else { panic!("{row}: {found:?}") };
        assert_eq!(oddity.code.as_str(), text(&row, "code"), "{row}");
        assert_eq!(
            Some(u64::try_from(oddity.line).unwrap()),
            row.get("line").and_then(Value::as_u64),
            "{row}"
        );
        seen.insert(oddity.code);
    }
    let lines = Code::ALL.into_iter().take_while(|code| *code != Code::NoRegion);
    assert_eq!(lines.collect::<BTreeSet<_>>(), seen, "every code about lines has a row");
}

#[test]
fn botocore_does_what_the_findings_say() {
    let output = Command::new(project().join(".local/venv/bin/python"))
        .arg(project().join("crates/profiles/tests/botocore_reads.py"))
        .arg(project().join("crates/profiles/tests/parser_table.json"))
        .output()
        .expect("`make tools` installs botocore");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said.len(), table().len());
    for (row, said) in table().iter().zip(said) {
        assert_eq!(row.get("botocore"), Some(&said), "{row}");
        let code = Code::ALL.into_iter().find(|code| code.as_str() == text(row, "code")).unwrap();
        let words = match said.as_str() {
            Some("fails") => "whole file fails",
            None => "section not found",
            Some("v") if code.botocore() == "works" => "works",
            Some("v") => "comment ignored",
            Some(_) => "kept in the value",
        };
        assert_eq!(code.botocore(), words, "{row}");
    }
}

fn marks(ids: &[&str]) -> BTreeSet<SessionMark> {
    ids.iter().map(|id| SessionMark::parse(id).unwrap()).collect()
}

fn codes(findings: &[Finding], profile: &str) -> Vec<Code> {
    findings
        .iter()
        .filter(|found| found.profile.as_deref() == Some(profile))
        .map(|found| found.code)
        .collect()
}

#[test]
fn profiles_are_judged_by_what_they_hold() {
    let home = Home::new();
    put(
        &home.files.credentials,
        b"[lasting]\naws_access_key_id = AKIATHEIRSTHEIRS\naws_secret_access_key = CANARY\n\
          [old]\naws_access_key_id = A\naws_secret_access_key = CANARY\naws_session_token = CANARY\nsorry_session = 1111\n\
          sorry_expires_at = 2020-01-01T00:00:00Z\n\
          [two]\naws_access_key_id = A\naws_secret_access_key = CANARY\naws_session_token = CANARY\nsorry_session = 2222\n\
          [theirs]\naws_access_key_id = A\naws_secret_access_key = CANARY\naws_session_token = CANARY\n",
    );
    put(
        &home.files.config,
        b"[default]\nregion = a\n[profile old]\nregion = a\n\
          [profile two]\nregion = a\ncredential_process = /x\nsorry_session = 2222\n\
          [profile theirs]\nregion = a\ncredential_process = /theirs\n\
          [profile role]\nregion = a\nrole_arn = arn\nsource_profile = nobody\n\
          [profile over]\nregion = a\ncredential_process = /x\nsorry_session = 3333\n\
          [profile strange]\nregion = a\ncredential_process = /x\nsorry_session = 4444\n",
    );
    let known = KnownSessions { live: marks(&["2222"]), over: marks(&["3333"]) };
    let found = home.files.check(&home.context(), Some(&known)).unwrap();
    assert_eq!(codes(&found, "lasting"), [Code::NoRegion, Code::LongLivedSecret]);
    assert_eq!(codes(&found, "old"), [Code::Expired]);
    assert_eq!(codes(&found, "two"), [Code::TwoForms]);
    assert_eq!(codes(&found, "theirs"), [Code::TwoForms]);
    assert_eq!(codes(&found, "role"), [Code::MissingSourceProfile]);
    assert_eq!(codes(&found, "over"), [Code::SessionOver]);
    assert_eq!(codes(&found, "strange"), [Code::UnknownSession]);
    assert!(codes(&found, "default").is_empty());
    let fixable = found.iter().filter(|found| found.fixable);
    let fixable: BTreeSet<_> = fixable.filter_map(|found| found.profile.as_deref()).collect();
    assert_eq!(fixable, BTreeSet::from(["old", "two", "over"]));
    assert!(!format!("{found:?}").contains("CANARY"));
    let without = home.files.check(&home.context(), None).unwrap();
    assert!(codes(&without, "over").is_empty() && codes(&without, "strange").is_empty());
}

#[test]
fn places_are_judged_and_links_followed() {
    let mut home = Home::new();
    let tree = home.folder.path().canonicalize().unwrap().join("dotfiles");
    fs::create_dir_all(tree.join(".git")).unwrap();
    let real = tree.join("credentials");
    put(&real, b"[a]\n");
    put(&home.files.config, b"[default]\nregion = a\n");
    let folder = home.files.config.parent().unwrap().canonicalize().unwrap();
    symlink(&real, &home.files.credentials).unwrap();
    let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chmod(&real, 0o640);
    chmod(&home.files.config, 0o664);
    chmod(&folder, 0o775);
    let found: Vec<(Code, PathBuf)> = home
        .files
        .check(&home.context(), None)
        .unwrap()
        .into_iter()
        .map(|found| (found.code, found.path))
        .collect();
    assert_eq!(
        found,
        [
            (Code::FileMode, real.clone()),
            (Code::InWorkTree, real.clone()),
            (Code::FileMode, folder.join("config")),
            (Code::FolderMode, folder.clone()),
        ]
    );
    let plan = home.files.plan_fix(&home.context(), None).unwrap();
    let fixed = home.files.apply(&home.context(), &plan).unwrap();
    assert!(fixed.backups.is_empty(), "no byte of a file changed");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&real), mode(&folder.join("config")), mode(&folder)), (0o600, 0o644, 0o755));
    assert!(home.files.plan_fix(&home.context(), None).unwrap().is_empty());
    home.actor.uid += 1;
    let found = home.files.check(&home.context(), None).unwrap();
    assert!(found.iter().any(|found| found.code == Code::OtherOwner && !found.fixable));
}

#[test]
fn mending_takes_only_what_is_ours_and_keeps_a_copy() {
    let home = Home::new();
    let theirs = "# mine\n[theirs]\naws_access_key_id = AKIATHEIRSTHEIRS\n";
    put(&home.files.credentials, theirs.as_bytes());
    let write = |profile: &str| {
        home.files.write_session_profile(&home.context(), &name(profile), &session("7k3m")).unwrap()
    };
    let _ = (write("one"), write("two"));
    let _ = home.files.write_process_profile(&home.context(), &name("three"), &process("8888")).unwrap();
    // As another program might have put them: the keys of one beside the command of the other form.
    let config = fs::read_to_string(&home.files.config)
        .unwrap()
        .replace("[profile two]\n", "[profile two]\ncredential_process = /x\n");
    put(&home.files.config, config.as_bytes());
    let before = fs::read(&home.files.credentials).unwrap();

    let over = KnownSessions { live: marks(&["7k3m"]), over: marks(&["8888"]) };
    let plan = home.files.plan_fix(&home.context(), Some(&over)).unwrap();
    let shown: Vec<String> =
        plan.iter().map(ToString::to_string).filter(|line| line.contains("profile")).collect();
    assert_eq!(
        shown,
        ["remove the keys of profile `two`, keep its command", "remove profile `three` (session `8888`)"]
    );
    let fixed = home.files.apply(&home.context(), &plan).unwrap();
    let [copy, _] = fixed.backups.as_slice() else { panic!("{fixed:?}") };
    assert_eq!(fs::read(copy).unwrap(), before);
    assert_eq!(fs::metadata(copy).unwrap().mode() & 0o777, 0o600);
    let credentials = fs::read_to_string(&home.files.credentials).unwrap();
    assert!(
        credentials.starts_with(theirs) && credentials.contains("[one]") && !credentials.contains("[two]")
    );
    let config = fs::read_to_string(&home.files.config).unwrap();
    assert!(config.contains("credential_process = /x") && !config.contains("three"));
    assert!(home.files.plan_fix(&home.context(), Some(&over)).unwrap().is_empty(), "nothing is left to mend");

    let reset = home.files.plan_reset(&home.context()).unwrap();
    assert!(reset.iter().all(|change| matches!(change, Change::RemoveProfile { .. })) && reset.len() == 2);
    let _ = home.files.apply(&home.context(), &reset).unwrap();
    assert_eq!(fs::read_to_string(&home.files.credentials).unwrap(), theirs);
    assert!(!fs::read_to_string(&home.files.config).unwrap().contains("sorry"));
}
