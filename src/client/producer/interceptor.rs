//! Interceptors of a producer.

use crate::client::producer::record::{ProducerRecord, RecordMetadata};
use crate::error::Error;

/// A user-supplied observer of each record before it is sent, and of its result.
/// Kafka: `ProducerInterceptor`.
///
/// Interceptors are called in the order they were added, with no lock held. If one panics, its
/// result is ignored, and the panic is reported as
/// [`Event::CallbackPanicked`](crate::Event::CallbackPanicked).
///
/// ```
/// use annals::*;
/// use std::sync::Arc;
///
/// struct Stamp;
/// impl ProducerInterceptor for Stamp {
///     fn on_send(&self, mut record: ProducerRecord) -> ProducerRecord {
///         record.record = record.record.header("sent-by", "billing");
///         record
///     }
/// }
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// let topic = store.create_topic("orders", TopicConfig::default())?;
/// let producer = store.producer(ProducerConfig::default().interceptor(Arc::new(Stamp)))?;
/// producer.send(("orders", "paid"))?.wait()?;
/// let stored = topic.partition(0)?.get(0)?.unwrap();
/// assert_eq!(stored.headers[0].name, "sent-by");
/// # Ok::<(), annals::Error>(())
/// ```
pub trait ProducerInterceptor: Send + Sync {
    /// Called by the thread that sends, before the partition is chosen. The producer sends the
    /// record that it returns.
    fn on_send(&self, record: ProducerRecord) -> ProducerRecord {
        record
    }

    /// Called when a record is written, or has failed for good, before its own callback; in the
    /// order of the records of a partition. It is not called for records that `send` rejected.
    fn on_acknowledgement(&self, metadata: &RecordMetadata, error: Option<&Error>) {
        // Most interceptors only see what is sent.
        let _ = (metadata, error);
    }
}
