//! The bodies of the fuzz targets. The tests run them on seeds, on inputs that were found and on
//! mutations of both, so that a target keeps working even if it is never fuzzed.

pub mod agree;
pub mod batches;
pub mod compaction;
pub mod directories;
pub mod files;
pub mod operations;
pub mod replicas;
pub mod seeds;
pub mod transactions;
pub mod txn_index;

pub type Target = fn(&[u8]);

/// All targets by name.
pub const ALL: [(&str, Target); 14] = [
    ("batch", batches::batch),
    ("codec", batches::codec),
    ("records", batches::records),
    ("roundtrip", batches::roundtrip),
    ("segment", directories::segment),
    ("directory", directories::directory),
    ("compaction", compaction::compaction),
    ("offset_index", files::offset_index),
    ("time_index", files::time_index),
    ("checkpoints", files::checkpoints),
    ("operations", operations::operations),
    ("replicate", replicas::replicate),
    ("transaction_state", transactions::transaction_state),
    ("txn_index", txn_index::txn_index),
];

/// Decisions taken from the front of an input; zeros once it is used up.
#[derive(Debug, Clone)]
pub struct Choices<'a>(pub &'a [u8]);

impl<'a> Choices<'a> {
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        (u64::from(self.byte()) | u64::from(self.byte()) << 8) % n.max(1)
    }

    pub fn i64(&mut self) -> i64 {
        let mut number = [0; 8];
        let taken = self.bytes(8);
        number[..taken.len()].copy_from_slice(taken);
        i64::from_be_bytes(number)
    }

    pub fn i32(&mut self) -> i32 {
        self.i64_of(4) as i32
    }

    fn i64_of(&mut self, size: usize) -> i64 {
        self.bytes(size).iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
    }

    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        front
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a valid checksum into each batch of a file, as far as the lengths lead. Otherwise,
/// random mutations would never get past the first checksum.
pub fn repair(mut file: &mut [u8]) {
    while file.len() >= 61 {
        let length = i32::from_be_bytes(file[8..12].try_into().unwrap());
        let Ok(size) = usize::try_from(i64::from(length) + 12) else { return };
        let size = size.clamp(61, file.len());
        crate::mend_checksum(&mut file[..size]);
        file = &mut file[size..];
    }
}

/// Returns a batch of these records, with the right length and checksum.
pub fn batch_of(codec: u8, count: i32, last_delta: i32, section: &[u8]) -> Vec<u8> {
    let mut builder = annals::record::BatchBuilder::new();
    builder.push(annals::Timestamp::NONE, None, None).unwrap();
    let mut bytes = builder.build_bytes().unwrap();
    bytes.truncate(61);
    bytes[22] = codec & 7;
    bytes[23..27].copy_from_slice(&last_delta.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(section);
    let length = i32::try_from(bytes.len()).unwrap() - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    repair(&mut bytes);
    bytes
}
