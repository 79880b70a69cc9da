//! What the model makes of time that passes, and of the sweep.

use crate::{
    harness::{GRACE, LONGEST_WORKFLOW},
    loan::{
        Cause::{Expired, Failed, Revoked},
        Loan, Stage,
        Stands::{Absent, Active, Awaiting, Ending, Granting, Over},
    },
    reference::Reference,
    rules::May,
};

/// Longer than the margin that the sweep leaves a workflow.
const MARGIN: i64 = 31;

impl Reference {
    /// Whatever is due may be settled.
    pub(crate) fn sweep(&mut self) {
        let now = self.now;
        for index in 0..self.loans.len() {
            let unregistered = self.is_known(self.loans[index].by).contains(&false);
            let loan = &mut self.loans[index];
            let (due, deleted) = (now >= loan.earliest_end(), loan.principal_deleted);
            let lapsed = loan.lapses().any(|at| now >= at);
            loan.extension_is_swept(now, false);
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

    /// So many seconds pass.
    pub(crate) fn pass(&mut self, seconds: i64) {
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

    /// All is well, workflows have their longest time, the grace passes, and the sweep comes by once: nothing is left in a passing
    /// state. It comes when no window has ended moments before, for those it leaves to their workflows.
    pub(crate) fn settle(&mut self) {
        self.well();
        self.now += LONGEST_WORKFLOW + GRACE;
        let ends: Vec<i64> = self.loans.iter().flat_map(Loan::ends).collect();
        while ends.iter().any(|end| (self.now - MARGIN..=self.now).contains(end)) {
            self.now += MARGIN;
        }
        let now = self.now;
        for index in 0..self.loans.len() {
            let known = self.is_known(self.loans[index].by);
            let loan = &mut self.loans[index];
            let (due, surely_due) = (now >= loan.earliest_end(), now >= loan.latest_end());
            let deleted = loan.principal_deleted;
            let asked = !loan.asked.is_empty();
            let lapsed: May = loan.lapses().map(|at| now >= at).collect();
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
                        next.extend(known.contains(&false).then_some(Over(Revoked)));
                        let waits = lapsed.contains(&false) && known.contains(&true);
                        next.extend(waits.then_some(Awaiting));
                    }
                    next
                }
                Ending(cause) | Over(cause) => vec![Over(cause)],
                Granting | Active => {
                    let mut next = Vec::new();
                    next.extend((!surely_due && known.contains(&true)).then_some(Active));
                    next.extend(due.then_some(Over(Expired)));
                    next.extend(known.contains(&false).then_some(Over(Revoked)));
                    next.extend((deleted || stands == Granting).then_some(Over(Failed)));
                    next
                }
            });
            loan.principal_deleted = false;
            if loan.extension.may_be.contains(&Stage::UnderWay) {
                loan.extension.in_doubt_until = now + GRACE;
            }
            loan.extension_is_swept(now, true);
        }
    }

    /// What was on its way may have come, and what runs runs on.
    pub(crate) fn goes_on(&mut self, settled: bool) {
        let (now, calm) = (self.now, self.is_calm());
        for loan in &mut self.loans {
            loan.unattended |= !calm;
            if !calm && !loan.asked.is_empty() {
                let may_become = loan.may_become();
                loan.each(|stands| match stands {
                    Absent | Awaiting => [vec![stands], may_become.clone()].concat(),
                    _ => vec![stands],
                });
            }
            if !settled {
                loan.progress();
            }
            if loan.extension.may_be.contains(&Stage::UnderWay) {
                loan.extension.in_doubt_until = now + GRACE;
            }
        }
    }
}
