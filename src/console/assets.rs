//! The pages' files, compiled into the program.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::http::{Request, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, content type, content. A new tab's module is one more row.
const TABLE: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("assets/index.html")),
    ("/login", HTML, include_str!("assets/login.html")),
    ("/assets/login.js", JS, include_str!("assets/login.js")),
    ("/assets/icon.svg", SVG, include_str!("assets/icon.svg")),
    (
        "/assets/console.css",
        CSS,
        include_str!("assets/console.css"),
    ),
    ("/assets/console.js", JS, include_str!("assets/console.js")),
    ("/assets/stream.js", JS, include_str!("assets/stream.js")),
    ("/assets/dom.js", JS, include_str!("assets/dom.js")),
    ("/assets/outbox.js", JS, include_str!("assets/outbox.js")),
    ("/assets/chart.js", JS, include_str!("assets/chart.js")),
    ("/assets/chat.js", JS, include_str!("assets/chat.js")),
    ("/assets/todo.js", JS, include_str!("assets/todo.js")),
    ("/assets/ticker.js", JS, include_str!("assets/ticker.js")),
    ("/jobs", HTML, include_str!("assets/index.html")),
    ("/assets/jobs.js", JS, include_str!("assets/jobs.js")),
    ("/assets/history.js", JS, include_str!("assets/history.js")),
];

/// The page or asset at this path. The browser caches it, and revalidates
/// it each time.
pub fn find(request: &Request) -> Option<Response> {
    let (_, content_type, content) = TABLE.iter().find(|(path, ..)| *path == request.path)?;
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = format!("\"{:x}\"", hasher.finish());
    let known = request.header("if-none-match") == Some(&tag);
    let response = Response {
        status: if known { 304 } else { 200 },
        body: content.as_bytes().to_vec(),
        ..Response::default()
    };
    Some(
        response
            .with_header("Content-Type", *content_type)
            .with_header("Cache-Control", "no-cache")
            .with_header("ETag", tag),
    )
}
