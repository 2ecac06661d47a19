//! The head of a request: request line and header fields, and what they say
//! about the body.
//!
//! Owns the strict rules of HTTP/1.1 message framing, as a pure function of
//! bytes: whatever is ambiguous is refused, never guessed. It must not know
//! sockets, time or lanes. A connection's thread runs it.

use std::net::Ipv6Addr;

use super::gate::Asked;
use super::limits::Limits;
use super::refusal::Refusal;
use crate::key::IDEMPOTENCY_KEY;

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Exactly so many bytes, within the body limit. 0 if the head says nothing.
    Length(usize),
    Chunked,
}

/// A request's head that has passed every rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub method: String,
    /// Origin form (`/path?query`) or `*`, ASCII only.
    pub target: String,
    /// Host and port that the client asks: of the target, else of Host.
    pub host: Option<String>,
    /// The fields that are meant for the handler.
    pub headers: Vec<(String, String)>,
    pub framing: Framing,
    pub http10: bool,
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Bytes of the head in the input, its empty line included.
    pub bytes: usize,
}

impl Head {
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            path: self.target.split('?').next().unwrap_or_default(),
            headers: &self.headers,
        }
    }
}

/// Fields that belong to one connection or to framing. The lane gets its own.
const NOT_FORWARDED: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    super::receipt::NUMBER_HEADER,
    super::receipt::WAITED_HEADER,
];

/// Parses the head at the start of `input`. `None`: it is not complete yet.
pub(super) fn parse(input: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
    let mut fields = Vec::with_capacity(limits.header_fields);
    let mut request = httparse::Request::new(&mut []);
    // What is beyond the limit must not matter, whether it has come yet or not.
    let input = &input[..input.len().min(limits.header_bytes)];
    let may_go_on = input.len() < limits.header_bytes;
    let parsed = request.parse_with_uninit_headers(input, fields.spare_capacity_mut());
    let bytes = match parsed {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) if may_go_on => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(head_too_large(input, limits)),
        // The rest of the line says what kind of wrong version it is.
        Err(httparse::Error::Version)
            if may_go_on && !input.trim_ascii_start().contains(&b'\n') =>
        {
            return Ok(None);
        }
        Err(error) => return Err(refusal_of(error, input, limits)),
    };
    let bare = |at: usize| input[at] == b'\n' && (at == 0 || input[at - 1] != b'\r');
    if (0..bytes).any(bare) {
        return Err(Refusal::malformed("a line does not end in CRLF"));
    }
    let http10 = request.version == Some(0);
    let mut fields = Fields::default();
    for header in request.headers.iter() {
        fields.take(header);
    }
    let method = request.method.unwrap_or_default();
    let (authority, target) = target(method, request.path.unwrap_or_default())?;
    let host = fields.host(http10)?;
    Ok(Some(Head {
        method: method.to_owned(),
        target,
        host: authority.or(host),
        framing: fields.framing(http10, limits)?,
        http10,
        keep_alive: !fields.close && (!http10 || fields.keep_alive),
        expects_continue: fields.expects_continue(http10)?,
        headers: fields.forwarded,
        bytes,
    }))
}

/// What the header fields say, gathered in one pass.
#[derive(Default)]
struct Fields<'a> {
    hosts: Vec<&'a [u8]>,
    lengths: Vec<&'a [u8]>,
    encodings: Vec<&'a [u8]>,
    expectation: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    forwarded: Vec<(String, String)>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, header: &httparse::Header<'a>) {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("host") {
            self.hosts.push(header.value);
        } else if is("content-length") {
            self.lengths.push(header.value);
        } else if is("transfer-encoding") {
            self.encodings.push(header.value);
        } else if is("expect") {
            self.expectation = Some(header.value);
        } else if is("connection") {
            for option in header.value.split(|&byte| byte == b',') {
                let option = option.trim_ascii();
                self.close |= option.eq_ignore_ascii_case(b"close");
                self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        if NOT_FORWARDED.iter().any(|name| is(name)) {
            return;
        }
        // tiny_http takes ASCII only. Only one field with other bytes means anything here.
        match std::str::from_utf8(header.value) {
            Ok(value) if value.is_ascii() => {
                self.forwarded
                    .push((header.name.to_owned(), value.to_owned()));
            }
            // It is to be refused, not left out.
            _ if is(IDEMPOTENCY_KEY) => {
                self.forwarded.push((header.name.to_owned(), String::new()));
            }
            _ => {}
        }
    }

    fn host(&self, http10: bool) -> Result<Option<String>, Refusal> {
        match self.hosts.as_slice() {
            [] if http10 => Ok(None),
            [one] => match std::str::from_utf8(one) {
                Ok(host) if is_authority(host) => Ok(Some(host.to_owned())),
                _ => Err(Refusal::malformed("Host is not a host and its port")),
            },
            _ => Err(Refusal::malformed("there has to be exactly one Host field")),
        }
    }

    fn framing(&self, http10: bool, limits: &Limits) -> Result<Framing, Refusal> {
        match (self.lengths.as_slice(), self.encodings.as_slice()) {
            ([], []) => Ok(Framing::Length(0)),
            ([first, rest @ ..], []) => {
                if rest.iter().any(|other| other != first) {
                    return Err(Refusal::malformed("Content-Length fields that differ"));
                }
                content_length(first, limits)
            }
            ([_, ..], [_, ..]) => Err(Refusal::malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            ([], _) if http10 => Err(Refusal::malformed("Transfer-Encoding in HTTP/1.0")),
            ([], [only]) if only.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            ([], _) => Err(Refusal::new(
                501,
                "the only supported Transfer-Encoding is chunked",
            )),
        }
    }

    /// HTTP/1.0 knows no expectations, so they are ignored there.
    fn expects_continue(&self, http10: bool) -> Result<bool, Refusal> {
        match self.expectation {
            Some(value) if !http10 => {
                if value.eq_ignore_ascii_case(b"100-continue") {
                    Ok(true)
                } else {
                    Err(Refusal::new(
                        417,
                        "the only supported expectation is 100-continue",
                    ))
                }
            }
            _ => Ok(false),
        }
    }
}

/// Digits only: no sign, no blanks, no list. Digits that overflow are a length too.
fn content_length(value: &[u8], limits: &Limits) -> Result<Framing, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::malformed("Content-Length is not a number"));
    }
    let length = value.iter().try_fold(0usize, |length, digit| {
        length
            .checked_mul(10)?
            .checked_add(usize::from(digit - b'0'))
    });
    match length {
        Some(length) if length <= limits.body_bytes => Ok(Framing::Length(length)),
        _ => Err(body_too_large(limits)),
    }
}

