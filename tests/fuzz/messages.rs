//! The requests of all methods, as grpcio gives them to us: decoded as a handler gets
//! them, and held against the rules that the handler goes by. `calls` is the same from
//! outside, and slower.

use grpcio::{GrpcSlice, MessageReader, Method};
use messenger::chat::message::Limits;
use messenger::chat::wire::{Cursor, SubscribeRequest};
use messenger::error::Error;
use messenger::fanout::clock::Timestamp;
use messenger::generated::reflection::ServerReflectionRequest;
use messenger::grpc::health::wire as health;
use messenger::grpc::method::unary;
use messenger::jobs::{task, wire as jobs};
use messenger::ticker::market::{Market, Symbol};
use messenger::todo::list::{Limits as TodoLimits, TaskList};
use messenger::{chat, ticker, todo};
use protobuf::well_known_types::empty::Empty;
use protobuf::{Message as _, MessageField, MessageFull};

use super::driver::{Target, one_by_one, plain};

/// The first byte says which method.
pub const TARGET: Target = Target {
    name: "grpc-messages",
    start: || one_by_one(judge),
    words: WORDS,
    longest: 3000,
    together: 1,
};

pub const WORDS: &str = "\x0a\x03abc|\x12\x03abc|\x0a\0|\x0a\x7f|\x08\x01|\x08\x05|\x10\x01|\x1a\x02\x08\x01\
         |\x1a\x13fin.proto|\x22\x0bStockTicker|\x2a\x06\x0a\x02ab\x10\x01|\x32\x02ab|\x3a\0\
         |\x0a\x11\x0a\x03abc\x12\x0a\x08\x01\x10\x7f|\x0b\x0c|\x0a\x19mes_grpc.MessengerServer|\x78\x01|\x7d\x01\x02\x03\x04|\x01\
         |\u{7f}\u{7f}|AAPL|é|\x08\x7f|\n\u{c}Hello, World";

fn decode<Q, A>(method: &Method<Q, A>, pieces: &[GrpcSlice]) -> Option<Q> {
    (method.req_de())(MessageReader::new(pieces.into())).ok()
}

/// What a handler gets, whatever the pieces are in which it came, and what it says to it.
///
/// rust-protobuf 3.7.2 takes a number of 32 bits in more than five bytes if it does not
/// lie in its buffer as a whole, and refuses it if it does. Nobody writes such numbers.
fn check<Q: MessageFull, A>(
    method: &Method<Q, A>,
    input: &[u8],
    answer: impl FnOnce(&Q) -> Result<(), Error>,
) -> String {
    let whole = decode(method, &[input.into()]);
    let (first, second) = input.split_at(input.len() / 2);
    let others = [
        decode(method, &[first.into(), second.into()]),
        Q::parse_from_bytes(input).ok(),
    ];
    let written = |it: &Option<Q>| it.as_ref().map(|it| it.compute_size() as usize);
    for other in &others {
        let plain = [written(&whole), written(other)].contains(&Some(input.len()));
        let both = whole.is_some() && other.is_some();
        assert!(*other == whole || !(plain || both), "{}", method.name);
    }
    let Some(request) = whole else {
        return format!("{}: no message", method.name);
    };
    let bytes = request.write_to_bytes().expect("no required fields");
    assert_eq!(decode(method, &[(&*bytes).into()]).as_ref(), Some(&request));
    let outcome = match answer(&request) {
        Ok(())
            if request
                .special_fields()
                .unknown_fields()
                .iter()
                .next()
                .is_none() =>
        {
            "fine".into()
        }
        Ok(()) => "fine, and more".into(),
        Err(error) => {
            let (field, why) = error.message.split_once(": ").expect("a field");
            let outer = field.split('.').next();
            let known = Q::descriptor().fields().any(|it| Some(it.name()) == outer);
            assert!(known && why.len() > 10, "{}: {error}", method.name);
            plain(&error.message)
        }
    };
    format!("{}: {outcome}", method.name)
}

