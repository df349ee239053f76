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

mod codec;
mod record;
#[cfg(test)]
mod tests;

pub use record::{TransactionMetadata, TransactionRecord, TransactionState};
