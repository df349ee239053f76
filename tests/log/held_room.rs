//! Disk space and open files that idle handles keep: a reader keeps the segment that it is in, a
//! handle to a closed log keeps nothing.

use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    Acks, AutoOffsetReset, CleanupPolicy, Consumer, ConsumerConfig, Error, ErrorKind,
    GroupCoordinatorConfig, Log, LogConfig, Offset, ProducerConfig, ProducerRecord, Reader, Record,
    StartAt, Store, StoreConfig, Tail, Topic, TopicConfig, TopicPartition,
};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{DIR, clock, files, name};

/// The bytes of a value, and of a segment of nine of them.
const VALUE: usize = 10_000;
const SEGMENT: u64 = 100_000;
const DISK: u64 = 2 << 20;

fn value() -> Record {
    Record::new(vec![b'v'; VALUE])
}

fn store(fs: MemFs) -> Store {
    let config = StoreConfig::default().fs(fs).clock(clock()).maintenance(None).recovery_threads(1);
    // A partition of theirs takes some blocks of a small disk.
    let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
    Store::open("d", config.group_coordinator(groups)).unwrap()
}

/// How many segments a log has on disk.
fn logs(fs: &MemFs) -> usize {
    files(fs, DIR).into_keys().filter(|name| name.ends_with(".log")).count()
}

