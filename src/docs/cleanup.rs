//! What a log forgets: how to choose a policy, what it costs, and what it leaves.
//!
//! # Which policy
//!
//! | what is to stay | policy | what goes | when |
//! |---|---|---|---|
//! | everything | [`Delete`](crate::CleanupPolicy::Delete) without a limit, the default | nothing | |
//! | what is young, or as much as there is room for | `Delete` with [`retention_age`](crate::LogConfig::retention_age), [`retention_bytes`](crate::LogConfig::retention_bytes), or both | whole segments, from the front | [`maintain`](crate::Log::maintain) |
//! | the last value of each key | [`Compact`](crate::CleanupPolicy::Compact) | records that a later one with the same key supersedes; in the end those that delete a key | `maintain`, or [`compact`](crate::Log::compact) at once |
//! | the last value of each key, as long as it is young | [`CompactAndDelete`](crate::CleanupPolicy::CompactAndDelete) with a limit | both, compaction first | the same |
//! | what somebody has still to read | `Delete` or `CompactAndDelete` | everything below an offset | [`delete_before`](crate::Log::delete_before), at once |
//!
//! The policy is an option, not a property of the files: a log may be opened with another one at any time. Two things
//! change with it. A log that is compacted refuses records without a key, and those that are in it from before
//! go when their segment is compacted, as in Kafka. And one that is only compacted refuses `delete_before`: there, a key
//! is deleted by a *tombstone*, a record with the key and no value ([`Record::tombstone`](crate::Record::tombstone)).
//!
//! All of this is told of a [`Log`](crate::Log) that is opened by itself. In a [`Store`](crate::Store) it is the same for each partition, and the options are settings of
//! the [topic](crate::TopicConfig), with two differences: what a topic does not set has Kafka's default, so it forgets after 7 days, and the store maintains all its
//! logs in the background. [`alter_topic`](crate::Store::alter_topic) changes the policy of one that is in use.
//!
//! # Recipes
//!
//! **An event log that keeps seven days.** What goes is a segment, so a segment must be younger than what is
//! to be kept: one a day here, so that at most eight days are on disk.
//!
//! ```
//! use annals::{Log, LogConfig, ManualClock, Timestamp, fs::MemFs};
//! use std::{sync::Arc, time::Duration};
//!
//! const DAY: Duration = Duration::from_secs(86_400);
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let config = LogConfig::default().segment_age(DAY).retention_age(7 * DAY);
//! let log = Log::open("events-0", config.clock(clock.clone()).fs(MemFs::new()))?;
//! for hour in 0..30 * 24 {
//!     log.append(format!("hour {hour}"))?;
//!     clock.advance(Duration::from_secs(3600));
//!     log.maintain()?; // from a timer
//! }
//! let days = (log.offsets().end - log.offsets().start) / 24;
//! assert!((7..=8).contains(&days));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **A table with its feed of changes.** Each change is a record under the key of its row. Who comes new reads the
//! log from its start, which is the table, and goes on at its end, which is the feed. The program is
//! `examples/compacted_table.rs`.
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, Record, StartAt, fs::MemFs};
//! use std::collections::BTreeMap;
//!
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).segment_bytes(64 << 20);
//! let log = Log::open("users-0", config.fs(MemFs::new()))?;
//! log.append(Record::new("Ada").key("1"))?;
//! log.append(Record::new("Charles").key("2"))?;
//! log.append(Record::new("Ada Lovelace").key("1"))?;
//! log.append(Record::tombstone("2"))?;
//! log.roll()?; // or wait until the segment is full
//! assert_eq!(log.maintain()?.compaction.records_removed, 2);
//!
//! let mut users = BTreeMap::new();
//! for record in log.reader(StartAt::Earliest)?.records() {
//!     let record = record?;
//!     match record.value {
//!         Some(name) => users.insert(record.key, name),
//!         None => users.remove(&record.key),
//!     };
//! }
//! assert_eq!(users, BTreeMap::from([(Some("1".into()), "Ada Lovelace".into())]));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **An audit trail with a bounded size.** The limit is what is kept at least, and up to a segment more is on disk. A tenth
//! of the limit is a good size for a segment.
//!
//! ```
//! use annals::{Log, LogConfig, fs::MemFs};
//!
//! let config = LogConfig::default().segment_bytes(1_000).retention_bytes(10_000);
//! let log = Log::open("audit-0", config.fs(MemFs::new()))?;
//! for n in 0..1_000 {
//!     log.append(format!("user {n} signed in"))?;
//! }
//! let before = log.stats()?.bytes;
//! let report = log.maintain()?;
//! let after = log.stats()?.bytes;
//! assert_eq!(before - after, report.bytes_deleted);
//! assert!((10_000..=11_000).contains(&after));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! **A queue whose readers say how far they are.** What all of them have read goes at once; nothing else does.
//!
//! ```
//! # use annals::{Log, LogConfig, fs::MemFs};
//! # let log = Log::open("jobs-0", LogConfig::default().fs(MemFs::new()))?;
//! log.append_all(["job 0", "job 1", "job 2"].map(Into::into))?;
//! let done = [2, 1]; // the next offset of each reader
//! let slowest = done.into_iter().min().unwrap_or_default();
//! assert_eq!(log.delete_before(slowest)?, 1);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # What compaction does, drawn
//!
//! A log of three segments, of which the last is *active*: it is being appended to. `-` is a tombstone.
//!
//! ```text
//! segment   0                   3                   6, active
//! offset    0     1     2       3     4     5       6     7
//! key       a     b     a       c     b     a       c     a
//! value     1     1     2       1     -     3       2     4
//!           '---------- dirty: closed segments ---'
//! ```
//!
//! The first pass keeps, of each key below the active segment, the last record. That `a` and `c` have later ones in
//! the active segment counts only when that is closed. Segments 0 and 3 are together no larger than one may
//! be, so they become one.
//!
//! ```text
//! segment   0                                       6, active
//! offset                        3     4     5       6     7
//! key                           c     b     a       c     a
//! value                         1     -     3       2     4
//!                                     '- stays until its delete horizon
//! ```
//!
//! The tombstone stays at first, for readers who have seen `b` and must see that it is gone. The pass that first met it
//! gave its batch a *delete horizon*: the time of that pass and [`delete_retention`](crate::LogConfig::delete_retention). A
//! pass after that time, here one after segment 6 was closed, removes it, and nothing is left of `b`:
//!
//! ```text
//! segment   0                                               8, active
//! offset                                            6     7
//! key                                               c     a
//! value                                             2     4
//! ```
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, ManualClock, Record, StartAt, Timestamp, fs::MemFs};
//! use std::{sync::Arc, time::Duration};
//!
//! let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_700_000_000_000)));
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).clock(clock.clone());
//! let log = Log::open("drawn-0", config.fs(MemFs::new()))?;
//! let put = |key: &'static str, value: &'static str| log.append(Record::new(value).key(key));
//! let left = || {
//!     let records = log.reader(StartAt::Earliest)?.records();
//!     records.map(|record| Ok(record?.offset)).collect::<annals::Result<Vec<_>>>()
//! };
//! (put("a", "1")?, put("b", "1")?, put("a", "2")?);
//! log.roll()?;
//! (put("c", "1")?, log.append(Record::tombstone("b"))?, put("a", "3")?);
//! log.roll()?;
//! (put("c", "2")?, put("a", "4")?);
//!
//! let report = log.compact()?;
//! assert_eq!((report.segments_removed, report.records_removed), (1, 3));
//! assert_eq!(left()?, [3, 4, 5, 6, 7]);
//! assert_eq!(log.get(2)?, None); // a hole, and no error
//!
//! log.roll()?;
//! clock.advance(Duration::from_secs(86_401));
//! assert_eq!(log.compact()?.tombstones_removed, 1);
//! assert_eq!(left()?, [6, 7]);
//! assert_eq!((log.offsets().start, log.offsets().end), (0, 8));
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! # What readers can rely on
//!
//! - An offset is never given to another record, and the order never changes. Where a record was there is a hole: a
//!   [`Reader`](crate::Reader) goes on with the next record there is, [`get`](crate::Log::get) answers `None`.
//! - Who reads from the start sees at least the last record of each key.
//! - Who is never further behind than [`min_compaction_lag`](crate::LogConfig::min_compaction_lag) sees every record.
//! - Who gets from the start to the end in less than `delete_retention` sees the deletion of everything that it
//!   saw. Who may be later rebuilds what it has from the start of the log.
//! - Nobody waits. Who stands in a segment that is replaced looks up its offset in what came in its place.
//! - The start of the log stays where it is, also when nothing is left there. The end does too.
//!
//! # When a pass is due
//!
//! What lies below the last pass is *clean*: each key is in it once. What came since is *dirty*. `maintain` compacts
//! a log when the dirty bytes are more than [`min_cleanable_dirty_ratio`](crate::LogConfig::min_cleanable_dirty_ratio) of the
//! clean and dirty ones together, or when a dirty record is older than
//! [`max_compaction_lag`](crate::LogConfig::max_compaction_lag). `compact` asks neither, and takes the clean part for dirty.
//!
//! These are not compacted, and do not count as dirty:
//!
//! - the active segment. [`segment_bytes`](crate::LogConfig::segment_bytes) and [`segment_age`](crate::LogConfig::segment_age)
//!   say when it is closed; [`roll`](crate::Log::roll) closes it now. A log that is less than one segment is not
//!   compacted for as long: a table of a few megabytes wants segments of one or less.
//! - everything from the first segment on that has a record younger than `min_compaction_lag`.
//!
//! **When is a value gone from the disk?** When a later record of its key, or a tombstone, is in a closed segment and a
//! pass has gone over both. At the latest that is `segment_age` or `max_compaction_lag`, whichever is longer, after it was
//! superseded, as long as there are appends, which close segments, and calls of `maintain`. A reader that stands in an
//! old file keeps that one on disk until its next call.
//!
//! # Who calls it
//!
//! You, from a timer of yours, or a [`Maintainer`](crate::Maintainer): threads that go through all logs given to them once an
//! interval, those that only delete first, then the dirtiest. One serves thousands of logs, and its threads sleep
//! between rounds. It can be held to a rate, so that a pass does not take the disk from appends and reads.
//!
//! ```
//! use annals::{CleanupPolicy, Log, LogConfig, Maintainer, MaintainerConfig, fs::MemFs};
//!
//! let config = MaintainerConfig::default().bytes_per_second(50 << 20);
//! let maintainer = Maintainer::new(config)?;
//! let config = LogConfig::default().cleanup_policy(CleanupPolicy::Compact).fs(MemFs::new());
//! let log = Log::open("users-0", config.maintainer(&maintainer))?;
//!
//! let pause = log.pause_maintenance(); // no pass runs while this lives
//! assert_eq!(maintainer.stats().logs, 1);
//! drop(pause);
//! # Ok::<(), annals::Error>(())
//! ```
//!
//! What it did is an [`Event::Compacted`](crate::Event::Compacted) or [`Event::StartMoved`](crate::Event::StartMoved) of the log, what
//! failed an [`Event::MaintenanceFailed`](crate::Event::MaintenanceFailed), and [`LogStats`](crate::LogStats) tells how far a log is clean.
//!
//! # What it costs
//!
//! | what | how much |
//! |---|---|
//! | reading | the dirty part twice, the clean part once |
//! | writing | what stays, of both |
//! | memory | about 27 bytes for each key of the dirty part, however long it is, at most [`dedupe_bytes`](crate::LogConfig::dedupe_bytes) and a quarter more, only during a pass: the default of 128 MiB is room for some 5 million keys. More keys are done in further passes |
//! | disk | room for one more group of segments, each group being what fits into `segment_bytes`; a group is replaced before the next is written. Large files that were replaced are closed, which frees their room, by a short-lived thread while the next group is written; `close` waits for it |
//! | syncs | what is compacted is made durable first; then the files of each group, and five times the directory |
//!
//! With the default ratio of a half, a pass comes when the dirty part is larger than the clean one, and writes up to two
//! bytes for each that was appended. A ratio of 0.1 keeps a log smaller, and writes up to ten. Keys of up to
//! 15 bytes are told apart by themselves, longer ones by a hash of 120 bits under a seed that is drawn for each pass: a collision
//! is not to be feared, and cannot be made on purpose.
//!
//! # What survives
//!
//! Before a group of segments is replaced, what comes in its place is complete and durable. After a crash, at any moment of
//! a pass, each group is there as it was or as it became: the next opening removes what was being written, and
//! finishes a replacement that was decided. What was not done is dirty still, and the next pass
//! does it. Nothing that `compact` or `maintain` does moves the start or the end of what was acknowledged.
//!
//! | failure | what happens |
//! |---|---|
//! | no room, or an error while a group is read or written | what was being written is removed; groups done before stay done; the log works, and a later pass tries again |
//! | what is to be compacted cannot be synced, or a replacement that was decided cannot be finished | the log is poisoned; opening it again finishes what was begun |
//! | a damaged batch; one that this build cannot expand | the segment it is in stays as it is, and all behind it; `compact` fails and names it. `maintain` reports [`Event::Uncleanable`](crate::Event::Uncleanable) and leaves compaction until the log is opened again; retention goes on |
//! | a transaction | the same: logs with transactions are not compacted at present |
//! | [`truncate_to`](crate::Log::truncate_to), [`delete_before`](crate::Log::delete_before), [`close`](crate::Log::close) | they wait at most for its first sync, or for one replacement. It drops what it was writing; after a truncation or a deletion it begins again with what is left |
//!
//! # What is deleted
//!
//! `maintain` asks three rules, each of what the one before it left. Each begins with the oldest segment and ends at the
//! first that it does not take, so that what is left is one piece.
//!
//! 1. Segments wholly below the start of the log go.
//! 2. While the log is larger than `retention_bytes`, a segment goes if what is left then is not below the limit.
//! 3. A segment goes when the latest timestamp of its records is older than `retention_age`.
//!
//! A segment goes with all its records, or not at all. Where the latest timestamp lies in the future, the age of the segment
//! counts from when it was written at the latest: when its file was last changed, or when `maintain` first saw it as
//! it is now, whichever is earlier. So a record of a host whose clock is wrong keeps what is behind it no longer than
//! `retention_age` and the time between two passes. A broker waits until that timestamp has come and gone.
//! [`timestamp_after_max`](crate::LogConfig::timestamp_after_max) rejects such records; topics have an hour by default.
//! A segment that compaction has emptied goes with what is behind it. One without any timestamp stays for rule 3, where a broker
//! would ask for the time the file was changed. If all segments are to go, the active one is closed, and goes;
//! the log is empty then, and its offsets go on where they were.
//!
//! # All options
//!
//! | option | default | limits | effect | Kafka |
//! |---|---|---|---|---|
//! | [`cleanup_policy`](crate::LogConfig::cleanup_policy) | `Delete` | a limit of retention needs a policy that deletes | what goes | `cleanup.policy` |
//! | [`retention_age`](crate::LogConfig::retention_age) | none (Kafka: 7 days) | any | older segments go | `retention.ms` |
//! | [`retention_bytes`](crate::LogConfig::retention_bytes) | none | any | the oldest segments go, as long as so much is left | `retention.bytes` |
//! | [`min_cleanable_dirty_ratio`](crate::LogConfig::min_cleanable_dirty_ratio) | 0.5 | 0 to 1 | a pass is due above it | `min.cleanable.dirty.ratio` |
//! | [`min_compaction_lag`](crate::LogConfig::min_compaction_lag) | none | at most `max_compaction_lag` | younger records stay, with all behind them | `min.compaction.lag.ms` |
//! | [`max_compaction_lag`](crate::LogConfig::max_compaction_lag) | none | 1 ms and up | a pass is due when an older record is dirty | `max.compaction.lag.ms` |
//! | [`delete_retention`](crate::LogConfig::delete_retention) | 1 day | any | how long a tombstone stays | `delete.retention.ms` |
//! | [`dedupe_bytes`](crate::LogConfig::dedupe_bytes) | 128 MiB | 1 KiB and up | the memory of a pass | `log.cleaner.dedupe.buffer.size` |
//! | [`maintainer`](crate::LogConfig::maintainer) | nobody | | whose threads do all this | |
//! | its [`threads`](crate::MaintainerConfig::threads) | 1 | 1 to 64 | logs worked on at a time | `log.cleaner.threads` |
//! | its [`interval`](crate::MaintainerConfig::interval) | 15 s | 1 ms and up | from round to round | `log.cleaner.backoff.ms`, `log.retention.check.interval.ms` |
//! | its [`bytes_per_second`](crate::MaintainerConfig::bytes_per_second) | no limit | 1 and up | how fast compaction reads and writes, all threads together | `log.cleaner.io.max.bytes.per.second` |
//! | [`segment_bytes`](crate::LogConfig::segment_bytes) | 1 GiB | 62 bytes to 2 GiB - 1 | when a segment is closed by size; how large one becomes by joining | `segment.bytes` |
//! | [`segment_age`](crate::LogConfig::segment_age) | 7 days | 1 ms and up | when an append closes it by age | `segment.ms` |
//!
//! At the prompt, `annals clean` does one pass on a directory: see `examples/annals/`.
