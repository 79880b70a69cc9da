//! IAM, as far as the service uses it, and a judge of what a role's documents really allow at a moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use sorry_policy::{RoleName, SessionId};
use sorry_session::{
    ports::{PortError, Presence, PrincipalProvisioner, RoleCreated, RoleDeleted, RoleSeen},
    provision::{RolePlan, SESSION_PATH, SESSION_TAG},
    session::CreatedRole,
};

use crate::{World, world::Inner};

/// Most characters of a role's inline policies together. Source: IAM and STS quotas, "Role inline policies".
const INLINE_LIMIT: usize = 10_240;

/// A role as IAM keeps it.
#[derive(Clone, Debug)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Path.
    pub path: String,
    /// Unique id, `AROA…`; a role made anew under the same name has another.
    pub unique_id: String,
    /// Who may assume it.
    pub trust_policy: String,
    /// What it can never exceed.
    pub boundary_arn: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Inline policies, by name.
    pub inline: BTreeMap<String, String>,
    /// ARNs of attached policies, and names of instance profiles: the service makes none, a person might.
    pub attached: BTreeSet<String>,
    visible_from: Timestamp,
    judged: BTreeMap<String, Judged>,
}

/// What matters of a policy document.
#[derive(Clone, Debug, Default)]
struct Judged {
    allows: bool,
    /// From when everything is denied.
    denies_all_from: Option<Timestamp>,
}

impl Role {
    /// A role without any policy, for [`World::plant_role`].
    pub fn new(path: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            unique_id: String::new(),
            trust_policy: r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned(),
            boundary_arn: None,
            tags: BTreeMap::new(),
            inline: BTreeMap::new(),
            attached: BTreeSet::new(),
            visible_from: Timestamp::MIN,
            judged: BTreeMap::new(),
        }
    }

    /// The same with a tag.
    #[must_use]
    pub fn tagged(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The same with an inline policy.
    ///
    /// # Panics
    /// When the document is none.
    #[must_use]
    pub fn with_policy(mut self, name: &str, document: &str) -> Self {
        self.put(name, document).unwrap();
        self
    }

    /// The session that its tag names.
    pub fn session(&self) -> Option<&str> {
        self.tags.get(SESSION_TAG).map(String::as_str)
    }

    fn arn(&self) -> String {
        format!("arn:aws:iam::{}:role{}{}", crate::world::ACCOUNT, self.path, self.name)
    }

    fn seen(&self) -> CreatedRole {
        CreatedRole { arn: self.arn(), unique_id: self.unique_id.clone() }
    }

    fn put(&mut self, name: &str, document: &str) -> Result<(), PortError> {
        let judged =
            judge(document).ok_or_else(|| PortError::Refused("MalformedPolicyDocument".to_owned()))?;
        let others: usize =
            self.inline.iter().filter(|(key, _)| *key != name).map(|(_, text)| text.chars().count()).sum();
        if others + document.chars().count() > INLINE_LIMIT {
            return Err(PortError::Refused("LimitExceeded: inline policies".to_owned()));
        }
        self.inline.insert(name.to_owned(), document.to_owned());
        self.judged.insert(name.to_owned(), judged);
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        self.inline.remove(name);
        self.judged.remove(name);
    }

    /// Whether credentials of this role can do anything at that moment. An allow is never explained away: conditions on it are
    /// taken as met. A deny counts only when it is of everything, without a condition or with one on the date that is met.
    pub fn allows(&self, at: Timestamp) -> bool {
        let allowed = !self.attached.is_empty() || self.judged.values().any(|policy| policy.allows);
        let denied = self.judged.values().any(|policy| policy.denies_all_from.is_some_and(|from| at >= from));
        allowed && !denied
    }

    /// Whether the trust policy lets anybody assume the role at that moment.
    ///
    /// # Panics
    /// When the trust policy is none.
    pub fn can_be_assumed(&self, at: Timestamp) -> bool {
        let document: Value = serde_json::from_str(&self.trust_policy).unwrap();
        document["Statement"].as_array().unwrap().iter().any(|statement| {
            let until = &statement["Condition"]["DateLessThan"]["aws:CurrentTime"];
            statement["Effect"] == "Allow"
                && statement["Action"] == "sts:AssumeRole"
                && until.as_str().is_none_or(|until| at < until.parse::<Timestamp>().unwrap())
        })
    }
}

/// `None` when IAM would not take the document.
fn judge(document: &str) -> Option<Judged> {
    let document: Value = serde_json::from_str(document).ok()?;
    let mut judged = Judged::default();
    for statement in document.get("Statement")?.as_array()? {
        let of_everything = ["Action", "Resource"]
            .iter()
            .all(|key| statement[*key] == "*" || statement[*key] == serde_json::json!(["*"]));
        match statement["Effect"].as_str()? {
            "Allow" => judged.allows = true,
            "Deny" if of_everything => {
                let from = match statement.get("Condition") {
                    None => Some(Timestamp::MIN),
                    // A condition beside the date could keep the deny from being one.
                    Some(Value::Object(operators)) if operators.len() == 1 => operators
                        .get("DateGreaterThanEquals")
                        .and_then(Value::as_object)
                        .filter(|keys| keys.len() == 1)
                        .and_then(|keys| keys.get("aws:CurrentTime")?.as_str()?.parse().ok()),
                    Some(_) => None,
                };
                judged.denies_all_from = judged.denies_all_from.into_iter().chain(from).min();
            }
            "Deny" => {}
            _ => return None,
        }
    }
    Some(judged)
}

