//! What parsers have been found to disagree about is refused, by content the cases
//! of llhttp's tests and of Http11Probe; and what is unusual but clear is taken.

use messenger::http::Limits;

use super::{Reply, ask, echo, start};

/// Sends each, and holds the statuses of the answers against these.
fn check(cases: &[(&str, u16)]) {
    let front = start(Limits::default(), echo);
    for (text, status) in cases {
        let reply = ask(front.local_addr(), text.as_bytes());
        let name = text.escape_debug();
        assert_eq!(reply.status, *status, "{name}: {}", reply.text());
        assert_eq!(reply.closes(), *status != 200, "{name}: {}", reply.head);
    }
}

/// The same for requests that have these fields.
fn check_fields(fields: &[&str], status: u16) {
    let text = |fields: &&str| format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n");
    let texts: Vec<_> = fields.iter().map(text).collect();
    let cases: Vec<_> = texts.iter().map(|text| (text.as_str(), status)).collect();
    check(&cases);
}

#[test]
fn line_ends_are_crlf() {
    check(&[
        ("GET / HTTP/1.1\nHost: localhost\n\n", 400),
        ("GET / HTTP/1.1\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nA: b\nC: d\r\n\r\n",
            400,
        ),
        ("\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\rHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\rA: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\r\n\r\n", 400),
        // Before a request, empty lines are allowed.
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
    ]);
}

