//! What the local AWS itself says of all sessions: its tables, its principals, and what credentials can do.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};
use sorry_policy::Grant;
use sorry_session::{Session, State, approval::Vote};
use sorry_tests::{Gateway, Keys, LocalAws, Verdict, eventually, keys_of};

use crate::{
    crowd::{Crew, Member},
    loan::Kind,
};

/// All rows of sessions, read as the service reads them.
pub(crate) fn rows(aws: &LocalAws) -> Vec<Session> {
    aws.session_rows().iter().map(|item| serde_json::from_value(plain(item)).unwrap()).collect()
}

/// An item of a table without its types.
fn plain(item: &Value) -> Value {
    let value = |typed: &Value| {
        let (kind, value) = typed.as_object().unwrap().iter().next().unwrap();
        match kind.as_str() {
            "N" => serde_json::from_str(value.as_str().unwrap()).unwrap(),
            "NULL" => Value::Null,
            "M" => plain(value),
            "L" => value
                .as_array()
                .unwrap()
                .iter()
                .map(|typed| plain(&json!({"it": typed}))["it"].clone())
                .collect(),
            _ => value.clone(),
        }
    };
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, typed)| (name.clone(), value(typed)))
        .collect::<Map<_, _>>()
        .into()
}

/// How many sessions there are in each state.
pub(crate) fn states(rows: &[Session]) -> BTreeMap<State, usize> {
    let mut states = BTreeMap::new();
    for row in rows {
        *states.entry(row.state).or_default() += 1;
    }
    states
}

/// Makes what is written of unfinished sessions older, as if that much time had passed with nobody at work. Windows that are not over
/// stay: IAM compares them with its own clock.
///
/// Only for when nothing can still be under way: a principal that appears late has five minutes for it, and these are skipped.
pub(crate) fn age(aws: &LocalAws, seconds: i64) {
    for row in rows(aws).iter().filter(|row| row.due_at().is_some()) {
        let before = |moment: Timestamp| moment.checked_sub(seconds.seconds()).unwrap();
        let mut older = row.clone();
        let mut moments = BTreeMap::new();
        let mut set = |name: &'static str, moment: &mut Timestamp| {
            *moment = before(*moment);
            moments.insert(name, *moment);
        };
        set("changed_at", &mut older.changed_at);
        if row.expires_at <= Timestamp::now() {
            set("expires_at", &mut older.expires_at);
        }
        if let Some(moment) = &mut older.provisioning_at {
            set("provisioning_at", moment);
        }
        if let Some(moment) = older.extension.as_mut().and_then(|extension| extension.decided_at.as_mut()) {
            set("extension.decided_at", moment);
        }
        if let Some(issue) = &mut older.issue {
            for (name, moment) in
                [("issue.under_way", &mut issue.under_way), ("issue.unsure_until", &mut issue.unsure_until)]
            {
                if let Some(moment) = moment {
                    set(name, moment);
                }
            }
        }
        let mut values = json!({
            ":fence": {"N": row.fence.to_string()},
            ":due": {"N": older.due_at().unwrap().as_second().to_string()},
        });
        let mut sets = vec!["due_at = :due".to_owned()];
        for (number, (name, moment)) in moments.into_iter().enumerate() {
            sets.push(format!("{name} = :moment{number}"));
            values[format!(":moment{number}")] = json!({"S": moment});
        }
        // A row that somebody has moved on meanwhile is left to them.
        let _ = aws.try_call(
            "dynamodb.update_item",
            json!({
                "TableName": "sorry-sessions", "Key": {"session_id": {"S": row.session_id}},
                "UpdateExpression": format!("SET {}", sets.join(", ")), "ConditionExpression": "fence = :fence",
                "ExpressionAttributeValues": values,
            }),
        );
    }
}

/// Names of the executions that run.
pub(crate) fn running(aws: &LocalAws) -> BTreeSet<String> {
    names(aws, "RUNNING")
}

