//! Decoding of a chunked request body.
//!
//! Owns the state between two reads. It must not know sockets or time. Every
//! line in the framing is bounded and so is the decoded body. A connection's
//! thread runs it.

use super::head::{body_too_large, token};
use super::limits::Limits;
use super::refusal::Refusal;

/// Longest line of a chunk size with its extensions, in bytes.
const SIZE_LINE_BYTES: usize = 256;
/// All chunk extensions and trailers of a body together, in bytes.
const OVERHEAD_BYTES: usize = 16 * 1024;
/// What a chunk's framing needs at least: this much is not counted as overhead.
const FREE_LINE_BYTES: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Size,
    Data(usize),
    /// The line end after a chunk's data.
    DataEnd,
    /// A trailer field, or the empty line that ends the body.
    Trailer,
    Nothing,
}

/// A decoder that is fed as the bytes come in.
#[derive(Debug)]
pub(super) struct Decoder {
    expect: Expect,
    overhead: usize,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            expect: Expect::Size,
            overhead: 0,
        }
    }

    /// Takes what it can use from the front of `input`, appending decoded bytes
    /// to `body`. Returns how many bytes it used, and whether the body is complete.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        limits: &Limits,
    ) -> Result<(usize, bool), Refusal> {
        let mut used = 0;
        while self.expect != Expect::Nothing {
            let rest = &input[used..];
            if let Expect::Data(left) = self.expect {
                let taken = left.min(rest.len());
                body.extend_from_slice(&rest[..taken]);
                used += taken;
                if taken < left {
                    self.expect = Expect::Data(left - taken);
                    return Ok((used, false));
                }
                self.expect = Expect::DataEnd;
                continue;
            }
            let Some((line, bytes)) = line(rest)? else {
                return Ok((used, false));
            };
            used += bytes;
            self.overhead += bytes.saturating_sub(FREE_LINE_BYTES);
            if self.overhead > OVERHEAD_BYTES {
                return Err(Refusal::new(
                    431,
                    format!(
                        "chunk extensions and trailers are over the limit of {OVERHEAD_BYTES} bytes"
                    ),
                ));
            }
            self.expect = match self.expect {
                Expect::Size => match chunk_size(line, limits)? {
                    0 => Expect::Trailer,
                    size if size > limits.body_bytes - body.len() => {
                        return Err(body_too_large(limits));
                    }
                    size => Expect::Data(size),
                },
                Expect::DataEnd if line.is_empty() => Expect::Size,
                Expect::DataEnd => {
                    return Err(Refusal::malformed("a chunk is longer than its size says"));
                }
                Expect::Trailer if line.is_empty() => Expect::Nothing,
                // Trailers are dropped: nothing here asks for one.
                Expect::Trailer if is_field(line) => Expect::Trailer,
                _ => return Err(Refusal::malformed("a trailer is not a header field")),
            };
        }
        Ok((used, true))
    }
}

/// The first line of `input` without its end, and its bytes with it.
fn line(input: &[u8]) -> Result<Option<(&[u8], usize)>, Refusal> {
    let window = &input[..input.len().min(SIZE_LINE_BYTES)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        if window.len() == SIZE_LINE_BYTES {
            return Err(Refusal::malformed(format!(
                "a line in the chunked body is over the limit of {SIZE_LINE_BYTES} bytes"
            )));
        }
        return Ok(None);
    };
    match input[..end].strip_suffix(b"\r") {
        Some(line) if !line.contains(&b'\r') => Ok(Some((line, end + 1))),
        _ => Err(Refusal::malformed(
            "a line in the chunked body does not end in CRLF",
        )),
    }
}

/// A name, a colon, and a value without control characters.
fn is_field(line: &[u8]) -> bool {
    let name = token(line);
    let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
    name > 0 && line[name..].starts_with(b":") && line.iter().all(is_text)
}

/// `;name`, `;name=token` or `;name="text"`, any number of times, and no blanks.
fn are_extensions(mut rest: &[u8]) -> bool {
    while let Some(extension) = rest.strip_prefix(b";") {
        let name = token(extension);
        rest = &extension[name..];
        if let Some(value) = rest.strip_prefix(b"=") {
            let length = match value.strip_prefix(b"\"") {
                Some(text) => quoted(text).map_or(0, |length| 1 + length),
                None => token(value),
            };
            rest = if length > 0 { &value[length..] } else { rest };
        }
        if name == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// The length of a quoted text, its last quote included.
fn quoted(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(at + 1),
            b'\\' => drop(bytes.next()),
            b'\t' => {}
            byte if byte.is_ascii_control() => return None,
            _ => {}
        }
    }
    None
}

/// Hexadecimal digits, then nothing or extensions, which are ignored.
fn chunk_size(line: &[u8], limits: &Limits) -> Result<usize, Refusal> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let (digits, extensions) = line.split_at(end.unwrap_or(line.len()));
    if digits.is_empty() || !are_extensions(extensions) {
        return Err(Refusal::malformed("a chunk size is malformed"));
    }
    let mut size = 0usize;
    for &byte in digits {
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        // Stops at the limit, so that no number of digits can overflow.
        size = size.saturating_mul(16).saturating_add(digit as usize);
    }
    if size > limits.body_bytes {
        return Err(body_too_large(limits));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, u16> {
        let limits = Limits {
            body_bytes: 100,
            ..Limits::default()
        };
        let (mut decoder, mut body, mut used) = (Decoder::new(), Vec::new(), 0);
        let mut end = 0;
        while end < input.len() {
            end = (end + step).min(input.len());
            let fed = decoder.feed(&input[used..end], &mut body, &limits);
            let (taken, done) = fed.map_err(|refusal| refusal.status)?;
            used += taken;
            if done {
                return Ok(Some((body, used)));
            }
        }
        Ok(None)
    }

    #[test]
    fn decodes_in_any_pieces() {
        let input = b"5\r\nhello\r\n6;ext=\"1\"\r\n world\r\n0\r\nTrailer: x\r\n\r\nGET /";
        for step in 1..input.len() {
            let decoded = decode(input, step);
            assert_eq!(
                decoded,
                Ok(Some((b"hello world".to_vec(), input.len() - 5))),
                "{step}"
            );
        }
    }

    #[test]
    fn an_unfinished_body_is_no_body() {
        assert_eq!(decode(b"5\r\nhello\r\n0\r\n", 3), Ok(None));
        assert_eq!(decode(b"5\r\nhel", 7), Ok(None));
    }
}
