//! What administrators do about callers: register, list and remove them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sorry_policy::{SessionId, TierName, TierTable};
use sorry_session::{
    Actor, CallerEntry, ErrorCode, MfaBy, Refusal,
    events::{AuditRecord, ChangedBy, caller_event},
    ports::{Alerts, CallerWritten, Clock, EventBus, Registry, SessionStore, Workflow},
    tiers::in_force,
};
use sorry_wire::{CallerList, CallerRemoved, PutCaller};

use crate::{Api, ApiError, Request, Response, body, ok, view};

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn list_callers(&self, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let callers = self.registry.callers().await?.iter().map(view::caller).collect();
        ok(200, &CallerList { callers })
    }

    pub(crate) async fn put_caller(
        &self,
        id: &str,
        request: &Request,
        actor: &Actor,
    ) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let tiers = in_force(&self.registry).await?;
        let mut entry = self.entry(id, body(request)?, &tiers, actor)?;
        // To register a caller again is not to lift its suspension.
        let before = self.registry.caller(id).await?;
        entry.suspended = before.as_ref().and_then(|before| before.suspended.clone());
        self.write_caller(&entry, before.as_ref(), "caller.registered", actor).await?;
        ok(200, &view::caller(&entry))
    }

    /// Writes an entry in the place of the one that was read: no registration undoes a suspension that it has not seen, and nothing brings
    /// back what was removed. A removal takes away whatever entry there is.
    pub(crate) async fn write_caller(
        &self,
        entry: &CallerEntry,
        before: Option<&CallerEntry>,
        what: &str,
        actor: &Actor,
    ) -> Result<(), ApiError> {
        let audit = self.audit(entry, what, actor);
        let (message, hint) = match self.registry.put_caller(entry, before, &audit).await? {
            CallerWritten::Yes => {
                self.tell(&audit).await;
                return Ok(());
            }
            CallerWritten::NamespaceTaken => (
                format!("namespace `{}` belongs to somebody else than `{}`", entry.namespace, entry.person),
                "choose another namespace, or name the person whose it is with `--person`",
            ),
            CallerWritten::Superseded => (
                format!("caller `{}` was changed by somebody else at the same time", entry.unique_id),
                "look at it with `sorry admin callers list`, then ask again",
            ),
        };
        Err(Refusal::new(ErrorCode::Conflict, message, hint).into())
    }

    /// The entry goes first, so that nothing new can be asked for while what there is is being ended. Asked again after a failure
    /// half way, it goes on.
    pub(crate) async fn remove_caller(&self, id: &str, actor: &Actor) -> Result<Response, ApiError> {
        administrators_only(actor)?;
        let entry = self.registry.caller(id).await?;
        if let Some(entry) = &entry {
            let audit = self.audit(entry, "caller.removed", actor);
            self.registry.remove_caller(entry, &audit).await?;
            self.tell(&audit).await;
        }
        let ended = self.end_sessions_of(id, actor).await?;
        if entry.is_none() && ended.is_empty() {
            let hint = "`sorry admin callers list` shows them";
            return Err(Refusal::new(ErrorCode::NotFound, format!("there is no caller `{id}`"), hint).into());
        }
        ok(200, &CallerRemoved { caller: entry.as_ref().map(view::caller), ended })
    }

    /// Ends all sessions and pending requests of a caller. The list may be old: what was written while this looked, the sweep ends.
    pub(crate) async fn end_sessions_of(&self, id: &str, actor: &Actor) -> Result<Vec<SessionId>, ApiError> {
        let mut ended = Vec::new();
        for session in self.ports.store.unfinished().await? {
            if session.registration() == id && !session.state.is_over() {
                ended.push(self.end(session, actor).await?.session_id);
            }
        }
        Ok(ended)
    }

    fn entry(
        &self,
        unique_id: &str,
        wanted: PutCaller,
        known: &TierTable,
        actor: &Actor,
    ) -> Result<CallerEntry, Refusal> {
        check_principal(unique_id, &wanted.arn, self.place.account.as_str())?;
        self.check_proofs(unique_id, &wanted)?;
        let mut tiers = BTreeMap::new();
        for (name, hours) in wanted.tiers {
            let name: TierName = name.parse()?;
            let Some(tier) = known.tier(&name) else {
                let known: Vec<_> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
                let hint = format!("there are {}", known.join(", "));
                return Err(Refusal::new(ErrorCode::UnknownTier, format!("there is no tier `{name}`"), hint));
            };
            if !(1..=tier.maximum_hours).contains(&hours) {
                return Err(Refusal::new(
                    ErrorCode::InvalidInput,
                    format!("`{hours}` hours cannot be given of tier `{name}`"),
                    format!("give 1 to {}", tier.maximum_hours),
                ));
            }
            tiers.insert(name, hours);
        }
        if wanted.roles.is_empty() {
            return Err(Refusal::new(
                ErrorCode::InvalidInput,
                "a caller needs a role",
                "`caller`, `security` or `admin`",
            ));
        }
        Ok(CallerEntry {
            unique_id: unique_id.to_owned(),
            account: self.place.account.clone(),
            arn: wanted.arn,
            person: wanted.person.parse()?,
            namespace: wanted.namespace.parse()?,
            tiers,
            projects: wanted.projects.iter().map(|name| name.parse()).collect::<Result<BTreeSet<_>, _>>()?,
            roles: wanted.roles,
            mfa: wanted.mfa,
            source_identity: wanted.source_identity.as_deref().map(str::parse).transpose()?,
            registered_at: self.ports.clock.now(),
            registered_by: actor.identity.arn.clone(),
            suspended: None,
        })
    }

    /// MFA that nobody asked for, and source identities that nobody carries, would each be a trust that means nothing.
    fn check_proofs(&self, unique_id: &str, wanted: &PutCaller) -> Result<(), Refusal> {
        let is_role = unique_id.starts_with("AROA");
        if wanted.mfa == MfaBy::Idp
            && !self.identity_provider_roles.name_role(&self.place.account, &wanted.arn)
        {
            let (message, hint) = if is_role {
                (
                    format!(
                        "`{}` is not of a role that the deployment's `IdentityProviderRoleArns` names",
                        wanted.arn
                    ),
                    "add the role's ARN to that parameter if its people get it only after their identity provider asked for MFA",
                )
            } else {
                (
                    "only a role can have MFA by an identity provider".to_owned(),
                    "a user has a device of its own: leave `mfa` out",
                )
            };
            return Err(Refusal::new(ErrorCode::InvalidInput, message, hint));
        }
        if wanted.source_identity.is_some() && !is_role {
            return Err(Refusal::new(
                ErrorCode::InvalidInput,
                "a user's key carries no source identity",
                "only sessions of roles do: leave `source_identity` out",
            ));
        }
        Ok(())
    }

    pub(crate) fn audit(&self, entry: &CallerEntry, what: &str, actor: &Actor) -> AuditRecord {
        AuditRecord {
            subject: format!("caller#{}", entry.unique_id),
            sequence: self.ports.clock.sequence(),
            at: self.ports.clock.now(),
            what: what.to_owned(),
            by: ChangedBy::actor(actor),
            details: json!({
                "arn": entry.arn, "person": entry.person, "namespace": entry.namespace,
                "tiers": entry.tiers, "projects": entry.projects, "roles": entry.roles,
                "mfa": entry.mfa, "source_identity": entry.source_identity,
                "suspended": entry.suspended,
            }),
            previous: None,
            hash: None,
        }
    }

    /// The audit has it; listeners that miss the event can look there.
    pub(crate) async fn tell(&self, audit: &AuditRecord) {
        if let Err(error) = self.ports.events.publish(&[caller_event(audit)]).await {
            tracing::error!(%error, subject = audit.subject, "the event was not published");
        }
    }
}

