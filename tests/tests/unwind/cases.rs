//! What a case is: one call of an operation, found by recording it, one way for that call to fail, and for how long.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use sorry_policy::SessionId;
use sorry_testkit::{Call, Fault};

use crate::harness::{Bench, sue};

/// A tier for each grant; after a `+` the grant, where it is not the tier's own.
pub(crate) const TIERS: [&str; 3] = ["developer", "break-glass", "read-only+user"];

pub(crate) fn bench_with(published: bool) -> Bench {
    if published { Bench::published() } else { Bench::new() }
}

/// For how long a fault stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// For the one call.
    Once,
    /// For this and all later calls to the same port, until the session is granted or cleaned up.
    WhileGranting,
    /// For this and all later calls to the same port, until the workflow has ended or waits.
    UntilTheWorkflowEnds,
    /// For all calls of a sweep to one port.
    ThroughTheSweep,
}

impl Lasting {
    pub(crate) const ALL: &[Self] = &[Self::Once, Self::WhileGranting, Self::UntilTheWorkflowEnds];
    pub(crate) const ONCE_OR_LONGER: &[Self] = &[Self::Once, Self::UntilTheWorkflowEnds];
    pub(crate) const ONCE_OR_ALWAYS: &[Self] = &[Self::Once, Self::ThroughTheSweep];
}

/// What has become of a session before an operation on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// Asked for; the workflow was lost.
    Requested,
    /// ACTIVE.
    Granted,
    /// ACTIVE, and credentials are out.
    Issued,
    /// ACTIVE, with an access key of a try that died, and all that a person may have given to the user.
    KeyLeft,
    /// ACTIVE, and ends an hour later than it was to.
    Extended,
}

impl Past {
    /// A world with one session of that past.
    pub(crate) fn of(self, tier: &str) -> (Bench, SessionId) {
        let mut bench = Bench::new();
        bench.world.set_key_lag(3);
        if self == Self::Requested {
            bench.service.request(tier, "request-1").unwrap();
            bench.workflows.stop_all();
            let id = bench.session().unwrap().session_id;
            return (bench, id);
        }
        let id = bench.granted(tier, "request-1");
        match self {
            Self::Requested | Self::Granted => {}
            Self::Issued => assert_eq!(issue(&bench, &id), Some(200)),
            Self::KeyLeft => {
                bench.world.burden_user(bench.session().unwrap().role_name.as_str());
                key_left(&bench, &id);
            }
            Self::Extended => {
                let before = bench.session().unwrap().expires_at;
                assert_eq!(bench.service.extend(&id, 3600).unwrap().status, 202);
                bench.run_for(0);
                assert!(bench.session().unwrap().expires_at > before);
            }
        }
        (bench, id)
    }
}

/// Issues, and gives the status.
pub(crate) fn issue(bench: &Bench, id: &SessionId) -> Option<u16> {
    bench.service.issue(&sue(), id).map(|response| response.status)
}

/// Credentials are asked for, and the function dies when it has made the key.
pub(crate) fn key_left(bench: &Bench, id: &SessionId) {
    let before = bench.world.access_keys().len();
    bench.world.fail_port("create_key", Fault::CrashAfter);
    assert_eq!(issue(bench, id), None);
    bench.world.clear_faults();
    assert_eq!(bench.world.access_keys().len(), before + 1);
}

/// An operation, recorded without faults, and in which ways its calls are to fail.
pub(crate) struct Recorded {
    pub(crate) operation: &'static str,
    /// On what: the tier, with its grant, and what became of the session before.
    pub(crate) about: String,
    /// The number of its first call.
    pub(crate) first: usize,
    /// All calls since the world began.
    pub(crate) calls: Vec<Call>,
    pub(crate) lasting: &'static [Lasting],
    /// Whether whoever asks asks again when the answer was no.
    pub(crate) insisting: &'static [bool],
    pub(crate) faults: Vec<(Fault, i64)>,
}

impl Recorded {
    /// Every call × fault × how long × whether somebody insists.
    pub(crate) fn cases(&self) -> Vec<Case<'_>> {
        let mut cases = Vec::new();
        for (number, call) in self.calls.iter().enumerate().skip(self.first) {
            let again = self.calls[self.first..number].iter().any(|before| before.port == call.port);
            let befalling = self.faults.iter().copied().filter(|(fault, _)| fault.can_befall(call.port));
            for (fault, late) in befalling {
                for lasting in self.lasting.iter().copied() {
                    if again && lasting == Lasting::ThroughTheSweep {
                        continue;
                    }
                    cases.extend(self.insisting.iter().map(|insisting| Case {
                        of: self,
                        number,
                        call,
                        fault,
                        late,
                        lasting,
                        insisting: *insisting,
                    }));
                }
            }
        }
        cases
    }

    /// Runs `test` for each case.
    pub(crate) fn for_each_case(&self, mut test: impl FnMut(&Case<'_>)) {
        let cases = self.cases();
        assert!(!cases.is_empty(), "{} {}: no calls were recorded", self.operation, self.about);
        let mut fails = |case: &&Case<'_>| catch_unwind(AssertUnwindSafe(|| test(case))).is_err();
        let failed: Vec<_> = cases.iter().filter(|case| fails(case)).map(ToString::to_string).collect();
        assert!(
            failed.is_empty(),
            "{} of {} cases failed:\n{}",
            failed.len(),
            cases.len(),
            failed.join("\n")
        );
        println!("{} {}: {} cases", self.operation, self.about, cases.len());
    }
}

/// One way for one call to fail.
pub(crate) struct Case<'a> {
    pub(crate) of: &'a Recorded,
    pub(crate) number: usize,
    pub(crate) call: &'a Call,
    pub(crate) fault: Fault,
    /// For what is late: after how many seconds.
    late: i64,
    lasting: Lasting,
    pub(crate) insisting: bool,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, number, call, fault, late, lasting, insisting } = self;
        write!(
            formatter,
            "{} {}, call {number} `{} {}`: {fault:?} (late by {late} s), {lasting:?}, insisting: {insisting}",
            of.operation, of.about, call.port, call.about
        )
    }
}

impl Case<'_> {
    pub(crate) fn set(&self, bench: &mut Bench) {
        bench.world.land_after(self.late);
        match self.lasting {
            Lasting::Once => bench.world.fail_call(self.number, self.fault),
            Lasting::WhileGranting | Lasting::UntilTheWorkflowEnds | Lasting::ThroughTheSweep => {
                bench.world.fail_from_call(self.number, self.fault);
            }
        }
        if self.lasting == Lasting::WhileGranting {
            bench.workflows.watch(|world, execution| {
                if ["CleanUp", "WaitUntilExpiry"].contains(&execution.state.as_str()) {
                    world.clear_faults();
                }
            });
        }
    }

    /// A fault that passes, and whose call could be repeated.
    pub(crate) fn is_passing(&self) -> bool {
        self.lasting == Lasting::Once && self.fault != Fault::Refused
    }
}

/// Asks until the answer is yes, at most three times; only once if not insisting.
pub(crate) fn ask(bench: &mut Bench, insisting: bool, mut ask: impl FnMut(&Bench) -> Option<u16>) -> bool {
    for _ in 0..if insisting { 3 } else { 1 } {
        if ask(bench).is_some_and(|status| status < 300) {
            return true;
        }
        bench.run_for(5);
    }
    false
}

pub(crate) fn request(bench: &Bench, tier: &str) -> Option<u16> {
    bench.service.request(tier, "request-1").map(|response| response.status)
}
