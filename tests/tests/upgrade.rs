//! What an earlier version of the service has written, every later one can end. `tests/recorded` holds rows in every state, inputs and
//! data of executions, and the workflow's definition, as each version wrote them; here the present code reads all of it and ends it in
//! every way there is, and nothing may be left.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test, helpers included: a panic in here is a test that fails"
)]

mod harness;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::PathBuf,
};

use aws_sdk_dynamodb::types::AttributeValue;
use harness::{Bench, GRACE, SWEEP_EVERY, after};
use serde_json::{Map, Value, json};
use sorry_session::{
    CallerEntry, Session, State,
    ports::Clock,
    provision::{SESSION_PATH, SESSION_TAG},
    session::ROW_VERSION,
};
use sorry_testkit::{Role, Simulation, StateMachine, World};

/// What one version wrote.
struct Recorded {
    version: u32,
    rows: Vec<Value>,
    executions: Vec<Value>,
    callers: Vec<Value>,
    definition: String,
}

/// The recordings, oldest first.
fn recorded() -> Vec<Recorded> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let mut found: Vec<Recorded> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let version = path.file_name()?.to_str()?.strip_prefix('v')?.parse().ok()?;
            let text = |name: &str| fs::read_to_string(path.join(name)).unwrap();
            let json = |name: &str| serde_json::from_str::<Vec<Value>>(&text(name)).unwrap();
            Some(Recorded {
                version,
                rows: json("rows.json"),
                executions: json("executions.json"),
                callers: json("registry.json")
                    .into_iter()
                    .filter(|item| item["kind"]["S"] == "caller")
                    .collect(),
                definition: text("session.asl.json"),
            })
        })
        .collect();
    found.sort_by_key(|recorded| recorded.version);
    found
}

/// DynamoDB's JSON as the SDK has it.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = || value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap()),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(item(value)),
        other => panic!("`{other}` is no type of an attribute that is used"),
    }
}

fn item(value: &Value) -> HashMap<String, AttributeValue> {
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// DynamoDB's JSON without its types.
fn plain(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => serde_json::from_str(value.as_str().unwrap()).unwrap(),
        "L" => value.as_array().unwrap().iter().map(plain).collect(),
        "M" => plain_item(value),
        _ => value.clone(),
    }
}

fn plain_item(value: &Value) -> Value {
    let members = value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), plain(value)));
    Value::Object(Map::from_iter(members))
}

/// A recorded row as the present code reads it from the table.
#[track_caller]
fn read(row: &Value) -> Session {
    sorry_aws::stored_session(item(row)).unwrap_or_else(|error| panic!("{error}: {row}"))
}

/// A deployment of the present version that finds one session of an earlier one, at the moment at which its row was written.
fn found(session: &Session, caller: &CallerEntry) -> Bench {
    let bench = Bench::new();
    let world = &bench.world;
    world.plant_caller(CallerEntry { unique_id: session.caller.unique_id.clone(), ..caller.clone() });
    world.set_clock(session.changed_at);
    world.plant_row(session);
    if session.provisioning_at.is_some() && !session.state.is_over() {
        world.plant_role(role(session));
    }
    bench
}

/// Its role, as the earlier version made it: as far as it matters for taking it away.
fn role(session: &Session) -> Role {
    let access = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "*", "Resource": "*",
         "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": session.expires_at}}},
    ]});
    let mut role = Role::new(&format!("{SESSION_PATH}{}/", session.namespace), session.role_name.as_str())
        .tagged(SESSION_TAG, session.session_id.as_str())
        .with_policy("access", &access.to_string());
    role.boundary_arn =
        Some("arn:aws:iam::123456789012:policy/sorry/service/sorry-boundary-developer".to_owned());
    role.unique_id = session.role.as_ref().map_or("AROAMADE", |made| made.unique_id.as_str()).to_owned();
    role
}

/// Sweeps until all that can be late has come.
fn sweep_up(bench: &Bench) {
    for seconds in [0, GRACE, SWEEP_EVERY, SWEEP_EVERY] {
        bench.world.set_clock(after(bench.world.now(), seconds));
        bench.sweep();
    }
}

/// Nothing of the session is left, and its row says so.
fn assert_nothing_left(world: &World, session: &Session, label: &str) {
    let id = &session.session_id;
    let row = world.row(id).unwrap();
    assert!(row.state.is_over(), "{label}: still {} ({:?})", row.state, row.end);
    assert!(row.outbox.is_empty(), "{label}: events wait");
    assert_eq!(world.session_role_names(), [""; 0], "{label}");
    assert!(!world.access(id, world.now()), "{label}: access");
    assert!(world.violations().is_empty(), "{label}: {:#?}", world.violations());
    if let Some(end) = &session.end {
        assert_eq!(
            row.end.as_ref().map(|end| end.cause),
            Some(end.cause),
            "{label}: its end was decided before"
        );
    }
}

/// Every recorded row, once for each of its forms, with its label.
fn each_row(mut look: impl FnMut(&Session, &CallerEntry, &str)) {
    for recorded in recorded() {
        let caller = caller(&recorded);
        for (index, row) in recorded.rows.iter().enumerate() {
            let session = read(row);
            let label = format!("v{} row {index}, {} {}", recorded.version, session.tier, session.state);
            look(&session, &caller, &label);
        }
    }
}

