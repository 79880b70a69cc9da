//! Who is asking, and what they may do.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
pub use sorry_policy::CallerRole;
use sorry_policy::{AccountId, Namespace, PersonName, ProjectName, SourceIdentity, TierName};

use crate::{Session, approval::is_approver};

/// The principal that signed a request, as the gateway verified it. Nothing here comes from a body, a header or a flag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The account of the signing principal.
    pub account: AccountId,
    /// `AIDA…` of a user, `AROA…:session` of a role session: what `aws:userid` holds in policies.
    pub unique_id: String,
    /// ARN of the user or of the assumed-role session.
    pub arn: String,
    /// Source address as the gateway saw it.
    pub source_address: Option<String>,
}

impl Identity {
    /// The name at the end of the ARN: a user's name, or the session name of a role.
    pub fn name(&self) -> &str {
        self.arn.rsplit('/').next().unwrap_or_default()
    }

    /// `AROA…`, the unique id of the role whose session this is; nothing for a user. Source: IAM User Guide, "Unique identifiers".
    pub fn role_id(&self) -> Option<&str> {
        let (role, _) = self.unique_id.split_once(':')?;
        role.starts_with("AROA").then_some(role)
    }
}

/// Who asks a caller for MFA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MfaBy {
    /// AWS, for a device's code: the trust policy of a session's role says so.
    #[default]
    Device,
    /// The identity provider, before it gives the caller's role to anybody. A role's session shows no MFA whatever was asked before, so
    /// that no trust policy can ask for it again. Holds only of roles that the deployment names (`IdentityProviderRoleArns`).
    Idp,
}

/// A caller in the registry: a user, one session of a role, or a whole role.
///
/// An entry is one person and one namespace. Whoever stands behind a whole role is one person here, such as a team or a robot: each can
/// see and end what another asked for, and only the very session that asked can use it. Who is to be told apart is registered as a
/// session of the role by name; that entry comes before the role's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerEntry {
    /// The principal's unique id (`AIDA…`, `AROA…:session`, or `AROA…` for a whole role); a principal made anew under the same name has
    /// another and is nobody here.
    pub unique_id: String,
    /// The principal's account.
    pub account: AccountId,
    /// The principal's ARN when it was registered; for people to read.
    pub arn: String,
    /// Whose keys they are.
    pub person: PersonName,
    /// The person's corner of the account.
    pub namespace: Namespace,
    /// The tiers the caller may have, with the most hours of each.
    pub tiers: BTreeMap<TierName, u32>,
    /// The projects the caller may name.
    #[serde(default)]
    pub projects: BTreeSet<ProjectName>,
    /// What else the caller may do.
    pub roles: BTreeSet<CallerRole>,
    /// Who asks it for MFA.
    #[serde(default)]
    pub mfa: MfaBy,
    /// The source identity that the caller's sessions carry: AWS lets none be set beside it, and the gateway does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_identity: Option<SourceIdentity>,
    /// When the entry was written.
    pub registered_at: Timestamp,
    /// ARN of the administrator who wrote it.
    pub registered_by: String,
    /// Since when nothing is answered to it; nothing if it is not suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspension>,
}

/// An entry that stays and opens nothing, until an administrator says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when.
    pub at: Timestamp,
    /// ARN of the administrator who suspended it.
    pub by: String,
}

impl CallerEntry {
    /// The longest window of a tier that the entry allows; none at all of a tier that it does not name.
    pub(crate) fn longest(&self, tier: &TierName) -> Duration {
        Duration::from_secs(u64::from(self.tiers.get(tier).copied().unwrap_or(0)) * 3600)
    }
}

/// Principals that the deployment itself names: its administrators, so that there is a first one, and the roles behind an identity
/// provider.
#[derive(Clone, Debug, Default)]
pub struct NamedPrincipals(Vec<String>);

impl NamedPrincipals {
    /// From ARNs of users and roles.
    pub fn new(arns: impl IntoIterator<Item = String>) -> Self {
        Self(arns.into_iter().filter(|arn| !arn.is_empty()).collect())
    }

