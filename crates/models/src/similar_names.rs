//! Names that are similar to an unknown one, for errors.

/// The three known names that are most similar to one that is not known, in backticks.
pub(crate) fn most_similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    support::most_similar_names(name, known).into_iter().map(|known| format!("`{known}`")).collect()
}
