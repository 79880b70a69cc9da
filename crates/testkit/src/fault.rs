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
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Throttled,
        Self::TimedOutApplied,
        Self::TimedOutNotApplied,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::AppliedLate,
    ];

    pub(crate) fn error(self, port: &str) -> PortError {
        match self {
            Self::Refused => PortError::Refused(format!("{port}: AccessDenied")),
            Self::Throttled => PortError::Throttled(format!("{port}: Throttling")),
            Self::CrashBefore | Self::CrashAfter => dead(),
            Self::TimedOutApplied | Self::TimedOutNotApplied | Self::AppliedLate => {
                PortError::Unavailable(format!("{port}: no answer in time"))
            }
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
        once.or(port_fault).or(of_this.map(|(_, _, fault)| *fault))
    }
}
