//! `infrastructure/session.asl.json` against the functions that it calls, the template that hands them in, and `crates/aws`, which
//! starts it. The real state machine runs here; the functions are replaced by scripts that read and answer in their own types.

use std::{cell::RefCell, collections::BTreeSet};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use sorry_clean_up::Output as CleanedUp;
use sorry_policy::{ExternalId, Grant, RoleName, SessionId, TierTable};
use sorry_provision::Step;
use sorry_session::{
    ErrorCode, Failure, Identity, Session, State,
    ports::{Clock, Workflow},
    session::ROW_VERSION,
};
use sorry_testkit::{FunctionError, Functions, Outcome, Simulation, StateMachine, World, block_on, moment};

use crate::project::{
    Template, each, found, functions, names, rendered, source, states, tasks, text, the_only, workflow,
};

const DEFINITION: &str = "infrastructure/session.asl.json";
const STARTER: &str = "crates/aws/src/workflow.rs";
/// What a later try may get done. Every task must retry these.
const TRANSIENT: [ErrorCode; 2] = [ErrorCode::Throttled, ErrorCode::Unavailable];
/// The same of Lambda itself. Source: Step Functions guide, "Handle transient Lambda service exceptions".
const TRANSIENT_OF_LAMBDA: [&str; 5] = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];
/// Names that only AWS gives to errors.
const OF_AWS: [&str; 4] = ["States.", "Lambda.", "Sandbox.", "Runtime."];

