//! How credentials reach other programs: `credential-process`, `exec`, `env` and `console` as whole commands, with a real vault and
//! ssh-agent, and an STS on loopback for what AWS cannot be made to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(clippy::disallowed_methods, reason = "tests prepare files and settings for the program they start")]

#[path = "../../crates/credentials/tests/desk/mod.rs"]
mod desk;
mod scripted;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use desk::{Behaviour, CACHED_ID, CANARY, Desk, SESSION, Sts};
use scripted::{Server, answer};
use serde_json::{Value, json};

const HOUR: i64 = 3600;

/// How a command went.
struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {}\n--- stdout\n{}--- stderr\n{}", self.exit, self.stdout, self.stderr)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Self {
            exit: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ran.stderr.contains(CANARY), "a secret on standard error: {}", ran.stderr);
        ran
    }
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!((self.exit, self.stderr.as_str()), (0, ""), "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// One line, with an exit code that is not 0.
    #[track_caller]
    fn refusal(&self) -> &str {
        assert!(self.exit != 0 && self.stdout.is_empty(), "{self}");
        assert_eq!(self.stderr.lines().count(), 1, "{self}");
        self.stderr.trim_end()
    }

    /// What a shell would have set after this.
    fn variables(&self) -> BTreeMap<String, String> {
        self.stdout
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// `sorry` at a desk, with an empty environment but for what is said here.
fn sorry(desk: &Desk, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sorry"));
    command
        .args(words)
        .env_clear()
        .env("HOME", desk.home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("SSH_AUTH_SOCK", desk.socket())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Ran {
    Ran::from(command.output().unwrap())
}

const PROCESS: [&str; 3] = ["credential-process", "--session", SESSION];

fn process(desk: &Desk, sts: &Sts) -> Command {
    let mut command = sorry(desk, &PROCESS);
    command.env("AWS_ENDPOINT_URL_STS", sts.url());
    command
}

/// The files as `sorry request` writes them: one profile in each form.
fn profiles(desk: &Desk, expires_in: i64) {
    let until = desk::in_seconds(expires_in).strftime("%Y-%m-%dT%H:%M:%SZ");
    let folder = desk.home.path().join(".aws");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("credentials"),
        format!(
            "[bootstrap]\naws_access_key_id = AKIAEXAMPLEEXAMPLE12\naws_secret_access_key = {CANARY}x\n\n\
             [sue-file]\naws_access_key_id = ASIAFILE000000000001\naws_secret_access_key = {CANARY}file\n\
             aws_session_token = {CANARY}tokenfile\nsorry_session = 0c9d000000000000\nsorry_expires_at = {until}\n"
        ),
    )
    .unwrap();
    fs::set_permissions(folder.join("credentials"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(
        folder.join("config"),
        format!(
            "[profile sue-file]\nregion = eu-west-2\nsorry_session = 0c9d000000000000\n\n\
             [profile sue-process]\ncredential_process = {} credential-process --session {SESSION}\nregion = us-east-1\n\
             sorry_session = {SESSION}\nsorry_expires_at = {until}\n",
            env!("CARGO_BIN_EXE_sorry")
        ),
    )
    .unwrap();
}

#[test]
fn credential_process_prints_one_object_and_nothing_else() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Refuse("AccessDenied", "no".to_owned())));
    desk.cache(HOUR, 2 * HOUR, false);
    // What a child of an SDK may find around it changes nothing.
    let ran = run(process(&desk, &sts)
        .env("AWS_PROFILE", "sue-process")
        .env("AWS_ACCESS_KEY_ID", "AKIAOTHER00000000001"));
    let object = ran.json();
    let names: Vec<&String> = object.as_object().unwrap().keys().collect();
    assert_eq!(names, ["AccessKeyId", "Expiration", "SecretAccessKey", "SessionToken", "Version"]);
    assert_eq!((object["Version"].as_i64(), object["AccessKeyId"].as_str()), (Some(1), Some(CACHED_ID)));
    let expiration = object["Expiration"].as_str().unwrap();
    assert!(expiration.len() == 20 && expiration.ends_with('Z'), "{expiration}");
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(sts.asked("AssumeRole").is_empty());
}

#[test]
fn credential_process_never_outlives_the_session() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(900, 60, false);
    let object = run(&mut process(&desk, &sts)).json();
    let expiration: jiff::Timestamp = object["Expiration"].as_str().unwrap().parse().unwrap();
    assert!(expiration <= desk::in_seconds(60), "{expiration}");
}

#[test]
fn credential_process_refuses_in_one_line_that_names_a_command() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Refuse("AccessDenied", "not you".to_owned())));
    insta::assert_snapshot!("refusal_not_cached", run(&mut process(&desk, &sts)).refusal());
    desk.cache(-5, HOUR, false);
    insta::assert_snapshot!("refusal_by_aws", run(&mut process(&desk, &sts)).refusal());
    sts.behave(Behaviour::Refuse(
        "SignatureDoesNotMatch",
        "Signature not yet current: 20261121T042000Z is still later than 20261121T040500Z (20261121T040000Z + 5 min.)"
            .to_owned(),
    ));
    insta::assert_snapshot!("refusal_clock", run(&mut process(&desk, &sts)).refusal());
    desk.cache(900, -1, false);
    let over = run(&mut process(&desk, &sts));
    assert!(over.refusal().starts_with("error: session `7k3m9q2x4v8n1c5d` ended at "), "{over}");
    assert!(over.refusal().ends_with(": run `sorry request`"), "{over}");
    assert_eq!(over.exit, 4);
    desk.cache(-5, HOUR, true);
    insta::assert_snapshot!("refusal_mfa", run(&mut process(&desk, &sts)).refusal());
    insta::assert_snapshot!(
        "refusal_recursion",
        run(process(&desk, &sts).env("SORRY_CREDENTIAL_PROCESS", "1")).refusal()
    );
    insta::assert_snapshot!(
        "refusal_no_agent",
        run(process(&desk, &sts).env_remove("SSH_AUTH_SOCK")).refusal()
    );
    insta::assert_snapshot!(
        "refusal_agent_gone",
        run(process(&desk, &sts).env("SSH_AUTH_SOCK", "/nonexistent/agent")).refusal()
    );
    insta::assert_snapshot!(
        "refusal_no_vault",
        run(process(&desk, &sts).env("XDG_CONFIG_HOME", "/nonexistent")).refusal()
    );
    insta::assert_snapshot!(
        "refusal_not_an_id",
        run(&mut sorry(&desk, &["credential-process", "--session", "7k3m/../x"])).refusal()
    );
    desk.empty_agent();
    let empty = run(&mut process(&desk, &sts));
    assert!(empty.refusal().contains("does not hold the key `SHA256:"), "{empty}");
    assert!(empty.refusal().ends_with(": run `ssh-add`"), "{empty}");
    // A file of settings that is not right is one line, too.
    fs::write(desk.config().join("config.toml"), "x = 1\n").unwrap();
    run(&mut process(&desk, &sts)).refusal();
}

