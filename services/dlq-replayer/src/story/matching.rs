//! Whether a record belongs to a story: pure.

use memchr::memmem::Finder;
use wire::{Delivery, Envelope, Receipt, headers};

/// The ids a story is found by; it grows where a record tells the event of a provider's id.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    asked: Finder<'static>,
    /// Ids of events that a decoded record gave.
    events: Vec<String>,
    searched: usize,
}

/// What a record's headers say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Ours,
    /// The headers are silent, the bytes hold the id: what it is shows only decoded.
    Perhaps,
    Other,
}

impl Ids {
    pub(super) fn new(asked: &str) -> Self {
        Self { asked: Finder::new(asked).into_owned(), events: Vec::new(), searched: 0 }
    }

    /// Says whether there are ids that the last look did not search for.
    pub(super) fn has_grown(&mut self) -> bool {
        let grown = self.events.len() > self.searched;
        self.searched = self.events.len();
        grown
    }

    /// Looks at a record's headers, and at its bytes where those are silent.
    pub(super) fn look<'a>(
        &self,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
        value: Option<&[u8]>,
    ) -> Says {
        for (name, value) in headers {
            match name {
                headers::CE_ID
                | headers::CE_CORRELATIONID
                | headers::CE_CAUSATIONID
                | headers::DELIVERY_ID
                | headers::FALLBACK_DELIVERY_ID
                    if self.names(value) =>
                {
                    return Says::Ours;
                }
                _ => {}
            }
        }
        match value {
            Some(value) if self.asked.find(value).is_some() => Says::Perhaps,
            Some(_) | None => Says::Other,
        }
    }

    fn names(&self, id: &[u8]) -> bool {
        id == self.asked.needle() || self.events.iter().any(|event| event.as_bytes() == id)
    }

    fn is_asked(&self, id: &str) -> bool {
        id.as_bytes() == self.asked.needle()
    }

    /// Says whether a decoded event is meant, and remembers its id if it is.
    pub(super) fn is_event(&mut self, event: &Envelope) -> bool {
        let provider = event.http_headers.iter().any(|header| self.is_asked(&header.value));
        let ours = self.is_asked(&event.event_id) || self.is_asked(&event.correlation_id);
        self.remember(provider || ours, &event.event_id)
    }

    /// Says whether a decoded delivery is meant, and remembers its event if it is.
    pub(super) fn is_delivery(&mut self, delivery: &Delivery) -> bool {
        let ids = [&delivery.event_id, &delivery.correlation_id, &delivery.delivery_id];
        let ours = ids.into_iter().any(|id| self.is_asked(id));
        self.remember(ours, &delivery.event_id)
    }

    /// Says whether a decoded receipt is meant, and remembers its event if it is.
    pub(super) fn is_receipt(&mut self, receipt: &Receipt) -> bool {
        let given = receipt.provider_request_id.as_ref();
        let ids = [&receipt.event_id, &receipt.correlation_id, &receipt.delivery_id];
        let ids = ids.into_iter().chain([&receipt.idempotency_key]).chain(given);
        let ours = ids.into_iter().any(|id| self.is_asked(id));
        self.remember(ours, &receipt.event_id)
    }

    fn remember(&mut self, ours: bool, event: &str) -> bool {
        if ours && !self.is_asked(event) && !self.events.iter().any(|known| known == event) {
            self.events.push(event.to_owned());
        }
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(ids: &Ids, headers: &[(&str, &str)], value: &str) -> Says {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        ids.look(headers, Some(value.as_bytes()))
    }

    #[test]
    fn headers_decide_and_bytes_only_where_they_are_silent() {
        let ids = Ids::new("evt-1");
        let rows = [
            (("ce_id", "evt-1"), "", Says::Ours),
            (("ce_correlationid", "evt-1"), "", Says::Ours),
            (("millrace-delivery-id", "evt-1"), "", Says::Ours),
            (("ce_id", "evt-10"), "", Says::Other),
            (("millrace-fallback-delivery-id", "evt-1"), "", Says::Ours),
            (("x", "evt-1"), "..evt-1..", Says::Perhaps),
            (("x", ""), "evt-", Says::Other),
        ];
        for (header, value, wanted) in rows {
            assert_eq!(look(&ids, &[header], value), wanted, "{header:?} {value}");
        }
    }

    #[test]
    fn an_event_found_by_its_providers_id_is_searched_for_by_its_own() {
        let mut ids = Ids::new("req-9");
        assert!(!ids.has_grown());
        assert!(ids.remember(true, "evt-1"));
        assert!(ids.has_grown() && !ids.has_grown());
        assert_eq!(look(&ids, &[("ce_id", "evt-1")], ""), Says::Ours);
    }
}
