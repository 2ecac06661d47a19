//! What the data folder keeps: every answered change, whatever ends the server.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::thread;

use messenger::error::{Code, Error};
use messenger::todo::list::{Action, Task};

use super::{change, client, watch};
use crate::support::process::Signal;
use crate::support::programs::{Program, Server, messenger};
use crate::support::{SOON, eventually, heavy};

fn start(folder: &tempfile::TempDir) -> Program {
    Server::start(&["--data-dir", path(folder)])
}

fn path(folder: &tempfile::TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// What was answered: id to title, and whether the completion was answered too.
type Answered = BTreeMap<i32, (String, bool)>;

/// Adds and completes until the server is gone.
fn write(server: &str, name: &str, answered: &Mutex<Answered>) {
    let todo = client(server);
    for number in 0.. {
        let title = format!("{name}.{number} {}", "x".repeat(number % 900));
        let Ok(task) = todo.add(&title) else { return };
        assert_eq!(*task.title, *title);
        let other = answered.lock().unwrap().insert(task.id, (title, false));
        assert_eq!(other, None, "an id is given twice");
        if number % 2 == 0 {
            let Ok(()) = todo.complete(task.id) else {
                return;
            };
            answered.lock().unwrap().get_mut(&task.id).unwrap().1 = true;
        }
    }
}

/// The list has all that was answered, and nothing that nobody asked for.
fn check(tasks: &[Task], answered: &Answered) {
    assert!(tasks.windows(2).all(|pair| pair[0].id < pair[1].id));
    let tasks: BTreeMap<_, _> = tasks.iter().map(|task| (task.id, task)).collect();
    for (id, (title, completed)) in answered {
        let task = tasks.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert_eq!(*task.title, **title);
        assert!(task.completed >= *completed, "{id} is open again");
    }
    for task in tasks.values() {
        let whole = task.title.split_once(' ').is_some_and(|(name, rest)| {
            let number = name
                .rsplit('.')
                .next()
                .and_then(|n| n.parse::<usize>().ok());
            number.is_some_and(|number| rest == "x".repeat(number % 900))
        });
        assert!(whole, "half a task: {task:?}");
    }
}

/// Rounds of four writers and a server that ends in their midst.
fn rounds(signal: Signal, code: i32) {
    let folder = tempfile::tempdir().unwrap();
    let answered: Mutex<Answered> = Mutex::default();
    for round in 0..5 {
        let mut server = start(&folder);
        let address = server.address();
        let before = answered.lock().unwrap().len();
        thread::scope(|scope| {
            for writer in 0..4 {
                let (address, answered) = (&address, &answered);
                scope.spawn(move || write(address, &format!("{round}.{writer}"), answered));
            }
            eventually(SOON, "some answers", || {
                answered.lock().unwrap().len() > before + 20 + round * 7
            });
            server.signal(signal);
            assert_eq!(server.wait_exit(SOON), code);
        });
        let server = start(&folder);
        let todo = client(&server.address());
        let answered = answered.lock().unwrap();
        let list = todo.list().unwrap();
        check(list.tasks(), &answered);
        let last = list.tasks().last().unwrap().id;
        assert_eq!(todo.add("0 ").unwrap().id, last + 1);
        todo.complete(last + 1).unwrap();
    }
}

#[test]
fn a_killed_server_loses_no_answered_change_and_keeps_nothing_half() {
    let _machine = heavy();
    rounds(Signal::KILL, -9);
}

#[test]
fn a_server_that_is_told_to_end_keeps_what_it_answers_until_the_last_moment() {
    let _machine = heavy();
    rounds(Signal::TERM, 0);
}

#[test]
fn without_a_data_folder_the_log_says_so_and_servers_do_not_meet() {
    let servers = [Server::start(&[]), Server::start(&[])];
    for server in &servers {
        server.wait_for_log(SOON, "in memory");
    }
    let clients = [0, 1].map(|n: usize| client(&servers[n].address()));
    assert_eq!(clients[0].add("here").unwrap().id, 1);
    assert_eq!(clients[1].list().unwrap().tasks(), []);
    assert_eq!(clients[1].add("there").unwrap().id, 1);
    assert_eq!(clients[0].list().unwrap().tasks().len(), 1);
}

/// A server that does not start: its error, which is one line.
fn refused(folder: &str) -> String {
    let arguments = ["server", "--host", "127.0.0.1", "--port", "0"];
    let mut server = messenger(&[&arguments[..], &["--data-dir", folder]].concat());
    assert_eq!(server.wait_exit(SOON), 1);
    assert_eq!(server.line(SOON), None, "it listens nowhere");
    let log = server.log();
    let errors: Vec<_> = log.lines().filter(|line| !line.contains("INFO")).collect();
    let [error] = errors[..] else { panic!("{log}") };
    error.to_owned()
}

#[test]
fn a_change_that_cannot_be_stored_is_refused_and_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(&folder);
    let todo = client(&server.address());
    let (watcher, _) = watch(&todo);
    todo.add("before").unwrap();
    let file = rusqlite::Connection::open(folder.path().join("todo.sqlite3")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let refused = [
            scope.spawn(|| todo.add("lost").unwrap_err()),
            scope.spawn(|| todo.complete(1).unwrap_err()),
        ];
        for refused in refused {
            // Whoever asks for the list does not wait for the disk.
            assert_eq!(todo.list().unwrap().tasks().len(), 1);
            let error = refused.join().unwrap();
            assert_eq!(error, Error::unavailable("the to-do list cannot be stored"));
        }
    });
    file.execute_batch("ROLLBACK").unwrap();
    assert_eq!(todo.add("after").unwrap().id, 2);
    assert_eq!(watcher.next(), change(Action::Added, 1, "before"));
    assert_eq!(watcher.next(), change(Action::Added, 2, "after"));
    assert!(!todo.list().unwrap().tasks()[0].completed);
    server.wait_for_log(SOON, "todo.sqlite3");
}

