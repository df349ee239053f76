//! The description of a setting, for administrators.

#[cfg(doc)]
use crate::log::LogConfig;

/// The description of a setting of a topic. Kafka: `ConfigEntry`.
///
/// ```
/// use annals::{ConfigSource, TopicConfig};
///
/// let entries = TopicConfig::default().set("retention.ms", "-1")?.entries();
/// let entry = entries.iter().find(|entry| entry.key == "retention.ms").unwrap();
/// assert_eq!((entry.value.as_str(), entry.default.as_str()), ("-1", "604800000"));
/// assert_eq!((entry.source, entry.option), (ConfigSource::Topic, Some("retention_age")));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Kafka's name of the setting.
    pub key: &'static str,
    /// Its value, in Kafka's format.
    pub value: String,
    /// The default: the value of a topic that does not set it.
    pub default: String,
    /// The source of the value.
    pub source: ConfigSource,
    /// The corresponding option of [`LogConfig`]; `None` for a setting without effect.
    pub option: Option<&'static str>,
}

/// The source of the value of a setting. [`ConfigEntry`] has an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigSource {
    /// The topic does not set it. Kafka: `DEFAULT_CONFIG`, or `STATIC_BROKER_CONFIG`.
    Default,
    /// The topic sets it, possibly to the default. Kafka: `DYNAMIC_TOPIC_CONFIG`.
    Topic,
}
