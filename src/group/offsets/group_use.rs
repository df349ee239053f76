//! The use of a group, which decides when its offsets expire.

use super::offset_map::StoredOffset;
use super::{CommittedOffset, GroupMetadata};
use crate::types::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The use of a group, as far as the expiry of its offsets depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupUse<'a> {
    /// It never had members: consumers assign partitions to themselves, and only commit.
    Simple,
    /// All members have left, at a time that may be unknown.
    Empty { since: Option<Timestamp> },
    /// It is stable, and its members read these topics.
    Stable { subscribed: &'a BTreeSet<String> },
    /// It is between two generations, or the topics of its members are unknown.
    Busy,
}

impl GroupUse<'_> {
    /// Returns the use of a group of which only the stored state is known.
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

    /// Returns an offset to store again, with the time of its last use as the commit time. Returns
    /// `None` if it was not used since it was stored, or was stored less than half of the
    /// retention ago.
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

    /// Returns the stored time from which an offset counts as unused; `None` if it is in use.
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
