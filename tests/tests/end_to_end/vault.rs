//! The vault on the whole system: a key that lies nowhere else, its rotation, and what a crash leaves of it.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use sorry_tests::{Finished, Keys, LocalAws, Person, SshAgent};

use crate::namespace_call;

const SETUP: [&str; 4] = ["setup", "--no-recovery", "--no-rotate", "--keep-plain-text"];

/// Somebody without any file of AWS's, whose key is in the vault or nowhere.
struct Vaulted {
    person: Person,
    agent: SshAgent,
}

impl Vaulted {
    fn new(person: Person) -> Self {
        fs::remove_dir_all(person.home().join(".aws")).unwrap();
        let agent = SshAgent::start(person.home());
        Self { person, agent }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.person.command(words);
        command.env_remove("AWS_PROFILE").env("SSH_AUTH_SOCK", self.agent.socket());
        command
    }

    /// With the bootstrap key in the environment.
    fn setup(&self) -> Finished {
        let keys = self.person.keys();
        let mut command = self.command(&SETUP);
        command.env("AWS_ACCESS_KEY_ID", &keys.access_key_id);
        command.env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
        finished(command)
    }

    fn sorry(&self, words: &[&str]) -> Finished {
        finished(self.command(words))
    }

    /// The key that the vault holds.
    #[track_caller]
    fn held(&self) -> Keys {
        let shown = self.sorry(&["vault", "show", "--decrypted", "--output", "json"]).success().json();
        serde_json::from_value(shown["bootstrap"].clone()).expect("a key")
    }
}

fn finished(mut command: Command) -> Finished {
    ended(&command.output().unwrap())
}

fn ended(done: &Output) -> Finished {
    Finished {
        code: done.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// Ids of the keys that a user has at AWS.
fn key_ids(aws: &LocalAws, user: &str) -> Vec<String> {
    let listed = aws.call("iam.list_access_keys", json!({"UserName": user}));
    let keys = listed["AccessKeyMetadata"].as_array().cloned().unwrap_or_default();
    keys.iter().map(|key| key["AccessKeyId"].as_str().unwrap().to_owned()).collect()
}

fn works(aws: &LocalAws, keys: &Keys) -> bool {
    !aws.judge.call(keys, "sts.get_caller_identity", json!({})).is_denied()
}

/// Every file below that holds this text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if holds(&path, text) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read(path).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Runs a command and looks meanwhile at the arguments and the environment of every other process for the secret.
fn watched(mut command: Command, secret: &str) -> Finished {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let id = process.file_name();
            if id.to_str().is_none_or(|id| id.parse::<u32>().is_err()) {
                continue;
            }
            let files: &[&str] =
                if id == *child.id().to_string() { &["cmdline"] } else { &["environ", "cmdline"] };
            for file in files {
                assert!(!holds(&process.path().join(file), secret), "in {file} of {id:?}");
            }
        }
        looks += 1;
    }
    assert!(looks > 0);
    ended(&child.wait_with_output().unwrap())
}

#[test]
fn a_key_that_lies_in_the_vault_alone_does_everything_and_leaves_no_trace() {
    let aws = LocalAws::start();
    let sue = Vaulted::new(aws.register("sue-mgr"));
    let old = sue.person.keys().clone();

    // While anything runs, nobody else has the secret in its arguments or its environment.
    let seen = |words: &[&str]| watched(sue.command(words), &old.secret_access_key).success();
    let mut command = sue.command(&SETUP);
    command.env("AWS_ACCESS_KEY_ID", &old.access_key_id).env("AWS_SECRET_ACCESS_KEY", &old.secret_access_key);
    watched(command, &old.secret_access_key).success();

    let view = seen(&["request", "--tier", "developer", "--for", "15m", "--output", "json"]).json();
    let session = view["session_id"].as_str().unwrap().to_owned();
    assert!(!namespace_call(&aws, &sue.person.profile("sue-developer"), "sue").is_denied());
    seen(&["exec", "sue-developer", "--", "true"]);
    seen(&["renew", &session]);
    let lent = sue.person.profile("sue-developer");
    assert!(!namespace_call(&aws, &lent, "sue").is_denied());
    seen(&["revoke", &session]);
    assert!(namespace_call(&aws, &lent, "sue").is_denied());

    seen(&["vault", "rotate"]);
    let new = sue.held();
    assert_ne!(new.access_key_id, old.access_key_id);
    assert!(!works(&aws, &old) && works(&aws, &new));
    assert_eq!(key_ids(&aws, "sue-mgr"), [new.access_key_id.as_str()]);
    sue.sorry(&["whoami"]).success();
    // Nobody has subscribed to alerts here, which the doctor finds, too.
    let doctor = sue.sorry(&["doctor"]);
    assert!(
        doctor.stdout.contains("ok    vault") && doctor.stdout.contains("open through the agent"),
        "{doctor:?}"
    );
    for secret in [&old.secret_access_key, &new.secret_access_key] {
        assert_eq!(holding(sue.person.home(), secret), Vec::<String>::new());
    }
}

