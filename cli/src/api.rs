//! Client of the gateway: signs every request, body included, and turns what comes back into types or into an error that says
//! what to do. Not for the SDK's own calls (those are in `assume.rs` and `commands/admin.rs`).

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::{Connector, proxy::ProxyConfig, tls};
use aws_smithy_runtime_api::client::{
    http::{
        HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
        http_client_fn,
    },
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use aws_smithy_types::{DateTime, body::SdkBody, byte_stream::ByteStream, date_time::Format};
use http::Method;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, de::DeserializeOwned};
use sorry_wire::{ErrorBody, ErrorCode, SessionList, SessionView};

use crate::{
    app::App,
    error::{CliError, Exit, Result, causes},
    settings::{self, Endpoint, Settings},
    time::rough,
};

/// API Gateway, as signatures name it.
const SERVICE: &str = "execute-api";
/// How long a connection may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one exchange may take: API Gateway gives up after 29 seconds.
pub(crate) const WHOLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a call is sent, at most.
const ATTEMPTS: u32 = 4;
/// After which no further attempt is made.
const PATIENCE: Duration = Duration::from_secs(30);
/// What AWS tolerates, less a margin. Source: SigV4 requests are valid for five minutes.
pub(crate) const TOLERATED_SKEW_SECONDS: i64 = 240;

/// What may stand in a path segment or a query value without being escaped. `:`, `@`, `+`, `=` and `,` occur in the unique ids
/// of role sessions; RFC 3986 lets them stand, and so they have one spelling less to be signed wrongly in.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'@')
    .remove(b'+')
    .remove(b'=')
    .remove(b',');
const QUERY: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A connector that is made when it is first used: reading the system's certificate authorities takes longer than everything else that
/// a command does which finds its answer here.
#[derive(Debug)]
struct WhenUsed(LazyLock<SharedHttpConnector, Box<dyn FnOnce() -> SharedHttpConnector + Send>>);

impl HttpConnector for WhenUsed {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.0.call(request)
    }
}

/// One connector for everything: ring, the system's certificate authorities or those of `AWS_CA_BUNDLE`, the environment's proxy.
///
/// # Errors
/// When the bundle cannot be used.
pub(crate) fn connector(settings: &Settings) -> Result<SharedHttpConnector> {
    let trust = match settings.ca_bundle()? {
        Some(bundle) => tls::TrustStore::empty().with_pem_certificate(bundle),
        None => tls::TrustStore::default(),
    };
    let context = tls::TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| CliError::failed(format!("cannot set up TLS: {}", causes(&error))))?;
    let timeouts =
        HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(WHOLE_TIMEOUT).build();
    let made = move || {
        let connector = Connector::builder()
            .connector_settings(timeouts)
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(tls::Provider::rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(context)
            .build();
        SharedHttpConnector::new(connector)
    };
    Ok(SharedHttpConnector::new(WhenUsed(LazyLock::new(Box::new(made)))))
}

/// The same connector for the SDK's clients.
pub(crate) fn http_client(connector: SharedHttpConnector) -> SharedHttpClient {
    http_client_fn(move |_, _| connector.clone())
}

/// The service.
pub(crate) struct Api<'a> {
    app: &'a App,
    endpoint: Endpoint,
    region: String,
    credentials: SharedCredentialsProvider,
    connector: SharedHttpConnector,
}

/// What came back, whatever it is.
pub(crate) struct Answer {
    status: u16,
    date: Option<Timestamp>,
    body: Vec<u8>,
}

impl Answer {
    /// The HTTP status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Whether it is what was asked for.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// All of it.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The server's clock less ours, in seconds.
    pub(crate) fn skew(&self, now: Timestamp) -> Option<i64> {
        self.date.map(|date| date.as_second() - now.as_second())
    }
}

