//! Part 3, on paper: what the counted calls mean on real AWS, in time and in money, and which quota ends the number of sessions. Nothing
//! here is measured; each number has its source, or says that it is assumed. List prices are those of us-east-1, without free tiers.

use crate::{
    path::GRANT,
    results::{Operation, Results},
};

/// The operation that ends a session which nobody ended.
const END: &str = "end of the window";
/// States that a session goes through by `infrastructure/session.asl.json`: Begin, Provision, WaitUntilExpiry, Due, CleanUp, WhatIsLeft,
/// Done.
const TRANSITIONS: f64 = 7.0;
/// What one invocation is billed for, at 512 MB: nearly all of it is waiting for AWS.
const BILLED_SECONDS: f64 = 0.15;
const MEMORY_GB: f64 = 0.5;
/// Write units of a transaction: a row of 2 to 3 KB in the table and its three indexes, and an audit record, each twice for being one.
const UNITS_OF_TRANSACTION: f64 = 26.0;
/// Write units of another write: a row with its indexes.
const UNITS_OF_WRITE: f64 = 12.0;
/// Log lines of one invocation.
const LOGGED_GB: f64 = 1.5e-6;

/// A line of the model of time, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What happens.
    pub what: &'static str,
    /// When everything is warm.
    pub warm: f64,
    /// When the functions start first.
    pub cold: f64,
    /// Where the numbers come from.
    pub source: &'static str,
}

/// The way of a request on real AWS, in order, without propagation and without the person's own network.
pub const REQUEST: [Step; 8] = [
    Step {
        what: "gateway, twice before the decision (`GET /tiers`, `POST`)",
        warm: 40.0,
        cold: 40.0,
        source: "10 to 30 ms a request [1]; the middle",
    },
    Step {
        what: "`api` starts, connects to DynamoDB and Step Functions",
        warm: 0.0,
        cold: 259.0,
        source: "init 20 ms [2]; a TLS handshake 745 ms at 128 MB [3]: 186 ms at 512 MB, and 53 ms in init, which has a whole processor",
    },
    Step {
        what: "`api`: four reads, one transaction, StartExecution",
        warm: 60.0,
        cold: 60.0,
        source: "single-digit ms a read [4], taken as 5; transaction 15 and StartExecution 25 assumed",
    },
    Step {
        what: "workflow to `provision`",
        warm: 100.0,
        cold: 100.0,
        source: "assumed: two transitions and an invocation; no published number was found",
    },
    Step {
        what: "`provision` starts, connects to DynamoDB, IAM and EventBridge",
        warm: 0.0,
        cold: 445.0,
        source: "as above, two more handshakes after init",
    },
    Step { what: "`provision`: three reads, two transactions", warm: 45.0, cold: 45.0, source: "as above" },
    Step {
        what: "IAM: CreateRole, PutRolePolicy",
        warm: 300.0,
        cold: 300.0,
        source: "assumed, 150 ms each: control plane in one region",
    },
    Step {
        what: "until the command asks again; its question; AssumeRole",
        warm: 400.0,
        cold: 600.0,
        source: "half a pause of 0.2 to 2 s (`cli/src/sessions.rs`), one gateway request, 100 ms for STS assumed",
    },
];

/// Propagation of a new role, in milliseconds: what most wait, and the most that the command is patient with.
pub const PROPAGATION: (f64, f64) = (4_000.0, 30_000.0);

/// From a revocation to its effect on real AWS, warm, without and with propagation of the deny, in milliseconds.
pub const REVOCATION: (f64, f64) = (20.0 + 10.0 + 40.0 + 100.0 + 25.0 + 150.0, 4_000.0);

/// What one call of the sweep takes on real AWS, in seconds: most are IAM's and DynamoDB's, and some of those are writes. Assumed.
pub const CALL_SECONDS: f64 = 0.03;
/// How long one sweep works: `BUDGET` in `crates/session/src/sweep.rs`.
pub const SWEEP_SECONDS: f64 = 180.0;

