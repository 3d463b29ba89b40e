//! What a request carries, and what it refuses to carry.

use catalog_io::Auth;

use super::*;
use crate::testing::{delivery, destination, pair, prepared};

const NOW: UnixMillis = UnixMillis(1_700_000_000_999);

fn built(delivery: &Delivery, prepared: &Prepared) -> Result<Request<Bytes>, Invalid> {
    let body = Bytes::from(delivery.request.body.clone());
    build(delivery, &body, prepared, Some("00-aa-bb-01"), NOW)
}

#[test]
fn a_path_and_query_are_added_below_the_destinations_address() {
    let rows = [
        ("https://h", "", "https://h/"),
        ("https://h/hooks?k=1", "", "https://h/hooks?k=1"),
        ("https://h/hooks", "a/b", "https://h/hooks/a/b"),
        ("https://h/hooks/", "/a", "https://h/hooks/a"),
        ("https://h", "/ä b", "https://h/%C3%A4%20b"),
        ("https://h/hooks", "//evil.example/x", "https://h/hooks/evil.example/x"),
        ("https://h/hooks", "a/../b", "https://h/hooks/b"),
    ];
    for (url, path, expected) in rows {
        let mut delivery = delivery();
        delivery.request.path = path.to_owned();
        let request = built(&delivery, &prepared(destination(url))).expect(path);
        assert_eq!(request.uri().to_string(), expected, "{url} {path}");
    }
    let mut delivery = delivery();
    delivery.request.query = vec![pair("a b", "c&d"), pair("e", "")];
    let request = built(&delivery, &prepared(destination("https://h/x?k=1"))).expect("it is plain");
    assert_eq!(request.uri().query(), Some("k=1&a+b=c%26d&e="));
}

#[test]
fn a_path_never_leads_out_of_the_destinations_address() {
    for path in ["..", "../x", "a/../../x", "%2e%2e/x", ".%2E/x", "a/..\\../x", "?x=1", "#x"] {
        let mut delivery = delivery();
        delivery.request.path = path.to_owned();
        let refused = built(&delivery, &prepared(destination("https://h/hooks")));
        assert!(matches!(refused, Err(Invalid::Address(_))), "{path}: {refused:?}");
    }
}

#[test]
fn what_is_ours_or_the_connections_a_mapping_cannot_set() {
    let refused = |name: &str| {
        let mut delivery = delivery();
        delivery.request.headers = vec![pair("x-a", "1"), pair(name, "x")];
        built(&delivery, &prepared(destination("https://h"))).err()
    };
    for name in RESERVED {
        let named = Named::Name(HeaderName::from_static(name));
        assert_eq!(refused(&name.to_uppercase()), Some(Invalid::Header(named)));
    }
    for name in ["bad name", ""] {
        assert_eq!(refused(name), Some(Invalid::Header(Named::Number(2))), "{name:?}");
    }
    let mut delivery = delivery();
    delivery.request.headers = vec![pair("x-a", "line\nbreak")];
    assert!(built(&delivery, &prepared(destination("https://h"))).is_err());
}

#[test]
fn a_mapping_stands_above_the_catalog_and_beneath_the_credentials() {
    let mut destination = destination("https://h");
    destination.auth = Auth::Header { name: "x-api-key".into(), value: "real".to_owned().into() };
    let mut delivery = delivery();
    delivery.request.method = "PUT".to_owned();
    delivery.request.headers = vec![pair("X-From", "mapping"), pair("x-api-key", "forged")];
    let request = built(&delivery, &prepared(destination)).expect("it is plain");
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    assert_eq!(request.method(), Method::PUT);
    assert_eq!(header("x-from"), Some("mapping"));
    assert_eq!(header("x-api-key"), Some("real"));
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("webhook-id"), Some("mr_1"));
    assert_eq!(header("idempotency-key"), Some("mr_1"));
    assert_eq!(header("traceparent"), None);
}

#[test]
fn a_trace_goes_along_only_where_the_destination_says_so() {
    let mut destination = destination("https://h");
    destination.spec.propagate_trace = true;
    let request = built(&delivery(), &prepared(destination)).expect("it is plain");
    assert_eq!(request.headers()["traceparent"], "00-aa-bb-01");
}

