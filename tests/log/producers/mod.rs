//! Idempotent producers on a log: batches that are stored once, batches that are rejected, and the
//! producer state that an opening knows.

mod duplicates;
mod expiration;
mod markers;
mod model;
mod snapshots;
mod transactions;
mod verification;

use annals::fs::MemFs;
use annals::record::BatchBuilder;
use annals::{Appended, Log, LogConfig, ProducerEpoch, ProducerId, Result, Sequence, Timestamp};
use support::clock;

/// A record of a producer that does not number its records.
const UNNUMBERED: &str = "no number";

fn config(fs: &MemFs) -> LogConfig {
    LogConfig::default().segment_bytes(900).index_interval_bytes(100).clock(clock()).fs(fs.clone())
}

/// The batches that a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sent {
    id: ProducerId,
    epoch: ProducerEpoch,
    first: Sequence,
    count: i32,
}

impl Sent {
    fn value(self, n: i32) -> String {
        format!("{} {} {}", self.id, self.epoch, self.first.wrapping_add(n) & i32::MAX)
    }

    fn append(self, log: &Log, at: i64) -> Result<Appended> {
        let mut builder = BatchBuilder::new();
        builder.producer(self.id, self.epoch, self.first);
        for n in 0..self.count {
            let (key, value) = ([b'k', n as u8], self.value(n));
            let time = Timestamp::from_millis(at);
            builder.push(time, Some(&key), Some(value.as_bytes())).unwrap();
        }
        log.append_batch(builder.build().unwrap())
    }
}

fn sent(id: ProducerId, epoch: ProducerEpoch, first: Sequence, count: i32) -> Sent {
    Sent { id, epoch, first, count }
}

fn ids(log: &Log) -> Vec<ProducerId> {
    log.producers().unwrap().iter().map(|state| state.producer_id).collect()
}

fn is_of_producers(name: &str) -> bool {
    name.ends_with(".snapshot") || name.ends_with(".recent")
}
