//! A runtime API of Lambda, just large enough: it hands out events when it is told to and says when it was polled and answered.
//!
//! Source: Lambda Developer Guide, `runtimes-api`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

/// No function takes longer to be heard of; what does is stuck.
const PATIENCE: Duration = Duration::from_secs(240);
/// Far away: what is measured is never cut off.
const DEADLINE_MILLISECONDS: &str = "4102444800000";

/// What was seen of the function.
enum Seen {
    Polled(Instant),
    Answered(bool, String),
}

/// A running runtime API, for one function.
pub struct RuntimeApi {
    address: SocketAddr,
    seen: Receiver<Seen>,
    events: Sender<String>,
}

impl RuntimeApi {
    /// Starts one on loopback.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (tell, seen) = channel();
        let (events, due) = channel();
        let due = Arc::new(Mutex::new(due));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tell, due) = (tell.clone(), Arc::clone(&due));
                // Ends with its connection, which ends with the function.
                std::thread::spawn(move || drop(serve(&stream, &tell, &due)));
            }
        });
        Self { address, seen, events }
    }

    /// What the function finds in `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits for the next poll.
    ///
    /// # Panics
    /// When there is none, or an answer that nobody asked for.
    pub fn polled(&self) -> Instant {
        match self.seen.recv_timeout(PATIENCE) {
            Ok(Seen::Polled(at)) => at,
            Ok(Seen::Answered(..)) => panic!("the function answered, and was to poll"),
            Err(_) => panic!("the function did not poll"),
        }
    }

    /// Hands an event to the function, which must be polling; whether it answered with success, and its answer.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn invoke(&self, event: &str) -> (bool, String) {
        self.events.send(event.to_owned()).expect("the function polls");
        match self.seen.recv_timeout(PATIENCE) {
            Ok(Seen::Answered(good, answer)) => (good, answer),
            Ok(Seen::Polled(_)) => panic!("the function polled, and was to answer"),
            Err(_) => panic!("the function did not answer"),
        }
    }
}

fn serve(stream: &TcpStream, tell: &Sender<Seen>, due: &Mutex<Receiver<String>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut answer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = body(&mut reader)?;
        if path.ends_with("/invocation/next") {
            let gone = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            tell.send(Seen::Polled(Instant::now())).map_err(|_| gone())?;
            let event = due.lock().map_err(|_| gone())?.recv().map_err(|_| gone())?;
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
                 lambda-runtime-deadline-ms: {DEADLINE_MILLISECONDS}\r\n\
                 lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:measured\r\n\r\n",
                event.len()
            );
            answer.write_all((head + &event).as_bytes())?;
        } else {
            let good = path.ends_with("/response");
            answer.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
            if tell.send(Seen::Answered(good, body)).is_err() {
                return Ok(());
            }
        }
    }
}

/// Reads the head to its end, and the body that it announces, in one piece or in chunks.
fn body(reader: &mut BufReader<&TcpStream>) -> std::io::Result<String> {
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        chunked |= line.starts_with("transfer-encoding:") && line.contains("chunked");
    }
    let mut bytes = Vec::new();
    if chunked {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            bytes.extend_from_slice(&chunk[..size]);
        }
    } else {
        bytes.resize(length, 0);
        reader.read_exact(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_polls_is_given_an_event_and_answers_in_chunks_or_not() {
        for answer in [
            "POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}",
            "POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        ] {
            let api = RuntimeApi::start();
            let address = api.address();
            let function = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream
                    .write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n")
                    .unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                while line.trim_end() != "{\"a\":1}" {
                    line.clear();
                    let mut byte = [0];
                    while reader.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
                        line.push(char::from(byte[0]));
                        if line == "{\"a\":1}" {
                            break;
                        }
                    }
                }
                stream.write_all(answer.as_bytes()).unwrap();
                reader.read_line(&mut line).unwrap();
            });
            api.polled();
            assert_eq!(api.invoke("{\"a\":1}"), (true, "{}".to_owned()));
            function.join().unwrap();
        }
    }
}
