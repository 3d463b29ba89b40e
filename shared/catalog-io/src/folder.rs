//! From a folder to a catalog: finds the files, parses them, checks them together.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{
    Catalog, check,
    problem::{Problem, Problems},
    schema,
    secret::Environment,
    yaml::Document,
};

/// The largest catalog file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads and checks every `*.yaml` and `*.yml` of `folder` (not of folders below it).
///
/// # Errors
/// Every mistake of every file, sorted by place. Nothing is returned in part.
pub fn load(folder: &Path, environment: &Environment) -> Result<Catalog, Problems> {
    let files = yaml_files(folder).map_err(|problem| Problems(vec![problem]))?;
    let mut hash = Sha256::new();
    let mut problems = Vec::new();
    let mut documents = Vec::new();
    for path in files {
        match read(&path, &mut hash) {
            Ok(document) => documents.push(document),
            Err(problem) => problems.push(problem),
        }
    }
    let mut broken = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        for (pointer, problem) in schema::check(document) {
            broken.push((index, pointer));
            problems.push(problem);
        }
    }
    let checked = check::check(folder, environment, &documents, &broken, &mut hash);
    problems.extend(checked.problems);
    if problems.is_empty() {
        let version = hex::encode(&hash.finalize()[..6]);
        return Ok(Catalog {
            version,
            sources: checked.sources,
            routes: checked.routes,
            destinations: checked.destinations,
        });
    }
    problems.sort();
    problems.dedup();
    Err(Problems(problems))
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, Problem> {
    let whole = |what: String, why: String| Problem {
        file: folder.display().to_string(),
        line: 0,
        column: 0,
        what,
        why,
        fix: "name a folder that holds the catalog's *.yaml files".into(),
    };
    let entries = std::fs::read_dir(folder)
        .map_err(|e| whole("the catalog's folder can't be read".into(), e.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.is_file() && p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    if files.is_empty() {
        let why = "no file in it ends in .yaml or .yml";
        return Err(whole("the folder holds no catalog".into(), why.into()));
    }
    Ok(files)
}

fn read(path: &Path, hash: &mut Sha256) -> Result<Document, Problem> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let unreadable = |why: String| Problem {
        file: name.clone(),
        line: 0,
        column: 0,
        what: "the file can't be read".into(),
        why,
        fix: "make it a readable UTF-8 file of at most 4 MiB".into(),
    };
    let size = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("it has {size} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
    hash.update(name.as_bytes());
    hash.update(text.as_bytes());
    Document::parse(&name, &text)
}
