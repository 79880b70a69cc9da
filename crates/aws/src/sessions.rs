//! Sessions in DynamoDB. A row is the session as the domain knows it, plus the attributes of the indexes and of the table's
//! garbage collection, which are computed from it at every write and never read back.

use std::{collections::HashMap, time::Duration};

use aws_config::retry::RetryConfig;
use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, CancellationReason, ConditionCheck, Put, TransactWriteItem},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde::{Deserialize, Serialize};
use sorry_policy::SessionId;
use sorry_session::{
    Change, Session,
    events::AuditRecord,
    expiry::DUE_SHARDS,
    ports::{
        Committed, Created, IdempotencyKey, PortError, SessionCursor, SessionPage, SessionScope, SessionStore,
    },
    session::ROW_VERSION,
};

use crate::{
    counters,
    errors::port_error,
    item::{Item, from_item, number, string, to_item},
    registry::caller_key,
};

const SESSION_ID: &str = "session_id";
/// How long a function's start waits for its connection: far longer than a handshake takes, far shorter than init may.
const INIT_PATIENCE: Duration = Duration::from_secs(1);
/// Key of the row that tells this table from an empty one.
const CANARY: &str = "canary";
/// Sessions that one page of a list holds.
const PAGE: i32 = 50;
/// How often a transaction is tried that met another one on the same item.
pub(crate) const TRIES: u32 = 5;

/// The tables `sessions` and `audit`, and in `registry` the idempotency keys and the counts of live sessions.
#[derive(Clone, Debug)]
pub struct DynamoSessions {
    client: Client,
    sessions: String,
    audit: String,
    registry: Option<String>,
}

impl DynamoSessions {
    /// The tables of these names. Only a function that makes or ends sessions needs the registry.
    pub fn new(
        config: &aws_config::SdkConfig,
        sessions: String,
        audit: String,
        registry: Option<String>,
    ) -> Self {
        Self { client: Client::new(config), sessions, audit, registry }
    }

    /// The table of sessions, for a function that only looks.
    pub fn reader(config: &aws_config::SdkConfig, sessions: String) -> Self {
        Self::new(config, sessions, String::new(), None)
    }

    /// Opens the connection to DynamoDB with a question whose answer nobody wants, for a function that somebody waits for: in init it has a
    /// whole processor for TLS, and later, with 512 MB, a third of one. All adapters made from one configuration share it.
    pub async fn connected(self) -> Self {
        let once = aws_sdk_dynamodb::config::Builder::new().retry_config(RetryConfig::disabled());
        let question = self
            .client
            .get_item()
            .table_name(&self.sessions)
            .key(SESSION_ID, string("connection"))
            .customize()
            .config_override(once);
        if !matches!(tokio::time::timeout(INIT_PATIENCE, question.send()).await, Ok(Ok(_))) {
            tracing::warn!("no connection to DynamoDB in init; the first event opens it");
        }
        self
    }

    fn put_session(
        &self,
        session: &Session,
        condition: &str,
        expected_fence: Option<u64>,
    ) -> Result<Put, PortError> {
        let put = Put::builder()
            .table_name(&self.sessions)
            .set_item(Some(row(session)?))
            .condition_expression(condition);
        let put = match expected_fence {
            Some(fence) => put.expression_attribute_values(":fence", number(fence)),
            None => put,
        };
        built(put.build())
    }

    async fn stored_key(&self, registry: &str, key: &IdempotencyKey) -> Result<Option<StoredKey>, PortError> {
        let call = self
            .client
            .get_item()
            .table_name(registry)
            .key("key", string(key_name(key)))
            .consistent_read(true);
        let answer = call.send().await.map_err(|error| port_error("GetItem", &error))?;
        answer.item.map(from_item).transpose()
    }
}

/// What is remembered of a request.
#[derive(Serialize, Deserialize)]
struct StoredKey {
    key: String,
    session_id: SessionId,
    request_digest: String,
    /// Epoch seconds; also the table's garbage collection.
    ttl: i64,
}

fn key_name(key: &IdempotencyKey) -> String {
    format!("request#{}#{}", key.caller, key.client_request_id)
}

fn row(session: &Session) -> Result<Item, PortError> {
    let mut item = to_item(session)?;
    if let Some(due_at) = session.listed_at() {
        item.insert("due_shard".to_owned(), string(session.due_shard().to_string()));
        item.insert("due_at".to_owned(), number(due_at.as_second()));
    }
    if let Some(forget_at) = session.forget_at() {
        item.insert("ttl".to_owned(), number(forget_at.as_second()));
    }
    Ok(item)
}

