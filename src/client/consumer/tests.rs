use super::*;
use crate::clock::ManualClock;
use crate::store::{StoreConfig, TopicConfig};
use crate::types::Timestamp;

const NOW: Duration = Duration::ZERO;

fn store(clock: &Arc<ManualClock>) -> Store {
    let store = Store::in_memory(StoreConfig::default().clock(clock.clone())).unwrap();
    store.create_topic("orders", TopicConfig::default().partitions(2)).unwrap();
    store
}

fn member(store: &Store, config: ConsumerConfig) -> Consumer {
    let mut consumer = store.consumer(config).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    consumer.poll(NOW).unwrap();
    consumer
}

/// Returns whether an act wakes a consumer that waits.
fn wakes(waits: &mut Consumer, deadline: Option<Duration>, act: impl FnOnce()) -> bool {
    waits.begin_poll().unwrap();
    waits.announce_wait(deadline).unwrap();
    let before = waits.wakeup.count();
    act();
    waits.wakeup.count() != before
}

#[test]
fn waiting_member_wakes_when_group_changes() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let short = ConsumerConfig::new("g").max_poll_interval(Duration::from_secs(10));
    let mut waits = member(&store, ConsumerConfig::new("g"));
    let mut other = None;
    assert!(wakes(&mut waits, None, || other = Some(member(&store, short))));
    let mut other = other.unwrap();
    for _ in 0..4 {
        waits.poll(NOW).unwrap();
        other.poll(NOW).unwrap();
    }
    assert_eq!((waits.assignment().len(), other.assignment().len()), (1, 1));

    // While the other one polls, nothing is due. Afterwards, its next poll is.
    waits.begin_poll().unwrap();
    other.begin_poll().unwrap();
    assert!(wakes(&mut waits, None, || other.poll(NOW).map(drop).unwrap()));
    // A consumer that knows the earlier deadline need not be woken when it becomes later.
    let due = waits.announce_wait(None).unwrap();
    assert_eq!(due, Some(Duration::from_secs(10)));
    clock.advance(Duration::from_secs(5));
    assert!(!wakes(&mut waits, due, || other.poll(NOW).map(drop).unwrap()));

    clock.advance(Duration::from_secs(10));
    waits.poll(NOW).unwrap();
    assert_eq!(waits.assignment().len(), 2);
}

#[test]
fn all_waiting_members_wake_when_group_rebalances() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let mut a = member(&store, ConsumerConfig::new("g"));
    let mut b = member(&store, ConsumerConfig::new("g"));
    for _ in 0..4 {
        a.poll(NOW).unwrap();
        b.poll(NOW).unwrap();
    }
    let before = [&mut a, &mut b].map(|waits| {
        waits.begin_poll().unwrap();
        waits.announce_wait(None).unwrap();
        waits.wakeup.count()
    });
    let mut c = member(&store, ConsumerConfig::new("g"));
    assert!(a.wakeup.count() > before[0] && b.wakeup.count() > before[1]);
    for _ in 0..4 {
        for one in [&mut a, &mut b, &mut c] {
            one.poll(NOW).unwrap();
        }
    }
    let before = [&mut a, &mut b].map(|waits| {
        waits.begin_poll().unwrap();
        waits.announce_wait(None).unwrap();
        waits.wakeup.count()
    });
    drop(c);
    assert!(a.wakeup.count() > before[0] && b.wakeup.count() > before[1]);
}

#[test]
fn consumer_wakes_once_when_records_come() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
    let store = store(&clock);
    let orders = store.topic("orders").unwrap();
    let mut consumer = member(&store, ConsumerConfig::new("g"));
    for _ in 0..3 {
        consumer.poll(NOW).unwrap();
        let before = consumer.wakeup.count();
        consumer.partitions.iter().for_each(Partition::register_waker);
        for _ in 0..2 {
            orders.partition(0).unwrap().append("x").unwrap();
        }
        assert_eq!(consumer.wakeup.count(), before + 1);
        assert_eq!(consumer.poll(NOW).unwrap().len(), 2);
    }
}
