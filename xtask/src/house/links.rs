//! Whether the links between our own texts lead somewhere. Addresses of others are not asked.

use super::{
    finding::{Finding, Rule},
    source::Source,
};

pub(crate) fn check(sources: &[Source], exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_markdown()) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, target) in targets(&source.text) {
            let found = resolve(folder, target).is_some_and(|path| exists(&path));
            if !found {
                let at = format!("{}:{line}", source.path);
                findings.push(Finding::new(Rule::Links, at, format!("no file {target}")));
            }
        }
    }
    findings
}

/// The targets within the repository, with their lines; code is passed over.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for (place, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let prose = line.split('`').step_by(2);
        let links = prose.flat_map(|part| part.split("](").skip(1));
        let inside = links.filter_map(|rest| rest.split([')', ' ', '#']).next());
        let ours = inside.filter(|target| !target.is_empty() && !target.contains("://"));
        targets
            .extend(ours.filter(|target| !target.starts_with("mailto:")).map(|t| (place + 1, t)));
    }
    targets
}

/// The path from the root, or `None` when it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{paths_of, source::source};

    #[test]
    fn only_broken_links_are_found() {
        let text = "\
[good](../README.md) [anchor](../README.md#what) [here](#here)
[web](https://example.org/x.md) `[code](nowhere.md)`
```
[fenced](nowhere.md)
```
[`named`](0001.md) [bad](0002.md)
[outside](../../secret.md)
";
        let known = ["README.md", "docs/0001.md"];
        let found = check(&[source("docs/index.md", text)], |path| known.contains(&path));
        assert_eq!(paths_of(&found), ["docs/index.md:6", "docs/index.md:7"]);
    }
}
