import com.github.luben.zstd.ZstdCompressCtx;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;
import java.util.zip.Deflater;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.SimpleRecord;
import org.apache.kafka.common.utils.ByteUtils;
import org.xerial.snappy.Snappy;

/** Batches as clients of all kinds could write them. The same bytes each time. */
final class Corpus {
    private static final long T0 = 1_700_000_000_000L;
    private static final int GZIP = 1;
    private static final int SNAPPY = 2;
    private static final int LZ4 = 3;
    private static final int ZSTD = 4;

    private final BiConsumer<String, byte[]> to;

    private Corpus(BiConsumer<String, byte[]> to) {
        this.to = to;
    }

    static void make(BiConsumer<String, byte[]> to) throws Exception {
        Corpus corpus = new Corpus(to);
        corpus.headers();
        corpus.header();
        corpus.clients();
        corpus.gzip();
        corpus.snappy();
        corpus.lz4();
        corpus.zstd();
    }

    // Records

    /** Three records of little text: what most cases wrap. */
    private static byte[] small() {
        return cat(record(0, 0, "key-0", "value-0 value-0 value-0 value-0"), record(1, 5, null, "value-1 value-1"), record(2, 9, "key-2", null));
    }

    /** Text that compresses, with stretches that do not; so much that each codec needs several blocks. */
    private static byte[] large() {
        Random random = new Random(7);
        byte[][] records = new byte[60][];
        for (int i = 0; i < records.length; i++) {
            byte[] value = new byte[100 + random.nextInt(20_000)];
            if (i % 3 == 0) {
                random.nextBytes(value);
            } else {
                Arrays.fill(value, (byte) ('a' + i % 26));
                for (int at = 0; at < value.length; at += 1 + random.nextInt(300)) {
                    value[at] = (byte) random.nextInt();
                }
            }
            records[i] = record(i, i, bytes("key-" + i % 7), value);
        }
        return cat(records);
    }

    private static byte[] record(int delta, long time, String key, String value) {
        return record(delta, time, key == null ? null : bytes(key), value == null ? null : bytes(value));
    }

    /** A record; its headers are names and values by turns. */
    private static byte[] record(int delta, long time, byte[] key, byte[] value, byte[]... headers) {
        return record(delta, time, key, value, headers.length / 2, headers);
    }

    private static byte[] record(int delta, long time, byte[] key, byte[] value, int count, byte[]... headers) {
        ByteBuffer body = ByteBuffer.allocate(1 << 20);
        body.put((byte) 0);
        ByteUtils.writeVarlong(time, body);
        ByteUtils.writeVarint(delta, body);
        put(body, key);
        put(body, value);
        ByteUtils.writeVarint(count, body);
        for (byte[] part : headers) {
            put(body, part);
        }
        ByteBuffer whole = ByteBuffer.allocate(body.position() + 5);
        ByteUtils.writeVarint(body.position(), whole);
        whole.put(body.flip());
        return taken(whole);
    }

    private static void put(ByteBuffer to, byte[] bytes) {
        ByteUtils.writeVarint(bytes == null ? -1 : bytes.length, to);
        if (bytes != null) {
            to.put(bytes);
        }
    }

    // Batches

    private void put(String name, int codec, byte[] plain, byte[] packed) {
        to.accept(name, batch(codec, count(plain), packed));
    }

    private static int count(byte[] plain) {
        ByteBuffer rest = ByteBuffer.wrap(plain);
        int count = 0;
        for (; rest.hasRemaining(); count++) {
            int length = ByteUtils.readVarint(rest);
            rest.position(rest.position() + length);
        }
        return count;
    }

    private static byte[] batch(int attributes, int count, byte[] records) {
        ByteBuffer batch = ByteBuffer.allocate(KafkaBytes.HEADER + records.length);
        batch.putLong(0).putInt(batch.capacity() - 12).putInt(3).put((byte) 2).putInt(0);
        batch.putShort((short) attributes).putInt(count - 1).putLong(T0).putLong(T0 + count).putLong(-1).putShort((short) -1).putInt(-1);
        batch.putInt(count).put(records);
        return summed(batch.array());
    }

