//! Groups of consumers: a model with random work, threads, and each rule by itself.
//!
//! `ANNALS_GROUP_SEEDS=17` runs one seed of the random tests, `0..5000` many.

use crate::{NOW, append, at, cooperative};
use annals::assignor::{Assignor, CooperativeSticky, Range, RoundRobin, Sticky};
use annals::fs::{CrashState, MemFs};
use annals::{
    AutoOffsetReset, CommitError, ConsumeError, Consumer, ConsumerConfig, Error, ErrorKind,
    GroupCoordinatorConfig, GroupError, GroupState, ManualClock, MemberIdentity, OffsetAndMetadata,
    RebalanceContext, RebalanceListener, Record, ResetTo, StartAt, Store, StoreConfig, Timestamp,
    Topic, TopicConfig, TopicPartition, TopicPattern,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Chance, seeds};

const GROUP: &str = "g1";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

struct World {
    clock: Arc<ManualClock>,
    fs: MemFs,
    store: Store,
}

fn store_on(fs: &MemFs, clock: &Arc<ManualClock>) -> Store {
    let groups = GroupCoordinatorConfig::default().offsets_partitions(3);
    let config =
        StoreConfig::default().fs(fs.clone()).clock(clock.clone()).group_coordinator(groups);
    // Some records here are of 1970, and retention must not delete them.
    Store::open("data", config.maintenance(None)).unwrap()
}

fn world() -> World {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
    let fs = MemFs::new();
    let store = store_on(&fs, &clock);
    World { clock, fs, store }
}

fn topic(store: &Store, name: &str, partitions: u32) -> Topic {
    let config = TopicConfig::default().partitions(partitions);
    store.topic(name).or_else(|_| store.create_topic(name, config)).unwrap()
}

fn config() -> ConsumerConfig {
    ConsumerConfig::new(GROUP).auto_offset_reset(AutoOffsetReset::Earliest)
}

fn member(store: &Store, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    consumer
}

fn numbers(consumer: &Consumer) -> Vec<u32> {
    consumer.assignment().iter().map(|name| name.partition).collect()
}

/// Polls each in turn, so often that a rebalance is over.
fn settle(consumers: &mut [&mut Consumer]) -> usize {
    let mut records = 0;
    for _ in 0..6 {
        for consumer in consumers.iter_mut() {
            records += consumer.poll(NOW).unwrap().len();
        }
    }
    records
}

fn refusal(error: Error) -> GroupError {
    match error {
        Error::Group(error) => *error,
        Error::Consume(error) => match *error {
            ConsumeError::CommitFailed { reason: CommitError::Group(error), .. } => error,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[test]
fn members_share_and_exchange_partitions() {
    for cooperates in [false, true] {
        let World { store, .. } = world();
        let orders = topic(&store, "orders", 4);
        let config = || if cooperates { cooperative(config()) } else { config() };
        let mut a = member(&store, config());
        settle(&mut [&mut a]);
        assert_eq!(numbers(&a), [0, 1, 2, 3]);
        let mut b = member(&store, config());
        settle(&mut [&mut a, &mut b]);
        assert_eq!((numbers(&a).len(), numbers(&b).len()), (2, 2));
        for partition in 0..4 {
            append(&orders, partition, 0..10);
        }
        assert_eq!(settle(&mut [&mut a, &mut b]), 40);
        b.close().unwrap();
        assert_eq!(settle(&mut [&mut a]), 0);
        assert_eq!(numbers(&a), [0, 1, 2, 3]);
        let metadata = a.group_metadata().unwrap();
        assert!(metadata.generation >= 3 && metadata.member_id.starts_with("consumer-"));
        a.unsubscribe().unwrap();
        assert!(a.assignment().is_empty());
        let described = store.admin().describe_group(GROUP).unwrap();
        assert_eq!(described.state, GroupState::Empty);
        assert!(described.offsets.values().all(|offset| offset.lag == Some(0)));
    }
}

#[test]
fn every_assignor_assigns_all() {
    let assignors: [Arc<dyn Assignor>; 4] =
        [Arc::new(Range), Arc::new(RoundRobin), Arc::new(Sticky), Arc::new(CooperativeSticky)];
    for assignor in assignors {
        let World { store, .. } = world();
        topic(&store, "orders", 5);
        let config = || config().assignors([assignor.clone()]);
        let (mut a, mut b) = (member(&store, config()), member(&store, config()));
        settle(&mut [&mut a, &mut b]);
        let mut c = member(&store, config());
        settle(&mut [&mut a, &mut b, &mut c]);
        let mut all: Vec<_> = [&a, &b, &c].iter().flat_map(|one| numbers(one)).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4], "{}", assignor.name());
        let described = store.admin().describe_group(GROUP).unwrap();
        assert_eq!(described.assignor.as_deref(), Some(assignor.name()));
        assert_eq!((described.state, described.members.len()), (GroupState::Stable, 3));
    }
}

#[test]
fn new_topics_are_assigned() {
    let World { store, .. } = world();
    let mut named = member(&store, config());
    let mut matching = store.consumer(ConsumerConfig::new("other")).unwrap();
    matching.subscribe_pattern(TopicPattern::prefix("ord")).unwrap();
    settle(&mut [&mut named, &mut matching]);
    assert!(named.assignment().is_empty() && matching.assignment().is_empty());
    topic(&store, "orders", 2);
    topic(&store, "ordinary", 1);
    topic(&store, "__consumer_offsets", 1);
    settle(&mut [&mut named, &mut matching]);
    assert_eq!(named.assignment(), [at("orders", 0), at("orders", 1)]);
    let both = [at("orders", 0), at("orders", 1), at("ordinary", 0)];
    assert_eq!(matching.assignment(), both);
    named.subscribe(["orders", "ordinary"]).unwrap();
    settle(&mut [&mut named]);
    assert_eq!(named.assignment(), both);
    assert_eq!(named.subscription().unwrap().len(), 2);
}

#[test]
fn grown_topics_are_assigned_whole() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    let mut a = member(&store, config());
    let mut b = member(&store, config());
    settle(&mut [&mut a, &mut b]);
    store.add_partitions("orders", 5).unwrap();
    append(&orders, 4, 0..3);
    assert_eq!(settle(&mut [&mut a, &mut b]), 3);
    let mut all = [numbers(&a), numbers(&b)].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4]);
}

