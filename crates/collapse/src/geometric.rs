//! Geometric collapse: geometric complexity over squared distances of class means, which bounds neural collapse.

use serde::{Deserialize, Serialize};

use crate::convention::{Divisor, Singletons};
use crate::pairs::{ExcludedPairs, PairAverage, Pairs};
use crate::{ClassMoments, Error, Result};

/// The geometric complexity in the numerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeometricForm {
    /// One geometric complexity for all classes: GC/(k−1) · Σ_{i<j} 1/d_ij².
    Mixture,
    /// One geometric complexity for each class: mean over i ≠ j of (GC_i + GC_j)/(2 d_ij²).
    Pairwise,
}

/// A geometric collapse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GeometricCollapse {
    /// The value.
    pub value: f64,
    /// Standard error. It needs a second pass over the samples: `None` when only class moments are given. [`crate::report()`] computes
    /// it, from those of the class means and of the geometric complexity.
    pub std_error: Option<f64>,
    /// The form: mixture or pairwise.
    pub form: GeometricForm,
    /// Whether the squared distances are unbiased estimates; otherwise they are those of the estimated means.
    #[serde(default)]
    pub unbiased: bool,
    /// Unordered pairs that took part.
    pub pairs: u64,
    /// Unordered pairs left out.
    pub excluded_pairs: ExcludedPairs,
    /// Classes of one sample, which are left out.
    pub singleton_classes: usize,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Geometric collapse in the mixture form.
///
/// **Definition** GC/(k−1) · Σ_{i<j} 1/‖μ_i − μ_j‖², which is (k/2)·GC times the mean over pairs of 1/d²; the
/// mean is over the pairs that are not excluded, and k counts the classes of at least two samples.
///
/// **Units** those of `gc`, the squared norm of the features' input Jacobian, over squared feature units.
///
/// **Conventions** The distances are those of the estimated means, which are too large by Var_i/n_i + Var_j/n_j on average:
/// see [`crate::geometric_collapse_unbiased()`].
///
/// **Errors** [`Error::OutOfRange`] for a negative or non-finite `gc`, [`Error::TooFewClasses`], [`Error::NoPair`].
///
/// **Source** Munn, Dherin, Gonzalvo, NeurIPS 2024 (arXiv 2405.15706): the bound of its Proposition 4.1 for balanced
/// classes. The form is derived from that proposition; if every class satisfies a Poincaré inequality with constant c,
/// Var_i ≤ c·GC_i, then the mean CDNV is at most c times this value (see [`crate::collapse_chain`]).
///
/// ```
/// use collapse::{ClassMoments, Scatter, geometric_collapse};
/// let mut moments = ClassMoments::new(3, 1, Scatter::Trace);
/// moments.update_slice(&[0.0f64, 1.0, 3.0, 0.0, 1.0, 3.0], &[0, 1, 2, 0, 1, 2])?;
/// // 1/1 + 1/9 + 1/4, times 2/(3 − 1)
/// assert!((geometric_collapse(&moments, 2.0)?.value - 49.0 / 36.0).abs() < 1e-15);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn geometric_collapse(moments: &ClassMoments, gc: f64) -> Result<GeometricCollapse> {
    let operation = "geometric collapse";
    require_complexity(operation, gc)?;
    let pairs = Pairs::new(operation, moments, Singletons::LeftOut)?;
    let average = pairs.average(operation, |_, _, squared| [1.0 / squared])?;
    let value = gc * pairs.classes.len() as f64 / 2.0 * average.mean;
    Ok(GeometricCollapse::new(value, GeometricForm::Mixture, false, &average, moments))
}

/// Geometric collapse in the pairwise form.
///
/// **Definition** mean over pairs of (GC_i + GC_j)/(2‖μ_i − μ_j‖²), with GC_i the geometric complexity of class i.
///
/// **Shapes** `gc_per_class` `[K]`; entries of classes without samples or of one sample are not read.
///
/// **Errors** [`Error::PerClassLength`], and as of [`geometric_collapse`].
///
/// **Source** ours, after Proposition 4.1 of arXiv 2405.15706; at most the mixture form with the classes' mean
/// complexity (see [`crate::collapse_chain`]).
///
/// ```
/// use collapse::{ClassMoments, Scatter, pairwise_geometric_collapse};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[0.0f64, 2.0, 0.0, 2.0], &[0, 1, 0, 1])?;
/// assert_eq!(pairwise_geometric_collapse(&moments, &[1.0, 3.0])?.value, 0.5);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn pairwise_geometric_collapse(moments: &ClassMoments, gc_per_class: &[f64]) -> Result<GeometricCollapse> {
    let operation = "pairwise geometric collapse";
    require_per_class(operation, moments, gc_per_class)?;
    pairwise_by(moments, &|class| gc_per_class[class])
}

