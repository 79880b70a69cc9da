//! What several commands do with sessions: find them by the beginning of their id, wait for them, show them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use sorry_profiles::Profile;
use sorry_wire::{
    EndCause, ErrorCode, ExtensionStatus, Grant, ReviewView, SessionId, SessionView, State, Vote,
};
use tokio::time::Instant;

use crate::{
    api::{Api, Scope},
    app::App,
    error::{CliError, Exit, Result},
    files,
    remedy::remedy,
    time::{rough, shown, with_distance},
};

/// How long a command waits before it says how to go on without it.
const PATIENCE: Duration = Duration::from_secs(120);
/// The same for the end of a session that never was ACTIVE: a late write could still make its role appear, so the service looks for
/// five minutes before it calls the session over.
const PATIENCE_BEFORE_ACTIVE: Duration = Duration::from_secs(360);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The same while people think.
const LONGEST_PAUSE_FOR_PEOPLE: Duration = Duration::from_secs(10);

/// Ids by their beginnings: whole ids as they are, shorter ones as far as one session of the caller's person alone begins so, or one
/// alone of those that are not over.
pub(crate) async fn resolve(api: &Api<'_>, texts: &[String]) -> Result<Vec<Result<SessionId>>> {
    let parsed: Vec<Result<Wanted>> = texts.iter().map(|text| Wanted::parse(text)).collect();
    let listed = if parsed.iter().any(|wanted| matches!(wanted, Ok(Wanted::Beginning(_)))) {
        api.sessions(Scope::Mine).await?
    } else {
        Vec::new()
    };
    Ok(parsed.into_iter().map(|wanted| wanted?.among(&listed)).collect())
}

/// One id, by its beginning among the sessions of `scope`.
pub(crate) async fn resolve_among(api: &Api<'_>, text: &str, scope: Scope) -> Result<SessionId> {
    match Wanted::parse(text)? {
        Wanted::Whole(id) => Ok(id),
        beginning => beginning.among(&api.sessions(scope).await?),
    }
}

/// As [`resolve`], of one.
pub(crate) async fn resolve_one(api: &Api<'_>, text: &str) -> Result<SessionId> {
    resolve(api, &[text.to_owned()])
        .await?
        .pop()
        .unwrap_or_else(|| Err(CliError::new(Exit::Bug, "no id, no answer")))
}

#[derive(Debug)]
enum Wanted {
    Whole(SessionId),
    Beginning(String),
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.parse::<SessionId>() {
            Ok(id) => Ok(Self::Whole(id)),
            // A beginning is what can be made an id by going on.
            Err(_)
                if !lower.is_empty()
                    && lower.len() < 16
                    && format!("{lower:0<16}").parse::<SessionId>().is_ok() =>
            {
                Ok(Self::Beginning(lower))
            }
            Err(_) => Err(text
                .parse::<SessionId>()
                .err()
                .map_or_else(|| CliError::usage(format!("`{text}` is not a session id")), CliError::from)),
        }
    }

    fn among(self, sessions: &[SessionView]) -> Result<SessionId> {
        let beginning = match self {
            Self::Whole(id) => return Ok(id),
            Self::Beginning(beginning) => beginning,
        };
        let fitting: Vec<&SessionView> =
            sessions.iter().filter(|session| session.session_id.as_str().starts_with(&beginning)).collect();
        match fitting.as_slice() {
            [] => {
                Err(CliError::new(Exit::NotFound, format!("none of these sessions begins with `{beginning}`"))
                    .hint("`sorry list` shows yours, `sorry list --awaiting-me` those that wait for you; others go by their whole id")
                    .code(ErrorCode::SessionNotFound.as_str()))
            }
            [one] => Ok(one.session_id.clone()),
            several => {
                // What is over is seldom meant.
                let live: Vec<_> = several.iter().filter(|session| !session.state.is_over()).collect();
                if let [one] = live.as_slice() {
                    return Ok(one.session_id.clone());
                }
                let shown: Vec<String> = several
                    .iter()
                    .take(8)
                    .map(|session| format!("`{}` ({}, {})", session.session_id, session.tier, session.state))
                    .collect();
                let more = if several.len() > 8 { ", …" } else { "" };
                Err(CliError::usage(format!("`{beginning}` fits {} sessions", several.len()))
                    .hint(format!("write more of the id: {}{more}", shown.join(", "))))
            }
        }
    }
}

