use super::*;

fn session() -> SessionCredentials {
    SessionCredentials {
        access_key_id: AccessKeyId::parse("ASIAIOSFODNN7EXAMPLE").unwrap(),
        secret_access_key: SecretAccessKey::parse("secret/+=").unwrap(),
        session_token: SessionToken::parse("token==").unwrap(),
        region: Region::parse("eu-central-1").unwrap(),
        session_id: SessionMark::parse("7k3m9q2x4v8n1c5d").unwrap(),
        expires_at: "2026-11-21T12:00:00.5Z".parse().unwrap(),
    }
}

fn name() -> ProfileName {
    ProfileName::parse("sue-developer").unwrap()
}

fn text(edited: Result<Option<Zeroizing<Vec<u8>>>>) -> Option<String> {
    edited.unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

const WRITTEN: &str = "[sue-developer]\naws_access_key_id = ASIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret/+=\n\
                       aws_session_token = token==\nsorry_session = 7k3m9q2x4v8n1c5d\n\
                       sorry_expires_at = 2026-11-21T12:00:00Z\n";
const CONFIGURED: &str = "[profile sue-developer]\nregion = eu-central-1\nsorry_session = 7k3m9q2x4v8n1c5d\n";

#[test]
fn a_new_profile_has_all_keys() {
    assert_eq!(text(write_credentials(b"", &name(), &session())).unwrap(), WRITTEN);
    assert_eq!(text(write_config(b"", &name(), &session())).unwrap(), CONFIGURED);
    assert_eq!(text(write_credentials(WRITTEN.as_bytes(), &name(), &session())), None);
    assert_eq!(text(write_config(CONFIGURED.as_bytes(), &name(), &session())), None);
}

#[test]
fn a_renewal_leaves_the_config_file_alone() {
    let next = SessionCredentials { session_id: SessionMark::parse("0000").unwrap(), ..session() };
    assert!(
        text(write_credentials(WRITTEN.as_bytes(), &name(), &next)).unwrap().contains("sorry_session = 0000")
    );
    assert_eq!(text(write_config(CONFIGURED.as_bytes(), &name(), &next)), None);
    let moved = SessionCredentials { region: Region::parse("us-east-1").unwrap(), ..next };
    let edited = text(write_config(CONFIGURED.as_bytes(), &name(), &moved)).unwrap();
    assert_eq!(edited, "[profile sue-developer]\nregion = us-east-1\nsorry_session = 0000\n");
}

#[test]
fn what_is_not_ours_is_refused() {
    for key in [
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "role_arn",
        "source_profile",
        "credential_source",
        "credential_process",
        "web_identity_token_file",
        "login_session",
        "sso_session",
        "sso_start_url",
        "SSO_Account_Id",
    ] {
        let credentials = format!("[sue-developer]\n{key} = AKIAEXAMPLE\n");
        let config = format!("[profile sue-developer]\n{key} = AKIAEXAMPLE\n");
        for error in [
            write_credentials(credentials.as_bytes(), &name(), &session()).unwrap_err(),
            write_config(config.as_bytes(), &name(), &session()).unwrap_err(),
        ] {
            assert!(matches!(&error, Error::Taken { .. }), "{key}: {error}");
            assert!(error.hint().unwrap().contains("--profile"));
            assert!(!format!("{error} {error:?}").contains("AKIAEXAMPLE"));
        }
    }
    // Another source beside our mark: not a form that anybody wrote on purpose.
    let both = WRITTEN.to_owned() + "role_arn = x\n";
    assert!(matches!(write_credentials(both.as_bytes(), &name(), &session()), Err(Error::Taken { .. })));
    let region = b"[profile sue-developer]\nregion = us-east-1\n";
    assert!(matches!(write_config(region, &name(), &session()), Err(Error::Taken { .. })));
}

#[test]
fn somebodys_settings_gain_a_region_and_stay_theirs() {
    let theirs = "[profile sue-developer]\noutput = json\n";
    let edited = text(write_config(theirs.as_bytes(), &name(), &session())).unwrap();
    assert_eq!(edited, "[profile sue-developer]\noutput = json\nregion = eu-central-1\n");
    assert_eq!(text(write_config(edited.as_bytes(), &name(), &session())), None);
    assert_eq!(text(remove(FileKind::Config, edited.as_bytes(), &name(), None)), None);
    assert!(write_credentials(b"[sue-developer]\n# none\n", &name(), &session()).unwrap().is_some());
}

#[test]
fn only_the_session_asked_for_is_removed() {
    let other = SessionMark::parse("0000").unwrap();
    let this = session().session_id;
    let from = |session| text(remove(FileKind::Credentials, WRITTEN.as_bytes(), &name(), session));
    assert_eq!(from(Some(&other)), None);
    assert_eq!(from(Some(&this)).unwrap(), "\n");
    assert_eq!(from(None).unwrap(), "\n");
    // The config file's mark may be an earlier session's.
    assert_eq!(text(remove(FileKind::Config, CONFIGURED.as_bytes(), &name(), Some(&other))).unwrap(), "\n");
    let theirs = b"[sue-developer]\naws_access_key_id = AKIA\n";
    assert_eq!(text(remove(FileKind::Credentials, theirs, &name(), None)), None);
}

#[test]
fn forms_are_told_apart() {
    let form = |line: &str| {
        let file = format!("[x]\nregion = a\n{line}\n");
        let document = Document::parse(FileKind::Credentials, file.as_bytes());
        Form::of(&document.section(&ProfileName::parse("x").unwrap()).unwrap().unwrap())
    };
    assert_eq!(form("aws_access_key_id = A"), Form::Keys);
    assert_eq!(form("credential_process = a"), Form::Process);
    assert_eq!(form("sso_session = a"), Form::SignIn);
    assert_eq!(form("role_arn = a"), Form::Role);
    assert_eq!(form("output = a"), Form::Settings);
}
