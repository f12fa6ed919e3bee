//! Counts, means and within-class scatter of labelled features: the input of every measure.

#[cfg(feature = "candle")]
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::batch::BatchMoments;
use crate::class_order::ClassOrder;
use crate::convention::{Divisor, Precision, Singletons, Weighting};
use crate::features::{Element, Labelled};
#[cfg(feature = "candle")]
use crate::features::{Rows, with_rows};
use crate::memory;
use crate::products::add_scatter;
use crate::{Error, Result};

const OPERATION: &str = "class moments";

/// How much of the within-class scatter is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scatter {
    /// Only the total variance of each class: K·p numbers. Enough for CDNV, geometric collapse, NC2, NC3, trace ratios
    /// and the bounds.
    Trace,
    /// Also the p×p matrix Σ_c Σ_{x∈c} (x − μ_c)(x − μ_c)ᵀ, pooled over classes: needed for NC1 from moments alone,
    /// for VCI and for RankMe.
    Full,
}

/// Counts, means and within-class scatter of labelled features, from batches in any order and of any size.
///
/// **Definition** for every class c: n_c, μ_c = mean of x, and Σ‖x − μ_c‖²; with [`Scatter::Full`] also the pooled
/// within-class scatter matrix. Batches are summed in two passes and joined by the pairwise update of Chan, Golub and
/// LeVeque. No precision is lost by cancellation when the features are far from zero.
///
/// **Shapes** features `[n, p]`, labels `[n]` with values below the class count. Memory is K·p numbers, where K counts
/// only the classes that have samples, and p² more with [`Scatter::Full`]; no batch is kept.
///
/// **Conventions** Sums are in f64. Products of the deviations of f32 features (for the scatter matrix only) are taken
/// in f32 over stretches of 512 samples and then summed in f64, or entirely in f64: see [`Precision`]. Variances and
/// means are always in f64. The result has the same bits for any number of threads. Another split into batches changes
/// only the last digits.
///
/// Classes of one sample are held here, but every measure leaves them out.
///
/// **Errors** of [`ClassMoments::update_slice`] leave the moments unchanged.
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
    memory_limit: Option<u64>,
    /// Classes that have samples, ascending.
    classes: Vec<usize>,
    /// Samples of each of `classes`.
    counts: Vec<u64>,
    /// Row-major `[classes, p]`.
    means: Vec<f64>,
    /// Σ‖x − μ_c‖² of each of `classes`.
    squares: Vec<f64>,
    /// Row-major `[p, p]`, valid in the lower triangle; empty without the full scatter and before the first sample.
    products: Vec<f64>,
}

impl ClassMoments {
    /// Moments of no samples, for labels below `class_count` and `feature_count` features.
    ///
    /// No memory is allocated before the first sample.
    pub fn new(class_count: usize, feature_count: usize, scatter: Scatter) -> Self {
        Self {
            class_count,
            feature_count,
            scatter,
            precision: Precision::default(),
            memory_limit: None,
            classes: Vec::new(),
            counts: Vec::new(),
            means: Vec::new(),
            squares: Vec::new(),
            products: Vec::new(),
        }
    }

    /// Sets the precision in which deviations are multiplied, here and in a [`crate::SamplePass`] with these moments.
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

