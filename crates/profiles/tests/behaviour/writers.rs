//! Several writers at once: `sorry` in threads, and one that does as the AWS CLI does.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Home, name, project, put, session};
use sorry_profiles::FileKind;
use sorry_profiles::ini::Document;

const ROUNDS: usize = 50;

/// Reads, truncates and writes in two goes, without a lock, as `aws configure set` does.
fn naive_write(path: &Path, add: &str) {
    let before = fs::read(path).unwrap();
    let mut file = File::create(path).unwrap();
    let (first, second) = before.split_at(before.len() / 2);
    file.write_all(first).unwrap();
    file.write_all(second).unwrap();
    file.write_all(add.as_bytes()).unwrap();
}

fn names(path: &Path) -> Vec<String> {
    let bytes = fs::read(path).unwrap();
    let names = Document::parse(FileKind::Credentials, &bytes).profiles();
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn fifty_rounds_beside_a_writer_that_truncates() {
    let home = Home::new();
    let path = &home.files.credentials;
    put(path, b"# mine\n[first]\naws_access_key_id = A\n");
    let rounds = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let naive = std::thread::scope(|scope| {
        let naive = scope.spawn(|| {
            let mut written = 0_usize;
            while !done.load(Ordering::Relaxed) {
                naive_write(path, &format!("[cli-{written}]\naws_access_key_id = A\n"));
                written += 1;
                // What a program takes to start, here always another time: this paces the writer, nothing waits for it.
                std::thread::sleep(Duration::from_millis(u64::try_from(written * 37 % 90).unwrap()));
            }
            written
        });
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let round = rounds.fetch_add(1, Ordering::Relaxed);
                        if round >= ROUNDS {
                            return;
                        }
                        let profile = name(&format!("sorry-{round}"));
                        let _ = home
                            .files
                            .write_session_profile(&home.context(), &profile, &session("7k3m"))
                            .unwrap();
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        let naive = naive.join();
        for result in results {
            result.unwrap();
        }
        naive.unwrap()
    });
    let found = names(path);
    let expected = (0..ROUNDS).map(|round| format!("sorry-{round}"));
    let expected = expected.chain((0..naive).map(|round| format!("cli-{round}"))).chain(["first".to_owned()]);
    let missing: Vec<_> =
        expected.filter(|name| found.iter().filter(|found| *found == name).count() != 1).collect();
    assert!(missing.is_empty(), "of {} and {ROUNDS}: {missing:?}", naive);
    assert!(naive > ROUNDS / 5, "the other writer hardly wrote: {naive}");
    assert!(fs::read(path).unwrap().starts_with(b"# mine\n[first]\n"));
}

/// `aws configure set` itself, whose every write takes what a program takes to start.
#[test]
fn fifty_rounds_beside_the_real_aws_cli() {
    let home = Home::new();
    let path = &home.files.credentials;
    put(path, b"# mine\n[first]\naws_access_key_id = A\n");
    let done = AtomicBool::new(false);
    let mut ours = 0;
    std::thread::scope(|scope| {
        let cli = scope.spawn(|| {
            for round in 0..ROUNDS {
                let ran = Command::new(project().join(".local/venv/bin/aws"))
                    .args([
                        "configure",
                        "set",
                        "aws_access_key_id",
                        "A",
                        "--profile",
                        &format!("cli-{round}"),
                    ])
                    .env("AWS_SHARED_CREDENTIALS_FILE", path)
                    .env("AWS_CONFIG_FILE", &home.files.config)
                    .output();
                if !ran.is_ok_and(|ran| ran.status.success()) {
                    done.store(true, Ordering::Relaxed);
                    panic!("`make tools` installs the AWS CLI");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        while ours < ROUNDS || !done.load(Ordering::Relaxed) {
            // The same few again and again: each write replaces the file.
            let (profile, id) = (name(&format!("sorry-{}", ours % ROUNDS)), format!("{ours}"));
            let _ = home.files.write_session_profile(&home.context(), &profile, &session(&id)).unwrap();
            ours += 1;
        }
        cli.join().unwrap();
    });
    let found = names(path);
    let expected = (0..ROUNDS).flat_map(|round| [format!("sorry-{round}"), format!("cli-{round}")]);
    let missing: Vec<_> = expected
        .chain(["first".to_owned()])
        .filter(|name| found.iter().filter(|found| *found == name).count() != 1)
        .collect();
    assert!(missing.is_empty(), "{missing:?}, after {ours} writes of ours");
}

#[test]
fn many_of_us_lose_nothing_with_or_without_the_lock() {
    use sorry_profiles::write::{Privacy, update};
    use zeroize::Zeroizing;

    let home = Home::new();
    put(&home.files.credentials, b"[first]\n");
    std::thread::scope(|scope| {
        for writer in 0..6 {
            let home = &home;
            scope.spawn(move || {
                for round in 0..3 {
                    let profile = format!("{writer}-{round}");
                    let context = home.context();
                    if writer % 2 == 0 {
                        let _ = home
                            .files
                            .write_session_profile(&context, &name(&profile), &session("7k3m"))
                            .unwrap();
                        continue;
                    }
                    // Past the lock, as over a file system that has none: only the comparison is left.
                    let header = format!("[{profile}]\n");
                    let add = |bytes: &[u8]| {
                        let there = String::from_utf8_lossy(bytes).contains(&header);
                        Ok((!there).then(|| Zeroizing::new([bytes, header.as_bytes()].concat())))
                    };
                    update(&home.files.credentials, Privacy::Secret, &context, &add).unwrap();
                }
            });
        }
    });
    let mut found = names(&home.files.credentials);
    found.sort();
    let mut expected: Vec<_> =
        (0..6).flat_map(|writer| (0..3).map(move |round| format!("{writer}-{round}"))).collect();
    expected.push("first".to_owned());
    assert_eq!(found, expected);
}
