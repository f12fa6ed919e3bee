//! The measures in the conventions of public codebases, so that numbers can be compared with theirs.
//!
//! The conventions were read from the codebases' public sources; no code of theirs is used here. These codebases keep
//! classes of one sample in all sums, and so do the presets: the class has covariance 0 and its mean is the sample.
//! Where a source contradicts its own documentation, no preset follows it:
//!
//! - `rhubarbwu/neural-collapse`: its classifier agreement leaves out the head's bias (use [`crate::SamplePass`]); its
//!   truncated-SVD form fails for K > p (it requests K − 1 singular values of a p×p matrix).
//! - `felixsh/nc-toolbox`: its equinorm averages *signed* differences of log norms over i < j, which depends on the
//!   order of classes; its equiangularity averages *signed* deviations, which vanish whenever norms are equal and means
//!   centred; its uniform duality averages the off-diagonal similarities of weights and means; its class variances look
//!   up means by raw label, which is wrong for labels that are not contiguous.
//! - `kowalski`: its between-class covariance sums (x − μ_G)(x − μ_G)ᵀ over all *samples* and divides by K, so that it is
//!   n/K times the total covariance; its within-class variability is therefore no NC1 and is left out here.
//! - The notebook of Papyan et al. and its many descendants take a truncated SVD of rank K − 1, which inverts rounding
//!   when p < K − 1.

use serde::{Deserialize, Serialize};

use super::between::weighted_trace;
use crate::between::Between;
use crate::cdnv::cdnv_with;
use crate::convention::{CdnvConvention, CdnvForm, Divisor, Singletons, Truncation, Weighting};
use crate::duality::{bias_collapse_with, self_duality_with};
use crate::simplex::simplex_with;
use crate::{ClassMoments, Error, Head, Result, simplex_of_head};

/// A public codebase whose conventions can be measured. Unlike all other measures of this crate, presets keep classes of
/// one sample, because the codebases do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Preset {
    /// `rhubarbwu/neural-collapse`: Σ_W over samples; means and Σ_B over classes; NC1 by pseudoinverse, over K.
    RhubarbWu,
    /// The notebook of Papyan, Han and Donoho: the same, NC1 *not* over K, norms' deviation with divisor K − 1, NC3
    /// squared.
    Papyan,
    /// `tding1/Neural-Collapse` (Zhu et al. 2021): Σ_B over classes around the mean over *samples*; ETF error of W.
    Tding1,
    /// `felixsh/nc-toolbox`: Σ_B as in [`Preset::Tding1`]; class variances with divisor n − 1, so that there is no CDNV when
    /// a class has one sample.
    NcToolbox,
    /// `kowalski` (PyPI): CDNV with divisor n; ETF error of W, duality and bias around the mean over *samples*. No NC1.
    Kowalski,
}

/// The measures that a codebase reports. Measures that it does not have are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PresetMeasures {
    /// tr(Σ_W Σ_B⁺), divided by K or not as in the codebase.
    pub nc1: Option<f64>,
    /// tr Σ_W / tr Σ_B.
    pub trace_ratio: Option<f64>,
    /// tr Σ_W / (tr Σ_W + tr Σ_B).
    pub within_share: Option<f64>,
    /// Mean CDNV.
    pub cdnv: Option<f64>,
    /// Standard deviation over mean of the norms of centred class means.
    pub equinorm: Option<f64>,
    /// Standard deviation over mean of the norms of the head's rows.
    pub equinorm_of_head: Option<f64>,
    /// Mean |cos + 1/(K−1)| of the class means.
    pub equiangularity: Option<f64>,
    /// Mean |cos + 1/(K−1)| of the head's rows.
    pub equiangularity_of_head: Option<f64>,
    /// ETF error of the class means.
    pub etf_error: Option<f64>,
    /// ETF error of the head's rows.
    pub etf_error_of_head: Option<f64>,
    /// Mean log inverse distance of the directions of the class means.
    pub log_energy: Option<f64>,
    /// ‖W/‖W‖ − M/‖M‖‖, or its square.
    pub self_duality: Option<f64>,
    /// ‖WMᵀ/‖WMᵀ‖ − ETF‖.
    pub duality_etf_error: Option<f64>,
    /// ‖W μ_G + b‖.
    pub bias_collapse: Option<f64>,
    /// Samples, including those of classes of one sample.
    pub samples: u64,
}

