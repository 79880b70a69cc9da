//! The IAM side of a caller: the user that `callers add` makes, with the callers' policy and nothing else.
//!
//! Order matters. The key comes last and is made only for a caller that the registry knows, so that whatever fails before leaves
//! no key behind; taking away goes the other way round.

use aws_sdk_iam::{
    Client,
    types::{Role, Tag, User},
};
use secrecy::SecretString;
use sorry_wire::{Namespace, PersonName};

use crate::{
    app::Aws,
    error::{CliError, Exit, Result},
    settings::sent_once,
};

/// Path of the users that this command makes, and of no others.
pub(super) const PATH: &str = "/sorry/caller/";
const NAMESPACE_TAG: &str = "sorry:namespace";
const PERSON_TAG: &str = "sorry:person";

/// Whom to register: what the gateway will see of their requests.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    pub(super) unique_id: String,
    pub(super) arn: String,
}

/// IAM, with the administrator's own credentials.
pub(super) struct Iam {
    pub(super) client: Client,
    partition: String,
    account: String,
}

/// A user as [`Iam::user`] left it.
#[derive(Debug)]
pub(super) struct CallerUser {
    pub(super) name: String,
    pub(super) principal: Principal,
    /// Whether this run made it.
    pub(super) made: bool,
}

impl Iam {
    pub(super) async fn new(aws: &Aws) -> Result<Self> {
        let identity = aws_sdk_sts::Client::new(&aws.sdk)
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| CliError::from_sdk("ask AWS who you are", &error))?;
        let odd = || CliError::failed("AWS did not say who you are");
        let arn = identity.arn().ok_or_else(odd)?;
        let mut parts = arn.split(':').skip(1);
        let partition = parts.next().ok_or_else(odd)?.to_owned();
        let account = identity.account().ok_or_else(odd)?.to_owned();
        Ok(Self { client: Client::new(&aws.sdk), partition, account })
    }

    /// The serial number of the MFA device that `callers add` makes for a user.
    pub(super) fn device_serial(&self, user: &str) -> String {
        format!("arn:{}:iam::{}:mfa{PATH}{user}", self.partition, self.account)
    }

    fn policy(&self) -> String {
        format!("arn:{}:iam::{}:policy/sorry/service/sorry-caller", self.partition, self.account)
    }

    /// The caller's user with its tags and policy: made, or completed if an earlier run made it.
    pub(super) async fn user(
        &self,
        name: &str,
        namespace: &Namespace,
        person: &PersonName,
    ) -> Result<CallerUser> {
        let tags = [tag(NAMESPACE_TAG, namespace.as_str())?, tag(PERSON_TAG, person.as_str())?];
        let (user, made) = match self.find(name).await? {
            Some(user) if user.path != PATH => {
                return Err(CliError::failed(format!("user `{name}` exists outside `{PATH}`")).hint(
                    "`--existing` registers it as it is, without a policy or a key; or choose another name",
                ));
            }
            Some(user) => {
                let now =
                    user.tags().iter().find(|tag| tag.key == NAMESPACE_TAG).map(|tag| tag.value.as_str());
                if let Some(other) = now.filter(|now| *now != namespace.as_str()) {
                    return Err(CliError::failed(format!("user `{name}` is in namespace `{other}`")).hint(
                        format!("namespaces are for good: `--namespace {other}`, or remove the caller first"),
                    ));
                }
                self.client
                    .tag_user()
                    .user_name(name)
                    .set_tags(Some(tags.to_vec()))
                    .send()
                    .await
                    .map_err(|error| CliError::from_sdk("tag the user", &error))?;
                (user, false)
            }
            None => {
                let made = self
                    .client
                    .create_user()
                    .user_name(name)
                    .path(PATH)
                    .set_tags(Some(tags.to_vec()))
                    .send()
                    .await;
                let made = made.map_err(|error| CliError::from_sdk("make the user", &error))?;
                let user = made.user.ok_or_else(|| CliError::failed("AWS did not say which user it made"))?;
                (user, true)
            }
        };
        let user = CallerUser {
            name: name.to_owned(),
            principal: Principal { unique_id: user.user_id, arn: user.arn },
            made,
        };
        let attached =
            self.client.attach_user_policy().user_name(name).policy_arn(self.policy()).send().await;
        if let Err(error) = attached {
            let error = CliError::from_sdk("attach the callers' policy `sorry-caller`", &error);
            return Err(self.undone(&user, error).await);
        }
        Ok(user)
    }

    /// Removes a user that this run made and that must not stay; `error` is why, and says what became of it.
    pub(super) async fn undone(&self, user: &CallerUser, error: CliError) -> CliError {
        if !user.made {
            return error;
        }
        let name = &user.name;
        // It never had a key: the policy and the user are all there is.
        let _ = self.client.detach_user_policy().user_name(name).policy_arn(self.policy()).send().await;
        let gone = self.client.delete_user().user_name(name).send().await.is_ok();
        let became = if gone {
            format!("the user `{name}` was removed again")
        } else {
            format!("the user `{name}` stays, without a key: running this again goes on with it")
        };
        error.also(became)
    }

    /// Whether the user has an access key.
    pub(super) async fn has_key(&self, name: &str) -> Result<bool> {
        Ok(!self.keys(name).await?.is_empty())
    }

    /// Makes an access key: its id and its secret, which AWS gives this once.
    pub(super) async fn make_key(&self, name: &str) -> Result<(String, SecretString)> {
        let before = self.keys(name).await?;
        let call = self.client.create_access_key().user_name(name).customize().config_override(sent_once());
        let made = match call.send().await {
            Ok(made) => made,
            Err(error) => {
                let is_over = error.as_service_error().is_some();
                let error = CliError::from_sdk("make an access key", &error);
                return Err(match self.delete_keys_but(name, &before).await {
                    Ok(()) if is_over => error,
                    // What got lost on the way may still arrive.
                    _ => error.also(format!(
                        "should there be a key in a minute, nobody has its secret: `aws iam list-access-keys --user-name {name}`"
                    )),
                });
            }
        };
        let key = made.access_key.ok_or_else(|| CliError::failed("AWS gave no access key"))?;
        Ok((key.access_key_id, SecretString::from(key.secret_access_key)))
    }

    /// Deletes the user's keys but for those.
    async fn delete_keys_but(&self, name: &str, known: &[String]) -> Result<()> {
        for key in self.keys(name).await?.iter().filter(|key| !known.contains(key)) {
            self.delete_key(name, key).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_key(&self, name: &str, key: &str) -> Result<()> {
        let deleted = self.client.delete_access_key().user_name(name).access_key_id(key).send().await;
        deleted.map(drop).map_err(|error| CliError::from_sdk("delete an access key", &error))
    }

    /// A principal that exists elsewhere: a user by name or ARN, a role's session or a whole role by ARN.
    pub(super) async fn existing(&self, name: &str) -> Result<Principal> {
        if let Some((_, role_and_session)) = name.split_once(":assumed-role/") {
            let (role, session) = role_and_session.split_once('/').ok_or_else(|| {
                CliError::usage(format!("`{name}` names no session"))
                    .hint("write the whole ARN, `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`: `sorry whoami` shows one's own")
            })?;
            let role = self.role(role).await?;
            return Ok(Principal { unique_id: format!("{}:{session}", role.role_id), arn: name.to_owned() });
        }
        if name.contains(":role/") {
            let role = self.role(user_name(name)).await?;
            if role.arn != name {
                return Err(CliError::new(Exit::NotFound, format!("there is no IAM role `{name}`"))
                    .hint(format!("the role of this name is `{}`", role.arn)));
            }
            return Ok(Principal { unique_id: role.role_id, arn: role.arn });
        }
        let user_name = user_name(name);
        let user = self.find(user_name).await?.ok_or_else(|| {
            CliError::new(Exit::NotFound, format!("there is no IAM user `{user_name}`"))
                .hint("without `--existing` it is made")
        })?;
        if name.starts_with("arn:") && user.arn != name {
            return Err(CliError::new(Exit::NotFound, format!("there is no IAM user `{name}`"))
                .hint(format!("the user of this name is `{}`", user.arn)));
        }
        Ok(Principal { unique_id: user.user_id, arn: user.arn })
    }

    async fn role(&self, name: &str) -> Result<Role> {
        let found = self.client.get_role().role_name(name).send().await;
        let found = found.map_err(|error| CliError::from_sdk(&format!("look at role `{name}`"), &error))?;
        found.role.ok_or_else(|| CliError::failed("AWS did not say which role it found"))
    }

    /// The user that `callers add` made, if there is one and, where an id is given, it is still that one.
    pub(super) async fn made_user(&self, name: &str, unique_id: Option<&str>) -> Result<Option<User>> {
        let user = self.find(name).await?;
        Ok(user.filter(|user| user.path == PATH && unique_id.is_none_or(|id| id == user.user_id)))
    }

    /// Removes a user with what `callers add` and its owner put on it. Source: what DeleteUser asks to be gone first.
    pub(super) async fn delete_user(&self, name: &str) -> Result<()> {
        self.delete_keys_but(name, &[]).await?;
        let devices = self.client.list_mfa_devices().user_name(name).send().await;
        let devices =
            devices.map_err(|error| CliError::from_sdk("look for the user's MFA devices", &error))?;
        for device in devices.mfa_devices {
            let serial = device.serial_number;
            let off = self.client.deactivate_mfa_device().user_name(name).serial_number(&serial).send().await;
            off.map_err(|error| CliError::from_sdk("switch off the user's MFA device", &error))?;
            if serial.contains(":mfa/") {
                let deleted = self.client.delete_virtual_mfa_device().serial_number(&serial).send().await;
                deleted.map_err(|error| CliError::from_sdk("delete the user's MFA device", &error))?;
            }
        }
        let policies = self.client.list_attached_user_policies().user_name(name).send().await;
        let policies =
            policies.map_err(|error| CliError::from_sdk("look for the user's policies", &error))?;
        for policy in
            policies.attached_policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn)
        {
            let off = self.client.detach_user_policy().user_name(name).policy_arn(policy).send().await;
            off.map_err(|error| CliError::from_sdk("detach the user's policy", &error))?;
        }
        let deleted = self.client.delete_user().user_name(name).send().await;
        deleted.map(drop).map_err(|error| CliError::from_sdk("delete the user", &error))
    }

    async fn keys(&self, name: &str) -> Result<Vec<String>> {
        let keys = self.client.list_access_keys().user_name(name).send().await;
        let keys = keys.map_err(|error| CliError::from_sdk("look for the user's access keys", &error))?;
        Ok(keys.access_key_metadata.into_iter().filter_map(|key| key.access_key_id).collect())
    }

    async fn find(&self, name: &str) -> Result<Option<User>> {
        match self.client.get_user().user_name(name).send().await {
            Ok(found) => Ok(found.user),
            Err(error)
                if error.as_service_error().is_some_and(|error| error.is_no_such_entity_exception()) =>
            {
                Ok(None)
            }
            Err(error) => Err(CliError::from_sdk(&format!("look at user `{name}`"), &error)),
        }
    }
}

/// The name at the end of a user's ARN, or the name itself.
pub(super) fn user_name(name_or_arn: &str) -> &str {
    name_or_arn.rsplit('/').next().unwrap_or(name_or_arn)
}

fn tag(key: &str, value: &str) -> Result<Tag> {
    Tag::builder()
        .key(key)
        .value(value)
        .build()
        .map_err(|error| CliError::new(Exit::Bug, format!("cannot make a tag: {error}")))
}