impl<'a> Api<'a> {
    pub(crate) fn new(
        app: &'a App,
        region: &str,
        credentials: SharedCredentialsProvider,
        connector: SharedHttpConnector,
    ) -> Result<Self> {
        let endpoint = app.settings.endpoint()?.clone();
        // The endpoint's own region is the only one that its gateway accepts.
        let region = endpoint.region().unwrap_or(region).to_owned();
        Ok(Self { app, endpoint, region, credentials, connector })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<T> {
        self.call(&Method::GET, path, query, Vec::new()).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.call(&Method::DELETE, path, &[], Vec::new()).await
    }

    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.call(&Method::PUT, path, &[], encoded(body)?).await
    }

    /// A POST whose body makes it idempotent: a `client_request_id`.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T> {
        self.call(&Method::POST, path, &[], encoded(body)?).await
    }

    /// One session.
    pub(crate) async fn session(&self, id: &str) -> Result<SessionView> {
        self.get(&["sessions", id], &[]).await
    }

    /// All sessions of a scope, newest first, page by page.
    pub(crate) async fn sessions(&self, scope: Scope) -> Result<Vec<SessionView>> {
        let mut sessions = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("scope", scope.as_str())];
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: SessionList = self.get(&["sessions"], &query).await?;
            sessions.extend(page.sessions);
            match page.cursor {
                // A cursor that comes back would go on for ever.
                Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
                _ => return Ok(sessions),
            }
        }
    }

    /// Every call here may be sent again: GET, PUT and DELETE by their nature, POST by its `client_request_id`.
    async fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<T> {
        let url = url(&self.endpoint, path, query);
        let began = (self.app.clock)();
        for attempt in 1.. {
            let credentials = settings::credentials(&self.credentials).await?;
            let outcome = self.exchange(method, &url, &body, &credentials).await;
            let (error, again) = match outcome {
                Ok(answer) if answer.is_success() => return decoded(&url, &answer),
                Ok(answer) => {
                    let error = refusal(&answer, (self.app.clock)(), self.app);
                    let again = may_pass(answer.status, &error);
                    (error, again)
                }
                Err(unreached) => unreached.told(self.endpoint.url()),
            };
            let waited = (self.app.clock)().duration_since(began);
            if !again || attempt >= ATTEMPTS || waited.as_secs() >= PATIENCE.as_secs().cast_signed() {
                return Err(error);
            }
            self.app.ui.detail(&format!("{method} {url}: {}; trying again", error.message));
            tokio::time::sleep(pause(attempt)).await;
        }
        Err(CliError::new(Exit::Bug, "a call neither succeeded nor failed"))
    }

    /// Sends one request, signed now.
    async fn exchange(
        &self,
        method: &Method,
        url: &str,
        body: &[u8],
        credentials: &Credentials,
    ) -> std::result::Result<Answer, Unreached> {
        let request = signed(
            method,
            url,
            body,
            (&self.region, SERVICE),
            credentials.clone(),
            (self.app.clock)().into(),
        )?;
        send(&self.connector, request).await
    }
}

/// Which sessions to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Mine,
    Namespace,
    AwaitingMe,
    Everybody,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Namespace => "namespace",
            Self::AwaitingMe => "awaiting-me",
            Self::Everybody => "everybody",
        }
    }
}

/// A request that got no answer.
pub(crate) enum Unreached {
    /// It could not even be made.
    Unsendable(String),
    /// Nobody answered, or not to the end.
    Connection(ConnectorError),
    /// Not in time.
    TimedOut,
}

impl Unreached {
    /// What to say, and whether another attempt may go better.
    pub(crate) fn told(&self, place: &str) -> (CliError, bool) {
        let unreachable =
            |why: &str| CliError::new(Exit::Unreachable, format!("cannot reach `{place}`: {why}"));
        match self {
            Self::Unsendable(why) => {
                (CliError::new(Exit::Bug, format!("cannot make a request: {why}")), false)
            }
            Self::TimedOut => {
                let error = unreachable("no answer in 30 seconds")
                    .hint("is there a network, or a proxy (`HTTPS_PROXY`)?");
                (error, true)
            }
            Self::Connection(error) => {
                let why = causes(error);
                let certificate = why.contains("certificate");
                let hint = if certificate {
                    "the connection is not trusted: name your network's certificate authority in `AWS_CA_BUNDLE`"
                } else {
                    "is the endpoint right, is there a network, or a proxy (`HTTPS_PROXY`)?"
                };
                (unreachable(&why).hint(hint), !certificate && !error.is_user())
            }
        }
    }
}

