//! `sorry admin`: with the administrator's own credentials.

mod callers;
mod mfa;
mod principal;

use sorry_wire::SweepConfirmed;

use crate::{
    app::App,
    args::{Admin, Callers, Sweep, TextFormat},
    error::Result,
    time::shown,
};

pub(crate) async fn run(app: &App, command: Admin) -> Result<u8> {
    match command {
        Admin::Callers(Callers::Add(arguments)) => callers::add(app, *arguments).await,
        Admin::Callers(Callers::List(arguments)) => callers::list(app, &arguments).await,
        Admin::Callers(Callers::Remove(arguments)) => callers::remove(app, &arguments).await,
        Admin::Sweep(arguments) => confirm_sweep(app, &arguments).await,
    }
}

async fn confirm_sweep(app: &App, arguments: &Sweep) -> Result<u8> {
    let aws = app.aws().await?;
    let confirmed: SweepConfirmed = aws.api(app)?.put_nothing(&["admin", "sweep", "confirmation"]).await?;
    if arguments.output.format == TextFormat::Json {
        app.ui.json(&confirmed)?;
        return Ok(0);
    }
    let held = confirmed
        .held_since
        .map_or_else(|| "it did not hold".to_owned(), |since| format!("it held since {}", shown(since)));
    app.ui.pairs(&[("confirmed", shown(confirmed.confirmed_at)), ("before", held)])?;
    app.ui.say("the next sweep within the hour removes what it held");
    Ok(0)
}
