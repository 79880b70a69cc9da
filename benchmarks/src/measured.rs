//! Running a program to its end and measuring it: wall-clock time and peak memory.
//!
//! A child's peak memory counts the memory of whoever it was forked from, so a large parent hides a small child. The programs are
//! therefore started by a small one, `sorry-measured`, which does nothing else and prints what it saw.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From just before the start to the end, in milliseconds.
    pub milliseconds: f64,
    /// The largest resident set, in MiB.
    pub peak_mib: f64,
}

/// The folder of this build's programs.
pub fn binaries() -> PathBuf {
    sorry_tests::binaries()
}

/// Runs `command` to its end, which must be a good one. Its output goes nowhere.
///
/// # Panics
/// When it cannot be run or fails.
pub fn run(command: &Command) -> Run {
    let mut measured = Command::new(binaries().join("sorry-measured"));
    measured.arg(command.get_program()).args(command.get_args());
    measured.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        measured.current_dir(folder);
    }
    let done =
        measured.stdin(Stdio::null()).output().expect("`sorry-measured` runs: build the workspace first");
    let said = String::from_utf8_lossy(&done.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [nanoseconds, peak_bytes] = numbers[..] else {
        panic!("{command:?} failed: {said}{}", String::from_utf8_lossy(&done.stderr));
    };
    Run { milliseconds: nanoseconds / 1e6, peak_mib: peak_bytes / f64::from(1 << 20) }
}

/// A value of `/proc/<pid>/status` that is in kB, such as `VmHWM`, in MiB.
///
/// # Panics
/// When the process is gone, or the system has no such thing.
pub fn status_mib(pid: u32, name: &str) -> f64 {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process has a status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.unwrap_or_else(|| panic!("no {name} in:\n{status}")) / 1024.0
}
