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
