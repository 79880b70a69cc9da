//! What the local AWS wrote down: its file `calls`, of `tests/local/strict/calls.py`.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde::Deserialize;

use crate::LocalAws;

/// How long nothing must be called until an operation counts as done with.
const QUIET: Duration = Duration::from_millis(500);

/// One call.
#[derive(Clone, Debug, Deserialize)]
pub struct Call {
    /// When the server had read it, in seconds since 1970.
    pub begun: f64,
    /// When it had its answer.
    pub ended: f64,
    /// `role <name>` or `user <name>`.
    pub principal: String,
    /// As AWS names the service, or as the protocol does.
    pub service: String,
    /// The operation; of the gateway, method and path.
    pub operation: String,
    /// HTTP status of the answer.
    pub status: u16,
}

impl Call {
    /// Whether a function of the service made it.
    pub fn is_of_function(&self, function: &str) -> bool {
        self.principal.strip_prefix("role sorry-function-") == Some(function)
    }

    /// `service:Operation` as IAM would write it.
    pub fn name(&self) -> String {
        let service = match self.service.as_str() {
            "awsstepfunctions" => "states",
            "awsevents" => "events",
            other => other,
        };
        // Whatever session or tier it was about.
        let operation = match self.operation.split_once(" /sessions/") {
            Some((method, rest)) => match rest.split_once('/') {
                Some((_, below)) => format!("{method} /sessions/{{id}}/{below}"),
                None => format!("{method} /sessions/{{id}}"),
            },
            None => self.operation.clone(),
        };
        let operation = match operation.strip_prefix("POST /tiers/") {
            Some(_) => "POST /tiers/{tier}/sessions".to_owned(),
            None => operation,
        };
        format!("{service}:{operation}")
    }
}

/// The calls from now on.
pub struct Recorder {
    file: PathBuf,
    from: usize,
}

impl Recorder {
    /// Begins here.
    pub fn begin(aws: &LocalAws) -> Self {
        let file = aws.folder().join("calls");
        let from = fs::read(&file).map_or(0, |bytes| bytes.len());
        Self { file, from }
    }

    /// What was called since, in the order of the beginnings.
    ///
    /// # Panics
    /// When the file cannot be read.
    pub fn so_far(&self) -> Vec<Call> {
        let bytes = fs::read(&self.file).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes.get(self.from..).unwrap_or_default()).into_owned();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut calls: Vec<Call> =
            whole.lines().map(|line| serde_json::from_str(line).expect("a call")).collect();
        calls.sort_by(|one, other| one.begun.total_cmp(&other.begun));
        calls
    }

    /// What was called since, once nothing more is.
    pub fn when_quiet(&self) -> Vec<Call> {
        let mut calls = self.so_far();
        loop {
            // Between two looks: the second one decides.
            std::thread::sleep(QUIET);
            let again = self.so_far();
            if again.len() == calls.len() {
                return again;
            }
            calls = again;
        }
    }
}

/// How often each call was made, without the calls of those whom `left_out` names.
pub fn counted<'a>(calls: impl IntoIterator<Item = &'a Call>, left_out: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        if !left_out.contains(&call.principal.as_str()) {
            *counts.entry(call.name()).or_default() += 1;
        }
    }
    counts
}
