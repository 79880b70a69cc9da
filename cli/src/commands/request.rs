//! `sorry request`: ask, wait, assume the role, write the profile; success is said after all of it.

use serde_json::Value;
use sorry_wire::{DryRun, RequestSession, SessionView, State};

use crate::{
    app::App,
    args::{Request, TextFormat},
    assume,
    commands::dry_run,
    error::{CliError, Exit, Result},
    files::{self, Delivered},
    sessions,
};

pub(crate) async fn run(app: &App, arguments: Request) -> Result<u8> {
    let duration_seconds = match (arguments.hours, arguments.duration) {
        (Some(hours), _) => u64::from(hours) * 3600,
        (None, Some(seconds)) => seconds,
        (None, None) => return Err(CliError::usage("no window is given").hint("`--hours 8` or `--for 90m`")),
    };
    let way = files::Way::new(app, &arguments.delivery, None).await?;
    let printed = matches!(way, files::Way::Env);
    let body = RequestSession {
        client_request_id: client_request_id()?,
        duration_seconds,
        reason: arguments.reason,
        project: arguments.project,
        grant: arguments.grant.map(Into::into),
        dry_run: arguments.dry_run,
    };
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    if arguments.delivery.profile.is_none() && way.writes() {
        files::refuse_taken_default(app, &api, &arguments.tier).await?;
    }
    assume::check_mfa(app, &aws, &api, &arguments.tier).await?;
    if arguments.dry_run {
        let found: DryRun = api.post(&["tiers", arguments.tier.as_str(), "sessions"], &body).await?;
        return dry_run::print(app, &found, arguments.output.format);
    }
    way.try_out(app)?;
    app.on_interrupt("whether the session was asked for is not known: `sorry list` shows it");
    let session: SessionView = api.post(&["tiers", arguments.tier.as_str(), "sessions"], &body).await?;
    let id = session.session_id.clone();
    let goes_on = format!(
        "session `{id}` goes on: `sorry renew {id}` fetches its credentials, `sorry revoke {id}` ends it"
    );
    app.on_interrupt(goes_on.clone());
    let told = |error: CliError| error.also_about(id.as_str(), goes_on.clone());
    let pending = session.state == State::PendingApproval;
    // A code that was given with the command is long used up, or over, when somebody has decided.
    if arguments.no_wait || (pending && arguments.delivery.code.is_given()) {
        if pending {
            app.ui.say(&sessions::awaited(&session));
        }
        print(app, &session, None, arguments.output.format)?;
        app.ui.say(&format!(
            "`sorry status {id}` shows where it stands, `sorry renew {id}` fetches its credentials"
        ));
        return Ok(0);
    }
    let session = sessions::until_active(app, &api, session).await.map_err(told)?;
    let delivered =
        files::deliver(app, &aws, &session, &arguments.delivery, way, None).await.map_err(told)?;
    if !printed {
        print(app, &session, delivered.as_ref(), arguments.output.format)?;
    }
    match &delivered {
        Some(delivered) => files::explain(app, &session, delivered),
        None if !printed => app.ui.say(&format!("`sorry renew {id}` fetches its credentials")),
        None => (),
    }
    Ok(0)
}

/// A session and, where there is one, the profile that holds its credentials.
pub(super) fn print(
    app: &App,
    session: &SessionView,
    delivered: Option<&Delivered>,
    format: TextFormat,
) -> Result<()> {
    if format == TextFormat::Json {
        let mut object = sessions::as_json(session)?;
        if let Some(delivered) = delivered {
            object.insert("profile".to_owned(), Value::from(delivered.profile.as_str()));
            object.insert("credentials_expire_at".to_owned(), Value::from(delivered.expires_at.to_string()));
        }
        return app.ui.json(&object);
    }
    let now = (app.clock)();
    let mut pairs = vec![
        ("session", session.session_id.to_string()),
        ("state", session.state.to_string()),
        ("tier", session.tier.to_string()),
        ("namespace", session.namespace.to_string()),
        sessions::expiry(session, now),
    ];
    if let Some(delivered) = delivered {
        pairs.push(("profile", delivered.profile.to_string()));
    }
    app.ui.pairs(&pairs)
}

/// 128 random bits in the form of a UUID: the service's key against asking twice.
pub(super) fn client_request_id() -> Result<String> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random)
        .map_err(|error| CliError::new(Exit::Failed, format!("no random numbers: {error}")))?;
    let hex = format!("{:032x}", u128::from_be_bytes(random));
    let part = |range| hex.get(range).unwrap_or_default();
    Ok([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_new_each_time_and_of_the_services_alphabet() {
        let (one, other) = (client_request_id().unwrap(), client_request_id().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert!(one.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'), "{one}");
    }
}