fn committed(store: &Store, topic: &str) -> BTreeMap<u32, u64> {
    let described = store.admin().describe_group(GROUP).unwrap();
    let offsets = described.offsets.iter().filter(|(at, _)| &*at.topic == topic);
    offsets.map(|(at, offset)| (at.partition, offset.committed.offset)).collect()
}

/// Offsets committed for a topic do not apply to a later topic of the same name, whatever other
/// topics the group has offsets for.
#[test]
fn recreated_topic_starts_without_offsets() {
    for polls_between in [true, false] {
        let World { store, clock, fs } = world();
        let orders = topic(&store, "orders", 2);
        append(&orders, 0, 0..10);
        append(&topic(&store, "users", 1), 0, 0..4);
        let mut consumer = store.consumer(config()).unwrap();
        consumer.subscribe(["orders", "users"]).unwrap();
        assert_eq!(settle(&mut [&mut consumer]), 14);
        consumer.commit().unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 10), (1, 0)]));

        store.delete_topic("orders").unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::new());
        if polls_between {
            settle(&mut [&mut consumer]);
            assert_eq!(consumer.assignment(), [at("users", 0)]);
        }
        let orders = topic(&store, "orders", 1);
        append(&orders, 0, 0..12);
        assert_eq!(settle(&mut [&mut consumer]), 12);
        assert_eq!(consumer.assignment(), [at("orders", 0), at("users", 0)]);
        consumer.commit().unwrap();
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 12)]));
        assert_eq!(committed(&store, "users"), BTreeMap::from([(0, 4)]));
        drop((consumer, store));

        let store = store_on(&fs.kill(), &clock);
        assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 12)]));
    }
}

/// A consumer that has read a deleted topic cannot commit for it: the commit would apply to the
/// next topic of that name.
#[test]
fn commit_skips_deleted_topic() {
    let World { store, .. } = world();
    append(&topic(&store, "orders", 1), 0, 0..10);
    append(&topic(&store, "users", 1), 0, 0..4);
    let mut consumer = store.consumer(config()).unwrap();
    consumer.subscribe(["orders", "users"]).unwrap();
    assert_eq!(settle(&mut [&mut consumer]), 14);
    store.delete_topic("orders").unwrap();
    topic(&store, "orders", 1);
    consumer.commit().unwrap();
    let late = BTreeMap::from([(at("orders", 0), 7.into())]);
    let error = consumer.commit_offsets(late).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebalancing, "{error}");
    consumer.close().unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::new());
    assert_eq!(committed(&store, "users"), BTreeMap::from([(0, 4)]));
}

#[test]
fn opening_rejects_invalid_group_options() {
    let none = GroupCoordinatorConfig::default().offsets_partitions(0);
    let error = Store::in_memory(StoreConfig::default().group_coordinator(none)).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { option: "offsets_partitions", .. }), "{error}");
}

/// A member that hung has lost its partitions, and cannot say how far it had come.
#[test]
fn commit_fails_after_max_poll_interval() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut slow = member(&store, config().max_poll_records(4));
    slow.set_listener(Told { name: "slow", log: log.clone(), panics: false });
    assert_eq!(slow.poll(NOW).unwrap().len(), 4);
    clock.advance(secs(299));
    slow.commit().unwrap();
    clock.advance(secs(1));
    let mut quick = member(&store, config());
    assert_eq!(quick.poll(NOW).unwrap().len(), 6);
    quick.commit().unwrap();
    for rejected in
        [slow.commit(), slow.commit_offsets(BTreeMap::from([(at("orders", 0), 2.into())]))]
    {
        let error = rejected.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rebalancing);
        assert!(matches!(refusal(error), GroupError::UnknownMemberId { .. }));
    }
    assert_eq!(quick.committed(&at("orders", 0)).unwrap(), Some(10.into()));
    log.lock().unwrap().clear();
    slow.poll(NOW).unwrap();
    assert_eq!(*log.lock().unwrap(), ["slow lost [0]"]);
    settle(&mut [&mut quick, &mut slow]);
    assert_eq!(numbers(&slow).len() + numbers(&quick).len(), 1);
    assert_eq!(quick.committed(&at("orders", 0)).unwrap(), Some(10.into()));
}

/// A member that did not take part in the rebalance yet cannot commit once the next generation has
/// begun.
#[test]
fn commit_fails_in_old_generation() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..10);
    let mut a = member(&store, cooperative(config()).enable_auto_commit(false));
    assert_eq!(a.poll(NOW).unwrap().len(), 10);
    let mut b = member(&store, cooperative(config()));
    b.poll(NOW).unwrap();
    a.commit().unwrap(); // members are asked to join, and the old generation holds
    settle(&mut [&mut a, &mut b]);
    let gone = at("orders", if numbers(&a) == [0] { 1 } else { 0 });
    let rejected = a.commit_offsets(BTreeMap::from([(gone, 3.into())])).unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Rebalancing);
    assert!(rejected.to_string().contains("not assigned"), "{rejected}");
}

struct Told {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
    panics: bool,
}

impl Told {
    fn tell(&self, what: &str, partitions: &[TopicPartition]) {
        let numbers: Vec<_> = partitions.iter().map(|name| name.partition).collect();
        self.log.lock().unwrap().push(format!("{} {what} {numbers:?}", self.name));
        assert!(!self.panics, "told of {what}");
    }
}

impl RebalanceListener for Told {
    fn on_partitions_revoked(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        // They are still its own.
        consumer.commit().unwrap();
        for name in named {
            consumer.position(name).unwrap();
        }
        self.tell("revoked", named);
    }

    fn on_partitions_assigned(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        for name in named {
            assert!(consumer.committed(name).unwrap().is_none_or(|to| to.offset > 0));
            consumer.seek(name, StartAt::Earliest).unwrap();
        }
        self.tell("assigned", named);
    }

