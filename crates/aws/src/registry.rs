//! The registry of callers in DynamoDB.

use aws_sdk_dynamodb::{
    Client,
    types::{Delete, Put, TransactWriteItem, builders::PutBuilder},
};
use serde::de::DeserializeOwned;
use sorry_session::{
    CallerEntry,
    events::AuditRecord,
    hold::SweepMemory,
    ports::{CallerWritten, Committed, PortError, Registry},
};

use crate::{
    S3Digests,
    audit::transact_with_audit,
    errors::port_error,
    item::{from_item, number, string, to_item},
    sessions::Transaction,
};

pub(crate) const KEY: &str = "key";
/// Value of `kind` by which callers are listed.
const CALLER: &str = "caller";
/// Key of what the sweep remembers.
const SWEEP: &str = "sweep";

/// The tables `registry` and `audit`, and the bucket of the audit's digests.
#[derive(Clone, Debug)]
pub struct DynamoRegistry {
    pub(crate) client: Client,
    pub(crate) registry: String,
    pub(crate) audit: String,
    pub(crate) digests: Option<S3Digests>,
}

impl DynamoRegistry {
    /// The tables of these names.
    pub fn new(config: &aws_config::SdkConfig, registry: String, audit: String) -> Self {
        Self { client: Client::new(config), registry, audit, digests: None }
    }

    /// With the bucket of digests, for a function that reads or writes them.
    #[must_use]
    pub fn with_digests(self, digests: S3Digests) -> Self {
        Self { digests: Some(digests), ..self }
    }

    /// The table `registry`, for a function that only looks.
    pub fn reader(config: &aws_config::SdkConfig, registry: String) -> Self {
        Self::new(config, registry, String::new())
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, key: String) -> Result<Option<T>, PortError> {
        let call =
            self.client.get_item().table_name(&self.registry).key(KEY, string(key)).consistent_read(true);
        let answer = call.send().await.map_err(|error| port_error("GetItem", &error))?;
        answer.item.map(from_item).transpose()
    }
}

impl DynamoRegistry {
    /// All items of a kind; not consistent.
    pub(crate) async fn of_kind<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, PortError> {
        let query = self
            .client
            .query()
            .table_name(&self.registry)
            .index_name("by-kind")
            .key_condition_expression("kind = :kind")
            .expression_attribute_values(":kind", string(kind));
        let mut pages = query.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            for item in page.map_err(|error| port_error("Query", &error))?.items.unwrap_or_default() {
                found.push(from_item(item)?);
            }
        }
        Ok(found)
    }
}

/// Key of a caller.
pub(crate) fn caller_key(unique_id: &str) -> String {
    format!("caller#{unique_id}")
}

/// On condition that the entry is still the one that was read: that nobody registered, suspended, resumed or removed the caller since.
fn replacing(before: Option<&CallerEntry>, put: PutBuilder) -> PutBuilder {
    let Some(before) = before else {
        return put
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", KEY);
    };
    let put = put.expression_attribute_values(":registered", string(before.registered_at.to_string()));
    match &before.suspended {
        None => put.condition_expression("registered_at = :registered AND attribute_not_exists(suspended)"),
        Some(suspension) => put
            .condition_expression("registered_at = :registered AND suspended.#at = :suspended")
            .expression_attribute_names("#at", "at")
            .expression_attribute_values(":suspended", string(suspension.at.to_string())),
    }
}

impl Registry for DynamoRegistry {
    async fn caller(&self, unique_id: &str) -> Result<Option<CallerEntry>, PortError> {
        self.read(caller_key(unique_id)).await
    }

    async fn callers(&self) -> Result<Vec<CallerEntry>, PortError> {
        self.of_kind(CALLER).await
    }

    async fn put_caller(
        &self,
        entry: &CallerEntry,
        before: Option<&CallerEntry>,
        audit: &AuditRecord,
    ) -> Result<CallerWritten, PortError> {
        let mut caller = to_item(entry)?;
        caller.insert(KEY.to_owned(), string(caller_key(&entry.unique_id)));
        caller.insert("kind".to_owned(), string(CALLER));
        let put_caller =
            replacing(before, Put::builder().table_name(&self.registry).set_item(Some(caller))).build();
        let claim = Put::builder()
            .table_name(&self.registry)
            .item(KEY, string(format!("namespace#{}", entry.namespace)))
            .item("person", string(entry.person.as_str()))
            .condition_expression("attribute_not_exists(#key) OR person = :person")
            .expression_attribute_names("#key", KEY)
            .expression_attribute_values(":person", string(entry.person.as_str()))
            .build();
        let built = |put: Result<Put, _>| put.map_err(|error| PortError::Refused(format!("Put: {error}")));
        let items = vec![
            TransactWriteItem::builder().put(built(claim)?).build(),
            TransactWriteItem::builder().put(built(put_caller)?).build(),
        ];
        match transact_with_audit(self, items, audit).await? {
            Transaction::Written => Ok(CallerWritten::Yes),
            Transaction::Cancelled(obstacles) if obstacles.first() == Some(&true) => {
                Ok(CallerWritten::NamespaceTaken)
            }
            Transaction::Cancelled(_) => Ok(CallerWritten::Superseded),
        }
    }

    async fn remove_caller(&self, entry: &CallerEntry, audit: &AuditRecord) -> Result<(), PortError> {
        let delete = Delete::builder()
            .table_name(&self.registry)
            .key(KEY, string(caller_key(&entry.unique_id)))
            .build();
        let delete = delete.map_err(|error| PortError::Refused(format!("Delete: {error}")))?;
        let items = vec![TransactWriteItem::builder().delete(delete).build()];
        match transact_with_audit(self, items, audit).await? {
            Transaction::Written => Ok(()),
            Transaction::Cancelled(_) => {
                Err(PortError::Throttled("the caller is being changed by somebody else".to_owned()))
            }
        }
    }

    async fn sweep_memory(&self) -> Result<SweepMemory, PortError> {
        Ok(self.read(SWEEP.to_owned()).await?.unwrap_or_default())
    }

    async fn put_sweep_memory(
        &self,
        memory: &SweepMemory,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError> {
        let next = SweepMemory { version: memory.version.saturating_add(1), ..memory.clone() };
        let mut item = to_item(&next)?;
        item.insert(KEY.to_owned(), string(SWEEP));
        // Nobody has written yet, or nobody has written since.
        let condition = match memory.version {
            0 => "attribute_not_exists(#version) OR #version = :version",
            _ => "#version = :version",
        };
        let put = Put::builder()
            .table_name(&self.registry)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", number(memory.version))
            .build();
        let put = put.map_err(|error| PortError::Refused(format!("Put: {error}")))?;
        let items = vec![TransactWriteItem::builder().put(put).build()];
        match transact_with_audit(self, items, audit).await? {
            Transaction::Written => Ok(Committed::Yes),
            Transaction::Cancelled(_) => Ok(Committed::Superseded),
        }
    }
}
