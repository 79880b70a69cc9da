//! The independent judge: `tests/local/judge.py`.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Credentials to try.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Keys {
    /// Key id.
    pub access_key_id: String,
    /// Secret.
    pub secret_access_key: String,
    /// Of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

/// What AWS said to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Done; the answer.
    Allowed(Value),
    /// Not done; the error's code and text.
    Refused(String, String),
}

impl Verdict {
    /// The answer of a call that must succeed.
    #[track_caller]
    pub fn allowed(self) -> Value {
        match self {
            Self::Allowed(answer) => answer,
            Self::Refused(code, message) => panic!("refused with {code}: {message}"),
        }
    }

    /// Whether AWS refused for want of permission, or because the credentials are no longer any.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Refused(code, _) if [
            "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "InvalidClientTokenId", "ExpiredToken",
        ].contains(&code.as_str()))
    }
}

/// A running judge. Questions are asked one after the other.
pub struct Judge {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Judge {
    /// A judge for the local AWS at `endpoint_url`, whose gateway is at `endpoint`.
    pub fn new(endpoint_url: &str, endpoint: &str) -> Self {
        let mut child = Command::new(crate::python())
            .arg(crate::project().join("tests/local/judge.py"))
            .args([endpoint_url, endpoint])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the judge starts");
        let pipes = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Self { child, pipes: Mutex::new(pipes) }
    }

    fn ask(&self, question: &Value) -> Value {
        let mut pipes = self.pipes.lock().expect("no test thread has panicked while asking");
        writeln!(pipes.0, "{question}").expect("the judge listens");
        let mut answer = String::new();
        pipes.1.read_line(&mut answer).expect("the judge answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("the judge said {answer:?}: {error}"))
    }

    /// Makes an AWS call, such as `sns.create_topic`, with `keys`.
    pub fn call(&self, keys: &Keys, call: &str, parameters: Value) -> Verdict {
        self.verdict(&json!({"call": call, "parameters": parameters, "credentials": keys}))
    }

    /// As [`Self::call`], from another address of this machine, such as `127.0.0.2`.
    pub fn call_from(&self, address: &str, keys: &Keys, call: &str, parameters: Value) -> Verdict {
        self.verdict(&json!({"call": call, "parameters": parameters, "credentials": keys, "from": address}))
    }

    fn verdict(&self, question: &Value) -> Verdict {
        let answer = self.ask(question);
        match answer.get("ok") {
            Some(ok) => Verdict::Allowed(ok.clone()),
            None => Verdict::Refused(
                answer["error"].as_str().unwrap_or_default().to_owned(),
                answer["message"].as_str().unwrap_or_default().to_owned(),
            ),
        }
    }

    /// Sends a request to the gateway, signed with `keys` if there are any; its status and body.
    pub fn request(&self, keys: Option<&Keys>, request: &str, body: &str) -> (u64, Value) {
        self.tampered(keys, request, body, None)
    }

    /// As [`Self::request`], with the `body` changed after signing, or signed with a wrong `key`.
    pub fn tampered(
        &self,
        keys: Option<&Keys>,
        request: &str,
        body: &str,
        tamper: Option<&str>,
    ) -> (u64, Value) {
        let answer =
            self.ask(&json!({"request": request, "body": body, "credentials": keys, "tamper": tamper}));
        (answer["status"].as_u64().expect("a status"), answer["body"].clone())
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It ends with its standard input, too; this is for a judge that is stuck.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
