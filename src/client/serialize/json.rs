//! Values as JSON.

use super::{Deserialize, DeserializeContext, Serialize, SerializeContext};
use crate::error::{DeserializeError, SerializeError};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// A value that is written as JSON. Null bytes are not JSON: if a record may be a tombstone, use
/// `Option<Json<T>>`, whose `None` is null bytes and not the text `null`.
///
/// ```
/// use annals::{Deserialize, DeserializeContext, Json, RecordPart, Serialize, SerializeContext};
///
/// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// struct Order { id: u32, paid: bool }
///
/// let order = Json(Order { id: 7, paid: false });
/// let mut headers = Vec::new();
/// let mut context = SerializeContext::new("orders", RecordPart::Value, &mut headers);
/// let bytes = order.serialize(&mut context)?;
/// assert_eq!(bytes.as_deref(), Some(&br#"{"id":7,"paid":false}"#[..]));
///
/// let context = DeserializeContext::new("orders", RecordPart::Value, &headers);
/// assert_eq!(Json::deserialize(bytes.as_ref(), &context)?, order);
/// let error = Json::<Order>::deserialize(Some(&"{}".into()), &context).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "2 bytes are not JSON: missing field `id` at line 1 column 2"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Json<T>(pub T);

impl<T: serde::Serialize> Serialize for Json<T> {
    fn serialize(&self, _: &mut SerializeContext<'_>) -> Result<Option<Bytes>, SerializeError> {
        serde_json::to_vec(&self.0).map(|bytes| Some(bytes.into())).map_err(|error| {
            SerializeError::new(format_args!("it cannot be written as JSON: {error}"))
        })
    }
}

impl<T: DeserializeOwned> Deserialize for Json<T> {
    fn deserialize(
        bytes: Option<&Bytes>,
        _: &DeserializeContext<'_>,
    ) -> Result<Json<T>, DeserializeError> {
        let bytes = bytes.ok_or(DeserializeError::Null { expected: "JSON" })?;
        serde_json::from_slice(bytes)
            .map(Json)
            .map_err(|error| DeserializeError::invalid("JSON", bytes, error))
    }
}