/// Sends a request that is ready.
async fn send(
    connector: &SharedHttpConnector,
    request: HttpRequest,
) -> std::result::Result<Answer, Unreached> {
    let exchange = async {
        let mut response = connector.call(request).await.map_err(Unreached::Connection)?;
        let date = response.headers().get("date").and_then(server_time);
        let status = response.status().as_u16();
        let body = ByteStream::new(response.take_body())
            .collect()
            .await
            .map_err(|error| Unreached::Connection(ConnectorError::io(Box::new(error))))?;
        Ok(Answer { status, date, body: body.into_bytes().to_vec() })
    };
    tokio::time::timeout(WHOLE_TIMEOUT, exchange).await.unwrap_or(Err(Unreached::TimedOut))
}

/// Asks for nothing without a signature: whether anybody answers, and what time it is there.
pub(crate) async fn knock(
    connector: &SharedHttpConnector,
    endpoint: &Endpoint,
) -> std::result::Result<Answer, Unreached> {
    fetch(connector, &url(endpoint, &["whoami"], &[])).await
}

/// GET without a signature.
pub(crate) async fn fetch(
    connector: &SharedHttpConnector,
    url: &str,
) -> std::result::Result<Answer, Unreached> {
    let request = http::Request::get(url).body(SdkBody::empty());
    let request = request.map_err(|error| Unreached::Unsendable(error.to_string()))?;
    let request = HttpRequest::try_from(request).map_err(|error| Unreached::Unsendable(causes(&error)))?;
    send(connector, request).await
}

/// Asks AWS itself for a document, where the caller may; whatever else comes back is no answer.
pub(crate) async fn document(
    connector: &SharedHttpConnector,
    url: &str,
    scope: (&str, &str),
    credentials: Credentials,
    now: Timestamp,
) -> Option<String> {
    let answer = ask(connector, url, scope, credentials, now).await?;
    String::from_utf8(answer.body).ok().filter(|_| answer.status == 200)
}

/// Asks AWS itself, and takes whatever it says; nothing if it says nothing.
pub(crate) async fn ask(
    connector: &SharedHttpConnector,
    url: &str,
    scope: (&str, &str),
    credentials: Credentials,
    now: Timestamp,
) -> Option<Answer> {
    let request = signed(&Method::GET, url, &[], scope, credentials, now.into()).ok()?;
    send(connector, request).await.ok()
}

/// A request with its signature: SigV4 for a region and a service, over the body's hash.
fn signed(
    method: &Method,
    url: &str,
    body: &[u8],
    (region, service): (&str, &str),
    credentials: Credentials,
    time: SystemTime,
) -> std::result::Result<HttpRequest, Unreached> {
    let unsendable = |error: &dyn std::error::Error| Unreached::Unsendable(causes(error));
    let mut builder = http::Request::builder()
        .method(method)
        .uri(url)
        .header("accept", "application/json")
        // Not signed: proxies may change it.
        .header("user-agent", concat!("sorry/", env!("CARGO_PKG_VERSION")));
    if !body.is_empty() {
        builder = builder.header("content-type", "application/json");
    }
    let mut request = builder.body(SdkBody::from(body.to_vec())).map_err(|error| unsendable(&error))?;
    let identity = credentials.into();
    // The defaults are what API Gateway computes: a path that is escaped once more, in its normal form, and the session token
    // among the signed headers.
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| unsendable(&error))?
        .into();
    let headers =
        request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signable = SignableRequest::new(method.as_str(), url, headers, SignableBody::Bytes(body))
        .map_err(|error| unsendable(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| unsendable(&error))?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    HttpRequest::try_from(request).map_err(|error| unsendable(&error))
}

fn url(endpoint: &Endpoint, path: &[&str], query: &[(&str, &str)]) -> String {
    let mut url = endpoint.url().to_owned();
    for segment in path {
        url.push('/');
        url.extend(utf8_percent_encode(segment, &SEGMENT));
    }
    for (index, (name, value)) in query.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, &QUERY));
    }
    url
}

