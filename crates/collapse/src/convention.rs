//! The choices in which definitions of the same measure differ, as values that every result states.

use serde::{Deserialize, Serialize};

/// Who weighs how much in an average over classes.
///
/// **Definition** w_c = 1/K (class-balanced) or n_c/N (sample-weighted), over the K classes that take part. The global
/// mean is Σ w_c μ_c, Σ_W = Σ w_c Σ_c, Σ_B = Σ w_c (μ_c − μ_G)(μ_c − μ_G)ᵀ. With equal class counts both agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// Every class counts the same.
    #[default]
    ClassBalanced,
    /// Every sample counts the same.
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

/// What a class variance is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// Which variance stands over the squared distance in a CDNV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Which variance stands over the squared distance.
    pub form: CdnvForm,
    /// What the variances are divided by.
    pub divisor: Divisor,
}

/// Where the inverse of Σ_B is truncated.
///
/// Σ_B of K classes in p dimensions has rank at most min(p, K − 1); rounding fills the rest of its spectrum with
/// small numbers whose inverses would drown the measure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// In which precision deviations from the class means are multiplied with each other, with means and with weights.
///
/// Counts, means, variances and everything that is not such a product are in f64 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// In the precision of the features. For f32, f16 and bf16 features deviations are rounded to f32 and multiplied
    /// over stretches of 512 terms, and the stretches are summed in f64. The error of an entry Σ_ij of the scatter is then
    /// at most 514·2⁻²⁴ ≈ 3.1e-5 of √(Σ_ii Σ_jj), and in practice about 1e-7 of it; it does not grow with the number of
    /// samples. Where f32 would overflow or underflow, products are taken in f64 all the same.
    #[default]
    OfFeatures,
    /// In f64, for three to four times the work on f32 features.
    Double,
}