fn judge(input: &[u8]) -> String {
    let Some((method, input)) = input.split_first() else {
        return "no method".into();
    };
    let limits = Limits {
        text_bytes: 1000,
        ..Limits::default()
    };
    let todo_limits = TodoLimits {
        title_bytes: 100,
        ..TodoLimits::default()
    };
    match method % 14 {
        0 => check(&chat::wire::SEND_MESSAGE, input, |it| {
            limits.check(&it.author, &it.text)?;
            assert!(it.author.len() <= limits.author_bytes && it.text.len() <= limits.text_bytes);
            let (author, text) = (it.author.clone(), it.text.clone());
            let time = Timestamp::from_nanos(1);
            let (encoded, bytes) = chat::wire::Draft::new(author, text).stamp(time);
            assert_eq!(encoded.len(), bytes);
            Ok(())
        }),
        1 => check(&chat::wire::READ_MESSAGES, input, |_| Ok(())),
        2 => check(&todo::wire::ADD_TASK, input, |it| {
            let change = TaskList::default().add(&it.title, &todo_limits)?;
            assert!(!change.task.title.trim().is_empty() && change.task.title.len() <= 100);
            let wire = todo::wire::task_to_wire(&change.task);
            assert_eq!(todo::wire::task(&wire), change.task);
            Ok(())
        }),
        3 => check(&todo::wire::COMPLETE_TASK, input, |it| {
            // "Task not found", as the Python server says it, names no field.
            assert!(TaskList::default().complete(it.task_id).is_err());
            Ok(())
        }),
        4 => check(&todo::wire::GET_TASKS, input, |_| Ok(())),
        5 => check(&todo::wire::WATCH_TASKS, input, |_| Ok(())),
        6 => check(&jobs::PROCESS_MESSAGE, input, |it| {
            assert!(task::process(&it.text).starts_with("Обработано"));
            Ok(())
        }),
        7 => check(&jobs::ASSIGN_AB, input, |it| {
            let answer = jobs::ab_response(it.user_id.clone(), task::group(&it.user_id));
            assert!(["A", "B"].contains(&&*answer.group) && answer.user_id == it.user_id);
            Ok(())
        }),
        // Above that it takes long.
        8 => check(&jobs::FACTORIAL, input, |it| match it.n {
            101..=task::MAX_FACTORIAL => Ok(()),
            n => task::factorial(n).map(drop),
        }),
        9 => check(&jobs::MOST_FREQUENT_LETTER, input, |it| {
            let found = task::most_frequent_letter(&it.text)?;
            let most = 3 * it.text.len() as u64;
            assert!((1..=most).contains(&found.count), "{found:?}");
            Ok(())
        }),
        10 => check(&ticker::wire::SUBSCRIBE_TO_STOCK_UPDATES, input, |it| {
            let symbol = Symbol::parse(&it.ticker_symbol)?;
            assert_eq!(symbol.as_str(), it.ticker_symbol);
            let quote = Market::new(1).quote(&symbol, 1);
            assert!(quote.price.0 > 0, "{quote:?}");
            Ok(())
        }),
        11 => check(&health::CHECK, input, |_| Ok(())),
        12 => check(&chat::wire::SUBSCRIBE, input, |it| {
            let Some((epoch, time)) = chat::wire::place(it.clone())? else {
                return Ok(());
            };
            assert!((1..=64).contains(&epoch.len()));
            let written = Cursor::parse_from_bytes(&chat::wire::cursor(&epoch, time));
            let again = SubscribeRequest {
                after: MessageField::some(written.expect("a cursor")),
                ..Default::default()
            };
            assert_eq!(chat::wire::place(again), Ok(Some((epoch, time))));
            Ok(())
        }),
        _ => {
            let reflect = unary::<ServerReflectionRequest, Empty>("ServerReflectionInfo");
            check(&reflect, input, |_| Ok(()))
        }
    }
}
