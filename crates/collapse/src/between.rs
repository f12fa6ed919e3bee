//! The between-class covariance: its trace, spectrum and truncated inverse.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef};

use crate::convention::{Truncation, Weighting};
use crate::spectrum::{eigen, parallelism};
use crate::{ClassMoments, Error, Result};

/// Class means around the global mean, in one weighting.
pub(crate) struct Between {
    /// Classes with samples, ascending.
    pub(crate) classes: Vec<usize>,
    /// Their weights, summing to one.
    pub(crate) weights: Vec<f64>,
    /// μ_c − μ_G, row-major [classes, width].
    pub(crate) centred: Vec<f64>,
    pub(crate) width: usize,
    /// The largest rank that Σ_B can have, but for the number of features.
    rank: usize,
}

impl Between {
    pub(crate) fn new(operation: &'static str, moments: &ClassMoments, weighting: Weighting) -> Result<Self> {
        Self::around(operation, moments, weighting, weighting)
    }

    /// The same around a centre of another weighting, as some codebases have it; Σ_B can then have rank K.
    pub(crate) fn around(
        operation: &'static str,
        moments: &ClassMoments,
        weighting: Weighting,
        centre: Weighting,
    ) -> Result<Self> {
        let classes = moments.present_classes();
        if classes.len() < 2 {
            return Err(Error::TooFewClasses { operation, needed: 2, found: classes.len() });
        }
        let counts: Vec<u64> = classes.iter().map(|&class| moments.counts()[class]).collect();
        let weights = weighting.weights(&counts);
        let rank = classes.len() - usize::from(centre == weighting);
        let centre = moments.global_mean(centre)?;
        let centred = classes
            .iter()
            .filter_map(|&class| moments.mean(class))
            .flat_map(|mean| mean.iter().zip(&centre).map(|(value, centre)| value - centre))
            .collect();
        Ok(Self { classes, weights, centred, width: moments.feature_count(), rank })
    }

    /// tr Σ_B = Σ w_c ‖μ_c − μ_G‖².
    pub(crate) fn trace(&self) -> f64 {
        let squares =
            self.centred.chunks_exact(self.width).map(|row| row.iter().map(|value| value * value).sum::<f64>());
        self.weights.iter().zip(squares).map(|(weight, square)| weight * square).sum()
    }

    /// Rows √w_c (μ_c − μ_G), so that Σ_B is their Gram matrix over features.
    pub(crate) fn scaled(&self) -> Mat<f64> {
        let scale: Vec<f64> = self.weights.iter().map(|weight| weight.sqrt()).collect();
        Mat::from_fn(self.classes.len(), self.width, |row, column| scale[row] * self.centred[row * self.width + column])
    }

    /// Kept eigenvalues of Σ_B, descending, and their unit eigenvectors as columns [width, rank].
    ///
    /// With fewer classes than features the K×K Gram matrix is decomposed instead of the p×p covariance: its non-zero
    /// spectrum is the same.
    pub(crate) fn spectrum(&self, operation: &'static str, truncation: Truncation) -> Result<(Vec<f64>, Mat<f64>)> {
        let rows = self.scaled();
        let (count, width) = (rows.nrows(), rows.ncols());
        let size = count.min(width);
        let (left, right) =
            if count <= width { (rows.as_ref(), rows.transpose()) } else { (rows.transpose(), rows.as_ref()) };
        let mut gram = Mat::<f64>::zeros(size, size);
        matmul(gram.as_mut(), Accum::Replace, left, right, 1.0, parallelism(size));
        let (mut values, vectors) = eigen(operation, gram.as_ref())?;
        let largest = values.first().copied().unwrap_or(0.0);
        if largest <= 0.0 {
            return Err(Error::Vanishing { operation, what: "the between-class covariance" });
        }
        values.truncate(width.min(self.rank));
        match truncation {
            Truncation::Relative(share) => values.retain(|&value| value > share * largest),
            Truncation::Rank => {
                if values.iter().any(|&value| value <= 0.0) {
                    return Err(Error::Vanishing { operation, what: "an eigenvalue within the truncation rank" });
                }
            }
        }
        let kept = vectors.subcols(0, values.len());
        if count > width {
            return Ok((values, kept.to_owned()));
        }
        let mut basis = Mat::<f64>::zeros(width, values.len());
        matmul(basis.as_mut(), Accum::Replace, rows.transpose(), kept, 1.0, parallelism(size));
        for (column, value) in values.iter().enumerate() {
            let scale = 1.0 / value.sqrt();
            (0..width).for_each(|row| basis[(row, column)] *= scale);
        }
        Ok((values, basis))
    }
}

/// tr(Bᵀ S B · diag(1/λ)) for a symmetric row-major S with a valid lower triangle.
pub(crate) fn weighted_trace(products: &[f64], width: usize, basis: MatRef<'_, f64>, values: &[f64]) -> f64 {
    let symmetric = symmetric(products, width);
    let mut image = Mat::<f64>::zeros(width, basis.ncols());
    matmul(image.as_mut(), Accum::Replace, symmetric.as_ref(), basis, 1.0, parallelism(width));
    let dot = |column: usize| (0..width).map(|row| image[(row, column)] * basis[(row, column)]).sum::<f64>();
    values.iter().enumerate().map(|(column, value)| dot(column) / value).sum()
}

/// The full matrix of a row-major lower triangle.
pub(crate) fn symmetric(products: &[f64], width: usize) -> Mat<f64> {
    Mat::from_fn(width, width, |row, column| products[row.max(column) * width + row.min(column)])
}
