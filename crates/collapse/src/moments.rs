//! The one accumulator: counts, means and within-class scatter of labelled features.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::batch::BatchMoments;
use crate::convention::{Divisor, Precision, Weighting};
use crate::features::{Element, Labelled, Rows, with_rows};
use crate::products::add_scatter;
use crate::{Error, Result};

/// How much of the within-class scatter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scatter {
    /// Each class's total variance alone: K·p numbers in all. Enough for CDNV, geometric collapse, NC2, NC3, trace
    /// ratios and the bounds.
    Trace,
    /// Also the p×p matrix Σ_c Σ_{x∈c} (x − μ_c)(x − μ_c)ᵀ, pooled over classes: needed for NC1 from moments alone,
    /// for VCI and for RankMe.
    Full,
}

/// Counts, means and within-class scatter of labelled features, from batches in any order and of any size.
///
/// **Definition** for every class c: n_c, μ_c = mean of x, and Σ‖x − μ_c‖²; with [`Scatter::Full`] also the pooled
/// within-class scatter matrix. Batches are summed in two passes and joined by the pairwise update of Chan, Golub and
/// LeVeque, so features far from zero lose nothing to cancellation.
///
/// **Shapes** features `[n, p]`, labels `[n]` with values below the class count. Memory is K·p numbers, and p² more with
/// [`Scatter::Full`]; no batch is kept.
///
/// **Conventions** Sums are in f64. Products of f32 features' deviations (only those of the scatter matrix) are taken
/// in f32 over stretches of 512 samples and then summed in f64, or wholly in f64: see [`Precision`]. Variances, means and
/// everything that needs no scatter matrix are in f64 throughout. The result has the same bits for any number of threads;
/// another split into batches changes only the last digits.
///
/// **Errors** of [`ClassMoments::update`] leave the moments as they were.
///
/// **Source** T. Chan, G. Golub, R. LeVeque, *Algorithms for computing the sample variance*, 1983, eq. 2.1.
///
/// ```
/// use collapse::{ClassMoments, Divisor, Scatter};
/// let mut moments = ClassMoments::new(2, 1, Scatter::Trace);
/// moments.update_slice(&[1.0f64, 10.0, 3.0], &[0, 1, 0])?;
/// moments.update_slice(&[14.0f64], &[1])?;
/// assert_eq!(moments.mean(0), Some(&[2.0][..]));
/// assert_eq!(moments.variance(1, Divisor::Samples), Some(4.0));
/// # Ok::<(), collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct ClassMoments {
    class_count: usize,
    feature_count: usize,
    scatter: Scatter,
    precision: Precision,
    counts: Vec<u64>,
    /// Row-major `[K, p]`; a row of zeros for a class without samples.
    means: Vec<f64>,
    /// Σ‖x − μ_c‖² for each class.
    squares: Vec<f64>,
    /// Row-major `[p, p]` of which the lower triangle is valid; empty without the full scatter.
    products: Vec<f64>,
}

impl ClassMoments {
    /// Moments of nothing yet, for labels below `class_count` and `feature_count` features.
    pub fn new(class_count: usize, feature_count: usize, scatter: Scatter) -> Self {
        let products = match scatter {
            Scatter::Trace => Vec::new(),
            Scatter::Full => vec![0.0; feature_count * feature_count],
        };
        Self {
            class_count,
            feature_count,
            scatter,
            precision: Precision::default(),
            counts: vec![0; class_count],
            means: vec![0.0; class_count * feature_count],
            squares: vec![0.0; class_count],
            products,
        }
    }

    /// The same with products of deviations in another precision, here and in a [`crate::SamplePass`] by these moments.
    ///
    /// ```
    /// use collapse::{ClassMoments, Precision, Scatter};
    /// let moments = ClassMoments::new(2, 3, Scatter::Full).with_precision(Precision::Double);
    /// assert_eq!(moments.precision(), Precision::Double);
    /// ```
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Adds a batch: `features` `[n, p]` of any floating-point type, `labels` `[n]`.
    ///
    /// A contiguous f32 or f64 tensor in this machine's memory is read in place.
    ///
    /// **Errors** [`Error::Shape`], [`Error::FeatureType`], [`Error::LabelCount`], [`Error::LabelOutOfRange`],
    /// [`Error::NonFinite`] (with the row and column), [`Error::Overflow`].
    pub fn update(&mut self, features: &Tensor, labels: &[u32]) -> Result<()> {
        const OPERATION: &str = "class moments";
        let rows = features.dims().first().copied().unwrap_or(0);
        if features.rank() == 2 && rows != labels.len() {
            return Err(Error::LabelCount { operation: OPERATION, features: rows, labels: labels.len() });
        }
        // Chunks of a converted tensor go to a second accumulator, so that an error in a later one changes nothing.
        let mut batch = Self::new(self.class_count, self.feature_count, self.scatter).with_precision(self.precision);
        let mut whole = true;
        with_rows(OPERATION, features, self.feature_count, |start, data| {
            let count = match data {
                Rows::F32(data) => data.len(),
                Rows::F64(data) => data.len(),
            } / self.feature_count.max(1);
            let labels = &labels[start..start + count];
            whole &= count == rows;
            let target = if whole { &mut *self } else { &mut batch };
            match data {
                Rows::F32(data) => target.update_slice(data, labels),
                Rows::F64(data) => target.update_slice(data, labels),
            }
            .map_err(|error| error.at_row(start))
        })?;
        if whole { Ok(()) } else { self.merge(&batch) }
    }

