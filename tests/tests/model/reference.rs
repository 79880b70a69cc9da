//! The abstract model. While nothing goes wrong each loan can be in one state; what goes wrong makes it several, and a settlement
//! (all is well, the grace passes, the sweep comes by) brings it back to few. The model knows rules and times, and nothing of rows,
//! roles, calls or workflows.
//!
//! A new operation is a variant of [`Event`], a line in [`events::transitions`], its rule in `rules.rs`, and a line in
//! [`Reference::apply`].

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

use crate::{
    events::{self, Event, Who},
    harness::GRACE,
    loan::{Cause::Revoked, Loan},
    rules::May,
};

/// After how long a late write lands.
pub(crate) const LATE: i64 = GRACE - 60;
/// Longer than credentials take to be made, and than whoever died at it is waited for.
const ISSUE_LIFE: i64 = 41;

/// What the registry says of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Unknown,
    Known,
    Suspended,
}

/// The abstract state.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// Seconds since the world began.
    pub(crate) now: i64,
    pub(crate) loans: Vec<Loan>,
    /// What the registry may say of each caller.
    pub(crate) registered: BTreeMap<Who, BTreeSet<Entry>>,
    /// Which sets of tiers may be in force.
    pub(crate) sets: BTreeSet<usize>,
    /// What may be answered to the command that was sent last: yes or no.
    pub(crate) answer: May,
    /// Whether somebody hears alerts: without, break-glass fails closed.
    heard: bool,
    /// Whether a fault was set and not taken back.
    faulty: bool,
    /// Whether a write may be late: what is promised is promised for one at a time.
    late: bool,
    /// Until when one may land that was.
    late_until: i64,
    pub(crate) strays: usize,
}

impl Reference {
    /// Whether everything goes as it should at this moment.
    pub(crate) fn is_calm(&self) -> bool {
        !self.faulty && self.now > self.late_until
    }

    /// Whether a write may still be on its way.
    pub(crate) fn may_write_late(&self) -> bool {
        self.late || self.now <= self.late_until
    }

    /// Whether an access key may be left of a try at making credentials.
    pub(crate) fn has_doubts_of_keys(&self) -> bool {
        self.loans.iter().any(|loan| loan.issue_in_doubt_until > i64::MIN)
    }

    /// Keeps what may be answered. Answers whether what was asked for may happen, and whether it surely does.
    fn answered(&mut self, answer: May) -> (bool, bool) {
        let certain = self.is_calm() && answer.len() == 1;
        self.answer = answer;
        (self.answer.contains(&true), certain)
    }

    fn ask(&mut self, index: usize) {
        let (may, certain) = self.answered(self.may_request(index));
        if may {
            self.loans[index].is_asked_for(self.now, &self.sets, self.heard, certain);
        }
    }

    fn issue(&mut self, by: Who, index: usize) {
        let (may, certain) = self.answered(self.may_issue(by, &self.loans[index]));
        let (now, calm, loan) = (self.now, self.is_calm(), &mut self.loans[index]);
        if may {
            if certain {
                loan.issued.clear();
            }
            loan.issued.insert(true);
            if !calm {
                loan.issue_in_doubt_until = now + ISSUE_LIFE;
            }
        }
    }

    fn extend(&mut self, by: Who, index: usize, hours: i64) {
        let (may, certain) = self.answered(self.may_extend(by, &self.loans[index], hours));
        let (now, loan) = (self.now, &mut self.loans[index]);
        match may {
            true => loan.is_extended(hours, now, certain),
            false => loan.is_not_extended(),
        }
    }

    /// The same twice is once, however things stand by now.
    fn extend_once_more(&mut self, index: usize) {
        self.answer = self.is_known(self.loans[index].by);
    }

    fn decide(&mut self, by: Who, index: usize, approve: bool) {
        let loan = &self.loans[index];
        let (allowed, found) = (self.may_decide(by, loan, approve), self.is_decided_on(loan, approve));
        let (may, certain) = self.answered(allowed.clone());
        // Where it stands decides on the answer, too.
        if found.contains(&false) {
            self.answer.insert(false);
        }
        if !found.contains(&true) {
            self.answer.remove(&true);
        }
        let (now, loan) = (self.now, &mut self.loans[index]);
        if !may {
            return;
        }
        if loan.asks_about_extension() {
            loan.hears_of_extension(by, approve, certain && found == [true].into());
        } else {
            loan.hears(by, approve, now, certain);
        }
    }

