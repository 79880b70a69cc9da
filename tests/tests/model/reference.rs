//! The abstract model: for each loan, the states that its session may be in. While nothing goes wrong that is one state; what goes
//! wrong makes it several, and a settlement (all is well, the grace passes, the sweep comes by) brings it back to few. The model
//! knows rules and times, and nothing of rows, roles, calls or workflows.
//!
//! A new operation is a variant of [`Event`], a line in [`Reference::transitions`] and one in [`Reference::apply`].

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use sorry_testkit::Fault;

use crate::harness::{GRACE, SWEEP_EVERY};

/// After how long a late write lands.
pub(crate) const LATE: i64 = GRACE - 60;
/// Longer than the margin that the sweep leaves a workflow.
pub(crate) const MARGIN: i64 = 31;

/// Whoever does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Sue,
    /// Another key of the same person.
    SuesOther,
    Bob,
    /// Has the registry's role `security`.
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
}

/// Hours that every entry in the registry gives of each tier.
pub(crate) const HOURS: [(&str, i64); 4] =
    [("developer", 8), ("read-only", 8), ("break-glass", 1), ("admin", 1)];
/// Sessions of one tier that a caller may have at once.
const AT_ONCE: usize = 3;
/// The tier that one other person must approve, and how long they have for it, in seconds.
const APPROVED: &str = "admin";
const LAPSES_AFTER: i64 = 240 * 60;
/// Sets of tiers that may be in force: the built-in one, one with another policy, one whose `developer` has an hour at most.
pub(crate) const SETS: usize = 3;

/// The longest window of a tier for a caller, in hours.
fn most(tier: &str, set: usize) -> i64 {
    let entry = HOURS.iter().find(|(name, _)| *name == tier).unwrap().1;
    if set == 2 && tier == "developer" { 1 } else { entry }
}

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Request {
        by: Who,
        tier: &'static str,
        hours: i64,
    },
    /// A request once more, word for word.
    Repeat {
        loan: usize,
    },
    Revoke {
        by: Who,
        loan: usize,
    },
    /// Somebody's word on a request that waits for it; each says one.
    Decide {
        by: Who,
        loan: usize,
        approve: bool,
    },
    Remove(Who),
    Register(Who),
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
    /// All is well, the grace passes, the sweep comes by twice.
    Settle,
    Wait(i64),
    /// Every execution that runs is lost.
    LoseWorkflows,
    /// A person deletes the role of a session.
    DeleteRole {
        loan: usize,
    },
    /// A person makes a role where none should be.
    MakeRole,
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Also of an approval that did not come in time.
    Expired,
    Revoked,
    Denied,
    Failed,
}

/// Where a loan stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stands {
    /// There is no session.
    Absent,
    /// It waits for an approval.
    Awaiting,
    Granting,
    Active,
    /// Its end is decided; what is left is being removed.
    Ending(Cause),
    Over(Cause),
}

use Cause::{Denied, Expired, Failed, Revoked};
use Stands::{Absent, Active, Awaiting, Ending, Granting, Over};

/// One loan.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    pub(crate) by: Who,
    pub(crate) tier: &'static str,
    pub(crate) hours: i64,
    /// Where it may stand.
    pub(crate) may_be: BTreeSet<Stands>,
    /// When it may have been asked for first.
    asked: BTreeSet<i64>,
    /// When its window may have begun.
    begun: BTreeSet<i64>,
    /// What may be answered to the request that was sent last.
    pub(crate) answer: BTreeSet<bool>,
    /// The words said on it: by whom, and whether an approval.
    words: BTreeMap<Who, bool>,
    /// Whether its workflow may be gone.
    unattended: bool,
    role_deleted: bool,
}

impl Loan {
    fn earliest_end(&self) -> i64 {
        self.begun.first().copied().unwrap_or(i64::MAX).saturating_add(self.hours * 3600)
    }

    fn latest_end(&self) -> i64 {
        self.begun.last().copied().unwrap_or(i64::MIN).saturating_add(self.hours * 3600)
    }

    fn lapses(&self) -> impl Iterator<Item = i64> {
        self.asked.iter().map(|asked| asked + LAPSES_AFTER)
    }