    fn on_partitions_lost(
        &mut self,
        consumer: &mut RebalanceContext<'_>,
        named: &[TopicPartition],
    ) {
        consumer.commit().unwrap_err();
        self.tell("lost", named);
    }
}

#[test]
fn listeners_are_called_in_order() {
    let eager = [
        "a assigned [0, 1, 2]",
        "a revoked [0, 1, 2]",
        "b assigned [2]",
        "a assigned [0, 1]",
        "b revoked [2]",
        "a revoked [0, 1]",
        "a assigned [0, 1, 2]",
        "a revoked [0, 1, 2]",
    ];
    let cooperating = [
        "a assigned [0, 1, 2]",
        "a revoked [2]",
        "a assigned []",
        "b assigned [2]",
        "a assigned []",
        "b revoked [2]",
        "a assigned [2]",
        "a revoked [0, 1, 2]",
    ];
    for (cooperates, expected) in [(false, &eager[..]), (true, &cooperating[..])] {
        let World { store, .. } = world();
        let orders = topic(&store, "orders", 3);
        (0..3).for_each(|partition| append(&orders, partition, 0..1));
        let config = || if cooperates { cooperative(config()) } else { config() };
        let log = Arc::new(Mutex::new(Vec::new()));
        let named = |name, mut consumer: Consumer| {
            consumer.set_listener(Told { name, log: log.clone(), panics: false });
            consumer
        };
        let mut a = named("a", member(&store, config()));
        settle(&mut [&mut a]);
        let mut b = named("b", member(&store, config()));
        settle(&mut [&mut b, &mut a]);
        b.close().unwrap();
        settle(&mut [&mut a]);
        a.close().unwrap();
        let told = log.lock().unwrap().clone();
        let mut sorted = (told.clone(), expected.to_vec());
        sorted.0.sort();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1, "{told:#?}");
        let place = |line: &str| told.iter().position(|told| told == line).unwrap();
        // A moving partition is revoked before it is assigned.
        let (given, taken) = match cooperates {
            true => ("a revoked [2]", "b assigned [2]"),
            false => ("a revoked [0, 1, 2]", "b assigned [2]"),
        };
        assert!(place(given) < place(taken), "{told:#?}");
        assert_eq!(told.last().unwrap(), "a revoked [0, 1, 2]");
    }
}

#[test]
fn listener_panic_is_returned_as_error() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..3);
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut consumer = member(&store, config());
    consumer.set_listener(Told { name: "a", log: log.clone(), panics: true });
    let error = consumer.poll(NOW).unwrap_err();
    assert!(error.to_string().contains("told of assigned"), "{error}");
    assert_eq!(consumer.poll(NOW).unwrap().len(), 3);
    let error = consumer.close().unwrap_err();
    assert!(error.to_string().contains("told of revoked"), "{error}");
    assert_eq!(store.admin().describe_group(GROUP).unwrap().members.len(), 0);
    let mut next = member(&store, config());
    assert_eq!(next.poll(NOW).unwrap().len(), 0);

    struct Broken;
    impl Assignor for Broken {
        fn name(&self) -> &str {
            "broken"
        }
        fn assign(
            &self,
            _: &BTreeMap<String, annals::assignor::Member>,
            _: &BTreeMap<String, u32>,
        ) -> annals::assignor::Assignments {
            panic!("cannot assign")
        }
    }
    let config = ConsumerConfig::new("other").assignors([Arc::new(Broken) as Arc<dyn Assignor>]);
    let mut broken = member(&store, config);
    for _ in 0..3 {
        let error = broken.poll(NOW).unwrap_err();
        assert!(error.to_string().contains("cannot assign"), "{error}");
    }
    let mut pattern = store.consumer(ConsumerConfig::new("third")).unwrap();
    pattern.subscribe_pattern(TopicPattern::new(|_| panic!("no name"))).unwrap();
    assert!(pattern.poll(NOW).unwrap_err().to_string().contains("no name"));
    pattern.close().unwrap();
}

#[test]
fn static_member_returns_to_its_partitions() {
    let World { store, clock, .. } = world();
    topic(&store, "orders", 4);
    let named = |name: &str| config().instance_id(name);
    let mut a = member(&store, named("a"));
    let mut b = member(&store, named("b"));
    settle(&mut [&mut a, &mut b]);
    let (of_a, generation) = (numbers(&a), a.group_metadata().unwrap().generation);
    assert_eq!(of_a.len(), 2);
    for leave in [true, false] {
        match leave {
            true => a.close().unwrap(),
            false => drop(a),
        }
        clock.advance(secs(40));
        b.poll(NOW).unwrap();
        a = member(&store, named("a"));
        settle(&mut [&mut a, &mut b]);
        assert_eq!(numbers(&a), of_a);
        assert_eq!(b.group_metadata().unwrap().generation, generation);
    }
    drop(a);
    clock.advance(secs(45));
    settle(&mut [&mut b]);
    assert_eq!(numbers(&b), [0, 1, 2, 3]);

    // Two of one name.
    let mut second = member(&store, named("b"));
    second.poll(NOW).unwrap();
    settle(&mut [&mut second]);
    assert_eq!(numbers(&second), [0, 1, 2, 3]);
    for rejected in [b.commit().map(drop), b.poll(NOW).map(drop), b.poll(NOW).map(drop)] {
        let error = rejected.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(matches!(refusal(error), GroupError::FencedInstanceId { .. }));
    }
    assert!(b.assignment().is_empty());
    b.close().unwrap();
    settle(&mut [&mut second]);
    assert_eq!(numbers(&second), [0, 1, 2, 3]);
}

