//! A client of the ssh-agent protocol, as small as will do: list and sign.
//!
//! Source: draft-ietf-sshm-ssh-agent. Listings are compared as bytes, for comments are in any encoding and certificates stand
//! among the keys; lengths are checked against what has arrived before anything is allocated for them.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net;
use zeroize::Zeroizing;

use crate::wire::{self, Reader};
use crate::{PublicKey, SignError, Signer};

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION_FAILURE: u8 = 28;
/// As long as OpenSSH's own messages may be.
const LONGEST_ANSWER: usize = 256 * 1024;
const CERTIFICATE: &[u8] = b"ssh-ed25519-cert-v01@openssh.com";

/// Where Linux tells about processes.
pub const PROC: &str = "/proc";

/// How long an agent may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// For one answer, all of it: some ask the person first.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), answer: Duration::from_secs(30) }
    }
}

/// What an agent may do wrong that is not about a key.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No socket, or nobody behind it.
    #[error("there is no ssh-agent at `{}`\nhint: start one with `eval \"$(ssh-agent)\"`, then `ssh-add`", .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Stopped, or still asking the person.
    #[error("the ssh-agent did not answer within {seconds} seconds")]
    TimedOut {
        /// How long it was given.
        seconds: u64,
    },
    /// It hung up, or the connection broke.
    #[error("the ssh-agent did not answer")]
    Broken(#[source] std::io::Error),
    /// Longer than 256 KiB, or with lengths that lead outside it.
    #[error("the ssh-agent gave an answer that is none")]
    Malformed,
}

/// One thing that an agent lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The key or certificate, in SSH's form.
    pub blob: Vec<u8>,
    /// What it is called, in whatever encoding.
    pub comment: Vec<u8>,
}

impl Identity {
    /// The key, if it is an Ed25519 one.
    pub fn public_key(&self) -> Option<PublicKey> {
        PublicKey::from_blob(&self.blob)
    }

    /// The key that it certifies, if it is a certificate of an Ed25519 one.
    pub fn certified_key(&self) -> Option<PublicKey> {
        let mut certificate = Reader(&self.blob);
        let _nonce =
            certificate.string().filter(|kind| *kind == CERTIFICATE).and_then(|_| certificate.string())?;
        let raw: &[u8; 32] = certificate.string()?.try_into().ok()?;
        Some(PublicKey::from_raw(raw))
    }
}

/// Whether an agent is of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// Its process is no sshd.
    Local,
    /// An sshd passes everything on to another machine.
    Forwarded,
    /// The system does not say who is behind the socket.
    Unknown,
}

/// A connection to an agent.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    timeouts: Timeouts,
    /// After a failure the next bytes may be the answer to an earlier question.
    broken: Cell<bool>,
}

impl Agent {
    /// Connects to the socket.
    pub fn connect(path: &Path, timeouts: Timeouts) -> Result<Self, AgentError> {
        let unreachable = |source: io::Error| AgentError::Unreachable { path: path.to_owned(), source };
        // By hand, for a stopped agent whose queue is full would hold `UnixStream::connect` for ever. Linux bounds the connection
        // by the time-out for sending.
        let connect = || {
            let socket = net::socket_with(
                net::AddressFamily::UNIX,
                net::SocketType::STREAM,
                net::SocketFlags::CLOEXEC,
                None,
            )?;
            net::sockopt::set_socket_timeout(&socket, net::sockopt::Timeout::Send, Some(timeouts.connect))?;
            net::connect(&socket, &net::SocketAddrUnix::new(path)?)?;
            Ok::<_, rustix::io::Errno>(UnixStream::from(socket))
        };
        match connect() {
            Ok(stream) => Ok(Self { stream, timeouts, broken: Cell::new(false) }),
            Err(Errno::AGAIN) => Err(AgentError::TimedOut { seconds: timeouts.connect.as_secs() }),
            Err(errno) => Err(unreachable(errno.into())),
        }
    }

    /// All that it lists.
    pub fn list(&self) -> Result<Vec<Identity>, AgentError> {
        parse_identities(&self.exchange(&[REQUEST_IDENTITIES])?).ok_or(AgentError::Malformed)
    }

