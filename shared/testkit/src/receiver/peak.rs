//! How hard a receiver was asked, read from its log: how many requests began within a time, and how
//! many were open at once.

use std::time::Duration;

use super::Arrival;

/// The most there ever was at once, and when it first came to be, since the receiver's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peak {
    pub count: usize,
    pub at: Duration,
}

/// The most requests that began within any stretch of this length, its end left out.
pub fn most_begun(log: &[Arrival], within: Duration) -> Peak {
    most(log, |begun| begun.begun + within)
}

/// The most requests that were open at once: begun, and neither answered nor left by their sender.
pub fn most_open(log: &[Arrival]) -> Peak {
    most(log, |open| open.ended.or(open.left).unwrap_or(Duration::MAX))
}

/// The most requests that counted at once, where each counts from its beginning up to `until`.
fn most(log: &[Arrival], until: impl Fn(&Arrival) -> Duration) -> Peak {
    let mut begun: Vec<Duration> = log.iter().map(|arrival| arrival.begun).collect();
    let mut over: Vec<Duration> = log.iter().map(until).collect();
    begun.sort_unstable();
    over.sort_unstable();
    let mut over = over.into_iter().peekable();
    let (mut count, mut peak) = (0, Peak::default());
    for at in begun {
        count += 1;
        while over.next_if(|over| *over <= at).is_some() {
            count -= 1;
        }
        if count > peak.count {
            peak = Peak { count, at };
        }
    }
    peak
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::receiver::Options;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Requests by when they began, were answered, and were left.
    fn log(requests: &[(u64, Option<u64>, Option<u64>)]) -> Vec<Arrival> {
        let (parts, ()) = Request::new(()).into_parts();
        let arrival = |(begun, ended, left): &(u64, Option<u64>, Option<u64>)| Arrival {
            ended: ended.map(at),
            left: left.map(at),
            ..Arrival::new(&parts, &Options::default(), at(*begun))
        };
        requests.iter().map(arrival).collect()
    }

    #[test]
    fn requests_are_counted_in_any_second_not_in_each_of_the_clock() {
        for (what, begun, peak) in [
            ("none", &[][..], (0, 0)),
            ("one", &[7], (1, 7)),
            ("across a second of the clock", &[200, 900, 1_100, 1_250], (3, 1_100)),
            ("a second later is another", &[0, 1_000], (1, 0)),
            ("in any order", &[1_500, 0, 900], (2, 900)),
        ] {
            let log = log(&begun.iter().map(|ms| (*ms, None, None)).collect::<Vec<_>>());
            assert_eq!(most_begun(&log, SECOND), Peak { count: peak.0, at: at(peak.1) }, "{what}");
        }
    }

    #[test]
    fn requests_are_open_until_answered_or_left() {
        for (what, requests, peak) in [
            ("one after the other", &[(0, Some(10), None), (10, Some(20), None)][..], (1, 0)),
            ("two at once", &[(0, Some(11), None), (10, Some(20), None)], (2, 10)),
            ("left", &[(0, None, Some(5)), (10, Some(20), None)], (1, 0)),
            ("never answered", &[(0, None, None), (500, Some(510), None)], (2, 500)),
        ] {
            assert_eq!(most_open(&log(requests)), Peak { count: peak.0, at: at(peak.1) }, "{what}");
        }
    }
}
