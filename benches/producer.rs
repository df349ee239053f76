//! Producing beside what it rests on, in one run, by turns: records sent one by one against the same batches appended
//! ready-made.
//!
//! `cargo bench --bench producer` prints a table in Markdown; see `ratios` for the words after `--`.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints what it found"
)]

mod pairs;
mod work;

use annals::record::{BatchBuilder, RecordBatch};
use annals::{
    Acks, LogConfig, Producer, ProducerConfig, ProducerRecord, Record, Store, StoreConfig,
    Timestamp, TopicConfig,
};
use bytes::Bytes;
use pairs::{Run, Unit};
use std::sync::Arc;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;

fn main() {
    let run = Run::from_environment();
    run.head("other");
    for batch_bytes in [16 << 10, 64 << 10, 256 << 10] {
        batched(&run, batch_bytes);
    }
    threads(&run);
    waited_for(&run);
}

fn producer(dir: &std::path::Path, partitions: u32, config: ProducerConfig) -> Producer {
    let store = Store::open(dir.join("store"), StoreConfig::default()).unwrap();
    store.create_topic("bench", TopicConfig::default().partitions(partitions)).unwrap();
    store.producer(config).unwrap()
}

fn record(topic: &Arc<str>, value: &Bytes) -> ProducerRecord {
    ProducerRecord::new(Arc::clone(topic), Record::new(value.clone()))
}

fn send(producer: &Producer, count: u64, handles: bool) {
    let topic: Arc<str> = "bench".into();
    let value = Bytes::from_static(work::values(VALUE_BYTES).leak());
    for _ in 0..count {
        if handles {
            producer.send(record(&topic, &value)).unwrap();
        } else {
            producer.send_and_forget(record(&topic, &value)).unwrap();
        }
    }
}

/// As many records, as the producer puts them into batches.
fn append_batches(count: u64, batch_bytes: usize) -> Duration {
    let dir = work::fresh_dir();
    let log = work::open(dir.path(), LogConfig::default());
    let value = work::values(VALUE_BYTES);
    let mut builder = BatchBuilder::new();
    let (mut took, mut made) = (Duration::ZERO, 0);
    while made < count {
        let mut batches: Vec<RecordBatch> = Vec::new();
        while made < count && batches.len() < 64 {
            while builder.size_bytes() + VALUE_BYTES + 40 <= batch_bytes {
                builder.push(Timestamp::from_millis(1), None, Some(&value)).unwrap();
            }
            made += builder.len() as u64;
            batches.push(builder.build().unwrap());
        }
        let start = Instant::now();
        for batch in batches {
            log.append_batch(batch).unwrap();
        }
        took += start.elapsed();
    }
    took
}

fn batched(run: &Run, batch_bytes: usize) {
    let count = run.size(4_000_000);
    let config = || ProducerConfig::default().batch_bytes(batch_bytes);
    for (call, handles) in [("send", true), ("send_and_forget", false)] {
        let ours = || {
            let dir = work::fresh_dir();
            let producer = producer(dir.path(), 1, config());
            let start = Instant::now();
            send(&producer, count, handles);
            producer.flush().unwrap();
            start.elapsed()
        };
        let kib = batch_bytes >> 10;
        let name = format!("{call} 100 B, batches of {kib} KiB, against append_batch");
        run.row(&name, "0.60", Unit::Calls(count), ours, || append_batches(count, batch_bytes));
    }
}

fn threads(run: &Run) {
    let count = run.size(2_000_000);
    let ours = |threads: u64, partitions| {
        let dir = work::fresh_dir();
        let producer = producer(dir.path(), partitions, ProducerConfig::default());
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| send(&producer, count / threads, true));
            }
        });
        producer.flush().unwrap();
        start.elapsed()
    };
    for (threads, partitions) in [(2, 1), (4, 1), (4, 8)] {
        let name =
            format!("send 100 B, {threads} threads, {partitions} partitions, against 1 and 1");
        run.row(&name, "", Unit::Calls(count), || ours(threads, partitions), || ours(1, 1));
    }
}

fn waited_for(run: &Run) {
    let count = run.size(100_000);
    let value: &[u8] = work::values(VALUE_BYTES).leak();
    let ours = |acks| {
        let dir = work::fresh_dir();
        let producer = producer(dir.path(), 1, ProducerConfig::default().acks(acks));
        let topic: Arc<str> = "bench".into();
        let value = Bytes::from_static(value);
        let start = Instant::now();
        for _ in 0..count {
            producer.send(record(&topic, &value)).unwrap().wait().unwrap();
        }
        start.elapsed()
    };
    let append = || {
        let dir = work::fresh_dir();
        let log = work::open(dir.path(), LogConfig::default());
        work::append_each(&log, value, count, 1)
    };
    let name = "send 100 B and wait for each, against append";
    run.row(name, "", Unit::Calls(count), || ours(Acks::Written), append);
}
