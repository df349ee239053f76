//! A Kafka broker takes over the directory of a store in place, and returns it.
//!
//! Runs with `ANNALS_KAFKA=1`, where Maven and Java 17 are; `ANNALS_REQUIRE_KAFKA=1` makes their
//! absence a failure. The broker is a whole one: Kafka's own, with its controller, as
//! `kafka-server-start` starts it.

mod transactions;

use crate::build::kafka;
use annals::record::BatchBuilder;
use annals::*;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The directory of a store, and a broker that is set up for it.
struct Site {
    kafka: &'static Path,
    dir: tempfile::TempDir,
    port: u16,
}

impl Site {
    fn new(kafka: &'static Path) -> Site {
        Site { kafka, dir: tempfile::tempdir().unwrap(), port: free_port() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn open(&self) -> Store {
        Store::open(self.data(), StoreConfig::default().maintenance(None)).unwrap()
    }

    fn java(&self, class: &str) -> Command {
        let classpath = [self.kafka.join("classes"), self.kafka.join("lib/*")];
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
        command.arg(std::env::join_paths(classpath).unwrap()).arg(class);
        command
    }

    /// The value of a line of `meta.properties`.
    fn identity(&self, key: &str) -> String {
        let text = std::fs::read_to_string(self.data().join("meta.properties")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap().to_owned()
    }

    /// The steps of `docs::from_kafka`: format, then add the topics of the store.
    fn hand_over(&self) {
        let config = self.dir.path().join("server.properties");
        let (node, controller) = (self.identity("node.id"), free_port());
        let text = format!(
            "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={node}@localhost:{controller}\n\
             listeners=PLAINTEXT://localhost:{},CONTROLLER://localhost:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\nmetadata.log.dir={}\n\
             offsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            self.port,
            self.data().display(),
            self.dir.path().join("metadata").display(),
        );
        std::fs::write(&config, text).unwrap();
        let mut format = self.java("kafka.tools.StorageTool");
        format.args(["format", "--ignore-formatted", "-t", &self.identity("cluster.id"), "-c"]);
        done(format.arg(&config));
        let bootstrap = self.dir.path().join("metadata/bootstrap.checkpoint");
        done(Command::new(example("to_broker")).arg(self.data()).arg(bootstrap));
    }

    fn start(&self) -> Broker {
        let log = std::fs::File::create(self.dir.path().join("broker.log")).unwrap();
        let mut broker = self.java("kafka.Kafka");
        let broker = broker.arg(self.dir.path().join("server.properties")).stdin(Stdio::null());
        let server = broker.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut client = self.java("BrokerClient");
        let client = client.arg(format!("localhost:{}", self.port));
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        let (input, output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
        let log = self.dir.path().join("broker.log");
        Broker { server, client, input, output: BufReader::new(output), log }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn example(name: &str) -> OsString {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built: cargo build --example {name}", path.display());
    path.into_os_string()
}

#[track_caller]
fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

/// A broker that runs, and a client of it.
struct Broker {
    server: Child,
    client: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Broker {
    /// Has the client do something, and returns the lines that it answers.
    #[track_caller]
    fn ask(&mut self, what: &str) -> Vec<String> {
        writeln!(self.input, "{what}").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                panic!("{what}: {lines:?}; {}", std::fs::read_to_string(&self.log).unwrap());
            }
            match line.trim_end() {
                "###" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }

    /// Stops it as an operator does.
    fn stop(mut self) {
        drop(self.input);
        assert!(self.client.wait().unwrap().success());
        done(Command::new("kill").arg(self.server.id().to_string()));
        let status = self.server.wait().unwrap();
        // 143: a JVM that was asked to end, and did.
        assert!([Some(0), Some(143)].contains(&status.code()), "{status}");
    }
}

/// A failing test leaves no broker running.
struct Stopped<'a>(&'a Site);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let config = self.0.dir.path().join("server.properties");
        Command::new("pkill").arg("-f").arg(config).status().ok();
    }
}

/// PARTITION OFFSET KEY VALUE of every record, in the order of partitions and offsets.
fn records(store: &Store, topic: &str) -> Vec<String> {
    records_at(store, topic, IsolationLevel::ReadUncommitted)
}

fn records_at(store: &Store, topic: &str, level: IsolationLevel) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, log) in store.topic(topic).unwrap().partitions().iter().enumerate() {
        for record in log.isolated(level).reader(StartAt::Earliest).unwrap().records() {
            let record = record.unwrap();
            let key = record.key.as_deref().map_or("null".into(), String::from_utf8_lossy);
            let value = record.value_str().unwrap();
            lines.push(format!("{number} {} {key} {value}", record.offset));
        }
    }
    lines
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    let number = |word: Option<&str>| word.unwrap().parse::<u64>().unwrap();
    lines.sort_by_key(|line| {
        let mut words = line.split(' ');
        (number(words.next()), number(words.next()))
    });
    lines
}

fn ends(store: &Store, topic: &str) -> Vec<String> {
    let topic = store.topic(topic).unwrap();
    let logs = topic.partitions();
    let line = |(number, log): (usize, &Log)| {
        format!("{number} {} {}", log.offsets().start, log.offsets().end)
    };
    logs.iter().enumerate().map(line).collect()
}

fn produce(store: &Store, from: u32, count: u32) {
    for producer in 0..3 {
        let client = store.producer(ProducerConfig::default()).unwrap();
        for n in from..from + count {
            let record = Record::new(format!("value-{n}")).key(format!("key-{producer}-{n}"));
            client.send(("orders", record)).unwrap().wait().unwrap();
        }
        client.close().unwrap();
    }
}

fn read_some(store: &Store, count: usize) -> Vec<String> {
    let config = ConsumerConfig::new("billing").auto_offset_reset(AutoOffsetReset::Earliest);
    let mut consumer = store.consumer(config.max_poll_records(count)).unwrap();
    consumer.subscribe(["orders"]).unwrap();
    let records = consumer.poll(Duration::ZERO).unwrap();
    let lines = records.iter().map(|r| format!("{} {}", r.partition, r.offset)).collect();
    consumer.close().unwrap();
    lines
}

fn committed(store: &Store) -> Vec<String> {
    let group = store.admin().describe_group("billing").unwrap();
    let line = |(of, offset): (&TopicPartition, &GroupOffset)| {
        format!("{} {} {}", of.topic, of.partition, offset.committed.offset)
    };
    let mut lines: Vec<String> = group.offsets.iter().map(line).collect();
    lines.sort();
    lines
}

/// A store outgrows its machine: a broker is started on its directory. Every record, offset and
/// setting is there, a group continues where it was, and records of new producers are stored, none
/// taken for one that was there before: a broker counts producer ids from 0, and so did those of
/// the batch that another program had numbered. Then the store has the directory again, and the
/// broker once more.
#[test]
fn broker_takes_over_and_returns_store() {
    let Some(kafka) = kafka() else { return };
    let site = Site::new(kafka);
    let _stopped = Stopped(&site);

    let store = site.open();
    let orders = TopicConfig::default().partitions(3).set("retention.ms", "-1").unwrap();
    store.create_topic("orders", orders).unwrap();
    store
        .create_topic("table", TopicConfig::default().cleanup_policy(CleanupPolicy::Compact))
        .unwrap();
    let mut numbered = BatchBuilder::new();
    numbered.producer(0, 0, 0);
    numbered.push(now(), Some(b"numbered"), Some(b"by-hand")).unwrap();
    let partition = store.topic("orders").unwrap().partition(0).unwrap();
    partition.append_batch(numbered.build().unwrap()).unwrap();
    produce(&store, 0, 50);
    store.admin().delete_records("orders", 0, 5).unwrap();
    assert_eq!(read_some(&store, 20).len(), 20);
    let (before, ends_before) = (records(&store, "orders"), ends(&store, "orders"));
    let committed_before = committed(&store);
    store.close().unwrap();

    site.hand_over();
    let mut broker = site.start();
    assert_eq!(broker.ask("ends orders"), ends_before);
    assert_eq!(broker.ask("ends table"), ["0 0 0"]);
    assert_eq!(broker.ask("config orders retention.ms"), ["-1"]);
    assert_eq!(broker.ask("config table cleanup.policy"), ["compact"]);
    assert_eq!(broker.ask("committed billing"), committed_before);
    assert_eq!(sorted(broker.ask("read orders")), before);
    let acknowledged = broker.ask("produce orders 3 2");
    assert_eq!(acknowledged.len(), 6);
    let with_theirs = sorted([before, acknowledged].concat());
    assert_eq!(sorted(broker.ask("read orders")), with_theirs);
    let followed = broker.ask("follow billing orders 10");
    let first = |lines: &[String], partition: &str| -> Vec<u64> {
        let words = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        words.filter(|w| w[0] == partition).map(|w| w[1].parse().unwrap()).collect()
    };
    for line in &committed_before {
        let words: Vec<&str> = line.split(' ').collect();
        let at: u64 = words[2].parse().unwrap();
        assert!(first(&followed, words[1]).first().is_none_or(|first| *first == at), "{line}");
    }
    let committed_there = broker.ask("committed billing");
    broker.stop();

    let store = site.open();
    assert_eq!(records(&store, "orders"), with_theirs);
    assert_eq!(committed(&store), committed_there);
    assert_eq!(store.topic("orders").unwrap().config().get("retention.ms"), Some("-1"));
    for log in store.topic("orders").unwrap().partitions().iter() {
        assert_eq!(log.verify().unwrap(), []);
    }
    produce(&store, 50, 10);
    read_some(&store, 10);
    let (before, ends_before) = (records(&store, "orders"), ends(&store, "orders"));
    let committed_before = committed(&store);
    store.close().unwrap();

    // The broker's controller knows the topics now.
    let mut broker = site.start();
    assert_eq!(broker.ask("ends orders"), ends_before);
    assert_eq!(broker.ask("committed billing"), committed_before);
    assert_eq!(sorted(broker.ask("read orders")), before);
    assert_eq!(broker.ask("produce orders 2 2").len(), 4);
    broker.stop();
    let store = site.open();
    assert_eq!(records(&store, "orders").len(), before.len() + 4);
    store.close().unwrap();
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as i64)
}
