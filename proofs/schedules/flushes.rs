//! Flushes that wait for one sync: durable for each, and ended for each by a failure.

use super::{DIR, check, config, end_after_power_failure, quietly};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{Error, Log};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn shared_flush_is_durable_for_each() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (log, fs) = (log.clone(), fs.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let offset = log.append("x").unwrap();
                        let durable = match thread {
                            0 => log.flush().unwrap(),
                            1 => log.flush_through(offset).unwrap(),
                            _ => shuttle::future::block_on(log.flush_async()).unwrap(),
                        };
                        assert!(durable > offset);
                        assert!(end_after_power_failure(&fs) > offset);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(log.offsets().durable, 6);
    });
}

/// If a flush read the end after the list of segments, it would promise records in a segment that
/// it did not sync.
#[test]
fn flush_is_durable_during_rolls() {
    check(|| {
        let fs = MemFs::new();
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let rolling = log.clone();
        let roller = thread::spawn(move || {
            for _ in 0..2 {
                rolling.append("x").unwrap();
                rolling.roll().unwrap();
                rolling.append("y").unwrap();
            }
        });
        for _ in 0..3 {
            log.append("z").unwrap();
            let durable = log.flush().unwrap();
            assert!(end_after_power_failure(&fs) >= durable);
        }
        roller.join().unwrap();
    });
}

#[test]
fn failed_sync_fails_every_waiting_flush() {
    check(|| {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let nth = 1 + shuttle::rand::Rng::gen_range(&mut shuttle::rand::thread_rng(), 0..3);
        let fault = Fault::Error(std::io::ErrorKind::Other);
        let failing = fs.add_rule(Rule::new(Operation::SyncData, fault).nth(nth));
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (log, memory) = (log.clone(), memory.clone());
                thread::spawn(move || {
                    let mut failed = false;
                    for _ in 0..2 {
                        let Ok(offset) = log.append("x") else { continue };
                        let flushed = match thread {
                            0 => shuttle::future::block_on(log.flush_async()),
                            _ => log.flush(),
                        };
                        match flushed {
                            Ok(durable) => {
                                assert!(!failed && durable > offset);
                                assert!(end_after_power_failure(&memory) > offset);
                            }
                            Err(_) => failed = true,
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        if fs.hit_count(failing) > 0 {
            assert!(matches!(log.append("y"), Err(Error::Poisoned { .. })));
        }
    });
}

#[test]
fn no_flush_hangs_when_sync_panics() {
    quietly();
    check(|| {
        let memory = MemFs::new();
        let fs = FaultFs::new(memory.clone());
        let log = Log::open(DIR, config().fs(fs.clone())).unwrap();
        let panics = Fault::call(|_| panic!("the disk stands"));
        fs.add_rule(Rule::new(Operation::SyncData, panics).nth(1));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (log, memory) = (log.clone(), memory.clone());
                thread::spawn(move || {
                    // After the panic, nothing is known of the disk, and the log is poisoned.
                    let Ok(offset) = log.append("x") else { return };
                    let flushed = catch_unwind(AssertUnwindSafe(|| log.flush()));
                    if let Ok(Ok(durable)) = flushed {
                        assert!(durable > offset);
                        assert!(end_after_power_failure(&memory) > offset);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(matches!(log.flush(), Err(Error::Poisoned { .. })));
    });
}
