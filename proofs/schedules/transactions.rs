//! Readers of committed records while transactions begin and end.

use crate::{check, config, open};
use annals::record::{BatchBuilder, EndTxnMarker, RecordBatch};
use annals::{
    IsolationLevel, Log, Offset, ProducerId, ProducerIdentity, Timestamp, TransactionVersion,
};
use shuttle::thread;

fn send(log: &Log, id: ProducerId, sequence: i32, value: &str) -> Offset {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence).transactional(true);
    builder.push(Timestamp::from_millis(1), None, Some(value.as_bytes())).unwrap();
    let batch = RecordBatch::parse(builder.build_bytes().unwrap().into()).unwrap();
    log.append_batch(batch).unwrap().first
}

fn end(log: &Log, id: ProducerId, committed: bool) {
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    log.append_marker(ProducerIdentity { id, epoch: 0 }, marker, TransactionVersion::V1).unwrap();
}

/// Reads what there is at one moment, and returns the offsets.
fn read_committed(log: &Log) -> Vec<Offset> {
    let mut reader =
        log.isolated(IsolationLevel::ReadCommitted).reader(log.offsets().start).unwrap();
    let mut seen = Vec::new();
    while let Ok(Some(record)) = reader.next_record() {
        assert_ne!(record.value_str(), Some("aborted"), "at {}", record.offset);
        seen.push(record.offset);
    }
    seen
}

/// The entry of an aborted transaction is found as soon as the last stable offset passes it, and
/// the transaction of a batch as soon as the end does.
#[test]
fn reader_never_sees_record_before_its_fate() {
    check(|| {
        let log = open(config());
        let writer = log.clone();
        let writes = thread::spawn(move || {
            send(&writer, 1, 0, "aborted");
            send(&writer, 2, 0, "committed");
            end(&writer, 1, false);
            end(&writer, 2, true);
        });
        let other = log.clone();
        let rolls = thread::spawn(move || other.roll().unwrap());
        let tail = log.clone();
        let follows = thread::spawn(move || {
            // The tail wakes when the last stable offset moves, and not only when the end does.
            let mut tail = tail.isolated(IsolationLevel::ReadCommitted).tail(0).unwrap();
            tail.next_record(None).unwrap().unwrap().offset
        });
        read_committed(&log);
        writes.join().unwrap();
        rolls.join().unwrap();
        assert_eq!(follows.join().unwrap(), 1);
        assert_eq!(read_committed(&log), [1]);
    });
}

/// A truncation takes the marker away, and its entry from the index. The records before it are
/// those of an open transaction again.
#[test]
fn truncated_marker_shows_no_record() {
    check(|| {
        let log = open(config());
        send(&log, 1, 0, "aborted");
        end(&log, 1, false);
        log.append("plain").unwrap();
        let writer = log.clone();
        let cuts = thread::spawn(move || writer.truncate_to(1).unwrap());
        read_committed(&log);
        cuts.join().unwrap();
        assert_eq!((log.offsets().last_stable, log.offsets().end), (0, 1));
        end(&log, 1, false);
        assert!(read_committed(&log).is_empty());
    });
}
