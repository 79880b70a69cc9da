//! Part 3: from a request to credentials that work, and from a revocation to their end, hop by hop; and the AWS calls of everything
//! that people and the service do.
//!
//! The hops come from the server's record of calls, which has the time of each: what lies between two calls belongs to whoever was to
//! make the second.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sorry_tests::{Call, Keys, LocalAws, Person, Recorder, counted, eventually};

use crate::{
    Depth,
    results::{Operation, Way},
    statistics::{Spread, rounded},
};

/// The way that a request takes.
pub const REQUEST: &str = "request to usable";
/// The way that a revocation takes.
pub const REVOKE: &str = "revoke to refused";
/// The operation whose calls are promised.
pub const GRANT: &str = "request, until the credentials are in a profile";
/// Who looks on, and makes no call of the service's.
const ONLOOKER: &str = "user local-administrator";
const PATIENCE: Duration = Duration::from_secs(90);

/// Who plays.
pub struct Stage<'a> {
    /// Where.
    pub aws: &'a LocalAws,
    /// Who asks.
    pub sue: Person,
    /// Who approves and reviews.
    pub ann: Person,
}

impl<'a> Stage<'a> {
    /// With security listening, which break-glass asks for.
    pub fn new(aws: &'a LocalAws) -> Self {
        drop(aws.subscribe_to_alerts());
        Self { aws, sue: aws.register("sue-mgr"), ann: aws.register_approver("ann-mgr") }
    }

    fn request(&self, tier: &str, window: &str, more: &[&str]) -> (String, Value) {
        let words =
            ["request", "--tier", tier, "--for", window, "--reason", "a measurement", "--output", "json"];
        let view = self.sue.sorry(&[&words[..], more].concat()).success().json();
        (view["session_id"].as_str().expect("an id").to_owned(), view)
    }

    fn granted(&self) -> String {
        self.request("developer", "15m", &[]).0
    }

    fn state(&self, session: &str) -> String {
        let rows = self.aws.session_rows();
        let row = rows.iter().find(|row| row["session_id"]["S"] == session).expect("the session has a row");
        row["state"]["S"].as_str().expect("a state").to_owned()
    }
}

