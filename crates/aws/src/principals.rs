//! Session principals in IAM.

use std::time::Duration;

use aws_sdk_iam::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::DateTime,
    types::{Role, Tag},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use jiff::Timestamp;
use sorry_policy::RoleName;
use sorry_session::{
    ports::{Clock, PortError, Presence, PrincipalProvisioner, RoleCreated, RoleDeleted, RoleSeen},
    provision::{RolePlan, SESSION_PATH, SESSION_TAG},
    session::CreatedRole,
};

use crate::{
    clock::SystemClock,
    errors::{code, port_error},
};

const NO_SUCH_ENTITY: &str = "NoSuchEntity";
const ACCESS_DENIED: &str = "AccessDenied";
/// How long IAM may contradict itself about a new role. The workflow's own tries last about as long, so that a call that is refused
/// for good is named so in the end.
const PROPAGATION: Duration = Duration::from_secs(10);

/// Roles under `/sorry/session/`.
#[derive(Clone, Debug)]
pub struct IamPrincipals {
    client: Client,
}

impl IamPrincipals {
    /// IAM of the function's own account.
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    /// Whether an error means that the role is gone.
    ///
    /// IAM authorises a call on a role that does not exist against an ARN without its path, which the function's policy does not
    /// allow: it is then refused and not "no such entity". Looking at the role (allowed by its name) tells the two apart.
    ///
    /// For some seconds after a role was made, one part of IAM shows it and another refuses calls on it for the same reason. That
    /// is not for good: it is answered as such, and tried again.
    async fn is_gone<E: ProvideErrorMetadata>(
        &self,
        call: &str,
        role: &RoleName,
        error: &SdkError<E, HttpResponse>,
    ) -> Result<bool, PortError> {
        match code(error) {
            Some(NO_SUCH_ENTITY) => Ok(true),
            Some(ACCESS_DENIED) => match self.look(role).await? {
                None => Ok(true),
                Some(seen) if is_fresh(seen.create_date(), SystemClock.now()) => {
                    let message = error.as_service_error().and_then(|error| error.message());
                    Err(PortError::Unavailable(format!(
                        "{call}: {ACCESS_DENIED} on a role made a moment ago: {}",
                        message.unwrap_or("no message")
                    )))
                }
                Some(_) => Ok(false),
            },
            _ => Ok(false),
        }
    }

    async fn look(&self, name: &RoleName) -> Result<Option<Role>, PortError> {
        match self.client.get_role().role_name(name.as_str()).send().await {
            Ok(answer) => Ok(answer.role),
            Err(error) if code(&error) == Some(NO_SUCH_ENTITY) => Ok(None),
            Err(error) => Err(port_error("GetRole", &error)),
        }
    }

    /// The answer of a call on a role that may be gone; `None` if it is.
    async fn unless_gone<T, E: ProvideErrorMetadata>(
        &self,
        call: &str,
        role: &RoleName,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Option<T>, PortError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.is_gone(call, role, &error).await? => Ok(None),
            Err(error) => Err(port_error(call, &error)),
        }
    }
}

/// Whether a role was made so lately that IAM may refuse what it will allow.
fn is_fresh(created: &DateTime, now: Timestamp) -> bool {
    now.as_second().saturating_sub(created.secs()).unsigned_abs() < PROPAGATION.as_secs()
}

fn created(role: &Role) -> CreatedRole {
    CreatedRole { arn: role.arn().to_owned(), unique_id: role.role_id().to_owned() }
}

impl PrincipalProvisioner for IamPrincipals {
    async fn create_role(&self, plan: &RolePlan) -> Result<RoleCreated, PortError> {
        let tags: Result<Vec<_>, _> =
            plan.tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect();
        let tags = tags.map_err(|error| PortError::Refused(format!("CreateRole: {error}")))?;
        let call = self
            .client
            .create_role()
            .role_name(plan.name.as_str())
            .path(&plan.path)
            .assume_role_policy_document(&plan.trust_policy)
            .permissions_boundary(&plan.boundary_arn)
            .max_session_duration(plan.max_session_seconds)
            .description(&plan.description)
            .set_tags(Some(tags));
        match call.send().await {
            Ok(answer) => {
                // Not `request_id`: that is the function's own, on every line.
                tracing::info!(iam_request_id = answer.request_id(), role = %plan.name, "role created");
                let role = answer.role().map(created);
                role.map(RoleCreated::New)
                    .ok_or_else(|| PortError::Unreadable("CreateRole: no role".to_owned()))
            }
            Err(error) if code(&error) == Some("EntityAlreadyExists") => Ok(RoleCreated::NameTaken),
            Err(error) => Err(port_error("CreateRole", &error)),
        }
    }

