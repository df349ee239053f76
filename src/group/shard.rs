//! One partition of the offsets topic, with its groups.

use crate::error::{Error, GroupError, Result};
use crate::group::config::GroupCoordinatorConfig;
use crate::group::hosted_group::HostedGroup;
use crate::group::membership::{Caller, Group, GroupState};
use crate::group::offsets::{GroupMetadata, OffsetTable, OffsetsRecord};
use crate::group::state_log::{KeyAndValue, StateLog};
use crate::group::state_partitions::{Now, PartitionState};
use crate::log::Log;
use crate::record::ControlRecord;
use crate::types::{IsolationLevel, LogicalTime, Offset, ProducerId, StartAt};
use std::collections::BTreeMap;
use std::time::Duration;

/// The state of a partition: its log, its committed offsets and its groups.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(super) log: StateLog,
    pub(super) table: OffsetTable,
    /// The groups that have members, and groups whose last change is not stored yet. The table
    /// describes all others.
    pub(super) groups: BTreeMap<String, HostedGroup>,
    /// The time of the next check for expired offsets.
    pub(super) next_expiry: Duration,
}

impl Shard {
    /// Reads the partition from start to end. Returns the resulting table and the size of the
    /// records in bytes.
    pub(crate) fn read(number: u32, log: &Log) -> Result<(OffsetTable, u64)> {
        let (mut table, mut log_bytes) = (OffsetTable::default(), 0u64);
        // In a replicated log, the high watermark may lag behind what the coordinator has decided.
        let mut reader = log.isolated(IsolationLevel::LogEnd).reader(StartAt::Earliest)?;
        while let Some(mut batch) = reader.next_batch()? {
            let header = *batch.header();
            log_bytes = log_bytes.saturating_add(header.batch_length.unsigned_abs().into());
            let producer = header.is_transactional().then_some(header.producer_id);
            for record in batch.records()? {
                let record = record?;
                if header.is_control() {
                    end_transaction(&mut table, header.producer_id, record.key, record.value)?;
                    continue;
                }
                let decoded = OffsetsRecord::decode(record.key, record.value);
                let decoded = decoded.map_err(|malformed| GroupError::CorruptOffsetsTopic {
                    partition: number,
                    offset: record.offset,
                    reason: malformed.reason,
                })?;
                table.apply(record.offset, producer, decoded);
            }
        }
        Ok((table, log_bytes))
    }

    /// Restores the stored groups. Their dynamic members ended with their process; static members
    /// may come back.
    fn restore_groups(&mut self, config: &GroupCoordinatorConfig, now: Now) -> Result<()> {
        let names = self.table.group_names().into_iter().map(str::to_owned);
        for name in names.collect::<Vec<_>>() {
            let Some(stored) = self.table.group(&name) else { continue };
            let mut group = Group::restore(config.group, stored, now.monotonic);
            let gone = stored.members.iter().filter(|member| member.instance_id.is_none());
            let mut store = false;
            for member in gone.map(|member| member.member_id.clone()).collect::<Vec<_>>() {
                let caller = Caller { member_id: &member, instance_id: None };
                store |= group.leave(caller, now.monotonic).changes.store;
            }
            if store {
                self.append_group(&name, group.metadata(now.calendar))?;
            }
            let mut hosted = HostedGroup::new(group);
            if hosted.group.member_ids().next().is_some() {
                let subscribed = hosted.subscribed_topics().unwrap_or_default();
                let since = subscribed.into_iter().map(|topic| (topic, LogicalTime::default()));
                hosted.record_topics_read(since.collect());
            }
            self.groups.insert(name.clone(), hosted);
            self.drop_if_idle(&name);
        }
        Ok(())
    }

    /// Drops a group that has no members, if that is stored: the table then describes it fully.
    pub(super) fn drop_if_idle(&mut self, name: &str) {
        let Some(hosted) = self.groups.get(name) else { return };
        let (group, stored) = (&hosted.group, self.table.group(name));
        let generation = stored.map_or(0, |stored| stored.generation);
        let protocol_type = stored.map(|stored| stored.protocol_type.as_str()).unwrap_or_default();
        let idle = group.state() == GroupState::Empty
            && hosted.mailboxes.is_empty()
            && stored.is_none_or(|stored| stored.members.is_empty())
            && group.generation() == generation
            && group.protocol_type().unwrap_or_default() == protocol_type;
        if idle {
            self.groups.remove(name);
        }
    }

