//! Partitions move between the members of a group, as members, topics and partitions come and go.

use super::{
    GROUP, Told, World, config, member, numbers, refusal, secs, settle, store_on, topic, world,
};
use crate::{NOW, append, at, cooperative};
use annals::assignor::{Assignor, CooperativeSticky, Range, RoundRobin, Sticky};
use annals::{
    Consumer, ConsumerConfig, Error, ErrorKind, GroupCoordinatorConfig, GroupError, GroupState,
    Store, StoreConfig, TopicPattern,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
        let lags: Vec<_> = described.offsets.values().map(|offset| offset.lag).collect();
        assert_eq!(lags, [Some(0); 4]);
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

#[test]
fn opening_rejects_invalid_group_options() {
    let none = GroupCoordinatorConfig::default().offsets_partitions(0);
    let error = Store::in_memory(StoreConfig::default().group_coordinator(none)).unwrap_err();
    assert!(matches!(error, Error::InvalidConfig { option: "offsets_partitions", .. }), "{error}");
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

/// A member that waits in `poll` hands its partitions over although it has nothing to read.
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