    async fn role(&self, name: &RoleName) -> Result<Option<RoleSeen>, PortError> {
        let seen = self.look(name).await?;
        Ok(seen.map(|role| RoleSeen {
            role: created(&role),
            session: role
                .tags()
                .iter()
                .find(|tag| tag.key() == SESSION_TAG)
                .map(|tag| tag.value().to_owned()),
        }))
    }

    async fn put_inline_policy(
        &self,
        role: &RoleName,
        policy: &str,
        document: &str,
    ) -> Result<Presence, PortError> {
        let call = self
            .client
            .put_role_policy()
            .role_name(role.as_str())
            .policy_name(policy)
            .policy_document(document);
        let answer = self.unless_gone("PutRolePolicy", role, call.send().await).await?;
        Ok(if answer.is_some() { Presence::There } else { Presence::Gone })
    }

    async fn put_trust_policy(&self, role: &RoleName, document: &str) -> Result<Presence, PortError> {
        let call = self.client.update_assume_role_policy().role_name(role.as_str()).policy_document(document);
        let answer = self.unless_gone("UpdateAssumeRolePolicy", role, call.send().await).await?;
        Ok(if answer.is_some() { Presence::There } else { Presence::Gone })
    }

    async fn inline_policies(&self, role: &RoleName) -> Result<Vec<String>, PortError> {
        // One page: IAM lists 100 at a time, and the size of all inline policies together keeps them below that.
        let answer = self.client.list_role_policies().role_name(role.as_str()).send().await;
        let answer = self.unless_gone("ListRolePolicies", role, answer).await?;
        Ok(answer.map(|answer| answer.policy_names().to_vec()).unwrap_or_default())
    }

    async fn delete_inline_policy(&self, role: &RoleName, policy: &str) -> Result<(), PortError> {
        let answer =
            self.client.delete_role_policy().role_name(role.as_str()).policy_name(policy).send().await;
        self.unless_gone("DeleteRolePolicy", role, answer).await.map(|_| ())
    }

    async fn detach_all(&self, role: &RoleName) -> Result<(), PortError> {
        // One page each: a role takes at most 20 attached policies and one instance profile.
        let attached = self.client.list_attached_role_policies().role_name(role.as_str()).send().await;
        let attached = self.unless_gone("ListAttachedRolePolicies", role, attached).await?;
        for policy in attached.iter().flat_map(|answer| answer.attached_policies()) {
            let call = self
                .client
                .detach_role_policy()
                .role_name(role.as_str())
                .set_policy_arn(policy.policy_arn.clone());
            self.unless_gone("DetachRolePolicy", role, call.send().await).await?;
        }
        let profiles = self.client.list_instance_profiles_for_role().role_name(role.as_str()).send().await;
        let profiles = self.unless_gone("ListInstanceProfilesForRole", role, profiles).await?;
        for profile in profiles.iter().flat_map(|answer| answer.instance_profiles()) {
            let call = self.client.remove_role_from_instance_profile();
            let call = call.instance_profile_name(profile.instance_profile_name()).role_name(role.as_str());
            self.unless_gone("RemoveRoleFromInstanceProfile", role, call.send().await).await?;
        }
        Ok(())
    }

    async fn delete_role(&self, role: &RoleName) -> Result<RoleDeleted, PortError> {
        match self.client.delete_role().role_name(role.as_str()).send().await {
            Err(error) if code(&error) == Some("DeleteConflict") => Ok(RoleDeleted::NotEmpty),
            answer => self.unless_gone("DeleteRole", role, answer).await.map(|_| RoleDeleted::Gone),
        }
    }

    async fn session_roles(&self) -> Result<Vec<RoleName>, PortError> {
        let mut pages = self.client.list_roles().path_prefix(SESSION_PATH).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            for role in page.map_err(|error| port_error("ListRoles", &error))?.roles() {
                match role.role_name().parse() {
                    Ok(name) => names.push(name),
                    // Not a name that this service gives: somebody else's, and not to be touched without a look.
                    Err(_) => tracing::warn!(
                        role = role.role_name(),
                        "a role under the session path has a foreign name"
                    ),
                }
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_for_good_once_the_role_is_no_longer_new() {
        let created = DateTime::from_secs(1_767_225_600);
        let now = |seconds: i64| Timestamp::from_second(1_767_225_600 + seconds).unwrap();
        for (seconds, fresh) in [(0, true), (9, true), (10, false), (3_600, false), (-3, true)] {
            assert_eq!(is_fresh(&created, now(seconds)), fresh, "{seconds}");
        }
    }
}
