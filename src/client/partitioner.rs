//! Which partition of a topic a record goes to.
//!
//! ```text
//!  the record names a partition          that one
//!  it has a key                          murmur2(key) without its sign, modulo the number of partitions
//!  it has none                           the sticky one: a random partition, for about one batch
//! ```
//!
//! The hash is Kafka's, so a key goes where a Kafka producer would send it. It goes elsewhere once
//! the number of partitions changes. Records without keys could go round in a circle, and every
//! partition would get small batches. Therefore they stay with one partition until it has got a
//! batch:
//!
//! ```text
//!  batch size 100     bytes 40    60      30      80        50
//!  partition               2      2 ─ full  0      0 ─ 110   4
//! ```
//!
//! The next one is drawn at random, more often where less is waiting to be written.
//!
//! Nothing here draws random numbers: they come from the caller.

/// A way of one's own to choose partitions, for records that do not name one.
///
/// Closures with the same arguments are partitioners.
pub trait Partitioner: Send + Sync {
    /// The partition for a record: below `partitions`, which is at least 1. A producer refuses the
    /// record otherwise.
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

/// The partition of a key. `None` if there are no partitions.
pub(crate) fn of_key(key: &[u8], partitions: u32) -> Option<u32> {
    (murmur2(key) & !SIGN).checked_rem(partitions)
}

/// Kafka's hash of keys. Kafka shows it as a signed number.
pub(crate) fn murmur2(bytes: &[u8]) -> u32 {
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

/// One after the other, whatever the key. One for each topic.
#[derive(Debug, Clone, Default)]
pub(crate) struct RoundRobin {
    next: u32,
}

impl RoundRobin {
    /// The next of those that can be written to; the next of all if none can. `None` if there are
    /// none at all.
    pub(crate) fn choose(&mut self, available: &[u32], partitions: u32) -> Option<u32> {
        let turn = self.next & !SIGN;
        self.next = self.next.wrapping_add(1);
        if available.is_empty() {
            return turn.checked_rem(partitions);
        }
        available.get((turn as usize).checked_rem(available.len())?).copied()
    }
}

/// A partition that can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queue {
    pub(crate) partition: u32,
    /// The batches that wait to be written to it. The same for all when that is not to matter.
    pub(crate) waiting: u32,
}

/// Where the records without keys go. One for each topic.
///
/// The caller asks for the partition, appends the record to its batch, and says so; all three
/// without another record between.
#[derive(Debug, Clone)]
pub(crate) struct Sticky {
    batch_bytes: u64,
    current: Option<u32>,
    /// The bytes that `current` has received since it was chosen.
    bytes: u64,
}

impl Sticky {
    /// A batch is full with so many bytes. 0 counts as 1: each record is a batch.
    pub(crate) fn new(batch_bytes: u64) -> Sticky {
        Sticky { batch_bytes: batch_bytes.max(1), current: None, bytes: 0 }
    }

    /// The partition for the next record. `None` if there are none.
    ///
    /// `queues` are those that can be written to; when none can, any of all `partitions` is drawn.
    /// `random` is asked only when a partition is drawn, and any number will do.
    pub(crate) fn choose(
        &mut self,
        partitions: u32,
        queues: &[Queue],
        random: impl FnOnce() -> u32,
    ) -> Option<u32> {
        // A topic that was made again may have fewer.
        if let Some(current) = self.current.filter(|current| *current < partitions) {
            return Some(current);
        }
        let random = random() & !SIGN;
        let drawn =
            if queues.is_empty() { random.checked_rem(partitions) } else { draw(queues, random) };
        self.bytes = 0;
        self.current = drawn;
        drawn
    }