    private static byte[] edited(byte[] batch, int at, long... values) {
        ByteBuffer.wrap(batch, at, batch.length - at).asLongBuffer().put(values);
        return summed(batch);
    }

    private static byte[] summed(byte[] batch) {
        CRC32C crc = new CRC32C();
        crc.update(batch, 21, batch.length - 21);
        ByteBuffer.wrap(batch).putInt(17, (int) crc.getValue());
        return batch;
    }

    /** Names and values of headers, as no Java client writes them among others. */
    private void headers() {
        byte[] v = bytes("v");
        byte[] latin = {'c', 'a', 'f', (byte) 0xe9};
        byte[] binary = {(byte) 0xff, (byte) 0xfe, 0, (byte) 0x80, (byte) 0xc3};
        byte[] cut = {'a', (byte) 0xe6, (byte) 0xbc};
        byte[] longest = new byte[5000];
        Arrays.fill(longest, (byte) 'n');
        byte[][] kinds = {
            record(0, 0, bytes("k"), v, latin, v, latin, null, bytes("caf\u00e9"), v),
            record(1, 0, bytes("k"), null, binary, new byte[0], cut, binary, new byte[0], v, new byte[0], null),
            record(2, 0, null, null, bytes("a"), v, bytes("a"), v, bytes("a"), null, bytes("\u6f22\ud83d\ude00"), v)};
        byte[] plain = cat(kinds);
        put("headers-none", 0, plain, plain);
        put("headers-gzip", GZIP, plain, member(plain, 6));
        put("headers-snappy", SNAPPY, plain, xerial(1, 1, ByteOrder.BIG_ENDIAN, plain));
        put("headers-lz4", LZ4, plain, new Lz4().pack(plain));
        put("headers-zstd", ZSTD, plain, zstd(3, true, false, plain));
        byte[] large = record(0, 0, null, v, longest, v, longest, longest);
        put("large-headers-long", 0, large, large);
        // One after the other, where Java and Rust count the replaced bytes of a surrogate differently.
        byte[] surrogate = record(0, 0, null, v, new byte[] {(byte) 0xed, (byte) 0xa0, (byte) 0x80}, v);
        put("headers-surrogate", 0, surrogate, surrogate);
        byte[] nameless = record(0, 0, null, v, null, v);
        put("bad-header-name-null", 0, nameless, nameless);
        byte[] negative = record(0, 0, null, v, -1);
        put("bad-header-count-negative", 0, negative, negative);
        byte[] more = record(0, 0, null, v, 3, bytes("a"), v);
        put("bad-header-count-more", 0, more, more);
        byte[] fewer = record(0, 0, null, v, 1, bytes("a"), v, bytes("b"), v);
        put("bad-header-count-fewer", 0, fewer, fewer);
    }

    /** Fields of the batch's header. */
    private void header() {
        byte[] plain = small();
        to.accept("batch-append-time", batch(8, 3, plain));
        to.accept("batch-unused-attributes", batch(0x80, 3, plain));
        byte[] packed = member(plain, 6);
        to.accept("batch-append-time-gzip", batch(8 | GZIP, 3, packed));
        to.accept("batch-max-timestamp-none", edited(batch(0, 3, plain), 35, -1));
        to.accept("batch-max-timestamp-more", edited(batch(0, 3, plain), 35, T0 + 77));
        to.accept("bad-batch-control", batch(0x20, 3, plain));
        to.accept("batch-offsets-missing", batch(0, 3, cat(record(0, 0, "k", "v"), record(2, 0, "k", "v"), record(4, 0, "k", "v"))));
        to.accept("batch-offsets-repeated", batch(0, 3, cat(record(0, 0, "k", "v"), record(1, 0, "k", "v"), record(1, 0, "k", "v"))));
        to.accept("batch-timestamps-none", edited(batch(0, 1, record(0, 0, "k", "v")), 27, -1, -1));
        to.accept("batch-delete-horizon", batch(0x40, 3, plain));
        to.accept("bad-count-more", batch(0, 4, plain));
        to.accept("bad-count-fewer", batch(0, 2, plain));
        to.accept("bad-codec-5", batch(5, 3, plain));
        byte[] trailing = cat(plain, new byte[] {0, 0});
        to.accept("bad-trailing-none", batch(0, 3, trailing));
        to.accept("bad-trailing-gzip", batch(GZIP, 3, member(trailing, 6)));
    }