impl Preset {
    /// Measures moments (with [`crate::Scatter::Full`]) and a head as this codebase does, up to its rounding.
    ///
    /// **Errors** [`Error::ScatterNotHeld`], [`Error::TooFewClasses`], and those of the measures that the codebase has.
    ///
    /// ```
    /// use collapse::{ClassMoments, Preset, Scatter};
    /// let mut moments = ClassMoments::new(2, 1, Scatter::Full);
    /// moments.update_slice(&[-1.0f64, 1.0, 8.0, 12.0], &[0, 0, 1, 1])?;
    /// let (wu, papyan) = (Preset::RhubarbWu.measure(&moments, None)?, Preset::Papyan.measure(&moments, None)?);
    /// assert_eq!(wu.nc1.map(|nc1| nc1 * 2.0), papyan.nc1);
    /// # Ok::<(), collapse::Error>(())
    /// ```
    pub fn measure(self, moments: &ClassMoments, head: Option<&Head>) -> Result<PresetMeasures> {
        let centre = match self {
            Self::RhubarbWu | Self::Papyan => Weighting::ClassBalanced,
            Self::Tding1 | Self::NcToolbox | Self::Kowalski => Weighting::SampleWeighted,
        };
        let covariances = Covariances::new(moments, centre)?;
        let mut measures = PresetMeasures { samples: moments.sample_count(), ..PresetMeasures::default() };
        let classes = moments.classes().len() as f64;
        measures.nc1 = match self {
            Self::Papyan => Some(covariances.trace),
            Self::Kowalski => None,
            _ => Some(covariances.trace / classes),
        };
        self.add_means(moments, centre, &covariances, &mut measures)?;
        if let Some(head) = head {
            self.add_head(moments, centre, head, &mut measures)?;
        }
        Ok(measures)
    }

    fn add_means(
        self,
        moments: &ClassMoments,
        centre: Weighting,
        covariances: &Covariances,
        measures: &mut PresetMeasures,
    ) -> Result<()> {
        let geometry = simplex_with(moments, centre, Singletons::Kept)?;
        let convention = |divisor| CdnvConvention { form: CdnvForm::Halved, divisor };
        let cdnv = |divisor| cdnv_with(moments, convention(divisor), Singletons::Kept);
        match self {
            Self::RhubarbWu => {
                measures.cdnv = Some(cdnv(Divisor::Samples)?.mean);
                measures.trace_ratio = Some(covariances.within / covariances.between);
                measures.etf_error = Some(geometry.etf_error);
                measures.log_energy = Some(geometry.uniformity.log_energy);
            }
            Self::Papyan => {
                measures.equinorm = Some(geometry.equinorm * bessel(geometry.classes));
                measures.equiangularity = Some(geometry.equiangularity);
            }
            Self::Tding1 => {}
            Self::Kowalski => measures.cdnv = Some(cdnv(Divisor::Samples)?.mean),
            Self::NcToolbox => {
                // The variance of one sample with divisor n − 1 is 0/0.
                if moments.singleton_count() == 0 {
                    measures.cdnv = Some(cdnv(Divisor::SamplesMinusOne)?.mean);
                }
                measures.within_share = Some(covariances.within / (covariances.within + covariances.between));
                measures.log_energy = Some(geometry.uniformity.log_energy);
            }
        }
        Ok(())
    }

    fn add_head(
        self,
        moments: &ClassMoments,
        centre: Weighting,
        head: &Head,
        measures: &mut PresetMeasures,
    ) -> Result<()> {
        let duality = self_duality_with("preset", head, moments, centre, Singletons::Kept)?;
        match self {
            Self::RhubarbWu => measures.duality_etf_error = Some(duality.product_error),
            Self::Papyan => {
                let geometry = simplex_of_head(head)?;
                measures.equinorm_of_head = Some(geometry.equinorm * bessel(geometry.classes));
                measures.equiangularity_of_head = Some(geometry.equiangularity);
                measures.self_duality = Some(duality.difference_squared);
            }
            Self::Tding1 | Self::Kowalski => {
                measures.etf_error_of_head = Some(simplex_of_head(head)?.etf_error);
                measures.duality_etf_error = Some(duality.product_error);
                measures.bias_collapse = Some(bias_collapse_with(head, moments, centre, Singletons::Kept)?.norm);
            }
            Self::NcToolbox => measures.self_duality = Some(duality.difference),
        }
        Ok(())
    }
}

/// Turns a standard deviation with divisor K into one with K − 1.
fn bessel(classes: usize) -> f64 {
    (classes as f64 / (classes as f64 - 1.0)).sqrt()
}

/// Σ_W over samples against Σ_B over classes, around either mean.
struct Covariances {
    within: f64,
    between: f64,
    trace: f64,
}

impl Covariances {
    fn new(moments: &ClassMoments, centre: Weighting) -> Result<Self> {
        let operation = "preset";
        let between = Between::around(operation, moments, Weighting::ClassBalanced, centre, Singletons::Kept)?;
        let products = moments.products().ok_or(Error::ScatterNotHeld {
            operation,
            reason: "these moments hold variances only; accumulate them with Scatter::Full",
        })?;
        let (values, basis) = between.spectrum(operation, Truncation::default())?;
        let samples = moments.sample_count() as f64;
        let within = moments.square_total() / samples;
        let trace = weighted_trace(products, between.width, basis.as_ref(), &values) / samples;
        Ok(Self { within, between: between.trace(), trace })
    }
}
