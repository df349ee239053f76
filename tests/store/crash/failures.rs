//! Calls to the file system that fail: the store says so, and loses nothing that was promised.

use super::{Partition, Promise, Topic, open, open_on, settings, survive, value};
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::{ErrorKind, Store};
use support::seeds;

/// Every call fails once, or from then on, in every way: the store says so, and what was promised
/// is there when it is opened again.
#[test]
fn promises_survive_failure_of_any_call() {
    let fired = fail_each_call(1, 1, &|fs| work_on(1, &|| open(fs.clone())));
    support::say(&format!("{fired} calls of a store failed"));
    assert!(fired > 500);
}

/// The same where logs are opened, created and closed on several threads: the failure of one says
/// nothing about the others. A third of the calls fails with each seed.
#[test]
fn promises_survive_failure_in_parallel_work() {
    for seed in seeds("ANNALS_STORE_SEEDS", 1) {
        let threads = 2 + seed as usize % 3;
        let fired =
            fail_each_call(1 + seed % 3, 3, &|fs| work_on(3, &|| open_on(threads, seed, fs)));
        support::say(&format!("seed {seed}: {fired} calls of a store failed on {threads} threads"));
        assert!(fired > 200);
    }
}

/// Does the work once for each call that may fail, from one on each so many. Returns how many
/// have.
fn fail_each_call(first: u64, every: usize, work: &dyn Fn(&FaultFs) -> Promise) -> usize {
    use std::io::ErrorKind as Io;
    let operations = [
        Operation::Open,
        Operation::CreateNew,
        Operation::List,
        Operation::CreateDir,
        Operation::Rename,
        Operation::RenameDir,
        Operation::Remove,
        Operation::RemoveDir,
        Operation::SyncDir,
        Operation::Write,
        Operation::SetLen,
        Operation::SyncData,
        Operation::SyncAll,
        Operation::Read,
        Operation::Lock,
    ];
    let mut fired = 0;
    for operation in operations {
        for (fault, from_then_on) in
            [(Io::StorageFull, false), (Io::Other, false), (Io::Other, true)]
        {
            for nth in (first..).step_by(every) {
                let disk = MemFs::new();
                let fs = FaultFs::new(disk.clone());
                let rule = Rule::new(operation, Fault::Error(fault));
                let id = fs.add_rule(if from_then_on { rule.from_nth(nth) } else { rule.nth(nth) });
                let promise = work(&fs);
                let count = fs.hit_count(id);
                let at =
                    format!("{operation:?} fails with {fault:?} from {nth}, on: {from_then_on}");
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    // The process ends, or the power.
                    for (intact, disk) in
                        [(true, disk.kill()), (false, disk.crash(CrashState::SyncedOnly))]
                    {
                        survive(&disk, &promise, intact);
                    }
                }));
                assert!(done.is_ok(), "{at}");
                if count == 0 {
                    break;
                }
                fired += 1;
            }
        }
    }
    fired
}

/// Does a bit of everything, with so many partitions at once, and returns the acknowledged part.
/// Failed calls may have taken effect.
fn work_on(partitions: usize, open: &dyn Fn() -> annals::Result<Store>) -> Promise {
    let mut promise = Promise::default();
    let topic = |number, partitions| Topic {
        number,
        setting: 1_000_000 + number,
        partitions: vec![Partition::default(); partitions],
    };
    let Ok(store) = open() else { return promise };
    // A failed call may or may not have taken effect; the topic is not used any more.
    let orders = topic(1, 2);
    promise.next.insert("orders".into(), orders.clone());
    if store.create_topic("orders", settings(&orders)).is_err() {
        return promise;
    }
    promise.now = promise.next.clone();
    let log = store.topic("orders").unwrap().partition(1).unwrap();
    for n in 0..6 {
        promise.next.get_mut("orders").unwrap().partitions[1].end = n + 1;
        if log.append(value("orders", 1, 1, n)).is_err() {
            break;
        }
        promise.now = promise.next.clone();
    }
    promise.next = promise.now.clone();
    promise.next.get_mut("orders").unwrap().partitions[1].end = 6;
    if log.flush().is_ok() {
        let end = log.offsets().end;
        promise.now.get_mut("orders").unwrap().partitions[1].durable = end;
    }
    promise.next.get_mut("orders").unwrap().partitions[1].start = 2;
    if log.offsets().end < 2 || log.delete_before(2).is_err() {
        return promise;
    }
    let known = &mut promise.now.get_mut("orders").unwrap().partitions[1];
    known.start = 2;
    known.durable = known.durable.max(2);
    let users = topic(2, partitions);
    promise.next.insert("users".into(), users.clone());
    if store.create_topic("users", settings(&users)).is_err() {
        return promise;
    }
    promise.now.insert("users".into(), users.clone());
    promise.next.remove("users");
    if store.delete_topic("users").is_err() {
        return promise;
    }
    promise.now.remove("users");
    let more = || std::iter::repeat_n(Partition::default(), partitions);
    let mut grown = promise.now["orders"].clone();
    grown.partitions.extend(more());
    promise.next.get_mut("orders").unwrap().partitions.extend(more());
    if store.add_partitions("orders", grown.partitions.len() as u32).is_err() {
        return promise;
    }
    promise.now.insert("orders".into(), grown);
    match store.close() {
        Ok(()) => {
            for partition in promise.now.values_mut().flat_map(|topic| &mut topic.partitions) {
                partition.durable = partition.end;
            }
        }
        Err(error) => assert_ne!(error.kind(), ErrorKind::Closed),
    }
    // It may fail at that, too.
    drop(open());
    promise
}
