//! A transaction over three partitions of a store and the offsets of a group is whole or aborted,
//! whichever call to the file system is the last of its process, and whichever fails.
//!
//! `EXACTLY_ONCE_SEED` chooses the seeds: `17` runs one, `0..500` many.

use annals::fs::{CrashState, Fault, FaultFs, Fs, MemFs, Rule};
use annals::record::BatchBuilder;
use annals::{
    ConsumerConfig, GroupCoordinatorConfig, IsolationLevel, Outcome, ProducerIdentity, Result,
    StartAt, Store, StoreConfig, Timestamp, TopicConfig, TopicPartition,
    TransactionCoordinatorConfig, TransactionVersion, Wait,
};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;
use support::images::Images;
use support::{Chance, say, seeds};

const V2: TransactionVersion = TransactionVersion::V2;
const ID: &str = "billing";
const GROUP: &str = "billers";
const PARTITIONS: u32 = 3;

/// The partition whose records are processed in the transactions.
fn input() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn open(fs: impl Fs) -> Result<Store> {
    let transactions = TransactionCoordinatorConfig::default().state_partitions(1);
    let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
    let config = StoreConfig::default().fs(fs).maintenance(None).recovery_threads(1);
    Store::open("data", config.transaction_coordinator(transactions).group_coordinator(groups))
}

/// What became of each transaction, by its number.
#[derive(Debug, Clone, Default)]
struct Promise {
    committed: Vec<usize>,
    /// The transaction that is being committed: it may be whole or aborted.
    undecided: Option<usize>,
    /// The number of transactions that were begun.
    begun: usize,
}

fn init(store: &Store) -> Result<ProducerIdentity> {
    store.transactions()?.init_producer_id(ID, Duration::from_secs(60), None, Wait::No)
}

/// Sends a record to each partition, commits the offset of what it was made of, and ends the
/// transaction. Calls `decides` before the end.
fn transact(
    store: &Store,
    who: ProducerIdentity,
    number: usize,
    outcome: Outcome,
    flush: bool,
    decides: impl FnOnce(),
) -> Result<ProducerIdentity> {
    let (transactions, topic) = (store.transactions()?, store.topic("orders")?);
    for partition in 0..PARTITIONS {
        let log = topic.partition(partition)?;
        let guard = log.begin_verification(who, 0, V2)?;
        let at = [TopicPartition::new("orders", partition)];
        transactions.add_partitions(ID, who, &at, V2, Wait::No)?;
        let mut builder = BatchBuilder::new();
        builder.producer(who.id, who.epoch, 0).transactional(true);
        builder.push(Timestamp::from_millis(1), None, Some(number.to_string().as_bytes()))?;
        log.append_verified(builder.build()?, guard)?;
    }
    let group = store.consumer(ConsumerConfig::new(GROUP))?.group_metadata()?;
    let offsets = [(input(), (number as u64).into())].into();
    transactions.commit_offsets(ID, who, &group, &offsets, V2, Wait::No)?;
    decides();
    transactions.end(ID, who, outcome, V2, flush, Wait::No)
}

/// The numbers of the transactions that a reader of committed records sees.
fn committed(store: &Store, partition: u32) -> Vec<usize> {
    let log = store.topic("orders").unwrap().partition(partition).unwrap();
    let log = log.isolated(IsolationLevel::ReadCommitted);
    let records = log.reader(StartAt::Earliest).unwrap().records();
    records.map(|record| record.unwrap().value_str().unwrap().parse().unwrap()).collect()
}

/// The number of the transaction whose offsets the group has. No later one is undecided.
fn processed(store: &Store) -> Option<usize> {
    let consumer = store.consumer(ConsumerConfig::new(GROUP)).unwrap();
    consumer.committed(&input()).unwrap().map(|at| at.offset as usize)
}

