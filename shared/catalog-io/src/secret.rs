//! Reads the secrets a catalog names: environment variables and files, never inline.

use std::{collections::BTreeMap, fmt, path::Path};

use secrecy::SecretString;

use crate::file::SecretRef;

/// Environment variables as a value, so that a check can be run for another machine's.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes the variables of this process.
    pub fn of_process() -> Self {
        // A variable that is no UTF-8 can't be a secret's text; it counts as not set.
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(vars: I) -> Self {
        Self(vars.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Why a secret could not be read: what, why, what to do.
pub(crate) struct Unreadable {
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) fix: String,
}

/// Reads one secret; a relative file is looked for beside the catalog.
pub(crate) fn read(
    secret: &SecretRef,
    folder: &Path,
    environment: &Environment,
) -> Result<SecretString, Unreadable> {
    let (place, value) = match (&secret.env, &secret.file) {
        (Some(name), None) => {
            (format!("environment variable {name}"), from_env(name, environment)?)
        }
        (None, Some(path)) => (format!("file {path}"), from_file(&folder.join(path), path)?),
        _ => {
            return Err(Unreadable {
                what: "a secret names neither or both of `env` and `file`".into(),
                why: "exactly one place can hold it".into(),
                fix: "write { env: NAME } or { file: PATH }".into(),
            });
        }
    };
    if value.trim().is_empty() {
        return Err(Unreadable {
            what: format!("the secret in {place} is blank"),
            why: "a blank secret would let anyone in".into(),
            fix: format!("put the provider's secret into {place}"),
        });
    }
    Ok(SecretString::from(value))
}

fn from_env(name: &str, environment: &Environment) -> Result<String, Unreadable> {
    environment.get(name).map(str::to_owned).ok_or_else(|| Unreadable {
        what: format!("secret not found: environment variable {name} is not set"),
        why: "the catalog names it as the place of a secret".into(),
        fix: format!("set {name}, or name a file with {{ file: … }}"),
    })
}

fn from_file(path: &Path, named: &str) -> Result<String, Unreadable> {
    let text = std::fs::read_to_string(path).map_err(|error| Unreadable {
        what: format!("secret not found: file {named} can't be read"),
        why: error.to_string(),
        fix: "mount the secret there, or correct the path (relative to the catalog's folder)"
            .into(),
    })?;
    Ok(text
        .strip_suffix('\n')
        .map(|t| t.strip_suffix('\r').unwrap_or(t))
        .unwrap_or(&text)
        .to_owned())
}
