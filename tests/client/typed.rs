//! Producers and consumers of typed values, and the handling of records that cannot be
//! deserialized.

use annals::{
    AutoOffsetReset, Consumer, ConsumerConfig, Deserialize, DeserializeContext, DeserializeError,
    Error, ErrorKind, OnPoison, ProducerConfig, Record, RecordPart, Store, StoreConfig, Timestamp,
    TopicConfig, TypedConsumer, TypedProducer, TypedProducerRecord, TypedRecord,
};
use bytes::Bytes;
use proptest::prelude::*;
use std::time::Duration;

fn store(topics: &[(&str, u32)]) -> Store {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    for (topic, partitions) in topics {
        store.create_topic(topic, TopicConfig::default().partitions(*partitions)).unwrap();
    }
    store
}

fn append(store: &Store, topic: &str, partition: u32, records: impl IntoIterator<Item = Record>) {
    let log = store.topic(topic).unwrap().partition(partition).unwrap();
    for record in records {
        log.append(record).unwrap();
    }
}

/// A consumer of all partitions of a topic, from the beginning.
fn consumer(store: &Store, topic: &str, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    let partitions = 0..store.topic(topic).unwrap().partition_count();
    let partitions: Vec<_> =
        partitions.map(|partition| annals::TopicPartition::new(topic, partition)).collect();
    consumer.assign(partitions.clone()).unwrap();
    consumer.seek_to_beginning(partitions).unwrap();
    consumer
}

fn i32_record(value: i32) -> Record {
    Record::new(value.to_be_bytes().to_vec()).key("key")
}

fn values<K, V>(
    records: impl IntoIterator<Item = Result<TypedRecord<K, V>, Box<annals::PoisonRecord>>>,
) -> Vec<Result<V, u64>> {
    records.into_iter().map(|r| r.map(|r| r.value).map_err(|p| p.record.offset)).collect()
}

#[test]
fn typed_records_are_read_as_sent() {
    let store = store(&[("orders", 3)]);
    let producer: TypedProducer<str, Option<i64>> =
        store.producer(ProducerConfig::default()).unwrap().typed();
    let sent = producer.send(("orders", "a", &Some(7))).unwrap().wait().unwrap();
    let at = Timestamp::from_millis(5);
    let record = TypedProducerRecord::new("orders", "b", &None);
    let record = record.partition((sent.partition + 1) % 3).header("h", "x").timestamp(at);
    producer.clone().send(record).unwrap();
    producer.producer().flush().unwrap();

    let mut consumer: TypedConsumer<String, Option<i64>> =
        consumer(&store, "orders", ConsumerConfig::default()).typed();
    let mut read = Vec::new();
    while read.len() < 2 {
        read.extend(consumer.poll(Duration::ZERO).unwrap().into_iter().map(Result::unwrap));
    }
    read.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(
        (read[0].key.as_str(), read[0].value, read[0].partition),
        ("a", Some(7), sent.partition)
    );
    assert_eq!((read[1].key.as_str(), read[1].value, read[1].timestamp), ("b", None, at));
    assert_eq!((read[1].headers[0].name.to_str(), consumer.poison_count()), (Ok("h"), 0));
}

#[test]
fn unserializable_record_is_not_sent() {
    struct Never;
    impl annals::Serialize for Never {
        fn serialize(
            &self,
            _: &mut annals::SerializeContext<'_>,
        ) -> Result<Option<Bytes>, annals::SerializeError> {
            Err(annals::SerializeError::new("no"))
        }
    }
    let store = store(&[("orders", 1)]);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let rejected = producer.typed::<Never, str>().send(("orders", &Never, "v")).unwrap_err();
    assert_eq!(rejected.to_string(), "cannot serialize the key of a record for `orders`: no");
    let rejected = producer.typed::<str, Never>().send(("orders", "k", &Never)).unwrap_err();
    assert!(matches!(rejected, Error::Serialization(_)));
    producer.flush().unwrap();
    assert_eq!(store.topic("orders").unwrap().partition(0).unwrap().offsets().end, 0);
}

