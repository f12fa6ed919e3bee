//! Recorded numbers in the text of README and book, between two comments that state what stands there:
//! `<!-- bench ratio exact-gc -->3.4<!-- /bench -->`. A comment after a backtick is an example, not an anchor.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::files::write_whole;
use crate::output::say;

/// The anchors of one kind of numbers.
pub(crate) struct Anchors {
    /// The first word of its comments.
    pub(crate) name: &'static str,
}

/// A page whose anchors have another text than what is recorded.
pub(crate) struct Changed {
    path: PathBuf,
    before: String,
    after: String,
}

impl Anchors {
    /// The page with the text of every anchor replaced by the value of its request.
    ///
    /// # Errors
    /// An anchor without an end, or whose request has no value, with its line.
    pub(crate) fn filled(&self, page: &str, value: impl Fn(&str) -> Result<String>) -> Result<String> {
        let (begin, close, end) = (format!("<!-- {} ", self.name), " -->", format!("<!-- /{} -->", self.name));
        let (mut text, mut rest) = (String::with_capacity(page.len()), page);
        while let Some(at) = rest.find(&begin) {
            let (before, from) = rest.split_at(at);
            text.push_str(before);
            if before.ends_with('`') {
                text.push_str(&begin);
                rest = &from[begin.len()..];
                continue;
            }
            let line = text.matches('\n').count() + 1;
            let named = || format!("line {line}: an anchor `{begin}…` without its end `{end}`");
            let (request, after) = from[begin.len()..].split_once(close).with_context(named)?;
            let (_, after) = after.split_once(end.as_str()).with_context(named)?;
            let value = value(request).with_context(|| format!("line {line}: `{begin}{request}{close}`"))?;
            text.extend([&begin, request, close, &value, &end]);
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }

    /// The pages whose anchors have another text than what is recorded.
    ///
    /// # Errors
    /// Those of [`Anchors::filled`], and a page that cannot be read.
    pub(crate) fn changed(&self, root: &Path, value: impl Fn(&str) -> Result<String>) -> Result<Vec<Changed>> {
        let mut changed = Vec::new();
        for path in pages(root)? {
            let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let after = self.filled(&before, &value).with_context(|| path.display().to_string())?;
            if after != before {
                changed.push(Changed { path, before, after });
            }
        }
        Ok(changed)
    }
}

impl Changed {
    /// Writes the page, and says that it states `what`.
    pub(crate) fn write(&self, what: &str) -> Result<()> {
        write_whole(&self.path, self.after.as_bytes())?;
        say!("{} states {what}", self.path.display());
        Ok(())
    }

    /// The page and its first line that is different.
    pub(crate) fn first_difference(&self, root: &Path) -> String {
        let shown = self.path.strip_prefix(root).unwrap_or(&self.path).display();
        let different = self.before.lines().zip(self.after.lines()).position(|(before, after)| before != after);
        format!("{shown}, line {}", different.map_or(self.before.lines().count(), |line| line + 1))
    }
}

/// The pages that may have anchors: READMEs and the book.
fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    let mut waiting = vec![root.join("docs/src"), root.join("crates")];
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("target" | "src" | "tests" | "examples") if folder.starts_with(root.join("crates")) => {}
                Some(_) if path.is_dir() => waiting.push(path),
                Some(name) if name.ends_with(".md") => pages.push(path),
                _ => {}
            }
        }
    }
    pages.sort();
    Ok(pages)
}

/// The folder of the workspace that this program was built in.
///
/// # Errors
/// A manifest without a folder above its own.
pub(crate) fn workspace() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(Path::to_path_buf).context("the workspace of this command has no folder any more")
}
