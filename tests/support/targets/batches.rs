//! Fuzz targets that read their input as batches, without files.

use super::{Choices, batch_of, repair};
use crate::memory::{bounded, peak_of};
use annals::record::{
    AppendRules, BatchBuilder, BatchHeader, BatchRef, Compression, ControlRecord, DecodeBuffer,
    RecordRef, Records, crc32c, validate_for_append,
};
use annals::{Codec, InvalidBatch, RecordBatch, StoredRecord, Timestamp, TimestampType};
use bytes::Bytes;

/// The limit of decompressed bytes in a target: enough to find faults, small enough to be fast.
const EXPANDED_BYTES: usize = 1 << 20;

/// Reads any bytes as a batch. The first byte decides whether length and checksum are corrected.
pub fn batch(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 && bytes.len() >= 61 {
        bytes[16] = 2;
        if flags & 2 != 0 {
            let length = i32::try_from(bytes.len()).unwrap() - 12;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
        }
        repair(&mut bytes);
    }
    bounded(bytes.len(), || check(&bytes));
}

/// Decompresses any bytes with one codec, under a limit that must hold.
pub fn codec(data: &[u8]) {
    let mut choices = Choices(data);
    let codec = 1 + choices.byte() % 4;
    let limit = 1usize << (10 + choices.byte() % 11);
    let count = i32::from(choices.byte());
    let bytes = batch_of(codec, count, count.saturating_sub(1).max(0), choices.0);
    let batch = BatchRef::parse(&bytes).unwrap();
    let mut scratch = DecodeBuffer::new(limit);
    let (first, taken) = peak_of(|| expand(&batch, &mut scratch));
    // The tables of the codecs, and an output that grows by doubling.
    assert!(taken <= 4 * limit + (4 << 20), "a limit of {limit} let {taken} bytes be taken");
    if let Ok((_, total)) = first {
        assert!(total <= limit, "a limit of {limit} let {total} bytes out");
    }
    assert_eq!(first, expand(&batch, &mut scratch), "the second time, in the same memory");
    bounded(bytes.len(), || check(&bytes));
}

/// Decompresses a batch, and returns the checksum of all fields and their number of bytes.
fn expand(batch: &BatchRef<'_>, scratch: &mut DecodeBuffer) -> Result<(u32, usize), InvalidBatch> {
    let (mut sum, mut total) = (0u32, 0);
    for record in batch.records(scratch)? {
        let record = record?;
        for field in [record.key, record.value].into_iter().flatten() {
            sum = sum.rotate_left(1) ^ crc32c(field);
            total += field.len();
        }
    }
    Ok((sum, total))
}

/// Reads any bytes as the records of a batch that is otherwise sound.
pub fn records(data: &[u8]) {
    let mut choices = Choices(data);
    let (count, gap) = (choices.i32() >> 20, choices.byte());
    let count = count.max(0);
    let last = count.saturating_sub(1).max(0) + i32::from(gap >> 5);
    let bytes = batch_of(0, count, last, choices.0);
    bounded(bytes.len(), || check(&bytes));
    if let Some(decoded) = decode(&bytes) {
        encode_again(&bytes, &decoded);
    }
}