#[test]
fn a_rotation_that_is_killed_anywhere_leaves_a_key_that_works_and_goes_on() {
    let aws = LocalAws::start();
    let sue = Vaulted::new(aws.register("sue-mgr"));
    sue.setup().success();
    for point in [
        "rotate-intended",
        "rotate-created",
        "rotate-stored",
        "rotate-verified",
        "rotate-switched",
        "rotate-deactivating",
        "rotate-deactivated",
        "rotate-deleted",
    ] {
        let before = sue.held();
        let mut command = sue.command(&["vault", "rotate"]);
        let killed = finished({
            command.env("SORRY_CRASH_AT", point);
            command
        });
        assert_eq!(killed.code, -1, "{point}: it was not killed: {killed:?}");
        let between = sue.held();
        assert!(works(&aws, &between), "{point}: the vault's key does not work");
        sue.sorry(&["whoami"]).success();
        if point == "rotate-created" {
            // AWS has a key whose secret nobody has. It goes by name alone.
            let refused = sue.sorry(&["vault", "rotate"]);
            let ids = key_ids(&aws, "sue-mgr");
            let lost = ids.iter().find(|id| **id != between.access_key_id).expect("two keys");
            assert!(
                refused.code == 3 && refused.stderr.contains(&format!("--delete-key {lost}")),
                "{refused:?}"
            );
            sue.sorry(&["vault", "rotate", "--delete-key", lost]).success();
        } else {
            sue.sorry(&["vault", "rotate"]).success();
        }
        let after = sue.held();
        assert!(after != before && works(&aws, &after) && !works(&aws, &before), "{point}");
        assert_eq!(key_ids(&aws, "sue-mgr"), [after.access_key_id.as_str()], "{point}");
    }
    // A second key of somebody else's making stands in the way, and stays until it is named.
    let other = aws.call("iam.create_access_key", json!({"UserName": "sue-mgr"}));
    let other = other["AccessKey"]["AccessKeyId"].as_str().unwrap();
    let refused = sue.sorry(&["vault", "rotate"]);
    assert!(refused.code == 3 && refused.stderr.contains(other), "{refused:?}");
    assert_eq!(key_ids(&aws, "sue-mgr").len(), 2);
    sue.sorry(&["vault", "rotate", "--delete-key", other]).success();
    assert_eq!(key_ids(&aws, "sue-mgr").len(), 1);
}

#[test]
fn where_keys_change_only_with_mfa_a_code_is_asked_for() {
    let aws = LocalAws::start_with(&["RequireMfa=true"]);
    let person = aws.register_with_mfa("sue-mgr");
    let code = person.mfa_code();
    let sue = Vaulted::new(person.without_mfa_process());
    sue.setup().success();
    let refused = sue.sorry(&["vault", "rotate"]);
    assert!(refused.code == 2 && refused.stderr.contains("--mfa-stdin"), "{refused:?}");
    let before = sue.held();
    let mut command = sue.command(&["vault", "rotate", "--mfa-stdin"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let after = sue.held();
    assert!(works(&aws, &after) && !works(&aws, &before));
    let shown: Value = sue.sorry(&["vault", "show", "--output", "json"]).success().json();
    assert_eq!(shown["rotation"], Value::Null);
}
