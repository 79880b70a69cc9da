//! What was promised, and whether it was kept.

use serde::{Deserialize, Serialize};

use crate::{
    command_line::{CREDENTIAL_PROCESS, VERSION},
    path::GRANT,
    results::{Function, Operation, Program, Results},
    statistics::rounded,
};

/// How a number is held to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// It may not be above.
    AtMost,
    /// It may not be below.
    AtLeast,
    /// It must be just that.
    Exactly,
}

/// A promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Of what.
    pub what: String,
    /// Which way.
    pub bound: Bound,
    /// The limit.
    pub limit: f64,
    /// Of limit and number.
    pub unit: String,
    /// What was measured.
    pub measured: f64,
}

impl Budget {
    fn new(what: &str, bound: Bound, limit: f64, unit: &str, measured: f64) -> Self {
        Self { what: what.to_owned(), bound, limit, unit: unit.to_owned(), measured: rounded(measured) }
    }

    /// Whether it was kept.
    pub fn is_kept(&self) -> bool {
        match self.bound {
            Bound::AtMost => self.measured <= self.limit,
            Bound::AtLeast => self.measured >= self.limit,
            Bound::Exactly => (self.measured - self.limit).abs() < f64::EPSILON,
        }
    }
}

/// How often a program of theirs, the quickest, takes the time of one of ours.
pub fn times_faster(programs: &[Program], ours: &str) -> f64 {
    let ours = programs.iter().find(|program| program.words == ours).expect("it was measured");
    let theirs = programs.iter().filter(|program| !program.ours).map(|program| program.milliseconds.median);
    theirs.fold(f64::INFINITY, f64::min) / ours.milliseconds.median
}

/// Calls of an operation whose names end so.
pub fn calls(operation: &Operation, names: &[&str]) -> usize {
    operation.calls.iter().filter(|(call, _)| names.contains(&call.as_str())).map(|(_, count)| count).sum()
}

/// All promises about what was measured. Sources: the issue, and the notes of the first measurements.
pub fn budgets(results: &Results) -> Vec<Budget> {
    use Bound::{AtLeast, AtMost, Exactly};
    let worst = |value: fn(&Function) -> f64| results.functions.iter().map(value).fold(0.0, f64::max);
    let median =
        |words: &str| results.program(words).map_or(f64::INFINITY, |program| program.milliseconds.median);
    let grant = results.operations.iter().find(|operation| operation.name == GRANT).expect("it was counted");
    let of_grant = |names: &[&str]| calls(grant, names) as f64;
    vec![
        Budget::new(
            "function: init, median, slowest function",
            AtMost,
            6.0,
            "ms",
            worst(|one| one.init_milliseconds.median),
        ),
        Budget::new(
            "function: resident at the first poll, largest",
            AtMost,
            16.0,
            "MiB",
            worst(|one| one.resident_mib.median),
        ),
        Budget::new("function: zip, largest", AtMost, 5.0, "MB", worst(|one| one.zip_mb)),
        Budget::new("`sorry --version`, median", AtMost, 3.0, "ms", median(VERSION)),
        Budget::new("`sorry credential-process`, median", AtMost, 8.0, "ms", median(CREDENTIAL_PROCESS)),
        Budget::new(
            "`sorry credential-process`, faster than the quickest Python tool",
            AtLeast,
            20.0,
            "times",
            times_faster(&results.command_line, CREDENTIAL_PROCESS),
        ),
        Budget::new(
            "role grant: transactions",
            Exactly,
            3.0,
            "calls",
            of_grant(&["dynamodb:TransactWriteItems"]),
        ),
        Budget::new(
            "role grant: StartExecution",
            Exactly,
            1.0,
            "calls",
            of_grant(&["states:StartExecution"]),
        ),
        Budget::new(
            "role grant: IAM writes",
            Exactly,
            2.0,
            "calls",
            of_grant(&["iam:CreateRole", "iam:PutRolePolicy"]),
        ),
    ]
}