#[test]
fn committed_offsets_survive_reopening_and_crash() {
    for (flushes, lost_power) in [(false, false), (true, true)] {
        let World { store, clock, fs } = world();
        let orders = topic(&store, "orders", 2);
        append(&orders, 0, 0..10);
        orders.partition(0).unwrap().flush().unwrap();
        let mut consumer = member(&store, config().flush_commits(flushes));
        assert_eq!(consumer.poll(NOW).unwrap().len(), 10);
        consumer.commit_offsets(BTreeMap::from([(at("orders", 0), 6.into())])).unwrap();
        let fs = if lost_power { fs.crash(CrashState::SyncedOnly) } else { fs.kill() };
        let store = store_on(&fs, &clock);
        topic(&store, "orders", 2);
        topic(&store, "__consumer_offsets", 3);
        // The members ended with their process, and the group does not wait for them.
        let mut next = member(&store, config());
        assert_eq!(next.poll(NOW).unwrap().len(), 4);
        assert_eq!(next.committed(&at("orders", 0)).unwrap(), Some(6.into()));
        assert_eq!(numbers(&next), [0, 1]);
        assert!(next.group_metadata().unwrap().generation > 1);
    }
}

#[test]
fn static_member_returns_in_new_process() {
    let World { store, clock, fs } = world();
    topic(&store, "orders", 3);
    let mut a = member(&store, config().instance_id("a"));
    let mut b = member(&store, config().instance_id("b"));
    settle(&mut [&mut a, &mut b]);
    let (of_a, of_b) = (numbers(&a), numbers(&b));
    let store = store_on(&fs.kill(), &clock);
    topic(&store, "orders", 3);
    topic(&store, "__consumer_offsets", 3);
    let described = store.admin().describe_group(GROUP).unwrap();
    assert_eq!((described.state, described.members.len()), (GroupState::Stable, 2));
    let mut b = member(&store, config().instance_id("b"));
    settle(&mut [&mut b]);
    assert_eq!(numbers(&b), of_b);
    clock.advance(secs(44));
    let mut a = member(&store, config().instance_id("a"));
    settle(&mut [&mut a, &mut b]);
    assert_eq!((numbers(&a), numbers(&b)), (of_a, of_b));
}

fn stored(store: &Store) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let partitions = store.topic("__consumer_offsets").unwrap().partitions();
    let records = partitions.iter().flat_map(|log| {
        let records = log.reader(StartAt::Earliest).unwrap().records();
        records.map(Result::unwrap).collect::<Vec<_>>()
    });
    let pairs = records
        .map(|record| (record.key.unwrap().to_vec(), record.value.map(|value| value.to_vec())));
    pairs.collect()
}

/// The bytes that Kafka's coordinator would write, spelled out.
#[test]
fn offsets_match_kafkas_bytes() {
    let World { store, .. } = world();
    topic(&store, "orders", 4);
    let committed = OffsetAndMetadata { offset: 0, leader_epoch: Some(7), metadata: "m".into() };
    let offsets = BTreeMap::from([(at("orders", 3), committed)]);
    let mut simple = store.consumer(config()).unwrap();
    simple.commit_offsets(offsets).unwrap();
    let key = [&[0, 1, 0, 2][..], b"g1", &[0, 6], b"orders", &[0, 0, 0, 3]].concat();
    let time = 1_700_000_000_000i64.to_be_bytes();
    let value = [&[0, 3][..], &[0; 8], &[0, 0, 0, 7], &[0, 1], b"m", &time].concat();
    assert_eq!(stored(&store), [(key.clone(), Some(value))]);

    let mut consumer = member(&store, config().client_id("c"));
    settle(&mut [&mut consumer]);
    let id = consumer.group_metadata().unwrap().member_id;
    let group = [&[0, 2, 0, 2][..], b"g1"].concat();
    let (found, value) = stored(&store).pop().unwrap();
    assert_eq!(found, group);
    let value = value.unwrap();
    let long = |text: &str| [&(text.len() as i16).to_be_bytes()[..], text.as_bytes()].concat();
    let head = [
        &[0, 3][..],
        &long("consumer"),
        &[0, 0, 0, 1],
        &long("range"),
        &long(&id),
        &time,
        &[0, 0, 0, 1],
        &long(&id),
        &(-1i16).to_be_bytes(),
        &long("c"),
        &long("/127.0.0.1"),
        &300_000i32.to_be_bytes(),
        &45_000i32.to_be_bytes(),
    ]
    .concat();
    assert_eq!(value[..head.len()], head);
    drop(consumer);
    store.admin().delete_group(GROUP).unwrap();
    let tombstones: Vec<_> = stored(&store).into_iter().filter(|(_, v)| v.is_none()).collect();
    assert_eq!(tombstones, [(key, None), (group, None)]);
}

#[test]
fn compaction_keeps_current_offsets() {
    let World { store, clock, fs } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..200);
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    for offset in 0..100u64 {
        for partition in 0..2 {
            let to = OffsetAndMetadata::from(offset);
            consumer.commit_offsets(BTreeMap::from([(at("orders", partition), to)])).unwrap();
        }
    }
    let before = store.admin().describe_group(GROUP).unwrap().offsets;
    let offsets = store.topic("__consumer_offsets").unwrap();
    for log in offsets.partitions().iter() {
        log.roll().unwrap();
        log.compact().unwrap();
    }
    assert!(stored(&store).len() <= 3, "{}", stored(&store).len());
    let store = store_on(&fs.kill(), &clock);
    topic(&store, "orders", 2);
    topic(&store, "__consumer_offsets", 3);
    let after = store.admin().describe_group(GROUP).unwrap();
    assert_eq!((after.offsets, after.state), (before, GroupState::Empty));
}

/// The bytes of the largest partition of the offsets topic, which the first use of a group reads.
fn largest_offsets_log(store: &Store) -> u64 {
    let offsets = store.topic("__consumer_offsets").unwrap();
    offsets.partitions().iter().map(|log| log.stats().unwrap().bytes).max().unwrap()
}

