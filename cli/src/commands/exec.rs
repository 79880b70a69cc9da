//! `sorry exec`: another program in the place of this one, with a session's credentials in its environment.

use std::{io, os::unix::process::CommandExt, process::Command};

use crate::{
    app::App,
    args::Exec,
    delivery::{environment, source},
    error::{CliError, Result},
    settings,
};

/// As shells and `env` count it.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

pub(crate) async fn run(app: &App, arguments: &Exec) -> Result<u8> {
    let chosen = source::choose(app, arguments.profile.as_ref())?;
    let credentials = chosen.credentials(app).await?;
    let Some((program, words)) = arguments.command.split_first() else {
        return Err(CliError::usage("no command is given").hint("`sorry exec sue-developer -- aws s3 ls`"));
    };
    let mut command = Command::new(program);
    command.args(words);
    for name in settings::names_of_process().filter(|name| environment::is_removed(name)) {
        command.env_remove(name);
    }
    for (name, value) in environment::variables(&credentials) {
        command.env(name, value.as_str());
    }
    app.ui.done();
    app.unprotect();
    // Only an error comes back.
    let error = command.exec();
    let shown = program.to_string_lossy();
    Err(match error.kind() {
        io::ErrorKind::NotFound => {
            CliError { exit: NOT_FOUND, ..CliError::failed(format!("there is no command `{shown}`")) }
        }
        _ => CliError { exit: NOT_RUN, ..CliError::failed(format!("cannot run `{shown}`: {error}")) },
    })
}
