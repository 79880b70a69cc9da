//! `sorry vault …`.

mod contents;
pub(crate) mod slots;
pub(crate) mod status;

use crate::{app::App, args::Vault, error::Result};

pub(crate) async fn run(app: &App, command: Vault) -> Result<u8> {
    match command {
        Vault::Status(arguments) => status::run(app, &arguments),
        Vault::AddKey(arguments) => slots::add_key(app, arguments).await,
        Vault::AddPassphrase(arguments) => slots::add_passphrase(app, arguments).await,
        Vault::RemoveKey(arguments) => slots::remove_key(app, &arguments).await,
        Vault::Rekey(arguments) => slots::rekey(app, &arguments).await,
        Vault::Import(arguments) => contents::import(app, &arguments).await,
        Vault::Show(arguments) => contents::show(app, &arguments).await,
        Vault::Export(arguments) => contents::export(app, &arguments).await,
        Vault::Rotate(arguments) => contents::rotate(app, arguments).await,
        Vault::Remove(arguments) => contents::remove(app, &arguments).await,
    }
}
