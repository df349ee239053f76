//! Readers, tails and tasks beside appends: each record is seen once, and no wakeup is lost.

use super::{append, check, config, open, values};
use annals::{Error, ReadLimits, Timestamp};
use shuttle::thread;

#[test]
fn reader_sees_whole_batches_below_end() {
    check(|| {
        let log = open(config());
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).unwrap();
            let mut next = 0;
            for _ in 0..3 {
                let end = reading.offsets().end;
                while let Some(mut batch) = reader.next_batch().unwrap() {
                    assert_eq!(batch.header().base_offset, next);
                    assert_eq!(batch.records().unwrap().count(), 2);
                    next = batch.header().next_offset();
                    assert!(next <= reading.offsets().end);
                }
                assert!(next >= end, "the log ended at {end}, and was read to {next}");
                if let Some(last) = end.checked_sub(1) {
                    assert_eq!(reading.get(last).unwrap().unwrap().offset, last);
                    let fetched = reading.read(last, ReadLimits::bytes(1)).unwrap();
                    assert_eq!(fetched.records().unwrap()[0].offset, last);
                    assert!(reading.offset_for_time(Timestamp::from_millis(0)).unwrap().is_some());
                }
            }
        });
        for _ in 0..4 {
            append(&log, &["a", "b"]).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn tail_misses_no_append() {
    check(|| {
        let log = open(config());
        let mut tail = log.tail(0).unwrap();
        let tail = thread::spawn(move || {
            for offset in 0..3 {
                assert_eq!(tail.next_record(None).unwrap().unwrap().offset, offset);
            }
        });
        for _ in 0..3 {
            log.append("x").unwrap();
        }
        tail.join().unwrap();
    });
}

#[test]
fn tails_miss_no_group_append() {
    check(|| {
        let log = open(config());
        let mut threads = Vec::new();
        for _ in 0..2 {
            let mut tail = log.tail(0).unwrap();
            threads.push(thread::spawn(move || {
                (0..2).for_each(|n| assert_eq!(tail.next_record(None).unwrap().unwrap().offset, n));
            }));
            let log = log.clone();
            threads.push(thread::spawn(move || drop(log.append("x").unwrap())));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn task_misses_no_append() {
    check(|| {
        let log = open(config());
        let mut tail = log.tail(0).unwrap();
        let task = thread::spawn(move || {
            for offset in 0..2 {
                let next = std::future::poll_fn(|context| tail.poll_next(context));
                assert_eq!(shuttle::future::block_on(next).unwrap().offset, offset);
            }
        });
        for _ in 0..2 {
            log.append("x").unwrap();
        }
        task.join().unwrap();
    });
}

#[test]
fn tail_notices_truncation_below_position() {
    check(|| {
        let log = open(config());
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        let mut tail = log.tail(3).unwrap();
        let tail = thread::spawn(move || {
            assert!(matches!(tail.next_record(None), Err(Error::OffsetOutOfRange { .. })));
        });
        log.truncate_to(1).unwrap();
        tail.join().unwrap();
    });
}

#[test]
fn reader_continues_across_rolls() {
    check(|| {
        let log = open(config());
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let mut reader = reading.reader(0).unwrap();
            let mut next = 0;
            for _ in 0..4 {
                let end = reading.offsets().end;
                while let Some(record) = reader.next_record().unwrap() {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
                assert!(next >= end, "the log ended at {end}, and was read to {next}");
                if let Some(last) = end.checked_sub(1) {
                    assert_eq!(reading.get(last).unwrap().unwrap().offset, last);
                }
            }
        });
        let rolling = log.clone();
        let roller = thread::spawn(move || (0..2).for_each(|_| rolling.roll().unwrap()));
        (0..3).for_each(|_| drop(log.append("x").unwrap()));
        log.roll().unwrap();
        log.append("x").unwrap();
        roller.join().unwrap();
        reader.join().unwrap();
        assert_eq!(values(&log).len(), 4);
    });
}
