//! `docs/errors.md` against `ErrorCode` and the exit codes of the command line.

use std::collections::{BTreeMap, BTreeSet};

use sorry_session::ErrorCode;

use crate::project::{found_pairs, source, text, the_only};

const DOCUMENT: &str = "docs/errors.md";

/// The rows of the table under a heading, as their cells.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = text(DOCUMENT);
    let section = document.split("\n## ").find(|section| section.starts_with(heading));
    let section = section.unwrap_or_else(|| panic!("{DOCUMENT} has no section `{heading}`"));
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn every_code_has_its_row_with_status_exit_code_and_what_to_do() {
    let rows = table("Codes");
    let documented: Vec<_> = rows.iter().map(|row| row[0].clone()).collect();
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| format!("`{code}`")).collect();
    assert_eq!(documented, codes, "left: {DOCUMENT}; right: ErrorCode::ALL, in its order");
    for (row, code) in rows.iter().zip(ErrorCode::ALL) {
        assert_eq!(row.len(), 5, "code | status | exit code | what happened | what to do: {row:?}");
        assert_eq!(row[1], code.http_status().to_string(), "HTTP status of `{code}` in {DOCUMENT}");
        assert_eq!(row[2], code.exit_code().to_string(), "exit code of `{code}` in {DOCUMENT}");
        assert!(row[3].len() > 10 && row[4].len() > 10, "say what `{code}` means and what to do: {row:?}");
    }
}

#[test]
fn every_exit_code_is_explained_and_none_beyond() {
    let rows = table("Exit codes");
    let explained: BTreeMap<u8, &str> =
        rows.iter().map(|row| (row[0].trim_matches('`').parse().unwrap(), row[1].as_str())).collect();
    let mut used: BTreeSet<u8> = found_pairs(r"(?m)^    (\w+) = (\d+),$", &source("cli/src/error.rs"))
        .into_iter()
        .map(|(_, code)| code.parse().unwrap())
        .collect();
    used.insert(0);
    assert_eq!(
        BTreeSet::from_iter(explained.keys().copied()),
        used,
        "left: {DOCUMENT}; right: `Exit` in cli/src/error.rs"
    );
    for code in ErrorCode::ALL {
        assert!(
            used.contains(&code.exit_code()),
            "the command line has no exit code {} for `{code}`",
            code.exit_code()
        );
    }
    let arguments = source("cli/src/args.rs");
    let help = the_only(r#"Exit codes: ([^"]*)""#, &arguments, "cli/src/args.rs").replace('\n', " ");
    let said = found_pairs(r"(\d+) ([^,.]+)", &help);
    let said: BTreeMap<u8, String> =
        said.into_iter().map(|(code, words)| (code.parse().unwrap(), words)).collect();
    assert_eq!(
        BTreeSet::from_iter(said.keys().copied()),
        used,
        "left: `sorry --help`; right: `Exit` in cli/src/error.rs"
    );
    for (code, words) in said {
        let start = explained[&code].split([':', '.']).next().unwrap_or_default();
        assert_eq!(
            start.to_lowercase(),
            words.to_lowercase(),
            "exit code {code}: left {DOCUMENT}, right `sorry --help`"
        );
    }
}
