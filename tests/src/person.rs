//! Somebody at a shell: a home folder of their own, their keys, and the real `sorry`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{Keys, LocalAws};

/// Name of the profile with the person's own keys.
const BOOTSTRAP: &str = "bootstrap";

/// The variable that names the program which prints MFA codes.
const MFA_PROCESS: &str = "SORRY_MFA_PROCESS";

/// The program that does, for tests.
fn mfa_code() -> PathBuf {
    crate::project().join("tests/local/mfa_code.py")
}

/// A person with a home folder.
pub struct Person {
    home: TempDir,
    keys: Keys,
    user_name: String,
    environment: Vec<(&'static str, String)>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// What it printed for programs.
    pub stdout: String,
    /// What it printed for people.
    pub stderr: String,
}

impl Finished {
    /// The command, which must have succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// What it printed, which must be one JSON value.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl Person {
    pub(crate) fn new(aws: &LocalAws, user_name: &str, keys: &Keys) -> Self {
        let home = TempDir::with_prefix("sorry-home-").expect("a folder can be made");
        let folder = home.path().join(".aws");
        fs::create_dir(&folder).expect("a folder can be made");
        let person = Self {
            environment: vec![
                ("SORRY_ENDPOINT", aws.output("endpoint").to_owned()),
                ("AWS_ENDPOINT_URL", aws.output("endpoint_url").to_owned()),
                ("AWS_REGION", "us-east-1".to_owned()),
                ("AWS_PROFILE", BOOTSTRAP.to_owned()),
            ],
            home,
            keys: keys.clone(),
            user_name: user_name.to_owned(),
        };
        let secret = format!(
            "[{BOOTSTRAP}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            keys.access_key_id, keys.secret_access_key
        );
        let token = keys.session_token.as_ref().map(|token| format!("aws_session_token = {token}\n"));
        person.write_aws_file("credentials", (secret + &token.unwrap_or_default()).as_bytes());
        person
    }

    /// Gives the person a device for MFA codes, which `sorry` asks through `mfa_process`.
    pub(crate) fn with_mfa(mut self, seed: &str) -> Self {
        let file = self.seed_file();
        fs::write(&file, seed).expect("the home folder is writable");
        let quoted = |path: &Path| format!("'{}'", path.display());
        let command = format!("{} {} {}", quoted(&crate::python()), quoted(&mfa_code()), quoted(&file));
        self.environment.push((MFA_PROCESS, command));
        self
    }

    /// The person without the program that reads the device: codes are given by hand.
    #[must_use]
    pub fn without_mfa_process(mut self) -> Self {
        self.environment.retain(|(name, _)| *name != MFA_PROCESS);
        self
    }

    /// A code of the person's device that was not used before. Waits for one, up to half a minute.
    #[track_caller]
    pub fn mfa_code(&self) -> String {
        self.print_code(&[])
    }

    /// The code of a step of thirty seconds, counted from now, whether it was used or not.
    #[track_caller]
    pub(crate) fn mfa_code_of_step(&self, step: i32) -> String {
        self.print_code(&[step.to_string()])
    }

    #[track_caller]
    fn print_code(&self, arguments: &[String]) -> String {
        let printed =
            Command::new(crate::python()).arg(mfa_code()).arg(self.seed_file()).args(arguments).output();
        let printed = printed.expect("Python runs");
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        String::from_utf8_lossy(&printed.stdout).trim().to_owned()
    }

    fn seed_file(&self) -> PathBuf {
        self.home.path().join("mfa-seed")
    }

    /// The person's own, long-lived keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Name of the person's IAM user.
    pub fn user_name(&self) -> &str {
        &self.user_name
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Path of a file in `~/.aws`.
    pub fn aws_file(&self, name: &str) -> PathBuf {
        self.home.path().join(".aws").join(name)
    }

    /// Writes a file in `~/.aws`, for its owner only.
    pub fn write_aws_file(&self, name: &str, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.aws_file(name);
        fs::write(&path, content).expect("the home folder is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    }

    /// Runs `sorry`, to its end.
    #[track_caller]
    pub fn sorry(&self, arguments: &[&str]) -> Finished {
        let done = self.command(arguments).output().expect("`sorry` runs: `make build` first");
        Finished {
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        }
    }

    /// Asks for a session, has `approver` approve it if it waits for that, and waits until its credentials are in a profile. Its id and
    /// the credentials.
    #[track_caller]
    pub fn request_approved(&self, approver: &Self, tier: &str, window: &str) -> (String, Keys) {
        let arguments = ["request", "--tier", tier, "--for", window, "--reason", "a test asks for it"];
        let made =
            self.sorry(&[&arguments[..], &["--no-wait", "--output", "json"]].concat()).success().json();
        let session = made["session_id"].as_str().expect("an id");
        if made["state"] == "PENDING_APPROVAL" {
            approver.sorry(&["approve", session]).success();
        }
        let view = self.sorry(&["renew", session, "--output", "json"]).success().json();
        (session.to_owned(), self.profile(view["profile"].as_str().expect("a profile")))
    }

    /// `sorry`, ready to be run in the person's shell: nothing of the environment of the tests is in it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(crate::binaries().join("sorry"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null());
        command
    }

    /// The keys in a profile that `sorry` wrote.
    #[track_caller]
    pub fn profile(&self, name: &str) -> Keys {
        let text = fs::read_to_string(self.aws_file("credentials")).expect("a credentials file");
        let section = text
            .split("\n[")
            .find_map(|section| section.trim_start_matches('[').strip_prefix(&format!("{name}]")));
        let section = section.unwrap_or_else(|| panic!("there is no profile {name} in:\n{text}"));
        let value = |wanted: &str| {
            section.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == wanted).then(|| value.trim().to_owned())
            })
        };
        Keys {
            access_key_id: value("aws_access_key_id").expect("a key id"),
            secret_access_key: value("aws_secret_access_key").expect("a secret"),
            session_token: value("aws_session_token"),
        }
    }
}
