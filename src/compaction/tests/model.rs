//! A model of compaction on vectors: the rules of Kafka, in their simplest form.

use crate::random::SplitMix64;
use crate::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer, Records};
use crate::types::{Codec, Offset, Timestamp, TimestampType};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rec {
    pub(super) offset: Offset,
    pub(super) time: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bat {
    pub(super) base: Offset,
    pub(super) last: Offset,
    pub(super) epoch: i32,
    pub(super) producer: (i64, i16, i32),
    pub(super) transactional: bool,
    pub(super) control: bool,
    pub(super) append_time: bool,
    pub(super) codec: Codec,
    pub(super) horizon: Option<i64>,
    pub(super) max: i64,
    pub(super) records: Vec<Rec>,
}

#[derive(Debug, Clone)]
pub(super) struct Seg {
    pub(super) base: Offset,
    pub(super) next: Offset,
    pub(super) batches: Vec<Bat>,
}

/// The answers of a fake coordinator, by base offset.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) aborted: BTreeSet<Offset>,
    pub(super) discardable: BTreeSet<Offset>,
    pub(super) last_of_producer: BTreeSet<Offset>,
}

/// The options of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) from: Offset,
    pub(super) upto: Offset,
    pub(super) now: i64,
    pub(super) retention: i64,
    pub(super) compression: Option<Codec>,
}

impl Bat {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        let (id, epoch, sequence) = self.producer;
        builder
            .base_offset(self.base)
            .leader_epoch(self.epoch)
            .producer(id, epoch, sequence)
            .transactional(self.transactional)
            .control(self.control)
            .compression(Compression::of(self.codec))
            .delete_horizon(self.horizon.map(Timestamp::from_millis))
            .set_max_timestamp(Timestamp::from_millis(self.max))
            .set_last_offset_delta((self.last - self.base) as i32);
        if self.append_time {
            builder.timestamp_type(TimestampType::LogAppendTime);
        }
        for r in &self.records {
            let headers = r.headers.iter().map(|(name, value)| (&**name, value.as_deref()));
            let time = Timestamp::from_millis(r.time);
            let delta = (r.offset - self.base) as i32;
            builder
                .push_at_delta(delta, time, r.key.as_deref(), r.value.as_deref(), headers)
                .unwrap();
        }
        builder.build_bytes().unwrap()
    }

    pub(super) fn decode_all(mut bytes: &[u8]) -> Vec<Bat> {
        let mut batches = Vec::new();
        while !bytes.is_empty() {
            let batch = BatchRef::parse(bytes).unwrap();
            batch.verify_checksum().unwrap();
            let h = *batch.header();
            let mut scratch = DecodeBuffer::default();
            let records: Records<'_> = batch.records(&mut scratch).unwrap();
            let records = records.map(|record| {
                let r = record.unwrap();
                let header = |h: crate::record::HeaderRef<'_>| {
                    (h.name.as_bytes().to_vec(), h.value.map(<[u8]>::to_vec))
                };
                Rec {
                    offset: r.offset,
                    time: r.timestamp.as_millis(),
                    key: r.key.map(<[u8]>::to_vec),
                    value: r.value.map(<[u8]>::to_vec),
                    headers: r.headers.iter().map(header).collect(),
                }
            });
            batches.push(Bat {
                records: records.collect(),
                base: h.base_offset,
                last: h.last_offset(),
                epoch: h.leader_epoch,
                producer: (h.producer_id, h.producer_epoch, h.base_sequence),
                transactional: h.is_transactional(),
                control: h.is_control(),
                append_time: h.timestamp_type() == TimestampType::LogAppendTime,
                codec: h.codec(),
                horizon: h.delete_horizon().map(Timestamp::as_millis),
                max: h.max_timestamp.as_millis(),
            });
            bytes = &bytes[h.size_bytes()..];
        }
        batches
    }
}

impl Bat {
    /// Returns the batch that covers the offsets that no batch of a group covers.
    pub(super) fn empty(base: Offset, next: Offset, epoch: i32) -> Bat {
        Bat {
            base,
            last: next - 1,
            epoch,
            producer: (-1, -1, -1),
            transactional: false,
            control: false,
            append_time: false,
            codec: Codec::None,
            horizon: None,
            max: -1,
            records: Vec::new(),
        }
    }
}

/// Returns the last offset of each key in the dirty part, and the end of the pass.
pub(super) fn map(
    segments: &[Seg],
    pass: &Pass,
    capacity: usize,
    facts: &Facts,
) -> (BTreeMap<Vec<u8>, Offset>, Offset) {
    let mut map = BTreeMap::new();
    let mut end = pass.from;
    for segment in segments.iter().filter(|s| s.next > pass.from && s.base < pass.upto) {
        for batch in segment.batches.iter().filter(|b| b.last >= pass.from) {
            if !batch.control && !facts.aborted.contains(&batch.base) {
                for record in batch.records.iter().filter(|r| r.offset >= pass.from) {
                    let Some(key) = &record.key else { continue };
                    if !map.contains_key(key) && map.len() == capacity {
                        return (map, end);
                    }
                    map.insert(key.clone(), record.offset);
                    end = record.offset + 1;
                }
            }
            end = batch.last + 1;
        }
        end = segment.next;
    }
    (map, end)
}

