//! `sorry list`.

use serde_json::json;
use sorry_wire::SessionView;

use crate::{
    api::Scope,
    app::App,
    args::{List, TableFormat},
    error::Result,
    files, sessions,
};

pub(crate) async fn run(app: &App, arguments: &List) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let scope = match arguments {
        List { namespace: true, .. } => Scope::Namespace,
        List { awaiting_me: true, .. } => Scope::AwaitingMe,
        List { everybody: true, .. } => Scope::Everybody,
        _ => Scope::Mine,
    };
    let of_others = scope != Scope::Mine;
    let mut listed = api.sessions(scope).await?;
    let none_at_all = listed.is_empty();
    listed.retain(|session| arguments.status.is_none_or(|status| status.fits(session.state)));
    if arguments.output.format == TableFormat::Json {
        let profiles = files::profiles(app).unwrap_or_default();
        let sessions: Vec<_> =
            listed.iter().map(|session| sessions::with_profile(session, &profiles)).collect::<Result<_>>()?;
        app.ui.json(&json!({"sessions": sessions}))?;
        return Ok(0);
    }
    if listed.is_empty() {
        app.ui.say(match scope {
            _ if !none_at_all => "none of the sessions is in that state; without `--status` all are shown",
            Scope::AwaitingMe => "nothing waits for your approval or review",
            Scope::Everybody => "nobody has a session",
            _ => "no sessions; `sorry request --tier developer --hours 8` asks for one",
        });
        return Ok(0);
    }
    // Whose files cannot be read has still sessions.
    let profiles = files::profiles(app).unwrap_or_default();
    let now = (app.clock)();
    let row = |session: &SessionView| {
        let names: Vec<&str> =
            files::of_session(&profiles, &session.session_id).map(|name| name.as_str()).collect();
        let mut row =
            vec![session.session_id.to_string(), session.state.to_string(), session.tier.to_string()];
        if of_others {
            row.push(session.person.to_string());
        }
        let mut ends = sessions::end(session, now);
        if sessions::is_being_extended(session) {
            ends.push_str(", being extended");
        }
        row.extend([ends, names.join(", ")]);
        row
    };
    let heading: &[&str] = if of_others {
        &["session", "state", "tier", "person", "ends", "profile"]
    } else {
        &["session", "state", "tier", "ends", "profile"]
    };
    app.ui.table(heading, &listed.iter().map(row).collect::<Vec<_>>())?;
    Ok(0)
}
