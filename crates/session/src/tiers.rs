//! Which tiers there are: those that were published, and before the first publication those that are built in.
//!
//! A published set lies under its digest, and a pointer names the one in force. Whoever reads a set compares: once something was
//! published, what cannot be read or is not what its digest says is refused, and never replaced by something else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{TierSet, TierSetDigest, TierSetError, TierTable};

use crate::{
    ErrorCode, Session, StepError,
    ports::{PortError, TierStore},
};

/// The pointer: which set is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedTiers {
    /// The set.
    pub digest: TierSetDigest,
    /// When it was published.
    pub published_at: Timestamp,
    /// ARN of the administrator who published it.
    pub published_by: String,
}

/// The tiers in force.
///
/// # Errors
/// [`ErrorCode::TiersUnusable`] when a set was published and cannot be used.
pub async fn in_force(store: &impl TierStore) -> Result<TierTable, StepError> {
    match store.published_tiers().await.map_err(refused)? {
        Some(published) => table(store, &published.digest).await,
        None => built_in(),
    }
}

/// The tiers that a session was decided by, whatever is in force by now.
///
/// # Errors
/// [`ErrorCode::TiersUnusable`] when they cannot be used.
pub async fn of_session(store: &impl TierStore, session: &Session) -> Result<TierTable, StepError> {
    match &session.tiers_digest {
        Some(digest) => table(store, digest).await,
        None => built_in(),
    }
}

/// A published set.
///
/// # Errors
/// [`ErrorCode::TiersUnusable`] when it is not there, or not what its digest says.
pub async fn published_set(store: &impl TierStore, digest: &TierSetDigest) -> Result<TierSet, StepError> {
    match store.tier_set(digest).await.map_err(refused)? {
        Some(stored) => TierSet::read(&stored, digest).map_err(|error| unusable(&error)),
        None => Err(unusable(&TierSetError::Mismatch(digest.clone()))),
    }
}

async fn table(store: &impl TierStore, digest: &TierSetDigest) -> Result<TierTable, StepError> {
    let set = published_set(store, digest).await?;
    set.table().map_err(|error| unusable(&error.into()))
}

fn built_in() -> Result<TierTable, StepError> {
    TierTable::built_in().map_err(|error| StepError::new(ErrorCode::Internal, error.to_string()))
}

/// A row that is not one of ours is no other kind of trouble than a text that is not.
fn refused(error: PortError) -> StepError {
    match error {
        PortError::Unreadable(_) => StepError::new(ErrorCode::TiersUnusable, error.to_string()),
        other => other.into(),
    }
}

fn unusable(error: &TierSetError) -> StepError {
    StepError::new(ErrorCode::TiersUnusable, error.to_string())
}