#[test]
fn poison_is_returned_once_in_place() {
    let store = store(&[("orders", 1)]);
    let poison = Record::new("poison").key("p").header("h", "x");
    append(&store, "orders", 0, [i32_record(1), poison, i32_record(2)]);
    append(&store, "orders", 0, [Record::new(3_i32.to_be_bytes().to_vec()), i32_record(4)]);
    let config = || ConsumerConfig::new("g").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer: TypedConsumer<String, i32> = consumer(&store, "orders", config()).typed();
    let records = consumer.poll(Duration::ZERO).unwrap();
    assert_eq!(records.len(), 5);
    let mut shown = Vec::new();
    let read = records.into_iter().inspect(|r| shown.extend(r.as_ref().err().cloned()));
    assert_eq!(values(read), [Ok(1), Err(1), Ok(2), Err(3), Ok(4)]);
    assert_eq!((shown[0].part, shown[1].part), (RecordPart::Value, RecordPart::Key));
    assert_eq!(shown[0].record.value_str(), Some("poison"));
    assert_eq!(shown[0].record.headers.len(), 1);
    assert_eq!(shown[1].reason, DeserializeError::Null { expected: "a string" });
    let error: Error = shown.remove(0).into();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "cannot deserialize the value of the record at offset 1 of partition 0 of `orders`: expected an i32, which is 4 bytes, found 6 bytes"
    );
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
    assert_eq!(consumer.poison_count(), 2);
    consumer.consumer_mut().close().unwrap();

    append(&store, "orders", 0, [i32_record(5)]);
    let mut next = store.consumer(config()).unwrap();
    next.assign([annals::TopicPartition::new("orders", 0)]).unwrap();
    let mut next: TypedConsumer<String, i32> = next.typed();
    assert_eq!(values(next.poll(Duration::ZERO).unwrap()), [Ok(5)], "poison is committed, too");
}

#[test]
fn poison_can_be_skipped() {
    let store = store(&[("orders", 1)]);
    append(
        &store,
        "orders",
        0,
        [Record::from("poison"), i32_record(1), Record::from("more poison")],
    );
    let config = ConsumerConfig::default().max_poll_records(1);
    let mut consumer: TypedConsumer<Bytes, i32> =
        consumer(&store, "orders", config).typed().on_poison(OnPoison::Skip);
    let polls: Vec<_> = (0..4).map(|_| values(consumer.poll(Duration::ZERO).unwrap())).collect();
    assert_eq!(polls, [vec![], vec![Ok(1)], vec![], vec![]]);
    assert_eq!(consumer.poison_count(), 2);
    assert_eq!(
        consumer.into_consumer().position(&annals::TopicPartition::new("orders", 0)).unwrap(),
        3
    );
}

#[test]
fn dead_letter_names_origin_and_cause() {
    let store = store(&[("orders", 1), ("dead", 1)]);
    let at = Timestamp::from_millis(77);
    let poison = Record::new("poison").key("k").header("h", "x").timestamp(at);
    append(&store, "orders", 0, [i32_record(1), poison, i32_record(2)]);
    let producer = store.producer(ProducerConfig::default()).unwrap();
    let mut letters: TypedConsumer<String, i32> =
        consumer(&store, "orders", ConsumerConfig::default())
            .typed()
            .on_poison(OnPoison::dead_letter(&producer, "dead"));
    assert_eq!(values(letters.poll(Duration::ZERO).unwrap()), [Ok(1), Ok(2)]);
    assert_eq!(letters.poison_count(), 1);

    let letter = store.topic("dead").unwrap().partition(0).unwrap().get(0).unwrap().unwrap();
    assert_eq!((letter.key_str(), letter.value_str()), (Some("k"), Some("poison")));
    assert_eq!(letter.timestamp, at);
    let headers: Vec<(&str, &str)> = letter
        .headers
        .iter()
        .map(|h| (h.name.to_str().unwrap(), str::from_utf8(h.value.as_deref().unwrap()).unwrap()))
        .collect();
    assert_eq!(
        headers,
        [
            ("h", "x"),
            ("__connect.errors.topic", "orders"),
            ("__connect.errors.partition", "0"),
            ("__connect.errors.offset", "1"),
            ("__connect.errors.stage", "VALUE_CONVERTER"),
            (
                "__connect.errors.exception.message",
                "expected an i32, which is 4 bytes, found 6 bytes"
            ),
        ]
    );

    // A reader of the dead letters with the same types sees them as poison, and writes no further
    // dead letters.
    let mut again: TypedConsumer<String, i32> = consumer(&store, "dead", ConsumerConfig::default())
        .typed()
        .on_poison(OnPoison::dead_letter(&producer, "dead"));
    assert_eq!(values(again.poll(Duration::ZERO).unwrap()), [Err(0)]);
    assert_eq!(store.topic("dead").unwrap().partition(0).unwrap().offsets().end, 1);
}

