//! An agent of OpenSSH with one key, whose file has a passphrase.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

const PHRASE: &str = "correct horse battery staple";

/// A running agent; it ends with this value.
pub struct SshAgent {
    child: Child,
    folder: TempDir,
}

impl SshAgent {
    /// Makes `~/.ssh/id_ed25519` in a home folder and adds it to an agent of its own.
    pub fn start(home: &Path) -> Self {
        fs::create_dir(home.join(".ssh")).expect("the home folder is writable");
        let key = home.join(".ssh/id_ed25519");
        let mut keygen = Command::new("ssh-keygen");
        let done = keygen.args(["-q", "-t", "ed25519", "-a", "4", "-N", PHRASE, "-f"]).arg(&key).output();
        let done = done.expect("there is no `ssh-keygen`: install openssh-client");
        assert!(done.status.success(), "{done:?}");
        let folder = TempDir::with_prefix("sorry-agent-").expect("a folder can be made");
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(folder.path().join("agent"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is no `ssh-agent`: install openssh-client");
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the agent says something");
        let agent = Self { child, folder };
        let ask = agent.folder.path().join("ask");
        let mut file = fs::File::create(&ask).expect("a file can be made");
        writeln!(file, "#!/bin/sh\nprintf %s '{PHRASE}'").expect("a file can be written");
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).expect("the file is ours");
        drop(file);
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&key).env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force");
        let done =
            add.env("SSH_AUTH_SOCK", agent.socket()).output().expect("`ssh-add` comes with `ssh-agent`");
        assert!(done.status.success(), "{done:?}");
        agent
    }

    /// Where it listens.
    pub fn socket(&self) -> String {
        self.folder.path().join("agent").display().to_string()
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
