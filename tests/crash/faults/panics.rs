//! A file system that panics: the log goes on, or it is poisoned, and no acknowledged record is
//! lost.

use annals::fs::{CrashState, Fault, FaultFs, MemFs, Rule};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{
    CleanupPolicy, Error, IsolationLevel, Log, LogConfig, ProducerIdentity, Record, Result,
    StartAt, Timestamp, TransactionVersion,
};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;
use support::DIR;

fn config() -> LogConfig {
    LogConfig::default()
        .segment_bytes(400)
        .index_interval_bytes(0)
        .cleanup_policy(CleanupPolicy::CompactAndDelete)
        .min_cleanable_dirty_ratio(0.0)
}

/// An acknowledged record.
#[derive(Debug)]
struct Kept {
    key: u64,
    value: String,
    /// The last offset of its batch, which a truncation removes whole.
    batch: u64,
}

/// The acknowledged records that no later call may have removed, by offset.
#[derive(Debug, Default)]
struct Acknowledged {
    records: BTreeMap<u64, Kept>,
    /// The keys of records that a failed truncation may have left in the log.
    doubtful: BTreeMap<u64, u64>,
    durable: u64,
    tried: u64,
    transactions: Vec<Txn>,
}

#[derive(Debug)]
struct Txn {
    first: u64,
    value: String,
    committed: bool,
    /// The offset of its marker, once that was acknowledged.
    marker: Option<u64>,
}

impl Acknowledged {
    /// Appends a batch of records. A key comes back after four others.
    fn append(&mut self, log: &Log, count: u64) -> Result<()> {
        let first = self.tried;
        self.tried += count;
        let made = |n| (n % 5, format!("{n}-{}", "v".repeat(50)));
        let batch = (first..self.tried).map(made);
        let records = batch.clone().map(|(key, value)| Record::new(value).key(key.to_string()));
        let appended = log.append_all(records)?;
        for (offset, (key, value)) in (appended.first..).zip(batch) {
            let kept = Kept { key, value, batch: appended.last };
            assert!(self.records.insert(offset, kept).is_none(), "{offset} is given out twice");
        }
        Ok(())
    }

    /// Sends a record in a transaction and ends that. Those that are committed have another
    /// producer than those that are aborted: a marker also ends what an earlier one did not.
    fn transact(&mut self, log: &Log, committed: bool) -> Result<()> {
        let id = if committed { 9 } else { 10 };
        let known = log.producers()?.into_iter().find(|one| one.producer_id == id);
        let (epoch, sequence) =
            known.map_or((0, 0), |one| (one.producer_epoch, one.last_sequence + 1));
        let (key, value) = (self.tried % 5, format!("{}-in transaction", self.tried));
        self.tried += 1;
        let mut builder = BatchBuilder::new();
        builder.producer(id, epoch, sequence).transactional(true);
        let text = key.to_string();
        builder.push(Timestamp::from_millis(0), Some(text.as_bytes()), Some(value.as_bytes()))?;
        let first = log.offsets().end;
        self.transactions.push(Txn { first, value, committed, marker: None });
        let first = log.append_batch(builder.build()?)?.first;
        let txn = self.transactions.last_mut().unwrap();
        if committed {
            let value = txn.value.clone();
            assert!(self.records.insert(first, Kept { key, value, batch: first }).is_none());
        }
        let producer = ProducerIdentity { id, epoch: epoch + 1 };
        let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
        let marker = log.append_marker(producer, marker, TransactionVersion::V2)?.first;
        let of_producer = self.transactions.iter_mut().filter(|txn| txn.committed == committed);
        of_producer.for_each(|txn| txn.marker = txn.marker.or(Some(marker)));
        Ok(())
    }

    fn flush(&mut self, log: &Log) -> Result<()> {
        self.durable = log.flush()?;
        Ok(())
    }

    fn truncate(&mut self, log: &Log, by: u64) -> Result<()> {
        let target = log.offsets().end.saturating_sub(by);
        let cut = self.records.iter().filter(|(_, kept)| kept.batch >= target);
        self.doubtful.extend(cut.map(|(offset, kept)| (*offset, kept.key)));
        self.records.retain(|_, kept| kept.batch < target);
        self.durable = self.durable.min(target);
        for txn in &mut self.transactions {
            txn.marker = txn.marker.filter(|marker| *marker < target);
        }
        log.truncate_to(target)?;
        self.doubtful.retain(|offset, _| *offset < target);
        Ok(())
    }

    fn delete_before(&mut self, log: &Log) -> Result<()> {
        let target = log.offsets().start + 3;
        self.records.retain(|offset, _| *offset >= target);
        log.delete_before(target).map(drop)
    }

    fn compact(&mut self, log: &Log) -> Result<()> {
        let mut keys = self.doubtful.clone();
        keys.extend(self.records.iter().map(|(offset, kept)| (*offset, kept.key)));
        let last: BTreeMap<u64, u64> = keys.into_iter().map(|(at, key)| (key, at)).collect();
        self.records.retain(|offset, kept| last[&kept.key] == *offset);
        log.compact().map(drop)
    }

    fn check(&self, log: &Log, upto: u64, case: &str) {
        for (offset, kept) in self.records.range(..upto) {
            let found = log.get(*offset).unwrap_or_else(|e| panic!("{case}: {offset}: {e}"));
            let found = found.unwrap_or_else(|| panic!("{case}: {offset} is gone"));
            assert_eq!(found.value_str(), Some(kept.value.as_str()), "{case}: {offset}");
        }
        self.check_transactions(log, upto, case);
        assert_eq!(log.verify().unwrap(), [], "{case}");
    }