impl Inner {
    fn role_mut(&mut self, name: &str) -> Option<&mut Role> {
        let now = self.now;
        self.roles.get_mut(name).filter(|role| role.visible_from <= now)
    }

    fn create_role(&mut self, plan: &RolePlan) -> Result<RoleCreated, PortError> {
        let boundary = format!("{}sorry-boundary-", crate::world::SERVICE_POLICY_PREFIX);
        // What the function's own IAM policy and IAM's limits would refuse.
        if !plan.path.starts_with(SESSION_PATH)
            || !plan.boundary_arn.starts_with(&boundary)
            || !(3_600..=43_200).contains(&plan.max_session_seconds)
        {
            return Err(PortError::Refused("CreateRole: AccessDenied".to_owned()));
        }
        if judge(&plan.trust_policy).is_none() {
            return Err(PortError::Refused("CreateRole: MalformedPolicyDocument".to_owned()));
        }
        if self.now < self.principals_known_from {
            return Err(PortError::UnknownPrincipal("CreateRole: Invalid principal in policy".to_owned()));
        }
        if self.roles.contains_key(plan.name.as_str()) {
            return Ok(RoleCreated::NameTaken);
        }
        self.roles_made += 1;
        let role = Role {
            unique_id: format!("AROA{:017}", self.roles_made),
            trust_policy: plan.trust_policy.clone(),
            boundary_arn: Some(plan.boundary_arn.clone()),
            tags: plan.tags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            visible_from: self.now.checked_add(self.iam_lag_seconds.seconds()).unwrap(),
            ..Role::new(&plan.path, plan.name.as_str())
        };
        let created = RoleCreated::New(role.seen());
        self.judge_new_role(&role);
        self.roles.insert(role.name.clone(), role);
        Ok(created)
    }

    fn delete_role(&mut self, name: &str) -> RoleDeleted {
        match self.role_mut(name) {
            Some(role) if !role.inline.is_empty() || !role.attached.is_empty() => RoleDeleted::NotEmpty,
            Some(_) => {
                self.roles.remove(name);
                RoleDeleted::Gone
            }
            None => RoleDeleted::Gone,
        }
    }
}

impl PrincipalProvisioner for World {
    async fn create_role(&self, plan: &RolePlan) -> Result<RoleCreated, PortError> {
        let (about, plan) = (plan.name.to_string(), plan.clone());
        self.call("create_role", about, move |inner| inner.create_role(&plan)).await
    }

    async fn role(&self, name: &RoleName) -> Result<Option<RoleSeen>, PortError> {
        let name = name.to_string();
        self.call("role", name.clone(), move |inner| {
            if inner.stale_reads > 0 {
                inner.stale_reads -= 1;
                return Ok(None);
            }
            Ok(inner
                .role_mut(&name)
                .map(|role| RoleSeen { role: role.seen(), session: role.session().map(str::to_owned) }))
        })
        .await
    }

    async fn put_inline_policy(
        &self,
        role: &RoleName,
        policy: &str,
        document: &str,
    ) -> Result<Presence, PortError> {
        let (role, policy, document) = (role.to_string(), policy.to_owned(), document.to_owned());
        self.call("put_inline_policy", policy.clone(), move |inner| match inner.role_mut(&role) {
            Some(role) => role.put(&policy, &document).map(|()| Presence::There),
            None => Ok(Presence::Gone),
        })
        .await
    }

    async fn put_trust_policy(&self, role: &RoleName, document: &str) -> Result<Presence, PortError> {
        let (role, document) = (role.to_string(), document.to_owned());
        self.call("put_trust_policy", role.clone(), move |inner| {
            if judge(&document).is_none() {
                return Err(PortError::Refused("UpdateAssumeRolePolicy: MalformedPolicyDocument".to_owned()));
            }
            Ok(match inner.role_mut(&role) {
                Some(role) => {
                    role.trust_policy = document;
                    Presence::There
                }
                None => Presence::Gone,
            })
        })
        .await
    }

    async fn inline_policies(&self, role: &RoleName) -> Result<Vec<String>, PortError> {
        let name = role.to_string();
        self.call("inline_policies", name.clone(), move |inner| {
            Ok(inner.role_mut(&name).map(|role| role.inline.keys().cloned().collect()).unwrap_or_default())
        })
        .await
    }

    async fn delete_inline_policy(&self, role: &RoleName, policy: &str) -> Result<(), PortError> {
        let (role, policy) = (role.to_string(), policy.to_owned());
        self.call("delete_inline_policy", policy.clone(), move |inner| {
            if let Some(role) = inner.role_mut(&role) {
                role.remove(&policy);
            }
            Ok(())
        })
        .await
    }

