//! A server on loopback that gives the answers a test wrote down, in their order, and keeps what it was asked. For the answers that
//! neither the real service nor the local AWS can be made to give; everything else is shown end to end by `sorry-tests`.

#![allow(dead_code, reason = "two tests use it, and neither all of it")]

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One answer: for which request line (`?*` at its end stands for any query), and what.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) to: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

pub(crate) fn answer(to: &str, status: u16, body: impl ToString) -> Answer {
    Answer { to: to.to_owned(), status, headers: Vec::new(), body: body.to_string() }
}

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    left: Arc<Mutex<VecDeque<Answer>>>,
}

impl Server {
    pub(crate) fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::new(Mutex::new(VecDeque::from(script)));
        let (to, from) = (asked.clone(), left.clone());
        // The thread ends with the test's process; there is nobody to wait for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &to, &from);
            }
        });
        Self { address, asked, left }
    }

    /// What was asked; every answer of the script must have been given.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let left: Vec<String> = self.left.lock().unwrap().iter().map(|answer| answer.to.clone()).collect();
        assert!(left.is_empty(), "never asked for: {left:?}");
        self.asked.lock().unwrap().clone()
    }
}

/// Whether a request line is the one that an answer is for.
fn fits(to: &str, line: &str) -> bool {
    match to.strip_suffix("?*") {
        Some(path) => line.strip_prefix(path).is_some_and(|rest| rest.starts_with('?')),
        None => to == line,
    }
}

fn serve(stream: TcpStream, asked: &Mutex<Vec<Asked>>, script: &Mutex<VecDeque<Answer>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    asked.lock().unwrap().push(Asked { line: line.clone(), headers, body: String::from_utf8(body).unwrap() });
    let next = script.lock().unwrap().pop_front();
    let given = match next {
        Some(given) if fits(&given.to, &line) => given,
        other => answer(&line, 418, format!("asked `{line}`, scripted {:?}", other.map(|answer| answer.to))),
    };
    let mut head = format!(
        "HTTP/1.1 {} Scripted\r\nconnection: close\r\ncontent-length: {}\r\n",
        given.status,
        given.body.len()
    );
    for (name, value) in &given.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    // The client may have gone: some tests end it.
    let _ = stream.write_all(format!("{head}\r\n{}", given.body).as_bytes());
}
