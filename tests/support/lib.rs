//! Shared code of the tests: a model of a log, random choices by seed, and access to the files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod images;
pub mod keyed;
pub mod memory;
pub mod process;
#[allow(dead_code, clippy::should_implement_trait)]
#[path = "../../src/random.rs"]
mod random;
pub mod sim;
pub mod targets;

pub use random::SplitMix64 as Chance;

use annals::fs::{Fs, MemFs, OpenMode};
use annals::{
    Event, Listener, Log, LogConfig, ManualClock, Offset, Record, StartAt, Store, StoreConfig,
    StoredRecord, Timestamp,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub const DIR: &str = "t-0";
pub const T0: i64 = 1_700_000_000_000;

/// Returns the seeds to run: those in the environment variable (`7` or `0..500`), or else the
/// first `default` ones.
pub fn seeds(variable: &str, default: u64) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(variable) else { return 0..default };
    match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => text.parse().map(|seed: u64| seed..seed + 1).unwrap(),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rec {
    pub offset: Offset,
    pub time: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl From<StoredRecord> for Rec {
    fn from(record: StoredRecord) -> Rec {
        Rec {
            offset: record.offset,
            time: record.timestamp.as_millis(),
            key: record.key.map(|key| key.to_vec()),
            value: record.value.map(|value| value.to_vec()),
        }
    }
}

/// A model of a log: the appended batches, and the end, which may lie above the last batch.
#[derive(Debug, Clone, Default, Hash)]
pub struct Model {
    pub batches: Vec<Vec<Rec>>,
    /// Records below this offset were deleted, although their batches are still in the list.
    pub start: Offset,
    pub end: Offset,
    /// Everything below this offset was acknowledged as durable.
    pub durable: Offset,
}

impl Model {
    pub fn append(&mut self, records: Vec<Rec>) {
        self.end = records.last().unwrap().offset + 1;
        self.batches.push(records);
    }

    pub fn records(&self) -> impl DoubleEndedIterator<Item = &Rec> {
        self.batches.iter().flatten().filter(|record| record.offset >= self.start)
    }

    /// Returns the model of the same log after its start has moved to `start`.
    pub fn from(&self, start: Offset) -> Model {
        let mut left = Model { start, ..self.clone() };
        left.batches.iter_mut().for_each(|batch| batch.retain(|rec| rec.offset >= start));
        left.batches.retain(|batch| !batch.is_empty());
        left
    }

    pub fn delete_before(&mut self, target: Offset) {
        self.start = self.start.max(target);
        self.durable = self.durable.max(self.start);
    }

    pub fn truncate(&mut self, target: Offset) {
        self.batches.retain(|batch| batch.last().unwrap().offset < target);
        self.end = target;
        self.durable = self.durable.min(target);
    }

    /// Returns the first record with this timestamp or a later one.
    pub fn at_time(&self, time: i64) -> Option<(Offset, Timestamp)> {
        let found = self.records().find(|record| record.time >= time)?;
        Some((found.offset, Timestamp::from_millis(found.time)))
    }

    /// Checks that the log holds exactly the records of the model.
    pub fn check(&self, log: &Log) {
        assert_eq!(log.offsets().start, self.start, "the start of the log");
        assert_eq!(log.offsets().end, self.end, "the end of the log");
        let found = read_all(log);
        for (want, got) in self.records().zip(&found) {
            assert_eq!(want, got);
        }
        assert_eq!(found.len(), self.records().count(), "the number of records");
    }

    /// Checks that the log holds the first records of the model, at least up to the durable
    /// offset. Truncates the model to the end of the log.
    pub fn check_survived(&mut self, log: &Log) {
        let end = log.offsets().end;
        assert!(end >= self.durable, "the log ends at {end}, {} was durable", self.durable);
        assert!(end <= self.end, "the log ends at {end}, beyond {}", self.end);
        let boundary = end == self.start
            || end == self.end
            || self
                .batches
                .iter()
                .any(|b| b[0].offset == end || b.last().unwrap().offset + 1 == end);
        assert!(boundary, "the log ends at {end}, inside of a batch");
        self.truncate(end);
        self.check(log);
        assert_eq!(log.offsets().durable, end);
        self.durable = end;
        assert_eq!(log.verify().unwrap(), []);
    }
}

pub fn read_all(log: &Log) -> Vec<Rec> {
    log.reader(StartAt::Earliest).unwrap().records().map(|record| record.unwrap().into()).collect()
}

/// Returns the values of all records, which must be text.
pub fn values(log: &Log) -> Vec<String> {
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records.map(|record| record.unwrap().value_str().unwrap().to_owned()).collect()
}

/// Returns the offsets of all records.
pub fn offsets(log: &Log) -> Vec<Offset> {
    log.reader(StartAt::Earliest).unwrap().records().map(|r| r.unwrap().offset).collect()
}

/// Appends a batch of three records whose values end with `tag`.
pub fn three(log: &Log, tag: &str) {
    log.append_all(["a", "b", "c"].map(|v| Record::new(format!("{v}{tag}")))).unwrap();
}

/// Opens the store in directory `d`, without threads of its own.
pub fn store(fs: impl Fs) -> Store {
    let config = StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1);
    Store::open("d", config).unwrap()
}

/// Returns the names in a directory, sorted.
pub fn names(fs: &dyn Fs, dir: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> =
        fs.list(dir.as_ref()).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Returns the bytes of all files of a directory, by name.
pub fn files(fs: &dyn Fs, dir: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs.list(Path::new(dir)).unwrap();
    entries.into_iter().map(|e| (e.name.clone(), read_file(fs, dir, &e.name))).collect()
}

pub fn read_file(fs: &dyn Fs, dir: &str, name: &str) -> Vec<u8> {
    let file = fs.open(&Path::new(dir).join(name), OpenMode::ReadOnly).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces the content of a file, creating it if there is none.
pub fn write_file(fs: &dyn Fs, dir: &str, name: &str, bytes: &[u8]) {
    let path = Path::new(dir).join(name);
    let file = fs.open(&path, OpenMode::ReadWrite).or_else(|_| fs.open(&path, OpenMode::CreateNew));
    let file = file.unwrap();
    file.set_len(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// Checks that opening a log again changes no file.
pub fn check_reopening_changes_nothing(fs: &MemFs, config: &LogConfig) {
    // The first opening may create a log. The second creates the indexes that a new log lacks.
    (0..2).for_each(|_| drop(Log::open(DIR, config.clone().fs(fs.clone())).unwrap()));
    let before = files(fs, DIR);
    drop(Log::open(DIR, config.clone().fs(fs.clone())).unwrap());
    let after = files(fs, DIR);
    for (name, bytes) in &before {
        assert_eq!(after.get(name), Some(bytes), "{name} was changed by opening again");
    }
    assert_eq!(before.len(), after.len());
}

/// Prints text to stderr even from a test that passes, whose output is otherwise captured.
pub fn say(text: &str) {
    std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n")).ok();
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(T0)))
}

/// Returns the name of a file of a segment.
pub fn name(base: Offset, extension: &str) -> String {
    format!("{base:020}.{extension}")
}

/// Waits until another thread has done something. If it never does, the test fails.
#[track_caller]
pub fn until(is_done: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_done() {
        assert!(began.elapsed().as_secs() < 60, "nothing happens");
        std::thread::yield_now();
    }
}

/// Gives a batch that was changed the right checksum.
pub fn mend_checksum(batch: &mut [u8]) {
    let checksum = annals::record::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
}

/// Blocks this thread until a future is ready.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// A listener that collects all events.
#[derive(Debug, Default)]
pub struct Heard(pub std::sync::Mutex<Vec<Event>>);

impl Listener for Heard {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
