//! Who does what in the model, and how often: the people, the tiers and limits they go by, and the events of a life.

use proptest::prelude::*;
use sorry_policy::Grant;
use sorry_testkit::Fault;

use crate::{
    loan::{Loan, Stands},
    reference::{Entry, Reference},
};

/// Whoever does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Sue,
    /// Another key of the same person.
    SuesOther,
    /// Has the registry's role `approver`.
    Bob,
    /// Has the registry's roles `approver` and `security`.
    Ann,
    Administrator,
}

impl Who {
    /// Those whom the registry knows in the beginning.
    pub(crate) const CALLERS: [Self; 4] = [Self::Sue, Self::SuesOther, Self::Bob, Self::Ann];
    const ALL: [Self; 5] = [Self::Sue, Self::SuesOther, Self::Bob, Self::Ann, Self::Administrator];

    pub(crate) fn person(self) -> &'static str {
        match self {
            Self::Sue | Self::SuesOther => "sue",
            Self::Bob => "bob",
            Self::Ann => "ann",
            Self::Administrator => "admin",
        }
    }

    /// Whether the registry, while it knows them, lets them decide on what others ask for, and review.
    pub(crate) fn is_approver(self) -> bool {
        [Self::Ann, Self::Bob].contains(&self)
    }
}

/// Hours that every entry in the registry gives of each tier.
pub(crate) const HOURS: [(&str, i64); 4] = [("developer", 4), ("read-only", 8), (STANDING, 1), (APPROVED, 3)];
/// How sessions are asked for; those that more must happen to come up more often.
const WAYS: [(&str, Grant); 7] = [
    ("developer", Grant::Role),
    ("read-only", Grant::Role),
    ("read-only", Grant::User),
    (STANDING, Grant::Standing),
    (STANDING, Grant::Standing),
    (APPROVED, Grant::Role),
    (APPROVED, Grant::Role),
];
/// The tier whose role stands ready, which is alerted of and reviewed.
pub(crate) const STANDING: &str = "break-glass";
/// The tier that one other person must approve, and how long they have for it, in seconds.
pub(crate) const APPROVED: &str = "admin";
pub(crate) const LAPSES_AFTER: i64 = 240 * 60;
/// Sessions of one tier that a caller may have at once.
pub(crate) const AT_ONCE: usize = 3;
/// Sets of tiers that may be in force: the built-in one, one with another policy, one whose `developer` has an hour at most.
const SETS: usize = 3;

/// The longest window of a tier for a caller, in hours.
pub(crate) fn most(tier: &str, set: usize) -> i64 {
    let entry = HOURS.iter().find(|(name, _)| *name == tier).unwrap().1;
    if set == 2 && tier == "developer" { 1 } else { entry }
}

/// Whether two sets say the same of a tier.
pub(crate) fn agree(tier: &str, sets: [usize; 2]) -> bool {
    tier != "developer" || sets[0] == sets[1]
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Request {
        by: Who,
        tier: &'static str,
        grant: Grant,
        hours: i64,
    },
    /// A request once more, word for word.
    Repeat {
        loan: usize,
    },
    /// Somebody asks for credentials of a session.
    Issue {
        by: Who,
        loan: usize,
    },
    /// Somebody asks that a session end later.
    Extend {
        by: Who,
        loan: usize,
        hours: i64,
    },
    /// The extension that was granted last is asked for once more, word for word.
    ExtendOnceMore {
        loan: usize,
    },
    /// Somebody's word on a request, or on an extension, that waits for it; each says one.
    Decide {
        by: Who,
        loan: usize,
        approve: bool,
    },
    /// Somebody says that they looked at a session.
    Review {
        by: Who,
        loan: usize,
    },
    Revoke {
        by: Who,
        loan: usize,
    },
    Remove(Who),
    Register(Who),
    Suspend(Who),
    Resume(Who),
    Publish(usize),
    /// Security subscribes to alerts, or nobody does any more.
    Listen(bool),
    Sweep,
    /// Some call soon fails, and with it perhaps all later ones to its port.
    Fault {
        ahead: usize,
        fault: Fault,
        lasting: bool,
    },
    AllIsWell,
    /// All is well, workflows have their longest time, the grace passes, the sweep comes by once.
    Settle,
    Wait(i64),
    /// Every execution that runs is lost.
    LoseWorkflows,
    /// A person deletes the role or the user of a session.
    DeletePrincipal {
        loan: usize,
    },
    /// A person makes a role where none should be.
    MakeRole,
}

