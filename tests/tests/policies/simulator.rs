//! The independent simulator: `tests/local/node/simulate.mjs`, one process for a whole list of questions.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sorry_tests::project;

/// May this principal do this?
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) principal: String,
    pub(crate) action: String,
    pub(crate) resource: String,
    pub(crate) account: String,
    pub(crate) context: Map<String, Value>,
    /// Names of documents.
    pub(crate) identity: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) boundary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_policy: Option<String>,
}

/// What the simulator says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    pub(crate) ignored: Vec<String>,
    /// Statements of the boundary.
    #[serde(default)]
    pub(crate) denied_by: Vec<String>,
    #[serde(default)]
    pub(crate) error: Option<String>,
}

impl Answer {
    pub(crate) fn is_allowed(&self) -> bool {
        self.verdict == "Allowed"
    }
}

/// Policy documents by name.
pub(crate) type Documents = BTreeMap<String, Value>;

/// Answers to all questions, in their order. A question that the simulator cannot read is a mistake of the case.
pub(crate) fn ask(documents: &Documents, questions: &[Question]) -> Vec<Answer> {
    let mut child = Command::new("node")
        .arg(project().join("tests/local/node/simulate.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node runs");
    let input = json!({"documents": documents, "questions": questions}).to_string();
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the simulator reads");
    let done = child.wait_with_output().expect("the simulator ends");
    assert!(done.status.success(), "the simulator failed: is tests/local/node installed? `make tools`");
    let answers: Vec<Answer> = serde_json::from_slice(&done.stdout).expect("the simulator answers in JSON");
    assert_eq!(answers.len(), questions.len());
    let unread: Vec<_> = questions
        .iter()
        .zip(&answers)
        .filter_map(|(question, answer)| {
            answer
                .error
                .as_ref()
                .map(|error| format!("{} on {}: {error}", question.action, question.resource))
        })
        .collect();
    assert!(unread.is_empty(), "the simulator cannot read\n{}", unread.join("\n"));
    answers
}
