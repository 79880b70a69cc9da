//! The document says what was measured, and nothing else.

use std::fs;

use sorry_benchmarks::{
    budgets::budgets,
    document::{PROVISIONAL, SECTIONS, budget_row, render},
    functions::FUNCTIONS,
    instructions::HOT_PATHS,
    path::DEEDS,
    results::Results,
};

#[test]
fn the_document_is_what_is_made_of_the_results() {
    let results = Results::kept().expect("benchmarks/results.json has results of this form: `make bench`");
    let page = fs::read_to_string(sorry_tests::project().join("docs/benchmarks.md")).unwrap();
    let provisional = results.quick || results.profile != "release";
    assert_eq!(
        page.contains(PROVISIONAL),
        provisional,
        "it says so when its times mean nothing, and only then"
    );
    let headings: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings, SECTIONS);
    assert!(
        page.contains(&results.machine.processor) && page.contains(&results.machine.system),
        "it names the machine"
    );
    for budget in &results.budgets {
        let row = format!("| {} |", budget_row(budget).join(" | "));
        assert!(page.contains(&row), "not in the document: {row}");
    }
    assert_eq!(page, render(&results), "run `sorry-benchmarks --document`");
}

#[test]
fn the_budgets_are_those_of_the_measurements() {
    let results = Results::kept().unwrap();
    assert_eq!(results.budgets, budgets(&results));
}

#[test]
fn everything_was_measured() {
    let results = Results::kept().unwrap();
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        results.functions.iter().map(|one| one.name.clone()).collect::<Vec<_>>(),
        names(FUNCTIONS.into())
    );
    let operations: Vec<_> = results.operations.iter().map(|one| one.name.clone()).collect();
    assert_eq!(operations, names(DEEDS.iter().map(|deed| deed.name).collect()), "run `make bench`");
    let paths: Vec<_> = results.instructions.iter().map(|one| one.name.clone()).collect();
    assert_eq!(paths, names(HOT_PATHS.iter().map(|(_, name)| *name).collect()), "run `make bench`");
}
