//! The known names that are nearest to an unknown one.

/// The least similarity at which one name is suggested for another.
const SIMILAR: f64 = 0.7;
/// The most names that are suggested.
const MOST: usize = 3;

/// Up to three of `known` that are similar to `name`, the most similar first; none where no name is similar.
///
/// **Definition** similarity is the Jaro–Winkler similarity of the lower-case names (1 for equal names); at least 0.7.
/// Names of equal similarity are in alphabetical order, and duplicates in `known` are returned once.
///
/// ```
/// assert_eq!(support::nearest_names("cifar-10", ["cifar100", "cifar10", "mnist"]), ["cifar10", "cifar100"]);
/// assert!(support::nearest_names("zzz", ["cifar10", "mnist"]).is_empty());
/// ```
pub fn nearest_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let ranked = by_similarity(name, known).into_iter();
    ranked.take_while(|(similarity, _)| *similarity >= SIMILAR).take(MOST).map(|(_, name)| name).collect()
}

/// The three of `known` that are most similar to `name`, even if the similarity is low, the most similar first.
///
/// **Definition** the similarity and the order of [`nearest_names`], without its least similarity.
///
/// ```
/// assert_eq!(support::most_similar_names("gpu", ["metal", "cpu"]), ["cpu", "metal"]);
/// ```
pub fn most_similar_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    by_similarity(name, known).into_iter().take(MOST).map(|(_, name)| name).collect()
}

fn by_similarity<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(f64, &'a str)> {
    let name = name.to_lowercase();
    let similarity = |known: &str| strsim::jaro_winkler(&name, &known.to_lowercase());
    let mut ranked: Vec<(f64, &str)> = known.into_iter().map(|known| (similarity(known), known)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.dedup_by(|a, b| a.1 == b.1);
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_has_its_correction_first() {
        assert_eq!(nearest_names("fig-4", ["fig1", "fig4", "gc-penalty"])[0], "fig4");
        assert_eq!(nearest_names("cifarfs", ["glyphs", "cifar-fs", "cifar10"])[0], "cifar-fs");
        assert_eq!(nearest_names("Glyph", ["cifar10", "glyphs"]), ["glyphs"]);
    }

    #[test]
    fn at_most_three_names_each_once() {
        let known = ["run1", "run2", "run3", "run4", "run1"];
        assert_eq!(nearest_names("run", known), ["run1", "run2", "run3"]);
        assert_eq!(most_similar_names("zzz", known).len(), 3);
    }
}
