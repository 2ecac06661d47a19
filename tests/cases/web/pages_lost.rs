//! Pages whose server or console goes away and comes back.

use std::time::Duration;

use super::{BANNER, DONE, MESSAGES, OPEN, add_task, complete, live, no_complaints, say, url};
use crate::support::SOON;
use crate::support::browser::Browser;
use crate::support::process::Signal;
use crate::support::programs::{Console, Server, free_port};

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
    page.screenshot("reconnecting");
    say(&page, "anna", "into the void");
    page.shows(".problem", "");
    page.until("document.querySelector('#chat-text').value === 'into the void'");

    let _server = Server::start_on(port, &flags);
    page.until("document.getElementById('banner').hidden");
    live(&page);
    page.shows(".gap", "Messages may be missing here");
    page.press("Enter");
    page.shows(MESSAGES, "into the void");
    page.click("#tab-todo");
    page.shows(OPEN, "Kept");
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