/// `credential-process` on a terminal of its own, in its foreground: what was to be seen there, and what went to standard output.
fn process_at_terminal(desk: &Desk, agent: bool) -> (Value, String) {
    let out = desk.home.path().join("out");
    let mut command = Command::new("python3");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/person/terminal.py"))
        .args(["[]", "sh", "-c", "exec \"$0\" \"$@\" >\"$OUT\"", env!("CARGO_BIN_EXE_sorry")])
        .args(PROCESS)
        .env_clear()
        .env("HOME", desk.home.path())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("OUT", &out);
    if agent {
        command.env("SSH_AUTH_SOCK", desk.socket());
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (serde_json::from_slice(&done.stdout).unwrap(), fs::read_to_string(out).unwrap())
}

/// An SDK may run in somebody's terminal, and nobody there expects a question.
#[test]
fn credential_process_asks_nothing_and_shows_nothing_at_a_terminal() {
    let desk = Desk::new();
    desk.cache(HOUR, 2 * HOUR, false);
    let (seen, printed) = process_at_terminal(&desk, true);
    assert_eq!((&seen["exit"], &seen["output"]), (&json!(0), &json!("")), "{seen}");
    let object: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(object["AccessKeyId"], CACHED_ID);

    let (seen, printed) = process_at_terminal(&desk, false);
    let said = seen["output"].as_str().unwrap();
    assert_ne!(seen["exit"], 0);
    assert_eq!((said.lines().count(), printed.as_str()), (1, ""), "{said}");
    assert!(said.starts_with("error: "), "an answer and no question: {said}");
}

#[test]
fn what_is_still_good_is_printed_though_aws_is_away() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Hang));
    desk.cache(300, 2 * HOUR, false);
    let began = Instant::now();
    assert_eq!(run(&mut process(&desk, &sts)).json()["AccessKeyId"], CACHED_ID);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    // Nobody listens at all.
    desk.cache(300, 2 * HOUR, false);
    let ran = run(process(&desk, &sts).env("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1"));
    assert_eq!(ran.json()["AccessKeyId"], CACHED_ID);
}

