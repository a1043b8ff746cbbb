//! The checkout's files as the checks see them.

use std::path::{Path, PathBuf};

use crate::{
    Failure,
    process::{command, output, root},
};

/// One text file of the checkout.
pub(crate) struct SourceFile {
    /// Its path below the root, with `/`.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
}

/// Every file that is tracked, or new and not ignored, and that is text.
pub(crate) fn files() -> Result<Vec<SourceFile>, Failure> {
    let root = root()?;
    let listed = output(command("git")?.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        let Ok(bytes) = std::fs::read(root.join(path)) else {
            continue; // deleted in the work tree, still in the index
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(files)
}

/// The folders that hold a crate: `crates/*` and `xtask`.
pub(crate) fn crate_folders() -> Result<Vec<PathBuf>, Failure> {
    let root = root()?;
    let unreadable = |error: std::io::Error| Failure::Usage(format!("crates: {error}"));
    let mut folders = vec![root.join("xtask")];
    for entry in std::fs::read_dir(root.join("crates")).map_err(unreadable)? {
        let folder = entry.map_err(unreadable)?.path();
        if folder.join("Cargo.toml").is_file() {
            folders.push(folder);
        }
    }
    folders.sort();
    Ok(folders)
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

impl SourceFile {
    /// The crate a path belongs to: `crates/NAME/…` is `NAME`, `xtask/…` is `xtask`.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        match self.path.strip_prefix("crates/") {
            Some(rest) => rest.split_once('/').map(|(name, _)| name),
            None => self.path.starts_with("xtask/").then_some("xtask"),
        }
    }

    /// Whether it is Rust that ends up in a product: below a crate's `src`.
    pub(crate) fn is_product_rust(&self) -> bool {
        self.path.ends_with(".rs") && self.path.contains("/src/")
    }

    /// The lines that are code, with their numbers: comments are left out, and so is everything
    /// from the file's first test on, because tests stand at the bottom.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| !matches!(line.trim(), "#[cfg(test)]" | "#[test]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(index, line)| (index + 1, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn code_ends_where_the_tests_begin() {
        let file = file(
            "crates/a/src/lib.rs",
            "//! doc\nfn a() {}\n// why\nfn b() {}\n#[cfg(test)]\nmod tests {}\n",
        );
        let lines: Vec<_> = file.code_lines().collect();
        assert_eq!(lines, [(2, "fn a() {}"), (4, "fn b() {}")]);
    }

    #[test]
    fn a_path_tells_its_crate() {
        assert_eq!(
            file("crates/mqtt-proto/src/lib.rs", "").crate_name(),
            Some("mqtt-proto")
        );
        assert_eq!(file("xtask/src/main.rs", "").crate_name(), Some("xtask"));
        assert_eq!(file("docs/x.md", "").crate_name(), None);
    }
}