    /** As Kafka's own producer compresses, on every level. */
    private void clients() {
        for (byte[] plain : List.of(small(), large())) {
            String size = plain.length > 1000 ? "large-" : "";
            ByteBuffer sections = ByteBuffer.wrap(batch(0, count(plain), plain));
            SimpleRecord[] records = new SimpleRecord[count(plain)];
            int made = 0;
            for (var record : MemoryRecords.readableRecords(sections).records()) {
                records[made++] = new SimpleRecord(record);
            }
            for (int level = 1; level <= 9; level++) {
                client(size + "kafka-gzip-" + level, Compression.gzip().level(level).build(), records);
            }
            for (int level = 1; level <= 17; level += size.isEmpty() ? 8 : 2) {
                client(size + "kafka-lz4-" + level, Compression.lz4().level(level).build(), records);
            }
            for (int level : new int[] {-131072, -5, -1, 1, 2, 3, 5, 7, 9, 12, 15, 18, 19, 22}) {
                client(size + "kafka-zstd-" + level, Compression.zstd().level(level).build(), records);
            }
            client(size + "kafka-snappy", Compression.snappy().build(), records);
            client(size + "kafka-none", Compression.NONE, records);
        }
    }

    private void client(String name, Compression codec, SimpleRecord[] records) {
        ByteBuffer bytes = MemoryRecords.withRecords(codec, records).buffer();
        byte[] batch = new byte[bytes.remaining()];
        bytes.get(batch);
        to.accept(name, batch);
    }

    // gzip

    private static final int FTEXT = 1;
    private static final int FHCRC = 2;
    private static final int FEXTRA = 4;
    private static final int FNAME = 8;
    private static final int FCOMMENT = 16;

    private void gzip() {
        byte[] plain = small();
        byte[][] parts = thirds(plain);
        byte[] empty = member(new byte[0], 6);
        for (int level = 0; level <= 9; level++) {
            put("gzip-level-" + level, GZIP, plain, member(plain, level));
            put("large-gzip-level-" + level, GZIP, large(), member(large(), level));
        }
        put("gzip-huffman-only", GZIP, plain, member(plain, 0, deflated(plain, 6, Deflater.HUFFMAN_ONLY, Deflater.NO_FLUSH)));
        put("gzip-flushed", GZIP, plain, member(plain, 0, deflated(plain, 6, Deflater.DEFAULT_STRATEGY, Deflater.SYNC_FLUSH)));
        put("gzip-members", GZIP, plain, cat(member(parts[0], 6), member(parts[1], 0), member(parts[2], 9)));
        put("gzip-empty-member-first", GZIP, plain, cat(empty, member(plain, 6)));
        put("gzip-empty-member-between", GZIP, plain, cat(member(parts[0], 6), empty, member(cat(parts[1], parts[2]), 6)));
        put("gzip-empty-member-last", GZIP, plain, cat(member(plain, 6), empty));
        for (int flags : new int[] {FTEXT, FHCRC, FEXTRA, FNAME, FCOMMENT, FHCRC | FEXTRA | FNAME | FCOMMENT | FTEXT}) {
            put("gzip-flags-" + flags, GZIP, plain, member(plain, flags, deflated(plain, 6, 0, Deflater.NO_FLUSH)));
        }
        byte[] whole = member(plain, 6);
        put("gzip-zeros-behind", GZIP, plain, cat(whole, new byte[8]));
        put("gzip-zeros-40-behind", GZIP, plain, cat(whole, new byte[40]));
        put("gzip-garbage-behind", GZIP, plain, cat(whole, bytes("garbage")));
        put("gzip-garbage-40-behind", GZIP, plain, cat(whole, bytes("garbage ".repeat(5))));
        put("gzip-half-member-behind", GZIP, plain, cat(whole, Arrays.copyOf(whole, 30)));
        put("bad-gzip-crc", GZIP, plain, flipped(whole, whole.length - 8));
        put("bad-gzip-length", GZIP, plain, flipped(whole, whole.length - 4));
        put("bad-gzip-cut-trailer", GZIP, plain, Arrays.copyOf(whole, whole.length - 3));
        put("bad-gzip-cut", GZIP, plain, Arrays.copyOf(whole, whole.length - 15));
        byte[] summed = member(plain, FHCRC, deflated(plain, 6, 0, Deflater.NO_FLUSH));
        put("bad-gzip-header-crc", GZIP, plain, flipped(summed, 10));
        byte[] reserved = whole.clone();
        reserved[3] = (byte) 0x80;
        put("gzip-reserved-flag", GZIP, plain, reserved);
        byte[] method = whole.clone();
        method[2] = 7;
        put("bad-gzip-method", GZIP, plain, method);
        put("bad-gzip-empty", GZIP, plain, new byte[0]);
    }

