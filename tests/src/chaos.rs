//! A proxy on loopback between those who call AWS and the local AWS, which makes the way there as bad as it can be: it delays,
//! throttles, refuses, breaks, and cuts connections before or after a request was passed on. What it does is drawn from a seed.
//!
//! Requests are passed on byte by byte, `Host` included, so signatures stay good.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crate::http::Message;

/// What happens to a request instead of what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disturbance {
    /// It is passed on after a while.
    Delayed,
    /// AWS asks to slow down, in the words of the request's protocol; nothing is passed on.
    Throttled,
    /// AWS does not allow it; nothing is passed on.
    Refused,
    /// AWS has an error of its own; nothing is passed on.
    Broken,
    /// The connection is closed; nothing is passed on.
    CutBefore,
    /// It is passed on, and the connection is closed instead of an answer: done, and nobody knows.
    CutAfter,
    /// The connection is closed, and it is passed on all the same some seconds later.
    Late,
}

impl Disturbance {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Delayed,
        Self::Throttled,
        Self::Refused,
        Self::Broken,
        Self::CutBefore,
        Self::CutAfter,
        Self::Late,
    ];
}

/// How often each disturbance happens, in thousandths of all requests, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Of each disturbance, in the order of [`Disturbance::ALL`].
    pub thousandths: [u64; 7],
    /// Longest delay of a request that is passed on in the end.
    pub delay: Duration,
    /// Longest time after which a late one is.
    pub late: Duration,
    /// The shortest.
    pub late_at_least: Duration,
    /// The one service that is disturbed, as signatures name it; nothing given: all.
    pub only: Option<&'static str>,
}

/// The longest that a late request is on its way in any weather.
pub const LATE: Duration = Duration::from_secs(6);

impl Weather {
    /// Nothing happens.
    pub const QUIET: Self = Self {
        thousandths: [0; 7],
        delay: Duration::ZERO,
        late: Duration::ZERO,
        late_at_least: Duration::ZERO,
        only: None,
    };

    /// Every fifth request meets something. The SDK tries each call three times, so about one call in a hundred fails for good, and
    /// a life of a session makes some forty calls.
    pub const STORM: Self = Self {
        thousandths: [80, 40, 3, 30, 30, 30, 20],
        delay: Duration::from_millis(1500),
        late: LATE,
        late_at_least: Duration::ZERO,
        only: None,
    };

    /// Nothing happens by itself, and what is late is so by seconds.
    pub const STILL: Self = Self { late: LATE, late_at_least: Duration::from_secs(3), ..Self::QUIET };

    /// A service that nobody reaches.
    pub const fn without(service: &'static str) -> Self {
        Self { thousandths: [0, 0, 0, 0, 1000, 0, 0], only: Some(service), ..Self::QUIET }
    }
}

