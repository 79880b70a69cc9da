//! `sorry revoke`: says "revoked" when nothing of the session is left, and not before; and of the credentials that it holds, after how
//! long AWS refused them.

use std::time::Duration;

use serde_json::{Value, json};
use sorry_wire::{SessionId, SessionView, State};
use tokio::time::Instant;

use crate::{
    api::{Api, Scope},
    app::{App, Aws},
    args::{Revoke, TextFormat},
    error::{CliError, Result},
    files,
    refusal::{Held, TRIED},
    sessions,
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
        match end(app, &aws, &api, id, !arguments.no_wait).await {
            Ok(one) => ending.push(one),
            Err(error) => failed(&error),
        }
    }
    let json = arguments.output.format == TextFormat::Json;
    let mut ended = Vec::new();
    for Ending { session, held, began } in ending {
        if arguments.no_wait {
            if json {
                ended.push(sessions::as_json(&session)?);
            } else {
                app.ui.data(&format!("{}  {}", session.session_id, session.state))?;
            }
            continue;
        }
        // Beside each other: the credentials are refused before all of the role is gone.
        let tried = async {
            match &held {
                Some(held) => Tried::Refused(held.until_refused(began).await),
                None => Tried::NotHeld,
            }
        };
        let (over, tried) = tokio::join!(sessions::until_over(app, &api, session), tried);
        match over {
            Ok(session) => {
                let clean = session.state.is_over();
                if json {
                    let mut object = sessions::as_json(&session)?;
                    object.insert("credentials".to_owned(), tried.as_json());
                    ended.push(object);
                } else if clean {
                    said(app, &session, &tried)?;
                }
                if !clean {
                    failed(&left_over(&session));
                }
                if let Tried::Refused(None) = tried {
                    failed(&still_taken(&session));
                }
            }
            Err(error) => failed(&error),
        }
    }
    if json {
        app.ui.json(&json!({"sessions": ended}))?;
    }
    Ok(worst)
}

/// A session whose end is decided.
struct Ending<'a> {
    session: SessionView,
    /// What this machine held of its credentials, and AWS took.
    held: Option<Held<'a>>,
    /// When its end was asked for.
    began: Instant,
}

/// What became of the credentials that were issued.
enum Tried {
    /// This machine holds none that worked: nothing is known, and nothing is claimed.
    NotHeld,
    /// After so long AWS refused them; it still took them if nothing.
    Refused(Option<Duration>),
}

impl Tried {
    fn as_json(&self) -> Value {
        match self {
            Self::NotHeld => json!({"tried": false}),
            Self::Refused(after) => {
                let seconds = after.map(|after| (after.as_secs_f64() * 10.0).round() / 10.0);
                json!({"tried": true, "call": TRIED, "refused": after.is_some(), "refused_after_seconds": seconds})
            }
        }
    }

    fn as_text(&self) -> String {
        match self {
            Self::NotHeld => "credentials elsewhere were not tried, as this machine holds none".to_owned(),
            Self::Refused(Some(after)) => {
                format!(
                    "its credentials were refused {:.1} s after the command (tried with {TRIED})",
                    after.as_secs_f64()
                )
            }
            Self::Refused(None) => "its credentials were still taken".to_owned(),
        }
    }
}

/// Decides the end, and takes the credentials out of the files: they are of no use from now on.
async fn end<'a>(
    app: &'a App,
    aws: &'a Aws,
    api: &Api<'_>,
    id: Result<SessionId>,
    trying: bool,
) -> Result<Ending<'a>> {
    let id = id?;
    let held = if trying { Held::find(app, aws, &id).await } else { None };
    let began = Instant::now();
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
    Ok(Ending { session, held, began })
}

fn said(app: &App, session: &SessionView, tried: &Tried) -> Result<()> {
    let id = &session.session_id;
    app.ui.data(&format!("{id}  {}", session.state))?;
    match session.state {
        State::Revoked => {
            app.ui.say(&format!("revoked `{id}`: nothing of it is left; {}", tried.as_text()));
        }
        state => app.ui.say(&format!("`{id}` had ended before: {state}")),
    }
    Ok(())
}

/// The role is gone, and some part of AWS has not heard of it.
fn still_taken(session: &SessionView) -> CliError {
    CliError::failed(format!("AWS still takes credentials of session `{}` ({TRIED})", session.session_id))
        .hint("changes in IAM take seconds as a rule and minutes at worst; if it stays, tell whoever runs the service")
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
