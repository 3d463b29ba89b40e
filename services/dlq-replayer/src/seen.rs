//! Origins that were met, in little memory: a million neighbours take a few hundred kilobytes.
//!
//! Two dead letters with one origin are one: the record was given up on twice because a crash
//! came between its dead letter and its offset.

use std::collections::BTreeMap;

use wire::headers::Origin;

/// A set of origins, exact.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Most letters of a read come from one place, so that it is found without hashing.
    last: usize,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    topic: Box<str>,
    partition: i32,
    /// A bit for each offset, 64 to an entry.
    offsets: BTreeMap<i64, u64>,
}

impl Seen {
    /// Adds an origin; says whether it is new.
    pub(crate) fn insert(&mut self, origin: Origin<'_>) -> bool {
        let place = self.place(origin);
        let bits = self.places[place].offsets.entry(origin.offset >> 6).or_default();
        let bit = 1 << (origin.offset & 63);
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }

    /// Says whether an origin was added.
    #[cfg(test)]
    fn contains(&self, origin: Origin<'_>) -> bool {
        let place = self.places.iter().find(|place| place.is(origin));
        let bits = place.and_then(|place| place.offsets.get(&(origin.offset >> 6)));
        bits.is_some_and(|bits| bits & (1 << (origin.offset & 63)) != 0)
    }

    fn place(&mut self, origin: Origin<'_>) -> usize {
        if self.places.get(self.last).is_some_and(|place| place.is(origin)) {
            return self.last;
        }
        let found = self.places.iter().position(|place| place.is(origin));
        self.last = found.unwrap_or_else(|| {
            let (topic, partition) = (origin.topic.into(), origin.partition);
            self.places.push(Place { topic, partition, offsets: BTreeMap::new() });
            self.places.len() - 1
        });
        self.last
    }
}

impl Place {
    fn is(&self, origin: Origin<'_>) -> bool {
        self.partition == origin.partition && *self.topic == *origin.topic
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_tells_new_from_known_as_a_plain_set_does(
            origins in prop::collection::vec((0..3_usize, 0..3_i32, 0..200_i64), 0..300),
        ) {
            let topics = ["a", "b", "c"];
            let (mut seen, mut plain) = (Seen::default(), HashSet::new());
            for (topic, partition, offset) in origins {
                let origin = Origin { topic: topics[topic], partition, offset };
                prop_assert_eq!(seen.contains(origin), plain.contains(&origin));
                prop_assert_eq!(seen.insert(origin), plain.insert(origin));
            }
        }
    }

    #[test]
    fn a_million_neighbours_take_few_entries() {
        let mut seen = Seen::default();
        for offset in 0..1_000_000 {
            assert!(seen.insert(Origin { topic: "out.crm", partition: 0, offset }));
        }
        assert_eq!(seen.places[0].offsets.len(), 15_625);
    }
}