    /// Limits the memory of the class means and the scatter matrix, in bytes.
    ///
    /// Without a limit, sizes from 64 MiB on are compared with the memory that the system reports as available (Linux).
    ///
    /// ```
    /// use collapse::{ClassMoments, Error, Scatter};
    /// let mut moments = ClassMoments::new(2, 1000, Scatter::Full).with_memory_limit(1 << 20);
    /// let failed = moments.update_slice(&[0.0f32; 2000], &[0, 1]);
    /// assert!(matches!(failed, Err(Error::Memory { needed: 8_016_000, limit: 1_048_576, .. })));
    /// ```
    pub fn with_memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Adds a batch: `features` `[n, p]` of any floating-point type, `labels` `[n]`.
    ///
    /// A contiguous f32 or f64 tensor on the CPU is read in place.
    ///
    /// **Errors** [`Error::Shape`], [`Error::FeatureType`], [`Error::LabelCount`], [`Error::LabelOutOfRange`],
    /// [`Error::NonFinite`] (with the row and column), [`Error::Overflow`], [`Error::Memory`].
    #[cfg(feature = "candle")]
    pub fn update(&mut self, features: &Tensor, labels: &[u32]) -> Result<()> {
        let rows = features.dims().first().copied().unwrap_or(0);
        if features.rank() == 2 && rows != labels.len() {
            return Err(Error::LabelCount { operation: OPERATION, features: rows, labels: labels.len() });
        }
        // Chunks of a converted tensor go to a second accumulator, so that an error in a later one changes nothing.
        let mut batch = Self::new(self.class_count, self.feature_count, self.scatter).with_precision(self.precision);
        batch.memory_limit = self.memory_limit;
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
    /// **Errors** [`Error::Shape`], [`Error::LabelCount`], [`Error::LabelOutOfRange`], [`Error::NonFinite`] (with the
    /// row and column), [`Error::Overflow`], [`Error::Memory`].
    pub fn update_slice<E: Element>(&mut self, features: &[E], labels: &[u32]) -> Result<()> {
        let data = Labelled::new(OPERATION, features, labels, self.feature_count, self.class_count)?;
        let order = ClassOrder::new(labels);
        let found: Vec<usize> = order.classes.iter().map(|(class, _)| *class).collect();
        self.reserve(&found)?;
        let products = (self.scatter == Scatter::Full).then_some((&mut self.products[..], self.precision));
        let batch = BatchMoments::new(OPERATION, &data, order, products)?;
        let width = self.feature_count;
        let joined = batch.order.classes.iter().enumerate().map(|(slot, (class, stretch))| ClassSums {
            class: *class,
            count: stretch.len() as u64,
            mean: &batch.means[slot * width..(slot + 1) * width],
            squares: batch.squares[slot],
        });
        self.insert(&found);
        self.join(joined);
        Ok(())
    }

    /// Adds all samples of `other`, as if its batches had been added here.
    ///
    /// **Errors** [`Error::Incompatible`] when the class count, feature count or scatter differ; [`Error::Memory`].
    ///
    /// ```
    /// use collapse::{ClassMoments, Scatter};
    /// let (mut left, mut right) = (ClassMoments::new(1, 1, Scatter::Full), ClassMoments::new(1, 1, Scatter::Full));
    /// left.update_slice(&[1.0f64], &[0])?;
    /// right.update_slice(&[5.0f64], &[0])?;
    /// left.merge(&right)?;
    /// assert_eq!((left.count(0), left.mean(0)), (2, Some(&[3.0][..])));
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
        self.reserve(&other.classes)?;
        self.insert(&other.classes);
        self.products.iter_mut().zip(&other.products).for_each(|(sum, part)| *sum += part);
        let width = self.feature_count;
        let joined = other.classes.iter().enumerate().map(|(slot, &class)| ClassSums {
            class,
            count: other.counts[slot],
            mean: &other.means[slot * width..(slot + 1) * width],
            squares: other.squares[slot],
        });
        self.join(joined);
        Ok(())
    }

