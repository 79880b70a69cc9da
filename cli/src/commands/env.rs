//! `sorry env`: lines for a shell to read.

use sorry_profiles::Form;

use crate::{
    app::App,
    args::Env,
    delivery::{environment::Lines, source},
    error::{CliError, Result},
    files,
};

pub(crate) async fn run(app: &App, arguments: &Env) -> Result<u8> {
    let lines = Lines::new(arguments.shell);
    if arguments.unset {
        app.ui.secret(&lines.unset_all().into_secret())?;
        return Ok(0);
    }
    let chosen = source::choose(app, arguments.profile.as_ref())?;
    if chosen.form == Form::Process && !arguments.keys {
        app.ui.secret(&lines.profile(&chosen.name).into_secret())?;
        return Ok(0);
    }
    if !arguments.keys && app.ui.shows_data_to_people() {
        return Err(CliError::usage("this would show keys on the terminal")
            .hint("`eval \"$(sorry env)\"` takes them into the shell, `--keys` shows them here"));
    }
    let credentials = chosen.credentials(app).await?;
    files::warn_of_batch(app);
    app.ui.secret(&lines.keys(&credentials).into_secret())?;
    Ok(0)
}