/// Waits until a session is ACTIVE. Whatever else it becomes is an error that says why.
pub(crate) async fn until_active(app: &App, api: &Api<'_>, session: SessionView) -> Result<SessionView> {
    let id = session.session_id.clone();
    let session = until_decided(app, api, session).await?;
    let session = wait(app, api, PATIENCE, session, |session| match session.state {
        State::Requested => Some("waiting: the session's workflow is starting".to_owned()),
        State::Provisioning => {
            Some(format!("waiting: the session's {} is being set up", grant_name(session.grant)))
        }
        _ => None,
    })
    .await?
    .map_err(|session| {
        CliError::failed(format!("session `{id}` is still {}", session.state)).hint(format!(
            "it goes on without this command: `sorry status {id}` shows where it stands, `sorry renew {id}` fetches its \
             credentials once it is ACTIVE, `sorry revoke {id}` ends it"
        ))
    })?;
    if session.state == State::Active {
        return Ok(session);
    }
    Err(not_active(&session))
}

/// Waits for the approvals of a session, as long as they can come.
async fn until_decided(app: &App, api: &Api<'_>, session: SessionView) -> Result<SessionView> {
    let Some(approval) = &session.approval else { return Ok(session) };
    let remaining = approval.lapses_at.duration_since((app.clock)()).as_secs().max(0).unsigned_abs();
    // The service's word on the lapse comes with its next look.
    let patience = Duration::from_secs(remaining).saturating_add(PATIENCE);
    let waited = wait(app, api, patience, session, |session| {
        (session.state == State::PendingApproval).then(|| format!("waiting: {}", awaited(session)))
    });
    Ok(waited.await?.unwrap_or_else(|session| session))
}

/// What a session in PENDING_APPROVAL waits for.
pub(crate) fn awaited(session: &SessionView) -> String {
    let id = &session.session_id;
    let Some(approval) = &session.approval else { return format!("`{id}` needs an approval") };
    let given = approval.votes.iter().filter(|vote| vote.decision == Vote::Approve).count();
    format!(
        "`{id}` has {given} of {} approvals, until {}; others give them with `sorry approve {id}`",
        approval.needed,
        shown(approval.lapses_at)
    )
}

/// Why a session that was meant to become or be ACTIVE is not.
pub(crate) fn not_active(session: &SessionView) -> CliError {
    let (id, state) = (&session.session_id, session.state);
    if state == State::PendingApproval {
        return CliError::failed(format!("session `{id}` is not approved yet")).hint(awaited(session));
    }
    let failure = session.end.as_ref().and_then(|end| end.failure.as_ref());
    match (failure, &session.end) {
        (Some(failure), _) => {
            let error = CliError::failed(format!("session `{id}` failed: {}", failure.message))
                .hint(match state {
                    State::CleanUpFailed => {
                        "something of it is left, which the service goes on removing; nothing of it can be used"
                    }
                    _ if session.activated_at.is_some() => "its access is taken away, and nothing of it stays",
                    _ => "nothing was granted, and nothing of it stays",
                })
                .code(failure.code.clone());
            let Some(code) = error.known_code() else { return error };
            let error = CliError { exit: code.exit_code(), ..error };
            match remedy(code) {
                Some(remedy) => error.also(remedy),
                None => error,
            }
        }
        (None, Some(end)) => {
            let over = session.state.is_over();
            let by = match end.cause {
                EndCause::Expired => "its time was up".to_owned(),
                EndCause::Revoked => format!("revoked by `{}`", end.by),
                EndCause::Denied => format!("denied by `{}`", end.by),
                EndCause::Failed => format!("it failed, as `{}` found", end.by),
            };
            let comment = denial(session).map(|comment| format!(": {comment}")).unwrap_or_default();
            let message = match (over, session.activated_at) {
                (true, None) => {
                    format!("session `{id}` was never active: {by} at {}{comment}", shown(end.at))
                }
                (true, Some(_)) => {
                    format!(
                        "session `{id}` is over since {}: {by}",
                        shown(session.ended_at.unwrap_or(end.at))
                    )
                }
                (false, _) => format!("session `{id}` is being ended: {by} at {}{comment}", shown(end.at)),
            };
            let again = format!("`sorry request --tier {} --hours N`", session.tier);
            CliError::new(if over { Exit::NotFound } else { Exit::Failed }, message).hint(match end.cause {
                EndCause::Denied => format!("speak to who denied it before you ask again with {again}"),
                _ => format!("ask again: {again}"),
            })
        }
        (None, None) => CliError::failed(format!("session `{id}` is {state}"))
            .hint(format!("`sorry status {id}` shows where it stands")),
    }
}

