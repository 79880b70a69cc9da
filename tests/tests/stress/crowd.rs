//! Many callers, each of their own person, and what they do: one thread each, with a list of loans to live through.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sorry_session::State;
use sorry_tests::{Gateway, Keys, LocalAws};

/// How often something is asked for that fails, at most, and how long between.
const TRIES: usize = 30;
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

/// What becomes of a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It lives to the end of the test, and longer.
    Stays,
    /// Its window is that many seconds.
    Expires(u64),
    /// Its owner ends it that many milliseconds after it was accepted.
    IsRevoked(u64),
}

/// One loan, from wish to whatever came of it.
#[derive(Debug)]
pub(crate) struct Loan {
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
}

impl Loan {
    /// The `number`th of its caller.
    pub(crate) fn new(number: usize, fate: Fate) -> Self {
        Self {
            fate,
            request_id: format!("request-{number:04}"),
            session: None,
            revoked: None,
            took: Vec::new(),
            failures: 0,
        }
    }

    fn send(&mut self, member: &Member, method: &str, path: &str, body: &Value) -> Option<Value> {
        for _ in 0..TRIES {
            let began = Instant::now();
            match member.gateway.send(method, path, body) {
                Ok((status, answer)) if status < 300 => {
                    self.took.push(began.elapsed());
                    return Some(answer);
                }
                _ => self.failures += 1,
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

/// Lives through loans of one caller: requests one after the other, and each revocation when it is due.
pub(crate) fn live(member: &Member, loans: &mut [Loan], accepted: impl Fn(&Loan)) {
    let mut due: Vec<(Instant, usize)> = Vec::new();
    for index in 0..loans.len() {
        loans[index].request(member);
        accepted(&loans[index]);
        if let (Fate::IsRevoked(after), Some(_)) = (loans[index].fate, &loans[index].session) {
            due.push((Instant::now() + Duration::from_millis(after), index));
        }
        for (_, index) in due.extract_if(.., |(at, _)| *at <= Instant::now()) {
            loans[index].revoke(member);
        }
    }
    due.sort();
    for (at, index) in due {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        loans[index].revoke(member);
    }
}

/// The value at that share of an unsorted list.
pub(crate) fn percentile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
}
