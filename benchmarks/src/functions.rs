//! Part 2: what a function costs before it does anything: its start, to the first poll of the runtime API, and what an event costs that
//! is refused at once, without any call to AWS.

use std::{
    collections::BTreeMap,
    fs::File,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::json;

use crate::{
    Depth, measured,
    results::Function,
    runtime_api::RuntimeApi,
    statistics::{Spread, rounded},
};

/// Every function of the service.
pub const FUNCTIONS: [&str; 6] = ["api", "issue", "provision", "clean-up", "sweep", "alert"];
/// Events that one started function is given to measure what each costs; the first, which finds nothing ready, is not kept.
const EVENTS: usize = 20;

/// A function that runs against a runtime API of its own; it ends with this value.
pub struct Running {
    api: RuntimeApi,
    child: Child,
    /// From just before its start to its first poll, in milliseconds.
    pub init_milliseconds: f64,
    polled: Instant,
}

impl Running {
    /// Starts a function with an environment, and waits for its first poll.
    ///
    /// # Panics
    /// When it does not start or does not poll.
    pub fn start(name: &str, environment: &BTreeMap<String, String>) -> Self {
        let api = RuntimeApi::start();
        let mut command = Command::new(measured::binaries().join(format!("sorry-{name}")));
        command
            .env_clear()
            .envs(environment)
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", format!("sorry-{name}"))
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/measured")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "measured")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().expect("the functions are built");
        let polled = api.polled();
        let init_milliseconds = milliseconds(started, polled);
        Self { api, child, init_milliseconds, polled }
    }

    /// Gives it an event and waits until it polls for the next: milliseconds, whether it succeeded, its answer.
    pub fn invoke(&mut self, event: &str) -> (f64, bool, String) {
        let handed_out = Instant::now();
        let (good, answer) = self.api.invoke(event);
        self.polled = self.api.polled();
        (milliseconds(handed_out, self.polled), good, answer)
    }

    /// Its resident memory now (`VmRSS`), or the most it ever was (`VmHWM`), in MiB.
    pub fn memory_mib(&self, which: &str) -> f64 {
        measured::status_mib(self.child.id(), which)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

/// Everything that any of the functions reads. Nothing listens at the endpoint: nothing is called.
fn settings() -> BTreeMap<String, String> {
    let arn = |service: &str, rest: &str| format!("arn:aws:{service}:us-east-1:123456789012:{rest}");
    [
        ("SORRY_SESSIONS_TABLE", "sorry-sessions".to_owned()),
        ("SORRY_REGISTRY_TABLE", "sorry-registry".to_owned()),
        ("SORRY_AUDIT_TABLE", "sorry-audit".to_owned()),
        ("SORRY_EVENT_BUS", "sorry".to_owned()),
        ("SORRY_ALERT_TOPIC_ARN", arn("sns", "sorry-alerts")),
        ("SORRY_STATE_MACHINE_ARN", arn("states", "stateMachine:sorry-session")),
        ("SORRY_ENABLED_TIERS", "read-only,developer,admin,break-glass".to_owned()),
        ("SORRY_MINIMUM_WINDOW_SECONDS", "900".to_owned()),
        ("SORRY_MFA_REQUIRED", "true".to_owned()),
        ("SORRY_ADMINISTRATORS", String::new()),
        ("SORRY_IDENTITY_PROVIDER_ROLES", String::new()),
        ("SORRY_AUDIT_BUCKET", "sorry-audit".to_owned()),
        ("SORRY_AUDIT_DIGEST_SECONDS", "3600".to_owned()),
        ("SORRY_REQUESTS_PER_MINUTE", "10".to_owned()),
        ("SORRY_MAXIMUM_SESSION_PRINCIPALS", "900".to_owned()),
        ("SORRY_ROLE_QUOTA", "1000".to_owned()),
        ("SORRY_PARTITION", "aws".to_owned()),
        ("SORRY_ACCOUNT_ID", "123456789012".to_owned()),
        (
            "SORRY_BOUNDARY_ARN_PREFIX",
            "arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-".to_owned(),
        ),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
        ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEXAMPLE".to_owned()),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9".to_owned()),
        ("PATH", "/usr/bin:/bin".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// An event that a function refuses before it calls anything; none for the sweep, which takes every event.
fn refused_at_once(name: &str) -> Option<String> {
    match name {
        "sweep" => None,
        // Of an account that is not the service's.
        "api" | "issue" => Some(
            json!({
                "resource": "/whoami", "path": "/whoami", "httpMethod": "GET", "headers": {"host": "measured"},
                "multiValueHeaders": {"host": ["measured"]}, "queryStringParameters": null,
                "multiValueQueryStringParameters": null, "pathParameters": null, "stageVariables": null,
                "requestContext": {
                    "accountId": "123456789012", "resourceId": "x", "stage": "v1", "requestId": "measured",
                    "resourcePath": "/whoami", "httpMethod": "GET", "apiId": "a1b2c3d4e5", "path": "/v1/whoami",
                    "protocol": "HTTP/1.1", "requestTimeEpoch": 0,
                    "identity": {
                        "accountId": "000000000000", "caller": "AIDAEXAMPLE", "user": "AIDAEXAMPLE",
                        "userArn": "arn:aws:iam::000000000000:user/somebody", "sourceIp": "127.0.0.1",
                        "accessKey": "AKIAIOSFODNN7EXAMPLE",
                    },
                },
                "body": null, "isBase64Encoded": false,
            })
            .to_string(),
        ),
        _ => Some("{\"measured\":true}".to_owned()),
    }
}

/// Measures all functions, interleaved.
///
/// # Panics
/// When one of them cannot be run, or calls something instead of refusing.
pub fn measure(depth: Depth) -> Vec<Function> {
    let environment = settings();
    let rounds = depth.choose(30, 3);
    let mut measured: BTreeMap<&str, [Vec<f64>; 3]> = BTreeMap::new();
    for _ in 0..rounds {
        for name in FUNCTIONS {
            let mut running = Running::start(name, &environment);
            let [inits, overheads, residents] = measured.entry(name).or_default();
            inits.push(running.init_milliseconds);
            residents.push(running.memory_mib("VmRSS"));
            // The sweep's frame is that of `clean-up`.
            let Some(event) = refused_at_once(name) else { continue };
            for number in 0..=EVENTS {
                let (took, _, answer) = running.invoke(&event);
                let refused = answer.contains("InvalidInput") || answer.contains("UnknownCaller");
                assert!(refused, "{name} did not refuse: {answer}");
                if number > 0 {
                    overheads.push(took);
                }
            }
        }
    }
    let function = |name: &str| {
        let [inits, overheads, residents] = measured.remove(name).expect("all were measured");
        let (program_mb, zip_mb) = sizes(name);
        Function {
            name: name.to_owned(),
            init_milliseconds: Spread::of(inits),
            overhead_milliseconds: (!overheads.is_empty()).then(|| Spread::of(overheads)),
            resident_mib: Spread::of(residents),
            program_mb,
            zip_mb,
        }
    };
    FUNCTIONS.map(function).into()
}

/// Sizes of a program, without symbols, and of its zip, in MB. This build's: for this machine's processor.
fn sizes(name: &str) -> (f64, f64) {
    let binary = measured::binaries().join(format!("sorry-{name}"));
    let program = binary.metadata().expect("the functions are built").len();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let zip = folder.path().join("function.zip");
    // As `make package` has it made.
    let script = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as archive:\n    archive.write(sys.argv[1], 'bootstrap')";
    let done = Command::new(sorry_tests::python()).args(["-c", script]).arg(&binary).arg(&zip).status();
    assert!(done.expect("Python runs").success(), "{name} cannot be zipped");
    let zipped = File::open(&zip).and_then(|file| file.metadata()).expect("the zip is there").len();
    (rounded(program as f64 / 1e6), rounded(zipped as f64 / 1e6))
}
