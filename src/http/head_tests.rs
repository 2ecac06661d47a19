//! The rules of a request's head, case by case. Pure: no sockets, no threads.

use super::*;

fn parse_text(text: &str) -> Result<Option<Head>, u16> {
    parse(text.as_bytes(), &Limits::default()).map_err(|refusal| refusal.status)
}

fn with_fields(fields: &str) -> Result<Head, u16> {
    let text = format!("POST /p?q HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    parse_text(&text).map(|head| head.expect("is complete"))
}

#[test]
fn a_plain_request() {
    let head = with_fields("X-A: 1\r\nContent-Length: 5\r\n").unwrap();
    assert_eq!(
        (head.method.as_str(), head.target.as_str()),
        ("POST", "/p?q")
    );
    assert_eq!(head.framing, Framing::Length(5));
    assert!(head.keep_alive && !head.http10 && !head.expects_continue);
    let fields: Vec<_> = head.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, ["Host", "X-A"]);
}

#[test]
fn content_length_is_digits() {
    for bad in [
        "+5", "abc", "-1", "5 5", "", "5, 5", "0x5", "5.0", "\u{0665}",
    ] {
        assert_eq!(
            with_fields(&format!("Content-Length: {bad}\r\n")),
            Err(400),
            "{bad}"
        );
    }
    for large in [
        "524289",
        "200000000000",
        "9223372036854775808",
        &"9".repeat(100),
    ] {
        assert_eq!(
            with_fields(&format!("Content-Length: {large}\r\n")),
            Err(413),
            "{large}"
        );
    }
    let framing = |value: &str| {
        with_fields(&format!("content-length:{value}\r\n"))
            .unwrap()
            .framing
    };
    assert_eq!(framing("524288"), Framing::Length(524_288));
    assert_eq!(framing("  7 "), Framing::Length(7));
    assert_eq!(framing("0000000000000000000000000007"), Framing::Length(7));
    assert_eq!(with_fields("").unwrap().framing, Framing::Length(0));
}

#[test]
fn contradictory_framing_is_refused() {
    assert_eq!(
        with_fields("Content-Length: 5\r\nContent-Length: 6\r\n"),
        Err(400)
    );
    assert_eq!(
        with_fields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        Err(400)
    );
    let same = with_fields("Content-Length: 5\r\nContent-Length: 5\r\n").unwrap();
    assert_eq!(same.framing, Framing::Length(5));
}

