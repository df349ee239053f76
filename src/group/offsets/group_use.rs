//! How a group is used, which decides when its offsets expire.

use super::offset_map::StoredOffset;
use super::{CommittedOffset, GroupMetadata};
use crate::types::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The use of a group, as far as it matters for the expiry of its offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupUse<'a> {
    /// It never had members: consumers choose their partitions by themselves, and only commit.
    Simple,
    /// Its members have gone, at a time that may not be known.
    Empty { since: Option<Timestamp> },
    /// It is stable, and its members read these topics.
    Stable { subscribed: &'a BTreeSet<String> },
    /// It is between two generations, or what its members read is not known.
    Busy,
}

impl GroupUse<'_> {
    /// That of a group of which nothing is known but what is stored.
    pub(crate) fn from_metadata(metadata: Option<&GroupMetadata>) -> GroupUse<'static> {
        match metadata {
            None => GroupUse::Simple,
            Some(group) if !group.members.is_empty() => GroupUse::Busy,
            Some(group) if group.protocol_type.is_empty() => GroupUse::Simple,
            Some(group) => GroupUse::Empty { since: group.state_since },
        }
    }

    pub(super) fn expires(
        self,
        topic: &str,
        stored: &StoredOffset,
        now: Timestamp,
        retention: Duration,
    ) -> bool {
        let Some(since) = self.counted_from(topic, &stored.offset) else { return false };
        match stored.offset.expire_timestamp {
            Some(end) => now >= end,
            None => has_passed(retention, stored.used.map_or(since, |used| used.max(since)), now),
        }
    }

    /// What is to be stored of an offset that is in use, if it was not for half of the retention.
    pub(super) fn renewed(
        self,
        topic: &str,
        stored: &StoredOffset,
        now: Timestamp,
        retention: Duration,
    ) -> Option<CommittedOffset> {
        let since = self.counted_from(topic, &stored.offset)?;
        let used = stored.used.filter(|used| *used > since)?;
        let half = retention.checked_div(2).unwrap_or_default();
        let renews = stored.offset.expire_timestamp.is_none() && has_passed(half, since, now);
        renews.then(|| CommittedOffset { commit_timestamp: used, ..stored.offset.clone() })
    }

    /// From when on an offset counts as unused, as far as that is stored; `None` if it is in use.
    fn counted_from(self, topic: &str, offset: &CommittedOffset) -> Option<Timestamp> {
        let committed = offset.commit_timestamp;
        match self {
            GroupUse::Empty { since } => {
                Some(since.map_or(committed, |since| since.max(committed)))
            }
            GroupUse::Simple => Some(committed),
            GroupUse::Stable { subscribed } => (!subscribed.contains(topic)).then_some(committed),
            GroupUse::Busy => None,
        }
    }
}

fn has_passed(span: Duration, since: Timestamp, now: Timestamp) -> bool {
    let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    now.as_millis().saturating_sub(since.as_millis()) >= span
}
