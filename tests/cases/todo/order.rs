//! The one order of all changes, and the list that always agrees with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use messenger::todo::client::TodoClient;
use messenger::todo::list::{Action, Change, TaskList};

use super::{client, watch};
use crate::support::feed::Feed;
use crate::support::heavy;
use crate::support::programs::Server;

/// So many changes by one writer: tasks, most of which it completes.
fn write(todo: &TodoClient, name: &str, changes: usize) {
    let mut open = Vec::new();
    for number in 0..changes {
        match open.pop() {
            Some(id) if number % 5 >= 3 => todo.complete(id).unwrap(),
            last => {
                open.extend(last);
                open.push(todo.add(&format!("{name} {number}")).unwrap().id);
            }
        }
    }
}

#[test]
fn fifty_watchers_see_two_hundred_changes_of_ten_writers_in_one_order() {
    let _machine = heavy();
    let server = Server::start(&[]);
    let address = server.address();
    let watchers: Vec<_> = (0..50).map(|_| watch(&client(&address)).0).collect();
    thread::scope(|scope| {
        for writer in 0..10 {
            let todo = client(&address);
            scope.spawn(move || write(&todo, &writer.to_string(), 20));
        }
    });
    let next = |watcher: &Feed<Change>| -> Vec<_> { (0..200).map(|_| watcher.next()).collect() };
    let changes = next(&watchers[0]);
    for watcher in &watchers[1..] {
        assert_eq!(next(watcher), changes);
    }
    let added = changes.iter().filter(|c| c.action == Action::Added);
    let ids: Vec<_> = added.map(|change| change.task.id).collect();
    assert_eq!(ids, (1..=ids.len() as i32).collect::<Vec<_>>());
    let todo = client(&address);
    assert_eq!(todo.list().unwrap().tasks(), replay(&changes).tasks());
    // There is nothing more to tell.
    let last = todo.add("last").unwrap();
    for watcher in &watchers {
        assert_eq!(watcher.next().task, last);
    }
}

fn replay(changes: &[Change]) -> TaskList {
    let mut list = TaskList::default();
    for change in changes {
        list.apply(change);
    }
    list
}

/// How many changes lead to a list: each adds a task, or completes one.
fn age(list: &TaskList) -> usize {
    let completed = list.tasks().iter().filter(|task| task.completed);
    list.tasks().len() + completed.count()
}

/// What one checker saw, to be held against the whole order.
enum Sighting {
    List(TaskList),
    /// A list; what was then told first; and how old the list was after that.
    Told(usize, Change, usize),
}

/// A list, a watcher that comes after it, its first change, a list after that.
fn look(todo: &TodoClient) -> [Sighting; 3] {
    let before = todo.list().unwrap();
    let (watcher, _) = watch(todo);
    let first = watcher.next();
    let after = todo.list().unwrap();
    let told = Sighting::Told(age(&before), first, age(&after));
    [Sighting::List(before), told, Sighting::List(after)]
}

#[test]
fn a_list_is_always_where_the_changes_are() {
    let _machine = heavy();
    let server = Server::start(&["--backlog-messages", "1000000"]);
    let address = server.address();
    let (everything, _) = watch(&client(&address));
    let over = AtomicBool::new(false);
    let sightings: Vec<Sighting> = thread::scope(|scope| {
        for writer in 0..4 {
            let (todo, over) = (client(&address), &over);
            scope.spawn(move || {
                for round in 0.. {
                    // Somebody always has something to tell to a checker.
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    write(&todo, &format!("{writer}.{round}"), 5);
                }
            });
        }
        let checkers: Vec<_> = (0..4)
            .map(|_| {
                let todo = client(&address);
                scope.spawn(move || (0..100).flat_map(|_| look(&todo)).collect::<Vec<_>>())
            })
            .collect();
        let seen = checkers.into_iter().map(thread::ScopedJoinHandle::join);
        let seen: Vec<_> = seen.collect();
        over.store(true, Ordering::Relaxed);
        seen.into_iter().flat_map(Result::unwrap).collect()
    });
    let changes: Vec<_> = (0..age(&client(&address).list().unwrap()))
        .map(|_| everything.next())
        .collect();
    for sighting in sightings {
        match sighting {
            Sighting::List(list) => {
                let replayed = replay(&changes[..age(&list)]);
                assert_eq!(list.tasks(), replayed.tasks());
            }
            Sighting::Told(before, first, after) => {
                let place = changes.iter().position(|change| *change == first).unwrap();
                assert!(before <= place, "what was in the list is told again");
                assert!(place < after, "what was told is not in the list");
            }
        }
    }
}
