use super::*;
use crate::wire::FieldTooLong;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn orders_3() -> OffsetKey {
    OffsetKey { group: "g1".into(), topic: "orders".into(), partition: 3 }
}

fn committed() -> CommittedOffset {
    CommittedOffset {
        offset: 42,
        leader_epoch: 7,
        metadata: "m".into(),
        commit_timestamp: at(T0),
        expire_timestamp: None,
    }
}

const KEY: &str = "0001 0002 6731 0006 6f7264657273 00000003";
const VALUE: &str = "0003 000000000000002a 00000007 0001 6d 0000018bcfe56800";
const EXPIRES: &str = "0001 000000000000002a 0001 6d 0000018bcfe56800 0000018bcfe56801";
const FLEXIBLE: &str = "0004 000000000000002a 00000007 02 6d 0000018bcfe56800 00";
const EMPTY_GROUP: &str = "0003 0000 00000000 ffff ffff 0000018bcfe56800 00000000";

#[test]
fn record_bytes_match_vectors() {
    let value = committed();
    let record = OffsetsRecord::Offset { key: orders_3(), value: Some(value.clone()) };
    assert_eq!(record.encode(), Ok(Some((hex(KEY), Some(hex(VALUE))))));
    assert_eq!(value.encode_as(4), Ok(hex(FLEXIBLE)));
    assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), Some(&hex(VALUE))), Ok(record.clone()));
    assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), Some(&hex(FLEXIBLE))), Ok(record));

    let value = CommittedOffset { leader_epoch: -1, expire_timestamp: Some(at(T0 + 1)), ..value };
    let record = OffsetsRecord::Offset { key: orders_3(), value: Some(value) };
    assert_eq!(record.encode(), Ok(Some((hex(KEY), Some(hex(EXPIRES))))));
    assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), Some(&hex(EXPIRES))), Ok(record));

    let empty = GroupMetadata { state_since: Some(at(T0)), ..GroupMetadata::default() };
    let record = OffsetsRecord::Group { group: "g1".into(), value: Some(empty) };
    let stored = (hex("0002 0002 6731"), Some(hex(EMPTY_GROUP)));
    assert_eq!(record.encode(), Ok(Some(stored.clone())));
    assert_eq!(OffsetsRecord::decode(Some(&stored.0), stored.1.as_deref()), Ok(record));
}

#[test]
fn tombstones_and_unknown_keys_round_trip() {
    let record = OffsetsRecord::Offset { key: orders_3(), value: None };
    assert_eq!(record.encode(), Ok(Some((hex(KEY), None))));
    assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), None), Ok(record.clone()));
    let mut old = hex(KEY);
    old[1] = 0;
    assert_eq!(OffsetsRecord::decode(Some(&old), None), Ok(record));
    let record = OffsetsRecord::Group { group: "g1".into(), value: None };
    assert_eq!(record.encode(), Ok(Some((hex("0002 0002 6731"), None))));
    for key_version in [-1, 3, 4, 5, i16::MAX, i16::MIN] {
        let key = [key_version.to_be_bytes().as_slice(), b"anything"].concat();
        let record = OffsetsRecord::decode(Some(&key), Some(b"anything"));
        assert_eq!(record, Ok(OffsetsRecord::Unknown { key_version }));
        assert_eq!(record.unwrap().encode(), Ok(None));
    }
}

