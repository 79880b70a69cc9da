//! One loan of a crowd, from wish to whatever came of it: what is asked for, and what is done with it afterwards, by its owner and by
//! who decides on it.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_policy::Grant;
use sorry_session::{Session, State};
use sorry_tests::{Gateway, LATE};

use crate::crowd::{Crew, Member};

/// For how long something is asked for again that fails, and how long between.
const PATIENCE: Duration = Duration::from_secs(120);
pub(crate) const PAUSE: Duration = Duration::from_millis(400);
/// After how long one that is not ACTIVE yet is come back to: others have their turn meanwhile.
const NEXT_TURN: Duration = Duration::from_secs(2);
/// The window of those that last, and by how much others are extended, in seconds.
pub(crate) const HOUR: u64 = 3600;
/// The window of those that are extended, before they are.
const UNTIL_EXTENDED: u64 = 90;

/// How a loan gives access, and whether others are asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Role,
    User,
    Standing,
    /// A role, after somebody else's approval.
    Approved,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Role, Self::User, Self::Standing, Self::Approved];

    pub(crate) fn tier(self) -> &'static str {
        match self {
            Self::Role => "developer",
            Self::User => "read-only",
            Self::Standing => "break-glass",
            Self::Approved => "admin",
        }
    }

    pub(crate) fn of(row: &Session) -> Self {
        let of_tier = |kind: &Self| kind.tier() == row.tier.as_str();
        let kind = Self::ALL.into_iter().find(of_tier).unwrap();
        let grant = match kind {
            Self::Role | Self::Approved => Grant::Role,
            Self::User => Grant::User,
            Self::Standing => Grant::Standing,
        };
        assert_eq!(row.grant, grant, "{}", row.session_id);
        kind
    }

    /// A call that its tier allows.
    pub(crate) fn allowed_call(self, namespace: &str) -> (&'static str, Value) {
        match self {
            Self::Role => ("sns.create_topic", json!({"Name": format!("{namespace}-notes")})),
            Self::User => ("s3.list_buckets", json!({})),
            Self::Standing => ("iam.list_users", json!({})),
            Self::Approved => ("cloudwatch.describe_alarms", json!({})),
        }
    }
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
    /// Its window would end within the test, and its owner asks for an hour more.
    IsExtended,
    /// Nobody decides on it.
    Waits,
    /// Somebody says no.
    IsDenied,
}

/// What is done about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Approve,
    Deny,
    Extend,
    Revoke,
}

/// One loan.
#[derive(Debug)]
pub(crate) struct Loan {
    /// Whose: a place in the list of members.
    pub(crate) member: usize,
    pub(crate) kind: Kind,
    pub(crate) fate: Fate,
    request_id: String,
    /// The session, once the service has accepted it.
    pub(crate) session: Option<String>,
    /// What is still to be done about it, each so many milliseconds after the one before.
    deeds: VecDeque<(u64, Deed)>,
    /// The end that its extension asks for, once the service has taken that.
    extending_to: Value,
    /// What the service said that the session is when it accepted the revocation.
    pub(crate) revoked: Option<State>,
    /// Those that the service has accepted.
    pub(crate) done: Vec<Deed>,
    /// How long each answered request took.
    pub(crate) took: Vec<Duration>,
    /// Requests that got no answer, or another than wished for.
    pub(crate) failures: usize,
    /// Of those, refused because the caller had as many sessions as it may have.
    pub(crate) limited: usize,
    /// Until when the next deed is tried.
    patient_until: Option<Instant>,
}

/// Why something was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// One of the caller's sessions has to end first.
    TooManySessions,
    /// It has to be ACTIVE first.
    NotYet,
    /// It is over, or nobody had the patience.
    Never,
}

impl NotDone {
    fn of(code: &Value) -> Option<Self> {
        match code.as_str()? {
            "TooManySessions" => Some(Self::TooManySessions),
            "NotExtendable" | "ExtensionPending" => Some(Self::NotYet),
            "WindowOver" | "NotAwaiting" => Some(Self::Never),
            // What the storm made of it.
            _ => None,
        }
    }
}

