//! `sorry admin`: with the administrator's own credentials. The audit is also for those who are registered to read it.

mod audit;
mod callers;
mod entry;
mod mfa;
mod principal;
mod suspension;
mod sweep;
mod tiers;

use crate::{
    app::App,
    args::{Admin, Callers},
    error::Result,
};

pub(crate) async fn run(app: &App, command: Admin) -> Result<u8> {
    match command {
        Admin::Callers(Callers::Add(arguments)) => callers::add(app, *arguments).await,
        Admin::Callers(Callers::List(arguments)) => callers::list(app, &arguments).await,
        Admin::Callers(Callers::Suspend(arguments)) => suspension::suspend(app, &arguments).await,
        Admin::Callers(Callers::Resume(arguments)) => suspension::resume(app, &arguments).await,
        Admin::Callers(Callers::Remove(arguments)) => callers::remove(app, &arguments).await,
        Admin::Tiers(command) => tiers::run(app, command).await,
        Admin::Audit(arguments) => audit::run(app, &arguments).await,
        Admin::Sweep(arguments) => sweep::run(app, &arguments).await,
    }
}