    /// Says that a record was appended to the partition chosen: how many bytes it took, and
    /// whether the batch that it is in is complete.
    ///
    /// A batch that others still lengthen is not left behind half full, unless the partition
    /// has got twice what is enough.
    pub(crate) fn note(&mut self, bytes: u64, complete: bool) {
        self.bytes = self.bytes.saturating_add(bytes);
        let enough = if complete { self.batch_bytes } else { self.batch_bytes.saturating_mul(2) };
        if self.bytes >= enough {
            self.current = None;
        }
    }
}

/// Draws a partition. The weight of each is by how much its queue is shorter than the longest, and 1.
fn draw(queues: &[Queue], random: u32) -> Option<u32> {
    let longest = queues.iter().map(|queue| queue.waiting).max()?;
    let weight = |queue: &Queue| u64::from(longest.saturating_sub(queue.waiting)).saturating_add(1);
    let total = queues.iter().map(weight).fold(0, u64::saturating_add);
    let at = u64::from(random).checked_rem(total)?;
    let mut upto = 0u64;
    let drawn = queues.iter().find(|queue| {
        upto = upto.saturating_add(weight(queue));
        at < upto
    });
    drawn.map(|queue| queue.partition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn murmur2_is_kafkas() {
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
    fn a_key_goes_to_one_of_all_partitions() {
        assert_eq!(of_key(b"", 10), Some(1));
        assert_eq!(of_key(b"21", 10), Some(0));
        assert_eq!(of_key(b"foobar", 1000), Some(166));
        assert_eq!(of_key(b"foobar", 1), Some(0));
        assert_eq!(of_key(b"foobar", 0), None);
    }

    /// What Kafka's producer does with these sizes and random numbers.
    #[test]
    fn records_without_keys_stay_for_a_batch() {
        let queues: Vec<Queue> = (0..)
            .zip([4, 0, 2, 3])
            .map(|(partition, waiting)| Queue { partition, waiting })
            .collect();
        let mut sticky = Sticky::new(100);
        let choose = |sticky: &mut Sticky, random: u32| sticky.choose(9, &queues, || random);
        // Weights 1, 5, 3, 2.
        assert_eq!(choose(&mut sticky, 11), Some(0));
        sticky.note(99, true);
        assert_eq!(choose(&mut sticky, 1), Some(0));
        sticky.note(1, true);
        assert_eq!(choose(&mut sticky, 1), Some(1));
        sticky.note(100, false);
        assert_eq!(choose(&mut sticky, 9), Some(1));
        sticky.note(99, false);
        assert_eq!(choose(&mut sticky, 9), Some(1));
        sticky.note(1, false);
        assert_eq!(choose(&mut sticky, 9), Some(3));
        // The sign of a random number is of no account.
        sticky.note(u64::MAX, false);
        assert_eq!(choose(&mut sticky, (1 << 31) + 6), Some(2));
        sticky.note(u64::MAX, false);
        sticky.note(u64::MAX, false);
        // It was made again, with fewer.
        assert_eq!(sticky.choose(2, &[], || 3), Some(1));
        assert_eq!(sticky.choose(1, &[], || 3), Some(0));
        assert_eq!(sticky.choose(0, &[], || 3), None);
    }

    #[test]
    fn a_batch_of_no_bytes_is_one_record() {
        let mut sticky = Sticky::new(0);
        for random in 0..20 {
            assert_eq!(sticky.choose(7, &[], || random), Some(random % 7));
            sticky.note(1, true);
        }
    }

    #[test]
    fn in_turn_means_each_equally_often() {
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
    fn a_closure_is_a_partitioner() {
        let by_size = |_: &str, _: Option<&[u8]>, value: Option<&[u8]>, partitions: u32| match value
        {
            Some(value) => value.len() as u32 % partitions,
            None => 0,
        };
        let boxed: Box<dyn Partitioner> = Box::new(by_size);
        assert_eq!(boxed.partition("orders", None, Some(b"12345"), 3), 2);
    }

    proptest! {
        /// What is drawn can be written to, and each as often as its weight says.
        #[test]
        fn short_queues_are_drawn_more_often(waiting in prop::collection::vec(0u32..6, 1..8)) {
            let queues: Vec<Queue> = (0..)
                .zip(&waiting)
                .map(|(n, waiting)| Queue { partition: n * 3, waiting: *waiting })
                .collect();
            let longest = *waiting.iter().max().unwrap();
            let total: u32 = waiting.iter().map(|q| longest + 1 - q).sum();
            let mut drawn = std::collections::BTreeMap::new();
            for random in 0..total * 2 {
                let mut sticky = Sticky::new(10);
                let partition = sticky.choose(100, &queues, || random).unwrap();
                *drawn.entry(partition).or_insert(0) += 1;
            }
            let weights = queues.iter().map(|q| (q.partition, (longest + 1 - q.waiting) * 2));
            prop_assert_eq!(drawn, weights.collect());
        }

        /// A partition gets a batch at least and two at most, and the last record.
        #[test]
        fn a_partition_gets_between_one_batch_and_two(
            batch in 1u64..500,
            records in prop::collection::vec((0u64..200, any::<bool>()), 1..200),
        ) {
            let mut sticky = Sticky::new(batch);
            let (mut draws, mut got) = (0, 0);
            for (bytes, complete) in records {
                let before = draws;
                sticky.choose(5, &[], || { draws += 1; draws }).unwrap();
                if draws > before {
                    prop_assert!(draws == 1 || got >= batch);
                    got = 0;
                }
                prop_assert!(got < batch * 2);
                got += bytes;
                sticky.note(bytes, complete);
            }
        }
    }
}
