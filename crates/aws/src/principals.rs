//! Session principals in IAM.

use std::time::Duration;

use aws_sdk_iam::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::DateTime,
    types::Tag,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use jiff::Timestamp;
use sorry_policy::{PolicyArn, RoleName};
use sorry_session::{
    ports::{
        Clock, PortError, Presence, PrincipalCreated, PrincipalDeleted, PrincipalProvisioner, PrincipalSeen,
    },
    principal::{Belonging, Principal},
    provision::{PolicyPlan, RolePlan, SESSION_TAG, UserPlan},
    session::CreatedPrincipal,
};

use crate::{
    belongings::take_away,
    clock::SystemClock,
    errors::{code, port_error},
    listing,
};

const NO_SUCH_ENTITY: &str = "NoSuchEntity";
const ACCESS_DENIED: &str = "AccessDenied";
/// How long IAM may contradict itself about a new role. The workflow's own tries last about as long, so that a call that is refused
/// for good is named so in the end.
const PROPAGATION: Duration = Duration::from_secs(10);

/// Roles, users and policies under `/sorry/session/`, and what is written on standing roles.
#[derive(Clone, Debug)]
pub struct IamPrincipals {
    client: Client,
}

/// Of a principal, what looking at it tells.
struct Looked {
    seen: PrincipalSeen,
    created: Option<DateTime>,
}

impl IamPrincipals {
    /// IAM of the function's own account.
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        Self { client: Client::new(config) }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether an error means that the principal, or what it should have had, is gone.
    ///
    /// IAM authorises a call on a role or user that does not exist against an ARN without its path, which the function's policy
    /// does not allow: it is then refused and not "no such entity". Looking at it (allowed by its name) tells the two apart.
    ///
    /// For some seconds after it was made, one part of IAM shows it and another refuses calls on it for the same reason. That
    /// is not for good: it is answered as such, and tried again.
    async fn is_gone<E: ProvideErrorMetadata>(
        &self,
        call: &str,
        principal: &Principal,
        error: &SdkError<E, HttpResponse>,
    ) -> Result<bool, PortError> {
        match code(error) {
            Some(NO_SUCH_ENTITY) => Ok(true),
            Some(ACCESS_DENIED) => match self.look(principal).await? {
                None => Ok(true),
                Some(looked) if looked.created.is_some_and(|at| is_fresh(&at, SystemClock.now())) => {
                    let message = error.as_service_error().and_then(|error| error.message());
                    Err(PortError::Unavailable(format!(
                        "{call}: {ACCESS_DENIED} on what was made a moment ago: {}",
                        message.unwrap_or("no message")
                    )))
                }
                Some(_) => Ok(false),
            },
            _ => Ok(false),
        }
    }

    async fn look(&self, principal: &Principal) -> Result<Option<Looked>, PortError> {
        let looked = match principal {
            Principal::Role(name) => {
                let answer = self.client.get_role().role_name(name.as_str()).send().await;
                existing("GetRole", answer)?.and_then(|answer| answer.role).map(|role| Looked {
                    seen: seen(role.arn(), role.role_id(), role.tags()),
                    created: Some(*role.create_date()),
                })
            }
            Principal::User(name) => {
                let answer = self.client.get_user().user_name(name.as_str()).send().await;
                existing("GetUser", answer)?.and_then(|answer| answer.user).map(|user| Looked {
                    seen: seen(user.arn(), user.user_id(), user.tags()),
                    created: Some(*user.create_date()),
                })
            }
            Principal::Policy(arn) => {
                let answer = self.client.get_policy().policy_arn(arn.as_str()).send().await;
                existing("GetPolicy", answer)?.and_then(|answer| answer.policy).map(|policy| Looked {
                    seen: seen(
                        policy.arn().unwrap_or_default(),
                        policy.policy_id().unwrap_or_default(),
                        policy.tags(),
                    ),
                    created: policy.create_date().copied(),
                })
            }
        };
        Ok(looked)
    }