    /// What may come of a request, or of what was said on it, when it does not go as it should.
    fn may_become(&self) -> Vec<Stands> {
        let granted = self.tier != APPROVED || self.words.values().any(|approve| *approve);
        let denied = self.words.values().any(|approve| !approve);
        let mut next =
            if granted { vec![Granting, Active, Ending(Failed), Over(Failed)] } else { Vec::new() };
        if denied {
            next.extend([Ending(Denied), Over(Denied)]);
        }
        if self.tier == APPROVED {
            next.push(Awaiting);
        }
        next
    }

    fn each(&mut self, next: impl Fn(Stands) -> Vec<Stands>) {
        self.may_be = self.may_be.iter().flat_map(|stands| next(*stands)).collect();
    }

    /// What runs runs on.
    fn progress(&mut self) {
        self.each(|stands| match stands {
            Granting => vec![Granting, Active, Ending(Failed), Over(Failed)],
            Ending(cause) => vec![Ending(cause), Over(cause)],
            _ => vec![stands],
        });
    }

    /// Its end is decided for that cause.
    fn end(&mut self, cause: Cause, certain: bool) {
        let at_once = certain && !self.role_deleted;
        self.each(|stands| match stands {
            Active if at_once => vec![Over(cause)],
            Awaiting if certain => vec![Over(cause)],
            Awaiting => vec![Awaiting, Over(cause)],
            Active | Granting if certain => vec![Ending(cause), Over(cause)],
            Active | Granting => vec![stands, Ending(cause), Over(cause)],
            _ => vec![stands],
        });
    }
}

/// The abstract state.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// Seconds since the world began.
    pub(crate) now: i64,
    pub(crate) loans: Vec<Loan>,
    /// Whether each caller may be registered.
    registered: BTreeMap<Who, BTreeSet<bool>>,
    /// Which sets of tiers may be in force.
    sets: BTreeSet<usize>,
    /// Whether somebody hears alerts: without, break-glass fails closed.
    heard: bool,
    /// Whether a fault was set and not taken back.
    faulty: bool,
    /// Whether a write may be late: what is promised is promised for one at a time.
    late: bool,
    /// Until when one may land that was.
    late_until: i64,
    strays: usize,
}

impl Reference {
    /// Whether everything goes as it should at this moment.
    pub(crate) fn is_calm(&self) -> bool {
        !self.faulty && self.now > self.late_until
    }

    /// Whether a request is granted by the rules: for each set and entry that may be in force.
    fn verdicts(&self, by: Who, tier: &str, hours: i64) -> BTreeSet<bool> {
        let granted = |set: &usize| hours <= most(tier, *set);
        let sets: BTreeSet<bool> = self.sets.iter().map(granted).collect();
        let registered = self.registered.get(&by).cloned().unwrap_or_else(|| [false].into());
        registered.iter().flat_map(|known| sets.iter().map(move |granted| *known && *granted)).collect()
    }

    /// Whether a loan is within what its caller may have at once. A session that is there is not asked for anew.
    fn within_limits(&self, index: usize) -> BTreeSet<bool> {
        let asked = &self.loans[index];
        let others = || {
            let of_it = |(other, loan): &(usize, &Loan)| {
                *other != index && (loan.by, loan.tier) == (asked.by, asked.tier)
            };
            self.loans.iter().enumerate().filter(of_it).map(|(_, loan)| loan)
        };
        let is_over = |stands: &Stands| matches!(stands, Absent | Over(_));
        let at_least = others().filter(|loan| !loan.may_be.iter().any(is_over)).count();
        let at_most = others().filter(|loan| !loan.may_be.iter().all(is_over)).count();
        let new: BTreeSet<bool> = asked.may_be.iter().map(|stands| *stands == Absent).collect();
        let counts = [at_least, at_most];
        new.iter().flat_map(|new| counts.map(|count| !*new || count < AT_ONCE)).collect()
    }

    /// Whether somebody may end a loan's session.
    pub(crate) fn may_revoke(&self, by: Who, loan: &Loan) -> BTreeSet<bool> {
        match self.registered.get(&by) {
            None => [true].into(),
            Some(known) => {
                let allowed = by == Who::Ann || by.person() == loan.by.person();
                known.iter().map(|known| *known && allowed).collect()
            }
        }
    }

    /// Whether an entry can be written: its hours must be within the tiers in force.
    pub(crate) fn may_register(&self) -> BTreeSet<bool> {
        self.sets.iter().map(|set| HOURS.iter().all(|(tier, hours)| *hours <= most(tier, *set))).collect()
    }

