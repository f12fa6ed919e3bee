//! Draws that more than one crate needs: normal, random signs, uniform, permutations. Numbers are f64, in stream order.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;

use crate::Stream;

/// `count` draws from the normal distribution with mean 0 and variance 1.
///
/// **Source** the ziggurat method of `rand_distr`.
///
/// ```
/// let draws = streams::standard_normal(&mut streams::stream(1, "docs", 0), 10_000);
/// let mean = draws.iter().sum::<f64>() / 1e4;
/// assert!(mean.abs() < 0.05);
/// ```
pub fn standard_normal(stream: &mut Stream, count: usize) -> Vec<f64> {
    stream.sample_iter(StandardNormal).take(count).collect()
}

/// `count` random signs: each is −1 or +1 with probability ½ (Rademacher distribution).
///
/// ```
/// let signs = streams::rademacher(&mut streams::stream(1, "docs", 0), 100);
/// assert!(signs.iter().all(|sign| sign.abs() == 1.0));
/// ```
pub fn rademacher(stream: &mut Stream, count: usize) -> Vec<f64> {
    (0..count).map(|_| if stream.random::<bool>() { 1.0 } else { -1.0 }).collect()
}

/// `count` draws from the uniform distribution on [`low`, `high`).
///
/// **Definition** low + (high − low) u, with u a multiple of 2⁻⁵³ in [0, 1). Rounding can give `high` itself.
///
/// ```
/// let draws = streams::uniform(&mut streams::stream(1, "docs", 0), 100, -2.0, 3.0);
/// assert!(draws.iter().all(|draw| (-2.0..3.0).contains(draw)));
/// ```
pub fn uniform(stream: &mut Stream, count: usize, low: f64, high: f64) -> Vec<f64> {
    (0..count).map(|_| low + (high - low) * stream.random::<f64>()).collect()
}

/// A random permutation of 0, 1, …, `count` − 1, all with the same probability.
///
/// ```
/// let mut order = streams::permutation(&mut streams::stream(1, "docs", 0), 5);
/// order.sort_unstable();
/// assert_eq!(order, [0, 1, 2, 3, 4]);
/// ```
pub fn permutation(stream: &mut Stream, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(stream);
    order
}
