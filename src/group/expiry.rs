//! Removing committed offsets that have expired.

use crate::error::Result;
use crate::group::config::GroupCoordinatorConfig;
use crate::group::hosted_group::HostedGroup;
use crate::group::membership::GroupState;
use crate::group::offsets::GroupUse;
use crate::group::shard::Shard;
use crate::group::state_partitions::Now;

impl Shard {
    /// Removes expired offsets if a check is due. If that fails, the next check tries again,
    /// because the present caller must not fail.
    pub(super) fn expire_if_due(&mut self, config: &GroupCoordinatorConfig, now: Now) {
        if now.monotonic >= self.next_expiry {
            self.expire(config, now).ok();
        }
    }

    /// Removes expired offsets, and renews offsets in use. Returns how many records were removed.
    pub(super) fn expire(&mut self, config: &GroupCoordinatorConfig, now: Now) -> Result<usize> {
        self.next_expiry = now.monotonic.saturating_add(config.offsets_retention_check_interval);
        let (mut tombstones, mut renewed) = (Vec::new(), Vec::new());
        let mut gone = Vec::new();
        for name in self.table.group_names() {
            let stored = self.table.group(name);
            let since = stored.and_then(|stored| stored.state_since);
            let hosted = self.groups.get(name);
            let subscribed = hosted.and_then(HostedGroup::subscribed_topics);
            let used = match hosted {
                Some(hosted) => hosted.group.offset_use(since, subscribed.as_ref()),
                None => GroupUse::from_metadata(stored),
            };
            let expired = self.table.expired(name, used, now.calendar, config.offsets_retention);
            tombstones.extend(expired.tombstones);
            renewed.extend(expired.renewed);
            if expired.group_gone {
                gone.push(name.to_owned());
            }
        }
        let removed = tombstones.len();
        tombstones.append(&mut renewed);
        self.append(tombstones)?;
        for name in gone {
            let is_empty = |hosted: &HostedGroup| hosted.group.state() == GroupState::Empty;
            if self.groups.get(&name).is_some_and(is_empty) {
                self.groups.remove(&name);
            }
        }
        Ok(removed)
    }
}