    pub(super) fn hosted_group(
        &mut self,
        group: &str,
        config: &GroupCoordinatorConfig,
    ) -> &mut HostedGroup {
        let restored = || {
            let stored = self.table.group(group);
            // The time does not matter, because a stored group has no members here.
            let restore =
                |stored| HostedGroup::new(Group::restore(config.group, stored, Duration::ZERO));
            stored.map_or_else(|| HostedGroup::new(Group::new(config.group)), restore)
        };
        self.groups.entry(group.to_owned()).or_insert_with(restored)
    }

    pub(super) fn append_group(&mut self, group: &str, metadata: GroupMetadata) -> Result<()> {
        let group = group.to_owned();
        self.append(vec![OffsetsRecord::Group { group, value: Some(metadata) }]).map(drop)
    }

    /// Appends records as one batch, and applies them to the table. Returns the last offset.
    pub(super) fn append(&mut self, records: Vec<OffsetsRecord>) -> Result<Option<Offset>> {
        let Some(appended) = self.log.append(encoded(&records)?)? else { return Ok(None) };
        for (at, record) in (appended.first..).zip(records) {
            self.table.apply(at, None, record);
        }
        Ok(Some(appended.last))
    }
}

/// Encodes records as keys and values.
pub(super) fn encoded(records: &[OffsetsRecord]) -> Result<Vec<KeyAndValue>> {
    let mut encoded = Vec::with_capacity(records.len());
    for record in records {
        let stored = record.encode().map_err(|too_long| Error::InvalidConfig {
            option: "group",
            reason: format!(
                "or a field stored with it has {} bytes or elements, but must have at most {}",
                too_long.length, too_long.limit
            ),
        })?;
        encoded.extend(stored);
    }
    Ok(encoded)
}

impl PartitionState for Shard {
    type Config = GroupCoordinatorConfig;

    /// Reads the partition, and restores its groups.
    fn load(number: u32, log: &Log, config: &GroupCoordinatorConfig, now: Now) -> Result<Shard> {
        let (table, log_bytes) = Shard::read(number, log)?;
        let next_expiry = now.monotonic.saturating_add(config.offsets_retention_check_interval);
        let log = StateLog::new(log, log_bytes);
        let mut shard = Shard { log, table, groups: BTreeMap::new(), next_expiry };
        shard.restore_groups(config, now)?;
        Ok(shard)
    }

    fn is_closed(&self) -> bool {
        self.log.is_closed()
    }

    /// Continues with the new log of a reopened partition, and reads what is in it now. The
    /// groups keep their members, because no other process could have changed them. Groups that
    /// the log has lost are stored again.
    fn continue_with_log(&mut self, number: u32, log: &Log, now: Now) -> Result<()> {
        let (table, log_bytes) = Shard::read(number, log)?;
        (self.table, self.log) = (table, StateLog::new(log, log_bytes));
        let lost = self.groups.iter().filter(|(name, hosted)| {
            let stored = self.table.group(name).map(|stored| stored.generation);
            // A group whose members are still joining is stored once its partitions are assigned.
            let is_settled = matches!(hosted.group.state(), GroupState::Stable | GroupState::Empty);
            is_settled && hosted.group.generation() != stored.unwrap_or(0)
        });
        let lost: Vec<_> = lost
            .map(|(name, hosted)| (name.clone(), hosted.group.metadata(now.calendar)))
            .collect();
        lost.into_iter().try_for_each(|(name, metadata)| self.append_group(&name, metadata))
    }

    fn run_due(&mut self, config: &GroupCoordinatorConfig, now: Now) {
        self.expire_if_due(config, now);
    }

    fn should_compact(&mut self) -> bool {
        self.log.should_compact(|| self.table.stored_bytes())
    }
}

fn end_transaction(
    table: &mut OffsetTable,
    producer: ProducerId,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<()> {
    if let Some(marker) = ControlRecord::parse(key, value)?.marker {
        table.end_transaction(producer, marker.committed);
    }
    Ok(())
}