fn encoded(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(|error| CliError::new(Exit::Bug, format!("cannot write JSON: {error}")))
}

fn decoded<T: DeserializeOwned>(url: &str, answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| {
        CliError::failed(format!("`{url}` gave an answer that this version does not understand: {error}"))
            .hint("is the endpoint that of `sorry`, and is this command of the same version?")
    })
}

fn server_time(date: &str) -> Option<Timestamp> {
    let date = DateTime::from_str(date, Format::HttpDate).ok()?;
    Timestamp::from_second(date.secs()).ok()
}

/// 200 ms, doubled with each attempt, and up to as much again by chance.
fn pause(attempt: u32) -> Duration {
    let base = Duration::from_millis(200 << attempt.saturating_sub(1).min(5));
    let mut chance = [0_u8];
    // Without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut chance);
    let [chance] = chance;
    base + base * u32::from(chance) / 255
}

/// Whether the same request may succeed a moment later. A service that says itself why it is unavailable is believed. The gateway's
/// answer is 500 where Lambda has no room for one more (Lambda guide, "Handling Lambda errors with an API Gateway API").
fn may_pass(status: u16, error: &CliError) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
        && matches!(error.known_code(), None | Some(ErrorCode::Throttled | ErrorCode::Unavailable))
}

/// What an answer that is no success means: in the service's words, or, where the gateway refused before the service was asked, in
/// ours.
fn refusal(answer: &Answer, now: Timestamp, app: &App) -> CliError {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(|value| value.as_str());
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    if let Some(error) = gateways_own(message, answer.skew(now), app.settings.caller_profile.is_some()) {
        return error;
    }
    match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(body) => CliError::from_body(body),
        Err(_) if matches!(answer.status, 429 | 502 | 503 | 504) => {
            CliError::new(Exit::Unreachable, format!("the service is not available (HTTP {})", answer.status))
                .hint("try again in a minute")
        }
        Err(_) => {
            let said = if message.is_empty() { "nothing".to_owned() } else { format!("`{message}`") };
            CliError::failed(format!("the endpoint refused with HTTP {} and said {said}", answer.status))
                .hint("is it the endpoint of `sorry`? `sorry doctor` looks closer")
        }
    }
}

