//! HTTP/2 frames as bytes. Source: RFC 9113, section 6.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub const FRAME_HEAD: usize = 9;
/// Of gRPC: a byte for compression, four for the length.
pub const MESSAGE_HEAD: usize = 5;

/// What a connection takes before the first WINDOW_UPDATE, in bytes.
pub const FIRST_WINDOW: u32 = 65_535;

/// The largest window that HTTP/2 knows: 2 GiB for a stream and a connection,
/// which no measurement here reads through.
const WINDOW: u32 = 0x7fff_ffff;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first nine bytes of a frame.
pub struct Head {
    pub length: usize,
    pub kind: u8,
    flags: u8,
    pub stream: u32,
}

impl Head {
    pub fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }
}

/// `None` if there are fewer bytes than a head has.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let bytes = bytes.first_chunk::<FRAME_HEAD>()?;
    Some(Head {
        length: u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize,
        kind: bytes[3],
        flags: bytes[4],
        stream: u32::from_be_bytes([bytes[5] & 0x7f, bytes[6], bytes[7], bytes[8]]),
    })
}

/// The first whole message of a stream's bytes, and what is behind it.
pub fn message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<MESSAGE_HEAD>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    rest.split_at_checked(length as usize)
}

/// How much a WINDOW_UPDATE adds.
pub fn window_update(payload: &[u8]) -> u32 {
    let bytes = payload.first_chunk::<4>().copied().unwrap_or_default();
    u32::from_be_bytes(bytes) & WINDOW
}

/// What a client says first: it takes as much as there is.
pub fn hello() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let setting = [&4u16.to_be_bytes()[..], &WINDOW.to_be_bytes()].concat();
    frame(&mut out, SETTINGS, 0, 0, &setting);
    let more = WINDOW - FIRST_WINDOW;
    frame(&mut out, WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    out
}

/// A whole call with one request message, which has to fit into one frame: 16 KiB
/// with its head (RFC 9113, SETTINGS_MAX_FRAME_SIZE).
pub fn request(out: &mut Vec<u8>, stream: u32, headers: &[u8], message: &[u8]) {
    frame(out, HEADERS, END_HEADERS, stream, headers);
    let length = (message.len() as u32).to_be_bytes();
    let message = [&[0], &length[..], message].concat();
    frame(out, DATA, END_STREAM, stream, &message);
}

pub fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The header block of a call, without any entry for the dynamic table.
pub fn headers(authority: &str, path: &str, authorization: Option<&str>) -> Vec<u8> {
    // ":method: POST" and ":scheme: http" or "https" are whole in the static table, of
    // ":authority", ":path" and "content-type" only the names. Who has a token speaks TLS.
    let mut block = vec![0x83, 0x86 + u8::from(authorization.is_some())];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        // A length below 127 takes one byte; only an authority could be longer,
        // and no server here looks at it.
        let value = &value.as_bytes()[..value.len().min(126)];
        block.push(value.len() as u8);
        block.extend_from_slice(value);
    };
    literal(&[0x01], authority);
    literal(&[0x04], path);
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    if let Some(authorization) = authorization {
        literal(b"\x00\x0dauthorization", authorization);
    }
    block
}
