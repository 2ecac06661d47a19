//! Requests that are wrong in HTTP's own terms.

use crate::compare::behaviour::case::Case;
use crate::compare::behaviour::check::Check;
use crate::compare::behaviour::http::{FLUSH, SEND, bare, post};
use crate::compare::behaviour::trouble::Seen;

pub const CHECKS: &[Check] = &[
    Check::new(
        "unknown-path",
        "POST to a path that there is not.",
        "404 with a JSON error",
        |case| answer(case, &post("/nothing", "", b"{}")),
    ),
    Check::new(
        "wrong-method",
        "GET, PUT and DELETE on the paths that take POST.",
        "405 with a JSON error and Allow: POST",
        wrong_method,
    ),
    Check::new(
        "page",
        "GET / for people with a browser.",
        "200 with text",
        |case| answer(case, &bare("GET", "/", "")),
    ),
    Check::new(
        "body-too-large",
        "A body of 1 MB is announced, and none is sent.",
        "413 with a JSON error",
        |case| answer(case, &bare("POST", SEND, "Content-Length: 1000000\r\n")),
    )
    .within(5),
    Check::new(
        "length-no-number",
        "A Content-Length that is no number.",
        "400 with a JSON error",
        |case| answer(case, &bare("POST", SEND, "Content-Length: abc\r\n")),
    ),
    Check::new(
        "length-negative",
        "A Content-Length below zero.",
        "400 with a JSON error",
        |case| answer(case, &bare("POST", SEND, "Content-Length: -1\r\n")),
    )
    .within(5),
    Check::new(
        "header-too-large",
        "A header of 20 KiB.",
        "431 with a JSON error",
        |case| {
            let field = format!("X-Field: {}\r\n", "x".repeat(20 << 10));
            answer(case, &post(FLUSH, &field, b""))
        },
    ),
    Check::new(
        "header-many-fields",
        "A header of 70 fields.",
        "431 with a JSON error",
        |case| answer(case, &post(FLUSH, &"X-Field: x\r\n".repeat(70), b"")),
    ),
];

fn answer(case: &Case, request: &[u8]) -> Seen {
    Ok(case.ask(request)?.to_string())
}

fn wrong_method(case: &Case) -> Seen {
    let mut seen = String::new();
    for path in [SEND, FLUSH] {
        for method in ["GET", "PUT", "DELETE"] {
            let reply = case.ask(&bare(method, path, "Content-Length: 0\r\n"))?;
            let allow = reply
                .header("Allow")
                .map(|allow| format!(" and Allow: {allow}"));
            seen = format!("{reply}{}", allow.unwrap_or_default());
            if reply.status != 405 {
                return Ok(seen);
            }
        }
    }
    Ok(seen)
}
