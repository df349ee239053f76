//! Everything at once, until so many operations are done.

use annals::fs::MemFs;
use annals::{Error, IsolationLevel, Log, LogConfig, ReadLimits, Record, Tail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use support::{Chance, DIR, read_all, seeds};

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A value says which thread made it, and as which of its own.
fn value(thread: u64, count: u64) -> String {
    format!("{thread}:{count}:{}", "z".repeat((count % 50) as usize))
}

fn parse(value: &str) -> (u64, u64) {
    let mut parts = value.split(':');
    (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap())
}

/// A log without transactions is the same at every level.
const LEVELS: [IsolationLevel; 4] = [
    IsolationLevel::ReadUncommitted,
    IsolationLevel::ReadCommitted,
    IsolationLevel::LogEnd,
    IsolationLevel::HighWatermark,
];

fn level(number: u64) -> IsolationLevel {
    LEVELS[(number % 4) as usize]
}

/// Reads to the end, again and again; offsets rise and each thread's values are in its order.
fn follow(log: &Log, level: IsolationLevel, made: &[AtomicU64], done: &AtomicBool) {
    let mut reader = log.isolated(level).reader(0).unwrap();
    let (mut next, mut seen) = (0, vec![None::<u64>; made.len()]);
    loop {
        let last_round = done.load(Ordering::SeqCst);
        loop {
            match reader.next_record() {
                Ok(Some(record)) => {
                    assert!(record.offset >= next, "{} after {next}", record.offset);
                    next = record.offset + 1;
                    let (thread, count) = parse(record.value_str().unwrap());
                    assert!(count < made[thread as usize].load(Ordering::SeqCst), "never appended");
                    assert!(seen[thread as usize].is_none_or(|before| before < count));
                    seen[thread as usize] = Some(count);
                }
                Ok(None) => break,
                Err(Error::OffsetOutOfRange { end, .. }) => {
                    // Truncated below this place: the next records may repeat none of those that
                    // stayed.
                    next = end.min(log.offsets().end);
                    reader.seek(annals::StartAt::Latest).unwrap();
                    next = next.min(reader.offset());
                    seen.fill(None);
                }
                Err(other) => panic!("{other}"),
            }
        }
        if last_round {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn all_calls_run_concurrently() {
    for seed in seeds("ANNALS_CONCURRENCY_SEEDS", 6) {
        let fs = MemFs::new();
        let config = LogConfig::default().segment_bytes(3000).index_interval_bytes(200);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let made: Vec<_> = (0..3).map(|_| AtomicU64::new(0)).collect();
        let done = AtomicBool::new(false);
        let truncates = seed % 2 == 1;
        std::thread::scope(|scope| {
            let (log, made, done) = (&log, &made[..], &done);
            let _ending = Ending(log, done);
            let writers: Vec<_> = (0..3u64)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut chance = Chance(seed * 31 + thread);
                        for _ in 0..400 {
                            let n = 1 + chance.below(3);
                            let from = made[thread as usize].fetch_add(n, Ordering::SeqCst);
                            let appended = log
                                .append_all((from..from + n).map(|c| Record::new(value(thread, c))))
                                .unwrap();
                            match chance.below(40) {
                                0 => log.roll().unwrap(),
                                1 => drop(log.flush().unwrap()),
                                2 => match log.flush_through(appended.last) {
                                    Ok(durable) => assert!(truncates || durable > appended.last),
                                    Err(error) => assert!(
                                        truncates
                                            && matches!(error, Error::OffsetOutOfRange { .. })
                                    ),
                                },
                                3 if truncates => {
                                    let target = log.offsets().end.saturating_sub(chance.below(10));
                                    let result = log.truncate_to(target);
                                    assert!(matches!(
                                        result,
                                        Ok(()) | Err(Error::OffsetOutOfRange { .. })
                                    ));
                                }
                                _ => {}
                            }
                        }
                    })
                })
                .collect();
            let readers: Vec<_> = (0..2)
                .map(|number| {
                    scope.spawn(move || follow(log, level(seed * 2 + number), made, done))
                })
                .collect();
            let mut tail = log.isolated(level(seed + 1)).tail(0).unwrap();
            scope.spawn(move || {
                loop {
                    match tail.next_record(None) {
                        Ok(Some(_)) => {}
                        Err(Error::OffsetOutOfRange { .. }) => {
                            tail.seek(annals::StartAt::Latest).unwrap()
                        }
                        Err(Error::Closed { .. }) => return,
                        other => panic!("{other:?}"),
                    }
                }
            });
            let looker = scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let from = log.offsets().end / 2;
                    match log.read(from, ReadLimits::bytes(5000)) {
                        Ok(_) | Err(Error::OffsetOutOfRange { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                    let offsets = log.offsets();
                    assert!(offsets.durable <= offsets.end);
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            done.store(true, Ordering::SeqCst);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
            looker.join().unwrap();
            assert_eq!(log.verify().unwrap(), [], "replay with ANNALS_CONCURRENCY_SEEDS={seed}");
            let before = read_all(log);
            log.clone().close().unwrap();
            let reopened = Log::open(DIR, config.fs(fs.clone())).unwrap();
            assert_eq!(read_all(&reopened), before);
        });
    }
}

/// However a test ends, threads that wait for records or run until told to stop end too.
struct Ending<'a>(&'a Log, &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
        self.0.clone().close().ok();
    }
}

/// Long enough for one in many to be written alone, the others short enough to be written
/// together.
fn stress_value(thread: u64, count: u64, seed: u64) -> String {
    let mut chance = Chance(seed ^ (thread << 32) ^ count);
    let fill = if chance.below(25) == 0 { 9_000 } else { chance.below(40) };
    let letter = char::from(b'a' + (chance.below(26) as u8));
    format!("{thread}:{count}:{}", letter.to_string().repeat(fill as usize))
}

/// The answers that one thread got: an offset for each of its records, in its order.
type Told = Vec<(u64, u64)>;

fn stress_appends(log: &Log, thread: u64, seed: u64, operations: u64) -> Told {
    let mut chance = Chance(seed * 97 + thread);
    let mut told = Vec::new();
    for _ in 0..operations {
        let from = told.len() as u64;
        let n = 1 + chance.below(3);
        let values = (from..from + n).map(|count| stress_value(thread, count, seed));
        let appended = log.append_all(values.map(Record::from)).unwrap();
        assert_eq!(appended.last - appended.first + 1, n);
        told.extend((appended.first..=appended.last).zip(from..));
        match chance.below(100) {
            0 => log.roll().unwrap(),
            1 => drop(log.flush().unwrap()),
            _ => {}
        }
    }
    told
}

/// Checks the records that a log returns: offsets without a hole, and each thread's records whole
/// and in its order.
struct Witness {
    next: u64,
    counts: Vec<u64>,
    seed: u64,
}

impl Witness {
    fn new(threads: u64, seed: u64) -> Witness {
        Witness { next: 0, counts: vec![0; threads as usize], seed }
    }

    fn see(&mut self, offset: u64, value: &str) {
        let seed = self.seed;
        assert_eq!(offset, self.next, "seed {seed}");
        self.next += 1;
        let (thread, count) = parse(value);
        assert_eq!(count, self.counts[thread as usize], "thread {thread}, seed {seed}");
        self.counts[thread as usize] += 1;
        assert!(value == stress_value(thread, count, seed), "another value, seed {seed}");
    }
}

/// Follows the log until it is closed, by records or by batches.
fn stress_tail(mut tail: Tail, mut witness: Witness, by_batches: bool) -> u64 {
    loop {
        if !by_batches {
            match tail.next_record(None) {
                Ok(record) => {
                    let record = record.unwrap();
                    witness.see(record.offset, record.value_str().unwrap());
                }
                Err(Error::Closed { .. }) => return witness.next,
                Err(other) => panic!("{other}"),
            }
            continue;
        }
        match tail.next_batch(None) {
            Ok(batch) => {
                for record in batch.unwrap().records().unwrap() {
                    let record = record.unwrap();
                    let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                    witness.see(record.offset, value);
                }
            }
            Err(Error::Closed { .. }) => return witness.next,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn acknowledged_appends_keep_thread_order() {
    const THREADS: u64 = 4;
    for seed in seeds("ANNALS_STRESS_SEEDS", 4) {
        let fs = MemFs::new();
        let config = LogConfig::default().segment_bytes(30_000).index_interval_bytes(500);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let done = AtomicBool::new(false);
        let appended = std::thread::scope(|scope| {
            let (log, done) = (&log, &done);
            let _ending = Ending(log, done);
            let tails = [false, true].map(|by_batches| {
                let tail = log.isolated(level(seed + u64::from(by_batches))).tail(0).unwrap();
                scope.spawn(move || stress_tail(tail, Witness::new(THREADS, seed), by_batches))
            });
            let looker = scope.spawn(move || {
                let mut chance = Chance(seed);
                while !done.load(Ordering::SeqCst) {
                    let end = log.offsets().end;
                    let at = chance.below(end);
                    if end > 0 {
                        assert_eq!(log.get(at).unwrap().unwrap().offset, at, "seed {seed}");
                    }
                    assert_eq!(log.verify().unwrap(), [], "seed {seed}");
                }
            });
            let appenders: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || stress_appends(log, thread, seed, 400)))
                .collect();
            let told: Vec<_> =
                appenders.into_iter().map(|appender| appender.join().unwrap()).collect();
            done.store(true, Ordering::SeqCst);
            looker.join().unwrap();
            // A lagging tail sees the log closed before it has seen its end.
            log.clone().close().unwrap();
            let end: u64 = told.iter().map(|told| told.len() as u64).sum();
            for tail in tails {
                assert!(tail.join().unwrap() <= end);
            }
            told
        });
        let reopened = Log::open(DIR, config.fs(fs)).unwrap();
        let mut witness = Witness::new(THREADS, seed);
        for record in reopened.reader(0).unwrap().records() {
            let record = record.unwrap();
            let (thread, count) = parse(record.value_str().unwrap());
            assert!(appended[thread as usize].contains(&(record.offset, count)), "seed {seed}");
            witness.see(record.offset, record.value_str().unwrap());
        }
        assert_eq!(witness.counts, appended.iter().map(|a| a.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn concurrent_truncations_keep_acknowledged_records() {
    for seed in seeds("ANNALS_STRESS_SEEDS", 4) {
        let fs = MemFs::new();
        let config = LogConfig::default().segment_bytes(30_000).index_interval_bytes(500);
        let log = Log::open(DIR, config.clone().fs(fs.clone())).unwrap();
        let done = AtomicBool::new(false);
        let told: Vec<Told> = std::thread::scope(|scope| {
            let (log, done) = (&log, &done);
            let cutter = scope.spawn(move || {
                let mut chance = Chance(seed);
                while !done.load(Ordering::SeqCst) {
                    let target = log.offsets().end.saturating_sub(chance.below(8));
                    match log.truncate_to(target) {
                        Ok(()) | Err(Error::OffsetOutOfRange { .. }) => {}
                        Err(other) => panic!("{other}, seed {seed}"),
                    }
                    assert_eq!(log.verify().unwrap(), [], "seed {seed}");
                    match log.get(target.saturating_sub(1)) {
                        Ok(_) | Err(Error::OffsetOutOfRange { .. }) => {}
                        Err(other) => panic!("{other}, seed {seed}"),
                    }
                }
            });
            let appenders: Vec<_> = (0..3)
                .map(|thread| scope.spawn(move || stress_appends(log, thread, seed, 200)))
                .collect();
            let told = appenders.into_iter().map(|appender| appender.join().unwrap()).collect();
            done.store(true, Ordering::SeqCst);
            cutter.join().unwrap();
            told
        });
        let left = read_all(&log);
        for record in &left {
            let value = std::str::from_utf8(record.value.as_ref().unwrap()).unwrap();
            let (thread, count) = parse(value);
            assert!(told[thread as usize].contains(&(record.offset, count)), "seed {seed}");
            assert!(value == stress_value(thread, count, seed), "another value, seed {seed}");
        }
        log.close().unwrap();
        assert_eq!(read_all(&Log::open(DIR, config.fs(fs)).unwrap()), left, "seed {seed}");
    }
}

/// A thread may queue its next batch while the thread that wrote its last one is not done with the
/// other batches of that write: what that thread does with those must not be taken for the answer.
#[test]
fn group_append_answers_each_batch_once() {
    let log = Log::open(DIR, LogConfig::default().segment_bytes(4_000).fs(MemFs::new())).unwrap();
    let offsets: Vec<Vec<_>> = std::thread::scope(|scope| {
        let append = || (0..4_000).map(|_| log.append("small").unwrap()).collect();
        let threads = [(); 4].map(|()| scope.spawn(append));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert!(offsets.iter().all(|own| own.is_sorted()), "each thread's offsets rise");
    let mut all = offsets.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..16_000), "each offset is answered once");
}

#[test]
fn append_truncation_and_close_wake_task() {
    for level in LEVELS {
        check_wake_ups(level);
    }
}

fn check_wake_ups(level: IsolationLevel) {
    let log = Log::open(DIR, LogConfig::default().fs(MemFs::new())).unwrap();
    (0..5).for_each(|_| drop(log.append("x").unwrap()));
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    let mut context = Context::from_waker(&waker);
    let woken = || counted.0.load(Ordering::SeqCst);
    let mut tail = log.isolated(level).tail(annals::StartAt::Latest).unwrap();
    assert!(tail.poll_next(&mut context).is_pending());
    assert!(tail.poll_next(&mut context).is_pending());
    assert_eq!(woken(), 0);
    log.append("y").unwrap();
    assert_eq!(woken(), 1);
    assert!(matches!(tail.poll_next(&mut context), Poll::Ready(Ok(record)) if record.offset == 5));
    assert!(tail.poll_next(&mut context).is_pending());
    log.truncate_to(3).unwrap();
    assert_eq!(woken(), 2);
    assert!(matches!(
        tail.poll_next(&mut context),
        Poll::Ready(Err(Error::OffsetOutOfRange { .. }))
    ));
    tail.seek(3).unwrap();
    assert!(tail.poll_next(&mut context).is_pending());
    log.clone().close().unwrap();
    assert_eq!(woken(), 3);
    assert!(matches!(tail.poll_next(&mut context), Poll::Ready(Err(Error::Closed { .. }))));
}

#[cfg(feature = "futures")]
#[test]
fn many_tasks_await_durability() {
    let log = Log::open(DIR, LogConfig::default().segment_bytes(2000).fs(MemFs::new())).unwrap();
    std::thread::scope(|scope| {
        (0..4).for_each(|_| {
            let log = log.clone();
            scope.spawn(move || {
                for _ in 0..50 {
                    let offset = log.append("x").unwrap();
                    assert!(support::block_on(log.flush_async()).unwrap() > offset);
                }
            });
        });
    });
    assert_eq!(log.offsets().durable, 200);
}
