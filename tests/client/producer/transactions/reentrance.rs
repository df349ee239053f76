//! Calls of the producer that come from a listener, a waker or a callback while one of its threads
//! writes: none waits for itself, and none harms the transaction after it.

use super::{rejected, transactional};
use crate::producer::produce_error;
use crate::{HOUR, TOPIC, at};
use annals::fs::{Fault, FaultFs, MemFs, Operation, Rule};
use annals::*;
use std::fmt::{Debug, Formatter};
use std::future::Future;
use std::io::ErrorKind::StorageFull;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use support::T0;

/// A call that has not returned by then hangs.
const WATCHDOG: Duration = Duration::from_secs(20);

/// A record of which a segment has room for one.
fn to(partition: u32, value: &str) -> ProducerRecord {
    crate::to(partition, format!("{value:1000}"))
}

fn committed(log: &Log) -> Vec<String> {
    super::committed(log).iter().map(|value| value.trim_end().to_owned()).collect()
}

type Work = Box<dyn FnOnce() + Send>;

/// Does some work at the next new segment, on the thread that has written.
#[derive(Default)]
struct AtRoll(Mutex<Option<Work>>);

impl Debug for AtRoll {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtRoll")
    }
}

impl Listener for AtRoll {
    fn on_event(&self, event: &Event) {
        if matches!(event, Event::SegmentRolled { .. }) {
            self.run();
        }
    }
}

impl AtRoll {
    fn arm(&self, work: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(work));
    }

    fn run(&self) {
        let work = self.0.lock().unwrap().take();
        work.into_iter().for_each(|work| work());
    }
}

impl Wake for AtRoll {
    fn wake(self: Arc<Self>) {
        self.run();
    }
}

struct Scene {
    fs: FaultFs,
    clock: Arc<ManualClock>,
    store: Store,
    topic: Topic,
    listener: Arc<AtRoll>,
}

/// Each batch of a partition begins a segment, except the first one.
fn rolls_at_batch() -> Scene {
    let config = TopicConfig::default().partitions(2).set("segment.bytes", "2000").unwrap();
    scene(config, TransactionCoordinatorConfig::default())
}

/// Each change of a transaction begins a segment.
fn rolls_at_change() -> Scene {
    let coordinator = TransactionCoordinatorConfig::default().segment_bytes(200);
    scene(TopicConfig::default().partitions(2), coordinator)
}

fn scene(topic: TopicConfig, coordinator: TransactionCoordinatorConfig) -> Scene {
    let listener = Arc::new(AtRoll::default());
    let fs = FaultFs::new(MemFs::new());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(T0)));
    let config = StoreConfig::default().fs(fs.clone()).maintenance(None).clock(clock.clone());
    let config = config.listener(listener.clone()).transaction_coordinator(coordinator);
    let store = Store::open("data", config).unwrap();
    let topic = store.create_topic(TOPIC, topic).unwrap();
    Scene { fs, clock, store, topic, listener }
}

impl Scene {
    fn log(&self, partition: u32) -> Log {
        self.topic.partition(partition).unwrap()
    }

    fn producer(&self, config: ProducerConfig) -> Producer {
        let producer = self.store.producer(config).unwrap();
        producer.init_transactions().unwrap();
        producer.begin_transaction().unwrap();
        producer
    }

    /// No partition holds readers back once all transactions have ended.
    #[track_caller]
    fn assert_ended(&self) {
        for log in self.topic.partitions().iter() {
            assert_eq!(log.offsets().last_stable, log.offsets().end);
        }
    }
}

/// Runs work on a thread of its own, and fails if it hangs.
#[track_caller]
fn bounded<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    std::thread::spawn(move || tell.send(work()));
    answer(&told, what)
}

