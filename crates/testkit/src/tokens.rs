//! Credentials that the service makes: what STS handed out, and whether it can still do anything.

use jiff::{Timestamp, ToSpan};
use secrecy::{ExposeSecret, SecretString};
use sorry_policy::{RoleName, SessionId};
use sorry_session::{
    ports::{AccessKey, LentCredentials, PortError, TokenIssuer, Tokens},
    provision::{STANDING_PATH, StandingPlan},
};

use crate::{Role, World, iam::judge, world::Inner};

/// Most characters of a session policy. Source: IAM and STS quotas, "Session policies".
const SESSION_LIMIT: usize = 2_048;

/// Credentials of a standing role that are out.
#[derive(Clone, Debug)]
pub(crate) struct StandingToken {
    role: String,
    source_identity: SessionId,
    session_policy: String,
    expires_at: Timestamp,
}

/// The standing role of the built-in tier.
pub(crate) fn standing_role() -> Role {
    let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    Role {
        boundary_arn: Some(format!("{}sorry-boundary-break-glass", crate::world::SERVICE_POLICY_PREFIX)),
        ..Role::new(STANDING_PATH, "sorry-standing-break-glass").with_policy("access", allow)
    }
}

impl Inner {
    /// Whether any credentials of a standing role that carry this session can do something at that moment.
    pub(crate) fn standing_access(&self, id: &SessionId, at: Timestamp) -> bool {
        self.standing_tokens.iter().filter(|token| token.source_identity == *id).any(|token| {
            let policy = judge(&token.session_policy).unwrap();
            let ended = policy.denies_all_from.is_some_and(|from| at >= from);
            let role = self.roles.get(&token.role);
            at < token.expires_at
                && policy.allows
                && !ended
                && role.is_some_and(|role| role.allows(at) && !role.denies_session(id))
        })
    }

    /// The sessions that credentials of standing roles were made for.
    pub(crate) fn sessions_of_tokens(&self) -> Vec<SessionId> {
        self.standing_tokens.iter().map(|token| token.source_identity.clone()).collect()
    }

    fn create_key(&mut self, user: &str) -> Result<Option<String>, PortError> {
        if self.user_mut(user).is_none() {
            return Ok(None);
        }
        if self.keys_of_users.values().filter(|(owner, _)| owner == user).count() >= 2 {
            return Err(PortError::Refused("CreateAccessKey: LimitExceeded".to_owned()));
        }
        self.secrets_made = true;
        let id = self.new_id("AKIA");
        let known_from = self.now.checked_add(self.key_lag_seconds.seconds()).unwrap();
        self.keys_of_users.insert(id.clone(), (user.to_owned(), known_from));
        Ok(Some(id))
    }

    fn lend(&mut self, seconds: i32) -> Result<LentCredentials, PortError> {
        if !(900..=129_600).contains(&seconds) {
            return Err(PortError::Refused("ValidationError: DurationSeconds".to_owned()));
        }
        self.secrets_made = true;
        let access_key_id = self.new_id("ASIA");
        Ok(LentCredentials {
            secret_access_key: SecretString::from(format!("secret-of-{access_key_id}")),
            session_token: SecretString::from(format!("token-of-{access_key_id}")),
            access_key_id,
            expires_at: self.now.checked_add(i64::from(seconds).seconds()).unwrap(),
        })
    }
}

impl TokenIssuer for World {
    async fn create_key(&self, user: &RoleName) -> Result<Option<AccessKey>, PortError> {
        let user = user.to_string();
        let id = self.call("create_key", user.clone(), move |inner| inner.create_key(&user)).await?;
        Ok(id.map(|id| AccessKey { secret: SecretString::from(format!("secret-of-{id}")), id }))
    }

    async fn delete_key(&self, user: &RoleName, id: &str) -> Result<(), PortError> {
        let (user, id) = (user.to_string(), id.to_owned());
        self.call("delete_key", user, move |inner| {
            let unknown = || PortError::Refused("DeleteAccessKey: NoSuchEntity".to_owned());
            inner.keys_of_users.remove(&id).map(drop).ok_or_else(unknown)
        })
        .await
    }

    async fn session_token(&self, key: &AccessKey, seconds: i32) -> Result<Tokens, PortError> {
        let (id, secret) = (key.id.clone(), key.secret.expose_secret().to_owned());
        self.call("session_token", String::new(), move |inner| {
            let now = inner.now;
            let known = inner.keys_of_users.get(&id).is_some_and(|(_, known_from)| *known_from <= now);
            if !known || secret != format!("secret-of-{id}") {
                return Ok(Tokens::NotYet);
            }
            inner.lend(seconds).map(Tokens::Lent)
        })
        .await
    }

    async fn assume_standing(&self, plan: &StandingPlan, seconds: i32) -> Result<LentCredentials, PortError> {
        let plan = plan.clone();
        self.call("assume_standing", plan.name.to_string(), move |inner| {
            let name = plan.name.to_string();
            if inner.roles.get(&name).is_none_or(|role| role.path != STANDING_PATH) {
                return Err(PortError::Refused("AssumeRole: AccessDenied".to_owned()));
            }
            if plan.session_policy.chars().count() > SESSION_LIMIT || seconds > 3_600 {
                return Err(PortError::Refused("AssumeRole: ValidationError".to_owned()));
            }
            let lent = inner.lend(seconds)?;
            inner.standing_tokens.push(StandingToken {
                role: name,
                source_identity: plan.source_identity,
                session_policy: plan.session_policy,
                expires_at: lent.expires_at,
            });
            Ok(lent)
        })
        .await
    }
}

/// What a test sets of STS.
impl World {
    /// How long STS takes to know a new access key.
    pub fn set_key_lag(&self, seconds: i64) {
        self.inner().key_lag_seconds = seconds;
    }

    /// Whether a key or credentials were ever made, so that there could be a secret in what is written.
    pub fn secrets_were_made(&self) -> bool {
        self.inner().secrets_made
    }

    /// Everything that is stored or told, as text: rows in all their versions, audit records, events, alerts, inputs of workflows.
    pub fn everything_written(&self) -> String {
        let inner = self.inner();
        let rows: Vec<_> = inner.rows.values().flatten().map(|(_, session)| session).collect();
        let audit: Vec<_> = inner.audit.values().collect();
        let starts: Vec<_> = inner.starts.iter().map(|start| &start.input).collect();
        serde_json::json!({
            "rows": rows, "audit": audit, "events": inner.published, "alerts": inner.alerts, "starts": starts,
        })
        .to_string()
    }
}
