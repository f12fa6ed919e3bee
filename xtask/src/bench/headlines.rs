//! Ratios to peers that README and book state; each must round from a recorded figure.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::recorded::Recorded;

/// Names of the peers on the pages, and the beginning of the recorded side.
const PEERS: [(&str, &str); 9] = [
    ("pytorch", "PyTorch"),
    ("torch", "PyTorch"),
    ("numpy", "NumPy"),
    ("neural-collapse", "neural-collapse"),
    ("easyfsl", "easyfsl"),
    ("scikit-learn", "scikit-learn"),
    ("jacobian_regularizer", "jacobian_regularizer"),
    ("dataloader", "PyTorch"),
    ("torchvision", "torchvision"),
];

/// A stated ratio: a number followed by `×` or `times`, in a sentence or table row that names a peer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Headline {
    pub(super) line: usize,
    /// The number as the page has it, without the sign.
    pub(super) text: String,
    pub(super) peer: String,
}

/// The pages that may state a ratio: READMEs and the book.
pub(super) fn pages(root: &Path) -> Result<Vec<PathBuf>> {
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

/// The ratios of a page.
pub(super) fn headlines(text: impl AsRef<str>) -> Vec<Headline> {
    let mut found = Vec::new();
    for (index, line) in text.as_ref().lines().enumerate() {
        let lower = line.to_lowercase();
        let Some((_, peer)) = PEERS.iter().find(|(name, _)| lower.contains(name)) else { continue };
        for (at, sign) in lower.match_indices('×').chain(lower.match_indices(" times")) {
            let after = &lower[at + sign.len()..];
            // 32×32 is a shape, not a ratio.
            if after.starts_with(|next: char| next.is_alphanumeric()) {
                continue;
            }
            // `2.0 to 2.8 times` states two.
            let mut before = lower[..at].trim_end();
            while let Some((rest, number)) = trailing_number(before) {
                found.push(Headline { line: index + 1, text: number.to_owned(), peer: (*peer).to_owned() });
                let Some(rest) = rest.strip_suffix(" to ") else { break };
                before = rest;
            }
        }
    }
    found
}

/// The number at the end of a text, and the text before the number.
fn trailing_number(text: &str) -> Option<(&str, &str)> {
    let digits = text.chars().rev().take_while(|c| c.is_ascii_digit() || *c == '.').count();
    let (rest, number) = text.split_at(text.len() - digits);
    number.parse::<f64>().is_ok().then_some((rest, number))
}

/// Whether a recorded ratio to this peer rounds to the stated number.
pub(super) fn is_recorded(headline: &Headline, recorded: &Recorded) -> bool {
    let decimals = headline.text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    recorded.ratios().iter().filter(|ratio| ratio.peer.starts_with(&headline.peer)).any(|ratio| {
        [ratio.ratio, 1.0 / ratio.ratio].iter().any(|value| format!("{value:.decimals$}") == headline.text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::recorded::tests::example;
    use super::*;

    #[test]
    fn ratios_are_found_where_a_peer_is_named_and_shapes_are_not() {
        let page = "A report is 3.0× as fast as NumPy's.\nImages of 32×32 in PyTorch.\nAn order is 2 times another.\n\
                    | nearest mean | easyfsl, 20 times |\nPyTorch takes 2.0 to 2.8 times as long.\n";
        let found = headlines(page);
        let read: Vec<_> = found.iter().map(|found| (found.line, found.text.as_str(), found.peer.as_str())).collect();
        assert_eq!(read, [(1, "3.0", "NumPy"), (4, "20", "easyfsl"), (5, "2.8", "PyTorch"), (5, "2.0", "PyTorch")]);
    }

    #[test]
    fn a_number_must_round_from_a_recorded_one() {
        let recorded = example();
        let stated = |text: &str, peer: &str| Headline { line: 1, text: text.into(), peer: peer.into() };
        assert!(is_recorded(&stated("3.0", "NumPy"), &recorded) && is_recorded(&stated("3", "NumPy"), &recorded));
        assert!(is_recorded(&stated("10", "easyfsl"), &recorded));
        assert!(!is_recorded(&stated("3.1", "NumPy"), &recorded) && !is_recorded(&stated("3.0", "easyfsl"), &recorded));
    }
}
