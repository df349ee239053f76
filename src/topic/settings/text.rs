//! The settings of all topics of a store, in one file.
//!
//! A broker keeps them in the log of its cluster, which a store does not have. They are lines of a Java properties file, with
//! the topic before the key; what is no setting of a topic itself is not in it:
//!
//! ```text
//!  orders/retention.ms=3600000
//!  orders/segment.bytes=1048576
//!  prices/cleanup.policy=compact
//! ```
//!
//! A broker passes over plain files in its data directory, so it does not mind this one.

use crate::error::{Corruption, Damage, Error, Result, TopicError};
use crate::topic::name;
use crate::topic::properties;
use crate::topic::settings::TopicConfig;
use std::collections::BTreeMap;
use std::path::Path;

/// The file in the data directory.
pub(crate) const FILE: &str = "topic-settings.properties";

const HEAD: &str =
    "# What topics set themselves, by Kafka's keys. Written by the store while it is open.\n";

/// The content of the file: what these topics set themselves.
pub(crate) fn encode<'a>(topics: impl IntoIterator<Item = (&'a str, &'a TopicConfig)>) -> String {
    let lines: Vec<(String, &str)> = topics
        .into_iter()
        .flat_map(|(topic, config)| {
            config.overrides().map(move |(key, value)| (format!("{topic}/{key}"), value))
        })
        .collect();
    let lines = lines.iter().map(|(key, value)| (key.as_str(), *value));
    format!("{HEAD}{}", properties::format(lines))
}

/// What the file says: for each topic that sets something itself what that is, with one partition.
///
/// # Errors
///
/// - [`Error::Corrupt`] names the path if the content is not in the format.
/// - [`TopicError::InvalidSetting`] names topic and key of a setting that topics do not have or that cannot have its value.
pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, TopicConfig>> {
    let malformed = |reason| {
        let reason = Damage::Malformed(reason);
        let path = path.to_owned();
        Error::Corrupt(Box::new(Corruption { path, position: 0, offset: None, reason }))
    };
    let mut topics: BTreeMap<String, TopicConfig> = BTreeMap::new();
    for (line, value) in properties::parse(&properties::text(bytes)).map_err(malformed)? {
        let (topic, key) =
            line.split_once('/').ok_or_else(|| malformed("a line has no topic before its key"))?;
        if name::check(topic).is_err() {
            return Err(malformed("a line has a topic with a name that no topic can have"));
        }
        let config = topics.remove(topic).unwrap_or_default();
        let config = config.set(key, &value).map_err(|error| {
            let reason = error.to_string();
            Error::from(TopicError::InvalidSetting { key: line.clone(), value, reason })
        })?;
        topics.insert(topic.to_owned(), config);
    }
    Ok(topics)
}
