//! The library's side of each comparison in `limit`. Each function returns its duration, without
//! opening and filling the log.

#[allow(dead_code)]
#[path = "../../src/random.rs"]
mod random;

use annals::record::{BatchBuilder, BatchHeader, EndTxnMarker};
use annals::{
    CleanupPolicy, IsolationLevel, Log, LogConfig, ProducerIdentity, Record, StartAt, Timestamp,
    TransactionVersion,
};
use bytes::Bytes;
use random::SplitMix64;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Returns a directory on the disk of the build, which is removed on drop. The system's temporary
/// directory may be in memory, which would measure nothing about a log.
pub fn fresh_dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Returns the values of one batch, one after the other. They are the same in every run, and do
/// not compress to almost nothing.
pub fn values(bytes: usize) -> Vec<u8> {
    let mut random = SplitMix64(0);
    (0..bytes).map(|_| b'a' + (random.next() >> 60) as u8).collect()
}

/// Opens a log in a directory.
pub fn open(dir: &Path, config: LogConfig) -> Log {
    Log::open(dir.join("bench-0"), config).unwrap()
}

fn fill(builder: &mut BatchBuilder, values: &[u8], value_bytes: usize, time: i64) {
    builder.clear();
    for value in values.chunks(value_bytes) {
        builder.push(Timestamp::from_millis(time), None, Some(value)).unwrap();
    }
}

/// Encodes records into batches and appends them: `values` divided into records of `value_bytes`,
/// `batches` times.
pub fn append_builder(log: &Log, values: &[u8], value_bytes: usize, batches: u64) -> Duration {
    let mut builder = BatchBuilder::new();
    let start = Instant::now();
    for batch in 0..batches {
        fill(&mut builder, values, value_bytes, batch as i64);
        log.append_builder(&mut builder).unwrap();
    }
    start.elapsed()
}

/// Does the work of [`append_builder`] with owned records.
pub fn append_all(log: &Log, values: &[u8], value_bytes: usize, batches: u64) -> Duration {
    let values = Bytes::copy_from_slice(values);
    let start = Instant::now();
    for _ in 0..batches {
        let records = (0..values.len())
            .step_by(value_bytes)
            .map(|at| Record::new(values.slice(at..at + value_bytes)));
        log.append_all(records).unwrap();
    }
    start.elapsed()
}

/// Appends one record in each call, from some threads, `total` records in all.
pub fn append_each(log: &Log, value: &'static [u8], total: u64, threads: usize) -> Duration {
    let append = |count: u64| {
        for _ in 0..count {
            log.append(Record::new(value)).unwrap();
        }
    };
    let start = Instant::now();
    if threads == 1 {
        append(total);
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| append(total / threads as u64));
            }
        });
    }
    start.elapsed()
}

/// Appends one record in each call. Each thread makes its record durable before the next one.
pub fn append_durable(log: &Log, value: &[u8], rounds: u64, threads: usize) -> Duration {
    let value = Bytes::copy_from_slice(value);
    // The name of the first segment is made durable before the clock starts.
    log.append(Record::new(value.clone())).unwrap();
    log.flush().unwrap();
    let append = || {
        for _ in 0..rounds {
            let offset = log.append(Record::new(value.clone())).unwrap();
            log.flush_through(offset).unwrap();
        }
    };
    let start = Instant::now();
    if threads == 1 {
        append();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(append);
            }
        });
    }
    start.elapsed()
}

/// A log to read, whose batches are all alike.
pub struct Filled {
    pub dir: TempDir,
    pub log: Log,
    pub batches: u64,
    pub records_per_batch: u64,
    pub batch_bytes: usize,
}

