//! Values as JSON for a person: bodies as what they are, bytes in base64 only where nothing else does.

use registry_io::Registry;
use serde::Serialize;
use serde_json::Value;
use wire::{Delivery, Envelope, Receipt, Recorded};

use crate::show::text;

/// Returns a delivery, `None` where the value is none or its schema is not at hand.
pub(crate) async fn delivery(registry: &Registry, value: &[u8]) -> Option<Value> {
    let delivery: Delivery = decoded(registry, value).await?;
    let body = body(&delivery.request.body);
    let mut shown = shown(&delivery)?;
    *shown.pointer_mut("/request/body")? = body;
    Some(shown)
}

/// Returns an event, as [`delivery`].
pub(crate) async fn envelope(registry: &Registry, value: &[u8]) -> Option<Value> {
    let envelope: Envelope = decoded(registry, value).await?;
    let body = body(&envelope.body);
    let mut shown = shown(&envelope)?;
    *shown.pointer_mut("/body")? = body;
    Some(shown)
}

/// Decodes a record; failing is told in the log, since the record is shown all the same.
pub(crate) async fn decoded<T: Recorded>(registry: &Registry, value: &[u8]) -> Option<T> {
    match registry.decode(value).await {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::debug!(%error, "a value is shown without being decoded");
            None
        }
    }
}

/// Returns a receipt for a person.
pub(crate) fn receipt(receipt: &Receipt) -> Option<Value> {
    let mut shown = shown(receipt)?;
    *shown.pointer_mut("/response_body")? =
        receipt.response_body.as_deref().map_or(Value::Null, body);
    Some(shown)
}

fn shown(record: &impl Serialize) -> Option<Value> {
    serde_json::to_value(record).ok()
}

/// Returns a body as JSON where it is, else as text.
fn body(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_shown_as_what_it_is() {
        assert_eq!(body(b"{\"a\":1}"), serde_json::json!({ "a": 1 }));
        assert_eq!(body(b"plain"), serde_json::json!("plain"));
        assert_eq!(body(&[255]), serde_json::json!("base64:/w=="));
    }
}