#[test]
fn a_request_line_has_three_parts() {
    let cases = [
        ("GET /a b HTTP/1.1", 400),
        ("GET /a b c HTTP/2.0", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        (" GET / HTTP/1.1", 400),
        ("GET\t/\tHTTP/1.1", 400),
        ("GET HTTP/1.1", 400),
        ("GET /", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTQ/1.1", 400),
        ("GET / HTTP/01.1", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTP /1.1", 400),
        ("GET / HTTP/1,1", 400),
        ("GET / HTTP/1.", 400),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/3", 505),
        ("PRI * HTTP/2.0", 505),
        ("\0", 400),
        ("GET * HTTP/1.1", 400),
        ("GET /#a HTTP/1.1", 400),
        ("GET /\u{7f} HTTP/1.1", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET ?a HTTP/1.1", 400),
        ("GET h:80 HTTP/1.1", 400),
        ("GET http:///a HTTP/1.1", 400),
        ("GET http://u@localhost/ HTTP/1.1", 400),
        ("GET ftp://localhost/ HTTP/1.1", 400),
        ("CONNECT h:80 HTTP/1.1", 501),
        ("CONNECT / HTTP/1.1", 501),
        ("GET HTTP://localhost/a HTTP/1.1", 200),
        ("A!#$%&'*+-.^_`|~9 / HTTP/1.1", 200),
    ];
    let text = |line: &str| format!("{line}\r\nHost: localhost\r\n\r\n");
    let texts: Vec<_> = cases
        .iter()
        .map(|(line, status)| (text(line), *status))
        .collect();
    let cases: Vec<_> = texts
        .iter()
        .map(|(text, status)| (text.as_str(), *status))
        .collect();
    check(&cases);
}

#[test]
fn host_is_there_once_and_is_a_host_and_its_port() {
    check(&[
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
        (
            "GET / HTTP/1.0\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
            400,
        ),
    ]);
    let with = |hosts: &[&str], status| {
        let text = |host: &&str| {
            format!("GET / HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n")
        };
        let texts: Vec<_> = hosts.iter().map(text).collect();
        let cases: Vec<_> = texts.iter().map(|text| (text.as_str(), status)).collect();
        check(&cases);
    };
    with(
        &[
            "localhost",
            "localhost:80",
            "localhost:",
            "127.0.0.1:65535",
            "[::1]:1",
        ],
        200,
    );
    with(
        &[
            "", "a,b", "a, b", "u@h", "h h", "h/", "h/p", "h?q", "h#f", "h:x", "h:-1", "h:65536",
            ":80", "h:80:80", "[::1", "[::1]x", "[h]", "::1", "http://h", "h\u{e9}",
        ],
        400,
    );
}

#[test]
fn fields_are_a_name_a_colon_and_a_value() {
    check_fields(
        &[
            "A",
            ": b",
            "A : b",
            "A(b): c",
            "A\u{e9}: c",
            "A: b\r\n\tc",
            "A: b\r\n c",
            "A: b\rc",
            "A: \0",
            "A: \u{1}",
            "A: \u{7f}",
        ],
        400,
    );
    check(&[("GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400)]);
    check_fields(&["A:b", "A: \t b \t", "A:"], 200);
}

#[test]
fn the_length_of_a_body_is_said_in_one_way() {
    check_fields(
        &[
            "Content-Length : 0",
            "Content-Length\t: 0",
            "Content-Length: 0 0",
            "Content-Length: 0,0",
            "Content-Length: 0;a=b",
            "Content-Length: 0_0",
            "Content-Length: 0e1",
            "Content-Length: \u{b}0",
            "Content-Length: 0\r\nContent-Length:",
            "Content-Length: 0\r\nContent-Length: 00",
            "Content-Length: 0\r\nTransfer-Encoding: identity",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding: \u{b}chunked",
            "Transfer-Encoding:\r\n chunked",
        ],
        400,
    );
    check_fields(
        &[
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked;a=b",
            "Transfer-Encoding: \"chunked\"",
            "Transfer-Encoding: chunked,",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ],
        501,
    );
    check_fields(
        &[
            "Content-Length: 0",
            "Content-Length: 000",
            "Content-Length: 0\r\nContent-Length: 0",
        ],
        200,
    );
}

#[test]
fn lengths_are_digits_up_to_the_limit() {
    let fields = |values: &[&str]| -> Vec<String> {
        values
            .iter()
            .map(|value| format!("Content-Length: {value}"))
            .collect()
    };
    let check = |values: &[&str], status| {
        let fields = fields(values);
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        check_fields(&fields, status);
    };
    check(
        &[
            "+5", "abc", "-1", "5 5", "", "5, 5", "0x5", "5.0", "\u{665}",
        ],
        400,
    );
    check(
        &[
            "524289",
            "200000000000",
            "9223372036854775808",
            &"9".repeat(100),
        ],
        413,
    );
    check(&["0", "  0 ", &"0".repeat(30)], 200);
}

#[test]
fn a_target_is_a_path_or_a_uri_and_arrives_as_a_path() {
    let front = start(Limits::default(), echo);
    for (line, told) in [
        ("GET http://localhost:80/a/b?c=d", "GET /a/b?c=d "),
        ("GET http://localhost", "GET /? "),
        ("GET http://localhost?x", "GET /?x "),
        ("GET HTTPS://localhost/a", "GET /a? "),
        ("BREW /\u{e4}", "BREW /%C3%A4? "),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(ask(front.local_addr(), request.as_bytes()).text(), told);
    }
}

#[test]
fn fields_of_one_connection_and_foreign_bytes_do_not_arrive() {
    let front = start(Limits::default(), echo);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Front-Request: 7\r\nTE: trailers\r\n\
        Keep-Alive: 1\r\nX: \xff\r\nY: 1\r\n\r\n";
    let reply = ask(front.local_addr(), request);
    assert_eq!(reply.header("X-Fields"), Some("Host,Y"));
}

fn chunked(body: &str) -> Reply {
    let front = start(Limits::default(), echo);
    let head = "POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding:\tchunked\t\r\n\r\n";
    ask(front.local_addr(), format!("{head}{body}").as_bytes())
}

#[test]
fn chunks_are_sizes_and_data_and_nothing_in_between() {
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\r\n",
        "5 5\r\nhello\r\n",
        "5\r\nhello\n0\r\n\r\n",
        ";ext\r\n",
        &"0".repeat(300),
        "5 \r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5\t\r\nhello\r\n",
        "5_0\r\n",
        "5h\r\nhello\r\n",
        "5 ;a\r\nhello\r\n",
        "5; a\r\nhello\r\n",
        "5;\r\nhello\r\n",
        "5;;a\r\nhello\r\n",
        "5;a=\r\nhello\r\n",
        "5;a b\r\nhello\r\n",
        "5;a=b c\r\nhello\r\n",
        "5;=b\r\nhello\r\n",
        "5;a=\"b\r\nhello\r\n",
        "5;a=\"b\"c\r\nhello\r\n",
        "5;a=\"\0\"\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "5;a\nhello\r\n",
        "5;\n5\r\nhello\r\n",
        "5\r\r\nhello\r\n",
        "5\rX\nhello\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nT : x\r\n\r\n",
        "0\r\n: x\r\n\r\n",
        "0\r\nT: \0\r\n\r\n",
        "0\r\nT: x\n\r\n",
        "0\r\nT: x\r\n folded\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        let reply = chunked(body);
        assert_eq!(
            reply.status,
            400,
            "{}: {}",
            body.escape_debug(),
            reply.text()
        );
    }
    for (body, status) in [
        ("80001\r\n", 413),
        ("ffffffffffffffffffffffffffff\r\n", 413),
        (&*format!("1\r\na\r\n{}", "80000\r\n"), 413),
        (
            &*format!("0\r\n{}", "T: 0123456789012345678901234567\r\n".repeat(800)),
            431,
        ),
    ] {
        assert_eq!(
            chunked(body).status,
            status,
            "{}",
            &body[..20.min(body.len())]
        );
    }
    let skipped = "5;a;b=c;d=\"e; \\\"f\"\r\nhello\r\n000;g\r\nT:\r\nU: \u{e9}\t1\r\n\r\n";
    assert_eq!(chunked(skipped).text(), "POST /x? hello");
}
