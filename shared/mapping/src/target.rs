//! An event under a running program: the event itself is shared, what the program changes is its own.
//!
//! Nothing is copied until a program changes a part of the body; replacing the whole body, as most
//! mappings do, copies nothing.

use vrl::{
    compiler::{SecretTarget, Target},
    path::{OwnedSegment, OwnedTargetPath, PathPrefix},
    value::{ObjectMap, Value},
};

use crate::input::Input;

/// The event, and what the program made of it so far.
#[derive(Debug)]
pub(crate) struct Overlay<'i> {
    input: &'i Input<'i>,
    /// `None` while the body is as it came.
    pub(crate) body: Option<Value>,
    /// What was written to `%`: an object.
    pub(crate) written: Value,
}

/// Whose a field of `%` is.
enum Metadata<'p> {
    Event(Option<&'p str>),
    Program,
}

impl<'i> Overlay<'i> {
    pub(crate) fn new(input: &'i Input<'i>) -> Self {
        Self { input, body: None, written: Value::Object(ObjectMap::new()) }
    }

    fn own_body(&mut self) -> &mut Value {
        self.body.get_or_insert_with(|| self.input.body.clone())
    }
}

fn metadata(path: &OwnedTargetPath) -> Metadata<'_> {
    match path.path.segments.first() {
        Some(OwnedSegment::Field(name)) => match name.as_str() {
            "request" | "key" => Metadata::Program,
            name => Metadata::Event(Some(name)),
        },
        Some(OwnedSegment::Index(_)) | None => Metadata::Event(None),
    }
}

impl Target for Overlay<'_> {
    fn target_insert(&mut self, path: &OwnedTargetPath, value: Value) -> Result<(), String> {
        match path.prefix {
            PathPrefix::Event if path.path.is_root() => self.body = Some(value),
            PathPrefix::Event => {
                self.own_body().insert(&path.path, value);
            }
            PathPrefix::Metadata => match metadata(path) {
                Metadata::Program => {
                    self.written.insert(&path.path, value);
                }
                Metadata::Event(_) => return Err(format!("{path} can't be changed")),
            },
        }
        Ok(())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(match path.prefix {
            PathPrefix::Event => self.body.as_ref().unwrap_or(&self.input.body).get(&path.path),
            PathPrefix::Metadata => match metadata(path) {
                Metadata::Program => self.written.get(&path.path),
                Metadata::Event(field) => self.input.metadata(field).get(&path.path),
            },
        })
    }

    fn target_get_mut(&mut self, path: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        match path.prefix {
            PathPrefix::Event => Ok(self.own_body().get_mut(&path.path)),
            PathPrefix::Metadata => match metadata(path) {
                Metadata::Program => Ok(self.written.get_mut(&path.path)),
                Metadata::Event(_) => Err(format!("{path} can't be changed")),
            },
        }
    }

    fn target_remove(
        &mut self,
        path: &OwnedTargetPath,
        compact: bool,
    ) -> Result<Option<Value>, String> {
        match path.prefix {
            PathPrefix::Event => Ok(self.own_body().remove(&path.path, compact)),
            PathPrefix::Metadata => match metadata(path) {
                Metadata::Program => Ok(self.written.remove(&path.path, compact)),
                Metadata::Event(_) => Err(format!("{path} can't be changed")),
            },
        }
    }
}

/// Programs have no secrets.
impl SecretTarget for Overlay<'_> {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }
    fn insert_secret(&mut self, _key: &str, _value: &str) {}
    fn remove_secret(&mut self, _key: &str) {}
}
