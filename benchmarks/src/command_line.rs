//! Part 1: `sorry` as a person and an SDK start it, as whole processes, beside what they would start instead.
//!
//! All have the same to do: say the credentials of a session that lie ready. `sorry` has them encrypted and asks an OpenSSH agent to
//! open them; the others read them from a plain file, which is less work. Runs are interleaved, so that whatever else the machine
//! does falls on all of them alike.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use sorry_tests::{LocalAws, Person, SshAgent};

use crate::{
    Depth,
    machine::{self, Version},
    measured::{self, Run},
    results::Program,
    statistics::Spread,
};

/// What gives the credentials of a session to an SDK: the one that the budget is about.
pub const CREDENTIAL_PROCESS: &str = "sorry credential-process";
/// What starts and does nothing.
pub const VERSION: &str = "sorry --version";
/// Words with which the peers' own names begin, for the ratio.
const SESSION_FILE: &str = "[dev]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = \
     wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\naws_session_token = IQoJb3JpZ2luX2VjEXAMPLE\n";
const SETUP: [&str; 4] = ["setup", "--no-recovery", "--no-rotate", "--keep-plain-text"];
/// Runs of a program whose times are not kept: what is read from disk is in memory then.
const WARM_UP: usize = 3;

/// Where `make bench` has installed the peers.
pub fn peers() -> PathBuf {
    sorry_tests::project().join(".local/bench-venv/bin")
}

/// The peers' packages with their versions.
pub fn peer_versions() -> Vec<Version> {
    let python = peers().join("python");
    let package =
        |name: &str| Version { name: name.to_owned(), version: machine::package_version(&python, name) };
    ["iam-sorry", "awsume", "awscli", "boto3"].map(package).into()
}

/// Somebody with a vault that their agent opens, and a session in its cache.
struct AtDesk {
    person: Person,
    agent: SshAgent,
    session: String,
}

impl AtDesk {
    fn new(aws: &LocalAws) -> Self {
        let person = aws.register("sue-mgr");
        let agent = SshAgent::start(person.home());
        let mut desk = Self { person, agent, session: String::new() };
        let keys = desk.person.keys();
        let mut setup = desk.sorry(&SETUP);
        setup
            .env("AWS_ACCESS_KEY_ID", &keys.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
        done(setup);
        // From here on the key lies in the vault alone.
        fs::remove_file(desk.person.aws_file("credentials")).expect("the file is there");
        let words = [
            "request",
            "--tier",
            "developer",
            "--for",
            "1h",
            "--reason",
            "a measurement",
            "--deliver",
            "process",
        ];
        let shown = done(desk.sorry(&[&words[..], &["--output", "json"]].concat()));
        let shown: Value = serde_json::from_str(&shown).expect("one JSON value");
        desk.session = shown["session_id"].as_str().expect("an id").to_owned();
        desk
    }

    fn sorry(&self, words: &[&str]) -> Command {
        let mut command = self.person.command(words);
        command.env_remove("AWS_PROFILE").env("SSH_AUTH_SOCK", self.agent.socket());
        command
    }
}

/// Standard output of a command that must succeed.
fn done(mut command: Command) -> String {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(ended.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// A program to be measured.
struct Candidate {
    words: &'static str,
    ours: bool,
    command: Command,
    /// What it must print.
    says: &'static str,
}

fn candidates(desk: &AtDesk) -> Vec<Candidate> {
    let home = desk.person.home().join("peers");
    fs::create_dir_all(home.join(".aws")).expect("the home folder is writable");
    fs::write(home.join(".aws/credentials"), SESSION_FILE).expect("the folder is writable");
    fs::write(home.join(".aws/config"), "[profile dev]\nregion = us-east-1\n")
        .expect("the folder is writable");
    let peer = |program: &str, words: &[&str]| {
        let mut command = Command::new(peers().join(program));
        command.args(words).env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").env("USER", "nobody");
        // Compiled modules lie ready, as after any first run.
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    };
    let ours = |words: &'static str, arguments: &[&str], says| Candidate {
        words,
        ours: true,
        command: desk.sorry(arguments),
        says,
    };
    let theirs = |words, command, says| Candidate { words, ours: false, command, says };
    vec![
        ours(VERSION, &["--version"], "sorry "),
        ours("sorry env --keys", &["env", "--keys"], "AWS_SESSION_TOKEN="),
        ours(CREDENTIAL_PROCESS, &["credential-process", "--session", &desk.session], "\"SessionToken\""),
        theirs("iam-sorry --eval", peer("iam-sorry", &["--eval", "dev"]), "AWS_SESSION_TOKEN="),
        theirs("awsume --show-commands", peer("awsumepy", &["-s", "dev"]), "ASIAIOSFODNN7EXAMPLE"),
        theirs(
            "aws configure get",
            peer("aws", &["configure", "get", "aws_session_token", "--profile", "dev"]),
            "IQoJb3JpZ2luX2VjEXAMPLE",
        ),
    ]
}

/// Measures all of them.
///
/// # Panics
/// When one of them does not print what it must.
pub fn measure(depth: Depth) -> Vec<Program> {
    let aws = LocalAws::start_with(&["SweepRate=rate(1 hour)"]);
    let desk = AtDesk::new(&aws);
    let candidates = candidates(&desk);
    for candidate in &candidates {
        let mut again = Command::new(candidate.command.get_program());
        again.args(candidate.command.get_args()).env_clear();
        again.envs(candidate.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let said = done(again);
        assert!(said.contains(candidate.says), "{} printed {said}", candidate.words);
    }
    let rounds = depth.choose(30, 3);
    let mut runs: Vec<Vec<Run>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds + WARM_UP {
        for (candidate, runs) in candidates.iter().zip(&mut runs) {
            let run = measured::run(&candidate.command);
            if round >= WARM_UP {
                runs.push(run);
            }
        }
    }
    let program = |(candidate, runs): (&Candidate, &Vec<Run>)| Program {
        words: candidate.words.to_owned(),
        ours: candidate.ours,
        milliseconds: Spread::of(runs.iter().map(|run| run.milliseconds).collect()),
        peak_mib: Spread::of(runs.iter().map(|run| run.peak_mib).collect()),
    };
    candidates.iter().zip(&runs).map(program).collect()
}
