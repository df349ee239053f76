mod codec;
mod table;

use super::*;

const T0: i64 = 1_700_000_000_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[test]
fn group_partition_follows_java_hash() {
    for (text, hash) in
        [("", 0), ("my-group", -1906497762), ("polygenelubricants", i32::MIN), ("😀", 1772899)]
    {
        assert_eq!(java_hash(text), hash, "{text}");
    }
    assert_eq!(partition_for("my-group", 50), Some(12));
    assert_eq!(partition_for("txn-1", 50), Some(10));
    assert_eq!(partition_for("polygenelubricants", 50), Some(0));
    assert_eq!(partition_for("", 0), None);
}
