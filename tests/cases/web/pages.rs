//! What two people see of each other, in Chromium.

use super::{
    DONE, MESSAGES, OPEN, add_symbol, add_task, both, complete, live, no_complaints, say, url,
};
use crate::support::browser::Browser;

#[test]
fn two_tabs_see_each_others_chat_tasks_and_ticks() {
    let (_server, console) = both(&["--ticker-interval", "300ms"]);
    let browser = Browser::start();
    let [one, two] = ["?symbols=AAPL#chat", "?symbols=AAPL,MSFT#chat"]
        .map(|rest| browser.open(&url(&console, rest)));
    live(&one);
    live(&two);
    say(&one, "anna", "Hello, is anybody there?");
    two.shows(MESSAGES, "Hello, is anybody there?");
    two.shows(".who", "anna");
    one.shows(".mine .text", "Hello, is anybody there?");
    say(&two, "ben", "Yes.\tПривет 你好");
    one.shows(MESSAGES, "Привет 你好");
    assert_eq!((one.count(MESSAGES), two.count(MESSAGES)), (2, 2));

    one.click("#tab-todo");
    two.click("#tab-todo");
    add_task(&one, "Water the plants");
    add_task(&two, "Feed the cat");
    one.shows(OPEN, "Feed the cat");
    complete(&two, "Water the plants");
    one.shows(DONE, "Water the plants");
    two.shows(".count", "1 of 2 done");
    one.shows(".count", "1 of 2 done");

    // The same step has the same price on both.
    one.click("#tab-ticker");
    two.click("#tab-ticker");
    let quote = "[data-symbol=AAPL] .price";
    one.until(&format!("document.querySelector('{quote}').innerText"));
    let points = "document.querySelector('.chart[data-symbol=AAPL]').dataset.points >= 4";
    one.until(points);
    two.until(points);
    let path =
        "document.querySelector('.chart[data-symbol=AAPL] .curve').getAttribute('d').length > 20";
    one.until(path);
    assert_eq!((one.count(".chart"), two.count(".chart")), (1, 2));

    // A message is counted where the chat is not in view.
    two.click("#tab-chat");
    say(&two, "ben", "Look at the ticker.");
    one.shows("#tab-chat .badge", "1");
    assert_eq!(one.eval("document.title"), "(1) messenger");
    one.click("#tab-chat");
    one.until("document.querySelector('#tab-chat .badge').hidden");
    no_complaints(&[&one, &two]);
}

#[test]
fn what_people_write_stays_text() {
    let (_server, console) = both(&[]);
    let browser = Browser::start();
    let [one, two] = [(); 2].map(|()| browser.open(&url(&console, "")));
    let evil = "<img src=x onerror=\"window.ran=1\"><script>window.ran=1</script>&amp;";
    say(&one, "<b>anna</b>", evil);
    two.shows(MESSAGES, evil);
    two.shows(".who", "<b>anna</b>");
    two.click("#tab-todo");
    one.click("#tab-todo");
    add_task(&one, evil);
    two.shows(OPEN, evil);
    complete(&two, evil);
    one.shows(DONE, evil);
    // A task that was there before the page.
    let three = browser.open(&url(&console, "#todo"));
    three.shows(DONE, evil);
    for tab in [&one, &two, &three] {
        assert_eq!(tab.count("main img, main script, main b b"), 0);
        assert_eq!(tab.eval("typeof window.ran"), "undefined");
        // And if a script of ours tried to, the policy would not let it.
        let refused = tab.eval(
            "(() => { try { document.body.innerHTML = '<b>'; return false; } catch { return true; } })()",
        );
        assert_eq!(refused, true);
    }
}

#[test]
fn symbols_come_and_go_and_are_remembered() {
    let (_server, console) = both(&["--ticker-interval", "100ms"]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "?symbols=AAPL#ticker"));
    add_symbol(&page, "BRK/B, Сбер A&B%41 NVDA");
    page.until("document.querySelectorAll('.chart[data-points]').length === 5");
    page.until("document.querySelector('.chart[data-symbol=NVDA]').dataset.points >= 1");
    let number = |kind: &str| page.text(&format!("[data-symbol=NVDA] .{kind}"));
    let volume = number("volume");
    assert!(volume.contains(','), "separators in {volume}");
    assert!(number("percent").ends_with(" %"), "{}", number("percent"));
    assert!(
        number("change").contains(['+', '-', '−']),
        "{}",
        number("change")
    );
    let long = "L".repeat(33);
    add_symbol(&page, &long);
    page.shows(".problem", &long);
    page.click("[aria-label='Remove AAPL']");
    page.until("document.querySelectorAll('.chart').length === 4");
    let search = page.eval("location.search");
    let search = search.as_str().expect("a query").to_owned();
    assert_eq!(
        search,
        "?symbols=BRK%2FB,%D0%A1%D0%B1%D0%B5%D1%80,A%26B%2541,NVDA"
    );
    // The address says which they are; without one, the page knows its own.
    let [same, again] = [search + "#ticker", "#ticker".into()].map(|at| {
        let page = browser.open(&url(&console, &at));
        page.until("document.querySelectorAll('.chart[data-points]').length === 4");
        for symbol in ["BRK/B", "Сбер", "A&B%41", "NVDA"] {
            page.shows("tbody th", symbol);
        }
        page
    });
    no_complaints(&[&page, &same, &again]);
}

#[test]
fn a_server_without_a_service_has_no_tab_for_it() {
    let (_server, console) = both(&["--services", "chat,todo"]);
    let browser = Browser::start();
    let page = browser.open(&url(&console, "#ticker"));
    live(&page);
    page.until("document.getElementById('tab-ticker').hidden");
    page.until("!document.getElementById('panel-chat').hidden");
    say(&page, "anna", "still here");
    page.shows(MESSAGES, "still here");
    page.eval("document.getElementById('tab-chat').focus()");
    page.press("ArrowLeft");
    assert_eq!(page.focus(), "tab-todo", "round, past what is not there");
    no_complaints(&[&page]);
}
