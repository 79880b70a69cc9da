//! What IAM wants gone before it deletes a user. The service makes none of it but access keys; a person might have.
//!
//! One page of each list: a session's user is hours old, and IAM takes two keys, eight devices, five keys for SSH, two certificates,
//! two credentials for a service, and ten groups.

use aws_sdk_iam::Client;
use sorry_policy::RoleName;
use sorry_session::{
    ports::PortError,
    principal::{Belonging, Principal},
};

use crate::principals::IamPrincipals;

/// Takes all of a kind away; that there is none, or no such user, is no error.
pub(crate) async fn take_away(
    iam: &IamPrincipals,
    user: &RoleName,
    belonging: Belonging,
) -> Result<(), PortError> {
    let (client, principal, name) = (iam.client(), &Principal::User(user.clone()), user.as_str());
    match belonging {
        Belonging::AccessKeys => access_keys(iam, client, principal, name).await,
        Belonging::LoginProfile => {
            let answer = client.delete_login_profile().user_name(name).send().await;
            iam.unless_gone("DeleteLoginProfile", principal, answer).await.map(|_| ())
        }
        Belonging::MfaDevices => mfa_devices(iam, client, principal, name).await,
        Belonging::SshPublicKeys => ssh_public_keys(iam, client, principal, name).await,
        Belonging::SigningCertificates => signing_certificates(iam, client, principal, name).await,
        Belonging::ServiceCredentials => service_credentials(iam, client, principal, name).await,
        Belonging::Groups => groups(iam, client, principal, name).await,
    }
}

async fn access_keys(
    iam: &IamPrincipals,
    client: &Client,
    user: &Principal,
    name: &str,
) -> Result<(), PortError> {
    let answer = client.list_access_keys().user_name(name).send().await;
    let listed = iam.unless_gone("ListAccessKeys", user, answer).await?;
    for key in listed.iter().flat_map(|answer| answer.access_key_metadata()) {
        let call = client.delete_access_key().user_name(name).set_access_key_id(key.access_key_id.clone());
        iam.unless_gone("DeleteAccessKey", user, call.send().await).await?;
    }
    Ok(())
}

async fn mfa_devices(
    iam: &IamPrincipals,
    client: &Client,
    user: &Principal,
    name: &str,
) -> Result<(), PortError> {
    let answer = client.list_mfa_devices().user_name(name).send().await;
    let listed = iam.unless_gone("ListMFADevices", user, answer).await?;
    for device in listed.iter().flat_map(|answer| answer.mfa_devices()) {
        let call = client.deactivate_mfa_device().user_name(name).serial_number(device.serial_number());
        iam.unless_gone("DeactivateMFADevice", user, call.send().await).await?;
    }
    Ok(())
}

async fn ssh_public_keys(
    iam: &IamPrincipals,
    client: &Client,
    user: &Principal,
    name: &str,
) -> Result<(), PortError> {
    let answer = client.list_ssh_public_keys().user_name(name).send().await;
    let listed = iam.unless_gone("ListSSHPublicKeys", user, answer).await?;
    for key in listed.iter().flat_map(|answer| answer.ssh_public_keys()) {
        let call = client.delete_ssh_public_key().user_name(name).ssh_public_key_id(key.ssh_public_key_id());
        iam.unless_gone("DeleteSSHPublicKey", user, call.send().await).await?;
    }
    Ok(())
}

async fn signing_certificates(
    iam: &IamPrincipals,
    client: &Client,
    user: &Principal,
    name: &str,
) -> Result<(), PortError> {
    let answer = client.list_signing_certificates().user_name(name).send().await;
    let listed = iam.unless_gone("ListSigningCertificates", user, answer).await?;
    for certificate in listed.iter().flat_map(|answer| answer.certificates()) {
        let call = client.delete_signing_certificate().user_name(name);
        let answer = call.certificate_id(certificate.certificate_id()).send().await;
        iam.unless_gone("DeleteSigningCertificate", user, answer).await?;
    }
    Ok(())
}

async fn service_credentials(
    iam: &IamPrincipals,
    client: &Client,
    user: &Principal,
    name: &str,
) -> Result<(), PortError> {
    let answer = client.list_service_specific_credentials().user_name(name).send().await;
    let listed = iam.unless_gone("ListServiceSpecificCredentials", user, answer).await?;
    for credential in listed.iter().flat_map(|answer| answer.service_specific_credentials()) {
        let call = client.delete_service_specific_credential().user_name(name);
        let answer =
            call.service_specific_credential_id(credential.service_specific_credential_id()).send().await;
        iam.unless_gone("DeleteServiceSpecificCredential", user, answer).await?;
    }
    Ok(())
}

async fn groups(iam: &IamPrincipals, client: &Client, user: &Principal, name: &str) -> Result<(), PortError> {
    let answer = client.list_groups_for_user().user_name(name).send().await;
    let listed = iam.unless_gone("ListGroupsForUser", user, answer).await?;
    for group in listed.iter().flat_map(|answer| answer.groups()) {
        let call = client.remove_user_from_group().user_name(name).group_name(group.group_name());
        iam.unless_gone("RemoveUserFromGroup", user, call.send().await).await?;
    }
    Ok(())
}
