//! Inequalities of the theory, each returned with both of its sides.
//!
//! | inequality | function | proof |
//! |---|---|---|
//! | NC ≤ c·pairwise ≤ c·mixture | [`collapse_chain`](crate::collapse_chain) | [GC bounds NC][gc] |
//! | E err ≤ 16 (k−1)(1/s + 1/m)·NC | [`nearest_mean_bound`](crate::nearest_mean_bound) | [NC bounds the nearest-mean error][nc] |
//!
//! [gc]: https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#gc-bounds-nc
//! [nc]: https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#nc-bounds-the-nearest-mean-error

use serde::{Deserialize, Serialize};

use crate::convention::{CdnvConvention, Singletons};
use crate::geometric::{require_complexity, require_per_class};
use crate::pairs::Pairs;
use crate::{ClassMoments, Error, Result, cdnv};

/// Both inequalities of NC ≤ c·pairwise ≤ c·mixture, over the same pairs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CollapseChain {
    /// Mean CDNV (divisor n, halved form).
    pub nc: f64,
    /// c times the pairwise geometric collapse.
    pub pairwise: f64,
    /// c times the geometric collapse with the mean complexity of the classes.
    pub mixture: f64,
    /// The Poincaré constant c.
    pub constant: f64,
    /// Whether NC ≤ c·pairwise, up to 1e-12 of the right side. It can fail only when c is below some class's Var_i/GC_i.
    pub first_holds: bool,
    /// Whether c·pairwise ≤ c·mixture, up to the same tolerance; true for any complexities.
    pub second_holds: bool,
    /// Pairs compared.
    pub pairs: u64,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// The three quantities of the chain NC ≤ c·pairwise ≤ c·mixture, compared with each other.
///
/// **Definition** The mixture form uses GC = mean over classes of GC_i. Pairs that the CDNV excludes are excluded from
/// all three quantities.
///
/// **Errors** as of [`crate::pairwise_geometric_collapse`]; [`Error::OutOfRange`] for a constant that is negative or not
/// finite; [`Error::NoPair`].
///
/// **Source** arXiv 2405.15706, Proposition 4.1; the pairwise form in the middle is ours
/// ([proof](https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#gc-bounds-nc)).
///
/// ```
/// use collapse::{ClassMoments, Scatter, collapse_chain, effective_poincare_constant};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// let gc = [2.0, 1.0];
/// let constant = effective_poincare_constant(&moments, &gc)?.max;
/// let chain = collapse_chain(&moments, &gc, constant)?;
/// assert!(chain.first_holds && chain.second_holds);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn collapse_chain(moments: &ClassMoments, gc_per_class: &[f64], constant: f64) -> Result<CollapseChain> {
    let operation = "collapse chain";
    require_per_class(operation, moments, gc_per_class)?;
    require_constant(operation, constant)?;
    let nc = cdnv(moments, CdnvConvention::default())?;
    let pairs = Pairs::new(operation, moments, Singletons::LeftOut)?;
    let gc: Vec<f64> = pairs.classes.iter().map(|&class| gc_per_class[class]).collect();
    let total: f64 = gc.iter().sum();
    let pairwise = pairs.average(operation, |i, j, squared| [(gc[i] + gc[j]) / (2.0 * squared)])?.mean;
    // Over the same pairs: GC/(k−1)·Σ_{i<j} 1/d² is the mean over pairs of (Σ_l GC_l)/(2 d²).
    let mixture = pairs.average(operation, |_, _, squared| [total / (2.0 * squared)])?.mean;
    let below = |left: f64, right: f64| left <= right * (1.0 + 1e-12);
    Ok(CollapseChain {
        nc: nc.mean,
        pairwise: constant * pairwise,
        mixture: constant * mixture,
        constant,
        first_holds: below(nc.mean, constant * pairwise),
        second_holds: below(pairwise, mixture),
        pairs: nc.pairs,
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
    })
}

/// The assumption on the distribution of a class's features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Symmetry {
    /// No assumption: s = 1.
    General,
    /// Spherical symmetry around the class mean in p dimensions: s = p.
    Spherical(usize),
}

