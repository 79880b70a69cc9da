//! A home folder with the two files, and values to write.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use sorry_profiles::{
    AccessKeyId, Actor, AwsFiles, Context, ProcessCommand, ProcessProfile, ProfileName, Region,
    SecretAccessKey, SessionCredentials, SessionMark, SessionToken,
};
use tempfile::TempDir;

pub(crate) struct Home {
    pub(crate) folder: TempDir,
    pub(crate) files: AwsFiles,
    pub(crate) actor: Actor,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let files = files_in(folder.path());
        Self { folder, files, actor: Actor::this_process(false) }
    }

    pub(crate) fn context(&self) -> Context<'_> {
        context(&self.actor)
    }
}

pub(crate) fn files_in(home: &Path) -> AwsFiles {
    AwsFiles { credentials: home.join(".aws/credentials"), config: home.join(".aws/config") }
}

pub(crate) fn context(actor: &Actor) -> Context<'_> {
    Context::new(actor, Timestamp::from_second(1_795_000_000).expect("a time"))
}

pub(crate) fn name(text: &str) -> ProfileName {
    ProfileName::parse(text).expect("a profile name")
}

/// Every secret in it contains `CANARY`.
pub(crate) fn session(id: &str) -> SessionCredentials {
    SessionCredentials {
        access_key_id: AccessKeyId::parse("ASIACANARYCANARY0000").expect("a key id"),
        secret_access_key: SecretAccessKey::parse("CANARY/secret+0000").expect("a secret"),
        session_token: SessionToken::parse("CANARY/token/0000==").expect("a token"),
        region: Region::parse("eu-central-1").expect("a region"),
        session_id: SessionMark::parse(id).expect("a session id"),
        expires_at: "2026-11-21T12:00:00Z".parse().expect("a time"),
    }
}

/// As anybody's editor writes.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
    File::create(path).and_then(|mut file| file.write_all(bytes)).expect("the file");
}

/// A session as a command that would print its credentials.
pub(crate) fn process(id: &str) -> ProcessProfile {
    let session = session(id);
    ProcessProfile {
        command: ProcessCommand::of_session(Path::new("/opt/sorry/bin/sorry"), &session.session_id, &[])
            .expect("a command"),
        region: session.region,
        session_id: session.session_id,
        expires_at: session.expires_at,
    }
}

/// The project's folder.
pub(crate) fn project() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
