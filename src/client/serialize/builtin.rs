//! Serialization of the usual types, as Kafka's own serializers do it.

use super::{Deserialize, DeserializeContext, Serialize, SerializeContext};
use crate::error::{DeserializeError, SerializeError};
use crate::uuid::KafkaUuid;
use bytes::Bytes;

type Written = Result<Option<Bytes>, SerializeError>;

fn non_null<'a>(
    bytes: Option<&'a Bytes>,
    expected: &'static str,
) -> Result<&'a Bytes, DeserializeError> {
    bytes.ok_or(DeserializeError::Null { expected })
}

fn array<const N: usize>(
    bytes: Option<&Bytes>,
    expected: &'static str,
) -> Result<[u8; N], DeserializeError> {
    let bytes = non_null(bytes, expected)?;
    let found = bytes.len();
    bytes.as_ref().try_into().map_err(|_| DeserializeError::Length { expected, bytes: N, found })
}

impl<T: Serialize + ?Sized> Serialize for &T {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        (**self).serialize(to)
    }
}

impl Serialize for Bytes {
    fn serialize(&self, _: &mut SerializeContext<'_>) -> Written {
        Ok(Some(self.clone()))
    }
}

impl Deserialize for Bytes {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<Bytes, DeserializeError> {
        non_null(bytes, "bytes").cloned()
    }
}

impl Serialize for [u8] {
    fn serialize(&self, _: &mut SerializeContext<'_>) -> Written {
        Ok(Some(Bytes::copy_from_slice(self)))
    }
}

impl Serialize for Vec<u8> {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        self.as_slice().serialize(to)
    }
}

impl Deserialize for Vec<u8> {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<Vec<u8>, DeserializeError> {
        non_null(bytes, "bytes").map(|bytes| bytes.to_vec())
    }
}

impl<const N: usize> Serialize for [u8; N] {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        self.as_slice().serialize(to)
    }
}

impl<const N: usize> Deserialize for [u8; N] {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<[u8; N], DeserializeError> {
        array(bytes, "an array of bytes")
    }
}

impl Serialize for str {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        self.as_bytes().serialize(to)
    }
}

impl Serialize for String {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        self.as_bytes().serialize(to)
    }
}

impl Deserialize for String {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<String, DeserializeError> {
        let bytes = non_null(bytes, "a string")?;
        let text = str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|error| DeserializeError::invalid("a string", bytes, error))
    }
}

macro_rules! numbers {
    ($($number:ty, $name:literal;)*) => {$(
        impl Serialize for $number {
            fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
                self.to_be_bytes().serialize(to)
            }
        }

        impl Deserialize for $number {
            fn deserialize(
                bytes: Option<&Bytes>,
                _: &DeserializeContext<'_>,
            ) -> Result<$number, DeserializeError> {
                array(bytes, $name).map(<$number>::from_be_bytes)
            }
        }
    )*};
}

numbers! {
    i16, "an i16";
    i32, "an i32";
    i64, "an i64";
    f32, "an f32";
    f64, "an f64";
}

impl Serialize for bool {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        [u8::from(*self)].serialize(to)
    }
}

impl Deserialize for bool {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<bool, DeserializeError> {
        match array(bytes, "a bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(DeserializeError::invalid("a bool", &other, "it is neither 0 nor 1")),
        }
    }
}

impl Serialize for KafkaUuid {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        self.hyphenated().serialize(to)
    }
}

impl Deserialize for KafkaUuid {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<KafkaUuid, DeserializeError> {
        const EXPECTED: &str = "the text of a uuid";
        let text: [u8; 36] = array(bytes, EXPECTED)?;
        let id = str::from_utf8(&text).ok().and_then(KafkaUuid::from_hyphenated);
        let reason = "it is not 8-4-4-4-12 hexadecimal digits";
        id.ok_or_else(|| DeserializeError::invalid(EXPECTED, &text, reason))
    }
}

impl Serialize for () {
    fn serialize(&self, _: &mut SerializeContext<'_>) -> Written {
        Ok(None)
    }
}

impl Deserialize for () {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<(), DeserializeError> {
        match bytes {
            None => Ok(()),
            Some(bytes) => Err(DeserializeError::NotNull { found: bytes.len() }),
        }
    }
}

impl<T: Serialize> Serialize for Option<T> {
    fn serialize(&self, to: &mut SerializeContext<'_>) -> Written {
        match self {
            Some(value) => value.serialize(to),
            None => Ok(None),
        }
    }
}