fn caller(recorded: &Recorded) -> CallerEntry {
    serde_json::from_value(plain_item(&recorded.callers[0])).unwrap()
}

#[test]
fn every_earlier_version_is_recorded_in_every_state_that_it_had() {
    let recorded = recorded();
    let versions: BTreeSet<u32> = recorded.iter().map(|recorded| recorded.version).collect();
    let missing: Vec<_> = (1..ROW_VERSION).filter(|version| !versions.contains(version)).collect();
    assert!(
        missing.is_empty(),
        "rows of versions {missing:?} are not recorded: tests/recorded/README.md says how"
    );
    assert!(versions.iter().all(|version| (1..=ROW_VERSION).contains(version)), "{versions:?}");
    for recorded in recorded {
        let states: BTreeSet<State> = recorded.rows.iter().map(|row| read(row).state).collect();
        // The first version had ten; none has fewer.
        assert!(states.len() >= 10, "v{}: {states:?}", recorded.version);
        for row in &recorded.rows {
            assert_eq!(row["version"]["N"], recorded.version.to_string(), "another version's row: {row}");
        }
        let machine = StateMachine::parse(&recorded.definition);
        let states: BTreeSet<&str> = machine.states().collect();
        let entered =
            recorded.executions.iter().flat_map(|execution| execution["entered"].as_array().unwrap());
        let entered: BTreeSet<&str> = entered.map(|entered| entered["state"].as_str().unwrap()).collect();
        assert!(entered.is_subset(&states) && entered.contains("WaitUntilExpiry"), "{entered:?}");
    }
}

#[test]
fn a_recorded_row_is_ended_by_its_date() {
    each_row(|session, caller, label| {
        let bench = found(session, caller);
        // Its execution was lost with the version that started it.
        bench.world.set_clock(after(session.expires_at, 31));
        sweep_up(&bench);
        assert_nothing_left(&bench.world, session, label);
    });
}

#[test]
fn a_recorded_row_is_ended_by_its_owner() {
    each_row(|session, caller, label| {
        let mut bench = found(session, caller);
        let answer = bench.service.send(
            &session.caller,
            "DELETE",
            "/sessions/{id}",
            session.session_id.as_str(),
            &Value::Null,
        );
        let answer = answer.unwrap();
        let expected = if session.state.is_over() { 200 } else { 202 };
        assert_eq!(answer.status, expected, "{label}: {}", answer.body);
        bench.run_for(0);
        assert!(
            !bench.world.access(&session.session_id, bench.world.now()),
            "{label}: access after the revocation"
        );
        bench.run_for(GRACE);
        sweep_up(&bench);
        assert_nothing_left(&bench.world, session, label);
    });
}

#[test]
fn a_recorded_row_whose_caller_is_removed_is_ended_by_the_sweep() {
    each_row(|session, caller, label| {
        let bench = found(session, caller);
        bench.world.remove_planted_caller(&session.caller.unique_id);
        sweep_up(&bench);
        assert_nothing_left(&bench.world, session, label);
    });
}

/// An execution keeps the definition and the data that it was started with, and calls the functions of today: at every state, with the
/// row in every form that it had in that life.
#[test]
fn a_recorded_execution_goes_on_with_the_functions_of_today() {
    let mut cases = 0;
    for recorded in recorded() {
        let (machine, caller) = (StateMachine::parse(&recorded.definition), caller(&recorded));
        let mut rows: BTreeMap<String, Vec<Session>> = BTreeMap::new();
        for session in recorded.rows.iter().map(read) {
            rows.entry(session.session_id.to_string()).or_default().push(session);
        }
        for execution in &recorded.executions {
            let id = execution["input"]["session_id"].as_str().unwrap();
            for entered in execution["entered"].as_array().unwrap() {
                for session in rows.get(id).into_iter().flatten() {
                    let state = entered["state"].as_str().unwrap();
                    let label =
                        format!("v{} {state} of a session that is {}", recorded.version, session.state);
                    let bench = found(session, &caller);
                    let mut workflows = Simulation::new(&bench.world, machine.clone(), bench.service.clone());
                    workflows.resume(id, state, entered["input"].clone());
                    workflows.run_to_the_end();
                    bench.world.set_clock(bench.world.now().max(after(session.expires_at, 31)));
                    sweep_up(&bench);
                    assert_nothing_left(&bench.world, session, &label);
                    cases += 1;
                }
            }
        }
    }
    assert!(cases > 50, "{cases} cases");
}

/// A request that the version before has taken, and whose execution begins after the deployment.
#[test]
fn a_recorded_input_is_understood_by_the_workflow_of_today() {
    for recorded in recorded() {
        let caller = caller(&recorded);
        let rows: Vec<Session> = recorded.rows.iter().map(read).collect();
        for execution in &recorded.executions {
            let input = &execution["input"];
            let session = rows.iter().find(|row| input["session_id"] == row.session_id.as_str()).unwrap();
            let mut bench = found(session, &caller);
            let today = StateMachine::parse(harness::DEFINITION);
            bench.workflows.resume(session.session_id.as_str(), today.start(), input.clone());
            bench.run_until(after(session.expires_at, 600));
            assert!(!bench.workflows.visited().contains("NotUnderstood"), "v{}: {input}", recorded.version);
            sweep_up(&bench);
            assert_nothing_left(&bench.world, session, &format!("v{} {input}", recorded.version));
        }
    }
}
