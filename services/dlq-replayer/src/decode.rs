//! Values as JSON for a person: bodies as what they are, bytes in base64 only where nothing else does.

use std::fmt::Display;

use registry_io::Registry;
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use wire::{Delivery, Envelope, Receipt, Recorded};

use crate::show::text;

/// Decodes a record; failing is told in the log, since the record is shown all the same.
pub(crate) async fn decoded<T: Recorded>(registry: &Registry, value: &[u8]) -> Option<T> {
    told(registry.decode(value).await)
}

/// Decodes a record on a thread that may block.
pub(crate) fn decoded_blocking<T: Recorded>(
    registry: &Registry,
    runtime: &Handle,
    value: &[u8],
) -> Option<T> {
    told(registry.decode_blocking(runtime, value))
}

fn told<T>(decoded: Result<T, impl Display>) -> Option<T> {
    match decoded {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::debug!(%error, "a value is shown without being decoded");
            None
        }
    }
}

/// Returns a delivery for a person.
pub(crate) fn delivery(delivery: &Delivery) -> Option<Value> {
    let mut whole = shown(delivery, "/request/body", body(&delivery.request.body))?;
    let fallback = delivery.fallback.as_ref().and_then(|fallback| fallback.request.as_ref());
    if let (Some(request), Some(place)) = (fallback, whole.pointer_mut("/fallback/request/body")) {
        *place = body(&request.body);
    }
    Some(whole)
}

/// Returns an event for a person.
pub(crate) fn envelope(envelope: &Envelope) -> Option<Value> {
    shown(envelope, "/body", body(&envelope.body))
}

/// Returns a receipt for a person.
pub(crate) fn receipt(receipt: &Receipt) -> Option<Value> {
    let answer = receipt.response_body.as_deref().map_or(Value::Null, body);
    shown(receipt, "/response_body", answer)
}

/// Returns a record with its bytes replaced by what they are.
fn shown(record: &impl Serialize, place: &str, body: Value) -> Option<Value> {
    let mut shown = serde_json::to_value(record).ok()?;
    *shown.pointer_mut(place)? = body;
    Some(shown)
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
