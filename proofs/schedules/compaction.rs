//! Compactions beside readers, truncations, deletions and the maintainer.

use super::{DIR, check, config, values};
use annals::fs::MemFs;
use annals::{
    CleanupPolicy, Error, Log, LogConfig, Maintainer, MaintainerConfig, ReadLimits, Record, StartAt,
};
use shuttle::thread;

/// Creates a log of three closed segments and an active one. Each closed segment has the keys `a`
/// and `b`.
fn superseded(config: LogConfig) -> (Log, MemFs) {
    let fs = MemFs::new();
    let log = Log::open(DIR, config.fs(fs.clone())).unwrap();
    for value in ["0", "1", "2"] {
        log.append_all(["a", "b"].map(|key| Record::new(value).key(key))).unwrap();
        log.roll().unwrap();
    }
    (log, fs)
}

fn compacting() -> LogConfig {
    config().cleanup_policy(CleanupPolicy::CompactAndDelete)
}

#[test]
fn compaction_hides_no_remaining_record() {
    check(|| {
        let (log, _) = superseded(compacting());
        let early = log.reader(StartAt::Earliest).unwrap();
        let cleaner = log.clone();
        let writer = thread::spawn(move || {
            let report = cleaner.compact().unwrap();
            assert_eq!((report.records_kept, report.records_removed), (2, 4));
            cleaner.append(Record::new("3").key("a")).unwrap();
        });
        let finder = log.clone();
        let looker = thread::spawn(move || {
            for offset in [4, 5] {
                assert_eq!(finder.get(offset).unwrap().unwrap().value_str(), Some("2"));
            }
            let fetched = finder.read(1, ReadLimits::default()).unwrap();
            let last = fetched.records().unwrap().iter().map(|record| record.offset).max();
            assert!(last >= Some(5), "{last:?}");
            assert_eq!(finder.verify().unwrap(), []);
        });
        let mut seen = Vec::new();
        for record in early.records() {
            seen.push(record.unwrap().offset);
        }
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
        assert!(seen.contains(&4) && seen.contains(&5), "{seen:?}");
        writer.join().unwrap();
        looker.join().unwrap();
        let left: Vec<_> = values(&log).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(left, [4, 5, 6]);
    });
}

#[test]
fn compaction_and_truncation_agree() {
    check(|| {
        let (log, fs) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || drop(cleaner.compact().unwrap()));
        let cutter = log.clone();
        let truncation = thread::spawn(move || {
            cutter.truncate_to(3).unwrap();
            cutter.append(Record::new("new").key("b")).unwrap()
        });
        compaction.join().unwrap();
        assert_eq!(truncation.join().unwrap(), 3);
        let there = values(&log);
        assert_eq!(there.last(), Some(&(3, "new".to_owned())));
        assert!(there.iter().all(|(_, value)| value != "2"), "{there:?}");
        assert!(log.get(2).unwrap().is_none_or(|record| record.value_str() == Some("1")));
        assert_eq!(log.verify().unwrap(), []);
        // The recorded first dirty offset is right: the rest is compacted next.
        log.roll().unwrap();
        log.compact().unwrap();
        drop(log);
        let again = Log::open(DIR, compacting().fs(fs.kill())).unwrap();
        let b = values(&again).into_iter().filter(|(_, value)| value != "1").collect::<Vec<_>>();
        assert_eq!(b.last(), Some(&(3, "new".to_owned())));
        assert_eq!(again.verify().unwrap(), []);
    });
}

#[test]
fn compaction_and_deletion_agree() {
    check(|| {
        let (log, _) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || drop(cleaner.compact().unwrap()));
        assert_eq!(log.delete_before(4).unwrap(), 4);
        compaction.join().unwrap();
        let left: Vec<_> = values(&log).into_iter().map(|(offset, _)| offset).collect();
        assert_eq!(left, [4, 5]);
        assert_eq!(log.verify().unwrap(), []);
    });
}

#[test]
fn close_ends_compaction_before_unlocking() {
    check(|| {
        let (log, fs) = superseded(compacting());
        let cleaner = log.clone();
        let compaction = thread::spawn(move || match cleaner.compact() {
            Ok(_) | Err(Error::Closed { .. }) => {}
            Err(error) => panic!("{error}"),
        });
        log.close().unwrap();
        // From that moment on, no thread writes there.
        let again = Log::open(DIR, compacting().fs(fs)).unwrap();
        let left = values(&again);
        assert!(left.ends_with(&[(4, "2".to_owned()), (5, "2".to_owned())]), "{left:?}");
        assert_eq!(again.verify().unwrap(), []);
        compaction.join().unwrap();
        assert_eq!(values(&again), left);
    });
}

#[test]
fn maintainer_and_logs_drop_in_any_order() {
    check(|| {
        let maintainer = Maintainer::new(MaintainerConfig::default()).unwrap();
        let (log, fs) = superseded(compacting());
        maintainer.add(&log).unwrap();
        let other = log.clone();
        let user = thread::spawn(move || {
            drop(other.pause_maintenance());
            drop(other);
        });
        maintainer.run_now();
        drop(maintainer);
        log.append(Record::new("3").key("a")).unwrap();
        log.close().unwrap();
        user.join().unwrap();
        let again = Log::open(DIR, compacting().fs(fs)).unwrap();
        assert_eq!(values(&again).last(), Some(&(6, "3".to_owned())));
    });
}
