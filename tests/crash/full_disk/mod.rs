//! A full disk can always be emptied and opened: without a free byte and without a free file, in
//! memory and on file systems of its own.

mod log;
#[cfg(target_os = "linux")]
mod real;
mod reserve;
mod store;

use annals::fs::{CrashState, Fs, MemFs};
use annals::{
    Admin, ErrorKind, Log, LogConfig, ManualClock, Offset, Record, Store, StoreConfig, Timestamp,
    TopicConfig,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::{T0, read_all};

/// A file system that can be filled.
trait Device {
    fn fs(&self) -> Arc<dyn Fs>;
    fn root(&self) -> PathBuf;
    /// Leaves no byte and no file free.
    fn fill(&self);
    /// Frees some room besides, where a file system needs more to create a file than a few
    /// segments free.
    fn relieve(&self) {}
    /// The file systems that a process or the whole machine may find after it stopped here.
    fn stop(&self) -> Vec<Arc<dyn Fs>>;
}

impl Device for MemFs {
    fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    fn root(&self) -> PathBuf {
        "/data".into()
    }

    fn fill(&self) {
        self.set_capacity(self.used_bytes());
        self.set_file_limit(self.file_count());
    }

    fn stop(&self) -> Vec<Arc<dyn Fs>> {
        let crashes = (0..3).map(|seed| CrashState::Random { seed });
        let crashes = [CrashState::SyncedOnly, CrashState::AllWrites].into_iter().chain(crashes);
        let crashed = crashes.map(|how| Arc::new(self.crash(how)) as Arc<dyn Fs>);
        crashed.chain([Arc::new(self.kill()) as Arc<dyn Fs>]).collect()
    }
}

/// The content of the log: a value of this many bytes for each offset.
const VALUE: usize = 400;

fn value(offset: Offset) -> String {
    format!("{offset:0>VALUE$}")
}

fn log_config(fs: Arc<dyn Fs>, clock: &Arc<ManualClock>) -> LogConfig {
    LogConfig::default()
        .segment_bytes(4096)
        .index_interval_bytes(0)
        .segment_jitter(Duration::ZERO)
        .clock(Arc::clone(clock) as Arc<dyn annals::Clock>)
        .fs(fs)
}

/// Appends until there is no room; at most so many.
fn append_until_full(log: &Log, most: usize) -> bool {
    for _ in 0..most {
        match log.append(value(log.offsets().end)) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                return true;
            }
        }
    }
    false
}

/// Everything from the start to the end is there, and is what was appended.
fn check(log: &Log, start: Offset, end: Offset) {
    let offsets = log.offsets();
    assert_eq!((offsets.start, offsets.end), (start, end));
    let read: Vec<_> = read_all(log).into_iter().map(|rec| (rec.offset, rec.value)).collect();
    let expected: Vec<_> =
        (start..end).map(|offset| (offset, Some(value(offset).into_bytes()))).collect();
    assert_eq!(read.len(), expected.len());
    assert!(read == expected);
    assert_eq!(log.verify().unwrap(), []);
}

/// A sequence of calls on a log whose disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    DeleteBefore,
    DeleteAll,
    Maintain,
    MaintainAll,
    Truncate,
    TruncateInside,
    Close,
    Reopen,
}

const ACTS: [Act; 8] = [
    Act::DeleteBefore,
    Act::DeleteAll,
    Act::Maintain,
    Act::MaintainAll,
    Act::Truncate,
    Act::TruncateInside,
    Act::Close,
    Act::Reopen,
];

/// Does it, and says where the log starts and ends then.
fn act(act: Act, log: Log, open: &dyn Fn() -> Log, clock: &ManualClock) -> (Log, Offset, Offset) {
    let (start, end) = (log.offsets().start, log.offsets().end);
    match act {
        Act::DeleteBefore => {
            assert_eq!(log.delete_before(21).unwrap(), 21);
            (log, 21, end)
        }
        Act::DeleteAll => {
            assert_eq!(log.delete_before(end).unwrap(), end);
            (log, end, end)
        }
        Act::Maintain => {
            let report = log.maintain().unwrap();
            assert!(report.segments_deleted > 0 && report.start > start, "{report:?}");
            (log, report.start, end)
        }
        Act::MaintainAll => {
            clock.advance(Duration::from_secs(7200));
            let report = log.maintain().unwrap();
            assert_eq!(report.start, end);
            (log, end, end)
        }
        Act::Truncate => {
            log.truncate_to(9).unwrap();
            (log, start, 9)
        }
        Act::TruncateInside => {
            // The second and the third record are one batch: it goes as a whole.
            log.truncate_to(2).unwrap();
            (log, start, 2)
        }
        Act::Close => {
            log.close().unwrap();
            (open(), start, end)
        }
        Act::Reopen => {
            drop(log);
            (open(), start, end)
        }
    }
}

