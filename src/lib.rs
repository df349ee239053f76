//! Apache Kafka's storage engine as a library.

mod clock;
mod error;
pub mod fs;
pub mod record;
mod types;

pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{Corruption, Damage, Error, ErrorKind, InvalidBatch, InvalidRecord, Result, Unsupported};
pub use types::{
    Codec, LeaderEpoch, MAX_OFFSET, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence,
    StartAt, Timestamp, TimestampType,
};
