//! NC2: the deviation of class means, or of a head's weights, from a simplex equiangular tight frame (ETF).

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::between::Between;
use crate::convention::{Singletons, Weighting};
use crate::head::Head;
use crate::tiles::{Products, visit_upper};
use crate::{ClassMoments, Error, Result};

/// Norms, angles and Gram matrix of K vectors, compared with a simplex equiangular tight frame (ETF).
///
/// No standard error is given: these are functions of K·p estimated numbers near a singular point, where a
/// linearized error is wrong exactly when the measure is small.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SimplexGeometry {
    /// Equinorm: standard deviation over mean of the norms (divisor K).
    pub equinorm: f64,
    /// Equiangularity: mean over i < j of |cos_ij + 1/(K−1)|.
    pub equiangularity: f64,
    /// The largest |cos_ij + 1/(K−1)|.
    pub equiangularity_max: f64,
    /// Mean of the cosines.
    pub cosine_mean: f64,
    /// Standard deviation of the cosines (divisor: the number of pairs).
    pub cosine_std: f64,
    /// ‖G/‖G‖ − (I − 11ᵀ/K)/√(K−1)‖, G the Gram matrix, Frobenius norms.
    pub etf_error: f64,
    /// Hyperspherical uniformity of the directions.
    pub uniformity: Uniformity,
    /// Number of vectors K.
    pub classes: usize,
    /// Classes of one sample, which are left out; 0 for a head's weights.
    pub singleton_classes: usize,
    /// Samples of the classes that took part; 0 for a head's weights.
    pub samples: u64,
    /// Weighting of the global mean around which class means are centred; `None` for a head's weights, which are not
    /// centred.
    pub weighting: Option<Weighting>,
}

/// Hyperspherical uniformity: the logarithmic energy of K directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Uniformity {
    /// Mean over pairs of ln(1/‖u_i − u_j‖); smaller is more uniform. Infinite energies are excluded and counted.
    pub log_energy: f64,
    /// Excess of `log_energy` over the energy −½ ln(2K/(K−1)) of the simplex, the least possible when K ≤ p + 1.
    pub excess: f64,
    /// Population standard deviation of ln(1/‖u_i − u_j‖) over pairs.
    pub log_std: f64,
    /// Pairs of the same direction, which are excluded.
    pub coincident: u64,
}

/// NC2 of the class means around the global mean.
///
/// **Definition** of the vectors m_c = μ_c − μ_G: see the fields of [`SimplexGeometry`].
///
/// **Conventions** Standard deviations have divisor K (or the number of pairs). Classes without samples and of one sample
/// are left out.
///
/// **Errors** [`Error::TooFewClasses`]; [`Error::Vanishing`] when a class mean is the global mean.
///
/// **Source** norms and angles: Papyan, Han, Donoho, PNAS 2020; ETF error: V. Kothapalli, TMLR 2023 (arXiv 2206.04041);
/// uniformity: W. Liu, L. Yu, A. Weller, B. Schölkopf, ICLR 2023 (arXiv 2303.06484).
///
/// ```
/// use collapse::{ClassMoments, Scatter, Weighting, simplex};
/// let mut moments = ClassMoments::new(3, 2, Scatter::Trace);
/// let h = 3f64.sqrt() / 2.0;
/// let triangle = [1.0, 0.0, -0.5, h, -0.5, -h];
/// moments.update_slice(&triangle, &[0, 1, 2])?;
/// moments.update_slice(&triangle, &[0, 1, 2])?;
/// let geometry = simplex(&moments, Weighting::ClassBalanced)?;
/// assert!(geometry.equinorm < 1e-15 && geometry.equiangularity < 1e-15 && geometry.etf_error < 1e-15);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn simplex(moments: &ClassMoments, weighting: Weighting) -> Result<SimplexGeometry> {
    simplex_with(moments, weighting, Singletons::LeftOut)
}

