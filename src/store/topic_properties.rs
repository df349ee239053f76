//! The definition of a topic, stored beside the segments of its first partition.
//!
//! A broker learns from its controller how many partitions a topic has and which settings. Here,
//! a file in the directory of partition 0 stores both. It is created and deleted with the topic,
//! and brokers ignore it.
//!
//! ```text
//!  partitions=8
//!  retention.ms=3600000
//!  state=creating            while partitions are created; `deleting` while they are removed
//!  topic.id=<22 characters>  while partitions are created: the id that all of them get
//! ```
//!
//! Writing this file creates, extends or deletes a topic. After a crash, the next opening of the
//! store does the rest.

use crate::checkpoint::TOPIC_PROPERTIES;
use crate::error::{Corruption, CorruptionKind, Error, Result};
use crate::fs::Dir;
use crate::store::java_properties;
use crate::store::settings::TopicConfig;
use crate::uuid::TopicId;
use std::path::Path;

/// The largest file that is accepted.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

const PARTITIONS: &str = "partitions";
const STATE: &str = "state";
const ID: &str = "topic.id";

/// The state of a topic: settled, or being created or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum TopicState {
    #[default]
    Settled,
    /// Partitions are being created, with this id. Files of earlier versions have no id.
    Creating(Option<TopicId>),
    /// All partitions are being removed.
    Deleting,
}

impl TopicState {
    const fn name(self) -> Option<&'static str> {
        match self {
            TopicState::Settled => None,
            TopicState::Creating(_) => Some("creating"),
            TopicState::Deleting => Some("deleting"),
        }
    }
}

/// The stored definition of a topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicDefinition {
    pub(crate) config: TopicConfig,
    pub(crate) state: TopicState,
}

impl TopicDefinition {
    /// Reads the definition from the directory of a topic's first partition; `None` if a broker
    /// created the topic.
    pub(crate) fn read(dir: &Dir, first: &Path) -> Result<Option<TopicDefinition>> {
        let path = first.join(TOPIC_PROPERTIES);
        let Some(bytes) = dir.read_small(&path, LARGEST_FILE_BYTES)? else { return Ok(None) };
        TopicDefinition::parse(&bytes).map(Some).map_err(|reason| {
            // The file decides what is deleted, so never guess at its content.
            Error::Corrupt(Box::new(Corruption {
                path,
                position: 0,
                offset: None,
                reason: CorruptionKind::Malformed(reason),
            }))
        })
    }

    fn parse(bytes: &[u8]) -> Result<TopicDefinition, &'static str> {
        let mut entries = java_properties::parse(&java_properties::text(bytes))?;
        let partitions = entries.remove(PARTITIONS).ok_or("it has no number of `partitions`")?;
        let partitions = partitions.parse().map_err(|_| "its `partitions` is not a number")?;
        let id = entries.remove(ID).map(|id| id.parse().map_err(|_| "its `topic.id` is no id"));
        let id = id.transpose()?;
        let state = match entries.remove(STATE).as_deref() {
            None => TopicState::Settled,
            name => [TopicState::Creating(id), TopicState::Deleting]
                .into_iter()
                .find(|state| state.name() == name)
                .ok_or("its `state` is neither `creating` nor `deleting`")?,
        };
        let mut config = TopicConfig::default().partitions(partitions);
        for (key, value) in &entries {
            config = config
                .set(key, value)
                .map_err(|_| "a setting is unknown or has an invalid value")?;
        }
        Ok(TopicDefinition { config, state })
    }

    fn format(&self) -> String {
        let partitions = self.config.partitions.to_string();
        let state = self.state.name().map(|name| (STATE, name));
        let id = match self.state {
            TopicState::Creating(id) => id.map(|id| id.to_string()),
            TopicState::Settled | TopicState::Deleting => None,
        };
        let id = id.as_deref().map(|id| (ID, id));
        let own = [(PARTITIONS, partitions.as_str())].into_iter().chain(state).chain(id);
        let settings = self.config.overrides().map(|(key, value)| -> (&str, &str) { (key, value) });
        java_properties::format(own.chain(settings))
    }

    /// Stores the definition durably. Creating a topic does not use the reserved disk space,
    /// which other topics may need to be deleted.
    pub(crate) fn write(&self, dir: &Dir) -> Result<()> {
        let path = dir.path.join(TOPIC_PROPERTIES);
        match self.state {
            TopicState::Creating(_) => dir.replace_if_room(&path, self.format().as_bytes()),
            TopicState::Settled | TopicState::Deleting => {
                dir.replace(&path, self.format().as_bytes())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_definition_round_trips() {
        let creating = [None, Some(TopicId::random())].map(TopicState::Creating);
        for state in creating.into_iter().chain([TopicState::Settled, TopicState::Deleting]) {
            let config = TopicConfig::default().partitions(8).set("retention.ms", "-1").unwrap();
            let written = TopicDefinition { config, state }.format();
            let read = TopicDefinition::parse(written.as_bytes()).unwrap();
            assert_eq!((read.config.partitions, read.state), (8, state));
            assert_eq!(read.config.overrides().collect::<Vec<_>>(), [("retention.ms", "-1")]);
        }
    }

    #[test]
    fn topic_definition_rejects_malformed_text() {
        for text in [
            "",
            "retention.ms=1",
            "partitions=x",
            "partitions=-1",
            "partitions=1\nstate=gone",
            "partitions=1\nstate=creating\ntopic.id=x",
            "partitions=1\nretention.ms=soon",
            "partitions=1\nretention.millis=1",
        ] {
            assert!(TopicDefinition::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
