//! Which crate may depend on which, and which packages may be there only once.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::files::{TextFile, Violations, root, text_file};

/// The table of docs/architecture.md: a crate, and what of ours it may depend on.
const DIRECTION: [(&str, &[&str]); 11] = [
    ("hailmesh-types", &[]),
    ("hailmesh-wire", &["hailmesh-types"]),
    ("hailmesh-market", &["hailmesh-wire", "hailmesh-types"]),
    ("hailmesh-store", &["hailmesh-market", "hailmesh-wire", "hailmesh-types"]),
    ("hailmesh-net", &["hailmesh-wire", "hailmesh-types"]),
    (
        "hailmesh-node",
        &["hailmesh-net", "hailmesh-store", "hailmesh-market", "hailmesh-wire", "hailmesh-types"],
    ),
    ("hailmesh-api", &["hailmesh-node", "hailmesh-types"]),
    ("hailmesh-sim", &["hailmesh-market", "hailmesh-wire", "hailmesh-types"]),
    ("hailmesh-model", &["hailmesh-market", "hailmesh-wire", "hailmesh-types"]),
    ("hailmesh-fuzz", &["hailmesh-sim", "hailmesh-market", "hailmesh-wire", "hailmesh-types"]),
    (
        "hailmesh",
        &[
            "hailmesh-api",
            "hailmesh-market",
            "hailmesh-net",
            "hailmesh-node",
            "hailmesh-sim",
            "hailmesh-store",
            "hailmesh-types",
            "hailmesh-wire",
        ],
    ),
];

/// The crates that know no clock, no network and no database.
const PURE: [&str; 4] = ["hailmesh-types", "hailmesh-wire", "hailmesh-market", "hailmesh-sim"];

/// What a pure crate must not reach by any path of normal or build dependencies.
/// A name ending in `*` stands for everything that begins like it.
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio-*",
    "libp2p",
    "libp2p-*",
    "sqlx",
    "sqlx-*",
    "libsqlite3-sys",
    "axum",
    "axum-*",
    "reqwest",
];

/// Two copies of these in one build are a fault: two key types, two metric registries,
/// two TLS providers, or a link error.
const SINGLE: [&str; 5] = ["ed25519-dalek", "prometheus-client", "axum", "rustls", "libsqlite3-sys"];

/// The package of these tests: it may use everything.
const TESTS: &str = "hailmesh-tests";

