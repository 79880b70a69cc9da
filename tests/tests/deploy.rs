//! The scripts that deploy, check and destroy: what they do in a stack's failed states, what they accept as a gateway that refuses, and
//! that no secret is an argument of a program. They run against the local AWS, with the real AWS CLI and the real curl; the failed
//! states are played by an `aws` of the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests: a panic in here is a test that fails, and says why"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::json;
use sorry_tests::{Keys, LocalAws, Person};
use tempfile::TempDir;

/// Programs of the test's own, before all others on the PATH. Each writes its arguments down.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        Self(TempDir::with_prefix("sorry-programs-").unwrap())
    }

    /// A program of that name: bash, after its arguments are written down.
    fn add(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        let log = self.0.path().join("arguments");
        let record = format!("printf '%q ' {name} \"$@\" >>'{0}'; echo >>'{0}'", log.display());
        fs::write(&path, format!("#!/bin/bash\n{record}\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A program that only writes its arguments down, and is then the one that it hides.
    fn watch(&self, name: &str) {
        self.add(name, &format!("exec '{}' \"$@\"", hidden(name).display()));
    }

    /// All calls so far, one a line.
    fn calls(&self) -> String {
        fs::read_to_string(self.0.path().join("arguments")).unwrap_or_default()
    }

    /// Runs a script of infrastructure/ with these programs and nothing of the environment but what is given.
    fn run(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        self.run_in(&sorry_tests::project(), script, arguments, environment)
    }

    /// The same in a copy of the project.
    fn run_in(
        &self,
        project: &Path,
        script: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Output {
        let path = format!("{}:{}", self.0.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg(project.join("infrastructure").join(script)).args(arguments);
        command.env_clear().env("PATH", path).env("HOME", self.0.path()).env("AWS_REGION", "us-east-1");
        command.envs(environment.iter().copied()).output().unwrap()
    }
}

/// The program that one of the test's own hides.
fn hidden(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    found.find(|path| path.is_file()).unwrap_or_else(|| panic!("there is no {name}"))
}

/// What a script said, both ways.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Which AWS CLI is played.
#[derive(Clone, Copy, PartialEq)]
enum Cli {
    /// Gives out the credentials that it uses.
    Two,
    /// Does not.
    One,
}

/// Programs that reach the local AWS. The stack's output names the gateway as AWS does; curl is told where it is.
fn programs(aws: &LocalAws, cli: Cli) -> Programs {
    let programs = Programs::new();
    let export = match cli {
        Cli::Two => {
            "for name in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN; do
               if [[ -n ${!name:-} ]]; then printf '%s=%s\\n' \"$name\" \"${!name}\"; fi
             done
             exit 0"
        }
        Cli::One => "echo 'invalid choice' >&2; exit 2",
    };
    let real = sorry_tests::python().with_file_name("aws");
    programs.add(
        "aws",
        &format!(
            "if [[ \"$1 $2\" == 'configure export-credentials' ]]; then\n{export}\nfi\nexec '{}' \"$@\"",
            real.display()
        ),
    );
    let (before, after) = (aws.output("Endpoint"), aws.output("endpoint"));
    programs.add(
        "curl",
        &format!(
            "arguments=(); for argument in \"$@\"; do arguments+=(\"${{argument/#{before}/{after}}}\"); done
             exec {} \"${{arguments[@]}}\"",
            hidden("curl").display(),
            before = before.replace('/', "\\/"),
        ),
    );
    programs.watch("python3");
    programs
}

/// What the AWS CLI needs to be somebody on the local AWS.
fn environment<'a>(aws: &'a LocalAws, keys: &'a Keys) -> Vec<(&'a str, &'a str)> {
    let mut environment = vec![
        ("AWS_ENDPOINT_URL", aws.output("endpoint_url")),
        ("AWS_ACCESS_KEY_ID", keys.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.as_str()),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("CHECK_ATTEMPTS", "1"),
    ];
    environment.extend(keys.session_token.as_deref().map(|token| ("AWS_SESSION_TOKEN", token)));
    environment
}

/// MFA is required of everybody, the administrator included.
const WITHOUT_EXEMPTION: [&str; 2] = ["RequireMfa=true", "IdentityProviderRoleArns="];

/// `check.sh` as somebody whose keys are in the environment.
fn check(aws: &LocalAws, programs: &Programs, keys: &Keys) -> Output {
    programs.run("check.sh", &[], &environment(aws, keys))
}

#[test]
fn a_gateway_that_refuses_passes_and_no_secret_is_an_argument() {
    let aws = LocalAws::start_with(&WITHOUT_EXEMPTION);
    for cli in [Cli::Two, Cli::One] {
        let programs = programs(&aws, cli);
        let administrator = aws.administrator();
        let output = check(&aws, &programs, &administrator);
        let said = said(&output);
        assert!(output.status.success(), "{said}\n{}", programs.calls());
        for line in [
            "ok: the gateway's policy, as it is read back",
            "ok: an unsigned request: 403",
            "ok: an unsigned request to /admin: 403",
            "ok: an administrator's request to /admin, signed: 200",
            "ok: a change without MFA, signed: 403",
        ] {
            assert!(said.contains(line), "`{line}` is missing in:\n{said}");
        }
        let calls = programs.calls();
        for name in ["aws ", "curl ", "python3 "] {
            assert!(calls.lines().any(|line| line.starts_with(name)), "{name}was not watched:\n{calls}");
        }
        for text in [&calls, &said] {
            assert!(!text.contains(&administrator.secret_access_key), "the secret key is in:\n{text}");
        }
    }
}

#[test]
fn a_session_token_is_no_argument_either() {
    let aws = LocalAws::start_with(&WITHOUT_EXEMPTION);
    let answer = aws.call("sts.get_session_token", json!({}));
    let text = |name: &str| answer["Credentials"][name].as_str().unwrap().to_owned();
    let (secret, token) = (text("SecretAccessKey"), text("SessionToken"));
    let keys = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: secret.clone(),
        session_token: Some(token.clone()),
    };
    let programs = programs(&aws, Cli::Two);
    let output = check(&aws, &programs, &keys);
    assert!(output.status.success(), "{}", said(&output));
    let calls = programs.calls();
    assert!(calls.contains("--aws-sigv4"), "no call was signed:\n{calls}");
    assert!(!calls.contains(&secret) && !calls.contains(&token), "a secret is in:\n{calls}");
}

#[test]
fn who_is_no_administrator_must_be_denied_by_name() {
    let aws = LocalAws::start();
    aws.call("iam.create_user", json!({"UserName": "deployer"}));
    let all =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    aws.call(
        "iam.put_user_policy",
        json!({"UserName": "deployer", "PolicyName": "all", "PolicyDocument": all.to_string()}),
    );
    let key = aws.call("iam.create_access_key", json!({"UserName": "deployer"}));
    let text = |name: &str| key["AccessKey"][name].as_str().unwrap().to_owned();
    let deployer = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: None,
    };
    let output = check(&aws, &programs(&aws, Cli::Two), &deployer);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("ok: the request to /admin of someone who is no administrator, signed: 403"),
        "{told}"
    );
    assert!(told.contains("AdministratorArns does not name it"), "{told}");

    // Without permission of its own, the same 403 shows nothing of the gateway's policy.
    let none = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "NotAction": "execute-api:Invoke", "Resource": "*"},
    ]});
    aws.call(
        "iam.put_user_policy",
        json!({"UserName": "deployer", "PolicyName": "all", "PolicyDocument": none.to_string()}),
    );
    replace_policy(&aws, "");
    let output = check(&aws, &programs(&aws, Cli::Two), &deployer);
    assert!(!output.status.success(), "{}", said(&output));
}

