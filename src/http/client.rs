//! A minimal blocking HTTP client for load: one keep-alive connection, one request
//! after the other. The services' own clients use ureq.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::tls;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A minimal blocking HTTP client. For one thread.
pub struct Client {
    address: String,
    tls: Option<tls::Client>,
    authorization: Option<String>,
    connection: Option<Box<dyn Stream>>,
    answer: Vec<u8>,
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// Where an answer's body begins, where it ends, and whether the connection may
/// be used again.
type Extent = (usize, usize, bool);

impl Client {
    pub fn new(address: &str, tls: Option<&tls::Client>) -> Self {
        Self {
            address: address.to_owned(),
            tls: tls.cloned(),
            authorization: None,
            connection: None,
            answer: Vec::new(),
        }
    }

    /// With the value of `Authorization` in each request, if one is needed.
    #[must_use]
    pub fn with_authorization(self, authorization: Option<String>) -> Self {
        Self {
            authorization,
            ..self
        }
    }

    /// Returns the body of the answer. After an error the next request opens a
    /// new connection.
    ///
    /// # Errors
    /// What the connection says, an answer other than 200, or one without a length.
    pub fn post(&mut self, path: &str, body: &str) -> io::Result<Vec<u8>> {
        self.post_with(path, "", body)
    }

    /// The same with more header lines, each with its line end.
    ///
    /// # Errors
    /// As [`Client::post`]; [`io::ErrorKind::InvalidInput`] if the request is refused.
    pub fn post_with(&mut self, path: &str, lines: &str, body: &str) -> io::Result<Vec<u8>> {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map(|value| format!("Authorization: {value}\r\n"));
        let authorization = authorization.unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{authorization}{lines}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        connection.write_all(request.as_bytes())?;
        self.answer.clear();
        let mut chunk = [0; 64 * 1024];
        let (start, end, again) = loop {
            let length = connection.read(&mut chunk)?;
            if length == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            self.answer.extend_from_slice(&chunk[..length]);
            match extent(&self.answer)? {
                Some(extent) if self.answer.len() >= extent.1 => break extent,
                _ => {}
            }
        };
        if again {
            self.connection = Some(connection);
        }
        Ok(self.answer[start..end].to_vec())
    }

    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connection = TcpStream::connect(&self.address)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(connection));
        };
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        let name = tls.name.as_deref().unwrap_or(host.trim_matches(['[', ']']));
        let session = tls.connector()?.build().connect(name, connection);
        Ok(Box::new(
            session.map_err(|error| io::Error::other(error.to_string()))?,
        ))
    }
}

/// `None` while the head is incomplete.
fn extent(answer: &[u8]) -> io::Result<Option<Extent>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(answer).map_err(io::Error::other)?;
    let httparse::Status::Complete(start) = parsed else {
        return Ok(None);
    };
    if response.code != Some(200) {
        let code = response.code.unwrap_or_default();
        let kind = match code {
            400..=499 => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        return Err(io::Error::new(kind, format!("answered with {code}")));
    }
    let value = |name: &str| {
        let header = response
            .headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let length = value("Content-Length").and_then(|length| length.parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("an answer without Content-Length"))?;
    let closes = value("Connection").is_some_and(|v| v.eq_ignore_ascii_case("close"));
    Ok(Some((
        start,
        start + length,
        response.version == Some(1) && !closes,
    )))
}
