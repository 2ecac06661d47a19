//! `/livez` and `/readyz`, in the form of etcd and Kubernetes: 200 or 503, with
//! `?verbose` a line for each check.
//!
//! It must not know what is checked. A lane runs it.

use super::message::{Request, Response};
use crate::readiness::{Checked, Readiness};

/// The paths that [`answer`] answers.
const PATHS: [&str; 2] = ["/livez", "/readyz"];

/// The answer to one of [`PATHS`].
fn answer(readiness: &Readiness, request: &Request) -> Response {
    if !matches!(&*request.method, "GET" | "HEAD") {
        return Response::wrong_method("GET, HEAD");
    }
    let checks = match &*request.path {
        "/livez" => vec![("ping", Ok(()))],
        _ => readiness.look(),
    };
    let well = checks.iter().all(|(_, checked)| checked.is_ok());
    let mut text = String::new();
    if !well || request.query.split('&').any(|it| it == "verbose") {
        text = checks.iter().map(line).collect();
    }
    let name = request.path.trim_start_matches('/');
    let (status, last) = if well {
        (200, "ok".into())
    } else {
        (503, format!("{name} check failed"))
    };
    Response::text(status, format!("{text}{last}\n")).with_header("Cache-Control", "no-store")
}

fn line((name, checked): &(&str, Checked)) -> String {
    match checked {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(reason) => format!("[-]{name} failed: {reason}\n"),
    }
}

/// A handler that also answers [`PATHS`], and notes how writes go: of a POST, 5xx is
/// a failure, except that this server has no such method.
pub(super) fn with<H>(
    readiness: Readiness,
    mut handler: H,
) -> impl FnMut(Request) -> Response + Send
where
    H: FnMut(Request) -> Response + Send,
{
    move |request| {
        if PATHS.contains(&&*request.path) {
            return answer(&readiness, &request);
        }
        let writes = request.method == "POST";
        let response = handler(request);
        match response.status {
            200..300 if writes => readiness.wrote(Ok(())),
            status @ (500 | 502..) if writes => {
                readiness.wrote(Err(format!("a POST was answered with {status}")));
            }
            _ => {}
        }
        response
    }
}
