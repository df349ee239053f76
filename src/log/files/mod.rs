//! The files in the directory of a log, other than the batches in its segments.
//!
//! An opening, a read-only log and [`verify`](crate::Log::verify) look at the same files, so this
//! module lies below all of them. [`listing`] sorts the names; [`strays`] and [`losses`] say which
//! files do not belong to the log, and which are missing. [`checkpoints`] are what a log stores
//! about itself from one opening to the next, beside its segments or, for the logs of a data
//! directory, in [`data_checkpoints`]; [`high_watermark`] keeps one of them. [`snapshots`] hold
//! its producers, and [`epochs`] the epochs of its leaders. [`lock`] keeps other writers out.

pub(crate) mod checkpoint;
pub(crate) mod checkpoints;
pub(crate) mod data_checkpoints;
pub(crate) mod epochs;
pub(crate) mod high_watermark;
pub(crate) mod listing;
pub(crate) mod lock;
pub(crate) mod losses;
pub(crate) mod snapshots;
pub(crate) mod strays;
