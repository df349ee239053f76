//! The files in the directory of a log, other than the batches in its segments.

pub(crate) mod checkpoints;
pub(crate) mod data_checkpoints;
pub(crate) mod lock;
pub(crate) mod strays;
