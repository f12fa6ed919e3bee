//! The measures of a report that need an eigendecomposition: NC1, VCI and RankMe.

use faer::Mat;

use super::ReportOptions;
use super::measures::VariabilityMeasures;
use super::record::Gaps;
use crate::between::Between;
use crate::convention::{Truncation, Weighting};
use crate::spectral::{Variability, equal_counts, rank_me_within, variability_with, vci_with, weighted_trace};
use crate::{Centring, ClassMoments, Result, SamplePass, Scatter};

/// Eigenvalues and eigenvectors of Σ_B.
type Spectrum = (Vec<f64>, Mat<f64>);

/// The decomposition of Σ_B, before the second pass or after it.
pub(super) struct Spectral<'a> {
    options: &'a ReportOptions,
    /// Whether the pooled scatter gives NC1. The centred means and the basis of Σ_B are then allocated after the pass only.
    pooled_fits: bool,
    early: Option<(Between, Result<Spectrum>)>,
    /// Whether the spectrum holds coefficients of the centred means instead of eigenvectors.
    projected: bool,
    /// tr(Σ_W Σ_B⁺) from the second pass.
    whitened: Option<f64>,
}

/// The largest quotient of eigenvalues of Σ_B for which f32 projections on the means give NC1.
const SPREAD: f64 = 1e5;

impl<'a> Spectral<'a> {
    pub(super) fn new(options: &'a ReportOptions, moments: &ClassMoments) -> Result<Self> {
        let sample_weighted = options.weighting == Weighting::SampleWeighted;
        let pooled_fits = options.scatter() == Scatter::Full && (sample_weighted || equal_counts(moments));
        let mut spectral = Self { options, pooled_fits, early: None, projected: false, whitened: None };
        if options.projected {
            spectral.early = spectral.coefficients(moments)?;
            spectral.projected = spectral.early.is_some();
        }
        if !pooled_fits && !spectral.projected {
            spectral.early = Some(spectral.decompose(moments)?);
        }
        Ok(spectral)
    }

    /// Eigenvalues, and eigenvectors as sums of centred means; `None` where these are too inexact or too many.
    fn coefficients(&self, moments: &ClassMoments) -> Result<Option<(Between, Result<Spectrum>)>> {
        let between = Between::new("report", moments, self.options.weighting)?;
        if between.classes.len() > between.width {
            return Ok(None);
        }
        let spectrum = between.decomposition("within-class variability", self.options.truncation);
        let close =
            |values: &[f64]| values.first().zip(values.last()).is_some_and(|(most, least)| most / least <= SPREAD);
        let exact = spectrum.as_ref().is_ok_and(|(values, _)| close(values));
        // The pass needs the weights alone.
        Ok(exact.then(|| (Between { centred: Vec::new(), ..between }, spectrum)))
    }

    fn decompose(&self, moments: &ClassMoments) -> Result<(Between, Result<Spectrum>)> {
        let between = Between::new("report", moments, self.options.weighting)?;
        let spectrum = between.spectrum("within-class variability", self.options.truncation);
        Ok((between, spectrum))
    }

    /// Lets the pass sum what NC1 needs.
    pub(super) fn prepare<'m>(&self, pass: SamplePass<'m>) -> SamplePass<'m> {
        match &self.early {
            Some((between, _)) if self.projected => pass.with_projected_scatter(&between.weights),
            Some((_, Ok((values, basis)))) => pass.with_whitening(whitening(values, basis)),
            _ => pass,
        }
    }

    /// Reads what the pass has summed.
    pub(super) fn read(&mut self, pass: &SamplePass<'_>) {
        self.whitened = match (&self.early, pass.projected_scatter()) {
            (Some((between, Ok(spectrum))), Some(scatter)) => Some(of_projections(between, spectrum, scatter)),
            (Some((between, _)), _) => Some(pass.whitened(&between.weights)),
            (None, _) => None,
        };
    }

    /// NC1, its trace and rank, and VCI, where they are defined.
    pub(super) fn measure(mut self, moments: &ClassMoments, undefined: &mut Gaps) -> Result<VariabilityMeasures> {
        let truncation = self.options.truncation;
        let early = self.early.take();
        let (between, spectrum) = early.map_or_else(|| self.decompose(moments), Ok)?;
        let variability = undefined.keep(
            "nc1",
            spectrum.and_then(|spectrum| {
                if let (Some(products), true) = (moments.products(), self.pooled_fits) {
                    return variability_with(moments, truncation, &between, &spectrum, products);
                }
                let trace = self.whitened.unwrap_or_default();
                Ok(Variability::new(trace, spectrum.0.len(), truncation, &between, moments))
            }),
        );
        let full = self.options.scatter() == Scatter::Full;
        let index = || undefined.keep("vci", self.index(moments, &between, variability.as_ref()));
        let vci = full.then(index).flatten();
        Ok(VariabilityMeasures {
            nc1: variability.map(|variability| variability.nc1),
            nc1_trace: variability.map(|variability| variability.trace),
            nc1_rank: variability.map(|variability| variability.rank),
            vci,
            ..VariabilityMeasures::default()
        })
    }

    /// VCI is sample-weighted. It reuses the rank from NC1 where the weighting and truncation are the same.
    fn index(&self, moments: &ClassMoments, between: &Between, variability: Option<&Variability>) -> Result<f64> {
        let ReportOptions { weighting, truncation, .. } = *self.options;
        let same = weighting == Weighting::SampleWeighted || equal_counts(moments);
        match variability {
            Some(variability) if same && truncation == Truncation::default() => {
                Ok(vci_with(moments, weighting, between, variability.rank)?.vci)
            }
            _ => Ok(crate::vci(moments, Weighting::SampleWeighted)?.vci),
        }
    }
}

/// RankMe, the last measure of a report: it overwrites the scatter matrix.
pub(super) fn rank_me(options: &ReportOptions, moments: &mut ClassMoments, undefined: &mut Gaps) -> Option<f64> {
    let full = options.scatter() == Scatter::Full;
    let rank = full.then(|| undefined.keep("rank_me", rank_me_within(moments, Centring::Uncentred))).flatten();
    rank.map(|rank| rank.rank_me)
}

/// tr(Σ_W Σ_B⁺) from the scatter T of t, the projections on means around the unweighted centre.
///
/// With the weights w of the classes, t − 1(wᵀt) are the projections on means around the global mean. The projection on q_k, whose
/// coefficients are c_k, is therefore (c_k − w(1ᵀc_k))ᵀt.
fn of_projections(between: &Between, (values, coefficients): &Spectrum, scatter: &[f64]) -> f64 {
    let size = between.classes.len();
    let sums: Vec<f64> = (0..values.len()).map(|column| coefficients.col(column).iter().sum()).collect();
    let centred = Mat::from_fn(size, values.len(), |row, column| {
        coefficients[(row, column)] - between.weights[row] * sums[column]
    });
    weighted_trace(scatter, size, centred.as_ref(), values)
}

/// Rows q_kᵀ/√λ_k, row-major, so that ‖R d‖² = dᵀ Σ_B⁺ d.
fn whitening(values: &[f64], basis: &Mat<f64>) -> Vec<f64> {
    let row = |(column, value): (usize, &f64)| {
        let scale = 1.0 / value.sqrt();
        basis.col(column).iter().map(move |entry| entry * scale).collect::<Vec<_>>()
    };
    values.iter().enumerate().flat_map(row).collect()
}