    private static byte[] member(byte[] plain, int level) {
        return member(plain, 0, deflated(plain, level, Deflater.DEFAULT_STRATEGY, Deflater.NO_FLUSH));
    }

    private static byte[] member(byte[] plain, int flags, byte[] deflated) {
        ByteArrayOutputStream head = new ByteArrayOutputStream();
        head.writeBytes(new byte[] {0x1f, (byte) 0x8b, 8, (byte) flags, 1, 2, 3, 4, 0, 3});
        if ((flags & FEXTRA) != 0) {
            head.writeBytes(new byte[] {6, 0, 'A', 'p', 2, 0, 0, 0});
        }
        if ((flags & FNAME) != 0) {
            head.writeBytes(new byte[] {'n', (byte) 0xe9, 0});
        }
        if ((flags & FCOMMENT) != 0) {
            head.writeBytes(new byte[] {'c', 'o', 0});
        }
        CRC32 crc = new CRC32();
        if ((flags & FHCRC) != 0) {
            crc.update(head.toByteArray());
            head.writeBytes(little(2).putShort((short) crc.getValue()).array());
            crc.reset();
        }
        crc.update(plain);
        return cat(head.toByteArray(), deflated, little(8).putInt((int) crc.getValue()).putInt(plain.length).array());
    }

    private static byte[] deflated(byte[] plain, int level, int strategy, int flush) {
        Deflater deflater = new Deflater(level, true);
        deflater.setStrategy(strategy);
        byte[] room = new byte[plain.length * 2 + 100];
        int size = 0;
        if (flush != Deflater.NO_FLUSH) {
            deflater.setInput(plain, 0, plain.length / 2);
            size = deflater.deflate(room, 0, room.length, flush);
            size += deflater.deflate(room, size, room.length - size, Deflater.FULL_FLUSH);
            deflater.setInput(plain, plain.length / 2, plain.length - plain.length / 2);
        } else {
            deflater.setInput(plain);
        }
        deflater.finish();
        while (!deflater.finished()) {
            size += deflater.deflate(room, size, room.length - size);
        }
        deflater.end();
        return Arrays.copyOf(room, size);
    }

    // snappy

