//! Part 4: lists, sweeps and clean-ups with many rows and principals, on the local AWS: time, calls, memory, and how they grow.
//!
//! The rows are put there by `benchmarks/plant.py`, after rows that the service wrote. The sweep runs as it does in Lambda, against
//! the benchmark's own runtime API, so that its memory can be seen.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sorry_tests::{Call, LocalAws, Person, Recorder};

use crate::{
    Depth,
    functions::Running,
    measured,
    results::{Growth, Point},
    statistics::{exponent, rounded},
};

/// The growth of what the sweep does when nobody else has.
pub const CLEAN_UP: &str = "sweep that ends sessions (clean-up)";
/// Long past, for sessions that are due.
const PAST: &str = "2020-01-01T00:00:00Z";

struct World {
    aws: LocalAws,
    sue: Person,
    live: Value,
    ended: Value,
}

impl World {
    fn new() -> Self {
        let aws = LocalAws::start_with(&["SweepRate=rate(1 hour)"]);
        let sue = aws.register("sue-mgr");
        let request = || {
            let words = [
                "request",
                "--tier",
                "developer",
                "--for",
                "8h",
                "--reason",
                "a measurement",
                "--output",
                "json",
            ];
            let view = sue.sorry(&words).success().json();
            view["session_id"].as_str().expect("an id").to_owned()
        };
        let (live, ended) = (request(), request());
        sue.sorry(&["revoke", &ended]).success();
        // Places the canary; from here on the sweep trusts the table.
        aws.sweep();
        let row = |id: &str| {
            let found = aws.session_rows().into_iter().find(|row| row["session_id"]["S"] == id);
            found.expect("the session has a row")
        };
        let (live, ended) = (row(&live), row(&ended));
        Self { aws, sue, live, ended }
    }

    /// That many more rows after this one.
    fn plant(&self, count: usize, row: &Value, expires_at: Option<&str>, live: bool) {
        let asked = json!({
            "endpoint_url": self.aws.output("endpoint_url"), "credentials": self.aws.administrator(),
            "row": row, "count": count, "expires_at": expires_at, "live": live,
        });
        let mut planting = Command::new(sorry_tests::python())
            .arg(sorry_tests::project().join("benchmarks/plant.py"))
            .stdin(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut pipe = planting.stdin.take().expect("piped");
        pipe.write_all(asked.to_string().as_bytes()).expect("it listens");
        drop(pipe);
        assert!(planting.wait().is_ok_and(|status| status.success()), "the rows could not be planted");
    }

    /// `sorry list`, of all sessions of a person.
    fn list(&self, size: usize) -> Point {
        let recorder = Recorder::begin(&self.aws);
        let run = measured::run(&self.sue.command(&["list", "--output", "json"]));
        let calls = recorder.when_quiet();
        Point {
            size,
            milliseconds: rounded(run.milliseconds),
            calls: calls.len(),
            peak_mib: rounded(run.peak_mib),
        }
    }

    /// One sweep, and its report.
    fn sweep(&self, size: usize) -> (Point, Value) {
        let configuration = self.aws.call(
            "lambda.get_function_configuration",
            json!({"FunctionName": self.aws.output("SweepFunctionName")}),
        );
        let variables =
            configuration["Environment"]["Variables"].as_object().expect("the function has settings");
        let keys = self.aws.administrator();
        let mut environment: BTreeMap<String, String> = variables
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        for (name, value) in [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", self.aws.output("endpoint_url")),
            ("AWS_ACCESS_KEY_ID", &keys.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key),
            ("PATH", "/usr/bin:/bin"),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let mut running = Running::start("sweep", &environment);
        let recorder = Recorder::begin(&self.aws);
        let (milliseconds, good, answer) = running.invoke("{}");
        assert!(good, "the sweep failed: {answer}");
        let calls: Vec<Call> = recorder.so_far();
        let peak_mib = rounded(running.memory_mib("VmHWM"));
        let report = serde_json::from_str(&answer).expect("a report");
        (Point { size, milliseconds: rounded(milliseconds), calls: calls.len(), peak_mib }, report)
    }

    /// As many sweeps as it takes to end so many sessions: one works for three minutes at most.
    fn end_all(&self, size: usize) -> Point {
        let mut all = Point { size, milliseconds: 0.0, calls: 0, peak_mib: 0.0 };
        let mut ended = 0;
        while ended < size {
            let (point, report) = self.sweep(size);
            let more =
                report["ended"].as_u64().and_then(|more| usize::try_from(more).ok()).unwrap_or_default();
            assert!(more > 0 && ended + more <= size, "after {ended} of {size}: {report}");
            ended += more;
            all.milliseconds = rounded(all.milliseconds + point.milliseconds);
            all.calls += point.calls;
            all.peak_mib = all.peak_mib.max(point.peak_mib);
        }
        all
    }
}

fn growth(name: &str, of: &str, points: Vec<Point>) -> Growth {
    let by = |value: fn(&Point) -> f64| {
        exponent(&points.iter().map(|point| (point.size as f64, value(point))).collect::<Vec<_>>())
    };
    Growth {
        time_exponent: by(|point| point.milliseconds),
        calls_exponent: by(|point| point.calls as f64),
        name: name.to_owned(),
        of: of.to_owned(),
        points,
    }
}

/// Measures lists and sweeps beside rows of ended sessions, sweeps that end sessions, and sweeps over live ones.
///
/// # Panics
/// When a sweep does other things than it was made to.
pub fn measure(depth: Depth) -> Vec<Growth> {
    let world = World::new();
    let (mut lists, mut beside, mut ending, mut live) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());

    let mut there = 1;
    for size in depth.choose([100, 1_000, 10_000], [10, 30, 100]) {
        world.plant(size - there, &world.ended, None, false);
        there = size;
        lists.push(world.list(size));
        beside.push(world.sweep(size).0);
    }
    // Where no other rows are, as the local AWS slows down with them.
    let emptier = World::new();
    for size in depth.choose([10, 100, 1_000], [2, 5, 10]) {
        emptier.plant(size, &emptier.live, Some(PAST), true);
        ending.push(emptier.end_all(size));
    }
    let mut there = 1;
    for size in depth.choose([10, 100, 1_000], [2, 5, 10]) {
        world.plant(size - there, &world.live, None, true);
        there = size;
        let (point, report) = world.sweep(size);
        assert_eq!(report["orphans"], json!([]), "{report}");
        assert_eq!(report["repaired"], 0, "{report}");
        live.push(point);
    }
    vec![
        growth("`sorry list`, all pages", "sessions of one person, ended", lists),
        growth("sweep, nothing to do", "rows of ended sessions beside it", beside),
        growth(CLEAN_UP, "sessions that are due, with their roles", ending),
        growth("sweep, nothing to do", "live sessions with their roles", live),
    ]
}
