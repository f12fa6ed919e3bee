//! Distances between class means, tile by tile over the pairs of classes, and summaries over the pairs.
//!
//! A tile holds 128×128 squared distances. [`PairMatrix`] holds K×K numbers, and so do the kept distances of up to 1,448 classes.

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::convention::Singletons;
use crate::kernel::squared_distance;
use crate::memory;
use crate::products::add_row_products;
use crate::quantiles::{Quantiles, quantiles};
use crate::tiles::visit_upper;
use crate::{ClassMoments, Error, Result};

/// Two means that are closer than this multiple of their own length count as coincident.
const COINCIDENT: f64 = 64.0 * f64::EPSILON;
/// Below this share of the squared lengths a distance is computed from the difference of the means, not from products.
const CANCELLED: f64 = 1e-2;

/// Pairs of classes that a measure left out, and why.
///
/// **Conventions** Unordered pairs; a pair is counted once, under the first reason in the order of the fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExcludedPairs {
    /// One of the two classes has no samples.
    pub missing: u64,
    /// One of the two classes has a single sample, hence no variance.
    pub singleton: u64,
    /// The two means coincide to within 64·2⁻⁵² of their length, so a quotient by their distance is undefined.
    pub coincident: u64,
}

impl ExcludedPairs {
    /// All excluded pairs.
    pub fn total(&self) -> u64 {
        self.missing + self.singleton + self.coincident
    }
}

/// One value for each pair of classes.
///
/// **Shapes** m×m, row-major, for the m classes that take part; for a symmetric measure both triangles are filled.
/// Classes without samples or of one sample take no memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairMatrix {
    class_count: usize,
    classes: Vec<usize>,
    /// NaN on the diagonal and where the pair is excluded; serialised as null.
    #[serde(serialize_with = "write_gaps", deserialize_with = "read_gaps")]
    values: Vec<f64>,
}

impl PairMatrix {
    pub(crate) fn new(operation: &'static str, class_count: usize, classes: &[usize]) -> Result<Self> {
        let size = classes.len();
        let bytes = size as u128 * size as u128 * 8;
        let request = memory::Request {
            operation,
            what: format!("a matrix of {size}×{size} pairs of classes"),
            total: bytes,
            added: bytes,
            avoid: "use cdnv(), which summarises the pairs without a matrix",
        };
        request.check(None)?;
        let mut values = Vec::new();
        memory::reserve(&mut values, size * size, &request)?;
        values.resize(size * size, f64::NAN);
        Ok(Self { class_count, classes: classes.to_vec(), values })
    }

    /// Sets the value of a pair of classes, given by their positions in [`PairMatrix::classes`].
    pub(crate) fn set(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.classes.len() + column] = value;
    }

    /// Number of classes, with samples or without; labels are below it.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// The classes that take part, ascending.
    pub fn classes(&self) -> &[usize] {
        &self.classes
    }

    /// The value of a pair of classes, or `None` on the diagonal and for a pair that is excluded.
    pub fn get(&self, row: usize, column: usize) -> Option<f64> {
        let place = |class: usize| self.classes.binary_search(&class).ok();
        let at = place(row)? * self.classes.len() + place(column)?;
        self.values.get(at).copied().filter(|value| !value.is_nan())
    }
}

impl PartialEq for PairMatrix {
    /// Excluded pairs are equal to excluded pairs.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan());
        (self.class_count, &self.classes, self.values.len()) == (other.class_count, &other.classes, other.values.len())
            && self.values.iter().zip(&other.values).all(same)
    }
}

fn write_gaps<S: Serializer>(values: &[f64], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| (!value.is_nan()).then_some(value)))
}

fn read_gaps<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// The means that take part, centred so that products lose little precision by cancellation.
pub(crate) struct Pairs {
    /// Class of every row.
    pub(crate) classes: Vec<usize>,
    /// Row-major [rows, width].
    pub(crate) centred: Vec<f64>,
    pub(crate) width: usize,
    /// Squared lengths of the centred rows.
    norms: Vec<f64>,
    /// Squared lengths of the means before centring: the scale of their rounding errors.
    scales: Vec<f64>,
    /// The squared distances of all rows to all rows, row-major; empty where they are too many to keep.
    kept: Vec<f64>,
    excluded: ExcludedPairs,
}

/// Squared distances that are kept: 16 MiB, those of 1,448 classes. Of more classes they are computed anew for every measure.
const KEPT: usize = 1 << 21;

/// Squared distances of a stretch of rows to a stretch of columns.
pub(crate) struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
    squared: Vec<f64>,
}

