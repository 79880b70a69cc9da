use std::cell::{Cell, RefCell};

use tempfile::TempDir;

use super::*;
use crate::Timing;

fn actor() -> Actor {
    Actor::this_process(false)
}

fn context(actor: &Actor) -> Context<'_> {
    let timing =
        Timing { lock: Duration::from_millis(100), quiet: Duration::from_millis(1), ..Timing::default() };
    Context { timing, ..Context::new(actor, "2026-11-21T00:00:00Z".parse().unwrap()) }
}

fn unsupported(raw: i32) -> impl Fn(&File) -> io::Result<bool> {
    move |_| Err(io::Error::from_raw_os_error(raw))
}

#[test]
fn the_second_waits_and_is_told_for_whom() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lock");
    let actor = actor();
    let told = RefCell::new(Vec::new());
    let waiting = |holder: &Holder| told.borrow_mut().push(holder.clone());
    let context = Context { waiting: &waiting, ..context(&actor) };

    let lock = acquire(&path, &context).unwrap();
    assert!(!lock.is_fallback());
    let error = acquire(&path, &context).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }));
    assert!(
        error.to_string().ends_with(&format!("held by process {} on {}", actor.pid, actor.host)),
        "{error}"
    );
    assert_eq!(*told.borrow(), [Holder::of(&actor, context.now)]);
    drop(lock);
    drop(acquire(&path, &Context { waiting: &|_| (), ..context }).unwrap());
}

#[test]
fn without_locks_a_folder_serves() {
    let unsupporting = [38, 37, 95, 524].map(|raw| if cfg!(target_os = "linux") { raw } else { 524 });
    for raw in unsupporting {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lock");
        let actor = actor();
        let context = context(&actor);
        let lock = acquire_with(&path, &context, &unsupported(raw)).unwrap();
        assert!(lock.is_fallback());
        assert!(matches!(acquire_with(&path, &context, &unsupported(raw)), Err(Error::Locked { .. })));
        drop(lock);
        assert!(!folder.path().join("lock.d").exists());
        drop(acquire_with(&path, &context, &unsupported(raw)).unwrap());
    }
    let folder = TempDir::new().unwrap();
    let actor = actor();
    let error = acquire_with(&folder.path().join("lock"), &context(&actor), &unsupported(5));
    assert!(matches!(error, Err(Error::Io { .. })));
}

#[test]
fn an_interrupted_call_is_made_again() {
    let folder = TempDir::new().unwrap();
    let actor = actor();
    let calls = Cell::new(0);
    let interrupted = |_: &File| {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(io::Error::from(io::ErrorKind::Interrupted)) } else { Ok(true) }
    };
    acquire_with(&folder.path().join("lock"), &context(&actor), &interrupted).unwrap();
    assert_eq!(calls.get(), 3);
}

#[test]
fn the_folder_of_the_dead_is_broken_and_that_of_the_living_is_not() {
    let actor = actor();
    let context = context(&actor);
    let dead = {
        // A process that has ended and been waited for.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    let host = &actor.host;
    for (note, stale) in [
        (Some(format!("{dead} {host} 2026-11-21T00:00:00Z\n")), true),
        (Some(format!("{} {host} 2020-01-01T00:00:00Z\n", actor.pid)), false),
        (Some("1 elsewhere 2026-11-20T23:00:00Z\n".to_owned()), true),
        (Some("1 elsewhere 2026-11-20T23:59:59Z\n".to_owned()), false),
        (Some("1 elsewhere\n".to_owned()), true),
        // Not signed, and made later than the time we believe it is.
        (None, false),
    ] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("lock");
        let held = folder.path().join("lock.d");
        let now = if note.is_some() { context.now } else { Timestamp::from_second(1_700_000_000).unwrap() };
        let context = Context { now, ..context };
        fs::create_dir(&held).unwrap();
        if let Some(note) = &note {
            write_new(&held.join("holder"), note).unwrap();
        }
        let lock = acquire_with(&path, &context, &unsupported(38));
        assert_eq!(lock.is_ok(), stale, "{note:?}");
        drop(lock);
        assert_eq!(held.exists(), !stale, "{note:?}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| !name.to_string_lossy().contains("stale")), "{left:?}");
    }
}

#[test]
fn one_at_a_time_either_way() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lock");
    for fallback in [false, true] {
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for pid in 0..4 {
                let (path, inside) = (&path, &inside);
                scope.spawn(move || {
                    // Our own process's number throughout: those who wait see a living holder.
                    let actor = actor();
                    let since = Timestamp::from_second(1_700_000_000 + pid).unwrap();
                    let timing = Timing { lock: Duration::from_secs(60), ..Timing::default() };
                    let context = Context { timing, ..Context::new(&actor, since) };
                    for _ in 0..10 {
                        let lock = if fallback {
                            acquire_with(path, &context, &unsupported(524)).unwrap()
                        } else {
                            acquire(path, &context).unwrap()
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
