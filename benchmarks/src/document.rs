//! `docs/benchmarks.md`, from the results and from nothing else.

use std::fmt::Write;

use crate::{
    budgets::{Bound, Budget, times_faster},
    command_line::CREDENTIAL_PROCESS,
    paper,
    results::{Growth, Operation, Results, Way},
    scale::CLEAN_UP,
    statistics::Spread,
};

/// What stands in the document as long as no whole run with release programs was kept.
pub const PROVISIONAL: &str = " **Provisional: a quick run, or one without release programs. Its times and sizes mean nothing, and its \
     missed budgets say nothing; its calls do. `make bench` on an idle machine makes the document.**";
/// Headings of the document, in their order.
pub const SECTIONS: [&str; 8] = [
    "Budgets",
    "Command line",
    "Functions",
    "From request to use, from revocation to refusal",
    "Calls of each operation",
    "On real AWS, on paper",
    "Scale",
    "Instructions of the hot paths",
];

fn table(page: &mut String, heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    page.push_str(&line(&heading.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>()));
    page.push_str(&format!("|{}\n", "---|".repeat(heading.len())));
    rows.into_iter().for_each(|row| page.push_str(&line(&row)));
    page.push('\n');
}

fn section(page: &mut String, heading: &str, text: &str) {
    let _ = write!(page, "## {heading}\n\n{}\n\n", text.trim());
}

/// A number for people: three digits that mean something.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 || value.fract() == 0.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

fn spread(spread: &Spread) -> Vec<String> {
    vec![
        number(spread.median),
        number(spread.p95),
        format!("{} – {}", number(spread.least), number(spread.most)),
    ]
}

/// A budget as a row of the table.
pub fn budget_row(budget: &Budget) -> Vec<String> {
    let bound = match budget.bound {
        Bound::AtMost => "at most ",
        Bound::AtLeast => "at least ",
        Bound::Exactly => "",
    };
    vec![
        budget.what.clone(),
        format!("{bound}{} {}", number(budget.limit), budget.unit),
        format!("{} {}", number(budget.measured), budget.unit),
        if budget.is_kept() { "kept" } else { "**missed**" }.to_owned(),
    ]
}

/// The document.
pub fn render(results: &Results) -> String {
    let mut page = String::from("# Benchmarks\n\n");
    let machine = &results.machine;
    let _ = write!(
        page,
        "Written by `make bench` from `benchmarks/results.json`; do not edit. Measured on {} on {}, {} processors, {} GiB, {}; load {} \
         before and {} after, of which the measuring is a part. Programs of the profile `{}`.{}\n\n\
         Times depend on the machine: compare those of one run with each other. Calls, instructions and sizes do not, or hardly.\n\n",
        results.date,
        machine.processor,
        machine.processors,
        number(machine.memory_gib),
        machine.system,
        number(machine.load_before),
        number(machine.load_after),
        results.profile,
        if results.quick || results.profile != "release" { PROVISIONAL } else { "" },
    );
    table(
        &mut page,
        &["program", "version"],
        results.versions.iter().map(|known| vec![known.name.clone(), known.version.clone()]),
    );
    budgets(&mut page, results);
    command_line(&mut page, results);
    functions(&mut page, results);
    section(
        &mut page,
        SECTIONS[3],
        "On the local AWS, which answers at once, has no propagation and runs on the same processors: the hops show what is ours. The \
         time between two calls belongs to whoever was to make the second. Milliseconds.",
    );
    results.ways.iter().for_each(|one| way(&mut page, one));
    operations(&mut page, &results.operations);
    on_paper(&mut page, results);
    scale(&mut page, &results.scale);
    instructions(&mut page, results);
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn budgets(page: &mut String, results: &Results) {
    section(page, SECTIONS[0], "What was promised, and what came of it.");
    table(page, &["what", "budget", "measured", ""], results.budgets.iter().map(budget_row));
    let missed: Vec<_> = results.budgets.iter().filter(|budget| !budget.is_kept()).collect();
    for budget in &missed {
        let _ = writeln!(page, "- Missed: {}. {}", budget.what, next_step(budget));
    }
    if !missed.is_empty() {
        page.push('\n');
    }
}

/// What is to be done about a budget that was missed.
fn next_step(budget: &Budget) -> &'static str {
    if matches!(budget.bound, Bound::Exactly) {
        "The calls have changed: `tests/tests/end_to_end/calls.rs` fails, too, and says which."
    } else if budget.unit == "ms" || budget.unit == "times" {
        "Compare the load above: on a machine that does other things, wait and measure again; on an idle one, the instructions below and \
         `valgrind --tool=callgrind` on the program say where the time goes."
    } else if budget.unit == "MB" {
        "`api` and `sweep` carry the S3 client beside five others, for the digests of the audit; it is more than a megabyte of each, and \
         they start no slower for it. The next step would be a function of its own for the digests."
    } else {
        "`cargo bloat --release` says of which crates the program is made."
    }
}

