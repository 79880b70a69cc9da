//! The form with a command: what it writes, and the way from one form to the other and back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::common::{Home, name, process, put, session};
use sorry_profiles::{Error, Form, SessionMark};

const COMMAND: &str = "[profile sue-developer]\ncredential_process = /opt/sorry/bin/sorry credential-process --session 7k3m\n\
                       region = eu-central-1\nsorry_session = 7k3m\nsorry_expires_at = 2026-11-21T12:00:00Z\n";
const THEIRS: &str = "[a]\naws_access_key_id = AKIATHEIRSTHEIRS\n";

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_command_needs_no_credentials_file_and_a_renewal_writes_nothing() {
    let home = Home::new();
    let written =
        home.files.write_process_profile(&home.context(), &name("sue-developer"), &process("7k3m")).unwrap();
    assert!(written.config && !written.credentials);
    assert_eq!(text(&home.files.config), COMMAND);
    assert!(!home.files.credentials.exists());
    let before = fs::metadata(&home.files.config).unwrap().ino();
    let again =
        home.files.write_process_profile(&home.context(), &name("sue-developer"), &process("7k3m")).unwrap();
    assert!(!again.config && fs::metadata(&home.files.config).unwrap().ino() == before);
    let profiles = home.files.profiles(&home.context()).unwrap();
    let [profile] = profiles.as_slice() else { panic!("{profiles:?}") };
    assert_eq!(profile.form, Form::Process);
    assert_eq!(profile.session.as_ref().map(SessionMark::as_str), Some("7k3m"));
    assert!(profile.expires_at.is_some());

    let other = SessionMark::parse("0000").unwrap();
    let left =
        home.files.remove_session_profile(&home.context(), &name("sue-developer"), Some(&other)).unwrap();
    assert!(!left.config && !left.credentials);
    let gone = home.files.remove_session_profile(&home.context(), &name("sue-developer"), None).unwrap();
    assert!(gone.config);
    assert_eq!(text(&home.files.config), "\n");
}

#[test]
fn a_profile_changes_its_form_and_is_never_in_two() {
    let home = Home::new();
    put(&home.files.credentials, THEIRS.as_bytes());
    let sue = name("sue-developer");
    let keys = || home.files.write_session_profile(&home.context(), &sue, &session("7k3m")).unwrap();
    let command = || home.files.write_process_profile(&home.context(), &sue, &process("7k3m")).unwrap();
    for _ in 0..2 {
        assert!(keys().credentials);
        assert_eq!(text(&home.files.credentials).matches("CANARY/").count(), 2);
        assert!(!text(&home.files.config).contains("credential_process"));
        assert!(!text(&home.files.config).contains("sorry_expires_at"));
        let changed = command();
        assert!(changed.config && changed.credentials);
        assert_eq!(text(&home.files.credentials), THEIRS);
        let config = text(&home.files.config);
        let mut lines: Vec<_> = config.lines().collect();
        let mut expected: Vec<_> = COMMAND.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }
}

#[test]
fn somebodys_region_and_settings_outlive_both_forms() {
    let home = Home::new();
    let theirs = "[profile sue-developer]\nregion = eu-central-1\noutput = json\n";
    put(&home.files.config, theirs.as_bytes());
    let sue = name("sue-developer");
    let command = || home.files.write_process_profile(&home.context(), &sue, &process("7k3m")).unwrap();
    let remove = || home.files.remove_session_profile(&home.context(), &sue, None).unwrap();
    let _ = (command(), remove());
    assert_eq!(text(&home.files.config), theirs);
    let _ = command();
    let _ = home.files.write_session_profile(&home.context(), &sue, &session("7k3m")).unwrap();
    assert_eq!(text(&home.files.config), theirs);
    let _ = remove();
    assert_eq!(text(&home.files.config), theirs);
}

#[test]
fn what_is_not_ours_is_refused_in_either_file_and_nothing_is_written() {
    for (credentials, config) in [
        ("[sue-developer]\naws_access_key_id = AKIATHEIRSTHEIRS\n", ""),
        ("[sue-developer]\nregion = a\n", ""),
        ("", "[profile sue-developer]\ncredential_process = /theirs\n"),
        ("", "[profile sue-developer]\nrole_arn = arn\nsource_profile = a\n"),
        ("", "[profile sue-developer]\nsso_session = a\n"),
        ("", "[profile sue-developer]\naws_access_key_id = AKIATHEIRSTHEIRS\n"),
        ("", "[profile sue-developer]\nregion = us-east-1\n"),
        ("", "[profile sue-developer]\nsorry_session = a\nrole_arn = arn\n"),
    ] {
        let home = Home::new();
        put(&home.files.credentials, credentials.as_bytes());
        put(&home.files.config, config.as_bytes());
        let error = home
            .files
            .write_process_profile(&home.context(), &name("sue-developer"), &process("7k3m"))
            .unwrap_err();
        assert!(matches!(error, Error::Taken { .. }), "{credentials} {config}: {error}");
        assert_eq!(
            (text(&home.files.credentials), text(&home.files.config)),
            (credentials.into(), config.into())
        );
    }
}
