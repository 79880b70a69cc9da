//! The provider: vault, cache, claim and STS together, within 25 seconds.
//!
//! ```text
//!  open the vault ─▶ read the cache ─▶ Fresh ───────────────────────────────▶ handed out
//!                                      Due ─────┐      ┌─ it works ─▶ cached ─▶ handed out
//!                                      Expired ─┴▶ claim                        ▲
//!                                                      ├─ it fails ─ still good ┘   else the error
//!                                                      └─ somebody else is at it: look at the cache again
//! ```

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, error::CredentialsError, future},
};
use aws_sdk_sts::config::Region;
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::http::{HttpClient, SharedHttpClient};
use aws_smithy_runtime_api::shared::IntoShared;
use jiff::Timestamp;
use sorry_profiles::{Actor, Context, SessionMark};
use sorry_vault::{Cache, CachedSession, Open, Store, TemporaryCredentials};

use crate::Error;
use crate::claim::{Claims, Outcome, TryLock};
use crate::freshness::{Freshness, duration_seconds};
use crate::opening::open_with_agent;
use crate::sts::{self, Way};

/// The longest that anything here takes, waiting included: one SDK kills a credential process after 60 seconds.
const WHOLE: Duration = Duration::from_secs(25);
/// The longest that a renewal may delay credentials that are still good.
const WHILE_GOOD: Duration = Duration::from_secs(10);
/// Credentials that are good for less than this are waited for rather than handed out while somebody else renews them.
const SHORT_SECONDS: i64 = 60;
/// Between two looks at the cache while somebody else renews.
const POLL: Duration = Duration::from_millis(50);
/// Programs are told to ask again so long before the end of credentials that can be renewed: the Rust SDK asks ten seconds before
/// what it is told, which leaves no time for a second try.
const AHEAD_SECONDS: i64 = 5 * 60;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A credentials provider over one session. Cloning it is cheap; it holds no secret between two calls.
#[derive(Clone, Debug)]
pub struct SessionCredentials {
    inner: Arc<Inner>,
}

struct Inner {
    session_id: String,
    store: Store,
    cache: Cache,
    agent: Option<PathBuf>,
    actor: Actor,
    clock: Clock,
    way: Way,
    try_lock: Box<TryLock>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

/// What is handed out.
#[derive(Clone, Debug)]
pub struct Lent {
    /// The session with its credentials.
    pub session: CachedSession,
}

impl Lent {
    /// When AWS stops taking them: at their own end or at the session's, whichever is first.
    pub fn expires_at(&self) -> Timestamp {
        self.session.credentials.expires_at.min(self.session.session_ends_at)
    }

    /// What STS gave.
    pub fn credentials(&self) -> &TemporaryCredentials {
        &self.session.credentials
    }
}

/// What the cache held, and the vault that it came from.
#[derive(Debug)]
pub struct Cached {
    open: Open,
    session: CachedSession,
    began: Instant,
    since: Timestamp,
    freshness: Freshness,
}

impl Cached {
    /// How it stands.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// The credentials as they are.
    pub fn lent(self) -> Lent {
        Lent { session: self.session }
    }
}

/// Makes a [`SessionCredentials`]. Everything it needs to know of the world is said here.
#[derive(Default)]
pub struct Builder {
    session_id: String,
    config: Option<PathBuf>,
    state: Option<PathBuf>,
    agent: Option<PathBuf>,
    clock: Option<Clock>,
    http_client: Option<SharedHttpClient>,
    endpoint: Option<String>,
    try_lock: Option<Box<TryLock>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Builder").field("session_id", &self.session_id).finish_non_exhaustive()
    }
}

impl Builder {
    /// Where `vault.json` lies: `$XDG_CONFIG_HOME/sorry`. Needed.
    #[must_use]
    pub fn config_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config = Some(folder.into());
        self
    }

    /// Where the cache lies: `$XDG_STATE_HOME/sorry`. Needed.
    #[must_use]
    pub fn state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
        self
    }

    /// The ssh-agent that has the vault's key: `$SSH_AUTH_SOCK`. Without one there are no credentials.
    #[must_use]
    pub fn agent_socket(mut self, socket: impl Into<PathBuf>) -> Self {
        self.agent = Some(socket.into());
        self
    }

    /// What time it is. Needed.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Over which connections STS is asked; proxies and certificate authorities are its business. Without one the provider gives
    /// what is cached and renews nothing.
    #[must_use]
    pub fn http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.http_client = Some(client.into_shared());
        self
    }

    /// Where STS is, if it is not where AWS has it.
    #[must_use]
    pub fn sts_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// The system's lock call, for tests: `Ok(false)` says that somebody else has the lock.
    #[doc(hidden)]
    #[must_use]
    pub fn try_lock(mut self, call: impl Fn(&File) -> io::Result<bool> + Send + Sync + 'static) -> Self {
        self.try_lock = Some(Box::new(call));
        self
    }

    /// The provider. Opens nothing yet.
    ///
    /// # Errors
    /// When something needed was not said, or the session's id is none.
    pub fn build(self) -> Result<SessionCredentials, Error> {
        let state = self.state.ok_or(Error::Incomplete("state folder"))?;
        let config = self.config.ok_or(Error::Incomplete("config folder"))?;
        let clock = self.clock.ok_or(Error::Incomplete("clock"))?;
        if SessionMark::parse(&self.session_id).is_err() {
            let shown =
                self.session_id.chars().filter(|character| !character.is_control()).take(64).collect();
            return Err(Error::SessionId(shown));
        }
        Ok(SessionCredentials {
            inner: Arc::new(Inner {
                session_id: self.session_id,
                cache: Cache::new(&state),
                store: Store::new(config, state),
                agent: self.agent,
                actor: Actor::this_process(false),
                way: Way {
                    http_client: self.http_client,
                    time_source: SharedTimeSource::new(Now(clock.clone())),
                    endpoint: self.endpoint,
                },
                clock,
                try_lock: self.try_lock.unwrap_or_else(|| Box::new(system_lock)),
            }),
        })
    }
}