/// Something that is done, and what must be there before it.
pub struct Deed {
    /// What a person would call it.
    pub name: &'static str,
    /// Makes what it needs; a session's id, if it is about one.
    pub before: fn(&Stage<'_>) -> String,
    /// Does it.
    pub act: fn(&Stage<'_>, &str),
}

fn nothing(_: &Stage<'_>) -> String {
    String::new()
}

fn sorry(stage: &Stage<'_>, words: &[&str]) {
    stage.sue.sorry(words).success();
}

fn expires(stage: &Stage<'_>, session: &str) {
    eventually("it has expired", PATIENCE, || (stage.state(session) == "EXPIRED").then_some(()));
}

/// Everything whose calls are counted. What is added to the service is added here.
pub const DEEDS: &[Deed] = &[
    Deed { name: GRANT, before: nothing, act: |stage, _| drop(stage.granted()) },
    Deed {
        name: "request with `--grant user`",
        before: nothing,
        act: |stage, _| drop(stage.request("read-only", "15m", &["--grant", "user"])),
    },
    Deed {
        name: "request of a standing role, with an alert before it",
        before: nothing,
        act: |stage, _| drop(stage.request("break-glass", "15m", &[])),
    },
    Deed {
        name: "request that waits for an approval",
        before: nothing,
        act: |stage, _| drop(stage.request("admin", "15m", &["--no-wait"])),
    },
    Deed {
        name: "approve",
        before: |stage| stage.request("admin", "15m", &["--no-wait"]).0,
        act: |stage, session| {
            stage.ann.sorry(&["approve", session]).success();
            eventually("it is granted", PATIENCE, || (stage.state(session) == "ACTIVE").then_some(()));
        },
    },
    Deed {
        name: "request --dry-run",
        before: nothing,
        act: |stage, _| {
            let words =
                ["request", "--tier", "developer", "--for", "15m", "--reason", "a measurement", "--dry-run"];
            sorry(stage, &words);
        },
    },
    Deed { name: "tiers", before: nothing, act: |stage, _| sorry(stage, &["tiers"]) },
    Deed {
        name: "status",
        before: |stage| stage.granted(),
        act: |stage, session| sorry(stage, &["status", session]),
    },
    Deed { name: "list", before: nothing, act: |stage, _| sorry(stage, &["list"]) },
    Deed {
        name: "renew",
        before: |stage| stage.granted(),
        act: |stage, session| sorry(stage, &["renew", session]),
    },
    Deed {
        name: "extend, until the credentials are in a profile",
        before: |stage| stage.granted(),
        act: |stage, session| sorry(stage, &["extend", session, "--for", "15m"]),
    },
    Deed {
        name: "extend of a user, until the credentials are in a profile",
        before: |stage| stage.request("read-only", "15m", &["--grant", "user"]).0,
        act: |stage, session| sorry(stage, &["extend", session, "--for", "15m"]),
    },
    Deed {
        name: "revoke",
        before: |stage| stage.granted(),
        act: |stage, session| sorry(stage, &["revoke", session]),
    },
    Deed {
        name: "revoke of a user",
        before: |stage| stage.request("read-only", "15m", &["--grant", "user"]).0,
        act: |stage, session| sorry(stage, &["revoke", session]),
    },
    Deed {
        name: "revoke of a standing role's session",
        before: |stage| stage.request("break-glass", "15m", &[]).0,
        act: |stage, session| sorry(stage, &["revoke", session]),
    },
    Deed {
        name: "end of the window",
        before: |stage| stage.request("developer", "15s", &[]).0,
        act: expires,
    },
    Deed {
        name: "end of the window of a user",
        before: |stage| stage.request("read-only", "15s", &["--grant", "user"]).0,
        act: expires,
    },
    Deed {
        name: "end of the window of a standing role's session",
        before: |stage| stage.request("break-glass", "15s", &[]).0,
        act: expires,
    },
    Deed { name: "sweep, nothing to do", before: nothing, act: |stage, _| drop(stage.aws.sweep()) },
];

/// The calls of a deed, of all who made some.
pub fn calls_of(stage: &Stage<'_>, deed: &Deed) -> Operation {
    let about = (deed.before)(stage);
    drop(Recorder::begin(stage.aws).when_quiet());
    let recorder = Recorder::begin(stage.aws);
    (deed.act)(stage, &about);
    let calls = counted(&recorder.when_quiet(), &[ONLOOKER]);
    // A caller has few live sessions of a tier at once.
    sorry(stage, &["revoke", "--all"]);
    Operation { name: deed.name.to_owned(), calls }
}

/// One pass: hops in their order, in milliseconds.
type Hops = Vec<(&'static str, f64)>;

fn now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map(|since| since.as_secs_f64())
        .unwrap_or_default()
}

/// Names moments one after the other; each hop is the time since the one before.
struct Chain {
    at: f64,
    hops: Hops,
}

impl Chain {
    fn to(&mut self, name: &'static str, moment: f64) {
        self.hops.push((name, (moment - self.at) * 1000.0));
        self.at = moment;
    }
}

#[track_caller]
fn first<'a>(calls: &'a [Call], what: &str, wanted: impl Fn(&Call) -> bool) -> &'a Call {
    calls.iter().find(|call| wanted(call)).unwrap_or_else(|| panic!("there is no {what} in {calls:#?}"))
}

#[track_caller]
fn last<'a>(calls: &'a [Call], what: &str, wanted: impl Fn(&Call) -> bool) -> &'a Call {
    calls.iter().rev().find(|call| wanted(call)).unwrap_or_else(|| panic!("there is no {what} in {calls:#?}"))
}

fn is(call: &Call, function: &str, operation: &str) -> bool {
    call.is_of_function(function) && call.operation == operation
}

