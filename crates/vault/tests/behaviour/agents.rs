//! A real `ssh-agent`, and scripted ones that misbehave.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sorry_vault::{
    Agent, AgentError, EnrolError, Forwarding, KeyFile, NewSlot, PROC, PublicKey, SignError, Signer,
    Timeouts, UnlockError, Vault,
};
use tempfile::TempDir;

use crate::common::{Key, SEED, contents, label, now, parse, random, refusal, vault};
use crate::fake_agent::{Behaviour, FakeAgent};
use crate::key_files::generate;

const SHORT: Timeouts = Timeouts { connect: Duration::from_millis(500), answer: Duration::from_millis(500) };

/// OpenSSH's agent, ended with the test.
struct RealAgent {
    child: Child,
    folder: TempDir,
}

impl RealAgent {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(folder.path().join("agent"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no `ssh-agent`: install openssh-client");
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("SSH_AUTH_SOCK="), "{line}");
        Self { child, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }

    fn add(&self, arguments: &[&str], input: &str) {
        let script = format!("printf %s '{input}'");
        let ask = self.folder.path().join("ask");
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&ask)
            .and_then(|mut file| {
                use std::io::Write;
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(std::fs::Permissions::from_mode(0o700))?;
                writeln!(file, "#!/bin/sh\n{script}")
            })
            .unwrap();
        let done = Command::new("ssh-add")
            .args(arguments)
            .env("SSH_AUTH_SOCK", self.socket())
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for RealAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent(path: &Path) -> Agent {
    Agent::connect(path, SHORT).unwrap()
}

/// Opens the vault through an agent.
fn open(path: &Path, vault: &Vault, key: &PublicKey) -> Result<(), UnlockError> {
    let agent = Agent::connect(path, SHORT).map_err(SignError::from)?;
    vault.unlock_with_signer(&agent.key(key)?).map(drop)
}

#[test]
fn openssh_s_agent_opens_a_vault_that_its_key_file_made_and_the_other_way_round() {
    let real = RealAgent::start();
    let file = generate(real.folder.path(), "id", &["-t", "ed25519"], "phrase");
    let other = generate(real.folder.path(), "other", &["-t", "rsa", "-b", "2048"], "");
    real.add(&["-q", file.to_str().unwrap()], "phrase");
    real.add(&["-q", other.to_str().unwrap()], "");
    let key = KeyFile::read(&file).unwrap().unlock(&secrecy::SecretSlice::from(b"phrase".to_vec())).unwrap();

    let agent = agent(&real.socket());
    assert_eq!(agent.list().unwrap().len(), 2);
    assert_eq!(agent.forwarding(Path::new(PROC)), Forwarding::Local);
    let signer = agent.key(key.public_key()).unwrap();
    let slots = |signer| NewSlot::Signer { label: Box::leak(Box::new(label("key"))), signer };
    let by_file = Vault::create(&[slots(&key as &dyn Signer)], contents(), now(), &mut random(1)).unwrap();
    let by_agent =
        Vault::create(&[slots(&signer as &dyn Signer)], contents(), now(), &mut random(2)).unwrap();
    parse(&by_file).unlock_with_signer(&signer).unwrap();
    parse(&by_agent).unlock_with_signer(&key).unwrap();
}

#[test]
fn openssh_s_agent_stopped_locked_emptied_and_gone() {
    let real = RealAgent::start();
    let file = generate(real.folder.path(), "id", &["-t", "ed25519"], "");
    real.add(&["-q", file.to_str().unwrap()], "");
    let public_key = *KeyFile::read(&file).unwrap().public_key();
    let first = agent(&real.socket());
    let signer = first.key(&public_key).unwrap();
    let slot = NewSlot::Signer { label: &label("key"), signer: &signer };
    let vault = parse(&Vault::create(&[slot], contents(), now(), &mut random(1)).unwrap());
    let try_now = || open(&real.socket(), &vault, &public_key);
    try_now().unwrap();

    real.signal(Signal::STOP);
    let began = Instant::now();
    let error = refusal(try_now());
    assert!(matches!(error, UnlockError::Sign(SignError::Agent(AgentError::TimedOut { .. }))), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    real.signal(Signal::CONT);
    try_now().unwrap();

    real.add(&["-x"], "lock");
    // Both before it is asked for the key, and when it had listed it already.
    assert!(matches!(refusal(try_now()), UnlockError::Sign(SignError::NotHeld { .. })));
    assert!(matches!(
        refusal(vault.unlock_with_signer(&signer)),
        UnlockError::Sign(SignError::NotHeld { .. })
    ));
    real.add(&["-X"], "lock");
    try_now().unwrap();

    real.add(&["-q", "-d", file.to_str().unwrap()], "");
    assert!(matches!(refusal(try_now()), UnlockError::Sign(SignError::NotHeld { .. })));

    let socket = real.socket();
    let folder = tempfile::tempdir().unwrap();
    drop(real);
    let gone = Agent::connect(&socket, SHORT).unwrap_err();
    assert!(matches!(gone, AgentError::Unreachable { .. }), "{gone:?}");
    assert!(matches!(Agent::connect(folder.path(), SHORT), Err(AgentError::Unreachable { .. })));
}

#[test]
fn openssh_s_agent_with_confirmation_that_is_declined_has_refused() {
    let real = RealAgent::start();
    let file = generate(real.folder.path(), "id", &["-t", "ed25519"], "");
    // The agent itself has no way to ask, which it takes for a no.
    real.add(&["-q", "-c", file.to_str().unwrap()], "");
    let public_key = *KeyFile::read(&file).unwrap().public_key();
    let agent = Agent::connect(&real.socket(), Timeouts::default()).unwrap();
    let error = agent.key(&public_key).unwrap().sign(b"x").unwrap_err();
    assert!(matches!(error, SignError::Refused { .. }), "{error:?}");
}

#[test]
fn openssh_s_certificate_without_its_key() {
    let real = RealAgent::start();
    let folder = real.folder.path();
    let authority = generate(folder, "authority", &["-t", "ed25519"], "");
    let file = generate(folder, "id", &["-t", "ed25519"], "");
    let done = Command::new("ssh-keygen")
        .args(["-q", "-I", "x", "-s"])
        .args([&authority, &file.with_extension("pub")])
        .output()
        .unwrap();
    assert!(done.status.success());
    real.add(&["-q", file.to_str().unwrap()], "");
    let public_key = *KeyFile::read(&file).unwrap().public_key();
    let agent = agent(&real.socket());
    // With the key beside it, the certificate does no harm.
    assert_eq!(agent.list().unwrap().len(), 2);
    agent.key(&public_key).unwrap();
    let certificate =
        agent.list().unwrap().into_iter().find(|identity| identity.public_key().is_none()).unwrap();
    assert_eq!(certificate.certified_key(), Some(public_key));
}

#[test]
fn agents_that_misbehave_have_an_error_each() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, key) = (parse(&vault()), Key::new(SEED));
    let tried = |behaviour| {
        let fake = FakeAgent::start(folder.path(), &SEED, behaviour);
        open(fake.path(), &vault, &key.public)
    };
    for good in [Behaviour::Honest, Behaviour::LatinComment] {
        tried(good).unwrap();
    }
    let refused = |behaviour| refusal(tried(behaviour));
    assert!(matches!(refused(Behaviour::Locked), UnlockError::Sign(SignError::NotHeld { .. })));
    assert!(matches!(refused(Behaviour::LockedMeanwhile), UnlockError::Sign(SignError::NotHeld { .. })));
    assert!(matches!(refused(Behaviour::Refusing), UnlockError::Sign(SignError::Refused { .. })));
    assert!(matches!(
        refused(Behaviour::CertificateOnly),
        UnlockError::Sign(SignError::CertificateOnly { .. })
    ));
    assert!(matches!(refused(Behaviour::WrongKey), UnlockError::DoesNotVerify { .. }));
    assert!(matches!(refused(Behaviour::Randomised), UnlockError::DoesNotUnwrap { .. }));
    for forged in [Behaviour::ForgedLength, Behaviour::ForgedCount, Behaviour::ForgedString] {
        let error = refused(forged);
        assert!(
            matches!(error, UnlockError::Sign(SignError::Agent(AgentError::Malformed))),
            "{forged:?}: {error:?}"
        );
    }
    assert!(matches!(
        refused(Behaviour::Silent),
        UnlockError::Sign(SignError::Agent(AgentError::TimedOut { .. }))
    ));
    assert!(matches!(
        refused(Behaviour::HangsUp),
        UnlockError::Sign(SignError::Agent(AgentError::Broken(_)))
    ));
}

#[test]
fn agents_whose_signatures_differ_are_not_enrolled() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::new(SEED);
    let enrol = |behaviour| {
        let fake = FakeAgent::start(folder.path(), &SEED, behaviour);
        let agent = agent(fake.path());
        let signer = agent.key(&key.public).unwrap();
        let slot = NewSlot::Signer { label: &label("agent"), signer: &signer };
        Vault::create(&[slot], contents(), now(), &mut random(1)).map(drop)
    };
    enrol(Behaviour::Honest).unwrap();
    assert!(matches!(enrol(Behaviour::Randomised), Err(EnrolError::NotDeterministic { .. })));
    assert!(matches!(enrol(Behaviour::WrongKey), Err(EnrolError::DoesNotVerify { .. })));
}

/// After a time-out the late answer must not be taken for the next one.
#[test]
fn a_connection_is_not_used_after_it_failed() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeAgent::start(folder.path(), &SEED, Behaviour::Silent);
    let agent = agent(fake.path());
    assert!(matches!(agent.list(), Err(AgentError::TimedOut { .. })));
    assert!(matches!(agent.list(), Err(AgentError::Broken(_))));
}