    private void snappy() throws Exception {
        byte[] plain = small();
        byte[][] parts = thirds(plain);
        put("snappy-raw", SNAPPY, plain, Snappy.compress(plain));
        put("large-snappy-raw", SNAPPY, large(), Snappy.compress(large()));
        put("snappy-big-endian", SNAPPY, plain, xerial(1, 1, ByteOrder.BIG_ENDIAN, plain));
        put("snappy-little-endian", SNAPPY, plain, xerial(1, 1, ByteOrder.LITTLE_ENDIAN, plain));
        put("snappy-version-0", SNAPPY, plain, xerial(0, 0, ByteOrder.BIG_ENDIAN, plain));
        put("snappy-version-2", SNAPPY, plain, xerial(2, 1, ByteOrder.BIG_ENDIAN, plain));
        put("snappy-least-version-2", SNAPPY, plain, xerial(2, 2, ByteOrder.BIG_ENDIAN, plain));
        put("snappy-chunks", SNAPPY, plain, xerial(1, 1, ByteOrder.BIG_ENDIAN, parts));
        put("snappy-chunk-empty", SNAPPY, plain, xerial(1, 1, ByteOrder.BIG_ENDIAN, parts[0], new byte[0], parts[1], parts[2]));
        put("large-snappy-one-chunk", SNAPPY, large(), xerial(1, 1, ByteOrder.BIG_ENDIAN, large()));
        byte[] first = xerial(1, 1, ByteOrder.BIG_ENDIAN, parts[0]);
        byte[] rest = xerial(1, 1, ByteOrder.BIG_ENDIAN, parts[1], parts[2]);
        put("snappy-frames", SNAPPY, plain, cat(first, rest));
        byte[] whole = xerial(1, 1, ByteOrder.BIG_ENDIAN, plain);
        put("snappy-zeros-behind", SNAPPY, plain, cat(whole, new byte[3]));
        put("bad-snappy-chunk-of-0-behind", SNAPPY, plain, cat(whole, new byte[4]));
        put("bad-snappy-cut", SNAPPY, plain, Arrays.copyOf(whole, whole.length - 3));
        put("bad-snappy-negative-chunk", SNAPPY, plain, cat(Arrays.copyOf(whole, 16), new byte[] {-1, -1, -1, -5}));
        put("bad-snappy-no-chunk", SNAPPY, plain, Arrays.copyOf(whole, 16));
        put("bad-snappy-empty", SNAPPY, plain, new byte[0]);
        byte[] raw = Snappy.compress(plain);
        put("bad-snappy-raw-cut", SNAPPY, plain, Arrays.copyOf(raw, raw.length - 2));
        put("bad-snappy-raw-behind", SNAPPY, plain, cat(raw, new byte[] {0, 1}));
    }

    private static byte[] xerial(int version, int least, ByteOrder order, byte[]... chunks) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(new byte[] {(byte) 0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0});
        out.writeBytes(ByteBuffer.allocate(8).order(order).putInt(version).putInt(least).array());
        for (byte[] chunk : chunks) {
            byte[] packed;
            try {
                packed = Snappy.compress(chunk);
            } catch (java.io.IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
            out.writeBytes(ByteBuffer.allocate(4).putInt(packed.length).array());
            out.writeBytes(packed);
        }
        return out.toByteArray();
    }

    // LZ4