/// The sources, by their numbers.
pub const SOURCES: [(&str, &str); 10] = [
    ("1", "<https://www.smplogs.com/patterns/apigateway/high-latency>"),
    ("2", "<https://fulgurion.com/blog/posts/rust-on-aws-lambda-cold-start/>: 18 to 22 ms at 512 MB, arm64"),
    ("3", "<https://shinyaz.com/en/blog/2026/03/31/lambda-rust-tls-latency-breakdown>"),
    ("4", "<https://aws.amazon.com/dynamodb/features/>"),
    (
        "5",
        "<https://ferkakta.dev/iam-eventual-consistency-is-four-seconds>, with OFFENSAI's measurements in us-east-1 and eu-central-1",
    ),
    ("6", "<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>"),
    ("7", "<https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html>"),
    ("8", "<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>"),
    (
        "9",
        "<https://aws.amazon.com/api-gateway/pricing/>, <https://aws.amazon.com/lambda/pricing/>, \
         <https://aws.amazon.com/step-functions/pricing/>, <https://aws.amazon.com/dynamodb/pricing/on-demand/>, \
         <https://aws.amazon.com/eventbridge/pricing/>, <https://aws.amazon.com/cloudwatch/pricing/>",
    ),
    ("10", "`infrastructure/template.yaml`, the stage's `MethodSettings`"),
];

/// A quota with the number of sessions that it allows.
pub const QUOTAS: [(&str, &str, &str); 5] = [
    (
        "IAM roles in the account: 1,000; 5,000 on request [6]",
        "some 990; 4,990 on request",
        "**the first to end it**: each live session has a role, and the stack and the account have theirs",
    ),
    ("open executions: 1,000,000 in the account and region [7]", "1,000,000", "each live session has one"),
    (
        "requests to the API: 20 a second, 40 at once [10]",
        "no limit of those that live; some 4 new ones a second",
        "a request is three to eight calls; our own throttle, to be raised with need",
    ),
    (
        "concurrent invocations: 1,000 in the region [8]",
        "no limit of those that live",
        "an invocation lasts some 0.15 s: 1,000 at once are thousands a second",
    ),
    (
        "IAM writes: an unpublished rate",
        "no limit of those that live",
        "two writes to begin, four to end; retries with jitter in the workflow",
    ),
];

/// A position of the bill for 1,000 sessions, in US dollars.
#[derive(Clone, Debug)]
pub struct Position {
    /// For what.
    pub what: &'static str,
    /// How many of it.
    pub count: f64,
    /// Of one, in dollars.
    pub price: f64,
}

impl Position {
    /// What it costs.
    pub fn dollars(&self) -> f64 {
        self.count * self.price
    }
}

/// The bill for 1,000 sessions that are asked for, used, and end by themselves.
///
/// # Panics
/// When the calls of such a session were not counted.
pub fn bill(results: &Results) -> Vec<Position> {
    let operation = |name: &str| {
        results.operations.iter().find(|operation| operation.name == name).expect("it was counted")
    };
    let both = [operation(GRANT), operation(END)];
    let count = |wanted: &dyn Fn(&str) -> bool| {
        let of = |operation: &Operation| -> usize {
            operation.calls.iter().filter(|(call, _)| wanted(call)).map(|(_, count)| count).sum()
        };
        1000.0 * both.iter().map(|operation| of(operation)).sum::<usize>() as f64
    };
    let gateway = count(&|call| call.starts_with("execute-api:"));
    // One for each request, `provision`, `clean-up`.
    let invocations = gateway + 2000.0;
    let transactions = count(&|call| call == "dynamodb:TransactWriteItems");
    let writes =
        count(&|call| matches!(call, "dynamodb:PutItem" | "dynamodb:UpdateItem" | "dynamodb:DeleteItem"));
    let reads = count(&|call| matches!(call, "dynamodb:GetItem" | "dynamodb:Query"));
    vec![
        Position { what: "API Gateway, REST requests", count: gateway, price: 3.50e-6 },
        Position { what: "Lambda, invocations", count: invocations, price: 0.20e-6 },
        Position {
            what: "Lambda, GB-seconds on arm64",
            count: invocations * BILLED_SECONDS * MEMORY_GB,
            price: 1.33334e-5,
        },
        Position { what: "Step Functions, transitions", count: 1000.0 * TRANSITIONS, price: 25e-6 },
        Position {
            what: "DynamoDB, write units",
            count: transactions * UNITS_OF_TRANSACTION + writes * UNITS_OF_WRITE,
            price: 0.625e-6,
        },
        Position { what: "DynamoDB, read units", count: reads, price: 0.125e-6 },
        Position {
            what: "EventBridge, custom events",
            count: count(&|call| call == "events:PutEvents"),
            price: 1e-6,
        },
        Position { what: "CloudWatch Logs, GB taken in", count: invocations * LOGGED_GB, price: 0.50 },
    ]
}
