//! Both forms of a profile, as boto3, the AWS CLI and the Rust SDK use them; and the way to AWS through a company's proxy.

#![allow(clippy::disallowed_methods, reason = "tests have the clock of the program that they start")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use aws_config::{BehaviorVersion, Region};
use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_profiles::{AccessKeyId, SecretAccessKey};
use sorry_tests::{Finished, LocalAws, Person, eventually};
use sorry_vault::CachedSession;

use crate::desk::Desk;

/// Says that this process is the program under test, and not the test.
const INSIDE: &str = "SORRY_DELIVERY_INSIDE";

/// A person whose bootstrap key lies in a vault, and nowhere else.
pub(crate) struct AtDesk<'a> {
    person: &'a Person,
    pub(crate) desk: Desk,
}

impl<'a> AtDesk<'a> {
    pub(crate) fn new(person: &'a Person) -> Self {
        let keys = person.keys();
        let desk = Desk::with(|contents| {
            let bootstrap = contents.bootstrap.as_mut().unwrap();
            bootstrap.access_key_id = AccessKeyId::parse(&keys.access_key_id).unwrap();
            bootstrap.secret_access_key = SecretAccessKey::parse(&keys.secret_access_key).unwrap();
        });
        Self { person, desk }
    }

    /// `sorry` of somebody who has no AWS key but in the vault.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.person.command(words);
        self.around(&mut command);
        command
    }

    fn around(&self, command: &mut Command) {
        command
            .env("HOME", self.desk.home.path())
            .env("SSH_AUTH_SOCK", self.desk.socket())
            .env_remove("AWS_PROFILE");
    }

    #[track_caller]
    fn sorry(&self, words: &[&str]) -> Finished {
        finished(self.command(words))
    }

    #[track_caller]
    fn request(&self, words: &[&str]) -> Value {
        let asked = ["request", "--tier", "developer", "--reason", "an end-to-end test", "--output", "json"];
        self.sorry(&[&asked, words].concat()).success().json()
    }

    /// Another program, with a profile of this person.
    fn program(&self, program: &Path, profile: &str) -> Command {
        let mut command = Command::new(program);
        // As `sorry` gets it: the endpoint of the local AWS, a region, nothing of the tests.
        let like = self.command(&[]);
        command.env_clear().envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("AWS_PROFILE", profile);
        command
    }

    /// Whether the AWS CLI signs with this key, after a call that worked; it shows the end of the key's id alone.
    #[track_caller]
    fn aws_cli_uses(&self, profile: &str, key: &str) -> bool {
        let aws = sorry_tests::project().join(".local/venv/bin/aws");
        let called = self.program(&aws, profile).args(["sts", "get-caller-identity"]).output().unwrap();
        assert!(called.status.success(), "{}", String::from_utf8_lossy(&called.stderr));
        let listed = self.program(&aws, profile).args(["configure", "list"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let shown = listed.lines().find(|line| line.trim_start().starts_with("access_key")).unwrap();
        let end = shown.split_whitespace().nth(1).unwrap().trim_start_matches('*');
        assert_eq!(end.len(), 4, "{shown}");
        key.ends_with(end)
    }

    /// The key that the Rust SDK signs with, after a call that worked: this very test, run again as a program of the person.
    #[track_caller]
    fn rust_sdk(&self, profile: &str) -> String {
        let done = self
            .program(&std::env::current_exe().unwrap(), profile)
            .args(["--exact", "--nocapture", "delivery::the_rust_sdk_as_a_program"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        said.lines().find_map(|line| line.split_once("key=")).unwrap().1.to_owned()
    }

    /// Makes what is cached end in so many seconds, in a session that ends in so many, as far as the cache tells.
    fn age_cache(&self, session: &str, expires_in: i64, ends_in: i64) {
        self.desk.change_cache(session, |cached: &mut CachedSession| {
            cached.credentials.expires_at = crate::desk::in_seconds(expires_in);
            cached.session_ends_at = crate::desk::in_seconds(ends_in);
        });
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn finished(mut command: Command) -> Finished {
    let done = command.output().unwrap();
    Finished {
        code: done.status.code().unwrap_or(-1),
        stdout: String::from_utf8(done.stdout).unwrap(),
        stderr: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A program with one boto3 client that goes on running: `tests/local/job.py`.
struct Job {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Job {
    fn start(at: &AtDesk<'_>, profile: &str) -> Self {
        let mut child = at
            .program(&sorry_tests::python(), profile)
            .arg(sorry_tests::project().join("tests/local/job.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { to: child.stdin.take().unwrap(), from: BufReader::new(child.stdout.take().unwrap()), child }
    }

    /// One call with the client it has; the key that signed it.
    fn call(&mut self) -> Result<String, String> {
        writeln!(self.to, "call").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer["key"].as_str() {
            Some(key) => Ok(key.to_owned()),
            None => Err(answer["error"].to_string()),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: what [`AtDesk::rust_sdk`] runs as a program of the person.
#[test]
fn the_rust_sdk_as_a_program() {
    if std::env::vars().all(|(name, _)| name != INSIDE) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        aws_sdk_sts::Client::new(&config).get_caller_identity().send().await.unwrap();
        let provider = config.credentials_provider().unwrap();
        let key =
            aws_credential_types::provider::ProvideCredentials::provide_credentials(&provider).await.unwrap();
        println!("\nkey={}", key.access_key_id());
    });
}

#[test]
fn a_process_profile_serves_every_sdk_and_is_renewed_while_programs_run() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let at = AtDesk::new(&sue);
    let view = at.request(&["--for", "50m", "--deliver", "process"]);
    let session = view["session_id"].as_str().unwrap();
    assert_eq!(view["profile"], "sue-developer");

    // Nothing secret lies in plain text, nowhere in the home folder.
    let first = at.sorry(&["credential-process", "--session", session]).success();
    assert_eq!(first.stderr, "");
    let first = first.json();
    for secret in [
        sue.keys().secret_access_key.as_str(),
        first["SecretAccessKey"].as_str().unwrap(),
        first["SessionToken"].as_str().unwrap(),
    ] {
        assert_eq!(found_in(at.desk.home.path(), secret), [""; 0]);
    }
    let config = fs::read_to_string(at.desk.home.path().join(".aws/config")).unwrap();
    assert!(config.contains(&format!("credential-process --session {session}")), "{config}");
    assert!(!at.desk.home.path().join(".aws/credentials").exists());

    // The last credentials of a session, as it seems: boto3 asks for others at each call from now on, and is given these.
    let old = first["AccessKeyId"].as_str().unwrap();
    at.age_cache(session, 840, 840);
    let mut job = Job::start(&at, "sue-developer");
    assert_eq!(job.call().unwrap(), old);
    assert!(at.aws_cli_uses("sue-developer", old));
    assert_eq!(at.rust_sdk("sue-developer"), old);

    // The window allows more: whoever asks next renews, and the client that runs goes on with new credentials.
    at.age_cache(session, 840, 2_400);
    let new = job.call().unwrap();
    assert_ne!(new, old);
    assert!(at.aws_cli_uses("sue-developer", &new));
    assert_eq!(at.rust_sdk("sue-developer"), new);

    // `renew` keeps the form; a change of form leaves nothing of the other.
    at.sorry(&["renew", session]).success();
    assert!(!at.desk.home.path().join(".aws/credentials").exists());
    let exec = at.sorry(&["exec", "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID"]).success();
    assert_ne!(exec.stdout.trim(), new);
    at.sorry(&["renew", session, "--deliver", "file"]).success();
    let config = fs::read_to_string(at.desk.home.path().join(".aws/config")).unwrap();
    assert!(!config.contains("credential_process"), "{config}");
    assert!(at.rust_sdk("sue-developer").starts_with("ASIA"));

    // Revoked is revoked, in the cache, too.
    at.sorry(&["renew", session, "--deliver", "process"]).success();
    at.sorry(&["revoke", session]).success();
    let gone = at.sorry(&["credential-process", "--session", session]);
    assert_eq!((gone.code, gone.stdout.as_str()), (4, ""), "{gone:?}");
    assert!(job.call().is_err(), "a call with revoked credentials");
}

#[test]
fn a_file_profile_is_read_anew_by_programs_that_start_and_by_no_other() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let at = AtDesk::new(&sue);
    let view = at.request(&["--for", "15m", "--deliver", "file"]);
    let session = view["session_id"].as_str().unwrap();
    let mut job = Job::start(&at, "sue-developer");
    let old = job.call().unwrap();
    assert!(at.aws_cli_uses("sue-developer", &old));
    assert_eq!(at.rust_sdk("sue-developer"), old);
    at.sorry(&["renew", session]).success();
    let new = at.rust_sdk("sue-developer");
    assert_ne!(new, old);
    assert!(at.aws_cli_uses("sue-developer", &new));
    assert_eq!(Job::start(&at, "sue-developer").call().unwrap(), new);
    // What `sorry` warns of where the window is longer than the credentials.
    assert_eq!(job.call().unwrap(), old);
}

#[test]
fn near_the_sessions_end_no_job_fails() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let at = AtDesk::new(&sue);
    let view = at.request(&["--for", "25s", "--deliver", "process"]);
    let end: Timestamp = view["expires_at"].as_str().unwrap().parse().unwrap();
    let mut job = Job::start(&at, "sue-developer");
    let mut calls = 0;
    // boto3 insists on other credentials in the last ten minutes, before every call. A call takes its time, too: it is not counted
    // when the end came while it was made.
    loop {
        let answer = job.call();
        if Timestamp::now() >= end {
            break;
        }
        answer.unwrap();
        calls += 1;
    }
    assert!(calls > 3, "only {calls} calls before the end");
    eventually("calls are refused", Duration::from_secs(30), || job.call().err());
}

#[test]
fn a_session_in_the_environment_alone_leaves_nothing_behind() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let at = AtDesk::new(&sue);
    let asked = ["request", "--tier", "developer", "--for", "15m", "--reason", "an end-to-end test"];
    let done = at.sorry(&[&asked[..], &["--deliver", "env"]].concat()).success();
    let value = |name: &str| {
        let line = done.stdout.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
        line.unwrap_or_else(|| panic!("{name}: {done:?}")).trim_end_matches('\'').to_owned()
    };
    let keys = sorry_tests::Keys {
        access_key_id: value("AWS_ACCESS_KEY_ID"),
        secret_access_key: value("AWS_SECRET_ACCESS_KEY"),
        session_token: Some(value("AWS_SESSION_TOKEN")),
    };
    aws.judge.call(&keys, "sts.get_caller_identity", json!({})).allowed();
    assert_eq!(found_in(at.desk.home.path(), &keys.secret_access_key), [""; 0]);
    assert!(!at.desk.home.path().join(".aws").exists(), "a profile was written");
    let nowhere = at.sorry(&[&asked[..], &["--deliver", "none"]].concat()).success();
    assert!(nowhere.stdout.contains("ACTIVE") && !nowhere.stdout.contains("profile"), "{nowhere:?}");
    assert!(!at.desk.home.path().join(".aws").exists(), "a profile was written");
}

#[test]
fn a_proxy_with_an_authority_of_its_own_is_gone_through() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let at = AtDesk::new(&sue);
    let view = at.request(&["--for", "50m", "--deliver", "process"]);
    let session = view["session_id"].as_str().unwrap();
    let authority = at.desk.home.path().join("authority.pem");
    let mut proxy = Command::new(sorry_tests::python())
        .arg(sorry_tests::project().join("tests/local/tls_proxy.py"))
        .arg(aws.output("endpoint_url").trim_start_matches("http://").trim_end_matches('/'))
        .arg(&authority)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(proxy.stdout.take().unwrap());
    let mut port = String::new();
    said.read_line(&mut port).unwrap();

    at.age_cache(session, -5, 2_400);
    // No endpoint is set: this is AWS's own name, which only the proxy can lead to the local AWS.
    let ask = |bundle: bool| {
        let mut command = at.command(&["credential-process", "--session", session]);
        command
            .env_remove("AWS_ENDPOINT_URL")
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{}", port.trim()));
        if bundle {
            command.env("AWS_CA_BUNDLE", &authority);
        }
        command.output().unwrap()
    };
    let began = Instant::now();
    let untrusted = ask(false);
    assert_eq!(untrusted.status.code(), Some(5));
    assert!(began.elapsed() < Duration::from_secs(26));
    let told = String::from_utf8(untrusted.stderr).unwrap();
    assert!(told.lines().count() == 1 && told.contains("certificate"), "{told}");
    let done = ask(true);
    let _ = proxy.kill();
    let _ = proxy.wait();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(object["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    let mut connected = String::new();
    said.read_line(&mut connected).unwrap();
    assert_eq!(connected.trim(), "CONNECT sts.us-east-1.amazonaws.com:443");
}

/// The files below a folder that hold a text.
fn found_in(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_in(&path, text));
        } else if fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