impl Filled {
    /// Creates a log with `batches` batches of `records` records of `value_bytes` in one segment.
    /// Batch n has timestamp n.
    pub fn new(batches: u64, records: usize, value_bytes: usize) -> Filled {
        let dir = fresh_dir();
        let log = open(dir.path(), LogConfig::default());
        let mut builder = BatchBuilder::new();
        let values = values(records * value_bytes);
        fill(&mut builder, &values, value_bytes, 0);
        let batch_bytes = BatchHeader::parse(builder.finish().unwrap()).unwrap().size_bytes();
        append_builder(&log, &values, value_bytes, batches);
        log.flush().unwrap();
        Filled { dir, log, batches, records_per_batch: records as u64, batch_bytes }
    }

    pub fn records(&self) -> u64 {
        self.batches * self.records_per_batch
    }

    pub fn bytes(&self) -> u64 {
        self.batches * self.batch_bytes as u64
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        segments(&self.dir.path().join("bench-0"))
    }

    /// Returns random offsets to read.
    pub fn offsets(&self, count: usize) -> Vec<u64> {
        let mut random = SplitMix64(1);
        (0..count).map(|_| random.below(self.records())).collect()
    }

    /// Returns the positions and sizes of the batches of these offsets.
    pub fn places(&self, offsets: &[u64]) -> Vec<(u64, usize)> {
        let place = |offset: &u64| {
            (offset / self.records_per_batch * self.batch_bytes as u64, self.batch_bytes)
        };
        offsets.iter().map(place).collect()
    }
}

/// The content of a compacted log.
#[derive(Clone, Copy)]
pub struct Keyed {
    pub records: u64,
    pub value_bytes: usize,
    /// The number of keys. If it is the number of records, each record has its own key.
    pub keys: u64,
    pub batch: u64,
}

impl Keyed {
    /// Returns the key of a record: a random one, if there are fewer keys than records.
    fn key(&self, record: u64) -> [u8; 8] {
        let key =
            if self.keys < self.records { SplitMix64(record).below(self.keys) } else { record };
        key.to_be_bytes()
    }

    /// Appends all records, and makes them durable.
    pub fn fill(&self, log: &Log) {
        let values = values(self.value_bytes);
        let mut builder = BatchBuilder::new();
        for from in (0..self.records).step_by(self.batch as usize) {
            builder.clear();
            for record in from..self.records.min(from + self.batch) {
                let time = Timestamp::from_millis(from as i64);
                builder.push(time, Some(&self.key(record)), Some(&values)).unwrap();
            }
            log.append_builder(&mut builder).unwrap();
        }
        log.roll().unwrap();
        log.flush().unwrap();
    }
}

/// Returns the options of a compacted log.
pub fn compacted() -> LogConfig {
    LogConfig::default().cleanup_policy(CleanupPolicy::Compact)
}

/// Compacts a log that was filled with these records.
pub fn compact(log: &Log, filled: &Keyed) -> Duration {
    let start = Instant::now();
    let report = log.compact().unwrap();
    let took = start.elapsed();
    assert_eq!(report.passes, 1);
    assert!(report.records_kept <= filled.keys);
    took
}

/// Appends batches of records with keys. Returns the duration of each call, the shortest first.
pub fn append_keyed(
    log: &Log,
    calls: u64,
    batch: u64,
    value_bytes: usize,
    keys: u64,
) -> Vec<Duration> {
    let keyed = Keyed { records: u64::MAX, value_bytes, keys, batch };
    let value = Bytes::from(values(value_bytes));
    let mut took = Vec::with_capacity(calls as usize);
    let mut builder = BatchBuilder::new();
    for call in 0..calls {
        let key = |n| keyed.key(call * batch + n);
        if batch == 1 {
            let record = Record::new(value.clone()).key(Bytes::copy_from_slice(&key(0)));
            let start = Instant::now();
            log.append(record).unwrap();
            took.push(start.elapsed());
            continue;
        }
        let start = Instant::now();
        builder.clear();
        for n in 0..batch {
            let time = Timestamp::from_millis(call as i64);
            builder.push(time, Some(&key(n)), Some(&value)).unwrap();
        }
        log.append_builder(&mut builder).unwrap();
        took.push(start.elapsed());
    }
    took.sort_unstable();
    took
}