#[test]
fn our_crates_depend_on_each_other_only_in_one_direction() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = DIRECTION.into_iter().collect();
    let ours: BTreeSet<&str> =
        metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut violations = Violations::default();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if name == TESTS {
            continue;
        }
        let manifest = manifest_of(&metadata, name);
        let Some(may) = allowed.get(name) else {
            violations.add(
                &manifest.path,
                1,
                format!("{name} is missing in the table of docs/architecture.md"),
            );
            continue;
        };
        for dependency in &package.dependencies {
            let target = dependency.name.as_str();
            let exempt = dependency.kind == DependencyKind::Development || !ours.contains(target);
            if !exempt && !may.contains(&target) {
                let line = manifest.line_where(|line| names_dependency(line, target));
                violations.add(&manifest.path, line, format!("{name} must not depend on {target}"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn pure_crates_reach_no_network_no_runtime_and_no_database() {
    let metadata = metadata();
    let mut violations = Violations::default();
    let mut seen = 0;
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if !PURE.contains(&name) {
            continue;
        }
        seen += 1;
        let manifest = manifest_of(&metadata, name);
        for path in impure_paths(&metadata, &package.id) {
            let first = path.get(1).map_or("", String::as_str).to_owned();
            let line = manifest.line_where(|line| names_dependency(line, &first));
            violations.add(&manifest.path, line, format!("a pure crate reaches {}", path.join(" -> ")));
        }
    }
    assert!(seen >= 3, "found only {seen} of the pure crates {PURE:?}");
    violations.assert_none();
}

#[test]
fn packages_that_must_be_single_are_single() {
    let lock = text_file("Cargo.lock");
    let mut violations = Violations::default();
    for name in SINGLE {
        let entry = format!("name = \"{name}\"");
        let lines: Vec<usize> =
            lock.lines().filter(|(_, line)| *line == entry).map(|(number, _)| number).collect();
        match lines.as_slice() {
            [_] => {}
            [] => violations.add("Cargo.lock", 1, format!("{name} is not there at all")),
            [_, others @ ..] => {
                for line in others {
                    violations.add("Cargo.lock", *line, format!("a second copy of {name}"));
                }
            }
        }
    }
    violations.assert_none();
}

#[test]
fn every_manifest_inherits_the_lints_and_the_toolchain_of_the_workspace() {
    let metadata = metadata();
    let mut violations = Violations::default();
    for package in metadata.workspace_packages() {
        let manifest = manifest_of(&metadata, package.name.as_str());
        let lints = manifest.lines().any(|(_, line)| line.trim() == "[lints]")
            && manifest.text.split("[lints]").nth(1).is_some_and(|rest| {
                rest.lines().map(str::trim).find(|line| !line.is_empty()) == Some("workspace = true")
            });
        if !lints {
            violations.add(&manifest.path, 1, "needs the section [lints] with workspace = true");
        }
        for key in ["edition", "rust-version", "license"] {
            let wanted = format!("{key}.workspace = true");
            if !manifest.lines().any(|(_, line)| line.trim() == wanted) {
                violations.add(&manifest.path, 1, format!("needs the line {wanted}"));
            }
        }
    }
    violations.assert_none();
}

#[test]
fn pure_crates_ban_the_clock_the_environment_and_hash_maps() {
    let metadata = metadata();
    let bans = [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::env::var",
        "std::fs::read",
        "std::collections::HashMap",
    ];
    let mut violations = Violations::default();
    for package in metadata.workspace_packages() {
        if !PURE.contains(&package.name.as_str()) {
            continue;
        }
        let path = format!("crates/{}/clippy.toml", package.name);
        let clippy = text_file(&path);
        for ban in bans {
            if !clippy.text.contains(&format!("path = \"{ban}\"")) {
                violations.add(&path, 1, format!("must ban {ban}"));
            }
        }
    }
    violations.assert_none();
}

fn metadata() -> Metadata {
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml"));
    // The lock file says what the build uses; resolving for this platform alone needs
    // no package that the build has not already brought here.
    command.other_options(["--locked".to_owned(), "--filter-platform".to_owned(), host()]);
    command.exec().unwrap_or_else(|error| panic!("cargo metadata --locked: {error}"))
}

/// The target triple this machine builds for, asked from the compiler.
fn host() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let answer = std::process::Command::new(compiler).arg("-vV").output().expect("rustc can be run");
    let text = String::from_utf8(answer.stdout).expect("rustc prints UTF-8");
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.unwrap_or_else(|| panic!("rustc -vV names no host: {text}")).to_owned()
}

fn manifest_of(metadata: &Metadata, name: &str) -> TextFile {
    let package = metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == name);
    let package = package.unwrap_or_else(|| panic!("{name} is no workspace member"));
    let root = metadata.workspace_root.as_std_path();
    let inside =
        package.manifest_path.as_std_path().strip_prefix(root).expect("members lie in the workspace");
    text_file(&inside.to_string_lossy())
}

/// Whether a line of a manifest declares this dependency (`name = …`, `name.workspace = …`).
fn names_dependency(line: &str, name: &str) -> bool {
    line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
}

fn is_impure(name: &str) -> bool {
    IMPURE.iter().any(|banned| match banned.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *banned,
    })
}

/// For every impure package that is reachable, one shortest path to it, as names.
fn impure_paths(metadata: &Metadata, start: &PackageId) -> Vec<Vec<String>> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut came_from: BTreeMap<&PackageId, Option<&PackageId>> = BTreeMap::from([(start, None)]);
    let mut waiting = std::collections::VecDeque::from([start]);
    let mut paths = Vec::new();
    while let Some(id) = waiting.pop_front() {
        let name = metadata[id].name.as_str();
        if is_impure(name) {
            let mut path = vec![name.to_owned()];
            let mut step = id;
            while let Some(Some(before)) = came_from.get(step) {
                path.push(metadata[*before].name.to_string());
                step = before;
            }
            path.reverse();
            paths.push(path);
            continue; // what lies behind it is its business
        }
        for dependency in &nodes[id].deps {
            let counts = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if counts && !came_from.contains_key(&dependency.pkg) {
                came_from.insert(&dependency.pkg, Some(id));
                waiting.push_back(&dependency.pkg);
            }
        }
    }
    paths
}

#[test]
fn the_walk_finds_what_is_there() {
    // The node crate is allowed to reach the network: if the walk does not see that,
    // it would not see it from a pure crate either.
    let metadata = metadata();
    let node = metadata.workspace_packages().into_iter().find(|package| package.name == "hailmesh-node");
    let paths = impure_paths(&metadata, &node.expect("hailmesh-node is a member").id);
    let ends: BTreeSet<&str> = paths.iter().filter_map(|path| path.last()).map(String::as_str).collect();
    assert!(ends.contains("tokio") && ends.contains("libp2p") && ends.contains("sqlx"), "{ends:?}");
    assert!(names_dependency("tokio.workspace = true", "tokio"));
    assert!(!names_dependency("tokio-util.workspace = true", "tokio"));
}
