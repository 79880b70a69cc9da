//! A writer that is killed at each of its steps: the process ends by SIGKILL, nothing is cleaned up behind it.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts itself again and tells its child by the environment"
)]

use std::cell::Cell;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::common::{Home, context, files_in, name, process, put, session};
use rustix::process::{Signal, getpid, kill_process};
use sorry_profiles::{Actor, Context, Probe, Step};

const HOME: &str = "SORRY_TEST_CRASH_HOME";
const STEP: &str = "SORRY_TEST_CRASH_STEP";
const FILE: &str = "SORRY_TEST_CRASH_FILE";
const FORM: &str = "SORRY_TEST_CRASH_FORM";
const EBUSY: i32 = 16;

/// Kills its own process at a step of the first file (the config file) or of the second.
struct Kill {
    step: Step,
    skip: Cell<usize>,
    mount_point: bool,
}

impl Probe for Kill {
    fn reached(&self, step: Step) -> io::Result<()> {
        if step == self.step {
            if self.skip.get() == 0 {
                kill_process(getpid(), Signal::KILL).unwrap();
            }
            self.skip.set(self.skip.get() - 1);
        }
        if self.mount_point && step == Step::Renaming {
            Err(io::Error::from_raw_os_error(EBUSY))
        } else {
            Ok(())
        }
    }
}

fn step(text: &str) -> Step {
    Step::ALL.into_iter().find(|step| format!("{step:?}") == text).unwrap()
}

/// What the child does; in the parent's run there is nothing to do.
#[test]
fn child() {
    let Ok(home) = env::var(HOME) else { return };
    let step = step(&env::var(STEP).unwrap());
    let skip = env::var(FILE).unwrap().parse().unwrap();
    let probe = Kill { step, skip: Cell::new(skip), mount_point: step == Step::BackedUp };
    let actor = Actor::this_process(false);
    let context = Context { probe: &probe, in_place: true, ..context(&actor) };
    let files = files_in(Path::new(&home));
    let _ = match env::var(FORM).unwrap().as_str() {
        "process" => files.write_process_profile(&context, &name("sue-developer"), &process("7k3m")),
        _ => files.write_session_profile(&context, &name("sue-developer"), &session("7k3m")),
    };
    panic!("still alive");
}

/// Starts itself, with a death at a step of the first file that is written or of the second.
fn crash(home: &Home, step: Step, file: usize, form: &str) {
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(HOME, home.folder.path())
        .env(STEP, format!("{step:?}"))
        .env(FILE, file.to_string())
        .env(FORM, form)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{form} {step:?} {file}");
}

#[test]
fn whatever_the_step_no_profile_is_lost_and_the_next_write_completes_it() {
    let credentials = "# mine\r\n[a]\r\naws_access_key_id = AKIATHEIRSTHEIRS";
    let config = "[default]\nregion = eu-west-1\n";
    for step in Step::ALL {
        for file in [0, 1] {
            let home = Home::new();
            put(&home.files.credentials, credentials.as_bytes());
            put(&home.files.config, config.as_bytes());
            crash(&home, step, file, "keys");

            let read = |path: &Path| fs::read_to_string(path).unwrap();
            assert!(read(&home.files.credentials).starts_with(credentials), "{step:?} {file}");
            assert!(read(&home.files.config).starts_with(config), "{step:?} {file}");
            let torn = read(&home.files.credentials).matches("CANARY/").count();
            assert!(torn == 0 || torn == 2, "{step:?} {file}: all of a profile or nothing");

            let _ = home
                .files
                .write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m"))
                .unwrap();
            let after = read(&home.files.credentials);
            assert!(after.starts_with(credentials) && after.matches("[sue-developer]").count() == 1);
            assert_eq!(read(&home.files.config).matches("[profile sue-developer]").count(), 1);
            for entry in fs::read_dir(home.folder.path().join(".aws")).unwrap() {
                let left = entry.unwrap().file_name().into_string().unwrap();
                assert!(!left.ends_with(".tmp"), "{step:?} {file}: {left} is left behind");
            }
        }
    }
}

/// From either form to the other: at no moment does a profile have both, for botocore would take one and the Rust SDK
/// the other.
#[test]
fn a_death_between_two_forms_leaves_one_or_none_and_the_next_write_completes_it() {
    let theirs = "[a]\naws_access_key_id = AKIATHEIRSTHEIRS\n";
    let config = "[default]\nregion = eu-west-1\n";
    let sue = name("sue-developer");
    for (form, step, file) in ["process", "keys"]
        .into_iter()
        .flat_map(|form| Step::ALL.map(|step| [0, 1].map(|file| (form, step, file))))
        .flatten()
    {
        let home = Home::new();
        put(&home.files.credentials, theirs.as_bytes());
        put(&home.files.config, config.as_bytes());
        let to = |form| match form {
            "process" => home.files.write_process_profile(&home.context(), &sue, &process("7k3m")).unwrap(),
            _ => home.files.write_session_profile(&home.context(), &sue, &session("7k3m")).unwrap(),
        };
        let _ = to(if form == "process" { "keys" } else { "process" });
        crash(&home, step, file, form);
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let both = || {
            let (credentials, configured) = (read(&home.files.credentials), read(&home.files.config));
            assert!(
                credentials.starts_with(theirs) && configured.starts_with(config),
                "{form} {step:?} {file}"
            );
            let keys = credentials.matches("CANARY/").count();
            assert!(keys == 0 || keys == 2, "{form} {step:?} {file}: all of the keys or none");
            (keys == 2, configured.contains("credential_process"))
        };
        assert_ne!(both(), (true, true), "{form} {step:?} {file}");
        let _ = to(form);
        assert_eq!(both(), (form == "keys", form == "process"), "{form} {step:?} {file}");
    }
}
