//! Testing with annals: a store in memory instead of a broker, time that you move, and disks that
//! fill up, fail and crash.
//!
//! A store [in memory](crate::Store::in_memory) runs the same code as a store on disk, over a file
//! system in memory. So the result of a test about batches, offsets, groups and errors also holds
//! for the store on disk. A test can also do things that are hard to do to a real disk: fail any
//! call, cut the power at any moment, and check every state that the disk could be left in. A
//! broker has to be started in a container, waited for and shared between tests. Here, each test
//! creates its own store and drops it.
//!
//! # The service under test
//!
//! Pass the store to your service, as you would pass it a clock. The test creates the store, and
//! then checks the topics:
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! /// Sends an invoice for each order.
//! struct Billing { orders: Consumer, invoices: Producer }
//!
//! impl Billing {
//!     fn new(store: &Store) -> Result<Billing> {
//!         let config = ConsumerConfig::new("billing")
//!             .auto_offset_reset(AutoOffsetReset::Earliest)
//!             .enable_auto_commit(false);
//!         let mut orders = store.consumer(config)?;
//!         orders.subscribe(["orders"])?;
//!         let invoices = store.producer(ProducerConfig::default().linger(Duration::ZERO))?;
//!         Ok(Billing { orders, invoices })
//!     }
//!
//!     /// One round of its loop. In production the timeout is longer.
//!     fn step(&mut self, timeout: Duration) -> Result<usize> {
//!         let records = self.orders.poll(timeout)?;
//!         for record in &records {
//!             let text = format!("invoice for {}", record.value_str().unwrap_or_default());
//!             self.invoices.send(("invoices", text))?;
//!         }
//!         self.invoices.flush()?; // first the result, then the commit
//!         self.orders.commit()?;
//!         Ok(records.len())
//!     }
//! }
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! let orders = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! let invoices = store.create_topic("invoices", TopicConfig::default())?.partition(0)?;
//! orders.append("two apples")?;
//!
//! let mut billing = Billing::new(&store)?;
//! assert_eq!(billing.step(Duration::ZERO)?, 1);
//! assert_eq!(billing.step(Duration::ZERO)?, 0);
//! assert_eq!(invoices.get(0)?.unwrap().value_str(), Some("invoice for two apples"));
//! # Ok::<(), Error>(())
//! ```
//!
//! Poll with [`Duration::ZERO`](std::time::Duration::ZERO): the poll returns the records that are
//! there, and does the consumer's part in its group. If there are no records, a poll with a
//! timeout blocks the test for that long.
//!
//! # Time that you move
//!
//! All time comes from the [`Clock`](crate::Clock) of the store: timestamps, retention, lingering,
//! retries, sessions, the expiry of offsets. With a [`ManualClock`](crate::ManualClock), a week
//! passes in one line. Moving the clock starts no work: call
//! [`Store::maintain`](crate::Store::maintain) or [`Producer::poll`](crate::Producer::poll)
//! afterwards, or poll a consumer.
//!
//! ```
//! use annals::*;
//! use std::{sync::Arc, time::Duration};
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let store = Store::in_memory(StoreConfig::default().clock(clock.clone()))?;
//! let day = Duration::from_secs(86_400);
//! let config = TopicConfig::default().segment_age(day / 2).retention_age(2 * day);
//! let log = store.create_topic("orders", config)?.partition(0)?;
//! for _ in 0..5 {
//!     log.append("an order")?;
//!     clock.advance(day);
//! }
//! store.maintain()?;
//! assert_eq!(log.offsets().start, 3);
//! # Ok::<(), Error>(())
//! ```
//!
//! Moving a manual clock does not end a call that *blocks*, such as a poll with a timeout or a
//! send into a full buffer. Such a call returns when its event occurs, or when its timeout has
//! passed in real time. If a test must not wait, call without a timeout.
//!
//! # A disk that is full
//!
//! [`MemFs::set_capacity`](crate::fs::MemFs::set_capacity) fills the disk, and
//! [`MemFs::set_file_limit`](crate::fs::MemFs::set_file_limit) uses up its inodes.
//! [Durability](super::durability#a-full-disk) lists the calls that still work. A producer keeps
//! the records that it cannot write, and writes them, in order, when there is room:
//!
//! ```
//! use annals::{fs::MemFs, *};
//! use std::{sync::Arc, time::Duration};
//!
//! let (disk, clock) = (MemFs::new(), Arc::new(ManualClock::new(Timestamp::from_millis(0))));
//! let config = StoreConfig::default().fs(disk.clone()).clock(clock.clone()).maintenance(None);
//! let store = Store::open("data", config)?;
//! store.create_topic("orders", TopicConfig::default())?;
//! let producer = store.producer(ProducerConfig::default().linger(Duration::ZERO))?;
//!
//! disk.set_capacity(disk.used_bytes());
//! let orders: Vec<_> = (0..100)
//!     .map(|_| producer.send(("orders", "x".repeat(1000))))
//!     .collect::<Result<_>>()?;
//! assert!(!orders[99].is_done());
//!
//! disk.set_capacity(u64::MAX);
//! clock.advance(Duration::from_secs(1)); // the pause before the retry
//! producer.poll();
//! for (offset, order) in (0..).zip(&orders) {
//!     assert_eq!(order.wait()?.offset, Some(offset));
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! # Calls that fail
//!
//! [`FaultFs`](crate::fs::FaultFs) stands between the store and its disk. A
//! [`Rule`](crate::fs::Rule) selects calls: by [`Operation`](crate::fs::Operation), by a part of
//! the path, the nth call, every call from the nth on, or calls by chance with a seed. A
//! [`Fault`](crate::fs::Fault) says what happens to them:
//!
//! | to test | use |
//! |---|---|
//! | a disk without room | `Fault::Error(StorageFull)` on writes, or `MemFs::set_capacity` |
//! | no descriptors left | `Fault::Errno(24)` on `Open` |
//! | an fsync that fails | `Fault::Error(Other)` on `SyncData`: the log is [poisoned](super::durability#a-poisoned-log), other logs go on |
//! | a write that is cut short | `Fault::PartialWrite`, `Fault::ShortIo` |
//! | corruption | `Fault::FlipBit` on `Read` and `View` |
//! | a slow disk, or one call that is held until the test releases it | [`Fault::call`](crate::fs::Fault::call) |
//! | faults in one partition | `.path("orders-1")` |
//! | the order of calls | [`trace`](crate::fs::FaultFs::trace) |
//!
//! ```
//! use annals::{fs::{Fault, FaultFs, MemFs, Operation, Rule}, *};
//! use std::io;
//!
//! let fs = FaultFs::new(MemFs::new());
//! let store = Store::open("data", StoreConfig::default().fs(fs.clone()).maintenance(None))?;
//! store.create_topic("orders", TopicConfig::default().partitions(2))?;
//! let producer = store.producer(ProducerConfig::default().acks(Acks::Flushed))?;
//!
//! let broken = Fault::Error(io::ErrorKind::Other);
//! fs.add_rule(Rule::new(Operation::SyncData, broken).path("orders-1"));
//! let to = |partition| producer.send(ProducerRecord::new("orders", "paid").partition(partition))?.wait();
//! assert_eq!(to(0)?.offset, Some(0));
//! assert!(to(1).is_err());
//! assert_eq!(to(1).unwrap_err().kind(), ErrorKind::Poisoned);
//! assert_eq!(to(0)?.offset, Some(1)); // the other partition goes on
//! # Ok::<(), Error>(())
//! ```
//!
//! # Crashes and loss of power
//!
//! Keep a handle to the [`MemFs`](crate::fs::MemFs). [`kill`](crate::fs::MemFs::kill) returns the
//! disk as the next process would find it; [`crash`](crate::fs::MemFs::crash) returns it as a loss
//! of power could leave it. Both are copies, and the original continues. So a test can crash after
//! each step of a service and check its promises. This test checks that each record is there after
//! a crash, once it was acknowledged as flushed:
//!
//! ```
//! use annals::{fs::{CrashState, MemFs}, *};
//!
//! let open = |disk: &MemFs| Store::open("data", StoreConfig::default().fs(disk.clone()).maintenance(None));
//! let disk = MemFs::new();
//! let store = open(&disk)?;
//! store.create_topic("orders", TopicConfig::default())?;
//! let producer = store.producer(ProducerConfig::default().acks(Acks::Flushed))?;
//! for n in 0..10_u64 {
//!     producer.send(("orders", format!("order {n}")))?.wait()?;
//!     for seed in 0..5 {
//!         let after = open(&disk.crash(CrashState::Random { seed }))?;
//!         let log = after.topic("orders")?.partition(0)?;
//!         assert_eq!(log.get(n)?.unwrap().value_str(), Some(format!("order {n}").as_str()));
//!     }
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! You can also explore how the threads of a store, and your own, interleave:
//! [`FaultFs::interleave`](crate::fs::FaultFs::interleave) and
//! [`FaultFs::together`](crate::fs::FaultFs::together) let a seed choose the order of their calls.
//!
//! # Groups, rebalances, late commits
//!
//! One thread can poll any number of consumers in turn, so each step of a rebalance is a line of
//! the test. A rebalance takes several polls of each member, so poll all of them in turn, as
//! `settle` does below. A consumer that is not polled behaves like one that hangs:
//!
//! ```
//! use annals::*;
//! use std::{sync::Arc, time::Duration};
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let store = Store::in_memory(StoreConfig::default().clock(clock.clone()))?;
//! let orders = store.create_topic("orders", TopicConfig::default().partitions(4))?;
//! let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
//! let member = || {
//!     let mut consumer = store.consumer(config.clone())?;
//!     consumer.subscribe(["orders"])?;
//!     Ok::<_, Error>(consumer)
//! };
//! let settle = |members: &mut [&mut Consumer]| -> Result<()> {
//!     for _ in 0..6 {
//!         for member in members.iter_mut() {
//!             member.poll(Duration::ZERO)?;
//!         }
//!     }
//!     Ok(())
//! };
//!
//! let (mut a, mut b) = (member()?, member()?);
//! settle(&mut [&mut a, &mut b])?;
//! assert_eq!((a.assignment().len(), b.assignment().len()), (2, 2));
//!
//! // `a` works for longer than it may. The group gives its partitions to `b`, and its commit is too late.
//! for log in orders.partitions().iter() {
//!     log.append("an order")?;
//! }
//! assert_eq!(a.poll(Duration::ZERO)?.len(), 2);
//! clock.advance(Duration::from_secs(300));
//! settle(&mut [&mut b])?;
//! assert_eq!(b.assignment().len(), 4);
//! assert_eq!(a.commit().unwrap_err().kind(), ErrorKind::Rebalancing);
//!
//! // Its next poll joins again. `b` has read the same records: at least once, never lost.
//! settle(&mut [&mut a, &mut b])?;
//! assert_eq!((a.assignment().len(), b.assignment().len()), (2, 2));
//! # Ok::<(), Error>(())
//! ```
//!
//! Other patterns:
//!
//! - *A worker is killed.* Drop its consumer without closing it: the consumer leaves the group and
//!   commits nothing. The group reads its records again.
//! - *All workers are killed.* Open a store on [`kill`](crate::fs::MemFs::kill) of the disk:
//!   groups continue where they committed.
//! - *An operator resets the group.* Call [`Admin::reset_offsets`](crate::Admin::reset_offsets)
//!   when all members are closed.
//! - *A listener is told of a rebalance.* Pass it to
//!   [`subscribe_with_listener`](crate::Consumer::subscribe_with_listener);
//!   [`RebalanceListener`](crate::RebalanceListener) has an example.
//! - *A commit fails.* Add a rule for writes with the path `__consumer_offsets`.
//! - *Records are deleted under a consumer.* Call
//!   [`Admin::delete_records`](crate::Admin::delete_records), and test the policies of
//!   [`AutoOffsetReset`](crate::AutoOffsetReset).
//!
//! # Transactions
//!
//! The promise of a service that processes records in [transactions](super::transactions): each
//! input has one output, and the offset of the input is committed with it. So a test ends the
//! service at every moment, and counts. This one ends it between the output and the commit, by an
//! error, by a process that ends, and by the timeout:
//!
//! ```
//! use annals::{fs::MemFs, *};
//! use std::{sync::Arc, time::Duration};
//!
//! /// Makes a bill of each order, once.
//! struct Billing { orders: Consumer, bills: Producer }
//!
//! impl Billing {
//!     fn new(store: &Store) -> Result<Billing> {
//!         let config = ConsumerConfig::new("billing")
//!             .auto_offset_reset(AutoOffsetReset::Earliest)
//!             .isolation_level(IsolationLevel::ReadCommitted)
//!             .enable_auto_commit(false);
//!         let mut orders = store.consumer(config)?;
//!         orders.subscribe(["orders"])?;
//!         let config = ProducerConfig::default().transactional_id("billing").linger(Duration::ZERO);
//!         let bills = store.producer(config)?;
//!         bills.init_transactions()?; // ends what the process before left open
//!         Ok(Billing { orders, bills })
//!     }
//!
//!     /// Bills the next orders. `before_commit` is where the test interferes.
//!     fn step(&mut self, before_commit: impl FnOnce() -> Result<()>) -> Result<()> {
//!         let orders = self.orders.poll(Duration::ZERO)?;
//!         let group = self.orders.group_metadata()?;
//!         self.bills.transaction(|tx| {
//!             for order in &orders {
//!                 tx.send(("bills", order.value_str().unwrap_or_default().to_owned()))?;
//!             }
//!             self.bills.flush()?; // written, but not decided
//!             tx.send_offsets(orders.next_offsets().clone(), &group)?;
//!             before_commit()
//!         })
//!     }
//! }
//!
//! /// What readers of committed records see.
//! fn bills(store: &Store) -> Result<Vec<String>> {
//!     let log = store.topic("bills")?.partition(0)?;
//!     let bills = log.isolated(IsolationLevel::ReadCommitted).reader(StartAt::Earliest)?;
//!     bills.records().map(|bill| Ok(bill?.value_str().unwrap_or_default().to_owned())).collect()
//! }
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let open = |disk: MemFs| {
//!     let config = StoreConfig::default().fs(disk).clock(clock.clone()).maintenance(None);
//!     Store::open("data", config)
//! };
//! let disk = MemFs::new();
//! let store = open(disk.clone())?;
//! let orders = store.create_topic("orders", TopicConfig::default())?.partition(0)?;
//! store.create_topic("bills", TopicConfig::default())?;
//! orders.append("two apples")?;
//!
//! // An error: the transaction is aborted. The next process has the order again.
//! let mut billing = Billing::new(&store)?;
//! assert!(billing.step(|| Err(Error::StoreClosed)).is_err());
//! drop(billing);
//! assert!(bills(&store)?.is_empty());
//!
//! // The process ends inside of the transaction: this is the disk that the next one finds.
//! let mut billing = Billing::new(&store)?;
//! let mut after = None;
//! billing.step(|| Ok(after = Some(disk.kill())))?;
//! assert_eq!(bills(&store)?, ["two apples"]);
//! let store = open(after.unwrap())?;
//! assert!(bills(&store)?.is_empty());
//!
//! // It takes longer than the timeout of a minute.
//! let mut billing = Billing::new(&store)?;
//! let late = billing.step(|| Ok(clock.advance(Duration::from_secs(61))));
//! assert_eq!(late.unwrap_err().kind(), ErrorKind::Abortable);
//! drop(billing);
//!
//! // Nothing interferes. A second producer with the id has fenced the first.
//! let mut billing = Billing::new(&store)?;
//! billing.step(|| Ok(()))?;
//! assert_eq!(bills(&store)?, ["two apples"]);
//! Billing::new(&store)?;
//! let fenced = billing.bills.transaction(|tx| tx.send(("bills", "late")).map(drop));
//! assert_eq!(fenced.unwrap_err().kind(), ErrorKind::Fenced);
//! # Ok::<(), Error>(())
//! ```
//!
//! For a loss of power, use [`crash`](crate::fs::MemFs::crash), and
//! [`Acks::Flushed`](crate::Acks::Flushed) in the producer. To make a call of a transaction fail,
//! wrap the disk in a [`FaultFs`](crate::fs::FaultFs): the paths `__transaction_state` and
//! `__consumer_offsets` are those of decisions and offsets, and
//! `Fault::call(|_| panic!())` is an `Fs` that panics. Check what is seen with
//! [`ReadCommitted`](crate::IsolationLevel::ReadCommitted), and that nothing is left open with
//! [`Offsets::last_stable`](crate::Offsets::last_stable).
//!
//! # Records that cannot be deserialized
//!
//! Such a record is *poison*. Append one, and check what the consumer does with it:
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! let store = Store::in_memory(StoreConfig::default())?;
//! let stock = store.create_topic("stock", TopicConfig::default())?.partition(0)?;
//! let letters = store.create_topic("stock-dead", TopicConfig::default())?.partition(0)?;
//! stock.append(Record::new(12_i32.to_be_bytes().to_vec()).key("apple"))?;
//! stock.append(Record::new("a dozen").key("pear"))?;
//! stock.append(Record::new(7_i32.to_be_bytes().to_vec()).key("plum"))?;
//!
//! let config = ConsumerConfig::new("shop").auto_offset_reset(AutoOffsetReset::Earliest);
//! let mut consumer = store.consumer(config)?;
//! consumer.subscribe(["stock"])?;
//! let producer = store.producer(ProducerConfig::default())?;
//! let mut shop: TypedConsumer<String, i32> =
//!     consumer.typed().on_poison(OnPoison::dead_letter(&producer, "stock-dead"));
//! let keys: Vec<String> =
//!     shop.poll(Duration::ZERO)?.into_iter().flatten().map(|record| record.key).collect();
//! assert_eq!(keys, ["apple", "plum"]);
//! assert_eq!(shop.poison_count(), 1);
//! assert_eq!(letters.get(0)?.unwrap().key_str(), Some("pear"));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Tests that are the same each time
//!
//! With the settings below, a store has no thread of its own, and the thread of the test decides
//! the order of all work:
//!
//! | a thread would run | avoid it with |
//! |---|---|
//! | retention and compaction in the background | [`Store::in_memory`](crate::Store::in_memory), or [`maintenance(None)`](crate::StoreConfig::maintenance) |
//! | the opening, creation and closing of several logs at once | the same, or [`recovery_threads(1)`](crate::StoreConfig::recovery_threads) |
//! | batches that linger | [`linger(Duration::ZERO)`](crate::ProducerConfig::linger) |
//! | retries of batches | no failure in the test; or a manual clock: then [`Producer::poll`](crate::Producer::poll) retries when the test calls it |
//! | awaited handles and flushes; waiting tails of a read-only [`Log`](crate::Log) | `wait`, `flush`, and reads with a timeout of zero |
//!
//! A consumer never has a thread. Only the ids of topics and directories are random in each run;
//! they are names, and no decision depends on them. The partition of a record without a key
//! depends on the producer's id. A new store assigns the same ids in the same order, so the
//! partition is the same in each run. With a manual clock, the numbers in the ids of members are
//! the same, too.
//!
//! ```
//! use annals::*;
//! use std::{sync::Arc, time::Duration};
//!
//! let run = || -> Result<Vec<u32>> {
//!     let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
//!     let store = Store::in_memory(StoreConfig::default().clock(clock))?;
//!     store.create_topic("orders", TopicConfig::default().partitions(10))?;
//!     let config = ProducerConfig::default().linger(Duration::ZERO).batch_bytes(0);
//!     let producer = store.producer(config)?;
//!     (0..50).map(|_| Ok(producer.send(("orders", "x"))?.wait()?.partition)).collect()
//! };
//! assert_eq!(run()?, run()?);
//! # Ok::<(), Error>(())
//! ```
//!
//! # What these tests do not show
//!
//! These tests do not show how long a call takes, or how a real disk behaves beyond the
//! [assumptions](super::durability#what-is-assumed-of-the-disk). Nor do they show what a network
//! between a service and a broker adds, such as lost responses and requests that time out. If you
//! move to a broker later, test those there.
