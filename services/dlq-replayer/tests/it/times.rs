//! How often each numbered event is in the lane: a byte each, so that a million take a megabyte.

const IDS_SHOWN: usize = 20;

/// How often the events `evt-0`, `evt-1` and so on were met.
#[derive(Debug)]
pub(crate) struct Times {
    of: Vec<u8>,
    strangers: Vec<String>,
}

impl Times {
    /// None of `events` was met yet.
    pub(crate) fn of(events: usize) -> Self {
        Self { of: vec![0; events], strangers: Vec::new() }
    }

    /// Meets an event, by its id.
    pub(crate) fn count(&mut self, id: &[u8]) {
        let number = std::str::from_utf8(id).ok().and_then(|id| id.strip_prefix("evt-"));
        let number = number.and_then(|number| number.parse::<usize>().ok());
        match number.and_then(|number| self.of.get_mut(number)) {
            Some(times) => *times = times.saturating_add(1),
            None => self.strangers.push(String::from_utf8_lossy(id).into_owned()),
        }
    }

    /// Asserts that those chosen, by number, were met once and no other at all.
    pub(crate) fn demand_once(&self, is_chosen: impl Fn(usize) -> bool) {
        let wrong = self.wrong(is_chosen);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn wrong(&self, is_chosen: impl Fn(usize) -> bool) -> Vec<String> {
        let of = |is_wrong: &dyn Fn(bool, u8) -> bool| {
            let numbered = self.of.iter().enumerate();
            let wrong = numbered.filter(|(number, times)| is_wrong(is_chosen(*number), **times));
            wrong.map(|(number, _)| format!("evt-{number}")).collect::<Vec<_>>()
        };
        let lost = of(&|is_chosen, times| is_chosen && times == 0);
        let doubled = of(&|is_chosen, times| is_chosen && times > 1);
        let unwanted = of(&|is_chosen, times| !is_chosen && times > 0);
        [
            ("lost", lost),
            ("doubled", doubled),
            ("not chosen", unwanted),
            ("never written", self.strangers.clone()),
        ]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| told(what, &ids))
        .collect()
    }
}

fn told(what: &str, ids: &[String]) -> String {
    let more = if ids.len() > IDS_SHOWN { " …" } else { "" };
    format!("{} {what}: {}{more}", ids.len(), ids[..ids.len().min(IDS_SHOWN)].join(" "))
}

#[test]
fn what_is_lost_doubled_or_unwanted_is_told_by_its_id() {
    let all = |_| true;
    let even = |number| number % 2 == 0;
    let met = |numbers: &[&str]| {
        let mut times = Times::of(3);
        numbers.iter().for_each(|id| times.count(id.as_bytes()));
        times
    };
    for (ids, chosen, wrong) in [
        (&["evt-2", "evt-0", "evt-1"][..], &all as &dyn Fn(usize) -> bool, &[][..]),
        (&["evt-2", "evt-0"], &even, &[]),
        (&["evt-2", "evt-0"], &all, &["1 lost: evt-1"]),
        // As many as there should be, and yet not those.
        (&["evt-2", "evt-2", "evt-0"], &all, &["1 lost: evt-1", "1 doubled: evt-2"]),
        (&["evt-0", "evt-1", "evt-2"], &even, &["1 not chosen: evt-1"]),
        (&["evt-0", "evt-2", "evt-3", "x"], &even, &["2 never written: evt-3 x"]),
    ] {
        assert_eq!(met(ids).wrong(chosen), wrong, "{ids:?}");
    }
    let many = Times::of(30).wrong(all);
    assert!(
        many[0].starts_with("30 lost: evt-0 evt-1") && many[0].ends_with("evt-19 …"),
        "{many:?}"
    );
}
