//! Rules for the documents, the migrations, and what the code says about them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::files::{TextFile, Violations, root, text_file, text_files};

/// Files that a reader of a repository expects at its top.
const EXPECTED: [&str; 13] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "SECURITY.md",
    "deny.toml",
    "docker-compose.yml",
    "Dockerfile",
    "docs/architecture.md",
    "docs/glossary.md",
    "docs/guarantees.md",
    "docs/operations.md",
    "docs/protocol.md",
];

#[test]
fn expected_documents_are_there() {
    let mut violations = Violations::default();
    for path in EXPECTED {
        match fs::metadata(root().join(path)) {
            Ok(meta) if meta.len() > 0 => {}
            Ok(_) => violations.add(path, 1, "is empty"),
            Err(error) => violations.add(path, 1, error),
        }
    }
    let changelog = text_file("CHANGELOG.md");
    if !changelog.lines().any(|(_, line)| line.starts_with("## [Unreleased]")) {
        violations.add(&changelog.path, 1, "has no section ## [Unreleased]");
    }
    violations.assert_none();
}

#[test]
fn every_clause_that_is_cited_exists() {
    let defined = defined_clauses(&text_file("docs/protocol.md"));
    assert!(defined.len() > 100, "only {} clauses found in docs/protocol.md", defined.len());
    let mut violations = Violations::default();
    for file in text_files() {
        if !["rs", "sql", "md", "toml", "py"].iter().any(|ending| file.has_ending(ending)) {
            continue;
        }
        for (number, line) in file.lines() {
            for clause in clauses_in(line) {
                // P99.9 is what tests use for a clause that does not exist.
                if clause != "P99.9" && !defined.contains(&clause) {
                    violations.add(&file.path, number, format!("{clause} is no clause of docs/protocol.md"));
                }
            }
        }
    }
    violations.assert_none();
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    };
    let (sqlite, postgres) = (names("migrations/sqlite"), names("migrations/postgres"));
    let mut violations = Violations::default();
    if sqlite.is_empty() {
        violations.add("migrations/sqlite", 1, "holds no migration");
    }
    for name in sqlite.symmetric_difference(&postgres) {
        let missing = if sqlite.contains(name) { "postgres" } else { "sqlite" };
        violations.add(format!("migrations/{missing}/{name}"), 1, "is missing; the other database has it");
    }
    for name in sqlite.union(&postgres) {
        let numbered = name.split_once('_').is_some_and(|(number, rest)| {
            number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()) && rest.ends_with(".sql")
        });
        if !numbered {
            violations.add(format!("migrations/*/{name}"), 1, "is not named 0001_what.sql");
        }
    }
    violations.assert_none();
}

#[test]
fn links_in_documents_resolve() {
    let documents: Vec<TextFile> = text_files().into_iter().filter(|file| file.has_ending("md")).collect();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        documents.iter().map(|file| (file.path.as_str(), anchors_of(file))).collect();
    let mut violations = Violations::default();
    for file in &documents {
        for (number, link) in links_of(file) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() { Some(file.path.clone()) } else { resolve(&file.path, path) };
            let Some(target) = target else {
                violations.add(&file.path, number, format!("{link} leaves the repository"));
                continue;
            };
            if !root().join(&target).exists() {
                violations.add(&file.path, number, format!("{link} points to nothing"));
            } else if !anchor.is_empty()
                && anchors.get(target.as_str()).is_some_and(|known| !known.contains(anchor))
            {
                violations.add(&file.path, number, format!("{link}: {target} has no heading #{anchor}"));
            }
        }
    }
    violations.assert_none();
}

/// The clauses that a specification defines: in bold, or alone in the first cell of a
/// table row.
fn defined_clauses(specification: &TextFile) -> BTreeSet<String> {
    let mut defined = BTreeSet::new();
    for (_, line) in specification.lines() {
        // Every second part of a line split at `**` is bold.
        for bold in line.split("**").skip(1).step_by(2) {
            defined.extend(clauses_in(bold));
        }
        if let Some(row) = line.strip_prefix("| ") {
            let cell = row.split('|').next().unwrap_or("").trim();
            if clauses_in(cell) == [cell] {
                defined.insert(cell.to_owned());
            }
        }
    }
    defined
}

/// Everything in a line that looks like a clause number: `P`, digits, `.`, digits.
fn clauses_in(line: &str) -> Vec<String> {
    let bytes = line.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut found = Vec::new();
    for (start, _) in line.match_indices('P') {
        let free = start == 0 || !(bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_');
        let chapter = digits(start + 1);
        let dot = start + 1 + chapter;
        if !free || chapter == 0 || bytes.get(dot) != Some(&b'.') {
            continue;
        }
        let number = digits(dot + 1);
        if number > 0 {
            found.push(line[start..dot + 1 + number].to_owned());
        }
    }
    found
}

/// The targets of `[text](target)` outside of code, with their line numbers.
fn links_of(file: &TextFile) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part of a line split at back-ticks is code.
        for prose in line.split('`').step_by(2) {
            for (at, _) in prose.match_indices("](") {
                let target = prose[at + 2..].split(')').next().unwrap_or("");
                links.push((number, target.split(' ').next().unwrap_or("").to_owned()));
            }
        }
    }
    links
}

/// `link`, read from a file at `from`, as a path from the root; none if it leaves it.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(Path::new(&parts.join("/")).to_string_lossy().into_owned())
}

/// The anchors that a forge makes of the headings.
fn anchors_of(file: &TextFile) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut in_code = false;
    for (_, line) in file.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
            .map(|letter| if letter == ' ' { '-' } else { letter })
            .collect();
        anchors.insert(anchor);
    }
    anchors
}

#[test]
fn clause_numbers_are_recognised() {
    assert_eq!(clauses_in("P6.4, (P13.11) and P2"), ["P6.4", "P13.11"]);
    assert_eq!(clauses_in("IP4.1 is no clause, P4. neither"), Vec::<String>::new());
    let text =
        "- **P1.1** see P99.9\n| P6.1 | FREE |\n| see P6.2 | x |\n**P4.2 OFFER** and **P4.3**".to_owned();
    let defined = defined_clauses(&TextFile { path: "x.md".to_owned(), text });
    assert_eq!(defined.into_iter().collect::<Vec<_>>(), ["P1.1", "P4.2", "P4.3", "P6.1"]);
}

#[test]
fn links_are_recognised() {
    let text = "# A b, c\n[x](y.md#z) `[n](o)`\n```\n[n](o)\n```\n[`code`](k.md)".to_owned();
    let file = TextFile { path: "docs/x.md".to_owned(), text };
    let links: Vec<String> = links_of(&file).into_iter().map(|(_, link)| link).collect();
    assert_eq!(links, ["y.md#z", "k.md"]);
    assert_eq!(anchors_of(&file).into_iter().collect::<Vec<_>>(), ["a-b-c"]);
    assert_eq!(resolve("docs/adr/0001.md", "../protocol.md").as_deref(), Some("docs/protocol.md"));
    assert_eq!(resolve("docs/x.md", "../../outside.md"), None);
}