/// A group that commits without end has one offset a partition, and its log is read whole when the
/// group is used first.
#[test]
fn offsets_log_stays_small() {
    let World { store, clock, fs } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..200);
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    let (metadata, mut largest) = ("m".repeat(4096), 0);
    for round in 0..2500u64 {
        let metadata = metadata.clone();
        let to = OffsetAndMetadata { offset: round % 200, leader_epoch: None, metadata };
        consumer.commit_offsets(BTreeMap::from([(at("orders", 0), to)])).unwrap();
        if round % 50 == 0 {
            largest = largest.max(largest_offsets_log(&store));
        }
    }
    assert!(largest > 3 << 20 && largest < 5 << 20, "{largest}");
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 2499 % 200)]));

    // A log that an earlier program or a broker let grow is compacted when it is first read.
    let number = stored_in(&store);
    let log = store.topic("__consumer_offsets").unwrap().partition(number).unwrap();
    let (key, value) = stored(&store).pop().unwrap();
    for _ in 0..2500 {
        log.append(Record::new(value.clone().unwrap()).key(key.clone())).unwrap();
    }
    assert!(largest_offsets_log(&store) > 10 << 20);
    let store = store_on(&fs.kill(), &clock);
    let before = store.admin().describe_group(GROUP).unwrap();
    assert!(largest_offsets_log(&store) < 1 << 20, "{}", largest_offsets_log(&store));
    let store = store_on(&fs.kill(), &clock);
    assert_eq!(store.admin().describe_group(GROUP).unwrap().offsets, before.offsets);
}

/// The partition of the offsets topic that has anything.
fn stored_in(store: &Store) -> u32 {
    let offsets = store.topic("__consumer_offsets").unwrap();
    let number = offsets.partitions().iter().position(|log| log.offsets().end > 0).unwrap();
    u32::try_from(number).unwrap()
}

/// A group without members continues from its stored state.
#[test]
fn generation_continues_after_all_left() {
    let World { store, clock, fs } = world();
    append(&topic(&store, "orders", 1), 0, 0..3);
    for generation in [1, 3, 5] {
        let mut consumer = member(&store, config());
        consumer.poll(NOW).unwrap();
        assert_eq!(consumer.group_metadata().unwrap().generation, generation);
        consumer.close().unwrap();
        let described = store.admin().describe_group(GROUP).unwrap();
        assert_eq!((described.generation, described.state), (generation + 1, GroupState::Empty));
        assert_eq!(store.admin().list_groups().unwrap().groups[0].protocol_type, "consumer");
    }
    let store = store_on(&fs.kill(), &clock);
    assert_eq!(store.admin().describe_group(GROUP).unwrap().generation, 6);
}

#[test]
fn reset_matches_kafkas_tools() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 2);
    let time = |n: i64| Timestamp::from_millis(n);
    let stamped = (0..10).map(|n| Record::new(n.to_string()).timestamp(time(n * 10)));
    orders.partition(0).unwrap().append_all(stamped).unwrap();
    let admin = store.admin();
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let nobody = refusal(admin.describe_group(GROUP).unwrap_err());
    assert!(matches!(nobody, GroupError::UnknownGroup { .. }));
    let one = [at("orders", 0)];
    let reset = |to| admin.reset_offsets(GROUP, one.clone(), to).map(|reset| reset[&one[0]]);
    let nothing = refusal(reset(ResetTo::ShiftBy(1)).unwrap_err());
    assert!(matches!(nothing, GroupError::NoCommittedOffset { .. }));
    for (to, offset) in [
        (ResetTo::Current, 10),
        (ResetTo::Earliest, 0),
        (ResetTo::Offset(4), 4),
        (ResetTo::ShiftBy(-1), 3),
        (ResetTo::ShiftBy(3), 6),
        (ResetTo::ShiftBy(-100), 0),
        (ResetTo::Offset(1000), 10),
        (ResetTo::Time(time(35)), 4),
        (ResetTo::Time(time(1000)), 10),
        (ResetTo::Latest, 10),
        (ResetTo::Offset(7), 7),
    ] {
        assert_eq!(reset(to).unwrap(), offset, "{to:?}");
        let described = admin.describe_group(GROUP).unwrap();
        assert_eq!(described.offsets[&one[0]].committed.offset, offset);
        assert_eq!(described.offsets[&one[0]].lag, Some(10 - offset));
    }
    assert_eq!(admin.reset_offsets(GROUP, [], ResetTo::ShiftBy(-2)).unwrap()[&one[0]], 5);
    assert_eq!(
        admin.alter_offsets(GROUP, BTreeMap::from([(at("x", 0), 1.into())])).unwrap_err().kind(),
        ErrorKind::NotFound
    );

    let mut consumer = member(&store, config());
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    for rejected in [
        reset(ResetTo::Earliest).map(drop),
        admin.delete_group(GROUP),
        admin.alter_offsets(GROUP, BTreeMap::from([(at("orders", 0), 1.into())])),
    ] {
        let used = GroupError::NonEmptyGroup { group: GROUP.to_owned() };
        assert_eq!(refusal(rejected.unwrap_err()), used);
    }
    let used = refusal(admin.delete_offsets(GROUP, one.clone()).unwrap_err());
    assert!(matches!(used, GroupError::GroupSubscribedToTopic { .. }));
    let listed = admin.list_groups().unwrap().groups;
    assert_eq!(
        (listed[0].state, listed[0].protocol_type.as_str()),
        (GroupState::Stable, "consumer")
    );

    // A member that is removed joins again.
    let id = MemberIdentity::MemberId(consumer.group_metadata().unwrap().member_id);
    assert_eq!(admin.remove_members(GROUP, [id.clone()]).unwrap(), 1);
    assert!(admin.remove_members(GROUP, [id]).is_err());
    assert_eq!(consumer.poll(NOW).unwrap().len(), 5);
    assert_eq!(admin.remove_members(GROUP, []).unwrap(), 1);
    drop(consumer);
    admin.delete_offsets(GROUP, one.clone()).unwrap();
    assert!(admin.describe_group(GROUP).unwrap().offsets.is_empty());
    admin.delete_group(GROUP).unwrap();
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let gone = refusal(admin.delete_group(GROUP).unwrap_err());
    assert!(matches!(gone, GroupError::UnknownGroup { .. }));
}