/// A session as it was read from its table: also what every recorded row is read by in the tests of upgrades.
///
/// # Errors
/// When this program does not know the layout of the row.
pub fn stored_session(item: HashMap<String, AttributeValue>) -> Result<Session, PortError> {
    session(item)
}

fn session(item: Item) -> Result<Session, PortError> {
    let session: Session = from_item(item)?;
    if (1..=ROW_VERSION).contains(&session.version) {
        Ok(session)
    } else {
        let text = format!(
            "session `{}` has row version {}, and this program reads {ROW_VERSION}",
            session.session_id, session.version
        );
        Err(PortError::Unreadable(text))
    }
}

/// The place after which the next page begins.
fn cursor_at(key: &Item) -> Result<SessionCursor, PortError> {
    let text = |name: &str| key.get(name).and_then(|value| value.as_s().ok());
    let read = || {
        let (requested_at, session_id) = (text("requested_at")?, text(SESSION_ID)?);
        Some(SessionCursor { requested_at: requested_at.parse().ok()?, session_id: session_id.parse().ok()? })
    };
    read().ok_or_else(|| PortError::Unreadable("Query: a last key that no session has".to_owned()))
}

pub(crate) fn built<T, E: std::fmt::Display>(result: Result<T, E>) -> Result<T, PortError> {
    result.map_err(|error| PortError::Refused(format!("a request that cannot be built: {error}")))
}

/// The put of an audit record that is sealed: append-only. `at_hour` is what the index by time is made of.
pub(crate) fn put_audit(table: &str, record: &AuditRecord) -> Result<TransactWriteItem, PortError> {
    let mut item = to_item(record)?;
    item.insert("at_hour".to_owned(), string(record.hour()));
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(subject)");
    Ok(TransactWriteItem::builder().put(built(put.build())?).build())
}

/// Whether a transaction is written; if not, for each of its items whether its condition was the obstacle.
pub(crate) enum Transaction {
    Written,
    Cancelled(Vec<bool>),
}

/// Writes all of `items` or none. A transaction that met another one is tried again.
pub(crate) async fn transact(
    client: &Client,
    items: Vec<TransactWriteItem>,
) -> Result<Transaction, PortError> {
    for attempt in 1.. {
        match client.transact_write_items().set_transact_items(Some(items.clone())).send().await {
            Ok(_) => return Ok(Transaction::Written),
            Err(error) => match cancellation(&error) {
                Cancellation::ByCondition(obstacles) => return Ok(Transaction::Cancelled(obstacles)),
                Cancellation::NotNow(_) if attempt < TRIES => pause(attempt).await,
                Cancellation::NotNow(why) => {
                    return Err(PortError::Throttled(format!("TransactWriteItems: {why}")));
                }
                Cancellation::Other => return Err(port_error("TransactWriteItems", &error)),
            },
        }
    }
    Err(PortError::Unavailable("TransactWriteItems: no attempt was made".to_owned()))
}

/// Why a transaction was not written.
#[derive(Debug, PartialEq, Eq)]
enum Cancellation {
    /// For each of its items whether its condition was the obstacle.
    ByCondition(Vec<bool>),
    /// It met another one, or too much was written: nothing happened, and the same may succeed later.
    NotNow(&'static str),
    Other,
}

const MET_ANOTHER: &str = "the item is being written to";

fn cancellation(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> Cancellation {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            reason(cancelled.cancellation_reasons())
        }
        Some(error) if error.code() == Some("TransactionConflictException") => {
            Cancellation::NotNow(MET_ANOTHER)
        }
        _ => Cancellation::Other,
    }
}

/// Source of the codes: DynamoDB, TransactWriteItems, TransactionCanceledException; the last of them is an account's quota.
fn reason(reasons: &[CancellationReason]) -> Cancellation {
    let codes: Vec<_> = reasons.iter().map(|reason| reason.code().unwrap_or("None")).collect();
    let throttled = ["ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"];
    if codes.contains(&"ConditionalCheckFailed") {
        Cancellation::ByCondition(codes.iter().map(|code| *code == "ConditionalCheckFailed").collect())
    } else if codes.contains(&"TransactionConflict") {
        Cancellation::NotNow(MET_ANOTHER)
    } else if codes.iter().any(|code| throttled.contains(code)) {
        Cancellation::NotNow("the table is throttled")
    } else {
        Cancellation::Other
    }
}