    private void lz4() {
        byte[] plain = small();
        byte[][] parts = thirds(plain);
        for (int size = 4; size <= 7; size++) {
            for (int flags = 0; flags < 8; flags++) {
                Lz4 lz4 = new Lz4();
                lz4.size = size;
                lz4.blockChecksums = (flags & 1) != 0;
                lz4.contentChecksum = (flags & 2) != 0;
                lz4.contentSize = (flags & 4) != 0;
                String name = "lz4-size-" + size + "-flags-" + flags;
                put("large-" + name, LZ4, large(), lz4.pack(large()));
                if (size == 4 || flags == 0) {
                    put(name, LZ4, plain, lz4.pack(plain));
                }
                lz4.linked = true;
                put("large-linked-" + name, LZ4, large(), lz4.pack(large()));
            }
        }
        Lz4 linked = new Lz4();
        linked.linked = true;
        linked.block = 20;
        put("lz4-linked", LZ4, plain, linked.pack(plain));
        Lz4 stored = new Lz4();
        stored.stored = true;
        put("lz4-stored", LZ4, plain, stored.pack(plain));
        put("large-lz4-stored", LZ4, large(), stored.pack(large()));
        Lz4 blocks = new Lz4();
        blocks.block = 20;
        blocks.blockChecksums = true;
        put("lz4-blocks", LZ4, plain, blocks.pack(plain));
        Lz4 lz4 = new Lz4();
        byte[] whole = lz4.pack(plain);
        byte[] skippable = cat(little(8).putInt(0x184d2a53).putInt(5).array(), bytes("12345"));
        byte[] empty = lz4.pack(new byte[0]);
        put("lz4-frames", LZ4, plain, cat(lz4.pack(parts[0]), lz4.pack(parts[1]), lz4.pack(parts[2])));
        put("lz4-skippable-first", LZ4, plain, cat(skippable, whole));
        put("lz4-skippable-last", LZ4, plain, cat(whole, skippable));
        put("lz4-empty-frame-first", LZ4, plain, cat(empty, whole));
        put("lz4-empty-frame-last", LZ4, plain, cat(whole, empty));
        put("lz4-zeros-behind", LZ4, plain, cat(whole, new byte[8]));
        put("lz4-garbage-behind", LZ4, plain, cat(whole, bytes("garbage")));
        put("lz4-byte-behind", LZ4, plain, cat(whole, new byte[1]));
        put("lz4-half-frame-behind", LZ4, plain, cat(whole, Arrays.copyOf(whole, 12)));
        put("lz4-frame-with-more-behind", LZ4, plain, cat(whole, whole));
        put("lz4-no-end-mark", LZ4, plain, Arrays.copyOf(whole, whole.length - 4));
        put("bad-lz4-cut-block", LZ4, plain, Arrays.copyOf(whole, whole.length - 8));
        put("bad-lz4-descriptor-checksum", LZ4, plain, flipped(whole, 6));
        put("bad-lz4-magic", LZ4, plain, flipped(whole, 0));
        put("bad-lz4-empty", LZ4, plain, new byte[0]);
        Lz4 checked = new Lz4();
        checked.blockChecksums = true;
        byte[] wrong = checked.pack(plain);
        put("bad-lz4-block-checksum", LZ4, plain, flipped(wrong, wrong.length - 6));
        checked.blockChecksums = false;
        checked.contentChecksum = true;
        wrong = checked.pack(plain);
        put("lz4-wrong-content-checksum", LZ4, plain, flipped(wrong, wrong.length - 2));
        checked.contentChecksum = false;
        checked.contentSize = true;
        checked.sizeOff = 1;
        put("lz4-wrong-content-size", LZ4, plain, checked.pack(plain));
        checked.sizeOff = 0;
        checked.contentSize = false;
        checked.dictionary = true;
        put("bad-lz4-dictionary", LZ4, plain, checked.pack(plain));
    }

    // Zstandard

