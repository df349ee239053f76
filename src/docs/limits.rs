//! How large, how many, on which systems, and what is not done.
//!
//! # Sizes
//!
//! | what | limit | where it comes from |
//! |---|---|---|
//! | offset | 2⁶³ - 2 ([`MAX_OFFSET`](crate::MAX_OFFSET)) | Kafka stores 64 bits with a sign |
//! | segment | 62 bytes to 2 GiB - 1, default 1 GiB | an index entry has 31 bits for a position |
//! | offsets in one segment | 2³¹ | an index entry has 31 bits for a relative offset; a batch that would reach beyond begins a new segment |
//! | batch | [`max_message_bytes`](crate::LogConfig::max_message_bytes), default 1 MiB + 12, and at most one segment | what is stored already is always read, whatever its size |
//! | record, key, value, header | what fits into a batch | |
//! | records in a batch | 2³¹ - 1 | |
//! | an expanded batch | [`max_expanded_bytes`](crate::LogConfig::max_expanded_bytes) | bounds the memory of decompression |
//! | index of a segment | [`index_bytes`](crate::LogConfig::index_bytes), default 10 MiB | the segment is closed when one is full |
//! | log | the disk | |
//! | producers a log knows | memory | those not heard for [`producer_id_expiration`](crate::LogConfig::producer_id_expiration), and closed ones of this store, are forgotten |
//! | producers in a snapshot | 1,458,888 | 64 MiB; with more none is written, and opening reads the batches |
//! | batches of a producer that are recognised | 5 | as in Kafka, which recognises 1 after a restart |
//! | sequence number | 2³¹ - 1, then 0 | Kafka stores 31 bits |
//! | timestamp | 64 bits of milliseconds; below 0 they are stored, and not found by time | |
//! | name of a topic | 1 to 249 characters of `A-Z a-z 0-9 . _ -`; not `.`, `..`, `__cluster_metadata`, nor one that a store or a broker keeps for itself, such as `__consumer_offsets`; not the same as another but for `.` and `_` | Kafka's rule |
//! | partitions of a topic | 1 to 100,000 | each is a directory |
//! | topics of a store | the file system, and memory | |
//! | logs opened and closed at once | [`recovery_threads`](crate::StoreConfig::recovery_threads), 1 to 64 | |
//! | `topic.properties`, `meta.properties`, `partition.metadata` | 1 MiB | a larger one is no such file |
//! | a checkpoint or marker of a store | 64 MiB | lines of a few hundred thousand logs |
//! | a record of a producer | [`max_request_bytes`](crate::ProducerConfig::max_request_bytes), default 1 MiB, at most 1 GiB; and what its topic takes | |
//! | what a producer holds back | [`buffer_bytes`](crate::ProducerConfig::buffer_bytes), default 32 MiB | then `send` writes, or waits |
//! | a poll of a consumer | [`max_poll_records`](crate::ConsumerConfig::max_poll_records) and [`max_poll_bytes`](crate::ConsumerConfig::max_poll_bytes), and one record in any case | |
//! | name of a group, of a static member | 1 to 32,767 bytes | Kafka stores 15 bits |
//! | client id | 32,000 bytes | ids of members begin with it |
//! | metadata of a committed offset | 4096 bytes | Kafka's `offset.metadata.max.bytes` |
//! | a commit | 64 MiB | one batch of the offsets topic |
//! | members of a group | [`max_members`](crate::CoordinatorConfig::max_members) | |
//!
//! The least a record takes on disk is 68 bytes in a batch of its own, and 7 among others.
//!
//! # Files and memory
//!
//! A segment is one to three files. Of one log at most 16 log files stay open, plus its directory, plus the lock file
//! where it has one of its own, plus those that readers are in at the moment. So a store has two descriptors for each
//! partition that is only written to, and after a close none, whatever handles live on. A log that is
//! opened read-only keeps two files open. A file is opened when it is first needed. When the process has no descriptors left, the
//! call fails with [`ErrorKind::TooManyFiles`](crate::ErrorKind::TooManyFiles) and nothing is lost.
//!
//! The active segment's index entries are in memory: 8 and 16 bytes for each 4 KiB appended, at the default
//! interval. Those of a closed segment are read when needed, and kept; from 64 KiB on they are mapped. A reader
//! holds a buffer for the batch it is in, and one for its expanded records.
//!
//! Each producer of numbered batches that the log knows takes 300 to 600 bytes, as the table doubles when it is full: 1,000,000 of them 500 MiB. They
//! are forgotten when a segment is begun, at a snapshot, by [`maintain`](crate::Log::maintain) and at opening, once they are silent for a day. Until then nothing but the disk
//! bounds how many ids there are, each of which costs who sends it a batch of 68 bytes: let producers whom you do not trust have no ids of
//! their own choice. A snapshot has 46 bytes of each, the file beside it some 30, and both are written with appends waiting: 1,000,000
//! producers are 70 MiB every time a segment is begun and every 64 MiB.
//! The table gives memory back when producers are forgotten.
//!
//! A store has one maintainer for all its logs, and no thread for each. What a group has committed is in memory, too, from when the first group of its
//! partition of `__consumer_offsets` is used. A producer takes [`batch_bytes`](crate::ProducerConfig::batch_bytes) of its buffer for each partition that it has begun a batch for; with
//! more partitions at once than batches fit into the buffer, batches are written before they are full.
//!
//! # Index files
//!
//! An index is a cache of the log. It is never the reason why a record is found, or not found.
//!
//! | when | what is checked |
//! |---|---|
//! | it is opened | whole entries; both columns rise; no entry points past the log; the last entry names a batch; no later time follows than the last. How far entries lie apart says nothing: whoever wrote them may have had another interval |
//! | an entry is used | the batches at its position have its offset |
//! | a crash was recovered | nothing: those of the segments that were scanned are made again |
//! | [`verify`](crate::Log::verify) | every entry against the log |
//!
//! What fails is made again from the log, in memory and, by who holds the lock, in its file, and reported as
//! [`Event::IndexRebuilt`](crate::Event::IndexRebuilt). That reads the segment once. A missing index file is the same.
//!
//! **Mapped files.** Only index files of closed segments, of 64 KiB and more, are mapped, and only by the process that
//! holds the lock. Log files never are. If another program cuts a mapped file, the system ends the process
//! with SIGBUS at the next look at it. Nothing in this crate cuts one in place: they are replaced by a rename. Do not let
//! other programs write into the directory of an open log.
//!
//! # Systems
//!
//! **Linux** is what it is made for and tested on. **Other Unix**: the same, but there is no name of the machine's run, so
//! [every crash counts as a loss of power](super::durability#did-the-machine-stop), and `preallocate` may not reserve
//! room. **Windows**: the code for it is there; a file that is open cannot always be removed or renamed
//! there, and names are made durable as far as the system allows. Do not rely on it without tests of your own.
//!
//! **Network file systems** are not supported. Locks, renames and syncs promise less there than this crate needs.
//!
//! **Links.** A symbolic link at the name of one of the log's files is refused, not followed. The directory itself may be reached through one.
//!
//! # Who may have it open
//!
//! One writer at a time, of all threads and processes. The directory itself is locked, and its
//! `.lock`, by the operating system: until the writer closes it or its process ends, however it
//! ends. This holds between containers that share a directory, too. A broker takes the lock of a
//! store's `.lock`: neither starts on what the other has.
//!
//! - *Every handle counts.* A [`Log`](crate::Log), a [`Topic`](crate::Topic), a reader, a tail or
//!   a producer keeps the directory of its store locked, and maintained, when the
//!   [`Store`](crate::Store) itself is dropped. A close ends all of them.
//! - *The path does not matter.* On Unix a writer holds its directory open and reaches all files
//!   from there. Another path, a link, a second mount, or a removed `.lock` lets no second writer
//!   in. If the directory is renamed, and another put in its place, the writer goes on in its own.
//! - *A store and its logs have one rule.* A log of a store, or of a broker, can be opened by
//!   itself while that is closed. It then takes the whole directory, reads and writes the
//!   checkpoints there, and leaves them as its store would. So only one log of a store can be
//!   opened by itself at a time. [`ErrorKind::Busy`](crate::ErrorKind::Busy) says that the
//!   directory is taken. A partition that is mounted without the directory above it is rejected,
//!   as its checkpoints cannot be seen.
//!
//! Any number of processes may read meanwhile, [a log](crate::Log::open_read_only) or
//! [a store](crate::Store::open_read_only). They see what was appended after at most 10 ms if they wait and at once if they ask, durable or not. They lock
//! nothing and change nothing; they cannot see what is durable.
//!
//! With a file system of your own, implement [`Fs::hold_dir`](crate::fs::Fs::hold_dir) for this.
//! Without it, as on Windows, only the `.lock` at a path keeps other writers out.
//!
//! # Hostile bytes
//!
//! Bytes from a disk or from a producer are never trusted. A length is compared with what is there before memory is
//! asked for; decompression stops at its limit; there is no recursion. What is not a batch is an error.
//!
//! # Not there
//!
//! Transactions: [`append_batch`](crate::Log::append_batch) rejects their batches. Those that a broker
//! has stored are read like others, [`last_stable`](crate::Offsets::last_stable) tells where the earliest open
//! transaction begins, `.txnindex` files are kept true, and a log that has any is [not compacted](super::cleanup#what-survives).
//! Message formats before v2. Tiered storage. Encryption. More than one copy, and everything that
//! [a broker has for a network](super::from_kafka#what-is-not-there-and-why).