/// The pairwise form, with the complexity of each class that takes part given by a function of the class.
pub(crate) fn pairwise_by(moments: &ClassMoments, gc: &dyn Fn(usize) -> f64) -> Result<GeometricCollapse> {
    let operation = "pairwise geometric collapse";
    let pairs = Pairs::new(operation, moments, Singletons::LeftOut)?;
    let gc: Vec<f64> = pairs.classes.iter().map(|&class| gc(class)).collect();
    let average = pairs.average(operation, |i, j, squared| [(gc[i] + gc[j]) / (2.0 * squared)])?;
    Ok(GeometricCollapse::new(average.mean, GeometricForm::Pairwise, false, &average, moments))
}

impl GeometricCollapse {
    pub(crate) fn new(
        value: f64,
        form: GeometricForm,
        unbiased: bool,
        average: &PairAverage,
        moments: &ClassMoments,
    ) -> Self {
        Self {
            value,
            std_error: None,
            form,
            unbiased,
            pairs: average.values,
            excluded_pairs: average.excluded,
            singleton_classes: moments.singleton_count(),
            samples: moments.measured_samples(),
        }
    }
}

/// The effective Poincaré constant of the features: a measured lower bound on the true one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoincareConstant {
    /// Var_i/GC_i for each class; `None` for classes with fewer than two samples and for classes of no variance and
    /// no complexity.
    pub per_class: Vec<Option<f64>>,
    /// The largest ratio: no smaller constant satisfies the inequality for all classes.
    pub max: f64,
    /// The class with the largest ratio.
    pub max_class: usize,
    /// Classes without a ratio.
    pub excluded_classes: usize,
    /// Samples of the classes of at least two samples.
    pub samples: u64,
}

/// Var_i/GC_i of every class, and the largest.
///
/// **Definition** A distribution satisfies a Poincaré inequality with constant c when Var f ≤ c·E‖∇f‖² for all smooth
/// f; for the features of class i this reads Var_i ≤ c·GC_i. The ratio is therefore a lower bound on c.
///
/// **Conventions** Variances with divisor n, as in the CDNV.
///
/// **Errors** [`Error::PerClassLength`]; [`Error::OutOfRange`] for a negative or non-finite complexity;
/// [`Error::Vanishing`] when a class varies although its complexity is zero (no constant is then large enough);
/// [`Error::TooFewClasses`] when no class has a value.
///
/// **Source** arXiv 2405.15706, Section 4.
///
/// ```
/// use collapse::{ClassMoments, Scatter, effective_poincare_constant};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
/// let constant = effective_poincare_constant(&moments, &[2.0, 1.0])?;
/// assert_eq!((constant.max, constant.max_class), (4.0, 1));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn effective_poincare_constant(moments: &ClassMoments, gc_per_class: &[f64]) -> Result<PoincareConstant> {
    let operation = "effective Poincaré constant";
    require_per_class(operation, moments, gc_per_class)?;
    let mut per_class = vec![None; moments.class_count()];
    let (max_class, max) = largest_ratio(moments, &|class| gc_per_class[class], |class, ratio| {
        if let Some(entry) = per_class.get_mut(class) {
            *entry = Some(ratio);
        }
    })?;
    let excluded_classes = per_class.iter().filter(|ratio| ratio.is_none()).count();
    Ok(PoincareConstant { per_class, max, max_class, excluded_classes, samples: moments.measured_samples() })
}

/// The class with the largest Var_i/GC_i, and the ratio; every ratio is passed to `each`.
pub(crate) fn largest_ratio(
    moments: &ClassMoments,
    gc: &dyn Fn(usize) -> f64,
    mut each: impl FnMut(usize, f64),
) -> Result<(usize, f64)> {
    let operation = "effective Poincaré constant";
    let mut largest: Option<(usize, f64)> = None;
    for class in moments.classes_with(Singletons::LeftOut) {
        let Some(variance) = moments.variance(class, Divisor::Samples) else { continue };
        let gc = gc(class);
        if gc == 0.0 {
            if variance > 0.0 {
                return Err(Error::Vanishing { operation, what: "the geometric complexity of a class that varies" });
            }
            continue;
        }
        let value = variance / gc;
        each(class, value);
        if largest.is_none_or(|(_, max)| value > max) {
            largest = Some((class, value));
        }
    }
    largest.ok_or(Error::TooFewClasses { operation, needed: 1, found: 0, singletons: moments.singleton_count() })
}

pub(crate) fn require_complexity(operation: &'static str, gc: f64) -> Result<()> {
    if gc.is_finite() && gc >= 0.0 {
        return Ok(());
    }
    Err(Error::OutOfRange { operation, what: "a geometric complexity", range: "finite and not negative", value: gc })
}

pub(crate) fn require_per_class(operation: &'static str, moments: &ClassMoments, gc_per_class: &[f64]) -> Result<()> {
    let expected = moments.class_count();
    if gc_per_class.len() != expected {
        let what = "the geometric complexity";
        return Err(Error::PerClassLength { operation, what, expected, actual: gc_per_class.len() });
    }
    moments
        .classes_with(Singletons::LeftOut)
        .iter()
        .try_for_each(|&class| require_complexity(operation, gc_per_class[class]))
}