#[test]
fn only_chunked_is_taken() {
    assert_eq!(
        with_fields("Transfer-Encoding: Chunked\r\n")
            .unwrap()
            .framing,
        Framing::Chunked
    );
    for other in [
        "gzip",
        "gzip, chunked",
        "identity",
        "chunked, chunked",
        "xchunked",
        "",
    ] {
        assert_eq!(
            with_fields(&format!("Transfer-Encoding: {other}\r\n")),
            Err(501),
            "{other}"
        );
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(with_fields(twice), Err(501));
    assert_eq!(
        parse_text("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(400)
    );
}

#[test]
fn header_syntax_is_strict() {
    for bad in [
        "X : 1\r\n",
        "X\r\n",
        ": 1\r\n",
        "X: 1\r\n folded\r\n",
        "X: a\rb\r\n",
        "X: a\0b\r\n",
    ] {
        assert_eq!(with_fields(bad), Err(400), "{}", bad.escape_debug());
    }
    for bad in [
        "GET / HTTQ/1.1\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "\0\r\n\r\n",
    ] {
        assert_eq!(parse_text(bad), Err(400), "{}", bad.escape_debug());
    }
}

#[test]
fn host_exactly_once() {
    assert_eq!(parse_text("GET / HTTP/1.1\r\n\r\n"), Err(400));
    assert_eq!(with_fields("Host: other\r\n"), Err(400));
    assert_eq!(with_fields("Host: h\r\n"), Err(400));
    let old = |fields| parse_text(&format!("GET / HTTP/1.0\r\n{fields}\r\n"));
    assert_eq!(old("").unwrap().unwrap().host, None);
    assert_eq!(old("Host: h\r\nHost: h\r\n"), Err(400));
}

#[test]
fn host_is_a_host_and_its_port() {
    let host = |host: &str| {
        let parsed = parse_text(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        parsed.map(|head| head.unwrap().host.unwrap())
    };
    for good in [
        "h",
        "h:80",
        "h:",
        "chat.example:65535",
        "127.0.0.1:1",
        "[::1]:1",
        "a_b",
    ] {
        assert_eq!(host(good), Ok(good.to_owned()), "{good}");
    }
    for bad in [
        "", "a,b", "a, b", "u@h", "h h", "h/", "h/p", "h?q", "h#f", "h:x", "h:-1", "h:65536",
        ":80", "h:80:80", "[::1", "[::1]x", "[h]", "::1", "http://h", "h\u{e9}",
    ] {
        assert_eq!(host(bad), Err(400), "{bad}");
    }
}

/// What parsers have been found to disagree about, by content the cases of llhttp's
/// tests and of Http11Probe.
#[test]
fn a_request_that_parsers_read_differently_is_refused() {
    for (bytes, status) in [
        // Line ends.
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\rA: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400),
        // The request line.
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a b c HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\r\nHost: h\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/01.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP /1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1,1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/3\r\nHost: h\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        // The target.
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\u{7f} HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET ?a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        ("CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        // Fields.
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA(b): c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA\u{e9}: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\tc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \u{1}\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: \u{7f}\r\n\r\n", 400),
    ] {
        assert_eq!(parse_text(bytes), Err(status), "{}", bytes.escape_debug());
    }
    for fields in [
        "Content-Length : 5",
        "Content-Length\t: 5",
        "Content-Length: 5 5",
        "Content-Length: 5,5",
        "Content-Length: 5;a=b",
        "Content-Length: 5_0",
        "Content-Length: 1e1",
        "Content-Length: \u{b}5",
        "Content-Length: 5\r\nContent-Length:",
        "Content-Length: 0\r\nContent-Length: 00",
        "Content-Length: 5\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:\r\n chunked",
    ] {
        let parsed = with_fields(&format!("{fields}\r\n"));
        assert_eq!(parsed, Err(400), "{}", fields.escape_debug());
    }
    for encoding in [
        "chunked, identity",
        "identity, chunked",
        "chunked;a=b",
        "\"chunked\"",
        "chunked,",
    ] {
        let parsed = with_fields(&format!("Transfer-Encoding: {encoding}\r\n"));
        assert_eq!(parsed, Err(501), "{encoding}");
    }
}

#[test]
fn what_is_unusual_but_clear_is_understood() {
    let empty_lines = parse_text("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(empty_lines.unwrap().unwrap().target, "/");
    let spaced = with_fields("A:b\r\nB: \t c \t\r\nC:\r\n").unwrap();
    let fields: Vec<_> = spaced.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(fields[1..], [("A", "b"), ("B", "c"), ("C", "")]);
    let tab = with_fields("Transfer-Encoding:\tchunked\t\r\n").unwrap();
    assert_eq!(tab.framing, Framing::Chunked);
    let token = parse_text("A!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(token.unwrap().unwrap().method, "A!#$%&'*+-.^_`|~9");
}

#[test]
fn versions_and_keep_alive() {
    assert_eq!(parse_text("GET / HTTP/2.0\r\n\r\n"), Err(505));
    assert_eq!(parse_text("GET / HTTP/1.2\r\nHost: h\r\n\r\n"), Err(505));
    assert!(!with_fields("Connection: x, Close\r\n").unwrap().keep_alive);
    let old = |fields| {
        parse_text(&format!("GET / HTTP/1.0\r\n{fields}\r\n"))
            .unwrap()
            .unwrap()
    };
    assert!(!old("").keep_alive && old("").http10);
    assert!(old("Connection: Keep-Alive\r\n").keep_alive);
}

#[test]
fn expectations() {
    assert!(
        with_fields("Expect: 100-Continue\r\n")
            .unwrap()
            .expects_continue
    );
    assert_eq!(with_fields("Expect: miracles\r\n"), Err(417));
    let huge = "Expect: 100-continue\r\nContent-Length: 600000\r\n";
    assert_eq!(with_fields(huge), Err(413));
    let old = parse_text("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n")
        .unwrap()
        .unwrap();
    assert!(!old.expects_continue);
}

#[test]
fn sizes_are_bounded() {
    let fields = "X: 1\r\n".repeat(63);
    assert!(with_fields(&fields).is_ok());
    assert_eq!(with_fields(&format!("{fields}X: 1\r\n")), Err(431));
    assert_eq!(
        with_fields(&format!("X: {}\r\n", "a".repeat(16 * 1024))),
        Err(431)
    );
    assert_eq!(
        parse_text(&format!("GET /{}", "a".repeat(16 * 1024))),
        Err(414)
    );
    assert_eq!(
        parse_text(&format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(100))),
        Ok(None)
    );
}

#[test]
fn targets() {
    let target = |line: &str| {
        parse_text(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n")).map(|head| head.unwrap().target)
    };
    assert_eq!(target("GET http://h:80/a/b?c=d"), Ok("/a/b?c=d".into()));
    assert_eq!(target("GET http://h"), Ok("/".into()));
    assert_eq!(target("GET http://h?x"), Ok("/?x".into()));
    assert_eq!(target("OPTIONS *"), Ok("*".into()));
    assert_eq!(target("BREW /\u{e4}"), Ok("/%C3%A4".into()));
    assert_eq!(target("GET HTTPS://h/a"), Ok("/a".into()));
    assert_eq!(target("GET nowhere"), Err(400));
}

#[test]
fn private_and_foreign_fields_stop_here() {
    let text =
        b"GET / HTTP/1.1\r\nHost: h\r\nX-Front-Request: 7\r\nTE: trailers\r\nX: \xff\r\n\r\n";
    let head = parse(text, &Limits::default()).unwrap().unwrap();
    assert_eq!(head.headers, [("Host".to_owned(), "h".to_owned())]);
}
