//! A batch that is sent again is recognised, at once and after an opening.

use super::{UNNUMBERED, config, sent};
use annals::fs::{CrashState, Fs, MemFs};
use annals::{Error, ErrorKind, Log, ManualClock, ProducerStateError, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Chance, DIR, T0, files, name, read_all};

#[test]
fn resent_batch_is_stored_once() {
    let fs = MemFs::new();
    let log = Log::open(DIR, config(&fs)).unwrap();
    log.append("no number").unwrap();
    for n in 0..6 {
        let appended = sent(7, 0, n * 3, 3).append(&log, T0).unwrap();
        assert_eq!((appended.first, appended.duplicate), (1 + n as u64 * 3, false));
    }
    let end = log.offsets().end;
    for n in 1..6 {
        let again = sent(7, 0, n * 3, 3).append(&log, T0).unwrap();
        assert_eq!((again.first, again.last), (1 + n as u64 * 3, 3 + n as u64 * 3));
        assert!(again.duplicate);
    }
    for (batch, kind, text) in [
        (
            sent(7, 0, 0, 3),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 0, but 18 is next; send the missing records, or raise the epoch and start at 0",
        ),
        (
            sent(7, 0, 19, 1),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 19, but 18 is next; send the missing records, or raise the epoch and start at 0",
        ),
        (
            sent(7, 1, 18, 1),
            ErrorKind::OutOfOrder,
            "producer 7 sent sequence number 18, but 0 is next; send the missing records, or raise the epoch and start at 0",
        ),
    ] {
        let error = batch.append(&log, T0).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
        assert!(!error.is_retryable());
    }
    assert!(!sent(7, 1, 0, 1).append(&log, T0).unwrap().duplicate);
    let error = sent(7, 0, 18, 1).append(&log, T0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(
        error.to_string(),
        "producer 7 has epoch 0, but the log has seen epoch 1: another producer has taken over; close this one"
    );
    assert_eq!(log.offsets().end, end + 1);
    assert_eq!(log.verify().unwrap(), []);
}

#[test]
fn resent_batch_is_stored_once_concurrently() {
    for seed in 0..20 {
        let log = Log::open(DIR, config(&MemFs::new())).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || {
                    let mut chance = Chance(seed * 4 + thread);
                    for n in 0..60 {
                        let batch = sent(1, 0, n * 2, 2);
                        loop {
                            match batch.append(log, T0) {
                                // It has been stored, and so has the next, or it follows one that
                                // another will store.
                                Ok(_) => break,
                                Err(Error::Producer(ProducerStateError::OutOfOrder {
                                    expected,
                                    ..
                                })) => {
                                    if expected > n * 2 {
                                        break;
                                    }
                                }
                                Err(error) => panic!("{error}"),
                            }
                        }
                        if chance.below(3) == 0 {
                            log.append("no number").unwrap();
                        }
                    }
                });
            }
        });
        let values: Vec<_> = read_all(&log)
            .into_iter()
            .filter_map(|record| String::from_utf8(record.value.unwrap()).ok())
            .filter(|value| value.starts_with('1'))
            .collect();
        let expected: Vec<_> = (0..120).map(|n| format!("1 0 {n}")).collect();
        assert_eq!(values, expected, "seed {seed}");
    }
}

/// A day-old record of a backfill says nothing about its producer: after a kill its batch was not
/// recognised, and stored again.
#[test]
fn old_records_are_recognised_after_opening() {
    for hours in [0, 25, 24 * 365 * 50] {
        for (is_closed, seed) in [(false, None), (true, None), (false, Some(7))] {
            let fs = MemFs::new();
            let log = Log::open(DIR, config(&fs)).unwrap();
            let at = T0 - hours * 3_600_000;
            (0..7).for_each(|n| assert!(!sent(7, 0, n, 1).append(&log, at).unwrap().duplicate));
            log.flush().unwrap();
            if is_closed {
                log.clone().close().unwrap();
            }
            drop(log);
            let disk = seed.map_or_else(|| fs.kill(), |seed| fs.crash(CrashState::Random { seed }));
            let log = Log::open(DIR, config(&disk)).unwrap();
            for n in 2..7 {
                assert!(sent(7, 0, n, 1).append(&log, at).unwrap().duplicate, "{hours}, {n}");
            }
        }
    }
}

/// Kafka's snapshot has one batch of each producer. A client with five batches in flight that lost
/// the answers was rejected for four of them, began another epoch and stored all of them again.
#[test]
fn five_batches_are_recognised_after_opening() {
    let before: [fn(&Log); 3] =
        [|_| {}, |log| log.roll().unwrap(), |log| log.maintain().map(drop).unwrap()];
    let removed: [&[&str]; 5] =
        [&[], &[".recent"], &[".snapshot"], &[".recent", ".snapshot"], &[".recent", "index"]];
    for (is_closed, before) in [false, true].into_iter().flat_map(|c| before.map(|b| (c, b))) {
        for removed in removed {
            let fs = MemFs::new();
            let log = Log::open(DIR, config(&fs)).unwrap();
            for n in 0..9 {
                sent(7, 0, n * 2, 2).append(&log, T0).unwrap();
                sent(8, 0, n, 1).append(&log, T0).unwrap();
                if n == 6 {
                    log.roll().unwrap();
                }
            }
            before(&log);
            log.append(UNNUMBERED).unwrap();
            if is_closed {
                log.clone().close().unwrap();
            }
            drop(log);
            let disk = fs.kill();
            for name in files(&disk, DIR).into_keys() {
                if removed.iter().any(|ending| name.ends_with(ending)) {
                    disk.remove(&Path::new(DIR).join(name)).unwrap();
                }
            }
            let log = Log::open(DIR, config(&disk)).unwrap();
            assert_eq!(log.recovery().clean_shutdown, is_closed);
            for n in 4..9 {
                assert!(sent(7, 0, n * 2, 2).append(&log, T0).unwrap().duplicate);
                assert!(sent(8, 0, n, 1).append(&log, T0).unwrap().duplicate);
            }
            assert!(sent(8, 0, 3, 1).append(&log, T0).is_err());
            // The next opening has the file again.
            log.close().unwrap();
            let recent = name(28, "recent");
            assert!(files(&disk, DIR).contains_key(&recent), "{removed:?}");
        }
    }
}

/// An append that repeats a batch took the turn of the flush that was due, and flushed nothing.
#[test]
fn duplicate_append_keeps_flush_due() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = config(&MemFs::new()).clock(clock.clone());
    let log = Log::open(DIR, config.flush_interval(Duration::from_secs(1))).unwrap();
    sent(7, 0, 0, 1).append(&log, T0).unwrap();
    log.flush().unwrap();
    log.append("waits").unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(sent(7, 0, 0, 1).append(&log, T0).unwrap().duplicate);
    assert_eq!(log.offsets().durable, 2);
}