    /// Whether `identity` is one of them, or a session of one. A role's session ARN has neither the role's path nor `iam`; role names are
    /// unique in an account without regard to paths, so name and account decide.
    pub fn include(&self, identity: &Identity) -> bool {
        self.name(&identity.account, &identity.arn)
    }

    /// Whether they name the role that `arn` is, or is a session of.
    pub fn name_role(&self, account: &AccountId, arn: &str) -> bool {
        (arn.contains(":role/") && self.0.iter().any(|named| named == arn))
            || (arn.contains(":assumed-role/") && self.name(account, arn))
    }

    fn name(&self, account: &AccountId, principal: &str) -> bool {
        let session_of = principal
            .split_once(":assumed-role/")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map(|(role, _)| role);
        self.0.iter().any(|arn| match (arn.split_once(":role/"), session_of) {
            (Some((before, path_and_name)), Some(role)) => {
                before.ends_with(&format!("::{account}")) && path_and_name.rsplit('/').next() == Some(role)
            }
            (None, None) => arn == principal,
            _ => false,
        })
    }
}

/// The one who asks: a verified identity, and what the registry and the deployment know of it.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who signed.
    pub identity: Identity,
    /// The registry's entry.
    pub entry: Option<CallerEntry>,
    /// Whether the deployment names the identity as an administrator.
    pub administrator: bool,
    /// Whether the deployment names the identity's role among those that people get only after their identity provider asked for MFA.
    pub identity_provider: bool,
}

/// What can be done to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See it, without its external id.
    View,
    /// Be shown the external id and assume the role.
    Use,
    /// Have it end later.
    Extend,
    /// End it before its time.
    Revoke,
}

