//! Part 5: the pure hot paths, counted in instructions. Cachegrind runs `sorry-hot-paths` once with one pass and once with eleven; the
//! difference has neither the start nor the preparation in it, and no clock. It differs between compilers, and hardly between runs
//! and machines, so what changes with a change of the code is the code's.

use std::process::Command;

use crate::{
    measured,
    results::{Instructions, Results},
};

/// The passes of the second run that the first has not.
const PASSES: u64 = 10;

/// The paths by the names that `sorry-hot-paths` takes, and what they are.
pub const HOT_PATHS: [(&str, &str); 7] = [
    ("tiers", "table of tiers read, as every start of `api` does"),
    ("decision", "decision on a request, and its new session"),
    ("rendering", "policy, trust and tags of a role"),
    ("dates", "due, listed, forgotten: the dates of a session"),
    ("row", "a session to JSON and back"),
    ("vault", "vault read and opened by a signature"),
    ("ini", "profile written into a file of 40"),
];

/// The instructions of a run.
fn instructions(path: &str, passes: u64) -> u64 {
    let done = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(measured::binaries().join("sorry-hot-paths"))
        .args([path, &passes.to_string()])
        .output()
        .expect("there is no `valgrind`: install it, such as Debian's package valgrind");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{path} did not run under valgrind:\n{said}");
    let counted = said
        .lines()
        .find_map(|line| line.split_once("refs:").filter(|(before, _)| before.trim_end().ends_with('I')));
    let digits: String =
        counted.map(|(_, count)| count.chars().filter(char::is_ascii_digit).collect()).unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("valgrind counted nothing:\n{said}"))
}

/// Counts all paths, and puts beside each what was kept of the last run that was built in the same way.
///
/// # Panics
/// When valgrind is not there or a path fails.
pub fn measure(profile: &str) -> Vec<Instructions> {
    let kept = Results::kept().filter(|kept| kept.profile == profile);
    let count = |(path, name): (&str, &str)| {
        let before = kept.iter().flat_map(|kept| &kept.instructions).find(|known| known.name == name);
        let count = (instructions(path, 1 + PASSES) - instructions(path, 1)) / PASSES;
        Instructions { name: name.to_owned(), count, before: before.map(|known| known.count) }
    };
    HOT_PATHS.map(count).into()
}