    fn may_be_unregistered(&self, loan: &Loan) -> BTreeSet<bool> {
        self.registered[&loan.by].iter().map(|known| !known).collect()
    }

    fn ask(&mut self, index: usize) {
        let (now, calm) = (self.now, self.is_calm());
        let Loan { by, tier, hours, .. } = self.loans[index];
        let comes_to = match tier {
            APPROVED => Awaiting,
            "break-glass" if !self.heard => Over(Failed),
            _ => Active,
        };
        let within = self.within_limits(index);
        let verdicts: BTreeSet<bool> = self
            .verdicts(by, tier, hours)
            .into_iter()
            .flat_map(|granted| within.iter().map(move |within| granted && *within))
            .collect();
        self.loans[index].answer = verdicts.clone();
        let loan = &mut self.loans[index];
        if !verdicts.contains(&true) {
            return;
        }
        if loan.may_be.contains(&Absent) {
            loan.asked.insert(now);
            if tier != APPROVED {
                loan.begun.insert(now);
            }
        }
        let certain = calm && verdicts.len() == 1;
        let may_become = loan.may_become();
        loan.each(|stands| match stands {
            Absent if certain => vec![comes_to],
            Absent => [vec![Absent], may_become.clone()].concat(),
            _ => vec![stands],
        });
    }

    /// Whether a word on a loan is taken, as far as that does not depend on where it stands.
    pub(crate) fn may_decide(&self, by: Who, loan: &Loan) -> BTreeSet<bool> {
        let allowed = [Who::Ann, Who::Bob].contains(&by) && by.person() != loan.by.person();
        let in_time = |asked: &i64| self.now < asked + LAPSES_AFTER;
        let times: BTreeSet<bool> = loan.asked.iter().map(in_time).collect();
        let Some(registered) = self.registered.get(&by) else { return [false].into() };
        registered.iter().flat_map(|known| times.iter().map(move |time| *known && allowed && *time)).collect()
    }

    fn decide(&mut self, by: Who, index: usize, approve: bool) {
        let (now, allowed) = (self.now, self.may_decide(by, &self.loans[index]));
        let certain = self.is_calm() && allowed.len() == 1;
        let loan = &mut self.loans[index];
        if loan.tier != APPROVED || !allowed.contains(&true) {
            return;
        }
        loan.words.insert(by, approve);
        if !approve {
            return loan.end(Denied, certain);
        }
        if loan.may_be.contains(&Awaiting) {
            loan.begun.insert(now);
        }
        let may_become = loan.may_become();
        loan.each(|stands| match stands {
            Awaiting if certain => vec![Active],
            Awaiting => may_become.clone(),
            _ => vec![stands],
        });
    }

    fn revoke(&mut self, by: Who, index: usize) {
        let allowed = self.may_revoke(by, &self.loans[index]);
        if allowed.contains(&true) {
            let certain = self.is_calm() && allowed.len() == 1;
            self.loans[index].end(Revoked, certain);
        }
    }

    fn remove(&mut self, who: Who) {
        let calm = self.is_calm();
        let known = self.registered.get_mut(&who).unwrap();
        if calm {
            known.clear();
        }
        known.insert(false);
        for loan in self.loans.iter_mut().filter(|loan| loan.by == who) {
            loan.end(Revoked, calm);
        }
    }

    fn register(&mut self, who: Who) {
        let allowed = self.may_register();
        let certain = self.is_calm() && allowed.len() == 1;
        if allowed.contains(&true) {
            let known = self.registered.get_mut(&who).unwrap();
            if certain {
                known.clear();
            }
            known.insert(true);
        }
    }

    fn sweep(&mut self) {
        let now = self.now;
        for index in 0..self.loans.len() {
            let unregistered = self.may_be_unregistered(&self.loans[index]).contains(&true);
            let loan = &mut self.loans[index];
            let (due, deleted) = (now >= loan.earliest_end(), loan.role_deleted);
            let lapsed = loan.lapses().any(|at| now >= at);
            loan.each(|stands| {
                let mut next = vec![stands];
                let causes = match stands {
                    Awaiting => [lapsed.then_some(Expired), unregistered.then_some(Revoked), None],
                    Granting => [Some(Failed), unregistered.then_some(Revoked), None],
                    Active => {
                        [due.then_some(Expired), unregistered.then_some(Revoked), deleted.then_some(Failed)]
                    }
                    _ => [None; 3],
                };
                next.extend(causes.into_iter().flatten().flat_map(|cause| [Ending(cause), Over(cause)]));
                next
            });
        }
    }

