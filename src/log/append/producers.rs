//! Storing the producers of a log in snapshots.
//!
//! No snapshot is needed: a [replay](crate::log::append::replay) rebuilds the same content from
//! the batches. Snapshots save reading, so they are written without an fsync of their own, and a
//! damaged one is ignored. But a snapshot must not describe batches that are not there: before
//! anything is appended to a log that was truncated, or opened, the replay removes the snapshots
//! above its end, durably.

use crate::error::Result;
use crate::event::Event;
use crate::log::files::snapshots::path_of;
use crate::log::inner::LogInner;
use crate::log::state::producers::{EVERY_BYTES, ProducerTracker};
use crate::producer_state::{Producers, recent, snapshot};
use crate::segment::name::{Kind, SegmentFile};
use crate::types::Offset;

impl LogInner {
    /// Takes a snapshot of the producers as of the end of the log. The caller holds the writer
    /// lock.
    pub(crate) fn store_producers(
        &self,
        tracked: &mut ProducerTracker,
        segment: Offset,
        position: u64,
    ) {
        tracked.due = position.saturating_add(EVERY_BYTES);
        let end = self.state.end();
        tracked.producers.advance(end);
        if tracked.stored == Some(end) && !tracked.is_stale {
            return;
        }
        tracked.producers.expire(tracked.now, self.config.producer_id_expiration);
        let path = path_of(&self.dir, end, Kind::Snapshot);
        if !snapshot::fits(tracked.len()) {
            let error = "there are more producers than a snapshot holds".to_owned();
            return self.emit(&Event::CheckpointFailed { path, error });
        }
        match self.write_producers(&tracked.producers, end) {
            Ok(()) => {
                tracked.is_stale = false;
                let before = tracked.stored.replace(end);
                // Within a segment one is enough.
                if let Some(before) = before.filter(|before| *before > segment && *before < end) {
                    self.dir.discard(SegmentFile::live(before, Kind::Snapshot));
                    self.dir.discard(SegmentFile::live(before, Kind::Recent));
                }
            }
            Err(error) => self.emit(&Event::CheckpointFailed { path, error: error.to_string() }),
        }
    }

    /// Writes the snapshot of an offset. The `.recent` file with what it leaves out is written
    /// first, so that it is there whenever the snapshot is.
    fn write_producers(&self, producers: &Producers, end: Offset) -> Result<()> {
        let states = producers.states();
        let content = snapshot::encode(&states);
        let recent = recent::encode(producers, &states, &content);
        if let Some(recent) = recent.filter(|_| !states.is_empty()) {
            let path = path_of(&self.dir, end, Kind::Recent);
            if let Err(error) = self.dir.replace_unsynced(&path, &recent) {
                self.emit(&Event::CheckpointFailed { path, error: error.to_string() });
            }
        }
        self.dir.replace_unsynced(&path_of(&self.dir, end, Kind::Snapshot), &content)
    }
}

#[cfg(test)]
mod tests {
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
            // The one before is of no use any more; the one where the segment begins is.
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

    /// The event of a snapshot that fails in an append was delivered with the lock of the writer
    /// held.
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
        // It knows another producer, and not the producers before it.
        let state = ProducerState { producer_id: 99, ..open(&fs.kill()).producers().unwrap()[0] };
        let file = fs.open(&path(4), OpenMode::ReadWrite).unwrap();
        let bytes = snapshot::encode(&[state]);
        file.set_len(bytes.len() as u64).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let log = open(&fs);
        assert_eq!(ids(&log), [3, 99]);
        // The next one in between takes its place.
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
                            fs.open(&path(*offset), OpenMode::ReadWrite)
                                .unwrap()
                                .set_len(len)
                                .unwrap();
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
}
