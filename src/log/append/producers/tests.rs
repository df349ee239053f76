use super::*;
use crate::fs::{Fs, MemFs, OpenMode};
use crate::log::Log;
use crate::record::BatchBuilder;
use crate::types::{ProducerId, Sequence};
use crate::{LogConfig, ProducerState, Timestamp};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "t-0";

fn open(fs: &MemFs) -> Log {
    let config = LogConfig::default().producer_id_expiration(Duration::MAX);
    let config = config.index_interval_bytes(0);
    Log::open(DIR, config.fs(fs.clone())).unwrap()
}

fn send(log: &Log, id: ProducerId, sequence: Sequence) {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence);
    builder.push(Timestamp::from_millis(1), None, Some(b"v")).unwrap();
    assert!(!log.append_batch(builder.build().unwrap()).unwrap().duplicate);
}

/// Lets the next append find that a snapshot is due.
fn make_due(log: &Log) {
    let mut writer = log.inner.appends.writer.lock();
    let writer = writer.as_mut().unwrap();
    assert!(!writer.tracked.is_due(writer.log.position()));
    writer.tracked.due = writer.log.position() + 1;
}

fn path(offset: Offset) -> PathBuf {
    Path::new(DIR).join(format!("{offset:020}.snapshot"))
}

fn snapshots(fs: &MemFs) -> Vec<Offset> {
    let names = fs.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name);
    names.filter_map(|name| name.strip_suffix(".snapshot")?.parse().ok()).collect()
}

/// Two segments, producer 1 in the first, 2 and 3 in the second, the last snapshot between the
/// batches of these.
fn log_with_one_in_between() -> MemFs {
    let fs = MemFs::new();
    let log = open(&fs);
    send(&log, 1, 0);
    log.roll().unwrap();
    for n in 0..3 {
        make_due(&log);
        send(&log, 2, n);
        // The previous snapshot in the segment is of no use any more; the one at its base still
        // is.
        assert_eq!(snapshots(&fs), [1, 2 + n as Offset]);
    }
    send(&log, 3, 0);
    assert_eq!(snapshots(&fs), [1, 4]);
    // After an opening the recovery point covers all of it, so the next opening has no other
    // reason to read it.
    let disk = fs.kill();
    drop(open(&disk));
    disk.kill()
}

fn ids(log: &Log) -> Vec<ProducerId> {
    log.producers().unwrap().iter().map(|state| state.producer_id).collect()
}

#[test]
fn snapshot_is_due_every_64_mib() {
    let tracked = ProducerTracker::nothing(0);
    assert!(!tracked.is_due((64 << 20) - 1) && tracked.is_due(64 << 20));
    let tracked = tracked.at(100);
    assert!(!tracked.is_due((64 << 20) + 99) && tracked.is_due((64 << 20) + 100));
    let log = open(&MemFs::new());
    make_due(&log);
    send(&log, 1, 0);
    let due = log.inner.appends.writer.lock().as_ref().unwrap().tracked.due;
    assert_eq!(due, log.stats().unwrap().segments[0].bytes + (64 << 20));
}

/// Calls the log whenever a snapshot could not be written.
#[derive(Debug, Default)]
struct Rolls(std::sync::OnceLock<Log>);

impl crate::Listener for Rolls {
    fn on_event(&self, event: &Event) {
        if let (Event::CheckpointFailed { .. }, Some(log)) = (event, self.0.get()) {
            log.roll().unwrap();
        }
    }
}

/// The event of a snapshot that fails in an append is delivered after the writer lock is released.
/// With the lock held, a listener that calls the log would wait for itself.
#[test]
fn listener_may_call_log_when_snapshot_fails() {
    let fs = crate::fs::FaultFs::new(MemFs::new());
    let listener = Arc::new(Rolls::default());
    let config = LogConfig::default().fs(fs.clone()).listener(listener.clone());
    let log = Log::open(DIR, config).unwrap();
    listener.0.set(log.clone()).unwrap();
    let full = crate::fs::Fault::Error(std::io::ErrorKind::StorageFull);
    fs.add_rule(crate::fs::Rule::any(full).path(".snapshot"));
    make_due(&log);
    let (tell, told) = std::sync::mpsc::channel();
    let appender = log.clone();
    std::thread::spawn(move || {
        send(&appender, 1, 0);
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(60)).expect("the listener waits for the append");
    assert_eq!(log.stats().unwrap().segments.len(), 2);
}

#[test]
fn replay_begins_at_middle_snapshot_after_kill() {
    let fs = log_with_one_in_between();
    assert_eq!(ids(&open(&fs.kill())), [1, 2, 3]);
    // The snapshot now holds another producer, and none of the earlier ones.
    let state = ProducerState { producer_id: 99, ..open(&fs.kill()).producers().unwrap()[0] };
    let file = fs.open(&path(4), OpenMode::ReadWrite).unwrap();
    let bytes = snapshot::encode(&[state]);
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    let log = open(&fs);
    assert_eq!(ids(&log), [3, 99]);
    // The next snapshot inside the segment replaces it.
    make_due(&log);
    send(&log, 3, 1);
    assert_eq!(snapshots(&fs), [1, 6]);
}

#[test]
fn replay_works_without_damaged_snapshot() {
    let expected = open(&log_with_one_in_between()).producers().unwrap();
    for harmed in [&[4][..], &[1, 4]] {
        for cut in [None, Some(0), Some(9), Some(55)] {
            let fs = log_with_one_in_between();
            for offset in harmed {
                match cut {
                    None => fs.remove(&path(*offset)).unwrap(),
                    Some(len) => {
                        fs.open(&path(*offset), OpenMode::ReadWrite).unwrap().set_len(len).unwrap();
                    }
                }
            }
            let log = open(&fs);
            assert_eq!(log.producers().unwrap(), expected);
            let left: Vec<_> = [1].into_iter().filter(|at| !harmed.contains(at)).collect();
            assert_eq!(snapshots(&fs), left);
            log.roll().unwrap();
            assert_eq!(snapshots(&fs), [left, vec![5]].concat());
        }
    }
}

#[test]
fn snapshot_leaves_out_expired_producers() {
    let fs = MemFs::new();
    let log = Log::open(DIR, LogConfig::default().fs(fs.clone())).unwrap();
    send(&log, 1, 0);
    {
        let mut writer = log.inner.appends.writer.lock();
        let tracked = &mut writer.as_mut().unwrap().tracked;
        tracked.now = Timestamp::from_millis(tracked.now.as_millis() + 24 * 3_600_000);
        log.inner.store_producers(tracked, 0, 0);
        assert_eq!((tracked.len(), tracked.stored), (0, Some(1)));
    }
    assert_eq!(snapshots(&fs), [1]);
}
