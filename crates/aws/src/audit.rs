//! The audit in DynamoDB. Records are only ever put, and read by their subject or by their hour. Where the chain of a session stands is in
//! its own row; where that of any other subject stands is an item of the registry, so that nobody needs to change anything in the
//! audit's table.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{Put, TransactWriteItem},
};
use jiff::{Timestamp, ToSpan};
use serde::{Serialize, de::DeserializeOwned};
use sorry_session::{
    audit::{
        AuditCursor, AuditPage, AuditRecord, AuditScope, ChainHead,
        digest::DigestPointer,
        hour,
        refusal::{RefusalNote, RefusalTally},
    },
    ports::{AuditLog, Committed, PortError},
};

use crate::{
    DynamoRegistry,
    errors::port_error,
    item::{Item, from_item, number, string, to_item},
    registry::KEY,
    sessions::{TRIES, Transaction, built, pause, put_audit, transact},
};

/// Records that one page holds, at most: 100 of a few kilobytes stay far below what the API can answer (6 MB).
const PAGE: usize = 100;
/// Hours that one page looks into, at most: the API answers in time, and an empty year is passed in some two hundred pages.
const HOURS: usize = 48;
/// How long a refusal waits for each of the two calls that its record takes, at most.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// Key of how far the digests have come.
const DIGESTS: &str = "digests";

/// Key of where the chain of a subject stands.
fn head_key(subject: &str) -> String {
    format!("audit#{subject}")
}

/// A put into the registry, if what is there is still `before`.
fn put_after<T: Serialize>(
    table: &str,
    key: String,
    value: &T,
    // The attribute that tells one value from the next, and what it was before.
    (attribute, before): (&str, Option<aws_sdk_dynamodb::types::AttributeValue>),
) -> Result<Put, PortError> {
    let mut item = to_item(value)?;
    item.insert(KEY.to_owned(), string(key));
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match before {
        None => {
            put.condition_expression("attribute_not_exists(#key)").expression_attribute_names("#key", KEY)
        }
        Some(before) => put
            .condition_expression("#attribute = :before")
            .expression_attribute_names("#attribute", attribute)
            .expression_attribute_values(":before", before),
    };
    built(put.build())
}

/// Writes `items` and the record of what they change, as the next of its subject's chain, in one transaction. Two that meet on a chain
/// come one after the other.
pub(crate) async fn transact_with_audit(
    registry: &DynamoRegistry,
    items: Vec<TransactWriteItem>,
    record: &AuditRecord,
) -> Result<Transaction, PortError> {
    for attempt in 1..=TRIES {
        let head: Option<ChainHead> = registry.read(head_key(&record.subject)).await?;
        let sealed = record.clone().sealed_after(head.as_ref());
        let next = sealed
            .head()
            .ok_or_else(|| PortError::Unreadable("an audit record without a seal".to_owned()))?;
        let before = head.map(|head| string(head.hash.as_str()));
        let put_head = put_after(&registry.registry, head_key(&record.subject), &next, ("hash", before))?;
        let mut all = items.clone();
        all.push(TransactWriteItem::builder().put(put_head).build());
        all.push(put_audit(&registry.audit, &sealed)?);
        match transact(&registry.client, all).await? {
            // Only the chain stood in the way: somebody else has written to it since it was read.
            Transaction::Cancelled(obstacles)
                if !obstacles.iter().take(items.len()).any(|obstacle| *obstacle) =>
            {
                pause(attempt).await;
            }
            done => return Ok(done),
        }
    }
    Err(PortError::Throttled(format!("the audit of `{}` is being written to", record.subject)))
}