fn command_line(page: &mut String, results: &Results) {
    let times = times_faster(&results.command_line, CREDENTIAL_PROCESS);
    let text = format!(
        "Whole processes, interleaved, standard output thrown away. All say the credentials of a session that lie ready: `sorry` decrypts \
         them, after an OpenSSH agent has signed; the others read a plain file. `aws` is version 1, since PyPI has no other; only version 2 \
         has `configure export-credentials`, so here it says one of the three values. `sorry credential-process` is {} times as fast \
         as the quickest of them.",
        number(times)
    );
    section(page, SECTIONS[1], &text);
    let row = |program: &crate::results::Program| {
        let mut row = vec![format!("`{}`", program.words)];
        row.extend(spread(&program.milliseconds));
        row.push(number(program.peak_mib.median));
        row.push(program.milliseconds.count.to_string());
        row
    };
    table(
        page,
        &["command", "median, ms", "p95, ms", "least – most, ms", "peak memory, MiB", "runs"],
        results.command_line.iter().map(row),
    );
}

fn functions(page: &mut String, results: &Results) {
    section(
        page,
        SECTIONS[2],
        "Against a runtime API of the benchmark's own, on loopback: from the start of the process to its first poll, and from an event that \
         is refused at once to the next poll (the sweep refuses none; its frame is that of `clean-up`). Clients are built in init; \
         nothing answers here to the connection to DynamoDB that init opens on AWS. Sizes of this machine's build, without symbols. Of certificate authorities they carry Amazon's \
         five: reading the system's 140 took more than half of init.",
    );
    let row = |function: &crate::results::Function| {
        let mut row = vec![format!("`{}`", function.name)];
        row.extend(spread(&function.init_milliseconds));
        let overhead = function.overhead_milliseconds.as_ref();
        row.push(overhead.map_or_else(|| "–".to_owned(), |overhead| number(overhead.median)));
        row.push(overhead.map_or_else(|| "–".to_owned(), |overhead| number(overhead.p95)));
        row.extend([
            number(function.resident_mib.median),
            number(function.program_mb),
            number(function.zip_mb),
        ]);
        row
    };
    let heading = [
        "function",
        "init, median, ms",
        "p95, ms",
        "least – most, ms",
        "event, median, ms",
        "p95, ms",
        "resident, MiB",
        "program, MB",
        "zip, MB",
    ];
    table(page, &heading, results.functions.iter().map(row));
}

fn way(page: &mut String, way: &Way) {
    let _ = write!(page, "**{}**, {} passes\n\n", way.name, way.whole.count);
    let row = |(name, took): &(String, Spread)| [vec![name.clone()], spread(took)].concat();
    let all = ("**all of it**".to_owned(), way.whole.clone());
    table(page, &["hop", "median", "p95", "least – most"], way.hops.iter().chain([&all]).map(row));
}

fn operations(page: &mut String, operations: &[Operation]) {
    section(
        page,
        SECTIONS[4],
        "Every call to AWS that an operation makes, of the command and of the functions; as AWS would count them. How often `sorry` asks \
         where a session stands (`GET /sessions/{id}`, with two reads each) depends on how long it takes. A role grant is held to three \
         transactions, one StartExecution and two IAM writes by `tests/tests/end_to_end/calls.rs`.",
    );
    let row = |operation: &Operation| {
        let each = operation.calls.iter().map(|(call, count)| {
            if *count == 1 { format!("`{call}`") } else { format!("{count} × `{call}`") }
        });
        vec![
            operation.name.clone(),
            operation.calls.values().sum::<usize>().to_string(),
            each.collect::<Vec<_>>().join(", "),
        ]
    };
    table(page, &["operation", "calls", "which"], operations.iter().map(row));
}

