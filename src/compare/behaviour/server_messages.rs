//! Which messages a subscriber gets, in which order, with which times, and what
//! an author and a text may be.

use std::sync::atomic::{AtomicBool, Ordering};

use super::case::{Case, concurrently, words};
use super::check::Checks;
use super::trouble::{Tried, ensure, said};
use crate::fanout::clock::Timestamp;
use crate::status;

const ARRIVES: &str = "arrives as it was sent";
const REFUSED: &str = "INVALID_ARGUMENT, naming the limit";

pub fn add(list: &mut Checks) {
    list.title("Four senders at a time, three readers: all get everything, in the same order.");
    list.check("order", "all messages, in one order", |case| {
        let mut readers = [case.reader_at(0)?, case.reader_at(1)?, case.reader_at(2)?];
        let sent = case.tell_concurrently(4, 25)?;
        let got = readers[0].read_up()?;
        for reader in &mut readers[1..] {
            let alike = words(&reader.read_up()?) == words(&got);
            ensure(alike, "readers that see different things")?;
        }
        let (mut sent, mut got) = (words(&sent), words(&got));
        sent.sort_unstable();
        got.sort_unstable();
        ensure(got == sent, "other messages than were sent")
    });
    list.title("Four senders at a time: no sendTime repeats or falls.");
    list.check("rising-times", "strictly rising", |case| {
        let mut reader = case.reader()?;
        case.tell_concurrently(4, 50)?;
        let got = reader.read_up()?;
        let rising = got.is_sorted_by(|a, b| a.send_time < b.send_time);
        ensure(rising, "repeats or falls")
    });
    list.title("The sendTime in the answer is the one in the stream, to the nanosecond.");
    list.check("answer-time", "the same time", |case| {
        // Sent at the first one of several servers.
        let mut reader = case.reader_at(1)?;
        let sent = case.tell_concurrently(1, 20)?;
        ensure(reader.read_up()? == sent, "another time")
    });
    list.title("A sendTime is the wall clock's time.");
    list.check("time-now", "within a minute", |case| {
        let sent = case.tell("a", "b")?.send_time.nanos();
        let off = Timestamp::now().nanos().abs_diff(sent);
        ensure(off < 60_000_000_000, "further off")
    });
    list.title("A reader that comes later gets nothing from before.");
    list.check("no-history", "nothing", |case| {
        case.tell_concurrently(1, 3)?;
        ensure(case.reader()?.early.is_empty(), "old messages")
    });
    list.title("A reader that comes while messages are sent misses none from its first on.");
    list.check("late-joiner", "no gap", |case| {
        for _ in 0..10 {
            let numbers = join_late(case)?;
            ensure(numbers.is_sorted_by(|a, b| a + 1 == *b), "a gap")?;
        }
        Ok(())
    });
    list.title("Who reads and sends on one connection gets its own messages, too.");
    list.check("own-messages", "its own messages", |case| {
        let chat = case.chat()?;
        // Somebody else's markers.
        let mut reader = chat.reader(&case.chat()?)?;
        chat.send("a", "own")?;
        let got = reader.read_up()?;
        ensure(words(&got) == [("a", "own")], "only those of others")
    });
    list.title("Ten readers on one connection all get a message.");
    list.check("one-connection", "all of them", |case| {
        let chat = case.chat()?;
        // One by one: all at once, one might be live and show it for another.
        let readers = (0..10).map(|_| chat.reader(&chat));
        let readers = readers.collect::<Tried<Vec<_>>>()?;
        chat.send("a", "b")?;
        for mut reader in readers {
            let got = reader.read_up()?;
            ensure(words(&got).contains(&("a", "b")), "not all of them")?;
        }
        Ok(())
    });
    list.title("A reader that does nothing while 500 messages are sent gets them afterwards.");
    list.check("pause", "all of them", |case| {
        let mut reader = case.reader()?;
        // Together more than flow control lets through to a reader that does not
        // read, and less than a backlog.
        let sent = case.chat()?.send_each(0..500, &"x".repeat(12 << 10))?;
        let got = reader.read_up()?;
        let all = sent.iter().all(|message| got.contains(message));
        ensure(all, "not all of them")
    });
    let languages = ["анна", "Привет, 世界 \u{1f980} e\u{301}"];
    list.title("Author and text in any script, with characters of two to four bytes.");
    list.check("text-languages", ARRIVES, arrives(languages));
    let controls = ["\"\\", "\0\r\n\t/\u{7f}\u{2028} "];
    list.title("A text with quotes, line ends, control characters and a null character.");
    list.check("text-controls", ARRIVES, arrives(controls));
    list.title("No author and no text.");
    list.check("text-empty", ARRIVES, arrives(["", ""]));
    list.title("A text of 64 KiB.");
    list.check("text-64k", ARRIVES, arrives(["a", &x(64 << 10)]));
    list.title("The longest author and text, 256 B and 256 KiB.");
    list.check("text-256k", ARRIVES, arrives([&x(256), &x(256 << 10)]));
    let refused_text = refused(["a", &x(300 << 10)], "262144");
    list.title("A text of 300 KiB.");
    list.check("text-too-long", REFUSED, refused_text);
    list.title("An author of 257 B.");
    list.check("author-too-long", REFUSED, refused([&x(257), "b"], "256"));
}

/// Sends numbers without a pause, subscribes meanwhile, sends some more, and
/// returns those that came.
fn join_late(case: &Case) -> Tried<Vec<usize>> {
    let joined = AtomicBool::new(false);
    let send = || {
        let (chat, mut next, mut more) = (case.chat()?, 0, 20);
        while more > 0 {
            chat.send("number", &next.to_string())?;
            next += 1;
            more -= usize::from(joined.load(Ordering::Acquire));
        }
        chat.send("last", &next.to_string())?;
        Ok(Vec::new())
    };
    concurrently(2, |thread| {
        if thread == 0 {
            return send();
        }
        let mut reader = case.chat()?.subscribe()?;
        let mut message = reader.message();
        // Also after an error, or the sender would go on.
        joined.store(true, Ordering::Release);
        let mut numbers = Vec::new();
        loop {
            let next = message?;
            numbers.push(next.text.parse().unwrap_or(0));
            if next.author == "last" {
                return Ok(numbers);
            }
            message = reader.message();
        }
    })
}

fn x(count: usize) -> String {
    "x".repeat(count)
}

/// Author and text of a message that is to arrive.
fn arrives(message: [&str; 2]) -> impl Fn(&Case) -> Tried + use<> {
    let [author, text] = message.map(str::to_owned);
    move |case| {
        let mut reader = case.reader()?;
        case.tell(&author, &text)?;
        let got = reader.read_up()?;
        ensure(!got.is_empty(), "never arrives")?;
        ensure(words(&got) == [(&*author, &*text)], "arrives otherwise")
    }
}

/// Author and text of one that is not, and what the error has to name.
fn refused(message: [&str; 2], limit: &'static str) -> impl Fn(&Case) -> Tried + use<> {
    let [author, text] = message.map(str::to_owned);
    move |case| {
        let mut reader = case.reader()?;
        let Err(error) = case.chat()?.send(&author, &text) else {
            return said("accepted");
        };
        ensure(reader.read_up()?.is_empty(), "refused, and on the stream")?;
        let code = status::name(error.code);
        ensure(error.message.contains(limit), code)?;
        case.sees(format!("{code}, naming the limit"))
    }
}
