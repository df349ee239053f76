//! The choice of a partition for a record.
//!
//! ```text
//!  the record names a partition    that one
//!  it has a key                    murmur2(key) without its sign, modulo the number of partitions
//!  it has none                     the sticky one: a random partition, for about one batch
//! ```
//!
//! The hash is Kafka's, so a key goes where a Kafka producer would send it. It goes elsewhere once
//! the number of partitions changes. If records without keys took turns, every partition would get
//! small batches. Therefore they stay with one partition until it has received a batch:
//!
//! ```text
//!  batch size 100     bytes 40    60      30      80        50
//!  partition               2      2 ─ full  0      0 ─ 110   4
//! ```
//!
//! The next partition is drawn at random, each with the same probability. Kafka can draw a
//! partition less often while many batches wait for it (KIP-794). Here, no broker makes a
//! partition slower.

use crate::random::SplitMix64;

/// A user-supplied choice of partitions, for records that do not name one.
///
/// Closures with the same arguments are partitioners:
/// [`PartitionerChoice`](crate::PartitionerChoice) has an example.
pub trait Partitioner: Send + Sync {
    /// Returns the partition for a record: a number below `partitions`, which is at least 1. If
    /// the number is too large, the producer rejects the record.
    fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        partitions: u32,
    ) -> u32;
}

impl<F> Partitioner for F
where
    F: Fn(&str, Option<&[u8]>, Option<&[u8]>, u32) -> u32 + Send + Sync,
{
    fn partition(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        partitions: u32,
    ) -> u32 {
        self(topic, key, value, partitions)
    }
}

const SIGN: u32 = 1 << 31;

/// Returns the partition for a key; `None` if there are no partitions.
pub(super) fn partition_for_key(key: &[u8], partitions: u32) -> Option<u32> {
    (murmur2(key) & !SIGN).checked_rem(partitions)
}

