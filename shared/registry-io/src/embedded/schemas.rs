//! What the embedded registry holds: schemas by id, subjects with their versions and levels.

use std::collections::BTreeMap;

use apache_avro::{Schema, schema_compatibility::SchemaCompatibility};
use axum::http::StatusCode;

/// Levels by which no schema is refused.
const NONE: &str = "NONE";

#[derive(Default)]
pub(super) struct Schemas {
    /// In the order of their ids, which begin at 1.
    texts: Vec<String>,
    /// The ids of each subject's versions, which begin at 1.
    versions: BTreeMap<String, Vec<u32>>,
    levels: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("subject {0:?} not found")]
    Subject(String),
    #[error("version {0:?} not found")]
    Version(String),
    #[error("schema {0} not found")]
    Schema(u32),
    #[error("invalid: {0}")]
    Invalid(String),
    #[error("incompatible with an earlier version: {0}")]
    Incompatible(String),
}

impl Refusal {
    /// Returns the status and the API's own code.
    pub(super) fn codes(&self) -> (StatusCode, u32) {
        match self {
            Self::Subject(_) => (StatusCode::NOT_FOUND, 40401),
            Self::Version(_) => (StatusCode::NOT_FOUND, 40402),
            Self::Schema(_) => (StatusCode::NOT_FOUND, 40403),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, 42201),
            Self::Incompatible(_) => (StatusCode::CONFLICT, 409),
        }
    }
}

impl Schemas {
    pub(super) fn subjects(&self) -> Vec<&str> {
        self.versions.keys().map(String::as_str).collect()
    }

    pub(super) fn versions(&self, subject: &str) -> Result<Vec<usize>, Refusal> {
        let ids = self.versions.get(subject).ok_or_else(|| Refusal::Subject(subject.to_owned()))?;
        Ok((1..=ids.len()).collect())
    }

    /// Returns the number, the id and the text of a version, which may be `latest`.
    pub(super) fn version(
        &self,
        subject: &str,
        version: &str,
    ) -> Result<(usize, u32, String), Refusal> {
        let ids = self.versions.get(subject).ok_or_else(|| Refusal::Subject(subject.to_owned()))?;
        let number = match version {
            "latest" => ids.len(),
            number => number.parse().unwrap_or(0),
        };
        let id = number.checked_sub(1).and_then(|at| ids.get(at));
        let id = *id.ok_or_else(|| Refusal::Version(version.to_owned()))?;
        Ok((number, id, self.schema(id)?))
    }

    pub(super) fn schema(&self, id: u32) -> Result<String, Refusal> {
        let at = usize::try_from(id).ok().and_then(|id| id.checked_sub(1));
        at.and_then(|at| self.texts.get(at)).cloned().ok_or(Refusal::Schema(id))
    }

    pub(super) fn level(&self, subject: &str) -> Result<String, Refusal> {
        self.levels.get(subject).cloned().ok_or_else(|| Refusal::Subject(subject.to_owned()))
    }

    pub(super) fn set_level(&mut self, subject: &str, level: String) -> Result<String, Refusal> {
        let known = [NONE, crate::COMPATIBILITY];
        if !known.contains(&level.as_str()) {
            let why = format!("level {level:?} is not known here; use {}", known.join(" or "));
            return Err(Refusal::Invalid(why));
        }
        self.levels.insert(subject.to_owned(), level.clone());
        Ok(level)
    }

    pub(super) fn register(&mut self, subject: &str, text: &str) -> Result<u32, Refusal> {
        if let Some(why) = self.conflict(subject, text)? {
            return Err(Refusal::Incompatible(why));
        }
        let id = self.id_of(text);
        let ids = self.versions.entry(subject.to_owned()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        Ok(id)
    }

    /// Returns why a schema would be refused under a subject that exists.
    pub(super) fn check(&self, subject: &str, text: &str) -> Result<Option<String>, Refusal> {
        if !self.versions.contains_key(subject) {
            return Err(Refusal::Subject(subject.to_owned()));
        }
        self.conflict(subject, text)
    }

    fn conflict(&self, subject: &str, text: &str) -> Result<Option<String>, Refusal> {
        let new = parse(text)?;
        let level = self.levels.get(subject).map_or(crate::COMPATIBILITY, String::as_str);
        if level == NONE {
            return Ok(None);
        }
        for id in self.versions.get(subject).into_iter().flatten() {
            let old = parse(&self.schema(*id)?)?;
            if let Err(error) = SchemaCompatibility::mutual_read(&old, &new) {
                return Ok(Some(error.to_string()));
            }
        }
        Ok(None)
    }

    /// Returns the id of a text, a new one for one not seen under any subject.
    fn id_of(&mut self, text: &str) -> u32 {
        let at = self.texts.iter().position(|known| known == text).unwrap_or_else(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        });
        u32::try_from(at + 1).unwrap_or(u32::MAX)
    }
}

fn parse(text: &str) -> Result<Schema, Refusal> {
    Schema::parse_str(text).map_err(|error| Refusal::Invalid(error.to_string()))
}
