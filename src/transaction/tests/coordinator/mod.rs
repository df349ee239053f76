//! The coordinator over partitions that are only recorded.

mod calls;
mod failures;
mod hostile;
mod reloads;
mod rounds;

use crate::clock::{Clock, ManualClock};
use crate::error::{Error, ErrorKind, Result, TopicError, TransactionError};
use crate::event::EventSink;
use crate::fs::{FaultFs, MemFs};
use crate::group::state_partitions::{CoordinatorContext, StateLogs};
use crate::log::{Log, LogConfig};
use crate::record::EndTxnMarker;
use crate::transaction::config::TransactionCoordinatorConfig;
use crate::transaction::coordinator::{Coordinator, Wait};
use crate::transaction::participants::{MarkerOutcome, Participants};
use crate::transaction::producer::Outcome;
use crate::transaction::{TransactionRecord, TransactionState};
use crate::types::{
    ProducerId, ProducerIdentity, StartAt, Timestamp, TopicPartition, TransactionVersion,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const T0: i64 = 1_700_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const V2: TransactionVersion = TransactionVersion::V2;

/// Called with each marker before it is recorded. It may fail, block or panic.
type OnMarker = Box<dyn FnMut(&TopicPartition) -> Result<()> + Send>;

/// What happened to the partitions, in order.
#[derive(Default)]
struct Partitions {
    calls: Mutex<Vec<String>>,
    deleted: Mutex<BTreeSet<TopicPartition>>,
    on_marker: Mutex<BTreeMap<TopicPartition, Arc<Mutex<OnMarker>>>>,
    ids: Mutex<ProducerId>,
}

impl std::fmt::Debug for Partitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Partitions")
    }
}

impl Partitions {
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn on_marker(&self, at: TopicPartition, act: OnMarker) {
        self.on_marker.lock().unwrap().insert(at, Arc::new(Mutex::new(act)));
    }

    /// Fails the markers of a partition from now on.
    fn fail(&self, at: TopicPartition) {
        self.on_marker(at, Box::new(|_| Err(Error::StoreClosed)));
    }

    fn heal(&self) {
        self.on_marker.lock().unwrap().clear();
    }
}

impl Participants for Arc<Partitions> {
    fn new_producer_id(&self) -> Result<ProducerId> {
        let mut ids = self.ids.lock().unwrap();
        *ids += 1;
        Ok(4000 + *ids - 1)
    }

    fn exists(&self, at: &TopicPartition) -> Result<bool> {
        Ok(!self.deleted.lock().unwrap().contains(at))
    }

    fn flush(&self, at: &TopicPartition) -> Result<()> {
        self.calls.lock().unwrap().push(format!("flush {at}"));
        Ok(())
    }

    fn write_marker(
        &self,
        at: &TopicPartition,
        who: ProducerIdentity,
        marker: EndTxnMarker,
        version: TransactionVersion,
    ) -> Result<MarkerOutcome> {
        let act = self.on_marker.lock().unwrap().get(at).cloned();
        if let Some(act) = act {
            let mut act = act.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            act(at)?;
        }
        if !self.exists(at)? {
            return Ok(MarkerOutcome::NoSuchPartition);
        }
        assert_eq!(marker.coordinator_epoch, 7);
        let outcome = if marker.committed { "commit" } else { "abort" };
        let version = if version == V2 { String::new() } else { format!(" {version:?}") };
        let line = format!("{outcome}{version} {at} by {}.{}", who.id, who.epoch);
        self.calls.lock().unwrap().push(line);
        Ok(MarkerOutcome::Written)
    }

    fn due_is_sooner(&self) {}

    fn coordinator_epoch(&self, _partition: u32) -> i32 {
        7
    }
}

/// The logs of `__transaction_state`; a new one can be put in the place of each. One that is not
/// there is offline.
#[derive(Debug)]
struct Logs(Mutex<Vec<Log>>);

impl StateLogs for Arc<Logs> {
    fn log(&self, partition: u32) -> Result<Log> {
        let found = self.0.lock().unwrap().get(partition as usize).cloned();
        found.ok_or_else(|| {
            let (topic, kind) = ("__transaction_state".to_owned(), ErrorKind::Io);
            let reason = String::new();
            TopicError::PartitionOffline { topic, partition, kind, reason }.into()
        })
    }
}

