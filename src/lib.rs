//! Apache Kafka's storage engine as a library.

mod checkpoint;
mod clock;
mod error;
mod event;
pub mod fs;
pub mod inspect;
mod log;
pub mod record;
mod segment;
mod types;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{
    Corruption, Damage, Error, ErrorKind, InvalidBatch, InvalidRecord, Result, Unsupported,
};
pub use event::{Event, Listener};
#[cfg(feature = "futures")]
pub use log::Durable;
pub use log::{
    Appended, Fetched, Log, LogConfig, LogStats, Offsets, OnCorruption, ReadBatch, ReadLimits,
    Reader, RecordsToEnd, Recovery, SegmentStats, Tail,
};
pub use record::{Header, Record, RecordBatch, StoredRecord};
pub use types::{
    Codec, LeaderEpoch, MAX_OFFSET, NO_PRODUCER_ID, Offset, OffsetSpec, ProducerEpoch, ProducerId,
    Sequence, StartAt, Timestamp, TimestampType,
};
