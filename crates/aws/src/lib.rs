//! The domain's ports on AWS. AWS's types stop here: what leaves this crate are the domain's words.
//!
//! Not for: decisions. An adapter says what happened, by [`PortError`](sorry_session::ports::PortError) or by the port's own answer.

mod alerts;
mod audit;
mod belongings;
mod clock;
mod counters;
mod digests;
mod errors;
mod events;
pub mod function;
mod item;
mod listing;
pub mod metrics;
mod principals;
mod registry;
mod sessions;
pub mod settings;
mod tiers;
mod tokens;
mod workflow;

pub use alerts::SnsAlerts;
pub use clock::SystemClock;
pub use digests::S3Digests;
pub use events::EventBridgeBus;
pub use principals::IamPrincipals;
pub use registry::DynamoRegistry;
pub use sessions::{DynamoSessions, stored_session};
pub use tokens::StsTokens;
pub use workflow::StepFunctionsWorkflow;

/// Random bytes from the operating system.
///
/// # Errors
/// When the operating system has none; nothing that needs them can be done then.
pub fn random<const N: usize>() -> Result<[u8; N], sorry_session::StepError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        sorry_session::StepError::new(sorry_session::ErrorCode::Internal, error.to_string())
    })?;
    Ok(bytes)
}