/// Waits a random part of a growing while, so that two that met do not meet again.
pub(crate) async fn pause(attempt: u32) {
    let [byte] = crate::random::<1>().unwrap_or([128]);
    let most = 20_u64.saturating_mul(2_u64.saturating_pow(attempt));
    tokio::time::sleep(std::time::Duration::from_millis(most * u64::from(byte) / 255)).await;
}

impl SessionStore for DynamoSessions {
    async fn load(&self, id: &SessionId) -> Result<Option<Session>, PortError> {
        let call = self
            .client
            .get_item()
            .table_name(&self.sessions)
            .key(SESSION_ID, string(id.as_str()))
            .consistent_read(true);
        let answer = call.send().await.map_err(|error| port_error("GetItem", &error))?;
        answer.item.map(session).transpose()
    }

    async fn create(
        &self,
        session: &Session,
        audit: &AuditRecord,
        key: &IdempotencyKey,
        most_live: u32,
    ) -> Result<Created, PortError> {
        let Some(registry) = &self.registry else {
            return Err(PortError::Refused("this function makes no sessions".to_owned()));
        };
        let stored = StoredKey {
            key: key_name(key),
            session_id: session.session_id.clone(),
            request_digest: key.request_digest.clone(),
            ttl: key.expires_at.as_second(),
        };
        let put_key = Put::builder()
            .table_name(registry)
            .set_item(Some(to_item(&stored)?))
            // The table forgets late; a key that is over counts as forgotten.
            .condition_expression("attribute_not_exists(#key) OR #ttl <= :now")
            .expression_attribute_names("#key", "key")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", number(session.requested_at.as_second()))
            .build();
        // Whoever is removed or suspended at this very moment gets no session that the removal does not see.
        let still_registered = ConditionCheck::builder()
            .table_name(registry)
            .key("key", string(caller_key(session.registration())))
            .condition_expression("attribute_exists(#key) AND attribute_not_exists(suspended)")
            .expression_attribute_names("#key", "key")
            .build();
        let items = vec![
            TransactWriteItem::builder().put(built(put_key)?).build(),
            TransactWriteItem::builder().condition_check(built(still_registered)?).build(),
            TransactWriteItem::builder()
                .put(self.put_session(session, "attribute_not_exists(session_id)", None)?)
                .build(),
            put_audit(&self.audit, audit)?,
            counters::count_live(registry, session, most_live)?,
        ];
        match transact(&self.client, items).await? {
            Transaction::Written => Ok(Created::New),
            Transaction::Cancelled(obstacles) if obstacles.first() == Some(&true) => {
                match self.stored_key(registry, key).await? {
                    Some(before) if before.request_digest == key.request_digest => {
                        Ok(Created::Before(before.session_id))
                    }
                    Some(_) => Ok(Created::OtherRequest),
                    None => Err(PortError::Unavailable("the request's key came and went".to_owned())),
                }
            }
            Transaction::Cancelled(obstacles) if obstacles.get(1) == Some(&true) => Ok(Created::CallerGone),
            Transaction::Cancelled(obstacles) if obstacles.get(4) == Some(&true) => Ok(Created::TooManyLive),
            // 80 random bits that were drawn before: the caller asks again and gets others.
            Transaction::Cancelled(_) => Err(PortError::Unavailable("the session id is taken".to_owned())),
        }
    }

    async fn commit(&self, change: &Change) -> Result<Committed, PortError> {
        let put = self.put_session(&change.session, "fence = :fence", Some(change.expected_fence))?;
        let mut items =
            vec![TransactWriteItem::builder().put(put).build(), put_audit(&self.audit, &change.audit)?];
        if change.session.state.is_over() {
            let Some(registry) = &self.registry else {
                return Err(PortError::Refused("this function ends no sessions".to_owned()));
            };
            items.push(counters::forget_session(registry, &change.session)?);
        }
        match transact(&self.client, items).await? {
            Transaction::Written => Ok(Committed::Yes),
            Transaction::Cancelled(_) => Ok(Committed::Superseded),
        }
    }

