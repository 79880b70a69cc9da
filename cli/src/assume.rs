//! The session's credentials: `AssumeRole` with the caller's own key, and then the service never sees them; or what it hands out.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sts::{error::ProvideErrorMetadata, operation::assume_role::AssumeRoleError};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sorry_vault::TemporaryCredentials;
use sorry_wire::{Access, Grant, SessionView, TierList, TierName, WhoAmI};
use tokio::time::Instant;

use crate::{
    api::Api,
    app::{App, Aws},
    args::MfaCode,
    error::{CliError, Exit, Result},
    issued,
    mfa::{self, Codes},
};

/// How long a new role may stay unknown to parts of AWS: 4 to 30 seconds as a rule.
const PROPAGATION: Duration = Duration::from_secs(60);
/// A session that became active at most so long ago may still be propagating.
const FRESH_SECONDS: i64 = 120;
/// Before that a new role is not worth a code: each is good once, and AWS would refuse it unseen.
const SETTLED: Duration = Duration::from_secs(10);

/// With which key a role is assumed.
#[derive(Debug)]
pub(crate) enum Key<'a> {
    /// The caller's own, asking for an MFA code where the role asks for one.
    Callers(&'a MfaCode),
    /// This one, which has all that the role asks for.
    Given(Credentials),
}

/// Assumes the role of an ACTIVE session, or asks for credentials of one that has none of its own. What a new role needs to become known
/// is waited for, and nothing else. Whatever fails says how to go on with the session.
pub(crate) async fn assume(
    app: &App,
    aws: &Aws,
    session: &SessionView,
    key: Key<'_>,
) -> Result<TemporaryCredentials> {
    lend(app, aws, session, key).await.map_err(|error| goes_on(error, session))
}

/// The error with what can be done about the session that it leaves behind, unless it speaks of that already.
pub(crate) fn goes_on(error: CliError, session: &SessionView) -> CliError {
    let id = &session.session_id;
    let hint = format!("the session is ACTIVE: `sorry renew {id}` tries again, `sorry revoke {id}` ends it");
    error.also_about(id.as_str(), hint)
}

async fn lend(app: &App, aws: &Aws, session: &SessionView, key: Key<'_>) -> Result<TemporaryCredentials> {
    if session.grant != Grant::Role {
        return issued::fetch(app, aws, session, key).await;
    }
    let access = session.access.as_ref().ok_or_else(|| {
        CliError::new(Exit::Refused, format!("session `{}` is not yours to use", session.session_id))
            .hint(format!("only the key that asked for it can assume its role: that of `{}`", session.caller))
    })?;
    let (credentials, from) = match key {
        Key::Callers(from) => (aws.credentials().await?, Some(from)),
        Key::Given(credentials) => (credentials, None),
    };
    // Temporary credentials either carry MFA already or cannot get it.
    let mut device = match from.filter(|_| session.mfa && credentials.session_token().is_none()) {
        Some(from) => {
            let serial = aws.mfa_serial(app).await?.to_owned();
            settled(app, session).await;
            let mut codes = Codes::new(app, from);
            let code = codes.next().await?;
            Some((serial, codes, code))
        }
        None => None,
    };
    let sts = aws_sdk_sts::Client::new(&with_key(&aws.sdk, credentials.clone()));
    let give_up = Instant::now() + PROPAGATION;
    let mut pause = Duration::from_millis(500);
    loop {
        let now = (app.clock)();
        let call = sts
            .assume_role()
            .role_arn(&access.role_arn)
            .role_session_name(&access.role_session_name)
            .external_id(access.external_id.as_str())
            // None where the caller carries one already: that stays, and STS takes no other.
            .set_source_identity(access.source_identity.as_ref().map(ToString::to_string))
            .duration_seconds(duration_seconds(session, access, &credentials, now))
            .set_serial_number(device.as_ref().map(|(serial, ..)| serial.clone()))
            .set_token_code(device.as_ref().map(|(.., code)| code.expose_secret().to_owned()));
        let error = match call.send().await {
            Ok(answer) => return mfa::lent(answer.credentials),
            Err(error) => error,
        };
        let fresh = session.activated_at.is_none_or(|at| now.as_second() - at.as_second() < FRESH_SECONDS);
        let refused = error.as_service_error();
        if let Some((_, codes, code)) = &mut device
            && refused.is_some_and(mfa::is_spent)
            && codes.may_go_on()
        {
            *code = codes.next().await?;
            continue;
        }
        if !(fresh && refused.is_some_and(propagating))
            || Instant::now() >= give_up
            || now >= session.expires_at
        {
            let told = CliError::from_sdk("assume the session's role", &error);
            return Err(if refused.is_some_and(mfa::is_spent) { told } else { untaken(told, session) });
        }
        app.ui.progress("waiting until all of AWS knows the new role (up to a minute)");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(4));
    }
}

