//! Many callers, each of their own person, and the loans that they live through.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_policy::TierSet;
use sorry_session::State;
use sorry_tests::{Gateway, Keys, LocalAws};

/// For how long something is asked for again that fails, and how long between.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(400);

/// A registered caller.
pub(crate) struct Member {
    /// Name of the user, the person and the namespace.
    pub(crate) name: String,
    pub(crate) keys: Keys,
    /// The gateway, by the way that the test wants.
    pub(crate) gateway: Gateway,
}

/// Makes and registers callers for the tier `developer`. They reach the gateway at `url` instead of at the local AWS itself.
pub(crate) fn members(aws: &LocalAws, url: &str, count: usize) -> Vec<Member> {
    let direct = aws.output("endpoint");
    let endpoint = direct.replace(aws.output("endpoint_url"), url);
    let administrator = Gateway::new(direct, &aws.administrator());
    let member = |number| {
        let name = format!("crew{number}");
        let tags = json!([{"Key": "sorry:namespace", "Value": name}]);
        let user = json!({"UserName": name, "Path": "/sorry/caller/", "Tags": tags});
        let user = aws.call("iam.create_user", user)["User"].clone();
        let policy = json!({"UserName": name, "PolicyArn": aws.output("CallerPolicyArn")});
        aws.call("iam.attach_user_policy", policy);
        let key = aws.call("iam.create_access_key", json!({"UserName": name}))["AccessKey"].clone();
        let entry = json!({
            "arn": user["Arn"], "person": name, "namespace": name, "tiers": {"developer": 8},
        });
        let path = format!("/admin/callers/{}", user["UserId"].as_str().unwrap());
        let (status, answer) = administrator.send("PUT", &path, &entry).unwrap();
        assert_eq!(status, 200, "{answer}");
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        let keys = Keys {
            access_key_id: text("AccessKeyId"),
            secret_access_key: text("SecretAccessKey"),
            session_token: None,
        };
        Member { gateway: Gateway::new(&endpoint, &keys), name, keys }
    };
    (0..count).map(member).collect()
}

/// Lets each caller have so many sessions at once: these tests are about other limits.
pub(crate) fn lift_limits(aws: &LocalAws, sessions: usize) {
    let mut set = TierSet::built_in();
    let concurrent = format!("[tiers.developer]\nconcurrent_sessions = {sessions}");
    set.tiers = set.tiers.replace("[tiers.developer]", &concurrent);
    let administrator = Gateway::new(aws.output("endpoint"), &aws.administrator());
    let (_, shown) = administrator.send("GET", "/admin/tiers", &Value::Null).unwrap();
    let body = json!({"tiers": set.tiers, "templates": set.templates, "replaces": shown["digest"]});
    let (status, answer) = administrator.send("PUT", "/admin/tiers", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
}

/// What becomes of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lives to the end of the test, and longer.
    Stays,
    /// Its window is that many seconds.
    Expires(u64),
    /// Its owner ends it that many milliseconds after it was accepted, or after all were asked for.
    IsRevoked(u64),
}

/// One loan, from wish to whatever came of it.
#[derive(Debug)]
pub(crate) struct Loan {
    /// Whose: a place in the list of members.
    pub(crate) member: usize,
    pub(crate) fate: Fate,
    request_id: String,
    /// The session, once the service has accepted it.
    pub(crate) session: Option<String>,
    /// What the service said that the session is when it accepted the revocation.
    pub(crate) revoked: Option<State>,
    /// How long each answered request took.
    pub(crate) took: Vec<Duration>,
    /// Requests that got no answer, or another than wished for.
    pub(crate) failures: usize,
    /// Of those, refused because the caller had as many sessions as it may have.
    pub(crate) limited: usize,
    /// Whether the last was.
    held_up: bool,
}

impl Loan {
    pub(crate) fn new(member: usize, fate: Fate) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        Self {
            member,
            fate,
            request_id: format!("request-{number:05}"),
            session: None,
            revoked: None,
            took: Vec::new(),
            failures: 0,
            limited: 0,
            held_up: false,
        }
    }

    fn send(&mut self, member: &Member, method: &str, path: &str, body: &Value) -> Option<Value> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let began = Instant::now();
            match member.gateway.send(method, path, body) {
                Ok((status, answer)) if status < 300 => {
                    self.took.push(began.elapsed());
                    return Some(answer);
                }
                other => {
                    self.failures += 1;
                    let code = other.ok().map(|(_, answer)| answer["code"].clone());
                    self.held_up = code == Some("TooManySessions".into());
                    if self.held_up {
                        self.limited += 1;
                        return None;
                    }
                }
            }
            thread::sleep(PAUSE);
        }
        None
    }

    fn request(&mut self, member: &Member) {
        let duration = if let Fate::Expires(seconds) = self.fate { seconds } else { 3600 };
        let body = json!({
            "client_request_id": self.request_id, "duration_seconds": duration, "reason": "one of very many",
        });
        let answer = self.send(member, "POST", "/tiers/developer/sessions", &body);
        self.session = answer.map(|view| view["session_id"].as_str().unwrap().to_owned());
    }

    fn revoke(&mut self, member: &Member) {
        let path = format!("/sessions/{}", self.session.as_ref().unwrap());
        let answer = self.send(member, "DELETE", &path, &Value::Null);
        self.revoked = answer.map(|view| serde_json::from_value(view["state"].clone()).unwrap());
    }
}

/// What is still to be done for loans: the wishes in their order, and each revocation when it is due.
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
    Revoke(Loan),
    Wait,
    End,
}

impl Work {
    fn next(&mut self) -> Task {
        let held = self.patience == Patience::UntilAllAreAskedFor && !self.wishes.is_empty();
        let due = self.due.iter().position(|(at, _)| *at <= Instant::now() && !held);
        let task = match (due, self.wishes.pop_front()) {
            (Some(due), wish) => {
                self.wishes.extend(wish);
                Task::Revoke(self.due.swap_remove(due).1)
            }
            (None, Some(wish)) => Task::Request(wish),
            (None, None) if self.due.is_empty() && self.under_way == 0 => return Task::End,
            (None, None) => return Task::Wait,
        };
        self.under_way += 1;
        task
    }
}

/// Lives through loans with so many requests under way at a time. `accepted` is told of each that has a session.
pub(crate) fn live(
    members: &[Member],
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
                    loan.request(&members[loan.member]);
                    if std::mem::take(&mut loan.held_up) {
                        // One of its caller's has to end first: others go on meanwhile.
                        thread::sleep(PAUSE / 4);
                        let mut work = work.lock().unwrap();
                        work.under_way -= 1;
                        work.wishes.push_back(loan);
                        continue;
                    }
                    let mut work = work.lock().unwrap();
                    work.under_way -= 1;
                    match (loan.fate, &loan.session) {
                        (Fate::IsRevoked(after), Some(_)) => {
                            accepted(&loan);
                            work.due.push((Instant::now() + Duration::from_millis(after), loan));
                        }
                        (_, session) => {
                            if session.is_some() {
                                accepted(&loan);
                            }
                            work.done.push(loan);
                        }
                    }
                }
                Task::Revoke(mut loan) => {
                    loan.revoke(&members[loan.member]);
                    let mut work = work.lock().unwrap();
                    work.under_way -= 1;
                    work.done.push(loan);
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
