use super::*;
use crate::clock::{Clock, ManualClock};
use crate::error::{ErrorKind, ProducerStateError};
use crate::fs::MemFs;
use crate::group::config::GroupCoordinatorConfig;
use crate::group::state_partitions::{CoordinatorContext, StateLogs};
use crate::log::{CleanupPolicy, Log, LogConfig};
use crate::record::Record;
use crate::sync::Mutex;
use crate::types::{Offset, Timestamp, TransactionVersion::V2};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

mod model;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST: ProducerIdentity = ProducerIdentity { id: 4000, epoch: 0 };
const NEXT: ProducerIdentity = ProducerIdentity { id: 4000, epoch: 1 };

/// The logs of `__consumer_offsets`; new ones can be put in their place.
#[derive(Debug)]
struct Logs(Mutex<Vec<Log>>);

impl StateLogs for Arc<Logs> {
    fn log(&self, partition: u32) -> Result<Log> {
        Ok(self.0.lock()[partition as usize].clone())
    }
}

/// The groups of a directory, and everything around them.
struct Setup {
    fs: MemFs,
    clock: Arc<ManualClock>,
    logs: Arc<Logs>,
    groups: Coordinator,
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn marker(committed: bool) -> EndTxnMarker {
    EndTxnMarker { committed, coordinator_epoch: 0 }
}

fn simple(group: &str) -> ConsumerGroupMetadata {
    let (group_id, member_id) = (group.to_owned(), String::new());
    ConsumerGroupMetadata { group_id, generation: -1, member_id, instance_id: None }
}

fn open_logs(fs: &MemFs, clock: &Arc<ManualClock>, partitions: u32) -> Vec<Log> {
    let open = |partition| {
        let config = LogConfig::default()
            .fs(fs.clone())
            .clock(Arc::clone(clock) as Arc<dyn Clock>)
            .cleanup_policy(CleanupPolicy::Compact)
            .verify_transactions(true);
        Log::open(format!("data/__consumer_offsets-{partition}"), config).unwrap()
    };
    (0..partitions).map(open).collect()
}

impl Setup {
    fn new(partitions: u32) -> Setup {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
        Setup::over(MemFs::new(), clock, partitions)
    }

    fn over(fs: MemFs, clock: Arc<ManualClock>, partitions: u32) -> Setup {
        let logs = Arc::new(Logs(Mutex::new(open_logs(&fs, &clock, partitions))));
        let context =
            CoordinatorContext { clock: Arc::clone(&clock) as Arc<dyn Clock>, maintainer: None };
        let config = GroupCoordinatorConfig::default().offsets_retention(DAY);
        let groups = Coordinator::new(Box::new(Arc::clone(&logs)), partitions, config, context);
        Setup { fs, clock, logs, groups }
    }

    /// What the next process finds if this one ends now.
    fn restarted(&self) -> Setup {
        let partitions = self.logs.0.lock().len() as u32;
        Setup::over(self.fs.kill(), Arc::clone(&self.clock), partitions)
    }

    /// Closes the logs, and puts new ones in their place.
    fn reopen(&self) {
        let mut logs = self.logs.0.lock();
        logs.iter().for_each(|log| log.clone().close().unwrap());
        *logs = open_logs(&self.fs, &self.clock, logs.len() as u32);
    }

    fn log(&self) -> Log {
        self.logs.0.lock()[0].clone()
    }

    fn send(&self, who: ProducerIdentity, group: &str, offset: Offset) -> Result<()> {
        self.send_all(who, group, &[at(0)], offset)
    }

    fn send_all(
        &self,
        who: ProducerIdentity,
        group: &str,
        partitions: &[TopicPartition],
        offset: Offset,
    ) -> Result<()> {
        let offsets = partitions.iter().map(|at| (at.clone(), offset.into())).collect();
        let (check, enlist) = (&|_: &TopicPartition| None, &|_| Ok(()));
        self.groups.commit_in_transaction((who, V2), &simple(group), &offsets, check, enlist)
    }

    fn commit(&self, group: &str, offset: Offset) {
        let offsets = BTreeMap::from([(at(0), offset.into())]);
        self.groups.commit(group, Committer::Simple, &offsets, &|_| None, false).unwrap();
    }

