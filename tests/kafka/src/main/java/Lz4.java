import java.nio.ByteBuffer;
import java.util.Arrays;
import net.jpountz.xxhash.XXHash32;
import net.jpountz.xxhash.XXHashFactory;

/** Writes LZ4 frames of every kind; those of Kafka's own writer are all of one kind, and none of them has linked blocks. */
final class Lz4 {
    private static final XXHash32 HASH = XXHashFactory.fastestJavaInstance().hash32();
    private static final int WINDOW = 65_535;

    int size = 4;
    /** How much content goes into a block, if less than the frame allows. */
    int block;
    boolean linked;
    boolean stored;
    boolean blockChecksums;
    boolean contentChecksum;
    boolean contentSize;
    boolean dictionary;
    int sizeOff;

    byte[] pack(byte[] plain) {
        ByteBuffer out = Corpus.little(plain.length * 2 + 1000);
        out.putInt(0x184d2204);
        int at = out.position();
        int flags = 0x40 | (linked ? 0 : 0x20) | (blockChecksums ? 0x10 : 0) | (contentSize ? 8 : 0) | (contentChecksum ? 4 : 0)
            | (dictionary ? 1 : 0);
        out.put((byte) flags).put((byte) (size << 4));
        if (contentSize) {
            out.putLong(plain.length + sizeOff);
        }
        if (dictionary) {
            out.putInt(7);
        }
        out.put((byte) (HASH.hash(out.array(), at, out.position() - at, 0) >> 8));
        int step = block > 0 ? block : 1 << (8 + 2 * size);
        for (int from = 0; from < plain.length; from += step) {
            int to = Math.min(from + step, plain.length);
            byte[] packed = stored ? null : block(plain, linked ? Math.max(0, from - WINDOW) : from, from, to);
            boolean raw = packed == null || packed.length >= to - from;
            byte[] data = raw ? Arrays.copyOfRange(plain, from, to) : packed;
            out.putInt(data.length | (raw ? 0x80000000 : 0)).put(data);
            if (blockChecksums) {
                out.putInt(HASH.hash(data, 0, data.length, 0));
            }
        }
        out.putInt(0);
        if (contentChecksum) {
            out.putInt(HASH.hash(plain, 0, plain.length, 0));
        }
        return Corpus.taken(out);
    }

    /** One block, of what lies between two places; matches can begin at the earliest. */
    private static byte[] block(byte[] plain, int earliest, int from, int to) {
        ByteBuffer out = ByteBuffer.allocate((to - from) * 2 + 100);
        int[] table = new int[1 << 14];
        Arrays.fill(table, -1);
        for (int at = earliest; at < from && at + 4 <= plain.length; at++) {
            table[hash(plain, at)] = at;
        }
        int anchor = from;
        int at = from;
        // The last match begins 12 bytes before the end, and the last 5 bytes are literals.
        while (at + 12 < to) {
            int hash = hash(plain, at);
            int match = table[hash];
            table[hash] = at;
            if (match < 0 || at - match > WINDOW || Arrays.mismatch(plain, match, match + 4, plain, at, at + 4) >= 0) {
                at++;
                continue;
            }
            int length = 4;
            while (at + length < to - 5 && plain[match + length] == plain[at + length]) {
                length++;
            }
            sequence(out, plain, anchor, at - anchor, at - match, length);
            at += length;
            anchor = at;
        }
        sequence(out, plain, anchor, to - anchor, 0, 4);
        return Corpus.taken(out);
    }

    private static int hash(byte[] plain, int at) {
        int word = plain[at] | plain[at + 1] << 8 | plain[at + 2] << 16 | plain[at + 3] << 24;
        return (word * 0x9e3779b1) >>> 18;
    }

    private static void sequence(ByteBuffer out, byte[] plain, int from, int literals, int offset, int match) {
        int token = Math.min(literals, 15) << 4 | Math.min(match - 4, 15);
        out.put((byte) token);
        length(out, literals);
        out.put(plain, from, literals);
        if (offset > 0) {
            out.put((byte) offset).put((byte) (offset >> 8));
            length(out, match - 4);
        }
    }

    private static void length(ByteBuffer out, int length) {
        if (length >= 15) {
            int rest = length - 15;
            for (; rest >= 255; rest -= 255) {
                out.put((byte) 255);
            }
            out.put((byte) rest);
        }
    }
}
