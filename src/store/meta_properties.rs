//! The file `meta.properties` of a data directory: its node, its cluster and its own id.

use crate::store::java_properties::{self, Properties};
use crate::uuid::KafkaUuid;

const VERSION: &str = "version";
const BROKER_ID: &str = "broker.id";
const NODE_ID: &str = "node.id";
const CLUSTER_ID: &str = "cluster.id";
const DIRECTORY_ID: &str = "directory.id";

/// The content of `meta.properties`: the ids of the node, the cluster and the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetaProperties {
    version: MetaVersion,
    node_id: Option<i32>,
    cluster_id: Option<String>,
    directory_id: Option<KafkaUuid>,
    /// Other entries of the file, kept as they are.
    others: Properties,
}

/// The two forms of `meta.properties`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    /// The form of brokers with ZooKeeper: the node is `broker.id`, and every entry is optional.
    V0,
    /// The form of all other brokers: node and cluster are required.
    V1,
}

impl MetaProperties {
    /// Returns the content for a new directory of this node and cluster.
    pub(crate) fn new(node_id: i32, cluster_id: &str, directory_id: KafkaUuid) -> MetaProperties {
        MetaProperties {
            version: MetaVersion::V1,
            node_id: Some(node_id),
            cluster_id: Some(cluster_id.to_owned()),
            directory_id: Some(directory_id),
            others: Properties::new(),
        }
    }

    /// Parses the file.
    ///
    /// # Errors
    ///
    /// The problem, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<MetaProperties, &'static str> {
        let mut others = java_properties::parse(&java_properties::text(bytes))?;
        let keys = [VERSION, BROKER_ID, NODE_ID, CLUSTER_ID, DIRECTORY_ID];
        if !others.is_empty() && !keys.iter().any(|key| others.contains_key(*key)) {
            return Err("it has no version, node, cluster or directory");
        }
        let version = match others.remove(VERSION).as_deref() {
            None | Some("0") => MetaVersion::V0,
            Some("1") => MetaVersion::V1,
            Some(_) => return Err("its version is neither 0 nor 1"),
        };
        let node_id = match others.remove(version.node_key()) {
            Some(id) => Some(id.trim().parse().map_err(|_| "the id of its node is not a number")?),
            None => None,
        };
        let cluster_id = others.remove(CLUSTER_ID);
        if version == MetaVersion::V1 && node_id.is_none() {
            return Err("it has no `node.id`, which version 1 requires");
        }
        if version == MetaVersion::V1 && cluster_id.is_none() {
            return Err("it has no `cluster.id`, which version 1 requires");
        }
        let directory_id = match others.remove(DIRECTORY_ID) {
            None => None,
            Some(id) => match id.parse() {
                Ok(id) if KafkaUuid::is_reserved(id) => {
                    return Err("its `directory.id` is reserved by Kafka");
                }
                Ok(id) => Some(id),
                Err(_) => return Err("its `directory.id` is not 22 base64 characters"),
            },
        };
        Ok(MetaProperties { version, node_id, cluster_id, directory_id, others })
    }

    /// Returns the content of the file.
    pub(crate) fn format(&self) -> String {
        let version = match self.version {
            MetaVersion::V0 => "0",
            MetaVersion::V1 => "1",
        };
        let own = [
            (self.version.node_key(), self.node_id.map(|id| id.to_string())),
            (CLUSTER_ID, self.cluster_id.clone()),
            (DIRECTORY_ID, self.directory_id.map(|id| id.to_string())),
        ];
        let own = own.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let others = self.others.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        java_properties::format([(VERSION, version)].into_iter().chain(own).chain(others))
    }
}

impl MetaVersion {
    fn node_key(self) -> &'static str {
        match self {
            MetaVersion::V0 => BROKER_ID,
            MetaVersion::V1 => NODE_ID,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    fn some_meta() -> impl Strategy<Value = MetaProperties> {
        let others = btree_map("[a-z.#: ]{1,8}", "\\PC{0,8}", 0..4);
        let ids = (any::<Option<i32>>(), proptest::option::of("\\PC{0,22}"), any::<Option<u128>>());
        (any::<bool>(), ids, others).prop_map(
            |(v1, (node_id, cluster_id, directory_id), others)| MetaProperties {
                version: if v1 { MetaVersion::V1 } else { MetaVersion::V0 },
                node_id: node_id.or(v1.then_some(1)),
                cluster_id: cluster_id.or(v1.then(|| "c".to_owned())),
                directory_id: directory_id.map(KafkaUuid::from_random_bits),
                others,
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip_keeps_unknown_entries(meta in some_meta()) {
            prop_assert_eq!(MetaProperties::parse(meta.format().as_bytes()), Ok(meta));
        }

        #[test]
        fn parse_survives_any_bytes(bytes: Vec<u8>) {
            MetaProperties::parse(&bytes).ok();
        }
    }

    #[test]
    fn parse_reads_broker_files() {
        let text = b"#\n#Mon Mar 04 10:00:00 UTC 2024\ncluster.id=MkU3OEVBNTcwNTJENDM2Qk\n\
            directory.id=PlGe2UpcQUCKxVvSrLwYkg\nnode.id=1\nversion=1\n";
        let meta = MetaProperties::parse(text).unwrap();
        assert_eq!(meta.version, MetaVersion::V1);
        assert_eq!(
            (meta.node_id, meta.cluster_id.as_deref()),
            (Some(1), Some("MkU3OEVBNTcwNTJENDM2Qk"))
        );
        assert_eq!(
            meta.directory_id.map(|id| id.to_string()).as_deref(),
            Some("PlGe2UpcQUCKxVvSrLwYkg")
        );

        let old = MetaProperties::parse(b"version=0\nbroker.id=7\nnode.id=kept\n").unwrap();
        assert_eq!(
            (old.version, old.node_id, old.cluster_id.as_deref()),
            (MetaVersion::V0, Some(7), None)
        );
        let id = KafkaUuid::random();
        let named = MetaProperties::parse(
            MetaProperties { directory_id: Some(id), ..old }.format().as_bytes(),
        )
        .unwrap();
        assert_eq!(named.directory_id, Some(id));
        assert!(named.format().contains("node.id=kept\n"));
        assert_eq!(MetaProperties::parse(b"").unwrap().version, MetaVersion::V0);
    }

    #[test]
    fn parse_rejects_what_kafka_rejects() {
        for text in [
            "version=2\nnode.id=1\ncluster.id=c",
            "version=x",
            "version=1\nnode.id=1",
            "version=1\ncluster.id=c",
            "version=1\nnode.id=one\ncluster.id=c",
            "version=1\nbroker.id=1\ncluster.id=c",
            "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=short",
            "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAA",
            "version=0\nbroker.id=99999999999",
            "version=\\u00",
        ] {
            assert!(MetaProperties::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
