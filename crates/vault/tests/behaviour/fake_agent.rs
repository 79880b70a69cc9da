//! Agents that misbehave, each in one way, on a socket of their own. Also for the tests of the command line.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{Signer, SigningKey};

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Nothing.
    Honest,
    /// Lists nothing and signs nothing, as a locked one.
    Locked,
    /// Lists the key and is locked before it signs.
    LockedMeanwhile,
    /// Lists the key and does not sign.
    Refusing,
    /// Signs with another key.
    WrongKey,
    /// Its signatures verify and differ each time.
    Randomised,
    /// Has a certificate for the key alone.
    CertificateOnly,
    /// Has a key with a comment that is no UTF-8, before the key.
    LatinComment,
    /// Says that its answer has four gigabytes.
    ForgedLength,
    /// Says that it lists four thousand million keys.
    ForgedCount,
    /// A string in its list is longer than the answer.
    ForgedString,
    /// Takes the question and says nothing.
    Silent,
    /// Hangs up.
    HangsUp,
}

/// A running one. Its thread ends with the test's process.
pub(crate) struct FakeAgent {
    path: PathBuf,
}

impl FakeAgent {
    /// Starts it in a folder.
    pub(crate) fn start(folder: &Path, seed: &[u8; 32], behaviour: Behaviour) -> Self {
        let path = folder.join(format!("{behaviour:?}.sock"));
        let listener = UnixListener::bind(&path).unwrap();
        let script =
            Arc::new(Script { key: SigningKey::from_bytes(seed), behaviour, asked: AtomicU8::new(0) });
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = Arc::clone(&script);
                thread::spawn(move || script.serve(stream));
            }
        });
        Self { path }
    }

    /// Its socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

fn blob(key: &SigningKey) -> Vec<u8> {
    [string(b"ssh-ed25519"), string(key.verifying_key().as_bytes())].concat()
}

fn certificate(key: &SigningKey) -> Vec<u8> {
    let raw = key.verifying_key();
    [string(b"ssh-ed25519-cert-v01@openssh.com"), string(&[7; 32]), string(raw.as_bytes()), vec![0; 100]]
        .concat()
}

fn listing(identities: &[(Vec<u8>, &[u8])]) -> Vec<u8> {
    let mut answer = vec![12];
    answer.extend(u32::try_from(identities.len()).unwrap().to_be_bytes());
    for (blob, comment) in identities {
        answer.extend(string(blob));
        answer.extend(string(comment));
    }
    answer
}

struct Script {
    key: SigningKey,
    behaviour: Behaviour,
    asked: AtomicU8,
}

impl Script {
    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let mut question = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut question)?;
            match (self.behaviour, question.first()) {
                (Behaviour::HangsUp, _) => return Ok(()),
                (Behaviour::Silent, _) => {}
                (Behaviour::ForgedLength, Some(11)) => stream.write_all(&[0xff; 64])?,
                (_, Some(11)) => stream.write_all(&string(&self.list()))?,
                (_, Some(13)) => stream.write_all(&string(&self.sign(&question)))?,
                _ => stream.write_all(&string(&[5]))?,
            }
        }
    }

    fn list(&self) -> Vec<u8> {
        let own = (blob(&self.key), &b"own"[..]);
        let other = SigningKey::from_bytes(&[9; 32]);
        match self.behaviour {
            Behaviour::Locked => listing(&[]),
            Behaviour::LockedMeanwhile if self.asked.fetch_add(1, Ordering::SeqCst) > 0 => listing(&[]),
            Behaviour::CertificateOnly => listing(&[(certificate(&self.key), b"certificate")]),
            Behaviour::LatinComment => listing(&[(blob(&other), b"M\xfcller"), own]),
            Behaviour::ForgedCount => {
                [vec![12], vec![0xff; 4], string(&blob(&self.key)), string(b"own")].concat()
            }
            Behaviour::ForgedString => [vec![12, 0, 0, 0, 1], vec![0xff; 4], blob(&self.key)].concat(),
            _ => listing(&[(certificate(&other), b"another's"), own]),
        }
    }

    fn sign(&self, question: &[u8]) -> Vec<u8> {
        let start = 1 + 4 + blob(&self.key).len() + 4;
        let data = &question[start..question.len() - 4];
        let signature = match self.behaviour {
            Behaviour::Locked
            | Behaviour::LockedMeanwhile
            | Behaviour::Refusing
            | Behaviour::CertificateOnly => return vec![5],
            Behaviour::WrongKey => SigningKey::from_bytes(&[9; 32]).sign(data),
            Behaviour::Randomised => {
                let mut expanded = ExpandedSecretKey::from(self.key.as_bytes());
                expanded.hash_prefix[0] =
                    expanded.hash_prefix[0].wrapping_add(1 + self.asked.fetch_add(1, Ordering::SeqCst));
                raw_sign::<sha2::Sha512>(&expanded, data, &self.key.verifying_key())
            }
            _ => self.key.sign(data),
        };
        [vec![14], string(&[string(b"ssh-ed25519"), string(&signature.to_bytes())].concat())].concat()
    }
}
