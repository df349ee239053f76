mod model;
mod rules;

use super::*;

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn protocols(all: &[(&str, &str)]) -> Vec<Protocol> {
    let one = |(name, metadata): &(&str, &str)| Protocol {
        name: (*name).to_owned(),
        metadata: Bytes::copy_from_slice(metadata.as_bytes()),
    };
    all.iter().map(one).collect()
}

/// Returns a join of a member of another process.
pub(super) fn join(member: JoinAs) -> Join {
    Join {
        member,
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        protocol_type: CONSUMER.into(),
        protocols: protocols(&[("range", "all")]),
        session_timeout: secs(10),
        rebalance_timeout: secs(60),
        max_poll_interval: None,
    }
}

pub(super) fn new(id: &str) -> Join {
    join(JoinAs::New(id.to_owned()))
}

pub(super) fn again(id: &str) -> Join {
    join(JoinAs::Known(id.to_owned()))
}

pub(super) fn by(member_id: &str) -> Caller<'_> {
    Caller { member_id, instance_id: None }
}

pub(super) fn assigned(all: &[(&str, &str)]) -> BTreeMap<String, Bytes> {
    let one =
        |(id, share): &(&str, &str)| ((*id).to_owned(), Bytes::copy_from_slice(share.as_bytes()));
    all.iter().map(one).collect()
}
