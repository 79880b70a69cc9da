//! What a tier allows, and every name and IAM document that follows from it. Pure: no AWS, no clock, no files at run time.
//!
//! Validated names live here and not in the domain crate because they are what makes rendering safe: a value that may stand
//! in a policy document is one whose alphabet cannot change the document's structure or widen an ARN.
//!
//! Not for: who may ask for a tier (that is `sorry-session`'s decision).

mod addresses;
mod documents;
mod lint;
mod names;
mod set;
mod template;
mod tiers;

pub use addresses::{AddressError, AddressRange};
pub use documents::{
    ACCESS_POLICY_NAME, DocumentError, EXPIRY_POLICY_NAME, MOST_REVOKED_AT_ONCE, REVOKED_POLICY_NAME,
    TrustTerms, access_policy, expiry_policy, managed_policy, revoked_before, revoked_policy,
    revoked_policy_name, revoked_session_policy, session_policy, trust_policy,
};
pub use lint::{ActionCatalogue, DocumentKind, Finding, lint};
pub use names::{
    AccountId, ExternalId, NameError, Namespace, Partition, PersonName, PolicyArn, ProjectName, Region,
    RoleName, SessionId, SourceIdentity, TierName,
};
pub use set::{TierSet, TierSetDigest, TierSetError};
pub use template::{RenderError, Variables, render};
pub use tiers::{Approvals, CallerRole, Grant, PolicyDigest, Tier, TierTable, TierTableError};
