//! Which ids were taken for the first time after a later one of their key.
//! Repeats are not judged: after a crash the same stretch comes again, in order.

use std::collections::{HashMap, HashSet};

use super::{Promise, Taken};

pub(super) fn reordered<'a>(accepted: &'a [Promise], taken: &'a [Taken]) -> Vec<&'a str> {
    let mut places: HashMap<&str, (usize, &str)> = HashMap::new();
    for (place, promise) in accepted.iter().enumerate() {
        // An id accepted twice counts from the first time.
        places.entry(&promise.id).or_insert((place, &promise.key));
    }
    let (mut seen, mut latest) = (HashSet::new(), HashMap::new());
    let mut late = Vec::new();
    for id in taken.iter().map(|taken| taken.id.as_str()) {
        let Some((place, key)) = places.get(id) else { continue };
        if !seen.insert(id) {
            continue;
        }
        let last = latest.entry(*key).or_insert(*place);
        if place < last {
            late.push(id);
        }
        *last = (*last).max(*place);
    }
    late
}
