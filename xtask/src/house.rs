//! Gathers what the checks need from the disk and from cargo, runs them, and prints what they
//! found. The checks themselves are pure and live one per file.

mod finding;
mod imports;
mod length;
mod links;
mod profile;
mod purpose;
mod source;
mod words;

use std::{fs, path::Path, time::Instant};

use length::Ratchet;

const RATCHET: &str = "xtask/ratchet.txt";

/// Runs all checks, prints the findings, and says whether there were none.
///
/// # Errors
/// When the workspace cannot be read, with the reason.
pub(crate) fn check(root: &Path) -> Result<bool, String> {
    let begun = Instant::now();
    let sources = source::read_all(root)?;
    let packages = imports::packages(root)?;
    let ratchet = read_ratchet(root)?;
    let manifest = fs::read_to_string(root.join(profile::FILE))
        .map_err(|e| format!("{}: {e}", profile::FILE))?;
    let mut findings = imports::check(&packages);
    findings.extend(profile::check(&manifest, packages.iter().map(imports::Package::name)));
    findings.extend(purpose::check(&sources));
    findings.extend(length::check(&sources, &ratchet));
    findings.extend(words::check(&sources));
    findings.extend(links::check(&sources, |path| root.join(path).exists()));
    finding::print(&findings);
    println!(
        "house: {} crates, {} files, {} findings, {} ms",
        packages.len(),
        sources.len(),
        findings.len(),
        begun.elapsed().as_millis()
    );
    Ok(findings.is_empty())
}

/// Lowers the ratchet's figures to what is true now and drops entries no longer needed.
///
/// # Errors
/// When the workspace cannot be read or the ratchet not be written.
pub(crate) fn tighten(root: &Path) -> Result<(), String> {
    let ratchet = read_ratchet(root)?.tightened(&source::read_all(root)?);
    fs::write(root.join(RATCHET), ratchet.to_string()).map_err(|e| format!("{RATCHET}: {e}"))
}

fn read_ratchet(root: &Path) -> Result<Ratchet, String> {
    let text = fs::read_to_string(root.join(RATCHET)).map_err(|e| format!("{RATCHET}: {e}"))?;
    Ratchet::parse(&text).map_err(|problem| format!("{RATCHET}: {problem}"))
}

#[cfg(test)]
fn paths_of(findings: &[finding::Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.at.as_str()).collect()
}
