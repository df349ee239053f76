//! Limits: sizes, files and memory, supported systems, locking of directories, and what is not
//! implemented.
//!
//! # Sizes
//!
//! | what | limit | where it comes from |
//! |---|---|---|
//! | offset | 2⁶³ - 2 ([`MAX_OFFSET`](crate::MAX_OFFSET)) | Kafka stores 64 bits with a sign |
//! | segment | 62 bytes to 2 GiB - 1, default 1 GiB | an index entry has 31 bits for a position |
//! | offsets in one segment | 2³¹ | an index entry has 31 bits for a relative offset; a batch that would not fit begins a new segment |
//! | batch | [`max_message_bytes`](crate::LogConfig::max_message_bytes), default 1 MiB + 12, and at most one segment | applies to appends; a stored batch is read whatever its size |
//! | record, key, value, header | what fits into a batch | |
//! | records in a batch | 2³¹ - 1 | |
//! | a decompressed batch | [`max_decompressed_bytes`](crate::LogConfig::max_decompressed_bytes) | bounds the memory of decompression |
//! | index of a segment | [`index_bytes`](crate::LogConfig::index_bytes), default 10 MiB | a segment is closed when one of its indexes is full |
//! | log | the disk | |
//! | producers a log knows | memory | the log forgets a producer that has sent no batch for [`producer_id_expiration`](crate::LogConfig::producer_id_expiration), and a producer of this store once it is closed |
//! | producers in a snapshot | 1,458,888 | 64 MiB; with more producers no snapshot is written, and opening reads the batches |
//! | batches of a producer that are recognised | 5, also after a restart | Kafka: 5, and 1 after a restart |
//! | sequence number | 2³¹ - 1, then 0 | Kafka stores 31 bits |
//! | timestamp | 0 to 2⁶³ - 1, in milliseconds since 1970, or -1 for none; in a topic, by default at most an hour after the present ([`timestamp_after_max`](crate::LogConfig::timestamp_after_max)). Appending any other timestamp fails with [`InvalidRecord`](crate::Error::InvalidRecord). A lower timestamp that a broker has stored is readable, but a lookup by time does not find it | |
//! | name of a topic | 1 to 249 characters of `A-Z a-z 0-9 . _ -`; not `.`, `..`, `__cluster_metadata`, nor an internal topic of a store or a broker, such as `__consumer_offsets`; two topics may not differ only in `.` and `_` | Kafka's rule |
//! | partitions of a topic | 1 to 100,000 | each partition is a directory |
//! | topics of a store | the file system, and memory | |
//! | logs opened and closed at once | [`recovery_threads`](crate::StoreConfig::recovery_threads), 1 to 64 | |
//! | `topic.properties`, `meta.properties`, `partition.metadata` | 1 MiB | only the first 1 MiB of a file is read |
//! | a checkpoint or marker of a store | 64 MiB | room for the lines of a few hundred thousand logs |
//! | a record of a producer | [`max_request_bytes`](crate::ProducerConfig::max_request_bytes), default 1 MiB, at most 1 GiB; and the limit of its topic | |
//! | records that wait in a producer | [`buffer_bytes`](crate::ProducerConfig::buffer_bytes), default 32 MiB | above it, `send` writes, or waits |
//! | a poll of a consumer | [`max_poll_records`](crate::ConsumerConfig::max_poll_records) and [`max_poll_bytes`](crate::ConsumerConfig::max_poll_bytes), but always at least one record | |
//! | name of a group, of a static member | 1 to 32,767 bytes | Kafka stores 15 bits |
//! | transactional id | 1 to 32,767 bytes | Kafka stores 15 bits |
//! | timeout of a transaction | 1 ms to [`max_timeout`](crate::TransactionCoordinatorConfig::max_timeout), default 15 minutes | Kafka's `transaction.max.timeout.ms` |
//! | client id | 32,000 bytes | ids of members begin with it |
//! | metadata of a committed offset | 4096 bytes | Kafka's `offset.metadata.max.bytes` |
//! | a commit | 64 MiB | one batch of the offsets topic |
//! | members of a group | [`max_members`](crate::GroupCoordinatorConfig::max_members) | |
//!
//! A record takes at least 68 bytes on disk in a batch of its own, and at least 7 in a batch with
//! others.
//!
//! # Files and memory
//!
//! A segment is one to three files. A log keeps at most 16 log files open. It also holds its
//! directory, its lock file if it has its own, and the files that readers are in at the moment. So
//! a store has two descriptors for each partition that is only written to. A closed log has no
//! open files, even while handles to it live; but a reader, tail or consumer keeps the segment
//! that it is in until its next call. A log opened read-only keeps two files open. A file is
//! opened when it is first needed. If the process has no descriptors left, the call fails with
//! [`ErrorKind::TooManyFiles`](crate::ErrorKind::TooManyFiles) and nothing is lost.
//!
//! The index entries of the active segment are in memory. At the default interval, each 4 KiB
//! appended adds 8 bytes (offset index) and 16 bytes (time index). The entries of a closed segment
//! are read when they are needed, and stay in memory; from 64 KiB on, the index files are mapped
//! instead. A reader holds a buffer for its current batch, and one for the decompressed records.
//!
//! Each idempotent producer that the log knows takes 300 to 600 bytes of memory; the range is wide
//! because the table doubles when it is full. 1,000,000 producers take 500 MiB. The log forgets a
//! producer that is silent for
//! [`producer_id_expiration`](crate::LogConfig::producer_id_expiration), one day by default, and
//! releases its memory. It does so when a segment is begun, at a snapshot, in
//! [`maintain`](crate::Log::maintain) and at opening. Until then, only the disk bounds the number
//! of ids, and a client needs only one batch of 68 bytes to add one. So do not let clients that
//! you do not trust choose their own producer ids. A snapshot has 46 bytes for each producer, and
//! the `.recent` file beside it about 30. Appends wait while both are written: with 1,000,000
//! producers, 70 MiB each time a segment is begun, and every 64 MiB.
//!
//! A transactional id takes about 400 bytes of memory in its coordinator, and a transaction that
//! is open in four partitions about 530 more; the logs know its producer, as above. The
//! coordinator forgets an id that is idle for
//! [`id_expiration`](crate::TransactionCoordinatorConfig::id_expiration), seven days by default.
//!
//! A store has one maintainer for all its logs, and no thread for each log. Once a group is used,
//! the committed offsets of all groups in the same partition of `__consumer_offsets` are in
//! memory. A producer takes [`batch_bytes`](crate::ProducerConfig::batch_bytes) of its buffer for
//! each partition that it has begun a batch for. If it writes to more partitions at once than
//! batches fit into the buffer, it writes batches before they are full.
//!
//! # Index files
//!
//! An index is a cache of the log. It speeds up a lookup, and never decides whether a record is
//! found.
//!
//! | when | check |
//! |---|---|
//! | the index is opened | its size is a multiple of the entry size; both columns increase; no entry points past the end of the log; the last entry points at a batch; no timestamp after the last entry is later than the entry's. The distance between entries is not checked, because the file may have been written with another interval |
//! | an entry is used | the batches at its position contain its offset |
//! | after recovery from a crash | none: the indexes of the scanned segments are rebuilt |
//! | [`verify`](crate::Log::verify) | every entry against the log |
//!
//! If a check fails, or the file is missing, the log rebuilds the index by reading the segment
//! once, and reports [`Event::IndexRebuilt`](crate::Event::IndexRebuilt). The process that holds
//! the lock also replaces the file; others rebuild the index in memory only.
//!
//! **Mapped files.** Only index files of closed segments, of 64 KiB and more, are mapped, and only
//! by the process that holds the lock. Log files are never mapped. If another program truncates a
//! mapped file, the operating system ends your process with SIGBUS at the next access. This crate
//! never truncates an index file in place: it replaces the file with a rename. Do not let other
//! programs write into the directory of an open log.
//!
//! # Supported systems
//!
//! - **Linux**: annals is developed and tested on Linux.
//! - **Other Unix**: annals works as on Linux, with two differences. There is no boot id, so
//!   [every crash counts as a loss of power](super::durability#a-dead-process-or-a-loss-of-power),
//!   and `preallocate` may not reserve room.
//! - **Windows**: the code compiles. An open file cannot always be removed or renamed there, and
//!   names are made durable only as far as the system allows. Do not rely on Windows without tests
//!   of your own.
//!
//! **Network file systems** are not supported. Locks, renames and syncs promise less there than
//! this crate needs.
//!
//! **Links.** If one of the log's files, or a partition in the directory of a store, is a symbolic
//! link, opening the log or the store fails; the link is not followed. The path of the directory
//! that you open may contain links.
//!
//! # One writer, many readers
//!
//! A directory has one writer at a time, among all threads and processes. The operating system
//! locks the directory and its `.lock` until the writer closes it, or until its process ends for
//! any reason. The lock also works between containers that share a directory. A broker locks a
//! store's `.lock`, too, so neither starts on a directory that the other has open.
//!
//! - *Every handle counts.* A [`Log`](crate::Log), a [`Topic`](crate::Topic), a reader, a tail or
//!   a producer keeps the directory of its store locked, and maintained, even after the
//!   [`Store`](crate::Store) itself is dropped. `close` ends all of them.
//! - *The path does not matter.* On Unix a writer holds its directory open and reaches all files
//!   from there. Another path, a link, a second mount, or a removed `.lock` lets no second writer
//!   in. If the directory is renamed, and another is put in its place, the writer continues in the
//!   one that it opened.
//! - *A store and its logs share one lock.* While a store or a broker is closed, you can open one
//!   of its logs with [`Log::open`](crate::Log::open). The log then locks the whole data
//!   directory, reads the checkpoints there, and writes them as its store would. So you can open
//!   only one log of a store in this way at a time. If the directory is already open for writing,
//!   opening fails with [`ErrorKind::Busy`](crate::ErrorKind::Busy). A partition that is mounted
//!   without the directory above it is rejected, because its checkpoints cannot be read.
//!
//! Any number of processes may read meanwhile, [a log](crate::Log::open_read_only) or [a
//! store](crate::Store::open_read_only) as a [`StoreView`](crate::StoreView). A call that reads
//! sees everything that was appended before it, durable or not; a waiting tail sees it after at
//! most 10 ms. [`Log::offsets`](crate::Log::offsets) does not look at the files: it returns what
//! the last such call found. Readers lock nothing and change nothing, and they cannot tell which
//! records are durable.
//!
//! If you implement a file system, implement [`Fs::hold_dir`](crate::fs::Fs::hold_dir) to get this
//! protection. Without it, as on Windows, only the `.lock` at a path keeps other writers out.
//!
//! # Hostile bytes
//!
//! Bytes from a disk or from a producer are never trusted. Before it allocates memory, the code
//! compares each length with the bytes that are present. Decompression stops at its limit, and
//! there is no recursion. Bytes that are not a batch are an error.
//!
//! # Not implemented
//!
//! - Message formats before v2.
//! - Tiered storage.
//! - Encryption.
//! - Elections, and the transport between replicas. A log has the calls of a leader and of a
//!   follower, such as [`append_as_follower`](crate::Log::append_as_follower); a program that uses
//!   them decides which log leads, and carries the batches.
//! - Everything that [a broker has for a network](super::from_kafka#what-is-not-here-and-why).
