//! Pages whose server or console goes away and comes back.

use std::time::Duration;

use super::{
    BANNER, DONE, MESSAGES, OPEN, add_task, both, complete, live, no_complaints, say, url,
};
use crate::support::SOON;
use crate::support::browser::Browser;
use crate::support::process::Signal;
use crate::support::programs::{Console, Python, Server, free_port};

#[test]
fn a_page_says_that_the_server_is_gone_and_recovers_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let flags = [
        "--ticker-interval",
        "200ms",
        "--data-dir",
        folder.path().to_str().unwrap(),
    ];
    let mut server = Server::start_on(port, &flags);
    let console = Console::start(&server.address(), &[]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "?symbols=AAPL#todo"));
    live(&page);
    add_task(&page, "Kept");
    add_task(&page, "Done before");
    complete(&page, "Done before");
    page.shows(DONE, "Done before");
    page.click("#tab-chat");
    say(&page, "anna", "before");
    page.shows(MESSAGES, "before");

    server.signal(Signal::KILL);
    server.wait_exit(SOON);
    page.shows(BANNER, "The server does not answer since");
    page.shows("#state", "reconnecting");
    say(&page, "anna", "into the void");
    page.shows(".outbox .words", "into the void");
    page.shows(".outbox .said", "The service is not available.");
    page.screenshot("reconnecting");
    // Each tab keeps what it could not send, and one may go on writing.
    page.eval("document.querySelector('#chat-text').value = 'a draft'");
    page.click("#tab-todo");
    add_task(&page, "Not lost");
    page.shows(".outbox .words", "Not lost");
    page.click("#tab-chat");

    let _server = Server::start_on(port, &flags);
    page.until("document.getElementById('banner').hidden");
    live(&page);
    page.shows(".gap", "Messages may be missing here");
    page.shows(".outbox .said", "not known to have arrived");
    page.click("#panel-chat .outbox button");
    page.shows(MESSAGES, "into the void");
    page.until("!document.querySelector('#panel-chat .outbox li')");
    assert_eq!(
        page.eval("document.querySelector('#chat-text').value"),
        "a draft"
    );
    page.click("#tab-todo");
    page.shows(OPEN, "Kept");
    page.eval("document.querySelector('#panel-todo .outbox button:last-child').focus()");
    page.press("Enter");
    page.until("!document.querySelector('#panel-todo .outbox li')");
    assert_eq!(page.focus(), "todo-title");
    assert_eq!((page.count(OPEN), page.count(DONE)), (1, 1));
    add_task(&page, "New");
    page.shows(OPEN, "New");
    page.click("#tab-ticker");
    let points = page.eval("Number(document.querySelector('.chart').dataset.points)");
    page.until(&format!(
        "document.querySelector('.chart').dataset.points > {points}"
    ));
    no_complaints(&[&page]);
}

#[test]
fn a_server_that_hangs_is_told_in_words_and_forgotten_when_it_is_back() {
    let (server, console) = both(&[]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "#todo"));
    live(&page);
    server.stop();
    add_task(&page, "Slow");
    page.shows(".outbox .said", "Sending…");
    page.shows(".outbox .said", "There was no answer in time.");
    page.shows("#state", "reconnecting");
    server.signal(Signal::CONT);
    live(&page);
    // It had arrived, or has to be sent again.
    page.until(
        "(() => {
            const row = document.querySelector('.outbox li');
            if (row?.innerText.includes('not known')) row.querySelector('button').click();
            return !row;
        })()",
    );
    page.shows(OPEN, "Slow");
    assert_eq!(page.count(OPEN), 1);
    no_complaints(&[&page]);
}

#[test]
fn each_tab_says_since_when_it_has_no_news() {
    let server = Python::ticker_server("300");
    let console = Console::start(&server.address(), &[]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "?symbols=A#ticker"));
    page.until("document.querySelector('.chart').dataset.points >= 1");
    live(&page);
    page.shows("#state", "no news since");
    page.until("document.getElementById('tab-ticker').classList.contains('down')");
    no_complaints(&[&page]);
}

#[test]
fn a_page_outlives_the_console_too() {
    let server = Server::start(&[]);
    let port = free_port();
    let mut console = Console::start_on(port, &server.address(), &[]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, ""));
    live(&page);
    say(&page, "anna", "before");
    page.shows(MESSAGES, "before");
    console.signal(Signal::KILL);
    console.wait_exit(SOON);
    page.shows(BANNER, "The console cannot be reached");
    let console = Console::start_on(port, &server.address(), &[]);
    page.until("document.getElementById('banner').hidden");
    page.shows(".gap", "Messages may be missing here");
    say(&page, "anna", "after");
    page.shows(MESSAGES, "after");
    assert_eq!(page.count(MESSAGES), 2);
    // An end in order is no different for a page.
    let mut console = console;
    console.signal(Signal::TERM);
    assert_eq!(console.wait_exit(Duration::from_secs(3)), 0);
    page.shows(BANNER, "The console cannot be reached");
}
