//! The to-do list: its rules, and plain Python programs on either side.

mod durable;
mod ends;
mod order;

use grpcio::CallOption;
use messenger::error::{Code, Error};
use messenger::grpc::client::Proof;
use messenger::todo::client::TodoClient;
use messenger::todo::list::{Action, Change, Task};
use messenger::todo::wire;

use crate::support::feed::Feed;
use crate::support::programs::{Python, Server};
use crate::support::rpc::{SETTLE, connection, raw};
use crate::support::{SOON, heavy};

/// A client with a connection of its own.
fn client(server: &str) -> TodoClient {
    TodoClient::over(connection(server), SOON)
}

/// A live subscription to all changes, and whether that is proven.
fn watch(client: &TodoClient) -> (Feed<Change>, Proof) {
    let (mut stream, proof) = client.watch(SETTLE).expect("a subscription");
    let client = client.clone();
    let feed = Feed::start(stream.abort_handle(), move || {
        let _connection = &client;
        stream.recv().map(Some)
    });
    (feed, proof)
}

fn change(action: Action, id: i32, title: &str) -> Change {
    let task = Task {
        id,
        title: title.into(),
        completed: action == Action::Completed,
    };
    Change { task, action }
}

fn not_found() -> Error {
    Error::new(Code::NotFound, "Task not found")
}

/// What both servers promise. Watchers are told so often of a task that is
/// completed twice.
fn contract(server: &str, told: usize) -> Proof {
    let todo = client(server);
    let (watcher, proof) = watch(&todo);
    assert_eq!(todo.list().unwrap().tasks(), []);
    for (id, title) in [(1, "молоко"), (2, "bread"), (3, "bread")] {
        let added = change(Action::Added, id, title);
        assert_eq!(todo.add(title), Ok(added.task.clone()));
        assert_eq!(watcher.next(), added);
    }
    for unknown in [0, -1, 4, i32::MAX, i32::MIN] {
        assert_eq!(todo.complete(unknown), Err(not_found()));
    }
    // The second time succeeds too; with us it is no change.
    assert_eq!(todo.complete(2), Ok(()));
    assert_eq!(todo.complete(2), Ok(()));
    assert_eq!(todo.complete(1), Ok(()));
    for _ in 0..told {
        assert_eq!(watcher.next(), change(Action::Completed, 2, "bread"));
    }
    assert_eq!(watcher.next(), change(Action::Completed, 1, "молоко"));
    let completed = |task: &Task| (task.id, task.completed);
    let list: Vec<_> = todo.list().unwrap().tasks().iter().map(completed).collect();
    assert_eq!(list, [(1, true), (2, true), (3, false)]);
    // Nothing from before it began to watch.
    let (late, _) = watch(&client(server));
    assert_eq!(todo.add("late").unwrap().id, 4);
    for watcher in [watcher, late] {
        assert_eq!(watcher.next(), change(Action::Added, 4, "late"));
    }
    proof
}

#[test]
fn our_client_at_our_server() {
    let server = Server::start(&[]);
    assert_eq!(contract(&server.address(), 1), Proof::Confirmed);
}

#[test]
fn our_client_at_a_python_server() {
    let _machine = heavy();
    let server = Python::todo_server();
    assert_eq!(contract(&server.address(), 2), Proof::Settled);
}

#[test]
fn a_title_of_1024_bytes_passes_and_others_are_refused_by_name_and_limit() {
    let server = Server::start(&[]);
    let todo = client(&server.address());
    let (watcher, _) = watch(&todo);
    // 512 letters of two bytes: bytes count, not letters.
    let longest = "ж".repeat(512);
    assert_eq!(todo.add(&longest).unwrap().id, 1);
    let error = todo.add(&format!("{longest}x")).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    for words in ["title", "1025", "1024"] {
        assert!(error.message.contains(words), "{error}");
    }
    for empty in ["", " \t\n"] {
        let error = todo.add(empty).unwrap_err();
        assert_eq!(error, Error::invalid("title: must not be empty"));
    }
    // What was refused takes no id, and nobody is told of it.
    assert_eq!(todo.add("after").unwrap().id, 2);
    assert_eq!(watcher.next(), change(Action::Added, 1, &longest));
    assert_eq!(watcher.next(), change(Action::Added, 2, "after"));
}

