//! How many records there are, where counting them to the last would take too long. Pure.

use std::{fmt, ops::AddAssign};

/// A number of records: exact, or between what was counted and what there can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    counted: u64,
    most: u64,
}

impl Count {
    pub(crate) fn exactly(counted: u64) -> Self {
        Self { counted, most: counted }
    }

    /// `offsets` is no count: a transaction's markers take offsets and are no records.
    pub(crate) fn of_part(counted: u64, offsets: u64) -> Self {
        Self { counted, most: offsets.max(counted) }
    }

    /// Says whether there is none for certain.
    pub(crate) fn is_none(self) -> bool {
        self.most == 0
    }

    pub(crate) fn at_least(self) -> u64 {
        self.counted
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.counted += other.counted;
        self.most += other.most;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counted, most } = *self;
        match (counted, counted == most) {
            (_, true) => write!(f, "{counted}"),
            (0, false) => write!(f, "at most {most}"),
            (_, false) => write!(f, "at least {counted}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_says_no_more_than_is_known() {
        let rows = [
            (Count::exactly(0), "0", true),
            (Count::exactly(3), "3", false),
            (Count::of_part(10_000, 25_000), "at least 10000", false),
            (Count::of_part(0, 7), "at most 7", false),
            (Count::of_part(4, 0), "4", false),
        ];
        for (count, text, none) in rows {
            assert_eq!((count.to_string().as_str(), count.is_none()), (text, none), "{count:?}");
        }
        let mut sum = Count::exactly(2);
        sum += Count::of_part(10, 30);
        assert_eq!((sum.to_string().as_str(), sum.at_least()), ("at least 12", 12));
    }
}
