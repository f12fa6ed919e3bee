//! The experiment as it was before its first run, to detect claims and rules that changed after results were seen.

use std::path::{Path, PathBuf};

use anyhow::Result;
use support::read_text;
use toml::Table;

use super::settings;
use crate::files::{LARGEST_TEXT, write_whole};

/// The file with the resolved experiment, written before the first run.
const FROZEN: &str = "experiment-before-runs.toml";

/// How the resolved experiment compares with the one before the first run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frozen {
    /// SHA-256 of the resolved experiment file now.
    pub(crate) sha256: String,
    /// SHA-256 of the resolved experiment file before the first run, if that was recorded.
    pub(crate) before: Option<String>,
    /// The keys whose values changed since the first run, with both values.
    pub(crate) changes: Vec<String>,
}

/// Records the resolved experiment in a results folder that has no runs and no record yet.
///
/// Runs that will be copied from other results folders were made earlier: then the record of one of these folders is copied, one
/// that differs from the experiment if there is one. If one of them has no record, nothing is recorded.
pub(crate) fn freeze(folder: &Path, experiment: &str, merged: &[PathBuf]) -> Result<()> {
    let path = folder.join(FROZEN);
    if path.exists() || folder.join("runs").exists() {
        return Ok(());
    }
    let records: Vec<Option<String>> =
        merged.iter().map(|source| read_text(source.join(FROZEN), LARGEST_TEXT).ok()).collect();
    let Some(records) = records.into_iter().collect::<Option<Vec<String>>>() else { return Ok(()) };
    let earlier = records.iter().find(|record| *record != experiment).map_or(experiment, String::as_str);
    write_whole(&path, earlier.as_bytes())
}

/// Compares the resolved experiment with the one before the first run.
pub(crate) fn compare(folder: &Path, experiment: &str) -> Frozen {
    let sha256 = support::sha256(experiment.as_bytes());
    let Ok(before) = read_text(folder.join(FROZEN), LARGEST_TEXT) else {
        return Frozen { sha256, before: None, changes: Vec::new() };
    };
    let changes = match (toml::from_str::<Table>(experiment), toml::from_str::<Table>(&before)) {
        (Ok(now), Ok(before)) => settings::differences(&now, &before),
        _ => Vec::new(),
    };
    let changes = changes.into_iter().map(|difference| difference.words("before the first run")).collect();
    Frozen { sha256, before: Some(support::sha256(before.as_bytes())), changes }
}

impl Frozen {
    /// A warning about a file that has changed, or that was not recorded; none if it is the same.
    pub(crate) fn warning(&self) -> Option<String> {
        match &self.before {
            None => Some("it was not recorded before the first run, so a change cannot be detected.".to_owned()),
            Some(before) if *before == self.sha256 => None,
            Some(before) => Some(format!(
                "it has changed since the first run (SHA-256 {before} then, {} now): {}.",
                self.sha256,
                if self.changes.is_empty() { "its text".to_owned() } else { self.changes.join("; ") }
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_rule_is_named_with_both_values() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = ("seeds = [0]\n[rules]\nconfidence = 0.95\n", "seeds = [0]\n[rules]\nconfidence = 0.9\n");
        freeze(folder.path(), first, &[]).unwrap();
        assert_eq!(compare(folder.path(), first).warning(), None);
        // A later command does not replace the record.
        freeze(folder.path(), second, &[]).unwrap();
        let changed = compare(folder.path(), second);
        let warning = changed.warning().unwrap();
        assert!(warning.contains("`rules.confidence` is 0.9, before the first run 0.95"), "{warning}");
        assert!(warning.contains(&support::sha256(first.as_bytes())) && warning.contains(&changed.sha256), "{warning}");
    }

    #[test]
    fn a_merged_folder_has_the_record_of_its_sources() {
        let (one, two, into) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        freeze(one.path(), "a = 1", &[]).unwrap();
        freeze(two.path(), "a = 2", &[]).unwrap();
        let sources = [one.path().to_owned(), two.path().to_owned()];
        freeze(into.path(), "a = 1", &sources).unwrap();
        assert!(compare(into.path(), "a = 1").warning().unwrap().contains("`a` is 1, before the first run 2"));
        let (same, unknown, empty) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        freeze(same.path(), "a = 1", &sources[..1]).unwrap();
        assert_eq!(compare(same.path(), "a = 1").warning(), None);
        freeze(unknown.path(), "a = 1", &[empty.path().to_owned()]).unwrap();
        assert!(compare(unknown.path(), "a = 1").warning().unwrap().contains("was not recorded"));
    }

    #[test]
    fn results_from_before_the_record_are_called_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        freeze(folder.path(), "a = 1", &[]).unwrap();
        let warning = compare(folder.path(), "a = 1").warning().unwrap();
        assert!(warning.contains("was not recorded before the first run"), "{warning}");
    }
}
