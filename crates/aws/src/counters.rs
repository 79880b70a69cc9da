//! The counts that limits go by, in the registry: of a caller's requests in a minute, of its live sessions of a tier, and of all session
//! principals. The first two are sets, so that counting twice is counting once; what is in them nobody reads but to compare sizes and
//! to mend.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::Deserialize;
use sorry_policy::TierName;
use sorry_session::{
    Session,
    limits::RequestCount,
    ports::{Counters, LiveSessions, PortError},
};

use crate::{
    DynamoRegistry,
    errors::port_error,
    item::{number, string},
    registry::KEY,
    sessions::built,
};

/// Value of `kind` by which the counts of live sessions are listed.
const LIVE: &str = "live";
/// Attribute of the ids of live sessions. Some of these words are reserved in expressions.
const SESSIONS: &str = "sessions";
/// Key of the count of session principals.
const PRINCIPALS: &str = "principals";

/// Key of the count of a caller's live sessions of a tier.
fn live_key(caller: &str, tier: &TierName) -> String {
    format!("live#{caller}#{tier}")
}

fn names(names: impl IntoIterator<Item = impl ToString>) -> AttributeValue {
    AttributeValue::Ss(names.into_iter().map(|name| name.to_string()).collect())
}

/// Puts a new session among the live ones of its caller and tier, if there is room.
pub(crate) fn count_live(
    registry: &str,
    session: &Session,
    most: u32,
) -> Result<TransactWriteItem, PortError> {
    let update = Update::builder()
        .table_name(registry)
        .key(KEY, string(live_key(session.registration(), &session.tier)))
        .update_expression("SET kind = :live, #caller = :caller, #tier = :tier ADD #sessions :session")
        // DynamoDB keeps no empty set.
        .condition_expression("attribute_not_exists(#sessions) OR size(#sessions) < :most")
        .expression_attribute_names("#caller", "caller")
        .expression_attribute_names("#tier", "tier")
        .expression_attribute_names("#sessions", SESSIONS)
        .expression_attribute_values(":live", string(LIVE))
        .expression_attribute_values(":caller", string(session.registration()))
        .expression_attribute_values(":tier", string(session.tier.as_str()))
        .expression_attribute_values(":session", names([&session.session_id]))
        .expression_attribute_values(":most", number(most));
    Ok(TransactWriteItem::builder().update(built(update.build())?).build())
}

/// Takes a session that is over out of the live ones of its caller and tier. One that was taken out before is no obstacle.
pub(crate) fn forget_session(registry: &str, session: &Session) -> Result<TransactWriteItem, PortError> {
    let update = Update::builder()
        .table_name(registry)
        .key(KEY, string(live_key(session.registration(), &session.tier)))
        .update_expression("DELETE #sessions :session")
        .expression_attribute_names("#sessions", SESSIONS)
        .expression_attribute_values(":session", names([&session.session_id]));
    Ok(TransactWriteItem::builder().update(built(update.build())?).build())
}

/// What the sweep counted last.
#[derive(Deserialize)]
struct Principals {
    count: u64,
}

impl Counters for DynamoRegistry {
    async fn count_request(&self, count: &RequestCount, most: u32) -> Result<bool, PortError> {
        let key = format!("rate#{}#{}", count.caller, count.minute.as_second());
        let call = self
            .client
            .update_item()
            .table_name(&self.registry)
            .key(KEY, string(key))
            .update_expression("SET #ttl = :ttl ADD #requests :request")
            .condition_expression(
                "attribute_not_exists(#requests) OR size(#requests) < :most OR contains(#requests, :name)",
            )
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_names("#requests", "requests")
            .expression_attribute_values(":ttl", number(count.forget_at.as_second()))
            .expression_attribute_values(":request", names([&count.name]))
            .expression_attribute_values(":name", string(&count.name))
            .expression_attribute_values(":most", number(most));
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Ok(false)
            }
            Err(error) => Err(port_error("UpdateItem", &error)),
        }
    }

    async fn session_principals(&self) -> Result<Option<u64>, PortError> {
        let counted: Option<Principals> = self.read(PRINCIPALS.to_owned()).await?;
        Ok(counted.map(|counted| counted.count))
    }

    async fn put_session_principals(&self, count: u64, now: Timestamp) -> Result<(), PortError> {
        let call = self
            .client
            .put_item()
            .table_name(&self.registry)
            .item(KEY, string(PRINCIPALS))
            .item("count", number(count))
            .item("counted_at", string(now.to_string()));
        call.send().await.map(|_| ()).map_err(|error| port_error("PutItem", &error))
    }

    async fn live_sessions(&self) -> Result<Vec<LiveSessions>, PortError> {
        #[derive(Deserialize)]
        struct Counted {
            caller: String,
            tier: TierName,
            #[serde(default)]
            sessions: BTreeSet<sorry_policy::SessionId>,
        }
        let counted: Vec<Counted> = self.of_kind(LIVE).await?;
        let live = |Counted { caller, tier, sessions }| LiveSessions { caller, tier, sessions };
        Ok(counted.into_iter().map(live).collect())
    }

    async fn forget_live(&self, over: &LiveSessions) -> Result<(), PortError> {
        let call = self
            .client
            .update_item()
            .table_name(&self.registry)
            .key(KEY, string(live_key(&over.caller, &over.tier)))
            .update_expression("DELETE #sessions :over")
            .expression_attribute_names("#sessions", SESSIONS)
            .expression_attribute_values(":over", names(&over.sessions));
        call.send().await.map(|_| ()).map_err(|error| port_error("UpdateItem", &error))
    }
}
