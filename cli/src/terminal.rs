//! Questions to whoever sits at the terminal: on `/dev/tty`, whatever the standard streams are, and only in the foreground process
//! group, for a job in the background would be stopped by asking.

use std::{
    fs::File,
    io::{self, Read, Write},
    sync::{Mutex, PoisonError},
};

use rustix::{
    process::getpgrp,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr},
};
use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use crate::error::{CliError, Exit, Result};

/// Longer than anything that is typed.
const LONGEST_LINE: usize = 4096;

/// A terminal whose echo is off, with what it was before.
static SILENT: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    open().is_some()
}

/// Asks for something that may be seen while it is typed; blanks at its ends do not count. `None`: there is nobody to ask.
pub(crate) async fn ask(question: &str) -> Option<String> {
    let answer = line(format!("{question}: "), false).await?;
    String::from_utf8(answer.expose_secret().to_vec()).ok().map(|answer| answer.trim().to_owned())
}

/// Asks for a secret, the bytes as they are typed. An empty one is an answer, too.
pub(crate) async fn ask_secret(question: &str) -> Option<SecretSlice<u8>> {
    line(format!("{question}: "), true).await
}

/// Asks for a yes; everything else is a no.
pub(crate) async fn confirm(question: &str) -> Option<bool> {
    let answer = ask(&format!("{question} [y/N]")).await?;
    Some(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a yes that a command cannot go on without. `stays` says how things are after a no, and `besides` what else there is to know
/// where nobody can be asked.
///
/// # Errors
/// At a no, which is a refusal, and where nobody can be asked, which is a command line without `--yes`.
pub(crate) async fn agreed(question: &str, stays: &str, besides: &str) -> Result<()> {
    match confirm(question).await {
        Some(true) => Ok(()),
        Some(false) => Err(CliError::new(Exit::Refused, stays)),
        None => Err(CliError::usage(format!("there is no terminal to ask at, so {stays}"))
            .hint(format!("`--yes` agrees without being asked; {besides}"))),
    }
}

/// Puts the echo back, if it is off. Also for a program that is about to end while somebody is typing.
pub(crate) fn restore() {
    let silent = SILENT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((tty, before)) = silent {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&tty, OptionalActions::Now, &before);
    }
}

fn open() -> Option<File> {
    let tty = File::options().read(true).write(true).open("/dev/tty").ok()?;
    (tcgetpgrp(&tty).ok()? == getpgrp()).then_some(tty)
}

async fn line(question: String, silent: bool) -> Option<SecretSlice<u8>> {
    // On a thread of its own: Ctrl-C is heard meanwhile.
    tokio::task::spawn_blocking(move || ask_line(&question, silent).ok().flatten()).await.ok()?
}

fn ask_line(question: &str, silent: bool) -> io::Result<Option<SecretSlice<u8>>> {
    let Some(mut tty) = open() else { return Ok(None) };
    if silent {
        silence(&tty)?;
    }
    // Not through standard error: that may be a file.
    tty.write_all(question.as_bytes())?;
    let typed = read_line(&mut tty);
    if silent {
        restore();
        tty.write_all(b"\n")?;
    }
    typed
}

fn silence(tty: &File) -> io::Result<()> {
    let before = tcgetattr(tty)?;
    let mut modes = before.clone();
    modes.local_modes -= LocalModes::ECHO;
    *SILENT.lock().unwrap_or_else(PoisonError::into_inner) = Some((tty.try_clone()?, before));
    // What was typed before the question is no answer to it.
    Ok(tcsetattr(tty, OptionalActions::Flush, &modes)?)
}

/// One line, without its end; `None` where the terminal is closed, or at Ctrl-D.
fn read_line(tty: &mut File) -> io::Result<Option<SecretSlice<u8>>> {
    // Room enough that it never grows: growing leaves a copy behind.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST_LINE));
    let mut byte = Zeroizing::new([0_u8; 1]);
    while line.len() < LONGEST_LINE {
        match tty.read(byte.as_mut()) {
            Ok(0) => return Ok(None),
            Ok(_) if byte.as_slice() == b"\n" => return Ok(Some(SecretSlice::from(line.to_vec()))),
            Ok(_) => line.extend_from_slice(byte.as_slice()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