/// Names of the executions with that status.
pub(crate) fn names(aws: &LocalAws, status: &str) -> BTreeSet<String> {
    let list = json!({
        "stateMachineArn": aws.output("StateMachineArn"), "statusFilter": status, "maxResults": 1000,
    });
    let executions =
        aws.pages("stepfunctions.list_executions", list, ("nextToken", "nextToken"), "executions");
    executions.iter().map(|execution| execution["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until no workflow grants any more: whatever is granted or failed by then, nothing can appear later.
pub(crate) fn granted(aws: &LocalAws, limit: Duration) {
    eventually("no grant is under way", limit, || {
        let running = running(aws);
        let granting = |row: &Session| {
            [State::Requested, State::Provisioning].contains(&row.state)
                && running.contains(row.session_id.as_str())
        };
        (!rows(aws).iter().any(granting)).then_some(())
    });
}

/// Sweeps until one has found the time for everything.
pub(crate) fn sweep(aws: &LocalAws) -> Value {
    eventually("a sweep has the time for everything", Duration::from_secs(60), || {
        let report = aws.sweep();
        (report["unfinished"] == false).then_some(report)
    })
}

/// Waits for the workflows that were at an end as the sweep came by, and were left to it: one that met the sweep pauses for up to a
/// minute before it tries again (`CleanUp` in `session.asl.json`).
#[track_caller]
pub(crate) fn ended(aws: &LocalAws) {
    let began = Instant::now();
    loop {
        let mut ending = rows(aws);
        ending.retain(|row| row.state.is_ending());
        if ending.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(150), "nobody ends: {ending:#?}");
        thread::sleep(Duration::from_millis(500));
    }
}

/// Credentials that a session gave.
pub(crate) struct Taken {
    pub(crate) session: String,
    pub(crate) kind: Kind,
    namespace: String,
    keys: Keys,
}

/// Takes the credentials of a session that is ACTIVE: its owner assumes the role, or is handed those of the user, or of the standing role.
pub(crate) fn take(aws: &LocalAws, member: &Member, kind: Kind, session: &str) -> Option<Taken> {
    let direct = Gateway::new(aws.output("endpoint"), &member.keys);
    let keys = match kind {
        Kind::Role | Kind::Approved => assumed(aws, &direct, member, session)?,
        Kind::User | Kind::Standing => {
            let path = format!("/sessions/{session}/credentials");
            let (status, answer) = direct.send("POST", &path, &Value::Null).ok()?;
            (status == 200).then(|| serde_json::from_value(answer).unwrap())?
        }
    };
    Some(Taken { session: session.to_owned(), kind, namespace: member.name.clone(), keys })
}

fn assumed(aws: &LocalAws, gateway: &Gateway, member: &Member, session: &str) -> Option<Keys> {
    let (_, view) = gateway.send("GET", &format!("/sessions/{session}"), &Value::Null).ok()?;
    let access = view["access"].as_object()?;
    let wanted = json!({
        "RoleArn": access["role_arn"], "RoleSessionName": access["role_session_name"],
        "ExternalId": access["external_id"], "SourceIdentity": access["source_identity"],
    });
    match aws.judge.call(&member.keys, "sts.assume_role", wanted) {
        Verdict::Allowed(answer) => Some(keys_of(&answer)),
        Verdict::Refused(..) => None,
    }
}

impl Taken {
    /// What a call says that the session's tier allows.
    pub(crate) fn verdict(&self, aws: &LocalAws) -> Verdict {
        let (call, parameters) = self.kind.allowed_call(&self.namespace);
        aws.judge.call(&self.keys, call, parameters)
    }
}

/// What must be true of everything once all has settled.
pub(crate) fn judge(aws: &LocalAws, crew: &Crew, taken: &[Taken]) {
    let rows = rows(aws);
    let now = Timestamp::now();
    let live: Vec<_> = rows.iter().filter(|row| row.state == State::Active).collect();
    for row in &rows {
        let id = &row.session_id;
        let waits = row.approval.as_ref().filter(|_| row.state == State::PendingApproval);
        let may_wait = waits.is_some_and(|approval| now < approval.lapses_at);
        assert!(
            row.state == State::Active || row.state.is_over() || may_wait,
            "{id} is still {}: {:?}",
            row.state,
            row.end
        );
        assert!(row.state != State::Active || now < row.expires_at, "{id} is ACTIVE past its end");
        assert!(row.extension_under_way().is_none(), "{id}: nobody settled its extension");
        assert!(row.outbox.is_empty(), "{id}: events wait");
        approved_by_others(row);
    }
    judge_principals(aws, &rows, &live);

    // Each live session can be used by its owner, and does what its tier allows.
    for row in &live {
        let owner = crew.members.iter().find(|member| member.name == row.person.as_str()).unwrap();
        let taken = take(aws, owner, Kind::of(row), row.session_id.as_str());
        let taken = taken.unwrap_or_else(|| panic!("{} is ACTIVE, and cannot be used", row.session_id));
        taken.verdict(aws).allowed();
    }
    // What was taken before is good exactly as long as its session.
    for taken in taken {
        let is_live = live.iter().any(|row| row.session_id.as_str() == taken.session);
        let verdict = taken.verdict(aws);
        if is_live {
            verdict.allowed();
        } else {
            assert!(
                verdict.is_denied(),
                "{} is over, and its credentials are not: {verdict:?}",
                taken.session
            );
        }
    }
    // The keys that credentials of users were made with are gone by now.
    for user in names_of(aws, "iam.list_users", "Users", "UserName") {
        assert_eq!(access_keys(aws, &user), [""; 0], "an access key of {user} is left");
    }
    judge_records(aws);
}

/// The ids of a user's access keys.
pub(crate) fn access_keys(aws: &LocalAws, user: &str) -> Vec<String> {
    let listed = aws.call("iam.list_access_keys", json!({"UserName": user}));
    let keys = listed["AccessKeyMetadata"].as_array().unwrap();
    keys.iter().map(|key| key["AccessKeyId"].as_str().unwrap().to_owned()).collect()
}

/// Nothing was granted, or put off, without the word of somebody else where that is asked for.
fn approved_by_others(row: &Session) {
    let extension = row.extension.as_ref();
    let granted = [
        (row.approval.as_ref(), row.approved_at),
        (extension.and_then(|asked| asked.approval.as_ref()), extension.and_then(|asked| asked.decided_at)),
    ];
    for (approval, _) in granted.into_iter().filter(|(_, granted)| granted.is_some()) {
        let word = approval.map(|approval| approval.votes.as_slice()).unwrap_or_default();
        let others = word.iter().filter(|cast| cast.vote == Vote::Approve && cast.person != row.person);
        assert!(
            Kind::of(row) != Kind::Approved || others.count() == 1,
            "{} was not approved",
            row.session_id
        );
    }
    let made = Kind::of(row) == Kind::Approved && row.provisioning_at.is_some();
    assert!(!made || row.approved_at.is_some(), "{} was made before its approval", row.session_id);
}

/// Roles, users and policies are those of live sessions, and the standing role has what ends sessions whose credentials are out, and
/// nothing else.
fn judge_principals(aws: &LocalAws, rows: &[Session], live: &[&Session]) {
    let of = |grant: Grant| -> BTreeSet<String> {
        live.iter().filter(|row| row.grant == grant).map(|row| row.role_name.to_string()).collect()
    };
    let roles: BTreeSet<String> = aws.roles("/sorry/session/").into_iter().collect();
    assert_eq!(roles, of(Grant::Role), "left: roles; right: those of live sessions");
    let users = names_of(aws, "iam.list_users", "Users", "UserName");
    assert_eq!(users, of(Grant::User), "left: users; right: those of live sessions");
    let policies = names_of(aws, "iam.list_policies", "Policies", "PolicyName");
    assert_eq!(policies, of(Grant::User), "left: policies; right: those of live sessions' users");

    let standing = json!({"RoleName": "sorry-standing-break-glass", "MaxItems": 1000});
    let standing = aws.pages("iam.list_role_policies", standing, ("Marker", "Marker"), "PolicyNames");
    let standing: BTreeSet<_> = standing.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let ended = rows.iter().filter(|row| row.prune_at.is_some());
    let expected: BTreeSet<_> =
        ended.map(|row| format!("revoked-{}", row.session_id)).chain(["access".to_owned()]).collect();
    assert_eq!(standing, expected, "left: policies of the standing role; right: what they should be");
}

/// Names of all that is under `/sorry/session/`.
fn names_of(aws: &LocalAws, call: &str, items: &str, name: &str) -> BTreeSet<String> {
    let list = json!({"PathPrefix": "/sorry/session/", "MaxItems": 1000});
    let found = aws.pages(call, list, ("Marker", "Marker"), items);
    found.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

/// Every change has its record, and no request made two sessions.
fn judge_records(aws: &LocalAws) {
    // Credentials that were handed out to be judged are changes, too.
    let rows = rows(aws);
    let mut sequences = BTreeMap::<String, Vec<u64>>::new();
    for record in aws.items("sorry-audit").iter().map(plain) {
        let subject = record["subject"].as_str().unwrap().to_owned();
        sequences.entry(subject).or_default().push(record["sequence"].as_u64().unwrap());
    }
    for row in &rows {
        let found = sequences.get_mut(row.session_id.as_str()).unwrap();
        found.sort_unstable();
        assert_eq!(*found, (1..=row.fence).collect::<Vec<_>>(), "the audit of {} has gaps", row.session_id);
    }
    let requests: BTreeSet<String> = aws
        .items("sorry-registry")
        .iter()
        .map(plain)
        .filter(|item| item["key"].as_str().unwrap().starts_with("request#"))
        .map(|item| item["session_id"].as_str().unwrap().to_owned())
        .collect();
    let sessions: BTreeSet<String> = rows.iter().map(|row| row.session_id.to_string()).collect();
    assert_eq!(requests, sessions, "left: sessions that requests made; right: rows");
}
