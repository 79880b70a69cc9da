//! A person's machine with a real ssh-agent and a real vault, and an STS on loopback that answers as a test wants. For faults that
//! neither AWS nor the local AWS can be made to have; what works is shown end to end by `sorry-tests`.

#![allow(dead_code, reason = "three crates use it, and none all of it")]
#![allow(clippy::disallowed_methods, reason = "tests have the clock of the program that they start")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use sorry_profiles::{AccessKeyId, Actor, Context, Region, SecretAccessKey, SessionToken};
use sorry_vault::{
    Agent, Cache, CachedSession, Contents, Label, LongLivedKey, NewSlot, Open, PublicKey, Renewal, Store,
    TemporaryCredentials, Timeouts, Vault,
};
use tempfile::TempDir;

pub(crate) const SESSION: &str = "7k3m9q2x4v8n1c5d";
pub(crate) const BOOTSTRAP_ID: &str = "AKIAEXAMPLEEXAMPLE12";
pub(crate) const MFA_ID: &str = "ASIAMFAEXAMPLE000012";
pub(crate) const CACHED_ID: &str = "ASIACACHED0000000001";
/// Stands in every secret here: no output, no argument and no file in plain text may have it.
pub(crate) const CANARY: &str = "CANARYwJalrXUtnFEMIK7MDENG";

pub(crate) struct Desk {
    pub(crate) home: TempDir,
    agent: Child,
    open: Open,
}

impl Desk {
    /// With a vault that the agent opens, and a bootstrap key in it.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Contents)) -> Self {
        let home = TempDir::with_prefix("sorry-desk-").unwrap();
        fs::create_dir_all(home.path().join(".ssh")).unwrap();
        let socket = home.path().join(".ssh/agent");
        let mut agent = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no `ssh-agent`: install openssh-client");
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(agent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let key = home.path().join(".ssh/id_ed25519");
        done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        done(Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket));

