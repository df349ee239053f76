//! The partition of a store's topic that a log is.

/// A partition of a topic, as its store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionOf {
    /// The topic's id. A topic that is created again has the same name and another id.
    pub(crate) topic: [u8; 16],
    pub(crate) name: String,
    pub(crate) number: u32,
}
