//! Keys and values as users see them: custom types, and errors that say what to do.

use annals::{
    Deserialize, DeserializeContext, DeserializeError, Error, ErrorKind, Header, KafkaUuid,
    RecordPart, SerializationError, Serialize, SerializeContext, SerializeError,
};
use bytes::Bytes;

/// A value that is written differently from topic to topic, and says in a header how.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Versioned(String);

impl Serialize for Versioned {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Result<Option<Bytes>, SerializeError> {
        if self.0.is_empty() {
            return Err(SerializeError::new("there is nothing in it"));
        }
        if to.topic() == "old" || to.part() == RecordPart::Key {
            return self.0.serialize(to);
        }
        let version = to.headers().len().to_string();
        to.add_header("version", version);
        Ok(Some(self.0.to_uppercase().into()))
    }
}

impl Deserialize for Versioned {
    fn deserialize(
        bytes: Option<&Bytes>,
        from: &DeserializeContext<'_>,
    ) -> Result<Versioned, DeserializeError> {
        let text = String::deserialize(bytes, from)?;
        let versioned = from.part() == RecordPart::Value
            && from.topic() != "old"
            && from.headers().iter().any(|header| header.name == "version");
        Ok(Versioned(if versioned { text.to_lowercase() } else { text }))
    }
}

fn written<T: Serialize + ?Sized>(
    value: &T,
    topic: &str,
    part: RecordPart,
) -> (Option<Bytes>, Vec<Header>) {
    let mut headers = vec![Header::new("first", "1")];
    let bytes = value.serialize(&mut SerializeContext::new(topic, part, &mut headers)).unwrap();
    (bytes, headers)
}

#[test]
fn custom_serializer_sees_topic_and_headers() {
    let value = Versioned("text".into());
    for (topic, part, expected, headers) in [
        ("old", RecordPart::Value, "text", 1),
        ("new", RecordPart::Key, "text", 1),
        ("new", RecordPart::Value, "TEXT", 2),
    ] {
        let (bytes, added) = written(&value, topic, part);
        assert_eq!((bytes.as_deref(), added.len()), (Some(expected.as_bytes()), headers));
        let context = DeserializeContext::new(topic, part, &added);
        assert_eq!(Versioned::deserialize(bytes.as_ref(), &context).unwrap(), value);
    }
    assert_eq!(written(&value, "new", RecordPart::Value).1[1], Header::new("version", "1"));
}

#[test]
fn references_and_options_serialize_as_type() {
    let value = Versioned("text".into());
    let plain = written(&value, "new", RecordPart::Value);
    assert_eq!(written(&&value, "new", RecordPart::Value), plain);
    assert_eq!(written(&Some(&value), "new", RecordPart::Value), plain);
    assert_eq!(written(&None::<Versioned>, "new", RecordPart::Value).0, None);
    assert_eq!(written("text", "t", RecordPart::Key).0, Some("text".into()));
    assert_eq!(written(&b"text"[..], "t", RecordPart::Key).0, Some("text".into()));
}

#[test]
fn serialization_error_names_part_and_cause() {
    let mut headers = Vec::new();
    let mut context = SerializeContext::new("orders", RecordPart::Value, &mut headers);
    let reason = Versioned(String::new()).serialize(&mut context).unwrap_err();
    let error: Error =
        SerializationError::Serialize { topic: "orders".into(), part: RecordPart::Value, reason }
            .into();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "cannot serialize the value of a record for `orders`: there is nothing in it"
    );

    let context = DeserializeContext::new("orders", RecordPart::Key, &[]);
    let reason = i64::deserialize(Some(&Bytes::from_static(b"123")), &context).unwrap_err();
    let error: Error = SerializationError::Deserialize {
        topic: "orders".into(),
        partition: 3,
        offset: 7,
        part: RecordPart::Key,
        reason,
    }
    .into();
    assert_eq!(
        error.to_string(),
        "cannot deserialize the key of the record at offset 7 of partition 3 of `orders`: expected an i64, which is 8 bytes, found 3 bytes"
    );
    assert!(!error.is_retryable());
}

#[test]
fn foreign_uuid_is_read() {
    let context = DeserializeContext::new("t", RecordPart::Key, &[]);
    for text in ["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"] {
        let id = KafkaUuid::deserialize(Some(&text.into()), &context).unwrap();
        assert_eq!(id.to_bytes()[..4], [0x12, 0x3E, 0x45, 0x67]);
    }
}

#[cfg(feature = "serde")]
mod json {
    use super::*;
    use annals::Json;
    use std::collections::BTreeMap;

    #[test]
    fn serde_types_are_values() {
        let order = Json(BTreeMap::from([("id".to_owned(), 7), ("paid".to_owned(), 1)]));
        let (bytes, _) = written(&order, "t", RecordPart::Value);
        assert_eq!(bytes.as_deref(), Some(&br#"{"id":7,"paid":1}"#[..]));
        let context = DeserializeContext::new("t", RecordPart::Value, &[]);
        assert_eq!(Json::deserialize(bytes.as_ref(), &context), Ok(order));
        let none = Option::<Json<u32>>::deserialize(None, &context);
        assert_eq!(none, Ok(None));
    }

    #[test]
    fn invalid_json_is_rejected() {
        let mut headers = Vec::new();
        let mut context = SerializeContext::new("t", RecordPart::Value, &mut headers);
        let pairs = Json(BTreeMap::from([((1, 2), 3)]));
        let rejected = pairs.serialize(&mut context).unwrap_err();
        assert!(rejected.to_string().starts_with("it cannot be written as JSON: "), "{rejected}");

        let context = DeserializeContext::new("t", RecordPart::Value, &[]);
        for text in ["", "{", "7 8", "\"seven\"", &"[".repeat(100_000)] {
            let rejected = Json::<u32>::deserialize(Some(&text.to_owned().into()), &context);
            assert!(matches!(rejected, Err(DeserializeError::Invalid { expected: "JSON", .. })));
        }
        let rejected = Json::<u32>::deserialize(None, &context);
        assert_eq!(rejected, Err(DeserializeError::Null { expected: "JSON" }));
    }
}
