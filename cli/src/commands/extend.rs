//! `sorry extend`: a later end for a session. Says the new end when AWS has it, and then makes the credentials at hand last as long.

use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::Timestamp;
use sorry_profiles::{Form, Profile};
use sorry_wire::{ExtendSession, ExtensionStatus, SessionView};

use crate::{
    app::{App, Aws},
    args::{Delivery, Extend, TextFormat},
    error::{CliError, Result},
    files::{self, Delivered, Way},
    mfa, sessions,
    time::{shown, with_distance},
};

/// The longest that temporary credentials get a role for.
const CHAINED_SECONDS: i64 = 3_600;
/// An MFA session that ends sooner could end under way.
const SPARE_SECONDS: i64 = 60;

pub(crate) async fn run(app: &App, arguments: &Extend) -> Result<u8> {
    let duration_seconds = match (arguments.hours, arguments.duration) {
        (Some(hours), _) => u64::from(hours) * 3600,
        (None, Some(seconds)) => seconds,
        (None, None) => return Err(CliError::usage("no time is given").hint("`--hours 2` or `--for 90m`")),
    };
    let aws = with_mfa(app, arguments).await?;
    let api = aws.api(app)?;
    let id = sessions::resolve_one(&api, &arguments.session).await?;
    let body = ExtendSession { client_request_id: super::request::client_request_id()?, duration_seconds };
    app.on_interrupt(format!("whether `{id}` is being extended is not known: `sorry status {id}` shows it"));
    let session: SessionView = api.post(&["sessions", id.as_str(), "extension"], &body).await?;
    app.on_interrupt(format!("the extension of `{id}` goes on: `sorry status {id}` shows where it stands"));
    let waits = session.extension.as_ref().filter(|asked| asked.status == ExtensionStatus::AwaitingApproval);
    if let Some(asked) = waits {
        print(app, &session, &[], arguments.output.format)?;
        let until = asked.lapses_at.map(|at| format!(" until {}", shown(at))).unwrap_or_default();
        app.ui.say(&format!(
            "others can approve it{until}; `sorry status {id}` shows where it stands, `sorry renew {id}` fetches longer credentials then"
        ));
        return Ok(0);
    }
    if arguments.no_wait {
        print(app, &session, &[], arguments.output.format)?;
        app.ui.say(&format!("`sorry status {id}` shows where it stands"));
        return Ok(0);
    }
    let session = sessions::until_extended(app, &api, session).await?;
    let delivered = refresh(app, aws, &session, arguments).await;
    print(app, &session, &delivered, arguments.output.format)?;
    app.ui.say(&format!("`{id}` lasts until {}", shown(session.expires_at)));
    for delivered in &delivered {
        files::explain(app, &session, delivered);
    }
    Ok(0)
}

/// The gateway asks for MFA here: the session with MFA that the vault keeps, where it does, saves a code.
async fn with_mfa(app: &App, arguments: &Extend) -> Result<Aws> {
    // Opens the vault, if there is one.
    app.aws().await?;
    let now = (app.clock)();
    let kept = app.opened_vault().and_then(|open| open.contents().mfa_session.clone());
    match kept.filter(|kept| kept.expires_at.as_second() - now.as_second() > SPARE_SECONDS) {
        Some(kept) => {
            let key = SharedCredentialsProvider::new(mfa::credentials(&kept));
            app.aws_with(Some(key), "the MFA session that the vault keeps".to_owned()).await
        }
        None => app.aws_with_mfa(&arguments.code).await,
    }
}

/// Writes every profile of the session again whose credentials end before it. What cannot be written is said, and changes nothing about
/// the extension.
async fn refresh(app: &App, aws: Aws, session: &SessionView, arguments: &Extend) -> Vec<Delivered> {
    let id = &session.session_id;
    let profiles = match files::profiles(app) {
        Ok(profiles) => profiles,
        Err(error) => {
            app.ui.warn(&format!("your profiles cannot be read: {}", error.message));
            return Vec::new();
        }
    };
    let mark = id.as_str();
    let holders =
        profiles.iter().filter(|profile| profile.session.as_ref().is_some_and(|held| held.as_str() == mark));
    // Without MFA in the role's trust policy the caller's own key gets the longest credentials.
    let aws = if session.mfa { aws } else { app.aws().await.unwrap_or(aws) };
    let mut delivered = Vec::new();
    for holder in holders.filter(|profile| profile.expires_at.is_none_or(|end| end < session.expires_at)) {
        match renewed(app, &aws, session, holder, arguments).await {
            Ok(Some(written)) => delivered.push(written),
            Ok(None) => {}
            Err(error) => app.ui.warn(&format!(
                "profile `{}` keeps the credentials that it has: {}; `sorry renew {id}` tries again",
                holder.name, error.message
            )),
        }
    }
    delivered
}

async fn renewed(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    holder: &Profile,
    arguments: &Extend,
) -> Result<Option<Delivered>> {
    let temporary = aws.credentials().await?.session_token().is_some();
    if holder.form != Form::Process
        && temporary
        && holder.expires_at.is_some_and(|end| lasts_longer(end, (app.clock)(), session.expires_at))
    {
        app.ui.warn(&format!(
            "profile `{}` keeps its credentials, which last longer than those that temporary credentials get: `sorry renew {}` \
             writes new ones before they end",
            holder.name, session.session_id
        ));
        return Ok(None);
    }
    let how =
        Delivery { profile: None, deliver: None, code: arguments.code.clone(), in_place: arguments.in_place };
    let way = Way::new(app, &how, Some(holder.form)).await?;
    way.try_out(app)?;
    files::deliver(app, aws, session, &how, way, Some(holder.name.clone())).await
}

/// Whether credentials that end then outlast what temporary credentials would get now.
fn lasts_longer(end: Timestamp, now: Timestamp, session_end: Timestamp) -> bool {
    end.as_second() >= (now.as_second() + CHAINED_SECONDS).min(session_end.as_second())
}

fn print(app: &App, session: &SessionView, delivered: &[Delivered], format: TextFormat) -> Result<()> {
    if format == TextFormat::Json {
        let mut object = sessions::as_json(session)?;
        let profiles: Vec<&str> = delivered.iter().map(|delivered| delivered.profile.as_str()).collect();
        object.insert("renewed_profiles".to_owned(), profiles.into());
        return app.ui.json(&object);
    }
    let now = (app.clock)();
    app.ui.pairs(&[
        ("session", session.session_id.to_string()),
        ("state", session.state.to_string()),
        ("tier", session.tier.to_string()),
        ("expires", with_distance(session.expires_at, now)),
        ("extension", sessions::extension(session).unwrap_or_default()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_replaced_by_shorter_ones() {
        let at = |second| Timestamp::from_second(second).unwrap();
        // Two hours left at hand, one to be had.
        assert!(lasts_longer(at(7_200), at(0), at(20_000)));
        assert!(!lasts_longer(at(3_599), at(0), at(20_000)));
        // The session ends within the hour: what is to be had lasts as long as it does.
        assert!(!lasts_longer(at(900), at(0), at(1_800)));
    }
}