impl<T: Deserialize> Deserialize for Option<T> {
    fn deserialize(
        bytes: Option<&Bytes>,
        from: &DeserializeContext<'_>,
    ) -> Result<Option<T>, DeserializeError> {
        bytes.map(|bytes| T::deserialize(Some(bytes), from)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RecordPart;
    use proptest::prelude::*;
    use std::fmt::Debug;

    fn written<T: Serialize + ?Sized>(value: &T) -> Option<Bytes> {
        let mut headers = Vec::new();
        value.serialize(&mut SerializeContext::new("t", RecordPart::Value, &mut headers)).unwrap()
    }

    fn read<T: Deserialize>(bytes: Option<Bytes>) -> Result<T, DeserializeError> {
        let context = DeserializeContext::new("t", RecordPart::Key, &[]);
        T::deserialize(bytes.as_ref(), &context)
    }

    fn reads_back<T: Serialize + Deserialize + PartialEq + Debug>(value: T) {
        assert_eq!(read(written(&value)), Ok(value));
    }

    proptest! {
        #[test]
        fn written_values_read_back(
            bytes: Vec<u8>, text in "\\PC{0,9}", numbers: (i16, i32, i64), on: bool, id: [u8; 16],
            maybe: Option<i32>,
            floats in (proptest::num::f32::NORMAL, proptest::num::f64::NORMAL),
        ) {
            reads_back(Bytes::from(bytes.clone()));
            reads_back(bytes);
            reads_back(id);
            reads_back(text);
            reads_back(numbers.0);
            reads_back(numbers.1);
            reads_back(numbers.2);
            reads_back(floats.0);
            reads_back(floats.1);
            reads_back(on);
            reads_back(KafkaUuid::from_bytes(id));
            reads_back(maybe);
            reads_back(());
        }

        #[test]
        fn read_values_write_back_same_bytes(
            bytes in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        ) {
            let bytes = bytes.map(Bytes::from);
            fn same<T: Serialize + Deserialize>(bytes: &Option<Bytes>) {
                if let Ok(value) = read::<T>(bytes.clone()) {
                    assert_eq!(&written(&value), bytes);
                }
            }
            same::<String>(&bytes);
            same::<bool>(&bytes);
            same::<i64>(&bytes);
            same::<()>(&bytes);
            same::<Option<i16>>(&bytes);
        }
    }

    #[test]
    fn bytes_agree_with_kafka() {
        let bytes = |bytes: &'static [u8]| Some(Bytes::from_static(bytes));
        assert_eq!(written(&-2_i16), bytes(&[0xFF, 0xFE]));
        assert_eq!(written(&258_i32), bytes(&[0, 0, 1, 2]));
        assert_eq!(written(&1_i64), bytes(&[0, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(written(&1.0_f32), bytes(&[0x3F, 0x80, 0, 0]));
        assert_eq!(written(&-1.0_f64), bytes(&[0xBF, 0xF0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(written(&true), bytes(&[1]));
        assert_eq!(written("\u{fc}"), bytes(&[0xC3, 0xBC]));
        assert_eq!((written(&()), written(&None::<i32>)), (None, None));
        assert_eq!(written(""), bytes(&[]));
        let id = KafkaUuid::from_bytes(*b"0123456789abcdef");
        assert_eq!(written(&id), bytes(b"30313233-3435-3637-3839-616263646566"));
    }

    #[test]
    fn error_names_expected_and_found() {
        fn error<T: Deserialize + Debug>(bytes: Option<&'static [u8]>) -> String {
            read::<T>(bytes.map(Bytes::from_static)).unwrap_err().to_string()
        }
        let five = Some(&b"12345"[..]);
        assert_eq!(error::<i32>(five), "expected an i32, which is 4 bytes, found 5 bytes");
        assert_eq!(error::<f64>(five), "expected an f64, which is 8 bytes, found 5 bytes");
        assert_eq!(error::<Option<i16>>(five), "expected an i16, which is 2 bytes, found 5 bytes");
        assert_eq!(
            error::<String>(None),
            "expected a string, found null; if null is valid, use an `Option`"
        );
        assert_eq!(error::<()>(five), "expected null, found 5 bytes");
        assert_eq!(error::<bool>(Some(&[2])), "1 byte is not a bool: it is neither 0 nor 1");
        assert!(error::<String>(Some(&[0xFF])).starts_with("1 byte is not a string: "));
        for text in [
            &b"30313233x3435-3637-3839-616263646566"[..],
            b"30313233-3435-3637-3839-61626364656g",
            b"30313233-3435-3637-3839-6162636465\xC3\xBC",
        ] {
            assert!(
                error::<KafkaUuid>(Some(text)).starts_with("36 bytes are not the text of a uuid")
            );
        }
    }
}
