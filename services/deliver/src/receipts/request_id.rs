//! Which header of an answer holds the third party's own id of the request: what its support asks for.

use wire::Header;

/// The names, the best first: those that only one provider uses, then those of many, which a proxy may
/// have set, then ids of edges and traces. One more is one more line.
const NAMES: [&str; 30] = [
    // Providers' own.
    "x-github-request-id",
    "x-slack-req-id",
    "x-hubspot-correlation-id",
    "x-zendesk-request-id",
    "x-dropbox-request-id",
    "x-sfdc-request-id",
    "x-ms-request-id",
    "x-amzn-requestid",
    "x-amz-request-id",
    "x-fb-request-id",
    "twilio-request-id",
    "box-request-id",
    "paypal-debug-id",
    "pspreference",
    "x-message-id",
    // Of many.
    "request-id",
    "x-request-id",
    "x-requestid",
    "requestid",
    "x-req-id",
    "x-transaction-id",
    "x-correlation-id",
    "correlation-id",
    // Of edges and traces.
    "fly-request-id",
    "x-vercel-id",
    "cf-ray",
    "x-amz-cf-id",
    "x-amzn-trace-id",
    "x-b3-traceid",
    "x-trace-id",
];

/// A longer one is no id that anybody could look for.
const ID_BYTES_MAX: usize = 256;

/// Finds the id among headers that are without secrets already: a third party may give ours back.
pub(crate) fn find(headers: &[Header]) -> Option<String> {
    let of = |name: &&str| {
        let named = headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value.trim()).find(|id| is_id(id))
    };
    NAMES.iter().find_map(of).map(str::to_owned)
}

fn is_id(value: &str) -> bool {
    !value.is_empty() && value.len() <= ID_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn found(headers: Pairs<'_>) -> Option<String> {
        let header = |(name, value): &(&str, &str)| Header {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        find(&headers.iter().map(header).collect::<Vec<_>>())
    }

    #[test]
    fn each_name_is_found_and_the_providers_own_counts_before_a_proxys() {
        for name in NAMES {
            assert_eq!(
                found(&[("server", "x"), (name, "req-1")]).as_deref(),
                Some("req-1"),
                "{name}"
            );
        }
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let rows: [(Pairs<'_>, Option<&str>); 7] = [
            (&[("cf-ray", "edge"), ("Request-Id", "stripes")], Some("stripes")),
            (&[("x-request-id", "proxys"), ("x-github-request-id", "hubs")], Some("hubs")),
            (&[("x-request-id", " "), ("cf-ray", "edge")], Some("edge")),
            (&[("request-id", ""), ("request-id", "later")], Some("later")),
            (&[("x-request-id", &long), ("cf-ray", "edge")], Some("edge")),
            (&[("x-request-id", &long[1..])], Some(&long[1..])),
            (&[("x-request-identity", "me"), ("date", "now")], None),
        ];
        for (headers, expected) in rows {
            assert_eq!(found(headers).as_deref(), expected, "{headers:?}");
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let all: std::collections::BTreeSet<_> = NAMES.into_iter().collect();
        assert_eq!(all.len(), NAMES.len());
    }
}
