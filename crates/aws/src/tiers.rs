//! The published tiers, in the registry's table: each set under its digest, and the pointer to the one in force.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde::Deserialize;
use sorry_policy::{TierSet, TierSetDigest};
use sorry_session::{
    events::AuditRecord,
    ports::{Committed, PortError, TierStore},
    tiers::PublishedTiers,
};

use crate::{
    DynamoRegistry,
    audit::transact_with_audit,
    item::{string, to_item},
    registry::KEY,
    sessions::Transaction,
};

/// Key of the pointer.
const POINTER: &str = "tiers";

/// Key of a set. The role of `provision` may read what begins so.
fn set_key(digest: &TierSetDigest) -> String {
    format!("tiers#{digest}")
}

#[derive(Deserialize)]
struct StoredSet {
    stored: String,
}

impl TierStore for DynamoRegistry {
    async fn published_tiers(&self) -> Result<Option<PublishedTiers>, PortError> {
        self.read(POINTER.to_owned()).await
    }

    async fn tier_set(&self, digest: &TierSetDigest) -> Result<Option<String>, PortError> {
        let found: Option<StoredSet> = self.read(set_key(digest)).await?;
        Ok(found.map(|set| set.stored))
    }

    async fn publish_tiers(
        &self,
        set: &TierSet,
        published: &PublishedTiers,
        replaces: Option<&TierSetDigest>,
        audit: &AuditRecord,
    ) -> Result<Committed, PortError> {
        // Without a condition: under a digest there is only one text, and a damaged one is put right by publishing it again.
        let put_set = Put::builder()
            .table_name(&self.registry)
            .item(KEY, string(set_key(&published.digest)))
            .item("stored", string(set.stored()));
        let mut pointer = to_item(published)?;
        pointer.insert(KEY.to_owned(), string(POINTER));
        let put_pointer = Put::builder().table_name(&self.registry).set_item(Some(pointer));
        let put_pointer = match replaces {
            None => put_pointer
                .condition_expression("attribute_not_exists(#key)")
                .expression_attribute_names("#key", KEY),
            Some(digest) => put_pointer
                .condition_expression("#digest = :replaces")
                .expression_attribute_names("#digest", "digest")
                .expression_attribute_values(":replaces", string(digest.as_str())),
        };
        let mut items = Vec::with_capacity(2);
        for put in [put_pointer, put_set] {
            let put = put.build().map_err(|error| PortError::Refused(format!("Put: {error}")))?;
            items.push(TransactWriteItem::builder().put(put).build());
        }
        match transact_with_audit(self, items, audit).await? {
            Transaction::Written => Ok(Committed::Yes),
            Transaction::Cancelled(_) => Ok(Committed::Superseded),
        }
    }
}
