//! Somebody with SSH keys, an agent and a home folder.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY000";
pub(crate) const KEY_ID: &str = "AKIAEXAMPLEEXAMPLE12";
/// Of the key file, and long enough to be found where it should not be.
pub(crate) const PHRASE: &str = "correct horse battery staple";

/// A home folder, and what the shell in it has set.
pub(crate) struct Person {
    home: TempDir,
    variables: Vec<(String, String)>,
}

/// How a command went.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert_eq!(self.exit, Some(0), "{self}");
        self
    }

    /// It was refused, in words that hold all of these.
    #[track_caller]
    pub(crate) fn refused(self, words: &[&str]) -> Self {
        assert!(self.exit.is_some_and(|exit| exit != 0 && exit != 70), "{self}");
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in: {self}");
        }
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {:?}\n--- stdout\n{}--- stderr\n{}", self.exit, self.stdout, self.stderr)
    }
}

impl Person {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        Self { home, variables: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.path(".config/sorry/vault.json")
    }

    /// An SSH key in `~/.ssh`.
    pub(crate) fn key(&self, name: &str, kind: &[&str], phrase: &str) -> PathBuf {
        let path = self.path(".ssh").join(name);
        let done = Command::new("ssh-keygen")
            .args(["-q", "-a", "4", "-C", name, "-N", phrase, "-f"])
            .arg(&path)
            .args(kind)
            .output()
            .expect("there is no `ssh-keygen`: install openssh-client");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        path
    }

    /// Without a terminal: in a session of its own, whoever runs the tests.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(env!("CARGO_BIN_EXE_sorry")).args(words);
        self.dress(&mut command);
        command
    }

    fn dress(&self, command: &mut Command) {
        command.env_clear().envs(self.environment()).stdin(Stdio::null());
    }

    /// What the shell has set.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let home = self.home.path().display().to_string();
        let set = [
            ("HOME", home.as_str()),
            ("PATH", "/usr/bin:/bin"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        set.into_iter().chain(self.variables.iter().cloned()).collect()
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        self.run_with(words, "")
    }

    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Ran {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is no `setsid`: install util-linux");
        // It may have ended without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { exit: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// At a terminal: questions and their answers, in order. Secret answers begin with `secret:`.
    pub(crate) fn at_terminal(&self, script: &[(&str, &str)], words: &[&str]) -> Value {
        self.on_terminal(script, &[&[env!("CARGO_BIN_EXE_sorry")], words].concat())
    }

    pub(crate) fn on_terminal(&self, script: &[(&str, &str)], command: &[&str]) -> Value {
        let mut python = Command::new("python3");
        let helper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/person/terminal.py");
        python.arg(helper).arg(serde_json::json!(script).to_string()).args(command);
        self.dress(&mut python);
        let done = python.output().expect("there is no `python3`");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Every file of the home folder that holds this text.
    pub(crate) fn holding(&self, text: &str) -> Vec<PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.home.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read(&path)
                    .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// OpenSSH's agent, ended with the test.
pub(crate) struct RealAgent {
    child: Child,
    folder: TempDir,
}

impl RealAgent {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(folder.path().join("agent"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no `ssh-agent`: install openssh-client");
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("SSH_AUTH_SOCK="), "{line}");
        Self { child, folder }
    }

    pub(crate) fn socket(&self) -> String {
        self.folder.path().join("agent").display().to_string()
    }

    /// `ssh-add`, which is told this where it asks.
    #[track_caller]
    pub(crate) fn add(&self, arguments: &[&str], answer: &str) {
        let ask = self.folder.path().join("ask");
        fs::write(&ask, format!("#!/bin/sh\nprintf %s '{answer}'\n")).unwrap();
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).unwrap();
        let done = Command::new("ssh-add")
            .args(arguments)
            .env("SSH_AUTH_SOCK", self.socket())
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// With one key in it.
    pub(crate) fn with(key: &Path, phrase: &str) -> Self {
        let agent = Self::start();
        agent.add(&["-q", key.to_str().unwrap()], phrase);
        agent
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
