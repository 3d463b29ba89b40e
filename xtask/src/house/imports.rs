//! Who may import whom, and which crate alone may name which client library. Judged by what the
//! manifests declare; that a declared dependency is used at all is the compiler's business.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::finding::{Finding, Rule};

/// The libraries only the crates named may know. The floors are an exception: they show what these
/// libraries cost without our crates around them.
const WRAPPED: [(&str, &[&str]); 7] = [
    ("rdkafka", &["kafka-io", "millrace-floor"]),
    ("schema_registry_converter", &["registry-io"]),
    ("apache-avro", &["wire", "registry-io", "millrace-floor"]),
    ("tokio-rustls", &["http-io"]),
    ("hickory-resolver", &["http-io"]),
    ("reqwest", &["registry-io", "chassis"]), // behind the registry's client and the exporter
    ("vrl", &["mapping", "millrace-floor"]),
];

/// Where a crate stands in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Executable,
    Service,
    Frame,
    Io,
    Pure,
    Domain,
    Testkit,
    Tests,
    Benches,
    Floor,
    Tool,
}

/// One crate of the workspace, as its manifest tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    name: String,
    /// From the root, with slashes.
    folder: String,
    needs: Vec<Need>,
}

impl Package {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Need {
    name: String,
    /// The folder, if it is a crate of ours.
    folder: Option<String>,
    is_dev: bool,
}

/// Asks cargo for the workspace's crates.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    parse(&metadata).ok_or_else(|| "cargo metadata has another shape than expected".to_owned())
}

fn parse(metadata: &Value) -> Option<Vec<Package>> {
    let root = metadata["workspace_root"].as_str()?;
    let folder = |path: &str| Some(path.strip_prefix(root)?.trim_matches('/').to_owned());
    let need = |need: &Value| {
        Some(Need {
            name: need["name"].as_str()?.to_owned(),
            folder: need["path"].as_str().and_then(folder),
            is_dev: need["kind"] == "dev",
        })
    };
    let package = |package: &Value| {
        let manifest = package["manifest_path"].as_str()?.strip_suffix("/Cargo.toml")?;
        let needs = package["dependencies"].as_array()?.iter().map(need).collect::<Option<_>>()?;
        Some(Package {
            name: package["name"].as_str()?.to_owned(),
            folder: folder(manifest)?,
            needs,
        })
    };
    metadata["packages"].as_array()?.iter().map(package).collect()
}

pub(crate) fn check(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .flat_map(|package| inside(package).into_iter().chain(outside(package)))
        .collect()
}

/// What a crate imports of ours.
fn inside(package: &Package) -> Vec<Finding> {
    let at = format!("{}/Cargo.toml", package.folder);
    let Some(room) = Room::of(&package.folder) else {
        return vec![Finding::new(Rule::Imports, at, "stands in no room of the house")];
    };
    let ours = package.needs.iter().filter_map(|need| Some((need, need.folder.as_deref()?)));
    let wrong = ours.filter(|(need, folder)| {
        !Room::of(folder).is_some_and(|other| room.may_import(other, need.is_dev))
    });
    wrong
        .map(|(need, _)| {
            let what = format!("{} imports {}{}", package.name, need.name, as_dev(need.is_dev));
            Finding::new(Rule::Imports, &at, what)
        })
        .collect()
}

/// Client libraries a crate names without being the one that may.
fn outside(package: &Package) -> Vec<Finding> {
    let owners = |need: &Need| WRAPPED.iter().find(|(name, _)| *name == need.name);
    let wrong = package.needs.iter().filter_map(|need| {
        let (name, owners) = owners(need)?;
        (!owners.contains(&package.name.as_str())).then_some((name, owners, need.is_dev))
    });
    wrong
        .map(|(name, owners, is_dev)| {
            let may = owners.join(", ");
            let what = format!("{} names {name}{}, only {may} may", package.name, as_dev(is_dev));
            Finding::new(Rule::Wrapper, format!("{}/Cargo.toml", package.folder), what)
        })
        .collect()
}

fn as_dev(is_dev: bool) -> &'static str {
    if is_dev { " in its tests" } else { "" }
}

impl Room {
    fn of(folder: &str) -> Option<Self> {
        Some(match folder.split('/').collect::<Vec<_>>()[..] {
            ["services", "millrace"] => Self::Executable,
            ["services", _] => Self::Service,
            ["shared", "chassis"] => Self::Frame,
            ["shared", "testkit"] => Self::Testkit,
            ["shared", "domain"] => Self::Domain,
            ["shared", name] if name.ends_with("-io") => Self::Io,
            ["shared", _] => Self::Pure,
            ["tests"] => Self::Tests,
            ["benches"] => Self::Benches,
            ["benches", "floor"] => Self::Floor,
            ["xtask"] => Self::Tool,
            _ => return None,
        })
    }

