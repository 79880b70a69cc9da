//! `sorry renew`: a session's credentials, for the first time (after `--no-wait`) or again.

use sorry_wire::State;

use crate::{app::App, args::Renew, error::Result, files, sessions};

pub(crate) async fn run(app: &App, arguments: &Renew) -> Result<u8> {
    let aws = app.aws().await?;
    let api = aws.api(app)?;
    let id = sessions::resolve_one(&api, &arguments.session).await?;
    let session = api.session(id.as_str()).await?;
    let session = match session.state {
        State::Active => session,
        State::Requested | State::Provisioning => sessions::until_active(app, &api, session).await?,
        _ => return Err(sessions::not_active(&session)),
    };
    let profiles = files::profiles(app)?;
    let holder = match &arguments.delivery.profile {
        Some(name) => profiles.iter().find(|profile| profile.name == *name),
        None => files::holding(&profiles, &id),
    };
    let way = files::Way::new(app, &arguments.delivery, holder.map(|profile| profile.form)).await?;
    way.try_out(app)?;
    let holder = holder.map(|profile| profile.name.clone());
    let printed = matches!(way, files::Way::Env);
    let delivered = files::deliver(app, &aws, &session, &arguments.delivery, way, holder).await?;
    if !printed {
        super::request::print(app, &session, delivered.as_ref(), arguments.output.format)?;
    }
    if let Some(delivered) = &delivered {
        files::explain(app, &session, delivered);
    }
    Ok(0)
}
