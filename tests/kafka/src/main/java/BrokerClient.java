import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Does at a broker what the lines of its input say, and answers each with lines that end with "###". */
public class BrokerClient {
    private static Properties properties(String servers) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", servers);
        properties.put("request.timeout.ms", "30000");
        properties.put("default.api.timeout.ms", "60000");
        return properties;
    }

    public static void main(String[] args) throws Exception {
        String servers = args[0];
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "ends" -> ends(servers, words[1]);
                case "config" -> config(servers, words[1], words[2]);
                case "committed" -> committed(servers, words[1]);
                case "read" -> read(servers, words[1], "read_uncommitted");
                case "read-committed" -> read(servers, words[1], "read_committed");
                case "transactions" -> transactions(servers);
                case "transact" -> transact(servers, words[1], words[2], words[3]);
                case "follow" -> follow(servers, words[1], words[2], Integer.parseInt(words[3]));
                case "produce" -> produce(servers, words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
                default -> throw new IllegalArgumentException(line);
            }
            System.out.println("###");
            System.out.flush();
        }
    }

    /** PARTITION START END, for each partition. */
    private static void ends(String servers, String topic) throws Exception {
        try (Admin admin = Admin.create(properties(servers))) {
            int count = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
            for (int number = 0; number < count; number++) {
                TopicPartition partition = new TopicPartition(topic, number);
                long start = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).all().get().get(partition).offset();
                long end = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get().get(partition).offset();
                System.out.println(number + " " + start + " " + end);
            }
        }
    }

    private static void config(String servers, String topic, String key) throws Exception {
        try (Admin admin = Admin.create(properties(servers))) {
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            System.out.println(admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key).value());
        }
    }

    /** TOPIC PARTITION OFFSET, for each partition that the group has committed. */
    private static void committed(String servers, String group) throws Exception {
        try (Admin admin = Admin.create(properties(servers))) {
            Map<String, String> found = new TreeMap<>();
            admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().forEach((partition, offset) ->
                found.put(partition.topic() + " " + partition.partition(), Long.toString(offset.offset())));
            found.forEach((partition, offset) -> System.out.println(partition + " " + offset));
        }
    }

    private static KafkaConsumer<String, String> consumer(String servers, String group, String isolation) {
        Properties properties = properties(servers);
        properties.put("isolation.level", isolation);
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    private static void print(ConsumerRecord<String, String> record) {
        System.out.println(record.partition() + " " + record.offset() + " " + record.key() + " " + record.value());
    }

    /** PARTITION OFFSET KEY VALUE, for each record there is. */
    private static void read(String servers, String topic, String isolation) throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer(servers, "reader", isolation)) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
                records.forEach(BrokerClient::print);
            }
        }
    }

    /** The same of at least so many records that a member of a group is given, which it commits. */
    private static void follow(String servers, String group, String topic, int count) throws Exception {
        try (KafkaConsumer<String, String> consumer = consumer(servers, group, "read_uncommitted")) {
            consumer.subscribe(List.of(topic));
            for (int read = 0; read < count; ) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofSeconds(1));
                records.forEach(BrokerClient::print);
                read += records.count();
            }
            consumer.commitSync();
        }
    }

    /** An idempotent producer each of so many times, with so many records to partition 0: PARTITION OFFSET KEY VALUE, as acknowledged. */
    private static void produce(String servers, String topic, int producers, int records) throws Exception {
        for (int producer = 0; producer < producers; producer++) {
            Properties properties = properties(servers);
            properties.put("enable.idempotence", "true");
            properties.put("linger.ms", "0");
            try (KafkaProducer<String, String> client = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer())) {
                for (int number = 0; number < records; number++) {
                    String key = "broker-" + producer, value = "record-" + number;
                    RecordMetadata stored = client.send(new ProducerRecord<>(topic, 0, key, value)).get();
                    System.out.println(stored.partition() + " " + stored.offset() + " " + key + " " + value);
                }
            }
        }
    }

    /** ID STATE, for each transactional id. */
    private static void transactions(String servers) throws Exception {
        try (Admin admin = Admin.create(properties(servers))) {
            Map<String, String> found = new TreeMap<>();
            admin.listTransactions().all().get().forEach(listing -> found.put(listing.transactionalId(), listing.state().toString()));
            found.forEach((id, state) -> System.out.println(id + " " + state));
        }
    }

    /** A transaction with a record to each of partitions 0 and 1: PARTITION OFFSET KEY VALUE. It is committed, aborted or left open. */
    private static void transact(String servers, String id, String topic, String end) throws Exception {
        Properties properties = properties(servers);
        properties.put("transactional.id", id);
        KafkaProducer<String, String> client = new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
        client.initTransactions();
        client.beginTransaction();
        for (int partition = 0; partition < 2; partition++) {
            RecordMetadata stored = client.send(new ProducerRecord<>(topic, partition, id, end)).get();
            System.out.println(partition + " " + stored.offset() + " " + id + " " + end);
        }
        switch (end) {
            case "commit" -> client.commitTransaction();
            case "abort" -> client.abortTransaction();
            default -> {
                return;
            }
        }
        client.close();
    }
}