    fn may_import(self, other: Self, is_dev: bool) -> bool {
        if other == Self::Testkit {
            return matches!(self, Self::Tests | Self::Benches)
                || (is_dev && self != Self::Testkit);
        }
        match self {
            Self::Executable => {
                use Room::{Domain, Frame, Io, Pure, Service};
                matches!(other, Service | Frame | Io | Pure | Domain)
            }
            Self::Service => matches!(other, Self::Frame | Self::Io | Self::Pure | Self::Domain),
            Self::Tests | Self::Benches => {
                matches!(other, Self::Io | Self::Pure | Self::Domain)
            }
            Self::Io => matches!(other, Self::Pure | Self::Domain),
            Self::Frame | Self::Pure => other == Self::Domain,
            // Floors stand beside the house: what they measure must not help them.
            Self::Floor | Self::Domain | Self::Testkit | Self::Tool => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(folder: &str, needs: &[(&str, Option<&str>, bool)]) -> Package {
        let needs = needs.iter().map(|(name, folder, is_dev)| Need {
            name: (*name).to_owned(),
            folder: folder.map(str::to_owned),
            is_dev: *is_dev,
        });
        let name = folder.rsplit('/').next().unwrap().to_owned();
        Package { name, folder: folder.to_owned(), needs: needs.collect() }
    }

    fn says(folder: &str, needs: &[(&str, Option<&str>, bool)]) -> Vec<String> {
        check(&[package(folder, needs)]).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn arrows_point_down() {
        let allowed = [
            ("services/millrace", "services/ingest"),
            ("services/ingest", "shared/chassis"),
            ("services/ingest", "shared/kafka-io"),
            ("shared/kafka-io", "shared/wire"),
            ("shared/wire", "shared/domain"),
            ("shared/chassis", "shared/domain"),
            ("tests", "shared/kafka-io"),
        ];
        for (from, to) in allowed {
            assert_eq!(says(from, &[("it", Some(to), false)]), [""; 0], "{from} to {to}");
        }
    }

    #[test]
    fn no_arrow_points_up_or_sideways() {
        let refused = [
            ("services/ingest", "services/deliver"),
            ("services/ingest", "services/millrace"),
            ("shared/kafka-io", "shared/http-io"),
            ("shared/kafka-io", "shared/chassis"),
            ("shared/wire", "shared/kafka-io"),
            ("shared/wire", "shared/signing"),
            ("shared/domain", "shared/wire"),
            ("shared/chassis", "shared/kafka-io"),
            ("shared/testkit", "shared/domain"),
            ("benches/floor", "shared/domain"),
            ("benches/floor", "shared/testkit"),
            ("tests", "services/ingest"),
            ("shared/kafka-io", "elsewhere/crate"),
        ];
        for (from, to) in refused {
            assert_eq!(says(from, &[("it", Some(to), false)]).len(), 1, "{from} to {to}");
        }
        assert_eq!(says("nowhere", &[]), ["stands in no room of the house"]);
    }

    #[test]
    fn the_testkit_stays_in_tests() {
        let testkit = Some("shared/testkit");
        assert_eq!(says("services/ingest", &[("testkit", testkit, true)]), [""; 0]);
        assert_eq!(
            says("services/ingest", &[("testkit", testkit, false)]),
            ["ingest imports testkit"]
        );
        assert_eq!(says("tests", &[("testkit", testkit, false)]), [""; 0]);
    }

    #[test]
    fn a_client_library_has_one_owner() {
        assert_eq!(says("shared/kafka-io", &[("rdkafka", None, false)]), [""; 0]);
        assert_eq!(
            says("services/deliver", &[("rdkafka", None, true)]),
            ["deliver names rdkafka in its tests, only kafka-io, millrace-floor may"]
        );
    }

    #[test]
    fn what_cargo_says_is_understood() {
        let metadata = json!({ "workspace_root": "/w", "packages": [{
        "name": "wire", "manifest_path": "/w/shared/wire/Cargo.toml", "dependencies": [
            { "name": "millrace-domain", "kind": null, "path": "/w/shared/domain" },
            { "name": "proptest", "kind": "dev" },
        ]}]});
        let needs = [("millrace-domain", Some("shared/domain"), false), ("proptest", None, true)];
        assert_eq!(parse(&metadata), Some(vec![package("shared/wire", &needs)]));
        assert_eq!(parse(&json!({ "packages": 1 })), None);
    }
}
