//! `sorry`, the command line. Arguments → settings → command → exit code; and the only clock.
//!
//! | file | what it is for |
//! |---|---|
//! | `args.rs` | what can be typed |
//! | `settings.rs`, `env_vars.rs` | what the environment and the files of settings say; where the bootstrap key comes from |
//! | `ui.rs` | all that is printed |
//! | `error.rs` | how commands fail |
//! | `api.rs` | the service: signing, retries, the gateway's refusals |
//! | `assume.rs` | the session's credentials, from STS |
//! | `files.rs` | `~/.aws` |
//! | `delivery/` | how credentials reach other programs: environment, `credential_process`, console |
//! | `vault/` | the vault: opening it, its key, the key's rotation |
//! | `mfa.rs` | codes, and sessions made with them |
//! | `terminal.rs` | questions to the person |
//! | `config_file.rs` | the file of settings, written |
//! | `sessions.rs` | ids, waiting, showing |
//! | `commands/` | one file for each command |

mod api;
mod app;
mod args;
mod assume;
mod commands;
mod config_file;
mod delivery;
mod env_vars;
mod error;
mod files;
mod issued;
mod mfa;
mod refusal;
mod remedy;
mod sessions;
mod settings;
mod terminal;
mod time;
mod ui;
mod vault;

use std::{
    panic,
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::Parser;
use jiff::Timestamp;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{
    app::App,
    args::{Arguments, Command},
    error::{CliError, Exit, Result},
    settings::{Environment, Settings},
    ui::Ui,
};

fn main() -> ExitCode {
    // A panic is a fault of this program and exits as one; its message is already printed.
    ExitCode::from(panic::catch_unwind(run).unwrap_or(Exit::Bug as u8))
}

fn run() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => {
            // Help and version are data, everything else is a wrong command line; a closed pipe is nobody's fault.
            let _ = told.print();
            return if told.use_stderr() { Exit::Usage as u8 } else { 0 };
        }
    };
    let environment = Environment::of_process();
    let no_color = environment.get(env_vars::NO_COLOR).is_some();
    let for_programs = matches!(arguments.command, Command::CredentialProcess(_));
    let ui = Ui::new(arguments.global.quiet, arguments.global.verbose, no_color);
    let settings = match Settings::new(&arguments.global, environment) {
        Ok(settings) => settings,
        Err(error) => {
            if for_programs {
                ui.line(&error)
            } else {
                ui.error(&error)
            }
            return error.exit;
        }
    };
    let app = Arc::new(App::new(settings, ui, now));
    // Whatever the command: there may be secrets in memory from now on.
    app.protect();
    // For programs: started often, and in their logs a failure is one line.
    if let Command::CredentialProcess(arguments) = &arguments.command {
        return commands::credential_process::run(&app, arguments).unwrap_or_else(|error| {
            app.ui.line(&error);
            error.exit
        });
    }
    let ended = in_runtime(&app, arguments.command);
    terminal::restore();
    match ended {
        Ok(exit) => exit,
        Err(error) => {
            if !app.ends() {
                // The watch over Ctrl-C was faster, and ends the program now.
                return error.exit;
            }
            app.ui.error(&with_reason(&app, error.clone()));
            error.exit
        }
    }
}

/// How long a command that does not wait for anything, such as one that writes a file, may go on after Ctrl-C.
const GRACE: Duration = Duration::from_millis(500);

/// Runs the command until it ends or Ctrl-C is pressed.
fn in_runtime(app: &Arc<App>, command: Command) -> Result<u8> {
    let runtime = runtime()?;
    let interrupt = watch_interrupt(app)?;
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = commands::run(app, command) => ended,
            Ok(()) = interrupt => Err(interrupted(app)),
        }
    });
    // A thread that still waits for a line of input must not keep the program.
    runtime.shutdown_background();
    ended
}

fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("cannot start: {error}")))
}

/// Watches over Ctrl-C on a thread of its own: the command's is busy while it works on files, and waits up to 20 seconds for their
/// lock. A write takes much less than [`GRACE`]; one that does not is ended all the same and harms nothing, as the new file is put in
/// the old one's place as a whole, and what lies beside it is cleared up by the next write.
fn watch_interrupt(app: &Arc<App>) -> Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    let (runtime, app) = (runtime()?, app.clone());
    let mut pressed = runtime
        .block_on(async { signal(SignalKind::interrupt()) })
        .map_err(|error| CliError::failed(format!("cannot watch for Ctrl-C: {error}")))?;
    // Nobody waits for this thread: it ends with the program.
    thread::spawn(move || {
        runtime.block_on(pressed.recv());
        // Nobody listens any more where the command has just ended.
        let _ = tell.send(());
        thread::sleep(GRACE);
        let error = interrupted(&app);
        if app.ends() {
            app.ui.error(&error);
        }
        terminal::restore();
        process::exit(i32::from(error.exit));
    });
    Ok(told)
}

fn interrupted(app: &App) -> CliError {
    CliError::new(Exit::Interrupted, "interrupted").hint(app.interrupted().unwrap_or_default())
}

/// A refusal has a simple reason when the key in use is not the bootstrap key.
fn with_reason(app: &App, error: CliError) -> CliError {
    if error.exit != Exit::Refused as u8 {
        return error;
    }
    match files::caller_is_session(app) {
        Some(profile) => CliError {
            message: format!(
                "the key in use is that of a session (profile `{profile}`), and `sorry` takes only bootstrap keys"
            ),
            // What the refusal advised was for a bootstrap key.
            ..error.hint("choose the bootstrap key's profile with `AWS_PROFILE` or `--caller-profile`")
        },
        None => error,
    }
}

#[expect(clippy::disallowed_methods, reason = "the one clock of the program")]
fn now() -> Timestamp {
    Timestamp::now()
}