/// What can happen, and how often.
pub(crate) fn transitions(state: &Reference) -> BoxedStrategy<Event> {
    let caller = || prop::sample::select(Who::CALLERS.to_vec());
    let anybody = || prop::sample::select(Who::ALL.to_vec());
    let request = (caller(), prop::sample::select(WAYS.to_vec()), prop::sample::select(vec![1, 1, 1, 2, 3]))
        .prop_map(|(by, (tier, grant), hours)| Event::Request { by, tier, grant, hours })
        .boxed();
    if state.loans.is_empty() {
        return request;
    }
    let loan = || 0..state.loans.len();
    // Most commands are about loans that they can do something about, if there are any, and by their owner.
    let owned = |fits: &dyn Fn(&Loan) -> bool| {
        let owners = || state.loans.iter().map(|loan| loan.by).enumerate();
        let fitting: Vec<_> = owners().filter(|(index, _)| fits(&state.loans[*index])).collect();
        let chosen = if fitting.is_empty() { owners().collect() } else { fitting };
        (prop::sample::select(chosen), anybody(), 0..5_u8)
            .prop_map(|((loan, owner), other, draw)| (loan, if draw == 0 { other } else { owner }))
    };
    let is_live = |loan: &Loan| loan.may_be.contains(&Stands::Active);
    let gives_credentials = |loan: &Loan| is_live(loan) && loan.grant != Grant::Role;
    let may_be_longer = |loan: &Loan| is_live(loan) && loan.grant != Grant::Standing;
    let is_approved = |loan: &Loan| is_live(loan) && loan.tier == APPROVED;
    let is_used = |loan: &Loan| loan.tier == STANDING && loan.issued.contains(&true);
    let is_live_and_used = |loan: &Loan| is_used(loan) && is_live(loan);
    let may_be_reviewed = |loan: &Loan| is_used(loan) && !is_live(loan);
    // What few loans come to is done to those that do.
    let often =
        |fits: &dyn Fn(&Loan) -> bool, times: u32| if state.loans.iter().any(fits) { times } else { 1 };
    let known = |who: &Who| state.registered[who] == [Entry::Known].into();
    let mut shut_out: Vec<_> = Who::CALLERS.into_iter().filter(|who| !known(who)).collect();
    let lifted = if shut_out.is_empty() { 1 } else { 3 };
    if shut_out.is_empty() {
        shut_out.extend(Who::CALLERS);
    }
    let shut_out = || prop::sample::select(shut_out.clone());
    let word = prop::sample::select(vec![Who::Ann, Who::Bob, Who::Ann, Who::Bob, Who::SuesOther]);
    let fault = prop::sample::select(Fault::ALL.to_vec());
    let extend =
        |fits| {
            (owned(fits), prop::sample::select(vec![1, 1, 2, 4]))
                .prop_map(|((loan, by), hours)| Event::Extend { by, loan, hours })
        };
    // The moments at which something ends or lapses, and those beside them.
    let moments = state.loans.iter().flat_map(|loan| {
        loan.ends().into_iter().chain(loan.lapses()).chain(loan.extension.lapses.clone()).collect::<Vec<_>>()
    });
    let mut ahead: Vec<_> = moments.map(|at| at - state.now).filter(|seconds| *seconds > 0).collect();
    if ahead.is_empty() {
        ahead.push(1);
    }
    let until_a_moment = (prop::sample::select(ahead), -1..=1_i64);
    prop_oneof![
        7 => request,
        2 => loan().prop_map(|loan| Event::Repeat { loan }),
        often(&gives_credentials, 6) => owned(&gives_credentials).prop_map(|(loan, by)| Event::Issue { by, loan }),
        often(&may_be_longer, 4) => extend(&may_be_longer),
        often(&is_approved, 8) => extend(&is_approved),
        often(&Loan::was_surely_extended, 2) => owned(&Loan::was_surely_extended)
            .prop_map(|(loan, _)| Event::ExtendOnceMore { loan }),
        often(&Loan::is_asked_of_others, 14) => (word, owned(&Loan::is_asked_of_others), 0..3_u8)
            .prop_map(|(by, (loan, _), draw)| Event::Decide { by, loan, approve: draw > 0 }),
        often(&may_be_reviewed, 4) => (anybody(), owned(&may_be_reviewed))
            .prop_map(|(by, (loan, _))| Event::Review { by, loan }),
        4 => (anybody(), loan()).prop_map(|(by, loan)| Event::Revoke { by, loan }),
        often(&is_live_and_used, 2) => owned(&is_live_and_used).prop_map(|(loan, by)| Event::Revoke { by, loan }),
        1 => caller().prop_map(Event::Remove),
        lifted => shut_out().prop_map(Event::Register),
        2 => caller().prop_map(Event::Suspend),
        lifted => shut_out().prop_map(Event::Resume),
        1 => (0..SETS).prop_map(Event::Publish),
        1 => (0..4_u8).prop_map(|draw| Event::Listen(draw > 0)),
        3 => Just(Event::Sweep),
        5 => (0..24_usize, fault, any::<bool>())
            .prop_map(|(ahead, fault, lasting)| Event::Fault { ahead, fault, lasting }),
        3 => Just(Event::AllIsWell),
        3 => Just(Event::Settle),
        3 => (0..40_i64).prop_map(Event::Wait),
        2 => (40..400_i64).prop_map(Event::Wait),
        1 => until_a_moment.prop_map(|(seconds, beside)| Event::Wait(seconds + beside)),
        1 => (3000..4200_i64).prop_map(Event::Wait),
        1 => (9000..15_000_i64).prop_map(Event::Wait),
        1 => Just(Event::LoseWorkflows),
        1 => loan().prop_map(|loan| Event::DeletePrincipal { loan }),
        1 => Just(Event::MakeRole),
    ]
    .boxed()
}

