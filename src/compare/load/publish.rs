//! How long one message holds the broadcast's lock, which is what the answer to
//! a SendMessage waits for. No port: the fan-out alone, on one thread.

use std::io;
use std::time::Instant;

use crate::chat::wire::Draft;
use crate::fanout::broadcast::{Broadcast, Capacity};
use crate::fanout::clock::Timestamp;
use crate::latency::Latencies;

/// Publishes so many messages to so many readers, each of which has read the
/// one before. The times are those of `publish`, almost all of which is spent
/// under the lock.
///
/// # Errors
/// Never with an open broadcast.
pub fn run(readers: usize, messages: usize, text_bytes: usize) -> io::Result<Latencies> {
    let broadcast = Broadcast::new();
    let closed = || io::Error::other("the broadcast is closed");
    let members = (0..readers).map(|_| broadcast.subscribe(Capacity::default()).ok());
    let members: Option<Vec<_>> = members.collect();
    let mut members = members.ok_or_else(closed)?;
    let text = "x".repeat(text_bytes);
    let (mut latencies, mut batch) = (Latencies::new()?, Vec::new());
    for message in 0..messages {
        // Reads, and waits for the next one as a reader that keeps up does.
        for (subscription, membership) in &mut members {
            for _ in 0..2 {
                let read = subscription.try_batch(&mut batch, 1);
                read.map_err(|_| closed())?;
                membership.release(batch.len(), batch.iter().map(|e| e.bytes).sum());
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
