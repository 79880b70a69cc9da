//! Whether AWS still takes a session's credentials, by trying them: the only way to know from this side.
//!
//! `sts:GetCallerIdentity` is never denied, so it would prove nothing. What is tried is `sns:ListTopics`: a call that reads nothing of
//! anybody's, works with every kind of credentials, and is allowed by the tiers that come with `sorry`. It is tried before the end and
//! after. Credentials count as refused when AWS says that an explicit deny is in place or that it does not know them any more, or when it
//! refuses what it allowed before; a tier that never allowed the call is told apart by that.

use std::time::Duration;

use aws_credential_types::Credentials;
use sorry_vault::Cache;
use sorry_wire::SessionId;
use tokio::time::Instant;

use crate::{
    api::Answer,
    app::{App, Aws},
    env_vars, files,
};

/// The call that is tried, as IAM names it.
pub(crate) const TRIED: &str = "sns:ListTopics";
/// The longest that one try may take; the end of a session does not wait for more than one.
const PATIENCE_OF_A_TRY: Duration = Duration::from_secs(3);
/// How long they are tried: IAM takes seconds as a rule, and minutes at worst.
const PATIENCE: Duration = Duration::from_secs(90);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// AWS did it.
    Allowed,
    /// AWS refused, and it may always have.
    NotAllowed,
    /// AWS refused because access was taken away, or is over.
    Ended,
    /// Nobody knows: no answer, or one about something else.
    Unclear,
}

/// Credentials of a session, as they were before its end.
pub(crate) struct Held<'a> {
    aws: &'a Aws,
    app: &'a App,
    credentials: Credentials,
    before: Answered,
}

impl<'a> Held<'a> {
    /// The session's credentials that this side holds and AWS takes, if there are any.
    pub(crate) async fn find(app: &'a App, aws: &'a Aws, id: &SessionId) -> Option<Self> {
        let credentials = in_profile(app, id).or_else(|| in_cache(app, id))?;
        let mut held = Self { aws, app, credentials, before: Answered::Unclear };
        held.before = held.try_once().await;
        matches!(held.before, Answered::Allowed | Answered::NotAllowed).then_some(held)
    }

    /// Tries them until AWS refuses; the time since `began`, or nothing if it still took them in the end.
    pub(crate) async fn until_refused(&self, began: Instant) -> Option<Duration> {
        let mut pause = FIRST_PAUSE;
        loop {
            if is_end(self.before, self.try_once().await) {
                return Some(began.elapsed());
            }
            if began.elapsed() >= PATIENCE {
                return None;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_once(&self) -> Answered {
        let region = &self.aws.region;
        let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = match self.app.settings.environment.get(env_vars::AWS_ENDPOINT_URL) {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://sns.{region}.{suffix}"),
        };
        let url = format!("{host}/?Action=ListTopics&Version=2010-03-31");
        let call = self.aws.ask(self.app, &url, "sns", self.credentials.clone());
        match tokio::time::timeout(PATIENCE_OF_A_TRY, call).await {
            Ok(Some(answer)) => answered(&answer),
            Ok(None) | Err(_) => Answered::Unclear,
        }
    }
}

fn answered(answer: &Answer) -> Answered {
    let said = String::from_utf8_lossy(answer.body());
    meaning(answer.status(), &said)
}

/// Source of the wording: IAM guide, "Troubleshoot access denied error messages"; codes of STS and SNS, "Common errors".
fn meaning(status: u16, said: &str) -> Answered {
    const UNKNOWN: [&str; 4] = [
        "InvalidClientTokenId",
        "UnrecognizedClient",
        "ExpiredToken",
        "security token included in the request",
    ];
    match status {
        200 => Answered::Allowed,
        400..=499 if said.contains("explicit deny") || UNKNOWN.iter().any(|word| said.contains(word)) => {
            Answered::Ended
        }
        403 if said.contains("AccessDenied") || said.contains("AuthorizationError") => Answered::NotAllowed,
        _ => Answered::Unclear,
    }
}

fn is_end(before: Answered, now: Answered) -> bool {
    now == Answered::Ended || (before, now) == (Answered::Allowed, Answered::NotAllowed)
}

fn in_profile(app: &App, id: &SessionId) -> Option<Credentials> {
    let profiles = files::profiles(app).ok()?;
    let keys =
        files::of_session(&profiles, id).find_map(|name| files::session_keys(app, name).ok().flatten())?;
    Some(Credentials::new(
        keys.access_key_id.as_str(),
        keys.secret_access_key.expose(),
        Some(keys.session_token.expose().to_owned()),
        None,
        "a profile",
    ))
}

/// Only if the vault is open already: nobody is asked for a passphrase for this.
fn in_cache(app: &App, id: &SessionId) -> Option<Credentials> {
    let open = app.opened_vault()?;
    let cached = Cache::new(&app.settings.state_folder).read(id.as_str(), &open, &files::actor(app))?;
    Some(crate::mfa::credentials(&cached.credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_when_it_says_so_or_is_new() {
        use Answered::*;
        let implicit = "<Code>AuthorizationError</Code><Message>User: arn:aws:sts::1:assumed-role/x/y is not authorized to perform: \
                        SNS:ListTopics on resource: arn:aws:sns:eu-west-2:1:* because no identity-based policy allows the \
                        SNS:ListTopics action</Message>";
        let explicit = implicit.replace(
            "because no identity-based policy allows",
            "with an explicit deny in an identity-based policy for",
        );
        let unknown = "<Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message>";
        assert_eq!(meaning(200, "<ListTopicsResponse/>"), Allowed);
        assert_eq!(meaning(403, implicit), NotAllowed);
        assert_eq!(meaning(403, &explicit), Ended);
        assert_eq!(meaning(403, unknown), Ended);
        for (status, said) in
            [(503, "ServiceUnavailable"), (400, "Throttling"), (403, "SignatureDoesNotMatch")]
        {
            assert_eq!(meaning(status, said), Unclear, "{said}");
        }
        assert!(is_end(Allowed, NotAllowed) && is_end(Allowed, Ended) && is_end(NotAllowed, Ended));
        for (before, now) in
            [(Allowed, Allowed), (Allowed, Unclear), (NotAllowed, NotAllowed), (NotAllowed, Unclear)]
        {
            assert!(!is_end(before, now), "{before:?} {now:?}");
        }
    }
}