/// Whether an event is one that the model can follow.
pub(crate) fn is_possible(state: &Reference, event: &Event) -> bool {
    match event {
        Event::Repeat { loan }
        | Event::Revoke { loan, .. }
        | Event::Issue { loan, .. }
        | Event::Review { loan, .. } => *loan < state.loans.len(),
        Event::Decide { by, loan, approve } => {
            state.loans.get(*loan).is_some_and(|loan| loan.is_new_word(*by, *approve))
        }
        // One at a time, so that it is known which one a word is about.
        Event::Extend { loan, .. } => {
            state.loans.get(*loan).is_some_and(|loan| loan.extension.may_be.len() == 1)
        }
        Event::ExtendOnceMore { loan } => state.loans.get(*loan).is_some_and(Loan::was_surely_extended),
        // A creation still on its way would make the role anew, and empty: safe, and not what is meant here. Nor is the role that
        // stands ready for everybody.
        Event::DeletePrincipal { loan } => {
            let own = state.loans.get(*loan).is_some_and(|loan| loan.grant != Grant::Standing);
            own && !state.may_write_late()
        }
        Event::Fault { fault, .. } if fault.is_late() => !state.may_write_late(),
        // More than a few at once, and the sweep holds, as it should.
        Event::MakeRole => state.strays < 3,
        _ => true,
    }
}
