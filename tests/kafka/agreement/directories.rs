//! A data directory passes between our store and a broker.

use super::{fill, java, run, same};
use crate::build::{kafka, say};
use annals::{Error, ManualClock, StartAt, Store, StoreConfig, Timestamp, TopicConfig};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use support::T0;

/// Kafka starts on a directory that a store has closed, and a store on the directory that Kafka
/// leaves, several times.
#[test]
fn directory_alternates_between_store_and_broker() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = StoreConfig::default().clock(clock).maintenance(None);
    let mut records = 0;
    for round in 0..3 {
        let store = Store::open(root.path(), config.clone()).unwrap();
        if round == 0 {
            let settings = TopicConfig::default().partitions(3).segment_bytes(65_536);
            store.create_topic("orders", settings).unwrap();
            store.create_topic("users", TopicConfig::default()).unwrap();
        }
        let mut expected = vec!["C true".to_owned()];
        for topic in store.topics() {
            for (number, log) in topic.partitions().iter().enumerate() {
                let is_clean = round == 0 || log.recovery().clean_shutdown;
                assert!(is_clean, "round {round}: {:?}", log.recovery());
                assert_eq!(log.verify().unwrap(), []);
                fill(log, 20);
                log.delete_before(log.offsets().end / 3).unwrap();
                let (name, ends) = (format!("{}-{number}", topic.name()), log.offsets());
                let (start, end, id) = (ends.start, ends.end, topic.id());
                expected.push(format!("L {name} {start} {end} {end} {id}"));
                expected.push(format!("A {name} {}", end + 30));
                records += end;
            }
        }
        store.close().unwrap();
        let mut printed = run(kafka, &[format!("broker {} 30", root.path().display())]).remove(0);
        // It has no cleaner, and announces a change in a later release.
        printed.retain(|line| !line.contains("The config `log.cleaner.enable` is deprecated"));
        same(&printed, &expected, "the directory");
        let store = Store::open(root.path(), config.clone()).unwrap();
        for topic in store.topics() {
            for (number, log) in topic.partitions().iter().enumerate() {
                let ends = log.offsets();
                let appended = format!("A {}-{number} {}", topic.name(), ends.end);
                assert!(expected.contains(&appended), "{appended}: {expected:?}");
                let read = log.reader(StartAt::Earliest).unwrap().records().map(Result::unwrap);
                assert_eq!(read.count() as u64, ends.end - ends.start);
            }
        }
        store.close().unwrap();
    }
    say(&format!("kafka: a directory of {records} records went to a broker and back three times"));
}

/// A directory has one owner, of either kind.
#[test]
fn broker_and_store_exclude_each_other() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("data");
    let lock = [format!("lock {}", dir.display())];
    let store = Store::open(&dir, StoreConfig::default()).unwrap();
    assert_eq!(run(kafka, &lock)[0], ["K false"]);
    // A rejected opening in this process takes nothing from the owner of the directory.
    Store::open(&dir, StoreConfig::default()).unwrap_err();
    assert_eq!(run(kafka, &lock)[0], ["K false"]);
    store.close().unwrap();
    assert_eq!(run(kafka, &lock)[0], ["K true"]);

    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), format!("hold {}", dir.display())).unwrap();
    let mut broker =
        java(kafka, script.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(broker.stdout.take().unwrap()).lines();
    let held = said.map(Result::unwrap).find(|line| line.starts_with("K ")).unwrap();
    assert_eq!(held, "K true");
    let rejected = Store::open(&dir, StoreConfig::default()).unwrap_err();
    assert!(matches!(rejected, Error::Locked { holder: None, .. }), "{rejected}");
    drop(broker.stdin.take());
    broker.wait().unwrap();
    Store::open(&dir, StoreConfig::default()).unwrap();
}
