//! IAM, as far as the service uses it, and a judge of what a role's documents really allow at a moment.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use sorry_policy::{Grant, PolicyArn, RoleName, SessionId};
use sorry_session::{
    ports::{PortError, Presence, PrincipalCreated, PrincipalDeleted, PrincipalProvisioner, PrincipalSeen},
    principal::{Belonging, Principal},
    provision::{PolicyPlan, RolePlan, SESSION_PATH, SESSION_TAG, STANDING_PATH, UserPlan},
    session::CreatedPrincipal,
};

use crate::{World, world::Inner};

/// Most characters of a role's inline policies together. Source: IAM and STS quotas, "Role inline policies".
const INLINE_LIMIT: usize = 10_240;
/// The same of a user. Source: IAM and STS quotas, "User inline policies".
const USER_INLINE_LIMIT: usize = 2_048;

/// A role, or a user, as IAM keeps it.
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
    pub(crate) visible_from: Timestamp,
    pub(crate) judged: BTreeMap<String, Judged>,
}

/// What matters of a policy document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    pub(crate) allows: bool,
    /// From when everything is denied.
    pub(crate) denies_all_from: Option<Timestamp>,
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

    pub(crate) fn made(&self, kind: &str) -> CreatedPrincipal {
        let arn = format!("arn:aws:iam::{}:{kind}{}{}", crate::world::ACCOUNT, self.path, self.name);
        CreatedPrincipal { arn, unique_id: self.unique_id.clone() }
    }

    fn put(&mut self, name: &str, document: &str) -> Result<(), PortError> {
        self.put_within(INLINE_LIMIT, name, document)
    }

    fn put_within(&mut self, limit: usize, name: &str, document: &str) -> Result<(), PortError> {
        let judged =
            judge(document).ok_or_else(|| PortError::Refused("MalformedPolicyDocument".to_owned()))?;
        let others: usize =
            self.inline.iter().filter(|(key, _)| *key != name).map(|(_, text)| text.chars().count()).sum();
        if others + document.chars().count() > limit {
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

    /// Whether an inline policy ends one session that has this role, and no other.
    pub fn denies_session(&self, id: &SessionId) -> bool {
        let condition = serde_json::json!({"StringEquals": {"aws:SourceIdentity": id}});
        self.inline.values().any(|text| {
            let document: Value = serde_json::from_str(text).unwrap();
            document["Statement"].as_array().into_iter().flatten().any(|statement| {
                statement["Effect"] == "Deny"
                    && statement["Action"] == "*"
                    && statement["Resource"] == "*"
                    && statement["Condition"] == condition
            })
        })
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
pub(crate) fn judge(document: &str) -> Option<Judged> {
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

    /// A role or a user that is there, and seen.
    pub(crate) fn identity_mut(&mut self, principal: &Principal) -> Option<&mut Role> {
        match principal {
            Principal::Role(name) => self.role_mut(name.as_str()),
            Principal::User(name) => self.user_mut(name.as_str()),
            Principal::Policy(_) => None,
        }
    }

    /// What the function's own IAM policy refuses.
    pub(crate) fn may_be_made(call: &str, path: &str, boundary_arn: &str) -> Result<(), PortError> {
        let boundary = format!("{}sorry-boundary-", crate::world::SERVICE_POLICY_PREFIX);
        if path.starts_with(SESSION_PATH) && boundary_arn.starts_with(&boundary) {
            Ok(())
        } else {
            Err(PortError::Refused(format!("{call}: AccessDenied")))
        }
    }

    fn create_role(&mut self, plan: &RolePlan) -> Result<PrincipalCreated, PortError> {
        Self::may_be_made("CreateRole", &plan.path, &plan.boundary_arn)?;
        if !(3_600..=43_200).contains(&plan.max_session_seconds) {
            return Err(PortError::Refused("CreateRole: ValidationError".to_owned()));
        }
        if judge(&plan.trust_policy).is_none() {
            return Err(PortError::Refused("CreateRole: MalformedPolicyDocument".to_owned()));
        }
        if self.now < self.principals_known_from {
            return Err(PortError::UnknownPrincipal("CreateRole: Invalid principal in policy".to_owned()));
        }
        if self.roles.contains_key(plan.name.as_str()) {
            return Ok(PrincipalCreated::NameTaken);
        }
        let role = Role {
            unique_id: self.new_id("AROA"),
            trust_policy: plan.trust_policy.clone(),
            ..self.fresh(Role::new(&plan.path, plan.name.as_str()), &plan.boundary_arn, &plan.tags)
        };
        let created = PrincipalCreated::New(role.made("role"));
        self.judge_new_principal(&role);
        self.roles.insert(role.name.clone(), role);
        Ok(created)
    }

    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        self.principals_made += 1;
        format!("{prefix}{:017}", self.principals_made)
    }

    pub(crate) fn fresh(&self, bare: Role, boundary_arn: &str, tags: &[(&'static str, String)]) -> Role {
        Role {
            boundary_arn: Some(boundary_arn.to_owned()),
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            visible_from: self.visible_from(),
            ..bare
        }
    }

    pub(crate) fn visible_from(&self) -> Timestamp {
        self.now.checked_add(self.iam_lag_seconds.seconds()).unwrap()
    }

    fn delete_role(&mut self, name: &str) -> PrincipalDeleted {
        match self.role_mut(name) {
            Some(role) if !role.inline.is_empty() || !role.attached.is_empty() => PrincipalDeleted::NotEmpty,
            Some(_) => {
                self.roles.remove(name);
                PrincipalDeleted::Gone
            }
            None => PrincipalDeleted::Gone,
        }
    }

    fn look(&mut self, principal: &Principal) -> Option<PrincipalSeen> {
        if self.stale_reads > 0 {
            self.stale_reads -= 1;
            return None;
        }
        let kind = if matches!(principal, Principal::User(_)) { "user" } else { "role" };
        match principal {
            Principal::Policy(arn) => self.policy_seen(arn.as_str()),
            principal => self.identity_mut(principal).map(|role| PrincipalSeen {
                made: role.made(kind),
                session: role.session().map(str::to_owned),
            }),
        }
    }

    fn listed(&self) -> Vec<Principal> {
        let shown = |role: &&Role| role.visible_from <= self.now && role.path.starts_with(SESSION_PATH);
        let roles = self.roles.values().filter(shown).filter_map(|role| role.name.parse().ok());
        let users = self.users.values().filter(shown).filter_map(|user| user.name.parse().ok());
        let policies = self.policies.iter().filter(|(_, policy)| policy.visible_from <= self.now);
        roles
            .map(Principal::Role)
            .chain(users.map(Principal::User))
            .chain(policies.filter_map(|(arn, _)| arn.parse().ok()).map(Principal::Policy))
            .collect()
    }
}

impl PrincipalProvisioner for World {
    async fn create_role(&self, plan: &RolePlan) -> Result<PrincipalCreated, PortError> {
        let (about, plan) = (plan.name.to_string(), plan.clone());
        self.call("create_role", about, move |inner| inner.create_role(&plan)).await
    }

    async fn create_user(&self, plan: &UserPlan) -> Result<PrincipalCreated, PortError> {
        let (about, plan) = (plan.name.to_string(), plan.clone());
        self.call("create_user", about, move |inner| inner.create_user(&plan)).await
    }

    async fn create_policy(&self, plan: &PolicyPlan) -> Result<PrincipalCreated, PortError> {
        let (about, plan) = (plan.name.to_string(), plan.clone());
        self.call("create_policy", about, move |inner| inner.create_policy(&plan)).await
    }

    async fn attach_policy(&self, user: &RoleName, policy: &PolicyArn) -> Result<Presence, PortError> {
        let (user, policy) = (user.to_string(), policy.to_string());
        self.call("attach_policy", user.clone(), move |inner| Ok(inner.attach_to_user(&user, &policy))).await
    }

    async fn principal(&self, principal: &Principal) -> Result<Option<PrincipalSeen>, PortError> {
        let (port, principal) = (by_kind(principal, ["role", "user", "policy"]), principal.clone());
        self.call(port, principal.to_string(), move |inner| Ok(inner.look(&principal))).await
    }

    async fn put_inline_policy(
        &self,
        principal: &Principal,
        policy: &str,
        document: &str,
    ) -> Result<Presence, PortError> {
        let limit = match principal {
            Principal::User(_) => USER_INLINE_LIMIT,
            _ => INLINE_LIMIT,
        };
        let (principal, policy, document) = (principal.clone(), policy.to_owned(), document.to_owned());
        self.call("put_inline_policy", policy.clone(), move |inner| match inner.identity_mut(&principal) {
            Some(role) => role.put_within(limit, &policy, &document).map(|()| Presence::There),
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

    async fn inline_policies(&self, principal: &Principal) -> Result<Vec<String>, PortError> {
        let principal = principal.clone();
        self.call("inline_policies", principal.to_string(), move |inner| {
            let names = inner.identity_mut(&principal).map(|role| role.inline.keys().cloned().collect());
            Ok(names.unwrap_or_default())
        })
        .await
    }

    async fn delete_inline_policy(&self, principal: &Principal, policy: &str) -> Result<(), PortError> {
        let (principal, policy) = (principal.clone(), policy.to_owned());
        self.call("delete_inline_policy", policy.clone(), move |inner| {
            if let Some(role) = inner.identity_mut(&principal) {
                role.remove(&policy);
            }
            Ok(())
        })
        .await
    }

    async fn detach_all(&self, principal: &Principal) -> Result<(), PortError> {
        let principal = principal.clone();
        self.call("detach_all", principal.to_string(), move |inner| {
            if let Some(role) = inner.identity_mut(&principal) {
                role.attached.clear();
            }
            Ok(())
        })
        .await
    }

    async fn take_away(&self, user: &RoleName, belonging: Belonging) -> Result<(), PortError> {
        let user = user.to_string();
        self.call("take_away", format!("{belonging:?}"), move |inner| {
            inner.take_away(&user, belonging);
            Ok(())
        })
        .await
    }

    async fn delete(&self, principal: &Principal) -> Result<PrincipalDeleted, PortError> {
        let principal = principal.clone();
        let port = by_kind(&principal, ["delete_role", "delete_user", "delete_policy"]);
        self.call(port, principal.to_string(), move |inner| {
            Ok(match &principal {
                Principal::Role(name) => inner.delete_role(name.as_str()),
                Principal::User(name) => inner.delete_user(name.as_str()),
                Principal::Policy(arn) => inner.delete_policy(arn.as_str()),
            })
        })
        .await
    }

    async fn session_principals(&self) -> Result<Vec<Principal>, PortError> {
        self.call("session_principals", String::new(), |inner| Ok(inner.listed())).await
    }
}

fn by_kind(principal: &Principal, names: [&'static str; 3]) -> &'static str {
    let [role, user, policy] = names;
    match principal {
        Principal::Role(_) => role,
        Principal::User(_) => user,
        Principal::Policy(_) => policy,
    }
}

/// What a test does to IAM, or sees in it, past the service.
impl World {
    /// Whether credentials of this session can do anything at that moment: some role or user carries the session's tag, has a
    /// boundary, and its stored documents allow something and do not deny everything; or some credentials of a standing role do.
    pub fn access(&self, id: &SessionId, at: Timestamp) -> bool {
        let of_session = |role: &Role| {
            role.session() == Some(id.as_str()) && role.boundary_arn.is_some() && role.allows(at)
        };
        self.roles().iter().chain(&self.users()).any(of_session) || self.inner().standing_access(id, at)
    }

    /// Whether the session's owner can get credentials at that moment, and they can do something.
    pub fn usable(&self, id: &SessionId, at: Timestamp) -> bool {
        let Some(row) = self.row(id) else { return false };
        match row.grant {
            Grant::Role => {
                let mine = |role: &Role| role.session() == Some(id.as_str()) && role.can_be_assumed(at);
                self.access(id, at) && self.roles().iter().any(mine)
            }
            Grant::User => self.access(id, at),
            Grant::Standing => {
                at < row.expires_at
                    && self.standing_roles().iter().any(|role| {
                        role.name == row.role_name.as_str() && role.allows(at) && !role.denies_session(id)
                    })
            }
        }
    }

    /// All roles, wherever they are, but for those that stand ready.
    pub fn roles(&self) -> Vec<Role> {
        self.inner().roles.values().filter(|role| role.path != STANDING_PATH).cloned().collect()
    }

    /// The roles that stand ready.
    pub fn standing_roles(&self) -> Vec<Role> {
        self.inner().roles.values().filter(|role| role.path == STANDING_PATH).cloned().collect()
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
