//! Transactions, as Kafka stores them in its topic `__transaction_state`.
//!
//! A producer with a transactional id has a record in this topic, which is compacted. The record
//! is written before each step of a transaction, so it decides what becomes of the transaction
//! after a crash.
//!
//! ```text
//!  offset  key      value
//!     0    txn-1    Empty, producer 4000, epoch 0
//!     1    txn-1    Ongoing: orders-0, orders-3
//!     2    txn-1    PrepareCommit: orders-0, orders-3       decided; each partition gets a marker
//!     3    txn-1    CompleteCommit                          each partition has its marker
//! ```
//!
//! | file | decides, without lock, clock or file |
//! |---|---|
//! | `record`, `codec` | what the records of `__transaction_state` mean, and their bytes |
//! | `producer` | the next state of a transactional id, and its next epoch |
//!
//! | file | does |
//! |---|---|
//! | `coordinator` | runs the calls, without a lock while markers are written |
//! | `round` | ending what is due: all ids of a round together, with one sync of each partition |
//! | `shard` | the ids of one partition, under its lock; storing a change before it takes effect |
//! | `listing` | listing the ids |
//! | `open` | finding out what becomes of a transaction that a partition has open |
//! | `participants` | what the store does for the coordinator: producer ids, markers, syncs |
//!
//! **A commit.** `coordinator` makes the data of all partitions durable, if requested. Under the
//! lock of the id's partition, `producer` checks the call, and `shard` stores `PrepareCommit`: the
//! decision. The lock is released, each partition gets its marker, and `shard` stores
//! `CompleteCommit`. A failure in between is returned as an error that says so; the next call for
//! the id, a tick or the next opening writes the markers again.

mod codec;
pub(crate) mod config;
pub(crate) mod coordinator;
pub(crate) mod listing;
pub(crate) mod open;
pub(crate) mod participants;
mod producer;
mod record;
mod round;
mod shard;
#[cfg(test)]
mod tests;

pub use config::TransactionCoordinatorConfig;
pub use coordinator::Wait;
pub use listing::TransactionListing;
pub use producer::Outcome;
pub use record::{TransactionMetadata, TransactionRecord, TransactionState};
