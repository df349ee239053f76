//! Following a log that another process writes.

pub(crate) mod anchor;
pub(crate) mod open_txns;
