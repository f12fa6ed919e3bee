//! NC3, the alignment of a head with the class means; the collapse of its bias; and NC0, the sum of its rows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::between::Between;
use crate::convention::{Singletons, Weighting};
use crate::head::Head;
use crate::simplex::etf_distance;
use crate::{ClassMoments, Error, Result};

/// Self-duality of head and class means, in forms that are not comparable with each other.
///
/// No standard error is given, for the reason stated at [`crate::SimplexGeometry`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SelfDuality {
    /// ‖W/‖W‖ − M/‖M‖‖, Frobenius norms; between 0 and 2.
    pub difference: f64,
    /// Its square, as the notebook of Papyan et al. plots it.
    pub difference_squared: f64,
    /// ‖W Mᵀ/‖W Mᵀ‖ − (I − 11ᵀ/K)/√(K−1)‖.
    pub product_error: f64,
    /// Mean over classes of cos(w_c, m_c).
    pub alignment: f64,
    /// Standard deviation of cos(w_c, m_c) over classes (divisor K).
    pub alignment_std: f64,
    /// Classes that took part: those of at least two samples.
    pub classes: usize,
    /// Classes of one sample, which are left out with their rows of the head.
    pub singleton_classes: usize,
    /// Weighting of the global mean around which the class means are centred.
    pub weighting: Weighting,
    /// Samples of the classes that took part.
    pub samples: u64,
}

/// Self-duality (NC3) of a head and the class means.
///
/// **Definition** with M the rows μ_c − μ_G and W the weights of the same classes, see [`SelfDuality`].
///
/// **Errors** [`Error::Incompatible`], [`Error::TooFewClasses`], [`Error::Vanishing`].
///
/// **Source** difference: Papyan, Han, Donoho, PNAS 2020; product: Z. Zhu et al., NeurIPS 2021 (arXiv 2105.02375);
/// alignment: R. Wu, V. Papyan, NeurIPS 2024 (arXiv 2405.17767).
///
/// ```
/// use collapse::{ClassMoments, Head, Scatter, Weighting, self_duality};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[1.0f64, 5.0, 1.0, 5.0], &[0, 1, 0, 1])?;
/// let head = Head::from_slices(&[-3.0f64, 3.0], None, 2)?;
/// let duality = self_duality(&head, &moments, Weighting::ClassBalanced)?;
/// assert!(duality.difference < 1e-15 && duality.alignment > 1.0 - 1e-15);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn self_duality(head: &Head, moments: &ClassMoments, weighting: Weighting) -> Result<SelfDuality> {
    let operation = "self-duality";
    self_duality_with(operation, head, moments, weighting, Singletons::LeftOut)
}

/// Self-duality with or without classes of one sample.
pub(crate) fn self_duality_with(
    operation: &'static str,
    head: &Head,
    moments: &ClassMoments,
    weighting: Weighting,
    singletons: Singletons,
) -> Result<SelfDuality> {
    head.require_fit(operation, moments)?;
    let between = Between::around(operation, moments, weighting, weighting, singletons)?;
    let (means, width) = (&between.centred, between.width);
    let weights: Cow<'_, [f64]> = if between.classes.len() == head.class_count() {
        Cow::Borrowed(head.weight())
    } else {
        Cow::Owned(between.classes.iter().flat_map(|&class| head.row(class)).copied().collect())
    };
    let norm = |rows: &[f64]| rows.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (weight_norm, mean_norm) = (norm(&weights), norm(means));
    if weight_norm == 0.0 || mean_norm == 0.0 {
        return Err(Error::Vanishing { operation, what: "the head's weights or the centred class means" });
    }
    let gap = |(weight, mean): (&f64, &f64)| (weight / weight_norm - mean / mean_norm).powi(2);
    let difference_squared: f64 = weights.iter().zip(means).map(gap).sum();
    let cosine = |(weight, mean): (&[f64], &[f64])| {
        let product: f64 = weight.iter().zip(mean).map(|(weight, mean)| weight * mean).sum();
        let norms = norm(weight) * norm(mean);
        if norms > 0.0 { product / norms } else { 0.0 }
    };
    let cosines: Vec<f64> = weights.chunks_exact(width).zip(means.chunks_exact(width)).map(cosine).collect();
    let classes = cosines.len();
    let alignment = cosines.iter().sum::<f64>() / classes as f64;
    let variance = cosines.iter().map(|cosine| (cosine - alignment).powi(2)).sum::<f64>() / classes as f64;
    Ok(SelfDuality {
        difference: difference_squared.sqrt(),
        difference_squared,
        product_error: etf_distance(operation, &weights, means, width)?,
        alignment,
        alignment_std: variance.sqrt(),
        classes,
        singleton_classes: moments.singleton_count(),
        weighting,
        samples: moments.measured_samples(),
    })
}