/// Puts another resource policy on the API, beside the stack.
fn replace_policy(aws: &LocalAws, policy: &str) {
    let operation = json!([{"op": "replace", "path": "/policy", "value": policy}]);
    aws.call(
        "apigateway.update_rest_api",
        json!({"restApiId": aws.output("ApiId"), "patchOperations": operation}),
    );
}

#[test]
fn a_gateway_without_its_policy_fails() {
    let aws = LocalAws::start();
    replace_policy(&aws, r#"{"Version":"2012-10-17","Statement":[]}"#);
    let output = check(&aws, &programs(&aws, Cli::Two), &aws.administrator());
    let said = said(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("AdministrationIsForAdministrators"), "it must say what is missing: {said}");
}

/// A check that can check nothing does not pass: neither is the policy given out, nor are there keys to sign with.
#[test]
fn nothing_shown_is_not_passed() {
    let aws = LocalAws::start();
    let keys = aws.administrator();
    let real = sorry_tests::python().with_file_name("aws");
    let only = |refused: &str| {
        let programs = programs(&aws, Cli::One);
        programs.add(
            "aws",
            &format!(
                "case \"$1 $2\" in {refused}) echo AccessDenied >&2; exit 254 ;; esac
                 export AWS_ACCESS_KEY_ID=$OTHER_ID AWS_SECRET_ACCESS_KEY=$OTHER_KEY\nexec '{}' \"$@\"",
                real.display()
            ),
        );
        let keyless = environment(&aws, &keys).into_iter().map(|(name, value)| match name {
            "AWS_ACCESS_KEY_ID" => ("OTHER_ID", value),
            "AWS_SECRET_ACCESS_KEY" => ("OTHER_KEY", value),
            _ => (name, value),
        });
        let output = programs.run("check.sh", &[], &keyless.collect::<Vec<_>>());
        (output.status.success(), said(&output))
    };
    let (passes, told) = only("'configure export-credentials'");
    assert!(passes && told.contains("not checked: signed requests"), "the policy was read back: {told}");
    let (passes, told) = only("'configure export-credentials' | 'apigateway get-rest-api'");
    assert!(!passes && told.contains("nothing has shown the gateway's policy"), "{told}");
}

/// `check_policy.py` on a policy, as API Gateway gives it: whether it passes, and what it says.
fn policy_check(policy: &str, folder: &Path) -> (bool, String) {
    let file = folder.join("policy");
    fs::write(&file, policy).unwrap();
    let output = Command::new(sorry_tests::python())
        .arg(sorry_tests::project().join("infrastructure/check_policy.py"))
        .args(["--arn", "arn:aws:execute-api:us-east-1:111122223333", "--api", "a1b2c3d4e5", "--mfa", "true"])
        .args(["--administrators", "arn:aws:iam::111122223333:user/ann"])
        .stdin(fs::File::open(file).unwrap())
        .output()
        .unwrap();
    (output.status.success(), said(&output))
}

#[test]
fn the_policy_that_is_read_back_must_be_the_one_that_was_deployed() {
    let folder = TempDir::new().unwrap();
    let prefix = "arn:aws:execute-api:us-east-1:111122223333:??????????";
    let denied = "arn:aws:execute-api:us-east-1:111122223333:*";
    let statement = |sid: &str, member: &str, path: String| json!({"Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "execute-api:Invoke", member: [path]});
    let mut mfa = statement("WithoutMfaOnlyLookAskAndEnd", "NotResource", format!("{prefix}/v1/GET/*"));
    mfa["Condition"] = json!({"BoolIfExists": {"aws:MultiFactorAuthPresent": "false"}});
    let mut administration =
        statement("AdministrationIsForAdministrators", "Resource", format!("{denied}/v1/GET/admin/*"));
    administration["Condition"] =
        json!({"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/ann"}});
    let good = json!({"Version": "2012-10-17", "Statement": [mfa, administration]}).to_string();
    assert_eq!(policy_check(&good, folder.path()), (true, String::new()));
    let as_given = good.replace('"', r#"\""#);
    assert_eq!(
        policy_check(&as_given, folder.path()),
        (true, String::new()),
        "quotes escaped, as AWS has them"
    );
    let own_id = good.replace("??????????", "a1b2c3d4e5").replace(":*/", ":a1b2c3d4e5/");
    assert_eq!(policy_check(&own_id, folder.path()), (true, String::new()), "the API by its id");

    for (from, to) in [
        ("WithoutMfaOnlyLookAskAndEnd", "Other"),
        ("??????????", "*"),
        ("??????????", "zzzzzzzzzz"),
        (prefix, "execute-api:"),
        (denied, "execute-api:"),
        ("/v1/", "/*/"),
        ("user/ann", "user/bob"),
        (r#""false""#, r#""true""#),
        (r#""Deny""#, r#""Allow""#),
        ("NotResource", "Resource"),
        ("{", "["),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        let (passes, said) = policy_check(&bad, folder.path());
        assert!(!passes && said.contains("the gateway's policy: "), "`{to}` for `{from}` passes: {said}");
        assert!(!said.contains("Traceback"), "{said}");
    }
}

/// Programs with an `aws` whose stack is in that state, and which does nothing else.
fn in_state(state: &str) -> Programs {
    let programs = Programs::new();
    programs.add(
        "aws",
        &format!(
            "case \"$1 $2\" in
               'sts get-caller-identity') printf '111122223333\\tarn:aws:iam::111122223333:user/ann\\n' ;;
               'cloudformation describe-stacks') {state} ;;
               *) exit 9 ;;
             esac"
        ),
    );
    programs
}

#[test]
fn a_stack_that_takes_no_update_is_left_alone_and_says_its_way_out() {
    for (state, hint) in [
        ("REVIEW_IN_PROGRESS", "delete-stack"),
        ("CREATE_IN_PROGRESS", "wait until that is over"),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "wait until that is over"),
        ("DELETE_IN_PROGRESS", "wait until that is over"),
        ("ROLLBACK_COMPLETE", "delete-stack"),
        ("ROLLBACK_FAILED", "deletion protection"),
        ("DELETE_FAILED", "deletion protection"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
    ] {
        let programs = in_state(&format!("echo {state}"));
        let output = programs.run("deploy.sh", &[], &[]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{state}: {told}");
        assert!(told.contains(&format!("is {state}: ")) && told.contains(hint), "{state}: {told}");
        let calls = programs.calls();
        assert_eq!(
            calls.lines().count(),
            2,
            "{state}: only looked at, nothing packaged or written:\n{calls}"
        );
    }
}

#[test]
fn a_stack_that_cannot_be_looked_at_is_not_taken_for_none() {
    let programs = in_state("echo 'AccessDenied: no' >&2; exit 254");
    for script in ["deploy.sh", "destroy.sh"] {
        let output = programs.run(script, &[], &[]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(1), "{script}: {told}");
        assert!(told.contains("cannot be looked at: AccessDenied"), "{script}: {told}");
    }
    // That there is none is an answer: deploy.sh goes on, to the tables that would be in its way.
    let programs = in_state("echo 'ValidationError: Stack with id sorry does not exist' >&2; exit 254");
    programs.run("deploy.sh", &[], &[("SKIP_PACKAGE", "1")]);
    assert!(programs.calls().contains("dynamodb describe-table"), "{}", programs.calls());
}

#[test]
fn a_stack_that_is_being_changed_is_not_destroyed() {
    let aws = LocalAws::start();
    let before = aws.roles("/sorry/service/");
    let programs = Programs::new();
    let real = sorry_tests::python().with_file_name("aws");
    programs.add(
        "aws",
        &format!(
            "if [[ \"$1 $2\" == 'cloudformation describe-stacks' ]]; then echo UPDATE_IN_PROGRESS; exit; fi\nexec '{}' \"$@\"",
            real.display()
        ),
    );
    let keys = aws.administrator();
    let output = programs.run("destroy.sh", &["--yes"], &environment(&aws, &keys));
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("somebody else is changing it"), "{told}");
    assert!(!programs.calls().contains("put-function-concurrency"), "{}", programs.calls());
    assert_eq!(aws.roles("/sorry/service/"), before);
}

/// A copy of what deploys, with the zips of this build and the Python that there is.
fn project_with_zips() -> TempDir {
    let copy = TempDir::with_prefix("sorry-project-").unwrap();
    let folder = copy.path();
    let (project, zips) = (sorry_tests::project(), sorry_tests::binaries().join("local-aws-zips"));
    let mut copying = Command::new("cp");
    copying.arg("-R").args(["infrastructure", "policy_templates"]).arg(folder).current_dir(&project);
    assert!(copying.status().unwrap().success());
    fs::create_dir_all(folder.join("target/lambda")).unwrap();
    fs::create_dir(folder.join(".local")).unwrap();
    let venv = sorry_tests::python().parent().unwrap().parent().unwrap().to_owned();
    std::os::unix::fs::symlink(venv, folder.join(".local/package-venv")).unwrap();
    for function in ["api", "issue", "provision", "clean-up", "sweep", "alert"] {
        let cached = fs::read_dir(&zips).unwrap().map(|entry| entry.unwrap().path());
        let mut of_function = cached.filter(|path| {
            path.file_name().unwrap().to_str().unwrap().starts_with(&format!("sorry-{function}-"))
        });
        let zip = of_function.next().expect("a local AWS has been started");
        fs::copy(zip, folder.join(format!("target/lambda/{function}.zip"))).unwrap();
    }
    copy
}

/// All that there was is destroyed, and a role, as people of an identity provider have one, deploys anew.
#[test]
fn what_was_destroyed_can_be_deployed_again_by_a_role() {
    let aws = LocalAws::start();
    let project = project_with_zips();
    let administrator = aws.administrator();
    let programs = programs(&aws, Cli::Two);
    let mut settled = environment(&aws, &administrator);
    settled.push(("SETTLE_SECONDS", "0"));
    let output = programs.run_in(project.path(), "destroy.sh", &["--yes", "--delete-data"], &settled);
    assert!(output.status.success(), "{}", said(&output));
    assert!(aws.roles("/sorry/").is_empty(), "{:?}", aws.roles("/sorry/"));

    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": administrator_arn(&aws)}, "Action": "sts:AssumeRole"},
    ]});
    let all =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    aws.call(
        "iam.create_role",
        json!({"RoleName": "deployer", "Path": "/platform/", "AssumeRolePolicyDocument": trust.to_string()}),
    );
    aws.call(
        "iam.put_role_policy",
        json!({"RoleName": "deployer", "PolicyName": "all", "PolicyDocument": all.to_string()}),
    );
    let role = administrator_arn(&aws).replace("user/local-administrator", "role/platform/deployer");
    let answer = aws.call("sts.assume_role", json!({"RoleArn": role, "RoleSessionName": "ann"}));
    let text = |name: &str| answer["Credentials"][name].as_str().unwrap().to_owned();
    let deployer = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    };
    let mut packaged = environment(&aws, &deployer);
    // The deployed gateway has another id than the one that `curl` was told of: what is called is not at issue here.
    packaged.extend([("SKIP_PACKAGE", "1"), ("SKIP_CHECKS", "1"), ("ARCHITECTURE", architecture())]);
    let output = programs.run_in(project.path(), "deploy.sh", &[], &packaged);
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("administrator: {role}\n")), "by its whole ARN: {told}");
    assert!(
        told.contains(&format!(
            "hint: if its identity provider asks for MFA: IdentityProviderRoleArns={role}\n"
        )),
        "{told}"
    );
    assert!(told.contains("not checked: "), "{told}");
    let calls = programs.calls();
    for secret in [&administrator.secret_access_key, &text("SecretAccessKey"), &text("SessionToken")] {
        assert!(
            !calls.contains(secret) && !told.contains(secret),
            "a secret was an argument, or was printed"
        );
    }
}

