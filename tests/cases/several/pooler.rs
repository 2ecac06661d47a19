//! A pooler between the servers and PostgreSQL that gives each transaction another session:
//! what a session is asked to hear or to remember is lost there, or is another's.

use super::keys::keys_hold;
use super::order::all_see_one_order;
use super::outages::{a_while, nothing_is_lost};
use super::resume::from_server_to_server;
use super::{refused, server, start};
use crate::cases::subscribe::Subscriber;
use crate::chaos::proxy::Proxy;
use crate::chaos::schedule::Weather;
use crate::support::history::Store;
use crate::support::http::seen;
use crate::support::pgbouncer::{PgBouncer, TRANSACTION};
use crate::support::postgres::{Database, cluster, commits_wait_for_nobody};
use crate::support::programs::Server;
use crate::support::rpc::{client, send};
use crate::support::{SOON, eventually, heavy};

const SESSION: &str = "pool_mode = session\n";
/// While it does not reach the database; by itself it has clients wait for a minute.
const SOON_REFUSED: &str = "client_login_timeout = 2\nserver_login_retry = 1\n";

fn through(port_of: &Proxy, url: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_port(Some(port_of.port())).unwrap();
    url.into()
}

#[test]
fn servers_behind_a_pooler_that_listen_past_it_are_one_chat() {
    let _machine = heavy();
    let cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let pooler = PgBouncer::with(&url, TRANSACTION);
    let pooled = pooler.before(&url);
    let flags = ["--listen-url", &url, "--replay-messages", "0"];
    // At once, in an empty database.
    let starting = [(); 3].map(|()| start(&pooled, &flags));
    let servers = starting.map(|it| Server::listening(it, 1));
    let places = servers
        .each_ref()
        .map(|it| Subscriber::live(&it.address()).place);
    assert!(places.iter().all(|it| it.epoch == places[0].epoch));
    keys_hold(&servers);
    all_see_one_order(&servers);
    from_server_to_server(&servers, 4, 25);
    let mut table = Store::postgres_connection(&url);
    nothing_is_lost(&servers, || {
        for _ in 0..3 {
            a_while();
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
            table.query(end, &[]).unwrap();
        }
        a_while();
    });
    // The epoch is still the same, and nobody was taken for somebody else.
    let mut back = Subscriber::resume(&servers[2].address(), &places[0]);
    assert_eq!(back.place.epoch, places[0].epoch);
    back.take(100);
    for server in &servers {
        assert!(!server.log().contains("pooler"), "{}", server.log());
    }
}

#[test]
fn a_server_that_would_listen_through_a_pooler_says_what_to_give_and_does_not_start() {
    let database = Database::new();
    let pooler = PgBouncer::with(&database.url, TRANSACTION);
    let pooled = pooler.before(&database.url);
    for flags in [&[][..], &["--listen-url", &pooled]] {
        let said = refused(&pooled, flags);
        assert!(said.contains("pooler in transaction mode"), "{said}");
        assert!(said.contains("--listen-url"), "{said}");
    }
    // In session mode it passes on what is heard.
    let sessions = PgBouncer::with(&database.url, SESSION);
    server(&pooled, &["--listen-url", &sessions.before(&database.url)]);
}

#[test]
fn what_a_pooler_does_not_let_pass_is_named() {
    let database = Database::new();
    let pooler = PgBouncer::with(&database.url, "pool_mode = transaction\n");
    let said = refused(&pooler.before(&database.url), &[]);
    assert!(
        said.contains("ignore_startup_parameters = options"),
        "{said}"
    );
}

#[test]
fn a_database_that_is_away_behind_a_pooler_is_waited_for() {
    let mut cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let pooler = PgBouncer::with(&url, &format!("{TRANSACTION}{SOON_REFUSED}"));
    let pooled = pooler.before(&url);
    cluster.order("stop").unwrap();
    let flags = ["--listen-url", &url, "--database-timeout", "20s"];
    let server = start(&pooled, &flags);
    server.wait_for_log(SOON, "cannot open the database; trying again");
    cluster.order("start").unwrap();
    Server::listening(server, 1);
}