/// Why a session was denied, if that was said.
fn denial(session: &SessionView) -> Option<&str> {
    let EndCause::Denied = session.end.as_ref()?.cause else { return None };
    let votes = &session.approval.as_ref()?.votes;
    votes.iter().rev().find(|vote| vote.decision == Vote::Deny)?.comment.as_deref()
}

/// Waits until a session has its new end. Whatever else came of its extension is an error that says why.
pub(crate) async fn until_extended(app: &App, api: &Api<'_>, session: SessionView) -> Result<SessionView> {
    let id = session.session_id.clone();
    let status = |session: &SessionView| session.extension.as_ref().map(|extension| extension.status);
    let session = wait(app, api, PATIENCE, session, |session| {
        (status(session) == Some(ExtensionStatus::UnderWay))
            .then(|| "waiting: the new end is being written to IAM".to_owned())
    })
    .await?
    .map_err(|session| {
        CliError::failed(format!("session `{id}` is still being extended")).hint(format!(
            "it goes on without this command: `sorry status {id}`; until then it ends at {}",
            shown(session.expires_at)
        ))
    })?;
    if session.state != State::Active {
        return Err(not_active(&session));
    }
    if status(&session) == Some(ExtensionStatus::Done) {
        return Ok(session);
    }
    let failure = session.extension.as_ref().and_then(|extension| extension.failure.as_ref());
    let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    let error = CliError::failed(format!("session `{id}` was not extended{why}"))
        .hint(format!("it goes on until {}; ask again in five minutes", shown(session.expires_at)));
    Err(match failure {
        Some(failure) => error.code(failure.code.clone()),
        None => error,
    })
}

/// A session's extension for people, as far as it says more than the session's end.
pub(crate) fn extension(session: &SessionView) -> Option<String> {
    let extension = session.extension.as_ref()?;
    let to = shown(extension.extending_to);
    let failure =
        extension.failure.as_ref().map(|failure| format!(": {}", failure.message)).unwrap_or_default();
    Some(match extension.status {
        ExtensionStatus::AwaitingApproval => {
            let until = extension.lapses_at.map(|at| format!(" until {}", shown(at))).unwrap_or_default();
            format!(
                "to {to}, waits for approval{until}; others give it with `sorry approve {} --until {}`",
                session.session_id, extension.extending_to
            )
        }
        ExtensionStatus::UnderWay => format!("to {to}, being written"),
        ExtensionStatus::Done => format!("to {to}, done"),
        ExtensionStatus::Denied => format!("to {to}, denied"),
        ExtensionStatus::Lapsed => format!("to {to}, not approved in time"),
        ExtensionStatus::Failed => format!("to {to}, failed{failure}"),
        ExtensionStatus::Overtaken => format!("to {to}, overtaken by the session's end"),
    })
}

/// Whether a later end of a session is asked for and not settled.
pub(crate) fn is_being_extended(session: &SessionView) -> bool {
    let open = [ExtensionStatus::AwaitingApproval, ExtensionStatus::UnderWay];
    session.extension.as_ref().is_some_and(|extension| open.contains(&extension.status))
}

/// Waits until nothing of a session is left, or the service says that it could not remove it yet.
pub(crate) async fn until_over(app: &App, api: &Api<'_>, session: SessionView) -> Result<SessionView> {
    let id = session.session_id.clone();
    let patience = if session.activated_at.is_some() { PATIENCE } else { PATIENCE_BEFORE_ACTIVE };
    wait(app, api, patience, session, |session| {
        if session.state.is_over() || session.state == State::CleanUpFailed {
            None
        } else if session.activated_at.is_none() {
            Some(format!(
                "waiting: `{id}` is ended before it was ACTIVE; that its {} cannot appear any more takes up to 5 minutes to be sure \
                 of (its end is decided: Ctrl-C stops only the waiting)",
                grant_name(session.grant)
            ))
        } else {
            Some(format!("waiting: the access of `{id}` is being taken away"))
        }
    })
    .await?
    .map_err(|session| {
        CliError::failed(format!("session `{id}` is still {}", session.state))
            .hint(format!("its end is decided and goes on without this command: `sorry status {id}`"))
    })
}