/// The administrator that the local AWS has made.
fn administrator_arn(aws: &LocalAws) -> String {
    aws.call("sts.get_caller_identity", json!({}))["Arn"].as_str().unwrap().to_owned()
}

/// This machine's, as Lambda names it.
fn architecture() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" }
}

/// A session of `developer`: its id, and the credentials that its owner was given.
fn lent(sue: &Person) -> (String, Keys) {
    let asked =
        ["request", "--tier", "developer", "--for", "15m", "--reason", "to be ended", "--output", "json"];
    let view = sue.sorry(&asked).success().json();
    (view["session_id"].as_str().unwrap().to_owned(), sue.profile(view["profile"].as_str().unwrap()))
}

fn works(aws: &LocalAws, keys: &Keys) -> bool {
    !aws.judge.call(keys, "sns.create_topic", json!({"Name": "sue-notes"})).is_denied()
}

/// What a look at a deployment takes that is to be quick.
fn at_once<'a>(aws: &'a LocalAws, keys: &'a Keys) -> Vec<(&'a str, &'a str)> {
    let mut environment = environment(aws, keys);
    environment.extend([("SETTLE_SECONDS", "0"), ("PROOF_SECONDS", "0")]);
    environment
}

const PROOFS: [&str; 5] = ["roles", "users", "groups", "policies", "instance profiles"];

