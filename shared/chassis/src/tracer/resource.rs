//! Who tells: the attributes of the process on everything it exports.
//!
//! Nothing is computed from host names; pods say who they are through `OTEL_RESOURCE_ATTRIBUTES`.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// The semantic conventions that names and attributes follow.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Returns the resource of a service; what `OTEL_RESOURCE_ATTRIBUTES` says wins, except over the
/// service's name, by which the hops of a trace are told apart.
pub(super) fn of(service: &'static str, version: &'static str, environment: &str) -> Resource {
    let said = std::env::var("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let mut attributes = vec![
        KeyValue::new("service.namespace", "millrace"),
        KeyValue::new("service.version", version),
    ];
    if !environment.is_empty() {
        attributes.push(KeyValue::new("deployment.environment.name", environment.to_owned()));
    }
    attributes.extend(parse(&said));
    attributes.push(KeyValue::new("service.name", service));
    Resource::builder_empty().with_schema_url(attributes, SCHEMA_URL).build()
}

/// Reads `key=value,key=value` with percent-encoded values; a pair that is none is left out.
fn parse(text: &str) -> Vec<KeyValue> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| KeyValue::new(key, value))
        .collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_from_the_variable_as_opentelemetry_spells_them() {
        let read = parse("k8s.pod.name=deliver-0, a=b%20c%,=x,none,d=");
        let read: Vec<(&str, String)> =
            read.iter().map(|kv| (kv.key.as_str(), kv.value.to_string())).collect();
        let expected = [("k8s.pod.name", "deliver-0"), ("a", "b c%"), ("d", "")];
        assert_eq!(read, expected.map(|(k, v)| (k, v.to_owned())));
    }

    #[test]
    fn a_resource_names_its_service() {
        let resource = of("millrace-ingest", "1.2.3", "test");
        let get = |key: &'static str| resource.get(&key.into()).map(|v| v.to_string());
        assert_eq!(get("service.name").as_deref(), Some("millrace-ingest"));
        assert_eq!(get("service.namespace").as_deref(), Some("millrace"));
        assert_eq!(resource.schema_url(), Some(SCHEMA_URL));
    }
}