/// A bound on the expected error of the nearest-mean rule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearestMeanBound {
    /// 16 (k−1)(1/s + 1/m)·NC. A bound above 1 is vacuous.
    pub bound: f64,
    /// The NC, or the bound on it, from which this bound is computed.
    pub nc: f64,
    /// Number of classes k.
    pub classes: usize,
    /// Samples of each class mean, m.
    pub shots: usize,
    /// The assumption.
    pub symmetry: Symmetry,
}

impl NearestMeanBound {
    /// Whether a measured error is at most the bound.
    pub fn holds_for(&self, error: f64) -> bool {
        error <= self.bound
    }
}

/// Bound on the expected nearest-mean error of `classes` equally likely classes with `shots` samples each.
///
/// **Definition** E err ≤ 16 (k−1)(1/s + 1/m)·NC, NC the mean CDNV of the classes' distributions
/// ([proof](https://github.com/geometric-collapse/geometric-collapse/blob/main/docs/src/theory.md#nc-bounds-the-nearest-mean-error)).
/// The general case holds with 8 in place of 16. A plug-in NC of few samples underestimates the true one.
///
/// **Errors** [`Error::OutOfRange`] for an NC that is negative or not finite, no shots or no dimension;
/// [`Error::TooFewClasses`].
///
/// **Source** after T. Galanti, A. György, M. Hutter, ICLR 2022 (arXiv 2112.15121), Proposition 5.
///
/// ```
/// use collapse::{Symmetry, nearest_mean_bound};
/// assert_eq!(nearest_mean_bound(0.001, 5, 4, Symmetry::General)?.bound, 16.0 * 4.0 * 1.25 * 0.001);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn nearest_mean_bound(nc: f64, classes: usize, shots: usize, symmetry: Symmetry) -> Result<NearestMeanBound> {
    let operation = "nearest-mean bound";
    if classes < 2 {
        return Err(Error::TooFewClasses { operation, needed: 2, found: classes, singletons: 0 });
    }
    if !(nc.is_finite() && nc >= 0.0) {
        return Err(Error::OutOfRange { operation, what: "NC", range: "finite and not negative", value: nc });
    }
    if shots == 0 {
        return Err(Error::OutOfRange { operation, what: "the number of shots", range: "at least 1", value: 0.0 });
    }
    let degrees = match symmetry {
        Symmetry::General => 1.0,
        Symmetry::Spherical(0) => {
            return Err(Error::OutOfRange { operation, what: "the dimension", range: "at least 1", value: 0.0 });
        }
        Symmetry::Spherical(features) => features as f64,
    };
    let bound = 16.0 * (classes as f64 - 1.0) * (1.0 / degrees + 1.0 / shots as f64) * nc;
    Ok(NearestMeanBound { bound, nc, classes, shots, symmetry })
}

/// Bound on the expected nearest-mean error, with NC replaced by its bound c · geometric collapse.
///
/// **Errors** as of [`nearest_mean_bound`], and [`Error::OutOfRange`] for a negative constant or collapse.
///
/// **Source** arXiv 2405.15706, Proposition 4.1 with the bound above.
///
/// ```
/// use collapse::{Symmetry, nearest_mean_bound_by_complexity};
/// let bound = nearest_mean_bound_by_complexity(0.5, 0.002, 5, 4, Symmetry::General)?;
/// assert_eq!(bound.nc, 0.001);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn nearest_mean_bound_by_complexity(
    constant: f64,
    geometric_collapse: f64,
    classes: usize,
    shots: usize,
    symmetry: Symmetry,
) -> Result<NearestMeanBound> {
    require_constant("nearest-mean bound", constant)?;
    require_complexity("nearest-mean bound", geometric_collapse)?;
    nearest_mean_bound(constant * geometric_collapse, classes, shots, symmetry)
}

fn require_constant(operation: &'static str, constant: f64) -> Result<()> {
    if constant.is_finite() && constant >= 0.0 {
        return Ok(());
    }
    Err(Error::OutOfRange {
        operation,
        what: "the Poincaré constant",
        range: "finite and not negative",
        value: constant,
    })
}