    /// What was committed is seen as far as no transaction is open, and nothing aborted is.
    fn check_transactions(&self, log: &Log, upto: u64, case: &str) {
        let is_open = |txn: &&Txn| txn.marker.is_none_or(|marker| marker >= upto);
        let open = self.transactions.iter().filter(is_open).map(|txn| txn.first).min();
        let (stable, end) = (log.offsets().last_stable, log.offsets().end);
        assert!(stable >= open.unwrap_or(end).min(end), "{case}: {stable}, {open:?}");
        let committed = log.isolated(IsolationLevel::ReadCommitted);
        let seen = committed.reader(StartAt::Earliest).unwrap().records();
        let seen: BTreeMap<u64, String> = seen
            .map(Result::unwrap)
            .map(|one| (one.offset, one.value_str().unwrap().to_owned()))
            .collect();
        for txn in self.transactions.iter().filter(|txn| !txn.committed) {
            assert!(!seen.values().any(|value| *value == txn.value), "{case}: {txn:?}");
        }
        for (offset, kept) in self.records.range(..upto.min(stable)) {
            assert_eq!(seen.get(offset), Some(&kept.value), "{case}: {offset}");
        }
    }
}

type Step = fn(&Log, &mut Acknowledged) -> Result<()>;

const STEPS: [Step; 23] = [
    |log, acked| (0..12).try_for_each(|_| acked.append(log, 1)),
    |log, acked| acked.flush(log),
    |log, acked| acked.append(log, 1),
    |log, acked| acked.transact(log, true),
    |log, acked| acked.transact(log, false),
    |log, _| log.roll(),
    |log, acked| acked.compact(log),
    |log, acked| acked.append(log, 1),
    |log, acked| acked.delete_before(log),
    |log, acked| (0..8).try_for_each(|_| acked.append(log, 1)),
    |log, acked| acked.transact(log, false),
    |log, acked| acked.flush(log),
    |log, acked| acked.transact(log, true),
    // Over several segments.
    |log, acked| acked.truncate(log, 6),
    |log, acked| acked.append(log, 3),
    // Into the middle of a batch.
    |log, acked| acked.truncate(log, 1),
    |log, acked| acked.append(log, 1),
    |log, acked| acked.transact(log, false),
    |log, acked| acked.transact(log, true),
    |log, acked| acked.compact(log),
    |log, acked| acked.flush(log),
    |log, _| log.maintain().map(drop),
    |log, acked| acked.append(log, 1),
];

fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// Makes all calls with the nth call of the file system panicking. Returns whether there was one.
fn run(nth: u64) -> bool {
    let memory = MemFs::new();
    let fs = FaultFs::new(memory.clone());
    fs.record_trace(false);
    let rule = fs.add_rule(Rule::any(Fault::call(|_| panic!("on purpose"))).nth(nth));
    let open = || Log::open(DIR, config().fs(fs.clone()));
    let log = caught(open).unwrap_or_else(open).unwrap();
    let mut acked = Acknowledged::default();
    for (number, step) in STEPS.into_iter().enumerate() {
        let case = format!("call {nth}, step {number}");
        match caught(|| step(&log, &mut acked)) {
            None | Some(Ok(())) => {}
            Some(Err(Error::Poisoned { .. })) => assert!(fs.hit_count(rule) > 0, "{case}"),
            Some(Err(error)) => panic!("{case}: {error}"),
        }
        if fs.hit_count(rule) > 0 {
            let disks =
                [(memory.kill(), u64::MAX), (memory.crash(CrashState::SyncedOnly), acked.durable)];
            for (disk, upto) in disks {
                reopen(&disk, &acked, upto, &case);
            }
        }
    }
    match caught(|| log.clone().close()) {
        Some(Ok(())) => acked.durable = log.offsets().end,
        Some(Err(error)) => assert!(matches!(error, Error::Poisoned { .. }), "{nth}: {error}"),
        None => {
            let error = log.append(Record::new("later").key("k")).unwrap_err();
            assert!(matches!(error, Error::Poisoned { .. }), "{nth}: {error}");
            log.clone().close().unwrap_err();
            let error = log.append(Record::new("later").key("k")).unwrap_err();
            assert!(matches!(error, Error::Closed { .. }), "{nth}: {error}");
            reopen(&memory, &acked, u64::MAX, "while the closed handle lives");
        }
    }
    drop(log);
    let case = format!("call {nth}, at the end");
    reopen(&memory.crash(CrashState::SyncedOnly), &acked, acked.durable, &case);
    reopen(&memory, &acked, u64::MAX, &case);
    fs.hit_count(rule) > 0
}

/// Opens the log as it lies on a disk, checks it, and uses it.
fn reopen(disk: &MemFs, acked: &Acknowledged, upto: u64, case: &str) {
    let open =
        || Log::open(DIR, config().fs(disk.clone())).unwrap_or_else(|e| panic!("{case}: {e}"));
    let log = open();
    acked.check(&log, upto, case);
    let offset = log.append(Record::new("new").key("new")).unwrap();
    log.close().unwrap();
    let log = open();
    acked.check(&log, upto, case);
    assert_eq!(log.get(offset).unwrap().unwrap().value_str(), Some("new"), "{case}");
    log.close().unwrap();
}

/// Trap: after a panic between two renames, appends went to a file that no opening finds, and the
/// log did not open again.
#[test]
fn panic_of_file_system_loses_nothing() {
    for nth in 1.. {
        let (send, done) = mpsc::channel();
        std::thread::spawn(move || send.send(caught(|| run(nth))));
        let fired = done.recv_timeout(Duration::from_secs(60));
        let fired = fired.unwrap_or_else(|_| panic!("call {nth}: hangs"));
        if !fired.unwrap_or_else(|| panic!("call {nth}")) {
            assert!(nth > 300, "only {nth} calls");
            break;
        }
    }
}
