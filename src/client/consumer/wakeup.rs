//! The wakeup of a consumer.

use crate::clock::Clock;
use crate::notify::Notify;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// Rings when there may be work: records, topics, an answer of the group, a call of the waker.
///
/// A poll notes the number of rings, looks at everything, and then waits until the number changes.
#[derive(Debug, Default)]
pub(crate) struct ConsumerWakeup {
    notify: Notify,
    count: AtomicU64,
    woken: AtomicBool,
}

impl Wake for ConsumerWakeup {
    fn wake(self: Arc<Self>) {
        self.notify();
    }
}

impl ConsumerWakeup {
    /// Returns a waker that rings it.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    pub(crate) fn notify(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.notify.notify();
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the bell has rung since `since`, or the time is up; returns whether it has
    /// rung.
    pub(super) fn wait(&self, since: u64, timeout: Option<Duration>, clock: &dyn Clock) -> bool {
        self.notify.wait(timeout, clock, || self.count() != since)
    }

    /// Returns whether the waker was called, and clears that.
    pub(super) fn take_call(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }
}

/// Rings a bell once. It must be armed to do so again.
#[derive(Debug)]
pub(super) struct OneShotWaker {
    wakeup: Arc<ConsumerWakeup>,
    armed: AtomicBool,
}

impl OneShotWaker {
    pub(super) fn new(wakeup: &Arc<ConsumerWakeup>) -> Arc<OneShotWaker> {
        Arc::new(OneShotWaker { wakeup: Arc::clone(wakeup), armed: AtomicBool::new(false) })
    }

    pub(super) fn wakeup(&self) -> &Arc<ConsumerWakeup> {
        &self.wakeup
    }

    /// Arms the one_shot; returns whether it was not armed before.
    pub(super) fn arm(&self) -> bool {
        !self.armed.swap(true, Ordering::SeqCst)
    }
}

impl Wake for OneShotWaker {
    fn wake(self: Arc<Self>) {
        self.armed.store(false, Ordering::SeqCst);
        self.wakeup.notify();
    }
}

/// Wakes a [`Consumer`](crate::Consumer) from any thread: a poll in progress, or the next one,
/// returns at once.
///
/// The poll returns no records, and [`is_woken`](crate::ConsumerRecords::is_woken) is true; Kafka
/// throws a `WakeupException`. Several calls before that poll count as one.
///
/// ```
/// use annals::{ConsumerConfig, Store, StoreConfig, TopicConfig, TopicPartition};
/// use std::time::Duration;
///
/// let store = Store::in_memory(StoreConfig::default())?;
/// store.create_topic("orders", TopicConfig::default())?;
/// let mut consumer = store.consumer(ConsumerConfig::default())?;
/// consumer.assign([TopicPartition::new("orders", 0)])?;
///
/// let waker = consumer.waker();
/// let thread = std::thread::spawn(move || waker.wake());
/// assert!(consumer.poll(Duration::MAX)?.is_woken());
/// # thread.join().unwrap();
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConsumerWaker {
    wakeup: Arc<ConsumerWakeup>,
}

impl ConsumerWaker {
    pub(super) fn new(wakeup: &Arc<ConsumerWakeup>) -> ConsumerWaker {
        ConsumerWaker { wakeup: Arc::clone(wakeup) }
    }

    /// Ends the poll in progress, or else the next one.
    pub fn wake(&self) {
        self.wakeup.woken.store(true, Ordering::SeqCst);
        self.wakeup.notify();
    }
}