/// The proxy. It ends with this value.
pub struct ChaosProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    drawn: Mutex<u64>,
    upstream: Mutex<Option<SocketAddr>>,
    weather: Mutex<Weather>,
    awaited: Mutex<Vec<(String, Disturbance)>>,
    happened: Mutex<BTreeMap<(String, Option<Disturbance>), u64>>,
    under_way: AtomicUsize,
    ended: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl ChaosProxy {
    /// A proxy in quiet weather that does not know yet where to. The seed is that of the variable `SORRY_CHAOS_SEED`, or a new one;
    /// it is printed.
    pub fn start() -> Self {
        let given = std::env::var("SORRY_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
        let new = || u64::from(std::process::id()) ^ crate::nanoseconds();
        let seed = given.unwrap_or_else(new);
        println!("SORRY_CHAOS_SEED={seed}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            seed,
            drawn: Mutex::new(seed),
            upstream: Mutex::new(None),
            weather: Mutex::new(Weather::QUIET),
            awaited: Mutex::new(Vec::new()),
            happened: Mutex::new(BTreeMap::new()),
            under_way: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), shared) = (client, accepting.clone()) else { continue };
                thread::spawn(move || drop(shared.serve(&client)));
            }
        });
        Self { port, shared }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What everything is drawn from.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// The next random number below `limit`, of the same seed.
    pub fn draw(&self, limit: u64) -> u64 {
        self.shared.draw(limit)
    }

    /// Sets where requests are passed on to.
    pub fn lead_to(&self, port: u16) {
        *locked(&self.shared.upstream) = Some((Ipv4Addr::LOCALHOST, port).into());
    }

    /// Sets what happens from now on.
    pub fn set(&self, weather: Weather) {
        *locked(&self.shared.weather) = weather;
    }

    /// The next request of this operation, such as `iam CreateRole`, meets that, whatever the weather.
    pub fn disturb_next(&self, operation: &str, disturbance: Disturbance) {
        locked(&self.shared.awaited).push((operation.to_owned(), disturbance));
    }

    /// Nothing happens any more. Comes back when nothing that it does is under way: whatever was late has landed.
    pub fn calm(&self) {
        self.set(Weather::QUIET);
        crate::eventually("nothing is under way in the proxy", Duration::from_secs(60), || {
            (self.shared.under_way.load(Ordering::SeqCst) == 0).then_some(())
        });
    }

    /// How many requests met each disturbance, or none.
    pub fn happened(&self) -> BTreeMap<Option<Disturbance>, u64> {
        let mut sums = BTreeMap::new();
        for ((_, what), count) in locked(&self.shared.happened).iter() {
            *sums.entry(*what).or_default() += count;
        }
        sums
    }

    /// How many requests there were of each operation, such as `iam CreateRole`, and how many of those were disturbed.
    pub fn operations(&self) -> BTreeMap<String, (u64, u64)> {
        let mut operations = BTreeMap::<String, (u64, u64)>::new();
        for ((operation, what), count) in locked(&self.shared.happened).iter() {
            let sums = operations.entry(operation.clone()).or_default();
            sums.0 += count;
            sums.1 += if what.is_some() { *count } else { 0 };
        }
        operations
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the one that waits for connections.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Counts what is under way for as long as it lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn draw(&self, limit: u64) -> u64 {
        let mut state = locked(&self.drawn);
        // SplitMix64, by Steele, Lea and Flood.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = *state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % limit.max(1)
    }

    fn part_of(&self, longest: Duration) -> Duration {
        Duration::from_millis(self.draw(longest.as_millis() as u64 + 1))
    }

    fn drawn_disturbance(&self, weather: &Weather) -> Option<Disturbance> {
        let mut drawn = self.draw(1000);
        for (disturbance, share) in Disturbance::ALL.into_iter().zip(weather.thousandths) {
            if drawn < share {
                return Some(disturbance);
            }
            drawn -= share;
        }
        None
    }

    /// What somebody wants to happen to the next request of this operation.
    fn awaited_by(&self, operation: &str) -> Option<Disturbance> {
        let mut awaited = locked(&self.awaited);
        let place = awaited.iter().position(|(awaits, _)| awaits == operation)?;
        Some(awaited.remove(place).1)
    }

    /// Serves one connection, until somebody closes it.
    fn serve(self: &Arc<Self>, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut from = BufReader::new(client);
        while let Some(request) = Message::request(&mut from)? {
            let _under_way = UnderWay::new(&self.under_way);
            let weather = *locked(&self.weather);
            let operation = Operation::of(&request);
            let disturbed = weather.only.is_none_or(|service| service == operation.service);
            let drawn = || if disturbed { self.drawn_disturbance(&weather) } else { None };
            let disturbance = self.awaited_by(&operation.to_string()).or_else(drawn);
            *locked(&self.happened).entry((operation.to_string(), disturbance)).or_default() += 1;
            match disturbance {
                None => self.pass_on(&request)?.write(&mut &*client)?,
                Some(Disturbance::Delayed) => {
                    thread::sleep(self.part_of(weather.delay));
                    self.pass_on(&request)?.write(&mut &*client)?;
                }
                Some(Disturbance::Throttled) => operation.throttled().write(&mut &*client)?,
                Some(Disturbance::Refused) => operation.refused().write(&mut &*client)?,
                Some(Disturbance::Broken) => operation.broken().write(&mut &*client)?,
                Some(Disturbance::CutBefore) => return client.shutdown(Shutdown::Both),
                Some(Disturbance::CutAfter) => {
                    let answer = self.pass_on(&request)?;
                    // Now and then a part of the answer arrives.
                    let part = answer.head.len() * usize::from(self.draw(2) == 0) / 2;
                    (&*client).write_all(&answer.head[..part])?;
                    return client.shutdown(Shutdown::Both);
                }
                Some(Disturbance::Late) => {
                    let more = self.part_of(weather.late.saturating_sub(weather.late_at_least));
                    let (shared, after) = (self.clone(), weather.late_at_least + more);
                    // Counted before this request is no longer.
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                    thread::spawn(move || {
                        thread::sleep(after);
                        let _ = shared.pass_on(&request);
                        shared.under_way.fetch_sub(1, Ordering::SeqCst);
                    });
                    return client.shutdown(Shutdown::Both);
                }
            }
        }
        Ok(())
    }

    /// On a connection of its own: one that was kept could be gone, and nobody would know what of.
    fn pass_on(&self, request: &Message) -> io::Result<Message> {
        let upstream = *locked(&self.upstream);
        let upstream = upstream.ok_or(io::ErrorKind::NotConnected)?;
        let connection = TcpStream::connect_timeout(&upstream, Duration::from_secs(2))?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(Duration::from_secs(35)))?;
        request.write(&mut &connection)?;
        Message::answer(&mut BufReader::new(&connection))
    }
}

