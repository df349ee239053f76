//! Who waits for whom, and how what one thread does becomes visible to another.
//!
//! A [`Log`](crate::Log) handle is an `Arc`. All methods take `&self` and may be called from any thread at any
//! time. A [`Reader`](crate::Reader) or a [`Tail`](crate::Tail) belongs to one thread at a time and may be moved.
//!
//! # Who waits for whom
//!
//! | | waits for | never waits for |
//! |---|---|---|
//! | append | other appends, for the length of their write; a roll; a truncation | readers, tails, syncs, unless [`flush_messages`](crate::LogConfig::flush_messages) or [`flush_interval`](crate::LogConfig::flush_interval) makes it flush |
//! | read, reader | the disk | appends, rolls, syncs, truncations |
//! | tail | the next append | the same |
//! | flush | a sync that is running, then its own if that did not cover it | readers; appends go on meanwhile |
//! | `flush_async().await` | the same, with no thread of its caller | |
//! | roll | an append | readers, syncs |
//! | truncate | an append, a running sync, another truncation | readers: they get [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) next if their place is gone |
//! | `delete_before`, `maintain` | a truncation, a sync of what is deleted if it is not durable | readers: who reads a segment that goes finishes it, and gets [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange) then; appends go on meanwhile |
//! | `compact`, `maintain` where it compacts | another compaction of the log; a sync of what is not durable; a truncation or a deletion, to replace segments | appends, readers. Who truncates, deletes or closes waits at most for its first sync or for one replacement: it notices, and drops what it was writing |
//! | `pause_maintenance` | a pass to notice | all else |
//! | close | an append, a truncation, a deletion, a sync, a compaction to notice | readers: they get [`Closed`](crate::Error::Closed) next |
//!
//! Two small exceptions of readers. The first one to need a closed segment's indexes opens them; others that need
//! the same wait for it. And one that meets a batch in the very moment in which it is being published, waits for
//! that append to end.
//!
//! Work that needs no place in the log is done before the lock is taken: encoding, compressing, checking, the
//! checksum. Under the lock an append writes the offset into the batch, makes one write and publishes.
//!
//! # Appends that meet
//!
//! An append of at most 8 KiB that finds the lock taken hands its batch over and waits. Whoever gets the lock next
//! takes all that were handed over, gives each its offsets, and writes them with one call: the more threads append
//! small batches, the more share a write. In the file they are the same batches as if each had been written alone, in the
//! order of their offsets, and a kill leaves the front ones whole. If all together find no room, each is tried alone, so that
//! none fails for the size of another. Nobody depends on being served: who has waited for some tens of
//! microseconds blocks on the lock and leads when it comes, and if a leader panics, those it led get an error.
//!
//! A batch of a numbered producer is not written with others: whether it follows what its producer sent before, is a duplicate or is refused
//! depends on those in front of it. It is checked under the lock, when its turn comes, before anything is written or rolled; what it
//! changes is noted after the write and before the end is published. So threads that send the same batch at once store it once. Two batches of
//! a producer that two threads append without waiting for each other may come in the wrong order: then the second is
//! refused, stored nowhere, and taken when it is sent again after the first.
//!
//! # Locks
//!
//! They are taken in this order, and some not at all:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | cleaner | compaction | all of it |
//! | change | truncate, `delete_before`, close; compaction | all of it; the moment in which segments are replaced |
//! | writer | append, roll, truncate, close; `producers`, `maintain`, `compact`, the end of a `Producer` | the write, and the file work of a change, snapshots of producers included; a look at the producers |
//! | sync | flush, roll, truncate, `delete_before` | a look at what is to be synced; truncation: until its view is published. Never during a sync |
//! | view | everyone | the clone or the store of one pointer |
//!
//! The others, that of the queue of appends that wait among them, are leaves: nothing is taken under them, and no I/O is done but where a segment's indexes are opened.
//! Events are delivered to the [`Listener`](crate::Listener) with none of these locks held, so it may call
//! the log. During opening there is no log to call yet. A store delivers the events of a call that changes
//! topics, or closes it, when that call has released its locks: on the caller's thread, whichever thread
//! did the work. So a listener may call the store, too.
//!
//! # How an append becomes visible
//!
//! In this order, each step with release ordering:
//!
//! 1. the bytes are written to the file;
//! 2. the index entry, if there is one, is added to the list in memory;
//! 3. the segment's *published* length is raised: readers look no further into the file;
//! 4. the *end* of the log is raised: readers look for no higher offset;
//! 5. the lock is released, and whoever waits is woken.
//!
//! A reader loads with acquire ordering, so whatever lies below an end it has seen is there. It takes no lock.
//! The segments of a log are an immutable list, the *view*; a change makes a new one. A reader keeps the segment
//! that it is in, and looks at the list to go on to the next one, or when a counter tells it that the list changed.
//!
//! # What takes stored bytes from under readers
//!
//! Truncation cuts files, and compaction puts others in their place. Both publish the new view first, truncation with
//! it the lower end, then raise the *revision* of the log, and only then touch a file. A reader that has read
//! bytes looks at the revision again: if it has not moved, nothing it read was being cut, written over or replaced. If it has, it
//! looks for its place again. After a compaction it finds it, as offsets stay what they were; after a truncation
//! it may get [`OffsetOutOfRange`](crate::Error::OffsetOutOfRange). So a race with either is never reported as damage,
//! and nobody sees half of what was before and half of what is after. A segment deleted at the front keeps its
//! files while a reader is in it. After the log is closed nothing is removed: the next opening does that.
//!
//! # A store: who waits for whom
//!
//! A [`Store`](crate::Store), a [`Topic`](crate::Topic), a [`Producer`](crate::Producer) and an [`Admin`](crate::Admin) are handles for any thread. A
//! [`Consumer`](crate::Consumer) belongs to one thread at a time; only its [waker](crate::Consumer::waker) is for others.
//!
//! | | waits for | never waits for |
//! |---|---|---|
//! | to look a topic or a partition up | | changes of topics: they publish what is done in one step |
//! | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic` | each other, over all topics of the store; `delete_topic` for appends to the logs that it closes | appends, reads and polls of other topics |
//! | `flush`, `maintain` | each log in turn | changes of topics |
//! | `close` | a change of a topic; each log, as [`Log::close`](crate::Log::close) does | producers and consumers: they get [`StoreClosed`](crate::Error::StoreClosed) next |
//! | `Producer::send` | to add to a batch: another that adds to the same; the write of a batch that this record has filled; room in the buffer | writes of other batches, syncs of other producers |
//! | `SendHandle::wait`, `Producer::flush` | the write of what is waited for, by this thread where no other is at it; with [`Acks::Flushed`](crate::Acks::Flushed) a sync | |
//! | `Consumer::poll` | records, if there are none and it has time; what its group waits for; the lock of its group, to say that it polls | appends, other consumers at work |
//! | a commit | commits of groups in the same partition of `__consumer_offsets`; its append | a sync, but with [`flush_commits`](crate::ConsumerConfig::flush_commits): then with nothing locked |
//! | `Admin` of groups | the same lock, for a moment each | members at work |
//! | the first producer, and each thousandth | a write of `producer-ids.properties` | |
//! | the first use of a group after opening | its partition of `__consumer_offsets` is read; others who need that partition wait for it | |
//!
//! Batches of a partition are written by one thread at a time, in order; who comes meanwhile leaves its batch to that thread. After some rounds that thread
//! hands on to the producer's own, as it has work to do. A partition whose disk fails holds back its own records, and of others those for which there is
//! no room in the buffer.
//!
//! # The locks of a store
//!
//! In this order:
//!
//! | lock | held by | during |
//! |---|---|---|
//! | changes | `create_topic`, `add_partitions`, `alter_topic`, `delete_topic`, `reopen_partition`, `close` | all of it |
//! | a partition of groups | whoever uses one of its groups; `delete_topic` | a look, a step of the group, the append of its record or commit; the first time, the reading of the partition. Never a sync |
//! | those of the logs | as above | |
//! | writing of checkpoints | who sets one | the write of one small file for all logs; who comes meanwhile shares the next |
//! | topics, then the order in which partitions were made; the partitions and the settings of a topic, state of checkpoints | everyone | the clone or the store of a pointer, a look |
//!
//! A partition of groups is taken with no other lock held, but that of changes by a deletion. It is the only one that is held while records are appended, for a commit is checked and written in one step. Producers have
//! their own: what is known of a topic, then the batches of a partition, then the list of those that have any; none of them is held while a log is
//! written to. Interceptors, callbacks, partitioners and rebalance listeners are called with no lock held, and may call whatever they want. One that panics ends its own
//! call and no other: see [callbacks](super::durability#each-fault-and-the-test-that-shows-it). A [`Listener`](crate::Listener) may call the store, its clients and its logs: see [locks](#locks).
//!
//! # Maintenance threads
//!
//! A [`Maintainer`](crate::Maintainer) has as many threads as it was told, for all its logs. They sleep between rounds, and a pass asks
//! after every 256 KiB whether it is to go on: it ends when the log is closed, [paused](crate::Log::pause_maintenance) or
//! nobody's any more, and when the last handle of the maintainer goes. A limit on what it may read and write a
//! second makes it sleep there, too.
//!
//! Of log files of 8 MiB or more, those a pass has replaced are closed in a thread that ends with that: the last to close a removed file gives
//! back its pages, which can take nearly half as long as the pass.
//!
//! # Group commit
//!
//! One thread syncs for all who wait. Who finds no sync running leads one: it notes the end of the log, syncs the
//! segments that may hold unsynced bytes below it, and raises *durable* for everyone. Those who come meanwhile wait,
//! and one of them leads the next if that was not enough. The more threads flush, the more share each sync:
//!
//! ```
//! use annals::{Event, Listener, Log, LogConfig, fs::{Fault, FaultFs, MemFs, Operation, Rule}};
//! use std::{sync::atomic::{AtomicU64, Ordering}, sync::Arc, thread, time::Duration};
//!
//! // A disk that takes 5 ms to sync.
//! let fs = FaultFs::new(MemFs::new());
//! fs.add(Rule::new(Operation::SyncData, Fault::call(|_| thread::sleep(Duration::from_millis(5)))));
//!
//! let log = Log::open("orders-0", LogConfig::default().fs(fs.clone()))?;
//! fs.clear_trace();
//! thread::scope(|scope| {
//!     for _ in 0..16 {
//!         scope.spawn(|| log.append("each is durable").and_then(|_| log.flush()));
//!     }
//! });
//! assert_eq!(log.offsets().durable, 16);
//! assert!(fs.count(Operation::SyncData) < 16);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! The leader's right to lead is a guard: however it ends, with an error or a panic, the next may lead. When a sync
//! fails, all who wait for it get the error, and the log is [poisoned](super::durability#a-poisoned-log).
//!
//! # Waking
//!
//! Whoever waits at the end first says so in a counter and then looks at the end; an append first raises the end and
//! then looks at the counter. With a sequentially consistent fence between the two steps of each, one of them sees the
//! other: no wake-up is lost, and an append that nobody waits for pays for a fence and a load.
//!
//! # Threads of its own
//!
//! None, but for two that start when they are needed and end when they are not: `annals-sync` syncs for tasks that
//! await `flush_async`, and `annals-follow` looks at the files, every 10 ms, while somebody waits at the end of a
//! log that was opened [read-only](crate::Log::open_read_only).
//!
//! A store has besides those of its maintainer: `annals-open`, while several logs are opened,
//! flushed or closed at once, or more than four created or deleted; for each producer that has
//! something lingering or to retry `annals-producer`, until it is closed; and, as that thread runs
//! no callbacks, `annals-callback` for those it leaves to call. Groups have none: each poll of a consumer checks their deadlines, and so does the next call that uses the group. [How to have none at all](super::testing#tests-that-are-the-same-each-time).