    /// One of its keys, to sign with.
    pub fn key(&self, public_key: &PublicKey) -> Result<AgentKey<'_>, SignError> {
        let fingerprint = || public_key.fingerprint();
        let identities = self.list()?;
        if identities.iter().any(|identity| identity.public_key().as_ref() == Some(public_key)) {
            Ok(AgentKey { agent: self, public_key: *public_key })
        } else if identities.iter().any(|identity| identity.certified_key().as_ref() == Some(public_key)) {
            Err(SignError::CertificateOnly { fingerprint: fingerprint() })
        } else {
            Err(SignError::NotHeld { fingerprint: fingerprint() })
        }
    }

    /// Whether the process behind the socket is an sshd, by what stands under `proc` ([`PROC`]).
    pub fn forwarding(&self, proc: &Path) -> Forwarding {
        #[cfg(target_os = "linux")]
        if let Ok(peer) = net::sockopt::socket_peercred(&self.stream) {
            return forwarding_of(proc, peer.pid.as_raw_nonzero().get());
        }
        let _ = proc;
        Forwarding::Unknown
    }

    /// One question and its answer, without the lengths around them.
    fn exchange(&self, question: &[u8]) -> Result<Zeroizing<Vec<u8>>, AgentError> {
        if self.broken.replace(true) {
            return Err(AgentError::Broken(io::ErrorKind::NotConnected.into()));
        }
        let deadline = Instant::now() + self.timeouts.answer;
        let mut message = Vec::with_capacity(question.len() + 4);
        wire::push(&mut message, question);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                AgentError::TimedOut { seconds: self.timeouts.answer.as_secs() }
            }
            _ => AgentError::Broken(error),
        };
        self.stream.set_write_timeout(Some(self.timeouts.answer)).map_err(failed)?;
        (&self.stream).write_all(&message).map_err(failed)?;
        let mut length = [0; 4];
        self.read(&mut length, deadline).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(1..=LONGEST_ANSWER).contains(&length) {
            return Err(AgentError::Malformed);
        }
        let mut answer = Zeroizing::new(vec![0; length]);
        self.read(&mut answer, deadline).map_err(failed)?;
        self.broken.set(false);
        Ok(answer)
    }

    /// Fills the buffer. The time is for all of it: an agent that sends a byte now and then gets no more.
    fn read(&self, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match (&self.stream).read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => buffer = buffer.split_at_mut(count).1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A process's name is read in two ways: the link to its program cannot be followed for an sshd that has changed its user.
#[cfg(target_os = "linux")]
fn forwarding_of(proc: &Path, pid: i32) -> Forwarding {
    let process = proc.join(pid.to_string());
    let program = std::fs::read_link(process.join("exe")).ok();
    let program = program.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let name = std::fs::read_to_string(process.join("comm")).ok();
    let names: Vec<String> = [program, name].into_iter().flatten().collect();
    if names.iter().any(|name| name.trim_start().starts_with("sshd")) {
        Forwarding::Forwarded
    } else if names.is_empty() {
        Forwarding::Unknown
    } else {
        Forwarding::Local
    }
}

/// A key in an agent.
#[derive(Debug)]
pub struct AgentKey<'a> {
    agent: &'a Agent,
    public_key: PublicKey,
}

impl Signer for AgentKey<'_> {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, data: &[u8]) -> Result<[u8; 64], SignError> {
        let mut question = vec![SIGN_REQUEST];
        wire::push(&mut question, self.public_key.blob());
        wire::push(&mut question, data);
        question.extend_from_slice(&0_u32.to_be_bytes());
        let answer = self.agent.exchange(&question)?;
        if matches!(answer.first(), Some(&FAILURE | &EXTENSION_FAILURE)) {
            // Locked or removed meanwhile, it is no longer listed; what is listed and does not sign was refused.
            self.agent.key(&self.public_key)?;
            return Err(SignError::Refused { fingerprint: self.public_key.fingerprint() });
        }
        Ok(parse_signature(&answer).ok_or(AgentError::Malformed)?)
    }
}

/// The identities in an answer to a request for them; `None` if it is none. For fuzzing.
pub fn parse_identities(answer: &[u8]) -> Option<Vec<Identity>> {
    let mut answer = Reader(answer);
    answer.byte().filter(|kind| *kind == IDENTITIES_ANSWER)?;
    // Not allocated for: the number is the agent's word.
    let count = answer.number()?;
    let mut identities = Vec::new();
    for _ in 0..count {
        let (blob, comment) = (answer.string()?.to_vec(), answer.string()?.to_vec());
        identities.push(Identity { blob, comment });
    }
    answer.end()?;
    Some(identities)
}

/// The Ed25519 signature in an answer to a request for one; `None` if it is none. For fuzzing.
pub fn parse_signature(answer: &[u8]) -> Option<[u8; 64]> {
    let mut answer = Reader(answer);
    answer.byte().filter(|kind| *kind == SIGN_RESPONSE)?;
    let mut signature = Reader(answer.string()?);
    answer.end()?;
    signature.string().filter(|algorithm| *algorithm == b"ssh-ed25519")?;
    let bytes = signature.string()?.try_into().ok()?;
    signature.end()?;
    Some(bytes)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_sshd_is_known_by_its_program_or_by_its_name_alone() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid: &str, program: Option<&str>, name: Option<&str>| {
            let folder = proc.path().join(pid);
            fs::create_dir(&folder).unwrap();
            if let Some(program) = program {
                symlink(program, folder.join("exe")).unwrap();
            }
            if let Some(name) = name {
                fs::File::create(folder.join("comm")).unwrap().write_all(name.as_bytes()).unwrap();
            }
        };
        process("1", Some("/usr/bin/ssh-agent"), Some("ssh-agent\n"));
        process("2", None, Some("sshd\n"));
        process("3", Some("/usr/lib/openssh/sshd-session"), Some("x\n"));
        process("4", None, None);
        let of = |pid| forwarding_of(proc.path(), pid);
        assert_eq!(
            [of(1), of(2), of(3), of(4), of(5)],
            [
                Forwarding::Local,
                Forwarding::Forwarded,
                Forwarding::Forwarded,
                Forwarding::Unknown,
                Forwarding::Unknown
            ]
        );
    }
}