/// Checks what an opening finds, and goes on.
fn check(fs: &MemFs, promise: &Promise, flush: bool, is_power_loss: bool, place: &str) {
    let store = open(fs.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
    let Ok(topic) = store.topic("orders") else {
        assert_eq!(promise.begun, 0, "{place}");
        return;
    };
    let open = topic.partitions().iter().any(|log| log.offsets().last_stable < log.offsets().end);
    assert!(!open, "{place}: a transaction is open");
    let hanging = store.transactions().unwrap().find_hanging(Duration::ZERO).unwrap();
    assert!(hanging.is_empty(), "{place}: {hanging:?}");
    let found: Vec<Vec<usize>> = (0..PARTITIONS).map(|n| committed(&store, n)).collect();
    let mut whole = promise.committed.clone();
    whole.extend(promise.undecided);
    for seen in &found {
        assert!(
            seen.iter().all(|number| whole.contains(number)),
            "{place}: {found:?}, {promise:?}"
        );
    }
    // A loss of power takes what was not flushed, from each partition on its own.
    if flush || !is_power_loss {
        assert!(found.iter().all(|seen| *seen == found[0]), "{place}: {found:?}, {promise:?}");
        let kept = promise.committed.iter().all(|number| found[0].contains(number));
        assert!(kept, "{place}: {found:?}, {promise:?}");
        let last = found[0].last().copied();
        assert_eq!(processed(&store), last, "{place}: {found:?}, {promise:?}");
    }
    let group = processed(&store);
    assert!(group.is_none_or(|number| whole.contains(&number)), "{place}: {group:?}, {promise:?}");
    let who = init(&store).unwrap_or_else(|error| panic!("{place}: {error}"));
    let number = promise.begun + 100;
    let next = transact(&store, who, number, Outcome::Commit, false, || ());
    let next = next.unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(next.epoch, who.epoch + 1, "{place}");
    for partition in 0..PARTITIONS {
        assert_eq!(committed(&store, partition).last(), Some(&number), "{place}");
    }
    assert_eq!(processed(&store), Some(number), "{place}");
}

fn outcome(number: usize) -> Outcome {
    if number % 3 == 1 { Outcome::Abort } else { Outcome::Commit }
}

#[test]
fn power_loss_is_all_or_nothing() {
    explore(true, &["kill", "synced", "all", "random"]);
}

#[test]
fn process_crash_is_all_or_nothing() {
    explore(false, &["kill", "synced", "all", "random"]);
}

/// Crashes at each call of three transactions, of which the second is aborted, and of the opening
/// after them.
fn explore(flush: bool, ways: &[&str]) {
    let mut images = 0;
    for seed in seeds("EXACTLY_ONCE_SEED", 3) {
        let (disk, taken) = (MemFs::new(), Images::default());
        let fs = FaultFs::new(disk.clone());
        let store = open(fs.clone()).unwrap();
        store.create_topic("orders", TopicConfig::default().partitions(PARTITIONS)).unwrap();
        let promise = Arc::new(Mutex::new(Promise::default()));
        let at = Arc::clone(&promise);
        taken.watch(&fs, &disk, move || at.lock().unwrap().clone());
        let mut who = init(&store).unwrap();
        for number in 0..3 {
            promise.lock().unwrap().begun = number + 1;
            let outcome = outcome(number);
            let decides = || {
                promise.lock().unwrap().undecided =
                    Some(number).filter(|_| outcome == Outcome::Commit);
            };
            who = transact(&store, who, number, outcome, flush, decides).unwrap();
            let mut promise = promise.lock().unwrap();
            let ended = promise.undecided.take();
            promise.committed.extend(ended);
        }
        for (number, image) in taken.take().into_iter().enumerate() {
            images += 1;
            let disks = image.ways(seed).into_iter().zip(ways);
            for ((is_kill, disk), way) in disks {
                let place =
                    format!("seed {seed}, flush {flush}, image {number}, {way}, {}", image.call);
                check_twice(&disk, &image.promise, flush, !is_kill, &place);
            }
        }
    }
    say(&format!("exactly once: {images} images of a crash"));
}

/// Checks a disk, and also the disk after the opening itself was ended in the middle.
fn check_twice(disk: &MemFs, promise: &Promise, flush: bool, is_power_loss: bool, place: &str) {
    let again = disk.kill();
    check(disk, promise, flush, is_power_loss, place);
    let fs = FaultFs::new(again.clone());
    let cut = Chance(place.len() as u64).below(40);
    fs.add_rule(Rule::any(Fault::Error(io::ErrorKind::Other)).from_nth(1 + cut));
    drop(open(fs));
    check(&again.kill(), promise, flush, is_power_loss, &format!("{place}, opened twice"));
}

/// Each call of a process fails once, or panics. The producer ends its transaction, or its next
/// process does.
#[test]
fn failure_of_each_call_is_all_or_nothing() {
    let failed = fail_each_call(|| Fault::Error(io::ErrorKind::Other));
    say(&format!("exactly once: {failed} calls failed"));
}

#[test]
fn panic_in_each_call_is_all_or_nothing() {
    let failed = fail_each_call(|| Fault::call(|_| panic!("on purpose")));
    say(&format!("exactly once: {failed} calls panicked"));
}

fn fail_each_call(fault: fn() -> Fault) -> u64 {
    let mut failed = 0;
    for flush in [false, true] {
        for nth in 1.. {
            let (send, done) = mpsc::channel();
            thread::spawn(move || send.send(caught(|| fail_call(nth, flush, fault()))));
            let is_hit = done.recv_timeout(Duration::from_secs(60));
            let is_hit = is_hit.unwrap_or_else(|_| panic!("flush {flush}, call {nth}: hangs"));
            if !is_hit.unwrap_or_else(|| panic!("flush {flush}, call {nth}")) {
                assert!(nth > 80, "only {nth} calls");
                break;
            }
            failed += 1;
        }
    }
    failed
}

fn caught<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// What a process with a store has, and what it was promised.
#[derive(Default)]
struct Process {
    store: Option<Store>,
    who: Option<ProducerIdentity>,
    promise: Promise,
}

impl Process {
    /// Opens the store and makes three transactions, of which the second is aborted.
    fn work(&mut self, fs: &FaultFs, flush: bool) -> Result<()> {
        let store = self.store.insert(open(fs.clone())?).clone();
        store.create_topic("orders", TopicConfig::default().partitions(PARTITIONS))?;
        self.who = Some(init(&store)?);
        for number in 0..3 {
            let outcome = outcome(number);
            self.promise.begun = number + 1;
            let undecided = &mut self.promise.undecided;
            let decides = || *undecided = Some(number).filter(|_| outcome == Outcome::Commit);
            let next = transact(&store, self.who.unwrap(), number, outcome, flush, decides)?;
            self.who = Some(next);
            self.promise.committed.extend(self.promise.undecided.take());
        }
        store.close()
    }

    /// Ends the transaction in which a call failed, if the store goes on.
    fn end(&mut self, flush: bool) -> Option<()> {
        let outcome = self.promise.undecided.map_or(Outcome::Abort, |_| Outcome::Commit);
        let transactions = self.store.as_ref()?.transactions().ok()?;
        transactions.end(ID, self.who?, outcome, V2, flush, Wait::No).ok()?;
        self.promise.committed.extend(self.promise.undecided.take());
        Some(())
    }
}

/// Makes the nth call of a process fail. Returns whether there was one.
fn fail_call(nth: u64, flush: bool, fault: Fault) -> bool {
    let (disk, place) = (MemFs::new(), format!("flush {flush}, call {nth}"));
    let fs = FaultFs::new(disk.clone());
    let rule = fs.add_rule(Rule::any(fault).nth(nth));
    let mut process = Process::default();
    let done = caught(|| process.work(&fs, flush));
    let is_hit = fs.hit_count(rule) > 0;
    fs.clear_rules();
    let is_done = matches!(done, Some(Ok(())));
    assert!(is_done || is_hit, "{place}: {done:?}");
    check(&disk.kill(), &process.promise, flush, false, &place);
    if !is_done {
        caught(|| process.end(flush)).unwrap_or_else(|| panic!("{place}, again"));
        check(&disk.kill(), &process.promise, flush, false, &format!("{place}, again"));
    }
    let lost = disk.crash(CrashState::SyncedOnly);
    check(&lost, &process.promise, flush, true, &format!("{place}, power loss"));
    is_hit
}
