//! What was measured on, and with which versions.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub processor: String,
    /// Processors that a program may use.
    pub processors: usize,
    /// Memory, in GiB.
    pub memory_gib: f64,
    /// Operating system and version of its kernel.
    pub system: String,
    /// Processes that were ready to run when the measuring began, by the minute's average: on an idle machine less than 1.
    pub load_before: f64,
    /// As above, when it ended; the measuring itself counts.
    pub load_after: f64,
}

/// A program with its version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Which.
    pub name: String,
    /// Its version, as it says.
    pub version: String,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim))
}

/// The load, by the minute's average.
pub fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// This machine, at the beginning.
pub fn machine() -> Machine {
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let kilobytes: f64 = after(&memory, "MemTotal")
        .and_then(|value| value.strip_suffix(" kB"))
        .and_then(|value| value.parse().ok())
        .unwrap_or_default();
    let release = read("/etc/os-release");
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    Machine {
        processor: after(&cpu, "model name").unwrap_or("unknown").to_owned(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_gib: (kilobytes / 1024.0 / 1024.0).round(),
        system: format!("{}, Linux {}", name.trim_matches('"'), read("/proc/sys/kernel/osrelease").trim()),
        load_before: load(),
        load_after: 0.0,
    }
}

/// The first line that a program prints when it is asked for its version; `none` when it is not there.
pub fn version_of(program: &Path, words: &[&str]) -> String {
    let done = Command::new(program).args(words).output();
    let text = done.map(|done| [done.stdout, done.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("none").trim().to_owned()
}

/// The version of a package in a Python environment.
pub fn package_version(python: &Path, package: &str) -> String {
    version_of(
        python,
        &["-c", &format!("from importlib.metadata import version; print(version('{package}'))")],
    )
}
