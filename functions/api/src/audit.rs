//! The audit, for those who may read it.

use jiff::{Timestamp, ToSpan};
use sorry_policy::SessionId;
use sorry_session::{
    Actor, ErrorCode, Refusal,
    audit::AuditScope,
    ports::{Alerts, Clock, EventBus, Registry, SessionStore, Workflow},
};
use sorry_wire::{AuditList, DigestList, DigestView};

use crate::{Api, ApiError, Request, Response, ok, sessions::unusable};

/// How far back a list goes that names no beginning, in hours.
const HOURS_SHOWN: i64 = 24;

impl<S: SessionStore, R: Registry, W: Workflow, A: Alerts, E: EventBus, C: Clock> Api<S, R, W, A, E, C> {
    pub(crate) async fn list_audit(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        overseers_only(actor)?;
        let query = |name: &str| request.query.get(name).map(String::as_str);
        let (from, to) = (moment("from", query("from"))?, moment("to", query("to"))?);
        let subject = match (query("session"), query("subject")) {
            (Some(_), Some(_)) => return Err(unusable("subject", "send it, or `session`").into()),
            (Some(session), None) => Some(session.parse::<SessionId>()?.to_string()),
            // Longer than any subject, or empty, the table could not be asked for it.
            (None, Some(subject)) if subject.is_empty() || subject.len() > 256 => {
                return Err(unusable("subject", "1 to 256 characters").into());
            }
            (None, subject) => subject.map(str::to_owned),
        };
        let scope = match subject {
            Some(subject) => AuditScope::Subject(subject),
            None => {
                // Times are whole seconds; what happens in this one belongs to it.
                let to = to.unwrap_or_else(|| later(self.ports.clock.now(), 1.second()));
                AuditScope::Between(from.unwrap_or_else(|| later(to, -HOURS_SHOWN.hours())), to)
            }
        };
        let cursor = query("cursor").map(str::parse).transpose()?;
        let page = self.registry.audit_page(&scope, cursor.as_ref()).await?;
        let mut records = page.records;
        records.retain(|record| {
            from.is_none_or(|from| from <= record.at)
                && to.is_none_or(|to| record.at < to)
                && query("person").is_none_or(|person| record.concerns(person))
        });
        ok(200, &AuditList { records, cursor: page.cursor.map(|cursor| cursor.to_string()) })
    }

    pub(crate) async fn list_digests(&self, request: &Request, actor: &Actor) -> Result<Response, ApiError> {
        overseers_only(actor)?;
        let cursor = request.query.get("cursor").map(String::as_str);
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        if cursor.is_some_and(|cursor| cursor.len() > 64 || !plain(cursor)) {
            return Err(unusable("cursor", "the `cursor` of the previous page, or none").into());
        }
        let page = self.registry.digests(cursor).await?;
        let view = |digest: sorry_session::audit::verify::StoredDigest| DigestView {
            name: digest.name,
            text: digest.text,
            overwritten: digest.overwritten,
        };
        ok(200, &DigestList { digests: page.digests.into_iter().map(view).collect(), cursor: page.cursor })
    }
}

fn overseers_only(actor: &Actor) -> Result<(), Refusal> {
    if actor.oversees() {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::NotAllowed,
        format!("`{}` may not read the audit", actor.identity.arn),
        "administrators can, and callers who are registered as `security` or `admin`",
    ))
}

/// A moment, to the second: records have no more, and the index compares text.
fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let hint = "a moment such as `2026-01-31T17:00:00Z`";
    let at: Timestamp = text.parse().map_err(|_| unusable(name, hint))?;
    Timestamp::from_second(at.as_second()).map(Some).map_err(|_| unusable(name, hint))
}

fn later(at: Timestamp, span: jiff::Span) -> Timestamp {
    at.checked_add(span).unwrap_or(at)
}
