//! The cost of many partitions: opening them, holding them open, and leaving them idle; the cost
//! of a small store in memory; the memory of transactions and producers; and the opening of a store
//! with ongoing transactions.
//!
//! `cargo bench --bench store -- 10000` measures that number of partitions, instead of 1,000 and
//! 10,000.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and prints what it found"
)]

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::record::BatchBuilder;
use annals::{
    Acks, AutoOffsetReset, ConsumerConfig, Log, LogConfig, Outcome, ProducerConfig, Record, Store,
    StoreConfig, Timestamp, TopicConfig, TransactionVersion, Wait,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

static HELD: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn held() -> isize {
    HELD.load(Ordering::Relaxed)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Returns how many descriptors this process may hold.
fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = limit.and_then(|limit| limit.split_whitespace().next()?.parse().ok());
    soft.unwrap_or(usize::MAX)
}

/// Returns the processor time that this process has used.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse().ok())
        .collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 10)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Creates a hundred topics, or one if there are fewer partitions.
fn many(partitions: u32, quick: bool) {
    // Two for each partition, and some for the store.
    let needed = partitions as usize * 2 + 100;
    if descriptor_limit() < needed {
        println!("SKIPPED: {partitions} partitions need {needed} descriptors (`ulimit -n`)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let config = || StoreConfig::default();
    let topics = if partitions < 100 { 1 } else { 100 };
    let began = Instant::now();
    let store = Store::open(&path, config()).unwrap();
    for topic in 0..topics {
        let topic = store
            .create_topic(
                &format!("topic-{topic}"),
                TopicConfig::default().partitions(partitions / topics),
            )
            .unwrap();
        for log in topic.partitions().iter() {
            log.append_all((0..3).map(|n| Record::new(vec![b'x'; 100]).key(format!("{n}"))))
                .unwrap();
        }
    }
    let made = began.elapsed();
    let began = Instant::now();
    store.close().unwrap();
    let closed = began.elapsed();
    drop(store);

    let (before, files) = (held(), descriptors());
    let began = Instant::now();
    let store = Store::open(&path, config()).unwrap();
    let clean = began.elapsed();
    let each = (held() - before) as f64 / f64::from(partitions) / 1024.0;
    let open = descriptors().saturating_sub(files);
    let used = cpu();
    std::thread::sleep(Duration::from_millis(if quick { 100 } else { 10_000 }));
    let idle = cpu().saturating_sub(used);
    drop(store);
    let began = Instant::now();
    let store = Store::open(&path, config()).unwrap();
    let unclean = began.elapsed();
    store.close().unwrap();
    println!(
        "{partitions} partitions: made and written to once in {made:.2?}, closed in {closed:.2?}, opened in {clean:.2?}, after a kill in {unclean:.2?}; {each:.1} KiB and {:.2} descriptors each; {idle:?} of CPU in 10 idle seconds",
        open as f64 / f64::from(partitions),
    );
}

fn small(quick: bool) {
    let rounds = if quick { 3 } else { 1000 };
    let ready = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            let store = Store::in_memory(StoreConfig::default()).unwrap();
            store.create_topic("orders", TopicConfig::default()).unwrap();
            began.elapsed()
        })
        .collect();
    println!("a store in memory with a topic is ready in {:.1?}", median(ready));

    let store = Store::in_memory(StoreConfig::default()).unwrap();
    store.create_topic("orders", TopicConfig::default()).unwrap();
    let producer = store
        .producer(ProducerConfig::default().linger(Duration::ZERO).acks(Acks::Written))
        .unwrap();
    let config = ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config).unwrap();
    consumer.assign([("orders", 0).into()]).unwrap();
    let mut round = || {
        let began = Instant::now();
        producer.send(("orders", "an order")).unwrap().wait().unwrap();
        while consumer.poll(Duration::from_secs(1)).unwrap().is_empty() {}
        began.elapsed()
    };
    for _ in 0..rounds {
        round();
    }
    let mut times: Vec<Duration> = (0..rounds * 10).map(|_| round()).collect();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
    println!(
        "produced, waited for and polled in one thread: p50 {:.1?}, p99 {:.1?}",
        at(500),
        at(990)
    );
}

