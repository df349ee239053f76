//! Waking a consumer that waits in a poll.

use crate::clock::Clock;
use crate::notify::Notify;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

/// Wakes a poll when there may be work: records, topics, an answer of the group, a call of the
/// [`ConsumerWaker`].
///
/// A poll reads the number of wakeups, looks at everything, and then waits until the number
/// changes.
#[derive(Debug, Default)]
pub(super) struct ConsumerWakeup {
    notify: Notify,
    count: AtomicU64,
    /// Whether a [`ConsumerWaker`] was called since the last poll that returned because of it.
    called: AtomicBool,
}

impl Wake for ConsumerWakeup {
    fn wake(self: Arc<Self>) {
        self.notify();
    }
}

impl ConsumerWakeup {
    /// Returns a waker for this consumer.
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    fn notify(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.notify.notify();
    }

    /// Returns the number of wakeups so far.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the number of wakeups is no longer `seen`, for at most `timeout`; returns
    /// whether it has changed.
    pub(super) fn wait(&self, seen: u64, timeout: Option<Duration>, clock: &dyn Clock) -> bool {
        self.notify.wait(timeout, clock, || self.count() != seen)
    }

    /// Returns whether a [`ConsumerWaker`] was called, and clears that.
    pub(super) fn take_call(&self) -> bool {
        self.called.swap(false, Ordering::SeqCst)
    }
}

/// Wakes a consumer once. It must be armed to do so again.
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

    /// Arms the waker; returns whether it was not armed before.
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
        self.wakeup.called.store(true, Ordering::SeqCst);
        self.wakeup.notify();
    }
}
