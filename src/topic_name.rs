//! The names of topics: which are valid, and which a store or a broker keeps for itself.

/// The topic of committed offsets and groups.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic of the states of transactions.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic in which Kafka 4 stores the progress of share groups.
const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The topic that lists the segments in remote storage.
const REMOTE_LOG_METADATA: &str = "__remote_log_metadata";
/// The log of a cluster's metadata. It is not a topic, but its directories look like those of one.
pub(crate) const CLUSTER_METADATA: &str = "__cluster_metadata";

/// The maximum length of a name. With `-` and five digits, it is as long as a file name can be.
const MAX_CHARS: usize = 249;

/// Returns why no topic may have this name; `None` if the name is valid.
pub(crate) fn invalid_reason(name: &str) -> Option<&'static str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match name {
        "" => Some("it is empty"),
        "." | ".." => {
            Some("`.` and `..` are directories to an operating system; choose another name")
        }
        CLUSTER_METADATA => {
            Some("brokers use it for the log of their cluster; choose another name")
        }
        _ if !name.bytes().all(is_plain) => {
            Some("it may only contain ASCII letters and digits, `.`, `_` and `-`")
        }
        _ if name.len() > MAX_CHARS => Some("it is longer than 249 characters"),
        _ => None,
    }
}

/// Returns whether two topics cannot be in one store: their names differ only in `.` and `_`,
/// which are the same in the names of Kafka's metrics. A name collides with itself.
pub(crate) fn collides(one: &str, other: &str) -> bool {
    let unified = |b: u8| if b == b'.' { b'_' } else { b };
    one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Returns whether a store or a broker keeps a topic of this name for itself. Kafka:
/// `Topic.isInternal`, and the topics of its own plugins.
pub(crate) fn is_internal(name: &str) -> bool {
    is_compacted(name) || matches!(name, SHARE_GROUP_STATE | REMOTE_LOG_METADATA | CLUSTER_METADATA)
}

/// Returns whether a broker compacts this internal topic. In all other internal topics, records
/// with the same key do not supersede each other.
pub(crate) fn is_compacted(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_names_are_valid(name in "\\PC{0,5}|[a-zA-Z0-9._-]{0,260}") {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            let is_valid = (1..=249).contains(&name.len())
                && name.chars().all(plain)
                && name != "."
                && name != "..";
            prop_assert_eq!(invalid_reason(&name).is_none(), is_valid, "{}", name);
        }

        #[test]
        fn names_collide_across_dots_and_underscores(a in "[ab._]{1,4}", b in "[ab._]{1,4}") {
            prop_assert_eq!(collides(&a, &b), a.replace('.', "_") == b.replace('.', "_"));
        }
    }

    #[test]
    fn internal_topics_are_kafkas() {
        assert!(is_internal("__consumer_offsets") && is_internal("__transaction_state"));
        for name in ["__share_group_state", "__remote_log_metadata", "__cluster_metadata"] {
            assert!(is_internal(name) && !is_compacted(name), "{name}");
        }
        assert!(!is_internal("__consumer_offsets2"));
        assert_eq!(invalid_reason("__consumer_offsets"), None);
        assert!(invalid_reason("__cluster_metadata").is_some());
    }
}
