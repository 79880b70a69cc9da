//! The vault's file: modes, other writers, older copies, and processes killed at every step of a write.

#![allow(
    clippy::disallowed_methods,
    reason = "the test starts itself again and tells its child by the environment; and it damages files on purpose"
)]

use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

use rustix::process::{Signal, getpid, kill_process};
use sorry_profiles::{Actor, Context, Probe, Step};
use sorry_vault::{Sealed, Store, StoreError, StoreWarning, Vault};

use crate::common::{Key, SEED, contents, now, parse, random, vault};

pub(crate) fn actor() -> &'static Actor {
    static ACTOR: LazyLock<Actor> = LazyLock::new(|| Actor::this_process(false));
    &ACTOR
}

pub(crate) fn context() -> Context<'static> {
    Context::new(actor(), now())
}

fn store(folder: &Path) -> Store {
    Store::new(folder.join("config/sorry"), folder.join("state/sorry"))
}

fn next(sealed: &Sealed, seed: u64) -> Sealed {
    sealed.clone().into_open().replace(contents(), now(), &mut random(seed)).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_is_written_for_its_owner_alone_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    assert!(store.read(actor()).unwrap().is_none());
    assert!(!folder.path().join("config").exists(), "reading has made something");
    // A folder from before there was a vault.
    fs::create_dir_all(folder.path().join("config/sorry")).unwrap();
    fs::set_permissions(folder.path().join("config/sorry"), fs::Permissions::from_mode(0o755)).unwrap();
    let sealed = vault();
    store.write(&sealed, false, &context()).unwrap();
    assert_eq!(mode(&store.path()), 0o600);
    assert_eq!(mode(store.path().parent().unwrap()), 0o700);
    assert_eq!(mode(store.state()), 0o700);
    let stored = store.read(actor()).unwrap().unwrap();
    assert_eq!((stored.vault, stored.warnings), (parse(&sealed), vec![]));

    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder.path().join("config/sorry"), fs::Permissions::from_mode(0o755)).unwrap();
    let warnings = store.read(actor()).unwrap().unwrap().warnings;
    assert!(matches!(warnings[..], [StoreWarning::Readable(_), StoreWarning::OpenFolder(_)]), "{warnings:?}");
    store.write(&next(&sealed, 2), false, &context()).unwrap();
    assert_eq!(mode(&store.path()), 0o600);
    assert_eq!(store.read(actor()).unwrap().unwrap().warnings, vec![]);
}

#[test]
fn of_two_writers_the_second_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let first = vault();
    store.write(&first, false, &context()).unwrap();
    assert!(matches!(store.write(&vault(), false, &context()), Err(StoreError::AlreadyThere(_))));
    let (one, two) = (next(&first, 2), next(&first, 3));
    store.write(&one, false, &context()).unwrap();
    assert!(matches!(store.write(&two, false, &context()), Err(StoreError::Overtaken)));
    assert!(
        matches!(store.write(&two, true, &context()), Err(StoreError::Overtaken)),
        "not even when older ones are accepted"
    );
    assert_eq!(fs::read(store.path()).unwrap(), one.bytes());

    assert!(matches!(store.remove(&parse(&first), &context()), Err(StoreError::Overtaken)));
    store.remove(&parse(&one), &context()).unwrap();
    assert!(store.read(actor()).unwrap().is_none());
    assert!(matches!(store.write(&next(&one, 4), false, &context()), Err(StoreError::Overtaken)));
}

#[test]
fn writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.write(&vault(), false, &context()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..3 {
                    loop {
                        let open = store
                            .read(actor())
                            .unwrap()
                            .unwrap()
                            .vault
                            .unlock_with_signer(&Key::new(SEED))
                            .unwrap();
                        let sealed =
                            open.replace(contents(), now(), &mut random(thread * 100 + round)).unwrap();
                        match store.write(&sealed, false, &context()) {
                            Ok(()) => break,
                            Err(StoreError::Overtaken) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(store.read(actor()).unwrap().unwrap().vault.generation(), 13);
}

#[test]
fn an_older_file_opens_with_a_warning_and_is_written_only_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let first = vault();
    store.write(&first, false, &context()).unwrap();
    let backup = fs::read(store.path()).unwrap();
    store.write(&next(&first, 2), false, &context()).unwrap();
    fs::write(store.path(), backup).unwrap();

    let stored = store.read(actor()).unwrap().unwrap();
    assert_eq!(stored.warnings, vec![StoreWarning::Older { found: 1, highest: 2 }]);
    stored.vault.unlock_with_signer(&Key::new(SEED)).unwrap();
    let again = next(&first, 3);
    assert!(matches!(
        store.write(&again, false, &context()),
        Err(StoreError::Older { found: 1, highest: 2 })
    ));
    store.write(&again, true, &context()).unwrap();
    assert_eq!(store.read(actor()).unwrap().unwrap().warnings, vec![]);
}

#[test]
fn a_generation_is_noted_also_by_reading_it() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) =
        (store(folder.path()), Store::new(folder.path().join("config/sorry"), folder.path().join("other")));
    let first = vault();
    here.write(&first, false, &context()).unwrap();
    here.write(&next(&first, 2), false, &context()).unwrap();
    assert_eq!(there.read(actor()).unwrap().unwrap().vault.generation(), 2);
    fs::write(here.path(), first.bytes()).unwrap();
    assert_eq!(
        there.read(actor()).unwrap().unwrap().warnings,
        vec![StoreWarning::Older { found: 1, highest: 2 }]
    );
}