/// Returns Kafka's hash of a key. Kafka shows it as a signed number.
fn murmur2(bytes: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let (words, rest) = bytes.as_chunks::<4>();
    // Longer keys than `u32` counts do not fit into a record.
    let mut hash = SEED ^ bytes.len() as u32;
    for &[a, b, c, d] in words {
        let word = u32::from_be_bytes([d, c, b, a]).wrapping_mul(FACTOR);
        let word = (word ^ word >> 24).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ word;
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

/// Takes one partition after the other, whatever the key. One for each topic.
#[derive(Debug, Clone, Default)]
pub(super) struct RoundRobin {
    next: u32,
}

impl RoundRobin {
    /// Returns the next of the `usable` partitions, or the next of all if none is usable; `None`
    /// if there are none at all.
    pub(super) fn choose(&mut self, usable: &[u32], partitions: u32) -> Option<u32> {
        let turn = self.next & !SIGN;
        self.next = self.next.wrapping_add(1);
        if usable.is_empty() {
            return turn.checked_rem(partitions);
        }
        usable.get((turn as usize).checked_rem(usable.len())?).copied()
    }
}

/// The partition of the records without keys. One for each topic.
///
/// The caller chooses the partition, appends the record to its batch, and reports the record. No
/// other record may come between these three steps.
#[derive(Debug, Clone)]
pub(super) struct Sticky {
    batch_bytes: u64,
    current: Option<u32>,
    /// The bytes that `current` has received since it was chosen.
    bytes: u64,
    random: SplitMix64,
}

impl Sticky {
    /// Starts with no partition. A batch is full at `batch_bytes`; 0 counts as 1, so that each
    /// record is a batch.
    pub(super) fn new(batch_bytes: u64, random: SplitMix64) -> Sticky {
        Sticky { batch_bytes: batch_bytes.max(1), current: None, bytes: 0, random }
    }

    /// Returns the partition for the next record; `None` if there are none. If a new one is due,
    /// draws it from the `usable` partitions, or from all if none is usable.
    pub(super) fn choose(&mut self, usable: &[u32], partitions: u32) -> Option<u32> {
        // A topic that was created again may have fewer.
        if let Some(current) = self.current.filter(|current| *current < partitions) {
            return Some(current);
        }
        let mut below = |count: u64| (count > 0).then(|| self.random.below(count));
        let drawn = if usable.is_empty() {
            below(u64::from(partitions)).map(|drawn| drawn as u32)
        } else {
            usable.get(below(usable.len() as u64)? as usize).copied()
        };
        self.bytes = 0;
        self.current = drawn;
        drawn
    }

    /// Reports that a record was appended to the chosen partition: the bytes it took, and whether
    /// its batch is complete.
    ///
    /// A batch that still grows is not left half full, unless the partition has received twice
    /// the size of a batch.
    pub(super) fn record_added(&mut self, bytes: u64, complete: bool) {
        self.bytes = self.bytes.saturating_add(bytes);
        let enough = if complete { self.batch_bytes } else { self.batch_bytes.saturating_mul(2) };
        if self.bytes >= enough {
            self.current = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn murmur2_agrees_with_kafka() {
        for (key, hash) in [
            ("", 275646681),
            ("21", -973932308),
            ("abc", 479470107),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        // Bytes count as 0 to 255, the last ones too.
        assert_eq!(murmur2(&[0xff]) as i32, -311467685);
    }

    #[test]
    fn keys_map_to_kafkas_partitions() {
        assert_eq!(partition_for_key(b"", 10), Some(1));
        assert_eq!(partition_for_key(b"21", 10), Some(0));
        assert_eq!(partition_for_key(b"foobar", 1000), Some(166));
        assert_eq!(partition_for_key(b"foobar", 1), Some(0));
        assert_eq!(partition_for_key(b"foobar", 0), None);
    }

    fn sticky(batch_bytes: u64) -> Sticky {
        Sticky::new(batch_bytes, SplitMix64(7))
    }

    /// The limits are those of Kafka's producer.
    #[test]
    fn sticky_partition_changes_when_batch_complete() {
        let mut sticky = sticky(100);
        let drawn = |sticky: &Sticky| sticky.random.clone().below(1 << 20) as u32;
        let mut chosen = None;
        for (bytes, complete, stays) in [
            (99, true, true),
            (1, true, false),
            (100, false, true),
            (99, false, true),
            (1, false, false),
        ] {
            let expected = chosen.unwrap_or_else(|| drawn(&sticky));
            assert_eq!(sticky.choose(&[], 1 << 20), Some(expected));
            sticky.record_added(bytes, complete);
            chosen = stays.then_some(expected);
        }
    }

    #[test]
    fn sticky_partition_changes_when_topic_shrinks() {
        let mut sticky = sticky(100);
        assert_eq!(sticky.choose(&[5], 6), Some(5));
        assert_eq!(sticky.choose(&[], 6), Some(5));
        assert!(sticky.choose(&[], 5).is_some_and(|chosen| chosen < 5));
        assert_eq!(sticky.choose(&[], 1), Some(0));
        assert_eq!(sticky.choose(&[], 0), None);
    }

    /// With a batch size of 0, each record is a batch.
    #[test]
    fn sticky_changes_when_batch_bytes_zero() {
        let (mut sticky, mut random) = (sticky(0), SplitMix64(7));
        for _ in 0..20 {
            assert_eq!(sticky.choose(&[], 7), Some(random.below(7) as u32));
            sticky.record_added(1, true);
        }
    }

    #[test]
    fn sticky_draws_usable_partitions_equally_often() {
        let mut sticky = sticky(0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..3000 {
            *counts.entry(sticky.choose(&[1, 4, 8], 9).unwrap()).or_insert(0) += 1;
            sticky.record_added(1, true);
        }
        assert_eq!(counts.keys().copied().collect::<Vec<u32>>(), [1, 4, 8]);
        assert!(counts.values().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn round_robin_takes_turns_among_usable() {
        let mut turns = RoundRobin::default();
        let mut took = |available: &[u32], partitions| turns.choose(available, partitions);
        assert_eq!([(); 5].map(|()| took(&[], 3)), [0, 1, 2, 0, 1].map(Some));
        assert_eq!([(); 5].map(|()| took(&[1, 8], 9)), [8, 1, 8, 1, 8].map(Some));
        assert_eq!(took(&[], 0), None);
        // As in Kafka the count begins anew where it would need a sign.
        let mut turns = RoundRobin { next: i32::MAX as u32 };
        assert_eq!(turns.choose(&[], 10), Some(7));
        assert_eq!(turns.choose(&[], 10), Some(0));
        let mut turns = RoundRobin { next: u32::MAX };
        assert_eq!(turns.choose(&[], 10), Some(7));
        assert_eq!(turns.choose(&[], 10), Some(0));
    }

    #[test]
    fn closure_is_a_partitioner() {
        let by_size = |_: &str, _: Option<&[u8]>, value: Option<&[u8]>, partitions: u32| match value
        {
            Some(value) => value.len() as u32 % partitions,
            None => 0,
        };
        let boxed: Box<dyn Partitioner> = Box::new(by_size);
        assert_eq!(boxed.partition("orders", None, Some(b"12345"), 3), 2);
    }

    proptest! {
        /// A partition gets at least one batch, and less than two and a record.
        #[test]
        fn partition_gets_one_or_two_batches(
            batch in 1u64..500,
            records in prop::collection::vec((0u64..200, any::<bool>()), 1..200),
        ) {
            let mut sticky = sticky(batch);
            let mut received = 0;
            for (bytes, complete) in records {
                let is_first = sticky.current.is_none();
                sticky.choose(&[], 5).unwrap();
                if is_first {
                    prop_assert!(received == 0 || received >= batch);
                    received = 0;
                }
                prop_assert!(received < batch * 2);
                received += bytes;
                sticky.record_added(bytes, complete);
            }
        }
    }
}
