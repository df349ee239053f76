use crate::error::CorruptionKind;
use crate::transaction::{TransactionMetadata, TransactionRecord, TransactionState};
use crate::types::{Timestamp, TopicPartition};
use proptest::collection::btree_set;
use proptest::option;
use proptest::prelude::*;

const T0: i64 = 1_700_000_000_000;

const KEY: &str = "0000 0005 74786e2d31";
const EMPTY: &str =
    "0000 0000000000000fa0 0002 0000ea60 00 ffffffff 0000018bcfe56800 ffffffffffffffff";
const ONGOING_0: &str = "0000 0000000000000fa0 0002 0000ea60 01
    00000001 0006 6f7264657273 00000002 00000000 00000003 0000018bcfe56800 0000018bcfe567fb";
const ONGOING_1: &str = "0001 0000000000000fa0 0002 0000ea60 01
    02 07 6f7264657273 03 00000000 00000003 00 0000018bcfe56800 0000018bcfe567fb 00";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn orders(partitions: &[u32]) -> impl Iterator<Item = TopicPartition> {
    partitions.iter().map(|partition| TopicPartition::new("orders", *partition))
}

fn ongoing() -> TransactionMetadata {
    TransactionMetadata {
        producer_id: 4000,
        producer_epoch: 2,
        previous_producer_id: None,
        next_producer_id: None,
        timeout_ms: 60_000,
        state: TransactionState::Ongoing,
        partitions: orders(&[0, 3]).collect(),
        last_update: Timestamp::from_millis(T0),
        started: Some(Timestamp::from_millis(T0 - 5)),
        client_version: 0,
    }
}

