//! What can go wrong with one call to the world.

use jiff::Timestamp;
use sorry_session::ports::PortError;

/// What happens to a call instead of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// AWS refuses it for good: [`PortError::Refused`], and nothing happened.
    Refused,
    /// AWS asks to slow down: [`PortError::Throttled`], and nothing happened.
    Throttled,
    /// [`PortError::Unavailable`], though it happened.
    TimedOutApplied,
    /// [`PortError::Unavailable`], and nothing happened.
    TimedOutNotApplied,
    /// The function dies before the call. Whatever it still tries fails without a trace, until [`crate::World::recover`]; the
    /// state machine sees `Runtime.ExitError`.
    CrashBefore,
    /// The call happens, then the function dies before it learns of the answer; the state machine sees `Sandbox.Timedout`.
    CrashAfter,
    /// [`PortError::Unavailable`] now; it happens, under the conditions of that later moment, when the test calls
    /// [`crate::World::land_late_writes`], or when the clock passes the delay of [`crate::World::land_after`].
    AppliedLate,
    /// The answer gets lost, and the SDK sends the call again: it happens twice, and the caller learns of the second time.
    Repeated,
    /// The SDK sends the call again, and what it gave up arrives last: the caller learns of the first time, and it happens once more
    /// when late writes land.
    RepeatedLate,
}

/// Ports that do nothing twice: transactions of DynamoDB carry a token, and the adapter has what makes a key sent once.
const ONCE: [&str; 8] = [
    "create",
    "commit",
    "put_caller",
    "remove_caller",
    "put_sweep_memory",
    "record_refusal",
    "publish_tiers",
    "create_key",
];

impl Fault {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Refused,
        Self::Throttled,
        Self::TimedOutApplied,
        Self::TimedOutNotApplied,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::AppliedLate,
        Self::Repeated,
        Self::RepeatedLate,
    ];

    /// Whether something happens later.
    pub fn is_late(self) -> bool {
        [Self::AppliedLate, Self::RepeatedLate].contains(&self)
    }

    /// Whether the caller is told of no failure.
    pub fn is_silent(self) -> bool {
        [Self::Repeated, Self::RepeatedLate].contains(&self)
    }

    /// Whether it can happen to calls of this port.
    pub fn can_befall(self, port: &str) -> bool {
        !self.is_silent() || !ONCE.contains(&port)
    }

    /// What the caller is told, unless it is an answer.
    pub(crate) fn error(self, port: &str) -> Option<PortError> {
        match self {
            Self::Refused => Some(PortError::Refused(format!("{port}: AccessDenied"))),
            Self::Throttled => Some(PortError::Throttled(format!("{port}: Throttling"))),
            Self::CrashBefore | Self::CrashAfter => Some(dead()),
            Self::TimedOutApplied | Self::TimedOutNotApplied | Self::AppliedLate => {
                Some(PortError::Unavailable(format!("{port}: no answer in time")))
            }
            Self::Repeated | Self::RepeatedLate => None,
        }
    }

    /// How often it happens at once.
    pub(crate) fn times(self) -> usize {
        match self {
            Self::Refused
            | Self::Throttled
            | Self::TimedOutNotApplied
            | Self::CrashBefore
            | Self::AppliedLate => 0,
            Self::TimedOutApplied | Self::CrashAfter | Self::RepeatedLate => 1,
            Self::Repeated => 2,
        }
    }
}

pub(crate) fn dead() -> PortError {
    PortError::Unavailable("this function is dead".to_owned())
}

/// One call to a port, in the order of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The trait's method.
    pub port: &'static str,
    /// Whom or what about.
    pub about: String,
    /// When.
    pub at: Timestamp,
    /// What went wrong with it.
    pub fault: Option<Fault>,
}

/// The faults that are set.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// For the call of that number.
    pub(crate) once: Vec<(usize, Fault)>,
    /// For the call of that number and every later one of the same port.
    pub(crate) from: Vec<(usize, Fault)>,
    /// For every call of a port.
    pub(crate) ports: Vec<(&'static str, Fault)>,
    /// For every call of a port that is about one thing.
    pub(crate) about: Vec<(&'static str, String, Fault)>,
}

impl Faults {
    pub(crate) fn of(&mut self, number: usize, port: &'static str, about: &str) -> Option<Fault> {
        for (_, fault) in self.from.extract_if(.., |(from, _)| *from == number) {
            self.ports.push((port, fault));
        }
        let once = self.once.iter().find(|(only, _)| *only == number).map(|(_, fault)| *fault);
        let port_fault = self.ports.iter().find(|(name, _)| *name == port).map(|(_, fault)| *fault);
        let of_this = self.about.iter().find(|(name, wanted, _)| *name == port && wanted == about);
        let fault = once.or(port_fault).or(of_this.map(|(_, _, fault)| *fault));
        fault.filter(|fault| fault.can_befall(port))
    }
}