/// Fifty processes, all at once.
fn fifty(desk: &Desk, sts: &Sts, preload: Option<&PathBuf>) {
    let children: Vec<_> = (0..50)
        .map(|_| {
            let mut command = process(desk, sts);
            if let Some(library) = preload {
                command.env("LD_PRELOAD", library);
            }
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let ended: Vec<_> =
        children.into_iter().map(|child| thread::spawn(move || child.wait_with_output().unwrap())).collect();
    for child in ended {
        let object = Ran::from(child.join().unwrap()).json();
        assert_eq!(object["AccessKeyId"], "ASIARENEWED000000001");
        assert_eq!(object["SecretAccessKey"], format!("{CANARY}ASIARENEWED000000001"));
    }
    assert_eq!(sts.asked("AssumeRole").len(), 1);
    assert_eq!(desk.cached().credentials.access_key_id.as_str(), "ASIARENEWED000000001");
}

#[test]
fn fifty_processes_renew_once() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(-5, 8 * HOUR, false);
    fifty(&desk, &sts, None);
}

#[test]
#[cfg(target_os = "linux")]
fn fifty_processes_renew_once_on_a_file_system_without_locks() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(-5, 8 * HOUR, false);
    // Every lock call fails, as on some shared file systems, and says so in a file.
    let source = desk.home.path().join("no_locks.c");
    let library = desk.home.path().join("no_locks.so");
    let called = desk.home.path().join("called");
    fs::write(
        &source,
        format!(
            "#include <errno.h>\n#include <fcntl.h>\n#include <unistd.h>\n\
             int flock(int fd, int how) {{ (void)fd; (void)how; int seen = open(\"{}\", O_CREAT | O_WRONLY, 0600); close(seen);\n\
             errno = ENOLCK; return -1; }}\n",
            called.display()
        ),
    )
    .unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    fifty(&desk, &sts, Some(&library));
    assert!(called.exists(), "the interposer was never called");
}

#[test]
fn a_renewer_that_was_killed_is_taken_over() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Hang));
    desk.cache(-5, 8 * HOUR, false);
    let mut killed = process(&desk, &sts).stdout(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while sts.asked("AssumeRole").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never asked");
        thread::sleep(Duration::from_millis(10));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    sts.behave(Behaviour::Lend(HOUR));
    let began = Instant::now();
    run(&mut process(&desk, &sts)).json();
    assert!(began.elapsed() < Duration::from_secs(10), "waited for the dead: {:?}", began.elapsed());
}