impl Loan {
    pub(crate) fn new(member: usize, kind: Kind, fate: Fate) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        let approved = kind == Kind::Approved;
        let approve = approved.then_some((0, Deed::Approve));
        let deeds: Vec<_> = match fate {
            Fate::Waits => Vec::new(),
            Fate::IsDenied => vec![(0, Deed::Deny)],
            Fate::Stays | Fate::Expires(_) => approve.into_iter().collect(),
            Fate::IsRevoked(after) => approve.into_iter().chain([(after, Deed::Revoke)]).collect(),
            // The approval of the session is none of its extension.
            Fate::IsExtended => approve.into_iter().chain([(0, Deed::Extend)]).chain(approve).collect(),
        };
        Self {
            member,
            kind,
            fate,
            request_id: format!("request-{number:05}"),
            session: None,
            deeds: deeds.into(),
            extending_to: Value::Null,
            revoked: None,
            done: Vec::new(),
            took: Vec::new(),
            failures: 0,
            limited: 0,
            patient_until: None,
        }
    }

    fn send(&mut self, gateway: &Gateway, method: &str, path: &str, body: &Value) -> Result<Value, NotDone> {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let began = Instant::now();
            match gateway.send(method, path, body) {
                Ok((status, answer)) if status < 300 => {
                    self.took.push(began.elapsed());
                    return Ok(answer);
                }
                other => {
                    self.failures += 1;
                    let why = other.ok().and_then(|(_, answer)| NotDone::of(&answer["code"]));
                    if let Some(why) = why {
                        self.limited += usize::from(why == NotDone::TooManySessions);
                        return Err(why);
                    }
                }
            }
            thread::sleep(PAUSE);
        }
        Err(NotDone::Never)
    }

    /// Asks for it.
    pub(crate) fn request(&mut self, member: &Member) -> Result<(), NotDone> {
        let duration = match self.fate {
            Fate::Expires(seconds) => seconds,
            Fate::IsExtended => UNTIL_EXTENDED,
            Fate::Stays | Fate::IsRevoked(_) | Fate::Waits | Fate::IsDenied => HOUR,
        };
        let mut body = json!({
            "client_request_id": self.request_id, "duration_seconds": duration, "reason": "one of very many",
        });
        if self.kind == Kind::User {
            body["grant"] = json!(Grant::User);
        }
        let path = format!("/tiers/{}/sessions", self.kind.tier());
        let view = self.send(&member.gateway, "POST", &path, &body)?;
        self.session = Some(view["session_id"].as_str().unwrap().to_owned());
        Ok(())
    }

    /// What is to be done next, and in how many milliseconds.
    pub(crate) fn next(&self) -> Option<(u64, Deed)> {
        self.deeds.front().copied()
    }

    /// Whether a write that made it ACTIVE may still be on its way.
    fn may_be_written_late(&self, owner: &Gateway, path: &str) -> bool {
        let Ok((200, view)) = owner.send("GET", path, &Value::Null) else { return true };
        let activated_at: Option<Timestamp> = serde_json::from_value(view["activated_at"].clone()).unwrap();
        activated_at.is_some_and(|at| Timestamp::now().duration_since(at).unsigned_abs() <= LATE)
    }

    /// Does what is to be done next. Answers after how long to come back for what is next then.
    pub(crate) fn go_on(&mut self, crew: &Crew) -> Option<Duration> {
        let (_, deed) = self.next()?;
        let owner = &crew.members[self.member].gateway;
        let path = format!("/sessions/{}", self.session.as_ref().unwrap());
        let decision = format!("{path}/decision");
        let until = *self.patient_until.get_or_insert_with(|| Instant::now() + PATIENCE);
        let answer = match deed {
            Deed::Approve => {
                // Of the session itself, or of the extension to that end.
                let mut word = json!({"decision": "approve"});
                if !self.extending_to.is_null() {
                    word["extending_to"] = self.extending_to.clone();
                }
                self.send(&crew.approver, "POST", &decision, &word)
            }
            Deed::Deny => self.send(&crew.approver, "POST", &decision, &json!({"decision": "deny"})),
            // A write of the grant that comes late would put the first end back: docs/threats.md, "An extension in the first seconds".
            Deed::Extend if self.may_be_written_late(owner, &path) => Err(NotDone::NotYet),
            Deed::Extend => {
                let more = json!({"client_request_id": format!("{}-more", self.request_id), "duration_seconds": HOUR});
                self.send(owner, "POST", &format!("{path}/extension"), &more)
            }
            Deed::Revoke => self.send(owner, "DELETE", &path, &Value::Null),
        };
        match answer {
            Err(NotDone::NotYet) if Instant::now() < until => return Some(NEXT_TURN),
            Err(_) => self.deeds.clear(),
            Ok(view) => {
                match deed {
                    Deed::Revoke => {
                        self.revoked = Some(serde_json::from_value(view["state"].clone()).unwrap());
                    }
                    Deed::Extend => self.extending_to = view["extension"]["extending_to"].clone(),
                    Deed::Approve | Deed::Deny => {}
                }
                self.done.push(deed);
                self.deeds.pop_front();
            }
        }
        self.patient_until = None;
        self.next().map(|(after, _)| Duration::from_millis(after))
    }
}
