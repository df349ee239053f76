//! What is done to topics and groups rather than with them.

use crate::topic::store::Store;

/// What Kafka's `AdminClient` does, where it has a meaning within one process.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(crate) store: Store,
}

impl Store {
    /// What administers it.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin { store: self.clone() }
    }
}
