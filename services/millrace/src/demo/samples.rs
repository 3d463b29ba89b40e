//! The events that the demo sends, shaped as their providers shape them, and what has to become of each.

use serde_json::{Value, json};

/// What the catalog of `examples/` has to make of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One request to each of these destinations.
    Delivered(&'static [&'static str]),
    /// The mapping ends it with `abort`.
    Filtered,
    /// No route wants it.
    Unrouted,
}

/// One event to send.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) source: &'static str,
    /// The provider's word for what happened.
    pub(crate) event: &'static str,
    pub(crate) id: String,
    pub(crate) body: Value,
    pub(crate) expected: Expected,
}

/// Returns `count` samples, going round through every kind; `seed` keeps the ids of two runs apart.
pub(crate) fn samples(count: usize, seed: u64, now: i64) -> Vec<Sample> {
    (0..count).map(|n| sample(n, seed, now)).collect()
}

/// Returns `count` orders, all for one destination.
pub(crate) fn orders(count: usize, seed: u64) -> Vec<Sample> {
    (0..count).map(|n| order(n, seed)).collect()
}

fn sample(n: usize, seed: u64, now: i64) -> Sample {
    match n % 8 {
        0 | 1 => push(n, seed),
        2 => pull_request(n, seed, false),
        3 => pull_request(n, seed, true),
        4 => charge(n, seed, now),
        5 => invoice(n, seed, now),
        6 => order(n, seed),
        _ => star(n, seed),
    }
}

/// A UUID in form, made of the seed and the number, so that a run can be told from the next.
fn delivery_id(n: usize, seed: u64) -> String {
    let (high, low) = ((seed >> 16) & 0xffff_ffff, seed & 0xffff);
    format!("{high:08x}-{low:04x}-4000-8000-{n:012x}")
}

fn commit(n: usize, seed: u64) -> String {
    format!("{:040x}", (u128::from(seed) << 32) | n as u128)
}

fn repository(n: usize) -> Value {
    let name = ["storefront", "warehouse", "ledger"][n % 3];
    json!({
        "id": 4200 + n % 3,
        "name": name,
        "full_name": format!("acme/{name}"),
        "private": true,
        "html_url": format!("https://github.example/acme/{name}"),
        "default_branch": "main",
    })
}

fn push(n: usize, seed: u64) -> Sample {
    let after = commit(n, seed);
    let body = json!({
        "ref": "refs/heads/main",
        "before": commit(n.wrapping_sub(1), seed),
        "after": after,
        "repository": repository(n),
        "pusher": { "name": "maria", "email": "maria@acme.example" },
        "sender": { "login": "maria", "id": 17, "type": "User" },
        "created": false, "deleted": false, "forced": false,
        "commits": [{
            "id": after,
            "message": "Keep the order of the lines",
            "timestamp": "2026-01-05T10:00:00+01:00",
            "author": { "name": "Maria", "email": "maria@acme.example", "username": "maria" },
            "added": [], "removed": [], "modified": ["src/lines.rs"],
        }],
        "head_commit": { "id": after, "message": "Keep the order of the lines" },
    });
    let expected = Expected::Delivered(&["builds"]);
    Sample { source: "github", event: "push", id: delivery_id(n, seed), body, expected }
}

fn pull_request(n: usize, seed: u64, draft: bool) -> Sample {
    let body = json!({
        "action": "opened",
        "number": 100 + n,
        "pull_request": {
            "id": 9000 + n,
            "number": 100 + n,
            "state": "open",
            "title": "Show the invoice's total",
            "draft": draft,
            "html_url": format!("https://github.example/acme/storefront/pull/{}", 100 + n),
            "user": { "login": "jonas", "id": 23, "type": "User" },
            "head": { "ref": "totals", "sha": commit(n, seed) },
            "base": { "ref": "main" },
        },
        "repository": repository(n),
        "sender": { "login": "jonas", "id": 23, "type": "User" },
    });
    let expected = if draft { Expected::Filtered } else { Expected::Delivered(&["chat"]) };
    Sample { source: "github", event: "pull_request", id: delivery_id(n, seed), body, expected }
}

fn star(n: usize, seed: u64) -> Sample {
    let body = json!({
        "action": "created",
        "starred_at": "2026-01-05T10:00:00Z",
        "repository": repository(n),
        "sender": { "login": "ada", "id": 31, "type": "User" },
    });
    let expected = Expected::Unrouted;
    Sample { source: "github", event: "star", id: delivery_id(n, seed), body, expected }
}

fn stripe_event(kind: &str, n: usize, seed: u64, now: i64, object: Value) -> (String, Value) {
    let id = format!("evt_{seed:016x}{n:08x}");
    let body = json!({
        "id": id,
        "object": "event",
        "api_version": "2025-09-30",
        "created": now,
        "livemode": false,
        "pending_webhooks": 1,
        "request": { "id": format!("req_{n:014}"), "idempotency_key": null },
        "type": kind,
        "data": { "object": object },
    });
    (id, body)
}

fn charge(n: usize, seed: u64, now: i64) -> Sample {
    let object = json!({
        "id": format!("ch_{seed:016x}{n:04}"),
        "object": "charge",
        "amount": 4_900 + n,
        "currency": "eur",
        "customer": format!("cus_{:08}", n % 5),
        "paid": true,
        "receipt_email": format!("customer{}@example.com", n % 5),
        "status": "succeeded",
    });
    let (id, body) = stripe_event("charge.succeeded", n, seed, now, object);
    let expected = Expected::Delivered(&["crm", "mail"]);
    Sample { source: "payments", event: "charge.succeeded", id, body, expected }
}

fn invoice(n: usize, seed: u64, now: i64) -> Sample {
    let object = json!({
        "id": format!("in_{seed:016x}{n:04}"),
        "object": "invoice",
        "amount_due": 1_900,
        "currency": "eur",
        "customer": format!("cus_{:08}", n % 5),
        "customer_email": format!("customer{}@example.com", n % 5),
        "attempt_count": 2,
        "status": "open",
    });
    let (id, body) = stripe_event("invoice.payment_failed", n, seed, now, object);
    let expected = Expected::Delivered(&["mail"]);
    Sample { source: "payments", event: "invoice.payment_failed", id, body, expected }
}

fn order(n: usize, seed: u64) -> Sample {
    let body = json!({
        "order": {
            "id": format!("A-{}", 1000 + n),
            "lines": [{ "sku": "tea-earl-grey", "quantity": 2, "price": 640 }],
            "total": 1280,
        },
    });
    let expected = Expected::Delivered(&["crm"]);
    let id = format!("shop-{seed:x}-{n:04}");
    Sample { source: "orders", event: "order.created", id, body, expected }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_sample_has_an_id_of_its_own() {
        let ids: BTreeSet<String> = samples(200, 7, 0).into_iter().map(|s| s.id).collect();
        assert_eq!(ids.len(), 200);
    }
}
