//! How watchers and servers of the to-do list end, and who knows of it.

use std::thread;

use grpcio::RpcStatusCode;
use messenger::error::{Code, Error};
use messenger::ticker::client::TickerClient;
use messenger::todo::list::Action;
use messenger::todo::wire;

use super::{change, client, watch};
use crate::support::process::Signal;
use crate::support::programs::Server;
use crate::support::rpc::{SETTLE, Stream, connection, narrow};
use crate::support::{SOON, eventually};

#[test]
fn a_watcher_that_does_not_read_is_cut_and_the_others_see_everything() {
    let server = Server::start(&["--backlog-messages", "200"]);
    let todo = client(&server.address());
    let (watcher, _) = watch(&todo);
    let lazy = narrow(&server.address());
    let request = wire::WatchTasksRequest::default();
    let mut stream = Stream::open(&lazy, &wire::WATCH_TASKS, &request);
    server.wait_for_threads("watch-", 2);
    let title = "x".repeat(1024);
    let mut added = 0;
    eventually(SOON, "the lazy watcher is cut", || {
        added += 1;
        assert_eq!(todo.add(&title).unwrap().id, added);
        assert_eq!(watcher.next().task.id, added, "the other one keeps up");
        server.log().contains("slow consumer cut")
    });
    let told = (1..).find_map(|id| match stream.wait() {
        Ok(update) => {
            assert_eq!(update.task.id, id);
            None
        }
        Err(end) => Some((id, end)),
    });
    let (next, end) = told.unwrap();
    assert_eq!(end.code(), RpcStatusCode::RESOURCE_EXHAUSTED, "{end:?}");
    assert!(1 < next && next <= added, "it is told a part: {next}");
    todo.complete(1).unwrap();
    assert_eq!(watcher.next(), change(Action::Completed, 1, &title));
}

#[test]
fn the_end_of_the_server_ends_watchers_and_refuses_what_it_does_not_answer() {
    for _ in 0..5 {
        let mut server = Server::start(&[]);
        let address = server.address();
        let watchers: Vec<_> = (0..5).map(|_| watch(&client(&address)).0).collect();
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let todo = client(&address);
                thread::spawn(move || (0..).find_map(|_| todo.add("t").err()).unwrap())
            })
            .collect();
        let (witness, _) = watch(&client(&address));
        for _ in 0..10 {
            witness.next();
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit(SOON), 0);
        for writer in writers {
            let error = writer.join().unwrap();
            assert_eq!(error.code, Code::Unavailable, "{error}");
        }
        let mut told = watchers.iter().map(|watcher| watcher.rest(SOON));
        let (changes, end) = told.next().unwrap();
        assert_eq!(end, Err(Error::shutting_down()));
        for other in told {
            assert_eq!(other, (changes.clone(), Err(Error::shutting_down())));
        }
        let ids = changes.iter().map(|change| change.task.id);
        assert!(changes.len() >= 10 && ids.eq(1..=changes.len() as i32));
    }
}

#[test]
fn health_knows_the_services_that_are_hosted_and_the_others_are_unimplemented() {
    let server = Server::start(&[]);
    let all = connection(&server.address());
    for service in [
        "",
        "todo.TodoService",
        "StockTicker",
        "mes_grpc.MessengerServer",
    ] {
        assert_eq!(all.check_health(service, SOON), Ok(()), "{service}");
    }
    let server = Server::start(&["--services", "chat"]);
    let chat = connection(&server.address());
    for service in ["todo.TodoService", "StockTicker"] {
        let error = chat.check_health(service, SOON).unwrap_err();
        assert_eq!(error.code, Code::NotFound, "{service}");
    }
    let todo = client(&server.address());
    assert_eq!(todo.list().unwrap_err().code, Code::Unimplemented);
    assert_eq!(todo.add("t").unwrap_err().code, Code::Unimplemented);
    assert_eq!(todo.complete(1).unwrap_err().code, Code::Unimplemented);
    assert_eq!(todo.watch(SETTLE).err().unwrap().code, Code::Unimplemented);
    let (_requests, mut stream) = TickerClient::over(chat, SOON).open().unwrap();
    assert_eq!(stream.recv().unwrap_err().code, Code::Unimplemented);
    assert!(!server.log().contains("in memory"), "{}", server.log());
}