#[test]
fn every_task_calls_a_function_of_ours_that_the_template_hands_in() {
    let template = Template::deployed();
    let substitutions = &template.resource("StateMachine")["DefinitionSubstitutions"];
    let used: BTreeSet<_> = found(r"\$\{(\w+)\}", &text(DEFINITION)).into_iter().collect();
    let given: BTreeSet<_> = names(substitutions).into_iter().map(str::to_owned).collect();
    assert_eq!(
        used, given,
        "left: what {DEFINITION} wants substituted; right: what the template substitutes"
    );

    let definition = workflow();
    let mut called = BTreeSet::new();
    for (name, (task, function)) in tasks(&definition) {
        assert_eq!(task["Resource"], "${Invoke}", "task `{name}`");
        let arn = rendered(&substitutions[function]);
        assert_eq!(
            arn,
            format!("${{{function}.Arn}}"),
            "the substitution `{function}` is another thing than its name says"
        );
        let known = functions().iter().any(|known| template.function(known).0 == function);
        assert!(known, "task `{name}` calls `{function}`, which is no folder of functions/");
        called.insert(arn);
    }
    let statements =
        template.resource("WorkflowRole")["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap();
    let invoke = statements.iter().find(|statement| statement["Action"] == "lambda:InvokeFunction").unwrap();
    assert_eq!(
        BTreeSet::from_iter(each(&invoke["Resource"])),
        called,
        "left: what WorkflowRole may invoke; right: what it does"
    );
}

#[test]
fn every_error_that_it_matches_on_is_one_of_ours_or_of_aws() {
    let definition = workflow();
    for (name, state) in states(&definition) {
        for rule in ["Retry", "Catch"].iter().flat_map(|rules| state[rules].as_array().into_iter().flatten())
        {
            for error in each(&rule["ErrorEquals"]) {
                let known = ErrorCode::ALL.iter().any(|code| code.as_str() == error)
                    || OF_AWS.iter().any(|prefix| error.starts_with(prefix));
                assert!(
                    known,
                    "`{name}` matches on `{error}`, which no function answers with: see sorry_session::ErrorCode"
                );
            }
        }
    }
}

#[test]
fn every_task_tries_again_what_may_pass_and_catches_the_rest() {
    let definition = workflow();
    for (name, (task, _)) in tasks(&definition) {
        let retried: BTreeSet<_> = task["Retry"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|rule| each(&rule["ErrorEquals"]))
            .collect();
        for error in TRANSIENT.map(ErrorCode::as_str).into_iter().chain(TRANSIENT_OF_LAMBDA) {
            assert!(retried.contains(error), "task `{name}` must retry `{error}`");
        }
        let catches = task["Catch"].as_array().map(Vec::as_slice).unwrap_or_default();
        let last = catches.last().map(|rule| each(&rule["ErrorEquals"]));
        assert_eq!(
            last,
            Some(vec!["States.ALL".to_owned()]),
            "task `{name}` must catch whatever else goes wrong"
        );
    }
}

/// The members of the JSON object that starts an execution, with their values as they are written.
fn input_in(path: &str) -> Vec<String> {
    let object = the_only(r"let input = json!\(\{([^}]*)\}\);", &source(path), path);
    found(r#""(\w+)":"#, &object)
}

/// What a state of type Choice compares: a member of its input, and with what.
fn collect_comparisons(state: &Value, found: &mut Vec<(String, Value)>) {
    match state {
        Value::Object(members) => {
            if let Some(variable) = members.get("Variable").and_then(Value::as_str) {
                let value = members.get("StringEquals").or_else(|| members.get("BooleanEquals"));
                found
                    .push((variable.trim_start_matches("$.").to_owned(), value.cloned().unwrap_or_default()));
            }
            members.values().for_each(|member| collect_comparisons(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_comparisons(item, found)),
        _ => {}
    }
}

#[test]
fn the_input_that_starts_it_has_what_it_reads() {
    let sent = input_in(STARTER);
    // The runs below start executions of the testkit's making.
    assert_eq!(
        sent,
        input_in("crates/testkit/src/outside.rs"),
        "the testkit must start executions as {STARTER} does"
    );
    let definition = workflow();
    let begin = states(&definition)[definition["StartAt"].as_str().unwrap()];
    let mut comparisons = Vec::new();
    collect_comparisons(begin, &mut comparisons);
    for (variable, _) in &comparisons {
        assert!(sent.contains(variable), "the first state reads `{variable}`, which {STARTER} does not send");
    }
    let operations = found(r#"session, "(\w+)"\)"#, &source(STARTER));
    let understood = comparisons.iter().filter(|(variable, _)| variable == "operation");
    let understood: Vec<_> = understood.map(|(_, value)| rendered(value)).collect();
    assert_eq!(
        BTreeSet::from_iter(operations),
        BTreeSet::from_iter(understood),
        "left: the operations that {STARTER} starts; right: those that the first state of {DEFINITION} understands"
    );
}

/// What a task asked of its function.
#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Alert(SessionId),
    Provision(SessionId),
    Extend(SessionId),
    NotExtended(SessionId, Failure),
    CleanUp(SessionId, Option<Failure>),
    GiveUp(SessionId, Failure),
}

type Answer = Result<Value, FunctionError>;

/// Functions that read their own input types and answer what a test wants.
struct Script<F> {
    answer: F,
    asked: RefCell<Vec<Asked>>,
}

fn read<I: DeserializeOwned>(function: &str, payload: &Value) -> I {
    serde_json::from_value(payload.clone()).unwrap_or_else(|error| {
        panic!(
            "`{function}` cannot read what {DEFINITION} sends it ({error}): {payload}; compare its `Input`"
        )
    })
}

impl<F: Fn(&Asked, usize) -> Answer> Functions for Script<F> {
    fn invoke(&self, name: &str, payload: &Value) -> Answer {
        let asked = match name {
            "AlertFunction" => match read(name, payload) {
                sorry_alert::Input::Workflow { session_id, moment: sorry_alert::Moment::Granting } => {
                    Asked::Alert(session_id)
                }
                event @ sorry_alert::Input::Event { .. } => panic!("the workflow sends no events: {event:?}"),
            },
            "ProvisionFunction" => {
                let sorry_provision::Input { session_id, step, failure } = read(name, payload);
                match (step, failure) {
                    (Step::Grant, None) => Asked::Provision(session_id),
                    (Step::Extend, None) => Asked::Extend(session_id),
                    (Step::Extend, Some(failure)) => Asked::NotExtended(session_id, failure.readable()),
                    both => panic!("a grant that failed is cleaned up, not granted: {both:?}"),
                }
            }
            "CleanUpFunction" => match read(name, payload) {
                sorry_clean_up::Input { session_id, failure: None, give_up: Some(given_up) } => {
                    Asked::GiveUp(session_id, given_up.readable())
                }
                sorry_clean_up::Input { session_id, failure, give_up: None } => {
                    Asked::CleanUp(session_id, failure.map(Failure::readable))
                }
                both => panic!("a clean-up that is given up is not tried: {both:?}"),
            },
            other => panic!("{DEFINITION} calls `{other}`: give it a type of its own in this test"),
        };
        let same = |other: &&Asked| std::mem::discriminant(*other) == std::mem::discriminant(&asked);
        let times_before = self.asked.borrow().iter().filter(same).count();
        let answer = (self.answer)(&asked, times_before);
        self.asked.borrow_mut().push(asked);
        answer
    }
}

/// What came of an execution.
struct Run {
    asked: Vec<Asked>,
    outcome: Outcome,
    visited: BTreeSet<String>,
    ended_at: Timestamp,
}

/// Runs an execution to its end.
fn run(operation: Operation, answer: impl Fn(&Asked, usize) -> Answer) -> Run {
    let world = World::new();
    let script = Script { answer, asked: RefCell::default() };
    let mut simulation = Simulation::new(&world, StateMachine::parse(&text(DEFINITION)), script);
    match operation {
        Operation::Grant { alert } => block_on(world.start_grant(&session(alert))).unwrap(),
        Operation::End => block_on(world.start_end(&session(false))).unwrap(),
        Operation::Extend => block_on(world.start_extension(&session(false))).unwrap(),
    }
    simulation.run_to_the_end();
    let outcome = simulation.executions()[0].outcome.clone().unwrap();
    let asked = simulation.functions().asked.take();
    Run { asked, outcome, visited: simulation.visited().clone(), ended_at: world.now() }
}

#[derive(Clone, Copy)]
enum Operation {
    Grant { alert: bool },
    End,
    Extend,
}

const GRANT: Operation = Operation::Grant { alert: false };
const GRANT_WITH_ALERT: Operation = Operation::Grant { alert: true };

fn id() -> SessionId {
    SessionId::from_random([3; 10])
}

fn expires_at() -> Timestamp {
    moment(3_600)
}

fn session(alert: bool) -> Session {
    let (namespace, tier) = ("sue".parse().unwrap(), "developer".parse().unwrap());
    Session {
        version: ROW_VERSION,
        session_id: id(),
        fence: 1,
        state: State::Requested,
        role_name: RoleName::for_session(&namespace, &tier, &id()),
        policy_digest: TierTable::built_in().unwrap().digest(&tier).unwrap().clone(),
        tiers_digest: None,
        tier,
        grant: Grant::Role,
        namespace,
        person: "sue".parse().unwrap(),
        project: None,
        reason: None,
        caller: Identity {
            account: "123456789012".parse().unwrap(),
            unique_id: "AIDAEXAMPLE".into(),
            arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".into(),
            source_address: None,
        },
        registered_as: None,
        carried_identity: None,
        mfa: false,
        alert,
        approval: None,
        approved_at: None,
        review: None,
        requested_at: moment(0),
        expires_at: expires_at(),
        first_expires_at: None,
        extension: None,
        external_id: ExternalId::from_random([4; 16]),
        role: None,
        provisioning_at: None,
        activated_at: None,
        issue: None,
        prune_at: None,
        end: None,
        ended_at: None,
        changed_at: moment(0),
        outbox: Vec::new(),
        audit_head: None,
    }
}

fn output(value: &impl Serialize) -> Answer {
    Ok(serde_json::to_value(value).unwrap())
}

fn error(code: ErrorCode) -> Answer {
    Err(FunctionError { error_type: code.to_string(), message: format!("because of {code}") })
}

/// How a function answers when all goes well.
fn well(asked: &Asked) -> Answer {
    match asked {
        Asked::Alert(_) => output(&sorry_alert::Output { subscribers: 1 }),
        Asked::Provision(_) | Asked::Extend(_) | Asked::NotExtended(..) => {
            output(&sorry_provision::Output { expires_at: expires_at().to_string() })
        }
        Asked::CleanUp(..) => output(&CleanedUp::Ended),
        Asked::GiveUp(..) => output(&CleanedUp::GivenUp),
    }
}

fn succeeded(run: &Run) -> bool {
    matches!(run.outcome, Outcome::Succeeded(_))
}

#[test]
fn a_grant_alerts_first_where_the_row_says_so_then_waits_for_the_end_that_provision_tells() {
    let plain = run(GRANT, |asked, _| well(asked));
    assert_eq!(plain.asked, [Asked::Provision(id()), Asked::CleanUp(id(), None)]);
    assert!(succeeded(&plain));
    assert_eq!(plain.ended_at, expires_at(), "the clean-up comes at `sorry_provision::Output::expires_at`");
    let alerting = run(GRANT_WITH_ALERT, |asked, _| well(asked));
    assert_eq!(alerting.asked, [Asked::Alert(id()), Asked::Provision(id()), Asked::CleanUp(id(), None)]);
    let end = run(Operation::End, |asked, _| well(asked));
    assert_eq!((end.asked.as_slice(), end.ended_at), ([Asked::CleanUp(id(), None)].as_slice(), moment(0)));
}

#[test]
fn every_outcome_of_the_clean_up_is_understood() {
    let later = moment(7_200);
    let outcomes = [
        CleanedUp::Ended,
        CleanedUp::NotDue { expires_at: later.to_string() },
        CleanedUp::Pending,
        CleanedUp::GivenUp,
    ];
    for outcome in outcomes {
        let run = run(GRANT, |asked, times_before| match asked {
            Asked::CleanUp(..) if times_before == 0 => output(&outcome),
            asked => well(asked),
        });
        match outcome {
            CleanedUp::Ended => assert_eq!(run.ended_at, expires_at()),
            CleanedUp::NotDue { .. } => {
                assert_eq!(run.ended_at, later, "it must wait until the row's own end")
            }
            CleanedUp::Pending => assert!(run.ended_at > expires_at(), "it must wait before it asks again"),
            // The answer to another question: never one to a clean-up.
            CleanedUp::GivenUp => {
                assert!(!succeeded(&run), "an answer that cannot be must not pass for an end");
                continue;
            }
        }
        assert!(succeeded(&run), "{DEFINITION} does not handle the outcome {outcome:?}: {:?}", run.outcome);
    }
}

#[test]
fn whatever_keeps_a_session_from_being_granted_ends_in_a_clean_up_that_is_told_why() {
    for code in ErrorCode::ALL {
        let because = Failure::new(code, format!("because of {code}"));
        let failed_alert = run(GRANT_WITH_ALERT, |asked, _| match asked {
            Asked::Alert(_) => error(code),
            asked => well(asked),
        });
        let granted = failed_alert.asked.iter().any(|asked| matches!(asked, Asked::Provision(_)));
        assert!(!granted, "nothing is granted without the alert: {code}");
        assert_eq!(failed_alert.asked.last(), Some(&Asked::CleanUp(id(), Some(because.clone()))));
        assert!(succeeded(&failed_alert));

        let failed_grant = run(GRANT, |asked, _| match asked {
            Asked::Provision(_) => error(code),
            asked => well(asked),
        });
        assert!(succeeded(&failed_grant));
        if code == ErrorCode::Superseded {
            assert_eq!(
                failed_grant.asked,
                [Asked::Provision(id())],
                "whoever moved the session on cleans up"
            );
        } else {
            assert_eq!(failed_grant.asked.last(), Some(&Asked::CleanUp(id(), Some(because))));
        }
        let tries = failed_grant.asked.iter().filter(|asked| matches!(asked, Asked::Provision(_))).count();
        assert_eq!(tries > 1, code.may_pass(), "`Provision` was tried {tries} times on {code}");
    }
}

#[test]
fn an_extension_is_carried_out_at_once_and_its_failure_told_and_nothing_cleaned_up() {
    let good = run(Operation::Extend, |asked, _| well(asked));
    assert_eq!((good.asked.as_slice(), good.ended_at), ([Asked::Extend(id())].as_slice(), moment(0)));
    assert!(succeeded(&good));
    for code in ErrorCode::ALL {
        let failed = run(Operation::Extend, |asked, _| match asked {
            Asked::Extend(_) => error(code),
            asked => well(asked),
        });
        assert!(succeeded(&failed));
        let told = Asked::NotExtended(id(), Failure::new(code, format!("because of {code}")));
        let last = if code == ErrorCode::Superseded { Asked::Extend(id()) } else { told };
        assert_eq!(failed.asked.last(), Some(&last), "{code}");
        let tries = failed.asked.iter().filter(|asked| matches!(asked, Asked::Extend(_))).count();
        assert_eq!(tries > 1, code.may_pass(), "`Extend` was tried {tries} times on {code}");
    }
}

#[test]
fn what_passes_is_tried_again_and_then_forgotten() {
    for code in TRANSIENT {
        for operation in [GRANT, GRANT_WITH_ALERT, Operation::End] {
            let run = run(
                operation,
                |asked, times_before| if times_before == 0 { error(code) } else { well(asked) },
            );
            assert!(succeeded(&run), "{code} once: {:?}", run.outcome);
            assert_eq!(run.asked.last(), Some(&Asked::CleanUp(id(), None)), "{code} once is no failure");
        }
    }
}

#[test]
fn a_clean_up_that_keeps_failing_is_given_up_for_all_to_see() {
    for code in ErrorCode::ALL {
        for even_that_fails in [false, true] {
            let run = run(Operation::End, |asked, _| match asked {
                Asked::CleanUp(..) => error(code),
                Asked::GiveUp(..) if even_that_fails => error(ErrorCode::Internal),
                asked => well(asked),
            });
            let because = Failure::new(code, format!("because of {code}"));
            assert_eq!(run.asked.last(), Some(&Asked::GiveUp(id(), because)));
            assert!(!succeeded(&run), "somebody must see that something is left");
        }
    }
}

#[test]
fn an_error_without_a_text_is_handed_on_all_the_same() {
    // A time-out of the task has no `Cause`; the interpreter writes one, so the merge that fills it in is looked at itself.
    let definition = workflow();
    for name in ["Failed", "CleanUpFailed", "ExtensionFailed"] {
        let filled = states(&definition)[name]["Parameters"]["error.$"].as_str().unwrap_or_default();
        assert_eq!(
            filled, r#"States.JsonMerge(States.StringToJson('{"Cause":""}'), $.error, false)"#,
            "state `{name}`"
        );
    }
}

#[test]
fn no_state_is_there_in_vain() {
    let machine = StateMachine::parse(&text(DEFINITION));
    let never = |_: &Asked, _: usize| error(ErrorCode::Internal);
    let superseded = |_: &Asked, _: usize| error(ErrorCode::Superseded);
    let in_every_way = |asked: &Asked, times_before: usize| match (asked, times_before) {
        (Asked::CleanUp(..), 0) => output(&CleanedUp::NotDue { expires_at: moment(7_200).to_string() }),
        (Asked::CleanUp(..), 1) => output(&CleanedUp::Pending),
        (Asked::CleanUp(..), _) => output(&CleanedUp::GivenUp),
        (asked, _) => well(asked),
    };
    let mut visited = BTreeSet::new();
    visited.extend(run(GRANT_WITH_ALERT, in_every_way).visited);
    visited.extend(run(GRANT_WITH_ALERT, never).visited);
    visited.extend(run(GRANT, superseded).visited);
    visited.extend(run(Operation::End, |asked, _| well(asked)).visited);
    for answer in [well, |_: &Asked| error(ErrorCode::Internal), |_: &Asked| error(ErrorCode::Superseded)] {
        visited.extend(run(Operation::Extend, |asked, _| answer(asked)).visited);
    }
    let unused: Vec<_> = machine.states().filter(|state| !visited.contains(*state)).collect();
    assert!(unused.is_empty(), "nothing that the functions answer leads to {unused:?} of {DEFINITION}");
}
