//! The choices in which definitions of the same measure differ, as values that every result states.

use serde::{Deserialize, Serialize};

/// The weights of classes in an average over classes.
///
/// **Definition** w_c = 1/K (class-balanced) or n_c/N (sample-weighted), over the K classes of at least two samples and
/// their N samples. Classes of one sample are left out of all sums, together with their samples. The global
/// mean is Σ w_c μ_c, Σ_W = Σ w_c Σ_c, Σ_B = Σ w_c (μ_c − μ_G)(μ_c − μ_G)ᵀ. With equal class counts both agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Weighting {
    /// Every class has the same weight.
    #[default]
    ClassBalanced,
    /// Every sample has the same weight.
    SampleWeighted,
}

impl Weighting {
    /// Normalised weights of classes with these sample counts.
    pub(crate) fn weights(self, counts: &[u64]) -> Vec<f64> {
        let total: u64 = counts.iter().sum();
        match self {
            Self::ClassBalanced => vec![1.0 / counts.len() as f64; counts.len()],
            Self::SampleWeighted => counts.iter().map(|&count| count as f64 / total as f64).collect(),
        }
    }
}

/// Whether classes of one sample take part. Only conventions of other codebases keep them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Singletons {
    LeftOut,
    Kept,
}

/// The divisor of a class variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Divisor {
    /// The sample count n: the variance of the empirical distribution.
    #[default]
    Samples,
    /// n − 1: the unbiased estimate.
    SamplesMinusOne,
}

impl Divisor {
    pub(crate) fn of(self, count: u64) -> f64 {
        match self {
            Self::Samples => count as f64,
            Self::SamplesMinusOne => count as f64 - 1.0,
        }
    }
}

/// The numerator of a CDNV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CdnvForm {
    /// (Var_i + Var_j) / (2 d_ij²), over unordered pairs (Galanti et al. 2022; Munn et al. 2024).
    #[default]
    Halved,
    /// (Var_i + Var_j) / d_ij², over unordered pairs.
    Unhalved,
    /// Var_i / d_ij², over ordered pairs: the same mean as [`CdnvForm::Halved`], another maximum.
    Ordered,
}

/// A convention of the class-distance normalised variance: its form and the divisor of its variances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CdnvConvention {
    /// The numerator over the squared distance.
    pub form: CdnvForm,
    /// The divisor of the variances.
    pub divisor: Divisor,
}

/// The eigenvalues of Σ_B that its pseudoinverse keeps.
///
/// Σ_B of K classes in p dimensions has rank at most min(p, K − 1). The other computed eigenvalues are rounding errors;
/// their inverses would dominate the measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Truncation {
    /// Keeps eigenvalues above this multiple of the largest one, and never more than min(p, K − 1).
    Relative(f64),
    /// Keeps the largest min(p, K − 1) eigenvalues, as a truncated SVD does; a zero among them is an error.
    Rank,
}

impl Default for Truncation {
    fn default() -> Self {
        Self::Relative(1e-10)
    }
}

/// The precision in which deviations from the class means are multiplied with each other, with means and with weights.
///
/// Counts, means, variances and everything that is not such a product are always in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Precision {
    /// In the precision of the features. For f32, f16 and bf16 features deviations are rounded to f32 and multiplied
    /// over stretches of 512 terms, and the stretches are summed in f64. The error of an entry Σ_ij of the scatter is then
    /// at most 514·2⁻²⁴ ≈ 3.1e-5 of √(Σ_ii Σ_jj), and in practice about 1e-7 of it; it does not grow with the number of
    /// samples. Where f32 would overflow or underflow, products are taken in f64.
    #[default]
    OfFeatures,
    /// In f64. With f32 features this takes longer: an f64 product does half as many numbers at a time.
    Double,
}