    /// Checks and reserves the memory of these further classes and of the scatter matrix. No moment changes.
    fn reserve(&mut self, found: &[usize]) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let added = found.iter().filter(|class| self.slot(**class).is_none()).count();
        let (rows, width) = (self.classes.len() + added, self.feature_count);
        let full = self.scatter == Scatter::Full;
        let first = full && self.products.is_empty();
        if added > 0 || first {
            let numbers = |product: usize| if product > 0 && full { (width as u128) * (width as u128) } else { 0 };
            let request = memory::Request {
                operation: OPERATION,
                what: format!(
                    "{rows} class means of {width} features and {} scatter matrix",
                    if full { "their" } else { "no" }
                ),
                total: (rows as u128 * width as u128 + numbers(1)) * 8,
                added: (added as u128 * width as u128 + numbers(usize::from(first))) * 8,
                avoid: if full {
                    "use Scatter::Trace, which needs no p×p matrix, or raise the limit (with_memory_limit)"
                } else {
                    "measure fewer classes or features at a time, or raise the limit (with_memory_limit)"
                },
            };
            request.check(self.memory_limit)?;
            memory::reserve(&mut self.means, added * width, &request)?;
            if first {
                memory::reserve(&mut self.products, width * width, &request)?;
                self.products.resize(width * width, 0.0);
            }
        }
        Ok(())
    }

    /// Inserts an entry of zeros for each of these classes (ascending) that has none.
    fn insert(&mut self, found: &[usize]) {
        let width = self.feature_count;
        let added: Vec<usize> = found.iter().copied().filter(|&class| self.slot(class).is_none()).collect();
        let (mut old, mut new) = (self.classes.len(), added.len());
        let total = old + new;
        self.classes.resize(total, 0);
        self.counts.resize(total, 0);
        self.squares.resize(total, 0.0);
        self.means.resize(total * width, 0.0);
        // A merge from the end moves every entry at most once.
        for to in (0..total).rev() {
            if new == 0 {
                break;
            }
            if old > 0 && self.classes[old - 1] > added[new - 1] {
                old -= 1;
                self.classes[to] = self.classes[old];
                self.counts[to] = self.counts[old];
                self.squares[to] = self.squares[old];
                self.means.copy_within(old * width..(old + 1) * width, to * width);
            } else {
                new -= 1;
                self.classes[to] = added[new];
                self.counts[to] = 0;
                self.squares[to] = 0.0;
                self.means[to * width..(to + 1) * width].fill(0.0);
            }
        }
    }

    /// Joins sums over other samples of classes that have an entry. The scatter of these samples around their own means must
    /// have been added to `products` before.
    fn join<'a>(&mut self, parts: impl Iterator<Item = ClassSums<'a>>) {
        let width = self.feature_count;
        let mut shifts = Vec::new();
        for part in parts {
            let Some(slot) = self.slot(part.class) else { continue };
            let before = self.counts[slot];
            let after = before + part.count;
            let share = part.count as f64 / after as f64;
            let mean = &mut self.means[slot * width..(slot + 1) * width];
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
                self.squares[slot] += weight * shift_square;
            }
            self.squares[slot] += part.squares;
            self.counts[slot] = after;
        }
        if self.scatter == Scatter::Full && !shifts.is_empty() {
            add_scatter(&mut self.products, width, &shifts);
        }
    }

    fn slot(&self, class: usize) -> Option<usize> {
        self.classes.binary_search(&class).ok()
    }

    /// Number of classes, with samples or without; labels are below it.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// Number of features p.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// How much of the within-class scatter is kept.
    pub fn scatter(&self) -> Scatter {
        self.scatter
    }

    /// The precision in which deviations are multiplied.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Classes that have samples, ascending.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// Samples of each class in [`ClassMoments::classes`], in the same order.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Samples of one class; 0 for a class without samples.
    pub fn count(&self, class: usize) -> u64 {
        self.slot(class).map_or(0, |slot| self.counts[slot])
    }

    /// Samples of all classes.
    pub fn sample_count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Classes of exactly one sample. Every measure leaves them out, each with its sample.
    pub fn singleton_count(&self) -> usize {
        self.counts.iter().filter(|&&count| count == 1).count()
    }

    /// Mean of a class, or `None` for a class without samples.
    pub fn mean(&self, class: usize) -> Option<&[f64]> {
        let slot = self.slot(class)?;
        Some(&self.means[slot * self.feature_count..(slot + 1) * self.feature_count])
    }

    /// Means of the classes in [`ClassMoments::classes`], row-major, in the same order.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// Total variance E‖x − μ_c‖² of a class, or `None` where fewer than two samples leave it undefined.
    pub fn variance(&self, class: usize, divisor: Divisor) -> Option<f64> {
        let slot = self.slot(class)?;
        let count = self.counts[slot];
        (count > 1).then(|| self.squares[slot] / divisor.of(count))
    }

    /// Weighted mean of the class means `[p]`. Classes of one sample are left out.
    ///
    /// **Errors** [`Error::NoSamples`] when no class has two samples.
    pub fn global_mean(&self, weighting: Weighting) -> Result<Vec<f64>> {
        self.mean_over(&self.classes_with(Singletons::LeftOut), weighting)
    }

    /// Weighted mean of the means of the given classes `[p]`.
    pub(crate) fn mean_over(&self, classes: &[usize], weighting: Weighting) -> Result<Vec<f64>> {
        if classes.is_empty() {
            return Err(Error::NoSamples { operation: "global mean" });
        }
        let mut mean = vec![0.0; self.feature_count];
        let weights = weighting.weights(&self.counts_of(classes));
        for (from, weight) in classes.iter().filter_map(|&class| self.mean(class)).zip(weights) {
            mean.iter_mut().zip(from).for_each(|(sum, feature)| *sum += weight * feature);
        }
        Ok(mean)
    }

    /// Classes that take part in a measure, ascending.
    pub(crate) fn classes_with(&self, singletons: Singletons) -> Vec<usize> {
        let least = match singletons {
            Singletons::Kept => 1,
            Singletons::LeftOut => 2,
        };
        let counted = self.classes.iter().zip(&self.counts).filter(|(_, count)| **count >= least);
        counted.map(|(&class, _)| class).collect()
    }

    /// Classes that take part in a measure, or an error when they are fewer than two.
    pub(crate) fn two_classes_with(&self, operation: &'static str, singletons: Singletons) -> Result<Vec<usize>> {
        let classes = self.classes_with(singletons);
        if classes.len() < 2 {
            let left_out = self.classes.len() - classes.len();
            return Err(Error::TooFewClasses { operation, needed: 2, found: classes.len(), singletons: left_out });
        }
        Ok(classes)
    }

    /// Samples of the classes that take part in a measure: those of at least two samples.
    pub(crate) fn measured_samples(&self) -> u64 {
        self.sample_count() - self.singleton_count() as u64
    }

    pub(crate) fn counts_of(&self, classes: &[usize]) -> Vec<u64> {
        classes.iter().map(|&class| self.count(class)).collect()
    }

    /// Means of classes that have samples less `centre`, row-major. The memory is allocated once.
    pub(crate) fn centred_means(&self, classes: &[usize], centre: &[f64]) -> Vec<f64> {
        let mut centred = Vec::with_capacity(classes.len() * centre.len());
        for mean in classes.iter().filter_map(|&class| self.mean(class)) {
            centred.extend(mean.iter().zip(centre).map(|(value, centre)| value - centre));
        }
        centred
    }

    /// Σ‖x − μ_c‖² of one class; 0 for a class without samples.
    pub(crate) fn square(&self, class: usize) -> f64 {
        self.slot(class).map_or(0.0, |slot| self.squares[slot])
    }

    /// Σ‖x − μ_c‖² over all classes.
    #[cfg(feature = "faer")]
    pub(crate) fn square_total(&self) -> f64 {
        self.squares.iter().sum()
    }

    /// Pooled scatter, row-major `[p, p]` with a valid lower triangle, if it is kept and there are samples.
    #[cfg(feature = "faer")]
    pub(crate) fn products(&self) -> Option<&[f64]> {
        (self.scatter == Scatter::Full && !self.classes.is_empty()).then_some(&self.products[..])
    }

    /// Moves the pooled scatter out, so that its memory can be reused. Afterwards the moments hold variances only.
    #[cfg(feature = "faer")]
    pub(crate) fn take_products(&mut self) -> Option<Vec<f64>> {
        let products = std::mem::take(&mut self.products);
        let full = std::mem::replace(&mut self.scatter, Scatter::Trace) == Scatter::Full;
        (full && !self.classes.is_empty()).then_some(products)
    }
}

