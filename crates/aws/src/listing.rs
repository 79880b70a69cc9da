//! All that is under `/sorry/session/`, page by page.

use aws_sdk_iam::{Client, types::PolicyScopeType};
use sorry_session::{Principal, ports::PortError, provision::SESSION_PATH};

use crate::errors::port_error;

/// Roles, users and managed policies, one kind after the other: users before policies, as a user is made before its own.
pub(crate) async fn session_principals(client: &Client) -> Result<Vec<Principal>, PortError> {
    let mut listed = Vec::new();
    let mut pages = client.list_roles().path_prefix(SESSION_PATH).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| port_error("ListRoles", &error))?;
        listed.extend(page.roles().iter().filter_map(|role| known(role.role_name())));
    }
    let mut pages = client.list_users().path_prefix(SESSION_PATH).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| port_error("ListUsers", &error))?;
        listed.extend(page.users().iter().filter_map(|user| known(&format!("user/{}", user.user_name()))));
    }
    let call = client.list_policies().scope(PolicyScopeType::Local).path_prefix(SESSION_PATH);
    let mut pages = call.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| port_error("ListPolicies", &error))?;
        listed.extend(page.policies().iter().filter_map(|policy| known(policy.arn().unwrap_or_default())));
    }
    Ok(listed)
}

/// A name that this service gives. Another is somebody else's, and not to be touched without a look.
fn known(name: &str) -> Option<Principal> {
    let parsed = name.parse().ok();
    if parsed.is_none() {
        tracing::warn!(name, "a foreign name under the session path");
    }
    parsed
}
