//! Users of sessions and their policies, as far as the service uses them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sorry_policy::SessionId;
use sorry_session::{
    ports::{PortError, Presence, PrincipalCreated, PrincipalDeleted, PrincipalSeen},
    principal::Belonging,
    provision::{PolicyPlan, SESSION_PATH, SESSION_TAG, UserPlan},
    session::CreatedPrincipal,
};

use crate::{Role, World, iam::judge, world::Inner};

/// Most characters of a managed policy. Source: IAM and STS quotas, "Managed policies".
const MANAGED_LIMIT: usize = 6_144;

/// A managed policy as IAM keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    tags: BTreeMap<String, String>,
    unique_id: String,
    pub(crate) visible_from: Timestamp,
}

impl Inner {
    pub(crate) fn user_mut(&mut self, name: &str) -> Option<&mut Role> {
        let now = self.now;
        self.users.get_mut(name).filter(|user| user.visible_from <= now)
    }

    pub(crate) fn create_user(&mut self, plan: &UserPlan) -> Result<PrincipalCreated, PortError> {
        Self::may_be_made("CreateUser", &plan.path, &plan.boundary_arn)?;
        if self.users.contains_key(plan.name.as_str()) {
            return Ok(PrincipalCreated::NameTaken);
        }
        let user = Role {
            unique_id: self.new_id("AIDA"),
            ..self.fresh(Role::new(&plan.path, plan.name.as_str()), &plan.boundary_arn, &plan.tags)
        };
        let created = PrincipalCreated::New(user.made("user"));
        self.judge_new_principal(&user);
        self.users.insert(user.name.clone(), user);
        Ok(created)
    }

    pub(crate) fn create_policy(&mut self, plan: &PolicyPlan) -> Result<PrincipalCreated, PortError> {
        let arn = plan.arn.to_string();
        if arn != format!("arn:aws:iam::{}:policy{}{}", crate::world::ACCOUNT, plan.path, plan.name) {
            return Err(PortError::Refused("CreatePolicy: another ARN than the plan's".to_owned()));
        }
        if !plan.path.starts_with(SESSION_PATH) || judge(&plan.document).is_none() {
            return Err(PortError::Refused("CreatePolicy: AccessDenied".to_owned()));
        }
        if plan.document.chars().count() > MANAGED_LIMIT {
            return Err(PortError::Refused("CreatePolicy: LimitExceeded".to_owned()));
        }
        if self.policies.contains_key(&arn) {
            return Ok(PrincipalCreated::NameTaken);
        }
        let unique_id = self.new_id("ANPA");
        let tags = plan.tags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let policy = Policy { tags, unique_id: unique_id.clone(), visible_from: self.visible_from() };
        self.policies.insert(arn.clone(), policy);
        Ok(PrincipalCreated::New(CreatedPrincipal { arn, unique_id }))
    }

    pub(crate) fn attach_to_user(&mut self, user: &str, policy: &str) -> Presence {
        let there = self.policies.contains_key(policy);
        match self.user_mut(user) {
            Some(user) if there => {
                user.attached.insert(policy.to_owned());
                Presence::There
            }
            _ => Presence::Gone,
        }
    }

    pub(crate) fn policy_seen(&self, arn: &str) -> Option<PrincipalSeen> {
        let policy = self.policies.get(arn).filter(|policy| policy.visible_from <= self.now)?;
        Some(PrincipalSeen {
            made: CreatedPrincipal { arn: arn.to_owned(), unique_id: policy.unique_id.clone() },
            session: policy.tags.get(SESSION_TAG).cloned(),
        })
    }

    pub(crate) fn take_away(&mut self, user: &str, belonging: Belonging) {
        if self.user_mut(user).is_none() {
            return;
        }
        if belonging == Belonging::AccessKeys {
            self.keys_of_users.retain(|_, (owner, _)| owner != user);
        }
        if let Some(belongings) = self.belongings.get_mut(user) {
            belongings.remove(&belonging);
        }
    }

    pub(crate) fn delete_user(&mut self, name: &str) -> PrincipalDeleted {
        let keys = self.keys_of_users.values().any(|(owner, _)| owner == name);
        let burdened = self.belongings.get(name).is_some_and(|belongings| !belongings.is_empty());
        match self.user_mut(name) {
            Some(user) if keys || burdened || !user.inline.is_empty() || !user.attached.is_empty() => {
                PrincipalDeleted::NotEmpty
            }
            Some(_) => {
                self.users.remove(name);
                PrincipalDeleted::Gone
            }
            None => PrincipalDeleted::Gone,
        }
    }

    pub(crate) fn delete_policy(&mut self, arn: &str) -> PrincipalDeleted {
        let attached = |role: &Role| role.attached.contains(arn);
        if self.users.values().any(attached) || self.roles.values().any(attached) {
            return PrincipalDeleted::NotEmpty;
        }
        let now = self.now;
        if self.policies.get(arn).is_some_and(|policy| policy.visible_from <= now) {
            self.policies.remove(arn);
        }
        PrincipalDeleted::Gone
    }
}

/// What a test does to users, or sees of them, past the service.
impl World {
    /// All users.
    pub fn users(&self) -> Vec<Role> {
        self.inner().users.values().cloned().collect()
    }

    /// ARNs of all managed policies of sessions.
    pub fn session_policies(&self) -> Vec<String> {
        self.inner().policies.keys().cloned().collect()
    }

    /// The session that a policy's tag names.
    pub fn session_of_policy(&self, arn: &str) -> Option<SessionId> {
        let inner = self.inner();
        inner.policies.get(arn).and_then(|policy| policy.tags.get(SESSION_TAG)?.parse().ok())
    }

    /// Ids of all access keys of session users.
    pub fn access_keys(&self) -> Vec<String> {
        self.inner().keys_of_users.keys().cloned().collect()
    }

    /// Makes, or replaces, a user as a person with other rights would.
    pub fn plant_user(&self, user: Role) {
        self.inner().users.insert(user.name.clone(), user);
    }

    /// Makes a policy as a person with other rights would.
    pub fn plant_policy(&self, arn: &str) {
        let policy =
            Policy { tags: BTreeMap::new(), unique_id: "ANPA0".to_owned(), visible_from: Timestamp::MIN };
        self.inner().policies.insert(arn.to_owned(), policy);
    }

    /// Deletes a user, with all that it has, as a person with other rights would.
    pub fn remove_user(&self, name: &str) {
        let mut inner = self.inner();
        inner.users.remove(name);
        inner.keys_of_users.retain(|_, (owner, _)| owner != name);
    }

    /// Detaches a policy from everybody and deletes it, as a person with other rights would.
    pub fn remove_policy(&self, arn: &str) {
        let mut inner = self.inner();
        for user in inner.users.values_mut() {
            user.attached.remove(arn);
        }
        inner.policies.remove(arn);
    }

    /// Gives a user all that IAM wants gone before it deletes one, as a person with other rights would.
    pub fn burden_user(&self, name: &str) {
        let all: BTreeSet<_> =
            Belonging::ALL.into_iter().filter(|kind| *kind != Belonging::AccessKeys).collect();
        let mut inner = self.inner();
        inner.belongings.insert(name.to_owned(), all);
        let known_from = inner.now;
        inner.keys_of_users.insert(format!("AKIA-by-hand-{name}"), (name.to_owned(), known_from));
    }
}