/// NC2 of the class means, with or without classes of one sample.
pub(crate) fn simplex_with(
    moments: &ClassMoments,
    weighting: Weighting,
    singletons: Singletons,
) -> Result<SimplexGeometry> {
    let between = Between::around("simplex geometry", moments, weighting, weighting, singletons)?;
    let geometry = geometry("simplex geometry", "a centred class mean", &between.centred, between.width)?;
    Ok(SimplexGeometry {
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
        weighting: Some(weighting),
        ..geometry
    })
}

/// NC2 of the rows of a head's weight matrix, not centred.
///
/// **Errors** [`Error::TooFewClasses`]; [`Error::Vanishing`] when a class's weights are all zero.
///
/// **Source** Z. Zhu et al., NeurIPS 2021 (arXiv 2105.02375), for the ETF error of W.
///
/// ```
/// let head = collapse::Head::from_slices(&[1.0f64, -1.0], None, 2)?;
/// assert_eq!(collapse::simplex_of_head(&head)?.etf_error, 0.0);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn simplex_of_head(head: &Head) -> Result<SimplexGeometry> {
    geometry("simplex geometry of a head", "a row of the weights", head.weight(), head.feature_count())
}

fn geometry(operation: &'static str, what: &'static str, rows: &[f64], width: usize) -> Result<SimplexGeometry> {
    let classes = rows.len() / width;
    if classes < 2 {
        return Err(Error::TooFewClasses { operation, needed: 2, found: classes, singletons: 0 });
    }
    let norm = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let norms: Vec<f64> = rows.chunks_exact(width).map(norm).collect();
    if norms.contains(&0.0) {
        return Err(Error::Vanishing { operation, what });
    }
    let mean = norms.iter().sum::<f64>() / classes as f64;
    let variance = norms.iter().map(|norm| (norm - mean).powi(2)).sum::<f64>() / classes as f64;
    let directions = Directions::new(rows, width, &norms);
    let angles = Angles::of(&directions);
    let pairs = angles.pairs as f64;
    let cosine_mean = angles.cosine / pairs;
    let energies = (angles.pairs - angles.coincident) as f64;
    let log_energy = angles.energy / energies;
    let least = -0.5 * (2.0 * classes as f64 / (classes as f64 - 1.0)).ln();
    Ok(SimplexGeometry {
        equinorm: variance.sqrt() / mean,
        equiangularity: angles.deviation / pairs,
        equiangularity_max: angles.deviation_max,
        cosine_mean,
        cosine_std: angles.spread(&directions, cosine_mean, |cosine, _| cosine) / pairs.sqrt(),
        etf_error: etf_distance(operation, rows, rows, width)?,
        uniformity: Uniformity {
            log_energy,
            excess: log_energy - least,
            log_std: angles.spread(&directions, log_energy, |_, energy| energy) / energies.sqrt(),
            coincident: angles.coincident,
        },
        classes,
        singleton_classes: 0,
        samples: 0,
        weighting: None,
    })
}

/// Sums over pairs of directions.
#[derive(Default)]
struct Angles {
    pairs: u64,
    cosine: f64,
    deviation: f64,
    deviation_max: f64,
    energy: f64,
    coincident: u64,
}

impl Angles {
    fn of(directions: &Directions<'_>) -> Self {
        let target = 1.0 / (directions.norms.len() as f64 - 1.0);
        let mut total = Self::default();
        directions.visit_angles(
            |angles| {
                let mut part = Self::default();
                for (cosine, energy) in angles {
                    let deviation = (cosine + target).abs();
                    part.pairs += 1;
                    part.cosine += cosine;
                    part.deviation += deviation;
                    part.deviation_max = part.deviation_max.max(deviation);
                    if energy.is_finite() { part.energy += energy } else { part.coincident += 1 }
                }
                part
            },
            |part| {
                total.pairs += part.pairs;
                total.cosine += part.cosine;
                total.deviation += part.deviation;
                total.deviation_max = total.deviation_max.max(part.deviation_max);
                total.energy += part.energy;
                total.coincident += part.coincident;
            },
        );
        total
    }

