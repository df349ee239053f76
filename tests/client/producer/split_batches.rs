//! Batches of a producer that are split while everything around them changes, explored by seed.
//!
//! `SPLIT_SEED` chooses the seeds: `17` runs one, `0..3000` many.

use crate::HOUR;
use annals::fs::{CrashState, Fault, FaultFs, MemFs, Operation, Rule};
use annals::record::Compression;
use annals::*;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, clock, say, seeds};

/// The outcome of a record, as its callback reported it.
type Told = Arc<Mutex<Vec<(usize, std::result::Result<Offset, String>)>>>;

fn explore_splits(seed: u64) {
    let mut chance = Chance(seed);
    let memory = MemFs::new();
    let faults = FaultFs::new(memory.clone());
    let clock = clock();
    let config = StoreConfig::default().fs(faults.clone()).maintenance(None).clock(clock.clone());
    let store = Store::open("d", config).unwrap();
    let topic = TopicConfig::default().partitions(2).segment_bytes(4000);
    let topic = store.create_topic("t", topic).unwrap();
    let codecs =
        [Compression::None, Compression::Gzip { level: -1 }, Compression::Zstd { level: 3 }];
    let compression = codecs[chance.below(3) as usize];
    let acks = [Acks::Written, Acks::Flushed][chance.below(2) as usize];
    let config = ProducerConfig::default().linger(HOUR).delivery_timeout(3 * HOUR);
    let config =
        config.acks(acks).compression(compression).batch_bytes(200 + chance.below(4000) as usize);
    let producer = store.producer(config.buffer_bytes(1 << 20)).unwrap();
    let told = Told::default();
    let mut sent: Vec<(u32, String)> = Vec::new();
    for n in 0..80 {
        match chance.below(12) {
            0 => {
                let limit = 150 + chance.below(2500);
                let config = topic.config().max_message_bytes(limit);
                store.alter_topic("t", config).ok();
            }
            1 => {
                let at = 1 + chance.below(6);
                let full = Fault::Error(io::ErrorKind::StorageFull);
                let rule = Rule::new(Operation::Write, full).path(".log");
                faults.add_rule(if chance.below(2) == 0 {
                    rule.nth(at)
                } else {
                    rule.from_nth(at)
                });
            }
            2 => {
                faults.clear_rules();
                clock.advance(Duration::from_secs(1 + chance.below(5)));
                producer.poll();
            }
            3 => drop(producer.poll()),
            4 if n > 40 => clock.advance(HOUR),
            _ => {
                let partition = chance.below(2) as u32;
                let number = sent.len();
                let value = format!("{number}-{}", "xyz".repeat(chance.below(200) as usize));
                let mut record = Record::new(value.clone());
                if chance.below(3) == 0 {
                    record = record.key("k".repeat(chance.below(60) as usize)).header("h", "v");
                }
                let record = ProducerRecord::new("t", record).partition(partition);
                let to = Arc::clone(&told);
                let callback = move |result: std::result::Result<&RecordMetadata, &Error>| {
                    let result = result.map(|at| at.offset.unwrap()).map_err(|e| e.to_string());
                    to.lock().unwrap().push((number, result));
                };
                if producer.send_with_callback(record, callback).is_ok() {
                    sent.push((partition, value));
                }
            }
        }
    }
    faults.clear_rules();
    clock.advance(Duration::from_secs(2));
    producer.poll();
    producer.flush().ok();
    assert_eq!(producer.stats().buffered_bytes, 0, "seed {seed}");
    producer.close().ok();
    let told = std::mem::take(&mut *told.lock().unwrap());
    let by_number: BTreeMap<_, _> = told.iter().cloned().collect();
    assert_eq!((told.len(), by_number.len()), (sent.len(), sent.len()), "seed {seed}: told once");
    // Records acknowledged as flushed also survive a power loss.
    drop(topic);
    let disk =
        if acks == Acks::Flushed { memory.crash(CrashState::SyncedOnly) } else { memory.kill() };
    let config = StoreConfig::default().fs(disk).maintenance(None).clock(clock);
    drop(store);
    let store = Store::open("d", config).unwrap();
    for partition in 0..2u32 {
        let log = store.topic("t").unwrap().partition(partition).unwrap();
        let found: Vec<_> = support::read_all(&log)
            .into_iter()
            .map(|rec| (rec.offset, String::from_utf8(rec.value.unwrap()).unwrap()))
            .collect();
        let taken = sent.iter().enumerate().filter(|(_, (to, _))| *to == partition);
        let mut expected = Vec::new();
        for (number, (_, value)) in taken {
            match &by_number[&number] {
                Ok(offset) => expected.push((*offset, value.clone())),
                Err(why) => assert!(
                    why.contains("limit") || why.contains("time") || why.contains("deliver"),
                    "seed {seed}: {why}"
                ),
            }
        }
        assert_eq!(found, expected, "seed {seed}, partition {partition}");
        assert_eq!(log.verify().unwrap(), []);
    }
}

/// Each record is stored once and in order, or its callback says why not, whatever is split,
/// retried and given up.
#[test]
fn split_batches_are_stored_once() {
    for seed in seeds("SPLIT_SEED", 60) {
        say(&format!("seed: SPLIT_SEED={seed}"));
        explore_splits(seed);
    }
}