#[test]
fn a_second_server_on_a_file_is_told_which_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(&folder);
    first.wait_for_log(SOON, path(&folder));
    let todo = client(&first.address());
    todo.add("a").unwrap();
    let file = folder.path().join("todo.sqlite3").display().to_string();
    for _ in 0..2 {
        let error = refused(path(&folder));
        assert!(error.contains(&file) && error.contains("in use"), "{error}");
    }
    assert_eq!(todo.add("b").unwrap().id, 2);
    drop(first);
    let next = start(&folder);
    assert_eq!(client(&next.address()).list().unwrap().tasks().len(), 2);
}

#[test]
fn a_folder_that_takes_no_file_and_a_file_that_is_no_database_are_named_in_one_line() {
    // Not even the administrator makes a file there, or a folder in a file.
    for folder in ["/proc/self", "/dev/null", "/dev/null/folder"] {
        let error = refused(folder);
        assert!(error.contains(folder), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("todo.sqlite3");
    let text = "no database, but long enough to look like one ".repeat(100);
    fs::write(&file, &text).unwrap();
    let error = refused(path(&folder));
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "it is left alone");
}

#[test]
fn a_list_of_a_hundred_thousand_tasks_is_loaded_and_fits_into_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    drop(start(&folder));
    let file = rusqlite::Connection::open(folder.path().join("todo.sqlite3")).unwrap();
    let many = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 100000)
        INSERT INTO tasks (id, title, completed) SELECT id, printf('%020d', id), 1 FROM n";
    file.execute(many, []).unwrap();
    drop(file);
    let server = start(&folder);
    // This client has gRPC's own limit of 4 MiB.
    let raw = crate::support::rpc::raw(&server.address());
    let request = messenger::todo::wire::GetTasksRequest::default();
    let options = grpcio::CallOption::default().timeout(SOON);
    let list = raw.unary_call(&messenger::todo::wire::GET_TASKS, &request, options);
    assert_eq!(list.unwrap().tasks.len(), 100_000);
    let error = client(&server.address()).add("one more").unwrap_err();
    assert_eq!(error.code, Code::ResourceExhausted);
}
