use super::*;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits = text.bytes().filter(|byte| *byte != b' ').collect::<Vec<_>>();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.into(), partition }
}

/// Bytes as Kafka 4.1.1 writes them, in each version.
#[test]
fn subscription_bytes_match_kafka() {
    let names = "00000002 0001 61 0006 6f7264657273";
    let data = "00000002 0102";
    let owned = "00000002 0001 61 00000001 00000000
        0006 6f7264657273 00000002 00000001 00000003";
    let full = Subscription {
        topics: vec!["orders".into(), "a".into()],
        user_data: Some(vec![1, 2]),
        owned: vec![at("orders", 3), at("a", 0), at("orders", 1)],
        generation: 7,
        rack: Some("r1".into()),
    };
    let mut read = Subscription {
        topics: vec!["a".into(), "orders".into()],
        user_data: Some(vec![1, 2]),
        ..Default::default()
    };
    let parts =
        [names, data, owned, "00000007", "0002 7231"].map(|part| part.replace(['\n', ' '], ""));
    for version in 0..=3i16 {
        let fields = parts.iter().take(2 + version as usize).map(String::as_str);
        let bytes = hex(&(format!("{version:04x}") + &fields.collect::<String>()));
        assert_eq!(full.encode(version).unwrap(), bytes);
        match version {
            0 => {}
            1 => read.owned = vec![at("a", 0), at("orders", 1), at("orders", 3)],
            2 => read.generation = 7,
            _ => read.rack = Some("r1".into()),
        }
        assert_eq!(Subscription::decode(&bytes), Ok(read.clone()));
    }
    let empty = Subscription::default();
    for (version, bytes) in [
        (0, "0000 00000000 ffffffff"),
        (1, "0001 00000000 ffffffff 00000000"),
        (2, "0002 00000000 ffffffff 00000000 ffffffff"),
        (3, "0003 00000000 ffffffff 00000000 ffffffff ffff"),
    ] {
        assert_eq!(empty.encode(version).unwrap(), hex(bytes));
        assert_eq!(Subscription::decode(&hex(bytes)), Ok(empty.clone()));
    }
}

#[test]
fn assignment_bytes_match_kafka() {
    let partitions = vec![at("orders", 3), at("a", 0), at("orders", 1)];
    let full = Assignment { partitions, user_data: Some(vec![9]) };
    let grouped = vec![at("orders", 3), at("orders", 1), at("a", 0)];
    let fields = "00000002 0006 6f7264657273 00000002 00000003 00000001 0001 61 00000001 00000000 00000001 09";
    for version in 0..=3i16 {
        let bytes = hex(&format!("{version:04x}{fields}"));
        assert_eq!(full.encode(version).unwrap(), bytes);
        let read = Assignment::decode(&bytes).unwrap();
        assert_eq!((read.partitions, read.user_data), (grouped.clone(), Some(vec![9])));
    }
    let empty = hex("0003 00000000 ffffffff");
    assert_eq!(Assignment::default().encode(3), Some(empty.clone()));
    assert_eq!(Assignment::decode(&empty), Ok(Assignment::default()));
}

#[test]
fn user_data_bytes_match_kafka() {
    let last = [at("orders", 3), at("orders", 1)];
    let bytes = hex("00000001 0006 6f7264657273 00000002 00000003 00000001 00000007");
    assert_eq!(sticky_user_data(&last, 7), Some(bytes.clone()));
    assert_eq!(read_sticky_user_data(&bytes), (last.to_vec(), 7));
    // Old members store no generation.
    let (old, none) = (bytes.split_at(bytes.len() - 4).0, Vec::new());
    assert_eq!(read_sticky_user_data(old), (last.to_vec(), -1));
    assert_eq!(read_sticky_user_data(&bytes[..20]), (none.clone(), -1));
    assert_eq!(read_sticky_user_data(&[]), (none, -1));

    assert_eq!(cooperative_user_data(-1), hex("ffffffff"));
    assert_eq!(read_cooperative_user_data(&hex("00000107")), 0x107);
    assert_eq!(read_cooperative_user_data(&hex("80000000")), -1);
    assert_eq!(read_cooperative_user_data(&[0; 3]), -1);
}

#[test]
fn later_version_reads_as_last() {
    let bytes = hex("7fff 00000000 ffffffff 00000000 00000009 0001 72 0badcafe");
    let read = Subscription::decode(&bytes).unwrap();
    assert_eq!((read.generation, read.rack.as_deref()), (9, Some("r")));
    assert!(Assignment::decode(&hex("0004 00000000 ffffffff 00")).is_ok());
    assert_eq!(read.encode(9), read.encode(3));
    assert_eq!(read.encode(-1), read.encode(0));
    // As in Kafka, an empty rack is no rack, and a negative generation is none.
    let read = Subscription::decode(&hex("0003 00000000 ffffffff 00000000 fffffff0 0000"));
    assert_eq!(read, Ok(Subscription::default()));
}