/// Returns the log files of a directory, in the order of their offsets.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
    logs.sort();
    logs
}

/// Reads every record of the log, borrowed.
pub fn scan_borrowed(log: &Log, expected: u64) -> Duration {
    scan_at(log, IsolationLevel::ReadUncommitted, expected)
}

/// Reads every record of the log that an isolation level shows, borrowed.
pub fn scan_at(log: &Log, level: IsolationLevel, expected: u64) -> Duration {
    let start = Instant::now();
    let mut reader = log.isolated(level).reader(StartAt::Earliest).unwrap();
    let mut count = 0;
    while let Some(mut batch) = reader.next_batch().unwrap() {
        if batch.header().is_control() {
            continue;
        }
        for record in batch.records().unwrap() {
            black_box(&record.unwrap());
            count += 1;
        }
    }
    let took = start.elapsed();
    assert_eq!(count, expected);
    took
}

/// Appends transactions of one batch of 100 records of 100 bytes each, and aborts one in `aborted`.
/// Returns how many records were committed.
pub fn fill_transactions(log: &Log, transactions: u64, aborted: u64) -> u64 {
    let (value, mut builder, mut committed) = (values(100), BatchBuilder::new(), 0);
    let producer = ProducerIdentity { id: 1, epoch: 0 };
    for transaction in 0..transactions {
        builder.clear();
        builder.producer(producer.id, producer.epoch, transaction as i32 * 100).transactional(true);
        for _ in 0..100 {
            builder.push(Timestamp::from_millis(1), None, Some(&value)).unwrap();
        }
        log.append_builder(&mut builder).unwrap();
        let marker = EndTxnMarker { committed: transaction % aborted != 0, coordinator_epoch: 0 };
        log.append_marker(producer, marker, TransactionVersion::V1).unwrap();
        committed += u64::from(marker.committed) * 100;
    }
    committed
}

/// Reads every record of the log, owned.
pub fn scan_owned(log: &Log, expected: u64) -> Duration {
    let start = Instant::now();
    let mut count = 0;
    for record in log.reader(StartAt::Earliest).unwrap().records() {
        black_box(&record.unwrap());
        count += 1;
    }
    let took = start.elapsed();
    assert_eq!(count, expected);
    took
}

/// Reads records by their offsets.
pub fn get(log: &Log, offsets: &[u64]) -> Duration {
    let start = Instant::now();
    for &offset in offsets {
        black_box(log.get(offset).unwrap().unwrap());
    }
    start.elapsed()
}

/// Looks records up by their timestamps.
pub fn times(log: &Log, times: &[u64]) -> Duration {
    let start = Instant::now();
    for &time in times {
        black_box(log.offset_for_time(Timestamp::from_millis(time as i64)).unwrap().unwrap());
    }
    start.elapsed()
}

/// Opens the log in a directory, and checks that it was closed cleanly or not, as `clean` says.
pub fn reopen(dir: &Path, clean: bool) -> (Duration, Log) {
    let start = Instant::now();
    let log = open(dir, LogConfig::default());
    let took = start.elapsed();
    assert_eq!(log.recovery().clean_shutdown, clean);
    (took, log)
}

/// Removes the recovery point, so that an opening after a kill reads from the first byte on.
pub fn forget_recovery_point(dir: &Path) {
    let path = dir.join("bench-0").join("recovery-point-offset-checkpoint");
    if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
}

/// Opens this many logs, each in its own directory.
pub fn open_many(dir: &Path, count: usize) -> Vec<Log> {
    let open = |n: usize| Log::open(dir.join(format!("bench-{n}")), LogConfig::default()).unwrap();
    (0..count).map(open).collect()
}

/// Appends one record in each call, to each log in turn, `rounds` times.
pub fn append_many(logs: &[Log], value: &'static [u8], rounds: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..rounds {
        for log in logs {
            log.append(Record::new(value)).unwrap();
        }
    }
    start.elapsed()
}