impl Tile {
    /// (row, column, d²) with row < column; d² is 0 for a coincident pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let width = self.columns.len();
        self.rows.clone().flat_map(move |row| {
            let line = &self.squared[(row - self.rows.start) * width..][..width];
            self.columns
                .clone()
                .zip(line)
                .filter(move |(column, _)| row < *column)
                .map(move |(column, &d)| (row, column, d))
        })
    }
}

impl Pairs {
    /// The pairs of a set of moments; an error when fewer than two classes take part.
    pub(crate) fn new(operation: &'static str, moments: &ClassMoments, singletons: Singletons) -> Result<Self> {
        let classes = moments.two_classes_with(operation, singletons)?;
        let present = moments.classes();
        // A stated class count may be any number.
        let pairs =
            |count: usize| u64::try_from(count as u128 * (count as u128).saturating_sub(1) / 2).unwrap_or(u64::MAX);
        let excluded = ExcludedPairs {
            missing: pairs(moments.class_count()) - pairs(present.len()),
            singleton: pairs(present.len()) - pairs(classes.len()),
            coincident: 0,
        };
        let width = moments.feature_count();
        let means = classes.iter().filter_map(|&class| moments.mean(class));
        let mut centre = vec![0.0; width];
        means.clone().for_each(|mean| centre.iter_mut().zip(mean).for_each(|(sum, value)| *sum += value));
        centre.iter_mut().for_each(|sum| *sum /= classes.len().max(1) as f64);
        let centred = moments.centred_means(&classes, &centre);
        let square = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
        let norms = centred.chunks_exact(width.max(1)).map(square).collect();
        let scales = means.map(square).collect();
        let mut pairs = Self { classes, centred, width, norms, scales, kept: Vec::new(), excluded };
        pairs.keep();
        Ok(pairs)
    }

    fn keep(&mut self) {
        let size = self.classes.len();
        if size.saturating_mul(size) <= KEPT {
            let mut kept = vec![0.0; size * size];
            let keep = |tile: Tile| {
                tile.pairs().for_each(|(row, column, squared)| {
                    kept[row * size + column] = squared;
                    kept[column * size + row] = squared;
                });
            };
            self.visit(|tile| tile, keep);
            self.kept = kept;
        }
    }

    /// The kept squared distances of one row to a stretch of columns.
    fn kept(&self, row: usize, columns: Range<usize>) -> Option<&[f64]> {
        self.kept.get(row * self.classes.len()..)?.get(columns)
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.centred[row * self.width..(row + 1) * self.width]
    }

    /// Squared distances of a block of pairs; 0 where the means coincide.
    pub(crate) fn tile(&self, rows: Range<usize>, columns: Range<usize>) -> Tile {
        let squared = self.squared(&rows.clone().collect::<Vec<_>>(), columns.clone());
        Tile { rows, columns, squared }
    }

    /// Squared distances from some rows to all rows, row-major.
    pub(crate) fn squared_from(&self, rows: &[usize]) -> Vec<f64> {
        self.squared(rows, 0..self.classes.len())
    }

    /// Squared distances from some rows to a stretch of columns.
    fn squared(&self, rows: &[usize], columns: Range<usize>) -> Vec<f64> {
        let kept: Option<Vec<&[f64]>> = rows.iter().map(|&row| self.kept(row, columns.clone())).collect();
        if let Some(kept) = kept {
            return kept.concat();
        }
        let left: Vec<f64> = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        let right = &self.centred[columns.start * self.width..columns.end * self.width];
        let mut squared = vec![0.0; rows.len() * columns.len()];
        add_row_products(&mut squared, &left, right, self.width);
        for (line, &row) in squared.chunks_mut(columns.len().max(1)).zip(rows) {
            for (value, column) in line.iter_mut().zip(columns.clone()) {
                let lengths = self.norms[row] + self.norms[column];
                *value = lengths - 2.0 * *value;
                if *value < CANCELLED * lengths {
                    *value = squared_distance(self.row(row), self.row(column));
                }
                if *value <= COINCIDENT * COINCIDENT * (self.scales[row] + self.scales[column]) {
                    *value = 0.0;
                }
            }
        }
        squared
    }

    /// Pairs whose means differ.
    pub(crate) fn apart(&self) -> u64 {
        let mut count = 0;
        self.visit(|tile| tile.pairs().filter(|pair| pair.2 > 0.0).count() as u64, |part| count += part);
        count
    }

