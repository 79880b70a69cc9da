//! Every race and failure here is made at an exact step of the write, by a probe, and not left to chance.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::{Actor, Probe, Step, Timing};

struct At<F>(Step, RefCell<Option<F>>);

impl<F: FnOnce() -> io::Result<()>> Probe for At<F> {
    fn reached(&self, step: Step) -> io::Result<()> {
        let act = if step == self.0 { self.1.borrow_mut().take() } else { None };
        act.map_or(Ok(()), |act| act())
    }
}

fn at<F: FnOnce() -> io::Result<()>>(step: Step, act: F) -> At<F> {
    At(step, RefCell::new(Some(act)))
}

struct Fails(Step, i32);

impl Probe for Fails {
    fn reached(&self, step: Step) -> io::Result<()> {
        if step == self.0 { Err(io::Error::from_raw_os_error(self.1)) } else { Ok(()) }
    }
}

struct Folder {
    folder: TempDir,
    actor: Actor,
}

impl Folder {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), actor: Actor::this_process(false) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("credentials")
    }

    fn with(&self, text: &str, mode: u32) -> PathBuf {
        truncate_and_write(&self.path(), text).unwrap();
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
        self.path()
    }

    fn context(&self) -> Context<'_> {
        Context::new(&self.actor, "2026-11-21T00:00:00Z".parse().unwrap())
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// As the AWS CLI writes.
fn truncate_and_write(path: &Path, text: &str) -> io::Result<()> {
    File::create(path)?.write_all(text.as_bytes())
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Adds `[ours]` at the end; finds nothing to do where it stands.
fn ours(bytes: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let there = bytes.windows(6).any(|window| window == b"[ours]");
    Ok((!there).then(|| Zeroizing::new([bytes, b"[ours]\n"].concat())))
}

fn write(folder: &Folder, context: Context<'_>) -> Result<Outcome> {
    update(&folder.path(), Privacy::Secret, &context, &ours)
}

#[test]
fn a_new_file_is_for_its_owner_alone() {
    let folder = Folder::new();
    assert!(write(&folder, folder.context()).unwrap().changed);
    assert_eq!((text(&folder.path()).as_str(), mode(&folder.path())), ("[ours]\n", 0o600));
    assert_eq!(write(&folder, folder.context()).unwrap(), Outcome::default());
    assert_eq!(folder.names(), ["credentials"]);
}

#[test]
fn modes_become_stricter_or_stay() {
    for (before, privacy, after) in [
        (0o644, Privacy::Secret, 0o600),
        (0o400, Privacy::Secret, 0o400),
        (0o644, Privacy::AsItWas, 0o644),
        (0o640, Privacy::AsItWas, 0o640),
        (0o600, Privacy::AsItWas, 0o600),
    ] {
        let folder = Folder::new();
        let path = folder.with("[a]\n", before);
        update(&path, privacy, &folder.context(), &ours).unwrap();
        assert_eq!(mode(&path), after, "{before:o} {privacy:?}");
    }
}

#[test]
fn not_one_byte_is_written_before_the_mode_is_set() {
    let folder = Folder::new();
    folder.with("[a]\n", 0o644);
    for (step, bytes) in [(Step::Created, 0), (Step::ModeSet, 0), (Step::Filled, 11)] {
        let look = || {
            let found = folder.names().into_iter().find(|name| name.ends_with(".tmp")).unwrap();
            let found = folder.path().with_file_name(found);
            assert_eq!(mode(&found), 0o600);
            assert_eq!(fs::metadata(found).unwrap().len(), bytes);
            Err(io::Error::other("looked"))
        };
        let probe = at(step, look);
        let error = write(&folder, Context { probe: &probe, ..folder.context() }).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
    }
}

#[test]
fn a_link_stays_a_link() {
    let folder = Folder::new();
    let real = folder.folder.path().join("dotfiles");
    fs::DirBuilder::new().mode(0o700).create(&real).unwrap();
    truncate_and_write(&real.join("aws"), "[a]\n").unwrap();
    symlink("dotfiles/second", folder.path()).unwrap();
    symlink("aws", real.join("second")).unwrap();
    write(&folder, folder.context()).unwrap();
    assert!(fs::symlink_metadata(folder.path()).unwrap().is_symlink());
    assert_eq!(text(&real.join("aws")), "[a]\n[ours]\n");
    assert_eq!(mode(&real.join("aws")), 0o600);

    fs::remove_file(real.join("aws")).unwrap();
    write(&folder, folder.context()).unwrap();
    assert_eq!(text(&real.join("aws")), "[ours]\n");

    fs::remove_file(folder.path()).unwrap();
    symlink("credentials", folder.path()).unwrap();
    assert!(matches!(write(&folder, folder.context()), Err(Error::TooManyLinks { .. })));
}

#[test]
fn what_others_could_change_is_refused() {
    let folder = Folder::new();
    folder.with("[a]\n", 0o600);
    let actor = Actor { uid: folder.actor.uid + 1, ..folder.actor.clone() };
    let error = write(&folder, Context { actor: &actor, ..folder.context() }).unwrap_err();
    assert!(matches!(error, Error::OtherOwner { .. }), "{error}");
    let actor = Actor { through_sudo: true, ..folder.actor.clone() };
    let error = write(&folder, Context { actor: &actor, ..folder.context() }).unwrap_err();
    assert!(matches!(error, Error::ThroughSudo), "{error}");
    for mode in [0o770, 0o707, 0o1777] {
        fs::set_permissions(folder.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = write(&folder, folder.context()).unwrap_err();
        assert!(matches!(error, Error::SharedFolder { .. }), "{error}");
    }
    fs::set_permissions(folder.folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(text(&folder.path()), "[a]\n");

    fs::remove_file(folder.path()).unwrap();
    fs::create_dir(folder.path()).unwrap();
    assert!(matches!(write(&folder, folder.context()), Err(Error::NotRegular { .. })));
    fs::remove_dir(folder.path()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(matches!(write(&folder, folder.context()), Err(Error::NotRegular { .. })));
}

#[test]
fn a_failure_at_any_step_leaves_the_old_file_or_the_new() {
    for step in Step::ALL {
        for errno in [28, 5] {
            let folder = Folder::new();
            let path = folder.with("[a]\n", 0o600);
            let result = write(&folder, Context { probe: &Fails(step, errno), ..folder.context() });
            let renamed = matches!(step, Step::Renamed | Step::FolderSynced | Step::BackedUp);
            assert_eq!(text(&path), if renamed { "[a]\n[ours]\n" } else { "[a]\n" }, "{step:?}");
            assert_eq!(result.is_ok(), step == Step::BackedUp, "{step:?}");
            assert_eq!(folder.names(), ["credentials"], "{step:?}");
        }
    }
}

const EBUSY: i32 = 16;

#[test]
fn a_mount_point_is_refused_or_overwritten_with_a_copy_kept() {
    let folder = Folder::new();
    let path = folder.with("[a]\nlong = line\n", 0o644);
    let probe = Fails(Step::Renaming, EBUSY);
    let error = write(&folder, Context { probe: &probe, ..folder.context() }).unwrap_err();
    assert!(matches!(error, Error::MountPoint { .. }));
    assert!(error.hint().unwrap().contains("--in-place"));
    assert_eq!(
        (text(&path).as_str(), folder.names()),
        ("[a]\nlong = line\n", vec!["credentials".to_owned()])
    );

    let inode = fs::metadata(&path).unwrap().ino();
    let context = Context { probe: &probe, in_place: true, ..folder.context() };
    let outcome = write(&folder, context).unwrap();
    let copy = path.with_file_name("credentials.sorry-copy");
    assert_eq!(outcome.warnings, [Warning::Overwritten { path: path.clone(), copy: copy.clone() }]);
    assert_eq!((text(&path).as_str(), mode(&path)), ("[a]\nlong = line\n[ours]\n", 0o600));
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_eq!((text(&copy).as_str(), mode(&copy)), ("[a]\nlong = line\n", 0o600));
    assert_eq!(folder.names(), ["credentials", "credentials.sorry-copy"]);

    // Shorter than before: nothing of the old end may stay.
    let shorten = |bytes: &[u8]| Ok((bytes != b"[b]\n").then(|| Zeroizing::new(b"[b]\n".to_vec())));
    update(&path, Privacy::Secret, &context, &shorten).unwrap();
    assert_eq!(text(&path), "[b]\n");
}

#[test]
fn a_write_just_before_the_rename_is_seen() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    // Between reading and comparing, in place and then by a rename.
    let probe = at(Step::Synced, || truncate_and_write(&path, "[a]\n[b]\n"));
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[a]\n[b]\n[ours]\n");

    let path = folder.with("[a]\n", 0o600);
    let other = path.with_file_name("other");
    truncate_and_write(&other, "[c]\n").unwrap();
    let probe = at(Step::Synced, || fs::rename(&other, &path));
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[c]\n[ours]\n");

    fs::remove_file(&path).unwrap();
    let probe = at(Step::Renaming, || truncate_and_write(&path, "[d]\n"));
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[d]\n[ours]\n", "a file that comes into being is not overwritten");
    assert_eq!(folder.names(), ["credentials"]);
}

#[test]
fn whoever_has_the_old_file_open_loses_nothing() {
    // Opened and emptied between the comparison and the rename, written a while after it.
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let late = RefCell::new(None);
    let probe = at(Step::Renaming, || {
        let mut file = File::create(&path)?;
        *late.borrow_mut() = Some(std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(10));
            file.write_all(b"[a]\n[b]\n").unwrap();
        }));
        Ok(())
    });
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    late.take().unwrap().join().unwrap();
    assert_eq!(text(&path), "[a]\n[b]\n[ours]\n");

    // And then the new file is changed as well, by somebody who did not see the first one's work.
    let path = folder.with("[a]\nk = 1\n", 0o600);
    let old = RefCell::new(Some(OpenOptions::new().append(true).open(&path).unwrap()));
    let probe = at(Step::Renamed, || {
        old.borrow_mut().take().unwrap().write_all(b"[b]\n")?;
        truncate_and_write(&path, "[a]\nk = 2\n[ours]\n[c]\n")
    });
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[a]\nk = 2\n[ours]\n[c]\n[b]\n");
}

