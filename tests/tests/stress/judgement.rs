//! What the local AWS itself says of all sessions: its tables, its principals, and what credentials can do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};
use sorry_session::{Session, State};
use sorry_tests::{Gateway, Keys, LocalAws, eventually};

use crate::crowd::Member;

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
        older.changed_at = before(row.changed_at);
        older.provisioning_at = row.provisioning_at.map(before);
        if row.expires_at <= Timestamp::now() {
            older.expires_at = before(row.expires_at);
        }
        let mut set = "SET changed_at = :changed, expires_at = :expires, due_at = :due".to_owned();
        let mut values = json!({
            ":fence": {"N": row.fence.to_string()},
            ":changed": {"S": older.changed_at},
            ":expires": {"S": older.expires_at},
            ":due": {"N": older.due_at().unwrap().as_second().to_string()},
        });
        if let Some(moment) = older.provisioning_at {
            set.push_str(", provisioning_at = :provisioning");
            values[":provisioning"] = json!({"S": moment});
        }
        // A row that somebody has moved on meanwhile is left to them.
        let _ = aws.try_call(
            "dynamodb.update_item",
            json!({
                "TableName": "sorry-sessions", "Key": {"session_id": {"S": row.session_id}},
                "UpdateExpression": set, "ConditionExpression": "fence = :fence",
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

/// Credentials that a session gave.
pub(crate) struct Taken {
    pub(crate) session: String,
    pub(crate) namespace: String,
    keys: Keys,
}

/// Takes the credentials of a session that is ACTIVE.
pub(crate) fn take(aws: &LocalAws, member: &Member, session: &str) -> Option<Taken> {
    let direct = Gateway::new(aws.output("endpoint"), &member.keys);
    let (_, view) = direct.send("GET", &format!("/sessions/{session}"), &Value::Null).ok()?;
    let access = view["access"].as_object()?;
    let wanted = json!({
        "RoleArn": access["role_arn"], "RoleSessionName": access["role_session_name"],
        "ExternalId": access["external_id"], "SourceIdentity": access["source_identity"],
    });
    let sorry_tests::Verdict::Allowed(answer) = aws.judge.call(&member.keys, "sts.assume_role", wanted)
    else {
        return None;
    };
    let text = |name: &str| answer["Credentials"][name].as_str().unwrap().to_owned();
    let keys = Keys {
        access_key_id: text("AccessKeyId"),
        secret_access_key: text("SecretAccessKey"),
        session_token: Some(text("SessionToken")),
    };
    Some(Taken { session: session.to_owned(), namespace: member.name.clone(), keys })
}

impl Taken {
    /// What a call says that the session's tier allows.
    pub(crate) fn verdict(&self, aws: &LocalAws) -> sorry_tests::Verdict {
        let topic = json!({"Name": format!("{}-notes", self.namespace)});
        aws.judge.call(&self.keys, "sns.create_topic", topic)
    }
}

/// What must be true of everything once all has settled.
pub(crate) fn judge(aws: &LocalAws, members: &[Member], taken: &[Taken]) {
    let rows = rows(aws);
    let now = Timestamp::now();
    let roles: BTreeSet<String> = aws.roles("/sorry/session/").into_iter().collect();
    let live: Vec<_> = rows.iter().filter(|row| row.state == State::Active).collect();
    for row in &rows {
        let id = &row.session_id;
        assert!(
            row.state == State::Active || row.state.is_over(),
            "{id} is still {}: {:?}",
            row.state,
            row.end
        );
        assert!(row.state != State::Active || now < row.expires_at, "{id} is ACTIVE past its end");
        assert!(row.outbox.is_empty(), "{id}: events wait");
    }
    let owned: BTreeSet<String> = live.iter().map(|row| row.role_name.to_string()).collect();
    assert_eq!(roles, owned, "left: principals; right: those of live sessions");

    // Each live session can be used by its owner, and does what its tier allows.
    for row in &live {
        let owner = members.iter().find(|member| member.name == row.person.as_str()).unwrap();
        let taken = take(aws, owner, row.session_id.as_str());
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
    // Every change has its record, and no request made two sessions.
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