    /// The answer of a call on a principal that may be gone; `None` if it is.
    pub(crate) async fn unless_gone<T, E: ProvideErrorMetadata>(
        &self,
        call: &str,
        principal: &Principal,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<Option<T>, PortError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.is_gone(call, principal, &error).await? => Ok(None),
            Err(error) => Err(port_error(call, &error)),
        }
    }

    /// Takes a policy away; its versions first, as IAM wants it.
    async fn delete_policy(
        &self,
        principal: &Principal,
        arn: &PolicyArn,
    ) -> Result<PrincipalDeleted, PortError> {
        let listed = self.client.list_policy_versions().policy_arn(arn.as_str()).send().await;
        let listed = self.unless_gone("ListPolicyVersions", principal, listed).await?;
        let versions = listed.iter().flat_map(|answer| answer.versions());
        for version in versions.filter(|version| !version.is_default_version()) {
            let call = self.client.delete_policy_version().policy_arn(arn.as_str());
            let answer = call.set_version_id(version.version_id.clone()).send().await;
            self.unless_gone("DeletePolicyVersion", principal, answer).await?;
        }
        let answer = self.client.delete_policy().policy_arn(arn.as_str()).send().await;
        self.deleted("DeletePolicy", principal, answer).await
    }

    async fn deleted<T, E: ProvideErrorMetadata>(
        &self,
        call: &str,
        principal: &Principal,
        answer: Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<PrincipalDeleted, PortError> {
        match answer {
            Err(error) if code(&error) == Some("DeleteConflict") => Ok(PrincipalDeleted::NotEmpty),
            answer => self.unless_gone(call, principal, answer).await.map(|_| PrincipalDeleted::Gone),
        }
    }

    async fn role_policies(&self, role: &Principal, name: &str) -> Result<Vec<String>, PortError> {
        // IAM may end a page before it is full.
        let pages = self.client.list_role_policies().role_name(name).into_paginator().items().send();
        let names = self.unless_gone("ListRolePolicies", role, pages.collect().await).await?;
        Ok(names.unwrap_or_default())
    }

    async fn detach_from_role(&self, role: &Principal, name: &str) -> Result<(), PortError> {
        // One page each: a role takes at most 20 attached policies and one instance profile.
        let attached = self.client.list_attached_role_policies().role_name(name).send().await;
        let attached = self.unless_gone("ListAttachedRolePolicies", role, attached).await?;
        for policy in attached.iter().flat_map(|answer| answer.attached_policies()) {
            let call =
                self.client.detach_role_policy().role_name(name).set_policy_arn(policy.policy_arn.clone());
            self.unless_gone("DetachRolePolicy", role, call.send().await).await?;
        }
        let profiles = self.client.list_instance_profiles_for_role().role_name(name).send().await;
        let profiles = self.unless_gone("ListInstanceProfilesForRole", role, profiles).await?;
        for profile in profiles.iter().flat_map(|answer| answer.instance_profiles()) {
            let call = self.client.remove_role_from_instance_profile();
            let call = call.instance_profile_name(profile.instance_profile_name()).role_name(name);
            self.unless_gone("RemoveRoleFromInstanceProfile", role, call.send().await).await?;
        }
        Ok(())
    }

    async fn detach_from_user(&self, user: &Principal, name: &str) -> Result<(), PortError> {
        // One page: a user takes at most 20 attached policies.
        let attached = self.client.list_attached_user_policies().user_name(name).send().await;
        let attached = self.unless_gone("ListAttachedUserPolicies", user, attached).await?;
        for policy in attached.iter().flat_map(|answer| answer.attached_policies()) {
            let call =
                self.client.detach_user_policy().user_name(name).set_policy_arn(policy.policy_arn.clone());
            self.unless_gone("DetachUserPolicy", user, call.send().await).await?;
        }
        Ok(())
    }
}

/// Whether something was made so lately that IAM may refuse what it will allow.
fn is_fresh(created: &DateTime, now: Timestamp) -> bool {
    now.as_second().saturating_sub(created.secs()).unsigned_abs() < PROPAGATION.as_secs()
}

