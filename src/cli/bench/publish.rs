//! `messenger bench publish`: how long one message holds the broadcast's lock, which
//! is what the answer to a SendMessage waits for. No port: the fan-out alone, on one
//! thread.

use std::time::Instant;

use serde_json::json;

use super::Output;
use crate::chat::wire::Draft;
use crate::cli::Error;
use crate::fanout::broadcast::{Broadcast, Capacity};
use crate::fanout::clock::Timestamp;
use crate::latency::Latencies;

/// Measure how long publishing a message holds the fan-out's lock
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Readers; several sizes with commas
    #[arg(long, env = "MESSENGER_BENCH_READERS", default_value = "10,100,1000,10000",
          value_name = "N", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: Vec<u32>,
    /// Messages for each size
    #[arg(
        long,
        env = "MESSENGER_BENCH_MESSAGES",
        default_value_t = 500,
        value_name = "N"
    )]
    messages: usize,
    /// Length of the text
    #[arg(
        long,
        env = "MESSENGER_BENCH_TEXT_BYTES",
        default_value_t = 100,
        value_name = "BYTES"
    )]
    text_bytes: usize,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Examples:
  messenger bench publish
  messenger bench publish --readers 50000 --json";

impl Args {
    pub fn run(&self) -> Result<(), Error> {
        let mut rows = Vec::new();
        for &readers in &self.readers {
            let times = measure(readers as usize, self.messages, self.text_bytes)?;
            let (p50, p99) = (times.quantile_us(0.5), times.quantile_us(0.99));
            let each = p50 * 1e3 / f64::from(readers);
            rows.push(
                json!({"readers": readers, "p50Us": p50, "p99Us": p99, "p50NsPerReader": each}),
            );
        }
        let columns = [
            ("readers", "readers", 1.0, 0),
            ("p50 us", "p50Us", 1.0, 1),
            ("p99 us", "p99Us", 1.0, 1),
            ("p50 ns/reader", "p50NsPerReader", 1.0, 0),
        ];
        self.output.rows(&rows, &columns)
    }
}

/// Publishes so many messages to so many readers, each of which has read the
/// one before. The times are those of `publish`, almost all of which is spent
/// under the lock.
fn measure(readers: usize, messages: usize, text_bytes: usize) -> Result<Latencies, Error> {
    let broadcast = Broadcast::new(Capacity::default());
    let closed = || "the broadcast is closed";
    let members = (0..readers).map(|_| broadcast.subscribe().ok());
    let members: Option<Vec<_>> = members.collect();
    let mut members = members.ok_or_else(closed)?;
    let text = "x".repeat(text_bytes);
    let (mut latencies, mut batch) = (Latencies::new()?, Vec::new());
    for message in 0..messages {
        // Reads, and waits for the next one as a reader that keeps up does.
        for (subscription, _) in &mut members {
            for _ in 0..2 {
                let read = subscription.try_batch(&mut batch, 1);
                read.map_err(|_| closed())?;
            }
        }
        let draft = Draft::new("bench".into(), text.clone());
        let started = Instant::now();
        let published = broadcast.publish(Timestamp::now(), |time| draft.stamp(time));
        let elapsed = started.elapsed();
        drop(published.map_err(|_| closed())?);
        // The first one meets empty caches and empty channels.
        if message > 0 {
            latencies.record(elapsed);
        }
    }
    Ok(latencies)
}
