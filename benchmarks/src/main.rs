//! `sorry-benchmarks`: measures everything and writes `benchmarks/results.json` and `docs/benchmarks.md`.
//!
//! `--quick` measures little and writes both into `target/`, to see that everything runs. `--document` measures nothing and writes the
//! document from the results that are kept.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a program for developers: what cannot be done ends it, and says why"
)]

use std::{fs, process::ExitCode};

use jiff::Timestamp;
use sorry_benchmarks::{
    Depth, budgets, command_line, document, functions, instructions,
    machine::{self, Version},
    measured, path,
    results::Results,
    scale,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let project = sorry_tests::project();
    let page = project.join("docs/benchmarks.md");
    let depth = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Depth::Full,
        ["--quick"] => Depth::Quick,
        ["--document"] => {
            let kept = Results::kept().expect("there are results: measure first, `make bench`");
            fs::write(page, document::render(&kept)).expect("the document can be written");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("error: `sorry-benchmarks` takes `--quick` or `--document`, or nothing");
            return ExitCode::from(2);
        }
    };
    let results = measure(depth);
    let text = serde_json::to_string_pretty(&results).expect("numbers are JSON") + "\n";
    let (results_file, page) = match depth {
        Depth::Full => (Results::file(), page),
        Depth::Quick => (project.join("target/benchmarks.json"), project.join("target/benchmarks.md")),
    };
    fs::write(&results_file, text).expect("the results can be written");
    fs::write(&page, document::render(&results)).expect("the document can be written");
    eprintln!("wrote {} and {}", results_file.display(), page.display());
    for budget in results.budgets.iter().filter(|budget| !budget.is_kept()) {
        eprintln!("note: missed: {}", document::budget_row(budget).join(", "));
    }
    ExitCode::SUCCESS
}

fn measure(depth: Depth) -> Results {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut machine = machine::machine();
    if machine.load_before > 1.0 && depth == Depth::Full {
        eprintln!("warning: the load is {}: times will be too long", machine.load_before);
    }
    let say = |part: &str| eprintln!("measuring: {part}");
    say("instructions");
    let instructions = instructions::measure(profile);
    say("functions");
    let functions = functions::measure(depth);
    say("command line");
    let command_line = command_line::measure(depth);
    say("ways and calls");
    let (ways, operations) = path::measure(depth);
    say("scale");
    let scale = scale::measure(depth);
    machine.load_after = machine::load();
    let mut results = Results {
        date: Timestamp::now().strftime("%Y-%m-%d").to_string(),
        quick: depth == Depth::Quick,
        profile: profile.to_owned(),
        machine,
        versions: versions(),
        budgets: Vec::new(),
        command_line,
        functions,
        ways,
        operations,
        scale,
        instructions,
    };
    results.budgets = budgets::budgets(&results);
    results
}

fn versions() -> Vec<Version> {
    let named = |name: &str, version: String| Version { name: name.to_owned(), version };
    let mut versions = vec![
        named("sorry", machine::version_of(&measured::binaries().join("sorry"), &["--version"])),
        named("rustc", machine::version_of("rustc".as_ref(), &["--version"])),
        named("OpenSSH", machine::version_of("ssh".as_ref(), &["-V"])),
        named("valgrind", machine::version_of("valgrind".as_ref(), &["--version"])),
        named("Python", machine::version_of(&command_line::peers().join("python"), &["--version"])),
        named("MiniStack (the local AWS)", machine::package_version(&sorry_tests::python(), "ministack")),
    ];
    versions.extend(command_line::peer_versions());
    versions
}