#[test]
fn a_pooler_that_changes_its_mode_later_is_told_of_once_and_messages_come_all_the_same() {
    let cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let pooler = PgBouncer::with(&url, SESSION);
    let pooled = pooler.before(&url);
    let servers = [(); 2].map(|()| server(&url, &["--listen-url", &pooled]));
    let mut subscriber = Subscriber::live(&servers[0].address());
    let sender = client(&servers[1].address());
    pooler.reload(TRANSACTION);
    let mut table = Store::postgres_connection(&url);
    // Those that listen have to connect again.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE (query LIKE '%pg_backend_pid()' OR query LIKE '%NOTIFY%')
         AND datname = current_database() AND pid <> pg_backend_pid()";
    assert!(!table.query(end, &[]).unwrap().is_empty());
    servers[0].wait_for_log(SOON, "pooler in transaction mode");
    for text in ["a", "b", "c"] {
        let time = send(&sender, "a", text);
        assert_eq!(subscriber.next().unwrap(), seen("a", text, time));
    }
    // And it is over when it is.
    pooler.reload(SESSION);
    servers[0].wait_for_log(SOON, "the database's notifications are heard again");
    let log = servers[0].log();
    assert_eq!(
        log.matches("pooler in transaction mode").count(),
        1,
        "{log}"
    );
}

#[test]
fn a_slow_database_is_taken_for_no_pooler() {
    let database = Database::new();
    let slow = Proxy::start(url::Url::parse(&database.url).unwrap().port().unwrap());
    slow.set(Weather::Delay {
        ms: 600,
        jitter_ms: 100,
    });
    let listen = through(&slow, &format!("{}?sslmode=disable", database.url));
    let flags = ["--listen-url", &listen, "--database-timeout", "20s"];
    let near = server(&database.url, &flags);
    assert!(!near.log().contains("pooler"), "{}", near.log());
    // It had heard before it said that it listens.
    assert!(!near.log().contains("cannot listen"), "{}", near.log());
}

#[test]
fn an_answer_means_committed_whatever_the_sessions_of_a_pooler_have_been_told() {
    let cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let pooler = PgBouncer::with(&url, TRANSACTION);
    let flags = ["--listen-url", &url, "--database-timeout", "1s"];
    let server = server(&pooler.before(&url), &flags);
    let sender = client(&server.address());
    commits_wait_for_nobody(&url);
    // What a client of the pooler sets for itself befalls those who come next.
    let mut other = Store::postgres_connection(&pooler.before(&url));
    for _ in 0..10 {
        other.batch_execute("SET synchronous_commit = off").unwrap();
    }
    let error = sender.send("a", "b", SOON).unwrap_err();
    assert!(error.message.contains("may have been stored"), "{error}");
}

#[test]
fn an_isolation_that_a_pooler_has_lost_is_named_and_refused() {
    let database = Database::new();
    let name = database.url.rsplit('/').next().unwrap();
    let strict = "SET default_transaction_isolation = 'repeatable read'";
    let mut table = Store::postgres_connection(&database.url);
    let alter = format!("ALTER DATABASE \"{name}\" {strict}");
    table.batch_execute(&alter).unwrap();
    let pooler = PgBouncer::with(&database.url, TRANSACTION);
    let flags = ["--listen-url", &database.url];
    let said = refused(&pooler.before(&database.url), &flags);
    assert!(said.contains("repeatable read"), "{said}");
    assert!(said.contains("default_transaction_isolation"), "{said}");
    // Where settings pass, they are set.
    server(&database.url, &[]);
}

#[test]
fn who_was_given_up_behind_a_pooler_does_not_wait_for_the_lock_for_ever() {
    let cluster = cluster(&[]);
    let url = cluster.create("chat").unwrap();
    let pooler = PgBouncer::with(&url, TRANSACTION);
    let flags = ["--listen-url", &url, "--database-timeout", "1s"];
    let server = server(&pooler.before(&url), &flags);
    let sender = client(&server.address());
    let mut holder = Store::postgres_connection(&url);
    let mut held = holder.transaction().unwrap();
    held.batch_execute("SELECT lock_chat_messages()").unwrap();
    assert!(sender.send("a", "b", SOON).is_err());
    drop(server);
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    let mut waiting = || held.query_one(waiting, &[]).unwrap().get::<_, i64>(0);
    eventually(SOON, "it has given up", || waiting() == 0);
}
