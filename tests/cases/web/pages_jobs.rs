//! The tab Jobs, in Chromium, with the demo's embedded queue and worker.

use serde_json::json;

use super::{JSON, call, live, no_complaints, url};
use crate::support::SOON;
use crate::support::browser::{Browser, Look};
use crate::support::http::request;
use crate::support::jobs::Place;
use crate::support::process::{Process, Signal};
use crate::support::programs::{Console, Server, free_port, messenger};

/// A demo in this folder, and the console's port.
fn demo(folder: &str) -> (Process, u16) {
    let flags = [
        "--port",
        "--also-port",
        "--http-port",
        "--web-port",
        "--history-port",
    ];
    let ports = flags.map(|flag| [flag, "0"]).concat();
    let demo = messenger(&[&["demo", "--data-dir", folder], ports.as_slice()].concat());
    let port = loop {
        let line = demo.line(SOON).expect("the console's address");
        if let Some(address) = line.strip_prefix("web console") {
            break address.rsplit(':').next().unwrap().parse().unwrap();
        }
    };
    demo.wait_for_line(SOON, "Ctrl-C");
    (demo, port)
}

#[test]
fn all_of_a_job_is_shown_whatever_its_id() {
    let place = Place::embedded();
    let server = Server::start(&[]);
    let worker = place.work(&server.address(), &[]);
    let folder = place.folder();
    let console = Console::start(&server.address(), &["--jobs", "--data-dir", &folder]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "jobs"));
    live(&page);
    for id in ["a:1/2 b", "50%2F+&id=x#?", "Ж\\\""] {
        place.publish(id, &format!("{id} {}", "word ".repeat(100)));
        let all = format!(".jobs tr[data-id={}] .all", json!(json!(id).as_str()));
        let all = json!(all);
        page.until(&format!("document.querySelector({all})"));
        page.eval(&format!("document.querySelector({all}).click()"));
        page.until("document.querySelector('dialog').open");
        page.shows("dialog pre", &format!("{id} word word"));
        page.click("dialog button");
        page.until("!document.querySelector('dialog').open");
    }
    // While nobody answers.
    drop(worker);
    let nobody = format!("127.0.0.1:{}", free_port());
    let _worker = place.work(&nobody, &[]);
    place.publish("waits", "fact:7");
    page.shows(".jobs tr[data-id=waits]", "queued, tried again");
    page.shows(".jobs tr[data-id=waits] .outcome", "UNAVAILABLE");
    page.shows(".depth", "0 dead · 1 tried again");
    no_complaints(&[&page]);
}

#[test]
fn tasks_are_sent_and_their_results_appear_on_all_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut demo, port) = demo(folder.path().to_str().unwrap());
    let browser = Browser::start();
    let [one, two] = [(); 2].map(|()| browser.open(&format!("http://localhost:{port}/jobs")));
    live(&one);
    one.shows(".depth", "0 waiting · 1 consumer · 0 dead");
    one.fill(
        "#jobs-tasks",
        "user42, fact:6,freq:abracadabra ,fact:-1,, fact:1000, freq:x\\,x",
    );
    one.press("Enter");
    for page in [&one, &two] {
        page.until("document.querySelectorAll('.jobs tbody tr[data-state=done]').length === 5");
        page.shows(".jobs .outcome", "720");
        page.shows(".jobs .outcome", "a 5");
        page.shows(".jobs th", "freq:x,x");
        page.shows("[data-state=failed] th", "fact:-1");
        page.shows(".jobs .outcome", "(2568 characters)");
    }
    assert_eq!(one.eval("location.pathname + location.hash"), "/jobs");
    // A big result is there as a whole.
    one.click(".jobs .all");
    one.until("document.querySelector('dialog pre').innerText.length > 2568");
    one.shows("dialog pre", "402387260077093773543702433923");
    one.click("dialog button");
    // Those in one state.
    two.eval("(() => { const s = document.querySelector('#jobs-state'); s.value = 'failed'; s.dispatchEvent(new Event('change')); })()");
    two.until("document.querySelectorAll('.jobs tbody tr').length === 1");
    two.shows(".jobs th", "fact:-1");
    for (name, size, phone, scheme) in [
        ("light", (1200, 820), false, "light"),
        ("phone-dark", (360, 740), true, "dark"),
    ] {
        let look = Look {
            size,
            phone,
            scheme,
        };
        let page = browser.open_as(&format!("http://localhost:{port}/jobs"), &look);
        page.until("document.querySelectorAll('.jobs tbody tr').length === 6");
        page.screenshot(&format!("jobs-{name}"));
        let wide = page.eval("[document.documentElement, ...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length");
        assert_eq!(wide, 0, "{name} scrolls sideways");
    }
    no_complaints(&[&one, &two]);

    for body in [
        json!({}),
        json!({"tasks": []}),
        json!({"tasks": [1]}),
        json!({"tasks": ["a"], "b": 1}),
        json!({"tasks": ["a", " ,"]}),
        json!({"tasks": ["a,".repeat(600), "a,".repeat(600)]}),
    ] {
        assert_eq!(call(port, "/api/jobs/send", &body).status, 400, "{body}");
    }
    let sent = call(port, "/api/jobs/send", &json!({"tasks": ["a, b", "c"]}));
    let sent: serde_json::Value = serde_json::from_str(&sent.body).unwrap();
    let ids = sent["ids"].as_array().unwrap();
    let numbered = |id: &serde_json::Value, number| id.as_str().unwrap().ends_with(number);
    assert!(
        ids.len() == 3 && numbered(&ids[0], ".1") && numbered(&ids[1], ".2"),
        "{ids:?}"
    );
    let get = |path: &str| request("GET", port, path, &[JSON], "").status;
    assert_eq!(get("/api/jobs?state=lost"), 400);
    assert_eq!(get("/api/jobs?id=nobody"), 404);
    demo.signal(Signal::INT);
    assert_eq!(demo.wait_exit(SOON), 0);
}