fn partition() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// A topic `t` on a small disk.
fn small_disk() -> (MemFs, Store, Topic, Log) {
    let fs = MemFs::with_capacity(DISK);
    let store = store(fs.clone());
    // Retention, once it runs, keeps 300 kB.
    let config = TopicConfig::default().segment_bytes(SEGMENT).retention_bytes(3 * SEGMENT);
    let topic = store.create_topic("t", config).unwrap();
    let log = topic.partition(0).unwrap();
    // Before the disk is full: it is written when the first group is used.
    let mut consumer = store.consumer(ConsumerConfig::new("first")).unwrap();
    consumer.subscribe(["t"]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    consumer.close().unwrap();
    (fs, store, topic, log)
}

fn fill(log: &Log) -> Offset {
    loop {
        match log.append(value()) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::StorageFull => return log.offsets().end,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Where it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// It has read nothing as yet.
    Start,
    Middle,
    End,
}

/// The waiting client.
enum Idle {
    Reader(Reader),
    Tail(Tail),
    Consumer(Consumer),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reader,
    Batches,
    Tail,
    Assigned,
    Member,
}

const KINDS: [Kind; 5] = [Kind::Reader, Kind::Batches, Kind::Tail, Kind::Assigned, Kind::Member];

impl Idle {
    fn new(kind: Kind, store: &Store, log: &Log) -> Idle {
        let consumer = |config: ConsumerConfig| {
            let config = config.auto_offset_reset(AutoOffsetReset::Earliest).max_poll_records(1);
            store.consumer(config).unwrap()
        };
        match kind {
            Kind::Reader | Kind::Batches => Idle::Reader(log.reader(StartAt::Earliest).unwrap()),
            Kind::Tail => Idle::Tail(log.tail(StartAt::Earliest).unwrap()),
            Kind::Assigned => {
                let mut consumer = consumer(ConsumerConfig::default());
                consumer.assign([partition()]).unwrap();
                Idle::Consumer(consumer)
            }
            Kind::Member => {
                let mut consumer = consumer(ConsumerConfig::new("group"));
                consumer.subscribe(["t"]).unwrap();
                Idle::Consumer(consumer)
            }
        }
    }

    /// Reads a record, or a batch of one; false at the end of the log.
    fn read(&mut self, kind: Kind) -> bool {
        match self {
            Idle::Reader(reader) if kind == Kind::Batches => reader.next_batch().unwrap().is_some(),
            Idle::Reader(reader) => reader.next_record().unwrap().is_some(),
            Idle::Tail(tail) => tail.next_record(Some(Duration::ZERO)).unwrap().is_some(),
            Idle::Consumer(consumer) => !consumer.poll(Duration::ZERO).unwrap().is_empty(),
        }
    }

    fn go(&mut self, kind: Kind, at: At, log: &Log) {
        let records = match at {
            At::Start => 0,
            At::Middle => log.offsets().end / 2,
            At::End => u64::MAX,
        };
        let mut read = 0;
        while read < records && self.read(kind) {
            read += 1;
        }
        assert!(at == At::End || read == records, "{kind:?}");
    }
}

/// How the front of a log goes.
#[derive(Debug, Clone, Copy)]
enum Deletes {
    Records,
    Before,
    Retention,
    /// The end of it, in this case.
    Truncation,
}

/// A producer fills the disk while a consumer is in the middle of the log, or at its end. Deleted
/// segments used to keep their room until the consumer went on, so the producer could not append.
fn delete_beside(deletes: Deletes) {
    for kind in KINDS {
        for at in [At::Start, At::Middle, At::End] {
            let case = format!("{deletes:?} beside {kind:?} at {at:?}");
            let (fs, store, _, log) = small_disk();
            (0..20).for_each(|_| drop(log.append(value()).unwrap()));
            let mut idle = Idle::new(kind, &store, &log);
            if at != At::Start {
                (0..10).for_each(|_| assert!(idle.read(kind)));
            }
            let end = fill(&log);
            idle.go(kind, at, &log);
            let (full, segments) = (fs.used_bytes(), log.stats().unwrap().segments.len() as u64);
            match deletes {
                Deletes::Records => drop(store.admin().delete_records("t", 0, end - 5).unwrap()),
                Deletes::Before => drop(log.delete_before(end - 5).unwrap()),
                Deletes::Retention => drop(log.maintain().unwrap()),
                Deletes::Truncation => log.truncate_to(5).unwrap(),
            }
            let gone = segments - log.stats().unwrap().segments.len() as u64;
            assert!(gone >= 10, "{case}: {gone} of {segments}");
            // But for the one that it is in.
            let freed = full.saturating_sub(fs.used_bytes());
            assert!(freed >= (gone - 1) * SEGMENT * 9 / 10, "{case}: {freed} bytes of {gone}");
            for _ in 0..(gone - 2) * 9 {
                log.append(value()).unwrap();
            }
            drop(idle);
        }
    }
}

#[test]
fn delete_records_frees_space_beside_readers() {
    delete_beside(Deletes::Records);
}

#[test]
fn delete_before_frees_space_beside_readers() {
    delete_beside(Deletes::Before);
}

#[test]
fn retention_frees_space_beside_readers() {
    delete_beside(Deletes::Retention);
}

#[test]
fn truncate_to_frees_space_beside_readers() {
    delete_beside(Deletes::Truncation);
}

/// A poll does not read from a partition that is paused, or that the consumer has read to its end.
#[test]
fn poll_without_records_keeps_no_segment() {
    for pauses in [false, true] {
        let (fs, store, _, log) = small_disk();
        let mut consumer = store
            .consumer(ConsumerConfig::default().auto_offset_reset(AutoOffsetReset::Earliest))
            .unwrap();
        consumer.assign([partition()]).unwrap();
        let before = fs.used_bytes();
        (0..5).for_each(|_| drop(log.append(value()).unwrap()));
        let room = fs.used_bytes() - before;
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().len(), 5);
        if pauses {
            consumer.pause([partition()]).unwrap();
        }
        log.roll().unwrap();
        log.delete_before(5).unwrap();
        assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
        // The only file left is an index, and no segment.
        let left = fs.used_bytes() - before;
        assert!(left < room / 2, "{left} of {room} bytes");
        consumer.resume([partition()]).unwrap();
        log.append(value()).unwrap();
        assert_eq!(consumer.poll(Duration::ZERO).unwrap().iter().next().unwrap().offset, 5);
    }
}

/// The next segment cannot be opened, for example because the process has no descriptor left. The
/// reader used to continue in the file of the previous segment, and reported damage.
#[test]
fn reader_continues_once_next_segment_opens() {
    let fs = FaultFs::new(MemFs::new());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    for values in [["a", "b"], ["c", "a longer value than those before it"]] {
        log.append_all(values.map(Record::new)).unwrap();
        log.roll().unwrap();
    }
    let mut reader = log.reader(0).unwrap();
    for offset in 0..2 {
        assert_eq!(reader.next_record().unwrap().unwrap().offset, offset);
    }
    let fails = Fault::Error(std::io::ErrorKind::Other);
    fs.add_rule(Rule::new(Operation::Open, fails).path(name(2, "log")).nth(1));
    assert!(matches!(reader.next_record(), Err(Error::Io { .. })));
    for offset in 2..4 {
        assert_eq!(reader.next_record().unwrap().unwrap().offset, offset);
    }
    assert!(reader.next_record().unwrap().is_none());
}

/// A pass of compaction with a limited rate takes hours. Segments deleted meanwhile do not wait
/// for its end.
#[test]
fn compaction_closes_deleted_segments() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let config = LogConfig::default().cleanup_policy(CleanupPolicy::CompactAndDelete);
    // Each segment is rewritten by itself.
    let config = config.segment_bytes(1000).clock(clock()).fs(fs.clone());
    let log = Log::open(DIR, config).unwrap();
    for n in 0..6 {
        let records =
            [0, 1, 2].map(|k| Record::new("v".repeat(200)).key(format!("{}", (n + k) % 7)));
        log.append_all(records).unwrap();
        log.roll().unwrap();
    }
    assert_eq!(logs(&memory), 7);
    // The first read of the pass deletes records. The first write looks at the directory.
    let deletes = log.clone();
    let delete = Fault::call(move |_| drop(deletes.delete_before(9).unwrap()));
    fs.add_rule(Rule::new(Operation::Read, delete).path(".log").nth(1));
    let (tell, told) = channel();
    let (disk, tell) = (memory.clone(), Mutex::new(tell));
    let look = Fault::call(move |_| tell.lock().unwrap().send(logs(&disk)).unwrap());
    fs.add_rule(Rule::new(Operation::CreateNew, look).path(".log.cleaned"));
    log.compact().unwrap();
    assert_eq!(told.try_recv().unwrap(), 4);
}

