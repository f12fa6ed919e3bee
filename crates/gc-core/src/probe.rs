//! Random directions whose second moment is the identity.

use rand::Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use streams::Stream;

use crate::{Error, Result};

/// The distribution of the random directions v of a projection, with E[v vᵀ] = I and so E‖Jᵀv‖² = ‖J‖²_F.
///
/// **Definition** with A = JJᵀ of size p (for columns JᵀJ of size d), the variance of one squared projection vᵀAv is
/// - Gaussian: 2‖A‖²_F,
/// - Rademacher: 2(‖A‖²_F − Σ A_ii²),
/// - sphere: 2(p‖A‖²_F − (tr A)²)/(p + 2),
/// - orthogonal: that of the sphere for one direction, less than sphere/b for the mean over a block of b, 0 for b = p.
///
/// **Source** Hutchinson, 1989 (Rademacher); Avron and Toledo, 2011 (variances); Yu et al., 2016 (orthogonal blocks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Probe {
    /// Independent coordinates ±1.
    Rademacher,
    /// Independent standard normal coordinates.
    Gaussian,
    /// Uniform on the sphere of radius √p.
    Sphere,
    /// Blocks of mutually orthogonal directions, each uniform on the sphere of radius √p (rows of a Haar-distributed
    /// orthogonal matrix, times √p).
    Orthogonal {
        /// The number of directions in a block, at most the dimension. The number of probes must be a multiple of it.
        block: usize,
    },
}

impl Probe {
    /// The number of directions that are drawn together. Directions of different draws are independent.
    pub(crate) fn block(self) -> usize {
        match self {
            Self::Orthogonal { block } => block,
            _ => 1,
        }
    }

    /// Checks the settings against the number of probes and the dimension of the space.
    pub(crate) fn check(self, probes: usize, dimension: usize) -> Result<()> {
        if probes == 0 {
            return Err(Error::setting("probes", "at least 1 probe per sample", 0));
        }
        if let Self::Orthogonal { block } = self {
            if block == 0 || block > dimension {
                return Err(Error::setting(
                    "Probe::Orthogonal",
                    format!("a block of 1 to {dimension} directions"),
                    block,
                ));
            }
            if !probes.is_multiple_of(block) {
                return Err(Error::setting("probes", format!("a multiple of the block of {block} directions"), probes));
            }
        }
        Ok(())
    }

    /// One block of directions with `dimension` coordinates each.
    pub(crate) fn draw(self, stream: &mut Stream, dimension: usize) -> Vec<Vec<f64>> {
        match self {
            Self::Rademacher => vec![streams::rademacher(stream, dimension)],
            Self::Gaussian => vec![normal(stream, dimension)],
            Self::Sphere => orthogonal(stream, dimension, 1),
            Self::Orthogonal { block } => orthogonal(stream, dimension, block),
        }
    }
}

fn normal(stream: &mut Stream, dimension: usize) -> Vec<f64> {
    stream.sample_iter(StandardNormal).take(dimension).collect()
}

/// Gram–Schmidt on Gaussian vectors gives rows of a Haar-distributed matrix. Two passes make them orthogonal to rounding.
fn orthogonal(stream: &mut Stream, dimension: usize, block: usize) -> Vec<Vec<f64>> {
    let radius = (dimension as f64).sqrt();
    let mut directions: Vec<Vec<f64>> = Vec::with_capacity(block);
    while directions.len() < block {
        let mut candidate = normal(stream, dimension);
        let drawn = norm(&candidate);
        for _ in 0..2 {
            for earlier in &directions {
                let overlap = dot(&candidate, earlier) / (radius * radius);
                candidate.iter_mut().zip(earlier).for_each(|(c, e)| *c -= overlap * e);
            }
        }
        let length = norm(&candidate);
        // A vector in the span of the earlier ones has probability 0; if rounding makes it one, it is drawn again.
        if length > 1e-8 * drawn {
            candidate.iter_mut().for_each(|c| *c *= radius / length);
            directions.push(candidate);
        }
    }
    directions
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Probe; 4] = [Probe::Rademacher, Probe::Gaussian, Probe::Sphere, Probe::Orthogonal { block: 3 }];

    #[test]
    fn the_second_moment_is_the_identity() {
        let dimension = 4;
        for kind in KINDS {
            let draws = 30_000;
            let mut moment = vec![0.0; dimension * dimension];
            let mut stream = streams::stream(3, "test/probe", 0);
            let mut count = 0.0;
            for _ in 0..draws {
                for v in kind.draw(&mut stream, dimension) {
                    count += 1.0;
                    for i in 0..dimension {
                        for j in 0..dimension {
                            moment[i * dimension + j] += v[i] * v[j];
                        }
                    }
                }
            }
            for i in 0..dimension {
                for j in 0..dimension {
                    let expected = if i == j { 1.0 } else { 0.0 };
                    let got = moment[i * dimension + j] / count;
                    // Five standard errors of a mean of 30,000 products whose variance is at most 2.
                    assert!((got - expected).abs() < 5.0 * (2.0f64 / 30_000.0).sqrt(), "{kind:?} {i} {j}: {got}");
                }
            }
        }
    }

    #[test]
    fn a_block_is_orthogonal_to_rounding() {
        let block = orthogonal(&mut streams::stream(5, "test/probe", 1), 37, 37);
        for (i, a) in block.iter().enumerate() {
            for (j, b) in block.iter().enumerate() {
                let expected = if i == j { 37.0 } else { 0.0 };
                assert!((dot(a, b) - expected).abs() < 1e-12 * 37.0, "{i} {j}");
            }
        }
    }

    #[test]
    fn impossible_probes_are_refused() {
        let refused =
            |probe: Probe, probes, dimension| matches!(probe.check(probes, dimension), Err(Error::Setting { .. }));
        assert!(refused(Probe::Gaussian, 0, 5));
        assert!(refused(Probe::Orthogonal { block: 6 }, 6, 5));
        assert!(refused(Probe::Orthogonal { block: 0 }, 6, 5));
        assert!(refused(Probe::Orthogonal { block: 4 }, 6, 5));
        assert!(Probe::Orthogonal { block: 3 }.check(6, 5).is_ok());
    }
}