#[test]
fn decode_error_names_position() {
    let refused = |key: &str, value: &str| {
        let value = Some(hex(value)).filter(|value| !value.is_empty());
        OffsetsRecord::decode(Some(&hex(key)), value.as_deref()).unwrap_err().to_string()
    };
    assert_eq!(OffsetsRecord::decode(None, None).unwrap_err().reason, "it has no key");
    assert_eq!(refused("00", ""), "at byte 0: it ends within the field that begins here");
    assert_eq!(refused("0002 ffff", ""), "at byte 2: a required text is null");
    assert_eq!(refused("0002 8000", ""), "at byte 2: a length is below -1");
    assert_eq!(refused("0002 0002 67", ""), "at byte 2: it ends within the field that begins here");
    assert_eq!(refused("0002 0001 ff", ""), "at byte 2: a text is not UTF-8");
    assert_eq!(refused("0002 0001 67 00", ""), "at byte 5: it should end here");
    assert_eq!(refused(KEY, "0005"), "at byte 0: its version is not one of 0 to 4");
    assert_eq!(refused(KEY, "ffff"), "at byte 0: its version is not one of 0 to 4");
    let group = |members: &str| {
        let value = format!("0003 0000 00000000 ffff ffff 0000018bcfe56800 {members}");
        refused("0002 0001 67", &value)
    };
    let room = "at byte 20: an array has fewer bytes than its elements need";
    assert_eq!(group("7fffffff"), room);
    assert_eq!(group("00000001 0001020304050607080910111213"), room);
    assert_eq!(group("ffffffff"), "at byte 20: a required array or byte field is null");
    // Flexible form: a text of 4 GiB, an endless length, a tag of 4 GiB, 4 G tags.
    let flexible = |rest: &str| refused(KEY, &format!("0004 000000000000002a 00000007 {rest}"));
    assert_eq!(flexible("ffffffff0f"), "at byte 14: a text is longer than 32767 bytes");
    let endless = "at byte 14: a length is above 32 bits";
    assert_eq!(flexible("ffffffffff01"), endless);
    assert_eq!(flexible("ffffffff1f"), endless);
    let inside = "it ends within the field that begins here";
    let at = |position: usize| format!("at byte {position}: {inside}");
    assert_eq!(flexible("01 0000018bcfe56800 01 00 ffffffff0f"), at(24));
    assert_eq!(flexible("01 0000018bcfe56800 ffffffff0f 00 00"), at(30));
}

#[test]
fn unknown_tags_are_skipped() {
    let mut value = hex(FLEXIBLE);
    value.pop();
    value.extend(hex("02 00 10 000102030405060708090a0b0c0d0e0f 05 00"));
    let expected = OffsetsRecord::Offset { key: orders_3(), value: Some(committed()) };
    assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), Some(&value)), Ok(expected));
}