    fn end(&self, who: ProducerIdentity, committed: bool) -> Result<()> {
        self.groups.end_transaction(0, who, marker(committed), V2)
    }

    /// The committed offset of a group.
    fn committed(&self, group: &str) -> Option<Offset> {
        let found = self.groups.committed(group, &mut [at(0)].iter()).unwrap();
        found.get(&at(0)).map(|found| found.offset)
    }

    fn is_pending(&self, group: &str, partition: u32) -> bool {
        let shard = self.groups.partition(group).unwrap();
        let pending =
            |shard: &mut Shard, _| Ok(shard.table.is_pending(group, "orders", partition as i32));
        self.groups.with_shard(shard, pending).unwrap()
    }
}

fn kind(result: Result<()>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Offsets that count from the moment of the append would make a consumer skip records whose
/// results are aborted.
#[test]
fn offsets_in_transaction_wait() {
    for committed in [true, false] {
        let setup = Setup::new(1);
        setup.commit("g", 10);
        setup.send(FIRST, "g", 20).unwrap();
        for setup in [&setup, &setup.restarted()] {
            assert_eq!((setup.committed("g"), setup.is_pending("g", 0)), (Some(10), true));
        }
        setup.end(NEXT, committed).unwrap();
        let now = if committed { 20 } else { 10 };
        for setup in [&setup, &setup.restarted()] {
            assert_eq!((setup.committed("g"), setup.is_pending("g", 0)), (Some(now), false));
        }
    }
}

/// All batches begin at sequence number 0. By the rules for clients, the second is out of order,
/// and the third is a duplicate of the first.
#[test]
fn two_commits_in_one_transaction_both_count() {
    let setup = Setup::new(1);
    setup.send(FIRST, "g", 20).unwrap();
    setup.send_all(FIRST, "h", &[at(0), at(1)], 5).unwrap();
    setup.send(FIRST, "g", 30).unwrap();
    assert_eq!(setup.log().offsets().end, 4);
    setup.end(NEXT, true).unwrap();
    for setup in [&setup, &setup.restarted()] {
        assert_eq!((setup.committed("g"), setup.committed("h")), (Some(30), Some(5)));
    }
}

/// A plain commit that comes later counts, whenever the transaction ends.
#[test]
fn later_commit_outlives_transaction() {
    let setup = Setup::new(1);
    setup.send(FIRST, "g", 20).unwrap();
    setup.commit("g", 15);
    setup.end(NEXT, true).unwrap();
    for setup in [&setup, &setup.restarted()] {
        assert_eq!(setup.committed("g"), Some(15));
    }
}

/// The producer of the previous transaction, or one that was taken over, comes too late.
#[test]
fn outdated_producer_commits_nothing() {
    let setup = Setup::new(1);
    setup.send(FIRST, "g", 20).unwrap();
    setup.end(NEXT, true).unwrap();
    assert_eq!(kind(setup.send(FIRST, "g", 30)), ErrorKind::Fenced);
    setup.send(NEXT, "g", 40).unwrap();
    assert_eq!(kind(setup.end(FIRST, true)), ErrorKind::Fenced);
    assert_eq!((setup.committed("g"), setup.is_pending("g", 0)), (Some(20), true));
}

/// The transaction ends while the commit is under way. Its offsets would be pending for ever, and
/// hold back every consumer of the group.
#[test]
fn commit_after_end_is_refused() {
    let version = TransactionVersion::V0;
    let setup = Setup::new(1);
    let offsets = BTreeMap::from([(at(0), 20.into())]);
    let end = |_| setup.groups.end_transaction(0, FIRST, marker(false), version);
    let sent = setup.groups.commit_in_transaction(
        (FIRST, version),
        &simple("g"),
        &offsets,
        &|_| None,
        &end,
    );
    let late = ProducerStateError::NotInTransaction { producer_id: FIRST.id };
    assert!(matches!(sent, Err(Error::Producer(error)) if error == late));
    assert!(!setup.is_pending("g", 0));
}

/// A transaction that does not take the partition appends nothing.
#[test]
fn refused_commit_leaves_log_empty() {
    let setup = Setup::new(1);
    let offsets = BTreeMap::from([(at(0), 20.into())]);
    let refuse = |_| Err(Error::StoreClosed);
    let (group, free) = (simple("g"), &|_: &TopicPartition| None);
    let sent = setup.groups.commit_in_transaction((FIRST, V2), &group, &offsets, free, &refuse);
    assert!(matches!(sent, Err(Error::StoreClosed)));

    let gone = |at: &TopicPartition| {
        let (topic, partition) = ((*at.topic).to_owned(), at.partition);
        Some(CommitError::UnknownTopicOrPartition { topic, partition })
    };
    let enlist = &|_| Ok(());
    let sent = setup.groups.commit_in_transaction((FIRST, V2), &group, &offsets, &gone, enlist);
    assert_eq!(kind(sent), ErrorKind::NotFound);

    let member = ConsumerGroupMetadata { member_id: "m-1".to_owned(), generation: 3, ..group };
    let sent = setup.groups.commit_in_transaction((FIRST, V2), &member, &offsets, free, enlist);
    assert_eq!(kind(sent), ErrorKind::Rebalancing);
    let nameless = ConsumerGroupMetadata { member_id: String::new(), ..member };
    let sent = setup.groups.commit_in_transaction((FIRST, V2), &nameless, &offsets, free, enlist);
    assert_eq!(kind(sent), ErrorKind::Rebalancing);

    let nobody = ProducerIdentity { id: -1, epoch: -1 };
    assert_eq!(kind(setup.send(nobody, "g", 1)), ErrorKind::InvalidInput);
    assert_eq!(setup.log().offsets().end, 0);
}

/// The transaction commits after the group was deleted. Its offsets belonged to the deleted group.
#[test]
fn deleted_group_stays_deleted() {
    let setup = Setup::new(1);
    setup.commit("g", 10);
    setup.send_all(FIRST, "g", &[at(0), at(1)], 20).unwrap();
    setup.send(FIRST, "h", 20).unwrap();
    setup.groups.delete("g").unwrap();
    setup.groups.delete_offsets("h", &[at(0)].into()).unwrap();
    setup.end(NEXT, true).unwrap();
    for setup in [&setup, &setup.restarted()] {
        assert_eq!(setup.groups.committed_by("g"), BTreeMap::new());
        assert_eq!(setup.committed("h"), None);
        assert_eq!(kind(setup.groups.delete("g")), ErrorKind::NotFound);
    }
}

#[test]
fn deleted_topic_has_no_pending_offsets() {
    let setup = Setup::new(1);
    setup.send(FIRST, "g", 20).unwrap();
    setup.groups.forget_topic("orders").unwrap();
    assert!(!setup.is_pending("g", 0));
    setup.end(NEXT, true).unwrap();
    assert_eq!(setup.committed("g"), None);
}

/// An offset that a transaction is about to replace stays, or an abort would leave the group
/// without any.
#[test]
fn expiry_waits_for_transaction() {
    let setup = Setup::new(1);
    setup.commit("g", 10);
    setup.send(FIRST, "g", 20).unwrap();
    setup.clock.advance(DAY * 2);
    assert_eq!(setup.groups.expire_offsets().unwrap(), 0);
    setup.end(NEXT, false).unwrap();
    let found = setup.groups.committed_by("g");
    assert_eq!(found, BTreeMap::from([(0, 10)]));
    assert_eq!(setup.groups.expire_offsets().unwrap(), 1);
    assert_eq!(setup.groups.committed_by("g"), BTreeMap::new());
}

/// The groups of the partition cannot be used any more. The other partitions of the transaction
/// must not wait for that.
#[test]
fn transaction_ends_in_damaged_partition() {
    let setup = Setup::new(1);
    setup.send(FIRST, "g", 20).unwrap();
    setup.log().append(Record::new("value").key("not a key")).unwrap();
    let setup = setup.restarted();
    setup.end(NEXT, true).unwrap();
    assert_eq!(setup.log().offsets().last_stable, 3);
}

impl Coordinator {
    /// The committed offsets of a group, by partition. Looking counts as no use.
    fn committed_by(&self, group: &str) -> BTreeMap<u32, Offset> {
        let shard = self.partition(group).unwrap();
        let all = |shard: &mut Shard, _| {
            let all = shard.table.committed_by(group);
            Ok(all.map(|(_, at, found)| (at as u32, found.next().unwrap())).collect())
        };
        self.with_shard(shard, all).unwrap()
    }
}