/// The head's scores at the global mean, which the bias cancels at collapse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BiasCollapse {
    /// ‖W μ_G + b‖.
    pub norm: f64,
    /// ‖W μ_G + b‖ over ‖W μ_G‖ + ‖b‖, between 0 and 1; `None` when both vanish.
    pub relative: Option<f64>,
    /// Weighting of the global mean μ_G.
    pub weighting: Weighting,
    /// Classes of one sample, which are left out of μ_G.
    pub singleton_classes: usize,
    /// Samples of the classes that took part in μ_G.
    pub samples: u64,
}

/// Bias collapse: ‖W μ_G + b‖, which vanishes at neural collapse with a bias that is not regularised.
///
/// **Conventions** Classes of one sample are left out of μ_G. All rows of the head take part.
///
/// **Errors** [`Error::Incompatible`], [`Error::NoSamples`] when no class has two samples.
///
/// **Source** Z. Zhu et al., NeurIPS 2021 (arXiv 2105.02375), Section 3. A head without a bias counts as b = 0.
///
/// ```
/// use collapse::{ClassMoments, Head, Scatter, Weighting, bias_collapse};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[1.0f64, 5.0, 1.0, 5.0], &[0, 1, 0, 1])?;
/// let head = Head::from_slices(&[-1.0f64, 1.0], Some(&[3.0, -3.0]), 2)?;
/// assert_eq!(bias_collapse(&head, &moments, Weighting::ClassBalanced)?.norm, 0.0);
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn bias_collapse(head: &Head, moments: &ClassMoments, weighting: Weighting) -> Result<BiasCollapse> {
    bias_collapse_with(head, moments, weighting, Singletons::LeftOut)
}

/// Bias collapse with or without classes of one sample in μ_G.
pub(crate) fn bias_collapse_with(
    head: &Head,
    moments: &ClassMoments,
    weighting: Weighting,
    singletons: Singletons,
) -> Result<BiasCollapse> {
    head.require_fit("bias collapse", moments)?;
    let mean = moments.mean_over(&moments.classes_with(singletons), weighting)?;
    let (mut both, mut image, mut bias) = (0.0, 0.0, 0.0);
    for class in 0..head.class_count() {
        let score: f64 = head.row(class).iter().zip(&mean).map(|(weight, mean)| weight * mean).sum();
        let offset = head.offset(class);
        both += (score + offset).powi(2);
        image += score * score;
        bias += offset * offset;
    }
    let scale = image.sqrt() + bias.sqrt();
    let relative = (scale > 0.0).then(|| both.sqrt() / scale);
    Ok(BiasCollapse {
        norm: both.sqrt(),
        relative,
        weighting,
        singleton_classes: moments.singleton_count(),
        samples: moments.measured_samples(),
    })
}

/// NC0: the norm of the sum of the head's weights over classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ZeroSum {
    /// ‖Σ_c w_c‖.
    pub norm: f64,
    /// ‖Σ_c w_c‖/(√K·‖W‖), between 0 and 1: the share of W along the all-ones direction over classes.
    pub relative: f64,
}

/// NC0 of a head: ‖Σ_c w_c‖, a necessary condition for collapse that needs no data.
///
/// **Errors** [`Error::Vanishing`] when all weights are zero.
///
/// **Source** the row-sum norm logged as NC0 by J. Zhao's `neural_collapse_optimizer`; the relative form is ours.
///
/// ```
/// let head = collapse::Head::from_slices(&[3.0f64, 0.0, 0.0, 4.0], None, 2)?;
/// let sum = collapse::zero_sum(&head)?;
/// assert_eq!((sum.norm, sum.relative), (5.0, 1.0 / 2f64.sqrt()));
/// # Ok::<(), collapse::Error>(())
/// ```
pub fn zero_sum(head: &Head) -> Result<ZeroSum> {
    let mut sum = vec![0.0; head.feature_count()];
    for row in head.weight().chunks_exact(head.feature_count()) {
        sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight);
    }
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let total = norm(head.weight());
    if total == 0.0 {
        return Err(Error::Vanishing { operation: "zero sum of a head", what: "the matrix of weights" });
    }
    Ok(ZeroSum { norm: norm(&sum), relative: norm(&sum) / (total * (head.class_count() as f64).sqrt()) })
}