    private void zstd() {
        byte[] plain = small();
        byte[][] parts = thirds(plain);
        for (int level : new int[] {-131072, -50, -1, 1, 3, 6, 9, 13, 16, 19, 22}) {
            put("zstd-level-" + level, ZSTD, plain, zstd(level, true, false, plain));
            put("large-zstd-level-" + level, ZSTD, large(), zstd(level, true, false, large()));
        }
        put("zstd-no-content-size", ZSTD, plain, zstd(3, false, false, plain));
        put("zstd-checksum", ZSTD, plain, zstd(3, true, true, plain));
        put("zstd-checksum-no-content-size", ZSTD, plain, zstd(3, false, true, plain));
        put("large-zstd-no-content-size", ZSTD, large(), zstd(3, false, true, large()));
        byte[] whole = zstd(3, true, false, plain);
        byte[] empty = zstd(3, true, false, new byte[0]);
        byte[] skippable = cat(little(8).putInt(0x184d2a50).putInt(5).array(), bytes("12345"));
        byte[] skippableEmpty = little(8).putInt(0x184d2a5f).putInt(0).array();
        put("zstd-frames", ZSTD, plain, cat(zstd(1, true, true, parts[0]), zstd(3, false, false, parts[1]), zstd(19, false, true, parts[2])));
        put("zstd-empty-frame-first", ZSTD, plain, cat(empty, whole));
        put("zstd-empty-frame-last", ZSTD, plain, cat(whole, empty));
        put("zstd-skippable-first", ZSTD, plain, cat(skippable, skippableEmpty, whole));
        put("zstd-skippable-between", ZSTD, plain, cat(zstd(1, true, true, parts[0]), skippable, zstd(1, false, true, cat(parts[1], parts[2]))));
        put("zstd-skippable-last", ZSTD, plain, cat(whole, skippable));
        byte[] streamed = zstd(3, false, false, plain);
        for (int log = 10; log <= 31; log++) {
            byte[] windowed = streamed.clone();
            windowed[5] = (byte) ((log - 10) << 3);
            put((log > 27 ? "zstd-window-over-" : "zstd-window-") + log, ZSTD, plain, windowed);
        }
        for (int log : new int[] {10, 17, 20, 24, 27}) {
            ZstdCompressCtx context = new ZstdCompressCtx().setLevel(9).setWindowLog(log).setContentSize(false);
            put("large-zstd-window-" + log, ZSTD, large(), context.compress(large()));
        }
        // One segment; stored blocks, and one byte repeated.
        put("zstd-stored-blocks", ZSTD, plain, cat(little(6).putInt(0xfd2fb528).put((byte) 0x20).put((byte) plain.length).array(),
            block(0, false, parts[0].length), parts[0], block(0, false, parts[1].length), parts[1], block(0, true, parts[2].length), parts[2]));
        byte[] run = record(0, 0, null, new byte[100]);
        int zeros = 100;
        byte[] start = Arrays.copyOf(run, run.length - zeros - 1);
        put("zstd-repeated-byte", ZSTD, run, cat(little(6).putInt(0xfd2fb528).put((byte) 0x20).put((byte) run.length).array(),
            block(0, false, start.length), start, block(1, true, zeros + 1), new byte[1]));
        put("zstd-garbage-behind", ZSTD, plain, cat(whole, bytes("garbage")));
        put("zstd-byte-behind", ZSTD, plain, cat(whole, new byte[1]));
        put("zstd-zeros-behind", ZSTD, plain, cat(whole, new byte[8]));
        put("zstd-half-frame-behind", ZSTD, plain, cat(whole, Arrays.copyOf(whole, 12)));
        put("zstd-half-skippable-behind", ZSTD, plain, cat(whole, Arrays.copyOf(skippable, 10)));
        byte[] checked = zstd(3, true, true, plain);
        put("bad-zstd-checksum", ZSTD, plain, flipped(checked, checked.length - 1));
        put("bad-zstd-cut", ZSTD, plain, Arrays.copyOf(whole, whole.length - 4));
        put("bad-zstd-cut-checksum", ZSTD, plain, Arrays.copyOf(checked, checked.length - 2));
        put("bad-zstd-magic", ZSTD, plain, flipped(whole, 0));
        put("bad-zstd-empty", ZSTD, plain, new byte[0]);
        put("bad-zstd-skippable-only", ZSTD, plain, skippable);
        put("bad-zstd-content-size", ZSTD, plain, flipped(whole, 5));
    }

    private static byte[] block(int type, boolean last, int size) {
        return Arrays.copyOf(little(4).putInt(size << 3 | type << 1 | (last ? 1 : 0)).array(), 3);
    }

    private static byte[] zstd(int level, boolean contentSize, boolean checksum, byte[] plain) {
        return new ZstdCompressCtx().setLevel(level).setContentSize(contentSize).setChecksum(checksum).compress(plain);
    }

    // Bytes

    private static byte[][] thirds(byte[] plain) {
        int third = plain.length / 3;
        return new byte[][] {Arrays.copyOf(plain, third), Arrays.copyOfRange(plain, third, 2 * third),
            Arrays.copyOfRange(plain, 2 * third, plain.length)};
    }

    private static byte[] flipped(byte[] bytes, int at) {
        byte[] flipped = bytes.clone();
        flipped[at] ^= 1;
        return flipped;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static ByteBuffer little(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    }

    static byte[] taken(ByteBuffer buffer) {
        return Arrays.copyOf(buffer.array(), buffer.position());
    }

    static byte[] cat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }
}
