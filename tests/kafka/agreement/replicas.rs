//! Kafka and this crate follow a leader in the same way.

use super::epochs::epoch_lines;
use super::{record, run, same, small};
use crate::build::{kafka, say};
use annals::record::{BatchBuilder, EndTxnMarker};
use annals::{IsolationLevel, Log, ProducerIdentity, ReadLimits, Timestamp, TransactionVersion};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use support::T0;

fn send(log: &Log, id: i64, sequence: i32) {
    let mut builder = BatchBuilder::new();
    builder.producer(id, 0, sequence).transactional(true);
    for n in 0..3 {
        builder.push(Timestamp::from_millis(T0 + n), None, Some(b"of a transaction")).unwrap();
    }
    log.append_batch(builder.build().unwrap()).unwrap();
}

/// A leader with epochs, and with transactions that are committed, aborted and open.
fn lead(log: &Log) {
    let mut made = 0;
    for round in 0..60i32 {
        if round % 7 == 0 {
            log.set_leader_epoch(round / 7 * 2).unwrap();
        }
        send(log, 4000 + i64::from(round % 3), round / 3 * 3);
        log.append_all((made..made + 1 + round as usize % 9).map(record)).unwrap();
        made += 9;
        if round % 3 == 2 && round < 57 {
            for id in 4000..4003 {
                let committed = (round / 3 + id as i32) % 2 == 0;
                let marker = EndTxnMarker { committed, coordinator_epoch: 1 };
                let producer = ProducerIdentity { id, epoch: 0 };
                log.append_marker(producer, marker, TransactionVersion::V0).unwrap();
            }
        }
    }
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let wanted = |path: &Path| {
        path.extension().is_some_and(|extension| extension == "log" || extension == "txnindex")
    };
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    // Kafka creates an index where nothing was aborted, too.
    entries.filter(|path| wanted(path)).map(read).filter(|(_, bytes)| !bytes.is_empty()).collect()
}

#[test]
fn kafka_follows_as_we_do() {
    let Some(kafka) = kafka() else { return };
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(name);
    // Markers have the time of the day, and the records that of years ago.
    let config = || small().segment_age(Duration::from_millis(i64::MAX as u64));
    let leader = Log::open(dir("leader-0"), config()).unwrap();
    lead(&leader);
    let follower = Log::open(dir("ours-0"), config().replicated(true)).unwrap();
    std::fs::create_dir(dir("fetched")).unwrap();
    let mut expected = Vec::new();
    for n in 0.. {
        let from = follower.offsets().end;
        let fetched = leader
            .isolated(IsolationLevel::LogEnd)
            .read(from, ReadLimits::bytes(700 + n % 5 * 2000))
            .unwrap();
        if fetched.is_empty() {
            break;
        }
        std::fs::write(dir("fetched").join(n.to_string()), &fetched.bytes).unwrap();
        follower.append_as_follower(&fetched.bytes).unwrap();
        let end = follower.offsets().end;
        let wanted = (end + n as u64 % 4 * 10).saturating_sub(20);
        let set = follower.set_high_watermark(wanted).unwrap();
        expected.push(format!("H {set} {} {end}", follower.offsets().last_stable));
    }
    expected.extend(epoch_lines(&follower));
    follower.close().unwrap();
    let script = format!("follow {} {}", dir("theirs-0").display(), dir("fetched").display());
    let mut printed = run(kafka, &[script]);
    // It warns of a high watermark that is lowered.
    printed[0].retain(|line| !line.starts_with('['));
    same(&printed[0], &expected, "following");
    let (theirs, ours) = (files(&dir("theirs-0")), files(&dir("ours-0")));
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    assert!(theirs == ours, "the bytes differ");
    say(&format!("kafka: follows {} fetches into the same {} files", expected.len(), ours.len()));
}
