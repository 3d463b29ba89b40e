//! Which answer a request gets: rules, each with a sequence of answers of which the last goes on.

use std::collections::HashMap;

use super::{Answer, Arrival};

/// Which requests go through one sequence of answers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// All that fit the rule.
    Together,
    /// Those with the same id: every delivery fails twice, say.
    PerId,
    /// Those with the same ordering key.
    PerKey,
}

/// Which requests are meant, and what they are answered.
#[derive(Debug, Clone)]
pub struct Rule {
    path: Option<String>,
    key: Option<String>,
    id: Option<String>,
    counting: Counting,
    answers: Vec<Answer>,
    given: HashMap<Option<String>, usize>,
}

impl Rule {
    /// All requests.
    pub fn any() -> Self {
        let (counting, answers) = (Counting::Together, vec![Answer::Status(200)]);
        Self { path: None, key: None, id: None, counting, answers, given: HashMap::new() }
    }

    /// Requests whose path begins with `path`.
    pub fn path(path: &str) -> Self {
        Self { path: Some(path.to_owned()), ..Self::any() }
    }

    /// Only those with this ordering key.
    pub fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Only those with this id.
    pub fn id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    /// Whose requests share a place in the sequence.
    pub fn counting(self, counting: Counting) -> Self {
        Self { counting, ..self }
    }

    /// These answers one after the other; the last again and again.
    pub fn answers(self, answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "a rule has at least one answer");
        Self { answers, ..self }
    }

    /// These statuses one after the other; the last again and again.
    pub fn statuses(self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.answers(statuses.into_iter().map(Answer::Status))
    }

    /// `answer` for the first `count` requests, then 200.
    pub fn fails_first(self, count: usize, answer: Answer) -> Self {
        let failures = std::iter::repeat_n(answer, count);
        self.answers(failures.chain([Answer::Status(200)]))
    }

    fn fits(&self, arrival: &Arrival) -> bool {
        self.path.as_ref().is_none_or(|path| arrival.path.starts_with(path))
            && self.key.as_ref().is_none_or(|key| arrival.key.as_ref() == Some(key))
            && self.id.as_ref().is_none_or(|id| arrival.id.as_ref() == Some(id))
    }

    fn next(&mut self, arrival: &Arrival) -> Answer {
        let among = match self.counting {
            Counting::Together => None,
            Counting::PerId => arrival.id.clone(),
            Counting::PerKey => arrival.key.clone(),
        };
        let given = self.given.entry(among).or_default();
        let answer = self.answers[(*given).min(self.answers.len() - 1)].clone();
        *given += 1;
        answer
    }
}

#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn next(&mut self, arrival: &Arrival) -> Answer {
        let rule = self.rules.iter_mut().rev().find(|rule| rule.fits(arrival));
        rule.map_or(Answer::Status(200), |rule| rule.next(arrival))
    }
}
