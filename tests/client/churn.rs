//! A day of topics, producers, groups and consumers that come and go, on a clock that the test
//! moves: memory, descriptors, files and bytes on disk follow what exists, not what has existed.
//!
//! `ANNALS_CHURN_ROUNDS=20000 cargo test --all-features --test client churn -- --nocapture` makes
//! a longer day, and prints the figures of each tenth of it.

use annals::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{memory, process};

/// The resources held at a moment.
#[derive(Debug, Clone, Copy)]
struct Held {
    allocations: i64,
    bytes: i64,
    descriptors: usize,
    files: u64,
    /// The size of all topics except `__consumer_offsets`.
    disk_bytes: u64,
    /// Grows to 4 MiB a partition, or to a multiple of what is committed, until it is compacted.
    offsets_bytes: u64,
}

impl Held {
    fn now(dir: &Path) -> Held {
        let (allocations, bytes) = memory::process();
        // None where the system has no such directory.
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let mut held =
            Held { allocations, bytes, descriptors, files: 0, disk_bytes: 0, offsets_bytes: 0 };
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let (files, bytes) = size(&entry.path());
            held.files += files;
            let is_offsets = entry.file_name().to_str().unwrap().starts_with("__consumer_offsets");
            *(if is_offsets { &mut held.offsets_bytes } else { &mut held.disk_bytes }) += bytes;
        }
        held
    }
}

/// How many files there are, and their bytes.
fn size(path: &Path) -> (u64, u64) {
    let metadata = std::fs::metadata(path).unwrap();
    if metadata.is_file() {
        return (1, metadata.len());
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path()));
    entries.fold((0, 0), |total, found| (total.0 + found.0, total.1 + found.1))
}

struct Day {
    store: Store,
    clock: Arc<ManualClock>,
    producer: Producer,
    consumer: Consumer,
}

const RETENTION: Duration = Duration::from_secs(600);

impl Day {
    fn begin(dir: &Path) -> Day {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        let offsets = GroupCoordinatorConfig::default().offsets_partitions(2);
        let config = StoreConfig::default().clock(clock.clone()).maintenance(None);
        let store =
            Store::open(dir, config.group_coordinator(offsets).recovery_threads(1)).unwrap();
        let events = TopicConfig::default().partitions(2).retention_age(RETENTION);
        store.create_topic("events", events.segment_age(RETENTION)).unwrap();
        let table = TopicConfig::default().cleanup_policy(CleanupPolicy::Compact);
        let table = table.segment_age(RETENTION).min_cleanable_dirty_ratio(0.0);
        store.create_topic("table", table.delete_retention(RETENTION)).unwrap();
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let config = ConsumerConfig::new("all").auto_offset_reset(AutoOffsetReset::Earliest);
        let mut consumer = store.consumer(config).unwrap();
        consumer.subscribe(["events"]).unwrap();
        Day { store, clock, producer, consumer }
    }

    /// A request, its answer by way of a topic and a group of its own, and a producer that is used
    /// once.
    fn round(&mut self, n: u64, step: Duration) {
        let (reply, group) = (format!("reply-{n}"), format!("group-{n}"));
        self.store.create_topic(&reply, TopicConfig::default()).unwrap();
        self.producer.send((reply.as_str(), "answer")).unwrap().wait().unwrap();
        let config = ConsumerConfig::new(&group).auto_offset_reset(AutoOffsetReset::Earliest);
        let mut member = self.store.consumer(config).unwrap();
        member.subscribe([reply.as_str()]).unwrap();
        assert_eq!(member.poll(Duration::ZERO).unwrap().len(), 1);
        member.close().unwrap();
        self.store.admin().delete_group(&group).unwrap();
        self.store.delete_topic(&reply).unwrap();

        let once = self.store.producer(ProducerConfig::default()).unwrap();
        let key = format!("key-{}", n % 50);
        let value = Record::new(format!("value-{n}"));
        once.send(("events", value.clone().key(key.clone()))).unwrap().wait().unwrap();
        let changed = if n.is_multiple_of(7) { Record::new("").null_value() } else { value };
        once.send(("table", changed.key(key))).unwrap().wait().unwrap();
        once.close().unwrap();
        while !self.consumer.poll(Duration::ZERO).unwrap().is_empty() {}

        self.clock.advance(step);
        if n.is_multiple_of(10) {
            for topic in self.store.topics() {
                for log in topic.partitions().iter() {
                    log.maintain().unwrap();
                }
            }
        }
    }
}

#[test]
fn day_of_churn_leaks_nothing() {
    process::alone(&day_of_churn_leaks_nothing, day);
}

fn day() {
    let rounds: u64 = match std::env::var("ANNALS_CHURN_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => 500,
    };
    // In memory where there is such a file system, so that the figures do not depend on the disk.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.unwrap();
    let step = Duration::from_secs(24 * 3600) / u32::try_from(rounds).unwrap();
    let mut day = Day::begin(dir.path());
    let mut tenths = vec![];
    for n in 0..rounds {
        day.round(n, step);
        if (n + 1).is_multiple_of(rounds / 10) {
            let held = Held::now(dir.path());
            println!("{:>6} {held:?}", n + 1);
            tenths.push(held);
        }
    }
    // Figures that rise and fall between two compactions are compared at their peaks.
    let peak = |tenths: &[Held], of: fn(&Held) -> i64| tenths.iter().map(of).max().unwrap();
    let (early, late) = (&tenths[2..6], &tenths[6..]);
    let grown = |of: fn(&Held) -> i64| peak(late, of) - peak(early, of);
    assert!(grown(|held| held.allocations) < 50, "{tenths:?}");
    assert!(grown(|held| held.bytes) < 16 << 10, "{tenths:?}");
    assert!(grown(|held| held.descriptors as i64) <= 2, "{tenths:?}");
    assert!(grown(|held| held.files as i64) <= 4, "{tenths:?}");
    assert!(grown(|held| held.disk_bytes as i64) < 64 << 10, "{tenths:?}");

    assert!(peak(&tenths, |held| held.offsets_bytes as i64) < 2 * (5 << 20), "{tenths:?}");

    let partitions: u32 = day.store.topics().iter().map(Topic::partition_count).sum();
    day.producer.close().unwrap();
    day.consumer.close().unwrap();
    day.store.close().unwrap();
    let marker = std::fs::metadata(dir.path().join(".kafka_cleanshutdown")).unwrap().len();
    assert!(marker < u64::from(partitions) << 10, "{marker}");
}