#[test]
fn encode_fails_when_field_too_long() {
    let longest = CommittedOffset { metadata: "m".repeat(32_767), ..committed() };
    let too_long = CommittedOffset { metadata: "m".repeat(32_768), ..committed() };
    for version in 0..=4 {
        let bytes = longest.encode_as(version).unwrap();
        let record = OffsetsRecord::decode(Some(&hex(KEY)), Some(&bytes)).unwrap();
        let OffsetsRecord::Offset { value: Some(value), .. } = record else { panic!("{record:?}") };
        assert_eq!(value.metadata, longest.metadata);
        let limit = 32_767;
        assert_eq!(too_long.encode_as(version), Err(FieldTooLong { length: 32_768, limit }));
    }
    assert!(OffsetKey { group: "g".repeat(32_768), ..orders_3() }.encode().is_err());
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn some_time() -> impl Strategy<Value = Option<Timestamp>> {
    option::of(time().prop_filter("-1 is none", |time| !time.is_none()))
}

fn key() -> impl Strategy<Value = OffsetKey> {
    (".{0,9}", ".{0,9}", any::<i32>()).prop_map(|(group, topic, partition)| OffsetKey {
        group,
        topic,
        partition,
    })
}

fn offset() -> impl Strategy<Value = CommittedOffset> {
    (any::<i64>(), any::<i32>(), ".{0,200}", time(), some_time()).prop_map(
        |(offset, leader_epoch, metadata, commit_timestamp, expire_timestamp)| CommittedOffset {
            offset,
            leader_epoch,
            metadata,
            commit_timestamp,
            expire_timestamp,
        },
    )
}

fn blob() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn member() -> impl Strategy<Value = MemberMetadata> {
    let texts = (".{0,9}", option::of(".{0,9}"), ".{0,9}", ".{0,9}");
    (texts, any::<[i32; 2]>(), blob(), blob()).prop_map(
        |((member_id, instance_id, client_id, client_host), times, subscription, assignment)| {
            MemberMetadata {
                member_id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout: times[0],
                session_timeout: times[1],
                subscription,
                assignment,
            }
        },
    )
}

fn group() -> impl Strategy<Value = GroupMetadata> {
    let texts = (".{0,9}", option::of(".{0,9}"), option::of(".{0,9}"));
    (texts, any::<i32>(), some_time(), vec(member(), 0..4)).prop_map(
        |((protocol_type, protocol, leader), generation, state_since, members)| GroupMetadata {
            protocol_type,
            generation,
            protocol,
            leader,
            state_since,
            members,
        },
    )
}

fn record() -> impl Strategy<Value = OffsetsRecord> {
    prop_oneof![
        (key(), option::of(offset())).prop_map(|(key, value)| OffsetsRecord::Offset { key, value }),
        (".{0,9}", option::of(group()))
            .prop_map(|(group, value)| OffsetsRecord::Group { group, value }),
    ]
}

/// Returns the part of an offset that this version stores.
fn offset_in(version: i16, offset: &CommittedOffset) -> CommittedOffset {
    let mut offset = offset.clone();
    if version < 3 {
        offset.leader_epoch = -1;
    }
    if version != 1 {
        offset.expire_timestamp = None;
    }
    offset
}

fn group_in(version: i16, group: &GroupMetadata) -> GroupMetadata {
    let mut group = group.clone();
    if version < 2 {
        group.state_since = None;
    }
    for member in &mut group.members {
        if version < 3 {
            member.instance_id = None;
        }
        if version < 1 {
            member.rebalance_timeout = -1;
        }
    }
    group
}

proptest! {
    #[test]
    fn records_round_trip(record in record()) {
        let (key, value) = record.encode().unwrap().unwrap();
        let mut expected = record;
        if let OffsetsRecord::Offset { value: Some(value), .. } = &mut expected
            && value.expire_timestamp.is_some()
        {
            value.leader_epoch = -1;
        }
        prop_assert_eq!(OffsetsRecord::decode(Some(&key), value.as_deref()), Ok(expected));
    }

    #[test]
    fn versions_round_trip_their_fields(
        version in 0_i16..=4,
        offset in offset(),
        group in group(),
    ) {
        let bytes = offset.encode_as(version).unwrap();
        let (read, key) = (offset_in(version, &offset), orders_3());
        prop_assert_eq!(read.encode_as(version), Ok(bytes.clone()));
        let expected = OffsetsRecord::Offset { key, value: Some(read) };
        prop_assert_eq!(OffsetsRecord::decode(Some(&hex(KEY)), Some(&bytes)), Ok(expected));

        let bytes = group.encode_as(version).unwrap();
        let read = group_in(version, &group);
        prop_assert_eq!(read.encode_as(version), Ok(bytes.clone()));
        let expected = OffsetsRecord::Group { group: "g1".into(), value: Some(read) };
        prop_assert_eq!(OffsetsRecord::decode(Some(&hex("0002 0002 6731")), Some(&bytes)), Ok(expected));
    }

    #[test]
    fn decode_rejects_truncated_bytes(record in record(), version in 0_i16..=4) {
        let (key, value) = match record {
            OffsetsRecord::Offset { key, value } => {
                (key.encode().unwrap(), value.map(|value| value.encode_as(version).unwrap()))
            }
            OffsetsRecord::Group { group, value } => {
                let value = value.map(|value| value.encode_as(version).unwrap());
                (crate::group::offsets::codec::group_key(&group).unwrap(), value)
            }
            OffsetsRecord::Unknown { .. } => return Ok(()),
        };
        for end in 0..key.len() {
            prop_assert!(OffsetsRecord::decode(Some(&key[..end]), None).is_err());
        }
        let value = value.unwrap_or_default();
        for end in 0..value.len() {
            prop_assert!(OffsetsRecord::decode(Some(&key), Some(&value[..end])).is_err());
        }
        let longer = [value.as_slice(), &[0]].concat();
        prop_assert!(OffsetsRecord::decode(Some(&key), Some(&longer)).is_err());
    }

    #[test]
    fn damaged_record_fails_or_reencodes(
        record in record(),
        version in 0_i16..=4,
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (key, value) = record.encode().unwrap().unwrap();
        let Some(mut value) = value else { return Ok(()) };
        value[1] = version as u8;
        for (place, byte) in flips {
            let place = place.index(value.len());
            value[place] = byte;
        }
        if let Ok(read) = OffsetsRecord::decode(Some(&key), Some(&value)) {
            let (key, value) = read.encode().unwrap().unwrap();
            prop_assert!(OffsetsRecord::decode(Some(&key), value.as_deref()).is_ok());
        }
    }
}
