//! Runs a program, says how long it took and how much memory at most: nanoseconds and bytes, on standard output. Small on purpose;
//! see `sorry_benchmarks::measured`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what it is for")]

use std::{
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use wait4::Wait4;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else { return ExitCode::from(2) };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let ended = command.spawn().and_then(|child| child.wait4());
    let took = started.elapsed();
    match ended {
        Ok(used) if used.status.success() => {
            println!("{} {}", took.as_nanos(), used.rusage.maxrss);
            ExitCode::SUCCESS
        }
        Ok(used) => {
            eprintln!("{}", used.status);
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