    async fn detach_all(&self, role: &RoleName) -> Result<(), PortError> {
        let name = role.to_string();
        self.call("detach_all", name.clone(), move |inner| {
            if let Some(role) = inner.role_mut(&name) {
                role.attached.clear();
            }
            Ok(())
        })
        .await
    }

    async fn delete_role(&self, role: &RoleName) -> Result<RoleDeleted, PortError> {
        let name = role.to_string();
        self.call("delete_role", name.clone(), move |inner| Ok(inner.delete_role(&name))).await
    }

    async fn session_roles(&self) -> Result<Vec<RoleName>, PortError> {
        self.call("session_roles", String::new(), |inner| {
            let now = inner.now;
            let listed = inner
                .roles
                .values()
                .filter(|role| role.visible_from <= now && role.path.starts_with(SESSION_PATH));
            Ok(listed.filter_map(|role| role.name.parse().ok()).collect())
        })
        .await
    }
}

/// What a test does to IAM, or sees in it, past the service.
impl World {
    /// Whether credentials of this session can do anything at that moment: some role carries the session's tag, has a boundary, and
    /// its stored documents allow something and do not deny everything.
    pub fn access(&self, id: &SessionId, at: Timestamp) -> bool {
        self.roles()
            .iter()
            .any(|role| role.session() == Some(id.as_str()) && role.boundary_arn.is_some() && role.allows(at))
    }

    /// Whether the session's owner can get credentials at that moment, and they can do something.
    pub fn usable(&self, id: &SessionId, at: Timestamp) -> bool {
        self.access(id, at)
            && self.roles().iter().any(|role| role.session() == Some(id.as_str()) && role.can_be_assumed(at))
    }

    /// All roles, wherever they are.
    pub fn roles(&self) -> Vec<Role> {
        self.inner().roles.values().cloned().collect()
    }

    /// Names of the roles under `/sorry/session/`.
    pub fn session_role_names(&self) -> Vec<String> {
        self.roles()
            .into_iter()
            .filter(|role| role.path.starts_with(SESSION_PATH))
            .map(|role| role.name)
            .collect()
    }

    /// Makes, or replaces, a role as a person with other rights would.
    pub fn plant_role(&self, role: Role) {
        self.inner().roles.insert(role.name.clone(), role);
    }

    /// Deletes a role as a person with other rights would.
    pub fn remove_role(&self, name: &str) {
        self.inner().roles.remove(name);
    }

    /// Attaches a managed policy, or adds an instance profile, as a person with other rights would.
    ///
    /// # Panics
    /// When there is no such role.
    pub fn attach(&self, role: &str, arn: &str) {
        self.inner().roles.get_mut(role).unwrap().attached.insert(arn.to_owned());
    }

    /// For how long after its creation a role is not seen by any other call: IAM is eventually consistent.
    pub fn set_iam_lag(&self, seconds: i64) {
        self.inner().iam_lag_seconds = seconds;
    }

    /// Until then IAM does not know the principals that trust policies name: they were made moments ago.
    pub fn know_principals_from(&self, moment: Timestamp) {
        self.inner().principals_known_from = moment;
    }

    /// Takes a tag off a role as a person with other rights would.
    ///
    /// # Panics
    /// When there is no such role.
    pub fn untag(&self, role: &str, key: &str) {
        self.inner().roles.get_mut(role).unwrap().tags.remove(key);
    }

    /// The next so many looks at a role find none: they meet a part of IAM that has not heard of it yet, though a write went
    /// through another one before.
    pub fn set_stale_reads(&self, count: usize) {
        self.inner().stale_reads = count;
    }
}

#[cfg(test)]
mod tests {
    use sorry_policy::{access_policy, revoked_policy};

    use super::*;
    use crate::moment;

    fn access() -> String {
        access_policy(
            vec![serde_json::json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})],
            moment(60),
        )
        .unwrap()
    }

    #[test]
    fn access_is_read_from_the_documents() {
        let role = Role::new("/sorry/session/sue/", "x");
        assert!(!role.allows(moment(0)));
        let open = role.with_policy("access", &access());
        assert!(open.allows(moment(59)));
        assert!(!open.allows(moment(60)));
        assert!(!open.clone().with_policy("revoked", &revoked_policy()).allows(moment(0)));
        let bare = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        assert!(open.clone().with_policy("other", bare).allows(moment(59)));
        assert!(!open.with_policy("other", bare).allows(moment(60)));
    }

    #[test]
    fn a_deny_that_may_not_apply_is_none() {
        for condition in [
            r#"{"Bool":{"aws:SecureTransport":"false"}}"#,
            r#"{"DateGreaterThanEquals":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"Bool":{"aws:SecureTransport":"false"}}"#,
            r#"{"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}"#,
        ] {
            let document = format!(
                r#"{{"Statement":[{{"Effect":"Allow","Action":"*","Resource":"*"}},
                   {{"Effect":"Deny","Action":"*","Resource":"*","Condition":{condition}}}]}}"#
            );
            let role = Role::new("/sorry/session/sue/", "x").with_policy("access", &document);
            assert!(role.allows(moment(1_000_000)), "{condition}");
        }
    }
}