/// A coordinator, and everything around it.
struct Setup {
    disk: MemFs,
    /// The disk, as the coordinator sees it.
    fs: FaultFs,
    clock: Arc<ManualClock>,
    logs: Arc<Logs>,
    partitions: Arc<Partitions>,
    coordinator: Coordinator,
}

fn open_log(fs: &FaultFs, clock: &Arc<ManualClock>, partition: u32) -> Log {
    let config = LogConfig::default().fs(fs.clone()).clock(Arc::clone(clock) as Arc<dyn Clock>);
    Log::open(format!("data/__transaction_state-{partition}"), config).unwrap()
}

impl Setup {
    /// A coordinator over one partition.
    fn new() -> Setup {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
        Setup::over(MemFs::new(), clock, Arc::default(), TransactionCoordinatorConfig::default())
    }

    fn over(
        disk: MemFs,
        clock: Arc<ManualClock>,
        partitions: Arc<Partitions>,
        config: TransactionCoordinatorConfig,
    ) -> Setup {
        let fs = FaultFs::new(disk.clone());
        let logs = Arc::new(Logs(Mutex::new(vec![open_log(&fs, &clock, 0)])));
        let context =
            CoordinatorContext { clock: Arc::clone(&clock) as Arc<dyn Clock>, maintainer: None };
        let (state, ends) = (Box::new(Arc::clone(&logs)), Box::new(Arc::clone(&partitions)));
        let coordinator = Coordinator::new(state, 1, ends, config, context, EventSink::default());
        Setup { disk, fs, clock, logs, partitions, coordinator }
    }

    /// What the next process finds if this one ends now.
    fn restarted(&self, config: TransactionCoordinatorConfig) -> Setup {
        self.restarted_on(self.disk.kill(), config)
    }

    fn restarted_on(&self, disk: MemFs, config: TransactionCoordinatorConfig) -> Setup {
        let partitions = Arc::new(Partitions::default());
        *partitions.ids.lock().unwrap() = *self.partitions.ids.lock().unwrap();
        Setup::over(disk, Arc::clone(&self.clock), partitions, config)
    }

    /// Ends the transactions of the process before, as an opening does.
    fn recover(&self) -> Option<Duration> {
        self.coordinator.load_all().unwrap();
        self.coordinator.tick()
    }

    fn init(&self, id: &str) -> Result<ProducerIdentity> {
        self.coordinator.init_producer_id(id, MINUTE, None, Wait::No)
    }

    fn add(&self, id: &str, who: ProducerIdentity, partitions: &[TopicPartition]) -> Result<()> {
        self.coordinator.add_partitions(id, who, partitions, V2, Wait::No)
    }

    fn end(&self, id: &str, who: ProducerIdentity, outcome: Outcome) -> Result<ProducerIdentity> {
        self.coordinator.end(id, who, outcome, V2, false, Wait::No)
    }

    fn state(&self, id: &str) -> TransactionState {
        self.coordinator.producer(id).unwrap().unwrap().stored.state
    }

    /// Closes the log, and puts a new one in its place.
    fn reopen(&self) {
        self.log().close().unwrap();
        *self.logs.0.lock().unwrap() = vec![open_log(&self.fs, &self.clock, 0)];
    }

    fn log(&self) -> Log {
        self.logs.0.lock().unwrap()[0].clone()
    }

    /// The states in the log, in order; a dash is a tombstone.
    fn history(&self) -> Vec<String> {
        let mut found = Vec::new();
        for record in self.log().reader(StartAt::Earliest).unwrap().records() {
            let record = record.unwrap();
            let decoded = TransactionRecord::decode(record.key.as_deref(), record.value.as_deref());
            let TransactionRecord { transactional_id, metadata } = decoded.unwrap().unwrap();
            found.push(match metadata {
                Some(stored) => {
                    let (state, epoch) = (stored.state, stored.producer_epoch);
                    format!("{transactional_id} {state:?} {}.{epoch}", stored.producer_id)
                }
                None => format!("{transactional_id} -"),
            });
        }
        found
    }
}

fn orders(partition: u32) -> TopicPartition {
    TopicPartition::new("orders", partition)
}

fn who(id: ProducerId, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id, epoch }
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> TransactionError {
    match result {
        Err(Error::Transaction(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn fenced<T: std::fmt::Debug>(result: Result<T>) -> bool {
    matches!(refusal(result), TransactionError::Fenced { .. })
}
