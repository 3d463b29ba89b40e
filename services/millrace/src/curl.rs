//! Lines for a shell that send a signed event, for one who wants to see something happen.

use std::fmt::Write as _;

use catalog_io::Source;
use serde_json::{Value, json};
use signing::Scheme;

use crate::sender::{Event, Sender, headers};

/// A line, and whether it is good for ever or only as long as its timestamp is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) ages: bool,
}

/// Returns a `curl` line with an event as the source's provider would send it now.
pub(crate) fn line(source: &Source, sender: &Sender, now_unix: i64) -> Result<Line, String> {
    let id = format!("try-{}-{now_unix}", source.name);
    let (kind, body) = sample(&source.scheme, &id, now_unix);
    let body = body.to_string();
    let url = sender.url(source.name.as_str());
    let event = Event { id: &id, kind, body: body.as_bytes() };
    let mut text = format!("curl -i {url}");
    for (name, value) in &headers(source, &url, event, now_unix)? {
        let value = value.to_str().map_err(|_| format!("header {name} is no text"))?;
        write!(text, " \\\n  -H {}", quoted(&format!("{name}: {value}")))
            .map_err(|e| e.to_string())?;
    }
    write!(text, " \\\n  -d {}", quoted(&body)).map_err(|e| e.to_string())?;
    // GitHub signs no time; every other scheme may.
    Ok(Line { text, ages: !matches!(source.scheme, Scheme::Github(_)) })
}

fn sample(scheme: &Scheme, id: &str, now: i64) -> (&'static str, Value) {
    match scheme {
        Scheme::Github(_) => (
            "push",
            json!({
                "ref": "refs/heads/main",
                "after": format!("{now:040x}"),
                "repository": { "full_name": "acme/storefront" },
                "pusher": { "name": "maria" },
            }),
        ),
        Scheme::Stripe(_) => (
            "charge.succeeded",
            json!({
                "id": format!("evt_{id}"),
                "object": "event",
                "type": "charge.succeeded",
                "created": now,
                "data": { "object": {
                    "id": "ch_1", "amount": 4900, "currency": "eur",
                    "customer": "cus_1", "receipt_email": "customer@example.com",
                } },
            }),
        ),
        Scheme::StandardWebhooks(_) | Scheme::GenericHmac(_) => {
            ("order.created", json!({ "order": { "id": "A-1000", "total": 1280 } }))
        }
    }
}

/// Quotes for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_line_stays_one_word_of_the_shell() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
