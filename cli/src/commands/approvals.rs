//! `sorry approve`, `sorry deny` and `sorry review`: one's word on what others asked for.

use serde::Serialize;
use sorry_wire::{DecideSession, ExtensionStatus, ReviewSession, SessionView, State, Vote};

use crate::{
    api::Scope,
    app::App,
    args::{Decide, MfaCode, Review, Text, TextFormat},
    error::Result,
    sessions,
    time::shown,
};

pub(crate) async fn decide(app: &App, decision: Vote, arguments: Decide) -> Result<u8> {
    let body = DecideSession { decision, extending_to: arguments.until, comment: arguments.comment };
    let session = say(app, &arguments.session, "decision", &body, &arguments.code).await?;
    print(app, &session, &arguments.output)?;
    let id = &session.session_id;
    let missing = session.approval.as_ref().map_or(0, |approval| {
        let given = approval.votes.iter().filter(|vote| vote.decision == Vote::Approve).count();
        usize::try_from(approval.needed).unwrap_or_default().saturating_sub(given)
    });
    let waits =
        session.extension.as_ref().filter(|extension| extension.status == ExtensionStatus::AwaitingApproval);
    if let Some(end) = arguments.until {
        let end = shown(end);
        app.ui.say(&match decision {
            Vote::Approve if waits.is_some() => {
                format!("approved an end of `{id}` at {end}: others must approve, too")
            }
            Vote::Approve => format!("approved an end of `{id}` at {end}"),
            Vote::Deny => format!("denied a later end of `{id}`: it ends when it was to end"),
        });
        return Ok(0);
    }
    app.ui.say(&match (decision, missing) {
        // Said of the session, once more; what waits now is something else.
        (Vote::Approve, _) if let Some(extension) = waits => {
            let end = extension.extending_to;
            format!("`{id}` itself is approved; the end at {end} that it asks for is not: `sorry approve {id} --until {end}`")
        }
        // At once where nothing is to be made, or some time ago where it was approved before.
        (Vote::Approve, 0) if let Some(at) = session.activated_at => {
            format!("approved `{id}`: its window runs since {}", shown(at))
        }
        (Vote::Approve, 0) => format!("approved `{id}`: its window begins now"),
        (Vote::Approve, missing) => format!("approved `{id}`: {missing} more must approve"),
        // It was said of an extension, now or before.
        (Vote::Deny, _) if session.state == State::Active => {
            format!("denied a later end of `{id}`: the session itself goes on until {}", shown(session.expires_at))
        }
        (Vote::Deny, _) => format!("denied `{id}`: nothing is, or stays, granted"),
    });
    Ok(0)
}

pub(crate) async fn review(app: &App, arguments: Review) -> Result<u8> {
    let body = ReviewSession { comment: arguments.comment };
    let session = say(app, &arguments.session, "review", &body, &arguments.code).await?;
    print(app, &session, &arguments.output)?;
    app.ui.say(&format!("the review of `{}` is closed", session.session_id));
    Ok(0)
}

async fn say(
    app: &App,
    session: &str,
    what: &str,
    body: &impl Serialize,
    code: &MfaCode,
) -> Result<SessionView> {
    let aws = app.aws_with_mfa(code).await?;
    let api = aws.api(app)?;
    let id = sessions::resolve_among(&api, session, Scope::AwaitingMe).await?;
    api.post(&["sessions", id.as_str(), what], body).await
}

fn print(app: &App, session: &SessionView, output: &Text) -> Result<()> {
    match output.format {
        TextFormat::Json => app.ui.json(&sessions::as_json(session)?),
        TextFormat::Text => app.ui.data(&format!("{}  {}", session.session_id, session.state)),
    }
}