/// Checks that all ways to read the bytes of a batch agree.
pub fn check(bytes: &[u8]) {
    let header = BatchHeader::parse(bytes);
    let batch = match BatchRef::parse(bytes) {
        Ok(batch) => batch,
        Err(problem) => {
            assert_eq!(RecordBatch::parse(Bytes::copy_from_slice(bytes)), Err(problem));
            return;
        }
    };
    assert_eq!(header, Ok(*batch.header()));
    let header = header.unwrap();
    assert_eq!(header.to_bytes(), bytes[..61]);
    assert_eq!(header.size_bytes(), batch.as_bytes().len());
    let alone = Bytes::copy_from_slice(batch.as_bytes());
    let sound = batch.verify_checksum();
    assert_eq!(RecordBatch::parse(alone.clone()).map(drop), sound);
    let owned = RecordBatch::parse_unverified(alone).unwrap();
    if bytes.len() > batch.as_bytes().len() {
        let over = RecordBatch::parse_unverified(Bytes::copy_from_slice(bytes));
        assert!(matches!(over, Err(InvalidBatch::TrailingBytes { .. })));
    }
    let mut scratch = DecodeBuffer::new(EXPANDED_BYTES);
    let decoded = owned.records_with(&mut DecodeBuffer::new(EXPANDED_BYTES));
    match (batch.records(&mut scratch), decoded) {
        (Ok(borrowed), Ok(decoded)) => {
            assert_eq!(*decoded.header(), header);
            let good = same(&header, borrowed.clone(), decoded.iter(), decoded.stored());
            if good {
                skipping(&header, &borrowed);
            }
            appending(&batch, good && sound.is_ok());
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("borrowed {:?}, owned {:?}", one.err(), other.err()),
    }
}

/// Returns whether all records are valid. Checks that three ways to iterate over them agree.
fn same<'a>(
    header: &BatchHeader,
    mut borrowed: Records<'a>,
    mut again: Records<'a>,
    mut stored: impl Iterator<Item = Result<StoredRecord, InvalidBatch>>,
) -> bool {
    let mut lowest = header.base_offset;
    let mut count = 0;
    loop {
        match (borrowed.next(), again.next(), stored.next()) {
            (Some(Ok(one)), Some(Ok(two)), Some(Ok(three))) => {
                assert_eq!(one, two);
                assert_eq!(StoredRecord::from(one), three);
                assert!((lowest..=header.last_offset()).contains(&one.offset));
                assert_eq!(one.headers.iter().count(), one.headers.len());
                if header.is_control() {
                    ControlRecord::parse(one.key, one.value).ok();
                }
                lowest = one.offset + 1;
                count += 1;
            }
            (Some(Err(one)), Some(Err(two)), Some(Err(three))) => {
                assert!(one == two && one == three);
                assert!(borrowed.next().is_none() && again.next().is_none());
                assert!(stored.next().is_none());
                return false;
            }
            (None, None, None) => {
                assert_eq!(count, header.record_count);
                return true;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Checks that skipping to an offset returns the same record as reading up to it.
fn skipping(header: &BatchHeader, records: &Records<'_>) {
    let offsets: Vec<_> = records.clone().take(1000).map(|record| record.unwrap().offset).collect();
    let next = header.last_offset().saturating_add(1);
    let places = offsets.iter().take(8).chain(offsets.last()).copied();
    for target in places.flat_map(|offset| [offset, offset + 1]).chain([0, next]) {
        let mut skipped = records.clone();
        skipped.skip_to_offset(target).unwrap();
        let want = records.clone().map(Result::unwrap).find(|record| record.offset >= target);
        assert_eq!(skipped.next().transpose().unwrap(), want);
    }
}

fn appending(batch: &BatchRef<'_>, good: bool) {
    let rules = AppendRules {
        timestamp_type: TimestampType::CreateTime,
        now: Timestamp::from_millis(0),
        before_max_millis: u64::MAX,
        after_max_millis: u64::MAX,
        keys_required: false,
    };
    let taken = validate_for_append(*batch, &rules, &mut DecodeBuffer::new(EXPANDED_BYTES));
    if taken.is_ok_and(|summary| summary.records_checked) {
        assert!(good, "a batch that cannot be read may be appended");
        assert_eq!(batch.header().offset_count(), batch.header().record_count as u64);
    }
}

/// Returns the records of a sound batch of moderate size.
pub fn decode(bytes: &[u8]) -> Option<Vec<StoredRecord>> {
    let batch = BatchRef::parse(bytes).ok()?;
    batch.verify_checksum().ok()?;
    let mut scratch = DecodeBuffer::new(64 << 10);
    let records = batch.records(&mut scratch).ok()?;
    records.map(|record| record.map(StoredRecord::from)).collect::<Result<_, _>>().ok()
}

/// Encodes the records of a batch again with each codec, and checks that they decode to the same.
fn encode_again(bytes: &[u8], records: &[StoredRecord]) {
    let header = *BatchRef::parse(bytes).unwrap().header();
    for codec in Codec::ALL.into_iter().filter(|codec| codec.is_available()) {
        let Some(encoded) = encode(&header, records, codec) else { return };
        assert_eq!(decode(&encoded).as_deref(), Some(records), "{codec}");
        let again = BatchHeader::parse(&encoded).unwrap();
        assert_eq!(again.last_offset(), header.last_offset());
        // Batches without records and control batches are not compressed.
        assert!(again.codec() == codec || records.is_empty() || header.is_control());
        assert_eq!(again.timestamp_type(), header.timestamp_type());
        assert_eq!(again.max_timestamp, header.max_timestamp);
        assert_eq!(again.is_control(), header.is_control());
        assert_eq!(encode(&again, records, codec), Some(encoded), "the same bytes again");
    }
}

fn encode(header: &BatchHeader, records: &[StoredRecord], codec: Codec) -> Option<Vec<u8>> {
    let mut builder = BatchBuilder::new();
    builder
        .compression(Compression::of(codec))
        .base_offset(header.base_offset)
        .timestamp_type(header.timestamp_type())
        .leader_epoch(header.leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(header.is_transactional())
        .control(header.is_control())
        .set_last_offset_delta(header.last_offset_delta)
        .set_max_timestamp(header.max_timestamp);
    for record in records {
        let delta = i32::try_from(record.offset - header.base_offset).unwrap();
        let headers = record.headers.iter().map(|h| (&h.name, h.value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push_at_delta(delta, record.timestamp, key, value, headers).ok()?;
    }
    builder.build_bytes().ok()
}

/// Encodes a batch that decodes again. Encodes any records, and checks that they decode to the
/// same.
pub fn roundtrip(data: &[u8]) {
    let Some((flags, bytes)) = data.split_first() else { return };
    if flags & 1 == 0 {
        if let Some(decoded) = decode(bytes) {
            encode_again(bytes, &decoded);
        }
        return;
    }
    let mut choices = Choices(bytes);
    let base = choices.i64().unsigned_abs().min(annals::MAX_OFFSET - 70_000);
    let mut builder = BatchBuilder::new();
    builder.base_offset(base).compression(Compression::of(available(flags >> 1)));
    let (mut records, mut delta) = (Vec::new(), 0);
    while !choices.is_empty() && records.len() < 300 {
        let record = any_record(&mut choices, base + delta as u64);
        let headers = record.headers.iter().map(|h| (&h.name, h.value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push_at_delta(delta, record.timestamp, key, value, headers).unwrap();
        delta += 1 + i32::from(choices.byte() / 64);
        records.push(record);
    }
    let Ok(encoded) = builder.build_bytes() else { return };
    check(&encoded);
    let mut scratch = DecodeBuffer::default();
    let batch = BatchRef::parse(&encoded).unwrap();
    let found: Vec<_> = batch.records(&mut scratch).unwrap().map(Result::unwrap).collect();
    assert_eq!(found.len(), records.len());
    for (found, record) in found.into_iter().zip(&records) {
        assert_eq!(StoredRecord::from(found), *record);
        copied(&found);
    }
    let largest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(batch.header().max_timestamp, largest.unwrap_or(Timestamp::NONE));
}

/// Checks that a record can be copied into a batch without decoding its headers.
fn copied(record: &RecordRef<'_>) {
    let mut builder = BatchBuilder::new();
    builder.base_offset(record.offset);
    builder.push_record_ref(0, record).unwrap();
    let bytes = builder.build_bytes().unwrap();
    let mut scratch = DecodeBuffer::default();
    let batch = BatchRef::parse(&bytes).unwrap();
    let found = batch.records(&mut scratch).unwrap().next().unwrap().unwrap();
    assert_eq!(found, *record);
}

pub fn available(number: u8) -> Codec {
    let codec = Codec::ALL[usize::from(number) % Codec::ALL.len()];
    if codec.is_available() { codec } else { Codec::None }
}

fn any_record(choices: &mut Choices<'_>, offset: u64) -> StoredRecord {
    let shape = choices.byte();
    let field = |choices: &mut Choices<'_>, there: bool| {
        let size = usize::from(choices.byte());
        // Repeated bytes turn short inputs into long fields.
        let size = if size > 200 { (size - 199) * 64 } else { size };
        let taken = choices.bytes(size.min(40));
        let filled = [taken, &vec![b'x'; size - taken.len()]].concat();
        there.then(|| Bytes::from(filled))
    };
    let time = match shape >> 6 {
        0 => -1,
        1 => i64::from(choices.i32()),
        2 => 1_700_000_000_000 + i64::from(choices.byte()),
        // Timestamps must not be so far apart that their difference exceeds 64 bits.
        _ => choices.i64() >> 2,
    };
    StoredRecord {
        offset,
        timestamp: Timestamp::from_millis(time),
        key: field(choices, shape & 1 != 0),
        value: field(choices, shape & 2 != 0),
        headers: (0..(shape >> 2) & 3)
            .map(|_| annals::Header {
                name: choices.bytes(3).into(),
                value: field(choices, shape & 16 != 0),
            })
            .collect(),
    }
}