/// Decodes a value, or returns what is wrong with it.
fn value(text: &str) -> Result<TransactionMetadata, String> {
    match TransactionRecord::decode(Some(&hex(KEY)), Some(&hex(text))) {
        Ok(record) => {
            let TransactionRecord { transactional_id, metadata } = record.unwrap();
            assert_eq!(transactional_id, "txn-1");
            Ok(metadata.unwrap())
        }
        Err(CorruptionKind::Malformed(reason)) => Err(reason.to_owned()),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn values_of_both_versions_match_vectors() {
    let empty = TransactionMetadata {
        state: TransactionState::Empty,
        partitions: orders(&[]).collect(),
        started: None,
        ..ongoing()
    };
    assert_eq!(value(EMPTY), Ok(empty));
    assert_eq!(value(ONGOING_0), Ok(ongoing()));
    assert_eq!(value(ONGOING_1), Ok(ongoing()));
}

#[test]
fn tagged_fields_are_read_and_others_skipped() {
    let tags = "00 08 0000000000000fa0 01 08 0000000000001388 02 02 0002";
    let decoded = value(&ONGOING_1.replace("67fb 00", &format!("67fb 03 {tags}"))).unwrap();
    assert_eq!((decoded.previous_producer_id, decoded.next_producer_id), (Some(4000), Some(5000)));
    assert_eq!(decoded.client_version, 2);
    // A later version may add fields here, at the end of a topic, and between the known ones.
    let tags = "03 02 ffff 02 02 0001 7f 00 8001 03 aabbcc";
    let decoded = value(&ONGOING_1.replace("67fb 00", &format!("67fb 04 {tags}")));
    assert_eq!(decoded, Ok(TransactionMetadata { client_version: 1, ..ongoing() }));
    let decoded = value(&ONGOING_1.replace("0003 00 00", "0003 01 05 01 ff 00"));
    assert_eq!(decoded, Ok(ongoing()));
}

#[test]
fn states_decode_by_id() {
    for (id, state) in TransactionState::ALL.into_iter().enumerate() {
        let decoded = value(&ONGOING_1.replace("ea60 01", &format!("ea60 0{id}"))).unwrap();
        assert_eq!(decoded.state, state);
        let has_partitions = state != TransactionState::Empty;
        assert_eq!(decoded.partitions.len(), if has_partitions { 2 } else { 0 }, "{state:?}");
    }
    let unknown = Err("its state is not one of 0 to 7".to_owned());
    assert_eq!(value(&ONGOING_1.replace("ea60 01", "ea60 08")), unknown);
    assert_eq!(value(&ONGOING_1.replace("ea60 01", "ea60 ff")), unknown);
}

#[test]
fn missing_partitions_count_as_none() {
    let none = "0001 0000000000000fa0 0002 0000ea60 04 00 0000018bcfe56800 0000018bcfe567fb 00";
    let decoded = value(none).unwrap();
    assert_eq!((decoded.state, decoded.partitions.len()), (TransactionState::CompleteCommit, 0));
    assert_eq!(value(&none.replace("04 00", "04 01")), Ok(decoded));
}

#[test]
fn tombstones_and_later_keys_are_no_error() {
    let decode = |key: &str, value: Option<&[u8]>| {
        TransactionRecord::decode(Some(&hex(key)), value).unwrap()
    };
    let tombstone = TransactionRecord { transactional_id: "txn-1".to_owned(), metadata: None };
    assert_eq!(decode(KEY, None), Some(tombstone));
    for key in ["0001", "0001 0005 74786e2d31", "ffff", "7fff 00"] {
        assert_eq!(decode(key, Some(b"anything")), None);
    }
}

#[test]
fn decode_error_names_reason() {
    let refused = |text: &str| value(text).unwrap_err();
    let ends = "it ends within the field that begins here";
    let whole = hex(ONGOING_1);
    for end in 0..whole.len() {
        let cut = TransactionRecord::decode(Some(&hex(KEY)), Some(&whole[..end]));
        assert!(matches!(cut, Err(CorruptionKind::Malformed(_))), "{end}");
    }
    assert_eq!(refused(""), ends);
    assert_eq!(refused("0002"), "its version is neither 0 nor 1");
    assert_eq!(refused("ffff"), "its version is neither 0 nor 1");
    assert_eq!(refused(&format!("{ONGOING_0} 00")), "it should end here");
    assert_eq!(refused(&format!("{ONGOING_1} 00")), "it should end here");
    assert_eq!(
        refused(&ONGOING_0.replace("00000003", "ffffffff")),
        "the number of a partition is below 0"
    );
    let room = "an array has fewer bytes than its elements need";
    assert_eq!(refused(&ONGOING_0.replace("00000001", "7fffffff")), room);
    assert_eq!(refused(&ONGOING_1.replace(" 03 00000000", " ffffffff0f 00000000")), room);
    assert_eq!(
        refused(&ONGOING_1.replace("07 6f7264657273", "00 6f7264657273")),
        "a required text is null"
    );
    // A known tagged field with too many bytes, and with too few.
    let tags = |tags: &str| refused(&ONGOING_1.replace("67fb 00", &format!("67fb 01 {tags}")));
    assert_eq!(tags("02 03 000200"), "it should end here");
    assert_eq!(tags("01 02 0002"), ends);
    assert_eq!(tags("01 08 0002"), ends);

    let key = |key: Option<&[u8]>| TransactionRecord::decode(key, None).unwrap_err().to_string();
    assert_eq!(key(None), "it has no key");
    assert_eq!(key(Some(b"")), ends);
    assert_eq!(key(Some(&hex("0000 0005 74786e2d"))), ends);
    assert_eq!(key(Some(&hex("0000 ffff"))), "a required text is null");
    assert_eq!(key(Some(&hex("0000 0001 ff"))), "a text is not UTF-8");
    assert_eq!(key(Some(&hex("0000 0001 67 00"))), "it should end here");
}

/// The bytes that Kafka writes: the partitions are null only in the state `Empty`, and each tagged
/// field is left out if it has its default.
#[test]
fn encoded_bytes_match_vectors() {
    let empty = value(EMPTY).unwrap();
    assert_eq!(empty.encode_as(0), Ok(hex(EMPTY)));
    assert_eq!(ongoing().encode_as(0), Ok(hex(ONGOING_0)));
    assert_eq!(ongoing().encode_as(1), Ok(hex(ONGOING_1)));
    let record = |metadata| TransactionRecord { transactional_id: "txn-1".to_owned(), metadata };
    assert_eq!(record(None).encode(), Ok((hex(KEY), None)));
    assert_eq!(record(Some(ongoing())).encode(), Ok((hex(KEY), Some(hex(ONGOING_1)))));

    let prepared = TransactionMetadata {
        producer_epoch: 3,
        state: TransactionState::PrepareCommit,
        previous_producer_id: Some(4000),
        client_version: 2,
        ..ongoing()
    };
    let tags = "02 00 08 0000000000000fa0 02 02 0002";
    let bytes = hex(&format!(
        "0001 0000000000000fa0 0003 0000ea60 02
         02 07 6f7264657273 03 00000000 00000003 00 0000018bcfe56800 0000018bcfe567fb {tags}"
    ));
    assert_eq!(prepared.encode_as(1), Ok(bytes));
    let complete = TransactionMetadata {
        state: TransactionState::CompleteCommit,
        partitions: orders(&[]).collect(),
        last_update: Timestamp::from_millis(T0 + 1),
        ..prepared.clone()
    };
    let bytes = hex(&format!(
        "0001 0000000000000fa0 0003 0000ea60 04 01 0000018bcfe56801 0000018bcfe567fb {tags}"
    ));
    assert_eq!(complete.encode_as(1), Ok(bytes));
    let exhausted =
        TransactionMetadata { producer_epoch: i16::MAX, next_producer_id: Some(5000), ..prepared };
    let bytes = exhausted.encode_as(1).unwrap();
    let tags = "03 00 08 0000000000000fa0 01 08 0000000000001388 02 02 0002";
    assert!(bytes.ends_with(&hex(tags)));
    let unused = TransactionMetadata { client_version: 2, ..empty };
    let tags = "0000018bcfe56800 ffffffffffffffff 01 02 02 0002";
    let bytes = hex(&format!("0001 0000000000000fa0 0002 0000ea60 00 00 {tags}"));
    assert_eq!(unused.encode_as(1), Ok(bytes));
}

#[test]
fn encode_fails_when_id_too_long() {
    let encode = |bytes: usize| {
        TransactionRecord { transactional_id: "t".repeat(bytes), metadata: None }.encode()
    };
    assert!(encode(32_767).is_ok());
    assert!(encode(32_768).is_err());
}

prop_compose! {
    fn any_metadata()(
        ids in (any::<i64>(), option::of(0..i64::MAX), option::of(0..i64::MAX)),
        producer_epoch in any::<i16>(),
        timeout_ms in any::<i32>(),
        state in 0..8_i8,
        partitions in btree_set(("[a-z]{1,3}", 0..=i32::MAX as u32), 0..9),
        times in (any::<i64>(), option::of(0..i64::MAX)),
        client_version in any::<i16>(),
    ) -> TransactionMetadata {
        let state = TransactionState::from_id(state).unwrap();
        let is_empty = state == TransactionState::Empty;
        let partitions = partitions.into_iter().filter(|_| !is_empty);
        TransactionMetadata {
            producer_id: ids.0,
            producer_epoch,
            previous_producer_id: ids.1,
            next_producer_id: ids.2,
            timeout_ms,
            state,
            partitions: partitions.map(|(topic, n)| TopicPartition::new(topic, n)).collect(),
            last_update: Timestamp::from_millis(times.0),
            started: times.1.map(Timestamp::from_millis),
            client_version,
        }
    }
}

proptest! {
    #[test]
    fn encoding_round_trips(id in ".{0,20}", metadata in option::of(any_metadata())) {
        let record = TransactionRecord { transactional_id: id, metadata };
        let (key, value) = record.encode().unwrap();
        let decoded = TransactionRecord::decode(Some(&key), value.as_deref());
        prop_assert_eq!(decoded, Ok(Some(record)));
    }
}