/// A large log takes hours to verify. Segments deleted meanwhile do not wait for its end.
#[test]
fn verify_closes_deleted_segments() {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    for value in ["a", "b", "c", "d"] {
        log.append(value).unwrap();
        log.roll().unwrap();
    }
    let (tell, told) = channel();
    let (deletes, tell) = (log.clone(), Mutex::new(tell));
    let delete = Fault::call(move |_| {
        deletes.delete_before(3).unwrap();
        tell.lock().unwrap().send(logs(&memory)).unwrap();
    });
    fs.add_rule(Rule::new(Operation::Read, delete).path(".log").nth(1));
    assert_eq!(log.verify().unwrap(), []);
    // The one that is being read, and those that stay.
    assert_eq!(told.try_recv().unwrap(), 3);
}

/// Handles to a deleted topic used to keep its files open: a full disk stayed full while they
/// lived.
#[test]
fn deleted_topic_frees_space_beside_handles() {
    for kind in KINDS {
        for at in [At::Start, At::Middle, At::End] {
            let (fs, store, topic, log) = small_disk();
            let empty = fs.used_bytes();
            (0..150).for_each(|_| drop(log.append(value()).unwrap()));
            let mut idle = Idle::new(kind, &store, &log);
            idle.go(kind, at, &log);
            let producer = store.producer(ProducerConfig::default().acks(Acks::Written)).unwrap();
            producer.send(ProducerRecord::new("t", "v")).unwrap();
            producer.flush().unwrap();
            // Looks into each segment, and opens most.
            (0..150).for_each(|offset| drop(log.get(offset).unwrap()));
            store.delete_topic("t").unwrap();
            let held = fs.used_bytes().saturating_sub(empty);
            assert!(held <= SEGMENT * 3 / 2, "{kind:?} at {at:?} and others hold {held} bytes");
            // The next call fails, and releases the segment.
            match &mut idle {
                Idle::Reader(reader) => {
                    assert!(matches!(reader.next_batch(), Err(Error::Closed { .. })))
                }
                Idle::Tail(tail) => {
                    assert!(matches!(
                        tail.next_batch(Some(Duration::ZERO)),
                        Err(Error::Closed { .. })
                    ));
                }
                Idle::Consumer(consumer) => drop(consumer.poll(Duration::ZERO)),
            }
            let held = fs.used_bytes().saturating_sub(empty);
            assert!(held <= SEGMENT / 2, "{kind:?} at {at:?} and others hold {held} bytes");
            assert!(matches!(log.get(0), Err(Error::Closed { .. })));
            assert_eq!(log.offsets().end, 151);
            drop((idle, producer, topic, log));
        }
    }
}

#[cfg(target_os = "linux")]
mod descriptors {
    use super::*;
    use annals::Admin;

    /// The files and directories below a path that this process has open.
    fn open_below(dir: &Path) -> Vec<String> {
        let dir = dir.canonicalize().unwrap();
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = entries.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        let below = links.filter(|link| link.starts_with(&dir));
        below.map(|link| link.to_string_lossy().into_owned()).collect()
    }

    /// Segments of a few records, each of which was looked into.
    fn fill(log: &Log) {
        let from = log.offsets().end;
        for _ in 0..5 {
            log.append("a").unwrap();
            log.append("b").unwrap();
            log.roll().unwrap();
        }
        (from..from + 10).for_each(|offset| drop(log.get(offset).unwrap()));
    }

