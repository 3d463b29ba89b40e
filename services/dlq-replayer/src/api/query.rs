//! Questions as query strings: `topic=…&topic=…&reason=…&since=2026-01-31T00:00:00Z&limit=50`.

use crate::{Filter, PageOrder, Query};

use super::Problem;

/// Reads which page is wanted.
pub(super) fn page(text: Option<&str>) -> Result<Query, Problem> {
    let mut query = Query::default();
    for (name, value) in pairs(text) {
        match name.as_str() {
            "limit" => query.limit = number(&name, &value)?,
            "cursor" => query.cursor = Some(value),
            "order" => query.order = order(&value)?,
            _ => filter(&mut query.filter, &name, value)?,
        }
    }
    Ok(query)
}

fn filter(filter: &mut Filter, name: &str, value: String) -> Result<(), Problem> {
    match name {
        "topic" => filter.topics.push(value),
        "destination" => filter.destinations.push(value),
        "source" => filter.sources.push(value),
        "reason" => {
            let reason = value.parse();
            filter.reasons.push(
                reason.map_err(|e: domain::dead_letter::UnknownReason| {
                    Problem::asked(e.to_string())
                })?,
            );
        }
        "since" => filter.since_ms = Some(time(name, &value)?),
        "until" => filter.until_ms = Some(time(name, &value)?),
        other => return Err(unknown(other)),
    }
    Ok(())
}

/// Reads a point in time: RFC 3339, or milliseconds since 1970.
pub(super) fn time(name: &str, value: &str) -> Result<i64, Problem> {
    let read = value.parse().ok().or_else(|| wire::headers::unix_millis(value));
    read.ok_or_else(|| {
        Problem::asked(format!(
            "{name}: {value:?} is no time: write 2026-01-31T00:00:00Z, or milliseconds since 1970"
        ))
    })
}

pub(super) fn unknown(name: &str) -> Problem {
    Problem::asked(format!("{name:?} is no parameter of this path; `/v1/openapi.json` tells them"))
}

pub(super) fn pairs(text: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let pairs = url::form_urlencoded::parse(text.unwrap_or_default().as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), value.into_owned()))
}

fn number(name: &str, value: &str) -> Result<usize, Problem> {
    value.parse().map_err(|_| Problem::asked(format!("{name}: {value:?} is no number")))
}

fn order(value: &str) -> Result<PageOrder, Problem> {
    match value {
        "newest" => Ok(PageOrder::Newest),
        "oldest" => Ok(PageOrder::Oldest),
        other => Err(Problem::asked(format!("order: {other:?} is none: write newest or oldest"))),
    }
}

#[cfg(test)]
mod tests {
    use domain::dead_letter::Reason;

    use super::*;

    #[test]
    fn a_query_string_says_which_page_is_wanted() {
        let text = "topic=dlq.a.b&topic=dlq.a.c&reason=permanent&since=1970-01-01T00:00:01Z&until=2000&limit=7&order=oldest&cursor=x";
        let query = page(Some(text)).expect("it reads");
        let filter = Filter {
            topics: vec!["dlq.a.b".into(), "dlq.a.c".into()],
            reasons: vec![Reason::Permanent],
            since_ms: Some(1000),
            until_ms: Some(2000),
            ..Filter::default()
        };
        let read = (query.filter, query.limit, query.order, query.cursor.as_deref());
        assert_eq!(read, (filter, 7, PageOrder::Oldest, Some("x")));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let rows = ["topics=a", "reason=bad", "since=now", "limit=many", "order=up"];
        for row in rows {
            let problem = page(Some(row)).expect_err(row);
            let (name, _) = row.split_once('=').expect("a pair");
            let told = serde_json::to_string(&problem).expect("it is written");
            assert!(told.contains(name) || told.contains("\\\"bad\\\""), "{told}");
        }
    }
}
