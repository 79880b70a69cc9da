//! Many callers, each of their own person, somebody who decides on what they ask for, and how all of them live at once.

use std::{
    collections::VecDeque,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_policy::TierSet;
use sorry_tests::{Gateway, Keys, LocalAws};

use crate::loan::{Deed, Kind, Loan, NotDone, PAUSE};

/// A registered caller.
pub(crate) struct Member {
    /// Name of the user, the person and the namespace.
    pub(crate) name: String,
    pub(crate) keys: Keys,
    /// The gateway, by the way that the test wants.
    pub(crate) gateway: Gateway,
}

/// Those who ask for sessions, and who decides on them.
pub(crate) struct Crew {
    pub(crate) members: Vec<Member>,
    pub(crate) approver: Gateway,
}

/// Makes and registers callers for all tiers, and one approver. They reach the gateway at `url` instead of at the local AWS itself.
pub(crate) fn crew(aws: &LocalAws, url: &str, count: usize) -> Crew {
    let tiers = json!({"developer": 8, "read-only": 36, "break-glass": 1, "admin": 8});
    let member = |number| caller(aws, url, &format!("crew{number}"), &tiers, &["caller"]);
    let approver = caller(aws, url, "desk", &json!({}), &["approver"]).gateway;
    Crew { members: (0..count).map(member).collect(), approver }
}

fn caller(aws: &LocalAws, url: &str, name: &str, tiers: &Value, roles: &[&str]) -> Member {
    let direct = aws.output("endpoint");
    let administrator = Gateway::new(direct, &aws.administrator());
    let tags = json!([{"Key": "sorry:namespace", "Value": name}]);
    let user = json!({"UserName": name, "Path": "/sorry/caller/", "Tags": tags});
    let user = aws.call("iam.create_user", user)["User"].clone();
    let policy = json!({"UserName": name, "PolicyArn": aws.output("CallerPolicyArn")});
    aws.call("iam.attach_user_policy", policy);
    let key = aws.call("iam.create_access_key", json!({"UserName": name}))["AccessKey"].clone();
    let entry =
        json!({"arn": user["Arn"], "person": name, "namespace": name, "tiers": tiers, "roles": roles});
    let path = format!("/admin/callers/{}", user["UserId"].as_str().unwrap());
    let (status, answer) = administrator.send("PUT", &path, &entry).unwrap();
    assert_eq!(status, 200, "{answer}");
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    let keys = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: None,
    };
    let endpoint = direct.replace(aws.output("endpoint_url"), url);
    Member { gateway: Gateway::new(&endpoint, &keys), name: name.to_owned(), keys }
}

/// Lets each caller have so many sessions of each tier at once: these tests are about other limits.
pub(crate) fn lift_limits(aws: &LocalAws, sessions: usize) {
    let mut set = TierSet::built_in();
    for kind in Kind::ALL {
        let tier = format!("[tiers.{}]", kind.tier());
        set.tiers = set.tiers.replace(&tier, &format!("{tier}\nconcurrent_sessions = {sessions}"));
    }
    let administrator = Gateway::new(aws.output("endpoint"), &aws.administrator());
    let (_, shown) = administrator.send("GET", "/admin/tiers", &Value::Null).unwrap();
    let body = json!({"tiers": set.tiers, "templates": set.templates, "replaces": shown["digest"]});
    let (status, answer) = administrator.send("PUT", "/admin/tiers", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
}

/// What is still to be done for loans: the wishes in their order, and what is done about each session when it is due.
struct Work {
    patience: Patience,
    wishes: VecDeque<Loan>,
    due: Vec<(Instant, Loan)>,
    under_way: usize,
    done: Vec<Loan>,
}

/// From when on sessions are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Each when it is due.
    None,
    /// Not before the last was asked for.
    UntilAllAreAskedFor,
}

enum Task {
    Request(Loan),
    GoOn(Loan),
    Wait,
    End,
}

impl Work {
    fn next(&mut self) -> Task {
        let held = self.patience == Patience::UntilAllAreAskedFor && !self.wishes.is_empty();
        let ends = |loan: &Loan| matches!(loan.next(), Some((_, Deed::Revoke | Deed::Deny)));
        let now = Instant::now();
        let due = self.due.iter().position(|(at, loan)| *at <= now && !(held && ends(loan)));
        let task = match (due, self.wishes.pop_front()) {
            (Some(due), wish) => {
                // Not behind those that were held up.
                if let Some(wish) = wish {
                    self.wishes.push_front(wish);
                }
                Task::GoOn(self.due.swap_remove(due).1)
            }
            (None, Some(wish)) => Task::Request(wish),
            (None, None) if self.due.is_empty() && self.under_way == 0 => return Task::End,
            (None, None) => return Task::Wait,
        };
        self.under_way += 1;
        task
    }

    /// A loan comes back, to be gone on with after that time, if at all.
    fn take_back(&mut self, loan: Loan, after: Option<Duration>) {
        self.under_way -= 1;
        match after {
            Some(after) => self.due.push((Instant::now() + after, loan)),
            None => self.done.push(loan),
        }
    }
}

/// Lives through loans with so many requests under way at a time. `accepted` is told of each that has a session.
pub(crate) fn live(
    crew: &Crew,
    loans: Vec<Loan>,
    workers: usize,
    patience: Patience,
    accepted: impl Fn(&Loan) + Sync,
) -> Vec<Loan> {
    let work =
        Mutex::new(Work { patience, wishes: loans.into(), due: Vec::new(), under_way: 0, done: Vec::new() });
    let worker = || {
        loop {
            let task = work.lock().unwrap().next();
            match task {
                Task::Request(mut loan) => {
                    let asked = loan.request(&crew.members[loan.member]);
                    if asked == Err(NotDone::TooManySessions) {
                        // One of its caller's has to end first: others go on meanwhile.
                        thread::sleep(PAUSE / 4);
                        let mut work = work.lock().unwrap();
                        work.under_way -= 1;
                        work.wishes.push_back(loan);
                        continue;
                    }
                    if asked.is_ok() {
                        accepted(&loan);
                    }
                    let next = loan.next().filter(|_| asked.is_ok());
                    let after = next.map(|(after, _)| Duration::from_millis(after));
                    work.lock().unwrap().take_back(loan, after);
                }
                Task::GoOn(mut loan) => {
                    let after = loan.go_on(crew);
                    work.lock().unwrap().take_back(loan, after);
                }
                // Between two looks, not instead of one.
                Task::Wait => thread::sleep(Duration::from_millis(20)),
                Task::End => return,
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(worker);
        }
    });
    work.into_inner().unwrap().done
}

/// The most of these spans of time that overlap at one moment.
pub(crate) fn peak(spans: impl Iterator<Item = (Timestamp, Timestamp)>) -> usize {
    let mut changes: Vec<_> = spans.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    changes.sort();
    let (mut now, mut most) = (0_i64, 0_i64);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap()
}

/// The value at that share of an unsorted list.
pub(crate) fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
