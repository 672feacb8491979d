//! The files of the repository, read once per test, and the list of violations.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const FOREIGN_FOLDERS: [&str; 4] = [".git", "target", "node_modules", "__pycache__"];

/// Endings of the files whose text is checked. A file without an ending (`run`,
/// `Dockerfile`) is text too.
const TEXT_ENDINGS: [&str; 13] =
    ["rs", "md", "toml", "lock", "sql", "yml", "yaml", "json", "sh", "py", "cddl", "txt", "gpx"];

/// A text file of the repository.
pub(crate) struct TextFile {
    /// Path relative to the root, with `/` between the parts.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

impl TextFile {
    /// The lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether the name ends in `.ending`.
    pub(crate) fn has_ending(&self, ending: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == ending)
    }

    /// Number of the first line that satisfies `wanted`, or 1.
    pub(crate) fn line_where(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.lines().find(|(_, line)| wanted(line)).map_or(1, |(number, _)| number)
    }
}

/// The folder that holds the workspace manifest.
pub(crate) fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests package lies inside the workspace").to_path_buf()
}

/// All text files of ours, sorted by path.
pub(crate) fn text_files() -> Vec<TextFile> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder entry can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("file names are UTF-8");
            if path.is_dir() {
                if !FOREIGN_FOLDERS.contains(&name) && !path.is_symlink() {
                    folders.push(path);
                }
            } else if let Some(text) = text_of(&path) {
                found.push(TextFile { path: relative(&root, &path), text });
            }
        }
    }
    assert!(found.len() > 20, "only {} files found below {}", found.len(), root.display());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// All Rust files of ours: the crates with their tests and benches, and these tests.
pub(crate) fn rust_files() -> Vec<TextFile> {
    text_files().into_iter().filter(|file| file.has_ending("rs")).collect()
}

/// One text file by its path from the root.
pub(crate) fn text_file(path: &str) -> TextFile {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    TextFile { path: path.to_owned(), text }
}

/// The text of a file that is one of ours to check; none for binary files.
fn text_of(path: &Path) -> Option<String> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    match path.extension() {
        Some(ending) if TEXT_ENDINGS.iter().any(|known| ending == *known) => {
            let text = String::from_utf8(bytes);
            Some(text.unwrap_or_else(|error| panic!("{}: not UTF-8: {error}", path.display())))
        }
        Some(_) => None,
        None => String::from_utf8(bytes).ok(),
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).expect("the walk stays below the root");
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// What is wrong, collected so that one run shows everything.
#[derive(Default)]
pub(crate) struct Violations(Vec<String>);

impl Violations {
    /// Notes one violation at `path:line`.
    pub(crate) fn add(&mut self, path: impl Display, line: usize, what: impl Display) {
        self.0.push(format!("{path}:{line}: {what}"));
    }

    /// Fails the test with all violations if there are any.
    pub(crate) fn assert_none(self) {
        assert!(self.0.is_empty(), "\n{} violation(s)\n{}\n", self.0.len(), self.0.join("\n"));
    }
}