/// Returns the cleaned batch. The map ends at `end`, and the segment after its group begins at
/// `next`.
pub(super) fn clean(
    batch: &Bat,
    map: &BTreeMap<Vec<u8>, Offset>,
    (end, next): (Offset, Offset),
    pass: &Pass,
    facts: &Facts,
) -> Option<Bat> {
    let discardable = batch.control && facts.discardable.contains(&batch.base);
    let expired = batch.horizon.is_some_and(|horizon| horizon <= pass.now);
    let is_last = batch.producer.0 >= 0 && facts.last_of_producer.contains(&batch.base);
    let discard = facts.aborted.contains(&batch.base) || (discardable && expired && !is_last);
    let keep_empty = batch.last + 1 == next || is_last;
    let stays = |record: &Rec| {
        if discard {
            return false;
        }
        if batch.control || record.offset >= end {
            return true;
        }
        let Some(key) = &record.key else { return false };
        let superseded = map.get(key).is_some_and(|last| *last > record.offset);
        !superseded && (record.value.is_some() || !expired)
    };
    let mut new = batch.clone();
    new.records.retain(stays);
    if new.records.is_empty() {
        new.horizon = None;
        new.codec = Codec::None;
        return keep_empty.then_some(new);
    }
    let tombstone = !batch.control && new.records.iter().any(|record| record.value.is_none());
    if (tombstone || discardable) && batch.horizon.is_none() {
        new.horizon = Some(pass.now + pass.retention);
    }
    if new != *batch {
        new.max = new.records.iter().map(|record| record.time).max().unwrap();
        new.codec = pass.compression.unwrap_or(batch.codec);
        if batch.control {
            new.codec = Codec::None;
        } else if new.encode().len() > batch.encode().len() {
            new.codec = batch.codec;
        }
    }
    Some(new)
}

fn codec(random: &mut SplitMix64) -> Codec {
    let codecs = [Codec::None, Codec::None, Codec::Zstd, Codec::Lz4];
    let chosen = codecs[random.below(4) as usize];
    if chosen.is_available() { chosen } else { Codec::None }
}

fn record(random: &mut SplitMix64, offset: Offset, keys: u64, time: i64) -> Rec {
    let key = random.below(keys + 1);
    let key = (key < keys).then(|| format!("key-{key}").into_bytes());
    let value = (random.below(4) > 0).then(|| vec![b'v'; random.below(40) as usize]);
    let headers = match random.below(8) {
        0 => vec![(b"h".to_vec(), None), (b"h\xff".to_vec(), Some(b"x".to_vec()))],
        _ => Vec::new(),
    };
    Rec { offset, time, key, value, headers }
}

pub(super) fn batch(random: &mut SplitMix64, base: Offset, keys: u64) -> Bat {
    let append_time = random.below(6) == 0;
    let at = 1_000 + random.below(1_000) as i64;
    let mut offset = base;
    let mut records = Vec::new();
    for _ in 0..=random.below(8) {
        let time = if append_time { at } else { at + random.below(100) as i64 - 50 };
        records.push(record(random, offset, keys, time));
        offset += 1 + u64::from(random.below(10) == 0);
    }
    let last = records.last().unwrap().offset + u64::from(random.below(10) == 0);
    let producer = match random.below(3) {
        0 => (random.below(3) as i64, 1, base as i32),
        _ => (-1, -1, -1),
    };
    Bat {
        base,
        last,
        epoch: random.below(3) as i32,
        producer,
        transactional: false,
        control: false,
        append_time,
        codec: codec(random),
        horizon: None,
        max: records.iter().map(|record| record.time).max().unwrap(),
        records,
    }
}

/// Returns a marker that ends a transaction of this producer.
pub(super) fn marker(base: Offset, producer: i64, committed: bool) -> Bat {
    let record = Rec {
        offset: base,
        time: 1_500,
        key: Some(vec![0, 0, 0, u8::from(committed)]),
        value: Some(vec![0; 6]),
        headers: Vec::new(),
    };
    Bat {
        base,
        last: base,
        epoch: 0,
        producer: (producer, 1, -1),
        transactional: true,
        control: true,
        append_time: false,
        codec: Codec::None,
        horizon: None,
        max: 1_500,
        records: vec![record],
    }
}

/// Returns segments without gaps, with markers between batches and some batches aborted.
pub(super) fn log(random: &mut SplitMix64, transactions: bool) -> (Vec<Seg>, Facts) {
    let keys = 1 + random.below(12);
    let mut facts = Facts::default();
    let mut next = random.below(3) * 100;
    let mut segments = Vec::new();
    for _ in 0..=random.below(6) {
        let base = next;
        let mut batches = Vec::new();
        for _ in 0..random.below(7) {
            next += u64::from(random.below(8) == 0);
            let made = if transactions && random.below(4) == 0 {
                let made = marker(next, random.below(3) as i64, random.below(2) == 0);
                if random.below(2) == 0 {
                    facts.discardable.insert(made.base);
                }
                made
            } else {
                let made = batch(random, next, keys);
                if transactions && random.below(4) == 0 {
                    facts.aborted.insert(made.base);
                }
                made
            };
            if random.below(4) == 0 {
                facts.last_of_producer.insert(made.base);
            }
            next = made.last + 1;
            batches.push(made);
        }
        next += u64::from(random.below(3) == 0 || batches.is_empty());
        segments.push(Seg { base, next, batches });
    }
    (segments, facts)
}
