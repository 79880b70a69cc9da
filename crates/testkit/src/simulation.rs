//! Executions of the state machine in the world's time: nobody sleeps, the clock goes to whatever comes next.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use sorry_session::ports::Clock;

use crate::{
    Fault, Start, World,
    state_machine::{FunctionError, Functions, StateMachine, Step},
};

/// More steps than any test takes: an execution that runs in circles ends here.
const MANY_STEPS: usize = 20_000;

/// How an execution ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// By a `Succeed` state.
    Succeeded(Value),
    /// By a `Fail` state, or an error that nobody caught.
    Failed {
        /// The error.
        error: String,
        /// What is said about it.
        cause: String,
    },
    /// By somebody's StopExecution.
    Stopped,
}

/// One execution.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Its name.
    pub name: String,
    /// Its input.
    pub input: Value,
    /// The state that it is in, or ended in.
    pub state: String,
    /// When it goes on.
    pub wakes_at: Timestamp,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    pub(crate) data: Value,
    /// How often each retrier of the state was used.
    pub(crate) retries: BTreeMap<usize, u32>,
}

type Watcher = Box<dyn FnMut(&World, &Execution)>;

/// The Step Functions of a world.
pub struct Simulation<F> {
    world: World,
    machine: StateMachine,
    functions: F,
    executions: Vec<Execution>,
    visited: BTreeSet<String>,
    watcher: Option<Watcher>,
}

impl<F: Functions> Simulation<F> {
    /// Runs what is started in `world`.
    pub fn new(world: &World, machine: StateMachine, functions: F) -> Self {
        Self {
            world: world.clone(),
            machine,
            functions,
            executions: Vec::new(),
            visited: BTreeSet::new(),
            watcher: None,
        }
    }

    /// The same executions in another world, which is a fork of this one's. Nobody watches them.
    #[must_use]
    pub fn fork(&self, world: &World, functions: F) -> Self {
        Self {
            world: world.clone(),
            machine: self.machine.clone(),
            functions,
            executions: self.executions.clone(),
            visited: self.visited.clone(),
            watcher: None,
        }
    }

    /// What the functions are.
    pub fn functions(&self) -> &F {
        &self.functions
    }

    /// Lets something look at each execution before it runs the state that it is in, and change the world if it likes.
    pub fn watch(&mut self, watcher: impl FnMut(&World, &Execution) + 'static) {
        self.watcher = Some(Box::new(watcher));
    }

    /// The executions, in the order of their starts.
    pub fn executions(&mut self) -> &[Execution] {
        self.take_up();
        &self.executions
    }

    /// The names of all states that were run.
    pub fn visited(&self) -> &BTreeSet<String> {
        &self.visited
    }

    /// Takes up an execution in the middle, as it was recorded: one that an earlier version of the service has started, and that is
    /// about to run `state`.
    pub fn resume(&mut self, name: &str, state: &str, data: Value) {
        self.take_up();
        self.world.plant_start(Start { name: name.to_owned(), input: data.clone() });
        self.executions.push(Execution {
            name: name.to_owned(),
            data: data.clone(),
            input: data,
            state: state.to_owned(),
            wakes_at: self.world.now(),
            outcome: None,
            retries: BTreeMap::new(),
        });
    }

    /// Whether every execution has ended.
    pub fn is_idle(&mut self) -> bool {
        self.executions().iter().all(|execution| execution.outcome.is_some())
    }

    /// When the next execution goes on.
    pub fn wakes_at(&mut self) -> Option<Timestamp> {
        let open = self.executions().iter().filter(|execution| execution.outcome.is_none());
        open.map(|execution| execution.wakes_at).min()
    }

    /// Ends an execution from outside.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn stop(&mut self, name: &str) {
        self.take_up();
        let execution = self.executions.iter_mut().find(|execution| execution.name == name).unwrap();
        execution.outcome.get_or_insert(Outcome::Stopped);
    }

    /// Ends all executions from outside.
    pub fn stop_all(&mut self) {
        self.take_up();
        for execution in &mut self.executions {
            execution.outcome.get_or_insert(Outcome::Stopped);
        }
    }

    /// Runs everything that goes on until then, and sets the clock to it.
    ///
    /// # Panics
    /// When that takes more steps than it ever should.
    pub fn run_until(&mut self, end: Timestamp) {
        for _ in 0..MANY_STEPS {
            self.take_up();
            let open =
                self.executions.iter().enumerate().filter(|(_, execution)| execution.outcome.is_none());
            let Some((index, at)) = open
                .map(|(index, execution)| (index, execution.wakes_at))
                .min_by_key(|(_, at)| *at)
                .filter(|(_, at)| *at <= end)
            else {
                self.world.set_clock(end.max(self.world.now()));
                return;
            };
            self.world.set_clock(at.max(self.world.now()));
            self.step(index);
        }
        panic!("executions run in circles");
    }

    /// Runs everything that was started to its end, however long that takes.
    pub fn run_to_the_end(&mut self) {
        while let Some(at) = self.wakes_at() {
            self.run_until(at);
        }
    }

    fn take_up(&mut self) {
        let starts = self.world.starts();
        for start in starts.into_iter().skip(self.executions.len()) {
            self.executions.push(Execution {
                name: start.name,
                data: start.input.clone(),
                input: start.input,
                state: self.machine.start().to_owned(),
                wakes_at: self.world.now(),
                outcome: None,
                retries: BTreeMap::new(),
            });
        }
    }

    fn step(&mut self, index: usize) {
        if let Some(mut watcher) = self.watcher.take() {
            watcher(&self.world, &self.executions[index]);
            self.watcher = Some(watcher);
        }
        self.visited.insert(self.executions[index].state.clone());
        // Each invocation is a function of its own, whatever died before.
        self.world.recover();
        let world = &self.world;
        let death = || {
            let error_type = match world.death()? {
                Fault::CrashBefore => "Runtime.ExitError",
                _ => "Sandbox.Timedout",
            };
            Some(FunctionError {
                error_type: error_type.to_owned(),
                message: "RequestId: 0 Error: the function is gone".to_owned(),
            })
        };
        let step = self.machine.step(&self.executions[index], &self.functions, self.world.now(), death);
        self.world.recover();
        let execution = &mut self.executions[index];
        match step {
            Step::Next { state, data, at } => {
                execution.state = state;
                execution.data = data;
                execution.wakes_at = at;
                execution.retries.clear();
            }
            Step::Again { retrier, at } => {
                *execution.retries.entry(retrier).or_default() += 1;
                execution.wakes_at = at;
            }
            Step::Succeeded(output) => execution.outcome = Some(Outcome::Succeeded(output)),
            Step::Failed { error, cause } => execution.outcome = Some(Outcome::Failed { error, cause }),
        }
    }
}
