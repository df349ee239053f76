//! Topics in one directory, laid out as the data directory of a Kafka broker.
//!
//! ```text
//!   Admin ──▶ Store ──▶ StoreInner ─┬─▶ TopicInner ──▶ Log, Log, Log     one directory each
//!               ▲         │         ├─▶ Directory                        names, ids, topic.properties
//!     Topic ────┘         │         ├─▶ DataCheckpoints, ProducerIds     small files of the store
//!                         │         ├─▶ group::Coordinator ──▶ the logs of __consumer_offsets
//!                         │         └─▶ transaction::Coordinator ──▶ those of __transaction_state
//!                         └ one act at a time: alteration, creation, deletion, reopening
//!
//!   StoreView ──▶ Directory, read-only logs                              beside the writing process
//! ```
//!
//! Some files *decide*. They open no log and read no clock:
//!
//! | file | decides |
//! |---|---|
//! | `partition_dir`, `java_properties`, `meta_properties`, `partition_metadata`, `topic_properties` | which names and small files are valid, and what they mean |
//! | `settings` | which options of a log correspond to Kafka's settings of a topic |
//! | `creation_order` | which partitions were created after a consumer began to read their topic |
//!
//! The others *do* the work. The acts are methods of [`Store`]:
//!
//! | file | does |
//! |---|---|
//! | `topics`, `topic`, `inner` | the handles, the state they share, and the order of its locks |
//! | `directory`, `survey`, `removal` | the files of a store that belong to no log; finding the topics; removing partitions |
//! | `opening`, `creation`, `alteration`, `deletion`, `reopening` | the acts: each is one write of `topic.properties`, and after a crash the next opening finishes the rest |
//! | `parallel`, `producer_ids`, `watchers` | several logs at once; ids for producers; telling clients that a topic is deleted |
//! | `groups`, `transactions` | the topics of the coordinators; the partitions as participants of transactions |
//! | `admin`, `view` | administration; reading a store that another process writes |
//!
//! **Opening.** `topics` checks that the directory is a store's, locks it, and reads its ids and
//! checkpoints. `survey` lists the directories, removes logs whose removal was interrupted, and
//! compares the partitions with the definitions of their topics. `opening` checks that no topic of
//! the last clean shutdown is missing, and finds the ids. It opens all logs on several threads,
//! leaves damaged ones offline, and publishes the topics. Then it stores what recovery found,
//! settles topics that were being created, finishes interrupted deletions, and ends the
//! transactions of the process before. Finally, it registers the logs with the maintainer.
//!
//! **Creation.** With the lock of changes held, `creation` removes what is left of an earlier
//! topic of that name, and checks that the directories are free. It writes `topic.properties` as
//! *creating*, with the id: from here on, a crash does not undo the topic. It creates the
//! directories, opens the logs, marks the topic as settled, and publishes it. Consumers wake after
//! the lock is released.
//!
//! **Deletion.** With the same lock held, `deletion` writes *deleting* and unpublishes the topic:
//! from here on, a crash does not bring it back. It closes the logs, tells the watchers, removes
//! committed offsets durably, and removes the partitions. Partition 0, which has
//! `topic.properties`, is the last.

pub(crate) mod admin;
mod alteration;
pub(crate) mod config;
pub(crate) mod creation;
pub(crate) mod creation_order;
pub(crate) mod deletion;
pub(crate) mod directory;
pub(crate) mod groups;
pub(crate) mod inner;
pub(crate) mod java_properties;
pub(crate) mod meta_properties;
pub(crate) mod opening;
pub(crate) mod parallel;
pub(crate) mod partition_dir;
mod partition_metadata;
pub(crate) mod producer_ids;
mod removal;
pub(crate) mod reopening;
pub(crate) mod settings;
mod survey;
pub(crate) mod topic;
pub(crate) mod topic_properties;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod view;
pub(crate) mod watchers;

pub use admin::groups::ResetTo;
pub use admin::{Admin, PartitionDescription, TopicDescription};
pub use config::{OfflinePartitions, StoreConfig};
pub use settings::{ConfigEntry, ConfigSource, TopicConfig};
pub use topic::Topic;
pub use topics::Store;
pub use transactions::Transactions;
pub use view::StoreView;