/// Records that were deleted before the group came to them are not left to read.
#[test]
fn lag_leaves_out_deleted_records() {
    let World { store, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..10);
    let mut consumer = member(&store, config().max_poll_records(3));
    consumer.poll(NOW).unwrap();
    consumer.commit().unwrap();
    for (start, lag) in [(2, 7), (3, 7), (7, 3), (10, 0)] {
        orders.partition(0).unwrap().delete_before(start).unwrap();
        assert_eq!(consumer.lag(&at("orders", 0)).unwrap(), lag);
        let offsets = store.admin().describe_group(GROUP).unwrap().offsets;
        assert_eq!(offsets[&at("orders", 0)].lag, Some(lag), "start {start}");
    }
}

#[test]
fn unused_offsets_expire() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    append(&orders, 0, 0..3);
    let admin = store.admin();
    let day = 86_400;
    let mut consumer = member(&store, config());
    consumer.poll(NOW).unwrap();
    consumer.commit().unwrap();
    let mut simple = store.consumer(ConsumerConfig::new("simple")).unwrap();
    simple.assign([at("orders", 0)]).unwrap();
    simple.seek(&at("orders", 0), 1).unwrap();
    simple.commit().unwrap();
    for _ in 0..20 {
        clock.advance(secs(day));
        consumer.poll(NOW).ok();
        simple.poll(NOW).unwrap();
        admin.expire_offsets().unwrap();
    }
    // In use, however long nothing is new.
    assert_eq!(admin.list_groups().unwrap().groups.len(), 2);
    consumer.close().unwrap();
    simple.commit().unwrap();
    simple.close().unwrap();
    clock.advance(secs(7 * day - 1));
    assert_eq!(admin.expire_offsets().unwrap(), 0);
    clock.advance(secs(1));
    assert_eq!(admin.expire_offsets().unwrap(), 3);
    assert!(admin.list_groups().unwrap().groups.is_empty());
    let mut again = member(&store, config());
    assert_eq!(again.poll(NOW).unwrap().len(), 3);
}

/// The group has been without members for a week, but for one consumer that reads and commits each
/// day.
#[test]
fn recent_commit_stays_when_group_empty() {
    let World { store, clock, .. } = world();
    let orders = topic(&store, "orders", 1);
    let mut left = member(&store, config());
    left.poll(NOW).unwrap();
    left.commit().unwrap();
    left.close().unwrap();
    let mut reads = store.consumer(config().enable_auto_commit(false)).unwrap();
    reads.assign([at("orders", 0)]).unwrap();
    for hours in [24, 24, 24, 24, 24, 24, 23] {
        clock.advance(secs(hours * 3600));
        append(&orders, 0, 0..1);
        assert_eq!(reads.poll(NOW).unwrap().len(), 1);
        reads.commit().unwrap();
    }
    drop(reads);
    clock.advance(secs(3700));
    store.admin().expire_offsets().unwrap();
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 7)]));
    clock.advance(secs(7 * 86_400 - 3700));
    store.admin().expire_offsets().unwrap();
    assert!(store.admin().describe_group(GROUP).is_err());
}

/// Offsets that were set from outside, for a consumer that reads and never commits, and is started
/// anew now and then.
#[test]
fn offsets_stay_while_assigned_consumer_polls() {
    let World { mut store, clock, fs } = world();
    let day = 86_400;
    append(&topic(&store, "orders", 2), 0, 0..10);
    let set = [0, 1].map(|partition| (at("orders", partition), 0.into()));
    store.admin().alter_offsets(GROUP, BTreeMap::from(set)).unwrap();
    let start = |store: &Store| {
        let mut consumer = store.consumer(config().enable_auto_commit(false)).unwrap();
        consumer.assign([at("orders", 0)]).unwrap();
        consumer
    };
    let mut reads = start(&store);
    for days in 0..40 {
        if days % 10 == 9 {
            drop((reads, store));
            clock.advance(secs(3 * day));
            store = store_on(&fs.kill(), &clock);
            reads = start(&store);
            assert_eq!(reads.poll(NOW).unwrap().len(), 10, "on day {days}");
        }
        clock.advance(secs(day));
        reads.poll(NOW).unwrap();
        store.admin().expire_offsets().unwrap();
    }
    // The other partition was read by no consumer.
    assert_eq!(committed(&store, "orders"), BTreeMap::from([(0, 0)]));
    drop(reads);
    clock.advance(secs(9 * day));
    assert!(store.admin().list_groups().unwrap().groups.is_empty());
}

/// The events of a random run, and the invariants it must keep.
struct Life {
    seed: u64,
    chance: Chance,
    clock: Arc<ManualClock>,
    store: Store,
    topics: Vec<Topic>,
    members: Vec<Consumer>,
    joined: u64,
    handled: BTreeSet<(String, u32, u64)>,
    committed: BTreeMap<TopicPartition, u64>,
}

impl Life {
    fn new(seed: u64) -> Life {
        let World { clock, store, .. } = world();
        let topics = vec![topic(&store, "t0", 3)];
        Life {
            seed,
            chance: Chance(seed),
            clock,
            store,
            topics,
            members: Vec::new(),
            joined: 0,
            handled: BTreeSet::new(),
            committed: BTreeMap::new(),
        }
    }

    fn join(&mut self) {
        let mut config = config()
            .max_poll_records(1 + self.chance.below(6) as usize)
            .auto_commit_interval(secs(self.chance.below(3)))
            .enable_auto_commit(!self.seed.is_multiple_of(3));
        config = match self.seed % 4 {
            0 => cooperative(config),
            1 => config.assignors([Arc::new(Sticky) as Arc<dyn Assignor>]),
            _ => config,
        };
        if self.chance.below(3) == 0 {
            config = config.instance_id(format!("i{}", self.chance.below(3)));
        }
        let mut consumer = self.store.consumer(config).unwrap();
        consumer.subscribe_pattern(TopicPattern::prefix("t")).unwrap();
        self.joined += 1;
        self.members.push(consumer);
    }

