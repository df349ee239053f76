//! Kafka's record batches: format v2, byte for byte.
//!
//! A log is a sequence of batches. A *batch* is a header of 61 bytes with a CRC-32C, and a section
//! of records that can be compressed as a whole. A *record* is a key, a value, headers and a
//! timestamp. Its offset and timestamp are stored as differences to those of the batch, so small
//! records need few bytes beyond their content.
//!
//! The types and functions:
//!
//! - [`BatchHeader`] decodes the header alone: offsets, times, producer.
//! - [`BatchRef`] borrows a batch from any bytes. [`Records`] iterates over its records without
//!   copying them, and needs a [`DecodeBuffer`] to decompress them.
//! - [`RecordBatch`] owns a batch. [`DecodedBatch`] owns its decompressed records, and returns
//!   [`StoredRecord`]s that share them.
//! - [`BatchBuilder`] encodes batches. [`Record`] is a record to append.
//! - [`stamp_base_offset`], [`stamp_leader_epoch`], [`stamp_max_timestamp`] and
//!   [`stamp_append_time`] finish a batch in place.
//! - [`validate_for_append`] validates a batch of a producer, as an append does.
//! - [`ControlRecord`] decodes the markers of transactions.
//!
//! No function trusts its input. Bytes that are not a batch result in an
//! [`InvalidBatch`](crate::InvalidBatch) error that names the problem. No input causes a panic, or
//! an allocation larger than the real decompressed size.
//!
//! ```
//! use annals::Timestamp;
//! use annals::record::{BatchBuilder, BatchRef, Compression, DecodeBuffer};
//!
//! let mut builder = BatchBuilder::new();
//! builder.compression(Compression::None).base_offset(1000);
//! builder.push(Timestamp::from_millis(1), Some(b"k"), Some(b"v"))?;
//! builder.push(Timestamp::from_millis(2), Some(b"gone"), None)?;
//! let bytes = builder.finish()?;
//!
//! let batch = BatchRef::parse(bytes)?;
//! batch.verify_checksum()?;
//! let mut scratch = DecodeBuffer::default();
//! let mut records = batch.records(&mut scratch)?;
//! let first = records.next().unwrap()?;
//! assert_eq!((first.offset, first.key, first.value), (1000, Some(&b"k"[..]), Some(&b"v"[..])));
//! assert_eq!(records.next().unwrap()?.value, None);
//! assert!(records.next().is_none());
//! # Ok::<(), annals::Error>(())
//! ```
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(not(test), deny(clippy::panic, clippy::unreachable))]

mod batch;
mod builder;
mod checksum;
mod compress;
mod control;
mod decode;
mod header;
mod input;
pub(crate) mod layout;
mod name;
#[allow(clippy::module_inception, reason = "it holds the type Record")]
mod record;
mod record_ref;
mod records;
mod stamp;
mod stored;
mod validate;
pub(crate) mod varint;

pub use batch::{BatchRef, RecordBatch};
pub use builder::BatchBuilder;
pub(crate) use checksum::Checksum;
pub use checksum::crc32c;
pub use compress::Compression;
pub(crate) use control::marker_of;
pub use control::{ControlRecord, ControlType, EndTxnMarker};
pub use decode::{DEFAULT_MAX_EXPANDED_BYTES, DecodeBuffer, DecodedBatch, StoredRecords};
pub use header::BatchHeader;
pub use name::{HeaderName, HeaderNameRef};
pub use record::{Header, Record};
pub use record_ref::{HeaderRef, Headers, HeadersIter, RecordRef};
pub use records::Records;
pub use stamp::{stamp_append_time, stamp_base_offset, stamp_leader_epoch, stamp_max_timestamp};
pub(crate) use stamp::{stamp_create_time, stamp_length};
pub use stored::StoredRecord;
pub(crate) use validate::check_header;
pub use validate::{AppendRules, BatchSummary, validate_for_append};
