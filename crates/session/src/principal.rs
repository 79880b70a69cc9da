//! What the service makes in IAM for sessions, by its kind and name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sorry_policy::{Grant, NameError, PolicyArn, RoleName};

use crate::Session;

/// Something in IAM that belongs to a session. As text it is a role's plain name, `user/<name>`, or a policy's ARN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Principal {
    /// A role.
    Role(RoleName),
    /// A user.
    User(RoleName),
    /// A managed policy under `/sorry/session/`. It is made and removed with the user that it is attached to.
    Policy(PolicyArn),
}

impl Principal {
    /// All that is, or would be, made in IAM for a session: what gives access first.
    pub fn of(session: &Session) -> Vec<Self> {
        let name = session.role_name.clone();
        match session.grant {
            Grant::Role => vec![Self::Role(name)],
            Grant::User => {
                let policy = session.policy_arn().map(Self::Policy);
                [Self::User(name)].into_iter().chain(policy).collect()
            }
            // It stands, whatever becomes of the session.
            Grant::Standing => Vec::new(),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(name) => write!(formatter, "{name}"),
            Self::User(name) => write!(formatter, "user/{name}"),
            Self::Policy(arn) => write!(formatter, "{arn}"),
        }
    }
}

impl FromStr for Principal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("user/") {
            Some(name) => name.parse().map(Self::User),
            None if text.starts_with("arn:") => text.parse().map(Self::Policy),
            None => text.parse().map(Self::Role),
        }
    }
}

impl TryFrom<String> for Principal {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.to_string()
    }
}

impl From<RoleName> for Principal {
    fn from(name: RoleName) -> Self {
        Self::Role(name)
    }
}

/// What a person, or a part of the service, may have given to a session's user, and without which IAM does not delete one.
/// Source: IAM API Reference, DeleteUser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belonging {
    /// Access keys: the service makes one whenever it issues credentials, and deletes it again.
    AccessKeys,
    /// A password for the console.
    LoginProfile,
    /// MFA devices.
    MfaDevices,
    /// SSH public keys.
    SshPublicKeys,
    /// Signing certificates.
    SigningCertificates,
    /// Credentials of single services.
    ServiceCredentials,
    /// Memberships in groups.
    Groups,
}

impl Belonging {
    /// All of them: what opens doors first.
    pub const ALL: [Self; 7] = [
        Self::AccessKeys,
        Self::LoginProfile,
        Self::SshPublicKeys,
        Self::SigningCertificates,
        Self::ServiceCredentials,
        Self::MfaDevices,
        Self::Groups,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::tests::requested;

    #[test]
    fn a_principal_is_read_as_it_was_written_and_nothing_else_is() {
        let session = Session { grant: Grant::User, ..requested() };
        let of_user = Principal::of(&session);
        assert_eq!(of_user.len(), 2);
        let policy = format!("arn:aws:iam::123456789012:policy/sorry/session/sue/{}", session.role_name);
        assert_eq!(of_user.get(1).map(ToString::to_string), Some(policy));
        for principal in of_user.into_iter().chain(Principal::of(&requested())) {
            assert_eq!(principal.to_string().parse(), Ok(principal));
        }
        for garbage in ["user/", "arn:aws:iam::aws:policy/AdministratorAccess", "role/x", "User/x", ""] {
            assert!(garbage.parse::<Principal>().is_err(), "{garbage}");
        }
        let standing = Session { grant: Grant::Standing, ..requested() };
        assert_eq!(Principal::of(&standing), []);
    }
}
