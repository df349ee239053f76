import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;
import java.util.zip.CRC32C;
import java.util.stream.Collectors;
import kafka.log.LogManager;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.Records;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.generated.GroupMetadataKey;
import org.apache.kafka.coordinator.group.generated.GroupMetadataValue;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.FileLock;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.checkpoint.CleanShutdownFileHandler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.CleanerConfig;
import org.apache.kafka.storage.internals.log.EpochEntry;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateEntry;
import org.apache.kafka.storage.internals.log.ProducerStateManager;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.SnapshotFile;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Kafka's side of tests/kafka/agreement.rs: does what the lines of a file say, with Kafka's own code, in one JVM.
 *
 * <pre>
 * dump DIR               DumpLogSegments over every file
 * load DIR clean|crashed opens it as a broker does, prints all there is in it, closes it
 * write DIR CREATE|APPEND writes a log; DIR gets a sibling DIR-as-crashed, copied before the close
 * append DIR COUNT       opens it as after a crash and appends to it
 * clean DIR UPTO NOW     compacts what lies below an offset, at this time, prints the segments and what is in them, closes it
 * number DIR NOW FROM    opens it as after a crash and appends numbered batches, the first of which has this number; prints its
 *                        producers; DIR gets a sibling DIR-as-crashed, copied before the close
 * broker DIR COUNT       starts on a data directory, prints what it finds, appends so many records to each log, prints that, stops
 * lead DIR               leads a log through some epochs, truncates it between them, prints its epochs, closes it
 * epochs DIR HOW         opens it, clean or crashed, prints its epochs, where each ends and which offset has which, closes it
 * groups DIR             prints what the records of a partition of __consumer_offsets say
 * producers DIR NOW HOW  opens it, clean or crashed, and prints its producers and those of each of its snapshots, closes it
 * txns DIR NOW STEPS     does the steps of a file to a log, prints the outcome of each and what KafkaTransactions.print prints; DIR
 *                        gets a sibling DIR-as-crashed, copied before the close
 * isolate DIR NOW HOW STEPS  opens it, clean or crashed, prints what KafkaTransactions.print prints, closes it
 * txnlog DIR             prints what the records of a partition of __transaction_state say
 * txnrecords FILE        writes keys and values of __transaction_state to a file, a line in hexadecimal each, and prints what they say
 * </pre>
 *
 * Each begins with a line "### COMMAND". Kafka's warnings come between the lines, as "[thread] WARN ...".
 */
public final class KafkaAgrees {
    private static final long T0 = 1_700_000_000_000L;
    private static final String[] CODECS = {"none", "gzip", "snappy", "lz4", "zstd"};

    private final KafkaScheduler scheduler = new KafkaScheduler(1);