#[test]
fn a_full_list_takes_no_more_tasks_but_completes_those_it_has() {
    let server = Server::start(&["--max-tasks", "2"]);
    let todo = client(&server.address());
    let (watcher, _) = watch(&todo);
    for id in 1..=2 {
        assert_eq!(todo.add("t").unwrap().id, id);
        assert_eq!(watcher.next(), change(Action::Added, id, "t"));
    }
    let error = todo.add("t").unwrap_err();
    assert_eq!(
        error,
        Error::new(Code::ResourceExhausted, "tasks: the limit is 2")
    );
    todo.complete(1).unwrap();
    assert_eq!(watcher.next(), change(Action::Completed, 1, "t"));
    assert_eq!(todo.list().unwrap().tasks().len(), 2);
}

#[test]
fn the_titles_of_a_full_list_fit_into_what_any_client_receives() {
    let server = Server::start(&[]);
    // Nobody waits for an answer, as ten thousand clients would not.
    let (todo, title) = (raw(&server.address()), "x".repeat(1024));
    let request = wire::AddTaskRequest {
        title,
        ..Default::default()
    };
    let options = || CallOption::default().timeout(SOON);
    let mut added = 0;
    let error = loop {
        let calls: Vec<_> = (0..256)
            .map(|_| todo.unary_call_async(&wire::ADD_TASK, &request, options()))
            .collect();
        let answers = calls.into_iter().map(|call| {
            let call = call.expect("a call");
            messenger::grpc::blocking::wait(call, None).unwrap()
        });
        let (good, bad): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
        added += good.len();
        if let Some(Err(error)) = bad.into_iter().next() {
            break error;
        }
    };
    let error = error.to_string();
    assert!(
        error.contains("RESOURCE_EXHAUSTED") && error.contains("2097152"),
        "{error}"
    );
    assert_eq!(added, 2048);
    // This client has gRPC's own limit of 4 MiB.
    let request = wire::GetTasksRequest::default();
    let list = todo.unary_call(&wire::GET_TASKS, &request, options());
    assert_eq!(list.unwrap().tasks.len(), 2048);
}

#[test]
fn the_python_menu_adds_lists_completes_and_shows_what_others_do() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let todo = client(&server.address());
    let mut menu = Python::todo_client(&server.address());
    menu.wait_for("Choice: ");
    server.wait_for_threads("watch-", 1);
    let mut choose = |choice: &str, answer: Option<&str>, shown: &[&str]| {
        menu.enter(choice);
        if let Some(answer) = answer {
            menu.wait_for(": ");
            menu.enter(answer);
        }
        // Updates come on a thread of their own, so at any place in between.
        for words in shown {
            menu.wait_for(words);
        }
    };
    choose("2", None, &["No tasks", "Choice: "]);
    choose("1", Some("Молоко"), &["Added task 1: Молоко", "Choice: "]);
    assert_eq!(&*todo.list().unwrap().tasks()[0].title, "Молоко");
    choose("2", None, &["[ ] 1 Молоко", "Choice: "]);
    choose("3", Some("1"), &["Completed", "Choice: "]);
    assert!(todo.list().unwrap().tasks()[0].completed);
    choose("2", None, &["[x] 1 Молоко", "Choice: "]);
    choose("3", Some("7"), &["Error: Task not found", "Choice: "]);
    choose(
        "1",
        Some(""),
        &["Error: title: must not be empty", "Choice: "],
    );
    // It waits at its prompt, and somebody else does something.
    todo.add("from elsewhere").unwrap();
    menu.wait_for("[update] ADDED: 2 from elsewhere");
    todo.complete(2).unwrap();
    menu.wait_for("[update] COMPLETED: 2 from elsewhere");
    menu.enter("4");
    assert_eq!(menu.wait_exit(SOON), 0);
    server.wait_for_threads("watch-", 0);
}