        let mut contents = Contents {
            bootstrap: Some(LongLivedKey {
                access_key_id: AccessKeyId::parse(BOOTSTRAP_ID).unwrap(),
                secret_access_key: SecretAccessKey::parse(&format!("{CANARY}bootstrap")).unwrap(),
                arn: "arn:aws:iam::123456789012:user/sorry/caller/sue-mgr".to_owned(),
                account: "123456789012".to_owned(),
                created_at: None,
            }),
            ..Contents::default()
        };
        change(&mut contents);
        let public = fs::read_to_string(key.with_extension("pub")).unwrap();
        let public = PublicKey::from_openssh(&public).unwrap();
        let connection = Agent::connect(&socket, Timeouts::default()).unwrap();
        let signer = connection.key(&public).unwrap();
        let label = Label::parse("test").unwrap();
        let slot = NewSlot::Signer { label: &label, signer: &signer };
        let sealed = Vault::create(&[slot], contents, Timestamp::now(), &mut random).unwrap();
        let desk = Self { open: sealed.clone().into_open(), agent, home };
        let actor = Actor::this_process(false);
        desk.store().write(&sealed, false, &Context::new(&actor, Timestamp::now())).unwrap();
        desk
    }

    /// As `XDG_CONFIG_HOME/sorry` without the variable.
    pub(crate) fn config(&self) -> PathBuf {
        self.home.path().join(".config/sorry")
    }

    /// As `XDG_STATE_HOME/sorry` without the variable.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join(".local/state/sorry")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join(".ssh/agent")
    }

    fn store(&self) -> Store {
        Store::new(self.config(), self.state())
    }

    /// Caches credentials that end in so many seconds, in a session that ends in so many.
    pub(crate) fn cache(&self, expires_in: i64, ends_in: i64, mfa: bool) {
        let session = CachedSession {
            session_id: SESSION.to_owned(),
            credentials: temporary(CACHED_ID, expires_in),
            session_ends_at: in_seconds(ends_in),
            renewal: Renewal {
                role_arn: "arn:aws:iam::123456789012:role/sorry/session/sue/sorry-sue-developer-7k3m9q2x"
                    .to_owned(),
                external_id: "0123456789abcdef0123456789abcdef".into(),
                source_identity: SESSION.to_owned(),
                role_session_name: "sue-mgr".to_owned(),
                maximum_seconds: 28_800,
                region: Region::parse("us-east-1").unwrap(),
                mfa,
                issued: false,
            },
        };
        let actor = Actor::this_process(false);
        let context = Context::new(&actor, Timestamp::now());
        Cache::new(&self.state()).write(&session, &self.open, &mut random, &context).unwrap();
    }

    /// What the cache holds by now.
    pub(crate) fn cached(&self) -> CachedSession {
        Cache::new(&self.state()).read(SESSION, &self.open, &Actor::this_process(false)).unwrap()
    }

    /// Changes what is cached of a session.
    pub(crate) fn change_cache(&self, session: &str, change: impl FnOnce(&mut CachedSession)) {
        let (cache, actor) = (Cache::new(&self.state()), Actor::this_process(false));
        let mut cached = cache.read(session, &self.open, &actor).unwrap();
        change(&mut cached);
        cache.write(&cached, &self.open, &mut random, &Context::new(&actor, Timestamp::now())).unwrap();
    }

    /// Takes every key out of the agent.
    pub(crate) fn empty_agent(&self) {
        done(Command::new("ssh-add").args(["-q", "-D"]).env("SSH_AUTH_SOCK", self.socket()));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

pub(crate) fn temporary(id: &str, expires_in: i64) -> TemporaryCredentials {
    TemporaryCredentials {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret_access_key: SecretAccessKey::parse(&format!("{CANARY}{id}")).unwrap(),
        session_token: SessionToken::parse(&format!("{CANARY}token{id}")).unwrap(),
        expires_at: in_seconds(expires_in),
    }
}

pub(crate) fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

fn random(buffer: &mut [u8]) -> std::io::Result<()> {
    fs::File::open("/dev/urandom")?.read_exact(buffer)
}

fn done(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// How the STS behaves.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Lends for so many seconds, after a moment that makes others meet it.
    Lend(i64),
    /// Says no: code and words.
    Refuse(&'static str, String),
    /// Takes the request and never answers.
    Hang,
}

/// An STS that also answers `GetCallerIdentity`.
pub(crate) struct Sts {
    pub(crate) address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) action: String,
    /// Whose signature it has.
    pub(crate) key_id: String,
    pub(crate) body: String,
}

impl Sts {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sts = Self {
            address: listener.local_addr().unwrap(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            asked: Arc::default(),
        };
        let (behaviour, asked) = (sts.behaviour.clone(), sts.asked.clone());
        // The threads end with the test's process; there is nobody to wait for them.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (behaviour, asked) = (behaviour.clone(), asked.clone());
                thread::spawn(move || serve(stream.unwrap(), &behaviour, &asked));
            }
        });
        sts
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    /// What was asked with this action.
    pub(crate) fn asked(&self, action: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.action == action).cloned().collect()
    }
}

fn serve(stream: TcpStream, behaviour: &Mutex<Behaviour>, asked: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut key_id) = (0, String::new());
    let mut first = true;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        if std::mem::take(&mut first) {
            continue;
        }
        let (name, value) = line.trim().split_once(": ").unwrap_or((line.trim(), ""));
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => {
                key_id = value.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned();
            }
            _ => (),
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let body = String::from_utf8(body).unwrap();
    let action = body.split('&').find_map(|part| part.strip_prefix("Action=")).unwrap_or_default().to_owned();
    let number = {
        let mut asked = asked.lock().unwrap();
        asked.push(Asked { action: action.clone(), key_id, body });
        asked.iter().filter(|asked| asked.action == "AssumeRole").count()
    };
    let (status, xml) = match (action.as_str(), behaviour.lock().unwrap().clone()) {
        (_, Behaviour::Hang) => {
            // Until the client gives up.
            let _ = reader.read(&mut [0]);
            return;
        }
        (_, Behaviour::Refuse(code, message)) => (
            403,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            ),
        ),
        ("AssumeRole", Behaviour::Lend(seconds)) => {
            // Long enough for others to come upon a renewal that is under way.
            thread::sleep(Duration::from_millis(200));
            let id = format!("ASIARENEWED{number:09}");
            let until = in_seconds(seconds).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            (
                200,
                format!(
                    "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>{id}</AccessKeyId>\
                     <SecretAccessKey>{CANARY}{id}</SecretAccessKey><SessionToken>{CANARY}token{id}</SessionToken>\
                     <Expiration>{until}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
                ),
            )
        }
        _ => (
            200,
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/x/y</Arn>\
             </GetCallerIdentityResult></GetCallerIdentityResponse>"
                .to_owned(),
        ),
    };
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n{xml}",
        xml.len()
    );
}
