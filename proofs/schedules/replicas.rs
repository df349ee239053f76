//! The high watermark moves while threads read.

use super::{append, check, config, open};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{IsolationLevel, ProducerIdentity, StartAt, Timestamp, TransactionVersion};
use shuttle::thread;

fn replicated() -> annals::LogConfig {
    config().replicated(true)
}

/// A tail that waits sees each record once it is below the high watermark, and none before.
#[test]
fn tail_wakes_at_high_watermark() {
    check(|| {
        let log = open(replicated());
        let mut tail = log.tail(StartAt::Earliest).unwrap();
        let reading = thread::spawn(move || {
            [0, 1].map(|expected| {
                assert_eq!(tail.next_record(None).unwrap().unwrap().offset, expected);
            })
        });
        let appending = {
            let log = log.clone();
            thread::spawn(move || (0..2).for_each(|_| drop(append(&log, &["a"]).unwrap())))
        };
        while log.set_high_watermark(2).unwrap() < 2 {
            thread::yield_now();
        }
        appending.join().unwrap();
        reading.join().unwrap();
    });
}

/// The offsets of one look are in their order, and a truncation takes the high watermark with it.
#[test]
fn high_watermark_stays_inside_of_log() {
    check(|| {
        let log = open(replicated());
        (0..3).for_each(|_| drop(append(&log, &["a"]).unwrap()));
        let moving = {
            let log = log.clone();
            thread::spawn(move || [2, 1, 3].map(|to| log.set_high_watermark(to).unwrap()))
        };
        let truncating = {
            let log = log.clone();
            thread::spawn(move || {
                log.truncate_to(1).unwrap();
                append(&log, &["b"]).unwrap();
            })
        };
        for _ in 0..3 {
            let offsets = log.offsets();
            assert!(offsets.start <= offsets.last_stable, "{offsets:?}");
            assert!(offsets.last_stable <= offsets.high_watermark, "{offsets:?}");
            assert!(offsets.high_watermark <= offsets.end, "{offsets:?}");
        }
        moving.join().unwrap();
        truncating.join().unwrap();
    });
}

/// A completed transaction is shown when its marker is below the high watermark, and an aborted
/// one never.
#[test]
fn reader_never_sees_transaction_before_it_is_replicated() {
    check(|| {
        let log = open(replicated());
        let mut builder = BatchBuilder::new();
        builder.producer(1, 0, 0).transactional(true);
        builder.push(Timestamp::from_millis(1), None, Some(b"aborted")).unwrap();
        log.append_batch(builder.build().unwrap()).unwrap();
        let writing = {
            let log = log.clone();
            thread::spawn(move || {
                let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
                let producer = ProducerIdentity { id: 1, epoch: 0 };
                log.append_marker(producer, marker, TransactionVersion::V0).unwrap();
                append(&log, &["after"]).unwrap();
            })
        };
        let moving = {
            let log = log.clone();
            thread::spawn(move || [1, 2, 3].map(|to| log.set_high_watermark(to).unwrap()))
        };
        let view = log.isolated(IsolationLevel::ReadCommitted);
        for _ in 0..2 {
            let mut reader = view.reader(StartAt::Earliest).unwrap();
            while let Some(record) = reader.next_record().unwrap() {
                assert_eq!(record.offset, 2);
                assert!(log.offsets().high_watermark > 2);
            }
        }
        writing.join().unwrap();
        moving.join().unwrap();
    });
}
