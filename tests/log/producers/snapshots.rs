//! Snapshots of the producer state: the ones that an opening relies on, and the ones it ignores.

use super::{Sent, UNNUMBERED, config, sent};
use annals::fs::{Fault, FaultFs, Fs, MemFs, Rule};
use annals::record::BatchBuilder;
use annals::{
    CleanupPolicy, Error, Event, FIRST_STORE_PRODUCER_ID, Log, LogConfig, ProducerId, Sequence,
    Store, StoreConfig, Timestamp, TopicConfig,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{DIR, Heard, T0, clock, files, name, write_file};

/// A snapshot file of these producers, made by a log that has them.
fn snapshot_of(batches: &[Sent]) -> Vec<u8> {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs).segment_bytes(1 << 20)).unwrap();
    batches.iter().for_each(|batch| assert!(!batch.append(&log, T0).unwrap().duplicate));
    let end = log.offsets().end;
    log.close().unwrap();
    files(&fs, DIR).remove(&name(end, "snapshot")).unwrap()
}

/// A snapshot from before the first segment says of producers what was true once: they went on,
/// and that was deleted.
#[test]
fn snapshot_below_first_segment_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    (0..9).for_each(|n| assert!(!sent(7, 0, n, 1).append(&log, T0).unwrap().duplicate));
    log.roll().unwrap();
    log.append("the rest").unwrap();
    log.delete_before(9).unwrap();
    drop(log);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(9, "snapshot"))).unwrap();
    write_file(&disk, DIR, &name(2, "snapshot"), &snapshot_of(&[sent(7, 0, 0, 2)]));
    let log = Log::open(DIR, config(&disk)).unwrap();
    assert_eq!(log.producers().unwrap(), []);
    assert!(!sent(7, 0, 9, 1).append(&log, T0).unwrap().duplicate);
    assert!(!files(&disk, DIR).contains_key(&name(2, "snapshot")));
}

/// All batches lie below the start of the log, so the opening removes them. One that kept their
/// producers knew what the next opening did not.
#[test]
fn opening_below_start_forgets_producers() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    sent(7, 0, 0, 2).append(&log, T0).unwrap();
    drop(log);
    let disk = fs.kill();
    write_file(&disk, DIR, "log-start-offset-checkpoint", b"0\n1\nt 0 7\n");
    let log = Log::open(DIR, config(&disk)).unwrap();
    assert_eq!((log.offsets().start, log.offsets().end), (7, 7));
    assert_eq!(log.producers().unwrap(), []);
    let again = Log::open(DIR, config(&disk.kill())).unwrap();
    assert_eq!(again.producers().unwrap(), []);
}

/// The segment of a snapshot may be read for other reasons from an earlier segment on, where no
/// batch names a producer any more: the content of the snapshot counted for nothing.
#[test]
fn recovery_uses_later_snapshots() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    for _ in 0..2 {
        log.roll().unwrap();
        log.append(UNNUMBERED).unwrap();
    }
    log.delete_before(1).unwrap();
    drop(log);
    let disk = fs.kill();
    disk.remove(&Path::new(DIR).join(name(1, "snapshot"))).unwrap();
    let log = Log::open(DIR, config(&disk)).unwrap();
    assert_eq!(log.offsets().start, 1);
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
}

/// The right checksum is no proof: a batch above the snapshot's offset would be answered as a
/// duplicate, and is not there.
#[test]
fn impossible_snapshot_is_ignored() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    sent(7, 0, 0, 2).append(&log, T0).unwrap();
    log.close().unwrap();
    write_file(&fs, DIR, &name(2, "snapshot"), &snapshot_of(&[sent(7, 0, 0, 2), sent(8, 0, 0, 3)]));
    let heard = Arc::new(Heard::default());
    let log = Log::open(DIR, config(&fs).listener(heard.clone())).unwrap();
    let ids: Vec<_> = log.producers().unwrap().iter().map(|state| state.producer_id).collect();
    assert_eq!(ids, [7]);
    let heard = heard.0.lock().unwrap();
    assert!(
        heard.iter().any(|event| matches!(event, Event::CheckpointIgnored { .. })),
        "{heard:?}"
    );
}

#[test]
fn directory_named_as_snapshot_stays() {
    let fs = MemFs::new();
    let path = Path::new(DIR).join(name(1, "snapshot"));
    for round in 0..2 {
        let log = Log::open(DIR, config(&fs)).unwrap();
        fs.create_dir(&path).unwrap_or_else(|_| assert_eq!(round, 1));
        sent(7, 0, round, 1).append(&log, T0).unwrap();
        log.close().unwrap();
    }
    assert_eq!(Log::open(DIR, config(&fs)).unwrap().producers().unwrap()[0].last_sequence, 1);
}

