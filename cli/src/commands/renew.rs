//! `sorry renew`: a session's credentials, for the first time (after `--no-wait`) or again.

use sorry_wire::State;

use crate::{app::App, args::Renew, error::Result, files, sessions};

pub(crate) async fn run(app: &App, arguments: &Renew) -> Result<u8> {
    if let Some(profile) = &arguments.delivery.profile {
        files::refuse_taken(app, profile)?;
    }
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let id = sessions::resolve_one(&api, &arguments.session).await?;
    let session = api.session(id.as_str()).await?;
    let session = match session.state {
        State::Active => session,
        State::Requested | State::Provisioning => sessions::until_active(app, &api, session).await?,
        _ => return Err(sessions::not_active(&session)),
    };
    let delivered = files::deliver(app, &aws, &session, &arguments.delivery).await?;
    super::request::print(app, &session, Some(&delivered), arguments.output.format)?;
    files::explain(app, &session, &delivered);
    Ok(0)
}