    fn review(&mut self, by: Who, index: usize) {
        let (may, certain) = self.answered(self.may_review(by, &self.loans[index]));
        let loan = &mut self.loans[index];
        if may {
            if certain {
                loan.reviewed.clear();
            }
            loan.reviewed.insert(Some(by));
        }
    }

    fn revoke(&mut self, by: Who, index: usize) {
        let (may, certain) = self.answered(self.may_revoke(by, &self.loans[index]));
        if may {
            self.loans[index].end(Revoked, certain);
        }
    }

    /// Changes what the registry says of a caller.
    fn enter(&mut self, who: Who, certain: bool, entry: impl Fn(Entry) -> Entry) {
        let entries = self.registered.get_mut(&who).unwrap();
        let next: Vec<_> = entries.iter().map(|before| entry(*before)).collect();
        if certain {
            entries.clear();
        }
        entries.extend(next);
    }

    fn remove(&mut self, who: Who) {
        let calm = self.is_calm();
        self.answer = self.may_remove(who);
        self.enter(who, calm, |_| Entry::Unknown);
        self.end_all_of(who, calm);
    }

    fn register(&mut self, who: Who) {
        let (may, certain) = self.answered(self.may_register());
        if may {
            // To register a caller again is not to lift its suspension.
            self.enter(who, certain, |before| match before {
                Entry::Suspended => Entry::Suspended,
                Entry::Unknown | Entry::Known => Entry::Known,
            });
        }
    }

    fn suspend(&mut self, who: Who) {
        let (may, certain) = self.answered(self.is_registered(who));
        if may {
            self.enter(who, self.is_calm(), |before| match before {
                Entry::Unknown => Entry::Unknown,
                Entry::Known | Entry::Suspended => Entry::Suspended,
            });
            self.end_all_of(who, certain);
        }
    }

    fn resume(&mut self, who: Who) {
        let (may, _) = self.answered(self.is_registered(who));
        if may {
            self.enter(who, self.is_calm(), |before| match before {
                Entry::Unknown => Entry::Unknown,
                Entry::Known | Entry::Suspended => Entry::Known,
            });
        }
    }

    fn end_all_of(&mut self, who: Who, certain: bool) {
        for loan in self.loans.iter_mut().filter(|loan| loan.by == who) {
            loan.end(Revoked, certain);
        }
    }

    /// What is broken is mended.
    pub(crate) fn well(&mut self) {
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
            registered: Who::CALLERS.map(|who| (who, [Entry::Known].into())).into(),
            sets: [0].into(),
            answer: May::new(),
            heard: true,
            faulty: false,
            late: false,
            late_until: -1,
            strays: 0,
        })
        .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Event> {
        events::transitions(state)
    }

    fn preconditions(state: &Self, event: &Event) -> bool {
        events::is_possible(state, event)
    }

    fn apply(mut state: Self, event: &Event) -> Self {
        match event {
            Event::Request { by, tier, grant, hours } => {
                state.loans.push(Loan::new(*by, tier, *grant, *hours));
                state.ask(state.loans.len() - 1);
            }
            Event::Repeat { loan } => state.ask(*loan),
            Event::Issue { by, loan } => state.issue(*by, *loan),
            Event::Extend { by, loan, hours } => state.extend(*by, *loan, *hours),
            Event::ExtendOnceMore { loan } => state.extend_once_more(*loan),
            Event::Decide { by, loan, approve } => state.decide(*by, *loan, *approve),
            Event::Review { by, loan } => state.review(*by, *loan),
            Event::Revoke { by, loan } => state.revoke(*by, *loan),
            Event::Remove(who) => state.remove(*who),
            Event::Register(who) => state.register(*who),
            Event::Suspend(who) => state.suspend(*who),
            Event::Resume(who) => state.resume(*who),
            Event::Publish(set) => {
                let (_, certain) = state.answered([true].into());
                if certain {
                    state.sets.clear();
                }
                state.sets.insert(*set);
            }
            Event::Listen(heard) => state.heard = *heard,
            Event::Sweep => state.sweep(),
            Event::Fault { fault, .. } => {
                state.faulty = true;
                state.late |= fault.is_late();
            }
            Event::AllIsWell => state.well(),
            Event::Settle => state.settle(),
            Event::Wait(seconds) => state.pass(*seconds),
            Event::LoseWorkflows => state.loans.iter_mut().for_each(|loan| loan.unattended = true),
            Event::DeletePrincipal { loan } => state.loans[*loan].principal_deleted = true,
            Event::MakeRole => state.strays += 1,
        }
        state.goes_on(matches!(event, Event::Settle));
        state
    }
}