/// Sums over further samples of one class.
struct ClassSums<'a> {
    class: usize,
    count: u64,
    mean: &'a [f64],
    squares: f64,
}

/// The serialised form of [`ClassMoments`], checked when it is read.
#[derive(Serialize, Deserialize)]
struct Parts {
    class_count: usize,
    feature_count: usize,
    scatter: Scatter,
    #[serde(default)]
    precision: Precision,
    /// Classes that have samples. Earlier versions wrote an entry for every class instead, and no list.
    #[serde(default)]
    classes: Option<Vec<usize>>,
    counts: Vec<u64>,
    means: Vec<f64>,
    squares: Vec<f64>,
    /// The lower triangle, row by row; empty when there are no samples.
    products: Vec<f64>,
}

impl From<ClassMoments> for Parts {
    fn from(moments: ClassMoments) -> Self {
        let ClassMoments { class_count, feature_count, scatter, precision, counts, means, squares, .. } = moments;
        let held = if moments.classes.is_empty() { &[][..] } else { &moments.products[..] };
        let lower = held.chunks(feature_count.max(1)).enumerate();
        let products = lower.flat_map(|(row, line)| line[..=row].to_vec()).collect();
        let classes = Some(moments.classes);
        Self { class_count, feature_count, scatter, precision, classes, counts, means, squares, products }
    }
}