    /// Polls one. It may die before it has done anything with what it got.
    fn poll(&mut self, one: usize, may_die: bool) {
        match self.members[one].poll(NOW) {
            Ok(records) if may_die && self.chance.below(12) == 0 && !records.is_empty() => {
                drop(self.members.swap_remove(one));
            }
            Ok(records) => {
                for record in &records {
                    let place = (record.topic.to_string(), record.partition, record.offset);
                    self.handled.insert(place);
                }
                if self.seed.is_multiple_of(3) && self.chance.below(2) == 0 {
                    self.commit(one);
                }
            }
            Err(error) if error.kind() == ErrorKind::Fenced => {
                drop(self.members.swap_remove(one));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, one: usize) {
        if let Err(error) = self.members[one].commit() {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Rebalancing | ErrorKind::Fenced), "{error}");
        }
    }

    /// One does not poll for too long, others read on, and then it says how far it had come.
    fn hang(&mut self, one: usize) {
        let hung = self.members.swap_remove(one);
        self.clock.advance(secs(310));
        for _ in 0..4 {
            for other in (0..self.members.len()).rev() {
                self.poll(other, false);
            }
        }
        (0..self.members.len()).for_each(|other| self.commit(other));
        self.check();
        self.members.push(hung);
        self.commit(self.members.len() - 1);
    }

    fn step(&mut self) {
        let count = self.members.len() as u64;
        let one = self.chance.below(count) as usize;
        match self.chance.below(100) {
            0..6 if count < 5 => self.join(),
            6..8 if count > 0 => self.members.swap_remove(one).close().unwrap_or_else(|error| {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Rebalancing | ErrorKind::Fenced), "{error}");
            }),
            8..10 if count > 0 => drop(self.members.swap_remove(one)),
            10..12 if self.topics.len() < 4 => {
                let name = format!("t{}", self.topics.len());
                let partitions = 1 + self.chance.below(3) as u32;
                self.topics.push(topic(&self.store, &name, partitions));
            }
            12..30 => {
                let topics = self.topics.len() as u64;
                let topic = &self.topics[self.chance.below(topics) as usize];
                let partition = self.chance.below(u64::from(topic.partition_count())) as u32;
                append(topic, partition, 0..1 + self.chance.below(8) as u32);
            }
            30..36 => self.clock.advance(secs(self.chance.below(60))),
            36..39 if count > 1 => self.hang(one),
            39..42 if count > 0 => {
                let all = self.members[one].assignment();
                match self.chance.below(2) {
                    0 => self.members[one].pause(all.into_iter().take(1)).unwrap(),
                    _ => self.members[one].resume(all).unwrap(),
                }
            }
            42..46 if count > 0 => self.commit(one),
            _ if count > 0 => self.poll(one, true),
            _ => self.join(),
        }
    }

    /// Each partition is one member's in a generation, and no commit was taken back.
    fn check(&mut self) {
        let described = self.store.admin().describe_group(GROUP);
        let current: BTreeSet<String> = described
            .iter()
            .flat_map(|group| &group.members)
            .map(|member| member.member_id.clone())
            .collect();
        let mut owners = BTreeMap::new();
        for consumer in &self.members {
            let metadata = consumer.group_metadata().unwrap();
            if metadata.generation < 0 {
                assert!(consumer.assignment().is_empty());
            }
            // Another may have taken its place, and it will hear of it.
            if !current.contains(&metadata.member_id) {
                continue;
            }
            for name in consumer.assignment() {
                let id = metadata.member_id.clone();
                let owner = owners.insert((metadata.generation, name.clone()), id);
                assert_eq!(owner, None, "{name} in generation {}", metadata.generation);
            }
        }
        let Ok(described) = described else { return };
        let mut shared = BTreeSet::new();
        for name in described.members.iter().flat_map(|member| &member.assignment) {
            assert!(shared.insert(name), "{name} twice");
        }
        for (name, offset) in described.offsets {
            let (now, before) = (offset.committed.offset, self.committed.get(&name).copied());
            assert!(before.is_none_or(|before| before <= now), "{name}: {before:?}, then {now}");
            for done in before.unwrap_or(0)..now {
                let place = (name.topic.to_string(), name.partition, done);
                assert!(self.handled.contains(&place), "{place:?} was committed unseen");
            }
            self.committed.insert(name, now);
        }
    }

    fn end(mut self) {
        if self.members.is_empty() {
            self.join();
        }
        for _ in 0..400 {
            for one in (0..self.members.len()).rev() {
                let all = self.members[one].assignment();
                self.members[one].resume(all).unwrap();
                self.poll(one, false);
            }
            self.clock.advance(Duration::from_millis(500));
            if self.members.is_empty() {
                self.join();
            }
        }
        self.check();
        for topic in &self.topics {
            for (number, log) in (0..).zip(topic.partitions().iter()) {
                for offset in 0..log.offsets().end {
                    let place = (topic.name().to_owned(), number, offset);
                    assert!(self.handled.contains(&place), "{place:?} was never delivered");
                }
            }
        }
        for consumer in &mut self.members {
            consumer.commit().unwrap();
            consumer.close().unwrap();
        }
        self.members.clear();
        self.check();
        for (name, to) in &self.committed {
            let log = self.store.topic(&name.topic).unwrap().partition(name.partition).unwrap();
            assert_eq!(log.offsets().end, *to, "{name}");
        }
    }
}