    async fn acknowledge(&self, session: &Session) -> Result<Committed, PortError> {
        let call = self
            .client
            .put_item()
            .table_name(&self.sessions)
            .set_item(Some(row(session)?))
            .condition_expression("fence = :fence")
            .expression_attribute_values(":fence", number(session.fence));
        match call.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(Committed::Superseded)
            }
            Err(error) => Err(port_error("PutItem", &error)),
        }
    }

    async fn list(
        &self,
        scope: &SessionScope,
        cursor: Option<&SessionCursor>,
    ) -> Result<SessionPage, PortError> {
        let (index, hash, value) = match scope {
            SessionScope::Person(person) => ("by-person", "person", person),
            SessionScope::Namespace(namespace) => ("by-namespace", "namespace", namespace),
        };
        let mut call = self
            .client
            .query()
            .table_name(&self.sessions)
            .index_name(index)
            .key_condition_expression("#hash = :hash")
            .expression_attribute_names("#hash", hash)
            .expression_attribute_values(":hash", string(value))
            .scan_index_forward(false)
            .limit(PAGE);
        if let Some(cursor) = cursor {
            call = call
                .exclusive_start_key(hash, string(value))
                .exclusive_start_key("requested_at", string(cursor.requested_at.to_string()))
                .exclusive_start_key(SESSION_ID, string(cursor.session_id.as_str()));
        }
        let answer = call.send().await.map_err(|error| port_error("Query", &error))?;
        let cursor = answer.last_evaluated_key.as_ref().map(cursor_at).transpose()?;
        let sessions = answer.items.unwrap_or_default().into_iter().map(session).collect::<Result<_, _>>()?;
        Ok(SessionPage { sessions, cursor })
    }

    async fn unfinished(&self) -> Result<Vec<Session>, PortError> {
        let mut sessions = Vec::new();
        for shard in 0..DUE_SHARDS {
            let query = self
                .client
                .query()
                .table_name(&self.sessions)
                .index_name("by-due")
                .key_condition_expression("due_shard = :shard")
                .expression_attribute_values(":shard", string(shard.to_string()));
            let mut pages = query.into_paginator().send();
            while let Some(page) = pages.next().await {
                for item in page.map_err(|error| port_error("Query", &error))?.items.unwrap_or_default() {
                    match session(item) {
                        Ok(session) => sessions.push(session),
                        // One row that cannot be read must not hide the others.
                        Err(error) => tracing::error!(%error, "a row was left out"),
                    }
                }
            }
        }
        Ok(sessions)
    }

    async fn canary(&self) -> Result<bool, PortError> {
        let call = self
            .client
            .get_item()
            .table_name(&self.sessions)
            .key(SESSION_ID, string(CANARY))
            .consistent_read(true);
        let answer = call.send().await.map_err(|error| port_error("GetItem", &error))?;
        Ok(answer.item.is_some())
    }

    async fn place_canary(&self) -> Result<(), PortError> {
        let call = self.client.put_item().table_name(&self.sessions).item(SESSION_ID, string(CANARY));
        call.item(
            "about",
            AttributeValue::S("while this row is here, the sweep trusts this table".to_owned()),
        )
        .send()
        .await
        .map(|_| ())
        .map_err(|error| port_error("PutItem", &error))
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::{
        error::ErrorMetadata,
        types::error::{TransactionCanceledException, TransactionConflictException},
    };
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn cancelled(codes: &[&str]) -> Cancellation {
        let reason = |code: &&str| CancellationReason::builder().code(*code).build();
        let exception = TransactionCanceledException::builder()
            .set_cancellation_reasons(Some(codes.iter().map(reason).collect()))
            .build();
        of(TransactWriteItemsError::TransactionCanceledException(exception))
    }

    fn of(error: TransactWriteItemsError) -> Cancellation {
        let answer = HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
        cancellation(&SdkError::service_error(error, answer))
    }

    #[test]
    fn a_throttled_transaction_may_be_tried_again() {
        for code in [
            "ThrottlingError",
            "ProvisionedThroughputExceeded",
            "RequestLimitExceeded",
            "TransactionConflict",
        ] {
            assert!(matches!(cancelled(&["None", code]), Cancellation::NotNow(_)), "{code}");
        }
        let meta = ErrorMetadata::builder().code("TransactionConflictException").build();
        let conflict = TransactionConflictException::builder().meta(meta).build();
        let conflict = TransactWriteItemsError::generic(conflict.meta().clone());
        assert_eq!(of(conflict), Cancellation::NotNow(MET_ANOTHER));
    }

    #[test]
    fn a_condition_decides_whatever_else_stood_in_the_way() {
        let decided = Cancellation::ByCondition(vec![false, true, false]);
        assert_eq!(cancelled(&["None", "ConditionalCheckFailed", "ThrottlingError"]), decided);
        assert_eq!(cancelled(&["TransactionConflict", "ConditionalCheckFailed", "None"]), decided);
    }

    #[test]
    fn what_no_later_try_would_change_is_neither() {
        for code in ["ValidationError", "ItemCollectionSizeLimitExceeded", "None"] {
            assert_eq!(cancelled(&[code]), Cancellation::Other, "{code}");
        }
    }
}