#[test]
fn panicking_deserializer_makes_poison() {
    #[derive(Debug)]
    struct Bomb(i32);
    impl Deserialize for Bomb {
        fn deserialize(
            bytes: Option<&Bytes>,
            from: &DeserializeContext<'_>,
        ) -> Result<Bomb, DeserializeError> {
            let value = i32::deserialize(bytes, from)?;
            assert!(value != 13, "bad luck: {value}");
            Ok(Bomb(value))
        }
    }
    let store = store(&[("orders", 1)]);
    append(&store, "orders", 0, [12, 13, 14].map(i32_record));
    let mut consumer: TypedConsumer<String, Bomb> =
        consumer(&store, "orders", ConsumerConfig::default()).typed();
    let read: Vec<_> = consumer.poll(Duration::ZERO).unwrap().into_iter().collect();
    assert_eq!((read[0].as_ref().unwrap().value.0, read[2].as_ref().unwrap().value.0), (12, 14));
    let reason = "bad luck: 13".to_owned();
    assert_eq!(read[1].as_ref().unwrap_err().reason, DeserializeError::Panicked { reason });
    assert!(consumer.poll(Duration::ZERO).unwrap().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Dead letters cannot be sent for a while. For every mixture of failures, each record is
    /// returned or sent as a dead letter, once and in order.
    #[test]
    fn failed_dead_letters_lose_nothing(
        partitions in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 0..12), 1..4),
        max_records in 1..20_u32,
        refused_polls in 0..8,
    ) {
        let store = store(&[("orders", partitions.len() as u32)]);
        for (partition, records) in partitions.iter().enumerate() {
            let records = records.iter().enumerate().map(|(n, good)| {
                if *good { i32_record(n as i32) } else { Record::new(format!("poison {n}")).key("k") }
            });
            append(&store, "orders", partition as u32, records);
        }
        let producer = store.producer(ProducerConfig::default()).unwrap();
        let config = ConsumerConfig::default().max_poll_records(max_records as _);
        let mut consumer: TypedConsumer<String, i32> = consumer(&store, "orders", config)
            .typed()
            .on_poison(OnPoison::dead_letter(&producer, "dead"));
        let mut read = vec![Vec::new(); partitions.len()];
        let mut take = |consumer: &mut TypedConsumer<String, i32>| -> Result<(), Error> {
            for record in consumer.poll(Duration::ZERO)? {
                let record = record.unwrap();
                assert_eq!(record.offset, record.value as u64);
                read[record.partition as usize].push(record.offset);
            }
            Ok(())
        };
        for _ in 0..refused_polls {
            if let Err(error) = take(&mut consumer) {
                prop_assert_eq!(error.kind(), ErrorKind::NotFound);
            }
        }
        prop_assert_eq!(consumer.poison_count(), 0);
        let dead = store.create_topic("dead", TopicConfig::default()).unwrap();
        for _ in 0..60 {
            take(&mut consumer).unwrap();
        }
        let mut letters = vec![Vec::new(); partitions.len()];
        for record in dead.partition(0).unwrap().reader(annals::StartAt::Earliest).unwrap().records() {
            let record = record.unwrap();
            let header = |name: &str| {
                let value = record.header(format!("__connect.errors.{name}")).unwrap().value.clone().unwrap();
                str::from_utf8(&value).unwrap().parse::<u64>().unwrap()
            };
            letters[header("partition") as usize].push(header("offset"));
        }
        for (n, records) in partitions.iter().enumerate() {
            let these = |good| records.iter().enumerate().filter(move |(_, g)| **g == good).map(|(n, _)| n as u64).collect::<Vec<_>>();
            prop_assert_eq!((&read[n], &letters[n]), (&these(true), &these(false)));
        }
        prop_assert_eq!(consumer.poison_count(), letters.iter().map(Vec::len).sum::<usize>() as u64);
    }
}
