//! Producing and consuming compared with the layer below, by turns in one run. Records that are
//! sent one by one are compared with the same batches appended ready-made, records that are polled
//! with a reader of the log, and both together with the limit of the machine.
//!
//! `cargo bench --bench producer` prints a table in Markdown. The words after `--` are those of
//! `ratios`.
#![allow(
    missing_docs,
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints what it found"
)]

mod pairs;
mod work;

use annals::record::{BatchBuilder, RecordBatch};
use annals::{
    Acks, AutoOffsetReset, Consumer, ConsumerConfig, LogConfig, Producer, ProducerConfig,
    ProducerRecord, Record, Store, StoreConfig, Timestamp, TopicConfig,
};
use bytes::Bytes;
use pairs::{Run, Unit};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    transactions(&run);
    consumed(&run);
    end_to_end(&run);
}

fn producer(dir: &std::path::Path, partitions: u32, config: ProducerConfig) -> Producer {
    let store = Store::open(dir.join("store"), StoreConfig::default()).unwrap();
    store.create_topic("bench", TopicConfig::default().partitions(partitions)).unwrap();
    store.producer(config).unwrap()
}

fn record(topic: &Arc<str>, value: &Bytes) -> ProducerRecord {
    ProducerRecord::new(Arc::clone(topic), Record::new(value.clone()))
}

/// A way to send.
#[derive(Clone, Copy)]
enum Call {
    /// By the name of the topic, with a handle for each record.
    Send,
    SendAndForget,
    /// By a `TopicProducer`, with a handle for each record.
    TopicSend,
    TopicSendBytes,
    TopicSendAndForget,
}

fn send(producer: &Producer, count: u64, call: Call) {
    let topic: Arc<str> = "bench".into();
    let value = Bytes::from_static(work::values(VALUE_BYTES).leak());
    let bound = producer.topic(topic.clone()).unwrap();
    // Each way has its own loop, because a choice inside the loop would be measured, too.
    match call {
        Call::Send => (0..count).for_each(|_| {
            producer.send(record(&topic, &value)).unwrap();
        }),
        Call::SendAndForget => {
            (0..count).for_each(|_| producer.send_and_forget(record(&topic, &value)).unwrap());
        }
        Call::TopicSend => (0..count).for_each(|_| {
            bound.send(value.clone()).unwrap();
        }),
        Call::TopicSendBytes => (0..count).for_each(|_| {
            bound.send_bytes(None, Some(&value)).unwrap();
        }),
        Call::TopicSendAndForget => {
            (0..count).for_each(|_| bound.send_and_forget(value.clone()).unwrap());
        }
    }
}

