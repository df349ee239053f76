//! Ownership of directories: the changes of one writer are durable, are its own, and stay so
//! whatever others do meanwhile.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, Error, Event, Listener, Log, LogConfig, MaintainerConfig, ProducerConfig,
    Record, Store, StoreConfig, TopicConfig,
};
use std::any::Any;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, read_file, seeds, write_file};
use support::{offsets, store};

fn first_of(store: &Store) -> Vec<u64> {
    offsets(&store.topic("t").unwrap().partition(0).unwrap())
}

/// Two batches a segment; the second of each is superseded, so each segment ends in a gap when it
/// is compacted.
fn fill(log: &Log) {
    for n in 0..20 {
        log.append(Record::new("v".repeat(300)).key(format!("unique{n}"))).unwrap();
        log.append(Record::new("v".repeat(300)).key("counter")).unwrap();
    }
}

fn compacting() -> TopicConfig {
    TopicConfig::default().segment_bytes(1024).cleanup_policy(CleanupPolicy::CompactAndDelete)
}

/// The moment at which another call is in the middle of opening or closing logs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum During {
    AddPartitions,
    Close,
}

/// Works on a partition while the store is busy with others, loses power as soon as that is done,
/// and opens what is left.
fn lose_power_after(during: During, flushed: bool, work: fn(&Log)) -> Store {
    let mem = MemFs::new();
    let fs = FaultFs::new(mem.clone());
    let store_of = store(fs.clone());
    let topic = store_of.create_topic("t", compacting()).unwrap();
    let log = topic.partition(0).unwrap();
    fill(&log);
    if flushed {
        log.flush().unwrap();
    }
    let disk = Arc::new(Mutex::new(None));
    let (left, at) = (Arc::clone(&disk), mem.clone());
    let hook = move || {
        work(&log);
        *left.lock().unwrap() = Some(at.crash(CrashState::SyncedOnly));
    };
    if during == During::AddPartitions {
        let hook = Fault::call(move |_| hook());
        fs.add_rule(Rule::new(Operation::SyncAll, hook).path("t-1/").nth(1));
        store_of.add_partitions("t", 2).unwrap();
    } else {
        // The topic `a` is closed first.
        let first = store_of.create_topic("a", TopicConfig::default()).unwrap();
        first.partition(0).unwrap().append("unsynced").unwrap();
        let hook = Fault::call(move |_| hook());
        fs.add_rule(Rule::new(Operation::SyncData, hook).path("a-0/").nth(1));
        store_of.close().unwrap();
    }
    let disk = disk.lock().unwrap().take().expect("the hook ran");
    store(disk)
}

/// A call that opened or closed other logs once held back a checkpoint that a live log had just
/// been promised.
#[test]
fn checkpoints_are_durable_during_openings() {
    for during in [During::AddPartitions, During::Close] {
        let left = lose_power_after(during, true, |log| {
            log.delete_before(5).unwrap();
        });
        assert_eq!(first_of(&left), (5..40).collect::<Vec<_>>(), "{during:?}");
        let left = lose_power_after(during, false, |log| {
            log.flush().unwrap();
            log.compact().unwrap();
        });
        assert_eq!(first_of(&left).len(), 22, "{during:?}");
        let left = lose_power_after(during, true, |log| log.truncate_to(3).unwrap());
        assert_eq!(first_of(&left), [0, 1, 2], "{during:?}");
    }
}

/// The marker lists what is there to be opened, however many topics came and went.
#[test]
fn marker_forgets_deleted_topics() {
    let fs = MemFs::new();
    let store_of = store(fs.clone());
    store_of.create_topic("stays", TopicConfig::default()).unwrap();
    let churn = |store: &Store, rounds: std::ops::Range<u32>| {
        for round in rounds {
            let name = format!("r{round}");
            store.create_topic(&name, TopicConfig::default().partitions(2)).unwrap();
            store.delete_topic(&name).unwrap();
        }
    };
    churn(&store_of, 0..100);
    store_of.close().unwrap();
    let marker = |fs: &MemFs| read_file(fs, "d", ".kafka_cleanshutdown");
    let text = String::from_utf8(marker(&fs)).unwrap();
    assert!(text.len() < 1024 && text.contains("\"stays-0\""), "{} bytes", text.len());
    let store_of = store(fs.clone());
    churn(&store_of, 0..3);
    store_of.close().unwrap();
    assert_eq!(String::from_utf8(marker(&fs)).unwrap(), text);
}