#[test]
fn all_sessions_are_ended_first_and_that_nothing_is_left_is_shown() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    let (_, first) = lent(&sue);
    let (_, second) = lent(&sue);
    // A user, as other grants have one, with whatever somebody may have given it.
    let user = json!({"UserName": "sorry-sue-stray", "Path": "/sorry/session/sue/"});
    aws.call("iam.create_user", user);
    let named = |more: serde_json::Value| {
        let mut all = json!({"UserName": "sorry-sue-stray"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let key = aws.call("iam.create_access_key", named(json!({})))["AccessKey"].clone();
    aws.call("iam.create_login_profile", named(json!({"Password": "Sleepy-Otter-47-harbour"})));
    aws.call("iam.create_group", json!({"GroupName": "everybody"}));
    aws.call("iam.add_user_to_group", named(json!({"GroupName": "everybody"})));
    aws.call("iam.attach_user_policy", named(json!({"PolicyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"})));
    let all =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]});
    let inline = json!({"PolicyName": "all", "PolicyDocument": all.to_string()});
    aws.call("iam.put_user_policy", named(inline));
    // Its policy, in two versions, and one that an end which was cut short has left.
    for policy in ["sorry-sue-stray", "sorry-sue-left"] {
        let policy =
            json!({"PolicyName": policy, "Path": "/sorry/session/sue/", "PolicyDocument": all.to_string()});
        aws.call("iam.create_policy", policy);
    }
    let policy = "arn:aws:iam::123456789012:policy/sorry/session/sue/sorry-sue-stray";
    aws.call("iam.create_policy_version", json!({"PolicyArn": policy, "PolicyDocument": all.to_string()}));
    aws.call("iam.attach_user_policy", named(json!({"PolicyArn": policy})));
    let stray = Keys {
        access_key_id: key["AccessKeyId"].as_str().unwrap().to_owned(),
        secret_access_key: key["SecretAccessKey"].as_str().unwrap().to_owned(),
        session_token: None,
    };
    for keys in [&first, &second, &stray] {
        assert!(works(&aws, keys));
    }

    let (programs, administrator) = (programs(&aws, Cli::Two), aws.administrator());
    // The local AWS has no such things, and no lists of them.
    let unknown = ["list-ssh-public-keys", "list-signing-certificates", "list-service-specific-credentials"];
    let real = sorry_tests::python().with_file_name("aws");
    programs.add(
        "aws",
        &format!("case \"$2\" in {}) exit 0 ;; esac\nexec '{}' \"$@\"", unknown.join(" | "), real.display()),
    );
    let output = programs.run("destroy.sh", &["--yes", "--sessions-only"], &at_once(&aws, &administrator));
    let told = said(&output);
    assert!(output.status.success(), "{told}\n{}", programs.calls());
    for what in PROOFS {
        assert!(told.contains(&format!("proof: no {what} under /sorry/session/")), "{what}: {told}");
    }
    for keys in [&first, &second, &stray] {
        assert!(!works(&aws, keys), "ended, and goes on working");
    }
    assert_eq!(aws.roles("/sorry/session/"), [""; 0]);
    // The rest is there, and lends nothing until somebody lets it.
    assert!(!aws.roles("/sorry/service/").is_empty());
    assert_ne!(sue.sorry(&["tiers"]).code, 0, "the API is stopped");
    for function in ["sorry-api", "sorry-issue", "sorry-provision"] {
        aws.call("lambda.delete_function_concurrency", json!({"FunctionName": function}));
    }
    let (session, third) = lent(&sue);
    assert!(works(&aws, &third));

    let output = programs.run("destroy.sh", &["--yes"], &at_once(&aws, &administrator));
    let told = said(&output);
    assert!(output.status.success(), "{told}\n{}", programs.calls());
    assert!(told.contains(&format!("stopped {session}\n")), "its execution waits: {told}");
    for proof in
        ["running executions", "roles of the service", "policies of the service", "functions of the service"]
    {
        assert!(told.contains(&format!("proof: no {proof}\n")), "{proof}: {told}");
    }
    assert!(!works(&aws, &third));
    assert!(aws.roles("/sorry/").is_empty());
    for call in unknown {
        assert!(programs.calls().contains(call), "not asked for: {call}");
    }
}