fn seen(arn: &str, unique_id: &str, tags: &[Tag]) -> PrincipalSeen {
    PrincipalSeen {
        made: CreatedPrincipal { arn: arn.to_owned(), unique_id: unique_id.to_owned() },
        session: tags.iter().find(|tag| tag.key() == SESSION_TAG).map(|tag| tag.value().to_owned()),
    }
}

/// The answer to a look; `None` if there is no such thing.
fn existing<T, E: ProvideErrorMetadata>(
    call: &str,
    answer: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Option<T>, PortError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if code(&error) == Some(NO_SUCH_ENTITY) => Ok(None),
        Err(error) => Err(port_error(call, &error)),
    }
}

fn tags(call: &str, tags: &[(&'static str, String)]) -> Result<Option<Vec<Tag>>, PortError> {
    let tags: Result<Vec<_>, _> =
        tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build()).collect();
    tags.map(Some).map_err(|error| PortError::Refused(format!("{call}: {error}")))
}

/// What a creation came to: ids of the new, or that the name is taken.
fn created<T: RequestId, E: ProvideErrorMetadata>(
    call: &str,
    name: &RoleName,
    answer: Result<T, SdkError<E, HttpResponse>>,
    ids: impl Fn(&T) -> Option<(String, String)>,
) -> Result<PrincipalCreated, PortError> {
    match answer {
        Ok(answer) => {
            // Not `request_id`: that is the function's own, on every line.
            tracing::info!(iam_request_id = answer.request_id(), call, %name, "created");
            let (arn, unique_id) =
                ids(&answer).ok_or_else(|| PortError::Unreadable(format!("{call}: an empty answer")))?;
            Ok(PrincipalCreated::New(CreatedPrincipal { arn, unique_id }))
        }
        Err(error) if code(&error) == Some("EntityAlreadyExists") => Ok(PrincipalCreated::NameTaken),
        Err(error) => Err(port_error(call, &error)),
    }
}

fn no_inline(arn: &PolicyArn) -> PortError {
    PortError::Refused(format!("`{arn}` is a policy, and has none"))
}

impl PrincipalProvisioner for IamPrincipals {
    async fn create_role(&self, plan: &RolePlan) -> Result<PrincipalCreated, PortError> {
        let call = self
            .client
            .create_role()
            .role_name(plan.name.as_str())
            .path(&plan.path)
            .assume_role_policy_document(&plan.trust_policy)
            .permissions_boundary(&plan.boundary_arn)
            .max_session_duration(plan.max_session_seconds)
            .description(&plan.description)
            .set_tags(tags("CreateRole", &plan.tags)?);
        created("CreateRole", &plan.name, call.send().await, |answer| {
            answer.role().map(|role| (role.arn().to_owned(), role.role_id().to_owned()))
        })
    }

    async fn create_user(&self, plan: &UserPlan) -> Result<PrincipalCreated, PortError> {
        let call = self
            .client
            .create_user()
            .user_name(plan.name.as_str())
            .path(&plan.path)
            .permissions_boundary(&plan.boundary_arn)
            .set_tags(tags("CreateUser", &plan.tags)?);
        created("CreateUser", &plan.name, call.send().await, |answer| {
            answer.user().map(|user| (user.arn().to_owned(), user.user_id().to_owned()))
        })
    }

    async fn create_policy(&self, plan: &PolicyPlan) -> Result<PrincipalCreated, PortError> {
        let call = self
            .client
            .create_policy()
            .policy_name(plan.name.as_str())
            .path(&plan.path)
            .policy_document(&plan.document)
            .set_tags(tags("CreatePolicy", &plan.tags)?);
        created("CreatePolicy", &plan.name, call.send().await, |answer| {
            let policy = answer.policy()?;
            Some((policy.arn()?.to_owned(), policy.policy_id()?.to_owned()))
        })
    }

    async fn attach_policy(&self, user: &RoleName, policy: &PolicyArn) -> Result<Presence, PortError> {
        let answer = self
            .client
            .attach_user_policy()
            .user_name(user.as_str())
            .policy_arn(policy.as_str())
            .send()
            .await;
        let user = Principal::User(user.clone());
        let answer = self.unless_gone("AttachUserPolicy", &user, answer).await?;
        Ok(if answer.is_some() { Presence::There } else { Presence::Gone })
    }

    async fn principal(&self, principal: &Principal) -> Result<Option<PrincipalSeen>, PortError> {
        Ok(self.look(principal).await?.map(|looked| looked.seen))
    }

    async fn put_inline_policy(
        &self,
        principal: &Principal,
        policy: &str,
        document: &str,
    ) -> Result<Presence, PortError> {
        let there = match principal {
            Principal::Role(name) => {
                let call = self.client.put_role_policy().role_name(name.as_str());
                let answer = call.policy_name(policy).policy_document(document).send().await;
                self.unless_gone("PutRolePolicy", principal, answer).await?.is_some()
            }
            Principal::User(name) => {
                let call = self.client.put_user_policy().user_name(name.as_str());
                let answer = call.policy_name(policy).policy_document(document).send().await;
                self.unless_gone("PutUserPolicy", principal, answer).await?.is_some()
            }
            Principal::Policy(arn) => return Err(no_inline(arn)),
        };
        Ok(if there { Presence::There } else { Presence::Gone })
    }

    async fn put_trust_policy(&self, role: &RoleName, document: &str) -> Result<Presence, PortError> {
        let call = self.client.update_assume_role_policy().role_name(role.as_str()).policy_document(document);
        let role = Principal::Role(role.clone());
        let answer = self.unless_gone("UpdateAssumeRolePolicy", &role, call.send().await).await?;
        Ok(if answer.is_some() { Presence::There } else { Presence::Gone })
    }

    async fn inline_policies(&self, principal: &Principal) -> Result<Vec<String>, PortError> {
        match principal {
            Principal::Role(name) => self.role_policies(principal, name.as_str()).await,
            Principal::User(name) => {
                let answer = self.client.list_user_policies().user_name(name.as_str()).send().await;
                let answer = self.unless_gone("ListUserPolicies", principal, answer).await?;
                Ok(answer.map(|answer| answer.policy_names().to_vec()).unwrap_or_default())
            }
            Principal::Policy(arn) => Err(no_inline(arn)),
        }
    }

    async fn delete_inline_policy(&self, principal: &Principal, policy: &str) -> Result<(), PortError> {
        match principal {
            Principal::Role(name) => {
                let call = self.client.delete_role_policy().role_name(name.as_str()).policy_name(policy);
                self.unless_gone("DeleteRolePolicy", principal, call.send().await).await.map(|_| ())
            }
            Principal::User(name) => {
                let call = self.client.delete_user_policy().user_name(name.as_str()).policy_name(policy);
                self.unless_gone("DeleteUserPolicy", principal, call.send().await).await.map(|_| ())
            }
            Principal::Policy(arn) => Err(no_inline(arn)),
        }
    }

    async fn detach_all(&self, principal: &Principal) -> Result<(), PortError> {
        match principal {
            Principal::Role(name) => self.detach_from_role(principal, name.as_str()).await,
            Principal::User(name) => self.detach_from_user(principal, name.as_str()).await,
            Principal::Policy(arn) => Err(no_inline(arn)),
        }
    }

    async fn take_away(&self, user: &RoleName, belonging: Belonging) -> Result<(), PortError> {
        take_away(self, user, belonging).await
    }

    async fn delete(&self, principal: &Principal) -> Result<PrincipalDeleted, PortError> {
        match principal {
            Principal::Role(name) => {
                let answer = self.client.delete_role().role_name(name.as_str()).send().await;
                self.deleted("DeleteRole", principal, answer).await
            }
            Principal::User(name) => {
                let answer = self.client.delete_user().user_name(name.as_str()).send().await;
                self.deleted("DeleteUser", principal, answer).await
            }
            Principal::Policy(arn) => self.delete_policy(principal, arn).await,
        }
    }

    async fn session_principals(&self) -> Result<Vec<Principal>, PortError> {
        listing::session_principals(&self.client).await
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