impl DynamoRegistry {
    /// Replaces a small item that tells its versions apart by one attribute.
    async fn replace<T: Serialize>(
        &self,
        key: String,
        value: &T,
        before: (&str, Option<aws_sdk_dynamodb::types::AttributeValue>),
    ) -> Result<Committed, PortError> {
        let put = put_after(&self.registry, key, value, before)?;
        let call = self
            .client
            .put_item()
            .table_name(put.table_name())
            .set_item(Some(put.item().clone()))
            .set_condition_expression(put.condition_expression().map(str::to_owned))
            .set_expression_attribute_names(put.expression_attribute_names().cloned())
            .set_expression_attribute_values(put.expression_attribute_values().cloned());
        match call.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error) if is_superseded(&error) => Ok(Committed::Superseded),
            Err(error) => Err(port_error("PutItem", &error)),
        }
    }

    async fn records_of(&self, subject: &str, cursor: Option<&AuditCursor>) -> Result<AuditPage, PortError> {
        let query = query(&self.client, &self.audit)
            .key_condition_expression("subject = :subject AND #sequence > :after")
            .expression_attribute_names("#sequence", "sequence")
            .expression_attribute_values(":subject", string(subject))
            .expression_attribute_values(":after", number(cursor.map_or(0, |cursor| cursor.sequence)))
            .consistent_read(true)
            .limit(i32::try_from(PAGE).unwrap_or(i32::MAX));
        let answer = query.send().await.map_err(|error| port_error("Query", &error))?;
        let records: Vec<AuditRecord> = read_all(answer.items.unwrap_or_default())?;
        let cursor = records.last().filter(|_| answer.last_evaluated_key.is_some()).map(place);
        Ok(AuditPage { records, cursor })
    }

    /// Hour by hour: an hour is a key of the index. Not sharded, as one key takes 1000 writes a second, and the gateway lets 20 requests
    /// a second in.
    async fn records_between(
        &self,
        from: Timestamp,
        to: Timestamp,
        cursor: Option<&AuditCursor>,
    ) -> Result<AuditPage, PortError> {
        let mut records: Vec<AuditRecord> = Vec::new();
        let mut after = cursor.cloned();
        let mut begins = after.as_ref().map_or(from, |cursor| cursor.at).max(from);
        for _ in 0..HOURS {
            if begins >= to {
                return Ok(AuditPage { records, cursor: None });
            }
            let mut query = query(&self.client, &self.audit)
                .index_name("by-hour")
                .key_condition_expression("at_hour = :hour AND #at BETWEEN :from AND :to")
                .expression_attribute_names("#at", "at")
                .expression_attribute_values(":hour", string(hour(begins)))
                .expression_attribute_values(":from", string(begins.to_string()))
                .expression_attribute_values(":to", string(to.to_string()))
                .limit(i32::try_from(PAGE).unwrap_or(i32::MAX));
            if let Some(place) = after.take().filter(|place| place.sequence > 0) {
                query = query
                    .exclusive_start_key("at_hour", string(hour(place.at)))
                    .exclusive_start_key("at", string(place.at.to_string()))
                    .exclusive_start_key("subject", string(&place.subject))
                    .exclusive_start_key("sequence", number(place.sequence));
            }
            let answer = query.send().await.map_err(|error| port_error("Query", &error))?;
            let more = answer.last_evaluated_key.is_some();
            let found: Vec<AuditRecord> = read_all(answer.items.unwrap_or_default())?;
            let last = found.last().map(place);
            records.extend(found.into_iter().filter(|record| record.at < to));
            if more {
                return Ok(AuditPage { records, cursor: last });
            }
            begins = next_hour(begins)?;
            if records.len() >= PAGE {
                break;
            }
        }
        let cursor = AuditCursor { at: begins, sequence: 0, subject: String::new() };
        Ok(AuditPage { records, cursor: Some(cursor).filter(|cursor| cursor.at < to) })
    }
}

fn query(client: &Client, table: &str) -> aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder {
    client.query().table_name(table)
}

fn next_hour(at: Timestamp) -> Result<Timestamp, PortError> {
    let seconds = at.as_second();
    Timestamp::from_second(seconds - seconds.rem_euclid(3600))
        .and_then(|hour| hour.checked_add(1.hour()))
        .map_err(|error| PortError::Refused(format!("a time that cannot be asked for: {error}")))
}

fn place(record: &AuditRecord) -> AuditCursor {
    AuditCursor { at: record.at, sequence: record.sequence, subject: record.subject.clone() }
}

fn read_all<T: DeserializeOwned>(items: Vec<Item>) -> Result<Vec<T>, PortError> {
    items.into_iter().map(from_item).collect()
}

fn is_superseded<R>(error: &SdkError<aws_sdk_dynamodb::operation::put_item::PutItemError, R>) -> bool {
    error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("ConditionalCheckFailedException")
}

/// What a refusal waits for, and not for long.
async fn in_time<T>(call: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
    let slow = |_| Err(PortError::Unavailable("a refusal waits no longer for its record".to_owned()));
    tokio::time::timeout(REFUSAL_PATIENCE, call).await.unwrap_or_else(slow)
}

impl AuditLog for DynamoRegistry {
    async fn audit_page(
        &self,
        scope: &AuditScope,
        cursor: Option<&AuditCursor>,
    ) -> Result<AuditPage, PortError> {
        match scope {
            AuditScope::Subject(subject) => self.records_of(subject, cursor).await,
            AuditScope::Between(from, to) => self.records_between(*from, *to, cursor).await,
        }
    }

    async fn refusal_tally(&self, key: &str) -> Result<Option<RefusalTally>, PortError> {
        in_time(self.read(key.to_owned())).await
    }

    async fn record_refusal(
        &self,
        note: &RefusalNote,
        before: Option<&RefusalTally>,
    ) -> Result<Committed, PortError> {
        in_time(async {
            let tally = &note.tally;
            // Each write changes one of the two.
            let mark = |tally: &RefusalTally| string(format!("{}#{}", tally.minute, tally.unrecorded));
            let marked = Marked { tally, mark: format!("{}#{}", tally.minute, tally.unrecorded) };
            let before = ("mark", before.map(mark));
            let Some(record) = &note.record else {
                return self.replace(tally.key.clone(), &marked, before).await;
            };
            let put = put_after(&self.registry, tally.key.clone(), &marked, before)?;
            let items = vec![TransactWriteItem::builder().put(put).build()];
            match transact_with_audit(self, items, record).await? {
                Transaction::Written => Ok(Committed::Yes),
                Transaction::Cancelled(_) => Ok(Committed::Superseded),
            }
        })
        .await
    }

    async fn digest_pointer(&self) -> Result<Option<DigestPointer>, PortError> {
        self.read(DIGESTS.to_owned()).await
    }

    async fn advance_digests(
        &self,
        before: Option<&DigestPointer>,
        next: &DigestPointer,
    ) -> Result<Committed, PortError> {
        let before = before.map(|before| string(before.ends.to_string()));
        self.replace(DIGESTS.to_owned(), next, ("ends", before)).await
    }
}

/// A tally with the one attribute that its condition looks at.
#[derive(Serialize)]
struct Marked<'a> {
    #[serde(flatten)]
    tally: &'a RefusalTally,
    mark: String,
}
