//! A waker that calls the log or the store.

use super::{config, in_time};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::{
    CleanupPolicy, GroupCoordinatorConfig, Log, Record, Store, StoreConfig, TopicConfig,
    TopicPartition,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use support::DIR;

/// Calls the log in every way that takes a lock, each time it is woken.
struct Calling(Log, AtomicU64);

impl std::task::Wake for Calling {
    fn wake(self: Arc<Self>) {
        let log = &self.0;
        drop(log.pause_maintenance());
        // Closed or not, neither may hang.
        drop(log.append(Record::new("woken").key("k")));
        drop(log.delete_before(0));
        drop(log.flush());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// A compaction, a deletion and a close sync and wake waiting tasks. They did so while they held
/// the locks of all three.
#[test]
fn waker_may_call_log() {
    for case in ["compact", "delete", "truncate", "close", "flush"] {
        in_time(case, move || {
            let fs = FaultFs::new(MemFs::new());
            let config = config(fs.clone()).cleanup_policy(CleanupPolicy::CompactAndDelete);
            let log = Log::open(DIR, config.flush_messages(u64::MAX)).unwrap();
            for n in 0..20 {
                log.append(Record::new(vec![b'v'; 100]).key(format!("{}", n % 3))).unwrap();
            }
            let calling = Arc::new(Calling(log.clone(), AtomicU64::new(0)));
            let waker = Arc::clone(&calling).into();
            let mut context = std::task::Context::from_waker(&waker);
            let mut tail = Box::pin(log.tail(log.offsets().end).unwrap());
            assert!(tail.as_mut().poll_next(&mut context).is_pending());
            // A task that starts to wait in the middle of a sync is woken by the leader of that
            // sync, unless only the thread for tasks wakes tasks.
            let durable = Mutex::new(Some(Box::pin(log.flush_async())));
            let task = std::task::Waker::from(Arc::clone(&calling));
            fs.add_rule(Rule::any(Fault::call(move |call| {
                let is_ours = std::thread::current().name() != Some("annals-sync");
                if call.operation == Operation::SyncData
                    && is_ours
                    && let Some(mut durable) = durable.lock().unwrap().take()
                {
                    let mut context = std::task::Context::from_waker(&task);
                    assert!(durable.as_mut().poll(&mut context).is_pending());
                    // Dropped, it would be forgotten.
                    std::mem::forget(durable);
                }
            })));
            match case {
                "compact" => drop(log.compact().unwrap()),
                "delete" => drop(log.delete_before(5).unwrap()),
                "truncate" => log.truncate_to(5).unwrap(),
                "close" => log.clone().close().unwrap(),
                _ => drop(log.flush().unwrap()),
            }
            while calling.1.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
        });
    }
}

/// Calls the store in ways that take its locks, each time it is woken.
struct CallingStore(Store, AtomicU64);

impl std::task::Wake for CallingStore {
    fn wake(self: Arc<Self>) {
        let store = &self.0;
        // Closed or not, none may hang.
        let name = format!("new-{}", self.1.load(Ordering::SeqCst));
        drop(store.create_topic(&name, TopicConfig::default()));
        drop(store.admin().list_groups());
        drop(store.flush());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

/// A log that closes wakes the tasks at its end, and a commit wakes those at the end of its topic.
/// An executor may run a task on the spot, and the locks of the store and of the groups were held.
#[test]
fn waker_may_call_store_anytime() {
    for case in ["close", "delete_topic", "commit"] {
        for threads in [1, 4] {
            in_time(case, move || {
                let config = StoreConfig::default().fs(MemFs::new()).maintenance(None);
                let groups = GroupCoordinatorConfig::default().offsets_partitions(1);
                let config = config.recovery_threads(threads).group_coordinator(groups);
                let store = Store::open("data", config).unwrap();
                let topic = store.create_topic("t", TopicConfig::default().partitions(8)).unwrap();
                let commit = |store: &Store| {
                    let offsets = [(TopicPartition::new("t", 0), 0.into())];
                    store.admin().alter_offsets("g", offsets.into_iter().collect()).unwrap();
                };
                commit(&store);
                let calling = Arc::new(CallingStore(store.clone(), AtomicU64::new(0)));
                let waker = Arc::clone(&calling).into();
                let mut context = std::task::Context::from_waker(&waker);
                let offsets = store.topic("__consumer_offsets").unwrap().partition(0).unwrap();
                let logs = topic.partitions().iter().cloned().chain([offsets]).collect::<Vec<_>>();
                let mut waiting = Vec::new();
                for log in &logs {
                    let mut tail = Box::pin(log.tail(log.offsets().end).unwrap());
                    assert!(tail.as_mut().poll_next(&mut context).is_pending());
                    waiting.push(tail);
                }
                match case {
                    "close" => store.close().unwrap(),
                    "delete_topic" => store.delete_topic("t").unwrap(),
                    _ => commit(&store),
                }
                assert!(calling.1.load(Ordering::SeqCst) > 0);
            });
        }
    }
}