/// The refusals that API Gateway makes by itself, as AWS words them.
fn gateways_own(message: &str, skew: Option<i64>, profile_given: bool) -> Option<CliError> {
    let other_key =
        if profile_given { "another `--caller-profile`" } else { "`AWS_PROFILE` or `--caller-profile`" };
    let refused = |said: &str| Some(CliError::new(Exit::Refused, said));
    if message.contains("Missing Authentication Token") {
        return Some(CliError::new(Exit::Unreachable, "there is no such API at the endpoint").hint(
            "the endpoint ends with its stage, such as `…/v1`; `sorry doctor` shows which one is used",
        ));
    }
    if message.contains("Signature expired") || message.contains("Signature not yet current") {
        let by = match skew {
            Some(skew) if skew > 0 => format!(" by {}: it is behind", rough(skew.unsigned_abs())),
            Some(skew) if skew < 0 => format!(" by {}: it is ahead", rough(skew.unsigned_abs())),
            _ => String::new(),
        };
        return Some(
            CliError::failed(format!("this machine's clock is wrong{by}"))
                .hint("set it (`timedatectl`, `chronyc makestep`); AWS tolerates five minutes"),
        );
    }
    if message.contains("is not authorized to perform: execute-api") || message == "User is not authorized" {
        let denied = message.contains("explicit deny");
        return match (denied, message.contains("/admin/")) {
            (_, true) => refused("the gateway refused: this is for the deployment's administrators, with MFA").map(|error| {
                error
                    .hint(format!(
                        "either the key's owner is not in the deployment's `AdministratorArns`: choose another with {other_key}"
                    ))
                    .also(
                        "or no MFA code was given: at a terminal it is asked for, without one there are `--mfa-code`, `--mfa-stdin` and \
                         `SORRY_MFA_PROCESS`; a role needs none that stands in `IdentityProviderRoleArns`, too",
                    )
            }),
            (true, false) => refused(
                "the gateway refused: it asks for MFA here, or the key's owner is denied",
            )
            .map(|error| {
                error.hint(
                    "give a code: at a terminal it is asked for, without one there are `--mfa-code`, `--mfa-stdin` and \
                     `SORRY_MFA_PROCESS`; your user needs a device for that, which an administrator enrols",
                )
                .also("asking for sessions and ending them works without")
            }),
            (false, false) => refused("the key in use may not call `sorry`").map(|error| {
                error.hint(format!(
                    "is its owner registered (`sorry admin callers add`), and are endpoint and region right? Choose another with {other_key}"
                ))
            }),
        };
    }
    if message.contains("security token included in the request is expired") {
        return refused("the credentials in use are themselves temporary and over")
            .map(|error| error.hint(format!("sign in again, or choose the bootstrap key with {other_key}")));
    }
    if message.contains("security token included in the request is invalid")
        || message.contains("UnrecognizedClient")
    {
        return refused("AWS does not know the key in use").map(|error| {
            error.hint("it is deleted, mistyped, or seconds old: wait a little, or see `sorry doctor`")
        });
    }
    if message.contains("request signature we calculated does not match") {
        return refused("the signature is not right").map(|error| {
            error.hint("is the secret key that of the key id, and does anything change requests on the way?")
        });
    }
    if message.contains("Credential should be scoped to") {
        return Some(
            CliError::usage("the region is not that of the endpoint").hint("set `--region` or `AWS_REGION`"),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn header(method: &Method, url: &str, body: &[u8], token: Option<&str>, name: &str) -> String {
        let credentials = Credentials::new(KEY, SECRET, token.map(str::to_owned), None, "test");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_233_600);
        let request = signed(method, url, body, ("eu-west-2", SERVICE), credentials, time).ok().unwrap();
        request.headers().get(name).unwrap_or_default().to_owned()
    }

    fn authorization(method: &Method, url: &str, body: &[u8], token: Option<&str>) -> String {
        header(method, url, body, token, "authorization")
    }

    #[test]
    fn the_body_is_part_of_the_signature() {
        let url = "https://abc123.execute-api.eu-west-2.amazonaws.com/v1/tiers/developer/sessions";
        let first = authorization(&Method::POST, url, br#"{"a":1}"#, None);
        let second = authorization(&Method::POST, url, br#"{"a":2}"#, None);
        assert_ne!(first, second);
        assert!(
            first.contains(
                "/eu-west-2/execute-api/aws4_request, SignedHeaders=accept;content-type;host;x-amz-date"
            ),
            "{first}"
        );
    }

    /// What botocore computes of the same requests at the same time, with its `SigV4Auth` for `execute-api`.
    #[test]
    fn signatures_are_those_of_an_independent_signer() {
        let gateway = |path: &str| format!("https://abc123.execute-api.eu-west-2.amazonaws.com/v1{path}");
        type Case = (Method, String, &'static [u8], Option<&'static str>, &'static str);
        let cases: [Case; 4] = [
            (
                Method::POST,
                gateway("/tiers/developer/sessions"),
                br#"{"a":1}"#,
                None,
                "37c77ccda01ee3eef85ac25839b794b0a83491cf604e8c7f9d4b53b493318537",
            ),
            (
                Method::GET,
                gateway("/sessions?scope=mine&cursor=a%2B%2F%3D"),
                b"",
                Some("TOKENEXAMPLE"),
                "f3376a65f4a45dc6dfaa72938307fe477bc2591f2a06cf73fad3d4d16240ace7",
            ),
            (
                Method::DELETE,
                gateway("/admin/callers/AROAX:sue@example.org"),
                b"",
                None,
                "c59764384e15b962517270d08c685719f8bab9694aa341210f5ce7ef35c750a7",
            ),
            (
                Method::GET,
                "http://127.0.0.1:4566/_aws/execute-api/abc/v1/whoami".to_owned(),
                b"",
                None,
                "e9214a78324c18008838beb2b71486299a241fc02192d6df178e51ee5bf52cab",
            ),
        ];
        for (method, url, body, token, expected) in cases {
            let found = authorization(&method, &url, body, token);
            assert!(found.ends_with(&format!("Signature={expected}")), "{method} {url}: {found}");
        }
    }

    #[test]
    fn urls_have_one_spelling() {
        let endpoint = settings_endpoint("https://a.example/v1");
        assert_eq!(
            url(&endpoint, &["admin", "callers", "AROAX:sue@example.org"], &[]),
            "https://a.example/v1/admin/callers/AROAX:sue@example.org"
        );
        assert_eq!(
            url(&endpoint, &["tiers", "a/b?c"], &[("scope", "mine"), ("cursor", "a+/=&")]),
            "https://a.example/v1/tiers/a%2Fb%3Fc?scope=mine&cursor=a%2B%2F%3D%26"
        );
    }

    fn settings_endpoint(url: &str) -> Endpoint {
        let flags = crate::args::Global { endpoint: Some(url.to_owned()), ..Default::default() };
        Settings::new(&flags, settings::Environment::default()).unwrap().endpoint().unwrap().clone()
    }

    #[test]
    fn pauses_grow_and_stay_short() {
        for attempt in 1..20 {
            assert!((Duration::from_millis(200)..=Duration::from_millis(12_800)).contains(&pause(attempt)));
        }
    }

    #[test]
    fn the_gateways_own_refusals_say_what_to_do() {
        let told = |message: &str, skew| {
            let error = gateways_own(message, skew, false).unwrap();
            (error.exit, error.message, error.hint.unwrap())
        };
        let (exit, message, _) = told("Missing Authentication Token", None);
        assert_eq!((exit, message.as_str()), (5, "there is no such API at the endpoint"));
        let (exit, message, _) =
            told("Signature expired: 20261121T040000Z is now earlier than 20261121T041500Z", Some(1200));
        assert_eq!((exit, message.as_str()), (1, "this machine's clock is wrong by 20m: it is behind"));
        let (_, message, _) =
            told("Signature not yet current: 20261121T040000Z is still later than …", Some(-600));
        assert_eq!(message, "this machine's clock is wrong by 10m: it is ahead");
        let arn = "User: arn:aws:iam::123456789012:user/x is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:eu-west-2:********9012:abc/v1";
        let (exit, message, hint) = told(&format!("{arn}/GET/whoami"), None);
        assert_eq!((exit, message.as_str()), (3, "the key in use may not call `sorry`"));
        assert!(hint.contains("registered"));
        let (exit, message, hint) = told(&format!("{arn}/GET/admin/callers with an explicit deny"), None);
        assert_eq!(
            (exit, message.as_str()),
            (3, "the gateway refused: this is for the deployment's administrators, with MFA")
        );
        assert!(hint.contains("AdministratorArns") && hint.contains("MFA"), "{hint}");
        assert!(hint.contains("IdentityProviderRoleArns"), "{hint}");
        let (exit, _, hint) = told(&format!("{arn}/PUT/users/x with an explicit deny"), None);
        assert_eq!(exit, 3);
        assert!(hint.contains("MFA"));
        assert_eq!(told("The security token included in the request is invalid.", None).0, 3);
        assert_eq!(told("The security token included in the request is expired", None).0, 3);
        assert_eq!(
            told("The request signature we calculated does not match the signature you provided.", None).0,
            3
        );
        assert!(gateways_own("`9h` is longer than tier `developer` allows you", None, false).is_none());
    }

    #[test]
    fn only_what_may_pass_is_sent_again() {
        let error = |code: &str| CliError::failed("no").code(code);
        assert!(may_pass(503, &CliError::failed("no")));
        assert!(may_pass(429, &error("Throttled")));
        assert!(may_pass(503, &error("Unavailable")));
        assert!(!may_pass(503, &error("NoSubscriber")), "the service was asked, and said no");
        assert!(may_pass(500, &error("Unavailable")), "Lambda had no room");
        assert!(!may_pass(500, &error("Internal")));
        assert!(!may_pass(403, &error("WindowTooLong")));
    }
}