    /// Readers in the middle and at the end of a log.
    fn readers(log: &Log) -> (Vec<Reader>, Tail) {
        let mut readers: Vec<_> = [0, 3, 7].map(|from| log.reader(from).unwrap()).into();
        readers.iter_mut().for_each(|reader| drop(reader.next_record().unwrap().unwrap()));
        while readers[2].next_record().unwrap().is_some() {}
        let mut tail = log.tail(5).unwrap();
        tail.next_record(None).unwrap();
        (readers, tail)
    }

    /// After a close, only the files that readers are in are open, and none after their next call.
    fn check_closed(dir: &Path, log: &Log, readers: &mut (Vec<Reader>, Tail)) {
        let left = open_below(dir);
        assert!(left.len() <= 4 && left.iter().all(|file| file.ends_with(".log")), "{left:?}");
        for reader in &mut readers.0 {
            assert!(matches!(reader.next_batch(), Err(Error::Closed { .. })));
        }
        assert!(matches!(readers.1.seek(0), Err(Error::Closed { .. })));
        assert_eq!(open_below(dir), [""; 0]);
        assert_eq!(log.offsets().end, 10);
        assert_eq!(log.recovery().truncated_bytes, 0);
        for closed in [log.flush().map(drop), log.get(1).map(drop), log.stats().map(drop)] {
            assert!(matches!(closed, Err(Error::Closed { .. })));
        }
        assert_eq!(open_below(dir), [""; 0]);
    }

    #[test]
    fn closed_log_has_no_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DIR);
        let log = Log::open(&path, LogConfig::default()).unwrap();
        fill(&log);
        let mut readers = readers(&log);
        log.clone().close().unwrap();
        check_closed(dir.path(), &log, &mut readers);

        let log = Log::open_read_only(&path, LogConfig::default()).unwrap();
        let mut readers = self::readers(&log);
        log.clone().close().unwrap();
        check_closed(dir.path(), &log, &mut readers);
    }

    #[test]
    fn lone_closed_log_keeps_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreConfig::default().maintenance(None)).unwrap();
        store.create_topic("t", TopicConfig::default()).unwrap();
        store.close().unwrap();
        assert_eq!(open_below(dir.path()), [""; 0]);
        // By itself, it takes the directory of the store with it.
        let path = dir.path().join("t-0");
        let log = Log::open(&path, LogConfig::default()).unwrap();
        fill(&log);
        let mut readers = readers(&log);
        log.clone().close().unwrap();
        check_closed(dir.path(), &log, &mut readers);

        let view = Store::open_read_only(dir.path(), StoreConfig::default()).unwrap();
        let log = view.partition("t", 0).unwrap();
        let mut readers = self::readers(&log);
        log.clone().close().unwrap();
        check_closed(dir.path(), &log, &mut readers);
        assert_eq!(view.topics().unwrap(), ["t"]);
    }

    #[test]
    fn closed_store_has_no_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig::default().maintenance(None).recovery_threads(1);
        let store = Store::open(dir.path(), config).unwrap();
        let topic = store.create_topic("t", TopicConfig::default().partitions(3)).unwrap();
        let logs: Vec<Log> = (0..3).map(|number| topic.partition(number).unwrap()).collect();
        logs.iter().for_each(fill);
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let mut consumer = store
            .consumer(ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::Earliest))
            .unwrap();
        consumer.subscribe(["t"]).unwrap();
        while !consumer.poll(Duration::ZERO).unwrap().is_empty() {}
        let admin: Admin = store.admin();
        let mut readers = readers(&logs[1]);
        assert!(open_below(dir.path()).len() > 10);
        store.close().unwrap();
        // Each partition of the consumer counts.
        assert!(open_below(dir.path()).len() <= 4 + 3);
        assert!(matches!(consumer.poll(Duration::ZERO), Err(Error::StoreClosed)));
        check_closed(dir.path(), &logs[1], &mut readers);
        let again = Store::open(dir.path(), StoreConfig::default().maintenance(None)).unwrap();
        assert_eq!(again.topic("t").unwrap().partition(2).unwrap().offsets().end, 10);
        drop((topic, producer, admin, logs));
    }

    /// The process that deletes these files cannot tell this one.
    #[test]
    fn idle_viewer_keeps_two_files_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DIR);
        let log = Log::open(&path, LogConfig::default()).unwrap();
        (0..4).for_each(|_| fill(&log));
        log.close().unwrap();
        let log = Log::open_read_only(&path, LogConfig::default()).unwrap();
        (0..40).for_each(|offset| drop(log.get(offset).unwrap()));
        log.offset_for_time(annals::Timestamp::from_millis(0)).unwrap();
        assert_eq!(log.reader(0).unwrap().records().map(Result::unwrap).count(), 40);
        let open = open_below(dir.path());
        assert!(open.len() <= 2, "{open:?}");
    }
}
