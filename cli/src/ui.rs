//! The only place that prints. Standard output is data; everything else goes to standard error: progress as a spinner on a
//! terminal and as plain lines otherwise, nothing of it with `--quiet`.

use std::{
    io::{self, ErrorKind, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use crate::error::{CliError, Exit, Result};

/// Where words go.
pub(crate) struct Ui {
    quiet: bool,
    verbose: bool,
    terminal: bool,
    colour: bool,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    spinner: Option<ProgressBar>,
    said: String,
}

impl Ui {
    pub(crate) fn new(quiet: bool, verbose: bool, no_color: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { quiet, verbose, terminal, colour: terminal && !no_color, progress: Mutex::default() }
    }

    /// A line of data.
    pub(crate) fn data(&self, line: &str) -> Result<()> {
        self.done();
        readable(to_stdout(&format!("{}\n", printable(line))))
    }

    /// Data as it is, such as a completion script.
    pub(crate) fn raw(&self, text: &str) -> Result<()> {
        readable(to_stdout(text))
    }

    /// Data for programs.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<()> {
        self.done();
        readable(to_stdout(&format!("{}\n", pretty(value)?)))
    }

    /// Data that holds a secret, said once. The one way by which a secret is printed; a reader that has gone is an error here.
    pub(crate) fn secret(&self, text: &SecretString) -> Result<()> {
        self.done();
        to_stdout(text.expose_secret()).map_err(|error| unwritable(&error))
    }

    /// Whether somebody reads the data on a terminal, and no program does.
    pub(crate) fn shows_data_to_people(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Names and values, one pair a line; pairs without a value are left out.
    pub(crate) fn pairs(&self, pairs: &[(&str, String)]) -> Result<()> {
        let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            self.data(&format!("{name:width$}  {value}"))?;
        }
        Ok(())
    }

    /// Rows under a heading. Nothing is cut off: ids are there to be copied.
    pub(crate) fn table(&self, heading: &[&str], rows: &[Vec<String>]) -> Result<()> {
        for line in table(heading, rows) {
            self.data(&line)?;
        }
        Ok(())
    }

    /// What was done, and what can be done next.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.done();
            to_stderr(text);
        }
    }

    /// Something that went well and may surprise later.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            self.done();
            to_stderr(&format!("{} {}", self.paint("33", "warning:"), printable(text)));
        }
    }

    /// What `-v` adds.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.done();
            to_stderr(&printable(text));
        }
    }

    /// What is being waited for, and why. Saying the same again says nothing.
    pub(crate) fn progress(&self, text: &str) {
        let mut progress = self.shown();
        if self.quiet || progress.said == text {
            return;
        }
        text.clone_into(&mut progress.said);
        if !self.terminal {
            to_stderr(text);
            return;
        }
        let spinner = progress.spinner.get_or_insert_with(|| {
            let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                spinner.set_style(style);
            }
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        spinner.set_message(printable(text));
    }

    /// Ends what [`Ui::progress`] began.
    pub(crate) fn done(&self) {
        let Progress { spinner, .. } = std::mem::take(&mut *self.shown());
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
    }

    fn shown(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first line of standard input, for scripts.
    pub(crate) async fn standard_input(&self) -> Option<SecretString> {
        read_line().await
    }

    /// The end of a command that did not work.
    pub(crate) fn error(&self, error: &CliError) {
        self.done();
        to_stderr(&format!("{} {}", self.paint("1;31", "error:"), printable(&error.message)));
        for hint in error.hints() {
            to_stderr(&format!("{} {}", self.paint("36", "hint:"), printable(hint)));
        }
        // Enough to find the refusal in `docs/errors.md` and the request in the service's log.
        match (&error.code, &error.request_id) {
            (Some(code), Some(request)) => {
                to_stderr(&format!("code: {} (request {})", printable(code), printable(request)))
            }
            (Some(code), None) => to_stderr(&format!("code: {}", printable(code))),
            _ => (),
        }
    }

    /// The end of a command for programs: one line.
    pub(crate) fn line(&self, error: &CliError) {
        self.done();
        let hint = error.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
        to_stderr(&printable(&format!("error: {}{hint}", error.message)).replace('\n', " "));
    }

    fn paint(&self, style: &str, word: &str) -> String {
        if self.colour { format!("\u{1b}[{style}m{word}\u{1b}[0m") } else { word.to_owned() }
    }
}

async fn read_line() -> Option<SecretString> {
    let line = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok().map(|_| line)
    });
    let line = line.await.ok()??;
    let line = line.trim();
    (!line.is_empty()).then(|| SecretString::from(line))
}

/// Text from elsewhere must not move the cursor or change colours.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || *character == '\n').collect()
}

fn pretty(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| CliError::new(Exit::Bug, format!("cannot write JSON: {error}")))
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut to = io::stdout().lock();
    to.write_all(text.as_bytes()).and_then(|()| to.flush())
}

/// A reader that has read enough, such as `head`, is nobody's fault: what the command does besides goes on.
fn readable(written: io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(&error)),
        _ => Ok(()),
    }
}

fn unwritable(error: &io::Error) -> CliError {
    CliError::failed(format!("cannot write to standard output: {error}"))
}

fn to_stderr(text: &str) {
    // Nowhere is left to say that this failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn table(heading: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let heading: Vec<String> = heading.iter().map(|word| word.to_uppercase()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heading).chain(rows).collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    all.iter()
        .map(|row| {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect()
}

/// A number of things: `1 digest`, `2 digests`.
pub(crate) fn counted<N: std::fmt::Display + PartialEq + From<u8>>(count: N, one: &str) -> String {
    let several = if count == N::from(1) { "" } else { "s" };
    format!("{count} {one}{several}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!(
            [0_u64, 1, 2].map(|count| counted(count, "digest")),
            ["0 digests", "1 digest", "2 digests"]
        );
    }

    #[test]
    fn tables_line_up_and_cut_nothing() {
        let rows = [vec!["7k3m9q2x4v8n1c5d".to_owned(), "x".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(
            table(&["session", "state"], &rows),
            ["SESSION           STATE", "7k3m9q2x4v8n1c5d  x", "a"]
        );
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{7}\rc\nd"), "a[2Jbc\nd");
    }
}
