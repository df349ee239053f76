//! Typed producers and consumers, on top of those of bytes.
//!
//! ```text
//!  K, V ── Serialize ──► Producer ──► topic ──► Consumer ── Deserialize ──► K, V
//!                                                               │ fails
//!                                                               ▼
//!        PoisonRecord: returned, skipped, or sent to a topic of dead letters
//! ```
//!
//! In Kafka's consumer, a record that cannot be deserialized fails the poll, and every later one,
//! until the application seeks past it. Here every record is returned once, whatever its content.

mod consumer;
mod poison;
mod producer;

pub use consumer::{TypedConsumer, TypedRecord, TypedRecords};
pub use poison::{OnPoison, PoisonRecord};
pub use producer::{TypedProducer, TypedProducerRecord};
