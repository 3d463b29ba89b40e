//! Where a list goes on: a text that holds each partition's place and end, for the reader only.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::PageOrder;
use crate::{Error, JobRange};

/// How far a list is in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// From where the log begins now to where it ended when the first page was made.
    pub(super) range: JobRange,
    /// Oldest first: the next offset to look at. Newest first: the offset after it.
    pub(super) at: i64,
}

impl Part {
    pub(super) fn first(range: JobRange, order: PageOrder) -> Self {
        let at = match order {
            PageOrder::Newest => range.to,
            PageOrder::Oldest => range.from,
        };
        Self { range, at }
    }

    pub(super) fn has_more(&self, order: PageOrder) -> bool {
        match order {
            PageOrder::Newest => self.at > self.range.from,
            PageOrder::Oldest => self.at < self.range.to,
        }
    }
}

/// A cursor as it is written: each topic's place and end by partition.
#[derive(Serialize, Deserialize)]
pub(super) struct Cursor {
    order: PageOrder,
    topics: BTreeMap<String, Vec<(i64, i64)>>,
}

impl Cursor {
    pub(super) fn write(order: PageOrder, parts: &[Part]) -> String {
        let mut topics: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        for part in parts {
            // Parts are in the order of their partitions, all of a topic.
            topics.entry(part.range.topic.clone()).or_default().push((part.at, part.range.to));
        }
        let text = serde_json::to_vec(&Self { order, topics });
        URL_SAFE_NO_PAD.encode(text.expect("a cursor is made of texts and numbers"))
    }

    /// Reads a cursor; partitions and topics made since the first page are left out.
    ///
    /// # Errors
    /// [`Error::Asked`] for a text that is none, or one of a list in another order.
    pub(super) fn read(
        text: &str,
        order: PageOrder,
        ranges: Vec<JobRange>,
    ) -> Result<Vec<Part>, Error> {
        let cursor = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = cursor.and_then(|text| serde_json::from_slice::<Self>(&text).ok());
        let cursor = cursor.filter(|cursor| cursor.order == order).ok_or_else(|| {
            Error::Asked("the cursor is of no such list: begin again without one".to_owned())
        })?;
        let part = |mut range: JobRange| {
            let partition = usize::try_from(range.partition).ok()?;
            let (at, to) = *cursor.topics.get(&range.topic)?.get(partition)?;
            range.to = to.min(range.to);
            let at = at.clamp(range.from, range.to.max(range.from));
            Some(Part { range, at })
        };
        Ok(ranges.into_iter().filter_map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: i32, from: i64, to: i64) -> JobRange {
        JobRange { topic: "dlq.deliver.crm".into(), partition, from, to }
    }

    #[test]
    fn a_list_goes_on_where_it_was_and_ends_where_it_ended() {
        let parts =
            [Part { range: range(0, 0, 100), at: 40 }, Part { range: range(1, 0, 100), at: 0 }];
        let text = Cursor::write(PageOrder::Newest, &parts);
        // Meanwhile letters came, the oldest expired, and a partition was added.
        let now = vec![range(0, 10, 200), range(1, 10, 200), range(2, 0, 5)];
        let read = Cursor::read(&text, PageOrder::Newest, now).expect("it reads back");
        let wanted =
            [Part { range: range(0, 10, 100), at: 40 }, Part { range: range(1, 10, 100), at: 10 }];
        assert_eq!(read, wanted);
        assert!(read[0].has_more(PageOrder::Newest) && !read[1].has_more(PageOrder::Newest));
    }

    #[test]
    fn a_text_that_is_no_cursor_of_this_list_is_refused() {
        let text = Cursor::write(PageOrder::Newest, &[]);
        assert!(Cursor::read(&text, PageOrder::Oldest, vec![]).is_err());
        assert!(Cursor::read("x", PageOrder::Newest, vec![]).is_err());
    }
}
