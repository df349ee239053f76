//! Testing with annals: a store in memory in place of a broker, time that you move, disks that fill up, fail and crash.
//!
//! A store [in memory](crate::Store::in_memory) is the code of a store on disk over a file system in memory. So what a test shows about
//! batches, offsets, groups and errors holds for the store on disk, and a test can do to it what no test does to a disk: fail any call,
//! stop the machine at any moment, and look at all that could be left. A broker in a container has to be started, waited for and
//! shared between tests; here each test makes a store of its own, and throws it away.
//!
//! # The service under test
//!
//! Give a service its store, as you would give it its clock. The test makes one, and looks at topics where others look at logs:
//!
//! ```
//! use annals::*;
//! use std::time::Duration;
//!
//! /// Bills each order once, and says so.
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
//!         self.invoices.flush()?; // first what was done, then that it is done
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
//! Poll with [`Duration::ZERO`](std::time::Duration::ZERO): it takes what is there, and does what its group waits for. A test that polls with a timeout waits for that
//! when nothing comes.
//!
//! # Time that you move
//!
//! All time comes from the [`Clock`](crate::Clock) of the store: timestamps, retention, lingering, retries, sessions, the expiry of offsets. With a
//! [`ManualClock`](crate::ManualClock) a week is a line. Do not count on anything to happen by itself when it is moved: then call
//! [`Store::maintain`](crate::Store::maintain), [`Producer::poll`](crate::Producer::poll), or poll a consumer.
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
//! A call that *blocks* for a while (a poll with a timeout, a full buffer) is not cut short when a manual clock is moved: it is woken by what
//! it waits for, or when as much real time has passed. Where a test must not wait, let it ask without a timeout.
//!
//! # A disk that is full
//!
//! [`MemFs::set_capacity`](crate::fs::MemFs::set_capacity) fills the disk, and
//! [`MemFs::set_file_limit`](crate::fs::MemFs::set_file_limit) uses up its inodes. What works then is in
//! [durability](super::durability#a-full-disk). A producer holds on to what it cannot write, and goes on, in order, when
//! there is room:
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
//! clock.advance(Duration::from_secs(1)); // the pause before it is tried again
//! producer.poll();
//! for (offset, order) in (0..).zip(&orders) {
//!     assert_eq!(order.wait()?.offset, Some(offset));
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! # Calls that fail
//!
//! [`FaultFs`](crate::fs::FaultFs) stands between the store and its disk. A [`Rule`](crate::fs::Rule) names the calls (an
//! [`Operation`](crate::fs::Operation), a part of the path, the nth, from the nth on, by chance with a seed), a
//! [`Fault`](crate::fs::Fault) what becomes of them:
//!
//! | to see | take |
//! |---|---|
//! | a disk without room | `Fault::Error(StorageFull)` on writes, or `MemFs::set_capacity` |
//! | no descriptors left | `Fault::Os(24)` on `Open` |
//! | a sync that fails | `Fault::Error(Other)` on `SyncData`: the log is [poisoned](super::durability#a-poisoned-log), others go on |
//! | a write that is cut short | `Fault::ErrorAfter`, `Fault::Short` |
//! | rot | `Fault::FlipBit` on `Read` and `View` |
//! | a slow disk, or one call held until the test lets it go | [`Fault::call`](crate::fs::Fault::call) |
//! | one partition in trouble | `.path("orders-1")` |
//! | whether the order of calls is right | [`trace`](crate::fs::FaultFs::trace) |
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
//! fs.add(Rule::new(Operation::SyncData, broken).path("orders-1"));
//! let to = |partition| producer.send(ProducerRecord::new("orders", "paid").partition(partition))?.wait();
//! assert_eq!(to(0)?.offset, Some(0));
//! assert!(to(1).is_err());
//! assert_eq!(to(1).unwrap_err().kind(), ErrorKind::Poisoned);
//! assert_eq!(to(0)?.offset, Some(1)); // the other partition goes on
//! # Ok::<(), Error>(())
//! ```
//!
//! # The process dies, the power fails
//!
//! Keep the [`MemFs`](crate::fs::MemFs). [`kill`](crate::fs::MemFs::kill) is the disk as the next process finds it,
//! [`crash`](crate::fs::MemFs::crash) as a loss of power could leave it; both are copies, and the original goes on. So a test can crash
//! after each step of a service and ask whether its promise holds. Here: what was acknowledged as flushed is there, once.
//!
//! ```
//! use annals::{fs::{MemFs, Survive}, *};
//!
//! let open = |disk: &MemFs| Store::open("data", StoreConfig::default().fs(disk.clone()).maintenance(None));
//! let disk = MemFs::new();
//! let store = open(&disk)?;
//! store.create_topic("orders", TopicConfig::default())?;
//! let producer = store.producer(ProducerConfig::default().acks(Acks::Flushed))?;
//! for n in 0..10_u64 {
//!     producer.send(("orders", format!("order {n}")))?.wait()?;
//!     for seed in 0..5 {
//!         let after = open(&disk.crash(Survive::Some { seed }))?;
//!         let log = after.topic("orders")?.partition(0)?;
//!         assert_eq!(log.get(n)?.unwrap().value_str(), Some(format!("order {n}").as_str()));
//!     }
//! }
//! # Ok::<(), Error>(())
//! ```
//!
//! Work that a store does on several threads, and threads of yours, can be explored as well:
//! [`FaultFs::interleave`](crate::fs::FaultFs::interleave) and [`FaultFs::together`](crate::fs::FaultFs::together) let a seed choose
//! the order of their calls.
//!
//! # Groups, rebalances, late commits
//!
//! Any number of consumers can be polled in turn by one thread, which makes each step of a rebalance a line of the test. Whoever is not polled
//! is the one that hangs:
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
//! // `a` is at work for longer than it may. Its partitions are given to `b`, and its commit comes too late.
//! for log in orders.partitions().iter() {
//!     log.append("an order")?;
//! }
//! assert_eq!(a.poll(Duration::ZERO)?.len(), 2);
//! clock.advance(Duration::from_secs(300));
//! settle(&mut [&mut b])?;
//! assert_eq!(b.assignment().len(), 4);
//! assert_eq!(a.commit().unwrap_err().kind(), ErrorKind::Rebalancing);
//!
//! // Its next poll joins again. What it had read was read by `b`, too: at least once, never lost.
//! settle(&mut [&mut a, &mut b])?;
//! assert_eq!((a.assignment().len(), b.assignment().len()), (2, 2));
//! # Ok::<(), Error>(())
//! ```
//!
//! Other patterns:
//!
//! - *A worker is killed.* Drop its consumer without closing it: it leaves, and nothing is committed. What it had read comes again.
//! - *All are killed.* Open a store on [`kill`](crate::fs::MemFs::kill) of the disk: groups go on where they committed.
//! - *Somebody resets the group.* [`Admin::reset_offsets`](crate::Admin::reset_offsets), when all members are closed.
//! - *A commit fails.* A rule for writes with the path `__consumer_offsets`.
//! - *Records are deleted under a consumer.* [`Admin::delete_records`](crate::Admin::delete_records) and the policies of
//!   [`AutoOffsetReset`](crate::AutoOffsetReset).
//!
//! # Poison
//!
//! What is not what the consumer expects is an append away:
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
//! assert_eq!(shop.poisoned(), 1);
//! assert_eq!(letters.get(0)?.unwrap().key_str(), Some("pear"));
//! # Ok::<(), Error>(())
//! ```
//!
//! # Tests that are the same each time
//!
//! With these a store has no thread of its own, and one test thread decides what comes after what:
//!
//! | what would start one | leave it out with |
//! |---|---|
//! | retention and compaction in the background | [`Store::in_memory`](crate::Store::in_memory), or [`maintenance(None)`](crate::StoreConfig::maintenance) |
//! | opening, making and closing logs at once | the same, or [`recovery_threads(1)`](crate::StoreConfig::recovery_threads) |
//! | batches that linger | [`linger(Duration::ZERO)`](crate::ProducerConfig::linger) |
//! | batches that are tried again | nothing that fails; or a manual clock: then [`Producer::poll`](crate::Producer::poll) does it where the test wants it |
//! | a handle or a sync that is awaited, a [`Log`](crate::Log) that is followed read-only | `wait`, `flush`, polls |
//!
//! A consumer never has one. What is drawn anew in each run: ids of topics and directories. They are names, and decide nothing. Which partition a record
//! without a key goes to follows from the producer's id, which a new store gives out from the same first one on, so it is the same in each run; so are the numbers in ids of members,
//! with a manual clock.
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
//! # What such a test does not show
//!
//! How long things take, how a real disk behaves beyond what is assumed [of it](super::durability#what-is-assumed-of-the-disk), and what a network
//! between a service and a broker adds: answers that are lost, requests that time out. Who moves to a broker later has those to test there.
