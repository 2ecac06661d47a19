//! Pages by keyboard alone and on a phone, and their pictures.

use serde_json::json;

use super::{
    DONE, MESSAGES, OPEN, add_task, both, call, complete, live, no_complaints, url, with_log,
};
use crate::support::browser::{Browser, Look};
use crate::support::history::say as say_to;

#[test]
fn everything_works_with_the_keyboard_alone() {
    let (_server, console) = both(&["--ticker-interval", "100ms"]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "?symbols=AAPL,MSFT"));
    live(&page);
    let tab = || page.press("Tab");
    tab();
    assert_eq!(page.focus(), "tab-chat", "one stop for all tabs");
    tab();
    assert_eq!(page.focus(), "Messages");
    tab();
    assert_eq!(page.focus(), "chat-name");
    page.write("anna");
    tab();
    page.write("first line");
    page.press_with("Enter", 8);
    page.write("second line");
    page.press("Enter");
    page.shows(MESSAGES, "first line\nsecond line");
    assert_eq!(page.focus(), "chat-text", "to write on");
    page.press("Enter");
    assert_eq!(page.count(MESSAGES), 1, "nothing is not sent");

    for _ in 0..3 {
        page.press_with("Tab", 8);
    }
    assert_eq!(page.focus(), "tab-chat");
    page.press("ArrowRight");
    assert_eq!(page.focus(), "tab-todo");
    // The role of a log is not the list's, or its rows would be rows of nothing.
    let logs = page.count("[role=log] ol.messages") + page.count("[role=log] ol.entries");
    assert_eq!((logs, page.count("ol[role], ul[role]")), (2, 0));
    tab();
    assert_eq!(page.focus(), "todo-title");
    for title in ["one", "two"] {
        page.write(title);
        page.press("Enter");
        page.shows(OPEN, title);
    }
    tab();
    tab();
    assert!(page.focus().starts_with("one"), "{}", page.focus());
    page.press(" ");
    page.shows(DONE, "one");
    assert!(
        page.focus().starts_with("two"),
        "the next task, not the start of the page: {}",
        page.focus()
    );

    page.eval("document.getElementById('tab-todo').focus()");
    page.press("End");
    assert_eq!(page.focus(), "tab-ticker");
    page.press("ArrowRight");
    assert_eq!(page.focus(), "tab-chat", "round");
    page.press("ArrowLeft");
    tab();
    assert_eq!(page.focus(), "ticker-symbol");
    page.write("NVDA");
    page.press("Enter");
    page.shows("tbody th", "NVDA");
    tab();
    tab();
    assert_eq!(page.focus(), "Remove AAPL");
    page.press("Enter");
    page.until("!document.querySelector('[data-symbol=AAPL]')");
    assert_eq!(page.focus(), "Remove MSFT");
    let ring = page.eval("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(ring, "solid", "one sees where one is");
    no_complaints(&[&page]);
}

#[test]
fn it_fits_a_phone_and_has_its_picture_taken() {
    let log = with_log(&["--ticker-interval", "60ms", "--ticker-seed", "7"]);
    let console = &log.console;
    let browser = Browser::start();
    let look = |size, phone, scheme| Look {
        size,
        phone,
        scheme,
    };
    let looks = [
        ("light", look((1200, 820), false, "light")),
        ("dark", look((1200, 820), false, "dark")),
        ("phone", look((360, 740), true, "light")),
        ("phone-dark", look((360, 740), true, "dark")),
    ];
    let pages = looks.map(|(name, look)| {
        let page = browser.open_as(&url(console, "?symbols=AAPL,GOOGL,MSFT"), &look);
        live(&page);
        page.fill("#chat-name", "you");
        (name, page)
    });
    let (_, first) = &pages[0];
    for (name, text) in [
        ("anna", "Good morning! Is the staging server back?"),
        ("ben", "For ten minutes now."),
        ("ben", "The deploy took 41 s this time."),
        (
            "Zoë",
            "Привет! <img src=x onerror=alert(1)> stays text here.",
        ),
        ("you", "Nice. I put the release notes on the list."),
        (
            "anna",
            "Two questions:\n  1. does the ticker keep its beat?\n  2. who takes https://example.org/a/rather/long/address/that/has/to/break/somewhere?",
        ),
    ] {
        let answer = call(
            console.port(),
            "/api/chat",
            &json!({"author": name, "text": text}),
        );
        assert_eq!(answer.status, 200, "{}", answer.body);
        first.shows(MESSAGES, text);
    }
    first.click("#tab-todo");
    for title in [
        "Write the release notes",
        "Rotate the keys of the staging server",
        "Ask Zoë about the translation of the second page, whose title is too long for one line of a phone",
        "Buy-a-lot-of-coffee-without-any-space-in-the-name-of-the-thing",
        "Book the room",
    ] {
        add_task(first, title);
    }
    complete(first, "Write the release notes");
    complete(first, "Book the room");
    for n in 0..30 {
        let sender = ["anna", "ben", "Zoë", "the-build-server-of-the-second-floor"][n * 7 % 13 % 4];
        let text = [
            "Deployed 4.2.1 to staging in 41 s.",
            "Backup done: 18.4 GiB, no errors.",
            "Two questions:\n  1. is this kept?\n  2. https://example.org/a/rather/long/address/that/has/to/break/somewhere?",
        ][n % 3];
        say_to(log.replicas[n % 2].port(), sender, text);
    }
    for (name, page) in &pages {
        for (tab, ready) in [
            (
                "chat",
                "document.querySelectorAll('.messages .text').length === 6",
            ),
            (
                "todo",
                "document.querySelectorAll('.tasks.done li').length === 2",
            ),
            (
                "ticker",
                "document.querySelector('.chart').dataset.points >= 120",
            ),
            (
                "history",
                "document.querySelectorAll('.entries li').length === 30",
            ),
        ] {
            page.click(&format!("#tab-{tab}"));
            page.until(ready);
            page.screenshot(&format!("{tab}-{name}"));
            let wide = page.eval(
                "[document.documentElement, ...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length",
            );
            assert_eq!(wide, 0, "{tab} on {name} scrolls sideways");
        }
        no_complaints(&[page]);
    }
}
