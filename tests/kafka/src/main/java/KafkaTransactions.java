import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import kafka.coordinator.transaction.TransactionLog;
import kafka.coordinator.transaction.TransactionLog$;
import kafka.coordinator.transaction.TransactionMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.message.FetchResponseData.AbortedTransaction;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.FileRecords;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.coordinator.transaction.TransactionState;
import org.apache.kafka.coordinator.transaction.TxnTransitMetadata;
import org.apache.kafka.server.common.TransactionVersion;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.storage.internals.log.AbortedTxn;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.FetchDataInfo;
import org.apache.kafka.storage.internals.log.LogAppendInfo;
import org.apache.kafka.storage.internals.log.LogSegment;
import org.apache.kafka.storage.internals.log.LogStartOffsetIncrementReason;
import org.apache.kafka.storage.internals.log.UnifiedLog;

/** Kafka's side of tests/kafka/agreement/transactions.rs. */
final class KafkaTransactions {
    private static final int FETCH_BYTES = 20_000;

    private final KafkaAgrees kafka;

    KafkaTransactions(KafkaAgrees kafka) {
        this.kafka = kafka;
    }

    void write(File dir, long now, Path steps) throws IOException {
        Files.createDirectories(dir.toPath());
        UnifiedLog log = kafka.open(dir, false, false, new KafkaAgrees.Still(now));
        log.updateHighWatermark(log.logEndOffset());
        List<String> lines = Files.readAllLines(steps);
        for (String step : lines) {
            if (step.startsWith("listed ")) {
                continue;
            }
            String done;
            try {
                done = act(log, now, step.split(" "));
            } catch (ApiException e) {
                done = e.getClass().getSimpleName();
            }
            // A log of one replica.
            log.updateHighWatermark(log.logEndOffset());
            System.out.println("D " + step + ": " + done + ", stable " + log.lastStableOffset());
        }
        log.flush(false);
        kafka.settle();
        KafkaAgrees.copy(dir, new File(dir.getPath().replaceFirst("-0$", "") + "-as-crashed-0"));
        print(log, lines);
        kafka.close(log);
    }

    private String act(UnifiedLog log, long now, String[] words) throws IOException {
        switch (words[0]) {
            case "plain" -> {
                return appended(log.appendAsLeader(MemoryRecords.withRecords(Compression.NONE, records(now, words[1])), 3));
            }
            case "data", "numbered" -> {
                long producer = Long.parseLong(words[1]);
                short epoch = Short.parseShort(words[2]);
                int sequence = Integer.parseInt(words[3]);
                SimpleRecord[] records = records(now, words[4]);
                return appended(log.appendAsLeader(words[0].equals("data")
                    ? MemoryRecords.withTransactionalRecords(Compression.NONE, producer, epoch, sequence, records)
                    : MemoryRecords.withIdempotentRecords(Compression.NONE, producer, epoch, sequence, records), 3));
            }
            case "marker" -> {
                var kind = words[3].equals("commit") ? ControlRecordType.COMMIT : ControlRecordType.ABORT;
                var marker = new EndTransactionMarker(kind, Integer.parseInt(words[4]));
                return appended(log.appendAsLeader(MemoryRecords.withEndTransactionMarker(now, Long.parseLong(words[1]),
                    Short.parseShort(words[2]), marker), 3, AppendOrigin.COORDINATOR));
            }
            case "roll" -> log.roll();
            case "cut" -> {
                // It removes snapshots that the scheduler may be about to sync.
                kafka.settle();
                log.truncateTo(Long.parseLong(words[1]));
            }
            case "start" -> {
                log.maybeIncrementLogStartOffset(Long.parseLong(words[1]), LogStartOffsetIncrementReason.ClientRecordDeletion);
                log.deleteOldSegments();
            }
            default -> throw new IllegalArgumentException(String.join(" ", words));
        }
        return "done";
    }

    private static String appended(LogAppendInfo info) {
        return info.firstOffset() + " to " + info.lastOffset();
    }

    private static SimpleRecord[] records(long now, String count) {
        SimpleRecord[] records = new SimpleRecord[Integer.parseInt(count)];
        for (int i = 0; i < records.length; i++) {
            records[i] = new SimpleRecord(now + i, ("key " + i).getBytes(StandardCharsets.UTF_8), new byte[1500]);
        }
        return records;
    }

    void isolate(File dir, long now, boolean clean, Path steps) throws IOException {
        UnifiedLog log = kafka.open(dir, clean, false, new KafkaAgrees.Still(now));
        log.updateHighWatermark(log.logEndOffset());
        print(log, Files.readAllLines(steps));
        kafka.close(log);
    }