/// The clock as the SDK takes it.
struct Now(Clock);

impl std::fmt::Debug for Now {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Now")
    }
}

impl TimeSource for Now {
    fn now(&self) -> std::time::SystemTime {
        (self.0)().into()
    }
}

fn system_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl SessionCredentials {
    /// For the session with this whole id.
    pub fn builder(session_id: &str) -> Builder {
        Builder { session_id: session_id.to_owned(), ..Builder::default() }
    }

    /// Opens the vault and reads the cache; blocks for the few milliseconds that an agent takes, and makes no call to AWS.
    ///
    /// # Errors
    /// When the vault stays shut, or the session is not in its cache.
    pub fn cached(&self) -> Result<Cached, Error> {
        self.inner.cached()
    }

    /// The credentials, renewed where that is due. Within 25 seconds, all waiting included; asks nobody anything.
    ///
    /// # Errors
    /// Only when there are none that AWS would take.
    pub async fn lent(&self) -> Result<Lent, Error> {
        let provider = self.clone();
        let id = self.inner.session_id.clone();
        let opened = tokio::task::spawn_blocking(move || provider.cached()).await;
        let cached = opened.map_err(|_| Error::TimedOut { id, seconds: 0 })??;
        self.renewed(cached).await
    }

    /// Goes on from what [`Self::cached`] found.
    ///
    /// # Errors
    /// Only when there are none that AWS would take.
    pub async fn renewed(&self, cached: Cached) -> Result<Lent, Error> {
        let Cached { open, mut session, began, since, .. } = cached;
        let open = Arc::new(open);
        loop {
            let inner = &self.inner;
            let now = (inner.clock)();
            let left = WHOLE.saturating_sub(began.elapsed());
            let freshness = inner.freshness(&session, now);
            match freshness {
                Freshness::Over => return Err(inner.over(&session)),
                Freshness::Fresh => return Ok(Lent { session }),
                Freshness::Due if left.is_zero() => return Ok(Lent { session }),
                Freshness::Expired if left.is_zero() => return Err(inner.timed_out()),
                Freshness::Due | Freshness::Expired => (),
            }
            let provider = self.clone();
            let waiting_since = (!freshness.is_usable()).then_some(since);
            let claimed = tokio::task::spawn_blocking(move || provider.inner.claim(now, waiting_since)).await;
            let claim = match claimed {
                Ok(Outcome::Ours(claim)) => claim,
                Ok(Outcome::Failed(error)) if !freshness.is_usable() => return Err(error),
                Ok(Outcome::Failed(_)) => return Ok(Lent { session }),
                Ok(Outcome::Theirs) | Err(_) => {
                    let short = session.credentials.expires_at.as_second() - now.as_second() < SHORT_SECONDS;
                    if freshness.is_usable() && !short {
                        return Ok(Lent { session });
                    }
                    tokio::time::sleep(POLL.min(left)).await;
                    session = inner.look_again(&open, session);
                    continue;
                }
            };
            // Somebody may have been faster, between our look at the cache and the claim.
            session = inner.look_again(&open, session);
            if inner.freshness(&session, now) == Freshness::Fresh {
                return Ok(Lent { session });
            }
            let limit = if freshness.is_usable() { left.min(WHILE_GOOD) } else { left };
            let renewal = tokio::time::timeout(limit, inner.renew(&open, &session, now)).await;
            match renewal.unwrap_or_else(|_| Err(inner.timed_out())) {
                Ok(credentials) => {
                    let session = CachedSession { credentials, ..session };
                    let provider = self.clone();
                    let (open, kept) = (open.clone(), session.clone());
                    // Whoever waits looks for it there. That it cannot be kept is no reason not to hand it out.
                    let _ = tokio::task::spawn_blocking(move || provider.inner.keep(&open, &kept)).await;
                    drop(claim);
                    return Ok(Lent { session });
                }
                Err(error) => {
                    claim.failed(&error, (inner.clock)());
                    // The clock has gone on meanwhile.
                    return if inner.freshness(&session, (inner.clock)()).is_usable() {
                        Ok(Lent { session })
                    } else {
                        Err(error)
                    };
                }
            }
        }
    }

    /// The region that the session was made for. Opens the vault as [`Self::lent`] does, and makes no call to AWS.
    ///
    /// # Errors
    /// As [`Self::cached`].
    pub async fn region(&self) -> Result<Region, Error> {
        let provider = self.clone();
        let opened = tokio::task::spawn_blocking(move || provider.cached()).await;
        let cached = opened.map_err(|_| self.inner.timed_out())??;
        Ok(Region::new(cached.session.renewal.region.as_str().to_owned()))
    }

    async fn provide(&self) -> Result<Credentials, CredentialsError> {
        let lent = self.lent().await.map_err(|error| match error {
            Error::TimedOut { .. } => CredentialsError::provider_timed_out(WHOLE),
            Error::NoVault(_) | Error::NotCached(_) => CredentialsError::not_loaded(error),
            _ => CredentialsError::provider_error(error),
        })?;
        let (ours, ends) = (lent.credentials().expires_at, lent.session.session_ends_at);
        let left = ours.as_second() - (self.inner.clock)().as_second();
        let expires_at = if ours < ends && left > 2 * AHEAD_SECONDS {
            ours.checked_sub(jiff::SignedDuration::from_secs(AHEAD_SECONDS)).unwrap_or(ours)
        } else {
            lent.expires_at()
        };
        let given = lent.credentials();
        Ok(Credentials::new(
            given.access_key_id.as_str(),
            given.secret_access_key.expose(),
            Some(given.session_token.expose().to_owned()),
            Some(expires_at.into()),
            "sorry",
        ))
    }
}