/// Host and port of an absolute-form target, and path and query of any target.
fn target(method: &str, target: &str) -> Result<(Option<String>, String), Refusal> {
    let (authority, origin) = match target.split_once("://") {
        _ if method == "CONNECT" => return Err(Refusal::new(501, "this is not a proxy")),
        _ if target.starts_with('/') || (target == "*" && method == "OPTIONS") => (None, target),
        Some((scheme, rest)) if ["http", "https"].contains(&&*scheme.to_ascii_lowercase()) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            (Some(authority), if path.is_empty() { "/" } else { path })
        }
        _ => {
            return Err(Refusal::malformed(
                "the request target is neither a path nor a URI",
            ));
        }
    };
    if origin.contains('#') || authority.is_some_and(|authority| !is_authority(authority)) {
        return Err(Refusal::malformed("the request target is malformed"));
    }
    let mut ascii = String::with_capacity(origin.len() + 1);
    if origin.starts_with('?') {
        ascii.push('/');
    }
    // Some clients send UTF-8 as it is. Percent-encoding is what they meant.
    for byte in origin.bytes() {
        if byte.is_ascii() {
            ascii.push(char::from(byte));
        } else {
            ascii.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok((authority.map(str::to_owned), ascii))
}

/// A name or an IP address, and maybe a port. No user, no list.
fn is_authority(text: &str) -> bool {
    let name_end = match text.starts_with('[') {
        true => text.find(']').map_or(0, |end| end + 1),
        false => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_end);
    let is_name = match name.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().is_ok(),
        None => {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
            !name.is_empty() && name.bytes().all(known)
        }
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    let has_colon = digits.len() < port.len();
    is_name
        && (port.is_empty() || has_colon && (digits.is_empty() || digits.parse::<u16>().is_ok()))
}

/// How many bytes of a token `bytes` begins with, such as the name of a field.
pub(super) fn token(bytes: &[u8]) -> usize {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    bytes
        .iter()
        .position(|byte| !is_token(byte))
        .unwrap_or(bytes.len())
}

pub(super) fn body_too_large(limits: &Limits) -> Refusal {
    Refusal::new(
        413,
        format!("the body is over the limit of {} bytes", limits.body_bytes),
    )
}

fn head_too_large(input: &[u8], limits: &Limits) -> Refusal {
    let limit = limits.header_bytes;
    if input.contains(&b'\n') {
        Refusal::new(
            431,
            format!("the header is over the limit of {limit} bytes"),
        )
    } else {
        Refusal::new(
            414,
            format!("the request line is over the limit of {limit} bytes"),
        )
    }
}

fn refusal_of(error: httparse::Error, input: &[u8], limits: &Limits) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            let limit = limits.header_fields;
            Refusal::new(431, format!("more than the limit of {limit} header fields"))
        }
        httparse::Error::Version if names_http_version(input) => {
            Refusal::new(505, "the supported HTTP versions are 1.0 and 1.1")
        }
        error => Refusal::malformed(format!("malformed request: {error}")),
    }
}

/// Whether the request line has three parts, of which the last is a well-formed
/// version, one that is not ours.
fn names_http_version(input: &[u8]) -> bool {
    let line = input.trim_ascii_start().split(|&byte| byte == b'\n').next();
    let line = line.unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let parts: Vec<_> = line.split(|&byte| byte == b' ').take(4).collect();
    let [_, _, version] = parts.as_slice() else {
        return false;
    };
    match version.strip_prefix(b"HTTP/") {
        Some([major]) => major.is_ascii_digit(),
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}
