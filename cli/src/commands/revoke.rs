//! `sorry revoke`: says "revoked" when nothing of the session is left, and not before.

use sorry_wire::{Grant, SessionId, SessionView, State};

use crate::{
    api::{Api, Scope},
    app::App,
    args::Revoke,
    error::{CliError, Result},
    files, sessions,
};

pub(crate) async fn run(app: &App, arguments: &Revoke) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let ids: Vec<Result<SessionId>> = if arguments.all {
        let mine = api.sessions(Scope::Mine).await?;
        let live = mine.into_iter().filter(|session| !session.state.is_over() && !session.state.is_ending());
        live.map(|session| Ok(session.session_id)).collect()
    } else {
        sessions::resolve(&api, &arguments.sessions).await?
    };
    if ids.is_empty() {
        app.ui.say("you have no session that could be ended");
    }
    let mut worst = 0;
    let mut failed = |error: &CliError| {
        app.ui.error(error);
        worst = worst.max(error.exit);
    };
    // All ends are decided first, so that none waits for another's clean-up.
    let mut ending = Vec::new();
    for id in ids {
        match end(app, &api, id).await {
            Ok(session) => ending.push(session),
            Err(error) => failed(&error),
        }
    }
    for session in ending {
        if arguments.no_wait {
            app.ui.data(&format!("{}  {}", session.session_id, session.state))?;
            continue;
        }
        match sessions::until_over(app, &api, session).await {
            Ok(session) if session.state.is_over() => said(app, &session)?,
            Ok(session) => failed(&left_over(&session)),
            Err(error) => failed(&error),
        }
    }
    Ok(worst)
}

/// Decides the end, and takes the credentials out of the files: they are of no use from now on.
async fn end(app: &App, api: &Api<'_>, id: Result<SessionId>) -> Result<SessionView> {
    let id = id?;
    let session: SessionView = api.delete(&["sessions", id.as_str()]).await?;
    app.on_interrupt(format!("the end of `{id}` is decided and goes on: `sorry status {id}`"));
    match files::remove(app, &id) {
        Ok(names) => {
            for name in names {
                app.ui.say(&format!("removed profile `{name}`"));
            }
        }
        Err(error) => {
            app.ui.warn(&format!("the credentials of `{id}` stay in your files: {}", error.message))
        }
    }
    Ok(session)
}

fn said(app: &App, session: &SessionView) -> Result<()> {
    let id = &session.session_id;
    app.ui.data(&format!("{id}  {}", session.state))?;
    match session.state {
        State::Revoked => {
            let how = match session.grant {
                Grant::Role => "its role is gone",
                Grant::User => "its user is gone",
                Grant::Standing => "the standing role is closed to it",
            };
            app.ui.say(&format!("revoked `{id}`: {how}, and credentials already issued are refused"));
        }
        state => app.ui.say(&format!("`{id}` had ended before: {state}")),
    }
    Ok(())
}

fn left_over(session: &SessionView) -> CliError {
    let id = &session.session_id;
    let why = session
        .end
        .as_ref()
        .and_then(|end| end.failure.as_ref())
        .map(|failure| format!(": {}", failure.message));
    CliError::failed(format!(
        "something of session `{id}` could not be removed yet{}",
        why.unwrap_or_default()
    ))
    .hint(format!("the service tries again with every sweep, and security is told: `sorry status {id}`"))
    .code(State::CleanUpFailed.as_str())
}