pub(crate) fn administrators_only(actor: &Actor) -> Result<(), Refusal> {
    if actor.is_administrator() {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::NotAllowed,
        format!("`{}` is not an administrator", actor.identity.arn),
        "administrators are named by the deployment's parameter `AdministratorArns`",
    ))
}

/// A unique id and an ARN that can be one principal of this account: they go into trust policies.
fn check_principal(unique_id: &str, arn: &str, account: &str) -> Result<(), Refusal> {
    let id = |text: &str, prefix: &str| {
        text.starts_with(prefix)
            && (16..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    let name = |text: &str| {
        (1..=512).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte))
    };
    let in_account = |service: &str, kind: &str| {
        let mut parts = arn.splitn(6, ':');
        let head = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        let partition = head[1].unwrap_or_default();
        (head[0], head[2], head[3], head[4]) == (Some("arn"), Some(service), Some(""), Some(account))
            && partition.starts_with("aws")
            && parts.next().and_then(|rest| rest.strip_prefix(kind)).is_some_and(name)
    };
    let good = match unique_id.split_once(':') {
        None if unique_id.starts_with("AROA") => {
            // Of the service's own roles none is a caller, least of all a session's.
            id(unique_id, "AROA") && in_account("iam", "role/") && !arn.contains(":role/sorry/")
        }
        None => id(unique_id, "AIDA") && in_account("iam", "user/"),
        Some((role, session)) => {
            id(role, "AROA") && in_account("sts", "assumed-role/") && arn.ends_with(&format!("/{session}"))
        }
    };
    if good {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::InvalidInput,
        "unique id and ARN are not those of one principal of this account",
        "a user has `AIDA…` and `arn:aws:iam::ACCOUNT:user/…`, a role session `AROA…:NAME` and \
         `arn:aws:sts::ACCOUNT:assumed-role/ROLE/NAME`, a whole role `AROA…` and `arn:aws:iam::ACCOUNT:role/…`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_principals_of_the_account_can_be_registered() {
        const ACCOUNT: &str = "123456789012";
        const USER: &str = "AIDAEXAMPLEEXAMPLE";
        const ROLE: &str = "AROAEXAMPLEEXAMPLE";
        for (id, arn, good) in [
            (USER.to_owned(), format!("arn:aws:iam::{ACCOUNT}:user/sorry/caller/sue-mgr"), true),
            (format!("{ROLE}:ci"), format!("arn:aws:sts::{ACCOUNT}:assumed-role/build/ci"), true),
            (USER.to_owned(), "arn:aws:iam::999999999999:user/sue".to_owned(), false),
            (USER.to_owned(), format!("arn:aws:iam::{ACCOUNT}:user/*"), false),
            (USER.to_owned(), format!("arn:aws:iam::{ACCOUNT}:root"), false),
            (USER.to_owned(), "*".to_owned(), false),
            (format!("{ROLE}:ci"), format!("arn:aws:sts::{ACCOUNT}:assumed-role/build/other"), false),
            (ROLE.to_owned(), format!("arn:aws:iam::{ACCOUNT}:role/build"), true),
            (
                ROLE.to_owned(),
                format!("arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/x_1"),
                true,
            ),
            (ROLE.to_owned(), format!("arn:aws:sts::{ACCOUNT}:assumed-role/build/ci"), false),
            (format!("{ROLE}:ci"), format!("arn:aws:iam::{ACCOUNT}:role/build"), false),
            (ROLE.to_owned(), "arn:aws:iam::999999999999:role/build".to_owned(), false),
            (ROLE.to_owned(), format!("arn:aws:iam::{ACCOUNT}:role/*"), false),
            (ROLE.to_owned(), format!("arn:aws:iam::{ACCOUNT}:role/sorry/session/sue/x"), false),
            (USER.to_owned(), format!("arn:aws:iam::{ACCOUNT}:role/build"), false),
            ("AIDA*".to_owned(), format!("arn:aws:iam::{ACCOUNT}:user/sue"), false),
        ] {
            assert_eq!(check_principal(&id, &arn, ACCOUNT).is_ok(), good, "{id} {arn}");
        }
    }
}