/// Asks again and again until `reason` has none left to wait; the inner error is the session that was waited for too long.
async fn wait(
    app: &App,
    api: &Api<'_>,
    patience: Duration,
    mut session: SessionView,
    reason: impl Fn(&SessionView) -> Option<String>,
) -> Result<std::result::Result<SessionView, SessionView>> {
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    while let Some(reason) = reason(&session) {
        if Instant::now() >= give_up {
            return Ok(Err(session));
        }
        app.ui.progress(&reason);
        tokio::time::sleep(pause).await;
        let longest =
            if session.state == State::PendingApproval { LONGEST_PAUSE_FOR_PEOPLE } else { LONGEST_PAUSE };
        pause = (pause * 3 / 2).min(longest);
        session = api.session(session.session_id.as_str()).await?;
    }
    app.ui.done();
    Ok(Ok(session))
}

/// What gives access to a session, as people call it.
pub(crate) fn grant_name(grant: Grant) -> &'static str {
    match grant {
        Grant::Role => "role",
        Grant::User => "user",
        Grant::Standing => "standing role",
    }
}

/// A session for programs, without what only its owner needs once.
pub(crate) fn as_json(session: &SessionView) -> Result<serde_json::Map<String, Value>> {
    match serde_json::to_value(session) {
        Ok(Value::Object(mut object)) => {
            object.remove("access");
            Ok(object)
        }
        other => Err(CliError::new(Exit::Bug, format!("a session is no JSON object: {:?}", other.err()))),
    }
}

/// As [`as_json`], with the profile that holds its credentials, where there is one.
pub(crate) fn with_profile(
    session: &SessionView,
    profiles: &[Profile],
) -> Result<serde_json::Map<String, Value>> {
    let mut object = as_json(session)?;
    if let Some(holder) = files::holding(profiles, &session.session_id) {
        object.insert("profile".to_owned(), Value::from(holder.name.as_str()));
    }
    Ok(object)
}

