//! The provider with a real vault and agent, and an STS that can be made to fail; and the real Rust SDK on top of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::disallowed_methods, reason = "tests are a `main` of their own")]

mod desk;

use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::Builder as HttpBuilder;
use desk::{BOOTSTRAP_ID, Behaviour, CACHED_ID, CANARY, Desk, MFA_ID, SESSION, Sts, temporary};
use jiff::Timestamp;
use sorry_credentials::{Builder, Error, SessionCredentials};

const HOUR: i64 = 3600;

fn builder(desk: &Desk, sts: &Sts) -> Builder {
    SessionCredentials::builder(SESSION)
        .config_folder(desk.config())
        .state_folder(desk.state())
        .agent_socket(desk.socket())
        .clock(Timestamp::now)
        .http_client(HttpBuilder::new().build_http())
        .sts_endpoint(sts.url())
}

fn provider(desk: &Desk, sts: &Sts) -> SessionCredentials {
    builder(desk, sts).build().unwrap()
}

/// The id of the key that is handed out.
async fn lent(provider: &SessionCredentials) -> Result<String, Error> {
    Ok(provider.lent().await?.credentials().access_key_id.as_str().to_owned())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn what_is_fresh_is_handed_out_without_a_call() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(HOUR, 8 * HOUR, false);
    runtime().block_on(async {
        let provider = provider(&desk, &sts);
        assert_eq!(lent(&provider).await.unwrap(), CACHED_ID);
        let given = provider.provide_credentials().await.unwrap();
        assert_eq!(given.access_key_id(), CACHED_ID);
        // Asked again five minutes before the end, where more can be had.
        let left =
            Timestamp::try_from(given.expiry().unwrap()).unwrap().as_second() - Timestamp::now().as_second();
        assert!((HOUR - 310..=HOUR - 299).contains(&left), "{left}");
        assert!(!format!("{provider:?} {:?}", provider.lent().await.unwrap()).contains(CANARY));
    });
    assert!(sts.asked("AssumeRole").is_empty());
}

#[test]
fn what_is_due_is_renewed_with_the_vaults_key_and_cached() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    desk.cache(19 * 60, 9 * HOUR, false);
    runtime().block_on(async {
        assert_eq!(lent(&provider(&desk, &sts)).await.unwrap(), "ASIARENEWED000000001");
        assert_eq!(lent(&provider(&desk, &sts)).await.unwrap(), "ASIARENEWED000000001");
    });
    let asked = sts.asked("AssumeRole");
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].key_id, BOOTSTRAP_ID);
    for part in ["DurationSeconds=28800", "SourceIdentity=7k3m9q2x4v8n1c5d", "ExternalId=0123456789abcdef"] {
        assert!(asked[0].body.contains(part), "{part}: {}", asked[0].body);
    }
    assert_eq!(desk.cached().credentials.access_key_id.as_str(), "ASIARENEWED000000001");
    let claims: Vec<_> = std::fs::read_dir(desk.state().join("renewals"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(claims.iter().all(|name| name.ends_with(".lock")), "a claim was left: {claims:?}");
}

#[test]
fn what_still_works_is_handed_out_whatever_else_fails() {
    for behaviour in [
        Behaviour::Refuse("AccessDenied", "no".to_owned()),
        Behaviour::Refuse("ExpiredToken", "over".to_owned()),
        Behaviour::Hang,
    ] {
        let (desk, sts) = (Desk::new(), Sts::start(behaviour));
        desk.cache(40, 8 * HOUR, false);
        let began = Instant::now();
        runtime().block_on(async {
            assert_eq!(lent(&provider(&desk, &sts)).await.unwrap(), CACHED_ID);
            assert!(began.elapsed() < Duration::from_secs(20));
            // An outage slows nobody down again, for a while.
            let began = Instant::now();
            assert_eq!(lent(&provider(&desk, &sts)).await.unwrap(), CACHED_ID);
            assert!(began.elapsed() < Duration::from_secs(3));
        });
    }
}

#[test]
fn near_the_sessions_end_nothing_is_asked_and_nothing_fails() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Refuse("AccessDenied", "over".to_owned())));
    // The last credentials of a session end with it, or after it.
    for (expires_in, ends_in) in [(5, 5), (900, 5)] {
        desk.cache(expires_in, ends_in, false);
        runtime().block_on(async {
            let provider = provider(&desk, &sts);
            let given = provider.provide_credentials().await.unwrap();
            let end = Timestamp::try_from(given.expiry().unwrap()).unwrap();
            assert!(end.as_second() <= desk::in_seconds(5).as_second(), "never past the session's end");
        });
    }
    assert!(sts.asked("AssumeRole").is_empty());
    desk.cache(900, -1, false);
    let error = runtime().block_on(lent(&provider(&desk, &sts))).unwrap_err();
    assert!(matches!(error, Error::Over { .. }), "{error:?}");
    assert_eq!(error.remedy(), "sorry request");
}