#[test]
fn each_signing_key_signs_the_attempts_own_time() {
    let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"];
    let mut destination = destination("https://h");
    destination.signing = keys.iter().map(|key| (*key).to_owned().into()).collect();
    let delivery = delivery();
    let request = built(&delivery, &prepared(destination)).expect("it is plain");
    let expected =
        signing::standard_webhooks::signature(&keys, "mr_1", 1_700_000_000, &delivery.request.body);
    assert_eq!(request.headers()["webhook-timestamp"], "1700000000");
    assert_eq!(request.headers()["webhook-signature"], expected.expect("the keys can sign"));
}

#[test]
fn a_method_that_is_none_is_refused() {
    for method in ["BAD METHOD", "CONNECT", "\n"] {
        let mut delivery = delivery();
        delivery.request.method = method.to_owned();
        let refused = built(&delivery, &prepared(destination("https://h")));
        assert_eq!(refused.err(), Some(Invalid::Method), "{method}");
    }
}

#[test]
fn what_is_refused_is_told_without_what_may_be_of_the_payload() {
    let told = |spoil: &dyn Fn(&mut Delivery)| {
        let mut delivery = delivery();
        spoil(&mut delivery);
        let refused = built(&delivery, &prepared(destination("https://h/hooks")));
        refused.expect_err("it is spoilt").to_string()
    };
    let refusals = [
        told(&|d| d.request.path = "/u/ann@example.com?x".to_owned()),
        told(&|d| d.request.path = "../ann@example.com".to_owned()),
        told(&|d| d.request.method = "ann@example.com".to_owned()),
        told(&|d| d.request.headers = vec![pair("ann@example.com ", "x")]),
        told(&|d| d.request.headers = vec![pair("x-a", "ann@example.com\n")]),
    ];
    for refusal in refusals {
        assert!(!refusal.contains("ann@") && refusal.contains("mapping"), "{refusal}");
    }
}

#[test]
fn a_probe_has_the_credentials_and_nothing_of_a_delivery() {
    let mut with_token = destination("https://h/hooks/in?k=1");
    with_token.auth = Auth::Bearer("token-1234".into());
    let request = probe(&prepared(with_token), "probe-9", NOW).expect("it is one");
    assert_eq!((request.method().as_str(), request.body().len()), ("HEAD", 0));
    assert_eq!(request.uri().to_string(), "https://h/hooks/in?k=1");
    let named: std::collections::BTreeSet<_> =
        request.headers().keys().map(|n| n.as_str()).collect();
    assert_eq!(named, ["authorization", "user-agent", "x-from"].into());
    let mut signed = destination("https://h/hooks/in");
    signed.signing = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()];
    let request = probe(&prepared(signed), "probe-9", NOW).expect("it is one");
    let header = |name: &str| request.headers()[name].to_str().expect("it is a text").to_owned();
    assert_eq!(
        (header("webhook-id"), header("webhook-timestamp")),
        ("probe-9".into(), "1700000000".into())
    );
    let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    let signature = signing::standard_webhooks::signature(&keys, "probe-9", 1_700_000_000, b"");
    assert_eq!(Some(header("webhook-signature")), signature.ok());
}

#[test]
fn a_probe_never_leaves_the_destinations_host() {
    let rows = [
        ("/v2/me?fields=id", "https://h:8443/v2/me?fields=id"),
        ("/", "https://h:8443/"),
        ("//evil.example/x", "https://h:8443//evil.example/x"),
        ("/../../x", "https://h:8443/x"),
        ("/a\\b@evil.example", "https://h:8443/a/b@evil.example"),
    ];
    for (path, expected) in rows {
        let mut destination = destination("https://h:8443/hooks?k=1");
        let method = rules::ProbeMethod::Options;
        destination.spec.probe = rules::Probe { method, path: Some(path.to_owned()) };
        let request = probe(&prepared(destination), "probe-9", NOW).expect(path);
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("OPTIONS", expected.to_owned())
        );
    }
}