#[test]
fn whoever_writes_what_was_read_before_loses_nothing_and_neither_do_we() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let probe = at(Step::Renamed, || truncate_and_write(&path, "[a]\n[b]\n"));
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[a]\n[b]\n[ours]\n");
}

#[test]
fn a_writer_that_died_after_emptying_the_old_file_costs_nothing() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let probe = at(Step::Renaming, || File::create(&path).map(drop));
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[a]\n[ours]\n");
}

#[test]
fn a_refusal_after_the_rename_gives_the_other_writer_its_work() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let old = RefCell::new(Some(OpenOptions::new().append(true).open(&path).unwrap()));
    let probe = at(Step::Renamed, || old.borrow_mut().take().unwrap().write_all(b"[forbidden]\n"));
    let edit = |bytes: &[u8]| {
        if bytes.windows(11).any(|window| window == b"[forbidden]") {
            Err(Error::DefaultProfile)
        } else {
            ours(bytes)
        }
    };
    let error = update(&path, Privacy::Secret, &Context { probe: &probe, ..folder.context() }, &edit);
    assert!(matches!(error, Err(Error::DefaultProfile)));
    assert_eq!(text(&path), "[a]\n[forbidden]\n");
}

#[test]
fn an_empty_file_is_waited_for() {
    let folder = Folder::new();
    let path = folder.with("", 0o600);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            std::thread::sleep(Duration::from_millis(30));
            OpenOptions::new().append(true).open(path).unwrap().write_all(b"[a]\n").unwrap();
        }
    });
    write(&folder, folder.context()).unwrap();
    writer.join().unwrap();
    assert_eq!(text(&path), "[a]\n[ours]\n");
    let path = folder.with("", 0o600);
    write(&folder, folder.context()).unwrap();
    assert_eq!(text(&path), "[ours]\n");
}