impl TryFrom<Parts> for ClassMoments {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        // The lengths are checked before anything of the stated size is allocated.
        let width = parts.feature_count;
        let rows = parts.classes.as_ref().map_or(parts.class_count, Vec::len);
        let held = parts.scatter == Scatter::Full && (parts.classes.is_none() || rows > 0);
        let lower = if held { width.saturating_add(1).saturating_mul(width) / 2 } else { 0 };
        let expected = [rows, rows.saturating_mul(width), rows, lower];
        let actual = [parts.counts.len(), parts.means.len(), parts.squares.len(), parts.products.len()];
        let classes = parts.classes.unwrap_or_else(|| (0..rows.min(parts.counts.len())).collect());
        let ascending =
            classes.is_sorted_by(|a, b| a < b) && classes.last().is_none_or(|&last| last < parts.class_count);
        if expected != actual || !ascending || (width == 0 && rows > 0) {
            return Err(Error::Shape {
                operation: "reading class moments",
                expected: format!(
                    "counts, means, squares, products of lengths {expected:?}, at least one feature, and ascending classes \
                     below {}",
                    parts.class_count
                ),
                actual: format!("lengths {actual:?}, {width} features, {} classes", classes.len()),
            });
        }
        // Counts of more samples than any data set has would overflow their sum.
        let samples: u128 = parts.counts.iter().map(|&count| u128::from(count)).sum();
        if samples > 1 << 53 || parts.squares.iter().any(|&square| square < 0.0) {
            return Err(Error::Shape {
                operation: "reading class moments",
                expected: "at most 2^53 samples, and squares that are not negative".to_owned(),
                actual: format!(
                    "{samples} samples, and squares from {:?}",
                    parts.squares.iter().copied().reduce(f64::min)
                ),
            });
        }
        let mut moments = Self::new(parts.class_count, width, parts.scatter).with_precision(parts.precision);
        let present: Vec<usize> = (0..rows).filter(|&slot| parts.counts[slot] > 0).collect();
        let found: Vec<usize> = present.iter().map(|&slot| classes[slot]).collect();
        moments.reserve(&found)?;
        moments.insert(&found);
        let mut rest = &parts.products[..];
        for (row, line) in moments.products.chunks_mut(width.max(1)).enumerate() {
            if let Some((head, tail)) = rest.split_at_checked(row + 1) {
                line[..=row].copy_from_slice(head);
                rest = tail;
            }
        }
        for (to, &slot) in present.iter().enumerate() {
            moments.counts[to] = parts.counts[slot];
            moments.squares[to] = parts.squares[slot];
            let mean = &parts.means[slot * width..(slot + 1) * width];
            moments.means[to * width..(to + 1) * width].copy_from_slice(mean);
        }
        Ok(moments)
    }
}