#[test]
fn exec_gives_the_keys_and_no_other_source() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(HOUR, 2 * HOUR, false);
    profiles(&desk, HOUR);
    for (profile, id, region) in
        [("sue-file", "ASIAFILE000000000001", "eu-west-2"), ("sue-process", CACHED_ID, "us-east-1")]
    {
        let mut command = sorry(&desk, &["exec", profile, "--", "env"]);
        command.env("AWS_ENDPOINT_URL_STS", sts.url()).env("KEPT", "yes");
        for name in [
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_SECURITY_TOKEN",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            "AWS_ACCESS_KEY_ID",
            "AWS_REGION",
        ] {
            command.env(name, "elsewhere");
        }
        let ran = run(&mut command);
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran}");
        let variables = ran.variables();
        let of_aws: Vec<&String> = variables.keys().filter(|name| name.starts_with("AWS_")).collect();
        assert_eq!(
            of_aws,
            [
                "AWS_ACCESS_KEY_ID",
                "AWS_CREDENTIAL_EXPIRATION",
                "AWS_DEFAULT_REGION",
                "AWS_EC2_METADATA_DISABLED",
                "AWS_ENDPOINT_URL_STS",
                "AWS_REGION",
                "AWS_SECRET_ACCESS_KEY",
                "AWS_SESSION_TOKEN",
            ]
        );
        assert_eq!((variables["AWS_ACCESS_KEY_ID"].as_str(), variables["KEPT"].as_str()), (id, "yes"));
        assert_eq!(
            (variables["AWS_REGION"].as_str(), variables["AWS_DEFAULT_REGION"].as_str()),
            (region, region)
        );
        assert!(variables["AWS_CREDENTIAL_EXPIRATION"].ends_with('Z'));
    }
}

#[test]
fn exec_is_replaced_by_the_command() {
    let desk = Desk::new();
    desk.cache(HOUR, 2 * HOUR, false);
    profiles(&desk, HOUR);
    let exit = |words: &[&str]| run(&mut sorry(&desk, &[&["exec", "sue-file", "--"], words].concat()));
    assert_eq!(exit(&["sh", "-c", "exit 42"]).exit, 42);
    let missing = exit(&["no-such-command"]);
    assert_eq!(
        (missing.exit, missing.stderr.as_str()),
        (127, "error: there is no command `no-such-command`\n")
    );
    assert_eq!(exit(&["/etc/passwd"]).exit, 126);
    // The same process: who started `sorry` finds the command under its number. And nothing secret among its arguments.
    let child = sorry(
        &desk,
        &[
            "exec",
            "sue-process",
            "--",
            "sh",
            "-c",
            "echo $$; tr '\\0' ' ' < /proc/$$/cmdline; ulimit -c; ulimit -Hc",
        ],
    )
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let number = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().next(), Some(number.as_str()));
    assert!(!text.contains(CANARY), "{text}");
    // The limit of core dumps is what it is without `sorry`.
    let plain = Command::new("sh").args(["-c", "ulimit -c; ulimit -Hc"]).output().unwrap();
    assert!(text.ends_with(&String::from_utf8(plain.stdout).unwrap()), "{text}");
}

