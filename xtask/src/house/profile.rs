//! Whether every crate of ours is in the list of the development profile: what is not is built as a
//! dependency, slowly and without its own checks. It reads names and no values.

use super::finding::{Finding, Rule};

pub(crate) const FILE: &str = "Cargo.toml";
const LIST: &str = "[profile.dev.package]";

/// `manifest` is the text of the workspace's [`FILE`].
pub(crate) fn check<'a>(manifest: &str, crates: impl IntoIterator<Item = &'a str>) -> Vec<Finding> {
    let (begin, listed) = listed(manifest);
    let missing = crates.into_iter().filter(|name| !listed.contains(name));
    missing
        .map(|name| {
            let at = format!("{FILE}:{begin}");
            Finding::new(Rule::Profile, at, format!("{name} is not in {LIST}"))
        })
        .collect()
}

/// The line where the list begins, and the names in it.
fn listed(manifest: &str) -> (usize, Vec<&str>) {
    let before = manifest.lines().take_while(|line| line.trim() != LIST).count();
    let entries = manifest.lines().skip(before + 1).take_while(|line| !line.starts_with('['));
    let names = entries.filter_map(|line| Some(line.split_once('=')?.0.trim()));
    (before + 1, names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[profile.dev]\nopt-level = 2\n[profile.dev.package]\n# ours\n\
        wire = { opt-level = 1 }\ndeliver = { opt-level = 1 }\n\n[profile.release]\nlto = true\n";

    #[test]
    fn a_crate_that_is_not_in_the_list_is_found() {
        assert_eq!(check(MANIFEST, ["wire", "deliver"]), []);
        let found = check(MANIFEST, ["wire", "lto", "ingest"]);
        assert_eq!(super::super::paths_of(&found), ["Cargo.toml:3", "Cargo.toml:3"]);
        assert!(found[1].what.contains("ingest"));
    }
}