#[track_caller]
fn answer<T>(told: &Receiver<T>, what: &str) -> T {
    told.recv_timeout(WATCHDOG).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn is_writing<T: Debug>(result: Result<T>) {
    let error = produce_error(result);
    assert!(matches!(error, ProduceError::WhileWriting), "{error}");
}

/// A thread has taken four batches, and a listener aborts their transaction after the second one.
/// The others must not get into the transaction that the listener begins.
#[test]
fn taken_batches_miss_next_transaction() {
    let scene = rolls_at_batch();
    let producer = scene.producer(transactional().batch_bytes(100));
    producer.send(to(0, "first")).unwrap();
    producer.flush().unwrap();
    let full = Rule::new(Operation::Write, Fault::Error(StorageFull)).path("orders-0");
    let full = scene.fs.add_rule(full);
    let send = |value: &str| producer.send(to(0, value)).unwrap();
    let sent = ["a", "b", "c", "d"].map(send);
    scene.fs.remove_rule(full);
    let own = producer.clone();
    scene.listener.arm(move || {
        own.abort_transaction().unwrap();
        own.begin_transaction().unwrap();
        own.send(to(0, "next")).unwrap();
    });
    // The producer's own thread may be the one that writes.
    scene.clock.advance(Duration::from_secs(1));
    let flushes = producer.clone();
    bounded("flush", move || flushes.flush()).ok();
    let [a, b, c, d] = sent;
    // The write that failed had begun the segment of the first one.
    assert_eq!([a, b].map(|done| done.wait().unwrap().offset), [Some(1), Some(2)]);
    for late in [c, d] {
        assert!(matches!(produce_error(late.wait()), ProduceError::TransactionAborted));
    }
    producer.commit_transaction().unwrap();
    assert_eq!(committed(&scene.log(0)), ["next"]);
    scene.assert_ended();
}

/// The coordinator has added the partition, and the listener aborts before the batch is appended.
/// The log rejects the batch as that of an old epoch, but no other producer has taken over.
#[test]
fn late_batch_fences_nothing() {
    for begins in [false, true] {
        let scene = rolls_at_change();
        let producer = scene.producer(transactional());
        let own = producer.clone();
        scene.listener.arm(move || {
            own.abort_transaction().unwrap();
            if begins {
                own.begin_transaction().unwrap();
                own.send(to(1, "next")).unwrap();
            }
        });
        let late = producer.send(to(0, "late")).unwrap();
        let error = bounded("wait", move || produce_error(late.wait()));
        assert!(matches!(error, ProduceError::TransactionAborted), "{error}");
        if !begins {
            producer.begin_transaction().unwrap();
            producer.send(to(1, "next")).unwrap();
        }
        producer.commit_transaction().unwrap();
        assert!(committed(&scene.log(0)).is_empty());
        assert_eq!(committed(&scene.log(1)), ["next"]);
        scene.assert_ended();
    }
}

fn billing(scene: &Scene) -> (Consumer, ConsumerGroupMetadata) {
    let config = crate::earliest("billing").enable_auto_commit(false);
    let mut consumer = scene.store.consumer(config).unwrap();
    consumer.subscribe([TOPIC]).unwrap();
    consumer.poll(Duration::ZERO).unwrap();
    let group = consumer.group_metadata().unwrap();
    (consumer, group)
}

/// So it is with offsets.
#[test]
fn late_offsets_fence_nothing() {
    for begins in [false, true] {
        let scene = rolls_at_change();
        let (consumer, group) = billing(&scene);
        let producer = scene.producer(transactional());
        let own = producer.clone();
        scene.listener.arm(move || {
            own.abort_transaction().unwrap();
            if begins {
                own.begin_transaction().unwrap();
            }
        });
        let (sends, late) = (producer.clone(), group.clone());
        let send = move || sends.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &late);
        let (error, text) = rejected(bounded("send offsets", send));
        assert!(matches!(error, TransactionError::NoTransaction { .. }), "{text}");
        if !begins {
            producer.begin_transaction().unwrap();
        }
        producer.send_offsets_to_transaction([(at(TOPIC, 1), 7)], &group).unwrap();
        producer.commit_transaction().unwrap();
        let committed = |partition| consumer.committed(&at(TOPIC, partition)).unwrap();
        assert_eq!(committed(0), None);
        assert_eq!(committed(1).map(|committed| committed.offset), Some(7));
    }
}