    /** What a reader of each isolation level finds, the aborted transactions of some fetches and those of each segment, the producers. */
    private static void print(UnifiedLog log, List<String> lines) throws IOException {
        System.out.println("L " + log.logStartOffset() + " " + log.lastStableOffset() + " " + log.logEndOffset());
        for (FetchIsolation isolation : FetchIsolation.values()) {
            boolean committed = isolation == FetchIsolation.TXN_COMMITTED;
            StringBuilder seen = new StringBuilder("V " + isolation);
            long at = log.logStartOffset();
            while (at < (committed ? log.lastStableOffset() : log.logEndOffset())) {
                FetchDataInfo info = log.read(at, FETCH_BYTES, isolation, true);
                at = consume(info, at, committed ? info.abortedTransactions.orElseThrow() : List.of(), seen);
            }
            System.out.println(seen);
        }
        for (String line : lines) {
            if (line.startsWith("listed ")) {
                // Kafka's own fetch lists more: up to an entry of the offset index, or the end of the segment.
                String[] words = line.split(" ");
                long from = Long.parseLong(words[1]);
                String listed = log.collectAbortedTransactions(from, Long.parseLong(words[2])).stream()
                    // This call, unlike a fetch, begins at the start of the log.
                    .filter(txn -> txn.lastOffset() >= from)
                    .sorted(Comparator.comparingLong(AbortedTxn::firstOffset))
                    .map(txn -> " " + txn.producerId() + "@" + txn.firstOffset()).collect(Collectors.joining());
                System.out.println("A " + line + listed);
            }
        }
        for (LogSegment segment : log.logSegments()) {
            printIndex(segment);
        }
        KafkaAgrees.print(log.producerStateManager().activeProducers().values());
    }

    static void printIndex(LogSegment segment) {
        for (AbortedTxn txn : segment.txnIndex().allAbortedTxns()) {
            System.out.println("I " + segment.baseOffset() + " " + txn.producerId() + " " + txn.firstOffset() + " " + txn.lastOffset()
                + " " + txn.lastStableOffset());
        }
    }

    /** As a client does with the response to a fetch. */
    private static long consume(FetchDataInfo info, long from, List<AbortedTransaction> listed, StringBuilder seen) {
        List<AbortedTransaction> sorted = new ArrayList<>(listed);
        sorted.sort(Comparator.comparingLong(AbortedTransaction::firstOffset));
        ArrayDeque<AbortedTransaction> coming = new ArrayDeque<>(sorted);
        Set<Long> aborting = new HashSet<>();
        long next = from;
        for (RecordBatch batch : info.records.batches()) {
            while (!coming.isEmpty() && coming.peek().firstOffset() <= batch.lastOffset()) {
                aborting.add(coming.remove().producerId());
            }
            next = batch.nextOffset();
            if (batch.isControlBatch()) {
                Record marker = batch.iterator().hasNext() ? batch.iterator().next() : null;
                if (marker != null && ControlRecordType.parse(marker.key()) == ControlRecordType.ABORT) {
                    aborting.remove(batch.producerId());
                }
            } else if (!batch.isTransactional() || !aborting.contains(batch.producerId())) {
                for (Record record : batch) {
                    if (record.offset() >= from) {
                        seen.append(' ').append(record.offset());
                    }
                }
            }
        }
        return next;
    }

    static void records(File dir) throws IOException {
        File[] files = dir.listFiles((in, name) -> name.endsWith(".log"));
        Arrays.sort(files);
        for (File file : files) {
            try (FileRecords records = FileRecords.open(file, false)) {
                for (RecordBatch batch : records.batches()) {
                    batch.ensureValid();
                    for (Record record : batch) {
                        System.out.println(line(record.key(), record.value()));
                    }
                }
            }
        }
    }

    private static String line(ByteBuffer key, ByteBuffer value) {
        String id = TransactionLog.readTxnRecordKey(key).toOption().get();
        if (value == null) {
            return "T " + id + " -";
        }
        TransactionMetadata txn = TransactionLog.readTxnRecordValue(id, value).get();
        Set<String> partitions = new java.util.TreeSet<>();
        scala.jdk.javaapi.CollectionConverters.asJava(txn.topicPartitions()).forEach(at -> partitions.add(at.toString()));
        return "T " + id + " " + txn.producerId() + " " + txn.producerEpoch() + " " + txn.prevProducerId() + " "
            + txn.nextProducerId() + " " + txn.txnTimeoutMs() + " " + txn.state().stateName() + " " + txn.txnLastUpdateTimestamp() + " "
            + txn.txnStartTimestamp() + " " + txn.clientTransactionVersion().featureLevel() + " " + String.join(",", partitions);
    }

    /** Records in each state, of each version of transactions. */
    static void writeRecords(File file) throws IOException {
        List<String> lines = new ArrayList<>();
        Set<TopicPartition> some = Set.of(new TopicPartition("orders", 0), new TopicPartition("orders", 3),
            new TopicPartition("__consumer_offsets", 49));
        for (TransactionVersion version : TransactionVersion.values()) {
            for (TransactionState state : TransactionState.values()) {
                for (long next : new long[] {-1, 5000}) {
                    boolean has = state != TransactionState.EMPTY && state != TransactionState.COMPLETE_COMMIT;
                    var transit = new TxnTransitMetadata(4000, next == -1 ? -1 : 3999, next, (short) (next == -1 ? 3 : 32767), (short) 2,
                        60_000, state, has ? some : Set.of(), state == TransactionState.EMPTY ? -1 : 1_700_000_000_123L,
                        1_700_000_000_456L, version);
                    byte[] key = TransactionLog$.MODULE$.keyToBytes("id \u00e9 " + lines.size());
                    byte[] value = TransactionLog$.MODULE$.valueToBytes(transit, version);
                    lines.add(HexFormat.of().formatHex(key) + " " + HexFormat.of().formatHex(value));
                    System.out.println(line(ByteBuffer.wrap(key), ByteBuffer.wrap(value)));
                }
            }
        }
        Files.write(file.toPath(), lines);
    }
}