    public static void main(String[] args) throws Exception {
        // Before any logger or Scala's Console takes hold of the streams.
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(out);
        System.setErr(out);
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "warn");
        System.setProperty("org.slf4j.simpleLogger.logFile", "System.out");
        KafkaAgrees kafka = new KafkaAgrees();
        KafkaTransactions transactions = new KafkaTransactions(kafka);
        kafka.scheduler.startup();
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            System.out.println("### " + line);
            String[] words = line.split(" ");
            File dir = new File(words[1]);
            switch (words[0]) {
                case "dump" -> dump(dir);
                case "load" -> kafka.load(dir, words[2].equals("clean"));
                case "write" -> kafka.write(dir, words[2].equals("APPEND"));
                case "append" -> kafka.append(dir, Integer.parseInt(words[2]));
                case "number" -> kafka.number(dir, Long.parseLong(words[2]), Integer.parseInt(words[3]));
                case "producers" -> kafka.producers(dir, Long.parseLong(words[2]), words[3].equals("clean"));
                case "lead" -> kafka.lead(dir);
                case "epochs" -> kafka.epochs(dir, words[2].equals("clean"));
                case "follow" -> kafka.follow(dir, new File(words[2]));
                case "groups" -> groups(dir);
                case "lock" -> lock(dir, false);
                case "hold" -> lock(dir, true);
                case "broker" -> kafka.broker(dir, Integer.parseInt(words[2]));
                case "clean" -> kafka.clean(dir, Long.parseLong(words[2]), Long.parseLong(words[3]));
                case "txns" -> transactions.write(dir, Long.parseLong(words[2]), Path.of(words[3]));
                case "isolate" -> transactions.isolate(dir, Long.parseLong(words[2]), words[3].equals("clean"), Path.of(words[4]));
                case "txnlog" -> KafkaTransactions.records(dir);
                case "txnrecords" -> KafkaTransactions.writeRecords(dir);
                default -> throw new IllegalArgumentException(line);
            }
        }
        kafka.scheduler.shutdown();
        System.out.println("### done");
    }

    private static void dump(File dir) throws IOException {
        File[] files = dir.listFiles();
        java.util.Arrays.sort(files);
        for (File file : files) {
            String name = file.getPath();
            if (name.endsWith(".log")) {
                tool("--deep-iteration", "--print-data-log", "--files", name);
            } else if (name.endsWith(".index") || name.endsWith(".timeindex")) {
                tool("--verify-index-only", "--deep-iteration", "--files", name);
                tool("--index-sanity-check", "--files", name);
                tool("--files", name);
            } else if (name.endsWith(".txnindex") || name.endsWith(".snapshot")) {
                tool("--files", name);
            }
        }
    }

    private static void tool(String... arguments) {
        System.out.println("## " + String.join(" ", arguments));
        kafka.tools.DumpLogSegments.main(arguments);
    }

    /** Time that stands still, so that producers of years ago are not taken for silent ones. */
    record Still(long milliseconds) implements Time {
        @Override
        public long nanoseconds() {
            return milliseconds * 1_000_000;
        }

        @Override
        public void sleep(long milliseconds) {
        }

        @Override
        public void waitObject(Object object, Supplier<Boolean> condition, long deadline) {
            throw new UnsupportedOperationException();
        }
    }

    private UnifiedLog open(File dir, boolean clean, boolean appendTime) throws IOException {
        return open(dir, clean, appendTime, Time.SYSTEM);
    }

    UnifiedLog open(File dir, boolean clean, boolean appendTime, Time time) throws IOException {
        Properties config = new Properties();
        config.put(LogConfig.INTERNAL_SEGMENT_BYTES_CONFIG, "65536");
        config.put(TopicConfig.SEGMENT_INDEX_BYTES_CONFIG, "65536");
        config.put(TopicConfig.INDEX_INTERVAL_BYTES_CONFIG, "512");
        config.put(TopicConfig.MAX_MESSAGE_BYTES_CONFIG, "4000000");
        // The records' times are years ago, the markers' are now.
        config.put(TopicConfig.SEGMENT_MS_CONFIG, Long.toString(Long.MAX_VALUE));
        config.put(TopicConfig.RETENTION_MS_CONFIG, "-1");
        if (appendTime) {
            config.put(TopicConfig.MESSAGE_TIMESTAMP_TYPE_CONFIG, "LogAppendTime");
        }
        return UnifiedLog.create(dir, new LogConfig(config), 0L, 0L, scheduler, new BrokerTopicStats(), time, 900_000,
            new ProducerStateManagerConfig(Integer.MAX_VALUE, false), 600_000, new LogDirFailureChannel(1), clean, Optional.empty());
    }

    /** A roll leaves the flush of the segment before to the scheduler, whose one thread must be through with it. */
    void close(UnifiedLog log) {
        settle();
        log.close();
    }

    /** Lets the scheduler finish what it was given. */
    void settle() {
        CountDownLatch idle = new CountDownLatch(1);
        scheduler.scheduleOnce("idle", idle::countDown);
        try {
            idle.await();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private void load(File dir, boolean clean) throws IOException {
        UnifiedLog log = open(dir, clean, false);
        for (LogSegment segment : log.logSegments()) {
            segment.offsetIndex().sanityCheck();
            segment.timeIndex().sanityCheck();
        }
        print(log);
        close(log);
    }

    private static void print(UnifiedLog log) throws IOException {
        List<Long> times = new ArrayList<>();
        long at = log.logStartOffset();
        while (at < log.logEndOffset()) {
            Records records = log.read(at, 1 << 20, FetchIsolation.LOG_END, true).records;
            for (RecordBatch batch : records.batches()) {
                batch.ensureValid();
                // A read begins with the batch that holds the offset, which is at it, or behind it where compaction left a hole.
                if (batch.baseOffset() < at) {
                    throw new IllegalStateException("asked for " + at + ", got " + batch.baseOffset());
                }
                System.out.println(line(batch));
                for (Record record : batch) {
                    System.out.println(line(record));
                    if (record.offset() % 97 == 0) {
                        times.add(record.timestamp());
                    }
                }
                at = batch.nextOffset();
            }
        }
        for (long time : times) {
            var found = log.fetchOffsetByTimestamp(time, Optional.empty()).timestampAndOffsetOpt();
            System.out.println("T " + time + " " + found.map(f -> f.offset + " " + f.timestamp).orElse("-"));
        }
        System.out.println("E " + log.logEndOffset() + " " + log.logSegments().size());
    }

    private void clean(File dir, long upto, long now) throws Exception {
        UnifiedLog log = open(dir, true, false, new Still(now));
        Throttler unlimited = new Throttler(Double.MAX_VALUE, 300, "cleaner-io", "bytes", Time.SYSTEM);
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 1 << 19, 1 << 22, 0.9, unlimited, Time.SYSTEM, partition -> { });
        cleaner.doClean(new LogToClean(log, 0, upto, false), now);
        for (LogSegment segment : log.logSegments()) {
            System.out.println("S " + segment.baseOffset() + " " + segment.size());
            KafkaTransactions.printIndex(segment);
            for (RecordBatch batch : segment.log().batches()) {
                batch.ensureValid();
                System.out.println(line(batch) + " " + batch.maxTimestamp() + " " + batch.deleteHorizonMs().orElse(-1));
                for (Record record : batch) {
                    System.out.println(line(record));
                }
            }
        }
        close(log);
    }

    /** As tests/kafka/agreement.rs makes them: three producers, one of whom begins anew, and one whose numbers begin again at 0. */
    private void number(File dir, long now, int from) throws IOException {
        Files.createDirectories(dir.toPath());
        UnifiedLog log = open(dir, false, false, new Still(now));
        for (int n = from; n < from + 60; n++) {
            int round = n / 3;
            int count = 1 + n % 3 * 2;
            SimpleRecord[] records = new SimpleRecord[count];
            for (int i = 0; i < count; i++) {
                records[i] = new SimpleRecord(now - 1000 + n, "key".getBytes(StandardCharsets.UTF_8), new byte[1500]);
            }
            int producer = n % 3;
            short epoch = (short) (producer == 1 ? round / 8 : 2);
            int first = producer == 1 ? round % 8 * count : producer == 2 ? Integer.MAX_VALUE - 22 : 0;
            int sequence = producer == 1 ? first : (first + round * count) & Integer.MAX_VALUE;
            log.appendAsLeader(MemoryRecords.withIdempotentRecords(Compression.NONE, 5000 + producer, epoch, sequence, records), 3);
        }
        log.flush(false);
        copy(dir, new File(dir.getPath().replaceFirst("-0$", "") + "-as-crashed-0"));
        print(log.producerStateManager().activeProducers().values());
        close(log);
    }

    private void broker(File dir, int count) throws Exception {
        System.out.println("C " + new CleanShutdownFileHandler(dir.getPath()).exists());
        Properties config = new Properties();
        config.put(TopicConfig.RETENTION_MS_CONFIG, "-1");
        long never = Long.MAX_VALUE / 4;
        LogManager manager = new LogManager(CollectionConverters.asScala(List.of(dir)), CollectionConverters.asScala(List.<File>of()),
            resource -> new Properties(), new LogConfig(config), new CleanerConfig(false), 1, never, never, never, never, 900_000,
            new ProducerStateManagerConfig(86_400_000, false), 600_000, scheduler, new BrokerTopicStats(), new LogDirFailureChannel(1),
            Time.SYSTEM, false, never);
        manager.startup(CollectionConverters.asScala(new HashSet<String>()), manager.startup$default$2());
        List<UnifiedLog> logs = new ArrayList<>(CollectionConverters.asJavaCollection(manager.allLogs()));
        logs.sort(Comparator.comparing(log -> log.topicPartition().toString()));
        for (UnifiedLog log : logs) {
            System.out.println("L " + log.topicPartition() + " " + log.logStartOffset() + " " + log.logEndOffset() + " "
                + log.recoveryPoint() + " " + log.topicId().orElseThrow());
            append(log, count);
            System.out.println("A " + log.topicPartition() + " " + log.logEndOffset());
        }
        manager.shutdown(-1);
    }

    /** Takes the lock of a directory as a broker does, and keeps it until there is no more input. */
    private static void lock(File dir, boolean hold) throws IOException {
        FileLock lock = new FileLock(new File(dir, ".lock"));
        boolean taken = lock.tryLock();
        System.out.println("K " + taken);
        while (hold && System.in.read() >= 0) {
            continue;
        }
        if (taken) {
            lock.destroy();
        }
    }

    private static void groups(File dir) throws IOException {
        GroupCoordinatorRecordSerde serde = new GroupCoordinatorRecordSerde();
        File[] files = dir.listFiles((in, name) -> name.endsWith(".log"));
        java.util.Arrays.sort(files);
        for (File file : files) {
            try (FileRecords records = FileRecords.open(file, false)) {
                for (RecordBatch batch : records.batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        print(serde.deserialize(record.key(), record.value()));
                    }
                }
            }
        }
    }

    private static void print(CoordinatorRecord record) {
        if (record.key() instanceof OffsetCommitKey key) {
            String place = "O " + key.group() + " " + key.topic() + " " + key.partition();
            if (record.value() == null) {
                System.out.println(place + " -");
            } else {
                OffsetCommitValue value = (OffsetCommitValue) record.value().message();
                System.out.println(place + " " + value.offset() + " " + value.leaderEpoch() + " '" + value.metadata() + "' "
                    + value.commitTimestamp() + " " + value.expireTimestamp());
            }
        } else if (record.key() instanceof GroupMetadataKey key && record.value() == null) {
            System.out.println("G " + key.group() + " -");
        } else if (record.key() instanceof GroupMetadataKey key) {
            GroupMetadataValue value = (GroupMetadataValue) record.value().message();
            System.out.println("G " + key.group() + " " + value.protocolType() + " " + value.generation() + " " + value.protocol() + " "
                + value.leader() + " " + value.currentStateTimestamp());
            for (GroupMetadataValue.MemberMetadata member : value.members()) {
                var topics = ConsumerProtocol.deserializeSubscription(ByteBuffer.wrap(member.subscription())).topics();
                var assigned = ConsumerProtocol.deserializeAssignment(ByteBuffer.wrap(member.assignment())).partitions();
                System.out.println("M " + key.group() + " " + member.memberId() + " " + member.groupInstanceId() + " "
                    + member.clientId() + " " + member.clientHost() + " " + member.rebalanceTimeout() + " "
                    + member.sessionTimeout() + " " + String.join(",", topics) + " "
                    + assigned.stream().map(Object::toString).sorted().collect(Collectors.joining(",")));
            }
        } else {
            throw new IllegalStateException("a record of what? " + record);
        }
    }

    private void producers(File dir, long now, boolean clean) throws IOException {
        UnifiedLog log = open(dir, clean, false, new Still(now));
        print(log.producerStateManager().activeProducers().values());
        List<SnapshotFile> files = new ArrayList<>(ProducerStateManager.listSnapshotFiles(dir));
        files.sort(Comparator.comparingLong(file -> file.offset));
        for (SnapshotFile file : files) {
            System.out.println("F " + file.offset);
            print(ProducerStateManager.readSnapshot(file.file()));
        }
        close(log);
    }

    static void print(Collection<ProducerStateEntry> producers) {
        producers.stream().sorted(Comparator.comparingLong(ProducerStateEntry::producerId)).forEach(entry ->
            System.out.printf("P %d %d %d %d %d %d %d %d%n", entry.producerId(), entry.producerEpoch(), entry.lastSeq(),
                entry.lastDataOffset(), entry.lastOffsetDelta(), entry.lastTimestamp(), entry.coordinatorEpoch(),
                entry.currentTxnFirstOffset().orElse(-1)));
    }

    private void lead(File dir) throws IOException {
        Files.createDirectories(dir.toPath());
        UnifiedLog log = open(dir, true, false);
        for (int epoch = 4; epoch < 22; epoch += 3) {
            log.assignEpochStartOffset(epoch, log.logEndOffset());
            for (int n = 0; n < epoch; n++) {
                log.appendAsLeader(MemoryRecords.withRecords(Compression.NONE, record(n), record(n + 1)), epoch);
            }
            if (epoch % 2 == 0) {
                log.truncateTo(log.logEndOffset() - 6);
            }
        }
        printEpochs(log);
        close(log);
    }

    private void follow(File dir, File fetched) throws IOException {
        Files.createDirectories(dir.toPath());
        UnifiedLog log = open(dir, true, false);
        for (int n = 0; new File(fetched, "" + n).exists(); n++) {
            byte[] bytes = Files.readAllBytes(new File(fetched, "" + n).toPath());
            log.appendAsFollower(MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)), Integer.MAX_VALUE);
            long set = log.updateHighWatermark(log.logEndOffset() + n % 4 * 10 - 20);
            System.out.println("H " + set + " " + log.lastStableOffset() + " " + log.logEndOffset());
        }
        printEpochs(log);
        log.flush(false);
        close(log);
    }

    private void epochs(File dir, boolean clean) throws IOException {
        UnifiedLog log = open(dir, clean, false);
        printEpochs(log);
        close(log);
    }

    private static void printEpochs(UnifiedLog log) {
        for (EpochEntry entry : log.leaderEpochCache().epochEntries()) {
            System.out.println("S " + entry.epoch + " " + entry.startOffset);
        }
        for (int epoch = -1; epoch <= log.latestEpoch().orElse(-1) + 2; epoch++) {
            var end = log.endOffsetForEpoch(epoch).map(found -> found.epoch() + " " + found.offset());
            System.out.println("X " + epoch + " " + end.orElse("-"));
        }
        for (long at = 0; at < log.logEndOffset(); at++) {
            var epoch = log.leaderEpochCache().epochForOffset(at);
            System.out.println("O " + at + " " + (epoch.isPresent() ? epoch.getAsInt() : "-"));
        }
    }

    private static String type(RecordBatch batch) {
        return batch.timestampType() == TimestampType.LOG_APPEND_TIME ? "APPEND" : "CREATE";
    }

    private static String line(RecordBatch batch) {
        return String.format("B %d %d %d %s %s %d %d %d %b %b %d", batch.baseOffset(), batch.lastOffset(),
            batch.countOrNull(), batch.compressionType().name, type(batch), batch.producerId(), batch.producerEpoch(),
            batch.baseSequence(), batch.isTransactional(), batch.isControlBatch(), batch.partitionLeaderEpoch());
    }

    private static String line(Record record) {
        StringBuilder line = new StringBuilder();
        line.append("R ").append(record.offset()).append(' ').append(record.timestamp());
        line.append(' ').append(sum(record.key())).append(' ').append(sum(record.value()));
        for (Header header : record.headers()) {
            byte[] value = header.value();
            line.append(' ').append(sum(ByteBuffer.wrap(header.key().getBytes(StandardCharsets.UTF_8))));
            line.append('=').append(sum(value == null ? null : ByteBuffer.wrap(value)));
        }
        return line.toString();
    }

    private static String sum(ByteBuffer bytes) {
        if (bytes == null) {
            return "-";
        }
        CRC32C crc = new CRC32C();
        crc.update(bytes.duplicate());
        return String.format("%d:%08x", bytes.remaining(), crc.getValue());
    }

    private void write(File dir, boolean appendTime) throws IOException {
        Files.createDirectories(dir.toPath());
        UnifiedLog log = open(dir, true, appendTime);
        int made = 0;
        int sequence = 0;
        for (int round = 0; round < 120; round++) {
            Compression codec = Compression.of(CODECS[round % CODECS.length]).build();
            SimpleRecord[] records = new SimpleRecord[1 + round * 7 % 40];
            for (int i = 0; i < records.length; i++) {
                records[i] = record(made++);
            }
            int epoch = 3 + round / 20;
            long producer = 4000 + round % 2;
            if (round % 4 == 0) {
                log.appendAsLeader(MemoryRecords.withIdempotentRecords(codec, 3000, (short) 2, sequence, records), epoch);
                sequence += records.length;
            } else if (round % 4 == 1) {
                log.appendAsLeader(MemoryRecords.withTransactionalRecords(codec, producer, (short) round, 0, records), epoch);
                var kind = round % 8 == 1 ? ControlRecordType.ABORT : ControlRecordType.COMMIT;
                log.appendAsLeader(MemoryRecords.withEndTransactionMarker(producer, (short) round, new EndTransactionMarker(kind, 7)), epoch,
                    AppendOrigin.COORDINATOR);
            } else {
                log.appendAsLeader(MemoryRecords.withRecords(codec, records), epoch);
            }
        }
        log.appendAsLeader(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(T0, null, new byte[60_000])), 9);
        append(log, 100);
        log.flush(false);
        copy(dir, new File(dir.getPath().replaceFirst("-0$", "") + "-as-crashed-0"));
        print(log);
        close(log);
    }

    private static SimpleRecord record(int n) {
        byte[] key = n % 5 == 0 ? null : ("key-" + n % 11).getBytes(StandardCharsets.UTF_8);
        byte[] value = n % 13 == 1 ? null : "real words, again and again; ".repeat(n % 23).getBytes(StandardCharsets.UTF_8);
        Header[] headers = n % 3 != 0 ? new Header[0] : new Header[] {
            new RecordHeader("a", new byte[] {1, (byte) n}), new RecordHeader("a", new byte[0]), new RecordHeader("\u00e9\u6f22", null)};
        // Mostly rising, sometimes back, sometimes equal.
        return new SimpleRecord(T0 + n / 2 * 10 - (n % 17 == 0 ? 500 : 0), key, value, headers);
    }

    private void append(File dir, int count) throws IOException {
        UnifiedLog log = open(dir, false, false);
        append(log, count);
        print(log);
        close(log);
    }

    private static void append(UnifiedLog log, int count) throws IOException {
        for (int n = 0; n < count; n++) {
            log.appendAsLeader(MemoryRecords.withRecords(Compression.of(CODECS[n % CODECS.length]).build(), record(100_000 + n)), 9);
        }
    }

    static void copy(File from, File to) throws IOException {
        Files.createDirectories(to.toPath());
        for (File file : from.listFiles()) {
            Files.copy(file.toPath(), to.toPath().resolve(file.getName()));
        }
    }
}
