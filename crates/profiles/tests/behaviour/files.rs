//! Whole operations on the files of a person who has a lot in them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::common::{Home, name, put, session};
use sorry_profiles::{Error, Form, Region, SecretAccessKey, SessionCredentials, SessionMark};

/// Forty profiles with whatever people and tools leave in such files; `ours` stands in the middle.
fn credentials(ours: &str) -> Vec<u8> {
    let mut file = b"# my keys; do not lose\r\n;old:\r\n\r\n".to_vec();
    for index in 0..40 {
        let section = match index % 8 {
            0 => format!(
                "[p{index}]\r\naws_access_key_id=AKIA{index:016}\r\naws_secret_access_key = s/{index}\r\n\r\n"
            ),
            1 => format!(
                "[p{index}]  # personal\n  \naws_access_key_id   =\tAKIA{index:016}\naws_secret_access_key=x\n"
            ),
            2 => format!("[ p{index} ]\nAWS_ACCESS_KEY_ID : AKIA{index:016}\n"),
            3 => format!(
                "[p{index}]\ns3 =\n  max_concurrent_requests = 20\n\n  # nested\n  addressing_style=path\n"
            ),
            4 => format!("[profile \"p {index}\"]\r\nrole_arn = arn:aws:iam::1:role/x # inline\r\n\n\n"),
            5 => format!("[p{index}]\nregion = a\nregion = b\nno delimiter\n"),
            6 => format!("[p{index}]\nname = M\u{fc}ller\n\t\n"),
            _ => format!(
                "[p{index}]\n;aws_access_key_id = AKIA{index:016}\ncredential_process = /x --y \"z\"\n"
            ),
        };
        file.extend_from_slice(section.as_bytes());
        if index == 6 {
            file.extend_from_slice(b"# Latin-1: \xfc\xe4\n");
        }
        if index == 20 {
            file.extend_from_slice(ours.as_bytes());
        }
    }
    file.extend_from_slice(b"[last]\r\naws_access_key_id = AKIALASTLASTLAST\r\n# no newline at the end");
    file
}

