//! `sorry setup` and `sorry vault` as a person uses them: real keys, a real agent and scripted ones, a terminal. AWS and the service
//! are scripted; the whole way is shown end to end by `sorry-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(clippy::disallowed_methods, reason = "tests prepare files and settings for the program they start")]

#[path = "../../crates/vault/tests/behaviour/fake_agent.rs"]
mod fake_agent;
mod person;
mod scripted;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use fake_agent::{Behaviour, FakeAgent};
use person::{KEY_ID, PHRASE, Person, Ran, RealAgent, SECRET};
use scripted::{Answer, Server, answer};
use serde_json::{Value, json};

const ARN: &str = "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr";
/// Of the scripted agents, which sign with `ed25519_dalek::hazmat` over `sha2::Sha512`.
const SEED: ed25519_dalek::SecretKey = [5; 32];
const ED25519: [&str; 2] = ["-t", "ed25519"];
/// Everything that `setup` would ask.
const ALL_SAID: [&str; 4] = ["setup", "--no-recovery", "--no-rotate", "--keep-plain-text"];

fn identity(arn: &str) -> Answer {
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>{arn}</Arn>\
         <UserId>AIDAEXAMPLE</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    );
    answer("POST /", 200, body)
}

fn whoami() -> Answer {
    let body =
        json!({"arn": ARN, "unique_id": "AIDAEXAMPLE", "account": "123456789012", "administrator": false});
    answer("GET /v1/whoami", 200, body)
}

/// What `setup` asks of AWS and the service.
fn setup_script() -> Vec<Answer> {
    vec![identity(ARN), whoami(), whoami()]
}

