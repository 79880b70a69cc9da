//! HTTP/1.1 messages on a socket, as bytes: enough to pass them on unchanged, and to send one and read the answer.

use std::io::{self, BufRead, Read, Write};

/// No message here has a longer head, or body: the largest is a set of tiers.
const LONGEST: usize = 4 << 20;

/// A request or an answer, as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// First line and headers, with the empty line that ends them.
    pub(crate) head: Vec<u8>,
    /// What follows, with its framing.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Reads a request; `None` when the other side has closed the connection.
    pub(crate) fn request(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let head = head(from)?;
        if head.is_empty() {
            return Ok(None);
        }
        let mut message = Self { head, body: Vec::new() };
        message.read_body(from, false)?;
        Ok(Some(message))
    }

    /// Reads an answer.
    pub(crate) fn answer(from: &mut impl BufRead) -> io::Result<Self> {
        let head = head(from)?;
        if head.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut message = Self { head, body: Vec::new() };
        let without_body = matches!(message.status(), Some(204 | 304));
        message.read_body(from, !without_body)?;
        Ok(message)
    }

    fn read_body(&mut self, from: &mut impl BufRead, until_closed: bool) -> io::Result<()> {
        if let Some(length) = self.header("content-length") {
            let length: usize = length.parse().map_err(|_| malformed())?;
            if length > LONGEST {
                return Err(malformed());
            }
            self.body = vec![0; length];
            return from.read_exact(&mut self.body);
        }
        if self.header("transfer-encoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("chunked")) {
            return chunks(from, &mut self.body);
        }
        if until_closed {
            from.take(LONGEST as u64).read_to_end(&mut self.body)?;
        }
        Ok(())
    }

    /// Passes it on as it is.
    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut whole = self.head.clone();
        whole.extend(&self.body);
        to.write_all(&whole)?;
        to.flush()
    }

    /// The first line's three parts.
    pub(crate) fn first_line(&self) -> (String, String, String) {
        let text = String::from_utf8_lossy(&self.head);
        let mut parts = text.lines().next().unwrap_or_default().splitn(3, ' ').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    }

    /// An answer's status.
    pub(crate) fn status(&self) -> Option<u16> {
        self.first_line().1.parse().ok()
    }

    /// A header's value; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.head);
        text.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// What the body says, without its framing.
    pub(crate) fn content(&self) -> Vec<u8> {
        if self.header("content-length").is_some() || self.header("transfer-encoding").is_none() {
            return self.body.clone();
        }
        let (mut rest, mut content) = (self.body.as_slice(), Vec::new());
        while let Ok(line) = line(&mut rest)
            && let Ok(size) = chunk_size(&line)
            && size > 0
            && size + 2 <= rest.len()
        {
            content.extend(&rest[..size]);
            rest = &rest[size + 2..];
        }
        content
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an HTTP message")
}

fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(64 << 10).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn head(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let line = line(from)?;
        if line.is_empty() {
            return if head.is_empty() { Ok(head) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        head.extend(&line);
        if line == b"\r\n" || line == b"\n" {
            return Ok(head);
        }
        if head.len() > LONGEST {
            return Err(malformed());
        }
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let text = String::from_utf8_lossy(line);
    let size = text.trim().split(';').next().unwrap_or_default().to_owned();
    usize::from_str_radix(&size, 16).ok().filter(|size| *size <= LONGEST).ok_or_else(malformed)
}

fn chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = line(from)?;
        let size = chunk_size(&line)?;
        body.extend(&line);
        let mut chunk = vec![0; size + 2];
        from.read_exact(&mut chunk)?;
        body.extend(&chunk);
        if size == 0 {
            return Ok(());
        }
        if body.len() > LONGEST {
            return Err(malformed());
        }
    }
}