/// `max(900, min(what remains, the cap))`. The date deny ends a shorter window.
fn duration_seconds(
    session: &SessionView,
    access: &Access,
    credentials: &Credentials,
    now: Timestamp,
) -> i32 {
    let remaining = session.expires_at.as_second() - now.as_second();
    sorry_credentials::duration_seconds(
        remaining,
        access.maximum_seconds,
        credentials.session_token().is_some(),
    )
}

fn with_key(sdk: &SdkConfig, key: Credentials) -> SdkConfig {
    sdk.to_builder().credentials_provider(SharedCredentialsProvider::new(key)).build()
}

/// What AWS answers while a new role, or its trust policy, has not reached the whole of it. An explicit deny is somebody's will.
fn propagating(error: &AssumeRoleError) -> bool {
    error.code() == Some("AccessDenied")
        && !error.message().unwrap_or_default().contains("explicit deny")
        && !mfa::is_spent(error)
}

/// What may be wrong where AWS refuses the session's own caller.
fn untaken(error: CliError, session: &SessionView) -> CliError {
    if error.exit != Exit::Refused as u8 {
        return error;
    }
    let id = &session.session_id;
    error.hint(format!(
        "the session is ACTIVE: try `sorry renew {id}` again in a minute; if it stays so, does the caller's IAM policy allow \
         sts:AssumeRole and sts:SetSourceIdentity, is the key the one that asked, and does it come from the address that asked? \
         Credentials that carry a source identity are registered with it: `--source-identity`; `sorry revoke {id}` ends the session"
    ))
}

/// Looks, before a session of a tier is asked for, whether its MFA could be satisfied at all: a session that its owner cannot use is
/// only another role in the account.
pub(crate) async fn check_mfa(app: &App, aws: &Aws, api: &Api<'_>, tier: &TierName) -> Result<()> {
    let list: TierList = api.get(&["tiers"], &[]).await?;
    // A tier that is not there, or not lent, is for the service to refuse.
    if !list.tiers.iter().any(|known| known.name == *tier && known.mfa && known.enabled) {
        return Ok(());
    }
    if aws.credentials().await?.session_token().is_none() {
        aws.mfa_serial(app).await?;
        return Ok(());
    }
    let me: WhoAmI = api.get(&["whoami"], &[]).await?;
    // Those of `aws sts get-session-token` look like their user, and may carry MFA.
    if me.arn.contains(":assumed-role/") {
        return Err(CliError::new(
            Exit::Refused,
            format!("tier `{tier}` asks for MFA, and `{}` is a role's session, which carries none", me.arn),
        )
        .hint(
            "use an IAM user's key that is registered here, or a tier without MFA: `sorry tiers` shows them; if your identity provider \
             asked for MFA, an administrator registers the role with `--mfa-by idp`",
        ));
    }
    Ok(())
}

/// Waits until a new role is so old that AWS as a rule knows it everywhere.
async fn settled(app: &App, session: &SessionView) {
    let wait = unsettled(session.activated_at, (app.clock)());
    if !wait.is_zero() {
        app.ui.progress("waiting some seconds for the new role, as an MFA code is good only once");
        tokio::time::sleep(wait).await;
    }
}

/// How long a role is still too new for a code. A clock that is wrong makes it no longer than [`SETTLED`].
fn unsettled(activated_at: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(activated_at) = activated_at else { return SETTLED };
    let age = now.duration_since(activated_at);
    Duration::try_from(age).map_or(SETTLED, |age| SETTLED.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use aws_sdk_sts::error::ErrorMetadata;

    use super::*;

    #[test]
    fn a_code_is_kept_until_the_role_is_ten_seconds_old() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (active, now, left) in
            [(100, 100, 10), (100, 103, 7), (100, 110, 0), (100, 900, 0), (100, 50, 10)]
        {
            assert_eq!(unsettled(Some(at(active)), at(now)), Duration::from_secs(left), "{active} {now}");
        }
        assert_eq!(unsettled(None, at(0)), SETTLED);
    }

    #[test]
    fn exactly_the_propagation_errors_are_waited_for() {
        let error = |code: &str, message: &str| {
            AssumeRoleError::generic(ErrorMetadata::builder().code(code).message(message).build())
        };
        let denied = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::1:role/y";
        assert!(propagating(&error("AccessDenied", denied)));
        assert!(!propagating(&error(
            "AccessDenied",
            &format!("{denied} with an explicit deny in an identity-based policy")
        )));
        assert!(!propagating(&error(
            "InvalidClientTokenId",
            "The security token included in the request is invalid."
        )));
        assert!(!propagating(&error("ValidationError", "1 validation error detected")));
        let mfa =
            error("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.");
        assert!(!propagating(&mfa) && crate::mfa::is_spent(&mfa));
    }
}
