//! The numbers of one run, as they are kept in `benchmarks/results.json`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    budgets::Budget,
    machine::{Machine, Version},
    statistics::Spread,
};

/// Everything that was measured in one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// When it began, by the date.
    pub date: String,
    /// Whether it was a quick run, whose numbers mean little.
    pub quick: bool,
    /// How the programs were built: `release` or `debug`.
    pub profile: String,
    /// On what.
    pub machine: Machine,
    /// With what.
    pub versions: Vec<Version>,
    /// What was promised and what came of it.
    pub budgets: Vec<Budget>,
    /// Part 1.
    pub command_line: Vec<Program>,
    /// Part 2.
    pub functions: Vec<Function>,
    /// Part 3: the ways, by hops.
    pub ways: Vec<Way>,
    /// Part 3: the calls of each operation.
    pub operations: Vec<Operation>,
    /// Part 4.
    pub scale: Vec<Growth>,
    /// Part 5: instructions of one pass.
    pub instructions: Vec<Instructions>,
}

/// A program that was run as a whole process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The words that a person would type.
    pub words: String,
    /// Whether it is `sorry`, and not what it is compared with.
    pub ours: bool,
    /// Wall-clock time, in milliseconds.
    pub milliseconds: Spread,
    /// Peak memory, in MiB.
    pub peak_mib: Spread,
}

/// A Lambda function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// From the start of the process to its first poll of the runtime API, in milliseconds.
    pub init_milliseconds: Spread,
    /// From an event that is refused at once to the poll for the next, in milliseconds; of the sweep, which refuses none, nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub overhead_milliseconds: Option<Spread>,
    /// Resident memory at the first poll, in MiB.
    pub resident_mib: Spread,
    /// The program, in MB (10^6 bytes).
    pub program_mb: f64,
    /// The program in a zip, in MB.
    pub zip_mb: f64,
}

/// A way through the system, hop by hop; the hops add up to the whole in each pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// From where to where.
    pub name: String,
    /// All of it, in milliseconds.
    pub whole: Spread,
    /// Its parts, in their order, in milliseconds.
    pub hops: Vec<(String, Spread)>,
}

/// An operation with the AWS calls that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// What a person does, or what happens by itself.
    pub name: String,
    /// How often each call was made: `service:Operation`.
    pub calls: BTreeMap<String, usize>,
}

/// How something grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// What was done.
    pub name: String,
    /// Of what there were many.
    pub of: String,
    /// Each size, with what it took.
    pub points: Vec<Point>,
    /// Exponent of the time.
    pub time_exponent: f64,
    /// Exponent of the calls.
    pub calls_exponent: f64,
}

/// One size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How many there were.
    pub size: usize,
    /// Time, in milliseconds.
    pub milliseconds: f64,
    /// AWS calls, the gateway's included.
    pub calls: usize,
    /// Peak memory of the program that did it, in MiB.
    pub peak_mib: f64,
}

/// A hot path without a clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Instructions {
    /// What is done.
    pub name: String,
    /// Instructions of one pass.
    pub count: u64,
    /// As it was in the run before, where there was one.
    pub before: Option<u64>,
}

impl Results {
    /// Where they are kept.
    pub fn file() -> PathBuf {
        sorry_tests::project().join("benchmarks/results.json")
    }

    /// Those that are kept; none before the first run, or when they are of another form.
    pub fn kept() -> Option<Self> {
        let text = fs::read_to_string(Self::file()).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// A program by its words.
    pub fn program(&self, words: &str) -> Option<&Program> {
        self.command_line.iter().find(|program| program.words == words)
    }
}