/// The file system that writes the snapshot is user-supplied code, and may panic. The file of the
/// next segment exists by then, so no batch may be written behind its first offset.
#[test]
fn snapshot_panic_forgets_no_producer() {
    let fs = FaultFs::new(MemFs::new());
    let open = || Log::open(DIR, LogConfig::default().clock(clock()).fs(fs.clone())).unwrap();
    let log = open();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    let rule = Rule::any(Fault::call(|_| panic!("not today"))).path(".snapshot");
    let rule = fs.add_rule(rule);
    catch_unwind(AssertUnwindSafe(|| log.roll())).unwrap_err();
    fs.remove_rule(rule);
    let error = sent(7, 0, 1, 1).append(&log, T0).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    drop(log);
    let log = open();
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
    assert_eq!(sent(7, 0, 1, 1).append(&log, T0).unwrap().first, 1);
}

/// The snapshot at the start of a segment that was merged into another is useless.
#[test]
fn compaction_keeps_snapshots_of_segments() {
    let fs = MemFs::new();
    let config = || {
        let config = config(&fs).cleanup_policy(CleanupPolicy::Compact);
        config.producer_id_expiration(Duration::MAX)
    };
    let log = Log::open(DIR, config()).unwrap();
    for n in 0..60 {
        let mut builder = BatchBuilder::new();
        builder.producer(n % 3, 0, (n / 3) as Sequence);
        let time = Timestamp::from_millis(T0 + n);
        builder.push(time, Some(&[b'k', n as u8 % 4]), Some(&[b'v'; 100])).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap();
    }
    log.roll().unwrap();
    let known = log.producers().unwrap();
    let bases = || -> (Vec<_>, Vec<_>) {
        let names: Vec<_> = files(&fs, DIR).into_keys().collect();
        let of = |end: &str| {
            names.iter().filter_map(|name| name.strip_suffix(end).map(str::to_owned)).collect()
        };
        (of(".log"), of(".snapshot"))
    };
    let before = bases().0.len();
    // Segments that are small enough after the first pass are joined by the second.
    for _ in 0..2 {
        log.compact().unwrap();
    }
    let (logs, snapshots) = bases();
    assert!(logs.len() * 2 < before, "{logs:?}");
    assert!(!snapshots.is_empty(), "{logs:?}");
    assert!(snapshots.iter().all(|base| logs.contains(base)), "{snapshots:?} beside {logs:?}");
    assert_eq!((log.producers().unwrap(), known.len()), (known.clone(), 3));
    drop(log);
    let disk = fs.kill();
    for name in files(&disk, DIR).into_keys().filter(|name| name.ends_with(".snapshot")) {
        disk.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let log = Log::open(DIR, config().fs(disk)).unwrap();
    assert_eq!(log.producers().unwrap(), known);
}

/// A broker assigns producer ids from 0 on. It took the first batches of its first producer for
/// those of a store that had begun at 0 too, acknowledged them, and stored nothing.
#[test]
fn store_avoids_producer_ids_of_broker() {
    let fs = MemFs::new();
    let open = || {
        let config = StoreConfig::default().fs(fs.clone()).clock(clock()).maintenance(None);
        Store::open("data", config).unwrap()
    };
    let store = open();
    assert_eq!(store.new_producer_id().unwrap(), FIRST_STORE_PRODUCER_ID);
    let topic = store.create_topic("orders", TopicConfig::default()).unwrap();
    let log = topic.partition(0).unwrap();
    // Batches of a broker's clients, of another store, and of a client that made up its id.
    for id in [0, 70_000, FIRST_STORE_PRODUCER_ID + 7_000, ProducerId::MAX] {
        sent(id, 0, 0, 1).append(&log, T0).unwrap();
    }
    store.close().unwrap();
    // As a store wrote it that gave out low ones.
    for known in [None, Some(5_000)] {
        fs.remove(Path::new("data/producer-ids.properties")).unwrap();
        if let Some(next) = known {
            let text = format!("next.producer.id={next}\n");
            write_file(&fs, "data", "producer-ids.properties", text.as_bytes());
        }
        let store = open();
        for n in 1..1_100 {
            assert_eq!(store.new_producer_id().unwrap(), FIRST_STORE_PRODUCER_ID + 7_000 + n);
        }
        store.close().unwrap();
    }
    let id = open().new_producer_id().unwrap();
    assert_eq!(id, FIRST_STORE_PRODUCER_ID + 7_001 + 2_000);
}