#[test]
fn the_profile_is_the_one_named_or_that_of_the_environment_or_the_only_live_one() {
    let desk = Desk::new();
    desk.cache(HOUR, 2 * HOUR, false);
    profiles(&desk, HOUR);
    let id = |command: &mut Command| run(command).variables().remove("AWS_ACCESS_KEY_ID");
    let exec = ["exec", "--", "env"];
    assert_eq!(id(sorry(&desk, &exec).env("AWS_PROFILE", "sue-process")).as_deref(), Some(CACHED_ID));
    insta::assert_snapshot!("choose_several", run(&mut sorry(&desk, &exec)));
    // One that `sorry` did not write names nothing here: it is where the bootstrap key is.
    insta::assert_snapshot!("choose_bootstrap", run(sorry(&desk, &exec).env("AWS_PROFILE", "bootstrap")));
    insta::assert_snapshot!("choose_foreign", run(&mut sorry(&desk, &["exec", "bootstrap", "--", "env"])));
    insta::assert_snapshot!("choose_missing", run(&mut sorry(&desk, &["exec", "nobody", "--", "env"])));
    fs::remove_file(desk.home.path().join(".aws/credentials")).unwrap();
    assert_eq!(id(&mut sorry(&desk, &exec)).as_deref(), Some(CACHED_ID), "the only one left");
    let told = run(&mut sorry(&desk, &["-v", "exec", "--", "true"]));
    insta::assert_snapshot!("choose_verbose", told);
    profiles(&desk, -5);
    insta::assert_snapshot!("choose_none", run(&mut sorry(&desk, &exec)));
    let over = run(&mut sorry(&desk, &["exec", "sue-file", "--", "env"]));
    assert_eq!(over.exit, 4, "{over}");
    assert!(over.stderr.contains("`sorry renew 0c9d000000000000`"), "{over}");
}

#[test]
fn env_names_the_profile_that_renews_and_gives_the_keys_of_the_other() {
    let desk = Desk::new();
    desk.cache(HOUR, 2 * HOUR, false);
    profiles(&desk, HOUR);
    // What a shell holds after reading it, beside what it held before.
    let shell = |words: &str| {
        let script = format!("eval \"$({} env {words})\" && env", env!("CARGO_BIN_EXE_sorry"));
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env_clear()
            .env("HOME", desk.home.path())
            .env("PATH", "/usr/bin:/bin")
            .env("SSH_AUTH_SOCK", desk.socket())
            .env("AWS_SECURITY_TOKEN", "old")
            .env("AWS_SESSION_TOKEN", "old");
        run(&mut command).variables()
    };
    let of_aws = |variables: &BTreeMap<String, String>| -> Vec<String> {
        variables.keys().filter(|name| name.starts_with("AWS_")).cloned().collect()
    };
    let process = shell("sue-process");
    assert_eq!(
        (of_aws(&process), process["AWS_PROFILE"].as_str()),
        (vec!["AWS_PROFILE".to_owned()], "sue-process")
    );
    let keys = [
        "AWS_ACCESS_KEY_ID",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ];
    for (words, id) in [("sue-process --keys", CACHED_ID), ("sue-file", "ASIAFILE000000000001")] {
        let variables = shell(words);
        assert_eq!(of_aws(&variables), keys, "{words}");
        assert_eq!(variables["AWS_ACCESS_KEY_ID"], id);
    }
    assert!(of_aws(&shell("--unset")).is_empty());
    // In a batch job keys are kept with the job.
    let batch = run(sorry(&desk, &["env", "sue-file"]).env("SLURM_JOB_ID", "7"));
    assert!(batch.stderr.starts_with("warning: `SLURM_JOB_ID` is set: batch systems"), "{}", batch.stderr);
    let none = run(sorry(&desk, &["env", "sue-process"]).env("PBS_JOBID", "7"));
    assert_eq!(none.stderr, "", "nothing secret, nothing to warn of");
}