/// What a role that stands ready has given ends with all sessions, and neither comes back nor keeps the next session from working.
#[test]
fn what_was_lent_of_a_role_that_stands_ends_and_is_not_had_again() {
    let aws = LocalAws::start();
    let _security = aws.subscribe_to_alerts();
    let sue = aws.register("sue-mgr");
    let emergency = || {
        let asked = [
            "request",
            "--tier",
            "break-glass",
            "--for",
            "15m",
            "--reason",
            "to be ended",
            "--output",
            "json",
        ];
        let view = sue.sorry(&asked).success().json();
        (view["session_id"].as_str().unwrap().to_owned(), sue.profile(view["profile"].as_str().unwrap()))
    };
    let markers = || {
        let listed = aws.call("iam.list_role_policies", json!({"RoleName": "sorry-standing-break-glass"}));
        let names = listed["PolicyNames"].as_array().unwrap().clone();
        names.iter().filter(|name| name.as_str().unwrap().starts_with("revoked-before-")).count()
    };
    let (programs, administrator) = (programs(&aws, Cli::Two), aws.administrator());
    let (session, first) = emergency();
    assert!(works(&aws, &first));
    // As an earlier run has left it.
    let deny = json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThanEquals": {"aws:TokenIssueTime": "2026-01-01T00:00:00Z"}}});
    let deny = json!({"Version": "2012-10-17", "Statement": [deny]}).to_string();
    let earlier = json!({"RoleName": "sorry-standing-break-glass", "PolicyName": "revoked-before-1767225600", "PolicyDocument": deny});
    aws.call("iam.put_role_policy", earlier);
    assert!(works(&aws, &first), "what was ended before is not in the way of what was lent later");

    let output = programs.run("destroy.sh", &["--yes", "--sessions-only"], &at_once(&aws, &administrator));
    assert!(output.status.success(), "{}\n{}", said(&output), programs.calls());
    assert!(!works(&aws, &first), "ended, and goes on working");
    assert_eq!(markers(), 1, "one mark says it all");
    for function in ["sorry-api", "sorry-issue", "sorry-provision"] {
        aws.call("lambda.delete_function_concurrency", json!({"FunctionName": function}));
    }
    let again = sue.sorry(&["renew", &session]);
    assert!(again.code == 4 && again.stderr.contains("was ended by an administrator"), "{again:?}");
    let (_, last) = emergency();
    assert!(works(&aws, &last) && !works(&aws, &first));
    let output = programs.run("destroy.sh", &["--yes"], &at_once(&aws, &administrator));
    assert!(output.status.success(), "{}\n{}", said(&output), programs.calls());
    assert!(!works(&aws, &last));
    assert!(aws.roles("/sorry/").is_empty());
}

/// A call that says that it was done and was not: what is left is seen, and the stack that could still end it stays.
#[test]
fn what_is_left_is_seen_before_the_stack_is_deleted() {
    let aws = LocalAws::start();
    let sue = aws.register("sue-mgr");
    lent(&sue);
    let (programs, administrator) = (programs(&aws, Cli::Two), aws.administrator());
    let real = sorry_tests::python().with_file_name("aws");
    programs.add(
        "aws",
        &format!(
            "if [[ \"$1 $2\" == 'iam delete-role' ]]; then exit 0; fi\nexec '{}' \"$@\"",
            real.display()
        ),
    );
    let output = programs.run("destroy.sh", &["--yes"], &at_once(&aws, &administrator));
    let told = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("error: there are roles under /sorry/session/ left: sorry-sue-developer-"),
        "{told}"
    );
    assert!(!programs.calls().contains("delete-stack"), "{}", programs.calls());
}
