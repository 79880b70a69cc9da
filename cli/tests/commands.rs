//! Whole commands: what they print, how they exit, what they send and what they write.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]
#![allow(clippy::disallowed_methods, reason = "tests prepare files and settings for the program they start")]

mod scripted;

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use scripted::{Answer, Server, answer};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYCANARYKEY000";
const ID: &str = "7k3m9q2x4v8n1c5d";

/// A person's machine: a home with a bootstrap key, and the service's address.
struct Desk {
    home: TempDir,
    endpoint: String,
    variables: Vec<(String, String)>,
}

impl Desk {
    fn at(endpoint: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let keys = format!(
            "# mine\n[bootstrap]\naws_access_key_id = AKIAEXAMPLEEXAMPLE12\naws_secret_access_key = {SECRET}\n"
        );
        fs::write(home.path().join(".aws/credentials"), keys).unwrap();
        fs::set_permissions(home.path().join(".aws/credentials"), fs::Permissions::from_mode(0o600)).unwrap();
        Self { home, endpoint: endpoint.to_owned(), variables: Vec::new() }
    }

    fn facing(server: &Server) -> Self {
        Self::at(&format!("http://{}/v1", server.address))
            .with("AWS_ENDPOINT_URL", &format!("http://{}", server.address))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn credentials(&self) -> PathBuf {
        self.home.path().join(".aws/credentials")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sorry"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.home.path())
            .env("SORRY_ENDPOINT", &self.endpoint)
            .env("AWS_PROFILE", "bootstrap")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::from(self.command(words).output().unwrap())
    }

    /// At a terminal: questions and their answers, in order.
    fn at_terminal(&self, script: &[(&str, &str)], words: &[&str]) -> Value {
        let sorry = self.command(words);
        let mut python = Command::new("python3");
        python
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/person/terminal.py"))
            .arg(json!(script).to_string())
            .arg(sorry.get_program())
            .args(sorry.get_args())
            .env_clear()
            .envs(sorry.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("PATH", "/usr/bin:/bin");
        let done = python.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// How a command went.
struct Ran {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Self {
            exit: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains(SECRET),
            "a command printed its caller's key"
        );
        ran
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit {}\n--- stdout\n{}--- stderr\n{}", self.exit, self.stdout, self.stderr)
    }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

/// Snapshots without what differs from run to run.
macro_rules! assert_ran {
    ($ran:expr) => {
        insta::with_settings!({filters => vec![
            (r"\d+\.\d s after", "[time] s after"),
            (r"127\.0\.0\.1:\d+", "[SERVICE]"),
            (r"\((?:in )?\d+[hms][0-9hms]*(?: ago)?\)", "([DISTANCE])"),
            (r"/[^ `]*/\.tmp[A-Za-z0-9]+", "[HOME]"),
            // The column is as wide as the longest distance is today.
            (r"ENDS {2,}", "ENDS  "),
            // And this one as the folder for temporary files has it.
            (r"WHERE {2,}", "WHERE  "),
        ]}, { insta::assert_snapshot!($ran.to_string()) })
    };
}

fn session(state: &str) -> Value {
    session_called(ID, state)
}

fn session_called(id: &str, state: &str) -> Value {
    json!({
        "session_id": id, "state": state, "tier": "developer", "grant": "role", "namespace": "sue", "person": "sue",
        "caller": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "mfa": false,
        "requested_at": "2026-11-21T04:00:00Z", "expires_at": "2099-11-21T12:00:00Z",
        "role_name": format!("sorry-sue-developer-{}", &id[..8]),
    })
}

fn usable() -> Value {
    let mut session = session("ACTIVE");
    session["access"] = json!({
        "role_arn": format!("arn:aws:iam::123456789012:role/sorry/session/sue/sorry-sue-developer-{}", &ID[..8]),
        "external_id": "0123456789abcdef0123456789abcdef", "source_identity": ID, "role_session_name": "sue-mgr",
        "maximum_seconds": 28800,
    });
    session
}

fn refusal(code: &str, message: &str, hint: &str) -> Value {
    json!({"code": code, "message": message, "hint": hint, "request_id": "6f2b"})
}

const ASK: &str = "POST /v1/tiers/developer/sessions";
const EIGHT_HOURS: [&str; 5] = ["request", "--tier", "developer", "--hours", "8"];

/// What is looked at before anything is asked for.
fn tiers(mfa: bool) -> Answer {
    let tier = json!({"name": "developer", "description": "d", "grant": "role", "maximum_hours": 8, "your_hours": 8, "enabled": true,
        "mfa": mfa, "reason_required": false, "alert": false});
    answer("GET /v1/tiers", 200, json!({"tiers": [tier], "minimum_seconds": 900}))
}

fn whoami(arn: &str) -> Answer {
    let me = json!({"account": "123456789012", "unique_id": "AIDAX", "arn": arn, "administrator": false,
        "caller": {"unique_id": "AIDAX", "arn": arn, "person": "sue", "namespace": "sue", "tiers": {"developer": 8}, "projects": [],
            "roles": ["caller"], "registered_at": "2026-11-21T04:00:00Z", "registered_by": "admin"}});
    answer("GET /v1/whoami", 200, me)
}

const USER: &str = "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr";

/// A profile that holds a session.
fn profile(name: &str, id: &str) -> String {
    format!(
        "[{name}]\naws_access_key_id = ASIALENTLENTLENT1234\naws_secret_access_key = S\naws_session_token = T\nsorry_session = {id}\n"
    )
}

fn get() -> String {
    format!("GET /v1/sessions/{ID}")
}

#[test]
fn every_command_explains_itself() {
    let desk = Desk::at("");
    for (name, words) in [
        ("sorry", vec![]),
        ("setup", vec!["setup"]),
        ("request", vec!["request"]),
        ("list", vec!["list"]),
        ("status", vec!["status"]),
        ("renew", vec!["renew"]),
        ("extend", vec!["extend"]),
        ("revoke", vec!["revoke"]),
        ("approve", vec!["approve"]),
        ("deny", vec!["deny"]),
        ("review", vec!["review"]),
        ("exec", vec!["exec"]),
        ("env", vec!["env"]),
        ("console", vec!["console"]),
        ("credential_process", vec!["credential-process"]),
        ("tiers", vec!["tiers"]),
        ("tiers_show", vec!["tiers", "show"]),
        ("whoami", vec!["whoami"]),
        ("admin", vec!["admin"]),
        ("admin_callers", vec!["admin", "callers"]),
        ("admin_callers_add", vec!["admin", "callers", "add"]),
        ("admin_callers_list", vec!["admin", "callers", "list"]),
        ("admin_callers_suspend", vec!["admin", "callers", "suspend"]),
        ("admin_callers_resume", vec!["admin", "callers", "resume"]),
        ("admin_callers_remove", vec!["admin", "callers", "remove"]),
        ("admin_tiers", vec!["admin", "tiers"]),
        ("admin_tiers_validate", vec!["admin", "tiers", "validate"]),
        ("admin_tiers_diff", vec!["admin", "tiers", "diff"]),
        ("admin_tiers_publish", vec!["admin", "tiers", "publish"]),
        ("admin_sweep", vec!["admin", "sweep"]),
        ("admin_audit", vec!["admin", "audit"]),
        ("admin_audit_verify", vec!["admin", "audit", "verify"]),
        ("profiles", vec!["profiles"]),
        ("profiles_list", vec!["profiles", "list"]),
        ("profiles_check", vec!["profiles", "check"]),
        ("profiles_fix", vec!["profiles", "fix"]),
        ("profiles_reset", vec!["profiles", "reset"]),
        ("vault", vec!["vault"]),
        ("vault_status", vec!["vault", "status"]),
        ("vault_add_key", vec!["vault", "add-key"]),
        ("vault_add_passphrase", vec!["vault", "add-passphrase"]),
        ("vault_remove_key", vec!["vault", "remove-key"]),
        ("vault_rekey", vec!["vault", "rekey"]),
        ("vault_import", vec!["vault", "import"]),
        ("vault_show", vec!["vault", "show"]),
        ("vault_export", vec!["vault", "export"]),
        ("vault_rotate", vec!["vault", "rotate"]),
        ("vault_remove", vec!["vault", "remove"]),
        ("doctor", vec!["doctor"]),
        ("completions", vec!["completions"]),
    ] {
        let ran = desk.run(&[words, vec!["--help"]].concat());
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{name}");
        insta::assert_snapshot!(format!("help_{name}"), ran.stdout);
    }
}

#[test]
fn words_that_are_not_a_command_line_exit_2() {
    let desk = Desk::at("http://127.0.0.1:1/v1");
    for words in [
        &["request"] as &[&str],
        &["request", "--tier", "developer"],
        &["request", "--tier", "developer", "--hours", "1.5"],
        &["request", "--tier", "developer", "--for", "90"],
        &["request", "--tier", "Developer!", "--hours", "1"],
        &["request", "--tier", "developer", "--hours", "1", "--profile", "a b"],
        &["list", "--status", "gone"],
        &["admin", "sweep", "--confirm", "0123"],
        &["admin", "callers", "add", "sue-mgr", "--tier", "developer"],
        &["status", "not-an-id"],
        &["nonsense"],
    ] {
        let ran = desk.run(words);
        assert_eq!(ran.exit, 2, "{words:?}: {ran}");
        assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{words:?}: {ran}");
    }
}

#[test]
fn a_refusal_is_told_in_the_services_words_with_its_code_and_exit_code() {
    for (words, code, status, message, hint, sent, exit) in [
        (
            &["--hours", "9"],
            "WindowTooLong",
            403,
            "`9h` is longer than tier `developer` allows you",
            "ask for 8h or less",
            32_400,
            3,
        ),
        (
            &["--hours", "0"],
            "WindowTooShort",
            400,
            "`0s` is shorter than this deployment allows",
            "ask for 15m or more",
            0,
            2,
        ),
        (
            &["--for", "90m"],
            "UnknownTier",
            404,
            "there is no tier `developer`",
            "there are `read-only`",
            5400,
            4,
        ),
        (
            &["--hours", "1"],
            "ReasonUnusable",
            400,
            "the reason is too short",
            "10 characters or more",
            3600,
            2,
        ),
        (&["--hours", "1"], "UnknownCaller", 403, "nobody knows you", "ask to be registered", 3600, 3),
        (&["--hours", "1"], "IdempotencyConflict", 409, "another request has this key", "", 3600, 1),
        (
            &["--hours", "1"],
            "NoSubscriber",
            503,
            "nobody would hear the alert",
            "subscribe somebody",
            3600,
            1,
        ),
        (&["--hours", "1"], "Internal", 500, "a fault of the service", "", 3600, 70),
    ] {
        let server = Server::start(vec![tiers(false), answer(ASK, status, refusal(code, message, hint))]);
        let desk = Desk::facing(&server);
        let before = fs::read(desk.credentials()).unwrap();
        let ran = desk.run(&[&["request", "--tier", "developer"], &words[..]].concat());
        let hint = if hint.is_empty() { String::new() } else { format!("hint: {hint}\n") };
        assert_eq!(ran.stderr, format!("error: {message}\n{hint}code: {code} (request 6f2b)\n"));
        assert_eq!((ran.exit, ran.stdout.as_str()), (exit, ""), "{code}");
        let asked: Value = serde_json::from_str(&server.asked()[1].body).unwrap();
        assert_eq!(asked["duration_seconds"], sent);
        assert_eq!(fs::read(desk.credentials()).unwrap(), before);
    }
}

#[test]
fn what_the_gateway_refuses_by_itself_says_what_to_do() {
    let arn = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: execute-api:Invoke on resource: \
               arn:aws:execute-api:us-east-1:********9012:abc/v1";
    for (name, body, exit) in [
        ("wrong_endpoint", json!({"message": "Missing Authentication Token"}), 5),
        ("not_let_in", json!({"Message": format!("{arn}/GET/whoami")}), 3),
        ("denied", json!({"Message": format!("{arn}/GET/whoami with an explicit deny")}), 3),
        ("administration", json!({"Message": format!("{arn}/GET/admin/callers with an explicit deny")}), 3),
        ("unknown_key", json!({"message": "The security token included in the request is invalid."}), 3),
        (
            "clock",
            json!({"message": "Signature expired: 20261121T040000Z is now earlier than 20261121T041500Z"}),
            1,
        ),
        // As this deployment's own gateway words it.
        (
            "dressed",
            json!({"code": "NotAllowed", "message": format!("{arn}/GET/whoami"), "hint": "x", "request_id": "y"}),
            3,
        ),
        ("no_json", Value::Null, 1),
    ] {
        let server = Server::start(vec![answer("GET /v1/whoami", 403, body)]);
        let ran = Desk::facing(&server).run(&["whoami"]);
        assert_eq!(ran.exit, exit, "{name}: {ran}");
        server.asked();
        insta::assert_snapshot!(format!("gateway_{name}"), ran.stderr);
    }
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let desk = Desk::at("https://a.example/v1").with("AWS_PROFILE", "nope");
    let ran = desk.run(&["whoami"]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(ran.stderr.contains("there is no profile `nope`, which `AWS_PROFILE` names"), "{ran}");
}

#[test]
fn a_command_for_codes_that_fails_is_named_by_where_it_stands() {
    let app = "arn:aws:iam::123456789012:mfa/sue";
    let server = Server::start(vec![mfa_devices(&[app]), mfa_devices(&[app])]);
    let ran = Desk::facing(&server).with("SORRY_MFA_PROCESS", "exit 1").run(&["approve", ID]);
    server.asked();
    assert!(ran.stderr.contains("it stands in `SORRY_MFA_PROCESS`"), "{ran}");
}

#[test]
fn an_approval_that_was_given_before_does_not_say_that_the_window_begins_now() {
    let app = "arn:aws:iam::123456789012:mfa/sue";
    let mut active = session("ACTIVE");
    active["activated_at"] = json!("2026-11-21T04:00:10Z");
    let server = Server::start(vec![
        mfa_devices(&[app]),
        mfa_devices(&[app]),
        sts_session(),
        answer(&format!("POST /v1/sessions/{ID}/decision"), 200, active),
    ]);
    let ran = Desk::facing(&server).run(&["approve", ID, "--mfa-code", "123456"]);
    server.asked();
    assert_eq!(ran.exit, 0, "{ran}");
    assert!(ran.stderr.contains("its window runs since 2026-11-21 04:00:10 UTC"), "{ran}");
}

#[test]
fn a_time_that_is_none_is_refused_before_the_audit_is_asked() {
    let desk = Desk::at("https://a.example/v1");
    let ran = desk.run(&["admin", "audit", "--from", "2027-01-01", "--to", "2026-01-01"]);
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(ran.stderr.contains("is not before `--to`"), "{ran}");

    for (words, said) in [
        (&[][..], "no records; without `--from` these are those of the last day"),
        (&["--from", "2026-01-01"][..], "no records\n"),
        (&["--session", ID][..], "no records\n"),
    ] {
        let line = if words.is_empty() { "GET /v1/audit" } else { "GET /v1/audit?*" };
        let server = Server::start(vec![answer(line, 200, json!({"records": []}))]);
        let ran = Desk::facing(&server).run(&[&["admin", "audit"], words].concat());
        server.asked();
        assert!(ran.exit == 0 && ran.stderr.contains(said), "{words:?}: {ran}");
    }
}

#[test]
fn programs_are_told_the_profile_of_a_session_as_people_are() {
    let ours = format!(
        "[sue-developer]\naws_access_key_id = ASIAEXAMPLEEXAMPLE12\naws_secret_access_key = {SECRET}\naws_session_token = T\n\
         sorry_session = {ID}\n"
    );
    let server = Server::start(vec![
        answer("GET /v1/sessions?scope=mine", 200, json!({"sessions": [session("ACTIVE")]})),
        answer(&get(), 200, usable()),
    ]);
    let desk = Desk::facing(&server);
    let mine = fs::read_to_string(desk.credentials()).unwrap();
    fs::write(desk.credentials(), format!("{mine}{ours}")).unwrap();
    assert_eq!(desk.run(&["list", "--output", "json"]).json()["sessions"][0]["profile"], "sue-developer");
    let status = desk.run(&["status", ID, "--output", "json"]).json();
    server.asked();
    assert_eq!(status["profile"], "sue-developer", "{status}");
    assert!(status["access"]["external_id"].is_string(), "for its owner: {status}");
}

#[test]
fn the_key_of_a_session_is_recognised_when_it_is_refused() {
    let server = Server::start(vec![answer(
        "GET /v1/whoami",
        403,
        refusal("UnknownCaller", "nobody knows you", "ask"),
    )]);
    let desk = Desk::facing(&server).with("AWS_PROFILE", "sue-developer");
    let ours = format!(
        "[sue-developer]\naws_access_key_id = ASIAEXAMPLEEXAMPLE12\naws_secret_access_key = {SECRET}\naws_session_token = T\n\
         sorry_session = {ID}\n"
    );
    fs::write(desk.credentials(), ours).unwrap();
    let ran = desk.run(&["whoami"]);
    assert_eq!(ran.exit, 3);
    assert!(ran.stderr.contains("that of a session (profile `sue-developer`)"), "{ran}");
}

#[test]
fn an_id_may_be_shortened_unless_it_fits_several() {
    let page = |ids: [&str; 2], cursor: Option<&str>| json!({"sessions": ids.map(|id| session_called(id, "ACTIVE")), "cursor": cursor});
    let pages = || {
        vec![
            answer(
                "GET /v1/sessions?scope=mine",
                200,
                page(["7k3m9q2x4v8n1c5d", "0c9d000000000000"], Some("a+/=")),
            ),
            answer(
                "GET /v1/sessions?scope=mine&cursor=a%2B%2F%3D",
                200,
                page(["7k3zzzzzzzzzzzzz", "1111111111111111"], None),
            ),
        ]
    };
    let server = Server::start(pages());
    let ambiguous = Desk::facing(&server).run(&["status", "7k3"]);
    server.asked();
    assert_ran!(ambiguous);

    let server = Server::start(pages());
    let none = Desk::facing(&server).run(&["status", "8"]);
    assert_eq!(none.exit, 4, "{none}");

    let server = Server::start([pages(), vec![answer(&get(), 200, session("ACTIVE"))]].concat_answers());
    let found = Desk::facing(&server).run(&["status", "7K3M", "--output", "json"]);
    assert_eq!((found.exit, &found.json()["session_id"]), (0, &json!(ID)));

    let server = Server::start(vec![answer(
        &get(),
        404,
        refusal("SessionNotFound", "there is no session", "see `sorry list`"),
    )]);
    assert_eq!(Desk::facing(&server).run(&["status", ID]).exit, 4, "whole ids are the service's to know");
    server.asked();
}

trait Concat {
    fn concat_answers(self) -> Vec<Answer>;
}

impl Concat for [Vec<Answer>; 2] {
    fn concat_answers(self) -> Vec<Answer> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn what_may_pass_is_sent_again_with_the_same_body_and_a_signature_of_its_own() {
    let server = Server::start(vec![
        tiers(false),
        answer(ASK, 503, "Service Unavailable"),
        answer(ASK, 429, refusal("Throttled", "slow down", "")),
        answer(ASK, 202, session("REQUESTED")),
    ]);
    let ran = Desk::facing(&server).run(&[&EIGHT_HOURS[..], &["--no-wait", "--output", "json"]].concat());
    assert_eq!(ran.exit, 0, "{ran}");
    let asked = &server.asked()[1..];
    assert!(
        asked.iter().all(|again| again.body == asked[0].body && !again.header("authorization").is_empty())
    );
    assert!(asked[0].header("authorization").contains("/us-east-1/execute-api/aws4_request"));
    assert_eq!((&ran.json()["state"], &ran.json()["profile"]), (&json!("REQUESTED"), &Value::Null));
}

#[test]
fn nobody_there_is_exit_5() {
    // Not one that was free a moment ago: another test may have it by now.
    let closed = "127.0.0.1:1";
    let ran = Desk::at(&format!("http://{closed}/v1")).run(&["whoami"]);
    assert_eq!(ran.exit, 5, "{ran}");
    assert!(ran.stderr.starts_with(&format!("error: cannot reach `http://{closed}/v1`: ")), "{ran}");
}

#[test]
fn missing_settings_say_where_they_belong() {
    assert_ran!(Desk::at("").run(&["whoami"]));
    assert_ran!(Desk::at("http://service.example/v1").run(&["whoami"]));
    let no_key = Desk::at("http://127.0.0.1:1/v1").with("AWS_PROFILE", "nobody").run(&["whoami"]);
    assert!((1..=2).contains(&no_key.exit) && no_key.stderr.contains("hint: "), "{no_key}");
}

#[test]
fn a_session_that_fails_is_an_error_with_its_reason() {
    let mut failed = session("FAILED");
    failed["end"] = json!({
        "cause": "failed", "by": "clean-up", "at": "2026-11-21T04:00:05Z",
        "failure": {"code": "NoSubscriber", "message": "nobody has subscribed to the alerts"},
    });
    let server = Server::start(vec![
        tiers(false),
        answer(ASK, 202, session("REQUESTED")),
        answer(&get(), 200, session("PROVISIONING")),
        answer(&get(), 200, failed),
    ]);
    let desk = Desk::facing(&server);
    let before = fs::read(desk.credentials()).unwrap();
    let ran = desk.run(&EIGHT_HOURS);
    server.asked();
    assert_eq!(fs::read(desk.credentials()).unwrap(), before);
    assert_ran!(ran);
}

fn sts_refusal() -> Answer {
    answer(
        "POST /",
        403,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
         <Message>User: arn:aws:iam::123456789012:user/sorry/caller/sue-mgr is not authorized to perform: sts:AssumeRole on \
         resource: x</Message></Error><RequestId>r</RequestId></ErrorResponse>",
    )
}

fn sts_lends(operation: &str) -> Answer {
    answer(
        "POST /",
        200,
        format!(
            "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result><Credentials>\
             <AccessKeyId>ASIALENTLENTLENT1234</AccessKeyId><SecretAccessKey>LentSecretLentSecretLentSecret</SecretAccessKey>\
             <SessionToken>LentTokenLentToken</SessionToken><Expiration>2098-01-01T00:00:00Z</Expiration></Credentials>\
             </{operation}Result></{operation}Response>"
        ),
    )
}

fn sts_credentials() -> Answer {
    sts_lends("AssumeRole")
}

/// Temporary credentials with MFA.
fn sts_session() -> Answer {
    sts_lends("GetSessionToken")
}

/// What IAM lists of its user's MFA devices.
fn mfa_devices(serials: &[&str]) -> Answer {
    let device = |serial: &&str| {
        format!(
            "<member><UserName>sue-mgr</UserName><SerialNumber>{serial}</SerialNumber>\
             <EnableDate>2026-11-21T04:00:00Z</EnableDate></member>"
        )
    };
    let devices: String = serials.iter().map(device).collect();
    let list = format!("<IsTruncated>false</IsTruncated><MFADevices>{devices}</MFADevices>");
    answer("POST /", 200, xml("ListMFADevices", &list))
}

/// A session of a tier that asks for MFA, whose role is old enough for a code.
fn usable_with_mfa() -> Value {
    let mut session = usable();
    session["mfa"] = json!(true);
    session["activated_at"] =
        json!((jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string());
    session
}

/// The local AWS knows a new role at once; AWS needs up to half a minute.
#[test]
fn a_role_that_aws_does_not_know_yet_is_waited_for_and_success_is_said_after_the_profile_is_written() {
    let server = Server::start(vec![
        tiers(false),
        answer(ASK, 202, session("REQUESTED")),
        answer(&get(), 200, usable()),
        sts_refusal(),
        sts_credentials(),
    ]);
    let desk = Desk::facing(&server).with("AWS_ACCESS_KEY_ID", "");
    let ran = desk.run(&EIGHT_HOURS);
    let asked = server.asked();
    assert_eq!(ran.exit, 0, "{ran}");
    let assumed = &asked[4].body;
    for argument in [
        "DurationSeconds=28800",
        "ExternalId=0123456789abcdef0123456789abcdef",
        &format!("SourceIdentity={ID}"),
        "RoleSessionName=sue-mgr",
    ] {
        assert!(assumed.contains(argument), "{argument}: {assumed}");
    }
    let written = fs::read_to_string(desk.credentials()).unwrap();
    assert!(written.starts_with("# mine\n[bootstrap]\n"), "{written}");
    assert!(written.contains("[sue-developer]") && written.contains("ASIALENTLENTLENT1234"), "{written}");
    assert!(written.contains(&format!("sorry_session = {ID}")), "{written}");
    assert_eq!(fs::metadata(desk.credentials()).unwrap().permissions().mode() & 0o777, 0o600);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!said.contains("LentSecret") && !said.contains("LentToken"), "{said}");
    assert_ran!(ran);
}

#[test]
fn an_explicit_deny_of_the_role_is_not_waited_for() {
    let mut denied = sts_refusal();
    denied.body =
        denied.body.replace("resource: x", "resource: x with an explicit deny in an identity-based policy");
    let server = Server::start(vec![answer(&get(), 200, usable()), denied]);
    let desk = Desk::facing(&server);
    let before = fs::read(desk.credentials()).unwrap();
    let ran = desk.run(&["renew", ID]);
    server.asked();
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(ran.stderr.contains(&format!("`sorry renew {ID}`")), "{ran}");
    assert_eq!(fs::read(desk.credentials()).unwrap(), before);
}

#[test]
fn somebody_elses_profile_is_refused_before_a_session_is_asked_for() {
    let server = Server::start(Vec::new());
    let ran = Desk::facing(&server).run(&[&EIGHT_HOURS[..], &["--profile", "bootstrap"]].concat());
    assert!(server.asked().is_empty());
    assert_ran!(ran);
}

/// A session, and a code, would be spent on credentials that have no place.
#[test]
fn files_that_cannot_be_written_are_found_before_a_session_is_asked_for() {
    let server = Server::start(Vec::new());
    let desk = Desk::facing(&server);
    let mine = fs::read_to_string(desk.credentials()).unwrap();
    fs::write(desk.credentials(), format!("{mine}{}no such line\n", profile("sue-developer", ID))).unwrap();
    let ran = desk.run(&[&EIGHT_HOURS[..], &["--profile", "sue-developer"]].concat());
    assert!(server.asked().is_empty() && ran.exit == 1 && ran.stderr.contains("line 10"), "{ran}");

    // Named by nobody, it is found by the namespace.
    let me = json!({"account": "123456789012", "unique_id": "AIDAX", "arn": USER, "administrator": false,
        "caller": {"unique_id": "AIDAX", "arn": USER, "person": "sue", "namespace": "sue", "tiers": {"developer": 8}, "projects": [],
            "roles": ["caller"], "registered_at": "2026-11-21T04:00:00Z", "registered_by": "admin"}});
    let server = Server::start(vec![answer("GET /v1/whoami", 200, me)]);
    let desk = Desk { endpoint: format!("http://{}/v1", server.address), ..desk }
        .with("AWS_ENDPOINT_URL", &format!("http://{}", server.address));
    let desk = desk.with("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE12").with("AWS_SECRET_ACCESS_KEY", SECRET);
    let ran = desk.run(&EIGHT_HOURS);
    assert!(ran.exit == 1 && ran.stderr.contains("line 10"), "{ran}");
    assert_eq!(server.asked().len(), 1);

    // A folder that others may write to, so that nothing is written there.
    let server = Server::start(vec![tiers(false)]);
    let desk = Desk::facing(&server);
    fs::set_permissions(desk.home.path().join(".aws"), fs::Permissions::from_mode(0o777)).unwrap();
    let ran = desk.run(&EIGHT_HOURS);
    server.asked();
    assert!(ran.exit == 1 && ran.stderr.contains(".aws"), "{ran}");
}

#[test]
fn revoked_is_said_when_nothing_is_left_and_the_profile_goes() {
    let delete = format!("DELETE /v1/sessions/{ID}");
    let mut active_once = session("REVOKING");
    active_once["activated_at"] = json!("2026-11-21T04:00:10Z");
    // The credentials in the profile are tried before and after.
    let topics = "GET /?*";
    let denied = "<Code>AuthorizationError</Code><Message>… with an explicit deny in an identity-based policy</Message>";
    let server = Server::start(vec![
        answer(topics, 200, "<ListTopicsResponse/>"),
        answer(&delete, 202, active_once.clone()),
        answer(topics, 403, denied),
        answer(&get(), 200, active_once),
        answer(&get(), 200, session("REVOKED")),
    ]);
    let desk = Desk::facing(&server);
    let mine = fs::read_to_string(desk.credentials()).unwrap();
    let other = profile("sue-read-only", "0c9d000000000000");
    fs::write(desk.credentials(), format!("{mine}{other}{}", profile("sue-developer", ID))).unwrap();
    let ran = desk.run(&["revoke", ID]);
    server.asked();
    let left = fs::read_to_string(desk.credentials()).unwrap();
    assert!(left.starts_with(&format!("{mine}{other}")) && !left.contains("sue-developer"), "{left}");
    assert_ran!(ran);
}

#[test]
fn of_several_revocations_all_are_tried_and_the_worst_decides() {
    let (gone, stuck) = ("0c9d000000000000", "1111111111111111");
    let mut left = session_called(stuck, "CLEAN_UP_FAILED");
    left["end"] = json!({
        "cause": "revoked", "by": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "at": "2026-11-21T04:00:05Z",
        "failure": {"code": "PolicyRefused", "message": "AWS refused DeleteRole"},
    });
    let server = Server::start(vec![
        answer(
            &format!("DELETE /v1/sessions/{gone}"),
            404,
            refusal("SessionNotFound", "there is no session", "see `sorry list`"),
        ),
        answer(&format!("DELETE /v1/sessions/{stuck}"), 202, session_called(stuck, "REVOKING")),
        answer(&format!("DELETE /v1/sessions/{ID}"), 202, session("REVOKED")),
        answer(&format!("GET /v1/sessions/{stuck}"), 200, left),
    ]);
    let ran = Desk::facing(&server).run(&["revoke", gone, stuck, ID]);
    server.asked();
    assert_ran!(ran);
}

#[test]
fn nothing_to_revoke_is_no_failure() {
    let server = Server::start(vec![answer(
        "GET /v1/sessions?scope=mine",
        200,
        json!({"sessions": [session("EXPIRED")]}),
    )]);
    let ran = Desk::facing(&server).run(&["revoke", "--all"]);
    assert_eq!((ran.exit, ran.stdout.as_str()), (0, ""), "{ran}");
}

#[test]
fn lists_show_whole_ids_and_where_the_credentials_are() {
    let mut revoked = session_called("0c9d000000000000", "REVOKED");
    revoked["ended_at"] = json!("2026-11-21T05:06:07Z");
    let list = json!({"sessions": [session("ACTIVE"), revoked]});
    let server = Server::start(vec![answer("GET /v1/sessions?scope=mine", 200, &list)]);
    assert_ran!(Desk::facing(&server).run(&["list"]));
    let server = Server::start(vec![answer("GET /v1/sessions?scope=namespace", 200, &list)]);
    let ran = Desk::facing(&server).run(&["list", "--namespace", "--status", "active", "--output", "json"]);
    assert_eq!(ran.json()["sessions"].as_array().unwrap().len(), 1);
    // That nothing fits a filter does not mean that nothing is there.
    for (sessions, said) in
        [(list, "none of the sessions is in that state"), (json!({"sessions": []}), "nobody has a session")]
    {
        let server = Server::start(vec![answer("GET /v1/sessions?scope=everybody", 200, &sessions)]);
        let ran = Desk::facing(&server).run(&["list", "--everybody", "--status", "clean-up-failed"]);
        assert!(ran.exit == 0 && ran.stdout.is_empty() && ran.stderr.contains(said), "{ran}");
    }
}

/// A folder with one tier of its own.
fn tier_folder(boundary: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let table = format!(
        "version = 1\n\n[tiers.look]\ndescription = \"look\"\ngrant = \"role\"\nmaximum_hours = 2\nmfa = true\ntemplate = \"look.json\"\nboundary = \"{boundary}\"\n"
    );
    fs::write(folder.path().join("tiers.toml"), table).unwrap();
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Sid":"Look","Effect":"Allow","Action":"s3:GetObject","Resource":"arn:${partition}:s3:::${namespace}-*/*"}]}"#;
    fs::write(folder.path().join("look.json"), policy).unwrap();
    folder
}

#[test]
fn tiers_are_looked_over_without_the_service() {
    let (good, bad) = (tier_folder("read-only"), tier_folder("none"));
    let desk = Desk::at("http://127.0.0.1:9/v1");
    let validate =
        |folder: &TempDir| desk.run(&["admin", "tiers", "validate", folder.path().to_str().unwrap()]);
    assert_ran!(validate(&good));
    assert_ran!(validate(&bad));
    let mistaken = tier_folder("read-only");
    let policy = fs::read_to_string(mistaken.path().join("look.json")).unwrap();
    fs::write(mistaken.path().join("look.json"), policy.replace("s3:GetObject", "s3:GetObjekt")).unwrap();
    let warned = validate(&mistaken);
    assert_eq!(warned.exit, 0, "{warned}");
    assert!(warned.stderr.contains("`s3:GetObjekt` in `look.json` is no action"), "{warned}");
    let outside = tier_folder("read-only");
    let table = fs::read_to_string(outside.path().join("tiers.toml")).unwrap();
    fs::write(outside.path().join("tiers.toml"), table.replace("look.json", "../look.json")).unwrap();
    let refused = validate(&outside);
    assert_eq!(refused.exit, 2, "{refused}");
    assert!(refused.stderr.contains("`../look.json`"), "{refused}");
    fs::remove_file(good.path().join("look.json")).unwrap();
    let missing = validate(&good);
    assert_eq!(missing.exit, 2, "{missing}");
}

#[test]
fn tiers_are_published_when_they_were_shown_and_agreed_to() {
    let folder = tier_folder("read-only");
    let path = folder.path().to_str().unwrap();
    let before = json!({"digest": "0123", "tiers": "version = 1\n\n[tiers]\n"});
    let after = json!({"digest": "4567", "published_at": "2026-11-21T04:00:00Z", "published_by": "arn:aws:iam::123456789012:user/ann"});
    let server = Server::start(vec![
        answer("GET /v1/admin/tiers", 200, &before),
        answer("GET /v1/admin/tiers", 200, &before),
        answer("GET /v1/admin/tiers", 200, &before),
        answer("PUT /v1/admin/tiers", 200, &after),
    ]);
    let desk = Desk::facing(&server);
    assert_ran!(desk.run(&["admin", "tiers", "diff", path]));
    let asked = desk.run(&["admin", "tiers", "publish", path]);
    assert_eq!(asked.exit, 2, "{asked}");
    assert!(asked.stderr.contains("nothing was published") && asked.stderr.contains("--yes"), "{asked}");
    assert_ran!(desk.run(&["admin", "tiers", "publish", path, "--yes"]));
    let sent: Value = serde_json::from_str(&server.asked()[3].body).unwrap();
    assert_eq!(sent["replaces"], "0123", "what was shown, and nothing else, is replaced");
    assert_eq!(sent["templates"].as_object().unwrap().len(), 1);
}

#[test]
fn a_dry_run_shows_the_decision_and_the_documents_and_changes_nothing_here() {
    let deny = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
    let found = json!({
        "decision": "grant", "rule": "you are registered for tier `developer` for up to 8h, and the tier allows 8h",
        "tier": "developer", "grant": "role", "namespace": "sue", "person": "sue",
        "caller": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "duration_seconds": 28800,
        "expires_at": "2099-11-21T12:00:00Z", "mfa": true, "approvals": 0, "alert": true, "alert_subscribers": 0,
        "policy_digest": "0123abcd",
        "role": {
            "name": "sorry-sue-developer-<first 8 of session>", "path": "/sorry/session/sue/",
            "boundary": "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-developer",
            "maximum_seconds": 28800, "tags": {"sorry:session": "<session>"},
            "trust_policy": {"Version": "2012-10-17", "Statement": []},
            "access_policy": {"Version": "2012-10-17", "Statement": [deny]},
        },
    });
    let server =
        Server::start(vec![tiers(false), answer(ASK, 200, &found), tiers(false), answer(ASK, 200, &found)]);
    let desk = Desk::facing(&server);
    let before = fs::read(desk.credentials()).unwrap();
    let ran = desk.run(&[&EIGHT_HOURS[..], &["--dry-run"]].concat());
    assert_ran!(ran);
    let json = desk.run(&[&EIGHT_HOURS[..], &["--dry-run", "--output", "json", "--quiet"]].concat());
    assert_eq!((json.json(), json.stderr.as_str()), (found, ""));
    let asked = server.asked();
    for asked in [&asked[1], &asked[3]] {
        assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap()["dry_run"], true);
    }
    assert_eq!(fs::read(desk.credentials()).unwrap(), before);
}

#[test]
fn tiers_say_what_is_the_callers() {
    let tier = |name: &str, yours: Option<u32>, enabled: bool| {
        json!({"name": name, "description": format!("about {name}"), "grant": "role", "maximum_hours": 8, "your_hours": yours,
            "enabled": enabled, "mfa": true, "reason_required": name == "admin", "alert": false})
    };
    let list = json!({"tiers": [tier("admin", None, false), tier("developer", Some(4), true)], "minimum_seconds": 900});
    let server = Server::start(vec![answer("GET /v1/tiers", 200, list)]);
    assert_ran!(Desk::facing(&server).run(&["tiers"]));
    let server =
        Server::start(vec![answer("GET /v1/tiers/developer", 200, tier("developer", Some(4), true))]);
    assert_ran!(Desk::facing(&server).run(&["tiers", "show", "developer"]));
    let mut rendered = tier("developer", Some(4), true);
    rendered["rendered"] = json!({
        "namespace": "sue", "project": "atlas", "policy": {"Version": "2012-10-17", "Statement": []},
        "boundary": "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-developer", "policy_digest": "0123",
    });
    let server =
        Server::start(vec![answer("GET /v1/tiers/developer?rendered=true&project=atlas", 200, rendered)]);
    let words = ["tiers", "show", "developer", "--rendered", "--project", "atlas"];
    assert_ran!(Desk::facing(&server).run(&words));
}

#[test]
fn quiet_prints_data_and_errors_alone() {
    let server = Server::start(vec![tiers(false), answer(ASK, 202, session("REQUESTED"))]);
    let ran = Desk::facing(&server).run(&[&EIGHT_HOURS[..], &["--no-wait", "--quiet"]].concat());
    assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{ran}");
    assert!(ran.stdout.contains(ID));
}

#[test]
fn the_doctor_looks_at_clock_and_key_and_files() {
    let mut knock = answer("GET /v1/whoami", 403, json!({"message": "Missing Authentication Token"}));
    knock.headers.push(("date".to_owned(), "Sat, 21 Nov 2020 04:00:00 GMT".to_owned()));
    let identity = answer(
        "POST /",
        200,
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::123456789012:user/sorry/caller/sue-mgr</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>",
    );
    let me = json!({"account": "123456789012", "unique_id": "AIDAX", "arn": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr",
        "administrator": false});
    let server = Server::start(vec![knock, identity, answer("GET /v1/whoami", 200, me)]);
    let desk = Desk::facing(&server);
    fs::set_permissions(desk.credentials(), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = desk.run(&["doctor", "--output", "json"]);
    let verdict = ran.json();
    assert_eq!(verdict["ok"], false);
    let verdicts: Vec<(String, bool)> = verdict["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| (check["check"].as_str().unwrap().to_owned(), check["ok"].as_bool().unwrap()))
        .collect();
    server.asked();
    let expected = [
        ("endpoint", true),
        ("network", true),
        ("clock", false),
        ("key", true),
        ("identity", true),
        ("registry", false),
        ("vault", true),
        ("environment", true),
        ("credentials file", false),
        ("config file", true),
        ("profiles", true),
    ];
    assert_eq!(verdicts, expected.map(|(name, ok)| (name.to_owned(), ok)));
    assert_eq!(ran.exit, 1);
}

#[test]
fn the_doctor_without_settings_says_what_is_missing() {
    assert_ran!(Desk::at("").with("AWS_PROFILE", "").run(&["doctor"]));
}

fn xml(action: &str, inner: &str) -> String {
    format!(
        "<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><{action}Result>{inner}</{action}Result></{action}Response>"
    )
}

fn xml_refusal(code: &str) -> Answer {
    answer(
        "POST /",
        403,
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"
        ),
    )
}

/// IAM and the registry in one: the entry is refused, so the user goes again and no key was ever made.
#[test]
fn a_caller_that_the_registry_refuses_leaves_no_user_and_no_key() {
    let user = "<User><Path>/sorry/caller/</Path><UserName>sue-mgr</UserName><UserId>AIDAEXAMPLEEXAMPLE12</UserId>\
                <Arn>arn:aws:iam::123456789012:user/sorry/caller/sue-mgr</Arn><CreateDate>2026-11-21T04:00:00Z</CreateDate></User>";
    let missing = "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>none</Message></Error></ErrorResponse>";
    let identity = "<Arn>arn:aws:iam::123456789012:user/administrator</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>";
    let put = "PUT /v1/admin/callers/AIDAEXAMPLEEXAMPLE12";
    let server = Server::start(vec![
        answer("POST /", 200, xml("GetCallerIdentity", identity)),
        answer("GET /v1/admin/callers", 200, json!({"callers": []})),
        answer("POST /", 404, missing),
        answer("POST /", 200, xml("CreateUser", user)),
        answer("POST /", 200, xml("AttachUserPolicy", "")),
        answer(
            put,
            409,
            refusal("Conflict", "namespace `sue` belongs to somebody else than `sue`", "choose another"),
        ),
        answer("POST /", 200, xml("DetachUserPolicy", "")),
        answer("POST /", 200, xml("DeleteUser", "")),
    ]);
    let ran = Desk::facing(&server).run(&["admin", "callers", "add", "sue-mgr", "--tier", "developer=8"]);
    let asked = server.asked();
    let actions: Vec<&str> = asked
        .iter()
        .map(|asked| asked.body.split('&').next().unwrap().strip_prefix("Action=").unwrap_or("-"))
        .collect();
    assert_eq!(
        actions,
        [
            "GetCallerIdentity",
            "-",
            "GetUser",
            "CreateUser",
            "AttachUserPolicy",
            "-",
            "DetachUserPolicy",
            "DeleteUser"
        ]
    );
    let entry: Value = serde_json::from_str(&asked[5].body).unwrap();
    assert_eq!(
        entry,
        json!({"arn": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "person": "sue", "namespace": "sue",
            "tiers": {"developer": 8}, "projects": [], "roles": ["caller"]})
    );
    assert!(asked[4].body.contains("policy%2Fsorry%2Fservice%2Fsorry-caller"), "{}", asked[4].body);
    assert_ran!(ran);
}

fn held(confirmed: bool) -> Value {
    let mut held = json!({"hold": {
        "since": "2026-11-21T03:00:00Z", "because": "6 of 7 principals have no session", "count": 2,
        "digest": "0123456789abcdef0123456789abcdef",
        "roles": ["sorry-sue-developer-7k3m9q2x", "sorry-ann-developer-0a1b2c3d"],
    }});
    if confirmed {
        held["confirmed_at"] = json!("2026-11-21T04:00:00Z");
        held["confirmed"] = held["hold"]["roles"].clone();
    }
    held
}

#[test]
fn what_the_sweep_holds_is_shown_and_exactly_that_is_confirmed() {
    let (look, confirm) = ("GET /v1/admin/sweep", "PUT /v1/admin/sweep/confirmation");
    let server = Server::start(vec![answer(look, 200, held(false))]);
    assert_ran!(Desk::facing(&server).run(&["admin", "sweep"]));
    for (words, digest) in [
        (&["admin", "sweep", "--confirm"] as &[&str], "0123456789abcdef0123456789abcdef"),
        (&["admin", "sweep", "--confirm=seen-before"], "seen-before"),
    ] {
        let server = Server::start(vec![answer(look, 200, held(false)), answer(confirm, 200, held(true))]);
        let ran = Desk::facing(&server).run(words);
        assert_eq!(ran.exit, 0, "{ran}");
        let body: Value = serde_json::from_str(&server.asked()[1].body).unwrap();
        assert_eq!(body, json!({"digest": digest}));
        assert!(ran.stdout.contains("sorry-sue-developer-7k3m9q2x"), "{ran}");
    }
}

#[test]
fn nothing_held_is_nothing_to_confirm() {
    let server = Server::start(vec![answer("GET /v1/admin/sweep", 200, json!({}))]);
    assert_ran!(Desk::facing(&server).run(&["admin", "sweep", "--confirm"]));
    assert_eq!(server.asked().len(), 1, "nothing is confirmed unseen");
}

#[test]
fn the_audit_is_a_table_or_harmless_csv() {
    let by = json!({"caller": {"person": "sue", "account": "123456789012", "unique_id": "AIDAX", "source_address": "192.0.2.1",
        "arn": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr"}});
    let first = json!({"records": [{
        "subject": ID, "sequence": 1, "at": "2026-11-21T04:00:00Z", "what": "session.REQUESTED", "by": by,
        "details": {"person": "sue", "tier": "admin", "reason": "=HYPERLINK(1)", "rule": "you are registered", "failure": null},
        "hash": "a".repeat(64),
    }], "cursor": "next"});
    let second = json!({"records": [{
        "subject": ID, "sequence": 2, "at": "2026-11-21T04:00:01Z", "what": "session.PROVISIONING", "by": {"service": "provision"},
        "details": {"person": "sue", "tier": "admin"}, "previous": "a".repeat(64), "hash": "b".repeat(64),
    }]});
    let page = format!("GET /v1/audit?session={ID}");
    for format in ["table", "csv"] {
        let server = Server::start(vec![
            answer(&page, 200, first.clone()),
            answer(&format!("{page}&cursor=next"), 200, second.clone()),
        ]);
        let ran = Desk::facing(&server).run(&["admin", "audit", "--session", ID, "--output", format]);
        insta::assert_snapshot!(format!("audit_{format}"), ran.to_string());
    }
}

#[test]
fn an_audit_without_records_says_of_which_time_and_no_time_runs_backwards() {
    for (words, query, said) in [
        (&[] as &[&str], "", "no records; without `--from` these are those of the last day\n"),
        (
            &["--to", "2026-01-02"],
            "?to=2026-01-02T00%3A00%3A00Z",
            "no records; without `--from` these are those of the day before `--to`\n",
        ),
        (&["--from", "2026-01-02"], "?from=2026-01-02T00%3A00%3A00Z", "no records\n"),
        (&["--session", ID], "?session=7k3m9q2x4v8n1c5d", "no records\n"),
        (&["--subject", "sweep"], "?subject=sweep", "no records\n"),
    ] {
        let server =
            Server::start(vec![answer(&format!("GET /v1/audit{query}"), 200, json!({"records": []}))]);
        let ran = Desk::facing(&server).run(&[&["admin", "audit"], words].concat());
        server.asked();
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, said), "{words:?}");
    }
    for wrong in [&["--from", "2027-01-01", "--to", "2026-01-01"] as &[&str], &["--subject", "foo"]] {
        let server = Server::start(vec![]);
        let ran = Desk::facing(&server).run(&[&["admin", "audit"], wrong].concat());
        assert_eq!((ran.exit, server.asked().len()), (2, 0), "{ran}");
    }
}

#[test]
fn who_is_suspended_is_told_so_and_asked_nothing_else() {
    let identity = answer(
        "POST /",
        200,
        xml(
            "GetCallerIdentity",
            &format!("<Arn>{USER}</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>"),
        ),
    );
    let me = json!({"account": "123456789012", "unique_id": "AIDAX", "arn": USER, "administrator": false,
        "caller": {"unique_id": "AIDAX", "arn": USER, "person": "sue", "namespace": "sue", "tiers": {"developer": 8}, "projects": [],
            "roles": ["caller"], "registered_at": "2026-11-21T04:00:00Z", "registered_by": "admin",
            "suspended_at": "2026-11-21T05:00:00Z", "suspended_by": "admin"}});
    let server = Server::start(vec![answer("GET /v1/whoami", 200, me.clone())]);
    let ran = Desk::facing(&server).run(&["whoami"]);
    assert!(
        ran.stdout.contains("2026-11-21 05:00:00 UTC") && ran.stderr.contains("sorry admin callers resume"),
        "{ran}"
    );

    let knock = answer("GET /v1/whoami", 403, json!({"message": "Missing Authentication Token"}));
    let server = Server::start(vec![knock, identity, answer("GET /v1/whoami", 200, me)]);
    let ran = Desk::facing(&server).run(&["doctor", "--output", "json"]);
    server.asked();
    let checks = ran.json();
    let of = |name: &str| {
        checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).cloned()
    };
    let registry = of("registry").unwrap();
    assert!(
        registry["ok"] == false && registry["detail"] == "suspended since 2026-11-21 05:00:00 UTC",
        "{registry}"
    );
    assert_eq!(of("subscribers"), None);
}

#[test]
fn digests_that_are_not_there_are_said_to_be_missing() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(vec![]);
    let words = ["admin", "audit", "verify", "--digests", folder.path().to_str().unwrap()];
    assert_ran!(Desk::facing(&server).run(&words));
    assert!(server.asked().is_empty(), "nothing is asked before");
}

#[test]
fn an_interrupted_wait_says_that_the_session_goes_on() {
    let mut script = vec![tiers(false), answer(ASK, 202, session("REQUESTED"))];
    script.extend((0..100).map(|_| answer(&get(), 200, session("PROVISIONING"))));
    let server = Server::start(script);
    let desk = Desk::facing(&server);
    let mut child = desk.command(&EIGHT_HOURS).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    // The first line of progress says that the session exists.
    let mut said = String::new();
    let mut byte = [0];
    while !said.contains('\n') {
        stderr.read_exact(&mut byte).unwrap();
        said.push(char::from(byte[0]));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains(&format!("hint: session `{ID}` goes on: ")), "{said}");
}

#[test]
fn no_session_is_asked_for_that_its_owner_could_not_use() {
    let server = Server::start(vec![tiers(true), mfa_devices(&[])]);
    let without_device = Desk::facing(&server).run(&EIGHT_HOURS);
    assert!(server.asked()[1].body.contains("ListMFADevices"));
    assert_eq!(without_device.exit, 3, "{without_device}");
    assert!(without_device.stderr.contains("no device that makes one"), "{without_device}");

    let role = "arn:aws:sts::123456789012:assumed-role/Research/sue";
    let server = Server::start(vec![tiers(true), whoami(role)]);
    let desk = Desk::facing(&server)
        .with("AWS_ACCESS_KEY_ID", "ASIAEXAMPLEEXAMPLE12")
        .with("AWS_SECRET_ACCESS_KEY", SECRET)
        .with("AWS_SESSION_TOKEN", "TOKEN");
    let of_role = desk.run(&EIGHT_HOURS);
    server.asked();
    assert_eq!(of_role.exit, 3, "{of_role}");
    assert!(of_role.stderr.contains(&format!("`{role}` is a role's session")), "{of_role}");

    // Those of `get-session-token` may carry MFA.
    let server = Server::start(vec![tiers(true), whoami(USER), answer(ASK, 202, session("REQUESTED"))]);
    let desk = Desk { endpoint: format!("http://{}/v1", server.address), ..desk };
    let of_user = desk.run(&[&EIGHT_HOURS[..], &["--no-wait"]].concat());
    server.asked();
    assert_eq!(of_user.exit, 0, "{of_user}");
}

#[test]
fn a_security_key_makes_no_code_that_sts_could_check() {
    let key = "arn:aws:iam::123456789012:u2f/user/sue-mgr/desk-EXAMPLEEXAMPLE";
    let server = Server::start(vec![tiers(true), mfa_devices(&[key])]);
    let alone = Desk::facing(&server).run(&EIGHT_HOURS);
    assert!(server.asked()[1].body.contains("Action=ListMFADevices"), "and no session is asked for");
    assert_eq!(alone.exit, 3, "{alone}");
    assert!(alone.stderr.contains("your user has no device that makes one"), "{alone}");
    let hint = "hint: yours is a security key, which STS cannot ask; your administrator enrols an app (TOTP) beside it";
    assert!(alone.stderr.contains(hint), "{alone}");

    let app = "arn:aws:iam::123456789012:mfa/sue";
    let server = Server::start(vec![
        answer(&get(), 200, usable_with_mfa()),
        mfa_devices(&[key, app]),
        sts_credentials(),
    ]);
    let beside_an_app = Desk::facing(&server).run(&["renew", ID, "--mfa-code", "123456"]);
    assert_eq!(beside_an_app.exit, 0, "{beside_an_app}");
    let assumed = &server.asked()[2].body;
    let serial = "SerialNumber=arn%3Aaws%3Aiam%3A%3A123456789012%3Amfa%2Fsue";
    assert!(assumed.split('&').any(|found| found == serial), "{assumed}");
}

fn wrong_code() -> Answer {
    answer(
        "POST /",
        403,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
         <Message>MultiFactorAuthentication failed with invalid MFA one time pass code. </Message></Error>\
         <RequestId>r</RequestId></ErrorResponse>",
    )
}

#[test]
fn a_slip_and_a_wrong_code_are_asked_for_again_and_do_not_cost_the_session() {
    let app = "arn:aws:iam::123456789012:mfa/sue";
    let server = Server::start(vec![
        tiers(true),
        mfa_devices(&[app]),
        answer(ASK, 202, usable_with_mfa()),
        wrong_code(),
        sts_credentials(),
    ]);
    let typed = [("MFA code: ", "12"), ("MFA code: ", "123456"), ("MFA code: ", "654321")];
    let seen = Desk::facing(&server).at_terminal(&typed, &EIGHT_HOURS);
    let output = seen["output"].as_str().unwrap();
    assert_eq!((&seen["exit"], &seen["unasked"]), (&json!(0), &json!([])), "{output}");
    assert!(output.contains("an MFA code has six digits"), "{output}");
    let asked = server.asked();
    assert!(asked[3].body.contains("TokenCode=123456") && asked[4].body.contains("TokenCode=654321"));

    // Not for ever.
    let server = Server::start(vec![tiers(true), mfa_devices(&[app]), answer(ASK, 202, usable_with_mfa())]);
    let seen = Desk::facing(&server).at_terminal(&[("MFA code: ", "1"); 3], &EIGHT_HOURS);
    server.asked();
    let output = seen["output"].as_str().unwrap();
    assert_eq!((&seen["exit"], &seen["unasked"]), (&json!(2), &json!([])), "{output}");
    let how = format!("`sorry renew {ID}` tries again, `sorry revoke {ID}` ends it");
    assert!(output.contains(&how), "{output}");
}

#[test]
fn a_wrong_code_is_not_blamed_on_the_key() {
    let app = "arn:aws:iam::123456789012:mfa/sue";
    let spent = "hint: the code is wrong, or was used already";
    let server =
        Server::start(vec![answer(&get(), 200, usable_with_mfa()), mfa_devices(&[app]), wrong_code()]);
    let of_session = Desk::facing(&server).run(&["renew", ID, "--mfa-code", "123456"]);
    server.asked();
    assert_eq!(of_session.exit, 3, "{of_session}");
    assert!(of_session.stderr.contains(spent), "{of_session}");
    assert!(of_session.stderr.contains(&format!("`sorry renew {ID}` tries again")), "{of_session}");
    assert!(!of_session.stderr.contains("IAM policy"), "{of_session}");

    let server =
        Server::start(vec![answer(&get(), 200, usable_with_mfa()), mfa_devices(&[app]), wrong_code()]);
    let desk = Desk::facing(&server);
    let codes = desk.home.path().join("codes");
    fs::write(&codes, "123456\n").unwrap();
    let mut command = desk.command(&["renew", ID, "--mfa-stdin"]);
    let of_stdin = Ran::from(command.stdin(fs::File::open(codes).unwrap()).output().unwrap());
    server.asked();
    assert_eq!(of_stdin.exit, 3, "{of_stdin}");
    assert!(of_stdin.stderr.contains(spent) && of_stdin.stderr.contains("no other was given"), "{of_stdin}");

    let server = Server::start(vec![mfa_devices(&[app]), mfa_devices(&[app]), wrong_code()]);
    let of_approval = Desk::facing(&server).run(&["approve", ID, "--mfa-code", "123456"]);
    server.asked();
    assert_eq!(of_approval.exit, 3, "{of_approval}");
    assert!(of_approval.stderr.contains(spent), "{of_approval}");
    assert!(!of_approval.stderr.contains("the key in use"), "{of_approval}");
}

#[test]
fn a_wait_that_cannot_go_on_says_how_to_go_on_with_the_session() {
    let server = Server::start(vec![
        tiers(false),
        answer(ASK, 202, session("REQUESTED")),
        answer(&get(), 403, json!({"code": "NotAllowed", "message": "not yours", "hint": "ask"})),
    ]);
    let ran = Desk::facing(&server).run(&EIGHT_HOURS);
    server.asked();
    assert_eq!(ran.exit, 3, "{ran}");
    assert!(ran.stderr.contains(&format!("hint: session `{ID}` goes on: `sorry renew {ID}`")), "{ran}");
}

/// For those whose user may not list its devices, or has several.
#[test]
fn a_device_that_is_configured_is_used_and_iam_is_not_asked() {
    let server = Server::start(vec![answer(&get(), 200, usable_with_mfa()), sts_credentials()]);
    let desk = Desk::facing(&server);
    fs::create_dir_all(desk.home.path().join(".config/sorry")).unwrap();
    let settings = "mfa_serial = \"arn:aws:iam::123456789012:mfa/another\"\n";
    fs::write(desk.home.path().join(".config/sorry/config.toml"), settings).unwrap();
    let ran = desk.run(&["renew", ID, "--mfa-code", "123456"]);
    assert_eq!(ran.exit, 0, "{ran}");
    let asked = server.asked();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let assumed = &asked[1].body;
    for argument in [
        "Action=AssumeRole",
        "SerialNumber=arn%3Aaws%3Aiam%3A%3A123456789012%3Amfa%2Fanother",
        "TokenCode=123456",
    ] {
        assert!(assumed.split('&').any(|found| found == argument), "no {argument} in {assumed}");
    }
}

#[test]
fn the_profile_that_is_meant_when_none_is_named_is_looked_at_before_asking() {
    let taken = |name: &str| {
        format!("[{name}]\naws_access_key_id = AKIAOTHEROTHEROTHER1\naws_secret_access_key = s\n")
    };
    let server = Server::start(vec![whoami(USER)]);
    let desk = Desk::facing(&server);
    let mine = fs::read_to_string(desk.credentials()).unwrap();
    fs::write(desk.credentials(), format!("{mine}{}", taken("sue-developer"))).unwrap();
    let ran = desk.run(&EIGHT_HOURS);
    server.asked();
    assert_eq!(ran.exit, 1, "{ran}");
    assert!(ran.stderr.contains("profile `sue-developer` holds something that is not from `sorry`"), "{ran}");

    let server = Server::start(vec![whoami(USER), tiers(false), answer(ASK, 202, session("REQUESTED"))]);
    let desk = Desk::facing(&server);
    fs::write(desk.credentials(), format!("{mine}{}", taken("corp-developer"))).unwrap();
    let ran = desk.run(&[&EIGHT_HOURS[..], &["--no-wait"]].concat());
    server.asked();
    assert_eq!(ran.exit, 0, "another namespace's profile is not in the way: {ran}");
}

#[test]
fn a_profile_that_passes_from_a_live_session_to_another_is_said() {
    for (held, said) in [("0c9d000000000000", true), (ID, false)] {
        let server = Server::start(vec![answer(&get(), 200, usable()), sts_credentials()]);
        let desk = Desk::facing(&server);
        let mine = fs::read_to_string(desk.credentials()).unwrap();
        fs::write(desk.credentials(), format!("{mine}{}", profile("sue-developer", held))).unwrap();
        let ran = desk.run(&["renew", ID]);
        server.asked();
        assert_eq!(ran.exit, 0, "{ran}");
        let warning = format!("profile `sue-developer` held session `{held}`");
        assert_eq!(ran.stderr.contains(&warning), said, "{ran}");
    }
}

#[test]
fn a_reader_that_has_read_enough_is_no_error() {
    let list = json!({"sessions": [session("ACTIVE")]});
    for words in [&["list"] as &[&str], &["list", "--output", "json"], &["completions", "bash"], &["--help"]]
    {
        let server = Server::start(vec![answer("GET /v1/sessions?scope=mine", 200, &list)]);
        let desk = Desk::facing(&server);
        let mut command = desk.command(words);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(
            command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap(),
        );
        assert_eq!((ran.exit, ran.stderr.as_str()), (0, ""), "{words:?}");
    }
}

#[test]
fn a_caller_profile_that_does_not_exist_is_told_as_that() {
    let server = Server::start(Vec::new());
    let ran = Desk::facing(&server).run(&["--caller-profile", "bootstrp", "whoami"]);
    assert!(server.asked().is_empty());
    assert_eq!(ran.exit, 2, "{ran}");
    assert!(
        ran.stderr
            .starts_with("error: there is no profile `bootstrp`, which `--caller-profile` names\nhint: "),
        "{ran}"
    );
}

#[test]
fn a_session_that_is_ended_before_it_was_active_says_why_that_takes_long() {
    let server = Server::start(vec![
        answer(&format!("DELETE /v1/sessions/{ID}"), 202, session("REVOKING")),
        answer(&get(), 200, session("REVOKED")),
    ]);
    let ran = Desk::facing(&server).run(&["revoke", ID]);
    server.asked();
    assert_eq!(ran.exit, 0, "{ran}");
    assert!(
        ran.stderr.contains("up to 5 minutes") && ran.stderr.contains("Ctrl-C stops only the waiting"),
        "{ran}"
    );
}

/// Standard output may be a file while somebody watches: what is being waited for is shown on the terminal, and the data stays clean.
#[test]
fn progress_is_shown_on_the_terminal_and_never_in_the_data() {
    let server = Server::start(vec![
        answer(&format!("DELETE /v1/sessions/{ID}"), 202, session("REVOKING")),
        answer(&get(), 200, session("REVOKED")),
    ]);
    let desk = Desk::facing(&server);
    let out = desk.home.path().join("out");
    let command = desk.command(&["revoke", ID]);
    let mut python = Command::new("python3");
    python
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/person/terminal.py"))
        .args(["[]", "sh", "-c", "exec \"$0\" \"$@\" >\"$OUT\""])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TERM", "xterm")
        .env("OUT", &out);
    let done = python.output().unwrap();
    server.asked();
    let seen: Value = serde_json::from_slice(&done.stdout).unwrap();
    let shown = seen["output"].as_str().unwrap();
    assert_eq!(seen["exit"], 0, "{seen}");
    assert!(shown.contains("waiting: ") && shown.contains("nothing of it is left"), "{shown}");
    assert_eq!(fs::read_to_string(out).unwrap(), format!("{ID}  REVOKED\n"));
}

/// Answers of `callers add` for a caller that is there and gets another key, up to that key.
fn new_key() -> Vec<Answer> {
    let identity = "<Arn>arn:aws:iam::123456789012:user/administrator</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>";
    let user = format!(
        "<User><Path>/sorry/caller/</Path><UserName>sue-mgr</UserName><UserId>AIDAX</UserId><Arn>{USER}</Arn>\
         <CreateDate>2026-11-21T04:00:00Z</CreateDate></User>"
    );
    let key = "<AccessKey><UserName>sue-mgr</UserName><AccessKeyId>AKIANEWNEWNEWNEWNEW1</AccessKeyId><Status>Active</Status>\
               <SecretAccessKey>NewSecret</SecretAccessKey></AccessKey>";
    let caller = json!({"unique_id": "AIDAX", "arn": USER, "person": "susan", "namespace": "sue",
        "tiers": {"developer": 8, "read-only": 36}, "projects": [], "roles": ["caller"], "registered_at": "2026-11-21T04:00:00Z", "registered_by": "admin"});
    vec![
        answer("POST /", 200, xml("GetCallerIdentity", identity)),
        answer("GET /v1/admin/callers", 200, json!({"callers": [caller]})),
        answer("POST /", 200, xml("GetUser", &user)),
        answer("POST /", 200, xml("GetUser", &user)),
        answer("POST /", 200, xml("TagUser", "")),
        answer("POST /", 200, xml("AttachUserPolicy", "")),
        answer("PUT /v1/admin/callers/AIDAX", 200, caller),
        answer("POST /", 200, xml("ListAccessKeys", "<AccessKeyMetadata/><IsTruncated>false</IsTruncated>")),
        answer("POST /", 200, xml("CreateAccessKey", key)),
    ]
}

#[test]
fn a_new_key_is_waited_for_until_aws_knows_it_and_every_other_refusal_is_final() {
    let words = ["admin", "callers", "add", "sue-mgr", "--new-key"];
    let known = xml(
        "GetCallerIdentity",
        &format!("<Arn>{USER}</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>"),
    );
    let mut script = new_key();
    script.extend([xml_refusal("InvalidClientTokenId"), answer("POST /", 200, known)]);
    let server = Server::start(script);
    let ran = Desk::facing(&server).run(&words);
    let asked = server.asked();
    assert!(asked[10].header("authorization").contains("AKIANEWNEWNEWNEWNEW1"));
    assert_eq!(ran.exit, 0, "{ran}");
    let entry: Value = serde_json::from_str(&asked[6].body).unwrap();
    assert_eq!(
        entry,
        json!({"arn": USER, "person": "susan", "namespace": "sue", "tiers": {"developer": 8, "read-only": 36},
            "projects": [], "roles": ["caller"]}),
        "what is not named stays"
    );
    assert!(
        ran.stderr.contains("Kept: namespace sue, person susan, role caller, tier developer 8h"),
        "{ran}"
    );
    assert!(ran.stdout.contains("NewSecret") && ran.stderr.contains("The key works already"), "{ran}");

    let server = Server::start([new_key(), vec![xml_refusal("SignatureDoesNotMatch")]].concat_answers());
    let ran = Desk::facing(&server).run(&words);
    assert_eq!(server.asked().len(), 10);
    assert!(ran.exit == 0 && ran.stderr.contains("whether the key works could not be seen"), "{ran}");

    // A key that was not just made is refused at once.
    let server = Server::start(vec![xml_refusal("InvalidClientTokenId")]);
    let ran = Desk::facing(&server).run(&words);
    assert_eq!((ran.exit, server.asked().len()), (3, 1), "{ran}");
}

#[test]
fn an_interrupt_while_the_files_are_locked_ends_at_once_and_harms_nothing() {
    let server = Server::start(vec![answer(&get(), 200, usable()), sts_credentials()]);
    let desk = Desk::facing(&server);
    let before = fs::read(desk.credentials()).unwrap();
    // The first run makes the lock's file, so that this test need not know its name.
    let folder = desk.home.path().join(".aws");
    assert_eq!(desk.run(&["renew", ID]).exit, 0);
    let lock = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("lock"))
        .unwrap();
    fs::write(desk.credentials(), &before).unwrap();
    let lock = fs::File::options().read(true).write(true).open(lock).unwrap();
    lock.lock().unwrap();
    let files = || fs::read_dir(&folder).unwrap().count();
    let files_before = files();

    let server = Server::start(vec![answer(&get(), 200, usable()), sts_credentials()]);
    let desk = Desk { endpoint: format!("http://{}/v1", server.address), ..desk }
        .with("AWS_ENDPOINT_URL", &format!("http://{}", server.address));
    let mut child =
        desk.command(&["renew", ID]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let mut said = String::new();
    let mut byte = [0];
    while !said.contains("waiting for the credentials file") {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{said}");
        said.push(char::from(byte[0]));
    }
    let pressed = std::time::Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(pressed.elapsed().as_secs() < 8, "the lock itself is waited for for 20 seconds");
    assert_eq!(said.matches("error: interrupted").count(), 1, "{said}");
    assert_eq!((fs::read(desk.credentials()).unwrap(), files()), (before, files_before));
}

#[test]
fn a_code_is_spent_only_when_the_role_is_ten_seconds_old() {
    let mut new = usable();
    new["mfa"] = json!(true);
    // As of seven seconds ago, so that three are left.
    let began = std::time::Instant::now();
    new["activated_at"] = json!((jiff::Timestamp::now() - jiff::SignedDuration::from_secs(7)).to_string());
    let server = Server::start(vec![
        answer(&get(), 200, new),
        mfa_devices(&["arn:aws:iam::123456789012:mfa/sue"]),
        sts_credentials(),
    ]);
    let desk = Desk::facing(&server);
    let mut command = desk.command(&["renew", ID, "--mfa-stdin"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"123456\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    let waited = began.elapsed();
    assert_eq!(ran.exit, 0, "{ran}");
    assert!(server.asked()[2].body.contains("TokenCode=123456"));
    assert!(waited.as_millis() >= 2500, "{waited:?}: {ran}");
}

/// A desk whose files hold a key without an end, a line that tools read differently, and two profiles of ours.
fn untidy(desk: &Desk) {
    let mut file = fs::OpenOptions::new().append(true).open(desk.credentials()).unwrap();
    std::io::Write::write_all(
        &mut file,
        format!(
            "[sue-developer]\naws_access_key_id = ASIAEXAMPLEEXAMPLE12\naws_secret_access_key = {SECRET}\n\
             aws_session_token = {SECRET}\nsorry_session = {ID}\nsorry_expires_at = 2026-01-01T00:00:00Z\n"
        )
        .as_bytes(),
    )
    .unwrap();
    fs::write(
        desk.home.path().join(".aws/config"),
        "[profile bootstrap]\nregion = eu-west-1 # near\n[profile sue-developer]\nregion = eu-west-1\nsorry_session = 1\n\
         [profile sue-admin]\nregion = eu-west-1\ncredential_process = /usr/bin/sorry credential-process --session 0c9d000000000000\n\
         sorry_session = 0c9d000000000000\nsorry_expires_at = 2099-01-01T00:00:00Z\n",
    )
    .unwrap();
    fs::set_permissions(desk.home.path().join(".aws/config"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(desk.home.path().join(".aws"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn profiles_are_shown_without_secrets() {
    let desk = Desk::at("");
    untidy(&desk);
    let listed = desk.run(&["profiles", "list", "--output", "json"]);
    let json = listed.json();
    let forms: Vec<_> = json["profiles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["profile"].as_str().unwrap(), row["form"].as_str().unwrap(), row["state"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        forms,
        [("bootstrap", "keys", ""), ("sue-developer", "keys", "expired"), ("sue-admin", "process", "valid")]
    );
    assert_eq!(json["profiles"][2]["session"], "0c9d000000000000");
    let table = desk.run(&["profiles", "list"]);
    assert_eq!(table.exit, 0, "{table}");
    assert!(table.stdout.starts_with("PROFILE"), "{table}");
}

#[test]
fn what_is_wrong_is_said_and_mended_as_far_as_it_is_ours() {
    let desk = Desk::at("");
    untidy(&desk);
    assert_ran!(desk.run(&["profiles", "check", "--offline"]));
    let before = fs::read_to_string(desk.credentials()).unwrap();
    assert_ran!(desk.run(&["profiles", "fix", "--offline", "--dry-run"]));
    let unasked = desk.run(&["profiles", "fix", "--offline"]);
    assert_eq!((unasked.exit, unasked.stderr.contains("--yes")), (2, true), "{unasked}");
    assert_eq!(fs::read_to_string(desk.credentials()).unwrap(), before);

    let fixed = desk.run(&["profiles", "fix", "--offline", "--yes"]);
    assert_eq!(fixed.exit, 0, "{fixed}");
    let after = fs::read_to_string(desk.credentials()).unwrap();
    assert!(after.starts_with("# mine\n[bootstrap]\n") && !after.contains("sue-developer"));
    let copies: Vec<_> = fs::read_dir(desk.home.path().join(".aws"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with("credentials.sorry-backup-"))
        .collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read_to_string(copies[0].path()).unwrap(), before);
    assert_eq!(copies[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let left = desk.run(&["profiles", "check", "--offline", "--output", "json"]);
    let json = left.json();
    let codes: Vec<_> =
        json["findings"].as_array().unwrap().iter().map(|row| row["code"].as_str().unwrap()).collect();
    assert_eq!((left.exit, codes), (1, vec!["InlineComment", "LongLivedSecret"]));

    let reset = desk.run(&["profiles", "reset", "--yes"]);
    assert_eq!(reset.exit, 0, "{reset}");
    let config = fs::read_to_string(desk.home.path().join(".aws/config")).unwrap();
    assert_eq!(config, "[profile bootstrap]\nregion = eu-west-1 # near\n");
}

#[test]
fn a_profile_whose_session_was_revoked_is_found_by_asking_the_service() {
    let over = json!({"sessions": [session_called("0c9d000000000000", "REVOKED")]});
    let server = Server::start(vec![answer("GET /v1/sessions?scope=mine", 200, over)]);
    let desk = Desk::facing(&server);
    untidy(&desk);
    let found = desk.run(&["profiles", "check", "--output", "json"]).json();
    let codes: Vec<_> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["profile"] == "sue-admin")
        .map(|row| row["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["SessionOver"]);
}