fn on_paper(page: &mut String, results: &Results) {
    section(
        page,
        SECTIONS[5],
        "Nothing in this section is measured: it is the way above with published numbers, and with assumptions where none were found. \
         Milliseconds, without the person's own network.",
    );
    let row = |step: &paper::Step| {
        vec![step.what.to_owned(), number(step.warm), number(step.cold), step.source.to_owned()]
    };
    table(page, &["request to usable", "warm", "cold", "from"], paper::REQUEST.iter().map(row));
    let (warm, cold) =
        paper::REQUEST.iter().fold((0.0, 0.0), |sum, step| (sum.0 + step.warm, sum.1 + step.cold));
    let (usual, most) = paper::PROPAGATION;
    let (deny, felt) = paper::REVOCATION;
    let _ = write!(
        page,
        "So: {} s warm and {} s cold without propagation. A new role can be assumed after some {} s [5], at times {} s, in which `sorry` \
         tries again: {} s warm as a rule, {} s at worst. A revocation writes its deny after {} s; it is felt {} s later [5].\n\n\
         What is cold costs handshakes. The one with DynamoDB happens in init, which has a whole processor; for the others no call serves \
         that changes nothing and leaves nothing in CloudTrail.\n\n",
        number(warm / 1000.0),
        number(cold / 1000.0),
        number(usual / 1000.0),
        number(most / 1000.0),
        number((warm + usual) / 1000.0),
        number((cold + most) / 1000.0),
        number(deny / 1000.0),
        number(felt / 1000.0),
    );
    let bill = paper::bill(results);
    let total: f64 = bill.iter().map(paper::Position::dollars).sum();
    let row = |position: &paper::Position| {
        vec![position.what.to_owned(), number(position.count), format!("{:.4}", position.dollars())]
    };
    let sum = [vec!["**all of it**".to_owned(), String::new(), format!("**{total:.2}**")]];
    table(
        page,
        &["1,000 sessions, asked for and left to expire", "how many", "US dollars"],
        bill.iter().map(row).chain(sum),
    );
    page.push_str(
        "From the calls counted above at list prices of us-east-1 without free tiers [9]. STS and IAM cost nothing. Beside it, whatever is \
         asked for: the key of KMS, 1 dollar a month, and a sweep every five minutes, some 8,600 invocations a month.\n\n",
    );
    for (number, source) in paper::SOURCES {
        let _ = writeln!(page, "- [{number}] {source}");
    }
    page.push('\n');
}

fn scale(page: &mut String, scale: &[Growth]) {
    section(
        page,
        SECTIONS[6],
        "On the local AWS, whose own time grows, too: a query of its indexes looks at all rows. The calls are what AWS would see. The \
         exponent is that of the size, by least squares on the logarithms: 0 is no growth, 1 is in proportion. The sweep runs as in Lambda, \
         against the benchmark's runtime API.",
    );
    for growth in scale {
        let _ = write!(
            page,
            "**{}**: {}. Exponent of the calls {}, of the time {}.\n\n",
            growth.name,
            growth.of,
            number(growth.calls_exponent),
            number(growth.time_exponent)
        );
        let row = |point: &crate::results::Point| {
            vec![
                number(point.size as f64),
                number(point.milliseconds),
                number(point.calls as f64),
                number(point.peak_mib),
            ]
        };
        table(page, &["how many", "time, ms", "calls", "peak memory, MiB"], growth.points.iter().map(row));
        if growth.name == CLEAN_UP {
            page.push_str(&per_sweep(growth));
        }
    }
    page.push_str("How many sessions can live at once, on paper:\n\n");
    let row =
        |(quota, sessions, why): &(&str, &str, &str)| [*quota, *sessions, *why].map(str::to_owned).to_vec();
    table(page, &["quota", "sessions", ""], paper::QUOTAS.iter().map(row));
}

/// How many sessions one sweep can end, on paper.
fn per_sweep(growth: &Growth) -> String {
    let [.., before, last] = &growth.points[..] else { return String::new() };
    let each = (last.calls - before.calls) as f64 / (last.size - before.size) as f64;
    let seconds = each * paper::CALL_SECONDS;
    format!(
        "Ending one more takes {} calls. At {} ms each, assumed, one sweep of three minutes ends some {} sessions, one after the other; what \
         is left is taken up by the next, and IAM ends every session by its date in any case.\n\n",
        number(each),
        number(paper::CALL_SECONDS * 1000.0),
        number((paper::SWEEP_SECONDS / seconds).floor())
    )
}

fn instructions(page: &mut String, results: &Results) {
    section(
        page,
        SECTIONS[7],
        "Counted by Cachegrind, without a clock, as the difference between eleven passes and one: a regression shows on a noisy machine. \
         The last column compares with the numbers that were kept before this run.",
    );
    let row = |one: &crate::results::Instructions| {
        let change = one.before.map_or_else(
            || "–".to_owned(),
            |before| format!("{:+.2} %", (one.count as f64 / before as f64 - 1.0) * 100.0),
        );
        vec![one.name.clone(), number(one.count as f64), change]
    };
    table(page, &["one pass of", "instructions", "change"], results.instructions.iter().map(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, shown) in [
            (0.0, "0"),
            (2.345, "2.35"),
            (23.45, "23.4"),
            (234.5678, "235"),
            (1_234_567.0, "1,234,567"),
            (-0.5, "-0.50"),
            (20.0, "20"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
