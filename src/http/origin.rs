//! Which web pages may ask: only those that came from here.
//!
//! Owns the rules against other sites' pages, as a pure function of a head. A
//! browser says where a request comes from; curl and programs say nothing, and
//! nothing changes for them. It must not know sockets. A connection's thread runs
//! it, before any handler hears of the request.
//!
//! Source: <https://www.w3.org/TR/fetch-metadata/>,
//! <https://www.rfc-editor.org/rfc/rfc6454>

use std::net::IpAddr;

use super::head::Head;
use super::refusal::Refusal;

/// `local` is the address that the client has reached, `allowed` are the names
/// besides localhost that may stand for a loopback address.
pub(super) fn check(head: &Head, local: IpAddr, allowed: &[String]) -> Result<(), Refusal> {
    let host = head.host.as_deref();
    // A foreign name that was pointed at this machine would make its page one of
    // ours (DNS rebinding).
    if local.to_canonical().is_loopback() && host.is_some_and(|host| !is_local(host, allowed)) {
        let message = "Host: has to be localhost, an IP address or a name given by --allow-host";
        return Err(Refusal::new(421, message));
    }
    let is = |name: &str, value: &str| {
        let mut named = head
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.any(|(_, v)| v.eq_ignore_ascii_case(value))
    };
    // A link that somebody follows opens a page of its own, which the other one
    // cannot read.
    let follows_link = matches!(&*head.method, "GET" | "HEAD")
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document");
    if is("sec-fetch-site", "cross-site") && !follows_link {
        return Err(Refusal::new(
            403,
            "Sec-Fetch-Site: other sites' pages may not ask",
        ));
    }
    let fields = head.headers.iter();
    let mut origins = fields.filter(|(name, _)| name.eq_ignore_ascii_case("origin"));
    if origins.any(|(_, origin)| !host.is_some_and(|host| is_same(origin, host))) {
        return Err(Refusal::new(403, "Origin: has to be the site of Host"));
    }
    Ok(())
}

/// Whether a Host names this machine.
fn is_local(host: &str, allowed: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_address = match name.strip_prefix('[') {
        Some(v6) => v6.trim_end_matches(']').parse::<IpAddr>().is_ok(),
        None => name.parse::<IpAddr>().is_ok(),
    };
    is_address
        || name == "localhost"
        || name.ends_with(".localhost")
        || allowed
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

/// Whether host and port are the same; the scheme may be a proxy's.
fn is_same(origin: &str, host: &str) -> bool {
    let (origin, host) = (origin.to_ascii_lowercase(), host.to_ascii_lowercase());
    let (authority, default) = match origin.split_once("://") {
        Some(("http", authority)) => (authority, ":80"),
        Some(("https", authority)) => (authority, ":443"),
        _ => return false,
    };
    let bare = |authority: &str| {
        authority
            .strip_suffix(default)
            .unwrap_or(authority)
            .to_owned()
    };
    bare(authority) == bare(&host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Limits;
    use crate::http::head::parse;

    #[test]
    fn foreign_names_are_refused_on_loopback_addresses_only() {
        let text = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        let head = parse(text, &Limits::default()).unwrap().unwrap();
        for (local, answered) in [
            ("127.9.9.9", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("10.0.0.1", true),
            ("fd00::1", true),
        ] {
            let checked = check(&head, local.parse().unwrap(), &[]);
            assert_eq!(checked.is_ok(), answered, "{local}");
        }
    }
}
