//! A log that closes while it is read, appended to and flushed.

use super::{DIR, append, check, config, four_segments, open, values};
use annals::fs::MemFs;
use annals::{Error, Log, ReadLimits, Timestamp};
use shuttle::thread;

#[test]
fn tail_and_task_notice_close() {
    check(|| {
        let log = open(config());
        let (mut one, mut other) = (log.tail(0).unwrap(), log.tail(0).unwrap());
        let tail = thread::spawn(move || {
            assert!(matches!(one.next_record(None), Err(Error::Closed { .. })))
        });
        let task = thread::spawn(move || {
            let next = std::future::poll_fn(|context| other.poll_next(context));
            assert!(matches!(shuttle::future::block_on(next), Err(Error::Closed { .. })));
        });
        log.close().unwrap();
        tail.join().unwrap();
        task.join().unwrap();
    });
}

/// Trap: a closed log has no segments, and looks empty.
#[test]
fn close_is_not_taken_for_end_of_log() {
    check(|| {
        let log = four_segments();
        let reading = log.clone();
        let reader = thread::spawn(move || {
            let Ok(mut reader) = reading.reader(0) else { return };
            for next in 0..4 {
                match reader.next_record() {
                    Ok(record) => assert_eq!(record.unwrap().offset, next),
                    Err(Error::Closed { .. }) => break,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let looking = log.clone();
        let looks = thread::spawn(move || {
            let is_closed = |error| assert!(matches!(error, Error::Closed { .. }), "{error}");
            match looking.get(1) {
                Ok(found) => assert_eq!(found.unwrap().offset, 1),
                Err(error) => is_closed(error),
            }
            match looking.offset_for_time(Timestamp::from_millis(2)) {
                Ok(found) => assert_eq!(found.unwrap().0, 2),
                Err(error) => is_closed(error),
            }
            match looking.read(3, ReadLimits::bytes(1)) {
                Ok(fetched) => assert!(!fetched.is_empty()),
                Err(error) => is_closed(error),
            }
            match looking.stats() {
                Ok(stats) => assert_eq!(stats.segments.len(), 5),
                Err(error) => is_closed(error),
            }
        });
        log.close().unwrap();
        reader.join().unwrap();
        looks.join().unwrap();
    });
}

#[test]
fn close_wakes_threads_and_loses_nothing() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().segment_bytes(200).fs(fs.clone())).unwrap();
        append(&log, &["x", "y"]).unwrap();
        fn closed<T>(result: annals::Result<T>) -> Option<T> {
            match result {
                Ok(done) => Some(done),
                Err(Error::Closed { .. }) => None,
                Err(other) => panic!("{other}"),
            }
        }
        let run = |work: fn(Log) -> u64| {
            let log = log.clone();
            thread::spawn(move || work(log))
        };
        let appender =
            |log: Log| (0..2).filter_map(|_| closed(append(&log, &["x", "y"]))).count() as u64;
        let appenders = [run(appender), run(appender)];
        let others = [
            run(|log| {
                let mut tail = closed(log.tail(0));
                while let Some(tail) = &mut tail
                    && closed(tail.next_record(None)).is_some()
                {}
                0
            }),
            run(|log| {
                closed(log.flush());
                closed(log.roll());
                0
            }),
            run(|log| {
                closed(shuttle::future::block_on(log.flush_async()));
                closed(log.get(1));
                0
            }),
        ];
        log.close().unwrap();
        // The directory is unlocked, although other handles still live.
        let reopened = Log::open(DIR, config().fs(fs)).unwrap();
        let appended: u64 = appenders.into_iter().map(|thread| thread.join().unwrap()).sum();
        others.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
        let end = 2 + 2 * appended;
        assert_eq!((reopened.offsets().end, values(&reopened).len() as u64), (end, end));
    });
}