impl ProvideCredentials for SessionCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

impl Inner {
    fn cached(&self) -> Result<Cached, Error> {
        let (began, since) = (Instant::now(), (self.clock)());
        let open = open_with_agent(&self.store, self.agent.as_deref(), &self.actor)?;
        let session = self.cache.read(&self.session_id, &open, &self.actor);
        let session = session.ok_or_else(|| Error::NotCached(self.session_id.clone()))?;
        let freshness = self.freshness(&session, (self.clock)());
        if freshness == Freshness::Over {
            return Err(self.over(&session));
        }
        Ok(Cached { open, session, began, since, freshness })
    }

    fn freshness(&self, session: &CachedSession, now: Timestamp) -> Freshness {
        Freshness::of(now, session.credentials.expires_at, session.session_ends_at)
    }

    fn over(&self, session: &CachedSession) -> Error {
        Error::Over { id: self.session_id.clone(), at: session.session_ends_at }
    }

    fn timed_out(&self) -> Error {
        Error::TimedOut { id: self.session_id.clone(), seconds: WHOLE.as_secs() }
    }

    fn state(&self) -> &Path {
        self.store.state()
    }

    fn claim(&self, now: Timestamp, waiting_since: Option<Timestamp>) -> Outcome {
        Claims::new(self.state(), &self.session_id, &self.actor).claim(now, waiting_since, &*self.try_lock)
    }

    /// What the cache has by now; what we have where it has nothing, or nothing better.
    fn look_again(&self, open: &Open, session: CachedSession) -> CachedSession {
        let found = self.cache.read(&self.session_id, open, &self.actor);
        found.filter(|found| found.credentials.expires_at > session.credentials.expires_at).unwrap_or(session)
    }

    async fn renew(
        &self,
        open: &Open,
        session: &CachedSession,
        now: Timestamp,
    ) -> Result<TemporaryCredentials, Error> {
        if session.renewal.issued {
            return Err(Error::HandedOut(self.session_id.clone()));
        }
        let contents = open.contents();
        let bootstrap = contents.bootstrap.as_ref();
        let (key, chained) = if session.renewal.mfa {
            let usable = contents.mfa_session.as_ref().filter(|temporary| temporary.expires_at > now);
            let temporary = usable.ok_or_else(|| Error::MfaOver(self.session_id.clone()))?;
            let token = Some(temporary.session_token.expose().to_owned());
            let secret = temporary.secret_access_key.expose();
            (Credentials::new(temporary.access_key_id.as_str(), secret, token, None, "sorry vault"), true)
        } else {
            let key = bootstrap.ok_or(Error::NoKey)?;
            let secret = key.secret_access_key.expose();
            (Credentials::new(key.access_key_id.as_str(), secret, None, None, "sorry vault"), false)
        };
        let remaining = session.session_ends_at.as_second() - now.as_second();
        let seconds = duration_seconds(remaining, session.renewal.maximum_seconds, chained);
        sts::assume(&self.way, key, session, seconds).await
    }

    fn keep(&self, open: &Open, session: &CachedSession) -> Result<(), sorry_vault::CacheError> {
        let mut random = |buffer: &mut [u8]| getrandom::fill(buffer).map_err(io::Error::other);
        self.cache.write(session, open, &mut random, &Context::new(&self.actor, (self.clock)()))
    }
}
