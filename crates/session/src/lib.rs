//! The life of a session: who may have one, what becomes of it, and how it ends. No AWS in here: what the service touches in the
//! world stands behind the traits in [`ports`], the time and random numbers are arguments.
//!
//! Decisions ([`decision`], [`approval`], [`extension`], [`limits`], [`lifecycle`], [`expiry`], [`provision::plan_grant`], [`preview`],
//! [`back_off`]) are pure. Steps ([`provision`], [`issue`], [`extend`], [`clean_up`], [`sweep`], [`outbox`]) act on them and make no choice of their own.
//!
//! ```text
//!  REQUESTED ──▶ PROVISIONING ──▶ ACTIVE ──▶ EXPIRING ──▶ EXPIRED
//!      │               │            │
//!      │               │            ├──────▶ REVOKING ──▶ REVOKED
//!      └───────────────┴────────────┴──────▶ FAILING ───▶ FAILED
//!                                              (a REQUESTED or PROVISIONING session can be revoked, too)
//!
//!  PENDING_APPROVAL ──▶ REQUESTED, or at once DENIED, REVOKED or, when it lapses, EXPIRED: nothing was made yet
//!  ACTIVE ──▶ ACTIVE with a later end: see [`extension`]
//!  a denial that comes after an approval ends the session like a revocation: REVOKING ──▶ DENIED
//!
//!  REVOKING, EXPIRING, FAILING ──▶ CLEAN_UP_FAILED ──▶ the end it was on its way to
//! ```

pub mod approval;
pub mod audit;
pub mod back_off;
pub mod caller;
pub mod clean_up;
pub mod decision;
pub mod error;
pub mod events;
pub mod expiry;
pub mod extend;
pub mod extension;
pub mod hold;
pub mod issue;
pub mod lifecycle;
pub mod limits;
pub mod outbox;
pub mod ports;
pub mod preview;
pub mod principal;
pub mod provision;
pub mod session;
pub mod sweep;
pub mod tiers;

pub use caller::{Actor, CallerEntry, CallerRole, Identity, MfaBy, NamedPrincipals};
pub use error::{ErrorCode, Refusal, StepError};
pub use lifecycle::{Change, EndCause, Failure, State};
pub use principal::Principal;
pub use session::Session;
