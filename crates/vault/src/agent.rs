//! A client of the ssh-agent protocol, as small as will do: list and sign.
//!
//! Source: draft-ietf-sshm-ssh-agent. Listings are compared as bytes, for comments are in any encoding and certificates stand
//! among the keys; lengths are checked against what has arrived before anything is allocated for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{PublicKey, SignError, Signer};

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
        todo!()
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
pub struct Agent {}

impl Agent {
    /// Connects to the socket.
    pub fn connect(path: &Path, timeouts: Timeouts) -> Result<Self, AgentError> {
        let _ = (path, timeouts);
        todo!()
    }

    /// All that it lists.
    pub fn list(&self) -> Result<Vec<Identity>, AgentError> {
        todo!()
    }

    /// One of its keys, to sign with.
    pub fn key(&self, public_key: &PublicKey) -> Result<AgentKey<'_>, SignError> {
        let _ = public_key;
        todo!()
    }

    /// Whether the process behind the socket is an sshd, by what stands under `proc` ([`PROC`]).
    pub fn forwarding(&self, proc: &Path) -> Forwarding {
        let _ = proc;
        todo!()
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
        let _ = (data, self.agent);
        todo!()
    }
}

/// The identities in an answer to a request for them; `None` if it is none. For fuzzing.
pub fn parse_identities(answer: &[u8]) -> Option<Vec<Identity>> {
    let _ = answer;
    todo!()
}

/// The Ed25519 signature in an answer to a request for one; `None` if it is none. For fuzzing.
pub fn parse_signature(answer: &[u8]) -> Option<[u8; 64]> {
    let _ = answer;
    todo!()
}