/// A session for people.
pub(crate) fn as_pairs(
    app: &App,
    session: &SessionView,
    profiles: &[Profile],
) -> Vec<(&'static str, String)> {
    let now = (app.clock)();
    let time = |at: Option<Timestamp>| at.map(|at| with_distance(at, now)).unwrap_or_default();
    let names: Vec<&str> =
        files::of_session(profiles, &session.session_id).map(|name| name.as_str()).collect();
    let ended = session.end.as_ref();
    let cause = ended.map(|end| {
        json!(end.cause).as_str().map(|cause| format!("{cause}, by {}", end.by)).unwrap_or_default()
    });
    let failure = ended
        .and_then(|end| end.failure.as_ref())
        .map(|failure| format!("{} ({})", failure.message, failure.code));
    vec![
        ("session", session.session_id.to_string()),
        ("state", session.state.to_string()),
        ("tier", session.tier.to_string()),
        ("namespace", session.namespace.to_string()),
        ("person", session.person.to_string()),
        ("project", session.project.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("reason", session.reason.clone().unwrap_or_default()),
        ("caller", session.caller.clone()),
        ("requested", time(Some(session.requested_at))),
        ("approval", approval(session)),
        ("active", time(session.activated_at)),
        expiry(session, now),
        ("extension", extension(session).unwrap_or_default()),
        ("end", cause.unwrap_or_default()),
        ("failure", failure.unwrap_or_default()),
        ("ended", time(session.ended_at)),
        ("review", session.review.as_ref().map(review).unwrap_or_default()),
        (
            grant_name(session.grant),
            session
                .access
                .as_ref()
                .map_or_else(|| session.role_name.to_string(), |access| access.role_arn.clone()),
        ),
        ("mfa", if session.mfa { "asked for" } else { "" }.to_owned()),
        ("profile", names.join(", ")),
    ]
}

/// When a session ended or will, for people.
pub(crate) fn end(session: &SessionView, now: Timestamp) -> String {
    if session.state == State::PendingApproval {
        // No time of day yet: the window begins with the approval.
        let window = session.expires_at.as_second() - session.requested_at.as_second();
        return format!("{} after its approval", rough(window.unsigned_abs()));
    }
    let ended = session.ended_at.or_else(|| session.end.as_ref().map(|end| end.at));
    with_distance(ended.filter(|_| session.state.is_over()).unwrap_or(session.expires_at), now)
}

/// When AWS stops honouring a session, as a pair: once its end was decided, only what was granted.
pub(crate) fn expiry(session: &SessionView, now: Timestamp) -> (&'static str, String) {
    match (&session.end, session.activated_at) {
        (Some(_), Some(_)) => ("was to expire", shown(session.expires_at)),
        // What never was ACTIVE had no window.
        (Some(_), None) => ("was to expire", String::new()),
        (None, _) => ("expires", end(session, now)),
    }
}

fn approval(session: &SessionView) -> String {
    let Some(approval) = &session.approval else { return String::new() };
    let votes = approval.votes.iter().map(|vote| {
        let word = match vote.decision {
            Vote::Approve => "approved",
            Vote::Deny => "denied",
        };
        let comment = vote.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        format!("{word} by {}{comment}", vote.person)
    });
    let needed = format!("{} needed before {}", approval.needed, shown(approval.lapses_at));
    votes.chain([needed]).collect::<Vec<_>>().join("; ")
}

fn review(review: &ReviewView) -> String {
    match &review.closed {
        Some(closed) => format!("closed by {} at {}: {}", closed.person, shown(closed.at), closed.comment),
        None => format!("open since {}", shown(review.opened_at)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn session(id: &str, state: &str) -> SessionView {
        serde_json::from_value(json!({
            "session_id": id, "state": state, "tier": "developer", "grant": "role", "namespace": "sue", "person": "sue",
            "caller": "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr", "mfa": false,
            "requested_at": "2026-11-21T04:00:00Z", "expires_at": "2026-11-21T12:00:00Z",
            "role_name": format!("sorry-sue-developer-{}", id.get(..8).unwrap_or(id)),
        }))
        .unwrap()
    }

    #[test]
    fn an_id_may_be_shortened_to_what_fits_one_session() {
        let sessions = [
            session("7k3m9q2x4v8n1c5d", "ACTIVE"),
            session("7k3zzzzzzzzzzzzz", "EXPIRED"),
            session("0c9d000000000000", "REVOKED"),
        ];
        let find = |text: &str| Wanted::parse(text)?.among(&sessions).map(|id| id.to_string());
        assert_eq!(find("7k3m").unwrap(), "7k3m9q2x4v8n1c5d");
        assert_eq!(find("0").unwrap(), "0c9d000000000000");
        assert_eq!(find("7k3").unwrap(), "7k3m9q2x4v8n1c5d", "the other is over");
        assert_eq!(find("7K3M").unwrap(), "7k3m9q2x4v8n1c5d", "read aloud and typed in capitals");
        assert_eq!(
            find("ffffffffffffffff").unwrap(),
            "ffffffffffffffff",
            "whole ids are the service's to know"
        );
        for state in ["EXPIRED", "ACTIVE"] {
            let alike = [session("7k3m9q2x4v8n1c5d", state), session("7k3zzzzzzzzzzzzz", state)];
            let ambiguous = Wanted::parse("7k3").unwrap().among(&alike).unwrap_err();
            assert_eq!((ambiguous.exit, ambiguous.message.as_str()), (2, "`7k3` fits 2 sessions"));
            let shown = format!("`7k3m9q2x4v8n1c5d` (developer, {state}), `7k3zzzzzzzzzzzzz`");
            assert!(ambiguous.hint.unwrap().contains(&shown));
        }
        assert_eq!(find("8").unwrap_err().exit, 4);
        for garbage in ["", "u", "7k3-", "../x", "7k3m9q2x4v8n1c5d0", "é"] {
            let error = find(garbage).unwrap_err();
            assert_eq!((error.exit, error.hint.is_some()), (2, true), "{garbage}");
        }
    }

    #[test]
    fn why_a_session_is_not_active_depends_on_how_far_it_came_and_who_ended_it() {
        for (state, cause, activated, exit, said) in [
            ("REVOKED", "revoked", false, 4, "was never active: revoked by `me` at 2026-11-21 05:00:00 UTC"),
            ("REVOKED", "revoked", true, 4, "is over since 2026-11-21 05:00:09 UTC: revoked by `me`"),
            ("EXPIRED", "expired", true, 4, "is over since 2026-11-21 05:00:09 UTC: its time was up"),
            ("EXPIRING", "expired", true, 1, "is being ended: its time was up at 2026-11-21 05:00:00 UTC"),
            ("REVOKING", "revoked", false, 1, "is being ended: revoked by `me` at 2026-11-21 05:00:00 UTC"),
        ] {
            let mut view = session("7k3m9q2x4v8n1c5d", state);
            let end = json!({"cause": cause, "by": "me", "at": "2026-11-21T05:00:00Z"});
            view.end = serde_json::from_value(end).unwrap();
            view.activated_at = activated.then(|| "2026-11-21T04:00:10Z".parse().unwrap());
            view.ended_at = view.state.is_over().then(|| "2026-11-21T05:00:09Z".parse().unwrap());
            let error = not_active(&view);
            assert_eq!((error.exit, error.message), (exit, format!("session `7k3m9q2x4v8n1c5d` {said}")));
        }
    }

    #[test]
    fn who_was_denied_is_told_why_and_not_to_ask_again_at_once() {
        let mut view = session("7k3m9q2x4v8n1c5d", "DENIED");
        let end = json!({"cause": "denied", "by": "ann", "at": "2026-11-21T05:00:00Z"});
        view.end = serde_json::from_value(end).unwrap();
        let vote = json!({"decision": "deny", "person": "ann", "by": "arn", "at": "2026-11-21T05:00:00Z",
            "comment": "not during the release"});
        view.approval = serde_json::from_value(json!({
            "needed": 1, "approvers": ["approver"], "lapses_at": "2026-11-21T08:00:00Z", "votes": [vote],
        }))
        .unwrap();
        let error = not_active(&view);
        let said = "denied by `ann` at 2026-11-21 05:00:00 UTC: not during the release";
        assert!(error.message.ends_with(said), "{}", error.message);
        assert!(error.hint.unwrap().starts_with("speak to who denied it"));
    }

    #[test]
    fn the_code_of_a_failure_says_what_to_do_and_how_to_exit() {
        for (code, exit, hints) in [
            (
                "NoSubscriber",
                1,
                "nothing was granted, and nothing of it stays\nhint: somebody of security subscribes",
            ),
            (
                "WindowOver",
                4,
                "nothing was granted, and nothing of it stays\nhint: ask again, for a longer time",
            ),
            ("Unavailable", 5, "nothing was granted, and nothing of it stays"),
            ("FromTheFuture", 1, "nothing was granted, and nothing of it stays"),
        ] {
            let mut view = session("7k3m9q2x4v8n1c5d", "FAILED");
            let failure = json!({"code": code, "message": "no"});
            let end = json!({"cause": "failed", "by": "x", "at": "2026-11-21T05:00:00Z", "failure": failure});
            view.end = serde_json::from_value(end).unwrap();
            let error = not_active(&view);
            assert_eq!((error.exit, error.code.as_deref()), (exit, Some(code)));
            assert!(error.hint.as_deref().unwrap().starts_with(hints), "{error:?}");
        }
    }

    #[test]
    fn a_session_ends_when_it_does_and_not_before_it_has_begun() {
        let now: Timestamp = "2026-11-21T13:00:00Z".parse().unwrap();
        let mut view = session("7k3m9q2x4v8n1c5d", "PENDING_APPROVAL");
        assert_eq!(end(&view, now), "8h after its approval");
        assert_eq!(expiry(&view, now), ("expires", "8h after its approval".to_owned()));
        view.state = State::Active;
        view.activated_at = Some("2026-11-21T04:00:10Z".parse().unwrap());
        assert_eq!(expiry(&view, now), ("expires", "2026-11-21 12:00:00 UTC (1h ago)".to_owned()));

        let cause = json!({"cause": "revoked", "by": "me", "at": "2026-11-21T05:00:00Z"});
        view.end = serde_json::from_value(cause).unwrap();
        for state in [State::Revoking, State::Revoked] {
            view.state = state;
            assert_eq!(expiry(&view, now), ("was to expire", "2026-11-21 12:00:00 UTC".to_owned()));
        }
        assert_eq!(end(&view, now), "2026-11-21 05:00:00 UTC (8h ago)");
        view.activated_at = None;
        assert_eq!(expiry(&view, now).1, "", "denied, or lapsed");
    }

    #[test]
    fn json_has_no_handshake() {
        let mut view = session("7k3m9q2x4v8n1c5d", "ACTIVE");
        view.access = serde_json::from_value(json!({
            "role_arn": "arn:aws:iam::1:role/x", "external_id": "0123456789abcdef0123456789abcdef",
            "source_identity": "7k3m9q2x4v8n1c5d", "role_session_name": "sue-mgr", "maximum_seconds": 28800,
        }))
        .unwrap();
        let json = Value::Object(as_json(&view).unwrap()).to_string();
        assert!(!json.contains("0123456789abcdef"), "{json}");
    }
}