#[test]
fn decode_error_names_position() {
    for (bytes, position, reason) in [
        ("", 0, "it ends within the field that begins here"),
        ("ffff 00000000", 0, "its version is negative"),
        ("0000 000000", 2, "it ends within the field that begins here"),
        ("0000 ffffffff", 2, "a required array or byte field is null"),
        ("0000 7fffffff 0000 0000", 2, "an array has fewer bytes than its elements need"),
        ("0000 00000001 0003 6161", 6, "it ends within the field that begins here"),
        ("0000 00000001 fffe 6161", 6, "a length is below -1"),
        ("0000 00000001 ffff", 6, "a required text is null"),
        ("0000 00000001 0002 c328", 6, "a text is not UTF-8"),
        ("0000 00000000 00000003 0101", 6, "it ends within the field that begins here"),
        ("0000 00000000 fffffffe", 6, "a length is below -1"),
        (
            "0001 00000000 ffffffff 00000002 0000 00000000",
            10,
            "an array has fewer bytes than its elements need",
        ),
        (
            "0001 00000000 ffffffff 00000001 0000 00000002 00000000",
            16,
            "an array has fewer bytes than its elements need",
        ),
        ("0001 00000000 ffffffff 00000001 0000 00000001 80000000", 20, "a partition is negative"),
        ("0002 00000000 ffffffff 00000000 0000", 14, "it ends within the field that begins here"),
        (
            "0003 00000000 ffffffff 00000000 00000000 0005 61",
            18,
            "it ends within the field that begins here",
        ),
    ] {
        let error = Err(MalformedField { position, reason });
        assert_eq!(Subscription::decode(&hex(bytes)), error, "{bytes}");
    }
    let error = Err(MalformedField { position: 0, reason: "its version is negative" });
    assert_eq!(Assignment::decode(&hex("8000 00000000")), error);
}

#[test]
fn encode_fails_when_field_too_long() {
    let long = "x".repeat(1 << 15);
    let topics = vec![long.clone()];
    assert_eq!(Subscription { topics, ..Default::default() }.encode(3), None);
    let rack = Some(long[1..].to_owned());
    assert!(Subscription { rack, ..Default::default() }.encode(3).is_some());
    let rack = Some(long.clone());
    let wide = Subscription { rack, ..Default::default() };
    assert_eq!((wide.encode(3), wide.encode(2).is_some()), (None, true));
    assert_eq!(sticky_user_data(&[at(&long, 0)], 1), None);
    assert_eq!(sticky_user_data(&[at("t", 1 << 31)], 1), None);
}

fn partitions() -> impl Strategy<Value = Vec<TopicPartition>> {
    let one = ("[a-cé]{0,2}", 0u32..1 << 31).prop_map(|(topic, partition)| at(&topic, partition));
    prop::collection::vec(one, 0..12)
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..9))
}

proptest! {
    #[test]
    fn messages_round_trip(
        topics in prop::collection::vec("\\PC{0,5}", 0..5),
        (user_data, mut owned) in (data(), partitions()),
        generation in -1..i32::MAX,
        rack in prop::option::of("[a-z]{1,3}"),
    ) {
        let whole = Subscription { topics, user_data, owned: owned.clone(), generation, rack };
        let mut sorted = whole.clone();
        sorted.topics.sort();
        sorted.owned.sort();
        let bytes = whole.encode(3).unwrap();
        prop_assert_eq!(Subscription::decode(&bytes), Ok(sorted));
        // No field can be missing.
        for length in 0..bytes.len() {
            prop_assert!(Subscription::decode(&bytes[..length]).is_err());
        }
        let assigned = Assignment { partitions: owned.clone(), user_data: whole.user_data };
        let bytes = assigned.encode(1).unwrap();
        for length in 0..bytes.len() {
            prop_assert!(Assignment::decode(&bytes[..length]).is_err());
        }
        let mut read = Assignment::decode(&bytes).unwrap();
        prop_assert_eq!(read.encode(1), Some(bytes));
        read.partitions.sort();
        owned.sort();
        prop_assert_eq!((read.partitions, read.user_data), (owned, assigned.user_data));
    }

    /// Any bytes are decoded or rejected, and the result is no larger than the bytes.
    #[test]
    fn decode_survives_any_bytes(
        version in 0u8..5,
        bytes in prop::collection::vec(prop::sample::select(vec![0u8, 0, 0, 0, 1, 2, 3, 0x61, 0x7f, 0xff]), 0..60),
    ) {
        let message = [&[0, version], bytes.as_slice()].concat();
        if let Ok(read) = Subscription::decode(&message) {
            let least = read.topics.len() * STRING_BYTES + read.owned.len() * PARTITION_BYTES;
            prop_assert!(least <= bytes.len());
        }
        if let Ok(read) = Assignment::decode(&message) {
            prop_assert!(read.partitions.len() * PARTITION_BYTES <= bytes.len());
        }
        read_sticky_user_data(&bytes);
        read_cooperative_user_data(&bytes);
    }
}