    fn pass(&mut self, seconds: i64) {
        let calm = self.is_calm();
        self.now += seconds;
        let now = self.now;
        for loan in &mut self.loans {
            let (due, surely_due) = (now >= loan.earliest_end(), now >= loan.latest_end());
            let attended = calm && !loan.unattended;
            loan.each(|stands| match stands {
                Active if surely_due && attended => vec![Over(Expired)],
                Active | Granting if due => vec![stands, Ending(Expired), Over(Expired)],
                _ => vec![stands],
            });
        }
    }

    /// The second sweep of a settlement comes when no window has ended moments before.
    fn settle(&mut self) {
        self.well();
        self.now += GRACE + SWEEP_EVERY;
        let ends = |loan: &Loan| loan.begun.iter().map(|begun| begun + loan.hours * 3600).collect::<Vec<_>>();
        let ends: Vec<i64> = self.loans.iter().flat_map(ends).collect();
        while ends.iter().any(|end| (self.now - MARGIN..=self.now).contains(end)) {
            self.now += MARGIN;
        }
        let now = self.now;
        for index in 0..self.loans.len() {
            let unregistered = self.may_be_unregistered(&self.loans[index]);
            let loan = &mut self.loans[index];
            let (due, surely_due) = (now >= loan.earliest_end(), now >= loan.latest_end());
            let deleted = loan.role_deleted;
            let asked = !loan.asked.is_empty();
            let lapsed: BTreeSet<bool> = loan.lapses().map(|at| now >= at).collect();
            let may_become = loan.may_become();
            loan.each(|stands| match stands {
                // What was written late, without a workflow.
                Absent if !asked => vec![Absent],
                Absent | Awaiting => {
                    let mut next: Vec<_> = may_become
                        .iter()
                        .filter(|next| matches!(next, Over(_)))
                        .copied()
                        .chain((stands == Absent).then_some(Absent))
                        .collect();
                    if may_become.contains(&Awaiting) {
                        next.extend(lapsed.contains(&true).then_some(Over(Expired)));
                        next.extend(unregistered.contains(&true).then_some(Over(Revoked)));
                        let waits = lapsed.contains(&false) && unregistered.contains(&false);
                        next.extend(waits.then_some(Awaiting));
                    }
                    next
                }
                Ending(cause) | Over(cause) => vec![Over(cause)],
                Granting | Active => {
                    let mut next = Vec::new();
                    if !surely_due && unregistered.contains(&false) {
                        next.push(Active);
                    }
                    if due {
                        next.push(Over(Expired));
                    }
                    if unregistered.contains(&true) {
                        next.push(Over(Revoked));
                    }
                    if deleted || stands == Granting {
                        next.push(Over(Failed));
                    }
                    next
                }
            });
            loan.role_deleted = false;
        }
    }

    fn well(&mut self) {
        if std::mem::take(&mut self.faulty) && std::mem::take(&mut self.late) {
            self.late_until = self.now + LATE;
        }
    }
}