impl Person {
    /// With the key in the environment, and the service at this server.
    fn facing(mut self, server: &Server) -> Self {
        self.set("SORRY_ENDPOINT", format!("http://{}/v1", server.address));
        self.set("AWS_ENDPOINT_URL", format!("http://{}", server.address));
        self.with("AWS_ACCESS_KEY_ID", KEY_ID).with("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    fn forget_the_key(&mut self) {
        self.unset("AWS_ACCESS_KEY_ID");
        self.unset("AWS_SECRET_ACCESS_KEY");
    }
}

/// Somebody whose vault a key opens that lies in a file, with a passphrase, and in a real agent.
fn set_up() -> (Person, RealAgent) {
    let server = Server::start(setup_script());
    let mut sue = Person::new();
    let agent = RealAgent::with(&sue.key("id_ed25519", &ED25519, PHRASE), PHRASE);
    sue.set("SSH_AUTH_SOCK", agent.socket());
    let mut sue = sue.facing(&server);
    sue.run(&ALL_SAID).success();
    server.asked();
    sue.forget_the_key();
    (sue, agent)
}

/// As [`set_up`], with a scripted agent that has no file anywhere.
fn set_up_with_fake(folder: &Path) -> Person {
    let server = Server::start(setup_script());
    let agent = FakeAgent::start(folder, &SEED, Behaviour::Honest);
    let mut sue = Person::new().with("SSH_AUTH_SOCK", agent.path().display()).facing(&server);
    let ran = sue.run(&ALL_SAID).success();
    assert!(ran.stderr.contains("whether it has a passphrase cannot be seen"), "{ran}");
    sue.forget_the_key();
    sue
}

/// What the vault holds, by the command that shows it.
#[track_caller]
fn held(sue: &Person) -> Value {
    let ran = sue.run(&["vault", "show", "--decrypted", "--output", "json"]).success();
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Snapshots without what differs from run to run.
macro_rules! assert_ran {
    ($name:expr, $ran:expr) => {
        insta::with_settings!({filters => vec![
            (r"/[^ `:]*/\.tmp[A-Za-z0-9]+", "[HOME]"),
            (r"127\.0\.0\.1:\d+", "[SERVICE]"),
            (r"SHA256:[A-Za-z0-9+/]{43}", "[FINGERPRINT]"),
            (r"\b[0-9a-f]{32}\b", "[VAULT]"),
            (r"\b[0-9a-f]{16}\b", "[SLOT]"),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[TIME]"),
        ]}, { insta::assert_snapshot!($name, $ran.to_string()) })
    };
}

#[test]
fn setup_takes_the_key_of_the_environment_into_a_vault_that_every_command_then_uses() {
    let server = Server::start([setup_script(), vec![whoami()]].concat());
    let mut sue = Person::new();
    let agent = RealAgent::with(&sue.key("id_ed25519", &ED25519, PHRASE), PHRASE);
    sue.set("SSH_AUTH_SOCK", agent.socket());
    let mut sue = sue.facing(&server);
    let ran = sue.run(&ALL_SAID).success();
    assert_ran!("setup_from_the_environment", ran);
    assert_eq!(fs::metadata(sue.vault()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(sue.vault().parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    sue.forget_the_key();
    sue.unset("SORRY_ENDPOINT"); // it is in config.toml now
    let ran = sue.run(&["whoami", "-v"]).success();
    assert!(
        ran.stderr.contains("key from the vault") && ran.stderr.contains("opened by `id_ed25519`"),
        "{ran}"
    );
    let asked = server.asked();
    assert!(asked[3].header("authorization").contains(KEY_ID) && asked[3].body.is_empty());
    assert_eq!(sue.holding(SECRET), Vec::<std::path::PathBuf>::new());
    assert_eq!(held(&sue)["bootstrap"]["secret_access_key"], SECRET);
    let masked = sue.run(&["vault", "show"]).success();
    assert!(masked.stdout.contains(KEY_ID) && !masked.to_string().contains(SECRET), "{masked}");
    assert_ran!("status", sue.run(&["vault", "status"]).success());
    // A profile that is named goes first.
    let ran = sue.run(&["whoami", "--caller-profile", "none"]);
    ran.refused(&["there is no profile `none`"]);
}

#[test]
fn the_key_leaves_its_profile_once_the_vault_has_been_opened_again() {
    let server = Server::start(setup_script());
    let mut sue = Person::new();
    let agent = RealAgent::with(&sue.key("id_ed25519", &ED25519, PHRASE), PHRASE);
    sue.set("SSH_AUTH_SOCK", agent.socket());
    let mut sue = sue.facing(&server);
    sue.forget_the_key();
    fs::create_dir(sue.path(".aws")).unwrap();
    let file = format!(
        "# mine\n[sue-mgr]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n[other]\nx = y\n"
    );
    fs::write(sue.path(".aws/credentials"), file).unwrap();
    fs::set_permissions(sue.path(".aws/credentials"), fs::Permissions::from_mode(0o600)).unwrap();
    let words = ["setup", "--from-profile", "sue-mgr", "--no-recovery", "--no-rotate", "--remove-plain-text"];
    let ran = sue.run(&words).success();
    assert!(ran.stderr.contains("took the key out of profile `sue-mgr`"), "{ran}");
    server.asked();
    assert!(sue.holding(SECRET).is_empty());
    let left = fs::read_to_string(sue.path(".aws/credentials")).unwrap();
    assert!(left.starts_with("# mine\n") && left.ends_with("[other]\nx = y\n"), "{left}");
    assert_eq!(held(&sue)["bootstrap"]["secret_access_key"], SECRET);
}

/// `setup` takes no other key out of a profile: to say that it does would send people round in a circle.
#[test]
fn another_key_than_the_vaults_is_named_without_a_way_to_be_rid_of_it() {
    let (mut sue, _agent) = set_up();
    sue.forget_the_key();
    fs::create_dir(sue.path(".aws")).unwrap();
    let write = |profiles: &[(&str, &str)]| {
        let sections = profiles.iter().map(|(name, id)| {
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {SECRET}\n")
        });
        fs::write(sue.path(".aws/credentials"), sections.collect::<String>()).unwrap();
        fs::set_permissions(sue.path(".aws/credentials"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let vault = || {
        let checks: Value = serde_json::from_str(&sue.run(&["doctor", "--output", "json"]).stdout).unwrap();
        checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == "vault").unwrap().clone()
    };
    let other = ("administrator", "AKIAADMINADMINADMIN1");
    write(&[other]);
    let status = sue.run(&["vault", "status"]).success();
    assert!(
        status.stdout.contains("profile `administrator` holds a long-lived key, not the vault's"),
        "{status}"
    );
    assert!(!status.stdout.contains("fix:"), "{status}");
    let check = vault();
    assert_eq!(check["ok"], true, "{check}");
    assert!(
        check["detail"].as_str().unwrap().contains("profile `administrator` holds another long-lived key"),
        "{check}"
    );

    write(&[other, ("sue-mgr", KEY_ID), ("copy", KEY_ID)]);
    let check = vault();
    assert_eq!(check["detail"], "profile `sue-mgr` and profile `copy` hold a long-lived key in plain text");
    assert_eq!(
        check["hints"][0],
        "sorry setup --from-profile sue-mgr --remove-plain-text; sorry setup --from-profile copy --remove-plain-text"
    );
    let words =
        ["setup", "--from-profile", "administrator", "--remove-plain-text", "--no-recovery", "--no-rotate"];
    sue.run(&words).refused(&[
        "not `AKIAADMINADMINADMIN1`",
        "sorry vault import --from-profile administrator --replace",
    ]);
}

#[test]
fn a_recovery_code_is_shown_once_and_opens_the_vault_at_a_terminal() {
    let server = Server::start(setup_script());
    let mut sue = Person::new();
    let agent = RealAgent::with(&sue.key("id_ed25519", &ED25519, PHRASE), PHRASE);
    sue.set("SSH_AUTH_SOCK", agent.socket());
    let mut sue = sue.facing(&server);
    let ran = sue.run(&["setup", "--no-rotate", "--keep-plain-text"]).success();
    let code = ran.stdout.trim().to_owned();
    assert_eq!((code.len(), code.matches('-').count()), (34, 6), "{ran}");
    sue.forget_the_key();
    drop(agent);
    // The agent is gone: the key's file is asked about first, and passed over with an empty line.
    let seen = sue.at_terminal(
        &[
            ("Passphrase of the key", "secret:"),
            ("recovery code of the vault", &format!("secret:{}", code.to_uppercase())),
        ],
        &["vault", "show"],
    );
    assert_eq!(seen["exit"], 0, "{seen}");
    let output = seen["output"].as_str().unwrap();
    assert!(output.contains(KEY_ID), "{output}");
    assert!(!output.to_lowercase().contains(&code), "it was echoed: {output}");
    assert_eq!(seen["echo"], true);
}

#[test]
fn the_passphrase_of_the_key_file_is_asked_for_without_an_agent_and_may_change() {
    let (mut sue, agent) = set_up();
    drop(agent);
    let path = sue.path(".ssh/id_ed25519");
    let done = Command::new("ssh-keygen")
        .args(["-q", "-p", "-a", "4", "-P", PHRASE, "-N", "another phrase", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(done.status.success());
    sue.unset("SSH_AUTH_SOCK");
    let script =
        [("Passphrase of the key", "secret:a slip"), ("Passphrase of the key", "secret:another phrase")];
    let seen = sue.at_terminal(&script, &["vault", "show"]);
    assert_eq!((&seen["exit"], &seen["unasked"]), (&json!(0), &json!([])), "{seen}");
    let output = seen["output"].as_str().unwrap();
    assert!(
        output.contains(KEY_ID) && !output.contains("another phrase") && !output.contains("a slip"),
        "{output}"
    );

    // Ctrl-C while it is asked for: the terminal is as before.
    let seen = sue.at_terminal(&[("Passphrase of the key", "secret:\u{3}")], &["vault", "show"]);
    assert_eq!((&seen["exit"], &seen["echo"]), (&json!(130), &json!(true)), "{seen}");
}

#[test]
fn nobody_is_asked_in_the_background_or_without_a_terminal() {
    let (mut sue, agent) = set_up();
    drop(agent);
    sue.unset("SSH_AUTH_SOCK");
    let ran = sue.run(&["vault", "show"]);
    assert_eq!(ran.exit, Some(1));
    assert_ran!("shut_without_a_terminal", ran);
    let program = env!("CARGO_BIN_EXE_sorry");
    let script = format!("{program} vault show </dev/null & wait $!");
    let seen = sue.on_terminal(&[], &["sh", "-mc", &script]);
    let output = seen["output"].as_str().unwrap();
    assert_eq!(seen["exit"], 1, "{seen}");
    assert!(output.contains("the vault stays shut") && !output.contains("Passphrase of"), "{output}");
}

#[test]
fn agents_that_do_not_open_it_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut sue = set_up_with_fake(folder.path());
    let mut told = Vec::new();
    for (behaviour, words) in [
        (Behaviour::Refusing, "refused to sign"),
        (Behaviour::Locked, "does not hold the key"),
        (Behaviour::LockedMeanwhile, "does not hold the key"),
        (Behaviour::WrongKey, "does not verify"),
        (Behaviour::Randomised, "does not open its slot"),
        (Behaviour::CertificateOnly, "a certificate for the key"),
        (Behaviour::ForgedLength, "an answer that is none"),
        (Behaviour::ForgedCount, "an answer that is none"),
        (Behaviour::ForgedString, "an answer that is none"),
        (Behaviour::HangsUp, "did not answer"),
    ] {
        let agent = FakeAgent::start(folder.path(), &SEED, behaviour);
        sue.set("SSH_AUTH_SOCK", agent.path().display());
        let ran = sue.run(&["vault", "export"]).refused(&["the vault stays shut", words]);
        assert_eq!((ran.exit, ran.stdout.as_str()), (Some(1), ""), "{behaviour:?}: {ran}");
        told.push(format!("{behaviour:?}: {}", ran.stderr));
    }
    assert_ran!("agents", told.join("\n"));
    // A comment that is no UTF-8 is no fault.
    let agent = FakeAgent::start(folder.path(), &SEED, Behaviour::LatinComment);
    sue.set("SSH_AUTH_SOCK", agent.path().display());
    assert_eq!(held(&sue)["bootstrap"]["secret_access_key"], SECRET);
    sue.set("SSH_AUTH_SOCK", folder.path().join("nobody").display());
    sue.run(&["vault", "export"]).refused(&["there is no ssh-agent at"]);
}

#[test]
fn a_real_agent_that_is_locked_or_has_another_key_says_so_and_one_that_asks_is_heard() {
    let (mut sue, agent) = set_up();
    agent.add(&["-x"], "lock");
    sue.run(&["vault", "export"]).refused(&["does not hold the key", "or is locked", "ssh-add "]);
    agent.add(&["-X"], "lock");
    sue.run(&["vault", "export"]).success();
    // Also when the key is nowhere else.
    let elsewhere = tempfile::tempdir().unwrap();
    let file = sue.path(".ssh/id_ed25519");
    fs::rename(&file, elsewhere.path().join("key")).unwrap();
    sue.run(&["vault", "export"]).success();
    fs::rename(elsewhere.path().join("key"), &file).unwrap();
    let other = sue.key("other", &ED25519, PHRASE);
    let second = RealAgent::with(&other, PHRASE);
    sue.set("SSH_AUTH_SOCK", second.socket());
    sue.run(&["vault", "export"]).refused(&["does not hold the key"]);
    // The setting goes before the environment.
    let config = fs::read_to_string(sue.path(".config/sorry/config.toml")).unwrap();
    let named = format!("{config}ssh_auth_sock = \"{}\"\n", agent.socket());
    fs::write(sue.path(".config/sorry/config.toml"), named).unwrap();
    sue.run(&["vault", "export"]).success();
}

#[test]
fn keys_that_cannot_open_a_vault_are_refused_before_anything_is_written() {
    for (kind, phrase, words) in [
        (&["-t", "ed25519"] as &[&str], "", "has no passphrase"),
        (&["-t", "rsa", "-b", "2048"], PHRASE, "is RSA"),
        (&["-t", "ecdsa"], PHRASE, "is ECDSA"),
        (&["-t", "rsa", "-b", "2048", "-m", "PKCS8"], PHRASE, "PKCS#8"),
    ] {
        let server = Server::start(vec![identity(ARN)]);
        let mut sue = Person::new();
        let path = sue.key("id", kind, phrase);
        let agent = RealAgent::with(&path, phrase);
        sue.set("SSH_AUTH_SOCK", agent.socket());
        let sue = sue.facing(&server);
        let ran = sue
            .run(&[&ALL_SAID[..], &["--key", path.to_str().unwrap()]].concat())
            .refused(&[words, "hint: "]);
        assert!(!sue.vault().exists(), "{ran}");
        server.asked();
    }
    // Also when the agent has it and nobody named a file.
    let server = Server::start(vec![identity(ARN)]);
    let mut sue = Person::new();
    let agent = RealAgent::with(&sue.key("elsewhere", &ED25519, ""), "");
    sue.set("SSH_AUTH_SOCK", agent.socket());
    let sue = sue.facing(&server);
    sue.run(&ALL_SAID).refused(&["has no passphrase", "ssh-keygen -p -a 100 -f"]);
    assert!(!sue.vault().exists());
}

#[test]
fn agents_that_cannot_open_a_vault_again_are_not_enrolled() {
    let folder = tempfile::tempdir().unwrap();
    for (behaviour, words) in [
        (Behaviour::Randomised, "signs differently each time"),
        (Behaviour::WrongKey, "does not verify"),
        (Behaviour::Refusing, "refused to sign"),
        (Behaviour::CertificateOnly, "a certificate for the key"),
        (Behaviour::Locked, "no Ed25519 SSH key was found"),
        (Behaviour::ForgedLength, "an answer that is none"),
    ] {
        let server = Server::start(vec![identity(ARN)]);
        let agent = FakeAgent::start(folder.path(), &SEED, behaviour);
        let sue = Person::new().with("SSH_AUTH_SOCK", agent.path().display()).facing(&server);
        sue.run(&ALL_SAID).refused(&[words]);
        assert!(!sue.vault().exists(), "{behaviour:?}");
    }
}

#[test]
fn what_is_no_bootstrap_key_is_refused() {
    let run =
        |sue: &Person, words: &[&str], input: &str| sue.run_with(&[&ALL_SAID[..], words].concat(), input);
    let sue = Person::new();
    let stdin = |text: String| run(&sue, &["--stdin"], &text);
    stdin(format!("{{\"AccessKeyId\": \"ASIAEXAMPLEEXAMPLE12\", \"SecretAccessKey\": \"{SECRET}\"}}"))
        .refused(&["temporary credentials", "AKIA"]);
    stdin(format!("aws_access_key_id={KEY_ID}\naws_secret_access_key={SECRET}\naws_session_token=T\n"))
        .refused(&["temporary credentials"]);
    stdin("\u{3}\u{6a2}\u{6a2}".to_owned()).refused(&["no access key"]);
    stdin(String::new()).refused(&["no access key"]);
    run(&sue, &[], "").refused(&["no bootstrap key was found", "--stdin"]);
    run(&sue, &["--from-profile", "sue"], "").refused(&["profile `sue` holds no key"]);
    for (arn, words) in [
        ("arn:aws:iam::123456789012:root", "is that of `arn:aws:iam::123456789012:root`"),
        ("arn:aws:sts::123456789012:assumed-role/a/b", "a bootstrap key is that of an IAM user"),
    ] {
        let server = Server::start(vec![identity(arn)]);
        let sue = Person::new().facing(&server);
        sue.run(&ALL_SAID).refused(&[words]);
        assert!(!sue.vault().exists());
    }
    let refused = "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>";
    let server = Server::start(vec![answer("POST /", 403, refused)]);
    let sue = Person::new().facing(&server);
    sue.run(&ALL_SAID).refused(&["AWS does not know the key"]);
}

#[test]
fn slots_come_and_go_and_every_one_that_stays_must_answer() {
    let (mut sue, agent) = set_up();
    let add = ["vault", "add-passphrase", "--stdin"];
    for short in ["x\n", "fourteen chars\n", "äöüäöüäöüäöüäö\n", "\n"] {
        sue.run_with(&add, short).refused(&[
            "fewer than 15 characters",
            "NIST SP 800-63B",
            "--recovery-code",
        ]);
    }
    let typed = [
        ("New passphrase", "secret:short"),
        ("New passphrase", "secret:short, and again"),
        ("same again", "secret:no"),
    ];
    let last = [("New passphrase", "secret:short")];
    let seen = sue.at_terminal(&[&typed[..], &last].concat(), &["vault", "add-passphrase"]);
    assert!(seen["exit"] == 2 && seen.to_string().contains("the passphrases differ"), "{seen}");
    sue.run_with(&add, "open sesame, again\n").success();
    sue.run_with(&add, "x\n").refused(&["a slot `passphrase` already"]);
    let other = sue.key("desk", &ED25519, PHRASE);
    agent.add(&["-q", other.to_str().unwrap()], PHRASE);
    sue.run(&["vault", "add-key", "--key", other.to_str().unwrap()]).success();
    sue.run(&["vault", "add-key", "--key", other.to_str().unwrap(), "--label", "x"])
        .refused(&["has a slot already"]);
    let before = fs::read(sue.vault()).unwrap();

    sue.run(&["vault", "remove-key", "desk"])
        .refused(&["slot `passphrase` did not answer", "`sorry vault remove-key desk passphrase` goes on"]);
    sue.run(&["vault", "rekey", "--drop", "desk"]).refused(&[
        "slot `passphrase` did not answer",
        "`sorry vault rekey --drop desk --drop passphrase` goes",
    ]);
    sue.run_with(&["vault", "remove-key", "desk", "--stdin"], "open barley, again\n")
        .refused(&["does not open"]);
    sue.run(&["vault", "remove-key", "attic"]).refused(&["no slot `attic`"]);
    sue.run(&["vault", "remove-key", "desk", "passphrase", "id_ed25519"])
        .refused(&["nothing could open the vault"]);
    assert_eq!(fs::read(sue.vault()).unwrap(), before, "a refusal changes nothing");

    let ran = sue.run_with(&["vault", "remove-key", "desk", "--stdin"], "open sesame, again\n").success();
    assert!(
        ran.stderr.contains("`desk` no longer opens") && ran.stderr.contains("sorry vault rotate"),
        "{ran}"
    );
    agent.add(&["-q", "-d", sue.path(".ssh/id_ed25519.pub").to_str().unwrap()], "");
    sue.run(&["vault", "export"]).refused(&["does not hold the key"]); // the agent has `desk` still
    sue.set("SSH_AUTH_SOCK", "");
    let script = [
        ("Passphrase of the key", "secret:"),
        ("code of the vault (`passphrase`)", "secret:open sesame, again"),
    ];
    let script =
        [script[0], script[1], ("Passphrase or recovery code `passphrase`", "secret:open sesame, again")];
    let seen = sue.at_terminal(&script, &["vault", "rekey", "--drop", "id_ed25519"]);
    assert_eq!(seen["exit"], 0, "{seen}");
    let status: Value =
        serde_json::from_str(&sue.run(&["vault", "status", "--output", "json"]).success().stdout).unwrap();
    assert_eq!(status["slots"].as_array().unwrap().len(), 1, "{status}");
    assert!(status["written"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{status}");
}

#[test]
fn the_state_of_the_vault_is_plain_fields_for_programs() {
    let (sue, _agent) = set_up();
    let status: Value =
        serde_json::from_str(&sue.run(&["vault", "status", "--output", "json"]).success().stdout).unwrap();
    assert_eq!(status["key"]["access_key_id"], KEY_ID, "{status}");
    assert!(status["key"]["arn"].as_str().unwrap().starts_with("arn:aws:iam::"), "{status}");
    assert_eq!(status["rotation"], Value::Null);
}

#[test]
fn secrets_reach_a_terminal_only_when_asked_for() {
    let (sue, _agent) = set_up();
    let seen = |words: &[&str]| sue.at_terminal(&[], words);
    let refused = seen(&["vault", "export"]);
    assert_eq!(refused["exit"], 2, "{refused}");
    assert!(
        !refused.to_string().contains(SECRET) && refused.to_string().contains("--to-terminal"),
        "{refused}"
    );
    assert!(!seen(&["vault", "show"]).to_string().contains(SECRET));
    assert!(seen(&["vault", "show", "--decrypted"]).to_string().contains(SECRET));
    assert!(seen(&["vault", "export", "--to-terminal"]).to_string().contains(SECRET));
    let exported = sue.run(&["vault", "export"]).success();
    assert_eq!(
        exported.stdout,
        format!("[sue-mgr]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
    );
}

#[test]
fn another_key_is_imported_only_when_the_old_one_may_go() {
    let (mut sue, _agent) = set_up();
    let server = Server::start(vec![identity(ARN), identity(ARN)]);
    sue.set("AWS_ENDPOINT_URL", format!("http://{}", server.address));
    let other = format!("AKIAEXAMPLEEXAMPLE99\n{SECRET}9\n");
    sue.run_with(&["vault", "import", "--stdin"], &other).refused(&["holds the key", "--replace"]);
    assert_eq!(held(&sue)["bootstrap"]["access_key_id"], KEY_ID);
    let replaced = sue.run_with(&["vault", "import", "--stdin", "--replace"], &other).success();
    assert!(
        replaced.stderr.contains("may be valid at AWS still"),
        "whoever rotated it elsewhere deleted it: {replaced}"
    );
    assert_eq!(held(&sue)["bootstrap"]["access_key_id"], "AKIAEXAMPLEEXAMPLE99");
    server.asked();
    assert_eq!(sue.run(&["vault", "remove"]).refused(&["--yes"]).exit, Some(2));
    let no = sue.at_terminal(&[("Delete the vault?", "n")], &["vault", "remove"]);
    assert!(no["exit"] == 3 && no.to_string().contains("the vault stays"), "{no}");
    sue.run(&["vault", "remove", "--yes"]).success();
    assert!(!sue.vault().exists());
    sue.run(&["vault", "show"]).refused(&["there is no vault", "sorry setup"]);
}

#[test]
fn an_old_vault_opens_with_a_warning_and_is_not_written_unless_that_is_accepted() {
    let (sue, _agent) = set_up();
    let old = fs::read(sue.vault()).unwrap();
    sue.run(&["vault", "rekey"]).success();
    fs::write(sue.vault(), old).unwrap();
    let ran = sue.run(&["vault", "show"]).success();
    assert!(ran.stderr.contains("may be an old copy"), "{ran}");
    sue.run(&["vault", "rekey"]).refused(&["it is not written", "--accept-older"]);
    sue.run(&["vault", "rekey", "--accept-older"]).success();
    // A damaged one is told before anybody is asked.
    let mut bytes = fs::read(sue.vault()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(sue.vault(), bytes).unwrap();
    sue.run(&["vault", "show"]).refused(&["cannot be read"]);
}

#[test]
fn a_crash_of_setup_or_rekey_loses_nothing_and_both_can_be_run_again() {
    const KILLED: Option<i32> = Some(128 + 9);
    for (point, asked_before) in [
        ("setup-vault-written", 1),
        ("setup-config-written", 1),
        ("setup-rotated", 2),
        ("setup-plain-text", 2),
    ] {
        let again = vec![whoami(), whoami()];
        let script: Vec<Answer> = setup_script().into_iter().take(asked_before).chain(again).collect();
        let server = Server::start(script);
        let mut sue = Person::new();
        let agent = RealAgent::with(&sue.key("id_ed25519", &ED25519, PHRASE), PHRASE);
        sue.set("SSH_AUTH_SOCK", agent.socket());
        let mut sue = sue.facing(&server).with("SORRY_CRASH_AT", point);
        let ran = sue.run(&ALL_SAID);
        assert_eq!(killed(&ran), KILLED, "{point}: {ran}");
        sue.unset("SORRY_CRASH_AT");
        sue.run(&ALL_SAID).success();
        server.asked();
        assert_eq!(held(&sue)["bootstrap"]["secret_access_key"], SECRET, "{point}");
    }
    let (mut sue, _agent) = set_up();
    for point in ["rekey-sealed", "rekey-written"] {
        sue.set("SORRY_CRASH_AT", point);
        let ran = sue.run(&["vault", "rekey"]);
        assert_eq!(killed(&ran), KILLED, "{point}: {ran}");
        sue.unset("SORRY_CRASH_AT");
        assert_eq!(held(&sue)["bootstrap"]["secret_access_key"], SECRET, "{point}");
        sue.run(&["vault", "rekey"]).success();
    }
}

/// `setsid --wait` passes on how its child ended: as a signal of its own, or as shells count it.
fn killed(ran: &Ran) -> Option<i32> {
    ran.exit.or(Some(128 + 9))
}

#[test]
fn the_environment_of_a_running_sorry_is_closed_to_other_programs_of_the_same_user() {
    let folder = tempfile::tempdir().unwrap();
    // It waits for an agent that says nothing.
    let agent = FakeAgent::start(folder.path(), &SEED, Behaviour::Silent);
    let server = Server::start(vec![identity(ARN)]);
    let sue = Person::new().with("SSH_AUTH_SOCK", agent.path().display()).facing(&server);
    let mut command = Command::new(env!("CARGO_BIN_EXE_sorry"));
    command.args(ALL_SAID).env_clear().envs(sue.environment());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let process = Path::new("/proc").join(child.id().to_string());
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
    // The kernel gives the files of a process that is not dumpable to root; root itself can read them all the same.
    let limits = || fs::read_to_string(process.join("limits")).unwrap();
    let is_off = || {
        limits()
            .lines()
            .any(|line| line.starts_with("Max core file size") && line.split_whitespace().nth(4) == Some("0"))
    };
    while !is_off() {
        assert!(std::time::Instant::now() < limit, "core dumps stay on: {}", limits());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(owner(&process.join("environ")), 0);
    let _ = child.kill();
    let _ = child.wait();
}
