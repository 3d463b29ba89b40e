//! What a receiver writes down, and the three lies it can tell about it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, request::Parts};

use super::Options;

/// One request as it was received.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub id: Option<String>,
    pub key: Option<String>,
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    /// Empty unless content is kept.
    pub headers: HeaderMap,
    /// Empty unless content is kept.
    pub body: Bytes,
    /// When its first line was read, since the receiver's start.
    pub begun: Duration,
    /// When it was answered, since the receiver's start; `None` while it is not.
    pub ended: Option<Duration>,
    /// What it was answered; `None` while or if it is not.
    pub status: Option<StatusCode>,
    /// When its connection ended before it was answered, since the receiver's start.
    pub left: Option<Duration>,
}

/// How a receiver lies about what it has answered with 2xx. Counts are from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The n-th taken request is not shown.
    SwallowOne(usize),
    /// The n-th taken request is shown twice.
    DoubleOne(usize),
    /// The n-th taken request changes places with the next taken one of its key.
    SwapTwo(usize),
}

impl Arrival {
    pub(super) fn new(parts: &Parts, options: &Options, begun: Duration) -> Self {
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            id: header(options.id_header),
            key: header(options.key_header),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            begun,
            ended: None,
            status: None,
            left: None,
        }
    }

    /// Whether it was answered with 2xx.
    pub fn is_taken(&self) -> bool {
        self.status.is_some_and(|status| status.is_success())
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[derive(Debug)]
pub(super) struct Log {
    arrivals: Vec<Arrival>,
    taken: usize,
    fault: Option<Fault>,
}

impl Log {
    pub(super) fn new(fault: Option<Fault>) -> Self {
        Self { arrivals: Vec::new(), taken: 0, fault }
    }

    /// Writes a request down and gives its place.
    pub(super) fn arrived(&mut self, arrival: Arrival) -> usize {
        self.arrivals.push(arrival);
        self.arrivals.len() - 1
    }

    pub(super) fn answered(&mut self, place: usize, status: StatusCode, at: Duration) {
        let arrival = &mut self.arrivals[place];
        (arrival.status, arrival.ended) = (Some(status), Some(at));
        self.taken += usize::from(status.is_success());
    }

    /// Of a request that was answered already, it says nothing new.
    pub(super) fn left(&mut self, place: usize, at: Duration) {
        let arrival = &mut self.arrivals[place];
        if arrival.status.is_none() {
            arrival.left = Some(at);
        }
    }

    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn shown(&self) -> Vec<Arrival> {
        let mut shown = self.arrivals.clone();
        match self.fault {
            None => {}
            Some(Fault::SwallowOne(nth)) => {
                if let Some(place) = nth_taken(&shown, nth) {
                    shown.remove(place);
                }
            }
            Some(Fault::DoubleOne(nth)) => {
                if let Some(place) = nth_taken(&shown, nth) {
                    shown.push(shown[place].clone());
                }
            }
            Some(Fault::SwapTwo(nth)) => {
                if let Some((one, two)) = nth_taken(&shown, nth)
                    .and_then(|one| Some((one, next_of_its_key(&shown, one)?)))
                {
                    shown.swap(one, two);
                }
            }
        }
        shown
    }
}

fn nth_taken(arrivals: &[Arrival], nth: usize) -> Option<usize> {
    let taken = arrivals.iter().enumerate().filter(|(_, arrival)| arrival.is_taken());
    taken.map(|(place, _)| place).nth(nth.checked_sub(1)?)
}

fn next_of_its_key(arrivals: &[Arrival], place: usize) -> Option<usize> {
    let first = &arrivals[place];
    let fits = |other: &Arrival| other.is_taken() && other.key == first.key && other.id != first.id;
    (place + 1..arrivals.len()).find(|other| fits(&arrivals[*other]))
}