/// The marker must follow all batches of its transaction. If a batch came after it, the log would
/// reject the batch as that of a fenced producer.
#[test]
fn abort_waits_for_batch_in_flight() {
    let scene = rolls_at_batch();
    let producer = scene.producer(transactional());
    producer.send(to(0, "first")).unwrap();
    producer.flush().unwrap();
    let (entered, is_entered) = channel();
    let (leave, may_leave) = channel::<()>();
    scene.listener.arm(move || {
        entered.send(()).unwrap();
        may_leave.recv().unwrap();
    });
    let in_flight = producer.send(to(0, "in flight")).unwrap();
    let (tell, is_dropped) = channel();
    producer.send_with_callback(to(1, "dropped"), move |_| tell.send(()).unwrap()).unwrap();
    let writer = std::thread::spawn(move || in_flight.wait());
    answer(&is_entered, "write");
    let (ended, is_ended) = channel();
    let aborts = producer.clone();
    std::thread::spawn(move || ended.send(aborts.abort_transaction()).unwrap());
    // The abort drops what is not written, and then waits for the writer.
    answer(&is_dropped, "drop");
    let is_early = (0..1000).any(|_| {
        std::thread::yield_now();
        is_ended.try_recv().is_ok()
    });
    leave.send(()).unwrap();
    assert!(!is_early);
    answer(&is_ended, "abort").unwrap();
    assert_eq!(writer.join().unwrap().unwrap().offset, Some(1));
    assert_eq!((scene.log(0).offsets().last_stable, scene.log(0).offsets().end), (3, 3));
    assert!(committed(&scene.log(0)).is_empty());
    assert_eq!(scene.log(1).offsets().end, 0);
}