#[test]
fn the_console_is_opened_without_the_link_being_seen() {
    let desk = Desk::new();
    profiles(&desk, HOUR);
    let federation = |body: Value, status| {
        // The session stands in the URL; what matters of it is looked at below.
        Server::start(vec![answer("GET /federation?*", status, body)])
    };
    let token = json!({"SigninToken": format!("{CANARY}signin&\"<")});
    let server = federation(token.clone(), 200);
    let endpoint = |server: &Server| format!("http://{}/federation", server.address);
    let printed =
        run(sorry(&desk, &["console", "sue-file", "--print", "--destination", "s3", "--duration", "1h"])
            .env("SORRY_SIGN_IN_ENDPOINT", endpoint(&server)));
    assert_eq!(printed.exit, 0, "{printed}");
    assert_eq!(
        printed.stdout,
        format!(
            "{}?Action=login&Issuer=sorry&Destination=https%3A%2F%2Fconsole%2Eaws%2Eamazon%2Ecom%2Fs3%2Fhome%3Fregion%3Deu%2Dwest%2D2\
             &SigninToken={CANARY}signin%26%22%3C\n",
            endpoint(&server)
        )
    );
    let asked: Vec<String> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert!(
        asked[0].contains("?Action=getSigninToken&Session=%7B%22sessionId%22%3A%22ASIAFILE000000000001%22"),
        "{asked:?}"
    );
    assert!(asked[0].ends_with("&SessionDuration=3600"), "{asked:?}");

    // The browser is a script that notes its argument, what it reads there, and who may read it.
    let browser = desk.home.path().join("browser");
    let seen = desk.home.path().join("seen");
    fs::write(
        &browser,
        format!(
            "#!/bin/sh\nstat -c '%a' \"$1\" > {0}\necho \"$1\" >> {0}\ncat \"$1\" >> {0}\n",
            seen.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o700)).unwrap();
    let server = federation(token, 200);
    let opened = run(sorry(&desk, &["console", "sue-file", "--open"])
        .env("SORRY_SIGN_IN_ENDPOINT", endpoint(&server))
        .env("BROWSER", &browser));
    assert_eq!((opened.exit, opened.stdout.as_str()), (0, ""), "{opened}");
    let seen = fs::read_to_string(&seen).unwrap();
    let mut lines = seen.lines();
    assert_eq!(lines.next(), Some("600"));
    let page = PathBuf::from(lines.next().unwrap());
    assert!(page.starts_with(desk.state()) && !page.exists(), "the page stays behind: {}", page.display());
    assert!(seen.contains("http-equiv=\"refresh\"") && seen.contains("&amp;SigninToken="), "{seen}");

    // AWS refuses; then it is asked whose the credentials are, to say why.
    for (whose, snapshot) in [
        ("assumed-role/sorry-sue-developer-x/sue", "console_refused"),
        ("user/sorry/session/sue/sorry-sue-read-only-x", "console_refused_of_a_user"),
    ] {
        let identity = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>arn:aws:sts::123456789012:{whose}</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
        );
        let server = Server::start(vec![
            answer("GET /federation?*", 400, json!({"error": CANARY})),
            answer("POST /", 200, identity),
        ]);
        let refused = run(sorry(&desk, &["console", "sue-file", "--print"])
            .env("SORRY_SIGN_IN_ENDPOINT", endpoint(&server))
            .env("AWS_ENDPOINT_URL_STS", format!("http://{}", server.address)));
        assert!(server.asked()[1].body.contains("GetCallerIdentity"));
        insta::assert_snapshot!(snapshot, refused);
    }
    insta::assert_snapshot!("console_neither", run(&mut sorry(&desk, &["console", "sue-file"])));
    let away = run(sorry(&desk, &["console", "sue-file", "--print"])
        .env("SORRY_SIGN_IN_ENDPOINT", "http://127.0.0.1:1/federation"));
    assert_eq!(away.exit, 5, "{away}");
}

/// The time of a whole process when what is cached will do. The budget of 8 ms is for a release build on an idle machine; here it is
/// only held that nothing slow is started: no TLS, which reads every certificate of the system, and no network.
#[test]
fn a_fresh_cache_starts_nothing_slow() {
    let desk = Desk::new();
    desk.cache(HOUR, 2 * HOUR, false);
    // A bundle that could not even be read: it would be noticed by whoever sets up TLS.
    let ran = run(sorry(&desk, &PROCESS)
        .env("AWS_CA_BUNDLE", "/nonexistent")
        .env("HTTPS_PROXY", "http://127.0.0.1:1"));
    assert_eq!(ran.json()["AccessKeyId"], CACHED_ID);
}
