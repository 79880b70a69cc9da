//! `sorry completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{
    app::App,
    args::Arguments,
    error::{CliError, Exit, Result},
};

pub(crate) fn run(app: &App, shell: Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sorry", &mut script);
    let script = String::from_utf8(script)
        .map_err(|_| CliError::new(Exit::Bug, "the completion script is no text"))?;
    app.ui.raw(&script)?;
    Ok(0)
}
