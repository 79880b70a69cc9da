//! Rows as DynamoDB items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Serialize, de::DeserializeOwned};
use sorry_session::ports::PortError;

/// A DynamoDB item.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// A value as an item.
pub(crate) fn to_item(value: &impl Serialize) -> Result<Item, PortError> {
    serde_dynamo::to_item(value).map_err(|error| PortError::Unreadable(format!("cannot be stored: {error}")))
}

/// An item as a value.
pub(crate) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, PortError> {
    serde_dynamo::from_item(item).map_err(|error| PortError::Unreadable(format!("a stored row: {error}")))
}

/// A string attribute.
pub(crate) fn string(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number attribute.
pub(crate) fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