    /// Maps every tile of the upper triangle in parallel and visits the results in a fixed order.
    pub(crate) fn visit<R: Send>(&self, map: impl Fn(Tile) -> R + Sync, visit: impl FnMut(R)) {
        visit_upper(self.classes.len(), |rows, columns| map(self.tile(rows, columns)), visit);
    }

    /// Mean and maximum of `values(row, column, d²)` over all pairs whose means differ.
    pub(crate) fn average<const N: usize>(
        &self,
        operation: &'static str,
        values: impl Fn(usize, usize, f64) -> [f64; N] + Sync,
    ) -> Result<PairAverage> {
        let mut sums = Partial::default();
        self.visit(|tile| Partial::of(&tile, &values), |part| sums.join(&part));
        let excluded = ExcludedPairs { coincident: sums.coincident, ..self.excluded };
        if sums.values == 0 {
            let ExcludedPairs { missing, singleton, coincident } = excluded;
            return Err(Error::NoPair { operation, missing, singleton, coincident });
        }
        let (mean, Partial { values, max, max_pair, .. }) = (sums.sum / sums.values as f64, sums);
        Ok(PairAverage { mean, max, max_pair, values, excluded })
    }

    /// Quantiles of the same values, of which there are `count`.
    pub(crate) fn quantiles<const N: usize>(
        &self,
        count: u64,
        values: impl Fn(usize, usize, f64) -> [f64; N] + Sync,
    ) -> Quantiles {
        quantiles(count, |take| {
            let part = |tile: Tile| -> Vec<f64> {
                tile.pairs().filter(|pair| pair.2 > 0.0).flat_map(|(row, column, d)| values(row, column, d)).collect()
            };
            self.visit(part, |part| part.into_iter().for_each(&mut *take));
        })
    }
}

/// Mean and maximum of the values of all pairs.
pub(crate) struct PairAverage {
    pub(crate) mean: f64,
    pub(crate) max: f64,
    /// The rows of the pair with the maximum.
    pub(crate) max_pair: (usize, usize),
    pub(crate) values: u64,
    pub(crate) excluded: ExcludedPairs,
}

/// Sums and maximum over the pairs of some tiles. Tiles are joined in a fixed order.
struct Partial {
    values: u64,
    sum: f64,
    max: f64,
    max_pair: (usize, usize),
    coincident: u64,
}

impl Default for Partial {
    fn default() -> Self {
        Self { values: 0, sum: 0.0, max: f64::NEG_INFINITY, max_pair: (0, 0), coincident: 0 }
    }
}

impl Partial {
    fn of<const N: usize>(tile: &Tile, values: &(impl Fn(usize, usize, f64) -> [f64; N] + Sync)) -> Self {
        let mut part = Self::default();
        for (row, column, squared) in tile.pairs() {
            if squared == 0.0 {
                part.coincident += 1;
                continue;
            }
            for value in values(row, column, squared) {
                part.values += 1;
                part.sum += value;
                if value > part.max {
                    (part.max, part.max_pair) = (value, (row, column));
                }
            }
        }
        part
    }

    fn join(&mut self, part: &Self) {
        self.values += part.values;
        self.sum += part.sum;
        self.coincident += part.coincident;
        if part.max > self.max {
            (self.max, self.max_pair) = (part.max, part.max_pair);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]
mod tests {
    use super::*;
    use crate::Scatter;

    /// Of more classes than are kept, every distance is computed when it is asked for.
    #[test]
    fn squared_distances_of_many_classes_are_computed_anew() {
        let (classes, width) = (1_500usize, 3);
        let draws = streams::standard_normal(&mut streams::stream(1, "collapse/tests/pairs", 0), 2 * classes * width);
        let labels: Vec<u32> = (0..2 * classes).map(|sample| (sample % classes) as u32).collect();
        let mut moments = ClassMoments::new(classes, width, Scatter::Trace);
        moments.update_slice(&draws, &labels).unwrap();
        let pairs = Pairs::new("test", &moments, Singletons::LeftOut).unwrap();
        assert!(pairs.kept.is_empty());
        let rows = [0, 127, 1_499];
        let found = pairs.squared_from(&rows);
        for (line, row) in found.chunks_exact(classes).zip(rows) {
            for (column, found) in line.iter().enumerate() {
                let (left, right) = (moments.mean(row).unwrap(), moments.mean(column).unwrap());
                let expected: f64 = left.iter().zip(right).map(|(left, right)| (left - right) * (left - right)).sum();
                assert!((found - expected).abs() <= 1e-12 * expected, "{row}, {column}: {found} and {expected}");
            }
        }
    }
}