/// Which call a request is, and how AWS would refuse it.
struct Operation {
    service: String,
    name: String,
    json: bool,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.service, self.name)
    }
}

impl Operation {
    fn of(request: &Message) -> Self {
        // Credential=<key id>/<date>/<region>/<service>/aws4_request
        let authorization = request.header("authorization").unwrap_or_default();
        let service = authorization.split('/').nth(3).unwrap_or("unsigned").to_owned();
        if let Some(target) = request.header("x-amz-target") {
            let name = target.rsplit('.').next().unwrap_or_default().to_owned();
            return Self { service, name, json: true };
        }
        let (method, path, _) = request.first_line();
        if service == "execute-api" || service == "unsigned" {
            // /_aws/execute-api/<id>/<stage>/<collection>/…
            let collection = path.split(['/', '?']).nth(5).unwrap_or_default().to_owned();
            return Self { service, name: format!("{method} {collection}"), json: true };
        }
        let content = String::from_utf8_lossy(&request.content()).into_owned();
        let action = content.split('&').find_map(|field| field.strip_prefix("Action="));
        Self { service, name: action.unwrap_or(&method).to_owned(), json: false }
    }

    fn throttled(&self) -> Message {
        match (self.service.as_str(), self.json) {
            ("execute-api" | "unsigned", _) => gateway(429, "TooManyRequestsException", "Too Many Requests"),
            (_, true) => json(400, "ThrottlingException", "Rate exceeded"),
            ("s3", false) => xml(503, "SlowDown", "Please reduce your request rate."),
            (_, false) => xml(400, "Throttling", "Rate exceeded"),
        }
    }

    fn refused(&self) -> Message {
        match (self.service.as_str(), self.json) {
            ("execute-api" | "unsigned", _) => gateway(403, "AccessDeniedException", "Forbidden"),
            (_, true) => json(400, "AccessDeniedException", "by chance"),
            (_, false) => xml(403, "AccessDenied", "by chance"),
        }
    }

    fn broken(&self) -> Message {
        match (self.service.as_str(), self.json) {
            ("execute-api" | "unsigned", _) => {
                gateway(500, "InternalServerErrorException", "Internal server error")
            }
            (_, true) => json(500, "InternalServerError", "Internal server error"),
            (_, false) => xml(503, "ServiceUnavailable", "Service is unable to handle request."),
        }
    }
}

fn gateway(status: u16, kind: &str, text: &str) -> Message {
    answer(
        status,
        "application/json",
        &format!("x-amzn-errortype: {kind}\r\n"),
        &format!(r#"{{"message":"{text}"}}"#),
    )
}

fn json(status: u16, code: &str, text: &str) -> Message {
    let body = format!(r#"{{"__type":"com.amazonaws.chaos#{code}","message":"{text}"}}"#);
    answer(status, "application/x-amz-json-1.0", "", &body)
}

fn xml(status: u16, code: &str, text: &str) -> Message {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{text}</Message></Error>\
         <RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"
    );
    answer(status, "text/xml", "", &body)
}

fn answer(status: u16, kind: &str, more: &str, body: &str) -> Message {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Chaos\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{more}\
         x-amzn-requestid: 00000000-0000-0000-0000-000000000000\r\n\r\n"
    );
    Message { head: head.into_bytes(), body: body.as_bytes().to_vec() }
}