/// Asks, and uses what was given once.
fn request_once(stage: &Stage<'_>) -> (String, Keys, Hops) {
    let recorder = Recorder::begin(stage.aws);
    let started = now();
    let (session, view) = stage.request("developer", "15m", &[]);
    let exited = now();
    let keys = stage.sue.profile(view["profile"].as_str().expect("a profile"));
    stage.aws.judge.call(&keys, "sns.list_topics", json!({})).allowed();
    let calls = recorder.so_far();

    let mut chain = Chain { at: started, hops: Vec::new() };
    let asked = first(&calls, "request", |call| call.name() == "execute-api:POST /tiers/{tier}/sessions");
    chain.to("command: start, question for the tiers, signing", asked.begun);
    let decided =
        first(&calls, "first call of api", |call| call.is_of_function("api") && call.begun >= asked.begun);
    chain.to("gateway and start of `api`", decided.begun);
    let handed_over = first(&calls, "StartExecution", |call| is(call, "api", "StartExecution"));
    chain.to("decision and row", handed_over.begun);
    let provisioning = first(&calls, "first call of provision", |call| call.is_of_function("provision"));
    chain.to("workflow and start of `provision`", provisioning.begun);
    let active = last(&calls, "transaction of provision", |call| is(call, "provision", "TransactWriteItems"));
    let iam: f64 = calls
        .iter()
        .filter(|call| call.is_of_function("provision") && call.service == "iam")
        .map(|call| call.ended - call.begun)
        .sum();
    chain.to("`provision`: rows", active.ended - iam);
    chain.to("IAM", active.ended);
    let assumed = last(&calls, "AssumeRole", |call| call.operation == "AssumeRole" && call.status == 200);
    chain.to("until the command sees ACTIVE", assumed.begun);
    chain.to("STS", assumed.ended);
    chain.to("profile written, command over", exited);
    let used = first(&calls, "first use", |call| call.service == "sns" && call.begun >= exited);
    chain.to("first accepted call", exited + used.ended - used.begun);
    (session, keys, chain.hops)
}

/// Ends, and tries what was given once more.
fn revoke_once(stage: &Stage<'_>, session: &str, keys: &Keys) -> Hops {
    let recorder = Recorder::begin(stage.aws);
    let started = now();
    stage.sue.sorry(&["revoke", session]).success();
    let exited = now();
    assert!(stage.aws.judge.call(keys, "sns.list_topics", json!({})).is_denied(), "revoked, and not refused");
    let calls = recorder.so_far();

    let mut chain = Chain { at: started, hops: Vec::new() };
    let asked = first(&calls, "revocation", |call| call.name() == "execute-api:DELETE /sessions/{id}");
    chain.to("command: start, signing", asked.begun);
    let decided =
        first(&calls, "first call of api", |call| call.is_of_function("api") && call.begun >= asked.begun);
    chain.to("gateway and start of `api`", decided.begun);
    let handed_over = first(&calls, "StartExecution", |call| is(call, "api", "StartExecution"));
    chain.to("decision and row", handed_over.begun);
    let cleaning = first(&calls, "first call of clean-up", |call| call.is_of_function("clean-up"));
    chain.to("workflow and start of `clean-up`", cleaning.begun);
    let denied = first(&calls, "deny", |call| is(call, "clean-up", "PutRolePolicy"));
    chain.to("row, until the deny is written: refused from here", denied.ended);
    let over = last(&calls, "transaction of clean-up", |call| is(call, "clean-up", "TransactWriteItems"));
    chain.to("role removed, row says so", over.ended);
    chain.to("until the command sees and says it", exited);
    chain.hops
}

fn way(name: &str, passes: &[Hops]) -> Way {
    let whole = passes.iter().map(|hops| hops.iter().map(|(_, took)| took).sum()).collect();
    let names = passes.first().into_iter().flatten().map(|(name, _)| *name);
    let hop = |(index, name): (usize, &str)| {
        (name.to_owned(), Spread::of(passes.iter().map(|hops| rounded(hops[index].1)).collect()))
    };
    Way { name: name.to_owned(), whole: Spread::of(whole), hops: names.enumerate().map(hop).collect() }
}

/// Measures both ways, and counts the calls of every deed.
///
/// # Panics
/// When something is refused that must not be, or the other way round.
pub fn measure(depth: Depth) -> (Vec<Way>, Vec<Operation>) {
    let aws = LocalAws::start_with(&["SweepRate=rate(1 hour)"]);
    let stage = Stage::new(&aws);
    let (mut requests, mut revocations) = (Vec::new(), Vec::new());
    let passes = depth.choose(12, 2);
    for pass in 0..=passes {
        let (session, keys, hops) = request_once(&stage);
        let back = revoke_once(&stage, &session, &keys);
        // The first finds nothing ready, neither here nor at the server.
        if pass > 0 {
            requests.push(hops);
            revocations.push(back);
        }
    }
    let operations = DEEDS.iter().map(|deed| calls_of(&stage, deed)).collect();
    (vec![way(REQUEST, &requests), way(REVOKE, &revocations)], operations)
}
