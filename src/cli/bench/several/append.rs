//! How many messages a second servers append together, and the database alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use postgres::{Client, NoTls};
use serde_json::Value;

use super::{Place, TEXT, row};
use crate::chat::order::{Order as _, Sent};
use crate::chat::shared::{Config, Shared, TABLE};
use crate::cli::Error;
use crate::compare::load::figures::{Figures, Stopwatch};
use crate::db::address::Address;
use crate::db::log::{Draft, Log as _, PostgresLog, Retain};
use crate::fanout::broadcast::Capacity;
use crate::fanout::replay::Bound;
use crate::grpc::blocking;
use crate::grpc::handler::Reply;
use crate::latency::Latencies;
use crate::readiness::Readiness;

/// What the database may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A batch is a transaction.
const BATCH: &str =
    "SELECT count(*)::float8 / greatest(count(DISTINCT xmin::text), 1) FROM chat_messages";

/// So many servers without gRPC, each with so many messages in flight; and as many clients
/// that do nothing but append batches as large as theirs.
pub fn measure(place: &Place, servers: usize, in_flight: usize) -> Result<Value, Error> {
    let url = place.database()?;
    let address = Address::parse(&url, "messenger bench", PATIENCE)?;
    let full = orders(place, &address, servers, in_flight)?;
    let mut database = Client::connect(&url, NoTls)?;
    let batch: f64 = database.query_one(BATCH, &[])?.try_get(0)?;
    database.batch_execute("TRUNCATE chat_messages")?;
    let only = clients(place, &address, servers, batch.round() as usize)?;
    let mut row = row(&full);
    row["servers"] = servers.into();
    // They are in this process, which is the load elsewhere.
    row["serverCpuUs"] = full.load_cpu.into();
    row["loadCpuUs"] = Value::Null;
    row["messagesPerBatch"] = batch.into();
    row["appendOnlyPerSecond"] = only.per_second().into();
    row["partOfAppendOnly"] = (full.per_second() / only.per_second()).into();
    row["appendOnlyPostgresCpuUs"] = only.behind_cpu.into();
    Ok(row)
}

fn orders(
    place: &Place,
    address: &Address,
    servers: usize,
    in_flight: usize,
) -> Result<Figures, Error> {
    let (_running, stop) = bounded(0);
    let start = |_| {
        let config = Config {
            address: address.clone(),
            listen: address.clone(),
            timeout: PATIENCE,
            retain: Retain::default(),
            waiting: usize::MAX,
            backlog: Capacity::default(),
            replay: Bound::default(),
        };
        let order = Shared::start(config, &Readiness::default(), &stop)?;
        order.ok_or_else(|| "stopped".into())
    };
    let orders: Vec<_> = (0..servers).map(start).collect::<Result<_, Error>>()?;
    let feed = |order: &Arc<Shared>| {
        let (mut answers, mut appended) = (VecDeque::new(), 0);
        let started = Instant::now();
        while started.elapsed() < place.seconds {
            let (answer, later) = Reply::later();
            let sent = Sent {
                author: "bench".into(),
                text: "x".repeat(TEXT),
                key: None,
            };
            drop(order.publish(sent, answer));
            answers.push_back(later);
            if answers.len() >= in_flight
                && let Some(first) = answers.pop_front()
            {
                let answer = blocking::wait(first, Some(PATIENCE));
                answer.ok_or("the database does not answer")???;
                appended += 1;
            }
        }
        Ok(appended)
    };
    let figures = together(place, &orders, feed);
    orders.iter().for_each(|order| order.close());
    figures
}

fn clients(
    place: &Place,
    address: &Address,
    clients: usize,
    batch: usize,
) -> Result<Figures, Error> {
    let draft = Draft {
        sender: "bench".into(),
        text: "x".repeat(TEXT),
        key: None,
    };
    together(place, &vec![(); clients], |()| {
        let mut log = PostgresLog::open(address, TABLE)?;
        let (started, mut appended) = (Instant::now(), 0);
        while started.elapsed() < place.seconds {
            let all = log.append(&mut vec![draft.clone(); batch]);
            appended += all.map_err(|failure| failure.reason)?.entries.len() as u64;
        }
        Ok(appended)
    })
}

/// Has each of them append, on a thread of its own; this returns how many they have.
fn together<T: Sync>(
    place: &Place,
    all: &[T],
    append: impl Fn(&T) -> Result<u64, Error> + Sync,
) -> Result<Figures, Error> {
    let stopwatch = Stopwatch::start(&[], place.postgres)?;
    let appended = thread::scope(|scope| {
        let append = &append;
        let threads = all
            .iter()
            .map(|it| scope.spawn(move || append(it).map_err(|e| e.to_string())));
        let threads: Vec<_> = threads.collect();
        let appended = threads.into_iter().map(|it| it.join().expect("no panic"));
        appended.sum::<Result<u64, _>>()
    });
    Ok(stopwatch.stop(appended?, Latencies::new()?)?)
}
