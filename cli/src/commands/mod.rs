//! One file for each command: `commands/<verb>.rs`.

mod admin;
mod approvals;
mod completions;
mod console;
pub(crate) mod credential_process;
mod doctor;
mod dry_run;
mod env;
mod exec;
mod extend;
mod list;
mod profiles;
mod renew;
mod request;
mod revoke;
mod setup;
mod status;
mod tiers;
mod vault;
mod whoami;

use sorry_wire::Vote;

use crate::{app::App, args::Command, error::Result};

/// Runs a command; what it returns is the exit code.
pub(crate) async fn run(app: &App, command: Command) -> Result<u8> {
    match command {
        Command::Setup(arguments) => setup::run(app, &arguments).await,
        Command::Vault(arguments) => vault::run(app, arguments).await,
        Command::Request(arguments) => request::run(app, arguments).await,
        Command::List(arguments) => list::run(app, &arguments).await,
        Command::Status(arguments) => status::run(app, &arguments).await,
        Command::Renew(arguments) => renew::run(app, &arguments).await,
        Command::Approve(arguments) => approvals::decide(app, Vote::Approve, arguments).await,
        Command::Deny(arguments) => approvals::decide(app, Vote::Deny, arguments).await,
        Command::Review(arguments) => approvals::review(app, arguments).await,
        Command::Extend(arguments) => extend::run(app, &arguments).await,
        Command::Revoke(arguments) => revoke::run(app, &arguments).await,
        Command::Exec(arguments) => exec::run(app, &arguments).await,
        Command::Env(arguments) => env::run(app, &arguments).await,
        Command::Console(arguments) => console::run(app, &arguments).await,
        Command::CredentialProcess(arguments) => credential_process::run(app, &arguments),
        Command::Tiers(arguments) => tiers::run(app, arguments).await,
        Command::Whoami(arguments) => whoami::run(app, &arguments).await,
        Command::Admin(arguments) => admin::run(app, arguments).await,
        Command::Profiles(arguments) => profiles::run(app, arguments).await,
        Command::Doctor(arguments) => doctor::run(app, &arguments).await,
        Command::Completions { shell } => completions::run(app, shell),
    }
}
