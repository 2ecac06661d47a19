//! The tab History, in Chromium.

use super::{BANNER, MESSAGES, WithLog, live, no_complaints, say, url, with_log};
use crate::support::SOON;
use crate::support::browser::Browser;
use crate::support::history::say as say_to;
use crate::support::process::Signal;
use crate::support::tab::Tab;

const WORDS: &str = ".entries .words";

/// The numbers that are shown.
fn numbers(tab: &Tab) -> Vec<i64> {
    let numbers = tab
        .eval("[...document.querySelectorAll('.entries li')].map((e) => Number(e.dataset.number))");
    serde_json::from_value(numbers).expect("numbers")
}

fn keep(tab: &Tab, sender: &str, text: &str) {
    tab.fill("#history-sender", sender);
    tab.fill("#history-text", text);
    tab.press("Enter");
}

/// The table of senders, a row a line.
fn until_senders(tab: &Tab, rows: &str) {
    tab.until(&format!(
        "[...document.querySelectorAll('.senders tbody tr')].map((e) => e.innerText.replace(/\\s+/, ' ')).join(', ') === {rows:?}"
    ));
}

#[test]
fn what_anybody_sends_through_any_replica_appears_on_all_pages() {
    let WithLog {
        store: _store,
        replicas,
        console,
        server: _server,
    } = with_log(&[]);
    let browser = Browser::start();
    let [one, two] = [(); 2].map(|()| browser.open(&url(&console, "#history")));
    live(&one);
    one.shows(".empty", "The log is empty");
    keep(&one, "anna", "kept");
    two.shows(WORDS, "kept");
    keep(&two, "ben", "<b>text</b> stays text");
    one.shows(WORDS, "<b>text</b> stays text");
    say_to(replicas[1].port(), "anna", "through the other replica");
    for page in [&one, &two] {
        page.shows(WORDS, "through the other replica");
        assert_eq!(numbers(page), [1, 2, 3]);
        page.shows(".entries li:last-child .who", "message 2");
        page.shows(".entries time", ":");
        until_senders(page, "anna 2, ben 1");
        assert_eq!(page.count("main .words b"), 0);
    }
    assert_eq!(one.text("#history-text"), "");
    // What is refused stays in the field.
    keep(&one, "ben", "a");
    one.shows(WORDS, "a");
    one.eval("document.querySelector('#history-sender').removeAttribute('maxlength')");
    keep(&one, &"x".repeat(300), "too long a name");
    one.shows(".problem", "the limit is 256");
    one.until("document.querySelector('#history-text').value === 'too long a name'");
    no_complaints(&[&one, &two]);
}

#[test]
fn older_messages_are_paged_back_to_and_the_place_is_kept() {
    let WithLog {
        store: _store,
        replicas,
        console,
        server: _server,
    } = with_log(&[]);
    for n in 1..=250 {
        say_to(replicas[0].port(), "anna", &format!("number {n}"));
    }
    let browser = Browser::start();
    let page = browser.open(&url(&console, "#history"));
    page.shows(WORDS, "number 250");
    assert_eq!(numbers(&page), (151..=250).collect::<Vec<_>>());
    let place = "(() => { const s = document.querySelector('.log .scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight; })()";
    assert!(page.eval(place).as_f64().unwrap() < 5.0, "at the newest");
    page.eval("document.querySelector('.log .scroll').scrollTop = 0");
    page.click(".log > .scroll > .more");
    page.shows(WORDS, "number 51");
    let top = "document.querySelector('[data-number=\"151\"]').getBoundingClientRect().top";
    assert!(
        page.eval(top).as_f64().unwrap() > 0.0,
        "what one was reading is in view"
    );
    // What comes meanwhile does not take one away.
    let before = page.eval("document.querySelector('.log .scroll').scrollTop");
    say_to(replicas[1].port(), "anna", "number 251");
    page.until("document.querySelector('[data-number=\"251\"]')");
    assert_eq!(
        page.eval("document.querySelector('.log .scroll').scrollTop"),
        before
    );
    page.click(".log > .scroll > .more");
    page.until("document.querySelector('.log > .scroll > .more').hidden");
    assert_eq!(numbers(&page), (1..=251).collect::<Vec<_>>());
    no_complaints(&[&page]);
}

#[test]
fn a_page_outlives_the_log_and_has_no_hole_afterwards() {
    let WithLog {
        store,
        mut replicas,
        console,
        server: _server,
    } = with_log(&[]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "#history"));
    live(&page);
    keep(&page, "anna", "before");
    page.shows(WORDS, "before");
    let port = replicas[0].port().to_string();
    replicas[0].signal(Signal::KILL);
    replicas[0].wait_exit(SOON);
    page.shows(BANNER, "History does not answer since");
    page.shows("#state", "reconnecting");
    keep(&page, "anna", "kept for later");
    page.shows(".outbox .words", "kept for later");
    page.click("#tab-chat");
    live(&page);
    say(&page, "anna", "the chat goes on");
    page.shows(MESSAGES, "the chat goes on");
    page.click("#tab-history");
    for n in 2..=150 {
        say_to(replicas[1].port(), "ben", &n.to_string());
    }
    let _replica = store.replica(&["--http-port", &port], &[]);
    page.until("document.getElementById('banner').hidden");
    page.shows(WORDS, "150");
    page.click("#panel-history .outbox button");
    page.shows(WORDS, "kept for later");
    let shown = numbers(&page);
    let (first, last) = (shown[0], shown[shown.len() - 1]);
    assert_eq!(shown, (first..=151).collect::<Vec<_>>());
    assert_eq!(
        (first, last),
        (51, 151),
        "it starts anew rather than with a hole"
    );
    until_senders(&page, "ben 149, anna 2");
    no_complaints(&[&page]);
}
