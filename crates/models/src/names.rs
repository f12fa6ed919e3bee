//! The nearest known names to one that is not known.

/// Up to three known names, the most similar first.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ranked: Vec<(f64, &str)> = known.map(|known| (strsim::jaro_winkler(name, known), known)).collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    ranked.into_iter().take(3).map(|(_, known)| format!("`{known}`")).collect()
}