    /// Adds a batch from a slice of whole rows, one after another.
    ///
    /// **Errors** as of [`ClassMoments::update`].
    pub fn update_slice<E: Element>(&mut self, features: &[E], labels: &[u32]) -> Result<()> {
        const OPERATION: &str = "class moments";
        let data = Labelled::new(OPERATION, features, labels, self.feature_count, self.class_count)?;
        let products = (self.scatter == Scatter::Full).then_some((&mut self.products[..], self.precision));
        let batch = BatchMoments::new(OPERATION, &data, self.class_count, products)?;
        let width = self.feature_count;
        let joined = batch.order.classes.iter().enumerate().map(|(slot, (class, stretch))| ClassSums {
            class: *class,
            count: stretch.len() as u64,
            mean: &batch.means[slot * width..(slot + 1) * width],
            squares: batch.squares[slot],
        });
        self.join(joined);
        Ok(())
    }

    /// Adds all samples of `other`, as if its batches had been given here.
    ///
    /// **Errors** [`Error::Incompatible`] when class count, feature count or kept scatter differ.
    ///
    /// ```
    /// use collapse::{ClassMoments, Scatter};
    /// let (mut left, mut right) = (ClassMoments::new(1, 1, Scatter::Full), ClassMoments::new(1, 1, Scatter::Full));
    /// left.update_slice(&[1.0f64], &[0])?;
    /// right.update_slice(&[5.0f64], &[0])?;
    /// left.merge(&right)?;
    /// assert_eq!((left.counts(), left.mean(0)), (&[2][..], Some(&[3.0][..])));
    /// # Ok::<(), collapse::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let shape = |of: &Self| format!("{} classes, {} features, {:?}", of.class_count, of.feature_count, of.scatter);
        if (self.class_count, self.feature_count, self.scatter)
            != (other.class_count, other.feature_count, other.scatter)
        {
            return Err(Error::Incompatible {
                operation: "merge of class moments",
                what: "the moments' shapes",
                left: shape(self),
                right: shape(other),
            });
        }
        self.products.iter_mut().zip(&other.products).for_each(|(sum, part)| *sum += part);
        let width = self.feature_count;
        let joined = (0..other.class_count).filter(|&class| other.counts[class] > 0).map(|class| ClassSums {
            class,
            count: other.counts[class],
            mean: &other.means[class * width..(class + 1) * width],
            squares: other.squares[class],
        });
        self.join(joined);
        Ok(())
    }

    /// Joins sums of other samples; their own scatter matrix has been added already.
    fn join<'a>(&mut self, parts: impl Iterator<Item = ClassSums<'a>>) {
        let width = self.feature_count;
        let mut shifts = Vec::new();
        for part in parts {
            let before = self.counts[part.class];
            let after = before + part.count;
            let share = part.count as f64 / after as f64;
            let mean = &mut self.means[part.class * width..(part.class + 1) * width];
            if before == 0 {
                mean.copy_from_slice(part.mean);
            } else {
                let weight = before as f64 * share;
                let scale = weight.sqrt();
                let mut shift_square = 0.0;
                for (mean, other) in mean.iter_mut().zip(part.mean) {
                    let shift = other - *mean;
                    shift_square += shift * shift;
                    *mean += shift * share;
                    if self.scatter == Scatter::Full {
                        shifts.push(shift * scale);
                    }
                }
                self.squares[part.class] += weight * shift_square;
            }
            self.squares[part.class] += part.squares;
            self.counts[part.class] = after;
        }
        if self.scatter == Scatter::Full && !shifts.is_empty() {
            add_scatter(&mut self.products, width, &shifts);
        }
    }

    /// Number of classes K that labels may name, with samples or without.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// Number of features p.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// How much scatter is kept.
    pub fn scatter(&self) -> Scatter {
        self.scatter
    }

    /// In which precision deviations are multiplied.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Samples of each class.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Samples in all.
    pub fn sample_count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Mean of a class, or `None` for a class without samples.
    pub fn mean(&self, class: usize) -> Option<&[f64]> {
        let count = *self.counts.get(class)?;
        (count > 0).then(|| &self.means[class * self.feature_count..(class + 1) * self.feature_count])
    }

    /// All means, row-major `[K, p]`; zeros stand for a class without samples.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Total variance E‖x − μ_c‖² of a class, or `None` where fewer than two samples leave it undefined.
    pub fn variance(&self, class: usize, divisor: Divisor) -> Option<f64> {
        let count = *self.counts.get(class)?;
        (count > 1).then(|| self.squares[class] / divisor.of(count))
    }

    /// Classes that have samples, ascending.
    pub fn present_classes(&self) -> Vec<usize> {
        (0..self.class_count).filter(|&class| self.counts[class] > 0).collect()
    }

    /// Mean of the class means of all classes with samples, weighted as asked: `[p]`.
    ///
    /// **Errors** [`Error::NoSamples`].
    pub fn global_mean(&self, weighting: Weighting) -> Result<Vec<f64>> {
        let present = self.present_classes();
        if present.is_empty() {
            return Err(Error::NoSamples { operation: "global mean" });
        }
        let counts: Vec<u64> = present.iter().map(|&class| self.counts[class]).collect();
        let mut mean = vec![0.0; self.feature_count];
        for (&class, weight) in present.iter().zip(weighting.weights(&counts)) {
            let from = &self.means[class * self.feature_count..(class + 1) * self.feature_count];
            mean.iter_mut().zip(from).for_each(|(sum, feature)| *sum += weight * feature);
        }
        Ok(mean)
    }

    /// Means of classes that have samples less `centre`, row-major. Room is made once: a vector that grows leaves holes as
    /// large as itself behind.
    pub(crate) fn centred_means(&self, classes: &[usize], centre: &[f64]) -> Vec<f64> {
        let mut centred = Vec::with_capacity(classes.len() * centre.len());
        for mean in classes.iter().filter_map(|&class| self.mean(class)) {
            centred.extend(mean.iter().zip(centre).map(|(value, centre)| value - centre));
        }
        centred
    }

    /// Σ‖x − μ_c‖² for each class.
    pub(crate) fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// Pooled scatter, row-major `[p, p]` with a valid lower triangle, if kept.
    pub(crate) fn products(&self) -> Option<&[f64]> {
        (self.scatter == Scatter::Full).then_some(&self.products[..])
    }

    /// The same, given up, so that its memory can be worked in. The moments hold variances only afterwards.
    pub(crate) fn take_products(&mut self) -> Option<Vec<f64>> {
        let products = std::mem::take(&mut self.products);
        (std::mem::replace(&mut self.scatter, Scatter::Trace) == Scatter::Full).then_some(products)
    }
}