/// The offsets are committed with the transaction, or not at all: a thread that ends it waits for
/// another one that adds them.
#[test]
fn end_waits_for_offsets_in_flight() {
    for commits in [true, false] {
        let scene = rolls_at_change();
        let (consumer, group) = billing(&scene);
        let producer = scene.producer(transactional());
        let (entered, is_entered) = channel();
        let (leave, may_leave) = channel::<()>();
        scene.listener.arm(move || {
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        let adds = producer.clone();
        let adds = std::thread::spawn(move || {
            adds.send_offsets_to_transaction([(at(TOPIC, 0), 5)], &group)
        });
        answer(&is_entered, "send offsets");
        let (ended, is_ended) = channel();
        let ends = producer.clone();
        std::thread::spawn(move || {
            let done = if commits { ends.commit_transaction() } else { ends.abort_transaction() };
            ended.send(done).unwrap();
        });
        // A transaction that is being ended accepts no records.
        let mut accepted = 0;
        while producer.send(to(0, "in time")).is_ok() {
            accepted += 1;
            std::thread::yield_now();
        }
        let is_early = (0..1000).any(|_| {
            std::thread::yield_now();
            is_ended.try_recv().is_ok()
        });
        leave.send(()).unwrap();
        assert!(!is_early);
        adds.join().unwrap().unwrap();
        answer(&is_ended, "end").unwrap();
        let found = consumer.committed(&at(TOPIC, 0)).unwrap().map(|found| found.offset);
        assert_eq!(found, commits.then_some(5));
        assert_eq!(committed(&scene.log(0)).len(), if commits { accepted } else { 0 });
        scene.assert_ended();
    }
}

/// A batch that the thread itself writes is not done before the listener returns.
#[test]
fn listener_cannot_wait_for_own_batch() {
    let scene = rolls_at_batch();
    let producer = scene.producer(transactional());
    producer.send(to(0, "first")).unwrap();
    producer.flush().unwrap();
    let (own, (tell, told)) = (producer.clone(), channel());
    scene.listener.arm(move || {
        let behind = own.send(to(0, "behind")).unwrap();
        is_writing(own.flush());
        is_writing(own.commit_transaction());
        is_writing(behind.wait());
        assert!(behind.wait_timeout(Duration::ZERO).unwrap().is_none());
        own.poll();
        // Another partition is free.
        own.send(to(1, "beside")).unwrap().wait().unwrap();
        tell.send(()).unwrap();
    });
    let flushes = producer.clone();
    flushes.send(to(0, "second")).unwrap();
    bounded("flush", move || flushes.flush()).unwrap();
    answer(&told, "the listener");
    producer.commit_transaction().unwrap();
    assert_eq!(committed(&scene.log(0)), ["first", "second", "behind"]);
    assert_eq!(committed(&scene.log(1)), ["beside"]);
    let text = ProduceError::WhileWriting.to_string();
    assert!(text.ends_with("call it on another thread, or in a callback of a record"), "{text}");
}

/// Without transactions it is the same.
#[test]
fn producer_may_be_closed_in_listener() {
    let plain = ProducerConfig::default().linger(HOUR).delivery_timeout(HOUR);
    for (config, is_transactional) in [(plain, false), (transactional(), true)] {
        let scene = rolls_at_batch();
        let producer = scene.store.producer(config).unwrap();
        if is_transactional {
            producer.init_transactions().unwrap();
            producer.begin_transaction().unwrap();
        }
        producer.send(to(0, "first")).unwrap();
        producer.flush().unwrap();
        let (own, (tell, told)) = (producer.clone(), channel());
        scene.listener.arm(move || {
            let error = produce_error(own.close());
            tell.send(matches!(error, ProduceError::Aborted)).unwrap();
        });
        let written = producer.send(to(0, "second")).unwrap();
        let flushes = producer.clone();
        bounded("flush", move || flushes.flush()).unwrap();
        assert!(answer(&told, "the listener"));
        assert_eq!(written.wait().unwrap().offset, Some(1));
        scene.assert_ended();
    }
}

/// A waker is called while the thread still has a batch to write, and callbacks to call.
#[test]
fn waker_cannot_wait_for_own_batches() {
    let scene = rolls_at_batch();
    let producer = scene.producer(transactional().batch_bytes(100));
    let full = Rule::new(Operation::Write, Fault::Error(StorageFull)).path("orders-0");
    let full = scene.fs.add_rule(full);
    let mut first = producer.send(to(0, "a")).unwrap();
    let (called, calls) = channel();
    let own = producer.clone();
    let callback = move |_: Result<&RecordMetadata, &Error>| {
        own.flush().unwrap();
        called.send(()).unwrap();
    };
    producer.send_with_callback(to(0, "b"), callback).unwrap();
    let task = Arc::new(AtRoll::default());
    let (own, (tell, told)) = (producer.clone(), channel());
    task.arm(move || {
        is_writing(own.flush());
        is_writing(own.commit_transaction());
        tell.send(()).unwrap();
    });
    let waker = Waker::from(task);
    let pinned = std::pin::Pin::new(&mut first);
    assert!(pinned.poll(&mut Context::from_waker(&waker)).is_pending());
    scene.fs.remove_rule(full);
    scene.clock.advance(Duration::from_secs(1));
    let flushes = producer.clone();
    bounded("flush", move || flushes.flush()).unwrap();
    answer(&told, "the waker");
    answer(&calls, "the callback");
    producer.commit_transaction().unwrap();
    assert_eq!(committed(&scene.log(0)).len(), 2);
}

/// No thread writes while a callback runs, so a callback may end the transaction.
#[test]
fn callback_may_end_transaction() {
    for commits in [true, false] {
        let scene = rolls_at_batch();
        let producer = scene.producer(transactional());
        let (own, (tell, told)) = (producer.clone(), channel());
        let callback = move |_: Result<&RecordMetadata, &Error>| {
            own.send(to(1, "with it")).unwrap();
            own.flush().unwrap();
            let ended = if commits { own.commit_transaction() } else { own.abort_transaction() };
            tell.send(ended).unwrap();
        };
        let sent = producer.send_with_callback(to(0, "paid"), callback).unwrap();
        bounded("wait", move || sent.wait()).unwrap();
        answer(&told, "the callback").unwrap();
        let found = [committed(&scene.log(0)).len(), committed(&scene.log(1)).len()];
        assert_eq!(found, [usize::from(commits); 2]);
        scene.assert_ended();
    }
}

/// A callback that the commit itself calls, or waits for, cannot end the transaction once more.
#[test]
fn callback_of_commit_is_told() {
    let scene = rolls_at_change();
    let producer = scene.producer(transactional());
    let (own, (tell, told)) = (producer.clone(), channel());
    let callback = move |_: Result<&RecordMetadata, &Error>| {
        own.flush().unwrap();
        for again in [own.commit_transaction(), own.abort_transaction(), own.begin_transaction()] {
            let (error, text) = rejected(again);
            assert!(matches!(error, TransactionError::Concurrent { .. }), "{text}");
        }
        tell.send(()).unwrap();
    };
    producer.send_with_callback(to(0, "paid"), callback).unwrap();
    let commits = producer.clone();
    bounded("commit", move || commits.commit_transaction()).unwrap();
    answer(&told, "the callback");
    assert_eq!(committed(&scene.log(0)), ["paid"]);
}
