//! The partition of a record: by key, in turn without one, or chosen by the caller.

use super::{produce_error, scene};
use crate::{HOUR, TOPIC};
use annals::*;

#[test]
fn keys_map_to_kafkas_partitions() {
    let scene = scene(7);
    let producer = scene.store.producer(ProducerConfig::default()).unwrap();
    for (key, hash) in [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ("abc", 479470107),
        ("", 275646681),
    ] {
        let record = ProducerRecord::new(TOPIC, Record::new("x").key(key));
        let sent = producer.send(record).unwrap().wait().unwrap();
        assert_eq!(sent.partition, (hash & i32::MAX) as u32 % 7, "{key}");
        // A partition that is named wins.
        let record = ProducerRecord::new(TOPIC, Record::new("x").key(key)).partition(3);
        assert_eq!(producer.send(record).unwrap().wait().unwrap().partition, 3);
    }
}

#[test]
fn keyless_records_fill_batches_in_turn() {
    let scene = scene(4);
    let config = ProducerConfig::default().batch_bytes(1000).linger(HOUR).delivery_timeout(HOUR);
    let producer = scene.store.producer(config).unwrap();
    let mut partitions = Vec::new();
    for _ in 0..2000 {
        let record = ProducerRecord::new(TOPIC, "x".repeat(90));
        // Its partition shows in what the handle says.
        partitions.push(producer.send(record).unwrap());
    }
    producer.flush().unwrap();
    let partitions: Vec<u32> = partitions.iter().map(|h| h.wait().unwrap().partition).collect();
    let runs: Vec<&[u32]> = partitions.chunk_by(|a, b| a == b).collect();
    assert!(runs[..runs.len() - 1].iter().all(|run| run.len() >= 9), "{runs:?}");
    assert!(runs.len() > 40);
    for partition in 0..4 {
        let count = partitions.iter().filter(|p| **p == partition).count();
        assert!((200..900).contains(&count), "{partition}: {count}");
    }
}

#[test]
fn partition_can_be_chosen_otherwise() {
    let scene = scene(3);
    let config = ProducerConfig::default().partitioner(PartitionerChoice::RoundRobin);
    let producer = scene.store.producer(config).unwrap();
    let keyed = || ProducerRecord::new(TOPIC, Record::new("x").key("k"));
    let chosen = [(); 4].map(|()| producer.send(keyed()).unwrap().wait().unwrap().partition);
    assert_eq!(chosen, [0, 1, 2, 0]);

    let by_value = |_: &str, _: Option<&[u8]>, value: Option<&[u8]>, _: u32| match value {
        Some(b"panic") => panic!("as it was told"),
        Some(value) => value.len() as u32,
        None => 0,
    };
    let config = ProducerConfig::default().partitioner(PartitionerChoice::custom(by_value));
    let producer = scene.store.producer(config).unwrap();
    let send = |value: &'static str| producer.send(ProducerRecord::new(TOPIC, value));
    assert_eq!(send("xx").unwrap().wait().unwrap().partition, 2);
    assert!(matches!(
        produce_error(send("xxx")),
        ProduceError::NoSuchPartition { chosen: 3, partitions: 3, .. }
    ));
    assert!(matches!(produce_error(send("panic")), ProduceError::PartitionerPanicked { .. }));
    assert_eq!(send("x").unwrap().wait().unwrap().partition, 1);
}
