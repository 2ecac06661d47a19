//! A page of another site in a real browser, which asks the bridge of the one who
//! looks at it.

use messenger::http::{Front, Limits, Request, Response};

use crate::support::browser::Browser;
use crate::support::http::{flush, seen};
use crate::support::programs::{Bridge, Server};
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually};

#[test]
fn a_foreign_page_in_a_browser_neither_empties_the_postbox_nor_writes_to_the_chat() {
    let server = Server::start(&[]);
    let bridge = Bridge::start(&server.address(), &[]);
    let page = |_: Request| Response {
        headers: vec![("Content-Type".into(), "text/html".into())],
        ..Response::text(200, "<!doctype html><p>foreign")
    };
    let site = Front::bind("127.0.0.1:0").unwrap();
    let site = site.serve(Limits::default(), vec![page], "site").unwrap();
    let browser = Browser::start();
    let port = site.local_addr().port();
    let time = send(&client(&server.address()), "a", "b");
    // Of another site than the bridge, and of the same one on another port.
    for host in ["localhost", "127.0.0.1"] {
        let tab = browser.open(&format!("http://{host}:{port}/"));
        for (path, body) in [
            ("getAndFlushMessages", ""),
            ("sendMessage", "{\"text\":\"x\"}"),
        ] {
            // It cannot see the answer, so what counts is what is left.
            let asked = tab.eval(&format!(
                "fetch('http://127.0.0.1:{}/{path}', {{method: 'POST', mode: 'no-cors', \
                 body: '{body}'}}).then((answer) => answer.type, (error) => String(error))",
                bridge.port()
            ));
            assert_eq!(asked, "opaque", "{host} {path}");
        }
    }
    eventually(SOON, "the message, and no other", || {
        flush(bridge.port()) == [seen("a", "b", time)]
    });
    assert_eq!(flush(bridge.port()), []);
}