#[test]
fn what_has_expired_and_cannot_be_renewed_says_why() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Refuse("AccessDenied", "not you".to_owned())));
    desk.cache(-5, 8 * HOUR, false);
    let error = runtime().block_on(lent(&provider(&desk, &sts))).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("AWS refused new credentials of session `{SESSION}`: not you (AccessDenied)")
    );
    sts.behave(Behaviour::Refuse(
        "SignatureDoesNotMatch",
        "Signature expired: 20261121T040000Z is now earlier than 20261121T041500Z (20261121T042000Z - 5 min.)".to_owned(),
    ));
    let error = runtime().block_on(lent(&provider(&desk, &sts))).unwrap_err();
    assert_eq!(error.to_string(), "this machine's clock is wrong by 20 minutes: it is behind");
    sts.behave(Behaviour::Lend(HOUR));
    assert_eq!(&runtime().block_on(lent(&provider(&desk, &sts))).unwrap()[..11], "ASIARENEWED");
}

#[test]
fn whatever_keeps_the_vault_shut_has_a_remedy() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
    let remedy = |builder: Builder| {
        let error = builder.build().unwrap().cached().unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        (error.to_string(), error.remedy())
    };
    assert_eq!(remedy(builder(&desk, &sts)).1, format!("sorry renew {SESSION}"), "nothing is cached");
    desk.cache(HOUR, 8 * HOUR, false);
    assert_eq!(remedy(builder(&desk, &sts).config_folder("/nonexistent")).1, "sorry setup");
    assert_eq!(
        remedy(builder(&desk, &sts).agent_socket("/nonexistent")).1,
        "eval \"$(ssh-agent)\" && ssh-add"
    );
    desk.empty_agent();
    let (message, remedy) = remedy(builder(&desk, &sts));
    assert!(message.contains("does not hold the key `SHA256:"), "{message}");
    assert_eq!(remedy, "ssh-add");
    assert!(matches!(SessionCredentials::builder("../x").build(), Err(Error::Incomplete(_))));
    let odd =
        SessionCredentials::builder("../x").config_folder("/x").state_folder("/x").clock(Timestamp::now);
    assert!(matches!(odd.build(), Err(Error::SessionId(_))));
}

#[test]
fn a_role_that_asks_for_mfa_is_renewed_with_the_vaults_mfa_session_or_not_at_all() {
    let sts = Sts::start(Behaviour::Lend(HOUR));
    for (session_ends_in, expected) in [(2 * HOUR, Ok(MFA_ID)), (-5, Err(()))] {
        let desk = Desk::with(|contents| contents.mfa_session = Some(temporary(MFA_ID, session_ends_in)));
        desk.cache(-5, 8 * HOUR, true);
        let result = runtime().block_on(lent(&provider(&desk, &sts)));
        match expected {
            Ok(key_id) => {
                result.unwrap();
                let asked = sts.asked("AssumeRole").pop().unwrap();
                assert_eq!(asked.key_id, key_id);
                assert!(asked.body.contains("DurationSeconds=3600"), "chained: {}", asked.body);
            }
            Err(()) => {
                let error = result.unwrap_err();
                assert!(matches!(error, Error::MfaOver(_)), "{error:?}");
            }
        }
    }
}

#[test]
fn many_at_once_renew_once_with_locks_and_without() {
    for locks in [true, false] {
        let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(HOUR)));
        desk.cache(-5, 8 * HOUR, false);
        runtime().block_on(async {
            let tasks: Vec<_> = (0..50)
                .map(|_| {
                    let mut builder = builder(&desk, &sts);
                    if !locks {
                        let unsupported = rustix::io::Errno::NOLCK;
                        builder = builder.try_lock(move |_| Err(unsupported.into()));
                    }
                    let provider = builder.build().unwrap();
                    tokio::spawn(async move { lent(&provider).await })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().unwrap(), "ASIARENEWED000000001", "locks: {locks}");
            }
        });
        assert_eq!(sts.asked("AssumeRole").len(), 1, "locks: {locks}");
    }
}

#[test]
fn the_rust_sdk_signs_with_it_and_sees_renewals() {
    let (desk, sts) = (Desk::new(), Sts::start(Behaviour::Lend(15)));
    desk.cache(10, 8 * HOUR, false);
    runtime().block_on(async {
        let provider = provider(&desk, &sts);
        let region = provider.region().await.unwrap();
        assert_eq!(region, Region::new("us-east-1"));
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .http_client(HttpBuilder::new().build_http())
            .endpoint_url(sts.url())
            .credentials_provider(provider)
            .load()
            .await;
        let client = aws_sdk_sts::Client::new(&config);
        for _ in 0..2 {
            client.get_caller_identity().send().await.unwrap();
        }
    });
    let signed: Vec<_> = sts.asked("GetCallerIdentity").into_iter().map(|asked| asked.key_id).collect();
    assert_eq!(signed.len(), 2);
    assert!(signed.iter().all(|id| id.starts_with("ASIARENEWED")), "{signed:?}");
}
