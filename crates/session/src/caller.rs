//! Who is asking, and what they may do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sorry_policy::{AccountId, Namespace, PersonName, ProjectName, TierName};

use crate::Session;

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
}

/// What a registered person may do beside asking for sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallerRole {
    /// Asks for sessions.
    Caller,
    /// Sees and ends everybody's sessions.
    Security,
    /// Sees and ends everybody's sessions, as `security` does. It does not open `/admin`: that is for the principals that the
    /// deployment names, so that nobody can be made an administrator by a row in a table.
    Admin,
}

/// A caller in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerEntry {
    /// The principal's unique id; a principal made anew under the same name has another and is nobody here.
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
    /// When the entry was written.
    pub registered_at: Timestamp,
    /// ARN of the administrator who wrote it.
    pub registered_by: String,
}

/// The principals that the deployment itself names as administrators, so that there is a first one.
#[derive(Clone, Debug, Default)]
pub struct Administrators(Vec<String>);

impl Administrators {
    /// From ARNs of users and roles.
    pub fn new(arns: impl IntoIterator<Item = String>) -> Self {
        Self(arns.into_iter().filter(|arn| !arn.is_empty()).collect())
    }

    /// Whether `identity` is one of them. A role's session ARN has neither the role's path nor `iam`; role names are unique in an
    /// account without regard to paths, so name and account decide.
    pub fn include(&self, identity: &Identity) -> bool {
        let session_of = identity
            .arn
            .split_once(":assumed-role/")
            .and_then(|(_, rest)| rest.split_once('/'))
            .map(|(role, _)| role);
        self.0.iter().any(|arn| match (arn.split_once(":role/"), session_of) {
            (Some((before, path_and_name)), Some(role)) => {
                before.ends_with(&format!("::{}", identity.account))
                    && path_and_name.rsplit('/').next() == Some(role)
            }
            (None, None) => *arn == identity.arn,
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
}

/// What can be done to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See it, without its external id.
    View,
    /// Be shown the external id and assume the role.
    Use,
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

    /// Whether the actor sees everybody's sessions and may read the audit: the deployment's administrators, and who is registered as
    /// `security` or `admin`.
    pub fn is_overseer(&self) -> bool {
        self.administrator || self.has(CallerRole::Security) || self.has(CallerRole::Admin)
    }

    /// The matrix of ARCHITECTURE.md, "Who may do what".
    pub fn may(&self, operation: Operation, session: &Session) -> bool {
        let same_person = self.entry.as_ref().is_some_and(|entry| entry.person == session.person);
        let same_namespace = self.entry.as_ref().is_some_and(|entry| entry.namespace == session.namespace);
        let overseer = self.is_overseer();
        match operation {
            Operation::View => same_person || same_namespace || overseer,
            // Only the principal that the trust policy names can assume the role, whoever else the person is.
            Operation::Use => self.entry.is_some() && self.identity.unique_id == session.caller.unique_id,
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
        let administrators = Administrators::new([
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
    }

    /// The matrix of ARCHITECTURE.md, row by row: who may see, use and end Sue's session, and administer.
    #[test]
    fn the_matrix_of_who_may_do_what() {
        use CallerRole::{Admin, Caller, Security};
        use Operation::{Revoke, Use, View};
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
                registered_at: session.requested_at,
                registered_by: "test".into(),
            }),
            administrator,
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
            assert_eq!(who.is_administrator(), administers, "{who:?}");
            let oversees = administers || who.has(Security) || who.has(Admin);
            assert_eq!(who.is_overseer(), oversees, "{who:?}");
        }
    }
}