    /// Root of the sum of squared deviations of a finite quantity from its mean, in a second pass.
    fn spread(&self, directions: &Directions<'_>, mean: f64, of: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
        let mut sum = 0.0;
        let square = |(cosine, energy): &(f64, f64)| Some(of(*cosine, *energy) - mean).filter(|d| d.is_finite());
        directions
            .visit_angles(|angles| angles.iter().filter_map(square).map(|d| d * d).sum::<f64>(), |part| sum += part);
        sum.sqrt()
    }
}

/// Rows and their lengths.
struct Directions<'a> {
    rows: &'a [f64],
    width: usize,
    norms: &'a [f64],
    /// The (cosine, ln 1/distance) of every tile in the order of the visits, where the pairs are few enough.
    kept: Vec<Vec<(f64, f64)>>,
}

/// Pairs whose angles are kept between the three passes over them; those of more pairs are computed again.
const KEPT: usize = 1 << 20;

impl<'a> Directions<'a> {
    fn new(rows: &'a [f64], width: usize, norms: &'a [f64]) -> Self {
        let mut directions = Self { rows, width, norms, kept: Vec::new() };
        if norms.len().saturating_mul(norms.len()) / 2 <= KEPT {
            let mut kept = Vec::new();
            visit_upper(norms.len(), |rows, columns| directions.angles(rows, columns), |tile| kept.push(tile));
            directions.kept = kept;
        }
        directions
    }

    /// Maps the (cosine, ln 1/distance) of all pairs, tile by tile, and visits the results in a fixed order.
    fn visit_angles<R: Send>(&self, map: impl Fn(&[(f64, f64)]) -> R + Sync, mut visit: impl FnMut(R)) {
        if self.kept.is_empty() {
            visit_upper(self.norms.len(), |rows, columns| map(&self.angles(rows, columns)), visit);
        } else {
            let parts: Vec<R> = self.kept.par_iter().map(|tile| map(tile)).collect();
            parts.into_iter().for_each(&mut visit);
        }
    }

    /// The (cosine, ln 1/distance) of the pairs of a tile.
    fn angles(&self, rows: Range<usize>, columns: Range<usize>) -> Vec<(f64, f64)> {
        let angle = |(i, j, product): (usize, usize, f64)| {
            let cosine = (product / (self.norms[i] * self.norms[j])).clamp(-1.0, 1.0);
            // For near-parallel directions the cosine has lost the distance, so it is computed from the difference.
            let squared = if cosine > 0.99 { self.squared_distance(i, j) } else { 2.0 - 2.0 * cosine };
            (cosine, -0.5 * squared.ln())
        };
        let entries = Products::new(self.rows, self.rows, self.width).entries(rows, columns);
        entries.into_iter().filter(|(i, j, _)| i < j).map(angle).collect()
    }

    fn squared_distance(&self, i: usize, j: usize) -> f64 {
        let unit = |at: usize| {
            self.rows[at * self.width..(at + 1) * self.width].iter().map(move |value| value / self.norms[at])
        };
        unit(i).zip(unit(j)).map(|(left, right)| (left - right).powi(2)).sum()
    }
}

/// ‖P/‖P‖ − (I − 11ᵀ/K)/√(K−1)‖ with P = left·rightᵀ, all norms Frobenius.
pub(crate) fn etf_distance(operation: &'static str, left: &[f64], right: &[f64], width: usize) -> Result<f64> {
    let classes = (left.len() / width) as f64;
    let products = Products::kept(left, right, width);
    let norm = products.sum(|_, _, value| value * value).sqrt();
    if norm == 0.0 {
        return Err(Error::Vanishing { operation, what: "the product of the two sets of vectors" });
    }
    let scale = (classes - 1.0).sqrt();
    let target = |i: usize, j: usize| (f64::from(u8::from(i == j)) - 1.0 / classes) / scale;
    Ok(products.sum(|i, j, value| (value / norm - target(i, j)).powi(2)).sqrt())
}