#[test]
fn random_groups_deliver_everything_forward() {
    for seed in seeds("ANNALS_GROUP_SEEDS", 12) {
        let done = std::panic::catch_unwind(|| {
            let mut life = Life::new(seed);
            for _ in 0..400 {
                life.step();
                life.check();
            }
            life.end();
        });
        if let Err(panic) = done {
            eprintln!("ANNALS_GROUP_SEEDS={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Workers on threads of their own, that wait for records and for each other, go and come back.
#[test]
fn threaded_workers_share_records() {
    const RECORDS: u32 = 1500;
    for seed in seeds("ANNALS_GROUP_SEEDS", 2) {
        let store = Store::in_memory(StoreConfig::default()).unwrap();
        let orders = topic(&store, "orders", 6);
        let handled = Mutex::new(BTreeSet::new());
        let wakers = Mutex::new(Vec::new());
        let done = || handled.lock().unwrap().len() == RECORDS as usize;
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (store, handled, wakers, done) = (&store, &handled, &wakers, &done);
                scope.spawn(move || {
                    let mut chance = Chance(seed * 100 + worker);
                    let mut config = config().max_poll_records(20);
                    if seed % 2 == 1 {
                        config = cooperative(config);
                    }
                    while !done() {
                        let mut consumer = member(store, config.clone());
                        wakers.lock().unwrap().push(consumer.waker());
                        let mut lifetime = 3 + chance.below(20);
                        while !done() && lifetime > 0 {
                            let records = consumer.poll(secs(60)).unwrap();
                            assert!(
                                !records.is_empty() || records.is_woken(),
                                "it has waited in vain"
                            );
                            lifetime -= 1;
                            if chance.below(20) == 0 {
                                break;
                            }
                            let mut all = handled.lock().unwrap();
                            for record in &records {
                                all.insert((record.partition, record.offset));
                            }
                            if all.len() == RECORDS as usize {
                                wakers
                                    .lock()
                                    .unwrap()
                                    .iter()
                                    .for_each(|waker: &annals::ConsumerWaker| waker.wake());
                            }
                            drop(all);
                            // Give other threads a turn in the group: a member that waits alone
                            // has to be seen there.
                            if lifetime == 0 && chance.below(2) == 0 {
                                consumer.close().unwrap();
                            }
                        }
                        // One that goes may leave its records to one that waits for nothing else.
                    }
                });
            }
            let orders = &orders;
            scope.spawn(move || {
                for n in 0..RECORDS {
                    append(orders, n % 6, n..n + 1);
                    if n % 50 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        });
        assert!(done());
    }
}

/// Only a waiting member can notice that another one hangs.
#[test]
fn waiting_member_takes_partitions_of_hung() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let orders = topic(&store, "orders", 2);
    let mut hangs = member(&store, config().max_poll_interval(Duration::from_millis(300)));
    let mut waits = member(&store, config());
    while hangs.assignment().len() + waits.assignment().len() != 2 || waits.assignment().len() != 1
    {
        hangs.poll(NOW).unwrap();
        waits.poll(NOW).unwrap();
    }
    let of_other = numbers(&hangs)[0];
    std::thread::scope(|scope| {
        let (told, heard) = std::sync::mpsc::channel();
        let waker = waits.waker();
        scope.spawn(move || {
            assert!(waits.poll(Duration::MAX).unwrap().is_woken());
            told.send(()).unwrap();
            let records = waits.poll(secs(60)).unwrap();
            assert_eq!(
                records.iter().map(|record| record.partition).collect::<Vec<_>>(),
                [of_other]
            );
        });
        // It waits before the deadline of the other begins, and after.
        waker.wake();
        heard.recv().unwrap();
        hangs.poll(NOW).unwrap();
        append(&orders, of_other, 0..1);
    });
    hangs.poll(NOW).unwrap();
}

/// It does so though it has nothing to read itself.
#[test]
fn waiting_member_hands_partitions_over() {
    let store = Store::in_memory(StoreConfig::default()).unwrap();
    let orders = topic(&store, "orders", 2);
    append(&orders, 1, 0..1);
    let mut waits = member(&store, config().enable_auto_commit(false));
    assert_eq!(waits.poll(secs(60)).unwrap().len(), 1);
    let waker = waits.waker();
    let mut comes = member(&store, config());
    std::thread::scope(|scope| {
        scope.spawn(move || assert!(waits.poll(Duration::MAX).unwrap().is_woken()));
        // Nothing was committed, so the partition's new owner reads it from its start.
        assert_eq!(comes.poll(secs(60)).unwrap().len(), 1);
        waker.wake();
    });
}

#[test]
fn full_disk_stops_commits_and_rebalances() {
    let World { store, fs, .. } = world();
    let orders = topic(&store, "orders", 2);
    append(&orders, 0, 0..10);
    let mut a = member(&store, config().max_poll_records(4));
    assert_eq!(a.poll(NOW).unwrap().len(), 4);
    a.commit().unwrap();
    assert_eq!(a.poll(NOW).unwrap().len(), 4);
    // The rest of the last block is used up first.
    let fill = |consumer: &mut Consumer, offset: u64| {
        fs.set_capacity(0);
        let partition = consumer.assignment().remove(0);
        let offsets = BTreeMap::from([(partition, offset.into())]);
        loop {
            if let Err(full) = consumer.commit_offsets(offsets.clone()) {
                assert!(full.kind() == ErrorKind::StorageFull && full.is_retryable(), "{full}");
                break;
            }
        }
    };
    fill(&mut a, 4);
    assert_eq!(a.committed(&at("orders", 0)).unwrap(), Some(4.into()));
    assert_eq!(a.poll(NOW).unwrap().len(), 2);
    let mut b = member(&store, config());
    b.poll(NOW).unwrap();
    // It would commit before it revokes its partitions.
    for _ in 0..3 {
        assert_eq!(a.poll(NOW).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(b.poll(NOW).unwrap().len(), 0);
    }
    fs.set_capacity(u64::MAX);
    assert_eq!(settle(&mut [&mut a, &mut b]), 0);
    assert_eq!((numbers(&a).len(), numbers(&b).len()), (1, 1));
    assert_eq!(a.committed(&at("orders", 0)).unwrap(), Some(10.into()));

    // A generation whose assignment cannot be stored does not begin.
    let mut c = member(&store, config());
    let position = a.assignment().remove(0);
    let position = a.position(&position).unwrap();
    fill(&mut a, position);
    let mut failed = 0;
    for _ in 0..4 {
        for one in [&mut a, &mut b, &mut c] {
            match one.poll(NOW) {
                Ok(records) => assert!(records.is_empty()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 0 && c.assignment().is_empty());
    fs.set_capacity(u64::MAX);
    settle(&mut [&mut a, &mut b, &mut c]);
    let all = numbers(&a).len() + numbers(&b).len() + numbers(&c).len();
    assert_eq!(all, 2);
}
