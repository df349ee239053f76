//! A store on a full disk: topics, producers, and what does not fit.

use super::{Device, append_until_full, check, fill_store_and_go_on, store_config};
use annals::fs::{CrashState, Fs, MemFs};
use annals::{ErrorKind, Store, TopicConfig};
use std::sync::Arc;

#[test]
fn store_recovers_from_full_disk() {
    for reopen in [false, true] {
        fill_store_and_go_on(&MemFs::new(), reopen);
    }
}

/// A service that restarts on a full disk creates its producers before it deletes anything: their
/// ids are reserved out of the room that was set aside, which the next opening has again.
#[test]
fn producer_is_created_on_full_disk() {
    let fs = MemFs::new();
    let open = || Store::open("d", store_config(Arc::new(fs.clone()))).unwrap();
    let mut store = open();
    store.create_topic("a", TopicConfig::default()).unwrap();
    fs.fill();
    // The first one needs a name and a block more than there were. Each of the others takes as
    // much as it frees.
    let mut ids = vec![store.new_producer_id().unwrap()];
    for _ in 0..10 {
        store.close().unwrap();
        store = open();
        ids.push(store.new_producer_id().unwrap());
        store.producer(annals::ProducerConfig::default()).unwrap();
    }
    store.delete_topic("a").unwrap();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

/// A topic is not created while the checkpoints still have lines of an earlier topic of its name,
/// or have no line of its own: it began where the earlier one started, was expected to have its
/// records, or looked as if a broker had brought it.
#[test]
fn topic_creation_fails_without_checkpoints() {
    use annals::fs::{Fault, FaultFs, Operation, Rule};
    for file in ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint"] {
        for name in ["t", "u"] {
            let memory = MemFs::new();
            let faults = FaultFs::new(memory.clone());
            let open = |fs: Arc<dyn Fs>| Store::open("d", store_config(fs)).unwrap();
            let store = open(Arc::new(faults.clone()));
            let config = || TopicConfig::default().segment_bytes(4096);
            let log = store.create_topic("t", config()).unwrap().partition(0).unwrap();
            assert!(!append_until_full(&log, 30));
            store.flush().unwrap();
            assert_eq!(store.admin().delete_records("t", 0, 20).unwrap(), 20);
            drop(log);
            let full = Fault::Error(std::io::ErrorKind::StorageFull);
            let rule = Rule::new(Operation::CreateNew, full).or(Operation::Rename).path(file);
            let rule = faults.add_rule(rule);
            store.delete_topic("t").ok();
            let topic = store.create_topic(name, config()).or_else(|error| {
                assert_eq!(error.kind(), ErrorKind::StorageFull);
                faults.remove_rule(rule);
                store.create_topic(name, config())
            });
            let log = topic.unwrap().partition(0).unwrap();
            assert!(!append_until_full(&log, 30));
            for seed in 0..20 {
                let store = open(Arc::new(memory.crash(CrashState::Random { seed })));
                let log = store.topic(name).unwrap().partition(0).unwrap();
                check(&log, 0, log.offsets().end);
            }
            log.flush().unwrap();
            for fs in memory.stop() {
                let log = open(fs).topic(name).unwrap().partition(0).unwrap();
                check(&log, 0, 30);
            }
        }
    }
}