fn is_locked<T>(opened: annals::Result<T>) -> bool {
    match opened {
        Ok(_) => false,
        Err(Error::Locked { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// The store itself is dropped, as in a function that opens one and returns a log of it.
#[test]
fn directory_stays_locked_while_handles_live() {
    type Keep = fn(&Store) -> Box<dyn Any>;
    let handles: [(&str, Keep); 6] = [
        ("topic", |store| Box::new(store.topic("t").unwrap())),
        ("log", |store| Box::new(store.topic("t").unwrap().partition(1).unwrap())),
        ("reader", |store| {
            Box::new(store.topic("t").unwrap().partition(0).unwrap().reader(0).unwrap())
        }),
        ("tail", |store| {
            Box::new(store.topic("t").unwrap().partition(0).unwrap().tail(0).unwrap())
        }),
        ("producer", |store| Box::new(store.producer(ProducerConfig::default()).unwrap())),
        ("pause", |store| {
            Box::new(store.topic("t").unwrap().partition(0).unwrap().pause_maintenance())
        }),
    ];
    for (what, keep) in handles {
        let fs = MemFs::new();
        let config = StoreConfig::default().fs(fs.clone()).maintenance(None);
        let open = || Store::open("d", config.clone());
        let store = open().unwrap();
        store.create_topic("t", TopicConfig::default().partitions(2)).unwrap();
        let kept = keep(&store);
        drop(store);
        assert!(is_locked(open()), "{what}");
        for partition in ["d/t-0", "d/t-1"] {
            let opened = Log::open(partition, LogConfig::default().fs(fs.clone()));
            assert!(is_locked(opened), "{what}: {partition}");
        }
        drop(kept);
        open().unwrap().close().unwrap();
    }
}

/// A close counts for all handles: the rest of them locks no other process out.
#[test]
fn close_unlocks_while_handles_live() {
    let fs = MemFs::new();
    let first = store(fs.clone());
    let log = first.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    let tail = log.tail(0).unwrap();
    first.close().unwrap();
    let second = store(fs.clone());
    assert!(second.topic("t").unwrap().partition(0).unwrap().recovery().clean_shutdown);
    assert!(matches!(log.append("late"), Err(Error::Closed { .. })));
    drop((log, tail, first));
    assert!(is_locked(Store::open("d", StoreConfig::default().fs(fs))));
}

#[derive(Debug)]
struct Tells(Mutex<Sender<u64>>);

impl Listener for Tells {
    fn on_event(&self, event: &Event) {
        if let Event::LogStartMoved { start, .. } = event {
            self.0.lock().unwrap().send(*start).ok();
        }
    }
}

#[test]
fn retention_continues_when_store_is_dropped() {
    let (tell, told) = channel();
    let store_of = Store::open(
        "d",
        StoreConfig::default()
            .fs(MemFs::new())
            .listener(Arc::new(Tells(Mutex::new(tell))))
            .maintenance(Some(MaintainerConfig::default().interval(Duration::from_millis(1)))),
    )
    .unwrap();
    let topic = TopicConfig::default().retention_bytes(1);
    let log = store_of.create_topic("t", topic).unwrap().partition(0).unwrap();
    drop(store_of);
    for _ in 0..2 {
        log.append("old").unwrap();
        log.roll().unwrap();
    }
    let start = told.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(start, 1);
}

/// A consumer that pauses keeps a segment that retention deletes meanwhile.
#[test]
fn reader_of_deleted_topic_spares_successor() {
    let fs = MemFs::new();
    let first = store(fs.clone());
    let log = first.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append("old").unwrap();
    log.roll().unwrap();
    let reader = log.reader(0).unwrap();
    log.append("old").unwrap();
    log.delete_before(1).unwrap();
    first.delete_topic("t").unwrap();
    let log = first.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append("new").unwrap();
    log.flush().unwrap();
    drop(reader);
    first.close().unwrap();
    let log = store(fs).topic("t").unwrap().partition(0).unwrap();
    assert_eq!(log.get(0).unwrap().unwrap().value_str(), Some("new"));
}

/// The same where a directory is removed by hand and created again, and where it stays and another
/// process owns it next.
#[test]
fn reader_of_closed_log_removes_nothing() {
    let fs = MemFs::new();
    for again in [false, true] {
        let open = || Log::open("t-0", LogConfig::default().fs(fs.clone())).unwrap();
        let log = open();
        let base = log.offsets().end;
        log.append("old").unwrap();
        log.roll().unwrap();
        let reader = log.reader(base).unwrap();
        log.append("old").unwrap();
        log.delete_before(base + 1).unwrap();
        log.close().unwrap();
        let name = |file: &str| Path::new("t-0").join(file);
        if again {
            for entry in fs.list(Path::new("t-0")).unwrap() {
                fs.remove(&name(&entry.name)).unwrap();
            }
            fs.remove_dir(Path::new("t-0")).unwrap();
            let log = open();
            log.append("new").unwrap();
            log.close().unwrap();
        }
        let before = fs.list(Path::new("t-0")).unwrap();
        drop(reader);
        assert_eq!(fs.list(Path::new("t-0")).unwrap(), before);
        drop(open());
    }
}

/// The directory of an open log is moved away, and another one put in its place.
#[test]
fn open_log_follows_moved_directory() {
    let fs = MemFs::new();
    let first = store(fs.clone());
    let log = first.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    log.append("0").unwrap();
    let rename = |from: &str, to: &str| fs.rename_dir(Path::new(from), Path::new(to)).unwrap();
    rename("d", "moved");
    // The name is free, and so another store may have it.
    let other = store(fs.clone());
    other.create_topic("t", TopicConfig::default()).unwrap();
    let files = |dir: &str| fs.list(Path::new(dir)).unwrap().len();
    let before = (files("d"), files("d/t-0"));
    for n in 1..4 {
        log.append(n.to_string()).unwrap();
        log.roll().unwrap();
    }
    log.flush().unwrap();
    log.delete_before(1).unwrap();
    first.create_topic("later", TopicConfig::default()).unwrap();
    first.close().unwrap();
    assert_eq!((files("d"), files("d/t-0")), before);
    other.close().unwrap();
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None);
    let moved = Store::open("moved", config).unwrap();
    assert_eq!(first_of(&moved), [1, 2, 3]);
    assert!(moved.topic("later").is_ok());
}

/// A partition is opened by itself or with its store.
#[derive(Debug, Clone, Copy)]
enum By {
    Itself,
    Store,
}

fn alone(fs: &MemFs) -> annals::Result<Log> {
    let config = LogConfig::default().segment_bytes(1024).fs(fs.clone());
    Log::open("d/t-0", config.cleanup_policy(CleanupPolicy::CompactAndDelete))
}

fn open_by(by: By, fs: &MemFs) -> annals::Result<Log> {
    match by {
        By::Itself => alone(fs),
        By::Store => {
            let config = StoreConfig::default().fs(fs.clone()).maintenance(None);
            Store::open("d", config.recovery_threads(1))?.topic("t")?.partition(0)
        }
    }
}

/// One opener loses power, and the other notices: no record after a hole is left, and nothing is
/// taken for damage.
#[test]
fn second_opener_knows_power_loss() {
    for (first, second) in [(By::Store, By::Itself), (By::Itself, By::Store)] {
        for seed in seeds("OWNERSHIP_SEEDS", 150) {
            let fs = MemFs::new();
            let log = match first {
                By::Store => {
                    let store = store(fs.clone());
                    store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap()
                }
                // In a directory that no store has had yet.
                By::Itself => alone(&fs).unwrap(),
            };
            for n in 0..9 {
                log.append(Record::new(n.to_string()).key(n.to_string())).unwrap();
                if n % 3 == 2 {
                    log.roll().unwrap();
                }
            }
            let disk = fs.crash(CrashState::Random { seed });
            let log = open_by(second, &disk).unwrap_or_else(|e| panic!("{first:?} {seed}: {e}"));
            let there = offsets(&log);
            let dense: Vec<u64> = (0..there.len() as u64).collect();
            assert_eq!(there, dense, "{first:?}, then {second:?}: seed {seed}");
        }
    }
}

/// Deleted records once were back for a log by itself, and what it appended below the start was
/// removed by its store.
#[test]
fn lone_log_starts_where_store_says() {
    let fs = MemFs::new();
    let first = store(fs.clone());
    let log = first.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap();
    for n in 0..10 {
        log.append(n.to_string()).unwrap();
    }
    log.delete_before(5).unwrap();
    let read_only = || Log::open_read_only("d/t-0", LogConfig::default().fs(fs.clone())).unwrap();
    let follower = read_only();
    assert_eq!(offsets(&follower), [5, 6, 7, 8, 9]);
    log.delete_before(6).unwrap();
    assert_eq!(follower.get(6).unwrap().unwrap().offset, 6);
    assert_eq!(follower.offsets().start, 6);
    first.close().unwrap();
    assert_eq!(offsets(&read_only()), [6, 7, 8, 9]);

    let log = Log::open("d/t-0", LogConfig::default().fs(fs.clone())).unwrap();
    assert!(log.recovery().clean_shutdown);
    assert_eq!(offsets(&log), [6, 7, 8, 9]);
    assert!(log.truncate_to(2).is_err());
    log.delete_before(8).unwrap();
    log.append("new").unwrap();
    assert_eq!(offsets(&read_only()), [8, 9, 10]);
    log.close().unwrap();
    // The store is as closed as before.
    let second = store(fs.clone());
    let log = second.topic("t").unwrap().partition(0).unwrap();
    assert!(log.recovery().clean_shutdown);
    assert_eq!(offsets(&log), [8, 9, 10]);
    let names = fs.list(Path::new("d/t-0")).unwrap();
    let own = |name: &str| name == ".lock" || name.ends_with("-offset-checkpoint");
    assert!(!names.iter().any(|entry| own(&entry.name)), "{names:?}");
}

/// The files that a lone log left beside its segments, before a store opened it, count for the
/// store.
#[test]
fn store_takes_over_lone_log() {
    let fs = MemFs::new();
    let log = alone(&fs).unwrap();
    for n in 0..9 {
        log.append(Record::new(n.to_string()).key(n.to_string())).unwrap();
    }
    log.delete_before(4).unwrap();
    log.close().unwrap();
    let first = store(fs.clone());
    assert_eq!(first_of(&first), [4, 5, 6, 7, 8]);
    first.close().unwrap();
    assert_eq!(offsets(&alone(&fs).unwrap()), [4, 5, 6, 7, 8]);
}

/// An empty directory of a partition would be a topic with partitions missing when the store is
/// opened next.
#[test]
fn rejected_log_leaves_no_directory() {
    let fs = MemFs::new();
    let first = store(fs.clone());
    for name in ["d/new-0", "d/new-5"] {
        assert!(is_locked(Log::open(name, LogConfig::default().fs(fs.clone()))));
        assert!(fs.list(Path::new(name)).is_err(), "{name}");
    }
    first.close().unwrap();
    assert!(store(fs).topics().is_empty());
}

/// A link with the name of a segment was not taken for a segment: the log began after it, and the
/// index files of the records that it leads to were removed.
#[cfg(unix)]
#[test]
fn linked_segment_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t-0");
    let log = Log::open(&path, LogConfig::default()).unwrap();
    log.append("first").unwrap();
    log.roll().unwrap();
    log.append("second").unwrap();
    drop(log);
    let (segment, elsewhere) = (path.join(format!("{:020}.log", 0)), dir.path().join("elsewhere"));
    std::fs::rename(&segment, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &segment).unwrap();
    for opened in
        [Log::open(&path, LogConfig::default()), Log::open_read_only(&path, LogConfig::default())]
    {
        let error = opened.unwrap_err();
        assert!(error.to_string().contains("symbolic links"), "{error}");
    }
    std::fs::rename(&elsewhere, &segment).unwrap();
    assert_eq!(offsets(&Log::open(&path, LogConfig::default()).unwrap()), [0, 1]);
}

/// Kafka takes a directory offline whose start offsets it cannot read.
#[test]
fn unreadable_start_returns_no_deleted_record() {
    const FILE: &str = "log-start-offset-checkpoint";
    let damages: [fn(String) -> String; 4] = [
        |_| "not a checkpoint".to_owned(),
        |text| text.replacen(" 5\n", " 4\n", 1),
        |text| text.replacen("0\n2\n", "0\n3\n", 1),
        |text| text.replace(" 5\n", " \n"),
    ];
    for (dir, within) in [("d", true), ("plain-0", false)] {
        for damage in damages {
            let fs = MemFs::new();
            let config = LogConfig::default().fs(fs.clone());
            let log = if within {
                let store = store(fs.clone());
                store.create_topic("t", TopicConfig::default()).unwrap().partition(0).unwrap()
            } else {
                Log::open(dir, config.clone()).unwrap()
            };
            for n in 0..9 {
                log.append(n.to_string()).unwrap();
            }
            log.delete_before(5).unwrap();
            drop(log);
            let before = read_file(&fs, dir, FILE);
            let text = damage(String::from_utf8(before.clone()).unwrap());
            write_file(&fs, dir, FILE, text.as_bytes());
            let log = if within { "d/t-0" } else { dir };
            let rejected = [
                Log::open(log, config.clone()).map(drop),
                Log::open_read_only(log, config.clone()).map(drop),
                if within {
                    Store::open(dir, StoreConfig::default().fs(fs.clone())).map(drop)
                } else {
                    Err(Error::StoreClosed)
                },
            ];
            for rejected in &rejected[..if within { 3 } else { 2 }] {
                assert!(matches!(rejected, Err(Error::Corrupt(_))), "{rejected:?} of {text:?}");
            }
            write_file(&fs, dir, FILE, &before);
            assert_eq!(offsets(&Log::open(log, config).unwrap()), [5, 6, 7, 8]);
        }
    }
}

/// A partition changes hands many times, between its store and a lone log, over deletions,
/// compactions and crashes of all kinds. Flushed records are there, and deleted records are not.
#[test]
fn alternating_openers_lose_nothing() {
    for seed in seeds("OWNERSHIP_SEEDS", 60) {
        let mut chance = Chance(seed);
        let mut fs = MemFs::new();
        let first = store(fs.clone());
        drop(first.create_topic("t", compacting()).unwrap());
        drop(first);
        let (mut flushed, mut start) = (Vec::new(), 0);
        for turn in 0..6 {
            let by = if chance.below(2) == 0 { By::Itself } else { By::Store };
            let at = format!("seed {seed}, turn {turn}, by {by:?}");
            let log = open_by(by, &fs).unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(log.offsets().start >= start, "{at}");
            let there = offsets(&log);
            let lost: Vec<_> = flushed
                .iter()
                .filter(|n| **n >= log.offsets().start && !there.contains(n))
                .collect();
            assert!(lost.is_empty(), "{at}: {lost:?} of {there:?}");
            let mut unique = Vec::new();
            for n in 0..chance.below(12) {
                let value = "v".repeat(200);
                unique.push(
                    log.append(Record::new(value.clone()).key(format!("{turn}-{n}"))).unwrap(),
                );
                log.append(Record::new(value).key("counter")).unwrap();
            }
            match chance.below(4) {
                0 => {}
                1 => {
                    log.flush().unwrap();
                    flushed.append(&mut unique);
                }
                2 => {
                    log.flush().unwrap();
                    flushed.append(&mut unique);
                    log.compact().unwrap();
                }
                _ => {
                    let offsets = log.offsets();
                    let target = offsets.start + chance.below(offsets.end - offsets.start + 1);
                    start = log.delete_before(target).unwrap();
                }
            }
            let end = chance.below(4);
            fs = match end {
                0 => {
                    log.close().unwrap();
                    fs.kill()
                }
                1 => fs.kill(),
                2 => fs.crash(CrashState::SyncedOnly),
                _ => fs.crash(CrashState::Random { seed: chance.next() }),
            };
            flushed.retain(|offset| *offset >= start);
            // Lost by an operator, for example: the batches that it covered are read again, and no
            // record is lost with it. If the power was lost too, the log may be rejected, because
            // nothing tells an unsynced write from damage then.
            if chance.below(4) == 0 && end < 2 {
                for dir in ["d", "d/t-0"] {
                    fs.remove(&Path::new(dir).join("recovery-point-offset-checkpoint")).ok();
                }
            }
        }
    }
}

#[cfg(unix)]
mod processes;