/// Appends as many records, in the batches that the producer would build.
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
    for (name, call) in [
        ("send", Call::Send),
        ("send_and_forget", Call::SendAndForget),
        ("topic, send", Call::TopicSend),
        ("topic, send_bytes", Call::TopicSendBytes),
        ("topic, send_and_forget", Call::TopicSendAndForget),
    ] {
        let ours = || {
            let dir = work::fresh_dir();
            let producer = producer(dir.path(), 1, config());
            let start = Instant::now();
            send(&producer, count, call);
            producer.flush().unwrap();
            start.elapsed()
        };
        let kib = batch_bytes >> 10;
        let name = format!("{name} 100 B, batches of {kib} KiB, against append_batch");
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
                scope.spawn(|| send(&producer, count / threads, Call::Send));
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

/// Sends records in groups, each in a transaction of its own if `in_transactions`, and otherwise
/// with a flush after it.
fn grouped(store: &Store, groups: u64, records: u32, in_transactions: bool) -> Duration {
    const PARTITIONS: u32 = 4;
    store.create_topic("bench", TopicConfig::default().partitions(PARTITIONS)).unwrap();
    let config = ProducerConfig::default();
    let config = if in_transactions { config.transactional_id("bench-1") } else { config };
    let producer = store.producer(config).unwrap();
    if in_transactions {
        producer.init_transactions().unwrap();
    }
    let topic: Arc<str> = "bench".into();
    let value = Bytes::from_static(work::values(VALUE_BYTES).leak());
    let start = Instant::now();
    for _ in 0..groups {
        if in_transactions {
            producer.begin_transaction().unwrap();
        }
        for n in 0..records {
            producer.send(record(&topic, &value).partition(n % PARTITIONS)).unwrap();
        }
        if in_transactions { producer.commit_transaction() } else { producer.flush() }.unwrap();
    }
    start.elapsed()
}

fn transactions(run: &Run) {
    let on_disk = |groups, records, in_transactions| {
        let dir = work::fresh_dir();
        let store = Store::open(dir.path().join("store"), StoreConfig::default()).unwrap();
        grouped(&store, groups, records, in_transactions)
    };
    let in_memory = |groups, records, in_transactions| {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        grouped(&store, groups, records, in_transactions)
    };
    let groups = run.size(20_000);
    let name = "transactions of 100 records of 100 B, 4 partitions, against send and flush";
    let [ours, other] = [true, false].map(|yes| move || on_disk(groups, 100, yes));
    run.row(name, "0.50", Unit::Calls(groups), ours, other);
    let groups = run.size(50_000);
    for records in [1, 4] {
        let name = format!(
            "transactions of {records} records in {records} partitions, in memory, against send and flush"
        );
        let [ours, other] = [true, false].map(|yes| move || in_memory(groups, records, yes));
        run.row(&name, "", Unit::Calls(groups), ours, other);
    }
}

fn consumer(store: &Store, group: Option<&str>) -> Consumer {
    let config = group.map_or_else(ConsumerConfig::default, ConsumerConfig::new);
    let config = config.auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(10_000);
    store.consumer(config).unwrap()
}

/// Polls this many records.
fn poll(consumer: &mut Consumer, count: u64) {
    let mut polled = 0;
    while polled < count {
        polled += consumer.poll(Duration::from_secs(10)).unwrap().len() as u64;
    }
}

fn filled(dir: &std::path::Path, partitions: u32, count: u64) -> Store {
    let store = Store::open(dir.join("store"), StoreConfig::default()).unwrap();
    store.create_topic("bench", TopicConfig::default().partitions(partitions)).unwrap();
    let producer = store.producer(ProducerConfig::default()).unwrap();
    send(&producer, count, Call::SendAndForget);
    producer.close().unwrap();
    store
}

fn consumed(run: &Run) {
    let count = run.size(4_000_000);
    let ours = |partitions: u32| {
        let dir = work::fresh_dir();
        let store = filled(dir.path(), partitions, count);
        let mut consumer = consumer(&store, None);
        consumer.assign((0..partitions).map(|number| ("bench", number).into())).unwrap();
        let start = Instant::now();
        poll(&mut consumer, count);
        start.elapsed()
    };
    let produced = || {
        let dir = work::fresh_dir();
        let producer = producer(dir.path(), 1, ProducerConfig::default());
        let start = Instant::now();
        send(&producer, count, Call::Send);
        producer.flush().unwrap();
        start.elapsed()
    };
    for partitions in [1, 8] {
        let name = format!("poll 100 B from {partitions} partitions, against sending them");
        run.row(&name, "1.00", Unit::Calls(count), || ours(partitions), produced);
    }
}

/// Runs producers and a group of consumers at once, from the first record sent to the last record
/// polled.
fn end_to_end(run: &Run) {
    let count = run.size(2_000_000);
    let ours = |partitions: u32, threads: u64| {
        let dir = work::fresh_dir();
        let store = Store::open(dir.path().join("store"), StoreConfig::default()).unwrap();
        store.create_topic("bench", TopicConfig::default().partitions(partitions)).unwrap();
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let mut consumers: Vec<Consumer> = (0..threads)
            .map(|_| {
                let mut consumer = consumer(&store, Some("bench"));
                consumer.subscribe(["bench"]).unwrap();
                consumer
            })
            .collect();
        let wakers: Vec<_> = consumers.iter().map(Consumer::waker).collect();
        let polled = AtomicU64::new(0);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for mut consumer in consumers.drain(..) {
                let (polled, wakers) = (&polled, &wakers);
                scope.spawn(move || {
                    while polled.load(Ordering::Relaxed) < count {
                        let records = consumer.poll(Duration::from_secs(10)).unwrap();
                        let before = polled.fetch_add(records.len() as u64, Ordering::Relaxed);
                        if before + records.len() as u64 >= count {
                            wakers.iter().for_each(annals::ConsumerWaker::wake);
                        }
                    }
                });
            }
            for _ in 0..threads {
                scope.spawn(|| send(&producer, count / threads, Call::Send));
            }
        });
        start.elapsed()
    };
    for (partitions, threads) in [(1, 1), (4, 2), (8, 4)] {
        let name = format!(
            "{threads} producers to {threads} consumers, 100 B, {partitions} partitions, against append_batch"
        );
        let other = || append_batches(count, 16 << 10);
        run.row(&name, "", Unit::Calls(count), || ours(partitions, threads), other);
    }
}