fn ours(id: &str, ending: &str) -> String {
    [
        "[sue-developer]",
        "aws_access_key_id = ASIACANARYCANARY0000",
        "aws_secret_access_key = CANARY/secret+0000",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(["aws_session_token = CANARY/token/0000==".to_owned(), format!("sorry_session = {id}")])
    .chain(["sorry_expires_at = 2026-11-21T12:00:00Z".to_owned()])
    .map(|line| line + ending)
    .collect()
}

#[test]
fn forty_profiles_stay_byte_for_byte_what_they_were() {
    let home = Home::new();
    let (credentials_file, config_file) = (&home.files.credentials, &home.files.config);
    let config =
        b"[default]\r\nregion = eu-west-1\r\noutput=json\r\n\r\n[profile q]\r\nsso_session = s\r\n".to_vec();
    let before = credentials("");
    put(credentials_file, &before);
    put(config_file, &config);
    fs::set_permissions(config_file, fs::Permissions::from_mode(0o644)).unwrap();

    let written =
        home.files.write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m")).unwrap();
    assert!(written.credentials && written.config);
    let mut expected = before.clone();
    expected.extend_from_slice(b"\r\n\r\n");
    expected.extend_from_slice(ours("7k3m", "\r\n").as_bytes());
    assert_eq!(fs::read(credentials_file).unwrap(), expected);
    let mut configured = config.clone();
    configured.extend_from_slice(
        b"\r\n[profile sue-developer]\r\nregion = eu-central-1\r\nsorry_session = 7k3m\r\n",
    );
    assert_eq!(fs::read(config_file).unwrap(), configured);
    assert_eq!(fs::metadata(credentials_file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(config_file).unwrap().mode() & 0o777, 0o644);

    // Taken away again: as before, but for the newline that the last line now has.
    let removed = home.files.remove_session_profile(&home.context(), &name("sue-developer"), None).unwrap();
    assert!(removed.credentials && removed.config);
    assert_eq!(fs::read(credentials_file).unwrap(), [&before[..], b"\r\n"].concat());
    assert_eq!(fs::read(config_file).unwrap(), config);
}

#[test]
fn a_renewal_in_the_middle_changes_six_lines_and_not_the_config_file() {
    let home = Home::new();
    put(&home.files.credentials, &credentials(&ours("0000", "\n")));
    put(&home.files.config, b"[profile sue-developer]\nregion = eu-central-1\nsorry_session = 0000\n");
    let config = fs::metadata(&home.files.config).unwrap();
    let written =
        home.files.write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m")).unwrap();
    assert!(written.credentials && !written.config);
    assert_eq!(fs::read(&home.files.credentials).unwrap(), credentials(&ours("7k3m", "\n")));
    let after = fs::metadata(&home.files.config).unwrap();
    assert_eq!((config.ino(), config.mtime_nsec()), (after.ino(), after.mtime_nsec()));

    let again =
        home.files.write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m")).unwrap();
    assert!(!again.credentials && !again.config);
}

#[test]
fn a_first_profile_makes_folder_and_files_for_the_owner_alone() {
    let home = Home::new();
    let _ =
        home.files.write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m")).unwrap();
    for (path, mode) in [
        (home.folder.path().join(".aws"), 0o700),
        (home.files.credentials.clone(), 0o600),
        (home.files.config.clone(), 0o600),
    ] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    assert_eq!(fs::read_to_string(&home.files.credentials).unwrap(), ours("7k3m", "\n"));
    let mut names: Vec<_> = fs::read_dir(home.folder.path().join(".aws"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".credentials.sorry-lock", "config", "credentials"]);
}

#[test]
fn a_refusal_by_either_file_leaves_both_as_they_were() {
    let cases: [(&str, &str); 6] = [
        ("[sue-developer]\naws_access_key_id = AKIATHEIRSTHEIRS\n", ""),
        ("[sue-developer]\nsorry_session = a\n[ sue-developer ]\n", ""),
        ("", "[profile sue-developer]\nrole_arn = arn\nsource_profile = default\n"),
        ("", "[profile sue-developer]\nsso_session = a\n"),
        ("", "[profile sue-developer]\nregion = a\n\n[profile 'sue-developer']\n"),
        ("[sue-developer]\ncredential_process = x\nsorry_session = a\n", "[a]\n"),
    ];
    for (credentials, config) in cases {
        let home = Home::new();
        put(&home.files.credentials, credentials.as_bytes());
        put(&home.files.config, config.as_bytes());
        let error = home
            .files
            .write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m"))
            .unwrap_err();
        assert!(error.hint().unwrap().contains("--profile"), "{error}");
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("THEIRS"));
        assert_eq!(fs::read_to_string(&home.files.credentials).unwrap(), credentials);
        assert_eq!(fs::read_to_string(&home.files.config).unwrap(), config);
    }
    let home = Home::new();
    let error =
        home.files.write_session_profile(&home.context(), &name("default"), &session("7k3m")).unwrap_err();
    assert!(matches!(error, Error::DefaultProfile));
    assert!(!home.folder.path().join(".aws").exists());
}

#[test]
fn one_file_in_both_places_is_refused() {
    let mut home = Home::new();
    home.files.config = home.files.credentials.clone();
    let error = home.files.write_session_profile(&home.context(), &name("x"), &session("7k3m")).unwrap_err();
    assert!(matches!(error, Error::SameFile { .. }));
}

#[test]
fn a_profile_that_holds_another_session_by_now_is_left_alone() {
    let home = Home::new();
    let write =
        |id| home.files.write_session_profile(&home.context(), &name("sue-developer"), &session(id)).unwrap();
    let remove = |id| {
        let mark = SessionMark::parse(id).unwrap();
        home.files.remove_session_profile(&home.context(), &name("sue-developer"), Some(&mark)).unwrap()
    };
    let _ = (write("1111"), write("2222"));
    let removed = remove("1111");
    assert!(!removed.credentials && !removed.config);
    assert_eq!(fs::read_to_string(&home.files.credentials).unwrap(), ours("2222", "\n"));
    let removed = remove("2222");
    assert!(removed.credentials && removed.config);
    assert_eq!(fs::read_to_string(&home.files.credentials).unwrap(), "\n");
    assert_eq!(fs::read_to_string(&home.files.config).unwrap(), "\n");
    let again = remove("2222");
    assert!(!again.credentials && !again.config);
    let nothing = Home::new();
    let removed = nothing.files.remove_session_profile(&nothing.context(), &name("a"), None).unwrap();
    assert!(!removed.credentials && !nothing.folder.path().join(".aws").exists());
}

#[test]
fn profiles_are_listed_with_what_they_are() {
    let home = Home::new();
    assert!(home.files.profiles(&home.context()).unwrap().is_empty());
    put(&home.files.credentials, &credentials("[twice]\na = 1\na = 2\n"));
    put(
        &home.files.config,
        b"[default]\nregion = a\n\n[profile role]\nrole_arn = x\n[profile p0]\nregion = b\n",
    );
    let _ =
        home.files.write_session_profile(&home.context(), &name("sue-developer"), &session("7k3m")).unwrap();
    let profiles = home.files.profiles(&home.context()).unwrap();
    let named = |wanted: &str| profiles.iter().find(|profile| profile.name.as_str() == wanted).unwrap();

    let ours = named("sue-developer");
    assert_eq!((ours.form, ours.in_credentials, ours.in_config), (Form::Keys, true, true));
    assert_eq!(ours.session.as_ref().unwrap().as_str(), "7k3m");
    assert_eq!(ours.expires_at, Some("2026-11-21T12:00:00Z".parse().unwrap()));
    assert_eq!(ours.region.as_deref(), Some("eu-central-1"));
    assert!(ours.problems.is_empty());

    assert_eq!((named("default").form, named("default").region.as_deref()), (Form::Settings, Some("a")));
    assert_eq!(named("role").form, Form::Role);
    assert_eq!((named("p0").form, named("p0").region.as_deref()), (Form::Keys, Some("b")));
    assert!(named("p0").session.is_none());
    assert_eq!(named("p7").form, Form::Process);
    assert!(matches!(named("twice").problems[..], [Error::DuplicateKey { .. }]));
    assert!(!format!("{profiles:?}").contains("CANARY"));
}

#[test]
fn no_secret_can_be_seen_by_printing() {
    let session = session("7k3m");
    assert_eq!(
        format!("{session:?}").matches("CANARY").count(),
        2,
        "the key id, which is no secret, has two"
    );
    assert!(SecretAccessKey::parse("a\ncredential_process = x").is_err());
    let region = Region::parse("x\ncredential_process = y").unwrap_err();
    assert!(!region.to_string().contains('\n'));
    let _: SessionCredentials = session.clone();
}