#[test]
fn a_file_that_never_rests_is_given_up() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let done = std::sync::atomic::AtomicBool::new(false);
    let timing = Timing { give_up: Duration::from_millis(200), ..folder.context().timing };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"#\n").unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let error = write(&folder, Context { timing, ..folder.context() });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(error, Err(Error::Busy { .. })));
    });
    assert!(!text(&path).contains("[ours]"));
    assert_eq!(folder.names(), ["credentials"]);
}

#[test]
fn only_our_own_leftovers_are_cleared_away() {
    let folder = Folder::new();
    folder.with("[a]\n", 0o600);
    let foreign =
        [".config.sorry-1-2.tmp", ".credentials.sorry-1-2", ".credentials.sorry-a.tmp", "credentials.tmp"];
    for name in foreign.into_iter().chain([".credentials.sorry-1-2.tmp"]) {
        truncate_and_write(&folder.path().with_file_name(name), "x").unwrap();
    }
    symlink("credentials", folder.path().with_file_name(".credentials.sorry-3-4.tmp")).unwrap();
    let target = Target::resolve(&folder.path(), &folder.actor).unwrap();
    remove_leftovers(&target, &folder.context()).unwrap();
    let mut expected: Vec<_> =
        foreign.into_iter().chain([".credentials.sorry-3-4.tmp", "credentials"]).collect();
    expected.sort_unstable();
    assert_eq!(folder.names(), expected);
}

#[test]
fn a_temporary_file_that_disappears_means_starting_again() {
    let folder = Folder::new();
    let path = folder.with("[a]\n", 0o600);
    let probe = at(Step::Renaming, || {
        let found = folder.names().into_iter().find(|name| name.ends_with(".tmp")).unwrap();
        fs::remove_file(path.with_file_name(found))
    });
    write(&folder, Context { probe: &probe, ..folder.context() }).unwrap();
    assert_eq!(text(&path), "[a]\n[ours]\n");
}

#[test]
fn what_the_person_should_know_is_said() {
    let folder = Folder::new();
    fs::create_dir(folder.folder.path().join(".git")).unwrap();
    let path = folder.with("\u{feff}[a]\n", 0o600);
    fs::hard_link(&path, path.with_file_name("twin")).unwrap();
    let outcome = write(&folder, folder.context()).unwrap();
    let expected =
        [Warning::InWorkTree(path.clone()), Warning::HardLinksBroken(path.clone()), Warning::NotRead(path)];
    assert_eq!(outcome.warnings, expected);
}