/// Measures the memory of transactional ids, each with a transaction open over four partitions,
/// then without one; and of producer ids that a log knows.
fn transactions(quick: bool) {
    let ids: i32 = if quick { 100 } else { 10_000 };
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig::default().maintenance(None);
    let store = Store::open(dir.path().join("data"), config).unwrap();
    let topic = store.create_topic("orders", TopicConfig::default().partitions(4)).unwrap();
    let transactions = store.transactions().unwrap();
    let timeout = Duration::from_secs(600);
    let begin = |id: &str| {
        let who = transactions.init_producer_id(id, timeout, None, Wait::No).unwrap();
        let added: Vec<_> = (0..4).map(|number| ("orders", number).into()).collect();
        transactions.add_partitions(id, who, &added, TransactionVersion::V2, Wait::No).unwrap();
        for log in topic.partitions().iter() {
            let guard = log.begin_verification(who, 0, TransactionVersion::V2).unwrap();
            let mut builder = BatchBuilder::new();
            builder.producer(who.id, who.epoch, 0).transactional(true);
            builder.push(Timestamp::from_millis(1), None, Some(b"an order")).unwrap();
            log.append_verified(builder.build().unwrap(), guard).unwrap();
        }
        who
    };
    begin("first");
    let names: Vec<String> = (0..ids).map(|number| format!("billing-{number:05}")).collect();
    let mut open = Vec::with_capacity(names.len());
    let before = held();
    open.extend(names.iter().map(|id| begin(id)));
    let each = |before: isize| (held() - before) as f64 / f64::from(ids);
    let while_open = each(before);
    for (id, who) in names.iter().zip(open) {
        let version = TransactionVersion::V2;
        transactions.end(id, who, Outcome::Commit, version, false, Wait::No).unwrap();
    }
    println!(
        "a transactional id holds {while_open:.0} B with a transaction open in 4 partitions, and {:.0} B without, both with its producer in 4 logs",
        each(before)
    );

    let log = Log::open(dir.path().join("log"), LogConfig::default()).unwrap();
    let before = held();
    for id in 0..ids {
        let mut builder = BatchBuilder::new();
        builder.producer(id.into(), 0, 0);
        builder.push(Timestamp::from_millis(1), None, Some(b"an order")).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap();
    }
    println!("a log holds {:.0} B for each producer id that it knows", each(before));
}

/// The cost of ids alone, and of an opening that aborts their transactions.
fn ongoing(ids: u32, config: StoreConfig, dir: &Path, reopened: impl FnOnce() -> StoreConfig) {
    let (store, timeout) = (Store::open(dir, config).unwrap(), Duration::from_secs(600));
    let topic = store.create_topic("orders", TopicConfig::default().partitions(4)).unwrap();
    let transactions = store.transactions().unwrap();
    let names: Vec<String> = (0..ids).map(|number| format!("billing-{number:06}")).collect();
    let mut who = Vec::with_capacity(names.len());
    let each = |before: isize| (held() - before) as f64 / f64::from(ids);
    let before = held();
    let init = |id: &String| transactions.init_producer_id(id, timeout, None, Wait::No).unwrap();
    who.extend(names.iter().map(init));
    let idle = each(before);
    for (number, (id, who)) in (0..4).cycle().zip(names.iter().zip(&who)) {
        let added = [("orders", number).into()];
        transactions.add_partitions(id, *who, &added, TransactionVersion::V2, Wait::No).unwrap();
    }
    let adding = each(before);
    for (number, who) in (0..4).cycle().zip(&who) {
        let log = topic.partition(number).unwrap();
        let guard = log.begin_verification(*who, 0, TransactionVersion::V2).unwrap();
        let mut builder = BatchBuilder::new();
        builder.producer(who.id, who.epoch, 0).transactional(true);
        builder.push(Timestamp::from_millis(1), None, Some(b"an order")).unwrap();
        log.append_verified(builder.build().unwrap(), guard).unwrap();
    }
    drop((store, topic, transactions));
    let start = Instant::now();
    let store = Store::open(dir, reopened()).unwrap();
    let took = start.elapsed();
    let undecided = |log: &Log| log.offsets().last_stable < log.offsets().end;
    assert!(!store.topic("orders").unwrap().partitions().iter().any(undecided));
    println!(
        "{ids} transactional ids: each holds {idle:.0} B idle, {adding:.0} B with a partition added; the next opening aborts their transactions in {took:.2?}"
    );
}

fn openings(ids: u32) {
    let config = || StoreConfig::default().maintenance(None);
    let dir = tempfile::tempdir().unwrap();
    print!("on disk: ");
    ongoing(ids, config(), &dir.path().join("data"), config);
    let fs = MemFs::new();
    let counted = FaultFs::new(fs.clone());
    let nothing = || Fault::call(|_| ());
    let syncs = counted.add_rule(Rule::new(Operation::SyncData, nothing()));
    let writes = counted.add_rule(Rule::new(Operation::Write, nothing()));
    print!("in memory: ");
    let reopened = || config().fs(counted.clone());
    ongoing(ids, config().fs(fs), Path::new("data"), reopened);
    println!("  with {} syncs, {} writes", counted.hit_count(syncs), counted.hit_count(writes));
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let quick = std::env::args().any(|argument| argument == "--test");
    small(quick);
    transactions(quick);
    let counts: &[u32] = if quick { &[100] } else { &[10_000, 100_000] };
    counts.iter().for_each(|ids| openings(*ids));
    let counts: Vec<u32> = arguments.iter().filter_map(|count| count.parse().ok()).collect();
    match (counts.is_empty(), quick) {
        (false, _) => counts.into_iter().for_each(|count| many(count, quick)),
        (true, true) => many(20, true),
        (true, false) => [1000, 10_000].into_iter().for_each(|count| many(count, false)),
    }
}