/// Fills a log, changes it while the disk is full, and continues; a crash at any moment in between
/// leaves the acknowledged records, and a log that opens although the disk is full.
fn fill_and_go_on(device: &dyn Device, what: Act, preallocate: bool) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let path = device.root().join(format!("{what:?}-{preallocate}-0"));
    let config = |fs: Arc<dyn Fs>| {
        let config = log_config(fs, &clock).preallocate(preallocate);
        match what {
            Act::Maintain => config.retention_bytes(16 << 10),
            Act::MaintainAll => config.retention_age(Duration::from_secs(3600)),
            _ => config,
        }
    };
    let open = || Log::open(&path, config(device.fs())).unwrap();
    let log = open();
    log.append(value(0)).unwrap();
    log.append_all([1, 2].map(|offset| Record::new(value(offset)))).unwrap();
    assert!(!append_until_full(&log, 57));
    log.flush().unwrap();
    device.fill();
    assert!(append_until_full(&log, 100_000));
    log.flush().unwrap();
    let end = log.offsets().end;
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        check(&log, 0, end);
    }

    let (log, start, end) = act(what, log, &open, &clock);
    let held = if what == Act::TruncateInside { 1 } else { end };
    let checked = |log: &Log| {
        if what != Act::TruncateInside {
            return check(log, start, end);
        }
        assert_eq!((log.offsets().start, log.offsets().end), (start, end));
        assert_eq!(read_all(log).len() as u64, held);
    };
    checked(&log);
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        checked(&log);
    }
    if matches!(what, Act::Close | Act::Reopen) {
        // It is full as before, and can be emptied.
        assert!(append_until_full(&log, 100_000));
        let end = log.offsets().end;
        assert_eq!(log.delete_before(end).unwrap(), end);
    }
    device.relieve();
    let next = log.offsets().end;
    for offset in next..next + 4 {
        assert_eq!(log.append(value(offset)).unwrap(), offset);
    }
    log.flush().unwrap();
    for fs in device.stop() {
        let log = Log::open(&path, config(fs)).unwrap();
        assert_eq!(log.offsets().end, next + 4);
    }
    log.close().unwrap();
    let log = open();
    assert_eq!(log.offsets().end, next + 4);
    log.close().unwrap();
}

fn store_config(fs: Arc<dyn Fs>) -> StoreConfig {
    StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1)
}

/// A store in which every topic can be emptied, altered and deleted although nothing else can be
/// written.
fn fill_store_and_go_on(device: &dyn Device, reopen: bool) {
    let path = device.root().join(format!("store-{reopen}"));
    let open = |fs: Arc<dyn Fs>| Store::open(&path, store_config(fs)).unwrap();
    let mut store = open(device.fs());
    let config = || TopicConfig::default().partitions(2).segment_bytes(4096);
    for topic in ["a", "b", "c"] {
        let topic = store.create_topic(topic, config()).unwrap();
        for log in topic.partitions().iter() {
            assert!(!append_until_full(log, 40));
        }
    }
    store.flush().unwrap();
    device.fill();
    let ends = |store: &Store, topic: &str| -> Vec<Offset> {
        let topic = store.topic(topic).unwrap();
        topic.partitions().iter().map(|log| log.offsets().end).collect()
    };
    for topic in ["a", "b", "c"] {
        for log in store.topic(topic).unwrap().partitions().iter() {
            assert!(append_until_full(log, 100_000));
        }
    }
    store.flush().unwrap();
    let full = [ends(&store, "a"), ends(&store, "b"), ends(&store, "c")];
    for fs in device.stop() {
        let store = open(fs);
        for (topic, ends) in ["a", "b", "c"].into_iter().zip(&full) {
            for (log, end) in store.topic(topic).unwrap().partitions().iter().zip(ends) {
                check(log, 0, *end);
            }
        }
    }
    if reopen {
        store.close().unwrap();
        store = open(device.fs());
    }

    // Alterations survive a crash.
    let shorter = store.topic("a").unwrap().config().set("retention.bytes", "8192").unwrap();
    store.alter_topic("a", shorter).unwrap();
    for fs in device.stop() {
        let config = open(fs).topic("a").unwrap().config();
        assert_eq!(config.get("retention.bytes"), Some("8192"));
    }
    // Deleted records stay deleted.
    let admin: Admin = store.admin();
    assert_eq!(admin.delete_records("b", 0, 20).unwrap(), 20);
    store.delete_topic("c").unwrap();
    let reports = store.maintain().unwrap();
    assert!(reports.iter().any(|(_, _, report)| report.segments_deleted > 0));
    let start = store.topic("a").unwrap().partition(0).unwrap().offsets().start;
    assert!(start > 0);
    for fs in device.stop() {
        let store = open(fs);
        assert!(store.topic("c").is_err());
        check(&store.topic("b").unwrap().partition(0).unwrap(), 20, full[1][0]);
        check(&store.topic("b").unwrap().partition(1).unwrap(), 0, full[1][1]);
        check(&store.topic("a").unwrap().partition(0).unwrap(), start, full[0][0]);
    }
    device.relieve();
    store.create_topic("d", config()).unwrap().partition(0).unwrap().append(value(0)).unwrap();
    store.close().unwrap();
    let store = open(device.fs());
    check(&store.topic("d").unwrap().partition(0).unwrap(), 0, 1);
    store.close().unwrap();
}
