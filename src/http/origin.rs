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
use super::message::Refusal;

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

    const LOOPBACK: &str = "127.0.0.1";

    fn status(local: &str, line: &str, fields: &str) -> u16 {
        let text = format!("{line} HTTP/1.1\r\n{fields}\r\n");
        let head = parse(text.as_bytes(), &Limits::default()).unwrap().unwrap();
        let checked = check(&head, local.parse().unwrap(), &["chat.example".into()]);
        checked.map_or_else(|refusal| refusal.status, |()| 200)
    }

    #[test]
    fn only_names_of_this_machine_are_answered_on_its_loopback_addresses() {
        for (host, expected) in [
            ("localhost", 200),
            ("LOCALHOST:8090", 200),
            ("localhost.", 200),
            ("a.b.localhost:1", 200),
            ("127.0.0.1:1", 200),
            ("10.0.0.1", 200),
            ("[::1]:8090", 200),
            ("[::1]", 200),
            ("Chat.Example:80", 200),
            ("evil.example", 421),
            ("localhost.evil.example:80", 421),
            ("evillocalhost", 421),
            ("127.0.0.1.nip.io", 421),
            ("0x7f000001", 421),
        ] {
            let fields = format!("Host: {host}\r\n");
            for local in [LOOPBACK, "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
                assert_eq!(status(local, "GET /", &fields), expected, "{host}");
            }
            // Elsewhere it has whatever name it has there.
            assert_eq!(status("10.0.0.1", "GET /", &fields), 200, "{host}");
        }
        // The target's own authority is what counts.
        let line = "GET http://evil.example/";
        assert_eq!(status(LOOPBACK, line, "Host: localhost\r\n"), 421);
    }

    #[test]
    fn an_origin_has_to_be_the_site_itself() {
        for (origin, host, expected) in [
            ("http://h:8080", "h:8080", 200),
            ("http://H", "h:80", 200),
            ("http://h:80", "h", 200),
            ("https://h", "h", 200),
            ("https://h", "h:443", 200),
            ("https://h:8443", "h:8443", 200),
            ("http://[::1]:80", "[::1]", 200),
            ("null", "h", 403),
            ("", "h", 403),
            ("http://h", "h:8080", 403),
            ("http://h:8081", "h:8080", 403),
            ("https://h", "h:80", 403),
            ("http://evil.example", "h", 403),
            ("http://h.evil.example", "h", 403),
            ("h", "h", 403),
            ("chrome-extension://h", "h", 403),
        ] {
            let fields = format!("Host: {host}\r\nOrigin: {origin}\r\n");
            assert_eq!(status("10.0.0.1", "POST /", &fields), expected, "{origin}");
        }
        let twice = "Host: h\r\nOrigin: http://h\r\nOrigin: http://evil.example\r\n";
        assert_eq!(status("10.0.0.1", "POST /", twice), 403);
    }

    #[test]
    fn other_sites_pages_are_refused_but_a_link_may_be_followed() {
        for (line, fields, expected) in [
            ("GET /", "Sec-Fetch-Site: cross-site", 403),
            ("GET /", "Sec-Fetch-Site: same-origin", 200),
            ("GET /", "Sec-Fetch-Site: none", 200),
            ("GET /", "Sec-Fetch-Site: same-site", 200),
            (
                "GET /",
                "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
                200,
            ),
            (
                "GET /",
                "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe",
                403,
            ),
            (
                "POST /",
                "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document",
                403,
            ),
        ] {
            let fields = format!("Host: localhost\r\n{fields}\r\n");
            assert_eq!(status(LOOPBACK, line, &fields), expected, "{line} {fields}");
        }
    }
}
