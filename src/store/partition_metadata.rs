//! The file `partition.metadata` in the directory of each partition: the id of its topic.

use crate::uuid::TopicId;

const VERSION: &str = "version";
const TOPIC_ID: &str = "topic_id";

/// Reads the id of the topic. A version above 0 may have more fields after the id, which are
/// ignored.
///
/// # Errors
///
/// The problem, in words.
pub(crate) fn parse(bytes: &[u8]) -> Result<TopicId, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| field(line, VERSION));
    let version: i32 =
        version.and_then(|v| v.parse().ok()).ok_or("its first line is not a version")?;
    if version < 0 {
        return Err("its version is negative");
    }
    let id = lines.next().and_then(|line| field(line, TOPIC_ID));
    let id: TopicId = id
        .and_then(|id| id.parse().ok())
        .ok_or("its second line is not a `topic_id` of 22 base64 characters")?;
    if id.is_zero() {
        return Err("its `topic_id` is zero, which no topic has");
    }
    if version == 0 && lines.any(|line| !line.trim().is_empty()) {
        return Err("it has more lines than a version and a `topic_id`");
    }
    Ok(id)
}

/// Returns the value of a line `name: value`.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.strip_prefix(name)?.strip_prefix(':')?;
    if value.starts_with([' ', '\t']) { Some(value.trim()) } else { None }
}

/// Returns the content of the file for a topic, whose id is not zero.
pub(crate) fn format(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parse_survives_any_bytes(
            bytes: Vec<u8>,
            text in "(version: -?[0-9]\n)?(topic_id: [A-Za-z0-9_-]{21,23}\n?)?\\PC{0,5}",
        ) {
            parse(&bytes).ok();
            if let Ok(id) = parse(text.as_bytes()) {
                prop_assert!(text.contains(&id.to_string()));
            }
        }

        #[test]
        fn topic_id_round_trips(bytes: [u8; 16]) {
            let id = TopicId::from_bytes(bytes);
            let expected = if id.is_zero() { None } else { Some(id) };
            prop_assert_eq!(parse(format(id).as_bytes()).ok(), expected);
        }
    }

    #[test]
    fn parse_rejects_malformed_text() {
        let id = "PlGe2UpcQUCKxVvSrLwYkg";
        for text in [
            "".to_owned(),
            "version: 0".to_owned(),
            format!("version: -1\ntopic_id: {id}"),
            format!("version: x\ntopic_id: {id}"),
            format!("version:0\ntopic_id: {id}"),
            format!("version: 0\ntopic_id: {id}x"),
            format!("topic_id: {id}\nversion: 0"),
            format!("version: 0\ntopic_id: {id}\nmore: 1"),
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn parse_accepts_later_versions() {
        let id = "PlGe2UpcQUCKxVvSrLwYkg";
        for text in [
            format!("version: 0\ntopic_id: {id}\n"),
            format!("version: 0\r\ntopic_id: {id}\r\n"),
            format!("version: 1\ntopic_id: {id}\nmore: 1"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), id);
        }
    }
}
