//! What the rules of the service say of each command: yes, no, or either where the model does not know how things stand.

use std::collections::BTreeSet;

use sorry_policy::Grant;

use crate::{
    events::{APPROVED, AT_ONCE, HOURS, STANDING, Who, agree, most},
    loan::{
        Loan, Stage,
        Stands::{self, Absent, Active, Awaiting, Granting, Over},
    },
    reference::{Entry, Reference},
};

/// What may be true.
pub(crate) type May = BTreeSet<bool>;

/// Whether all conditions hold.
fn all<const N: usize>(conditions: [May; N]) -> May {
    let yes = conditions.iter().all(|may| may.contains(&true));
    let no = conditions.iter().any(|may| may.contains(&false));
    [yes.then_some(true), no.then_some(false)].into_iter().flatten().collect()
}

fn surely(known: bool) -> May {
    [known].into()
}

/// No doubt, unless there is one.
fn unless(in_doubt: bool) -> May {
    if in_doubt { [true, false].into() } else { surely(true) }
}

fn of<T>(values: impl IntoIterator<Item = T>, holds: impl Fn(T) -> bool) -> May {
    values.into_iter().map(holds).collect()
}

impl Reference {
    /// Whether somebody is registered, and not suspended.
    pub(crate) fn is_known(&self, who: Who) -> May {
        match self.registered.get(&who) {
            None => surely(false),
            Some(entries) => of(entries, |entry| *entry == Entry::Known),
        }
    }

    /// Whether a request is granted: of the tiers in force, by the caller's entry, and within what it may have at once.
    pub(crate) fn may_request(&self, index: usize) -> May {
        let loan = &self.loans[index];
        let hours = of(&self.sets, |set| loan.hours <= most(loan.tier, *set));
        all([self.is_known(loan.by), hours, self.within_limits(index)])
    }

    /// A session that is there is not asked for anew.
    fn within_limits(&self, index: usize) -> May {
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
        let new = of(&asked.may_be, |stands| *stands == Absent);
        let counts = [at_least, at_most];
        new.iter().flat_map(|new| counts.map(|count| !*new || count < AT_ONCE)).collect()
    }

    /// Whether somebody may end a loan's session.
    pub(crate) fn may_revoke(&self, by: Who, loan: &Loan) -> May {
        if by == Who::Administrator {
            return surely(true);
        }
        all([self.is_known(by), surely(by == Who::Ann || by.person() == loan.by.person())])
    }

    /// Whether somebody is given credentials of a loan's session.
    pub(crate) fn may_issue(&self, by: Who, loan: &Loan) -> May {
        all([
            self.is_known(by),
            surely(by == loan.by && loan.grant != Grant::Role),
            of(&loan.may_be, |stands| *stands == Active),
            of(loan.ends(), |end| self.now < end),
            unless(self.now < loan.issue_in_doubt_until || loan.principal_deleted),
        ])
    }

    /// Whether somebody is granted a later end: while the session is ACTIVE and no other is open, of the tier that it was made from, and
    /// within the longest window counted from its beginning.
    pub(crate) fn may_extend(&self, by: Who, loan: &Loan, hours: i64) -> May {
        let pairs = || self.sets.iter().flat_map(|set| loan.made_from.iter().map(|made| [*set, *made]));
        let window = |more: &i64| (loan.hours + hours) * 3600 + more;
        let windows = self.sets.iter().flat_map(|set| loan.put_off.iter().map(move |more| (set, more)));
        all([
            self.is_known(by),
            surely(by == loan.by && loan.grant != Grant::Standing),
            of(&loan.may_be, |stands| *stands == Active),
            of(loan.ends(), |end| self.now < end),
            of(&loan.extension.may_be, |stage| *stage == Stage::Settled),
            unless(self.now < loan.extension.in_doubt_until),
            of(pairs(), |sets| agree(loan.tier, sets)),
            of(windows, |(set, more)| window(more) <= most(loan.tier, *set) * 3600),
        ])
    }

    /// Whether a word on a loan is taken, as far as that does not depend on where it stands.
    pub(crate) fn may_decide(&self, by: Who, loan: &Loan, approve: bool) -> May {
        let still_in_time = match loan.asks_about_extension() {
            true => of(&loan.extension.lapses, |at| self.now < *at),
            false => of(loan.lapses(), |at| self.now < at),
        };
        all([
            self.is_known(by),
            surely(loan.tier == APPROVED && by.is_approver() && by.person() != loan.by.person()),
            still_in_time,
            // Whoever asked may still have it.
            if approve { self.is_known(loan.by) } else { surely(true) },
        ])
    }

    /// Whether a word on a loan finds something to be said about.
    pub(crate) fn is_decided_on(&self, loan: &Loan, approve: bool) -> May {
        of(&loan.may_be, |stands| match stands {
            Active if loan.asks_about_extension() => true,
            Awaiting => true,
            // A denial beats an approval of before.
            Granting | Active => !approve,
            _ => false,
        })
    }

    /// Whether somebody closes a loan's review, once the session is over, or did so before.
    pub(crate) fn may_review(&self, by: Who, loan: &Loan) -> May {
        all([
            self.is_known(by),
            surely(loan.tier == STANDING && by.is_approver() && by.person() != loan.by.person()),
            loan.issued.clone(),
            of(&loan.may_be, |stands| matches!(stands, Over(_))),
            of(&loan.reviewed, |closed| closed.is_none_or(|closed| closed == by)),
        ])
    }

    /// Whether an entry can be written: its hours must be within the tiers in force.
    pub(crate) fn may_register(&self) -> May {
        of(&self.sets, |set| HOURS.iter().all(|(tier, hours)| *hours <= most(tier, *set)))
    }

    /// Whether there is an entry to suspend, or to resume.
    pub(crate) fn is_registered(&self, who: Who) -> May {
        of(&self.registered[&who], |entry| *entry != Entry::Unknown)
    }

    /// Whether there is anything of a caller to remove.
    pub(crate) fn may_remove(&self, who: Who) -> May {
        let is_over = |stands: &Stands| matches!(stands, Absent | Over(_));
        let has_sessions = self.loans.iter().any(|loan| loan.by == who && !loan.may_be.iter().all(is_over));
        let registered = self.is_registered(who);
        if registered == surely(false) && has_sessions { unless(true) } else { registered }
    }
}
