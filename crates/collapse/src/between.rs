//! The between-class covariance and its trace.

use crate::convention::{Singletons, Weighting};
use crate::{ClassMoments, Result};

/// Class means around the global mean, in one weighting.
#[cfg_attr(not(feature = "faer"), allow(dead_code))] // weighting and rank are those of the spectrum
pub(crate) struct Between {
    /// The classes that take part, ascending.
    pub(crate) classes: Vec<usize>,
    /// Their weights, summing to one.
    pub(crate) weights: Vec<f64>,
    /// μ_c − μ_G, row-major [classes, width].
    pub(crate) centred: Vec<f64>,
    pub(crate) width: usize,
    pub(crate) weighting: Weighting,
    /// The largest rank of Σ_B that the number of classes allows.
    pub(crate) rank: usize,
}

impl Between {
    pub(crate) fn new(operation: &'static str, moments: &ClassMoments, weighting: Weighting) -> Result<Self> {
        Self::around(operation, moments, weighting, weighting, Singletons::LeftOut)
    }

    /// Class means around a global mean of another weighting, as some codebases define it; Σ_B can then have rank K.
    pub(crate) fn around(
        operation: &'static str,
        moments: &ClassMoments,
        weighting: Weighting,
        centre: Weighting,
        singletons: Singletons,
    ) -> Result<Self> {
        let classes = moments.two_classes_with(operation, singletons)?;
        let weights = weighting.weights(&moments.counts_of(&classes));
        let rank = classes.len() - usize::from(centre == weighting);
        let centre = moments.mean_over(&classes, centre)?;
        let centred = moments.centred_means(&classes, &centre);
        Ok(Self { classes, weights, centred, width: moments.feature_count(), weighting, rank })
    }

    /// tr Σ_B = Σ w_c ‖μ_c − μ_G‖².
    pub(crate) fn trace(&self) -> f64 {
        let squares =
            self.centred.chunks_exact(self.width).map(|row| row.iter().map(|value| value * value).sum::<f64>());
        self.weights.iter().zip(squares).map(|(weight, square)| weight * square).sum()
    }
}