#[test]
fn what_is_unsafe_or_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let sealed = vault();
    store.write(&sealed, false, &context()).unwrap();
    fs::set_permissions(store.path().parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    // A folder into which others may write is closed before it is used.
    store.write(&next(&sealed, 2), false, &context()).unwrap();
    assert_eq!(mode(store.path().parent().unwrap()), 0o700);

    let through_sudo = Actor { through_sudo: true, ..actor().clone() };
    let refused = store.write(&next(&sealed, 3), false, &Context::new(&through_sudo, now()));
    assert!(matches!(refused, Err(StoreError::File(sorry_profiles::Error::ThroughSudo))));
    let other = Actor { uid: actor().uid + 1, ..actor().clone() };
    assert!(matches!(store.read(&other), Err(StoreError::File(sorry_profiles::Error::OtherOwner { .. }))));

    fs::write(store.path(), &sealed.bytes()[..500]).unwrap();
    assert!(matches!(store.read(actor()), Err(StoreError::Vault { .. })));
    assert!(matches!(store.write(&next(&sealed, 2), false, &context()), Err(StoreError::Vault { .. })));
    fs::write(store.path(), vec![b' '; 3 << 20]).unwrap();
    assert!(matches!(
        store.read(actor()),
        Err(StoreError::Vault { source: sorry_vault::VaultError::TooLarge, .. })
    ));
    fs::remove_file(store.path()).unwrap();
    fs::create_dir(store.path()).unwrap();
    assert!(store.read(actor()).is_err());
}

#[test]
fn a_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir_all(store.path().parent().unwrap()).unwrap();
    symlink(elsewhere.join("vault"), store.path()).unwrap();
    store.write(&vault(), false, &context()).unwrap();
    assert!(fs::symlink_metadata(store.path()).unwrap().is_symlink());
    assert_eq!(mode(&elsewhere.join("vault")), 0o600);
}

const FOLDER: &str = "SORRY_TEST_VAULT_FOLDER";
const STEP: &str = "SORRY_TEST_VAULT_STEP";
const SKIP: &str = "SORRY_TEST_VAULT_SKIP";

/// Kills its own process at a step of the vault's file, or of the note of its generation.
struct Kill {
    step: Step,
    skip: std::cell::Cell<usize>,
}

impl Probe for Kill {
    fn reached(&self, step: Step) -> io::Result<()> {
        if step == self.step {
            if self.skip.get() == 0 {
                kill_process(getpid(), Signal::KILL).unwrap();
            }
            self.skip.set(self.skip.get() - 1);
        }
        Ok(())
    }
}

/// What the child does; in the parent's run there is nothing to do.
#[test]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let step = env::var(STEP).unwrap();
    let step = Step::ALL.into_iter().find(|known| format!("{known:?}") == step).unwrap();
    let probe = Kill { step, skip: env::var(SKIP).unwrap().parse::<usize>().unwrap().into() };
    let actor = Actor::this_process(false);
    let context = Context { probe: &probe, ..Context::new(&actor, now()) };
    let store = store(Path::new(&folder));
    let vault = store.read(&actor).unwrap().unwrap().vault;
    let open = vault.unlock_with_signer(&Key::new(SEED)).unwrap();
    let _ = store.write(&open.replace(contents(), now(), &mut random(9)).unwrap(), false, &context);
    panic!("it was to be killed");
}

#[test]
fn a_killed_writer_leaves_the_old_or_the_new_vault_whole() {
    // In place is for credentials files alone.
    for step in Step::ALL.into_iter().filter(|step| *step != Step::BackedUp) {
        for (skip, file) in [(0, "vault"), (1, "note")] {
            let folder = tempfile::tempdir().unwrap();
            let store = store(folder.path());
            let old = vault();
            store.write(&old, false, &context()).unwrap();
            let status = Command::new(env::current_exe().unwrap())
                .args(["--exact", "store::child", "--test-threads=1"])
                .env(FOLDER, folder.path())
                .env(STEP, format!("{step:?}"))
                .env(SKIP, skip.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(status.signal(), Some(9), "{step:?} of the {file}: {status}");

            let bytes = fs::read(store.path()).unwrap();
            let is_new = skip == 1 || matches!(step, Step::Renamed | Step::FolderSynced);
            let stored = store.read(actor()).unwrap().unwrap();
            assert_eq!(stored.vault.generation(), if is_new { 2 } else { 1 }, "{step:?} of the {file}");
            assert_eq!(bytes == old.bytes(), !is_new);
            assert_eq!(stored.warnings, vec![]);
            // It goes on without help, and nothing is left lying about.
            let open = Vault::parse(&bytes).unwrap().unlock_with_signer(&Key::new(SEED)).unwrap();
            store
                .write(&open.replace(contents(), now(), &mut random(10)).unwrap(), false, &context())
                .unwrap();
            for folder in [store.path().parent().unwrap(), store.state()] {
                for entry in fs::read_dir(folder).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    assert!(!name.ends_with(".tmp"), "{name} was left after {step:?} of the {file}");
                }
            }
        }
    }
}
