import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32C;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogValidator;

/**
 * Kafka's side of tests/kafka/bytes.rs.
 *
 * <pre>
 * make DIR   writes the corpus: batches as clients of all kinds could write them, one a file
 * read DIR   prints what is in each file, as Kafka's consumer reads it, and whether a broker would append it
 * </pre>
 *
 * Of each file: "F NAME", its records as "R ...", "X CLASS" if they end in an error, and "V ok TYPE" or "V CLASS" from the broker.
 */
public final class KafkaBytes {
    static final int HEADER = 61;

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(out);
        System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "off");
        Path dir = Path.of(args[1]);
        if (args[0].equals("make")) {
            Files.createDirectories(dir);
            Corpus.make((name, bytes) -> {
                try {
                    Files.write(dir.resolve(name + ".bin"), bytes);
                } catch (IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
            });
        } else {
            File[] files = dir.toFile().listFiles((in, name) -> name.endsWith(".bin"));
            Arrays.sort(files);
            for (File file : files) {
                System.out.println("F " + file.getName().replace(".bin", ""));
                byte[] bytes = Files.readAllBytes(file.toPath());
                read(bytes);
                append(bytes);
            }
        }
        System.out.println("done");
    }

    private static void read(byte[] bytes) {
        try {
            for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches()) {
                batch.ensureValid();
                // As a consumer reads; to the end, where what follows the last record is looked at.
                try (var records = batch.streamingIterator(BufferSupplier.create())) {
                    while (records.hasNext()) {
                        System.out.println(line(records.next()));
                    }
                }
            }
        } catch (Exception | Error e) {
            System.out.println("X " + e.getClass().getSimpleName());
        }
    }

    /** As a broker takes it from a client, on a topic with create time that keeps what the producer compressed. */
    private static void append(byte[] bytes) {
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes.clone()));
            RecordBatch first = records.batches().iterator().next();
            first.ensureValid();
            CompressionType codec = first.compressionType();
            LogValidator validator = new LogValidator(records, new TopicPartition("t", 0), Time.SYSTEM, codec, Compression.of(codec).build(),
                false, RecordBatch.CURRENT_MAGIC_VALUE, TimestampType.CREATE_TIME, Long.MAX_VALUE, Long.MAX_VALUE, 0, AppendOrigin.CLIENT);
            var result = validator.validateMessagesAndAssignOffsets(PrimitiveRef.ofLong(100), new NoMetrics(), BufferSupplier.create());
            RecordBatch stored = result.validatedRecords.batches().iterator().next();
            stored.ensureValid();
            System.out.println("V ok " + stored.timestampType().name + " " + stored.maxTimestamp());
        } catch (Exception | Error e) {
            System.out.println("V " + e.getClass().getSimpleName());
        }
    }

    private static final class NoMetrics implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }

        public void recordInvalidOffset() { }

        public void recordInvalidSequence() { }

        public void recordInvalidChecksums() { }

        public void recordNoKeyCompactedTopic() { }
    }

    private static String line(Record record) {
        StringBuilder line = new StringBuilder();
        line.append("R ").append(record.offset()).append(' ').append(record.timestamp());
        line.append(' ').append(sum(record.key())).append(' ').append(sum(record.value()));
        for (Header header : record.headers()) {
            byte[] value = header.value();
            String name = header.key().replaceAll("\uFFFD+", "\uFFFD");
            line.append(' ').append(sum(ByteBuffer.wrap(name.getBytes(StandardCharsets.UTF_8))));
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
}