impl ReferenceStateMachine for Reference {
    type State = Self;
    type Transition = Event;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self {
            now: 0,
            loans: Vec::new(),
            registered: Who::CALLERS.map(|who| (who, [true].into())).into(),
            sets: [0].into(),
            heard: true,
            faulty: false,
            late: false,
            late_until: -1,
            strays: 0,
        })
        .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Event> {
        let caller = || prop::sample::select(Who::CALLERS.to_vec());
        let word = prop::sample::select(vec![Who::Ann, Who::Bob, Who::SuesOther]);
        let anybody = prop::sample::select(Who::ALL.to_vec());
        let tier = prop::sample::select(HOURS.map(|(tier, _)| tier).to_vec());
        let fault = prop::sample::select(Fault::ALL.to_vec());
        let request = (caller(), tier, 1..=2_i64);
        let request = request.prop_map(|(by, tier, hours)| Event::Request { by, tier, hours }).boxed();
        if state.loans.is_empty() {
            return request;
        }
        let loan = || 0..state.loans.len();
        prop_oneof![
            6 => request,
            2 => loan().prop_map(|loan| Event::Repeat { loan }),
            6 => (word, loan(), any::<bool>()).prop_map(|(by, loan, approve)| Event::Decide { by, loan, approve }),
            5 => (anybody, loan()).prop_map(|(by, loan)| Event::Revoke { by, loan }),
            1 => caller().prop_map(Event::Remove),
            2 => caller().prop_map(Event::Register),
            1 => (0..SETS).prop_map(Event::Publish),
            1 => any::<bool>().prop_map(Event::Listen),
            3 => Just(Event::Sweep),
            5 => (0..24_usize, fault, any::<bool>()).prop_map(|(ahead, fault, lasting)| Event::Fault { ahead, fault, lasting }),
            3 => Just(Event::AllIsWell),
            3 => Just(Event::Settle),
            3 => (0..40_i64).prop_map(Event::Wait),
            2 => (40..400_i64).prop_map(Event::Wait),
            1 => (3000..4200_i64).prop_map(Event::Wait),
            1 => (9000..15_000_i64).prop_map(Event::Wait),
            1 => Just(Event::LoseWorkflows),
            1 => loan().prop_map(|loan| Event::DeleteRole { loan }),
            1 => Just(Event::MakeRole),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, event: &Event) -> bool {
        match event {
            Event::Repeat { loan } | Event::Revoke { loan, .. } => *loan < state.loans.len(),
            Event::Decide { by, loan, .. } => {
                state.loans.get(*loan).is_some_and(|loan| !loan.words.contains_key(by))
            }
            // A creation still on its way would make the role anew, and empty: safe, and not what is meant here. Nor is the role that
            // stands ready for everybody.
            Event::DeleteRole { loan } => {
                let own = state.loans.get(*loan).is_some_and(|loan| loan.tier != "break-glass");
                own && !state.late && state.now > state.late_until
            }
            Event::Fault { fault: Fault::AppliedLate, .. } => !state.late && state.now > state.late_until,
            // More than a few at once, and the sweep holds, as it should.
            Event::MakeRole => state.strays < 3,
            _ => true,
        }
    }

    fn apply(mut state: Self, event: &Event) -> Self {
        match event {
            Event::Request { by, tier, hours } => {
                state.loans.push(Loan {
                    by: *by,
                    tier,
                    hours: *hours,
                    may_be: [Absent].into(),
                    asked: BTreeSet::new(),
                    begun: BTreeSet::new(),
                    answer: BTreeSet::new(),
                    words: BTreeMap::new(),
                    unattended: false,
                    role_deleted: false,
                });
                state.ask(state.loans.len() - 1);
            }
            Event::Repeat { loan } => state.ask(*loan),
            Event::Revoke { by, loan } => state.revoke(*by, *loan),
            Event::Decide { by, loan, approve } => state.decide(*by, *loan, *approve),
            Event::Remove(who) => state.remove(*who),
            Event::Register(who) => state.register(*who),
            Event::Publish(set) => {
                if state.is_calm() {
                    state.sets.clear();
                }
                state.sets.insert(*set);
            }
            Event::Listen(heard) => state.heard = *heard,
            Event::Sweep => state.sweep(),
            Event::Fault { fault, .. } => {
                state.faulty = true;
                state.late |= *fault == Fault::AppliedLate;
            }
            Event::AllIsWell => state.well(),
            Event::Settle => state.settle(),
            Event::Wait(seconds) => state.pass(*seconds),
            Event::LoseWorkflows => state.loans.iter_mut().for_each(|loan| loan.unattended = true),
            Event::DeleteRole { loan } => state.loans[*loan].role_deleted = true,
            Event::MakeRole => state.strays += 1,
        }
        let calm = state.is_calm();
        for loan in &mut state.loans {
            loan.unattended |= !calm;
            if !calm && !loan.asked.is_empty() {
                // What was on its way may have come.
                let may_become = loan.may_become();
                loan.each(|stands| match stands {
                    Absent | Awaiting => [vec![stands], may_become.clone()].concat(),
                    _ => vec![stands],
                });
            }
            if !matches!(event, Event::Settle) {
                loan.progress();
            }
        }
        state
    }
}
