//! Requests to the gateway by the thousand, without a process for each: signed in here, sent on a connection of their own.

use std::{
    io::{self, BufReader},
    net::TcpStream,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use serde_json::Value;

use crate::{Keys, http::Message};

/// Longer than the gateway itself waits, 29 s.
const PATIENCE: Duration = Duration::from_secs(31);

/// The gateway, for one caller.
#[derive(Clone)]
pub struct Gateway {
    endpoint: String,
    keys: Keys,
}

impl Gateway {
    /// The gateway at `endpoint`, `http://host:port/…`, for whoever has these keys.
    pub fn new(endpoint: &str, keys: &Keys) -> Self {
        Self { endpoint: endpoint.to_owned(), keys: keys.clone() }
    }

    /// Sends a request once: its status, and its body as far as that is JSON.
    ///
    /// # Errors
    /// When nobody answered, or not to the end.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> io::Result<(u16, Value)> {
        let url = format!("{}{path}", self.endpoint);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let address = self.endpoint.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let connection = TcpStream::connect(address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        self.signed(method, &url, address, body).write(&mut &connection)?;
        let answer = Message::answer(&mut BufReader::new(&connection))?;
        let status = answer.status().ok_or(io::ErrorKind::InvalidData)?;
        Ok((status, serde_json::from_slice(&answer.content()).unwrap_or_default()))
    }

    fn signed(&self, method: &str, url: &str, address: &str, body: Vec<u8>) -> Message {
        let Keys { access_key_id, secret_access_key, session_token } = self.keys.clone();
        let credentials = Credentials::new(access_key_id, secret_access_key, session_token, None, "a test");
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name("execute-api")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .expect("all is given")
            .into();
        let headers = [("host", address), ("content-type", "application/json")];
        let signable = SignableRequest::new(method, url, headers.into_iter(), SignableBody::Bytes(&body))
            .expect("it can be signed");
        let (signature, _) = sign(signable, &parameters).expect("it can be signed").into_parts();
        let path = url.split_once(address).map_or("/", |(_, path)| path);
        let mut head = format!("{method} {path} HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        Message { head: head.into_bytes(), body }
    }
}