/// What is joined to the moments of one class.
struct ClassSums<'a> {
    class: usize,
    count: u64,
    mean: &'a [f64],
    squares: f64,
}

/// The written form of [`ClassMoments`], checked when read.
#[derive(Serialize, Deserialize)]
struct Parts {
    class_count: usize,
    feature_count: usize,
    scatter: Scatter,
    #[serde(default)]
    precision: Precision,
    counts: Vec<u64>,
    means: Vec<f64>,
    squares: Vec<f64>,
    /// The lower triangle, row by row.
    products: Vec<f64>,
}

impl From<ClassMoments> for Parts {
    fn from(moments: ClassMoments) -> Self {
        let ClassMoments { class_count, feature_count, scatter, precision, counts, means, squares, products } = moments;
        let lower = products.chunks(feature_count.max(1)).enumerate();
        let products = lower.flat_map(|(row, line)| line[..=row].to_vec()).collect();
        Self { class_count, feature_count, scatter, precision, counts, means, squares, products }
    }
}

impl TryFrom<Parts> for ClassMoments {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        // The lengths are checked before anything of the stated size is allocated.
        let (classes, width) = (parts.class_count, parts.feature_count);
        let lower = if parts.scatter == Scatter::Full { width.saturating_add(1).saturating_mul(width) / 2 } else { 0 };
        let expected = [classes, classes.saturating_mul(width), classes, lower];
        let actual = [parts.counts.len(), parts.means.len(), parts.squares.len(), parts.products.len()];
        if expected != actual {
            return Err(Error::Shape {
                operation: "reading class moments",
                expected: format!("counts, means, squares, products of lengths {expected:?}"),
                actual: format!("{actual:?}"),
            });
        }
        let mut moments = Self::new(classes, width, parts.scatter).with_precision(parts.precision);
        let mut rest = &parts.products[..];
        for (row, line) in moments.products.chunks_mut(width.max(1)).enumerate() {
            if let Some((head, tail)) = rest.split_at_checked(row + 1) {
                line[..=row].copy_from_slice(head);
                rest = tail;
            }
        }
        moments.counts = parts.counts;
        moments.means = parts.means;
        moments.squares = parts.squares;
        Ok(moments)
    }
}