impl Actor {
    fn has(&self, role: CallerRole) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.roles.contains(&role))
    }

    /// Whether the actor may register callers and confirm what the sweep holds: by the deployment alone, never by the registry.
    pub fn is_administrator(&self) -> bool {
        self.administrator
    }

    /// Whether the actor sees and ends everybody's sessions and may read the audit: the deployment's administrators, and who is registered
    /// as `security` or `admin`.
    pub fn oversees(&self) -> bool {
        self.administrator || self.has(CallerRole::Security) || self.has(CallerRole::Admin)
    }

    /// Whether the identity provider has asked for MFA: the entry says so, and the deployment still does.
    pub fn has_mfa_by_idp(&self) -> bool {
        let by_idp = self.entry.as_ref().is_some_and(|entry| entry.mfa == MfaBy::Idp);
        by_idp && self.identity_provider && self.identity.role_id().is_some()
    }

    /// The matrix of ARCHITECTURE.md, "Who may do what".
    pub fn may(&self, operation: Operation, session: &Session) -> bool {
        let same_person = self.entry.as_ref().is_some_and(|entry| entry.person == session.person);
        let same_namespace = self.entry.as_ref().is_some_and(|entry| entry.namespace == session.namespace);
        let overseer = self.oversees();
        match operation {
            Operation::View => {
                same_person || same_namespace || overseer || is_approver(self, session) || {
                    session.review.is_some() && self.has(CallerRole::Approver)
                }
            }
            // Only the principal that the trust policy names can assume the role, whoever else the person is.
            // What it may have at most stands in that principal's entry.
            Operation::Use | Operation::Extend => {
                self.entry.is_some() && self.identity.unique_id == session.caller.unique_id
            }
            Operation::Revoke => same_person || overseer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(arn: &str) -> Identity {
        Identity {
            account: "123456789012".parse().unwrap(),
            unique_id: "AIDAEXAMPLE".into(),
            arn: arn.into(),
            source_address: None,
        }
    }

    #[test]
    fn administrators_are_matched_by_user_arn_or_role_name_in_the_account() {
        let administrators = NamedPrincipals::new([
            "arn:aws:iam::123456789012:user/ops/ann".to_owned(),
            "arn:aws:iam::123456789012:role/ops/Platform".to_owned(),
            String::new(),
        ]);
        for (arn, expected) in [
            ("arn:aws:iam::123456789012:user/ops/ann", true),
            ("arn:aws:iam::123456789012:user/ann", false),
            ("arn:aws:sts::123456789012:assumed-role/Platform/ann", true),
            ("arn:aws:sts::123456789012:assumed-role/Platform2/ann", false),
            ("arn:aws:sts::123456789012:assumed-role/ann/Platform", false),
            ("arn:aws:iam::123456789012:user/Platform", false),
            ("", false),
        ] {
            assert_eq!(administrators.include(&identity(arn)), expected, "{arn}");
        }
        let elsewhere = Identity {
            account: "999999999999".parse().unwrap(),
            ..identity("arn:aws:sts::999999999999:assumed-role/Platform/ann")
        };
        assert!(!administrators.include(&elsewhere));
        let account = elsewhere.account;
        for (arn, expected) in [
            ("arn:aws:iam::123456789012:role/ops/Platform", true),
            ("arn:aws:sts::123456789012:assumed-role/Platform/ann", true),
            ("arn:aws:iam::123456789012:role/Platform", false),
            // Named as an administrator, and no role.
            ("arn:aws:iam::123456789012:user/ops/ann", false),
        ] {
            assert_eq!(administrators.name_role(&"123456789012".parse().unwrap(), arn), expected, "{arn}");
        }
        assert!(!administrators.name_role(&account, "arn:aws:sts::999999999999:assumed-role/Platform/ann"));
    }

    /// The matrix of ARCHITECTURE.md, row by row: who may see, use and end Sue's session, and administer.
    #[test]
    fn the_matrix_of_who_may_do_what() {
        use CallerRole::{Admin, Caller, Security};
        use Operation::{Extend, Revoke, Use, View};
        let session = crate::lifecycle::tests::requested();
        let actor = |unique_id: &str, person: &str, namespace: &str, role, administrator| Actor {
            identity: Identity { unique_id: unique_id.into(), ..session.caller.clone() },
            entry: Some(CallerEntry {
                unique_id: unique_id.into(),
                account: session.caller.account.clone(),
                arn: session.caller.arn.clone(),
                person: person.parse().unwrap(),
                namespace: namespace.parse().unwrap(),
                tiers: BTreeMap::new(),
                projects: BTreeSet::new(),
                roles: [role].into(),
                mfa: MfaBy::Device,
                source_identity: None,
                registered_at: session.requested_at,
                registered_by: "test".into(),
                suspended: None,
            }),
            administrator,
            identity_provider: false,
        };
        let unregistered = Actor { entry: None, ..actor("AIDAADMINISTRATOR", "ann", "ann", Caller, true) };
        let own = session.caller.unique_id.as_str();
        let (person, namespace) = (session.person.as_str(), session.namespace.as_str());
        for (who, may, administers) in [
            (actor(own, person, namespace, Caller, false), [true, true, true], false),
            (actor("AIDASECOND", person, namespace, Caller, false), [true, false, true], false),
            (actor("AIDAANN", "ann", namespace, Caller, false), [true, false, false], false),
            (actor("AIDAANN", "ann", "ann", Caller, false), [false, false, false], false),
            (actor("AIDAANN", "ann", "ann", Security, false), [true, false, true], false),
            (actor("AIDAANN", "ann", "ann", Admin, false), [true, false, true], false),
            (actor("AIDAANN", "ann", "ann", Caller, true), [true, false, true], true),
            (unregistered, [true, false, true], true),
        ] {
            assert_eq!([View, Use, Revoke].map(|operation| who.may(operation, &session)), may, "{who:?}");
            assert_eq!(who.may(Extend, &session), who.may(Use, &session), "{who:?}");
            assert_eq!(who.is_administrator(), administers, "{who:?}");
            let oversees = administers || who.has(Security) || who.has(Admin);
            assert_eq!(who.oversees(), oversees, "{who:?}");
        }
    }
}
