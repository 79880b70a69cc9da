//! One loan of the model: the states that its session may be in, when its window may end, what may have become of its extension, of
//! its credentials and of its review. Where the model is sure there is one of each.

use std::collections::{BTreeMap, BTreeSet};

use sorry_policy::Grant;

use crate::{
    events::{APPROVED, LAPSES_AFTER, STANDING, Who},
    rules::May,
};

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

use Cause::{Denied, Failed};
use Stands::{Absent, Active, Awaiting, Ending, Granting, Over};

/// Where the extension of a loan that was asked for last stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// There is none, or nothing more will become of it.
    Settled,
    /// It waits for an approval.
    Asked,
    UnderWay,
}

/// The extension of a loan that was asked for last.
#[derive(Clone, Debug)]
pub(crate) struct Extension {
    pub(crate) may_be: BTreeSet<Stage>,
    /// How many were asked for, refused ones included: the name of the last.
    pub(crate) number: usize,
    /// Whether the last was granted.
    granted: May,
    /// By how much, in seconds.
    pub(crate) more: i64,
    /// When the time to decide on it may run out.
    pub(crate) lapses: BTreeSet<i64>,
    /// The words said on it: by whom, and whether an approval.
    words: BTreeMap<Who, bool>,
    /// Until then one that failed may be waited for before another is taken.
    pub(crate) in_doubt_until: i64,
}

/// One loan.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    pub(crate) by: Who,
    pub(crate) tier: &'static str,
    pub(crate) grant: Grant,
    pub(crate) hours: i64,
    /// Where it may stand.
    pub(crate) may_be: BTreeSet<Stands>,
    /// When it may have been asked for first.
    pub(crate) asked: BTreeSet<i64>,
    /// When its window may have begun.
    pub(crate) begun: BTreeSet<i64>,
    /// By how much, in seconds, its end may have been put off.
    pub(crate) put_off: BTreeSet<i64>,
    pub(crate) extension: Extension,
    /// The sets of tiers that it may have been made from.
    pub(crate) made_from: BTreeSet<usize>,
    /// The words said on the request: by whom, and whether an approval.
    words: BTreeMap<Who, bool>,
    /// Whether credentials of it may have been made.
    pub(crate) issued: May,
    /// Until then a try at making them that went wrong may be in the way of the next.
    pub(crate) issue_in_doubt_until: i64,
    /// Who may have closed its review.
    pub(crate) reviewed: BTreeSet<Option<Who>>,
    /// Whether its workflow may be gone.
    pub(crate) unattended: bool,
    pub(crate) principal_deleted: bool,
}

impl Loan {
    pub(crate) fn new(by: Who, tier: &'static str, grant: Grant, hours: i64) -> Self {
        Self {
            by,
            tier,
            grant,
            hours,
            may_be: [Absent].into(),
            asked: BTreeSet::new(),
            begun: BTreeSet::new(),
            put_off: [0].into(),
            extension: Extension {
                may_be: [Stage::Settled].into(),
                number: 0,
                granted: May::new(),
                more: 0,
                lapses: BTreeSet::new(),
                words: BTreeMap::new(),
                in_doubt_until: i64::MIN,
            },
            made_from: BTreeSet::new(),
            words: BTreeMap::new(),
            issued: [false].into(),
            issue_in_doubt_until: i64::MIN,
            reviewed: [None].into(),
            unattended: false,
            principal_deleted: false,
        }
    }

    /// When its window may end.
    pub(crate) fn ends(&self) -> BTreeSet<i64> {
        let first = self.begun.iter().map(|begun| begun + self.hours * 3600);
        first.flat_map(|end| self.put_off.iter().map(move |more| end + more)).collect()
    }

    pub(crate) fn earliest_end(&self) -> i64 {
        self.ends().first().copied().unwrap_or(i64::MAX)
    }

    pub(crate) fn latest_end(&self) -> i64 {
        self.ends().last().copied().unwrap_or(i64::MIN)
    }

    pub(crate) fn lapses(&self) -> impl Iterator<Item = i64> {
        self.asked.iter().map(|asked| asked + LAPSES_AFTER)
    }

    pub(crate) fn is_surely(&self, stands: Stands) -> bool {
        self.may_be == [stands].into()
    }

    /// Whether it may wait for a word.
    pub(crate) fn is_asked_of_others(&self) -> bool {
        self.may_be.contains(&Awaiting) || self.extension.may_be.contains(&Stage::Asked)
    }

    /// Whether a word is surely about the extension, and not about the request.
    pub(crate) fn asks_about_extension(&self) -> bool {
        self.extension.may_be == [Stage::Asked].into()
    }

    /// Whether somebody has not said a word yet on what is asked of others, and it is known what that is. Who says of the request what
    /// they said of the extension repeats themselves.
    pub(crate) fn is_new_word(&self, by: Who, approve: bool) -> bool {
        let on_extension = self.extension.words.get(&by);
        match self.extension.may_be.contains(&Stage::Asked) {
            // If the session were over, the word would be one on the request.
            true => {
                let once = self.is_surely(Active) || !self.words.contains_key(&by);
                self.asks_about_extension() && on_extension.is_none() && once
            }
            false => {
                let open = self.extension.may_be.contains(&Stage::UnderWay);
                !open && !self.words.contains_key(&by) && on_extension != Some(&approve)
            }
        }
    }

    /// What may come of a request, or of what was said on it, when it does not go as it should.
    pub(crate) fn may_become(&self) -> Vec<Stands> {
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

    pub(crate) fn each(&mut self, next: impl Fn(Stands) -> Vec<Stands>) {
        self.may_be = self.may_be.iter().flat_map(|stands| next(*stands)).collect();
    }

    /// It is asked for, at `now`, with these sets of tiers in force. What comes to it if `certain`, and it was not there before.
    pub(crate) fn is_asked_for(&mut self, now: i64, sets: &BTreeSet<usize>, heard: bool, certain: bool) {
        let comes_to = match self.tier {
            APPROVED => Awaiting,
            STANDING if !heard => Over(Failed),
            _ => Active,
        };
        if self.may_be.contains(&Absent) {
            self.asked.insert(now);
            self.made_from.extend(sets);
            if self.tier != APPROVED {
                self.begun.insert(now);
            }
        }
        let may_become = self.may_become();
        self.each(|stands| match stands {
            Absent if certain => vec![comes_to],
            Absent => [vec![Absent], may_become.clone()].concat(),
            _ => vec![stands],
        });
    }

    /// What runs runs on.
    pub(crate) fn progress(&mut self) {
        self.each(|stands| match stands {
            Granting => vec![Granting, Active, Ending(Failed), Over(Failed)],
            Ending(cause) => vec![Ending(cause), Over(cause)],
            _ => vec![stands],
        });
    }

    /// Its end is decided for that cause.
    pub(crate) fn end(&mut self, cause: Cause, certain: bool) {
        let at_once = certain && !self.principal_deleted;
        self.each(|stands| match stands {
            Active if at_once => vec![Over(cause)],
            Awaiting if certain => vec![Over(cause)],
            Awaiting => vec![Awaiting, Over(cause)],
            Active | Granting if certain => vec![Ending(cause), Over(cause)],
            Active | Granting => vec![stands, Ending(cause), Over(cause)],
            _ => vec![stands],
        });
    }

    /// Somebody who may says a word on the request.
    pub(crate) fn hears(&mut self, by: Who, approve: bool, now: i64, certain: bool) {
        self.words.insert(by, approve);
        if !approve {
            return self.end(Denied, certain);
        }
        if self.may_be.contains(&Awaiting) {
            self.begun.insert(now);
        }
        let may_become = self.may_become();
        self.each(|stands| match stands {
            Awaiting if certain => vec![Active],
            Awaiting => may_become.clone(),
            _ => vec![stands],
        });
    }

    /// Whether the extension that was asked for last was granted, and the same can be asked once more.
    pub(crate) fn was_surely_extended(&self) -> bool {
        self.extension.granted == [true].into()
    }

    /// A later end is asked for, and is surely not had by the rules.
    pub(crate) fn is_not_extended(&mut self) {
        self.extension.number += 1;
        self.extension.granted = [false].into();
    }

    /// A later end is asked for, and may be had by the rules.
    pub(crate) fn is_extended(&mut self, hours: i64, now: i64, certain: bool) {
        let ends = self.ends();
        let extension = &mut self.extension;
        extension.number += 1;
        extension.granted = [true].into_iter().chain((!certain).then_some(false)).collect();
        extension.more = hours * 3600;
        extension.lapses = ends.iter().map(|end| (now + LAPSES_AFTER).min(*end)).collect();
        if certain {
            extension.words.clear();
        }
        if self.tier != APPROVED {
            self.gets_its_extension(certain);
        } else if certain {
            self.extension.may_be = [Stage::Asked].into();
        } else {
            self.extension.may_be.insert(Stage::Asked);
        }
    }

    /// Somebody who may says a word on the extension.
    pub(crate) fn hears_of_extension(&mut self, by: Who, approve: bool, certain: bool) {
        self.extension.words.insert(by, approve);
        match approve {
            true => self.gets_its_extension(certain),
            false if certain => self.extension.may_be = [Stage::Settled].into(),
            false => drop(self.extension.may_be.insert(Stage::Settled)),
        }
    }

    fn gets_its_extension(&mut self, certain: bool) {
        let later: Vec<_> = self.put_off.iter().map(|before| before + self.extension.more).collect();
        if certain && !self.principal_deleted {
            self.put_off.clear();
            self.extension.may_be = [Stage::Settled].into();
        } else {
            self.extension.may_be.extend([Stage::Settled, Stage::UnderWay]);
        }
        self.put_off.extend(later);
    }

    /// The sweep comes by, and settles the extension if nobody else will: surely, or perhaps.
    pub(crate) fn extension_is_swept(&mut self, now: i64, surely: bool) {
        let lapsed: Vec<_> = self.extension.lapses.iter().map(|at| now >= *at).collect();
        let mut next = BTreeSet::new();
        for stage in &self.extension.may_be {
            let (may_go, may_stay) = match stage {
                Stage::Settled => (true, false),
                Stage::UnderWay => (true, !surely),
                Stage::Asked => (lapsed.contains(&true), !surely || lapsed.contains(&false)),
            };
            next.extend(may_go.then_some(Stage::Settled));
            next.extend(may_stay.then_some(*stage));
        }
        self.extension.may_be = next;
    }
}
